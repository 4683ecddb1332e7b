/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the main part of type1 calls of the files that are included behind it, and what
 * those share.
 *
 * Locking: with iommu->lock held, except for the driver's operations and ioctls, which
 * take it, and functions that say otherwise.
 */
#ifndef _TYPE1_H
#define _TYPE1_H

#include <linux/bits.h>
#include <linux/iommu.h>
#include <linux/types.h>

#include "pin_store.h"

/* The bitmap of the whole 64-bit IOVA space, at 4 KiB a bit (R17). */
#define REPORT_BYTES_MAX	BIT_ULL(64 - 12 - 3)
/*
 * What user space is told. It computes from it how much memory a report can hold, and
 * that must be less than 2^64: QEMU 11.1 takes the product for 0 otherwise.
 */
#define REPORT_BYTES_TOLD	(REPORT_BYTES_MAX - sizeof(u64))

struct page;
struct vfio_dma;
struct vfio_iommu;
struct vfio_iommu_driver_ops;

/* type1.c */
static int type1_register(const struct vfio_iommu_driver_ops *ops);
static void type1_unregister(const struct vfio_iommu_driver_ops *ops);

/* type1_account.c */
static long vfio_dma_locked(struct vfio_dma *dma);
static void vfio_iommu_unmap_unpin_reaccount(struct vfio_iommu *iommu);
static void vfio_owners_free(struct vfio_iommu *iommu);
static void vfio_dma_keep_owner(struct vfio_iommu *iommu, struct vfio_dma *dma);

/* type1_container.c */
static void vfio_iommu_init(struct vfio_iommu *iommu);
static void *type1_open(unsigned long arg);
static void type1_release(void *iommu_data);
static long type1_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg);

/* type1_dirty.c */
static int vfio_iommu_type1_dirty_pages(struct vfio_iommu *iommu,
					unsigned long arg);

/* type1_dma.c */
static struct vfio_dma *vfio_find_dma(struct vfio_iommu *iommu,
				      dma_addr_t start, size_t size);
static void vfio_dma_init(struct vfio_iommu *iommu, struct vfio_dma *dma);
static void vfio_dma_bury(struct vfio_iommu *iommu, struct vfio_dma *dma);
static void vfio_iommu_unlock(struct vfio_iommu *iommu);
static void vfio_iommu_lock_devices(struct vfio_iommu *iommu);
static void vfio_iommu_lock_maps(struct vfio_iommu *iommu);
static void vfio_iommu_unlock_maps(struct vfio_iommu *iommu);

/* type1_pin.c */
static long vfio_dma_pinned(struct vfio_dma *dma, dma_addr_t iova,
			    long npage);
static long vfio_dma_pinned_frames(struct vfio_dma *dma, dma_addr_t iova,
				   unsigned long pfn, long npage);
static int vfio_iommu_type1_pin_pages(void *iommu_data,
				      struct iommu_group *iommu_group,
				      dma_addr_t user_iova, int npage,
				      int prot, struct page **pages);

/* type1_report.c */
static void vfio_dirty_scope_narrowed(struct vfio_iommu *iommu);

/* type1_rw.c */
static int vfio_iommu_type1_dma_rw(void *iommu_data, dma_addr_t user_iova,
				   void *data, size_t count, bool write);

/* type1_unmap.c */
static int vfio_iommu_type1_unmap_dma(struct vfio_iommu *iommu,
				      unsigned long arg);

/* type1_unpin.c */
static void vfio_dma_drop_pins(struct vfio_dma *dma);
static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage);

#endif /* _TYPE1_H */
