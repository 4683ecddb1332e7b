// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: one MSI-X vector a channel, and the request to give the device
 * back. A vector is an eventfd of the user. The line of a guest that has no
 * MSI-X is in intx.c. Takes the gate and, under it, mdma_irqs.lock and
 * mdma_channel.lock.
 */
#include <linux/eventfd.h>
#include <linux/kernel.h>
#include <linux/vfio.h>

#include "channel.h"
#include "engine.h"
#include "intx.h"
#include "irq.h"

/**
 * mdma_irq_init() - no eventfds
 * @irqs: zeroed
 * @engine: whose channels raise interrupts
 * @intx: the line
 */
void mdma_irq_init(struct mdma_irqs *irqs, struct mdma_engine *engine,
		   struct mdma_intx *intx)
{
	irqs->engine = engine;
	irqs->intx = intx;
	spin_lock_init(&irqs->lock);
}

/**
 * mdma_irq_count() - vectors of an interrupt index
 * @irqs: any
 * @index: VFIO_PCI_*_IRQ_INDEX
 *
 * Return: number, 0 for an index that the device does not have.
 */
u32 mdma_irq_count(struct mdma_irqs *irqs, u32 index)
{
	switch (index) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return 1;
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return irqs->engine->nr_channels;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return 1;
	default:
		return 0;
	}
}

static void signal_one(struct mdma_irqs *irqs, struct eventfd_ctx **slot)
{
	spin_lock(&irqs->lock);
	if (*slot)
		eventfd_signal(*slot);
	spin_unlock(&irqs->lock);
}

/**
 * mdma_irq_raise() - a channel's interrupt becomes pending
 * @irqs: gate held
 * @ch: of it
 *
 * The vector fires if the channel has it enabled and the device runs. A
 * device that does not run fires it when it runs again, see
 * mdma_irq_replay().
 */
void mdma_irq_raise(struct mdma_irqs *irqs, struct mdma_channel *ch)
{
	lockdep_assert_held(&irqs->engine->gate);

	if (!mdma_channel_raise(ch) || !irqs->engine->running)
		return;
	signal_one(irqs, &irqs->msix[ch->index]);
	mdma_intx_update(irqs->intx);
}

/**
 * mdma_irq_replay() - fire the vectors that are pending
 * @irqs: started to run, gate not held
 *
 * One more interrupt is harmless, one less is not: a vector that fired on the
 * source of a migration may not have reached the guest.
 */
void mdma_irq_replay(struct mdma_irqs *irqs)
{
	u32 i;

	for (i = 0; i < irqs->engine->nr_channels; i++)
		if (mdma_channel_wants_irq(&irqs->engine->channels[i]))
			signal_one(irqs, &irqs->msix[i]);
	down_read(&irqs->engine->gate);
	mdma_intx_update(irqs->intx);
	up_read(&irqs->engine->gate);
}

/**
 * mdma_irq_request() - ask the user to give the device back
 * @irqs: any
 */
void mdma_irq_request(struct mdma_irqs *irqs)
{
	signal_one(irqs, &irqs->req);
}

static struct eventfd_ctx **irq_slots(struct mdma_irqs *irqs, u32 index)
{
	switch (index) {
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return irqs->msix;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return &irqs->req;
	default:
		return NULL;
	}
}

/*
 * Puts @ctx into the slots, and releases what was there. Returns a bit for
 * each slot that was empty and is not any more.
 */
static u32 replace(struct mdma_irqs *irqs, struct eventfd_ctx **slots,
		   struct eventfd_ctx **ctx, u32 n)
{
	u32 i, begun = 0;

	spin_lock(&irqs->lock);
	for (i = 0; i < n; i++) {
		if (!slots[i] && ctx[i])
			begun |= BIT(i);
		swap(slots[i], ctx[i]);
	}
	spin_unlock(&irqs->lock);
	for (i = 0; i < n; i++)
		if (ctx[i])
			eventfd_ctx_put(ctx[i]);
	return begun;
}

static void release(struct mdma_irqs *irqs, struct eventfd_ctx **slots, u32 n)
{
	struct eventfd_ctx *none[MDMA_MAX_CHANNELS] = {};

	replace(irqs, slots, none, n);
}

/*
 * Vectors from @first on have got an eventfd. An interrupt that became
 * pending while its vector had no eventfd was not signalled, as that is how a
 * user masks a vector: signal it now.
 */
static void tell_pending(struct mdma_irqs *irqs, u32 first, u32 begun)
{
	struct mdma_channel *ch = &irqs->engine->channels[first];

	down_read(&irqs->engine->gate);
	for (; begun && irqs->engine->running; begun >>= 1, ch++)
		if (begun & 1 && mdma_channel_wants_irq(ch))
			signal_one(irqs, &irqs->msix[ch->index]);
	up_read(&irqs->engine->gate);
}

static int set_eventfds(struct mdma_irqs *irqs, struct eventfd_ctx **slots,
			const struct vfio_irq_set *hdr, const s32 *fds)
{
	struct eventfd_ctx *ctx[MDMA_MAX_CHANNELS] = {};
	u32 i, begun, n = hdr->count;
	int ret;

	for (i = 0; i < n; i++) {
		if (fds[i] < 0)
			continue;
		ctx[i] = eventfd_ctx_fdget(fds[i]);
		if (IS_ERR(ctx[i])) {
			ret = PTR_ERR(ctx[i]);
			while (i--)
				if (ctx[i])
					eventfd_ctx_put(ctx[i]);
			return ret;
		}
	}
	begun = replace(irqs, &slots[hdr->start], ctx, n);
	if (hdr->index == VFIO_PCI_MSIX_IRQ_INDEX)
		tell_pending(irqs, hdr->start, begun);
	return 0;
}

/**
 * mdma_irq_set() - VFIO_DEVICE_SET_IRQS
 * @irqs: open, gate not held
 * @hdr: validated against mdma_irq_count()
 * @data: of @hdr->count elements, for the data types that have any
 *
 * Nothing is changed if an error is returned.
 *
 * Return: 0, -ENOTTY for an action that the interrupt does not have, what
 * mdma_intx_set() returns, or what is wrong with an eventfd.
 */
int mdma_irq_set(struct mdma_irqs *irqs, const struct vfio_irq_set *hdr,
		 const void *data)
{
	struct eventfd_ctx **slots = irq_slots(irqs, hdr->index);
	u32 i, count = mdma_irq_count(irqs, hdr->index);
	const u8 *fire = data;

	if (hdr->index == VFIO_PCI_INTX_IRQ_INDEX)
		return mdma_intx_set(irqs->intx, hdr, data);
	if (!slots || (hdr->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) !=
		      VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;
	switch (hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return set_eventfds(irqs, slots, hdr, data);
	case VFIO_IRQ_SET_DATA_NONE:
		if (!hdr->count)
			release(irqs, slots, count);
		fire = NULL;
		break;
	}
	for (i = 0; i < hdr->count; i++)
		if (!fire || fire[i])
			signal_one(irqs, &slots[hdr->start + i]);
	return 0;
}

/**
 * mdma_irq_release() - give all eventfds back
 * @irqs: nothing executes
 */
void mdma_irq_release(struct mdma_irqs *irqs)
{
	release(irqs, irqs->msix, irqs->engine->nr_channels);
	release(irqs, &irqs->req, 1);
	mdma_intx_release(irqs->intx);
}
