/* SPDX-License-Identifier: GPL-2.0-only */
/* A channel of the device as its guest driver uses it; the ring is page 0. */
#ifndef SELFTESTS_RING_H
#define SELFTESTS_RING_H

#include "rig.h"

struct ring {
	struct rig *rig;
	struct mdma_desc *desc;
	__u32 channel;
	__u32 size;
	__u32 tail;
};

__u32 ring_reg(struct ring *ring, __u32 reg);
void ring_set_reg(struct ring *ring, __u32 reg, __u32 value);

/* Disables and enables the channel with a ring of this many entries. */
void ring_enable(struct ring *ring, struct rig *r, __u32 channel, __u32 size);

/* Queues a descriptor, rings the doorbell, waits. Returns the status, 0 if not done. */
__u32 ring_run(struct ring *ring, const struct mdma_desc *desc);

/* Waits until the device has done all descriptors or has halted. Returns HEAD. */
__u32 ring_wait(struct ring *ring);

/* Copies the descriptor into the next slot of the ring, without the doorbell. */
struct mdma_desc *ring_put(struct ring *ring, const struct mdma_desc *desc);
void ring_doorbell(struct ring *ring);

#endif
