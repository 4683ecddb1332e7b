// SPDX-License-Identifier: GPL-2.0-only
#include "ring.h"
#include "wait.h"

__u32 ring_reg(struct ring *ring, __u32 reg)
{
	return mdma_read32(&ring->rig->dev,
			   MDMA_REG_CHANNEL(ring->channel) + reg);
}

void ring_set_reg(struct ring *ring, __u32 reg, __u32 value)
{
	mdma_write32(&ring->rig->dev, MDMA_REG_CHANNEL(ring->channel) + reg,
		     value);
}

void ring_enable(struct ring *ring, struct rig *r, __u32 channel, __u32 size)
{
	*ring = (struct ring) {
		.rig = r,
		.desc = (void *)(r->mem + channel * PAGE_SIZE),
		.channel = channel,
		.size = size,
	};
	ring_set_reg(ring, MDMA_CHAN_CTRL, 0);
	mdma_write64(&r->dev, MDMA_REG_CHANNEL(channel) + MDMA_CHAN_RING,
		     at(channel));
	ring_set_reg(ring, MDMA_CHAN_RING_SIZE, size);
	ring_set_reg(ring, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ);
}

struct mdma_desc *ring_put(struct ring *ring, const struct mdma_desc *desc)
{
	struct mdma_desc *to = ring->desc + ring->tail++ % ring->size;

	*to = *desc;
	return to;
}

void ring_doorbell(struct ring *ring)
{
	ring_set_reg(ring, MDMA_CHAN_TAIL, ring->tail);
}

__u32 ring_wait(struct ring *ring)
{
	WAIT_FOR(ring_reg(ring, MDMA_CHAN_HEAD) == ring->tail ||
		 ring_reg(ring, MDMA_CHAN_STATUS));
	return ring_reg(ring, MDMA_CHAN_HEAD);
}

__u32 ring_run(struct ring *ring, const struct mdma_desc *desc)
{
	volatile struct mdma_desc *put = ring_put(ring, desc);

	ring_doorbell(ring);
	ring_wait(ring);
	return put->status;
}
