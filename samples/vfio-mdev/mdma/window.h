/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The window: the IOVA ranges that the host-side workload may use, cut into
 * runs of pages. Pure: no vfio, no locks; compiled in user space as well.
 */
#ifndef MDMA_WINDOW_H
#define MDMA_WINDOW_H

#include <linux/mdma.h>
#include <linux/types.h>

/**
 * struct mdma_window - the IOVA ranges of the workload
 * @origin: enum mdma_window_origin
 * @nr: used entries of @range, 0 with MDMA_WINDOW_NONE
 * @range: as the guest's table and the stream have them
 */
struct mdma_window {
	u32 origin;
	u32 nr;
	struct mdma_range range[MDMA_MAX_RANGES];
};

void mdma_window_save(const struct mdma_window *window,
		      struct mdma_stream_window *to);
int mdma_window_check(const struct mdma_range *range, u32 nr);
u64 mdma_window_pages(const struct mdma_window *window, u64 limit);
u64 mdma_window_slots(const struct mdma_window *window, u32 batch, u64 limit);
u32 mdma_window_slot(const struct mdma_window *window, u32 batch, u64 limit,
		     u64 slot, u64 *iova);

#endif /* MDMA_WINDOW_H */
