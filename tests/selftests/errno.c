// SPDX-License-Identifier: GPL-2.0-only
/*
 * R13: bad input gets a fixed errno, the same as the kernel's own where that has
 * one, and has no effect.
 */
#include "fixture.h"

#define NPAGES	64
#define SIZE	((__u64)NPAGES << PAGE_SHIFT)

FIXTURE(bad) {
	struct rig rig;
	unsigned char bitmap[64];
};

/* Page 3 is retained and page 4 pinned; nothing in the test may change that. */
FIXTURE_SETUP(bad)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", NPAGES)));
	memset(self->bitmap, 0xa5, sizeof(self->bitmap));
	START(r);
	TOUCH(r, 3, 1);
	PIN(r, 4, 1, 'w');
}

FIXTURE_TEARDOWN(bad)
{
	unsigned int i;

	for (i = 0; i < sizeof(self->bitmap); i++)
		EXPECT_EQ(0xa5, self->bitmap[i]);
	EXPECT_STR("3-4", dirty_all(&self->rig));
	EXPECT_LOCKED(1);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* A good call, except for this change. The line number tells which one failed. */
#define BAD_GET(want, change) do {					\
	struct vfio_get g;						\
									\
	dirty_get_prepare(&g, at(0), SIZE, self->bitmap);		\
	change;								\
	EXPECT_STR(want, error(dirty_ioctl(self->rig.container, &g)));	\
} while (0)

#define BAD_UNMAP(want, change) do {					\
	struct vfio_unmap_get u;					\
									\
	dma_unmap_get_prepare(&u, at(0), SIZE, self->bitmap);		\
	change;								\
	EXPECT_STR(want, error(unmap_ioctl(self->rig.container, &u)));	\
} while (0)

#define START_FLAG	VFIO_IOMMU_DIRTY_PAGES_FLAG_START
#define STOP_FLAG	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
#define GET_FLAG	VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP

/* The three commands share a parser: input that is bad for one is bad for all. */

TEST_F(bad, R13_D12_no_flag, 20)
{
	BAD_GET("EINVAL", g.head.flags = 0);
}

TEST_F(bad, R13_D13_two_flags, 20)
{
	BAD_GET("EINVAL", g.head.flags = START_FLAG | STOP_FLAG);
	BAD_GET("EINVAL", g.head.flags = START_FLAG | GET_FLAG);
	BAD_GET("EINVAL", g.head.flags = STOP_FLAG | GET_FLAG);
	BAD_GET("EINVAL", g.head.flags = START_FLAG | STOP_FLAG | GET_FLAG);
}

TEST_F(bad, R13_unknown_flag, 20)
{
	BAD_GET("EINVAL", g.head.flags = 1 << 3);
	BAD_GET("EINVAL", g.head.flags = 1U << 31);
	BAD_GET("EINVAL", g.head.flags |= 1 << 3);
	BAD_GET("EINVAL", g.head.flags = STOP_FLAG | 1 << 3);
	BAD_GET("EINVAL", g.head.flags = ~0U);
}

TEST_F(bad, R13_start_argsz, 20)
{
	BAD_GET("EINVAL", g.head.flags = START_FLAG; g.head.argsz = 7);
	BAD_GET("EINVAL", g.head.flags = START_FLAG; g.head.argsz = 0);
}

TEST_F(bad, R13_stop_argsz, 20)
{
	BAD_GET("EINVAL", g.head.flags = STOP_FLAG; g.head.argsz = 7);
	BAD_GET("EINVAL", g.head.flags = STOP_FLAG; g.head.argsz = 0);
}

TEST_F(bad, R13_get_argsz, 20)
{
	BAD_GET("EINVAL", g.head.argsz--);
	BAD_GET("EINVAL", g.head.argsz = sizeof(g.head));
	BAD_GET("EINVAL", g.head.argsz = sizeof(g.head) - 1);
	BAD_GET("EINVAL", g.head.argsz = 0);
}

/* The second half of the argument is not mapped, or none of it is. */
TEST_F(bad, R13_argument_at_a_bad_address, 20)
{
	char *mem = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	struct vfio_get *g = (void *)(mem + PAGE_SIZE - sizeof(g->head));

	munmap(mem + PAGE_SIZE, PAGE_SIZE);
	g->head = (struct vfio_iommu_type1_dirty_bitmap) {
		.argsz = sizeof(*g), .flags = GET_FLAG,
	};
	EXPECT_STR("EFAULT", error(dirty_ioctl(self->rig.container, g)));
	EXPECT_STR("EFAULT", error(dirty_ioctl(self->rig.container,
					       &g->head.flags)));
	EXPECT_STR("EFAULT", error(dirty_ioctl(self->rig.container, NULL)));
}

TEST_F(bad, R13_D12_get_page_size_0, 20)
{
	BAD_GET("EINVAL", g.range.bitmap.pgsize = 0);
}

TEST_F(bad, R13_D12_get_page_size_no_power_of_two, 20)
{
	BAD_GET("EINVAL", g.range.bitmap.pgsize = PAGE_SIZE - 1);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = PAGE_SIZE + 1);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = PAGE_SIZE * 3);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = ~0ULL);
}

TEST_F(bad, R13_get_page_size_not_the_smallest, 20)
{
	BAD_GET("EINVAL", g.range.bitmap.pgsize = 1);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = PAGE_SIZE / 2);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = PAGE_SIZE * 2);
	BAD_GET("EINVAL", g.range.bitmap.pgsize = 1ULL << 63);
}

TEST_F(bad, R13_get_unaligned_iova, 20)
{
	BAD_GET("EINVAL", g.range.iova++);
	BAD_GET("EINVAL", g.range.iova += PAGE_SIZE / 2);
}

TEST_F(bad, R13_D15_get_unaligned_size, 20)
{
	BAD_GET("EINVAL", g.range.size = 1);
	BAD_GET("EINVAL", g.range.size--);
	BAD_GET("EINVAL", g.range.size -= PAGE_SIZE / 2);
}

TEST_F(bad, R13_get_size_0, 20)
{
	BAD_GET("EINVAL", g.range.size = 0);
}

TEST_F(bad, R13_get_wraps_around, 20)
{
	/* EINVAL, or EOVERFLOW in newer kernels */
	const char *beyond = range_error(self->rig.container);

	BAD_GET(beyond, g.range.iova = -PAGE_SIZE);
	BAD_GET(beyond, g.range.iova = -PAGE_SIZE;
		g.range.size = 2 * PAGE_SIZE);
	BAD_GET(beyond, g.range.size = -PAGE_SIZE);
	BAD_GET(beyond, g.range.size = ~0ULL);
	BAD_GET(beyond, g.range.iova = ~0ULL; g.range.size = ~0ULL);
}

TEST_F(bad, R13_D14_get_bitmap_too_small, 20)
{
	BAD_GET("EINVAL", g.range.bitmap.size--);
	BAD_GET("EINVAL", g.range.bitmap.size = 0);
	BAD_GET("EINVAL", g.range.bitmap.size = 1);
	BAD_GET("EINVAL", g.range.size = (NPAGES + 1) << PAGE_SHIFT);
	BAD_GET("EINVAL", g.range.size = 1ULL << 62);
}

TEST_F(bad, R13_D14_get_bitmap_too_large, 20)
{
	BAD_GET("EINVAL", g.range.bitmap.size = ~0ULL);
	BAD_GET("EINVAL", g.range.bitmap.size = 1ULL << 63);
}

/* The last page of user space, with five or four levels of page tables. */
static void *last_user_page(void)
{
	bool five = !system("grep -qw la57 /proc/cpuinfo");

	return (void *)((1ULL << (five ? 56 : 47)) - 2 * PAGE_SIZE);
}

TEST_F(bad, R13_get_bitmap_outside_of_user_space, 20)
{
	BAD_GET("EINVAL", (g.range.bitmap.data = last_user_page(),
			   g.range.bitmap.size = 2 * PAGE_SIZE));
	BAD_GET("EINVAL", g.range.bitmap.data = (void *)0xffff888000000000);
	BAD_GET("EINVAL", g.range.bitmap.data = (void *)-8);
}

TEST_F(bad, R13_get_bitmap_at_a_bad_address, 20)
{
	BAD_GET("EFAULT", g.range.bitmap.data = NULL);
	BAD_GET("EFAULT", g.range.bitmap.data = memory(PAGE_SIZE, PROT_NONE));
}

TEST_F(bad, R13_get_bitmap_read_only, 20)
{
	BAD_GET("EFAULT", g.range.bitmap.data = memory(PAGE_SIZE, PROT_READ));
}

/* An 8-byte bitmap that begins in a page and ends in one that is not mapped. */
static void *torn_bitmap(void)
{
	char *mem = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);

	munmap(mem + PAGE_SIZE, PAGE_SIZE);
	return mem + PAGE_SIZE - 4;
}

TEST_F(bad, R13_get_bitmap_partly_unmapped, 20)
{
	BAD_GET("EFAULT", g.range.bitmap.data = torn_bitmap());
}

TEST_F(bad, R13_unmap_unknown_flag, 20)
{
	BAD_UNMAP("EINVAL", u.head.flags |= 1 << 3);
	BAD_UNMAP("EINVAL", u.head.flags = 1U << 31);
}

TEST_F(bad, R13_unmap_all_with_a_bitmap, 20)
{
	const __u32 all = VFIO_DMA_UNMAP_FLAG_ALL;

	BAD_UNMAP("EINVAL", u.head.flags |= all);
	BAD_UNMAP("EINVAL", u.head.flags |= all; u.head.iova = 0;
		  u.head.size = 0);
}

TEST_F(bad, R13_unmap_all_with_a_range, 20)
{
	BAD_UNMAP("EINVAL", u.head.flags = VFIO_DMA_UNMAP_FLAG_ALL);
}

TEST_F(bad, R13_unmap_vaddr_with_a_bitmap, 20)
{
	BAD_UNMAP("EINVAL", u.head.flags |= VFIO_DMA_UNMAP_FLAG_VADDR);
}

TEST_F(bad, R13_unmap_vaddr_beside_an_mdev, 20)
{
	BAD_UNMAP("EBUSY", u.head.flags = VFIO_DMA_UNMAP_FLAG_VADDR);
}

TEST_F(bad, R13_unmap_argsz, 20)
{
	BAD_UNMAP("EINVAL", u.head.argsz = sizeof(u.head) - 1);
	BAD_UNMAP("EINVAL", u.head.argsz = 0);
	BAD_UNMAP("EINVAL", u.head.flags = 0;
		  u.head.argsz = sizeof(u.head) - 1);
}

TEST_F(bad, R13_unmap_argsz_without_the_bitmap, 20)
{
	BAD_UNMAP("EINVAL", u.head.argsz--);
	BAD_UNMAP("EINVAL", u.head.argsz = sizeof(u.head));
}

TEST_F(bad, R13_unmap_argument_at_a_bad_address, 20)
{
	char *mem = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	struct vfio_unmap_get *u = (void *)(mem + PAGE_SIZE - sizeof(u->head));

	munmap(mem + PAGE_SIZE, PAGE_SIZE);
	u->head = (struct vfio_iommu_type1_dma_unmap) {
		.argsz = sizeof(*u),
		.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
		.iova = at(0),
		.size = SIZE,
	};
	EXPECT_STR("EFAULT", error(unmap_ioctl(self->rig.container, u)));
	EXPECT_STR("EFAULT", error(unmap_ioctl(self->rig.container,
					       &u->head.size)));
	EXPECT_STR("EFAULT", error(unmap_ioctl(self->rig.container, NULL)));
}

/* The result could not be returned, so nothing is unmapped. Stock unmaps (W6). */
TEST_F(bad, R13_unmap_argument_read_only, 20)
{
	struct vfio_unmap_get *u = memory(PAGE_SIZE, PROT_READ | PROT_WRITE);

	dma_unmap_get_prepare(u, at(0), SIZE, self->bitmap);
	u->head.flags = 0;
	mprotect(u, PAGE_SIZE, PROT_READ);
	EXPECT_STR("EFAULT", error(unmap_ioctl(self->rig.container, u)));
}

TEST_F(bad, R13_unmap_unaligned_iova, 20)
{
	BAD_UNMAP("EINVAL", u.head.iova++);
	BAD_UNMAP("EINVAL", u.head.iova += PAGE_SIZE / 2);
}

TEST_F(bad, R13_unmap_unaligned_size, 20)
{
	BAD_UNMAP("EINVAL", u.head.size--);
	BAD_UNMAP("EINVAL", u.head.size -= PAGE_SIZE / 2);
}

TEST_F(bad, R13_unmap_size_0, 20)
{
	BAD_UNMAP("EINVAL", u.head.size = 0);
}

TEST_F(bad, R13_unmap_wraps_around, 20)
{
	BAD_UNMAP("EINVAL", u.head.size = ~0ULL);
	BAD_UNMAP(range_error(self->rig.container), u.head.iova = -PAGE_SIZE;
		  u.head.size = 2 * PAGE_SIZE);
}

TEST_F(bad, R13_unmap_cuts_a_mapping, 20)
{
	BAD_UNMAP("EINVAL", u.head.size -= PAGE_SIZE);
	BAD_UNMAP("EINVAL", u.head.iova += PAGE_SIZE);
	BAD_UNMAP("EINVAL", u.head.iova += PAGE_SIZE; u.head.flags = 0);
}

TEST_F(bad, R13_unmap_page_size_0, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = 0);
}

TEST_F(bad, R13_unmap_page_size_no_power_of_two, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = PAGE_SIZE * 3);
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = PAGE_SIZE + 1);
}

TEST_F(bad, R13_unmap_page_size_not_the_smallest, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = 1);
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = PAGE_SIZE * 2);
	BAD_UNMAP("EINVAL", u.bitmap.pgsize = 1ULL << 63);
}

TEST_F(bad, R13_unmap_bitmap_too_small, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.size--);
	BAD_UNMAP("EINVAL", u.bitmap.size = 0);
}

TEST_F(bad, R13_unmap_bitmap_too_large, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.size = ~0ULL);
}

TEST_F(bad, R13_unmap_bitmap_outside_of_user_space, 20)
{
	BAD_UNMAP("EINVAL", u.bitmap.data = (void *)0xffff888000000000);
}

/*
 * The report must be made to find out that the bitmap can't be written. Before that,
 * the device gives back its pins, so they become records.
 */
static void expect_unmap_fault(struct rig *r, const char *want, void *bitmap)
{
	int i;

	START(r);
	TOUCH(r, 3, 1);
	PIN(r, 4, 1, 'w');
	for (i = 0; i < 2; i++)
		EXPECT_STR(want, error(dma_unmap_get(r->container, at(0), SIZE,
						     bitmap, NULL)));
	EXPECT_STR("EEXIST", error(dma_map(r->container, r->mem, at(0), SIZE,
					   MAP_RW)));
	EXPECT_STR("3-4", dirty_all(r));
	EXPECT_LOCKED(0);
}

/* The rig, as small as one word of a bitmap. */
static void small_rig(struct rig *r)
{
	rig_close(r);
	ASSERT_STR("0", error(rig_open(r, "mdma-1", NPAGES)));
}

TEST_F(rig, R13_unmap_bitmap_at_a_bad_address, 20)
{
	small_rig(self);
	expect_unmap_fault(self, "EFAULT", memory(PAGE_SIZE, PROT_NONE));
}

TEST_F(rig, R13_unmap_bitmap_read_only, 20)
{
	small_rig(self);
	expect_unmap_fault(self, "EFAULT", memory(PAGE_SIZE, PROT_READ));
}

TEST_F(rig, R13_unmap_bitmap_partly_unmapped, 20)
{
	small_rig(self);
	expect_unmap_fault(self, "EFAULT", torn_bitmap());
}

/* Neither call reports; the buffer and the mapping are unchanged. */
static void expect_not_tracking(struct rig *r, const char *want)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT;
	unsigned char bitmap[RIG_PAGES / 8];

	memset(bitmap, 0x5a, sizeof(bitmap));
	EXPECT_STR(want, error(dirty_get(r->container, at(0), size, bitmap)));
	EXPECT_STR(want, error(dma_unmap_get(r->container, at(0), size, bitmap,
					     NULL)));
	EXPECT_EQ(0x5a, bitmap[0]);
	EXPECT_STR("EEXIST", error(dma_map(r->container, r->mem, at(0), size,
					   MAP_RW)));
}

TEST_F(rig, R13_before_start, 20)
{
	expect_not_tracking(self, "EINVAL");
}

TEST_F(rig, R13_after_stop, 20)
{
	START(self);
	TOUCH(self, 3, 1);
	STOP(self);
	expect_not_tracking(self, "EINVAL");
}

/* Not an error: tracking does not change. */
TEST_F(rig, R13_start_twice_and_stop_twice, 20)
{
	START(self);
	TOUCH(self, 3, 1);
	START(self);
	EXPECT_STR("3", dirty_all(self));
	STOP(self);
	STOP(self);
}

TEST_F(rig, R13_longer_argument_is_accepted, 20)
{
	struct {
		struct vfio_get get;
		__u64 future[4];
	} arg = { 0 };
	unsigned char bitmap[RIG_PAGES / 8] = "";

	arg.get.head.argsz = sizeof(arg);
	arg.get.head.flags = START_FLAG;
	EXPECT_EQ(0, dirty_ioctl(self->container, &arg));
	TOUCH(self, 2, 1);
	dirty_get_prepare(&arg.get, at(0), RIG_PAGES << PAGE_SHIFT, bitmap);
	arg.get.head.argsz = sizeof(arg);
	EXPECT_EQ(0, dirty_ioctl(self->container, &arg));
	EXPECT_EQ(4, bitmap[0]);
	arg.get.head.flags = STOP_FLAG;
	EXPECT_EQ(0, dirty_ioctl(self->container, &arg));
}

/* Version 1 of type1 has neither tracking nor pins. */
TEST_F(rig, R13_type1_version_1, 20)
{
	unsigned char bitmap[8] = "";
	struct mdma *m = &self->dev;
	int c;

	rig_close(self);
	c = container_open();
	self->container = c;
	ASSERT_EQ(0, mdma_create(m, "mdma-1"));
	ASSERT_EQ(0, mdma_attach(m, c));
	ASSERT_EQ(0, container_set_type(c, VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, mdma_open(m));
	ASSERT_EQ(0, dma_map(c, memory(PAGE_SIZE, PROT_READ | PROT_WRITE),
			     at(0), PAGE_SIZE, MAP_RW));
	EXPECT_STR("EACCES", error(dirty_start(c)));
	EXPECT_STR("EACCES", error(dirty_get(c, at(0), PAGE_SIZE, bitmap)));
	EXPECT_STR("EACCES", error(dirty_stop(c)));
	EXPECT_STR("EINVAL", error(dma_unmap_get(c, at(0), PAGE_SIZE, bitmap,
						 NULL)));
	EXPECT_STR("EACCES", error(mdma_pin(m, at(0), 1, 'w')));
	EXPECT_LOCKED(0);
}

TEST_F(rig, R13_pin_outside_of_the_mappings, 20)
{
	struct mdma *m = &self->dev;

	START(self);
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(RIG_PAGES), 1, 'w')));
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(RIG_PAGES - 1), 2, 'w')));
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(0) - PAGE_SIZE, 2, 'w')));
	EXPECT_STR("EINVAL", error(mdma_pin(m, -PAGE_SIZE, 2, 'w')));
	EXPECT_LOCKED(0);
	EXPECT_STR("none", dirty_all(self));
}

TEST_MAIN(mdev_remove_leftovers)
