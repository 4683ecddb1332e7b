// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel: a ring, its registers and a workload, which one thread executes in
 * turns. Takes mdma_channel.exec and mdma_channel.lock.
 */
#include <linux/slab.h>
#include <linux/vfio.h>

#include "channel.h"
#include "snapshot.h"

/**
 * mdma_channel_init() - make a channel
 * @ch: zeroed
 * @engine: that it belongs to
 * @index: of the channel
 *
 * Return: 0 or -ENOMEM; then mdma_channel_destroy() is still to be called.
 */
int mdma_channel_init(struct mdma_channel *ch, struct mdma_engine *engine,
		      u32 index)
{
	ch->engine = engine;
	ch->index = index;
	spin_lock_init(&ch->lock);
	mutex_init(&ch->exec);
	ch->dst_pages = kcalloc(VFIO_PIN_PAGES_MAX_ENTRIES,
				sizeof(*ch->dst_pages), GFP_KERNEL);
	ch->src_pages = kcalloc(VFIO_PIN_PAGES_MAX_ENTRIES,
				sizeof(*ch->src_pages), GFP_KERNEL);
	ch->bounce = kmalloc(MDMA_PAGE_SIZE, GFP_KERNEL);
	return ch->dst_pages && ch->src_pages && ch->bounce ? 0 : -ENOMEM;
}

/**
 * mdma_channel_destroy() - undo mdma_channel_init()
 * @ch: its thread has ended
 */
void mdma_channel_destroy(struct mdma_channel *ch)
{
	kfree(ch->dst_pages);
	kfree(ch->src_pages);
	kfree(ch->bounce);
}

/**
 * mdma_channel_reset() - all registers get their first values
 * @ch: gate held for writing
 */
void mdma_channel_reset(struct mdma_channel *ch)
{
	spin_lock(&ch->lock);
	ch->ring = 0;
	ch->ring_size = 0;
	ch->ctrl = 0;
	ch->tail = 0;
	ch->head = 0;
	ch->status = MDMA_STATUS_NONE;
	ch->irq = 0;
	spin_unlock(&ch->lock);
	ch->midway.done = 0;
}

/**
 * mdma_channel_kick() - make a channel look for work
 * @ch: of a device that is open and cannot be closed meanwhile
 */
void mdma_channel_kick(struct mdma_channel *ch)
{
	mdma_worker_wake(&ch->worker);
}

/**
 * mdma_channel_sync() - end the descriptor that a channel executes
 * @ch: disabled, or nothing is queued; the caller does not hold exec
 *
 * Waits for it. One that stopped midway does not go on.
 */
void mdma_channel_sync(struct mdma_channel *ch)
{
	mutex_lock(&ch->exec);
	ch->midway.done = 0;
	mutex_unlock(&ch->exec);
}

static bool wants_irq(struct mdma_channel *ch, bool raise)
{
	bool wants;

	spin_lock(&ch->lock);
	if (raise)
		ch->irq = 1;
	wants = ch->irq && (ch->ctrl & MDMA_CTRL_IRQ);
	spin_unlock(&ch->lock);
	return wants;
}

/**
 * mdma_channel_raise() - a channel's interrupt becomes pending
 * @ch: any
 *
 * Return: whether the channel has it enabled.
 */
bool mdma_channel_raise(struct mdma_channel *ch)
{
	return wants_irq(ch, true);
}

/**
 * mdma_channel_wants_irq() - whether an interrupt is pending and enabled
 * @ch: any
 *
 * Return: whether it is.
 */
bool mdma_channel_wants_irq(struct mdma_channel *ch)
{
	return wants_irq(ch, false);
}

/**
 * mdma_channel_save() - a channel's registers for a migration, and how far it came
 * @ch: gate held for writing; channels are saved in their order
 * @snap: gets them
 */
void mdma_channel_save(struct mdma_channel *ch, struct mdma_snapshot *snap)
{
	spin_lock(&ch->lock);
	snap->state.channel[ch->index] = (struct mdma_stream_channel) {
		.ring = cpu_to_le64(ch->ring),
		.ring_size = cpu_to_le32(ch->ring_size),
		.ctrl = cpu_to_le32(ch->ctrl),
		.tail = cpu_to_le32(ch->tail),
		.head = cpu_to_le32(ch->head),
		.status = cpu_to_le32(ch->status),
		.irq = cpu_to_le32(ch->irq),
	};
	spin_unlock(&ch->lock);
	if (!ch->midway.done)
		return;
	snap->progress[snap->nr_progress++] = (struct mdma_stream_progress) {
		.channel = cpu_to_le32(ch->index),
		.result = cpu_to_le32(ch->midway.result),
		.done = cpu_to_le64(ch->midway.done),
		.desc = ch->midway.desc,
	};
}

static void load_midway(struct mdma_channel *ch,
			const struct mdma_snapshot *snap)
{
	const struct mdma_stream_progress *from = snap->progress;

	ch->midway.done = 0;
	for (; from < snap->progress + snap->nr_progress; from++) {
		if (le32_to_cpu(from->channel) != ch->index)
			continue;
		ch->midway.done = le64_to_cpu(from->done);
		ch->midway.result = le32_to_cpu(from->result);
		ch->midway.desc = from->desc;
	}
}

/**
 * mdma_channel_load() - what a migration brought of a channel
 * @ch: gate held for writing
 * @snap: valid
 */
void mdma_channel_load(struct mdma_channel *ch,
		       const struct mdma_snapshot *snap)
{
	const struct mdma_stream_channel *from = &snap->state.channel[ch->index];

	spin_lock(&ch->lock);
	ch->ring = le64_to_cpu(from->ring);
	ch->ring_size = le32_to_cpu(from->ring_size);
	ch->ctrl = le32_to_cpu(from->ctrl);
	ch->tail = le32_to_cpu(from->tail);
	ch->head = le32_to_cpu(from->head);
	ch->status = le32_to_cpu(from->status);
	ch->irq = le32_to_cpu(from->irq);
	spin_unlock(&ch->lock);
	load_midway(ch, snap);
}
