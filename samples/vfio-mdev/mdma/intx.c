// SPDX-License-Identifier: GPL-2.0-only
/*
 * INTx, the interrupt line of a guest that does not use MSI-X.
 *
 * The line is asserted while a channel has an interrupt pending and enabled,
 * the device runs, and config space says neither Interrupt Disable nor MSI-X
 * Enable. An eventfd tells the user, and telling masks the line. Once the
 * user has dealt with the interrupt, it unmasks the line, by an ioctl or
 * another eventfd, and is told again if the line is still asserted.
 *
 * None of this moves with a migration. Pending interrupts do, config space
 * belongs to the VMM, and the user is told of the line again when the device
 * runs.
 *
 * Takes the gate and, under it, mdma_intx.lock and mdma_channel.lock.
 */
#include <linux/bitops.h>
#include <linux/eventfd.h>
#include <linux/kernel.h>
#include <linux/vfio.h>

#include "channel.h"
#include "engine.h"
#include "intx.h"

/**
 * mdma_intx_init() - a line without eventfds
 * @intx: zeroed
 * @engine: whose channels raise it
 */
void mdma_intx_init(struct mdma_intx *intx, struct mdma_engine *engine)
{
	intx->engine = engine;
	spin_lock_init(&intx->lock);
	mutex_init(&intx->setting);
}

/**
 * mdma_intx_pending() - the Interrupt Status bit of config space
 * @intx: any
 *
 * Return: whether the line would be asserted on a device that runs and has it
 * enabled.
 */
bool mdma_intx_pending(struct mdma_intx *intx)
{
	bool pending = false;
	u32 i;

	for (i = 0; i < intx->engine->nr_channels && !pending; i++)
		pending = mdma_channel_wants_irq(&intx->engine->channels[i]);
	return pending;
}

/**
 * mdma_intx_update() - tell the user of a line that is asserted
 * @intx: gate held
 *
 * To be called wherever the line may have become asserted.
 */
void mdma_intx_update(struct mdma_intx *intx)
{
	bool asserted;

	lockdep_assert_held(&intx->engine->gate);

	asserted = intx->engine->running && intx->enabled && mdma_intx_pending(intx);
	spin_lock(&intx->lock);
	if (asserted && intx->eventfd && !intx->masked) {
		intx->masked = true;
		eventfd_signal(intx->eventfd);
	}
	spin_unlock(&intx->lock);
}

/*
 * Returns -EINVAL if the line has no eventfd, and so nothing to mask. What the eventfd
 * that unmasks has asked for before comes to nothing.
 */
static int set_masked(struct mdma_intx *intx, bool masked)
{
	int ret;

	spin_lock(&intx->lock);
	ret = intx->eventfd ? 0 : -EINVAL;
	if (!ret)
		intx->masked = masked;
	clear_bit(MDMA_ATTENTION, &intx->engine->attention);
	spin_unlock(&intx->lock);
	if (ret || masked)
		return ret;
	down_read(&intx->engine->gate);
	mdma_intx_update(intx);
	up_read(&intx->engine->gate);
	return 0;
}

/**
 * mdma_intx_attend() - unmask the line if its eventfd was signalled
 * @intx: gate held
 */
void mdma_intx_attend(struct mdma_intx *intx)
{
	bool unmask;

	spin_lock(&intx->lock);
	unmask = test_and_clear_bit(MDMA_ATTENTION, &intx->engine->attention);
	if (unmask)
		intx->masked = false;
	spin_unlock(&intx->lock);
	if (unmask)
		mdma_intx_update(intx);
}

/*
 * The eventfd that unmasks was signalled, perhaps by mdma_intx_update(), so in any
 * context. The rest is for the first channel's thread that gets to it: a worker of the
 * kernel's that waited for the gate would keep all users of vfio waiting, as vfio's
 * only thread waits for it when an eventfd goes.
 */
static int unmask_signalled(void *opaque, void *data)
{
	struct mdma_intx *intx = opaque;
	u32 i;

	set_bit(MDMA_ATTENTION, &intx->engine->attention);
	for (i = 0; i < intx->engine->nr_channels; i++)
		mdma_channel_kick(&intx->engine->channels[i]);
	return 0;
}

/*
 * Sets the line's eventfd, or none. A line that gets its first one is
 * unmasked.
 */
static void set_eventfd(struct mdma_intx *intx, struct eventfd_ctx *ctx)
{
	bool begins;

	spin_lock(&intx->lock);
	begins = !intx->eventfd;
	swap(intx->eventfd, ctx);
	if (begins)
		intx->masked = false;
	spin_unlock(&intx->lock);
	if (ctx)
		eventfd_ctx_put(ctx);
}

static int set_unmask_eventfd(struct mdma_intx *intx, s32 fd)
{
	int ret = 0;

	mutex_lock(&intx->setting);
	if (fd >= 0)
		ret = vfio_virqfd_enable(intx, unmask_signalled, NULL, NULL,
					 &intx->unmask, fd);
	else
		vfio_virqfd_disable(&intx->unmask);
	mutex_unlock(&intx->setting);
	return ret;
}

/**
 * mdma_intx_release() - drop the line's eventfds
 * @intx: gate not held
 */
void mdma_intx_release(struct mdma_intx *intx)
{
	set_eventfd(intx, NULL);
	set_unmask_eventfd(intx, -1);
	clear_bit(MDMA_ATTENTION, &intx->engine->attention);
}

static int set_trigger(struct mdma_intx *intx, s32 fd)
{
	struct eventfd_ctx *ctx;

	if (fd < 0) {
		mdma_intx_release(intx);
		return 0;
	}
	ctx = eventfd_ctx_fdget(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	set_eventfd(intx, ctx);
	down_read(&intx->engine->gate);
	mdma_intx_update(intx);
	up_read(&intx->engine->gate);
	return 0;
}

static int set_unmask(struct mdma_intx *intx, s32 fd)
{
	int ret = set_unmask_eventfd(intx, fd);

	if (ret || fd >= 0)
		return ret;
	down_read(&intx->engine->gate);
	mdma_intx_attend(intx);
	up_read(&intx->engine->gate);
	return 0;
}

/* Signals the eventfd because the user asks for it. */
static int fire(struct mdma_intx *intx)
{
	int ret = -EINVAL;

	spin_lock(&intx->lock);
	if (intx->eventfd) {
		eventfd_signal(intx->eventfd);
		ret = 0;
	}
	spin_unlock(&intx->lock);
	return ret;
}

static int set_by_eventfd(struct mdma_intx *intx, u32 action, s32 fd)
{
	switch (action) {
	case VFIO_IRQ_SET_ACTION_TRIGGER:
		return set_trigger(intx, fd);
	case VFIO_IRQ_SET_ACTION_UNMASK:
		return set_unmask(intx, fd);
	default:
		return -ENOTTY;
	}
}

/**
 * mdma_intx_set() - VFIO_DEVICE_SET_IRQS for the line
 * @intx: open, gate not held
 * @hdr: validated against mdma_irq_count()
 * @data: of @hdr->count elements, for the data types that have any
 *
 * Return: 0, -EINVAL if the line has no eventfd or @hdr means no line,
 * -ENOTTY for no action, for more than one, and for what cannot be done by an
 * eventfd, -EBUSY if another eventfd unmasks, or what is wrong with an
 * eventfd.
 */
int mdma_intx_set(struct mdma_intx *intx, const struct vfio_irq_set *hdr,
		  const void *data)
{
	u32 action = hdr->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	u32 type = hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;

	if (hweight32(action) != 1)
		return -ENOTTY;
	if (!hdr->count && type == VFIO_IRQ_SET_DATA_NONE &&
	    action == VFIO_IRQ_SET_ACTION_TRIGGER) {
		mdma_intx_release(intx);
		return 0;
	}
	if (hdr->count != 1)
		return -EINVAL;
	if (type == VFIO_IRQ_SET_DATA_EVENTFD)
		return set_by_eventfd(intx, action, *(const s32 *)data);
	if (type == VFIO_IRQ_SET_DATA_BOOL && !*(const u8 *)data)
		return 0;
	if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
		return fire(intx);
	return set_masked(intx, action == VFIO_IRQ_SET_ACTION_MASK);
}
