// SPDX-License-Identifier: GPL-2.0-only
/* R5, R6: a retained page is not a pinned page, for any call. */
#include "fixture.h"

/* The engine's own pin, write, unpin of this page. */
static void stamp(struct rig *r, __u64 page)
{
	struct mdma *m = &r->dev;

	ASSERT_EQ(0, mdma_set(m, "workload/window", "%llx-%llx", at(page),
			      at(page + 1) - 1));
	ASSERT_EQ(0, mdma_set(m, "workload/batch", "1"));
	ASSERT_EQ(0, mdma_set(m, "workload/hold_ms", "0"));
	ASSERT_STR("0", error(mdma_set(m, "workload/step", "1")));
}

static struct mdma_stamp *stamp_of(struct rig *r, __u64 page)
{
	return (void *)(r->mem + (page << PAGE_SHIFT));
}

/* The user sees the stamp in the memory that the IOVA is mapped to now. */
static void expect_stamp(struct rig *r, __u64 page)
{
	EXPECT_EQ(MDMA_STAMP_MAGIC, stamp_of(r, page)->magic);
	EXPECT_EQ(at(page), stamp_of(r, page)->iova);
}

TEST_F(rig, R5_D9_repin_after_the_page_was_dropped, 20)
{
	int i;

	START(self);
	for (i = 0; i < 8; i++) {
		memset(self->mem + (7 << PAGE_SHIFT), 0xee, PAGE_SIZE);
		TOUCH(self, 7, 1);
		madvise(self->mem + (7 << PAGE_SHIFT), PAGE_SIZE,
			MADV_DONTNEED);
		/* If the old page was freed, this allocation would get it. */
		memset(memory(PAGE_SIZE, PROT_READ | PROT_WRITE), 1, PAGE_SIZE);
		stamp(self, 7);
		expect_stamp(self, 7);
		EXPECT_STR("7", dirty_all(self));
	}
}

TEST_F(rig, R5_repin_after_other_memory_was_mapped, 20)
{
	void *vaddr = self->mem + (7 << PAGE_SHIFT);

	START(self);
	TOUCH(self, 0, 512);
	ASSERT_EQ(vaddr, mmap(vaddr, PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	stamp(self, 7);
	expect_stamp(self, 7);
	EXPECT_STR("0-511", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/* The same for a page that was reported and then replaced. */
TEST_F(rig, R5_repin_after_the_report, 20)
{
	START(self);
	TOUCH(self, 7, 2);
	EXPECT_STR("7-8", dirty_all(self));
	madvise(self->mem, RIG_PAGES << PAGE_SHIFT, MADV_DONTNEED);
	stamp(self, 7);
	expect_stamp(self, 7);
	EXPECT_STR("7", dirty_all(self));
}

TEST_F(rig, R5_D10_failing_repin_keeps_the_record, 20)
{
	START(self);
	TOUCH(self, 3, 1);
	munmap(self->mem + (3 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(3), 1, 'w')));
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(3), 1, 'r')));
	EXPECT_LOCKED(0);
	EXPECT_STR("3", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/* Half of the batch was pinned when it failed: only that half is given back. */
TEST_F(rig, R5_failing_batch_keeps_the_records, 20)
{
	START(self);
	TOUCH(self, 10, 4);
	PIN(self, 12, 1, 'w');
	PIN(self, 16, 1, 'w');
	munmap(self->mem + (18 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_STR("EFAULT", error(mdma_pin(&self->dev, at(8), 20, 'w')));
	EXPECT_LOCKED(2);
	EXPECT_STR("10-13,16", dirty_all(self));
	EXPECT_STR("12,16", dirty_all(self));
	UNPIN(self, 12, 1);
	UNPIN(self, 16, 1);
	EXPECT_LOCKED(0);
	EXPECT_STR("12,16", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/* Pages are counted again when they are pinned again. */
TEST_F(rig, R5_D11_repin_is_counted, 20)
{
	START(self);
	TOUCH(self, 0, 100);
	EXPECT_LOCKED(0);
	PIN(self, 50, 100, 'w');
	EXPECT_LOCKED(100);
	UNPIN(self, 50, 100);
	EXPECT_LOCKED(0);
	EXPECT_STR("0-149", dirty_all(self));
}

TEST_F(rig, R6_unpin_of_a_page_never_pinned, 20)
{
	START(self);
	PIN(self, 20, 1, 'w');
	mdma_unpin(&self->dev, at(4), 1);
	mdma_unpin(&self->dev, at(16), 4);
	mdma_unpin(&self->dev, at(21), 300);
	EXPECT_LOCKED(1);
	EXPECT_STR("20", dirty_all(self));
	UNPIN(self, 20, 1);
	EXPECT_LOCKED(0);
}

TEST_F(rig, R6_unpin_of_a_retained_page, 20)
{
	int i;

	START(self);
	PIN(self, 9, 1, 'w');
	TOUCH(self, 5, 2);
	for (i = 0; i < 3; i++)
		mdma_unpin(&self->dev, at(5), 1);
	EXPECT_LOCKED(1);
	EXPECT_STR("5-6,9", dirty_all(self));
	for (i = 0; i < 3; i++)
		mdma_unpin(&self->dev, at(5), 2);
	EXPECT_LOCKED(1);
	EXPECT_STR("9", dirty_all(self));
	/* The unpins before leave no debt: one pin counts as one. */
	PIN(self, 5, 1, 'w');
	EXPECT_LOCKED(2);
	EXPECT_STR("5,9", dirty_all(self));
	UNPIN(self, 5, 1);
	EXPECT_LOCKED(1);
}

TEST_F(rig, R6_unpin_before_start, 20)
{
	mdma_unpin(&self->dev, at(0), 512);
	TOUCH(self, 0, 4);
	mdma_unpin(&self->dev, at(0), 4);
	EXPECT_LOCKED(0);
	START(self);
	mdma_unpin(&self->dev, at(0), 4);
	EXPECT_STR("none", dirty_all(self));
}

/* Stock has a WARN here, and leaves the pages after the hole pinned. */
TEST_F(rig, R6_unpin_across_a_hole, 20)
{
	__u64 size = 16 << PAGE_SHIFT;

	if (backend_is_stock())
		SKIP("a backend that does not WARN");
	ASSERT_EQ(0, dma_map(self->container,
			     memory(size, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES + 4), size, MAP_RW));
	START(self);
	PIN(self, RIG_PAGES - 2, 2, 'w');
	PIN(self, RIG_PAGES + 4, 6, 'w');
	EXPECT_LOCKED(8);
	mdma_unpin(&self->dev, at(RIG_PAGES - 4), 10);
	EXPECT_LOCKED(4);
	mdma_unpin(&self->dev, at(RIG_PAGES + 100), 50);
	EXPECT_LOCKED(4);
	EXPECT_STR("1022-1023,1028-1033", dirty(self, 0, RIG_PAGES + 20));
	EXPECT_STR("1030-1033", dirty(self, 0, RIG_PAGES + 20));
}

TEST_MAIN(mdev_remove_leftovers)
