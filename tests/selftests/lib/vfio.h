/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VFIO UAPI, one function a call. Functions that can fail return -errno.
 * A container and a group are file descriptors.
 */
#ifndef SELFTESTS_VFIO_H
#define SELFTESTS_VFIO_H

#include <linux/types.h>
#include <linux/vfio.h>

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)

#define MAP_RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* The argument of VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP. */
struct vfio_get {
	struct vfio_iommu_type1_dirty_bitmap head;
	struct vfio_iommu_type1_dirty_bitmap_get range;
};

/* The argument of VFIO_IOMMU_UNMAP_DMA with GET_DIRTY_BITMAP. */
struct vfio_unmap_get {
	struct vfio_iommu_type1_dma_unmap head;
	struct vfio_bitmap bitmap;
};

/* A new mdev of this type, with a random UUID that ends in 5e1f7e57xxxx. */
int mdev_create(const char *type, char uuid[37]);
int mdev_remove(const char *uuid);

/* Removes all mdevs that mdev_create() made, in any process. */
void mdev_remove_leftovers(void);

/* Opens /dev/vfio/GROUP of a device, by its directory in sysfs, or of an mdev. */
int group_open_of(const char *device);
int group_open(const char *uuid);

/* The same, but does not wait for another user to go. */
int group_try_open(const char *uuid);
int group_attach(int group, int container);
int group_detach(int group);

/* By UUID, or by PCI address. */
int group_get_device(int group, const char *name);

int container_open(void);
int container_set_type(int container, unsigned long type);

int dma_map(int container, void *vaddr, __u64 iova, __u64 size, __u32 flags);

/* Stores the size that the kernel returns in *unmapped, which may be NULL. */
int dma_unmap(int container, __u64 iova, __u64 size, __u64 *unmapped);
int dma_unmap_get(int container, __u64 iova, __u64 size, void *bitmap,
		  __u64 *unmapped);

int dirty_start(int container);
int dirty_stop(int container);
int dirty_get(int container, __u64 iova, __u64 size, void *bitmap);

/* A correct GET argument. A test spoils it and passes it to _ioctl. */
void dirty_get_prepare(struct vfio_get *get, __u64 iova, __u64 size,
		       void *bitmap);
void dma_unmap_get_prepare(struct vfio_unmap_get *unmap, __u64 iova,
			   __u64 size, void *bitmap);
int dirty_ioctl(int container, void *arg);
int unmap_ioctl(int container, void *arg);

/* Bytes of a bitmap for this many pages, in whole u64. */
static inline __u64 bitmap_bytes(__u64 npages)
{
	return (npages + 63) / 64 * 8;
}

static inline int bitmap_bit(const void *bitmap, __u64 n)
{
	return (((const unsigned char *)bitmap)[n / 8] >> (n % 8)) & 1;
}

static inline void bitmap_assign(void *bitmap, __u64 n, int value)
{
	unsigned char *byte = (unsigned char *)bitmap + n / 8;

	*byte = (*byte & ~(1 << (n % 8))) | (!!value << (n % 8));
}

/* Pages by number: "0,3-5,9", or "none". Valid for the next 7 calls. */
const char *bitmap_text(const void *bitmap, __u64 npages);

#endif
