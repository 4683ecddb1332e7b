// SPDX-License-Identifier: GPL-2.0-only
/*
 * The patterns of the workload: each visits the slots in its description, as often as
 * described. The distributions are compared with floating point arithmetic.
 */
#include <math.h>
#include <string.h>

#include "sequence.h"
#include "unit.h"

#define VISITS	200000
#define SLOTS	1000

static struct mdma_sequence sequence;
static u64 seen[SLOTS];

static void make(u32 kind)
{
	sequence = (struct mdma_sequence) {
		.kind = kind, .stride = 1, .theta = 990, .hot = 10,
		.hot_percent = 90, .seed = unit_random(),
	};
	mdma_sequence_restart(&sequence);
	memset(seen, 0, sizeof(seen));
}

static void visit(u64 visits, u64 slots)
{
	u64 slot;

	while (visits--) {
		slot = mdma_sequence_next(&sequence, slots);
		CHECK(slot < slots, "slot %llu", slot);
		seen[slot]++;
	}
}

/* Whether @count of VISITS has probability @p, within 6 standard deviations. */
static bool likely(double count, double p)
{
	return fabs(count - VISITS * p) <= 1 + 6 * sqrt(VISITS * p * (1 - p));
}

/* The generator is the one that the tests have, whose numbers are known. */
static void random_numbers_are_known(void)
{
	int i;

	sequence.prng = 1234567;
	CHECK(mdma_sequence_random(&sequence) == 6457827717110365317ULL, "1");
	CHECK(mdma_sequence_random(&sequence) == 3203168211198807973ULL, "2");
	for (i = 0; i < 100; i++) {
		sequence.prng = unit_seed;
		CHECK(mdma_sequence_random(&sequence) == unit_random(), "%d", i);
	}
}

static void sequential_is_in_order(void)
{
	u64 i, slot;

	make(MDMA_PATTERN_SEQUENTIAL);
	for (i = 0; i < 3 * SLOTS; i++) {
		slot = mdma_sequence_next(&sequence, SLOTS);
		CHECK(slot == i % SLOTS, "visit %llu", i);
	}
}

static void random_is_uniform(void)
{
	u64 i;

	make(MDMA_PATTERN_RANDOM);
	visit(VISITS, SLOTS);
	for (i = 0; i < SLOTS; i++)
		CHECK(likely(seen[i], 1.0 / SLOTS), "slot %llu", i);
}

/* A round visits each slot once, one stride apart, except where a phase ends. */
static void stride_is_a_round(u32 stride, u64 slots)
{
	u64 i, round, slot, last = 0;
	u32 jumps = 0;

	make(MDMA_PATTERN_STRIDE);
	sequence.stride = stride;
	for (round = 1; round <= 2; round++) {
		for (i = 0; i < slots; i++) {
			slot = mdma_sequence_next(&sequence, slots);
			CHECK(slot < slots, "slot %llu", slot);
			if (!i)
				CHECK(!slot, "round begins at %llu", slot);
			else if (slot != last + stride)
				jumps++;
			seen[slot]++;
			last = slot;
		}
		for (i = 0; i < slots; i++)
			CHECK(seen[i] == round, "stride %u of %llu", stride,
			      slots);
	}
	CHECK(jumps == 2 * ((stride < slots ? stride : slots) - 1),
	      "stride %u of %llu: %u jumps", stride, slots, jumps);
}

static void stride_visits_all(void)
{
	static const u32 strides[] = { 1, 2, 3, 7, 16, 17, 999, 1000, 1001, -1 };
	u64 slots;
	u32 i;

	for (i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		for (slots = 1; slots < 40; slots++)
			stride_is_a_round(strides[i], slots);
		stride_is_a_round(strides[i], SLOTS);
	}
}

/* The probability of a slot: its share of the integral of x^-theta. */
static double zipf(u64 slot, u64 slots, double theta)
{
	double power = 1 - theta;

	return (pow(slot + 2, power) - pow(slot + 1, power)) /
	       (pow(slots + 1, power) - 1);
}

static void zipf_has_its_theta(u32 theta)
{
	u64 i;

	make(MDMA_PATTERN_ZIPF);
	sequence.theta = theta;
	visit(VISITS, SLOTS);
	for (i = 0; i < SLOTS; i++)
		CHECK(likely(seen[i], zipf(i, SLOTS, theta / 1000.0)),
		      "theta %u, slot %llu: %llu visits", theta, i,
		      seen[i]);
}

static void zipf_distribution(void)
{
	zipf_has_its_theta(0);
	zipf_has_its_theta(1);
	zipf_has_its_theta(500);
	zipf_has_its_theta(900);
	zipf_has_its_theta(990);
	zipf_has_its_theta(999);
}

/* More slots than any memory has, and a single slot. */
static void zipf_limits(void)
{
	const u64 many = 1ULL << 40, most = 1ULL << 30;
	u64 slot, first = 0, upper = 0, i;

	make(MDMA_PATTERN_ZIPF);
	sequence.theta = 0;
	for (i = 0; i < VISITS; i++) {
		slot = mdma_sequence_next(&sequence, many);
		CHECK(slot < most, "slot %llu", slot);
		upper += slot >= most / 2;
	}
	CHECK(likely(upper, 0.5), "%llu in the upper half", upper);
	sequence.theta = 999;
	for (i = 0; i < VISITS; i++) {
		slot = mdma_sequence_next(&sequence, most);
		CHECK(slot < most, "slot %llu", slot);
		first += !slot;
	}
	CHECK(likely(first, zipf(0, most, 0.999)), "%llu at 0", first);
	make(MDMA_PATTERN_ZIPF);
	visit(1000, 1);
	CHECK(seen[0] == 1000, "one slot");
}

static void hot_set_is_hot(void)
{
	const double cold = 0.1 / SLOTS;
	u64 i, hot = 0;

	make(MDMA_PATTERN_HOT);
	visit(VISITS, SLOTS);
	for (i = 0; i < SLOTS; i++)
		CHECK(likely(seen[i], cold + (i < 10 ? 0.09 : 0)),
		      "slot %llu: %llu", i, seen[i]);
	for (i = 0; i < 10; i++)
		hot += seen[i];
	CHECK(likely(hot, 0.9 + 10 * cold), "%llu", hot);
	make(MDMA_PATTERN_HOT);
	sequence.hot = SLOTS + 1;
	sequence.hot_percent = 100;
	visit(VISITS, SLOTS);
	for (i = 0; i < SLOTS; i++)
		CHECK(likely(seen[i], 1.0 / SLOTS), "slot %llu", i);
}

/* After n visits the hot set begins at slot n / drift, and wraps at the end. */
static void hot_set_drifts(void)
{
	u64 i, slot, begin;

	make(MDMA_PATTERN_HOT);
	sequence.hot_percent = 100;
	sequence.drift = 7;
	for (i = 0; i < 3 * 7 * SLOTS; i++) {
		slot = mdma_sequence_next(&sequence, SLOTS);
		begin = i / 7 % SLOTS;
		CHECK((slot + SLOTS - begin) % SLOTS < 10,
		      "visit %llu: slot %llu", i, slot);
		seen[slot]++;
	}
	for (i = 0; i < SLOTS; i++)
		CHECK(seen[i], "slot %llu never", i);
}

/* Window and parameters change between a stream's record and its use. */
static void any_state_does_no_harm(void)
{
	u64 slots, i;

	for (i = 0; i < VISITS; i++) {
		sequence = (struct mdma_sequence) {
			.kind = unit_below(MDMA_PATTERN_LAST + 1),
			.stride = 1 + (u32)unit_below(1U << 31),
			.theta = unit_below(1000), .hot = 1 + (u32)unit_below(1U << 31),
			.hot_percent = unit_below(101), .drift = (u32)unit_random(),
			.prng = unit_random(), .position = unit_random(),
		};
		slots = 1 + (unit_random() >> 12 >> unit_below(52));
		CHECK(mdma_sequence_next(&sequence, slots) < slots, "state");
		CHECK(mdma_sequence_next(&sequence, slots) < slots, "state");
	}
}

static const struct unit_test tests[] = {
	{ "random_numbers_are_known", random_numbers_are_known },
	{ "sequential_is_in_order", sequential_is_in_order },
	{ "random_is_uniform", random_is_uniform },
	{ "stride_visits_all", stride_visits_all },
	{ "zipf_distribution", zipf_distribution },
	{ "zipf_limits", zipf_limits },
	{ "hot_set_is_hot", hot_set_is_hot },
	{ "hot_set_drifts", hot_set_drifts },
	{ "any_state_does_no_harm", any_state_does_no_harm },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(tests[0]));
}
