// SPDX-License-Identifier: GPL-2.0-only
/* The device's own workload: it writes what it says, and nothing else. */
#include <sys/ioctl.h>

#include "fixture.h"

#define FILLER	0xc7

static void set_random(struct rig *r, const char *seed)
{
	SET(r, "pattern", "random");
	SET(r, "batch", "3");
	SET(r, "seed", seed);
}

/* The ledger after this many descriptors of a fresh device. */
static long long run_anew(const char *seed, const char *steps,
			  struct mdma_ledger_record **records)
{
	struct rig r;
	long long n;

	ASSERT_STR("0", error(rig_open(&r, "mdma-1", RIG_PAGES)));
	set_window(&r, 100, 900);
	set_random(&r, seed);
	SET(&r, "direction", "mixed");
	SET(&r, "step", steps);
	n = mdma_ledger(&r.dev, records);
	rig_close(&r);
	return n;
}

TEST_F(rig, mdma_same_seed_same_ledger, 30)
{
	struct mdma_ledger_record *first, *second, *other;
	long long n = run_anew("42", "300", &first);

	(void)self;
	ASSERT_LT(100, n);
	ASSERT_EQ(n, run_anew("42", "300", &second));
	EXPECT_EQ(0, memcmp(first, second, n * sizeof(*first)));
	if (run_anew("43", "300", &other) == n)
		EXPECT_NE(0, memcmp(first, other, n * sizeof(*first)));
}

TEST_F(rig, mdma_ledger_is_what_memory_shows, 30)
{
	long long n, stamps = 0;
	__u64 page;

	set_window(self, 0, 341 * 3);
	set_random(self, "7");
	SET(self, "step", "250");
	n = check_stamps(self);
	for (page = 0; page < RIG_PAGES; page++)
		stamps += stamp_at(self, at(page))->magic == MDMA_STAMP_MAGIC;
	EXPECT_LT(300, n);
	EXPECT_EQ(n, stamps);
	EXPECT_EQ(750, mdma_get(&self->dev, "stats/pages_written"));
	EXPECT_EQ(750, mdma_get(&self->dev, "stats/seq"));
	EXPECT_EQ(250, mdma_get(&self->dev, "stats/descriptors"));
	EXPECT_EQ(750, mdma_get(&self->dev, "stats/pins"));
	EXPECT_EQ(750, mdma_get(&self->dev, "stats/unpins"));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
}

TEST_F(rig, mdma_writes_nothing_but_stamps_in_the_window, 30)
{
	struct mdma *m = &self->dev;
	__u64 page, i;
	bool inside;

	memset(self->mem, FILLER, RIG_PAGES << PAGE_SHIFT);
	ASSERT_STR("0", error(mdma_set(m, "workload/window",
				       "%llx-%llx,%llx-%llx,%llx-%llx",
				       at(10), at(20) - 1, at(500), at(501) - 1,
				       at(700), at(800) - 1)));
	set_random(self, "99");
	SET(self, "step", "600");
	check_stamps(self);
	for (page = 0; page < RIG_PAGES; page++) {
		inside = (page >= 10 && page < 20) || page == 500 ||
			 (page >= 700 && page < 800);
		i = inside ? sizeof(struct mdma_stamp) : 0;
		for (; i < PAGE_SIZE; i++)
			if (self->mem[(page << PAGE_SHIFT) + i] != FILLER)
				FAIL("page %llu, byte %llu", page, i);
	}
}

TEST_F(rig, mdma_working_set_is_the_begin_of_the_window, 20)
{
	struct mdma_ledger_record *rec;
	long long n;

	set_window(self, 100, 900);
	set_random(self, "5");
	SET(self, "pages", "30");
	SET(self, "step", "200");
	n = mdma_ledger(&self->dev, &rec);
	ASSERT_EQ(30, n);
	EXPECT_EQ(at(100), rec[0].iova);
	EXPECT_EQ(at(129), rec[29].iova);
}

TEST_F(rig, mdma_device_without_a_window_writes_nothing, 20)
{
	struct mdma_ledger_record *rec;
	__u64 i;

	memset(self->mem, FILLER, RIG_PAGES << PAGE_SHIFT);
	EXPECT_NE(0, mdma_set(&self->dev, "workload/step", "10"));
	mdma_set(&self->dev, "workload/run", "1");
	usleep(100000);
	mdma_set(&self->dev, "workload/run", "0");
	for (i = 0; i < RIG_PAGES << PAGE_SHIFT; i++)
		if (self->mem[i] != FILLER)
			FAIL("byte %llu", i);
	EXPECT_EQ(0, mdma_ledger(&self->dev, &rec));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pins"));
}

TEST_F(rig, mdma_reading_changes_nothing, 20)
{
	__u64 i;

	memset(self->mem, FILLER, RIG_PAGES << PAGE_SHIFT);
	set_window(self, 0, RIG_PAGES);
	SET(self, "direction", "read");
	SET(self, "batch", "16");
	SET(self, "step", "64");
	EXPECT_EQ(1024, mdma_get(&self->dev, "stats/pages_read"));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pages_written"));
	for (i = 0; i < RIG_PAGES << PAGE_SHIFT; i++)
		if (self->mem[i] != FILLER)
			FAIL("byte %llu", i);
}

#define BAD(name, value) do {						\
	int bad = mdma_set(m, "workload/" name, value);			\
									\
	EXPECT_STR(bad == -ERANGE ? "ERANGE" : "EINVAL", error(bad));	\
} while (0)

TEST_F(rig, mdma_bad_attributes, 20)
{
	struct mdma *m = &self->dev;
	char before[256], after[256];

	set_window(self, 3, 5);
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", before, 256));
	BAD("window", "1-fff");
	BAD("window", "0-ffe");
	BAD("window", "2000-1fff");
	BAD("window", "1000-1fff,");
	BAD("window", "1000-1fff;3000-3fff");
	BAD("window", "1000");
	BAD("window", "zzz");
	BAD("window", "1000-1fff,1000-2fff");
	BAD("window", "10000000000000000-10000000000000fff");
	BAD("batch", "0");
	BAD("batch", "513");
	BAD("batch", "-1");
	BAD("batch", "x");
	BAD("hold_ms", "600001");
	BAD("pattern", "chaos");
	BAD("direction", "sideways");
	BAD("run", "2");
	BAD("rate", "many");
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", after, 256));
	EXPECT_STR(before, after);
	EXPECT_EQ(1, mdma_get(m, "workload/batch"));
	SET(self, "window", "\n");
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", after, 256));
	EXPECT_STR("", after);
}

TEST_F(rig, mdma_attributes_are_fixed_while_it_runs, 20)
{
	struct mdma *m = &self->dev;

	set_window(self, 0, 64);
	SET(self, "rate", "10");
	SET(self, "run", "1");
	EXPECT_STR("EBUSY", error(mdma_set(m, "workload/batch", "2")));
	EXPECT_STR("EBUSY", error(mdma_set(m, "workload/pattern", "ring")));
	EXPECT_STR("EBUSY", error(mdma_set(m, "workload/window", "1000-1fff")));
	EXPECT_STR("EBUSY", error(mdma_set(m, "workload/seed", "1")));
	EXPECT_STR("EBUSY", error(mdma_set(m, "workload/step", "1")));
	EXPECT_STR("0", error(mdma_set(m, "workload/rate", "20")));
	EXPECT_STR("0", error(mdma_set(m, "workload/hold_ms", "1")));
	SET(self, "run", "0");
	EXPECT_STR("0", error(mdma_set(m, "workload/batch", "2")));
}

TEST_F(rig, mdma_window_that_is_not_mapped, 20)
{
	struct mdma *m = &self->dev;

	set_window(self, RIG_PAGES - 2, RIG_PAGES + 2);
	SET(self, "pattern", "sequential");
	EXPECT_STR("EINVAL", error(mdma_set(m, "workload/step", "4")));
	EXPECT_EQ(2, mdma_get(m, "stats/pin_errors"));
	EXPECT_EQ(2, mdma_get(m, "stats/pages_written"));
	EXPECT_EQ(0, mdma_get(m, "stats/pinned"));
	EXPECT_LOCKED(0);
	set_window(self, 0, 4);
	SET(self, "step", "4");
	EXPECT_EQ(6, check_stamps(self));
}

TEST_F(rig, mdma_runs_stay_pinned_for_the_hold_time, 20)
{
	START(self);
	set_window(self, 0, 64);
	SET(self, "batch", "4");
	SET(self, "hold_ms", "600000");
	SET(self, "step", "3");
	EXPECT_EQ(12, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_LOCKED(12);
	EXPECT_STR("0-11", dirty_all(self));
	/* Runs that are already held are held for the new time, too. */
	SET(self, "hold_ms", "600");
	EXPECT_EQ(0, wait_for_value(self, "stats/pinned", 0));
	EXPECT_LOCKED(0);
	EXPECT_STR("0-11", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/* A hold of minutes takes minutes: not less, and not for ever. */
TEST_F(rig, mdma_runs_are_held_for_more_than_a_minute, 120)
{
	long long pinned;
	double begin;

	if (backend_is_stock())
		SKIP("a minute for what the device does by itself");
	set_window(self, 0, 64);
	SET(self, "batch", "4");
	SET(self, "hold_ms", "62000");
	begin = now_ms();
	SET(self, "step", "3");
	/* Reads the clock after the device. */
	while (pinned = mdma_get(&self->dev, "stats/pinned"),
	       now_ms() < begin + 62000) {
		ASSERT_EQ(12, pinned);
		usleep(100000);
	}
	EXPECT_EQ(0, wait_for_value(self, "stats/pinned", 0));
	EXPECT_LOCKED(0);
	printf("# held for %.1f s\n", (now_ms() - begin) / 1000);
}

/* The device gives back what it holds there, and then pins no page there. */
TEST_F(rig, mdma_unmap_of_held_pages, 20)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT;
	long long errors;

	set_window(self, 0, 64);
	SET(self, "batch", "4");
	SET(self, "hold_ms", "600000");
	SET(self, "step", "8");
	EXPECT_LOCKED(32);
	ASSERT_STR("0", error(dma_unmap(self->container, at(0), size, NULL)));
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	memset(self->mem, FILLER, size);
	errors = mdma_get(&self->dev, "stats/pin_errors");
	EXPECT_NE(0, mdma_set(&self->dev, "workload/step", "8"));
	EXPECT_EQ(errors + 8, mdma_get(&self->dev, "stats/pin_errors"));
	EXPECT_EQ(FILLER, self->mem[0]);
}

TEST_F(rig, mdma_unmap_while_it_runs, 40)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT, i;
	unsigned char *copy = malloc(size);
	int round;

	START(self);
	set_window(self, 0, RIG_PAGES);
	set_random(self, "1");
	SET(self, "hold_ms", "5");
	SET(self, "run", "1");
	for (round = 0; round < 5; round++) {
		wait_for_writes(self, 50);
		ASSERT_STR("0", error(dma_unmap(self->container, at(0), size,
						NULL)));
		memcpy(copy, self->mem, size);
		EXPECT_LOCKED(0);
		usleep(50000);
		EXPECT_LOCKED(0);
		for (i = 0; i < size; i++)
			if (copy[i] != self->mem[i])
				FAIL("byte %llu after the unmap", i);
		ASSERT_EQ(0, dma_map(self->container, self->mem, at(0), size,
				     MAP_RW));
	}
	SET(self, "run", "0");
}

TEST_F(rig, mdma_reset_gives_the_pins_back, 20)
{
	set_window(self, 0, 64);
	SET(self, "pattern", "ring");
	SET(self, "batch", "2");
	SET(self, "step", "20");
	PIN(self, 100, 5, 'w');
	EXPECT_LT(5, locked_pages());
	ASSERT_EQ(0, ioctl(self->dev.device, VFIO_DEVICE_RESET));
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	TOUCH(self, 0, 1);
}

/*
 * A migration like QEMU's, without QEMU: copy the pages of each report while the
 * device continues, stop the device, copy the rest. Then both memories are equal.
 */
static void migrate_memory(struct rig *r, int rounds)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	__u64 size = RIG_PAGES << PAGE_SHIFT, page, copied = 0;
	unsigned char *copy = memory(size, PROT_READ | PROT_WRITE);
	int round;

	START(r);
	memcpy(copy, r->mem, size);
	for (round = 0; round <= rounds; round++) {
		if (round == rounds)
			SET(r, "run", "0");
		ASSERT_EQ(0, dirty_get(r->container, at(0), size, bitmap));
		for (page = 0; page < RIG_PAGES; page++) {
			if (!bitmap_bit(bitmap, page))
				continue;
			memcpy(copy + (page << PAGE_SHIFT),
			       r->mem + (page << PAGE_SHIFT), PAGE_SIZE);
			copied++;
		}
	}
	STOP(r);
	for (page = 0; page < RIG_PAGES; page++)
		if (memcmp(copy + (page << PAGE_SHIFT),
			   r->mem + (page << PAGE_SHIFT), PAGE_SIZE))
			FAIL("page %llu is lost, its seq is %llu", page,
			     (long long)stamp_at(r, at(page))->seq);
	printf("# %d rounds, %llu pages copied, %lld written\n", rounds,
	       copied, mdma_get(&r->dev, "stats/pages_written"));
	munmap(copy, size);
}

static void precopy(struct rig *r, const char *pattern, const char *batch,
		    const char *hold)
{
	set_window(r, 0, RIG_PAGES);
	SET(r, "pattern", pattern);
	SET(r, "batch", batch);
	SET(r, "hold_ms", hold);
	SET(r, "run", "1");
	wait_for_writes(r, 10);
	migrate_memory(r, 30);
	SET(r, "run", "0");
}

TEST_F(rig, R2_precopy_of_a_running_device_loses_nothing, 60)
{
	precopy(self, "random", "1", "0");
	precopy(self, "random", "16", "0");
	precopy(self, "sequential", "64", "2");
	precopy(self, "ring", "4", "0");
}

TEST_MAIN(mdev_remove_leftovers)
