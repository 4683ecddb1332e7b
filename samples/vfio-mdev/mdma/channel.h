/* SPDX-License-Identifier: GPL-2.0-only */
/* A channel: its registers, and what it is doing. */
#ifndef MDMA_CHANNEL_H
#define MDMA_CHANNEL_H

#include <linux/mdma.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "knobs.h"
#include "worker.h"

struct mdma_engine;
struct mdma_snapshot;
struct page;

/**
 * struct mdma_midway - a descriptor that stopped midway
 * @done: bytes, 0 if there is none
 * @result: of what is done of a READ
 * @desc: as it was read from the ring
 */
struct mdma_midway {
	u64 done;
	u32 result;
	struct mdma_desc desc;
};

/**
 * struct mdma_channel - a ring, its registers and its thread
 * @engine: that it belongs to
 * @index: of the channel, and of its vector
 * @lock: guards the registers below it
 * @ring: register, does not change while @ctrl has MDMA_CTRL_ENABLE
 * @ring_size: register, likewise
 * @ctrl: register
 * @tail: register
 * @head: register, advanced under @exec
 * @status: register
 * @irq: register
 * @returning: the descriptor at @head has, or is about to have, its status
 * @exec: held while a descriptor is executed
 * @midway: how far the descriptor at @head is, under @exec, or with the gate
 *	held for writing
 * @dst_pages: of the descriptor, VFIO_PIN_PAGES_MAX_ENTRIES, under @exec. A device
 *	that is about to run pins what it held with those of channel 0, and without
 *	@exec, as nothing executes yet
 * @src_pages: likewise
 * @bounce: a page, for what vfio_dma_rw() reads, under @exec
 * @waited: it waits for memory that is being unmapped, under @exec
 * @workload: the host-side workload that the channel executes
 * @worker: thread, while the device is open
 */
struct mdma_channel {
	struct mdma_engine *engine;
	u32 index;

	spinlock_t lock;	/* registers */
	u64 ring;
	u32 ring_size;
	u32 ctrl;
	u32 tail;
	u32 head;
	u32 status;
	u32 irq;
	bool returning;

	struct mutex exec;	/* one descriptor at a time */
	struct mdma_midway midway;
	struct page **dst_pages;
	struct page **src_pages;
	void *bounce;
	bool waited;
	struct mdma_workload workload;
	struct mdma_worker worker;
};

/**
 * mdma_channel_tail_valid() - whether TAIL is where it can be
 * @ch: lock held
 *
 * Return: whether as many descriptors are queued as the ring can have, the one
 * that is being returned not among them.
 */
static inline bool mdma_channel_tail_valid(const struct mdma_channel *ch)
{
	return ch->tail - ch->head - ch->returning <= ch->ring_size;
}

int mdma_channel_init(struct mdma_channel *ch, struct mdma_engine *engine,
		      u32 index);
void mdma_channel_destroy(struct mdma_channel *ch);
void mdma_channel_reset(struct mdma_channel *ch);
void mdma_channel_kick(struct mdma_channel *ch);
void mdma_channel_sync(struct mdma_channel *ch);
bool mdma_channel_raise(struct mdma_channel *ch);
bool mdma_channel_wants_irq(struct mdma_channel *ch);
void mdma_channel_save(struct mdma_channel *ch, struct mdma_snapshot *snap);
void mdma_channel_load(struct mdma_channel *ch,
		       const struct mdma_snapshot *snap);

#endif /* MDMA_CHANNEL_H */
