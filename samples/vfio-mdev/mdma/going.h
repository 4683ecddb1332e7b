/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOVA ranges that are being unmapped, as far as the device was told: type1 has a
 * list of its own, iommu->going.
 */
#ifndef MDMA_GOING_H
#define MDMA_GOING_H

#include <linux/types.h>

#define MDMA_GOING_MS		20	/* a range stays closed after ->dma_unmap() */
#define MDMA_GOING_RANGES	64

/**
 * struct mdma_going - an IOVA range that ->dma_unmap() announced lately
 * @first: first byte
 * @last: last byte
 * @users: calls of ->dma_unmap(), and changes of the IOAS, in progress
 * @until: jiffies until which nothing in the range is pinned again
 */
struct mdma_going {
	u64 first;
	u64 last;
	u32 users;
	unsigned long until;
};

void mdma_going_init(struct mdma_going *ranges);
bool mdma_going_overlaps(const struct mdma_going *ranges, u64 first, u64 last,
			 bool waited);
struct mdma_going *mdma_going_begin(struct mdma_going *ranges, u64 first,
				    u64 last);
void mdma_going_end(struct mdma_going *going);

#endif /* MDMA_GOING_H */
