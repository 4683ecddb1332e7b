// SPDX-License-Identifier: GPL-2.0-only
/* R10: vfio_dma_rw() records what it writes, even if it fails half way. */
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
 * The second half is not the user's memory any more (W4). Written pages are reported.
 * The page that could not be written may be reported or not.
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
	EXPECT_LOCKED(0);
	PIN(self, RIG_PAGES + 9, 1, 'r');
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 12));
	UNPIN(self, RIG_PAGES + 9, 1);
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 12));
}

/* A write to a retained or a pinned page makes no second record. */
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
	EXPECT_LOCKED(0);
}

/* Byte i of a memory is i modulo 251, so that no two pages are the same. */
static void *pattern(unsigned char *mem, __u64 size)
{
	__u64 i;

	for (i = 0; i < size; i++)
		mem[i] = i % 251;
	return mem;
}

/* A read returns the contents of memory, from any byte to any other. */
TEST_F(rig, R10_read_across_pages, 30)
{
	int offsets[] = { 0, 1, 4095, 4096, 8191, 64 * 4096 - 3 };
	int lens[] = { 1, 2, 4096, 4097, 3 * 4096, 100000, 2 << 20 };
	unsigned int i, j;
	int ret;

	pattern(self->mem, RIG_PAGES << PAGE_SHIFT);
	START(self);
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		for (j = 0; j < ARRAY_SIZE(lens); j++) {
			ret = mdma_rw_expect(&self->dev, at(0) + offsets[i],
					     lens[j], offsets[i] % 251);
			EXPECT_STR("0", error(ret));
		}
	EXPECT_STR("EILSEQ", error(mdma_rw_expect(&self->dev, at(1), 8, 0)));
	EXPECT_STR("none", dirty_all(self));
}

/* Two adjacent mappings whose memory is in the opposite order. */
TEST_F(rig, R10_read_and_write_across_mappings, 30)
{
	__u64 size = 8 * PAGE_SIZE, tail = size - 1000;
	unsigned char *mem = memory(2 * size, PROT_READ | PROT_WRITE);
	struct mdma *m = &self->dev;
	unsigned int i;

	/* The pattern continues at the end of the first mapping. */
	pattern(mem + size, size);
	for (i = 0; i < size; i++)
		mem[i] = (size + i) % 251;
	ASSERT_EQ(0, dma_map(self->container, mem + size, at(RIG_PAGES), size,
			     MAP_RW));
	ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES + 8), size,
			     MAP_RW));
	START(self);
	EXPECT_STR("0", error(mdma_rw_expect(m, at(RIG_PAGES), 2 * size, 0)));
	EXPECT_STR("0", error(mdma_rw_expect(m, at(RIG_PAGES) + tail, 5000,
					     tail % 251)));
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 16));

	EXPECT_STR("0", error(mdma_rw_write(m, at(RIG_PAGES) + tail, 5097,
					    BYTE)));
	EXPECT_STR("1031-1033", dirty(self, 0, RIG_PAGES + 16));
	EXPECT_EQ((tail - 1) % 251, mem[size + tail - 1]);
	EXPECT_EQ(BYTE, mem[size + tail]);
	EXPECT_EQ(BYTE, mem[2 * size - 1]);
	EXPECT_EQ(BYTE, mem[0]);
	EXPECT_EQ(BYTE, mem[4096]);
	EXPECT_EQ((size + 4097) % 251, mem[4097]);
}

/* The end is not mapped, has no memory, or is not readable: an error, nothing worse. */
TEST_F(rig, R10_read_that_fails_half_way, 20)
{
	struct mdma *m = &self->dev;

	START(self);
	EXPECT_STR("EINVAL", error(mdma_rw_read(m, at(RIG_PAGES) - 8, 16)));
	EXPECT_STR("EINVAL", error(mdma_rw_read(m, at(0) - 8, 16)));
	munmap(self->mem + (41 << PAGE_SHIFT), PAGE_SIZE);
	EXPECT_STR("EFAULT", error(mdma_rw_read(m, at(40), 2 * PAGE_SIZE)));
	ASSERT_EQ(0, dma_map(self->container,
			     memory(PAGE_SIZE, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES), PAGE_SIZE,
			     VFIO_DMA_MAP_FLAG_WRITE));
	EXPECT_STR("EPERM", error(mdma_rw_read(m, at(RIG_PAGES) - 8, 16)));
	EXPECT_STR("none", dirty(self, 0, RIG_PAGES + 1));
}

/* Three mappings, the middle one is read-only: the first is written. */
TEST_F(rig, R10_write_stops_at_a_read_only_mapping, 20)
{
	unsigned char *mem = memory(4 * PAGE_SIZE, PROT_READ | PROT_WRITE);

	ASSERT_EQ(0, dma_map(self->container, mem, at(RIG_PAGES), PAGE_SIZE,
			     VFIO_DMA_MAP_FLAG_READ));
	ASSERT_EQ(0, dma_map(self->container, mem + PAGE_SIZE,
			     at(RIG_PAGES + 1), PAGE_SIZE, MAP_RW));
	START(self);
	EXPECT_STR("EPERM", error(mdma_rw_write(&self->dev, at(RIG_PAGES) - 8,
						2 * PAGE_SIZE, BYTE)));
	EXPECT_EQ(BYTE, self->mem[(RIG_PAGES << PAGE_SHIFT) - 1]);
	EXPECT_EQ(0, mem[0]);
	EXPECT_EQ(0, mem[PAGE_SIZE]);
	EXPECT_STR("1023", dirty(self, 0, RIG_PAGES + 2));
}

TEST_MAIN(mdev_remove_leftovers)
