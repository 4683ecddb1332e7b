/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's files in sysfs. */
#ifndef MDMA_SYSFS_H
#define MDMA_SYSFS_H

struct attribute_group;
struct device_attribute;

extern const struct attribute_group *mdma_sysfs_groups[];
extern struct device_attribute mdma_window_attr;

#endif /* MDMA_SYSFS_H */
