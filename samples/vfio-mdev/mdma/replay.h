/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trace that MDMA_PATTERN_TRACE replays. Pure: no vfio, no locks; compiled
 * in user space as well.
 */
#ifndef MDMA_REPLAY_H
#define MDMA_REPLAY_H

#include <linux/mdma.h>
#include <linux/types.h>

int mdma_trace_check(const void *entries, u32 nr, u32 size);

#endif /* MDMA_REPLAY_H */
