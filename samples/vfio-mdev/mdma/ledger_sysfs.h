/* SPDX-License-Identifier: GPL-2.0-only */
/* The ledger's files in sysfs. */
#ifndef MDMA_LEDGER_SYSFS_H
#define MDMA_LEDGER_SYSFS_H

struct attribute_group;

extern const struct attribute_group mdma_ledger_sysfs_group;

#endif /* MDMA_LEDGER_SYSFS_H */
