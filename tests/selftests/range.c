// SPDX-License-Identifier: GPL-2.0-only
/*
 * R3, R8, R17: any range. A bit of a mapped page is written as 0 or 1; every other
 * bit of the user's buffer keeps its value.
 */
#include "fixture.h"

/* A buffer with 8 bytes more than the bitmap on either side. */
#define GUARD	8

static unsigned char *filled(__u64 npages, int byte)
{
	__u64 size = bitmap_bytes(npages) + 2 * GUARD;
	unsigned char *mem = malloc(size);

	memset(mem, byte, size);
	return mem + GUARD;
}

/*
 * GET into a buffer of this byte, with a mapping at [first, end) of the range
 * and no other; the pages [dirty_first, dirty_end) of it are dirty.
 */
static void expect_exact(struct rig *r, __u64 page, __u64 npages, int byte,
			 __u64 first, __u64 end, __u64 dirty_first,
			 __u64 dirty_end)
{
	unsigned char *bitmap = filled(npages, byte);
	long long n, bits = bitmap_bytes(npages) * 8;
	int want;

	ASSERT_STR("0", error(dirty_get(r->container, at(page),
					npages << PAGE_SHIFT, bitmap)));
	for (n = -8 * GUARD; n < bits + 8 * GUARD; n++) {
		want = (byte >> (n & 7)) & 1;
		if (n >= (long long)first && n < (long long)end)
			want = n >= (long long)dirty_first &&
			       n < (long long)dirty_end;
		if (((bitmap[n >> 3] >> (n & 7)) & 1) != want)
			FAIL("bit %lld of %llu pages from %llu, filled with 0x%02x: want %d",
			     n, npages, page, byte, want);
	}
	free(bitmap - GUARD);
}

static const unsigned char fills[] = { 0x00, 0xff, 0xaa, 0x55, 0x3c };

TEST_F(rig, R8_only_bits_of_mapped_pages_are_written, 30)
{
	unsigned int i;

	START(self);
	PIN(self, 10, 90, 'w');
	for (i = 0; i < sizeof(fills); i++)
		expect_exact(self, 0, RIG_PAGES, fills[i], 0, RIG_PAGES, 10,
			     100);
}

/* The range is longer than the mapping, the last u64 is half used. */
TEST_F(rig, R8_bits_around_the_mapping_keep_their_value, 30)
{
	__u64 size = 77 << PAGE_SHIFT;
	unsigned int i;

	ASSERT_EQ(0, dma_map(self->container,
			     memory(size, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES + 13), size, MAP_RW));
	START(self);
	PIN(self, RIG_PAGES + 20, 10, 'w');
	for (i = 0; i < sizeof(fills); i++) {
		expect_exact(self, RIG_PAGES, 13 + 77, fills[i], 13, 90, 20,
			     30);
		expect_exact(self, RIG_PAGES, 200, fills[i], 13, 90, 20, 30);
		expect_exact(self, RIG_PAGES + 1, 100, fills[i], 12, 89, 19,
			     29);
		expect_exact(self, RIG_PAGES + 13, 77, fills[i], 0, 77, 7, 17);
	}
}

TEST_F(rig, R8_holes_are_left_alone, 30)
{
	unsigned int i;

	START(self);
	for (i = 0; i < sizeof(fills); i++) {
		expect_exact(self, RIG_PAGES, 1, fills[i], 1, 1, 0, 0);
		expect_exact(self, RIG_PAGES + 5, 500, fills[i], 500, 500, 0,
			     0);
	}
}

/* Every start and every length around the borders of a u64. */
TEST_F(rig, R8_sub_ranges_of_every_shift, 60)
{
	__u64 first, n, begin, end;

	START(self);
	PIN(self, 30, 70, 'w');
	for (first = 0; first < 130; first += first % 64 < 62 ? 7 : 1) {
		for (n = 1; n < 140; n += n % 64 < 62 ? 9 : 1) {
			begin = first > 30 ? first : 30;
			end = first + n < 100 ? first + n : 100;
			end = end < begin ? begin : end;
			expect_exact(self, first, n, 0xaa, 0, n, begin - first,
				     end - first);
		}
	}
}

/* Mappings after the one in which the range begins are not skipped. */
TEST_F(rig, R8_D7_range_that_begins_within_a_mapping, 20)
{
	__u64 size = 64 << PAGE_SHIFT;
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, dma_map(self->container,
				     memory(size, PROT_READ | PROT_WRITE),
				     at(RIG_PAGES + 64 * i), size, MAP_RW));
	START(self);
	for (i = 0; i < 2; i++) {
		TOUCH(self, RIG_PAGES + 2, 1);
		TOUCH(self, RIG_PAGES + 127, 1);
		EXPECT_STR("1026,1151", dirty(self, i ? RIG_PAGES - 1 : 1,
					      RIG_PAGES + 128 - (i ? RIG_PAGES - 1 : 1)));
	}
}

/* Mappings of one page each, with holes of one page between them. */
TEST_F(rig, R8_D6_many_small_mappings, 30)
{
	unsigned char *bitmap = filled(200, 0xff);
	char *mem = memory(100 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	int i, want;

	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, dma_map(self->container, mem + i * PAGE_SIZE,
				     at(RIG_PAGES + 2 * i), PAGE_SIZE, MAP_RW));
	START(self);
	for (i = 0; i < 100; i += 3)
		TOUCH(self, RIG_PAGES + 2 * i, 1);
	ASSERT_STR("0", error(dirty_get(self->container, at(RIG_PAGES),
					200 << PAGE_SHIFT, bitmap)));
	for (i = 0; i < 256; i++) {
		want = i >= 200 || i % 2 || i / 2 % 3 == 0;
		if (bitmap_bit(bitmap, i) != want)
			FAIL("bit %d: want %d", i, want);
	}
}

/* A report that skips what is clean goes on in the middle of 64 pages of the mapping. */
TEST_F(rig, R3_nothing_is_told_again, 20)
{
	int i;

	START(self);
	for (i = 4; i < 10; i++)
		TOUCH(self, 64 * i + 5, 1);
	EXPECT_STR("261,325,389,453,517,581", dirty(self, 1, 1000));
	EXPECT_STR("none", dirty(self, 1, 1000));
}

TEST_F(rig, R8_D3_larger_buffer_is_accepted, 20)
{
	unsigned char *bitmap = filled(1280, 0xff);
	struct vfio_get get;

	START(self);
	TOUCH(self, 3, 1);
	dirty_get_prepare(&get, at(0), RIG_PAGES << PAGE_SHIFT, bitmap);
	get.range.bitmap.size = 160;
	ASSERT_STR("0", error(dirty_ioctl(self->container, &get)));
	EXPECT_STR("3,1024-1279", bitmap_text(bitmap, 1280));
}

TEST_F(rig, R8_buffer_at_an_odd_address, 20)
{
	unsigned char *bitmap = filled(RIG_PAGES + 64, 0xff);

	START(self);
	TOUCH(self, 3, 100);
	ASSERT_STR("0", error(dirty_get(self->container, at(0),
					RIG_PAGES << PAGE_SHIFT, bitmap + 3)));
	EXPECT_STR("3-102", bitmap_text(bitmap + 3, RIG_PAGES));
	EXPECT_EQ(0xff, bitmap[2]);
	EXPECT_EQ(0xff, bitmap[3 + RIG_PAGES / 8]);
}

TEST_F(rig, R8_first_pages_of_the_space, 20)
{
	unsigned char *bitmap = filled(64, 0xff);

	ASSERT_EQ(0, dma_map(self->container, self->mem, 0, 16 << PAGE_SHIFT,
			     MAP_RW));
	START(self);
	ASSERT_EQ(0, mdma_pin(&self->dev, 0, 2, 'w'));
	ASSERT_EQ(0, dirty_get(self->container, 0, 64 << PAGE_SHIFT, bitmap));
	EXPECT_STR("0-1,16-63", bitmap_text(bitmap, 64));
}

/* The last page ends at 2^64: an address that no variable can hold. */
#define LAST_PAGE	(-PAGE_SIZE)

static void map_last(struct rig *r, __u64 npages)
{
	ASSERT_EQ(0, dma_map(r->container, r->mem, LAST_PAGE -
			     ((npages - 1) << PAGE_SHIFT), npages << PAGE_SHIFT,
			     MAP_RW));
}

TEST_F(rig, R8_last_page_of_the_space, 20)
{
	unsigned char *bitmap = filled(8, 0xff);
	__u64 unmapped;

	bitmap[0] = 0xfe;
	map_last(self, 1);
	EXPECT_STR("EEXIST", error(dma_map(self->container, self->mem,
					   LAST_PAGE, PAGE_SIZE, MAP_RW)));
	START(self);
	ASSERT_STR("0", error(mdma_pin(&self->dev, LAST_PAGE, 1, 'w')));
	EXPECT_LOCKED(1);
	ASSERT_EQ(0, dirty_get(self->container, LAST_PAGE, PAGE_SIZE, bitmap));
	EXPECT_STR("0-63", bitmap_text(bitmap, 64));
	ASSERT_STR("0", error(mdma_unpin(&self->dev, LAST_PAGE, 1)));
	EXPECT_LOCKED(0);
	ASSERT_EQ(0, dirty_get(self->container, LAST_PAGE, PAGE_SIZE, bitmap));
	EXPECT_STR("0-63", bitmap_text(bitmap, 64));
	ASSERT_EQ(0, dirty_get(self->container, LAST_PAGE, PAGE_SIZE, bitmap));
	EXPECT_STR("1-63", bitmap_text(bitmap, 64));

	/*
	 * Nothing after the last page is pinned, and nothing at the other end: the
	 * device asks for no run that wraps around (access.c), whatever type1 would say.
	 */
	EXPECT_STR("EINVAL", error(mdma_pin(&self->dev, LAST_PAGE, 2, 'w')));
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, dma_unmap(self->container, LAST_PAGE, PAGE_SIZE,
			       &unmapped));
	EXPECT_EQ(PAGE_SIZE, unmapped);
	EXPECT_STR("EINVAL", error(mdma_pin(&self->dev, LAST_PAGE, 1, 'w')));
	map_last(self, 1);
}

/* So many last pages: a bitmap with one word or with two, and a word that is full. */
static const __u64 last_pages[] = { 1, 3, 64, 100 };
#define NR_LAST_PAGES	(sizeof(last_pages) / sizeof(last_pages[0]))

/* The last page is written, and the one before it, if it is there, is pinned. */
static void unmap_last_with_bitmap(struct rig *r, __u64 npages)
{
	__u64 size = npages << PAGE_SHIFT, unmapped;
	unsigned char *bitmap = filled(npages, 0);
	char want[48] = "0";

	map_last(r, npages);
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, -8ULL, 8, 7)));
	EXPECT_EQ(7, r->mem[size - 1]);
	/* The space has an end: an access beyond it does not wrap to the start. */
	EXPECT_NE(0, mdma_rw_write(&r->dev, -8ULL, 16, 7));
	EXPECT_EQ(0, r->mem[0]);
	if (npages > 1) {
		ASSERT_STR("0", error(mdma_pin(&r->dev, LAST_PAGE - PAGE_SIZE,
					       1, 'w')));
		snprintf(want, sizeof(want), "%llu-%llu", npages - 2,
			 npages - 1);
	}
	ASSERT_EQ(0, dma_unmap_get(r->container, -size, size, bitmap,
				   &unmapped));
	EXPECT_STR(want, bitmap_text(bitmap, npages));
	EXPECT_EQ(size, unmapped);
	EXPECT_LOCKED(0);
	free(bitmap - GUARD);
}

TEST_F(rig, R8_last_page_is_written_and_unmapped_with_a_bitmap, 20)
{
	unsigned int i;

	ASSERT_EQ(0, dma_map(self->container, self->mem, 0, PAGE_SIZE, MAP_RW));
	START(self);
	for (i = 0; i < NR_LAST_PAGES; i++)
		unmap_last_with_bitmap(self, last_pages[i]);
}

/* UNMAP of one page in the middle, or at either end, changes nothing; of all pages, it does. */
TEST_F(rig, R8_mapping_at_the_end_of_the_space_is_not_cut, 20)
{
	__u64 unmapped, size, page[3];
	unsigned int i, j;

	for (i = 1; i < NR_LAST_PAGES; i++) {
		size = last_pages[i] << PAGE_SHIFT;
		page[0] = LAST_PAGE;
		page[1] = -size;
		page[2] = -size + (last_pages[i] / 2 << PAGE_SHIFT);
		map_last(self, last_pages[i]);
		for (j = 0; j < 3; j++)
			EXPECT_STR("EINVAL", error(dma_unmap(self->container,
							     page[j], PAGE_SIZE,
							     NULL)));
		ASSERT_STR("0", error(mdma_pin(&self->dev, -size, last_pages[i],
					       'w')));
		EXPECT_LOCKED(last_pages[i]);
		unmapped = 0;
		ASSERT_EQ(0, dma_unmap(self->container, -size, size,
				       &unmapped));
		EXPECT_EQ(size, unmapped);
		EXPECT_LOCKED(0);
	}
}

TEST_F(rig, R8_unmap_all_has_the_last_page, 20)
{
	__u64 others = RIG_PAGES, npages;
	unsigned int i;

	for (i = 0; i < NR_LAST_PAGES; i++) {
		struct vfio_iommu_type1_dma_unmap all = {
			.argsz = sizeof(all), .flags = VFIO_DMA_UNMAP_FLAG_ALL,
		};

		npages = last_pages[i];
		map_last(self, npages);
		ASSERT_STR("0", error(mdma_pin(&self->dev,
					       -(npages << PAGE_SHIFT), npages,
					       'w')));
		ASSERT_EQ(0, unmap_ioctl(self->container, &all));
		EXPECT_EQ((others + npages) << PAGE_SHIFT, all.size);
		EXPECT_LOCKED(0);
		others = 0;
	}
	map_last(self, 1);
}

/* 16 TiB in one mapping, with memory for four pages only, at 3/4 of it. */
TEST_F(rig, R17_mapping_of_16_tib, 60)
{
	__u64 size = 16ULL << 40, iova = 1ULL << 45, far = 12ULL << 40;
	__u64 unmapped = 0;
	char *mem = memory(size, PROT_NONE);
	unsigned char bitmap[8] = "";

	ASSERT_EQ(0, mprotect(mem + far, 4 * PAGE_SIZE,
			      PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, dma_map(self->container, mem, iova, size, MAP_RW));
	START(self);
	ASSERT_STR("0", error(mdma_pin(&self->dev, iova + far, 2, 'w')));
	ASSERT_STR("0", error(mdma_unpin(&self->dev, iova + far, 1)));
	ASSERT_STR("0", error(dirty_get(self->container, iova + far - PAGE_SIZE,
					64 << PAGE_SHIFT, bitmap)));
	EXPECT_STR("1-2", bitmap_text(bitmap, 64));
	ASSERT_STR("0", error(dirty_get(self->container, iova + far - PAGE_SIZE,
					64 << PAGE_SHIFT, bitmap)));
	EXPECT_STR("2", bitmap_text(bitmap, 64));
	EXPECT_STR("none", dirty_all(self));
	/* The whole mapping can be requested: the bitmap is bad, but not too big. */
	EXPECT_STR("EFAULT", error(dirty_get(self->container, iova, size,
					     memory(size >> (PAGE_SHIFT + 3),
						    PROT_NONE))));
	/* One more, while tracking is on. */
	ASSERT_STR("0", error(dma_map(self->container, mem, iova + size, size,
				      MAP_RW)));
	ASSERT_EQ(0, dma_unmap(self->container, iova, 2 * size, &unmapped));
	EXPECT_EQ(2 * size, unmapped);
	EXPECT_LOCKED(0);
}

/* A GET of 1 TiB with hardly anything dirty does not take long. */
TEST_F(rig, R17_get_of_1_tib, 60)
{
	__u64 size = 1ULL << 40, iova = 1ULL << 41;
	char *mem = memory(size, PROT_NONE);
	unsigned char *bitmap = memory(size >> (PAGE_SHIFT + 3),
				       PROT_READ | PROT_WRITE);
	__u64 page[] = { 0, 1, 12345678, (size >> PAGE_SHIFT) - 1 };
	double begin;
	int i;

	ASSERT_EQ(0, dma_map(self->container, mem, iova, size, MAP_RW));
	START(self);
	for (i = 0; i < 4; i++) {
		__u64 offset = page[i] << PAGE_SHIFT;

		mprotect(mem + offset, PAGE_SIZE, PROT_READ | PROT_WRITE);
		ASSERT_EQ(0, mdma_pin(&self->dev, iova + offset, 1, 'w'));
		ASSERT_EQ(0, mdma_unpin(&self->dev, iova + offset, 1));
	}
	begin = now_ms();
	ASSERT_STR("0", error(dirty_get(self->container, iova, size, bitmap)));
	printf("# GET of 1 TiB: %.1f ms\n", now_ms() - begin);
	EXPECT_STR("0-1,12345678,268435455",
		   bitmap_text(bitmap, size >> PAGE_SHIFT));
}

/* Shortest time in ms, of many, for START, GET of a few pages around @iova, and STOP. */
static double shortest_tracking(int container, __u64 iova)
{
	unsigned char bitmap[8];
	double shortest = 1e9;
	int i;

	for (i = 0; i < 50; i++) {
		double begin = now_ms();

		if (dirty_start(container) ||
		    dirty_get(container, iova, 64 << PAGE_SHIFT, bitmap) ||
		    dirty_stop(container))
			return -1;
		if (now_ms() - begin < shortest)
			shortest = now_ms() - begin;
	}
	return shortest;
}

/* 4 TiB of additional memory in which nothing is pinned cost nothing. */
TEST_F(rig, R17_cost_follows_what_is_pinned_and_retained, 60)
{
	__u64 size = 4ULL << 40, iova = 1ULL << 44;
	char *mem = memory(size, PROT_NONE);
	double before, after = 1e9, ms;
	int i;

	TOUCH(self, 3, 100);
	before = shortest_tracking(self->container, at(0));
	ASSERT_EQ(0, dma_map(self->container, mem, iova, size, MAP_RW));
	/* The shortest time is the cost; on a busy machine it needs more tries. */
	for (i = 0; i < 20 && after > 0 && after >= 4 * before; i++) {
		ms = shortest_tracking(self->container, at(0));
		after = ms < after ? ms : after;
	}
	printf("# START, GET and STOP: %.3f ms, with 4 TiB more %.3f ms\n",
	       before, after);
	ASSERT_EQ(1, before > 0 && after > 0);
	EXPECT_EQ(1, after < 4 * before);
}

TEST_MAIN(mdev_remove_leftovers)
