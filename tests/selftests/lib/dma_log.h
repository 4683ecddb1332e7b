/* SPDX-License-Identifier: GPL-2.0-only */
/* Device-side dirty tracking: VFIO_DEVICE_FEATURE_DMA_LOGGING_*. Errors are -errno. */
#ifndef SELFTESTS_DMA_LOG_H
#define SELFTESTS_DMA_LOG_H

#include "rig.h"

/*
 * The rig with a device that offers it; as rig_open() otherwise. -EOPNOTSUPP if
 * this kernel can't.
 */
int dma_log_rig_open(struct rig *r, const char *type, __u64 pages);

/* Page size is a wish, and becomes what was granted. */
int dma_log_start(int device, __u64 *page_size,
		  const struct vfio_device_feature_dma_logging_range *ranges,
		  unsigned int nr);
int dma_log_stop(int device);

/* Sets bits of the bitmap, clears none. */
int dma_log_report(int device, __u64 iova, __u64 length, __u64 page_size,
		   void *bitmap);

/*
 * One report of npages pages of the rig from this one: their numbers, as
 * bitmap_text() says them, or the name of the errno.
 */
const char *dma_log_text(struct rig *r, __u64 page, __u64 npages);

#endif
