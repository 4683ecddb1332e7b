// SPDX-License-Identifier: GPL-2.0-only
/* R3: a GET whose bitmap can't be written fails with EFAULT and loses nothing. */
#include "fixture.h"

enum fault_kind { NO_ACCESS, READ_ONLY, NO_MEMORY, TORN, FAULT_KINDS };

/*
 * A buffer for a bitmap of this many bytes that can't be written: at all, or (TORN)
 * in its last 8 bytes.
 */
static void *bad_buffer(enum fault_kind kind, __u64 bytes)
{
	__u64 size = (bytes + 2 * PAGE_SIZE) & ~(PAGE_SIZE - 1);
	char *mem = memory(size + PAGE_SIZE, PROT_READ | PROT_WRITE);

	switch (kind) {
	case NO_ACCESS:
		mprotect(mem, size, PROT_NONE);
		return mem;
	case READ_ONLY:
		mprotect(mem, size, PROT_READ);
		return mem;
	case NO_MEMORY:
		munmap(mem, size);
		return mem;
	default:
		munmap(mem + size, PAGE_SIZE);
		return mem + size - bytes + 8;
	}
}

/*
 * Some GETs of the first npages fail. Then one GET reports the expected pages, and
 * the next one reports the pages that are still pinned.
 */
static void expect_kept(struct rig *r, enum fault_kind kind, __u64 npages,
			const char *want, const char *pinned)
{
	__u64 bytes = bitmap_bytes(npages);
	void *bad = bad_buffer(kind, bytes);
	int i;

	for (i = 0; i < 3; i++)
		EXPECT_STR("EFAULT", error(dirty_get(r->container, RIG_IOVA,
						     npages << PAGE_SHIFT,
						     bad)));
	EXPECT_STR(want, dirty(r, 0, npages));
	EXPECT_STR(pinned, dirty(r, 0, npages));
}

TEST_F(rig, R3_faulting_get_loses_nothing, 30)
{
	int kind;

	START(self);
	PIN(self, 1000, 3, 'w');
	for (kind = 0; kind < FAULT_KINDS; kind++) {
		TOUCH(self, 0, 5);
		TOUCH(self, 500, 70);
		expect_kept(self, kind, RIG_PAGES, "0-4,500-569,1000-1002",
			    "1000-1002");
	}
}

/* The bits of the second mapping do not begin at a u64 (W1). */
TEST_F(rig, R3_faulting_get_shifts_nothing, 30)
{
	__u64 size = 100 << PAGE_SHIFT;
	int kind;

	ASSERT_EQ(0, dma_map(self->container,
			     memory(size, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES + 3), size, MAP_RW));
	START(self);
	for (kind = 0; kind < FAULT_KINDS; kind++) {
		TOUCH(self, 7, 1);
		TOUCH(self, RIG_PAGES + 3, 2);
		TOUCH(self, RIG_PAGES + 80, 23);
		expect_kept(self, kind, RIG_PAGES + 103,
			    "7,1027-1028,1104-1126", "none");
	}
}

/* When a later mapping faults, the bits of the earlier ones are written (W2). */
TEST_F(rig, R3_fault_in_a_later_mapping_loses_nothing, 30)
{
	__u64 size = 40000ULL << PAGE_SHIFT;
	char *bitmap = memory(4 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	__u64 npages = RIG_PAGES + 40000;

	ASSERT_EQ(0, dma_map(self->container,
			     memory(size, PROT_READ | PROT_WRITE),
			     at(RIG_PAGES), size, MAP_RW));
	START(self);
	TOUCH(self, 11, 1);
	TOUCH(self, RIG_PAGES + 39000, 1);
	mprotect(bitmap + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	EXPECT_STR("EFAULT", error(dirty_get(self->container, RIG_IOVA,
					     npages << PAGE_SHIFT, bitmap)));
	EXPECT_STR("11,40024", dirty(self, 0, npages));
	EXPECT_STR("none", dirty(self, 0, npages));
}

/* The device continues to write between the fault and the retry. */
TEST_F(rig, R3_records_after_a_fault_add_up, 30)
{
	void *bad = bad_buffer(TORN, bitmap_bytes(RIG_PAGES));

	START(self);
	TOUCH(self, 4, 4);
	PIN(self, 100, 2, 'w');
	EXPECT_STR("EFAULT", error(dirty_get(self->container, RIG_IOVA,
					     RIG_PAGES << PAGE_SHIFT, bad)));
	TOUCH(self, 6, 4);
	UNPIN(self, 100, 2);
	PIN(self, 5, 1, 'w');
	EXPECT_STR("4-9,100-101", dirty_all(self));
	EXPECT_STR("5", dirty_all(self));
}

TEST_F(rig, R3_fault_then_sub_range, 30)
{
	void *bad = bad_buffer(NO_ACCESS, 8);

	START(self);
	TOUCH(self, 0, 64);
	EXPECT_STR("EFAULT", error(dirty_get(self->container, at(8),
					     8 << PAGE_SHIFT, bad)));
	EXPECT_STR("0-7", dirty(self, 0, 8));
	EXPECT_STR("8-63", dirty_all(self));
}

TEST_MAIN(mdev_remove_leftovers)
