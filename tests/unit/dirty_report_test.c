// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a bitmap to user space: which bits change, and what faults do.
 */
#include <errno.h>
#include <string.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dirty_report.h"
#include "unit.h"

/* More than one chunk can skip. */
#define MAX_BITS	(DIRTY_SKIP_BITS + 2 * DIRTY_CHUNK_BITS)
#define MAX_WORDS	(MAX_BITS / 64 + 2)

/* A report: for each bit, whether the page is mapped and dirty. */
static bool mapped[MAX_BITS], dirty[MAX_BITS];
static u64 user[MAX_WORDS], before[MAX_WORDS];
static int snapshot_error;
static unsigned int nr_snapshots;
/* A snapshot takes all that it is offered. */
static bool whole;

/* Clean bits that a chunk skips: sometimes none, mostly as many as possible. */
static unsigned int clean_bits(const struct dirty_chunk *chunk)
{
	u64 i = chunk->first;

	if (!unit_below(4))
		return 0;
	while (i < chunk->end && i - chunk->first < DIRTY_SKIP_BITS &&
	       mapped[i] && !dirty[i])
		i++;
	i = (i - chunk->first) / 64;
	return 64 * (unit_below(4) ? i : unit_below(i + 1));
}

/* Bits skipped of a hole at the start of a chunk: sometimes none, mostly all. */
static u64 hole_bits(const struct dirty_chunk *chunk)
{
	u64 i = chunk->first;

	if (!unit_below(4))
		return 0;
	while (i < chunk->end && !mapped[i])
		i++;
	i -= chunk->first;
	return chunk->first + i == chunk->end ? i : i / 64 * 64;
}

static int snapshot(void *ctx, struct dirty_chunk *chunk)
{
	unsigned int i, n;
	bool down;

	(void)ctx;
	for (i = 0; i < chunk->room / 64; i++)
		if (chunk->dirty[i] || (chunk->mapped && chunk->mapped[i]))
			unit_failed = true;
	if (unit_failed || chunk->first % 64)
		return -EINVAL;
	if (snapshot_error && chunk->first)
		return snapshot_error;

	nr_snapshots++;
	if (!snapshot_error && !whole) {
		dirty_chunk_hole(chunk, hole_bits(chunk));
		dirty_chunk_skip(chunk, clean_bits(chunk));
	}
	if (!whole && !unit_below(4))
		dirty_chunk_cut(chunk, 64 * (1 + unit_below(40)));
	if (chunk->nbits > chunk->room)
		unit_failed = true;
	for (i = 0; i < chunk->nbits; i += n) {
		bool is = mapped[chunk->first + i];

		for (n = 1; i + n < chunk->nbits &&
		     mapped[chunk->first + i + n] == is; n++)
			;
		if (is)
			dirty_chunk_map(chunk, i, n);
	}
	/* In ascending order, or in the other one. */
	down = unit_below(2);
	for (i = 0; i < chunk->nbits; i++) {
		n = down ? chunk->nbits - 1 - i : i;
		if (!dirty[chunk->first + n])
			continue;
		chunk->dirty[n / 64] |= 1ULL << n % 64;
		dirty_chunk_mark(chunk, n, n);
	}
	return 0;
}

static bool bit_of(const u64 *words, u64 i)
{
	return words[i / 64] >> i % 64 & 1;
}

/* Mapped runs of random length; every @sparse'th mapped page dirty. */
static void random_report(u64 nbits)
{
	bool is = unit_below(2), all = !unit_below(3);
	u64 sparse = 1 + unit_below(3) * unit_below(400000), i, left = 0;

	memset(mapped, 0, sizeof(mapped));
	memset(dirty, 0, sizeof(dirty));
	for (i = 0; i < nbits; i++) {
		if (!left--) {
			left = unit_below(unit_below(2) ? 100 : 60000);
			is = !is;
		}
		mapped[i] = all || is;
		dirty[i] = mapped[i] && !unit_below(sparse);
	}
	for (i = 0; i < MAX_WORDS; i++)
		before[i] = unit_random();
	memcpy(user, before, sizeof(user));
}

static u64 random_nbits(void)
{
	switch (unit_below(3)) {
	case 0:
		return 1 + unit_below(unit_below(2) ? 200 : 2000);
	case 1:
		return DIRTY_CHUNK_BITS * (1 + unit_below(10));
	default:
		return 1 + unit_below(MAX_BITS);
	}
}

static void only_mapped_bits_change(void)
{
	unsigned int round;
	u64 nbits, i;

	for (round = 0; round < 100; round++) {
		nbits = random_nbits();
		random_report(nbits);
		CHECK(!dirty_report_write(user, nbits, snapshot, NULL), "-");
		for (i = 0; i < MAX_WORDS * 64; i++) {
			bool want = i < nbits && mapped[i] ?
				    dirty[i] : bit_of(before, i);

			CHECK(bit_of(user, i) == want, "bit %llu of %llu", i,
			      nbits);
		}
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

/* Reports of each size, with and without allocated memory: nothing behind the last bit changes. */
static void each_size(void)
{
	u64 nbits, i;

	whole = true;
	for (nbits = 1; nbits < DIRTY_SMALL_BITS + 200; nbits++) {
		random_report(nbits);
		memset(mapped, true, nbits);
		CHECK(!dirty_report_write(user, nbits, snapshot, NULL), "-");
		for (i = 0; i < nbits + 128; i++)
			CHECK(bit_of(user, i) == (i < nbits ? dirty[i] :
						  bit_of(before, i)),
			      "bit %llu of %llu", i, nbits);
	}
	whole = false;
}

static void faults_are_errors(void)
{
	unsigned int round;
	u64 nbits;
	int ret;

	for (round = 0; round < 100; round++) {
		const char *end;

		nbits = random_nbits();
		random_report(nbits);
		memset(mapped, true, nbits);
		end = (char *)user + unit_below((nbits + 63) / 64 * 8);
		shim_write_end = end;
		if (unit_below(2))
			shim_read_end = end;
		ret = dirty_report_write(user, nbits, snapshot, NULL);
		shim_write_end = NULL;
		shim_read_end = NULL;
		CHECK(ret == -EFAULT, "%d for %llu bits, fault at byte %td",
		      ret, nbits, end - (char *)user);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

/* Memory that can be written, and not read: what must stay there is not known. */
static void unreadable_memory(void)
{
	u64 nbits;

	for (nbits = 65; nbits < 500; nbits++) {
		if (nbits % 64 == 0)
			continue;
		random_report(nbits);
		memset(mapped, true, nbits);
		memcpy(user, before, sizeof(user));
		shim_read_end = (char *)(user + nbits / 64);
		CHECK(dirty_report_write(user, nbits, snapshot, NULL) ==
		      -EFAULT, "%llu bits", nbits);
		shim_read_end = NULL;
		CHECK(user[nbits / 64] == before[nbits / 64], "%llu bits",
		      nbits);
	}
}

/* The words from the first to the last mark, in whatever order these come. */
static void words_between_marks(void)
{
	unsigned int a, b, step;

	for (step = 1; step < 200; step += 21) {
		for (a = 0; a < DIRTY_CHUNK_BITS; a += 64 * step - 1) {
			for (b = 0; b < DIRTY_CHUNK_BITS; b += 64 * step) {
				struct dirty_chunk chunk = {};
				unsigned int low = a < b ? a : b;
				unsigned int high = a < b ? b : a;

				dirty_chunk_mark(&chunk, a, a);
				dirty_chunk_mark(&chunk, b, b);
				CHECK(chunk.first_dirty == low / 64 &&
				      chunk.end_dirty == high / 64 + 1,
				      "%u, %u: %u to %u", a, b,
				      chunk.first_dirty, chunk.end_dirty);
			}
		}
	}
}

static void unmapped_memory_is_not_touched(void)
{
	random_report(1000);
	memset(mapped, 0, sizeof(mapped));
	memset(dirty, 0, sizeof(dirty));
	shim_write_end = (char *)user;
	shim_read_end = (char *)user;
	CHECK(!dirty_report_write(user, 1000, snapshot, NULL), "-");
	shim_write_end = NULL;
	shim_read_end = NULL;
}

/* Without memory the report takes longer, and is the same. */
static void no_memory(void)
{
	u64 i, nbits = 4 * DIRTY_CHUNK_BITS + 5;
	int fail;

	for (fail = 0; fail < 4; fail++) {
		random_report(nbits);
		shim_fail_in = fail;
		CHECK(!dirty_report_write(user, nbits, snapshot, NULL), "-");
		shim_fail_in = -1;
		for (i = 0; i < nbits; i++)
			CHECK(bit_of(user, i) == (mapped[i] ? dirty[i] :
							      bit_of(before, i)),
			      "bit %llu", i);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

static void short_report_allocates_nothing(void)
{
	unsigned int round;

	for (round = 0; round < 100; round++) {
		u64 i, nbits = 1 + unit_below(DIRTY_SMALL_BITS);

		random_report(nbits);
		shim_fail_in = 5;
		CHECK(!dirty_report_write(user, nbits, snapshot, NULL), "-");
		CHECK(shim_fail_in == 5, "%llu bits allocate", nbits);
		shim_fail_in = -1;
		for (i = 0; i < nbits; i++)
			CHECK(bit_of(user, i) == (mapped[i] ? dirty[i] :
							      bit_of(before, i)),
			      "bit %llu of %llu", i, nbits);
	}
}

/* A hole takes one snapshot, however big it is. */
static int snapshot_of_a_hole(void *ctx, struct dirty_chunk *chunk)
{
	(void)ctx;
	nr_snapshots++;
	if (chunk->first)
		dirty_chunk_hole(chunk, chunk->end - chunk->first);
	else
		dirty_chunk_hole(chunk, 1ULL << 50);
	return 0;
}

static void hole_is_skipped_at_once(void)
{
	nr_snapshots = 0;
	shim_write_end = (char *)user;
	shim_read_end = (char *)user;
	CHECK(!dirty_report_write(user, (1ULL << 51) + 3, snapshot_of_a_hole,
				  NULL), "-");
	shim_write_end = NULL;
	shim_read_end = NULL;
	CHECK(nr_snapshots <= 3, "%u snapshots", nr_snapshots);
}

static void snapshot_error_ends_it(void)
{
	int ret;

	random_report(MAX_BITS);
	snapshot_error = -EINVAL;
	ret = dirty_report_write(user, MAX_BITS, snapshot, NULL);
	snapshot_error = 0;
	CHECK(ret == -EINVAL, "%d", ret);
	CHECK(!memcmp(user + DIRTY_CHUNK_BITS / 64,
		      before + DIRTY_CHUNK_BITS / 64, DIRTY_CHUNK_BYTES), "went on");
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* Whoever is being killed gets no more of a report than a chunk. */
static void killed_ends_it(void)
{
	int ret;

	random_report(MAX_BITS);
	memset(mapped, true, sizeof(mapped));
	whole = true;
	nr_snapshots = 0;
	shim_killed = true;
	ret = dirty_report_write(user, MAX_BITS, snapshot, NULL);
	shim_killed = false;
	whole = false;
	CHECK(ret == -EINTR, "%d", ret);
	CHECK(nr_snapshots == 1, "%u snapshots", nr_snapshots);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static const struct unit_test tests[] = {
	{ "report: R8: mapped bits become 0 or 1, all others stay",
	  only_mapped_bits_change },
	{ "report: R8: of any size, nothing changes behind it", each_size },
	{ "report: a fault anywhere is an error", faults_are_errors },
	{ "report: R8: memory that can't be read is an error",
	  unreadable_memory },
	{ "report: the words between marks", words_between_marks },
	{ "report: R8: the words of a hole are not even touched",
	  unmapped_memory_is_not_touched },
	{ "report: no memory is no error", no_memory },
	{ "report: R13: a short one allocates nothing",
	  short_report_allocates_nothing },
	{ "report: R17: a hole is skipped at once", hole_is_skipped_at_once },
	{ "report: an error of a snapshot ends the report",
	  snapshot_error_ends_it },
	{ "report: a fatal signal ends it", killed_ends_it },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
