// SPDX-License-Identifier: GPL-2.0-only
/*
 * The workload's patterns, access modes and behaviour on errors: the ledger shows
 * what the attributes say.
 */
#include "fixture.h"

#define SLOTS	100

/* A record for each page of the rig; all 0 for a page that was never written. */
static void read_ledger(struct rig *r, struct mdma_ledger_record *page)
{
	struct mdma_ledger_record *records;
	long long n = mdma_ledger(&r->dev, &records), i;

	ASSERT_LE(0, n);
	memset(page, 0, RIG_PAGES * sizeof(*page));
	for (i = 0; i < n; i++)
		page[(records[i].iova - RIG_IOVA) >> PAGE_SHIFT] = records[i];
	free(records);
}

static long long counter(struct rig *r, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "stats/%s", name);
	return mdma_get(&r->dev, path);
}

TEST_F(rig, mdma_stride_visits_every_nth_slot, 20)
{
	struct mdma_ledger_record page[RIG_PAGES];
	int slot, phase, seq = 1;

	set_window(self, 0, SLOTS);
	SET(self, "pattern", "stride");
	SET(self, "stride", "7");
	SET(self, "step", "100");
	read_ledger(self, page);
	for (phase = 0; phase < 7; phase++)
		for (slot = phase; slot < SLOTS; slot += 7)
			ASSERT_EQ(seq++, page[slot].seq);
	SET(self, "step", "1");
	read_ledger(self, page);
	EXPECT_EQ(101, page[0].seq);
}

/* Shares of the first slot, and of the others by thirds, according to theta. */
TEST_F(rig, mdma_zipf_prefers_the_first_slots, 30)
{
	struct mdma_ledger_record page[RIG_PAGES];
	long long head = 0;
	int slot;

	set_window(self, 0, SLOTS);
	SET(self, "pattern", "zipf");
	SET(self, "theta", "990");
	SET(self, "step", "3000");
	read_ledger(self, page);
	for (slot = 0; slot < 10; slot++)
		head += page[slot].writes;
	/* ln 2 / ln 101 = 0.15 at 0, ln 11 / ln 101 = 0.52 before 10 */
	EXPECT_LT(350, page[0].writes);
	EXPECT_LT(page[0].writes, 560);
	EXPECT_LT(1430, head);
	EXPECT_LT(head, 1730);
	EXPECT_LT(page[SLOTS - 1].writes, 25);
	SET(self, "theta", "0");
	ASSERT_EQ(0, mdma_clear_ledger(&self->dev));
	SET(self, "step", "3000");
	read_ledger(self, page);
	for (slot = 0, head = 0; slot < 10; slot++)
		head += page[slot].writes;
	EXPECT_LT(210, head);
	EXPECT_LT(head, 390);
}

TEST_F(rig, mdma_hot_set_drifts, 30)
{
	struct mdma_ledger_record page[RIG_PAGES];
	int slot, begin;

	set_window(self, 0, SLOTS);
	SET(self, "pattern", "hot");
	SET(self, "hot", "4");
	SET(self, "hot_percent", "100");
	SET(self, "drift", "50");
	for (begin = 0; begin < 5; begin++) {
		ASSERT_EQ(0, mdma_clear_ledger(&self->dev));
		SET(self, "step", "50");
		read_ledger(self, page);
		for (slot = 0; slot < SLOTS; slot++)
			if (!page[slot].writes !=
			    (slot < begin || slot >= begin + 4))
				FAIL("hot from %d: slot %d", begin, slot);
	}
	SET(self, "hot_percent", "50");
	ASSERT_EQ(0, mdma_clear_ledger(&self->dev));
	SET(self, "drift", "0");
	SET(self, "step", "2000");
	read_ledger(self, page);
	begin = page[0].writes + page[1].writes + page[2].writes +
		page[3].writes;
	/* Half of the visits, and 4 % of the rest. */
	EXPECT_LT(900, begin);
	EXPECT_LT(begin, 1180);
}

TEST_F(rig, mdma_ring_keeps_as_many_as_it_is_told, 20)
{
	set_window(self, 0, SLOTS);
	SET(self, "pattern", "ring");
	SET(self, "ring", "3");
	SET(self, "batch", "2");
	START(self);
	SET(self, "step", "10");
	EXPECT_EQ(6, counter(self, "pinned"));
	EXPECT_STR("0-19", dirty_all(self));
	EXPECT_STR("14-19", dirty_all(self));
	SET(self, "step", "1");
	EXPECT_STR("14-21", dirty_all(self));
	EXPECT_STR("16-21", dirty_all(self));
	EXPECT_LOCKED(6);
}

/* One descriptor has many single pages, each pinned by a call of its own. */
TEST_F(rig, mdma_scatter_is_many_single_pages, 20)
{
	struct mdma_ledger_record page[RIG_PAGES];
	int i, pages = 0, neighbours = 0;

	set_window(self, 0, RIG_PAGES);
	SET(self, "pattern", "scatter");
	SET(self, "batch", "64");
	SET(self, "hold_ms", "600000");
	SET(self, "step", "1");
	EXPECT_EQ(1, counter(self, "descriptors"));
	EXPECT_EQ(64, counter(self, "pages_written"));
	EXPECT_EQ(64, counter(self, "pinned"));
	read_ledger(self, page);
	for (i = 0; i < RIG_PAGES; i++) {
		pages += !!page[i].writes;
		neighbours += i && page[i].writes && page[i - 1].writes;
	}
	EXPECT_LT(50, pages);
	EXPECT_LT(neighbours, 20);
	check_stamps(self);
}

/* Exactly this many descriptors are executed. */
static void expect_descriptors(struct rig *r, long long n)
{
	EXPECT_EQ(n, wait_for_value(r, "stats/descriptors", n));
	usleep(300000);
	EXPECT_EQ(n, counter(r, "descriptors"));
}

TEST_F(rig, mdma_burst_and_pause, 20)
{
	set_window(self, 0, SLOTS);
	SET(self, "burst", "5");
	SET(self, "pause_ms", "600000");
	SET(self, "run", "1");
	expect_descriptors(self, 5);
	/* A new value takes effect at once: it ends the pause. */
	SET(self, "burst", "7");
	expect_descriptors(self, 12);
	SET(self, "burst", "0");
	EXPECT_EQ(true, WAIT_FOR(counter(self, "descriptors") > 100));
}

static void mixed(struct rig *r, const char *percent, int least, int most)
{
	long long read = counter(r, "pages_read"), written;

	written = counter(r, "pages_written");
	SET(r, "write_percent", percent);
	SET(r, "step", "1000");
	written = counter(r, "pages_written") - written;
	read = counter(r, "pages_read") - read;
	EXPECT_EQ(1000, read + written);
	EXPECT_LE(least, written);
	EXPECT_LE(written, most);
}

TEST_F(rig, mdma_mixed_as_the_percentage_says, 20)
{
	set_window(self, 0, SLOTS);
	SET(self, "direction", "mixed");
	mixed(self, "0", 0, 0);
	mixed(self, "20", 130, 270);
	mixed(self, "100", 1000, 1000);
}

#define RATE		250	/* descriptors a second */
#define RATE_LOOKS	7

/* Descriptors by the device's own count, read between two readings of the clock. */
struct look {
	double before, after;
	long long n;
};

static struct look look(struct rig *r)
{
	struct look look = { .before = now_ms() };

	look.n = counter(r, "descriptors");
	look.after = now_ms();
	return look;
}

static double most_between(const struct look *a, const struct look *b)
{
	return 1.05 * RATE * (b->after - a->before) / 1000;
}

/* Whether the rate was kept between two looks. */
static bool is_kept(const struct look *a, const struct look *b)
{
	long long n = b->n - a->n;

	printf("# %lld descriptors in %.0f to %.0f ms\n", n,
	       b->before - a->after, b->after - a->before);
	return n >= (long long)(0.95 * RATE * (b->before - a->after) / 1000) &&
	       n <= (long long)most_between(a, b);
}

/*
 * Passes as soon as the machine is quick enough at any two looks. A machine that can't
 * do several times as many descriptors without a rate never is.
 */
TEST_F(rig, mdma_rate_within_5_percent, 60)
{
	struct look looks[RATE_LOOKS], last;
	int i, j;

	set_window(self, 0, SLOTS);
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/rate", "%d", RATE));
	SET(self, "run", "1");
	EXPECT_EQ(true, WAIT_FOR(counter(self, "descriptors") > 50));
	for (i = 0; i < RATE_LOOKS; i++) {
		looks[i] = look(self);
		for (j = 0; j < i; j++)
			if (is_kept(&looks[j], &looks[i]))
				return;
		sleep(4);
	}
	SET(self, "rate", "0");
	looks[0] = look(self);
	sleep(4);
	last = look(self);
	if (last.n - looks[0].n > 8 * (long long)most_between(&looks[0], &last))
		FAIL("never within 5 percent of %d a second", RATE);
	NO_CHANCE("%d descriptors a second are too many for this machine", RATE);
}

static void set_rw(struct rig *r)
{
	set_window(r, 0, SLOTS);
	SET(r, "access", "rw");
	SET(r, "pattern", "random");
	SET(r, "batch", "4");
}

TEST_F(rig, mdma_rw_pins_nothing, 30)
{
	set_rw(self);
	START(self);
	SET(self, "step", "200");
	EXPECT_EQ(SLOTS, check_stamps(self));
	EXPECT_EQ(800, counter(self, "pages_written"));
	EXPECT_EQ(0, counter(self, "pins"));
	EXPECT_STR("0-99", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
	SET(self, "direction", "read");
	SET(self, "step", "10");
	EXPECT_EQ(40, counter(self, "pages_read"));
	EXPECT_STR("none", dirty_all(self));
	/* The device's own thread does the same as a step. */
	SET(self, "direction", "write");
	SET(self, "run", "1");
	EXPECT_EQ(true, WAIT_FOR(counter(self, "pages_written") > 900));
	SET(self, "run", "0");
	EXPECT_EQ(0, counter(self, "pins"));
	EXPECT_EQ(SLOTS, check_stamps(self));
}

/* Bytes beside the stamps do not change, and no number is used twice. */
TEST_F(rig, mdma_rw_same_writes_as_by_pins, 30)
{
	struct mdma_ledger_record pins[RIG_PAGES], rw[RIG_PAGES];

	set_rw(self);
	memset(self->mem, 0xc7, RIG_PAGES << PAGE_SHIFT);
	SET(self, "step", "50");
	read_ledger(self, rw);
	EXPECT_EQ(0xc7, self->mem[sizeof(struct mdma_stamp)]);
	SET(self, "access", "pin");
	SET(self, "seed", "0");
	ASSERT_EQ(0, mdma_clear_ledger(&self->dev));
	SET(self, "step", "50");
	read_ledger(self, pins);
	EXPECT_EQ(0, memcmp(pins, rw, sizeof(rw)));
}

TEST_F(rig, mdma_rw_of_memory_that_is_not_mapped, 20)
{
	set_window(self, RIG_PAGES - 2, RIG_PAGES + 2);
	SET(self, "access", "rw");
	EXPECT_STR("EINVAL", error(mdma_set(&self->dev, "workload/step", "4")));
	EXPECT_EQ(2, counter(self, "pages_written"));
	EXPECT_EQ(2, counter(self, "pin_errors"));
	EXPECT_EQ(2, check_stamps(self));
}

TEST_F(rig, mdma_rw_unmapped_while_it_runs, 40)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT;
	int round;

	set_rw(self);
	SET(self, "run", "1");
	for (round = 0; round < 5; round++) {
		wait_for_writes(self, 20);
		ASSERT_STR("0", error(dma_unmap(self->container, at(0), size,
						NULL)));
		memset(self->mem, 0xc7, size);
		usleep(50000);
		EXPECT_EQ(0xc7, self->mem[0]);
		ASSERT_EQ(0, dma_map(self->container, self->mem, at(0), size,
				     MAP_RW));
	}
	SET(self, "run", "0");
}

/* Makes slots 2 and 3 of 4 impossible to pin. */
static void half_mapped(struct rig *r, const char *on_error)
{
	set_window(r, RIG_PAGES - 2, RIG_PAGES + 2);
	SET(r, "on_error", on_error);
}

static void expect_failures(struct rig *r, int skipped, int stopped, int retried)
{
	EXPECT_EQ(skipped, counter(r, "skipped"));
	EXPECT_EQ(stopped, counter(r, "stopped"));
	EXPECT_EQ(retried, counter(r, "retried"));
}

TEST_F(rig, mdma_failed_descriptors_are_skipped, 20)
{
	half_mapped(self, "skip");
	EXPECT_STR("EINVAL", error(mdma_set(&self->dev, "workload/step", "8")));
	expect_failures(self, 4, 0, 0);
	EXPECT_EQ(4, counter(self, "pages_written"));
}

TEST_F(rig, mdma_failed_descriptor_stops, 20)
{
	half_mapped(self, "stop");
	EXPECT_STR("EINVAL", error(mdma_set(&self->dev, "workload/step", "8")));
	expect_failures(self, 0, 1, 0);
	EXPECT_EQ(3, counter(self, "descriptors"));
	SET(self, "seed", "1");
	SET(self, "run", "1");
	EXPECT_EQ(0, wait_for_value(self, "workload/run", 0));
	expect_failures(self, 0, 2, 0);
	EXPECT_EQ(6, counter(self, "descriptors"));
}

/* The descriptor is retried until it succeeds: then as if it had never failed. */
TEST_F(rig, mdma_failed_descriptor_is_tried_again, 20)
{
	unsigned char *more = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	struct mdma_ledger_record *record;
	long long n;

	half_mapped(self, "retry");
	SET(self, "pattern", "random");
	EXPECT_STR("EINVAL", error(mdma_set(&self->dev, "workload/step", "40")));
	EXPECT_LT(30, counter(self, "retried"));
	EXPECT_EQ(40, counter(self, "retried") + counter(self, "pages_written"));
	expect_failures(self, 0, 0, counter(self, "retried"));
	ASSERT_EQ(0, dma_map(self->container, more, at(RIG_PAGES),
			     2 * PAGE_SIZE, MAP_RW));
	SET(self, "step", "1");
	n = mdma_ledger(&self->dev, &record);
	ASSERT_LT(0, n);
	EXPECT_LE(at(RIG_PAGES), record[n - 1].iova);
	expect_failures(self, 0, 0, 41 - counter(self, "pages_written"));
}

#define BAD(name, value, errno_name) \
	EXPECT_STR(errno_name, error(mdma_set(m, "workload/" name, value)))

TEST_F(rig, mdma_bad_attributes_of_patterns, 20)
{
	struct mdma *m = &self->dev;

	BAD("pattern", "burst", "EINVAL");
	BAD("access", "mmap", "EINVAL");
	BAD("on_error", "panic", "EINVAL");
	BAD("write_percent", "101", "ERANGE");
	BAD("write_percent", "-1", "EINVAL");
	BAD("ring", "0", "ERANGE");
	BAD("ring", "65537", "ERANGE");
	BAD("stride", "0", "ERANGE");
	BAD("stride", "4294967296", "ERANGE");
	BAD("theta", "1000", "ERANGE");
	BAD("theta", "0.99", "EINVAL");
	BAD("hot", "0", "ERANGE");
	BAD("hot_percent", "101", "ERANGE");
	BAD("drift", "4294967296", "ERANGE");
	BAD("burst", "x", "EINVAL");
	BAD("pause_ms", "600001", "ERANGE");
	EXPECT_EQ(990, mdma_get(m, "workload/theta"));
	EXPECT_EQ(8, mdma_get(m, "workload/ring"));
	set_window(self, 0, SLOTS);
	SET(self, "rate", "10");
	SET(self, "run", "1");
	BAD("theta", "1", "EBUSY");
	BAD("access", "rw", "EBUSY");
	BAD("on_error", "stop", "EBUSY");
	BAD("ring", "9", "EBUSY");
	BAD("burst", "9", "0");
	BAD("pause_ms", "9", "0");
}

TEST_MAIN(mdev_remove_leftovers)
