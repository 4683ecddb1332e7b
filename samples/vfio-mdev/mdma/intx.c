// SPDX-License-Identifier: GPL-2.0-only
/*
 * INTx, the interrupt line of a guest that does not use MSI-X.
 *
 * The line is asserted while a channel has an interrupt pending and enabled,
 * the device runs, and config space says neither Interrupt Disable nor MSI-X
 * Enable. The user is told by an eventfd and the line masked by that; who has
 * dealt with it unmasks it, by an ioctl or by another eventfd, and is told
 * again if the line is still asserted.
 *
 * Nothing of this moves with a migration: pending interrupts do, config space
 * is the VMM's, and the line is told anew when the device runs.
 *
 * Takes the gate and, under it, mdma_irqs.lock and mdma_channel.lock.
 */
#include <linux/bitops.h>
#include <linux/eventfd.h>
#include <linux/kernel.h>

#include "channel.h"
#include "mdma.h"

/**
 * mdma_intx_pending() - the Interrupt Status bit of config space
 * @dev: any
 *
 * Return: whether the line would be asserted, if nothing kept it from it.
 */
bool mdma_intx_pending(struct mdma_device *dev)
{
	bool pending = false;
	u32 i;

	for (i = 0; i < dev->engine.nr_channels && !pending; i++)
		pending = mdma_channel_wants_irq(&dev->engine.channels[i]);
	return pending;
}

/**
 * mdma_intx_update() - tell the user of a line that is asserted
 * @dev: gate held
 *
 * To be called wherever the line may have become asserted.
 */
void mdma_intx_update(struct mdma_device *dev)
{
	struct mdma_irqs *irqs = &dev->irqs;
	bool asserted;

	lockdep_assert_held(&dev->engine.gate);

	asserted = dev->engine.running && dev->intx_enabled && mdma_intx_pending(dev);
	spin_lock(&irqs->lock);
	if (asserted && irqs->intx && !irqs->intx_masked) {
		irqs->intx_masked = true;
		eventfd_signal(irqs->intx);
	}
	spin_unlock(&irqs->lock);
}

/* 0, or -EINVAL: nobody is told of the line, so there is nothing to mask. */
static int set_masked(struct mdma_device *dev, bool masked)
{
	struct mdma_irqs *irqs = &dev->irqs;
	int ret;

	spin_lock(&irqs->lock);
	ret = irqs->intx ? 0 : -EINVAL;
	if (!ret)
		irqs->intx_masked = masked;
	spin_unlock(&irqs->lock);
	if (ret || masked)
		return ret;
	down_read(&dev->engine.gate);
	mdma_intx_update(dev);
	up_read(&dev->engine.gate);
	return 0;
}

/* The eventfd that unmasks was signalled; in a worker, where locks can wait. */
static void unmask_thread(void *opaque, void *data)
{
	set_masked(opaque, false);
}

/* Who is told of the line: @ctx, or nobody. A new user finds it unmasked. */
static void set_eventfd(struct mdma_device *dev, struct eventfd_ctx *ctx)
{
	struct mdma_irqs *irqs = &dev->irqs;
	bool begins;

	spin_lock(&irqs->lock);
	begins = !irqs->intx;
	swap(irqs->intx, ctx);
	if (begins)
		irqs->intx_masked = false;
	spin_unlock(&irqs->lock);
	if (ctx)
		eventfd_ctx_put(ctx);
}

/**
 * mdma_intx_release() - nobody is told of the line any more
 * @dev: gate not held
 */
void mdma_intx_release(struct mdma_device *dev)
{
	set_eventfd(dev, NULL);
	vfio_virqfd_disable(&dev->irqs.intx_unmask);
}

static int set_trigger(struct mdma_device *dev, s32 fd)
{
	struct eventfd_ctx *ctx;

	if (fd < 0) {
		mdma_intx_release(dev);
		return 0;
	}
	ctx = eventfd_ctx_fdget(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	set_eventfd(dev, ctx);
	down_read(&dev->engine.gate);
	mdma_intx_update(dev);
	up_read(&dev->engine.gate);
	return 0;
}

static int set_unmask(struct mdma_device *dev, s32 fd)
{
	struct virqfd **unmask = &dev->irqs.intx_unmask;

	if (fd >= 0)
		return vfio_virqfd_enable(dev, NULL, unmask_thread, NULL,
					  unmask, fd);
	vfio_virqfd_disable(unmask);
	return 0;
}

/* The user wants to see that it is told. */
static int fire(struct mdma_irqs *irqs)
{
	int ret = -EINVAL;

	spin_lock(&irqs->lock);
	if (irqs->intx) {
		eventfd_signal(irqs->intx);
		ret = 0;
	}
	spin_unlock(&irqs->lock);
	return ret;
}

static int set_by_eventfd(struct mdma_device *dev, u32 action, s32 fd)
{
	switch (action) {
	case VFIO_IRQ_SET_ACTION_TRIGGER:
		return set_trigger(dev, fd);
	case VFIO_IRQ_SET_ACTION_UNMASK:
		return set_unmask(dev, fd);
	default:
		return -ENOTTY;
	}
}

/**
 * mdma_intx_set() - VFIO_DEVICE_SET_IRQS for the line
 * @dev: open, gate not held
 * @hdr: validated against mdma_pci_irq_count()
 * @data: of @hdr->count elements, for the data types that have any
 *
 * Return: 0, -EINVAL if there is nobody to tell of the line or if @hdr means
 * no line, -ENOTTY for no action, for more than one, and for what cannot be
 * done by an eventfd, -EBUSY if another eventfd unmasks, or what is wrong with
 * an eventfd.
 */
int mdma_intx_set(struct mdma_device *dev, const struct vfio_irq_set *hdr,
		  const void *data)
{
	u32 action = hdr->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	u32 type = hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;

	if (hweight32(action) != 1)
		return -ENOTTY;
	if (!hdr->count && type == VFIO_IRQ_SET_DATA_NONE &&
	    action == VFIO_IRQ_SET_ACTION_TRIGGER) {
		mdma_intx_release(dev);
		return 0;
	}
	if (hdr->count != 1)
		return -EINVAL;
	if (type == VFIO_IRQ_SET_DATA_EVENTFD)
		return set_by_eventfd(dev, action, *(const s32 *)data);
	if (type == VFIO_IRQ_SET_DATA_BOOL && !*(const u8 *)data)
		return 0;
	if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
		return fire(&dev->irqs);
	return set_masked(dev, action == VFIO_IRQ_SET_ACTION_MASK);
}
