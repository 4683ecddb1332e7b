// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sequence of slots that the workload visits, by a pattern. The same
 * parameters make the same sequence, on every machine and kernel: all is done in
 * integers. Takes no lock.
 */
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/math64.h>
#include <linux/minmax.h>

#include "sequence.h"

/* Q32: a number with 32 binary digits behind the point. */
#define ONE		BIT_ULL(32)
#define ZIPF_SLOTS_MAX	BIT_ULL(30)	/* so that a rank is a Q32 in 63 bits */

/**
 * mdma_sequence_restart() - the next visit is the first again
 * @sequence: any
 */
void mdma_sequence_restart(struct mdma_sequence *sequence)
{
	sequence->prng = sequence->seed;
	sequence->position = 0;
}

/**
 * mdma_sequence_random() - splitmix64, public domain
 * @sequence: its generator advances
 *
 * Return: 64 random bits.
 */
u64 mdma_sequence_random(struct mdma_sequence *sequence)
{
	/* One addition and a finalizer */
	u64 z = sequence->prng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/**
 * mdma_sequence_below() - a random number
 * @sequence: its generator advances
 * @end: not 0
 *
 * Return: 0 to @end - 1, all with the same probability.
 */
u64 mdma_sequence_below(struct mdma_sequence *sequence, u64 end)
{
	return mul_u64_u64_shr(mdma_sequence_random(sequence), end, 64);
}

static u64 next_sequential(struct mdma_sequence *sequence, u64 slots)
{
	u64 slot = sequence->position < slots ? sequence->position : 0;

	sequence->position = slot + 1;
	return slot;
}

/* Slots 0, stride, 2 * stride, ..., then 1, 1 + stride, ...: all of them. */
static u64 next_stride(struct mdma_sequence *sequence, u64 slots)
{
	u64 slot = sequence->position < slots ? sequence->position : 0;
	u32 phase;

	if (sequence->stride < slots - slot) {
		sequence->position = slot + sequence->stride;
		return slot;
	}
	div_u64_rem(slot, sequence->stride, &phase);
	phase++;
	sequence->position = phase < sequence->stride && phase < slots ? phase :
								       0;
	return slot;
}

/* Logarithm to base 2 of @x, at least 1; both Q32. */
static u64 log2_q32(u64 x)
{
	u32 whole = fls64(x) - 1;
	u64 m = x << (63 - whole) >> 1;	/* 1 to 2, with 62 digits */
	u64 result = (u64)(whole - 32) << 32;
	int digit;

	/* Squaring doubles the logarithm: the next digit is before the point */
	for (digit = 31; digit >= 0; digit--) {
		m = mul_u64_u64_shr(m, m, 62);
		if (m >> 63) {
			m >>= 1;
			result |= 1ULL << digit;
		}
	}
	return result;
}

/* 2 to the power of @x, less than 31; both Q32. */
static u64 exp2_q32(u64 x)
{
	const u64 ln2 = 0xb17217f7d1cf79abULL;	/* with 64 digits */
	u64 z = mul_u64_u64_shr(ln2, x & (ONE - 1), 34);
	u64 term = 1ULL << 62, sum = 0;
	u32 k;

	/* e^z, by its series, with 62 digits */
	for (k = 1; term; k++) {
		sum += term;
		term = div_u64(mul_u64_u64_shr(term, z, 62), k);
	}
	return sum >> (30 - (x >> 32));
}

/*
 * Inverts the distribution function of x^-theta on [1, slots + 1] at a random
 * place: slot n has the share of it from n + 1 to n + 2.
 */
static u64 next_zipf(struct mdma_sequence *sequence, u64 slots)
{
	u64 n = min(slots, ZIPF_SLOTS_MAX);
	u32 power = 1000 - sequence->theta;
	u64 span, x;

	span = exp2_q32(div_u64(log2_q32((n + 1) << 32) * power, 1000)) - ONE;
	x = ONE + mul_u64_u64_shr(span, mdma_sequence_random(sequence), 64);
	x = exp2_q32(div_u64(log2_q32(x) * 1000, power));
	return min((x >> 32) - 1, n - 1);
}

static u64 next_hot(struct mdma_sequence *sequence, u64 slots)
{
	u64 hot = min_t(u64, sequence->hot, slots);
	u64 moved = 0, slot;

	if (sequence->drift)
		moved = div_u64(sequence->position, sequence->drift);
	sequence->position++;
	if (mdma_sequence_below(sequence, 100) >= sequence->hot_percent)
		return mdma_sequence_below(sequence, slots);
	div64_u64_rem(moved, slots, &slot);
	div64_u64_rem(slot + mdma_sequence_below(sequence, hot), slots, &slot);
	return slot;
}

/**
 * mdma_sequence_next() - the slot to visit next
 * @sequence: advances
 * @slots: number of slots, not 0
 *
 * Return: 0 to @slots - 1.
 */
u64 mdma_sequence_next(struct mdma_sequence *sequence, u64 slots)
{
	/* No default: the compiler names a pattern that is missing here. */
	switch ((enum mdma_pattern)sequence->kind) {
	case MDMA_PATTERN_SEQUENTIAL:
	case MDMA_PATTERN_RING:
	case MDMA_PATTERN_TRACE:	/* the trace has the order, not a sequence */
		break;
	case MDMA_PATTERN_RANDOM:
	case MDMA_PATTERN_SCATTER:
		return mdma_sequence_below(sequence, slots);
	case MDMA_PATTERN_STRIDE:
		return next_stride(sequence, slots);
	case MDMA_PATTERN_ZIPF:
		return next_zipf(sequence, slots);
	case MDMA_PATTERN_HOT:
		return next_hot(sequence, slots);
	}
	return next_sequential(sequence, slots);
}
