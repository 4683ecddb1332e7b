/* SPDX-License-Identifier: GPL-2.0-only */
/* Pins, unpins, reads and writes by hand: test hooks in debugfs. */
#ifndef MDMA_MANUAL_H
#define MDMA_MANUAL_H

#include <linux/list.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct mdma_access;

/**
 * struct mdma_manual - what is pinned by hand
 * @access: pins it
 * @pages: page number to count, under the lock of @access
 * @calls: the same with an iommufd: a run for each call that pinned, likewise
 * @leak: test hook: ->dma_unmap() does nothing, and a reset or the close forgets
 *	@pages. No iommufd survives that: with one, it does nothing
 */
struct mdma_manual {
	struct mdma_access *access;
	struct xarray pages;
	struct list_head calls;
	bool leak;
};

void mdma_manual_init(struct mdma_manual *manual, struct mdma_access *access);
bool mdma_manual_leaks(const struct mdma_manual *manual);
void mdma_manual_release(struct mdma_manual *manual, u64 first, u64 last);
int mdma_manual_pin(struct mdma_manual *manual, u64 iova, u32 npages,
		    bool write);
int mdma_manual_unpin(struct mdma_manual *manual, u64 iova, u32 npages);
int mdma_manual_rw(struct mdma_manual *manual, u64 iova, void *data, size_t len,
		   bool write);

#endif /* MDMA_MANUAL_H */
