/* SPDX-License-Identifier: GPL-2.0-only */
/* The trace as a file in sysfs. */
#ifndef MDMA_REPLAY_SYSFS_H
#define MDMA_REPLAY_SYSFS_H

#include <linux/sysfs.h>

#include "compat.h"

extern MDMA_BIN_CONST struct bin_attribute mdma_trace_attr;

#endif /* MDMA_REPLAY_SYSFS_H */
