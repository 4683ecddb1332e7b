/* SPDX-License-Identifier: GPL-2.0-only */
/* The workloads' files in sysfs. */
#ifndef MDMA_WORKLOAD_SYSFS_H
#define MDMA_WORKLOAD_SYSFS_H

struct mdma_device;

int mdma_workload_sysfs_add(struct mdma_device *dev);
void mdma_workload_sysfs_remove(struct mdma_device *dev);

#endif /* MDMA_WORKLOAD_SYSFS_H */
