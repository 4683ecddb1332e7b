/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sequence of slots that the workload visits, by a pattern. Pure: no
 * vfio, no locks; compiled in user space as well.
 */
#ifndef MDMA_SEQUENCE_H
#define MDMA_SEQUENCE_H

#include <linux/mdma.h>
#include <linux/types.h>

/**
 * struct mdma_sequence - a pattern, and where it is
 * @kind: enum mdma_pattern
 * @stride: slots between two visits, not 0, of MDMA_PATTERN_STRIDE
 * @theta: thousandths, up to MDMA_THETA_MAX, of MDMA_PATTERN_ZIPF
 * @hot: slots of the hot set, not 0, of MDMA_PATTERN_HOT
 * @hot_percent: of the visits that go to the hot set, up to 100
 * @drift: visits until the hot set moves on by a slot, 0 for never
 * @seed: of the generator
 * @prng: state of the generator
 * @position: the slot that is next in sequence; of MDMA_PATTERN_HOT, visits
 */
struct mdma_sequence {
	u32 kind;
	u32 stride;
	u32 theta;
	u32 hot;
	u32 hot_percent;
	u32 drift;
	u64 seed;
	u64 prng;
	u64 position;
};

void mdma_sequence_restart(struct mdma_sequence *sequence);
u64 mdma_sequence_random(struct mdma_sequence *sequence);
u64 mdma_sequence_below(struct mdma_sequence *sequence, u64 end);
u64 mdma_sequence_next(struct mdma_sequence *sequence, u64 slots);

#endif /* MDMA_SEQUENCE_H */
