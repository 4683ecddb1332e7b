// SPDX-License-Identifier: GPL-2.0-only
/* R1 and R7: what START and STOP, close and detach do to the records. */
#include "fixture.h"

TEST_F(rig, R1_pinned_at_start_is_reported, 20)
{
	PIN(self, 5, 1, 'w');
	START(self);
	EXPECT_STR("5", dirty_all(self));
	EXPECT_STR("5", dirty_all(self));
	UNPIN(self, 5, 1);
	EXPECT_STR("5", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R1_unpinned_before_start_is_not_reported, 20)
{
	TOUCH(self, 7, 3);
	PIN(self, 20, 1, 'w');
	START(self);
	EXPECT_STR("20", dirty_all(self));
}

TEST_F(rig, R1_second_start_changes_nothing, 20)
{
	START(self);
	TOUCH(self, 3, 1);
	PIN(self, 4, 2, 'w');
	UNPIN(self, 5, 1);
	START(self);
	EXPECT_STR("3-5", dirty_all(self));
	START(self);
	EXPECT_STR("4", dirty_all(self));
}

TEST_F(rig, R1_mapped_after_start_is_tracked, 20)
{
	__u64 size = 64 << PAGE_SHIFT, iova = at(RIG_PAGES + 10);

	START(self);
	ASSERT_EQ(0, dma_map(self->container, memory(size, PROT_READ | PROT_WRITE),
			     iova, size,
			     MAP_RW));
	TOUCH(self, RIG_PAGES + 12, 2);
	PIN(self, RIG_PAGES + 73, 1, 'w');
	EXPECT_STR("1036-1037,1097", dirty(self, 0, RIG_PAGES + 74));
	EXPECT_STR("1097", dirty(self, 0, RIG_PAGES + 74));
}

/* Least growth in kB of the used memory over some STARTs. */
static long long start_growth_kb(struct rig *r, double *ms)
{
	long long growth = 1LL << 40, before, now;
	double begin, spent;
	int i;

	*ms = 1e9;
	for (i = 0; i < 5; i++) {
		before = used_kb();
		begin = now_ms();
		ASSERT_EQ(0, dirty_start(r->container));
		spent = now_ms() - begin;
		now = used_kb() - before;
		growth = now < growth ? now : growth;
		*ms = spent < *ms ? spent : *ms;
		ASSERT_EQ(0, dirty_stop(r->container));
	}
	return growth;
}

TEST_F(rig, R1_start_allocates_nothing_for_1_tib, 60)
{
	void *huge = memory(1ULL << 40, PROT_NONE);
	double before, ms;

	EXPECT_LT(start_growth_kb(self, &before), 1024);
	ASSERT_EQ(0, dma_map(self->container, huge, 1ULL << 41, 1ULL << 40,
			     MAP_RW));
	EXPECT_LT(start_growth_kb(self, &ms), 1024);
	printf("# START: %.3f ms, with 1 TiB mapped %.3f ms\n", before, ms);
	/* Compared with the machine's own time: on stock it is a hundred times as long. */
	EXPECT_EQ(1, ms < 4 * before + 1);
}

TEST_F(rig, R7_stop_drops_what_is_retained, 20)
{
	START(self);
	TOUCH(self, 1, 1);
	PIN(self, 2, 1, 'w');
	STOP(self);
	EXPECT_STR("EINVAL", dirty_all(self));
	TOUCH(self, 3, 1);
	START(self);
	EXPECT_STR("2", dirty_all(self));
	UNPIN(self, 2, 1);
	STOP(self);
	START(self);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R7_stop_without_start, 20)
{
	STOP(self);
	STOP(self);
	EXPECT_STR("EINVAL", dirty_all(self));
}

/* Opens everything again with the same mdev: no old record is seen. */
static void expect_clean_again(struct rig *r)
{
	struct mdma *m = &r->dev;

	r->container = container_open();
	ASSERT_LE(0, r->container);
	ASSERT_STR("0", error(mdma_attach(m, r->container)));
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_STR("0", error(mdma_open(m)));
	ASSERT_EQ(0, dma_map(r->container, r->mem, RIG_IOVA,
			     r->pages << PAGE_SHIFT, MAP_RW));
	START(r);
	EXPECT_STR("none", dirty_all(r));
	TOUCH(r, 9, 1);
	EXPECT_STR("9", dirty_all(r));
}

TEST_F(rig, R7_close_drops_all, 20)
{
	START(self);
	TOUCH(self, 0, 100);
	PIN(self, 50, 100, 'w');
	PIN(self, 60, 1, 'w');
	EXPECT_LOCKED(100);
	mdma_close(&self->dev);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
	close(self->container);
	expect_clean_again(self);
}

TEST_F(rig, R7_close_container_first, 20)
{
	START(self);
	TOUCH(self, 0, 100);
	PIN(self, 50, 100, 'w');
	close(self->container);
	EXPECT_LOCKED(100);
	close(self->dev.group);
	self->dev.group = -1;
	EXPECT_LOCKED(100);
	UNPIN(self, 50, 10);
	EXPECT_LOCKED(90);
	mdma_close(&self->dev);
	EXPECT_LOCKED(0);
	expect_clean_again(self);
}

TEST_F(rig, R7_detach_of_the_last_group_drops_all, 20)
{
	struct mdma *m = &self->dev;

	START(self);
	TOUCH(self, 0, 100);
	PIN(self, 50, 100, 'w');
	close(m->device);
	m->device = -1;
	ASSERT_STR("0", error(group_detach(m->group)));
	EXPECT_LOCKED(0);
	EXPECT_NE(0, dirty_start(self->container));

	ASSERT_STR("0", error(group_attach(m->group, self->container)));
	ASSERT_EQ(0, container_set_type(self->container, VFIO_TYPE1v2_IOMMU));
	EXPECT_STR("EINVAL", dirty_all(self));
	ASSERT_EQ(0, dma_map(self->container, self->mem, RIG_IOVA,
			     self->pages << PAGE_SHIFT, MAP_RW));
	START(self);
	EXPECT_STR("none", dirty_all(self));
}

/* Pages that a device wrote are still reported after the device has left. */
TEST_F(rig, R7_detach_of_one_group_keeps_the_records, 20)
{
	struct mdma second;

	ASSERT_STR("0", error(mdma_create(&second, "mdma-1")));
	ASSERT_STR("0", error(mdma_attach(&second, self->container)));
	ASSERT_STR("0", error(mdma_open(&second)));
	START(self);
	EXPECT_EQ(0, mdma_pin(&second, at(10), 2, 'w'));
	EXPECT_EQ(0, mdma_unpin(&second, at(10), 1));
	TOUCH(self, 20, 1);
	mdma_destroy(&second);
	EXPECT_LOCKED(0);
	EXPECT_STR("10-11,20", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_MAIN(mdev_remove_leftovers)
