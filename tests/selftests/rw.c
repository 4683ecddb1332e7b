// SPDX-License-Identifier: GPL-2.0-only
/* R10: vfio_dma_rw() records what it writes, also if it fails half way. */
#include "fixture.h"

#define BYTE	0x5a

static int written(struct rig *r, __u64 page)
{
	return !!memchr(r->mem + (page << PAGE_SHIFT), BYTE, PAGE_SIZE);
}

TEST_F(rig, R10_write_is_recorded_once, 20)
{
	START(self);
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, at(3) + 10, 100, BYTE)));
	EXPECT_EQ(BYTE, self->mem[(3 << PAGE_SHIFT) + 109]);
	EXPECT_EQ(0, self->mem[(3 << PAGE_SHIFT) + 110]);
	EXPECT_STR("3", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R10_read_is_not_recorded, 20)
{
	START(self);
	ASSERT_STR("0", error(mdma_rw_read(&self->dev, at(3), PAGE_SIZE)));
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R10_every_page_touched_is_recorded, 20)
{
	struct mdma *m = &self->dev;

	START(self);
	ASSERT_STR("0", error(mdma_rw_write(m, at(5) - 1, 2, BYTE)));
	EXPECT_STR("4-5", dirty_all(self));
	ASSERT_STR("0", error(mdma_rw_write(m, at(64) - 1, PAGE_SIZE + 2,
					    BYTE)));
	EXPECT_STR("63-65", dirty_all(self));
	ASSERT_STR("0", error(mdma_rw_write(m, at(10), PAGE_SIZE, BYTE)));
	EXPECT_STR("10", dirty_all(self));
}

TEST_F(rig, R10_write_before_start_is_not_reported, 20)
{
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, at(3), 8, BYTE)));
	START(self);
	EXPECT_STR("none", dirty_all(self));
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, at(4), 8, BYTE)));
	STOP(self);
	START(self);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R10_write_across_two_mappings, 20)
{
	ASSERT_EQ(0, dma_map(self->container,
			     memory(4 * PAGE_SIZE, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES), 4 * PAGE_SIZE, MAP_RW));
	START(self);
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, at(RIG_PAGES) - 8, 16,
					    BYTE)));
	EXPECT_STR("1023-1024", dirty(self, 0, RIG_PAGES + 4));
}

/* The second half is not mapped for the device. */
TEST_F(rig, R10_write_that_leaves_the_mapping, 20)
{
	START(self);
	EXPECT_STR("EINVAL", error(mdma_rw_write(&self->dev,
						 at(RIG_PAGES) - 8, 16, BYTE)));
	if (written(self, RIG_PAGES - 1))
		EXPECT_STR("1023", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
}

/*
 * The second half is no memory of the user any more (W4). What was written is
 * reported; whether the page that could not be written is, does not matter.
 */
TEST_F(rig, R10_write_that_faults_half_way, 20)
{
	char *seen;

	munmap(self->mem + (41 << PAGE_SHIFT), PAGE_SIZE);
	START(self);
	EXPECT_STR("EFAULT", error(mdma_rw_write(&self->dev, at(40),
						 2 * PAGE_SIZE, BYTE)));
	ASSERT_EQ(1, written(self, 40));
	seen = strdup(dirty_all(self));
	if (strcmp("40-41", seen))
		EXPECT_STR("40", seen);
	EXPECT_STR("none", dirty_all(self));
}

TEST_F(rig, R10_write_to_a_read_only_mapping, 20)
{
	ASSERT_EQ(0, dma_map(self->container,
			     memory(4 * PAGE_SIZE, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES + 8), 4 * PAGE_SIZE,
			     VFIO_DMA_MAP_FLAG_READ));
	START(self);
	EXPECT_STR("EPERM", error(mdma_rw_write(&self->dev, at(RIG_PAGES + 9),
						16, BYTE)));
	EXPECT_STR("EPERM", error(mdma_pin(&self->dev, at(RIG_PAGES + 9), 1,
					   'w')));
	EXPECT_EQ(0, locked_pages());
	PIN(self, RIG_PAGES + 9, 1, 'r');
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 12));
	UNPIN(self, RIG_PAGES + 9, 1);
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 12));
}

/* A write to a retained page, and one to a pinned page, are one record. */
TEST_F(rig, R10_write_and_pin_of_one_page, 20)
{
	START(self);
	TOUCH(self, 1, 1);
	PIN(self, 2, 1, 'r');
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, at(1), 2 * PAGE_SIZE,
					    BYTE)));
	EXPECT_STR("1-2", dirty_all(self));
	EXPECT_STR("none", dirty_all(self));
	UNPIN(self, 2, 1);
	EXPECT_STR("none", dirty_all(self));
	EXPECT_EQ(0, locked_pages());
}

TEST_MAIN(mdev_remove_leftovers)
