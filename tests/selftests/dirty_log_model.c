// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log against a plain model: random ranges, page sizes, writes and
 * reports, with memory for all records and with too little memory.
 */
#include "dma_log.h"
#include "fixture.h"

#define ROUNDS		60
#define CALLS		120		/* a round */
#define RANGES		6
#define BITMAP_BYTES	4096

typedef struct vfio_device_feature_dma_logging_range range_t;

/* The expected log: a byte for each page of it, from page 0 of the rig on. */
struct model {
	__u64 size;
	__u64 pages;
	range_t ranges[RANGES];
	unsigned int nr;
	unsigned char dirty[RIG_PAGES];
};

FIXTURE(log) {
	struct rig rig;
	struct model model;
	__u64 seed;
};

FIXTURE_SETUP(log)
{
	int ret = dma_log_rig_open(&self->rig, "mdma-1", RIG_PAGES);

	if (ret == -EOPNOTSUPP)
		SKIP("vfio and mdma are not built with CONFIG_IOMMUFD_DRIVER");
	ASSERT_STR("0", error(ret));
	self->seed = random_seed();
}

FIXTURE_TEARDOWN(log)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static __u64 below(__u64 *seed, __u64 end)
{
	return random_next(seed) % end;
}

/* Ranges that are not adjacent, in any order. */
static void draw_ranges(struct model *m, __u64 *seed)
{
	__u64 step = m->pages / RANGES, first, end;
	range_t swap;
	unsigned int i, j;

	m->nr = 0;
	for (i = 0; i < RANGES && step; i++) {
		first = i * step + below(seed, step);
		end = first + 1 + below(seed, (i + 1) * step - first);
		if (below(seed, 4))
			m->ranges[m->nr++] = (range_t) {
				.iova = RIG_IOVA + first * m->size,
				.length = (end - first) * m->size,
			};
	}
	if (!m->nr)
		m->ranges[m->nr++] = (range_t) {
			.iova = RIG_IOVA, .length = m->pages * m->size,
		};
	for (i = 0; i < m->nr; i++) {
		j = below(seed, m->nr);
		swap = m->ranges[i];
		m->ranges[i] = m->ranges[j];
		m->ranges[j] = swap;
	}
}

static int in_ranges(const struct model *m, __u64 iova)
{
	unsigned int i;

	for (i = 0; i < m->nr; i++)
		if (iova - m->ranges[i].iova < m->ranges[i].length)
			return 1;
	return 0;
}

static void start_round(struct model *m, struct rig *r, __u64 *seed)
{
	__u64 size;

	m->size = PAGE_SIZE << below(seed, 10);
	m->pages = RIG_PAGES * PAGE_SIZE / m->size;
	memset(m->dirty, 0, sizeof(m->dirty));
	draw_ranges(m, seed);
	size = m->size;
	ASSERT_STR("0", error(dma_log_start(r->dev.device, &size, m->ranges,
					    m->nr)));
	ASSERT_EQ(m->size, size);
}

static void write_some(struct model *m, struct rig *r, __u64 *seed)
{
	__u64 iova = RIG_IOVA + below(seed, RIG_PAGES * PAGE_SIZE);
	__u64 len = 1 + below(seed, below(seed, 8) ? 100 : 300000);
	__u64 end = RIG_IOVA + RIG_PAGES * PAGE_SIZE, at;

	len = len < end - iova ? len : end - iova;
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, iova, len, 1)));
	for (at = iova & -PAGE_SIZE; at < iova + len; at += PAGE_SIZE)
		if (in_ranges(m, at))
			m->dirty[(at - RIG_IOVA) / m->size] = 1;
}

/* Whether bit n of a report of [iova, last] must be set. */
static int must_be_set(const struct model *m, __u64 iova, __u64 last,
		       __u64 bit, __u64 n)
{
	__u64 from = iova + n * bit, to = from + bit - 1, page;

	to = to < last ? to : last;
	for (page = (from - RIG_IOVA) / m->size;
	     page <= (to - RIG_IOVA) / m->size; page++)
		if (m->dirty[page])
			return 1;
	return 0;
}

/* Pages that are in a report as a whole are clean after it. */
static void clean(struct model *m, __u64 iova, __u64 last)
{
	__u64 page, first;

	for (page = 0; page < m->pages; page++) {
		first = RIG_IOVA + page * m->size;
		if (iova <= first && first + m->size - 1 <= last)
			m->dirty[page] = 0;
	}
}

static void draw_report(struct model *m, __u64 *seed, __u64 *iova, __u64 *last)
{
	__u64 align = below(seed, 3) ? PAGE_SIZE : below(seed, 2) ?
		      m->size : 512;
	__u64 all = RIG_PAGES * PAGE_SIZE / align;
	__u64 first = below(seed, all);
	__u64 n = 1 + below(seed, all - first);

	*iova = RIG_IOVA + first * align;
	*last = *iova + n * align - 1;
}

/* With "exact", no other bit may be set; without, others may be. */
static void report_some(struct model *m, struct rig *r, __u64 *seed, int exact)
{
	static unsigned char bitmap[BITMAP_BYTES];
	__u64 bit = PAGE_SIZE << below(seed, 12);
	__u64 iova, last, n;
	int want, seen;

	draw_report(m, seed, &iova, &last);
	memset(bitmap, 0, sizeof(bitmap));
	ASSERT_STR("0", error(dma_log_report(r->dev.device, iova,
					     last - iova + 1, bit, bitmap)));
	/* Including the bits up to the end of the word, which must not change. */
	for (n = 0; n <= (last - iova) / bit + 63; n++) {
		seen = bitmap_bit(bitmap, n);
		want = iova + n * bit <= last &&
		       must_be_set(m, iova, last, bit, n);
		if (want > seen || (exact && want < seen))
			FAIL("[%llx, %llx] by %llu, pages of %llu: bit %llu is %d",
			     iova, last, bit, m->size, n, seen);
	}
	clean(m, iova, last);
}

static void play(struct model *m, struct rig *r, __u64 *seed, int exact)
{
	int round, call;

	for (round = 0; round < ROUNDS; round++) {
		start_round(m, r, seed);
		for (call = 0; call < CALLS; call++) {
			if (below(seed, 3))
				write_some(m, r, seed);
			else
				report_some(m, r, seed, exact);
		}
		EXPECT_STR("0", error(dma_log_stop(r->dev.device)));
		EXPECT_EQ(0, mdma_get(&r->dev, "dirty_log/bytes"));
	}
}

TEST_F(log, mdma_log_is_what_the_model_says, 120)
{
	play(&self->model, &self->rig, &self->seed, 1);
}

/* Memory for one leaf, of two or three: extra pages, but no lost ones. */
TEST_F(log, mdma_log_overflows_to_more_than_the_model_says, 120)
{
	ASSERT_STR("0", error(mdma_set(&self->rig.dev, "dirty_log/bytes_max",
				       "64")));
	play(&self->model, &self->rig, &self->seed, 0);
}

TEST_MAIN(mdev_remove_leftovers)
