// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_guest: a channel's ring of hardware descriptors.
 *
 * Only this file and the interrupt handler access the channel's registers. A
 * descriptor that fails may or may not halt the ring. Either way, only that
 * descriptor fails: the ring is stopped, so that it is certain what the device
 * has done, and then started anew with the rest. A failure of the ring itself
 * names no descriptor: all descriptors in the ring fail.
 */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "mdma_guest.h"

/*
 * Enabling the ring sets HEAD, TAIL and STATUS of the device to 0. A suspended ring is
 * enabled when it is resumed.
 */
static void mdma_ring_start(struct mdma_chan *ch)
{
	ch->head = 0;
	ch->tail = 0;
	if (ch->suspended)
		return;

	writeq(ch->ring_iova, ch->regs + MDMA_CHAN_RING);
	writel(ch->guest->ring_size, ch->regs + MDMA_CHAN_RING_SIZE);
	writel(MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ, ch->regs + MDMA_CHAN_CTRL);
}

/**
 * mdma_ring_stop - end all DMA of a channel
 * @ch: channel, locked, not gone
 *
 * When this returns true, the device accesses neither the ring nor the memory that
 * its descriptors point to. A suspended ring is stopped already.
 *
 * Return: false if the device does not answer.
 */
bool mdma_ring_stop(struct mdma_chan *ch)
{
	if (ch->suspended)
		return true;

	writel(0, ch->regs + MDMA_CHAN_CTRL);
	/* This waits for the write. A function that is not there may read as ones or zeroes. */
	return readl(ch->guest->regs + MDMA_REG_MAGIC) == MDMA_MAGIC;
}

/* Appends the descriptors of a list to the ring. */
static void mdma_ring_put(struct mdma_chan *ch, struct list_head *list)
{
	struct mdma_tx *tx;

	list_for_each_entry(tx, list, node)
		ch->ring[ch->tail++ % ch->guest->ring_size] = tx->hw;
}

/* writel() orders the descriptors before the doorbell. */
static void mdma_ring_doorbell(struct mdma_chan *ch)
{
	if (!ch->suspended)
		writel(ch->tail, ch->regs + MDMA_CHAN_TAIL);
}

/**
 * mdma_ring_issue - hand all submitted transactions to the device
 * @ch: channel, locked
 */
void mdma_ring_issue(struct mdma_chan *ch)
{
	if (ch->gone || list_empty(&ch->submitted))
		return;

	mdma_ring_put(ch, &ch->submitted);
	list_splice_tail_init(&ch->submitted, &ch->flight);
	mdma_ring_doorbell(ch);
}

/*
 * Ends a transaction. Its buffers are unmapped before anybody can see that. Without a
 * callback it becomes free at once; the others wait in "done" for the interrupt's
 * thread.
 */
static void mdma_ring_finish(struct mdma_chan *ch, struct mdma_tx *tx,
			     enum dmaengine_tx_result result)
{
	bool quiet = !tx->tx.callback && !tx->tx.callback_result;

	dma_descriptor_unmap(&tx->tx);
	tx->result.result = result;
	__assign_bit(tx->tx.cookie % MDMA_COOKIES_KNOWN, ch->failed,
		     result != DMA_TRANS_NOERROR);
	ch->chan.completed_cookie = tx->tx.cookie;
	list_move_tail(&tx->node, quiet ? &ch->free : &ch->done);
}

/**
 * mdma_ring_failed - whether a transaction that has ended failed
 * @ch: channel, locked
 * @cookie: of the transaction
 *
 * Return: true if it failed; false also for a transaction that ended more than
 * %MDMA_COOKIES_KNOWN cookies ago, because the channel has forgotten it.
 */
bool mdma_ring_failed(const struct mdma_chan *ch, dma_cookie_t cookie)
{
	/* Cookies are positive and start anew at DMA_MIN_COOKIE. */
	u32 age = (ch->chan.completed_cookie - cookie) & INT_MAX;

	return age < MDMA_COOKIES_KNOWN &&
	       test_bit(cookie % MDMA_COOKIES_KNOWN, ch->failed);
}

/*
 * Ends all transactions that the device has done. Returns their number, and adds
 * the number of those that failed to @failed.
 */
static unsigned int mdma_ring_take(struct mdma_chan *ch, unsigned int *failed)
{
	struct mdma_tx *tx, *next;
	unsigned int taken = 0;
	u32 status;

	list_for_each_entry_safe(tx, next, &ch->flight, node) {
		struct mdma_desc *desc = &ch->ring[ch->head % ch->guest->ring_size];

		status = le32_to_cpu(READ_ONCE(desc->status));
		if (status == MDMA_STATUS_NONE)
			break;

		/* The status was written last. */
		dma_rmb();
		ch->head++;
		taken++;
		if (status == MDMA_STATUS_DONE) {
			mdma_ring_finish(ch, tx, DMA_TRANS_NOERROR);
			continue;
		}

		dev_warn_ratelimited(&ch->guest->pdev->dev,
				     "channel %d: descriptor failed, status %u\n",
				     ch->chan.chan_id, status);
		mdma_ring_finish(ch, tx, DMA_TRANS_ABORTED);
		++*failed;
	}

	return taken;
}

static void mdma_ring_fail_all(struct mdma_chan *ch, struct list_head *list)
{
	struct mdma_tx *tx, *next;

	list_for_each_entry_safe(tx, next, list, node)
		mdma_ring_finish(ch, tx, DMA_TRANS_ABORTED);
}

/**
 * mdma_ring_lose - fail all transactions of a device that is lost
 * @ch: channel, locked
 *
 * No register is touched from now on. A device that did not hear that it is to stop may
 * still do DMA, so it is no bus master any more before anything is given back. Its other
 * channels wait then, until it is resumed or reset, or its driver is unbound.
 */
void mdma_ring_lose(struct mdma_chan *ch)
{
	pci_clear_master(ch->guest->pdev);
	if (!ch->gone)
		dev_err(&ch->guest->pdev->dev,
			"channel %d is lost, and the device is no bus master\n",
			ch->chan.chan_id);
	ch->gone = true;
	mdma_ring_fail_all(ch, &ch->flight);
	mdma_ring_fail_all(ch, &ch->submitted);
}

/*
 * Stops a ring, so that it is certain what the device has done, and takes that. Returns
 * false if the device does not answer: then the channel is lost.
 */
static bool mdma_ring_settle(struct mdma_chan *ch, unsigned int *failed)
{
	if (!mdma_ring_stop(ch)) {
		mdma_ring_lose(ch);
		return false;
	}
	mdma_ring_take(ch, failed);
	return true;
}

/* Starts a stopped ring with all transactions in flight. */
static void mdma_ring_restart(struct mdma_chan *ch)
{
	mdma_ring_start(ch);
	if (list_empty(&ch->flight))
		return;

	mdma_ring_put(ch, &ch->flight);
	mdma_ring_doorbell(ch);
}

/**
 * mdma_ring_reap - end the transactions that the device has done
 * @ch: channel, locked
 *
 * Return: true if there were any.
 */
bool mdma_ring_reap(struct mdma_chan *ch)
{
	unsigned int failed = 0;

	if (!mdma_ring_take(ch, &failed))
		return false;
	if (!failed)
		return true;

	/* The restart executes what the device had not done when the ring stopped. */
	if (mdma_ring_settle(ch, &failed))
		mdma_ring_restart(ch);
	return true;
}

/* Ends the DMA of a ring, fails what was not done yet, and starts the ring anew. */
static void mdma_ring_clear(struct mdma_chan *ch)
{
	unsigned int failed = 0;

	if (!mdma_ring_settle(ch, &failed))
		return;
	mdma_ring_fail_all(ch, &ch->flight);
	mdma_ring_start(ch);
}

/**
 * mdma_ring_recover - clear a ring that was halted
 * @ch: channel, locked, its ring reaped
 *
 * No descriptor shows that the ring was halted, or why. The same interrupt may
 * signal the halt and a descriptor that is done.
 */
void mdma_ring_recover(struct mdma_chan *ch)
{
	u32 status;

	if (ch->gone || ch->suspended || !ch->ring)
		return;

	status = readl(ch->regs + MDMA_CHAN_STATUS);
	if (status == MDMA_STATUS_NONE)
		return;
	if (PCI_POSSIBLE_ERROR(status)) {
		mdma_ring_lose(ch);
		return;
	}

	dev_err_ratelimited(&ch->guest->pdev->dev,
			    "channel %d: ring failed, status %u\n",
			    ch->chan.chan_id, status);
	mdma_ring_clear(ch);
}

/**
 * mdma_ring_abort - end all transactions, in flight or submitted
 * @ch: channel, locked
 *
 * All DMA has ended when this returns. If the ring is empty, the device is not
 * accessed.
 */
void mdma_ring_abort(struct mdma_chan *ch)
{
	mdma_ring_reap(ch);
	if (!list_empty(&ch->flight))
		mdma_ring_clear(ch);
	mdma_ring_fail_all(ch, &ch->submitted);
}

/**
 * mdma_ring_suspend - end all DMA of a channel for a while
 * @ch: channel, locked
 *
 * Transactions that the device has not done yet stay in flight, for
 * mdma_ring_resume(), and so do those that are issued meanwhile. A channel without a
 * ring may get one meanwhile.
 */
void mdma_ring_suspend(struct mdma_chan *ch)
{
	unsigned int failed = 0;

	if (!ch->gone && ch->ring) {
		mdma_ring_stop(ch);
		mdma_ring_take(ch, &failed);
	}
	ch->suspended = true;
}

/**
 * mdma_ring_resume - continue after mdma_ring_suspend()
 * @ch: channel, locked; the device may have been reset
 */
void mdma_ring_resume(struct mdma_chan *ch)
{
	ch->suspended = false;
	if (!ch->gone && ch->ring)
		mdma_ring_restart(ch);
}

static void mdma_ring_free_memory(struct mdma_chan *ch, struct mdma_desc *ring,
				  dma_addr_t iova, struct mdma_tx *txs)
{
	dma_free_coherent(&ch->guest->pdev->dev,
			  ch->guest->ring_size * sizeof(*ring), ring, iova);
	kfree(txs);
}

/**
 * mdma_ring_alloc - give a channel its ring and transactions, and start it
 * @ch: channel; the caller holds the device's lock
 *
 * Return: 0, -ENOMEM, or -ENXIO if the device is gone. Not -ENODEV: on that,
 * dmaengine takes the device off its list for good.
 */
int mdma_ring_alloc(struct mdma_chan *ch)
{
	struct mdma_desc *ring;
	struct mdma_tx *txs;
	dma_addr_t iova;
	unsigned int i;

	txs = kcalloc(ch->guest->ring_size, sizeof(*txs), GFP_KERNEL);
	if (!txs)
		return -ENOMEM;

	ring = dma_alloc_coherent(&ch->guest->pdev->dev,
				  ch->guest->ring_size * sizeof(*ring), &iova,
				  GFP_KERNEL);
	if (!ring) {
		kfree(txs);
		return -ENOMEM;
	}

	spin_lock_irq(&ch->lock);
	if (ch->gone) {
		spin_unlock_irq(&ch->lock);
		mdma_ring_free_memory(ch, ring, iova, txs);
		return -ENXIO;
	}
	ch->txs = txs;
	ch->ring = ring;
	ch->ring_iova = iova;
	for (i = 0; i < ch->guest->ring_size; i++) {
		dma_async_tx_descriptor_init(&txs[i].tx, &ch->chan);
		txs[i].tx.flags = DMA_CTRL_ACK;
		list_add_tail(&txs[i].node, &ch->free);
	}
	mdma_ring_start(ch);
	spin_unlock_irq(&ch->lock);

	return 0;
}

/**
 * mdma_ring_free - take a channel's ring and transactions away
 * @ch: channel; the caller holds the device's lock
 *
 * Does nothing if there is no ring. Waits for callbacks that run; those that are
 * still due are not called. A transaction that the client has not let end is unmapped
 * here.
 */
void mdma_ring_free(struct mdma_chan *ch)
{
	struct mdma_desc *ring;
	struct mdma_tx *txs;
	unsigned int i;

	mutex_lock(&ch->callbacks);
	spin_lock_irq(&ch->lock);
	ring = ch->ring;
	txs = ch->txs;
	if (ring && !ch->gone && !mdma_ring_stop(ch))
		mdma_ring_lose(ch);
	ch->ring = NULL;
	ch->txs = NULL;
	INIT_LIST_HEAD(&ch->free);
	INIT_LIST_HEAD(&ch->submitted);
	INIT_LIST_HEAD(&ch->flight);
	INIT_LIST_HEAD(&ch->done);
	spin_unlock_irq(&ch->lock);
	mutex_unlock(&ch->callbacks);

	if (!ring)
		return;
	for (i = 0; i < ch->guest->ring_size; i++)
		dma_descriptor_unmap(&txs[i].tx);
	mdma_ring_free_memory(ch, ring, ch->ring_iova, txs);
}
