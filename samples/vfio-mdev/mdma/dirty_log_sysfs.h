/* SPDX-License-Identifier: GPL-2.0-only */
/* The dirty log's files in sysfs. */
#ifndef MDMA_DIRTY_LOG_SYSFS_H
#define MDMA_DIRTY_LOG_SYSFS_H

struct attribute_group;

extern const struct attribute_group mdma_dirty_log_sysfs_group;

#endif /* MDMA_DIRTY_LOG_SYSFS_H */
