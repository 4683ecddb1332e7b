/* SPDX-License-Identifier: GPL-2.0-only */
/* Device-side dirty tracking: VFIO_DEVICE_FEATURE_DMA_LOGGING_*. Errors are -errno. */
#ifndef SELFTESTS_DMA_LOG_H
#define SELFTESTS_DMA_LOG_H

#include "rig.h"

/*
 * rig_open() with a device that offers dirty tracking. -EOPNOTSUPP if this kernel
 * does not support it.
 */
int dma_log_rig_open(struct rig *r, const char *type, __u64 pages);

/* @page_size: in, the size to ask for; out, the size that was granted. */
int dma_log_start(int device, __u64 *page_size,
		  const struct vfio_device_feature_dma_logging_range *ranges,
		  unsigned int nr);
int dma_log_stop(int device);

/* Sets bits of the bitmap, clears none. */
int dma_log_report(int device, __u64 iova, __u64 length, __u64 page_size,
		   void *bitmap);

/*
 * One report of npages pages of the rig, from this page on: the numbers of the
 * reported pages as bitmap_text() returns them, or the name of the errno.
 */
const char *dma_log_text(struct rig *r, __u64 page, __u64 npages);

#endif
