// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: one MSI-X vector a channel, and the request to give the device
 * back. A vector is an eventfd of the user. The line of a guest that has no
 * MSI-X is in intx.c. Takes the gate and, under it, mdma_irqs.lock and
 * mdma_channel.lock.
 */
#include <linux/eventfd.h>
#include <linux/kernel.h>

#include "channel.h"
#include "mdma.h"

/**
 * mdma_irq_init() - no eventfds
 * @irqs: zeroed
 */
void mdma_irq_init(struct mdma_irqs *irqs)
{
	spin_lock_init(&irqs->lock);
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
 * @dev: gate held
 * @ch: of it
 *
 * The vector fires if the channel has it enabled and the device runs. A
 * device that does not run fires it when it runs again, see
 * mdma_irq_replay().
 */
void mdma_irq_raise(struct mdma_device *dev, struct mdma_channel *ch)
{
	struct mdma_irqs *irqs = &dev->irqs;

	lockdep_assert_held(&dev->engine.gate);

	if (!mdma_channel_raise(ch) || !dev->engine.running)
		return;
	signal_one(irqs, &irqs->msix[ch->index]);
	mdma_intx_update(dev);
}

/**
 * mdma_irq_replay() - fire the vectors that are pending
 * @dev: started to run, gate not held
 *
 * One more interrupt is harmless, one less is not: a vector that fired on the
 * source of a migration may not have reached the guest.
 */
void mdma_irq_replay(struct mdma_device *dev)
{
	u32 i;

	for (i = 0; i < dev->engine.nr_channels; i++)
		if (mdma_channel_wants_irq(&dev->engine.channels[i]))
			signal_one(&dev->irqs, &dev->irqs.msix[i]);
	down_read(&dev->engine.gate);
	mdma_intx_update(dev);
	up_read(&dev->engine.gate);
}

/**
 * mdma_irq_request() - ask the user to give the device back
 * @dev: any
 */
void mdma_irq_request(struct mdma_device *dev)
{
	signal_one(&dev->irqs, &dev->irqs.req);
}

static struct eventfd_ctx **irq_slots(struct mdma_device *dev, u32 index)
{
	switch (index) {
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return dev->irqs.msix;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return &dev->irqs.req;
	default:
		return NULL;
	}
}

/*
 * @ctx gets what was there, and is given back. Returns a bit for each slot that
 * was empty and is not any more.
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
 * Vectors from @first on have got an eventfd: what became pending while they had
 * none was told to nobody. That is how a user masks a vector.
 */
static void tell_pending(struct mdma_device *dev, u32 first, u32 begun)
{
	struct mdma_channel *ch = &dev->engine.channels[first];

	down_read(&dev->engine.gate);
	for (; begun && dev->engine.running; begun >>= 1, ch++)
		if (begun & 1 && mdma_channel_wants_irq(ch))
			signal_one(&dev->irqs, &dev->irqs.msix[ch->index]);
	up_read(&dev->engine.gate);
}

static int set_eventfds(struct mdma_device *dev, struct eventfd_ctx **slots,
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
	begun = replace(&dev->irqs, &slots[hdr->start], ctx, n);
	if (hdr->index == VFIO_PCI_MSIX_IRQ_INDEX)
		tell_pending(dev, hdr->start, begun);
	return 0;
}

/**
 * mdma_irq_set() - VFIO_DEVICE_SET_IRQS
 * @dev: open, gate not held
 * @hdr: validated against mdma_pci_irq_count()
 * @data: of @hdr->count elements, for the data types that have any
 *
 * Nothing is changed if an error is returned.
 *
 * Return: 0, -ENOTTY for an action that the interrupt does not have, what
 * mdma_intx_set() returns, or what is wrong with an eventfd.
 */
int mdma_irq_set(struct mdma_device *dev, const struct vfio_irq_set *hdr,
		 const void *data)
{
	struct eventfd_ctx **slots = irq_slots(dev, hdr->index);
	u32 i, count = mdma_pci_irq_count(dev, hdr->index);
	const u8 *fire = data;

	if (hdr->index == VFIO_PCI_INTX_IRQ_INDEX)
		return mdma_intx_set(dev, hdr, data);
	if (!slots || (hdr->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) !=
		      VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;
	switch (hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return set_eventfds(dev, slots, hdr, data);
	case VFIO_IRQ_SET_DATA_NONE:
		if (!hdr->count)
			release(&dev->irqs, slots, count);
		fire = NULL;
		break;
	}
	for (i = 0; i < hdr->count; i++)
		if (!fire || fire[i])
			signal_one(&dev->irqs, &slots[hdr->start + i]);
	return 0;
}

/**
 * mdma_irq_release() - give all eventfds back
 * @dev: nothing executes
 */
void mdma_irq_release(struct mdma_device *dev)
{
	release(&dev->irqs, dev->irqs.msix, dev->engine.nr_channels);
	release(&dev->irqs, &dev->irqs.req, 1);
	mdma_intx_release(dev);
}
