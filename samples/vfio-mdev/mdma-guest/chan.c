// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_guest: a channel as dmaengine sees it: transactions, cookies, callbacks,
 * and the interrupt that causes the callbacks.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/pci.h>

#include "mdma_guest.h"

static struct mdma_chan *to_mdma_chan(struct dma_chan *chan)
{
	return container_of(chan, struct mdma_chan, chan);
}

/*
 * Calls the callbacks of transactions that are done. Runs in the interrupt's
 * thread, or after free_irq() has ended that thread.
 */
static void mdma_chan_run_callbacks(struct mdma_chan *ch)
{
	struct mdma_tx *tx;
	LIST_HEAD(done);

	mutex_lock(&ch->callbacks);
	spin_lock_irq(&ch->lock);
	list_splice_init(&ch->done, &done);
	spin_unlock_irq(&ch->lock);

	list_for_each_entry(tx, &done, node) {
		if (tx->tx.callback_result)
			tx->tx.callback_result(tx->tx.callback_param,
					       &tx->result);
		else if (tx->tx.callback)
			tx->tx.callback(tx->tx.callback_param);
	}

	spin_lock_irq(&ch->lock);
	list_splice_tail(&done, &ch->free);
	spin_unlock_irq(&ch->lock);
	mutex_unlock(&ch->callbacks);
}

/*
 * With forced threads (threadirqs, PREEMPT_RT), a handler is a thread as well. Nothing
 * waits for it before a reset, so it looks and acknowledges under the lock. And
 * irq_wake_thread() wakes it, not mdma_chan_irq_thread(): so what is done counts as much
 * as an interrupt. An interrupt of another device is claimed by that once, since the thread
 * leaves nothing done.
 */
static irqreturn_t mdma_chan_handle(struct mdma_chan *ch, bool line)
{
	unsigned long flags;
	bool mine, wake;

	spin_lock_irqsave(&ch->lock, flags);
	/* A function that does not decode its BAR reads as ones. */
	mine = !ch->gone && !ch->suspended &&
	       !(line && readl(ch->regs + MDMA_CHAN_IRQ) != 1);
	if (mine)
		writel(1, ch->regs + MDMA_CHAN_IRQ);
	wake = mine || !line || !list_empty(&ch->done);
	spin_unlock_irqrestore(&ch->lock, flags);

	return wake ? IRQ_WAKE_THREAD : IRQ_NONE;
}

static irqreturn_t mdma_chan_irq(int irq, void *data)
{
	return mdma_chan_handle(data, false);
}

/* Handler of the shared INTx line: other channels and other devices may raise it. */
static irqreturn_t mdma_chan_intx(int irq, void *data)
{
	return mdma_chan_handle(data, true);
}

static irqreturn_t mdma_chan_irq_thread(int irq, void *data)
{
	struct mdma_chan *ch = data;

	spin_lock_irq(&ch->lock);
	mdma_ring_reap(ch);
	mdma_ring_recover(ch);
	spin_unlock_irq(&ch->lock);

	mdma_chan_run_callbacks(ch);
	return IRQ_HANDLED;
}

/*
 * Reaps without an interrupt. If a transaction that asked for no interrupt has a
 * callback, only the thread woken here calls it.
 */
static void mdma_chan_poll(struct mdma_chan *ch)
{
	if (mdma_ring_reap(ch) && !list_empty(&ch->done) && ch->irq)
		irq_wake_thread(ch->irq, ch);
}

static dma_cookie_t mdma_chan_next_cookie(struct mdma_chan *ch)
{
	if (++ch->chan.cookie < DMA_MIN_COOKIE)
		ch->chan.cookie = DMA_MIN_COOKIE;
	return ch->chan.cookie;
}

static dma_cookie_t mdma_chan_submit(struct dma_async_tx_descriptor *desc)
{
	struct mdma_tx *tx = container_of(desc, struct mdma_tx, tx);
	struct mdma_chan *ch = to_mdma_chan(desc->chan);
	dma_cookie_t cookie;
	unsigned long flags;

	spin_lock_irqsave(&ch->lock, flags);
	if (ch->gone) {
		dma_descriptor_unmap(desc);
		list_add_tail(&tx->node, &ch->free);
		cookie = -ENODEV;
	} else {
		cookie = mdma_chan_next_cookie(ch);
		desc->cookie = cookie;
		tx->hw.cookie = cpu_to_le64(cookie);
		list_add_tail(&tx->node, &ch->submitted);
	}
	spin_unlock_irqrestore(&ch->lock, flags);

	return cookie;
}

/* A transaction that its client has acknowledged, or %NULL. */
static struct mdma_tx *mdma_chan_get_free(struct mdma_chan *ch)
{
	struct mdma_tx *tx;

	list_for_each_entry(tx, &ch->free, node) {
		if (async_tx_test_ack(&tx->tx)) {
			list_del_init(&tx->node);
			return tx;
		}
	}
	return NULL;
}

static struct dma_async_tx_descriptor *
mdma_chan_prep(struct mdma_chan *ch, const struct mdma_desc *hw,
	       unsigned long prep_flags)
{
	struct mdma_tx *tx = NULL;
	unsigned long flags;

	if (!hw->len || le64_to_cpu(hw->len) > MDMA_DESC_MAX_LEN)
		return NULL;

	spin_lock_irqsave(&ch->lock, flags);
	if (!ch->gone) {
		tx = mdma_chan_get_free(ch);
		if (!tx) {
			mdma_chan_poll(ch);
			tx = mdma_chan_get_free(ch);
		}
	}
	spin_unlock_irqrestore(&ch->lock, flags);
	if (!tx)
		return NULL;

	dma_async_tx_descriptor_init(&tx->tx, &ch->chan);
	tx->tx.tx_submit = mdma_chan_submit;
	tx->tx.flags = prep_flags;
	tx->tx.cookie = -EBUSY;
	tx->tx.callback = NULL;
	tx->tx.callback_result = NULL;
	tx->tx.callback_param = NULL;
	tx->tx.unmap = NULL;
	tx->hw = *hw;
	if (prep_flags & DMA_PREP_INTERRUPT)
		tx->hw.flags = cpu_to_le32(MDMA_DESC_IRQ);

	return &tx->tx;
}

static struct dma_async_tx_descriptor *
mdma_chan_prep_memcpy(struct dma_chan *chan, dma_addr_t dst, dma_addr_t src,
		      size_t len, unsigned long flags)
{
	const struct mdma_desc hw = {
		.op = cpu_to_le32(MDMA_OP_COPY),
		.dst = cpu_to_le64(dst),
		.src = cpu_to_le64(src),
		.len = cpu_to_le64(len),
	};

	return mdma_chan_prep(to_mdma_chan(chan), &hw, flags);
}

static struct dma_async_tx_descriptor *
mdma_chan_prep_memset(struct dma_chan *chan, dma_addr_t dst, int value,
		      size_t len, unsigned long flags)
{
	const struct mdma_desc hw = {
		.op = cpu_to_le32(MDMA_OP_FILL),
		.dst = cpu_to_le64(dst),
		.len = cpu_to_le64(len),
		.data = cpu_to_le64((u8)value * 0x0101010101010101ULL),
	};

	return mdma_chan_prep(to_mdma_chan(chan), &hw, flags);
}

static void mdma_chan_issue_pending(struct dma_chan *chan)
{
	struct mdma_chan *ch = to_mdma_chan(chan);
	unsigned long flags;

	spin_lock_irqsave(&ch->lock, flags);
	mdma_ring_issue(ch);
	spin_unlock_irqrestore(&ch->lock, flags);
}

static enum dma_status mdma_chan_tx_status(struct dma_chan *chan,
					   dma_cookie_t cookie,
					   struct dma_tx_state *state)
{
	struct mdma_chan *ch = to_mdma_chan(chan);
	enum dma_status status;
	unsigned long flags;

	spin_lock_irqsave(&ch->lock, flags);
	status = dma_async_is_complete(cookie, chan->completed_cookie,
				       chan->cookie);
	if (status == DMA_IN_PROGRESS) {
		mdma_chan_poll(ch);
		status = dma_async_is_complete(cookie, chan->completed_cookie,
					       chan->cookie);
	}
	if (status == DMA_COMPLETE && mdma_ring_failed(ch, cookie))
		status = DMA_ERROR;
	dma_set_tx_state(state, chan->completed_cookie, chan->cookie, 0);
	spin_unlock_irqrestore(&ch->lock, flags);

	return status;
}

/* Terminated transactions get no callback. */
static int mdma_chan_terminate_all(struct dma_chan *chan)
{
	struct mdma_chan *ch = to_mdma_chan(chan);
	unsigned long flags;

	spin_lock_irqsave(&ch->lock, flags);
	mdma_ring_abort(ch);
	list_splice_tail_init(&ch->done, &ch->free);
	spin_unlock_irqrestore(&ch->lock, flags);

	return 0;
}

/*
 * When this returns, no callback of a transaction that was terminated before
 * runs. Terminated transactions are on no list from which a callback could still
 * be called, so it is enough to wait for callbacks that run now, in any thread.
 */
static void mdma_chan_synchronize(struct dma_chan *chan)
{
	struct mdma_chan *ch = to_mdma_chan(chan);

	mutex_lock(&ch->callbacks);
	mutex_unlock(&ch->callbacks);
}

static int mdma_chan_alloc_resources(struct dma_chan *chan)
{
	struct mdma_chan *ch = to_mdma_chan(chan);
	int ret;

	mutex_lock(&ch->guest->lock);
	ret = mdma_ring_alloc(ch);
	mutex_unlock(&ch->guest->lock);

	return ret ?: ch->guest->ring_size;
}

static void mdma_chan_free_resources(struct dma_chan *chan)
{
	struct mdma_chan *ch = to_mdma_chan(chan);

	mutex_lock(&ch->guest->lock);
	mdma_ring_free(ch);
	mutex_unlock(&ch->guest->lock);
}

/**
 * mdma_chan_setup_dma - capabilities and operations of a device's channels
 * @dma: to be filled in
 */
void mdma_chan_setup_dma(struct dma_device *dma)
{
	dma_cap_set(DMA_MEMCPY, dma->cap_mask);
	dma_cap_set(DMA_MEMSET, dma->cap_mask);
	/* Only for clients that ask for the channel: no offload for md or the network. */
	dma_cap_set(DMA_PRIVATE, dma->cap_mask);
	dma->copy_align = DMAENGINE_ALIGN_1_BYTE;
	dma->fill_align = DMAENGINE_ALIGN_1_BYTE;
	dma->directions = BIT(DMA_MEM_TO_MEM);
	dma->residue_granularity = DMA_RESIDUE_GRANULARITY_DESCRIPTOR;

	dma->device_alloc_chan_resources = mdma_chan_alloc_resources;
	dma->device_free_chan_resources = mdma_chan_free_resources;
	dma->device_prep_dma_memcpy = mdma_chan_prep_memcpy;
	dma->device_prep_dma_memset = mdma_chan_prep_memset;
	dma->device_issue_pending = mdma_chan_issue_pending;
	dma->device_tx_status = mdma_chan_tx_status;
	dma->device_terminate_all = mdma_chan_terminate_all;
	dma->device_synchronize = mdma_chan_synchronize;
}

/**
 * mdma_chan_init - make channel @n of a device known to its dma_device
 * @guest: device, its registers mapped
 * @n: number of the channel
 */
void mdma_chan_init(struct mdma_guest *guest, unsigned int n)
{
	struct mdma_chan *ch = &guest->chans[n];

	ch->guest = guest;
	ch->regs = guest->regs + MDMA_REG_CHANNEL(n);
	mutex_init(&ch->callbacks);
	spin_lock_init(&ch->lock);
	INIT_LIST_HEAD(&ch->free);
	INIT_LIST_HEAD(&ch->submitted);
	INIT_LIST_HEAD(&ch->flight);
	INIT_LIST_HEAD(&ch->done);
	snprintf(ch->irq_name, sizeof(ch->irq_name), "mdma-%s-%u",
		 pci_name(guest->pdev), n);

	ch->chan.device = &guest->dma;
	ch->chan.cookie = DMA_MIN_COOKIE;
	ch->chan.completed_cookie = DMA_MIN_COOKIE;
	list_add_tail(&ch->chan.device_node, &guest->dma.channels);
}

/**
 * mdma_chan_request_irq - connect a channel to its interrupt
 * @ch: channel
 * @irq: Linux interrupt number
 * @line: @irq is the shared INTx line, not a vector of the channel's own
 *
 * Return: 0, or the error of request_threaded_irq().
 */
int mdma_chan_request_irq(struct mdma_chan *ch, int irq, bool line)
{
	int ret;

	ret = request_threaded_irq(irq, line ? mdma_chan_intx : mdma_chan_irq,
				   mdma_chan_irq_thread,
				   line ? IRQF_SHARED : 0, ch->irq_name, ch);
	if (!ret)
		ch->irq = irq;
	return ret;
}

/**
 * mdma_chan_suspend - end all DMA of a channel for a while
 * @ch: channel, its interrupt still delivered
 *
 * A client that is not suspended itself may continue to submit transactions.
 * They are executed after mdma_chan_resume().
 */
void mdma_chan_suspend(struct mdma_chan *ch)
{
	spin_lock_irq(&ch->lock);
	mdma_ring_suspend(ch);
	if (!list_empty(&ch->done))
		irq_wake_thread(ch->irq, ch);
	spin_unlock_irq(&ch->lock);
}

/**
 * mdma_chan_resume - continue after mdma_chan_suspend()
 * @ch: channel; the device may have been reset
 */
void mdma_chan_resume(struct mdma_chan *ch)
{
	spin_lock_irq(&ch->lock);
	mdma_ring_resume(ch);
	spin_unlock_irq(&ch->lock);
}

/**
 * mdma_chan_lose - fail all transactions of a device that is lost
 * @ch: channel; its interrupt's thread still exists
 */
void mdma_chan_lose(struct mdma_chan *ch)
{
	spin_lock_irq(&ch->lock);
	mdma_ring_lose(ch);
	if (ch->irq)
		irq_wake_thread(ch->irq, ch);
	spin_unlock_irq(&ch->lock);
}

/**
 * mdma_chan_remove - end a channel of a device that is being removed
 * @ch: channel
 *
 * A client may still hold the channel: its transactions fail now, with a
 * callback, and later calls to prepare or submit one fail. After this there is
 * no DMA and no register access, and the interrupt is freed.
 */
void mdma_chan_remove(struct mdma_chan *ch)
{
	int irq;

	mutex_lock(&ch->guest->lock);
	spin_lock_irq(&ch->lock);
	if (ch->ring && !ch->gone) {
		mdma_ring_abort(ch);
		mdma_ring_stop(ch);
	}
	ch->gone = true;
	irq = ch->irq;
	ch->irq = 0;
	spin_unlock_irq(&ch->lock);

	if (irq)
		free_irq(irq, ch);
	mdma_chan_run_callbacks(ch);
	mutex_unlock(&ch->guest->lock);
}
