// SPDX-License-Identifier: GPL-2.0-only
/*
 * R11, R15: an UNMAP of any size, from a page to 1 TiB, while all of these work at
 * once: a device that writes by pins, one that writes by vfio_dma_rw(), a reader of
 * reports, and a second user of the container that comes, pins and closes. The UNMAP
 * succeeds with at most two reports, and no page written meanwhile is lost.
 *
 * The UNMAP begins when all of them have worked, and stops at its bitmap until they
 * have worked once more. So the result does not depend on who is faster.
 */
#include "fixture.h"
#include "stall.h"
#include "unmap_trace.h"

#define SIZE(pages)	((__u64)(pages) << PAGE_SHIFT)
#define LARGEST		(1ULL << 28)	/* pages */

/* The devices write in this many ranges, so that 1 TiB needs little memory. */
#define RANGES		16
#define RANGE_PAGES	64ULL
#define BATCH		8

/* Descriptors a second: enough, and there is time for the others. */
#define RATE		2000

/* A reader waits for the UNMAP, whose report must be done first. The others don't. */
enum role { PINNER, WRITER, VISITOR, READER };

FIXTURE(sizes) {
	struct rig rig;		/* its device writes by pins */
	struct mdma writer;	/* by vfio_dma_rw() */
	struct mdma visitor;
	struct stall stall;
	unsigned char *bitmap;	/* the reader's */
	__u64 ranges;
	__u64 range_pages;
	__u64 unmapped;
	__u64 visits, reads;
	int reports;
	int end;
};

FIXTURE_SETUP(sizes)
{
	if (stock_is_spared())
		SKIP("a backend that survives it (W3, W18)");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", 0)));
	ASSERT_STR("0", error(mdma_create(&self->writer, "mdma-1")));
	ASSERT_STR("0", error(mdma_attach(&self->writer,
					  self->rig.container)));
	ASSERT_STR("0", error(mdma_open(&self->writer)));
	ASSERT_STR("0", error(mdma_create(&self->visitor, "mdma-1")));
	ASSERT_STR("0", error(mdma_set(&self->writer, "workload/access", "rw")));
	START(&self->rig);
}

FIXTURE_TEARDOWN(sizes)
{
	mdma_destroy(&self->visitor);
	mdma_destroy(&self->writer);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* --- who works beside the UNMAP --------------------------------------------- */

/* The first page of a range: the ranges go from the first page to the last. */
static __u64 range_first(struct sizes *s, __u64 range)
{
	if (!range)
		return 0;
	return range * (s->rig.pages - s->range_pages) / (s->ranges - 1);
}

static bool in_a_range(struct sizes *s, __u64 page)
{
	__u64 range;

	for (range = 0; range < s->ranges; range++)
		if (page - range_first(s, range) < s->range_pages)
			return true;
	return false;
}

static void device_writes(struct sizes *s, struct mdma *m)
{
	char window[RANGES * 40];
	__u64 range, first;
	int len = 0;

	for (range = 0; range < s->ranges; range++) {
		first = range_first(s, range);
		len += sprintf(window + len, "%s%llx-%llx", len ? "," : "",
			       at(first), at(first + s->range_pages) - 1);
	}
	ASSERT_STR("0", error(mdma_set(m, "workload/run", "0")));
	ASSERT_STR("0", error(mdma_set(m, "workload/window", "%s", window)));
	ASSERT_STR("0", error(mdma_set(m, "workload/pattern", "random")));
	ASSERT_STR("0", error(mdma_set(m, "workload/batch", "%d", BATCH)));
	ASSERT_STR("0", error(mdma_set(m, "workload/hold_ms", "1")));
	ASSERT_STR("0", error(mdma_set(m, "workload/rate", "%d", RATE)));
	ASSERT_STR("0", error(mdma_set(m, "workload/run", "1")));
}

static bool goes_on(struct sizes *s)
{
	return !__atomic_load_n(&s->end, __ATOMIC_SEQ_CST);
}

static int call_visit(void *arg)
{
	struct sizes *s = arg;
	int ret = 0;

	while (!ret && goes_on(s)) {
		ret = mdma_attach(&s->visitor, s->rig.container);
		if (!ret)
			ret = mdma_open(&s->visitor);
		if (!ret)
			mdma_pin(&s->visitor, at(0), 1, 'w');
		mdma_close(&s->visitor);
		__atomic_fetch_add(&s->visits, 1, __ATOMIC_SEQ_CST);
	}
	return ret;
}

/* A report of what is not mapped any more is a good one, too. */
static int call_read(void *arg)
{
	struct sizes *s = arg;
	int ret = 0;

	while (!ret && goes_on(s)) {
		ret = dirty_get(s->rig.container, at(0), SIZE(s->rig.pages),
				s->bitmap);
		usleep(1000);
		__atomic_fetch_add(&s->reads, 1, __ATOMIC_SEQ_CST);
	}
	return ret;
}

static long long rounds(struct sizes *s, enum role who, const char *count)
{
	switch (who) {
	case PINNER:
		return mdma_get(&s->rig.dev, count);
	case WRITER:
		return mdma_get(&s->writer, count);
	case VISITOR:
		return __atomic_load_n(&s->visits, __ATOMIC_SEQ_CST);
	default:
		return __atomic_load_n(&s->reads, __ATOMIC_SEQ_CST);
	}
}

/*
 * Waits until all of them, up to @last, have begun and ended a round. @count is what
 * the devices count: a descriptor counts BATCH at most.
 */
static void all_go_on(struct sizes *s, enum role last, const char *count)
{
	long long want[READER + 1];
	enum role who;

	for (who = PINNER; who <= last; who++)
		want[who] = rounds(s, who, count) +
			     (who < VISITOR ? 2 * BATCH : 2);
	for (who = PINNER; who <= last; who++)
		if (!WAIT_FOR(rounds(s, who, count) >= want[who]))
			FAIL("role %d does not go on", who);
}

/* --- the UNMAP --------------------------------------------------------------- */

static int call_unmap(void *arg)
{
	struct sizes *s = arg;

	return dma_unmap_get(s->rig.container, at(0), SIZE(s->rig.pages),
			     s->stall.mem, &s->unmapped);
}

/* What a device wrote last after its write @seq is in the bitmap of the UNMAP. */
static void expect_reported(struct sizes *s, struct mdma *m, __u64 seq)
{
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(m, &rec), i, later = 0;
	__u64 page;

	for (i = 0; i < n; i++) {
		if (rec[i].seq <= seq)
			continue;
		later++;
		page = (rec[i].iova - at(0)) >> PAGE_SHIFT;
		if (!bitmap_bit(s->stall.mem, page))
			FAIL("page %llu is lost", page);
	}
	free(rec);
	EXPECT_LT(0, later);
}

static void expect_no_other(struct sizes *s)
{
	__u64 *words = (void *)s->stall.mem, page;

	for (page = 0; page < s->rig.pages; page++) {
		if (!words[page / 64])
			page |= 63;
		else if (bitmap_bit(words, page) && !in_a_range(s, page))
			FAIL("page %llu is reported", page);
	}
}

static void map(struct sizes *s)
{
	struct rig *r = &s->rig;

	ASSERT_STR("0", error(dma_map(r->container, r->mem, at(0),
				      SIZE(r->pages), MAP_RW)));
	all_go_on(s, READER, "stats/seq");
}

static void unmap_with_bitmap(struct sizes *s)
{
	long long pinner, writer;
	int delivered, thrown_away;
	struct job unmap;

	map(s);
	ASSERT_STR("0", error(unmap_trace_begin()));
	job_start(&unmap, call_unmap, s);
	ASSERT_LE(0, stall_wait(&s->stall, patience_ms()));
	pinner = mdma_get(&s->rig.dev, "stats/seq");
	writer = mdma_get(&s->writer, "stats/seq");
	all_go_on(s, VISITOR, "stats/seq");
	stall_release(&s->stall);
	EXPECT_STR("0", error(job_join(&unmap)));
	ASSERT_STR("0", error(unmap_trace_end(&delivered, &thrown_away)));
	EXPECT_EQ(1, delivered);
	EXPECT_LE(thrown_away, 1);
	EXPECT_EQ(SIZE(s->rig.pages), s->unmapped);
	expect_reported(s, &s->rig.dev, pinner);
	expect_reported(s, &s->writer, writer);
	expect_no_other(s);
	s->reports = delivered + thrown_away;
}

static void unmap_without_bitmap(struct sizes *s)
{
	map(s);
	EXPECT_STR("0", error(dma_unmap(s->rig.container, at(0),
					SIZE(s->rig.pages), &s->unmapped)));
	EXPECT_EQ(SIZE(s->rig.pages), s->unmapped);
}

/* Nobody can use the memory any more, and everybody still works. */
static void expect_gone(struct sizes *s)
{
	EXPECT_STR("EINVAL", error(mdma_pin(&s->rig.dev, at(0), 1, 'w')));
	EXPECT_STR("EINVAL", error(mdma_rw_write(&s->writer, at(0), 8, 1)));
	EXPECT_EQ(0, mdma_get(&s->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
	all_go_on(s, READER, "stats/descriptors");
}

static void expect_unmapped(struct sizes *s, __u64 pages)
{
	__u64 bytes = (bitmap_bytes(pages) + PAGE_SIZE - 1) & -PAGE_SIZE;
	double begin = now_ms();
	struct job visitor, reader;
	struct rig *r = &s->rig;

	r->pages = pages;
	r->mem = memory(SIZE(pages), PROT_READ | PROT_WRITE);
	madvise(r->mem, SIZE(pages), MADV_NOHUGEPAGE);
	s->ranges = pages < RANGES ? pages : RANGES;
	s->range_pages = pages / s->ranges;
	if (s->range_pages > RANGE_PAGES)
		s->range_pages = RANGE_PAGES;
	s->bitmap = memory(bytes, PROT_READ | PROT_WRITE);
	ASSERT_STR("0", error(stall_open(&s->stall, bytes)));
	s->end = 0;
	device_writes(s, &r->dev);
	device_writes(s, &s->writer);
	job_start(&visitor, call_visit, s);
	job_start(&reader, call_read, s);

	unmap_with_bitmap(s);
	expect_gone(s);
	unmap_without_bitmap(s);
	expect_gone(s);

	__atomic_store_n(&s->end, 1, __ATOMIC_SEQ_CST);
	EXPECT_STR("0", error(job_join(&visitor)));
	EXPECT_STR("0", error(job_join(&reader)));
	stall_break(&s->stall);
	munmap(s->bitmap, bytes);
	munmap(r->mem, SIZE(pages));
	r->mem = NULL;
	printf("# %llu pages: %d reports, %.0f ms\n", pages, s->reports,
	       now_ms() - begin);
}

TEST_F(sizes, R11_R15_unmap_of_every_size_among_all_else, 180)
{
	__u64 pages;

	for (pages = 1; pages < LARGEST; pages *= 8)
		expect_unmapped(self, pages);
	expect_unmapped(self, LARGEST);
}

TEST_MAIN(mdev_remove_leftovers)
