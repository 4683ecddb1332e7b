// SPDX-License-Identifier: GPL-2.0-only
/* As many of a kind as there can be: mappings of a container, and pages retained. */
#include "fixture.h"

#define LIMIT		"/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"
#define FIRST		(2 * RIG_PAGES)	/* the first page after the rig's own mapping */
#define EACH		64		/* one of so many mappings has a page that is pinned */

#define MILLION		(1ULL << 20)
#define FILE_PAGES	16384ULL	/* whose memory is that of all */
#define CALL		512		/* pages of a pin */

/* Maps single pages, with a hole after each, until there may be no more. */
static __u64 map_all(struct rig *r)
{
	__u64 n;

	for (n = 0; !dma_map(r->container, r->mem, at(FIRST + 2 * n), PAGE_SIZE, MAP_RW); n++)
		;
	EXPECT_STR("ENOSPC", error(dma_map(r->container, r->mem, at(FIRST + 2 * n), PAGE_SIZE,
					   MAP_RW)));
	return n;
}

/* Every bit is as it must be: those of mappings that had a page pinned, and no other. */
static __u64 wrong_bits(const unsigned char *bitmap, __u64 npages, __u64 step)
{
	__u64 page, wrong = 0;

	for (page = 0; page < npages; page++)
		wrong += bitmap_bit(bitmap, page) != (page % step == 0);
	return wrong;
}

TEST_F(rig, R17_as_many_mappings_as_there_may_be, 120)
{
	__u64 n = map_all(self), npages = 2 * n - 1, i, unmapped = 0;
	unsigned char *bitmap = calloc(1, bitmap_bytes(npages));

	EXPECT_EQ(file_number(LIMIT) - 1, n);
	START(self);
	for (i = 0; i < n; i += EACH)
		TOUCH(self, FIRST + 2 * i, 1);
	ASSERT_STR("0", error(dirty_get(self->container, at(FIRST), npages << PAGE_SHIFT,
					bitmap)));
	EXPECT_EQ(0, wrong_bits(bitmap, npages, 2 * EACH));
	for (i = 0; i < n; i += EACH)
		TOUCH(self, FIRST + 2 * i, 1);
	memset(bitmap, 0, bitmap_bytes(npages));
	ASSERT_STR("0", error(dma_unmap_get(self->container, at(FIRST), npages << PAGE_SHIFT,
					    bitmap, &unmapped)));
	EXPECT_EQ(n << PAGE_SHIFT, unmapped);
	EXPECT_EQ(0, wrong_bits(bitmap, npages, 2 * EACH));
	STOP(self);
	EXPECT_EQ(n, map_all(self));
	free(bitmap);
}

static __u64 set_bits(const unsigned char *bitmap, __u64 npages)
{
	__u64 page, n = 0;

	for (page = 0; page < npages; page++)
		n += bitmap_bit(bitmap, page);
	return n;
}

/* The kernel's own is too slow for all of them. */
static __u64 as_many(void)
{
	return backend_is_stock() ? MILLION / 16 : MILLION;
}

/* Memory of so many pages that has fewer: those of a file, again and again. */
static unsigned char *repeated_memory(__u64 npages)
{
	unsigned char *mem = memory(npages << PAGE_SHIFT, PROT_NONE);
	int file = memfd_create("pages", 0);
	__u64 page;

	ASSERT_EQ(0, ftruncate(file, FILE_PAGES << PAGE_SHIFT));
	for (page = 0; page < npages; page += FILE_PAGES)
		ASSERT_NE((long)MAP_FAILED,
			  (long)mmap(mem + (page << PAGE_SHIFT), FILE_PAGES << PAGE_SHIFT,
				     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0));
	close(file);
	return mem;
}

/* In calls of CALL pages, each @step-th of them. */
static void touch_all(struct rig *r, __u64 npages, int step)
{
	__u64 page;

	for (page = 0; page < npages; page += step * CALL)
		TOUCH(r, FIRST + page, CALL);
}

TEST_F(rig, R2_a_million_retained_pages, 120)
{
	const __u64 n = as_many(), size = n << PAGE_SHIFT;
	unsigned char *bitmap = calloc(1, bitmap_bytes(n));
	__u64 unmapped = 0;

	ASSERT_EQ(0, dma_map(self->container, repeated_memory(n), at(FIRST), size, MAP_RW));
	START(self);
	touch_all(self, n, 1);
	EXPECT_LOCKED(0);
	ASSERT_STR("0", error(dirty_get(self->container, at(FIRST), size, bitmap)));
	EXPECT_EQ(n, set_bits(bitmap, n));
	memset(bitmap, 0, bitmap_bytes(n));
	ASSERT_STR("0", error(dirty_get(self->container, at(FIRST), size, bitmap)));
	EXPECT_EQ(0, set_bits(bitmap, n));
	touch_all(self, n, 16);
	ASSERT_STR("0", error(dma_unmap_get(self->container, at(FIRST), size, bitmap,
					    &unmapped)));
	EXPECT_EQ(size, unmapped);
	EXPECT_EQ(n / 16, set_bits(bitmap, n));
	STOP(self);
	free(bitmap);
}

TEST_MAIN(mdev_remove_leftovers)
