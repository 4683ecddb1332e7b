/* SPDX-License-Identifier: GPL-2.0-only */
/* Giving pins back: of a range that is unmapped, or all. */
#ifndef MDMA_UNMAP_H
#define MDMA_UNMAP_H

#include <linux/types.h>

struct mdma_access;
struct mdma_going;
struct mdma_held;
struct mdma_manual;

/**
 * struct mdma_unmap - where pins are that can be given back
 * @access: knows all runs
 * @held: those that are held or parked
 * @manual: those that were pinned by hand
 * @stall: test hook: ->dma_unmap() waits
 */
struct mdma_unmap {
	struct mdma_access *access;
	struct mdma_held *held;
	struct mdma_manual *manual;
	bool stall;
};

void mdma_unmap_init(struct mdma_unmap *unmap, struct mdma_access *access,
		     struct mdma_held *held, struct mdma_manual *manual);
struct mdma_going *mdma_unmap_announce(struct mdma_unmap *unmap, u64 first,
				       u64 last);
void mdma_unmap_over(struct mdma_unmap *unmap, struct mdma_going *going);
void mdma_unmap_range(struct mdma_unmap *unmap, u64 iova, u64 length);
void mdma_unmap_all(struct mdma_unmap *unmap);

#endif /* MDMA_UNMAP_H */
