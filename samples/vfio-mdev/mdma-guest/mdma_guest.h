/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mdma_guest: the dmaengine driver of the mdma device, its private header.
 *
 * A channel owns @ring_size transactions and a ring of as many hardware
 * descriptors, so a submitted transaction always finds a slot in the ring. A
 * transaction moves through these lists:
 *
 *	free -> (prepared, on no list) -> submitted -> flight -> done -> free
 *
 * "flight" is in ring order: its first entry is at ring[head % size], and the
 * next free slot is ring[tail % size]. The driver learns what the device has
 * done from the status in the ring, because the ring is memory and a register
 * access causes an exit from the guest. A halted ring shows in a register only,
 * which each interrupt reads.
 *
 * Locks, outermost first:
 *
 *	mdma_guest.lock		mutex; held while a channel gets or loses its ring
 *	mdma_chan.callbacks	mutex; held while clients' callbacks run, and while
 *				a channel loses its transactions
 *	mdma_chan.lock		spinlock, any context, also handlers of interrupts;
 *				lists, counters, ring
 *
 * Callbacks of clients are called from the interrupt's thread, or by the removal
 * of the driver. They may call any function that takes mdma_chan.lock alone.
 */
#ifndef MDMA_GUEST_H
#define MDMA_GUEST_H

#include <linux/bitmap.h>
#include <linux/dmaengine.h>
#include <linux/mdma.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct dentry;
struct page;
struct pci_dev;

/* A channel remembers for this many of the last cookies whether they failed. */
#define MDMA_COOKIES_KNOWN		1024

/**
 * struct mdma_tx - a transaction
 * @tx: what the client holds
 * @node: in one of the channel's lists
 * @hw: descriptor to be copied into the ring
 * @result: passed to the client's callback
 */
struct mdma_tx {
	struct dma_async_tx_descriptor tx;
	struct list_head node;
	struct mdma_desc hw;
	struct dmaengine_result result;
};

/**
 * struct mdma_chan - a channel
 * @chan: what the client holds
 * @guest: the device
 * @regs: registers of this channel
 * @irq: Linux interrupt number, 0 if there is none
 * @irq_name: in /proc/interrupts
 * @callbacks: held while callbacks run, so that synchronize can wait for them
 * @lock: protects @ring and all that follows it
 * @ring: coherent, %NULL while no client holds the channel
 * @ring_iova: of @ring
 * @txs: the transactions that the lists are made of
 * @head: number of descriptors reaped since the ring was started
 * @tail: number of descriptors put into the ring since it was started
 * @free: transactions that are unused, or not yet acknowledged by the client
 * @submitted: transactions that have a cookie and wait for issue_pending
 * @flight: transactions in the ring
 * @done: transactions whose callback is still to be called
 * @failed: which of the last %MDMA_COOKIES_KNOWN cookies failed or were
 *	terminated, by cookie modulo that number
 * @suspended: the ring is stopped, whatever clients do, until it is resumed; no
 *	register may be touched, because the function may not answer
 * @gone: the device is gone; no register may be touched
 */
struct mdma_chan {
	struct dma_chan chan;
	struct mdma_guest *guest;
	void __iomem *regs;
	int irq;
	char irq_name[32];
	struct mutex callbacks;	/* held while a client's callback runs */

	spinlock_t lock;	/* protects all that follows */
	struct mdma_desc *ring;
	dma_addr_t ring_iova;
	struct mdma_tx *txs;
	u32 head;
	u32 tail;
	struct list_head free;
	struct list_head submitted;
	struct list_head flight;
	struct list_head done;
	DECLARE_BITMAP(failed, MDMA_COOKIES_KNOWN);
	bool suspended;
	bool gone;
};

/**
 * struct mdma_block - a piece of the window, %MDMA_BLOCK_SIZE bytes
 * @page: its first page
 * @iova: its device address
 */
struct mdma_block {
	struct page *page;
	dma_addr_t iova;
};

/**
 * struct mdma_window - memory that the device may write at any time
 * @blocks: in ascending order of IOVA once the device has them
 * @nr_blocks: how many of @blocks are allocated and mapped
 * @table: coherent, read by the device
 * @table_iova: of @table
 * @nr_ranges: used entries of @table
 */
struct mdma_window {
	struct mdma_block blocks[MDMA_MAX_RANGES];
	unsigned int nr_blocks;
	struct mdma_range *table;
	dma_addr_t table_iova;
	unsigned int nr_ranges;
};

/**
 * struct mdma_guest - a device
 * @dma: what dmaengine holds; its last reference frees this structure
 * @pdev: the PCI function
 * @regs: BAR 0
 * @lock: held while a channel gets or loses its ring
 * @ring_size: descriptors of each ring
 * @window: memory given to the device
 * @debugfs: directory of this device
 * @release: frees this structure, see mdma_guest_release()
 * @nr_chans: number of @chans
 * @chans: the channels
 */
struct mdma_guest {
	struct dma_device dma;
	struct pci_dev *pdev;
	void __iomem *regs;
	struct mutex lock;	/* a channel gets or loses its ring */
	unsigned int ring_size;
	struct mdma_window window;
	struct dentry *debugfs;
	struct work_struct release;
	unsigned int nr_chans;
	struct mdma_chan chans[];
};

/* chan.c */
void mdma_chan_init(struct mdma_guest *guest, unsigned int n);
int mdma_chan_request_irq(struct mdma_chan *ch, int irq, bool line);
void mdma_chan_suspend(struct mdma_chan *ch);
void mdma_chan_resume(struct mdma_chan *ch);
void mdma_chan_lose(struct mdma_chan *ch);
void mdma_chan_remove(struct mdma_chan *ch);
void mdma_chan_setup_dma(struct dma_device *dma);

/* ring.c */
int mdma_ring_alloc(struct mdma_chan *ch);
void mdma_ring_free(struct mdma_chan *ch);
void mdma_ring_issue(struct mdma_chan *ch);
bool mdma_ring_reap(struct mdma_chan *ch);
void mdma_ring_recover(struct mdma_chan *ch);
void mdma_ring_abort(struct mdma_chan *ch);
void mdma_ring_lose(struct mdma_chan *ch);
bool mdma_ring_failed(const struct mdma_chan *ch, dma_cookie_t cookie);
bool mdma_ring_stop(struct mdma_chan *ch);
void mdma_ring_suspend(struct mdma_chan *ch);
void mdma_ring_resume(struct mdma_chan *ch);

/* window.c */
int mdma_window_create(struct mdma_guest *guest, unsigned int mib);
void mdma_window_suspend(struct mdma_guest *guest);
int mdma_window_resume(struct mdma_guest *guest);
void mdma_window_destroy(struct mdma_guest *guest);

#endif /* MDMA_GUEST_H */
