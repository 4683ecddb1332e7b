// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device-side dirty tracking, VFIO_DEVICE_FEATURE_DMA_LOGGING_*: it reports exactly
 * what the device wrote in the logged ranges, once.
 */
#include <sys/ioctl.h>

#include "dma_log.h"
#include "fixture.h"
#include "migration.h"
#include "ring.h"
#include "stall.h"

#define RANGE(page, npages) \
	{ .iova = at(page), .length = (__u64)(npages) << PAGE_SHIFT }
#define SIZE_4K		4096ULL
#define SIZE_2M		(2ULL << 20)
#define RANGES_MAX	256		/* limit of the kernel: a page of ranges */

typedef struct vfio_device_feature_dma_logging_range range_t;

FIXTURE(log) {
	struct rig rig;
};

FIXTURE_SETUP(log)
{
	int ret = dma_log_rig_open(&self->rig, "mdma-4", RIG_PAGES);

	if (ret == -EOPNOTSUPP)
		SKIP("vfio and mdma are not built with CONFIG_IOMMUFD_DRIVER");
	ASSERT_STR("0", error(ret));
}

FIXTURE_TEARDOWN(log)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static int start(struct log *l, __u64 size, const range_t *ranges, int nr)
{
	return dma_log_start(l->rig.dev.device, &size, ranges, nr);
}

static int stop(struct log *l)
{
	return dma_log_stop(l->rig.dev.device);
}

/* Logs all pages of the rig, in pages of this size. */
static void start_all(struct log *l, __u64 size)
{
	range_t all = RANGE(0, RIG_PAGES);

	ASSERT_STR("0", error(start(l, size, &all, 1)));
}

static const char *logged(struct log *l)
{
	return dma_log_text(&l->rig, 0, RIG_PAGES);
}

static void write_byte(struct log *l, __u64 iova)
{
	ASSERT_STR("0", error(mdma_rw_write(&l->rig.dev, iova, 1, 0x5a)));
}

static long long attribute(struct log *l, const char *name)
{
	return mdma_get(&l->rig.dev, name);
}

/* The pages in the ledger, as bitmap_text() prints them. */
static const char *ledger_text(struct log *l)
{
	unsigned char bitmap[RIG_PAGES / 8] = { 0 };
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&l->rig.dev, &rec), i;

	for (i = 0; i < n; i++)
		bitmap_assign(bitmap, (rec[i].iova - at(0)) >> PAGE_SHIFT, 1);
	free(rec);
	return bitmap_text(bitmap, RIG_PAGES);
}

/* --- on, off ------------------------------------------------------------- */

/* A plain rig, on any kernel. */
TEST_F(rig, mdma_log_is_off_by_default, 20)
{
	range_t all = RANGE(0, RIG_PAGES);
	struct mdma *m = &self->dev;
	__u64 size = SIZE_4K;
	char text[64];

	EXPECT_EQ(0, mdma_get(m, "dirty_log/enabled"));
	EXPECT_STR("ENOTTY", error(dma_log_start(m->device, &size, &all, 1)));
	EXPECT_STR("ENOTTY", error(dma_log_stop(m->device)));
	EXPECT_STR("ENOTTY", dma_log_text(self, 0, 1));
	EXPECT_STR("ENOTTY", error(feature(m->device, VFIO_DEVICE_FEATURE_PROBE |
					   VFIO_DEVICE_FEATURE_SET |
					   VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
					   text, 0)));
	EXPECT_STR("EINVAL", error(mdma_set(m, "dirty_log/enabled", "maybe")));
	EXPECT_STR("EBUSY", error(mdma_set(m, "dirty_log/enabled", "0")));
}

TEST_F(log, mdma_log_is_switched_while_nobody_has_it_open, 20)
{
	struct mdma *m = &self->rig.dev;
	char none;

	EXPECT_EQ(1, attribute(self, "dirty_log/enabled"));
	EXPECT_STR("0", error(feature(m->device, VFIO_DEVICE_FEATURE_PROBE |
				      VFIO_DEVICE_FEATURE_SET |
				      VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
				      &none, 0)));
	EXPECT_STR("EBUSY", error(mdma_set(m, "dirty_log/enabled", "0")));
	start_all(self, SIZE_4K);
	mdma_close(m);
	EXPECT_STR("0", error(mdma_set(m, "dirty_log/enabled", "0")));
	EXPECT_EQ(0, attribute(self, "dirty_log/enabled"));
	ASSERT_EQ(0, mdma_attach(m, self->rig.container));
	ASSERT_EQ(0, container_set_type(self->rig.container,
					VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(m));
	EXPECT_STR("ENOTTY", logged(self));
}

TEST_F(log, mdma_log_starts_and_stops, 20)
{
	range_t all = RANGE(0, RIG_PAGES);

	write_byte(self, at(1));
	EXPECT_STR("EINVAL", logged(self));
	EXPECT_STR("0", error(stop(self)));
	EXPECT_EQ(0, attribute(self, "dirty_log/page_size"));
	start_all(self, SIZE_4K);
	EXPECT_EQ(SIZE_4K, attribute(self, "dirty_log/page_size"));
	EXPECT_STR("none", logged(self));
	write_byte(self, at(2));
	/* Refused; the log continues unchanged. */
	EXPECT_STR("EINVAL", error(start(self, SIZE_2M, &all, 1)));
	EXPECT_STR("2", logged(self));
	write_byte(self, at(3));
	EXPECT_STR("0", error(stop(self)));
	EXPECT_STR("EINVAL", logged(self));
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	EXPECT_STR("0", error(stop(self)));
	/* Between the ranges and before them: not logged. */
	write_byte(self, at(4));
	start_all(self, SIZE_4K);
	EXPECT_STR("none", logged(self));
	write_byte(self, at(5));
	EXPECT_STR("5", logged(self));
}

/* A new user finds the log off, without records of the previous user. */
TEST_F(log, mdma_log_ends_with_its_user, 20)
{
	struct rig *r = &self->rig;

	start_all(self, SIZE_4K);
	write_byte(self, at(2));
	EXPECT_LT(0, attribute(self, "dirty_log/bytes"));
	mdma_close(&r->dev);
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	EXPECT_EQ(1, attribute(self, "dirty_log/enabled"));
	ASSERT_EQ(0, mdma_attach(&r->dev, r->container));
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(&r->dev));
	EXPECT_STR("EINVAL", logged(self));
	start_all(self, SIZE_4K);
	EXPECT_STR("none", logged(self));
}

/* --- bad input ----------------------------------------------------------- */

/* Each is refused, and nothing is logged afterwards. */
#define REFUSED(errno_name, log, size, ranges, nr) do {			\
	EXPECT_STR(errno_name, error(start(log, size, ranges, nr)));	\
	EXPECT_STR("EINVAL", logged(log));				\
	EXPECT_EQ(0, attribute(log, "dirty_log/page_size"));		\
} while (0)

TEST_F(log, mdma_log_bad_ranges, 20)
{
	range_t many[RANGES_MAX + 1], one = RANGE(8, 8);
	range_t overlap[] = { RANGE(0, 16), RANGE(32, 1), RANGE(15, 4) };
	range_t twice[] = { RANGE(4, 4), RANGE(4, 4) };
	range_t wraps = { .iova = -SIZE_2M, .length = 2 * SIZE_2M };
	range_t at_end = { .iova = -SIZE_2M, .length = SIZE_2M };
	range_t empty = RANGE(8, 0), empty_at_0 = { 0 };
	range_t with_empty[] = { RANGE(0, 8), RANGE(16, 0) };
	range_t odd = { .iova = at(8) + 512, .length = PAGE_SIZE };
	range_t odd_length = { .iova = at(8), .length = PAGE_SIZE + 512 };
	int i;

	for (i = 0; i <= RANGES_MAX; i++)
		many[i] = (range_t)RANGE(2 * i, 1);
	REFUSED("EINVAL", self, SIZE_4K, &one, 0);
	REFUSED("E2BIG", self, SIZE_4K, many, RANGES_MAX + 1);
	REFUSED("E2BIG", self, SIZE_4K, many, -1);
	REFUSED("EINVAL", self, SIZE_4K, overlap, 3);
	REFUSED("EINVAL", self, SIZE_4K, twice, 2);
	REFUSED("EOVERFLOW", self, SIZE_4K, &wraps, 1);
	REFUSED("EOVERFLOW", self, SIZE_4K, &at_end, 1);
	REFUSED("EINVAL", self, SIZE_4K, &empty, 1);
	REFUSED("EINVAL", self, SIZE_4K, &empty_at_0, 1);
	REFUSED("EINVAL", self, SIZE_4K, with_empty, 2);
	REFUSED("EINVAL", self, SIZE_4K, &odd, 1);
	REFUSED("EINVAL", self, SIZE_4K, &odd_length, 1);
	/* Aligned to the requested size, but not to a page. */
	REFUSED("EINVAL", self, 512, &odd, 1);
	REFUSED("EINVAL", self, 512, &odd_length, 1);
	/* Aligned to pages, but not to pages of the log. */
	REFUSED("EINVAL", self, SIZE_2M, &one, 1);
	REFUSED("EFAULT", self, SIZE_4K, (void *)8, 1);
}

TEST_F(log, mdma_log_bad_page_sizes, 20)
{
	static const __u64 bad[] = { 0, 3 * SIZE_4K, SIZE_4K + 1, -1 };
	/* An address of 0 and a length of 0 are multiples of any size. */
	range_t two[] = { { .length = 6 * SIZE_2M }, RANGE(0, RIG_PAGES) };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		REFUSED("EINVAL", self, bad[i], two, 1);
		REFUSED("EINVAL", self, bad[i], two, 2);
	}
}

/* Which page size is granted for which request. */
TEST_F(log, mdma_log_page_sizes_granted, 20)
{
	range_t all = { .iova = 1ULL << 40, .length = 1ULL << 40 };
	__u64 wish, size;

	for (wish = 1; wish <= 1ULL << 40; wish <<= 1) {
		size = wish;
		ASSERT_STR("0", error(dma_log_start(self->rig.dev.device, &size,
						    &all, 1)));
		EXPECT_EQ(wish < SIZE_4K ? SIZE_4K :
			  wish > SIZE_2M ? SIZE_2M : wish, size);
		EXPECT_EQ(size, attribute(self, "dirty_log/page_size"));
		ASSERT_STR("0", error(stop(self)));
	}
}

TEST_F(log, mdma_log_bad_reports, 20)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	int device = self->rig.dev.device;

	start_all(self, SIZE_4K);
	write_byte(self, at(3));
	EXPECT_STR("EINVAL", error(dma_log_report(device, at(0), 0, SIZE_4K,
						  bitmap)));
	EXPECT_STR("EINVAL", error(dma_log_report(device, at(0), SIZE_2M, 2048,
						  bitmap)));
	EXPECT_STR("EINVAL", error(dma_log_report(device, at(0), SIZE_2M,
						  3 * SIZE_4K, bitmap)));
	EXPECT_STR("EOVERFLOW", error(dma_log_report(device, -SIZE_4K,
						     2 * SIZE_4K, SIZE_4K,
						     bitmap)));
	EXPECT_EQ(0, bitmap[0]);
	EXPECT_STR("3", logged(self));
}

/* --- what is reported ---------------------------------------------------- */

TEST_F(log, mdma_log_is_exact, 30)
{
	static const char *const patterns[] = {
		"sequential", "random", "stride", "zipf", "hot", "scatter",
	};
	struct rig *r = &self->rig;
	unsigned int i;

	set_workload(r);
	SET(r, "batch", "3");
	SET(r, "step", "10");
	start_all(self, SIZE_4K);
	EXPECT_STR("none", logged(self));
	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		ASSERT_EQ(0, mdma_clear_ledger(&r->dev));
		ASSERT_EQ(0, mdma_set(&r->dev, "workload/pattern", "%s",
				      patterns[i]));
		SET(r, "step", "40");
		EXPECT_STR(ledger_text(self), logged(self));
		EXPECT_STR("none", logged(self));
	}
	EXPECT_LT(100, attribute(self, "stats/pages_written"));
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	EXPECT_EQ(0, attribute(self, "dirty_log/overflows"));
}

/* Pages that are only pinned, or read, are not written. */
TEST_F(log, mdma_log_of_what_was_not_written, 20)
{
	struct rig *r = &self->rig;

	start_all(self, SIZE_4K);
	PIN(r, 1, 2, 'w');
	TOUCH(r, 5, 1);
	ASSERT_STR("0", error(mdma_rw_read(&r->dev, at(7), 8)));
	set_workload(r);
	SET(r, "direction", "read");
	SET(r, "step", "20");
	EXPECT_STR("none", logged(self));
}

/*
 * Held pages: the container can't see whether they are written, and reports them
 * again and again. The device reports them only when they are written.
 */
TEST_F(log, mdma_log_of_held_pages_is_once, 20)
{
	struct rig *r = &self->rig;

	set_window(r, 100, 140);
	SET(r, "batch", "8");
	SET(r, "hold_ms", "600000");
	start_all(self, SIZE_4K);
	START(r);
	SET(r, "step", "5");
	EXPECT_EQ(40, attribute(self, "stats/pinned"));
	EXPECT_STR("100-139", dirty_all(r));
	EXPECT_STR("100-139", logged(self));
	EXPECT_STR("100-139", dirty_all(r));
	EXPECT_STR("none", logged(self));
	SET(r, "step", "1");
	EXPECT_STR("100-139", dirty_all(r));
	EXPECT_STR("100-107", logged(self));
	EXPECT_STR("none", logged(self));
}

/* Pages that the guest's descriptors write, and the descriptors themselves. */
TEST_F(log, mdma_log_of_the_guest, 20)
{
	struct mdma_desc copy = {
		.op = MDMA_OP_COPY, .dst = at(20) + 100, .src = at(40),
		.len = 2 * PAGE_SIZE,
	};
	struct rig *r = &self->rig;
	struct ring ring;

	ring_enable(&ring, r, 1, 8);
	start_all(self, SIZE_4K);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &copy));
	EXPECT_STR("1,20-22", logged(self));
	copy.src = at(RIG_PAGES);
	EXPECT_EQ(MDMA_STATUS_BAD_ADDRESS, ring_run(&ring, &copy));
	EXPECT_STR("1", logged(self));
}

/* Writes without pins. One fails half way, so only a part is written. */
TEST_F(log, mdma_log_of_writes_without_pins, 20)
{
	struct rig *r = &self->rig;
	const char *seen;

	start_all(self, SIZE_4K);
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, at(64) - 1, PAGE_SIZE + 2,
					    1)));
	EXPECT_STR("63-65", logged(self));
	set_window(r, 200, 204);
	SET(r, "access", "rw");
	SET(r, "batch", "4");
	SET(r, "step", "1");
	EXPECT_STR("200-203", logged(self));
	munmap(r->mem + (41 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_STR("EFAULT", error(mdma_rw_write(&r->dev, at(40),
						 2 * PAGE_SIZE, 0x5a)));
	ASSERT_EQ(0x5a, r->mem[40 << PAGE_SHIFT]);
	seen = logged(self);
	if (strcmp("40-41", seen))
		EXPECT_STR("40", seen);
	EXPECT_STR("none", logged(self));
}

/* A page of the log is dirty as a whole; the user chooses the size of a bit. */
TEST_F(log, mdma_log_by_pages_of_each_size, 30)
{
	unsigned char bitmap[RIG_PAGES / 8];
	__u64 size, bit, n, page = 300;

	for (size = SIZE_4K; size <= SIZE_2M; size <<= 1) {
		for (bit = SIZE_4K; bit <= 2 * SIZE_2M; bit <<= 1) {
			start_all(self, size);
			write_byte(self, at(page) + 4095);
			memset(bitmap, 0, sizeof(bitmap));
			ASSERT_EQ(0, dma_log_report(self->rig.dev.device, at(0),
						    RIG_PAGES * PAGE_SIZE, bit,
						    bitmap));
			for (n = 0; n < RIG_PAGES * PAGE_SIZE / bit; n++) {
				int is = bitmap_bit(bitmap, n);
				__u64 big = size > bit ? size : bit;

				if (is != (n * bit / big ==
					   page * PAGE_SIZE / big))
					FAIL("page size %llu, bit %llu of %llu is %d",
					     size, n, bit, is);
			}
			EXPECT_STR("none", logged(self));
			ASSERT_EQ(0, stop(self));
		}
	}
}

/* A page of the log stays dirty if a report holds only a part of it. */
TEST_F(log, mdma_log_reports_of_parts, 20)
{
	struct rig *r = &self->rig;

	start_all(self, 16 * SIZE_4K);
	write_byte(self, at(33));
	EXPECT_STR("none", dma_log_text(r, 0, 32));
	EXPECT_STR("32-39", dma_log_text(r, 0, 40));
	EXPECT_STR("40-47", dma_log_text(r, 40, 40));
	EXPECT_STR("35", dma_log_text(r, 35, 1));
	EXPECT_STR("32-47", dma_log_text(r, 32, 16));
	EXPECT_STR("none", logged(self));
	ASSERT_EQ(0, stop(self));

	start_all(self, SIZE_4K);
	write_byte(self, at(511));
	write_byte(self, at(512));
	write_byte(self, at(600));
	EXPECT_STR("512", dma_log_text(r, 512, 88));
	EXPECT_STR("511,600", logged(self));
	EXPECT_STR("none", logged(self));
}

/* A report sets bits and does not change any other bit. */
TEST_F(log, mdma_log_keeps_other_bits, 20)
{
	unsigned char bitmap[24];
	int device = self->rig.dev.device;

	memset(bitmap, 0xa5, sizeof(bitmap));
	start_all(self, SIZE_4K);
	write_byte(self, at(1));
	write_byte(self, at(65));
	write_byte(self, at(100));
	ASSERT_EQ(0, dma_log_report(device, at(0), 100 * PAGE_SIZE, SIZE_4K,
				    bitmap + 8));
	EXPECT_EQ(0xa7, bitmap[8]);
	EXPECT_EQ(0xa7, bitmap[16]);
	bitmap[8] = 0xa5;
	bitmap[16] = 0xa5;
	memset(bitmap + 1, 0xa5, 1);
	EXPECT_EQ(0, memcmp(bitmap, bitmap + 1, sizeof(bitmap) - 1));
	EXPECT_STR("100", logged(self));
}

/* --- ranges -------------------------------------------------------------- */

TEST_F(log, mdma_log_of_ranges_only, 20)
{
	range_t ranges[] = { RANGE(512, 16), RANGE(20, 1), RANGE(10, 4) };
	struct rig *r = &self->rig;

	ASSERT_EQ(0, start(self, SIZE_4K, ranges, 3));
	set_window(r, 0, RIG_PAGES);
	SET(r, "pattern", "sequential");
	SET(r, "batch", "512");
	SET(r, "step", "2");
	EXPECT_STR("10-13,20,512-527", logged(self));
	/* A run across the border of a range. */
	ASSERT_EQ(0, mdma_rw_write(&r->dev, at(9), 2 * PAGE_SIZE, 1));
	ASSERT_EQ(0, mdma_rw_write(&r->dev, at(527), 2 * PAGE_SIZE, 1));
	EXPECT_STR("10,527", logged(self));
}

/* One range is added, one removed, one kept: unread records are gone. */
TEST_F(log, mdma_log_with_other_ranges, 20)
{
	range_t before[] = { RANGE(0, 8), RANGE(100, 8) };
	range_t after[] = { RANGE(100, 8), RANGE(200, 8) };
	static const int pages[] = { 3, 103, 203 };
	unsigned int i;

	ASSERT_EQ(0, start(self, SIZE_4K, before, 2));
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		write_byte(self, at(pages[i]));
	EXPECT_STR("3,103", logged(self));
	ASSERT_EQ(0, stop(self));
	ASSERT_EQ(0, start(self, SIZE_4K, after, 2));
	EXPECT_STR("none", logged(self));
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		write_byte(self, at(pages[i]));
	EXPECT_STR("103,203", logged(self));
}

/* The maximum number of ranges, and the whole space except its last page. */
TEST_F(log, mdma_log_of_many_and_of_huge_ranges, 20)
{
	range_t huge = { .length = -SIZE_4K }, many[RANGES_MAX];
	char want[2048] = "";
	int i, len = 0;

	for (i = 0; i < RANGES_MAX; i++) {
		many[i] = (range_t)RANGE(4 * i, 1);
		len += sprintf(want + len, "%s%d", i ? "," : "", 4 * i);
	}
	ASSERT_EQ(0, start(self, SIZE_4K, many, RANGES_MAX));
	for (i = 0; i < RIG_PAGES; i += 256)
		ASSERT_EQ(0, mdma_rw_write(&self->rig.dev, at(i),
					   256 * PAGE_SIZE, 1));
	EXPECT_STR(want, logged(self));
	ASSERT_EQ(0, stop(self));

	ASSERT_EQ(0, start(self, SIZE_4K, &huge, 1));
	write_byte(self, at(77));
	EXPECT_STR("77", logged(self));
	EXPECT_STR("none", logged(self));
}

/* Written pages are reported even if they are not mapped any more. */
TEST_F(log, mdma_log_outlives_the_mapping, 20)
{
	struct rig *r = &self->rig;

	set_window(r, 100, 108);
	SET(r, "batch", "8");
	SET(r, "hold_ms", "600000");
	start_all(self, SIZE_4K);
	SET(r, "step", "1");
	ASSERT_EQ(0, dma_unmap(r->container, RIG_IOVA, RIG_PAGES * PAGE_SIZE,
			       NULL));
	EXPECT_EQ(0, attribute(self, "stats/pinned"));
	EXPECT_STR("100-107", logged(self));
}

/* --- memory -------------------------------------------------------------- */

/*
 * No memory: units, each a 512th of the range, become dirty instead. So there are
 * extra pages and no lost ones, and the report ends this state.
 */
TEST_F(log, mdma_log_that_overflows, 20)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(mdma_set(&r->dev, "dirty_log/bytes_max", "64")));
	start_all(self, SIZE_4K);
	write_byte(self, at(3));
	EXPECT_EQ(64, attribute(self, "dirty_log/bytes"));
	/* Another leaf */
	write_byte(self, at(513));
	write_byte(self, at(1023));
	write_byte(self, at(5));
	EXPECT_EQ(2, attribute(self, "dirty_log/overflows"));
	EXPECT_EQ(64, attribute(self, "dirty_log/bytes"));
	EXPECT_STR("none", dma_log_text(r, 514, 100));
	EXPECT_STR("3,5,512-513", dma_log_text(r, 0, 514));
	/* Reported in part: it stays dirty. */
	EXPECT_STR("1023", dma_log_text(r, 1023, 1));
	EXPECT_STR("1022-1023", logged(self));
	EXPECT_STR("none", logged(self));
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	/* There is memory again */
	write_byte(self, at(513));
	EXPECT_STR("513", logged(self));
	EXPECT_EQ(2, attribute(self, "dirty_log/overflows"));
}

/* No memory at all, and ranges whose ends are within a unit. */
TEST_F(log, mdma_log_without_memory, 20)
{
	range_t ranges[] = { RANGE(1, 900), RANGE(903, 1) };
	struct rig *r = &self->rig;
	struct mdma_ledger_record *rec;
	long long n, i;

	ASSERT_STR("0", error(mdma_set(&r->dev, "dirty_log/bytes_max", "0")));
	ASSERT_EQ(0, start(self, SIZE_4K, ranges, 2));
	write_byte(self, at(1));
	write_byte(self, at(900));
	write_byte(self, at(903));
	EXPECT_STR("1,900,903", logged(self));
	EXPECT_STR("none", logged(self));
	write_byte(self, at(901));
	EXPECT_STR("none", logged(self));
	ASSERT_EQ(0, stop(self));

	start_all(self, SIZE_4K);
	set_workload(r);
	for (i = 0; i < 10; i++) {
		unsigned char bitmap[RIG_PAGES / 8] = { 0 };

		ASSERT_EQ(0, mdma_clear_ledger(&r->dev));
		SET(r, "step", "20");
		ASSERT_EQ(0, dma_log_report(r->dev.device, at(0),
					    RIG_PAGES * PAGE_SIZE, SIZE_4K,
					    bitmap));
		for (n = mdma_ledger(&r->dev, &rec); n--;)
			EXPECT_EQ(1, bitmap_bit(bitmap, (rec[n].iova - at(0)) >>
						PAGE_SHIFT));
		free(rec);
	}
	EXPECT_STR("none", logged(self));
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	EXPECT_STR("ERANGE", error(mdma_set(&r->dev, "dirty_log/bytes_max",
					    "1073741825")));
	EXPECT_STR("EINVAL", error(mdma_set(&r->dev, "dirty_log/bytes_max",
					    "much")));
}

/* --- migration, reset ---------------------------------------------------- */

TEST_F(log, mdma_log_of_a_device_that_stops, 20)
{
	struct rig *r = &self->rig;
	static char stream[1 << 20];
	long long size;

	set_window(r, 100, 108);
	SET(r, "batch", "8");
	start_all(self, SIZE_4K);
	SET(r, "step", "1");
	size = mig_save(r->dev.device, stream, sizeof(stream));
	ASSERT_LT(0, size);
	EXPECT_STR("100-103", dma_log_text(r, 0, 104));
	/* The log belongs to the host, not to the device: it does not move. */
	ASSERT_STR("0", error(mig_load(r->dev.device, stream, size, NULL)));
	ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING), NULL));
	EXPECT_STR("104-107", logged(self));
	SET(r, "step", "1");
	EXPECT_STR("100-107", logged(self));
}

/* A reset is the guest's; the user of the log does not notice it. */
TEST_F(log, mdma_log_goes_on_after_a_reset, 20)
{
	struct rig *r = &self->rig;

	start_all(self, SIZE_4K);
	write_byte(self, at(9));
	ASSERT_EQ(0, mdma_reset(&r->dev));
	write_byte(self, at(11));
	EXPECT_STR("9,11", logged(self));
}

/* --- at the same time ---------------------------------------------------- */

/* Like a VMM: copy each reported page after the report. */
static void copy_reported(struct log *l, unsigned char *there)
{
	unsigned char bitmap[RIG_PAGES / 8] = { 0 };
	__u64 page;

	ASSERT_EQ(0, dma_log_report(l->rig.dev.device, at(0),
				    RIG_PAGES * PAGE_SIZE, SIZE_4K, bitmap));
	for (page = 0; page < RIG_PAGES; page++)
		if (bitmap_bit(bitmap, page))
			memcpy(there + (page << PAGE_SHIFT),
			       l->rig.mem + (page << PAGE_SHIFT), PAGE_SIZE);
}

static int call_write(void *arg)
{
	struct log *l = arg;
	__u64 seed = 7;
	int ret = 0, i;

	for (i = 0; i < 2000 && !ret; i++)
		ret = mdma_rw_write(&l->rig.dev,
				    at(random_next(&seed) % 1000) + 4000, 200,
				    random_next(&seed) & 0xff);
	return ret;
}

/* Two writers, one reader: in the end both sides are equal. */
static void race(struct log *l)
{
	unsigned char *there = memory(RIG_PAGES * PAGE_SIZE,
				      PROT_READ | PROT_WRITE);
	struct job job;
	int i;

	set_workload(&l->rig);
	start_all(l, SIZE_4K);
	memcpy(there, l->rig.mem, RIG_PAGES * PAGE_SIZE);
	SET(&l->rig, "run", "1");
	job_start(&job, call_write, l);
	for (i = 0; i < 200 || !job_done(&job, 1); i++)
		copy_reported(l, there);
	EXPECT_STR("0", error(job_join(&job)));
	SET(&l->rig, "run", "0");
	copy_reported(l, there);
	EXPECT_EQ(0, memcmp(there, l->rig.mem, RIG_PAGES * PAGE_SIZE));
	EXPECT_STR("none", logged(l));
	EXPECT_LT(2000, attribute(l, "stats/pages_written"));
	munmap(there, RIG_PAGES * PAGE_SIZE);
}

TEST_F(log, mdma_log_loses_nothing_in_a_race, 120)
{
	race(self);
	EXPECT_EQ(0, attribute(self, "dirty_log/overflows"));
}

TEST_F(log, mdma_log_loses_nothing_in_a_race_that_overflows, 120)
{
	ASSERT_EQ(0, mdma_set(&self->rig.dev, "dirty_log/bytes_max", "64"));
	race(self);
	EXPECT_LT(0, attribute(self, "dirty_log/overflows"));
}

struct stalled_report {
	struct log *log;
	struct stall stall;
};

static int call_report(void *arg)
{
	struct stalled_report *s = arg;

	return dma_log_report(s->log->rig.dev.device, at(0),
			      RIG_PAGES * PAGE_SIZE, SIZE_4K, s->stall.mem);
}

static int call_step(void *arg)
{
	struct log *l = arg;

	return mdma_set(&l->rig.dev, "workload/step", "1");
}

/* A reader that waits for its memory does not stall DMA and loses nothing. */
TEST_F(log, mdma_log_that_stalls_stalls_no_dma, 60)
{
	struct stalled_report s = { .log = self };
	struct job report, step;
	int done;

	ASSERT_STR("0", error(stall_open(&s.stall, PAGE_SIZE)));
	set_window(&self->rig, 100, 108);
	SET(&self->rig, "batch", "8");
	start_all(self, SIZE_4K);
	write_byte(self, at(5));
	job_start(&report, call_report, &s);
	ASSERT_LE(0, stall_wait(&s.stall, 10000));
	job_start(&step, call_step, self);
	done = job_ends(&step);
	stall_release(&s.stall);
	EXPECT_EQ(0, job_join(&report));
	EXPECT_EQ(0, job_join(&step));
	EXPECT_EQ(1, done);
	EXPECT_STR("5", bitmap_text(s.stall.mem, RIG_PAGES));
	EXPECT_STR("100-107", logged(self));
}

static int call_toggle(void *arg)
{
	range_t all = RANGE(0, RIG_PAGES);
	struct log *l = arg;
	int i;

	for (i = 0; i < 2000; i++) {
		start(l, SIZE_4K << i % 10, &all, 1);
		stop(l);
	}
	return 0;
}

/* The log is switched while the device writes and a reader reads: errors at most. */
TEST_F(log, mdma_log_while_it_is_switched, 60)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	struct job job;
	int ret;

	set_workload(&self->rig);
	SET(&self->rig, "run", "1");
	job_start(&job, call_toggle, self);
	do {
		ret = dma_log_report(self->rig.dev.device, at(0),
				     RIG_PAGES * PAGE_SIZE, SIZE_4K, bitmap);
		if (ret)
			EXPECT_STR("EINVAL", error(ret));
	} while (!job_done(&job, 0));
	job_join(&job);
	SET(&self->rig, "run", "0");
	EXPECT_EQ(0, attribute(self, "dirty_log/bytes"));
	start_all(self, SIZE_4K);
	write_byte(self, at(9));
	EXPECT_STR("9", logged(self));
}

TEST_MAIN(mdev_remove_leftovers)
