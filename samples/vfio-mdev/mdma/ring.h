/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's ring of descriptors. */
#ifndef MDMA_RING_H
#define MDMA_RING_H

#include <linux/log2.h>
#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_channel;

/**
 * mdma_ring_valid() - whether a ring can be enabled
 * @ring: IOVA
 * @size: entries
 *
 * Return: false if the size is out of range or no power of two, or if the ring
 * is not aligned or wraps around.
 */
static inline bool mdma_ring_valid(u64 ring, u32 size)
{
	u64 bytes = (u64)size * sizeof(struct mdma_desc);

	return size >= MDMA_RING_SIZE_MIN && size <= MDMA_RING_SIZE_MAX &&
	       is_power_of_2(size) && !(ring % sizeof(struct mdma_desc)) &&
	       ring + (bytes - 1) >= ring;
}

bool mdma_ring_poll(struct mdma_channel *ch);
void mdma_ring_fail(struct mdma_channel *ch, enum mdma_status status);

#endif /* MDMA_RING_H */
