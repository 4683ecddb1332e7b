// SPDX-License-Identifier: GPL-2.0-only
/* R2, R3, R4, R12: which pages a GET reports, and what it leaves for the next. */
#include "fixture.h"

TEST_F(rig, R2_unpinned_page_is_retained, 20)
{
	START(self);
	EXPECT_STR("none", dirty_all(self));
	TOUCH(self, 10, 1);
	EXPECT_STR("10", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R2_every_page_of_a_batch_is_retained, 20)
{
	int i;

	START(self);
	PIN(self, 100, 512, 'w');
	PIN(self, 612, 300, 'w');
	EXPECT_STR("100-911", dirty_all(self));
	for (i = 911; i >= 100; i--)
		UNPIN(self, i, 1);
	EXPECT_STR("100-911", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R2_only_the_last_unpin_retains, 20)
{
	START(self);
	PIN(self, 8, 4, 'w');
	PIN(self, 10, 4, 'w');
	UNPIN(self, 8, 4);
	EXPECT_STR("8-13", dirty_all(self));
	EXPECT_STR("10-13", dirty_all(self));
	UNPIN(self, 10, 4);
	EXPECT_STR("10-13", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/* Reported while pinned is not enough: the device may write after the report. */
TEST_F(rig, R2_retained_also_if_reported_while_pinned, 20)
{
	START(self);
	PIN(self, 30, 2, 'w');
	EXPECT_STR("30-31", dirty_all(self));
	UNPIN(self, 30, 2);
	EXPECT_STR("30-31", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R2_pages_of_the_workload_are_retained, 20)
{
	START(self);
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/window", "%llx-%llx",
			      at(64), at(128) - 1));
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/pattern", "sequential"));
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/batch", "4"));
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/hold_ms", "0"));
	ASSERT_STR("0", error(mdma_set(&self->dev, "workload/step", "3")));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_STR("64-75", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
	ASSERT_STR("0", error(mdma_set(&self->dev, "workload/step", "1")));
	EXPECT_STR("76-79", dirty_all(self));
}

TEST_F(rig, R3_pinned_is_reported_every_time, 20)
{
	int i;

	START(self);
	PIN(self, 1, 3, 'w');
	for (i = 0; i < 10; i++)
		EXPECT_STR("1-3", dirty_all(self));
}

TEST_F(rig, R3_D8_get_clears_only_the_range, 20)
{
	START(self);
	TOUCH(self, 0, 128);
	EXPECT_STR("16-31", dirty(self, 16, 16));
	EXPECT_STR("none", dirty(self, 16, 16));
	EXPECT_STR("70", dirty(self, 70, 1));
	EXPECT_STR("0-15,32-69,71-127", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R3_adjacent_ranges_share_no_page, 20)
{
	START(self);
	TOUCH(self, 0, 200);
	EXPECT_STR("0-12", dirty(self, 0, 13));
	EXPECT_STR("13-76", dirty(self, 13, 64));
	EXPECT_STR("77-199", dirty(self, 77, RIG_PAGES - 77));
	EXPECT_STR("none", dirty_all(self));
}

/* Stock can do this one: each range is a whole mapping. */
TEST_F(rig, R3_get_of_one_mapping_leaves_the_others, 20)
{
	__u64 size = 100 << PAGE_SHIFT;
	void *mem = memory(3 * size, PROT_READ | PROT_WRITE);
	int c = self->container, i;

	START(self);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, dma_map(c, (char *)mem + i * size,
				     at(RIG_PAGES + 100 * i), size, MAP_RW));
	TOUCH(self, RIG_PAGES + 90, 120);
	EXPECT_STR("1124-1223", dirty(self, RIG_PAGES + 100, 100));
	EXPECT_STR("none", dirty(self, RIG_PAGES + 100, 100));
	EXPECT_STR("1114-1123,1224-1233", dirty(self, 0, RIG_PAGES + 300));
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 300));
}

TEST_F(rig, R3_failed_pin_leaves_no_record, 20)
{
	START(self);
	munmap(self->mem + (40 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_NE(0, mdma_pin(&self->dev, at(32), 16, 'w'));
	EXPECT_LOCKED(0);
	EXPECT_NE(0, mdma_pin(&self->dev, at(RIG_PAGES - 2), 3, 'w'));
	EXPECT_LOCKED(0);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R4_D5_get_does_not_stop_tracking, 20)
{
	char want[16];
	int i;

	START(self);
	for (i = 0; i < 50; i++) {
		TOUCH(self, i, 1);
		snprintf(want, sizeof(want), "%d", i);
		EXPECT_STR(want, dirty_all(self));
	}
	EXPECT_STR("none", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R4_get_after_the_device_is_closed, 20)
{
	START(self);
	TOUCH(self, 2, 1);
	PIN(self, 3, 1, 'w');
	close(self->dev.device);
	self->dev.device = -1;
	EXPECT_LOCKED(0);
	EXPECT_STR("2-3", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R12_pinned_for_read_is_not_reported, 20)
{
	PIN(self, 1, 1, 'r');
	START(self);
	PIN(self, 2, 2, 'r');
	EXPECT_STR("none", dirty_all(self));
	PIN(self, 1, 3, 'r');
	EXPECT_STR("none", dirty_all(self));
	UNPIN(self, 1, 3);
	EXPECT_STR("none", dirty_all(self));
	UNPIN(self, 1, 3);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R12_read_pin_then_write_pin_is_reported, 20)
{
	START(self);
	PIN(self, 5, 1, 'r');
	PIN(self, 5, 1, 'w');
	EXPECT_STR("5", dirty_all(self));
	/* It is unknown which of the two pins this unpin gives back. */
	UNPIN(self, 5, 1);
	EXPECT_STR("5", dirty_all(self));
	UNPIN(self, 5, 1);
	EXPECT_STR("5", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R12_read_pin_of_a_retained_page, 20)
{
	START(self);
	TOUCH(self, 6, 1);
	PIN(self, 6, 1, 'r');
	EXPECT_STR("6", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
	UNPIN(self, 6, 1);
	EXPECT_STR("none", dirty_all(self));
}

/* A page that was pinned for write and reported is later like any other page. */
TEST_F(rig, R12_write_pin_is_forgotten_once_reported, 20)
{
	START(self);
	TOUCH(self, 6, 2);
	EXPECT_STR("6-7", dirty_all(self));
	PIN(self, 6, 1, 'r');
	UNPIN(self, 6, 1);
	EXPECT_STR("none", dirty_all(self));
	STOP(self);
	TOUCH(self, 8, 1);
	PIN(self, 8, 1, 'r');
	START(self);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R12_workload_that_only_reads_is_not_reported, 20)
{
	START(self);
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/window", "%llx-%llx",
			      at(0), at(64) - 1));
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/direction", "read"));
	ASSERT_STR("0", error(mdma_set(&self->dev, "workload/step", "20")));
	EXPECT_LT(0, mdma_get(&self->dev, "stats/pages_read"));
	EXPECT_STR("none", dirty_all(self));
}

TEST_MAIN(mdev_remove_leftovers)
