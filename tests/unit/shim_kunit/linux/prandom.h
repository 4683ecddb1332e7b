/* SPDX-License-Identifier: GPL-2.0-only */
/* Random numbers with a state; others than the kernel's. */
#ifndef _SHIM_LINUX_PRANDOM_H
#define _SHIM_LINUX_PRANDOM_H

#include <linux/types.h>

struct rnd_state {
	u64 value;
};

static inline void prandom_seed_state(struct rnd_state *state, u64 seed)
{
	state->value = seed;
}

static inline u32 prandom_u32_state(struct rnd_state *state)
{
	state->value = state->value * 6364136223846793005ULL + 1442695040888963407ULL;
	return state->value >> 32;
}

#endif
