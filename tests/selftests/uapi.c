// SPDX-License-Identifier: GPL-2.0-only
/* R18: the UAPI is the kernel's own, and its capability is correct. */
#include <assert.h>
#include <stddef.h>
#include <sys/ioctl.h>

#include "fixture.h"

#define GET	vfio_iommu_type1_dirty_bitmap_get
#define IS_AT(type, field, offset) \
	static_assert(offsetof(struct type, field) == (offset), #field)

static_assert(sizeof(struct vfio_iommu_type1_dirty_bitmap) == 8, "head");
static_assert(sizeof(struct vfio_bitmap) == 24, "bitmap");
static_assert(sizeof(struct GET) == 40, "range");
static_assert(_IO(';', 100 + 17) == VFIO_IOMMU_DIRTY_PAGES, "number");
IS_AT(vfio_iommu_type1_dirty_bitmap, flags, 4);
IS_AT(vfio_iommu_type1_dirty_bitmap, data, 8);
IS_AT(GET, iova, 0);
IS_AT(GET, size, 8);
IS_AT(GET, bitmap.pgsize, 16);
IS_AT(GET, bitmap.size, 24);
IS_AT(GET, bitmap.data, 32);
IS_AT(vfio_unmap_get, bitmap, 24);
IS_AT(mdma_desc, status, 40);
IS_AT(mdma_desc, cookie, 48);
static_assert(sizeof(struct mdma_desc) == 64, "descriptor");
static_assert(sizeof(struct mdma_stamp) == 32, "stamp");
static_assert(sizeof(struct mdma_ledger_record) == 32, "ledger record");

static struct vfio_iommu_type1_info *get_info(int container)
{
	struct vfio_iommu_type1_info *info = calloc(1, 4096);

	info->argsz = 4096;
	ASSERT_EQ(0, ioctl(container, VFIO_IOMMU_GET_INFO, info));
	return info;
}

static void *capability(struct vfio_iommu_type1_info *info, int id)
{
	struct vfio_info_cap_header *header;
	__u32 offset = info->cap_offset;

	while (offset) {
		header = (void *)((char *)info + offset);
		if (header->id == id)
			return header;
		offset = header->next;
	}
	return NULL;
}

TEST_F(rig, R18_migration_capability, 20)
{
	struct vfio_iommu_type1_info *info = get_info(self->container);
	struct vfio_iommu_type1_info_cap_migration *cap;
	__u64 largest;

	ASSERT_EQ(VFIO_IOMMU_INFO_CAPS, info->flags & VFIO_IOMMU_INFO_CAPS);
	cap = capability(info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
	ASSERT_EQ(1, !!cap);
	EXPECT_EQ(1, cap->header.version);
	EXPECT_EQ(0, cap->flags);
	EXPECT_EQ(PAGE_SIZE, cap->pgsize_bitmap & -cap->pgsize_bitmap);
	EXPECT_LE(1LL << 28, cap->max_dirty_bitmap_size);
	/* QEMU 11.1 computes this, and migrates no guest that is bigger. */
	EXPECT_EQ(0, __builtin_mul_overflow(cap->max_dirty_bitmap_size,
					    8 * PAGE_SIZE, &largest));
	printf("# max_dirty_bitmap_size 0x%llx\n",
	       (unsigned long long)cap->max_dirty_bitmap_size);
}

TEST_F(rig, R18_capability_does_not_change_while_tracking, 20)
{
	struct vfio_iommu_type1_info *before = get_info(self->container);
	struct vfio_iommu_type1_info *after;

	START(self);
	TOUCH(self, 0, 4);
	after = get_info(self->container);
	EXPECT_EQ(before->argsz, after->argsz);
	EXPECT_EQ(0, memcmp(before, after, before->argsz));
}

/* Calls as QEMU makes them: argsz of the header only, whole ranges of RAM. */
TEST_F(rig, R18_D2_calls_as_qemu_makes_them, 20)
{
	unsigned char bitmap[RIG_PAGES / 8] = "";
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct GET range;
	} arg = {
		.head = { .argsz = 8, .flags = 1 },
	};

	ASSERT_EQ(0, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
	TOUCH(self, 17, 1);
	arg.head.argsz = 48;
	arg.head.flags = 4;
	arg.range.iova = at(0);
	arg.range.size = RIG_PAGES << PAGE_SHIFT;
	arg.range.bitmap.pgsize = PAGE_SIZE;
	arg.range.bitmap.size = sizeof(bitmap);
	arg.range.bitmap.data = (void *)bitmap;
	ASSERT_EQ(0, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
	EXPECT_STR("17", bitmap_text(bitmap, RIG_PAGES));
	arg.head.argsz = 8;
	arg.head.flags = 2;
	ASSERT_EQ(0, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
}

TEST_MAIN(mdev_remove_leftovers)
