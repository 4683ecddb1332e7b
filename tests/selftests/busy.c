// SPDX-License-Identifier: GPL-2.0-only
/*
 * R11: an UNMAP of memory that is in use. It succeeds with at most two reports,
 * whatever a device writes, by pins or by vfio_dma_rw(), and however often. Only a
 * driver that keeps its pins makes it fail (R15).
 */
#include "fixture.h"
#include "stall.h"
#include "unmap_trace.h"

#define BIG_PAGES	65536ULL	/* a bitmap of two pages */
#define SIZE(pages)	((__u64)(pages) << PAGE_SHIFT)

/* Pages in the first and in the second page of the bitmap. */
#define LOW		100
#define HIGH		40000

/*
 * Both pages of the bitmap stall in each report: while the report waits for one
 * page, the other one is taken away again.
 */
struct twice {
	struct rig *rig;
	struct stall stall;
	int (*write)(struct rig *r, int page);
	int stalls;
	int failed;	/* errno of the first write that failed */
};

static int write_rw(struct rig *r, int page)
{
	return mdma_rw_write(&r->dev, at(page), 8, 1);
}

static int write_pinned(struct rig *r, int page)
{
	int ret = mdma_pin(&r->dev, at(page), 1, 'w');

	return ret ? ret : mdma_unpin(&r->dev, at(page), 1);
}

static int call_unmap(void *arg)
{
	struct twice *t = arg;

	return dma_unmap_get(t->rig->container, RIG_IOVA, SIZE(BIG_PAGES),
			     t->stall.mem, NULL);
}

/* One write for each time that the UNMAP touches its bitmap. */
static int unmap_written_at_each_stall(struct twice *t)
{
	struct job unmap;
	int page;

	job_start(&unmap, call_unmap, t);
	while (!job_done(&unmap, 0)) {
		page = stall_wait(&t->stall, 100);
		if (page < 0)
			continue;
		t->stalls++;
		if (!t->failed)
			t->failed = t->write(t->rig, page ? HIGH : LOW);
		if (!t->failed)
			madvise(t->stall.mem + (!page << PAGE_SHIFT), PAGE_SIZE,
				MADV_DONTNEED);
		stall_release_page(&t->stall, page);
	}
	return job_join(&unmap);
}

static void expect_unmapped(struct rig *r, int (*write)(struct rig *, int))
{
	struct twice t = { .rig = r, .write = write };
	int delivered, thrown_away;

	ASSERT_STR("0", error(unmap_trace_begin()));
	ASSERT_EQ(0, dma_map(r->container, memory(SIZE(BIG_PAGES), PROT_READ |
						  PROT_WRITE), RIG_IOVA,
			     SIZE(BIG_PAGES), MAP_RW));
	ASSERT_STR("0", error(stall_open(&t.stall, 2 * PAGE_SIZE)));
	START(r);
	ASSERT_EQ(0, write(r, LOW));
	ASSERT_EQ(0, write(r, HIGH));
	EXPECT_STR("0", error(unmap_written_at_each_stall(&t)));
	printf("# %d stalls, first failed write: %s\n", t.stalls,
	       error(t.failed));
	stall_release(&t.stall);
	/* Two pages and two reports. */
	EXPECT_LE(t.stalls, 4);
	if (t.failed)
		EXPECT_STR("EINVAL", error(t.failed));
	ASSERT_STR("0", error(unmap_trace_end(&delivered, &thrown_away)));
	EXPECT_EQ(1, delivered);
	EXPECT_EQ(1, thrown_away);
	EXPECT_EQ(1, bitmap_bit(t.stall.mem, LOW));
	EXPECT_EQ(1, bitmap_bit(t.stall.mem, HIGH));
	EXPECT_STR("EINVAL", error(write(r, LOW)));
	EXPECT_LOCKED(0);
}

FIXTURE(empty) {
	struct rig rig;
};

FIXTURE_SETUP(empty)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", 0)));
}

FIXTURE_TEARDOWN(empty)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

TEST_F(empty, R11_unmap_of_pages_that_are_always_written, 60)
{
	if (stock_is_spared())
		SKIP("a backend that drops its lock for a report (W9)");
	expect_unmapped(&self->rig, write_rw);
}

TEST_F(empty, R11_unmap_of_pages_that_are_always_pinned, 60)
{
	if (stock_is_spared())
		SKIP("a backend that drops its lock for a report (W9)");
	expect_unmapped(&self->rig, write_pinned);
}

/* An UNMAP that fails affects nobody else: the device continues. */
TEST_F(rig, R11_range_is_in_use_again_after_a_failing_unmap, 20)
{
	void *bad = memory(PAGE_SIZE, PROT_READ);

	START(self);
	PIN(self, 3, 2, 'w');
	EXPECT_STR("EFAULT", error(dma_unmap_get(self->container, at(0),
						 SIZE(RIG_PAGES), bad, NULL)));
	TOUCH(self, 9, 1);
	EXPECT_EQ(0, mdma_rw_write(&self->dev, at(11), 8, 1));
	EXPECT_STR("3-4,9,11", dirty_all(self));
}

TEST_F(rig, R15_range_is_in_use_again_after_a_leak, 20)
{
	if (stock_is_spared())
		SKIP("a backend that survives it (W7)");
	START(self);
	PIN(self, 3, 2, 'w');
	ASSERT_EQ(0, mdma_set_leak(&self->dev, 1));
	EXPECT_STR("EBUSY", error(dma_unmap(self->container, at(0),
					    SIZE(RIG_PAGES), NULL)));
	TOUCH(self, 9, 1);
	EXPECT_EQ(0, mdma_rw_write(&self->dev, at(11), 8, 1));
	UNPIN(self, 3, 2);
	EXPECT_STR("3-4,9,11", dirty_all(self));
}

/* --- all at once ----------------------------------------------------------- */

#define DENSE_PAGES	16384ULL
#define TURNS		40

struct dense {
	struct rig *rig;
	int end;
	__u64 pins, writes;
};

/* Whether each of the others has had its chance. */
static bool all_succeeded(struct dense *d)
{
	return __atomic_load_n(&d->pins, __ATOMIC_SEQ_CST) &&
	       __atomic_load_n(&d->writes, __ATOMIC_SEQ_CST);
}

static bool going(struct dense *d)
{
	return !__atomic_load_n(&d->end, __ATOMIC_SEQ_CST);
}

static int call_write(void *arg)
{
	struct dense *d = arg;
	__u64 seed = 5;

	while (going(d))
		d->writes += !write_rw(d->rig, random_next(&seed) % DENSE_PAGES);
	return 0;
}

static int call_pin(void *arg)
{
	struct dense *d = arg;
	__u64 seed = 6, page;

	while (going(d)) {
		page = random_next(&seed) % (DENSE_PAGES - 64);
		if (mdma_pin(&d->rig->dev, at(page), 64, 'w'))
			continue;
		d->pins++;
		mdma_unpin(&d->rig->dev, at(page), 64);
	}
	return 0;
}

static int call_read(void *arg)
{
	static char bitmap[DENSE_PAGES / 8];
	struct dense *d = arg;
	int ret = 0;

	while (!ret && going(d))
		ret = dirty_get(d->rig->container, RIG_IOVA, SIZE(DENSE_PAGES),
				bitmap);
	return ret;
}

static int call_remap(void *arg)
{
	static char bitmap[DENSE_PAGES / 8];
	struct dense *d = arg;
	double end = now_ms() + patience_ms();
	struct rig *r = d->rig;
	int i, ret = 0;

	for (i = 0; !ret && (i < TURNS || (!all_succeeded(d) && now_ms() < end)); i++) {
		usleep(20000);
		ret = i % 4 == 3 ?
		      dma_unmap(r->container, RIG_IOVA, SIZE(DENSE_PAGES), NULL) :
		      dma_unmap_get(r->container, RIG_IOVA, SIZE(DENSE_PAGES),
				    bitmap, NULL);
		if (!ret)
			ret = dma_map(r->container, r->mem, RIG_IOVA,
				      SIZE(DENSE_PAGES), MAP_RW);
	}
	__atomic_store_n(&d->end, 1, __ATOMIC_SEQ_CST);
	return ret;
}

TEST_F(rig, R11_unmap_among_writers_and_readers, 120)
{
	static int (*const calls[])(void *arg) = {
		call_remap, call_write, call_pin, call_read,
	};
	struct job job[ARRAY_SIZE(calls)];
	struct dense d = { .rig = self };
	unsigned int i;

	if (stock_is_spared())
		SKIP("a backend that survives it (W3)");
	ASSERT_EQ(0, dma_unmap(self->container, at(0), SIZE(RIG_PAGES), NULL));
	self->mem = memory(SIZE(DENSE_PAGES), PROT_READ | PROT_WRITE);
	ASSERT_EQ(0, dma_map(self->container, self->mem, RIG_IOVA,
			     SIZE(DENSE_PAGES), MAP_RW));
	START(self);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		job_start(&job[i], calls[i], &d);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		EXPECT_STR("0", error(job_join(&job[i])));
	printf("# %llu writes, %llu pins\n", d.writes, d.pins);
	EXPECT_LT(0, d.writes);
	EXPECT_LT(0, d.pins);
	EXPECT_LOCKED(0);
}

TEST_MAIN(mdev_remove_leftovers)
