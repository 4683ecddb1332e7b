/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The migration stream: a device's state as records. Pure: no vfio, no locks;
 * compiled in user space as well.
 */
#ifndef MDMA_STREAM_H
#define MDMA_STREAM_H

#include <linux/log2.h>
#include <linux/mdma.h>
#include <linux/types.h>

/**
 * struct mdma_snapshot - what a stream carries
 * @channels: of the device, 1 to MDMA_MAX_CHANNELS
 * @state: of the quiesced device
 */
struct mdma_snapshot {
	u32 channels;
	struct mdma_stream_state state;
};

/* Bytes that mdma_stream_write_config() and mdma_stream_write_state() write. */
#define MDMA_STREAM_CONFIG_SIZE \
	(sizeof(struct mdma_stream_record) + sizeof(struct mdma_stream_config))
#define MDMA_STREAM_STATE_SIZE \
	(2 * sizeof(struct mdma_stream_record) + \
	 sizeof(struct mdma_stream_state))

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

size_t mdma_stream_write_config(void *buf, const struct mdma_snapshot *snap);
size_t mdma_stream_write_state(void *buf, const struct mdma_snapshot *snap);
int mdma_stream_read(const void *buf, size_t size, struct mdma_snapshot *snap);

#endif /* MDMA_STREAM_H */
