// SPDX-License-Identifier: GPL-2.0-only
/*
 * R11, R15: UNMAP_DMA with a bitmap reports and unmaps, or fails and leaves
 * mappings and records alone, whatever the driver does with its pins.
 */
#include "fixture.h"
#include "stall.h"

#define SIZE(npages)	((__u64)(npages) << PAGE_SHIFT)

/* Maps new memory after the rig. */
static void map_more(struct rig *r, __u64 page, __u64 npages)
{
	ASSERT_EQ(0, dma_map(r->container,
			     memory(SIZE(npages), PROT_READ | PROT_WRITE),
			     at(page), SIZE(npages), MAP_RW));
}

static bool is_mapped(struct rig *r, __u64 page, __u64 npages)
{
	int ret = dma_map(r->container, r->mem, at(page), SIZE(npages),
			  VFIO_DMA_MAP_FLAG_READ);

	if (!ret)
		dma_unmap(r->container, at(page), SIZE(npages), NULL);
	else if (ret != -EEXIST)
		FAIL("map: %s", error(ret));
	return ret;
}

/* One UNMAP with bitmap. Returns what it reports, or the name of the errno. */
static const char *unmap_dirty(struct rig *r, __u64 page, __u64 npages,
			       __u64 *unmapped)
{
	unsigned char *bitmap = calloc(1, bitmap_bytes(npages));
	const char *text;
	int ret;

	ret = dma_unmap_get(r->container, at(page), SIZE(npages), bitmap,
			    unmapped);
	text = ret ? error(ret) : bitmap_text(bitmap, npages);
	free(bitmap);
	return text;
}

TEST_F(rig, R11_unmap_reports_and_unmaps, 20)
{
	__u64 unmapped = 1;

	START(self);
	TOUCH(self, 5, 10);
	TOUCH(self, 1000, 24);
	EXPECT_STR("5-14,1000-1023", unmap_dirty(self, 0, RIG_PAGES, &unmapped));
	EXPECT_EQ(SIZE(RIG_PAGES), unmapped);
	EXPECT_EQ(0, is_mapped(self, 0, RIG_PAGES));
	EXPECT_STR("none", dirty_all(self));
	EXPECT_LOCKED(0);
}

TEST_F(rig, R11_unmap_clears_only_its_range, 20)
{
	START(self);
	map_more(self, RIG_PAGES, 64);
	map_more(self, RIG_PAGES + 64, 64);
	TOUCH(self, RIG_PAGES - 4, 132);
	EXPECT_STR("0-63", unmap_dirty(self, RIG_PAGES, 64, NULL));
	EXPECT_STR("1020-1023,1088-1151", dirty(self, 0, RIG_PAGES + 128));
}

/* A later mapping at the same place has no old records. */
TEST_F(rig, R11_unmap_without_bitmap_drops_the_records, 20)
{
	START(self);
	TOUCH(self, 5, 10);
	ASSERT_EQ(0, dma_unmap(self->container, at(0), SIZE(RIG_PAGES), NULL));
	ASSERT_EQ(0, dma_map(self->container, self->mem, at(0),
			     SIZE(RIG_PAGES), MAP_RW));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R11_several_mappings_and_holes, 20)
{
	unsigned char bitmap[64];
	__u64 unmapped = 0;
	int i, want;

	START(self);
	for (i = 0; i < 10; i++)
		map_more(self, RIG_PAGES + 40 * i + 3, 30);
	for (i = 0; i < 10; i++)
		TOUCH(self, RIG_PAGES + 40 * i + 3 + i, 1);
	memset(bitmap, 0xff, sizeof(bitmap));
	ASSERT_STR("0", error(dma_unmap_get(self->container, at(RIG_PAGES),
					    SIZE(400), bitmap, &unmapped)));
	EXPECT_EQ(SIZE(300), unmapped);
	for (i = 0; i < 512; i++) {
		want = i >= 400 || i % 40 < 3 || i % 40 >= 33 ||
		       i % 40 == 3 + i / 40;
		if (bitmap_bit(bitmap, i) != want)
			FAIL("bit %d: want %d", i, want);
	}
	EXPECT_EQ(0, is_mapped(self, RIG_PAGES, 400));
}

/*
 * The report of a mapping that begins in the middle of 64 bits. It skips what is clean,
 * so it begins in the middle of 64 pages of the mapping, where some are dirty.
 */
TEST_F(rig, R11_report_of_a_shifted_mapping_ends, 20)
{
	__u64 size = 36 + 400000, unmapped = 0;
	int i;

	map_more(self, RIG_PAGES, 36);
	map_more(self, RIG_PAGES + 36, 400000);
	START(self);
	for (i = 0; i < 6; i++)
		TOUCH(self, RIG_PAGES + 36 + 64 * (4096 + i) + 30, 1);
	EXPECT_STR("262210,262274,262338,262402,262466,262530",
		   unmap_dirty(self, RIG_PAGES, size, &unmapped));
	EXPECT_EQ(SIZE(size), unmapped);
	EXPECT_LOCKED(0);
}

TEST_F(rig, R11_nothing_mapped_there, 20)
{
	unsigned char bitmap[16] = { [0 ... 15] = 0x96 }, before[16];
	__u64 unmapped = 1;

	memcpy(before, bitmap, sizeof(bitmap));
	START(self);
	ASSERT_STR("0", error(dma_unmap_get(self->container, at(RIG_PAGES),
					    SIZE(100), bitmap, &unmapped)));
	EXPECT_EQ(0, unmapped);
	EXPECT_EQ(0, memcmp(before, bitmap, sizeof(bitmap)));
}

/* The device has pins in the range: it gives them back, and they are reported. */
TEST_F(rig, R11_pins_are_given_back_and_reported, 20)
{
	__u64 unmapped = 0;

	START(self);
	PIN(self, 100, 200, 'w');
	PIN(self, 150, 10, 'w');
	PIN(self, 500, 1, 'r');
	TOUCH(self, 600, 1);
	EXPECT_STR("100-299,600", unmap_dirty(self, 0, RIG_PAGES, &unmapped));
	EXPECT_EQ(SIZE(RIG_PAGES), unmapped);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(rig, R11_pins_in_many_mappings, 30)
{
	__u64 unmapped = 0;
	int i;

	START(self);
	for (i = 0; i < 30; i++)
		map_more(self, RIG_PAGES + i, 1);
	PIN(self, RIG_PAGES, 30, 'w');
	EXPECT_STR("0-29", unmap_dirty(self, RIG_PAGES, 30, &unmapped));
	EXPECT_EQ(SIZE(30), unmapped);
	EXPECT_LOCKED(0);
}

/* Two devices hold the same pages. */
TEST_F(rig, R11_pins_of_two_devices, 30)
{
	struct mdma second;

	ASSERT_STR("0", error(mdma_create(&second, "mdma-1")));
	ASSERT_STR("0", error(mdma_attach(&second, self->container)));
	ASSERT_STR("0", error(mdma_open(&second)));
	START(self);
	PIN(self, 10, 10, 'w');
	EXPECT_EQ(0, mdma_pin(&second, at(15), 10, 'w'));
	EXPECT_LOCKED(15);
	EXPECT_STR("10-24", unmap_dirty(self, 0, RIG_PAGES, NULL));
	EXPECT_EQ(0, mdma_get(&second, "stats/pinned"));
	EXPECT_LOCKED(0);
	mdma_destroy(&second);
}

TEST_F(rig, R11_unmap_without_bitmap_gets_the_pins_back, 20)
{
	__u64 unmapped = 0;

	PIN(self, 100, 200, 'w');
	ASSERT_STR("0", error(dma_unmap(self->container, at(0),
					SIZE(RIG_PAGES), &unmapped)));
	EXPECT_EQ(SIZE(RIG_PAGES), unmapped);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

/* The bitmap can't be written: nothing is unmapped, and a retry succeeds. */
TEST_F(rig, R11_faulting_unmap_changes_nothing, 20)
{
	void *bad = memory(PAGE_SIZE, PROT_READ);
	__u64 unmapped = 0;
	int i;

	START(self);
	map_more(self, RIG_PAGES + 7, 100);
	TOUCH(self, 3, 1);
	TOUCH(self, RIG_PAGES + 7, 3);
	PIN(self, 50, 4, 'w');
	for (i = 0; i < 3; i++)
		EXPECT_STR("EFAULT",
			   error(dma_unmap_get(self->container, at(0),
					       SIZE(RIG_PAGES + 107), bad,
					       NULL)));
	EXPECT_EQ(1, is_mapped(self, 0, RIG_PAGES));
	EXPECT_EQ(1, is_mapped(self, RIG_PAGES + 7, 100));
	EXPECT_STR("3,50-53,1031-1033",
		   unmap_dirty(self, 0, RIG_PAGES + 107, &unmapped));
	EXPECT_EQ(SIZE(RIG_PAGES + 100), unmapped);
	EXPECT_LOCKED(0);
}

/* Nothing is unmapped, and the argument is unchanged. */
TEST_F(rig, R11_failing_unmap_can_be_tried_again, 20)
{
	char bitmap[RIG_PAGES / 8] = "";
	__u64 all = SIZE(RIG_PAGES);
	struct vfio_unmap_get unmap;

	START(self);
	TOUCH(self, 3, 1);
	dma_unmap_get_prepare(&unmap, at(0), all,
			      memory(PAGE_SIZE, PROT_READ));
	EXPECT_STR("EFAULT", error(unmap_ioctl(self->container, &unmap)));
	EXPECT_EQ(all, unmap.head.size);
	unmap.bitmap.data = (void *)bitmap;
	EXPECT_STR("0", error(unmap_ioctl(self->container, &unmap)));
	EXPECT_EQ(all, unmap.head.size);
	EXPECT_STR("3", bitmap_text(bitmap, RIG_PAGES));
	EXPECT_EQ(0, is_mapped(self, 0, RIG_PAGES));
}

/* The second mapping's bits fault when the first one's are already written (W6). */
TEST_F(rig, R11_fault_in_a_later_mapping_changes_nothing, 20)
{
	unsigned char *bad = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);

	START(self);
	map_more(self, RIG_PAGES, 40000);
	TOUCH(self, 3, 1);
	TOUCH(self, RIG_PAGES + 39999, 1);
	mprotect(bad + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	EXPECT_STR("EFAULT", error(dma_unmap_get(self->container, at(0),
						 SIZE(RIG_PAGES + 40000), bad,
						 NULL)));
	EXPECT_EQ(1, is_mapped(self, 0, RIG_PAGES));
	EXPECT_EQ(1, is_mapped(self, RIG_PAGES, 40000));
	EXPECT_STR("3,41023", dirty(self, 0, RIG_PAGES + 40000));
}

TEST_F(rig, R11_range_that_cuts_a_mapping, 20)
{
	START(self);
	TOUCH(self, 3, 1);
	EXPECT_STR("EINVAL", unmap_dirty(self, 0, RIG_PAGES - 1, NULL));
	EXPECT_STR("EINVAL", unmap_dirty(self, 1, RIG_PAGES - 1, NULL));
	EXPECT_STR("EINVAL", unmap_dirty(self, 1, 10, NULL));
	EXPECT_EQ(1, is_mapped(self, 0, RIG_PAGES));
	EXPECT_STR("3", dirty_all(self));
}

static int call_unmap_dirty(void *arg)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	struct rig *r = arg;
	int ret = dma_unmap_get(r->container, at(0), SIZE(RIG_PAGES), bitmap,
				NULL);

	return ret ? ret : bitmap[0];
}

static int call_stop(void *arg)
{
	return dirty_stop(((struct rig *)arg)->container);
}

/*
 * UNMAP drops the lock while the device gives its pins back (W3). The device delays
 * that until a STOP is done, or until the STOP waits for the UNMAP.
 */
TEST_F(rig, R11_W3_stop_while_unmap_waits_for_the_device, 30)
{
	struct job unmap, stop;
	int ret;

	if (stock_is_spared())
		SKIP("a backend that survives it (W3)");
	START(self);
	PIN(self, 0, 8, 'w');
	ASSERT_EQ(0, mdma_set_unmap_stall(&self->dev, 1));
	job_start(&unmap, call_unmap_dirty, self);
	ASSERT_EQ(true, job_sleeps_in(&unmap, "mdma_unmap_range"));
	job_start(&stop, call_stop, self);
	job_settle(&stop);
	ASSERT_EQ(0, mdma_set_unmap_stall(&self->dev, 0));
	ret = job_join(&unmap);
	EXPECT_STR("0", error(job_join(&stop)));
	/* Either it reports, or tracking is off by now and it changes nothing. */
	if (ret != -EINVAL)
		EXPECT_EQ(0xff, ret);
	EXPECT_EQ(ret == -EINVAL, is_mapped(self, 0, RIG_PAGES));
	EXPECT_STR("EINVAL", dirty_all(self));
	EXPECT_LOCKED(0);
}

/* On stock, a leak is a BUG() that leaves the container locked for ever (W7). */
#define NEEDS_A_LEAK_TO_BE_SURVIVED() do {				\
	if (stock_is_spared())						\
		SKIP("a backend that survives it (W7)");		\
} while (0)

TEST_F(rig, R15_W7_leaking_driver_is_an_error_of_unmap, 60)
{
	NEEDS_A_LEAK_TO_BE_SURVIVED();
	START(self);
	PIN(self, 20, 3, 'w');
	TOUCH(self, 30, 1);
	ASSERT_EQ(0, mdma_set_leak(&self->dev, 1));
	EXPECT_STR("EBUSY", error(dma_unmap(self->container, at(0),
					    SIZE(RIG_PAGES), NULL)));
	EXPECT_LOCKED(3);
	EXPECT_EQ(1, is_mapped(self, 0, RIG_PAGES));
	EXPECT_STR("20-22,30", dirty_all(self));

	/* The device can still give them back; then UNMAP succeeds. */
	UNPIN(self, 20, 3);
	EXPECT_LOCKED(0);
	EXPECT_STR("20-22", unmap_dirty(self, 0, RIG_PAGES, NULL));
	EXPECT_EQ(0, is_mapped(self, 0, RIG_PAGES));
}

TEST_F(rig, R15_leaking_driver_and_bitmap, 60)
{
	NEEDS_A_LEAK_TO_BE_SURVIVED();
	START(self);
	map_more(self, RIG_PAGES, 10);
	PIN(self, RIG_PAGES + 2, 3, 'w');
	TOUCH(self, 30, 1);
	ASSERT_EQ(0, mdma_set_leak(&self->dev, 1));
	EXPECT_STR("EBUSY", unmap_dirty(self, 0, RIG_PAGES + 10, NULL));
	EXPECT_EQ(1, is_mapped(self, 0, RIG_PAGES));
	EXPECT_EQ(1, is_mapped(self, RIG_PAGES, 10));
	EXPECT_LOCKED(3);
	ASSERT_EQ(0, mdma_set_leak(&self->dev, 0));
	EXPECT_STR("30,1026-1028", unmap_dirty(self, 0, RIG_PAGES + 10, NULL));
	EXPECT_LOCKED(0);
}

/* The pins are never given back, not even when the device is closed. */
TEST_F(rig, R15_leaking_driver_and_close, 60)
{
	long long before = pinned_pages();

	NEEDS_A_LEAK_TO_BE_SURVIVED();
	START(self);
	PIN(self, 20, 3, 'w');
	PIN(self, 40, 1, 'w');
	PIN(self, 600, 200, 'w');
	EXPECT_EQ(204, pinned_pages() - before);
	ASSERT_EQ(0, mdma_set_leak(&self->dev, 1));
	EXPECT_NE(0, dma_unmap(self->container, at(0), SIZE(RIG_PAGES), NULL));
	close(self->dev.device);
	self->dev.device = -1;
	EXPECT_EQ(204, pinned_pages() - before);
	EXPECT_LOCKED(204);
	rig_close(self);
	EXPECT_EQ(0, pinned_pages() - before);
	EXPECT_LOCKED(0);
}

TEST_MAIN(mdev_remove_leftovers)
