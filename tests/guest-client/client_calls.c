// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_client: tests of the calls of dmaengine, and of what they wait for.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mdma.h>
#include <linux/pci.h>
#include <linux/preempt.h>

#include "client.h"
#include "mdma_guest.h"

/* No guest has memory at this address, so a transfer to it fails. */
#define BAD_IOVA	0x7ffffffff000ULL

/*
 * A client holds a channel of a device whose driver is unbound. Another client that
 * asks for a channel gets none. When the first releases its channel, the device is
 * freed.
 */
int unbound_while_held(struct client *c)
{
	struct dma_chan *other;

	client_unbind(c);
	expect(client_submit(c, c->iova, NULL, NULL) < 0,
	       "a channel without a driver takes a transfer\n");
	other = client_request(c);
	expect(!other, "a device without a driver gives a channel\n");
	dma_release_channel(c->chan);
	c->chan = NULL;
	expect(client_bind(c), "the driver does not come back\n");
	c->chan = client_request(c);
	expect(c->chan, "no channel after the driver came back\n");
	expect(client_fill(c, c->iova) == DMA_COMPLETE, "no transfer afterwards\n");
	return 0;
}

/* Each transfer has a status of its own, even between transfers that fail. */
int status_of_each(struct client *c)
{
	dma_cookie_t cookies[9];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cookies); i++) {
		cookies[i] = client_submit(c, i % 2 ? BAD_IOVA : c->iova, NULL,
					   NULL);
		expect(cookies[i] > 0, "submit says %d\n", cookies[i]);
	}
	dma_async_issue_pending(c->chan);
	client_wait(c, cookies[ARRAY_SIZE(cookies) - 1]);
	for (i = 0; i < ARRAY_SIZE(cookies); i++) {
		enum dma_status status = client_status(c, cookies[i]);

		expect(status == (i % 2 ? DMA_ERROR : DMA_COMPLETE),
		       "transfer %u has status %d\n", i, status);
	}
	return 0;
}

/* After an error, the ring starts anew; what it had before is not executed again. */
int restart_forgets(struct client *c)
{
	expect(client_fill(c, c->iova) == DMA_COMPLETE, "no transfer\n");
	expect(client_fill(c, BAD_IOVA) == DMA_ERROR, "no error\n");
	memset(c->buf, 0, PAGE_SIZE);
	expect(client_fill(c, BAD_IOVA) == DMA_ERROR, "no second error\n");
	expect(client_untouched(c), "an old transfer is executed again\n");
	return 0;
}

static bool client_raised(struct client *c)
{
	return readl(client_regs(c) + MDMA_CHAN_IRQ);
}

/*
 * One interrupt signals both that the ring has halted and that a transfer is done. The
 * guest has one CPU, so with its interrupts off, the two become one interrupt.
 */
int halt_beside_completion(struct client *c)
{
	dma_cookie_t first, second;
	enum dma_status status;
	unsigned long flags;

	local_irq_save(flags);
	first = client_start(c);
	client_spin(c, client_raised);
	/* A doorbell far out of range halts the ring. */
	writel(~0, client_regs(c) + MDMA_CHAN_TAIL);
	client_spin(c, client_halted);
	/* The host delivers an interrupt some time after it became pending. */
	mdelay(GRACE_MS);
	second = client_start(c);
	local_irq_restore(flags);

	status = client_wait(c, first);
	expect(status == DMA_COMPLETE, "the first transfer: %d\n", status);
	status = client_wait(c, second);
	expect(status != DMA_IN_PROGRESS, "a halted ring is not noticed\n");
	expect(client_fill(c, c->iova) == DMA_COMPLETE, "no transfer afterwards\n");
	return 0;
}

/**
 * struct slow - a callback that takes as long as the test wants
 * @c: client
 * @entered: the callback has begun
 * @go: the callback may end
 * @ended: the callback has ended
 * @returned: what waits for the callback has returned
 * @early: it returned before the callback had ended
 */
struct slow {
	struct client *c;
	struct completion entered;
	struct completion go;
	bool ended;
	struct completion returned;
	bool early;
};

static void slow_callback(void *param)
{
	struct slow *slow = param;

	complete(&slow->entered);
	wait_for_completion_timeout(&slow->go, PATIENCE_S * HZ);
	WRITE_ONCE(slow->ended, true);
}

static void slow_returned(struct slow *slow)
{
	slow->early = !READ_ONCE(slow->ended);
	complete(&slow->returned);
}

static int slow_unbind(void *param)
{
	struct slow *slow = param;

	client_unbind(slow->c);
	return 0;
}

static int slow_synchronize(void *param)
{
	struct slow *slow = param;

	dmaengine_terminate_async(slow->c->chan);
	dmaengine_synchronize(slow->c->chan);
	slow_returned(slow);
	return 0;
}

static int slow_release(void *param)
{
	struct slow *slow = param;

	dma_release_channel(slow->c->chan);
	slow_returned(slow);
	return 0;
}

/* Starts a thread. The caller stops it and puts the task. */
static struct task_struct *slow_thread(int (*run)(void *), struct slow *slow)
{
	struct task_struct *task = kthread_create(run, slow, "mdma-client");

	if (IS_ERR(task))
		return NULL;
	get_task_struct(task);
	wake_up_process(task);
	return task;
}

/* Runs the callback in the removal of the driver. The caller stops @tasks. */
static int slow_run(struct slow *slow, struct task_struct *tasks[2])
{
	expect(client_submit(slow->c, slow->c->iova, slow_callback, slow) > 0,
	       "no transfer\n");
	tasks[0] = slow_thread(slow_unbind, slow);
	expect(tasks[0], "no thread\n");
	expect(wait_for_completion_timeout(&slow->entered, PATIENCE_S * HZ),
	       "no callback for what the removal ends\n");
	tasks[1] = slow_thread(slow_synchronize, slow);
	expect(tasks[1], "no thread\n");
	expect(!wait_for_completion_timeout(&slow->returned,
					    msecs_to_jiffies(GRACE_MS)),
	       "synchronize returns while a callback runs\n");
	return 0;
}

/* Whether a thread waits for a lock, and nothing else can wake it. */
static bool sleeps(struct task_struct *task)
{
	return READ_ONCE(task->__state) & TASK_UNINTERRUPTIBLE;
}

/*
 * Begins a callback in the interrupt's thread when a release of the channel has
 * already waited for callbacks, but not yet got the lock under which the channel loses
 * its ring. The caller stops @tasks.
 */
static int slow_run_late(struct slow *slow, struct task_struct *tasks[2])
{
	struct client *c = slow->c;
	struct mdma_guest *guest = container_of(c->chan->device,
						struct mdma_guest, dma);
	int irq = pci_irq_vector(c->pdev, c->chan->chan_id);
	unsigned int i;
	bool entered;

	disable_irq(irq);
	client_submit(c, c->iova, slow_callback, slow);
	dma_async_issue_pending(c->chan);
	mutex_lock(&guest->lock);
	tasks[0] = slow_thread(slow_release, slow);
	for (i = 0; tasks[0] && i < PATIENCE_S * 50 && !sleeps(tasks[0]); i++)
		msleep(20);
	enable_irq(irq);
	entered = wait_for_completion_timeout(&slow->entered, PATIENCE_S * HZ);
	mutex_unlock(&guest->lock);
	expect(tasks[0], "no thread\n");
	expect(entered, "no callback\n");
	expect(!wait_for_completion_timeout(&slow->returned,
					    msecs_to_jiffies(GRACE_MS)),
	       "a channel is freed while a callback runs\n");
	return 0;
}

/* Has @run bring about a callback and something that waits for it. */
static int slow_wait(struct client *c,
		     int (*run)(struct slow *slow, struct task_struct *tasks[2]))
{
	struct task_struct *tasks[2] = { };
	struct slow slow = { .c = c };
	unsigned int i;
	int ret;

	init_completion(&slow.entered);
	init_completion(&slow.go);
	init_completion(&slow.returned);
	ret = run(&slow, tasks);
	complete_all(&slow.go);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		if (!tasks[i])
			continue;
		kthread_stop(tasks[i]);
		put_task_struct(tasks[i]);
	}
	if (ret)
		return ret;
	expect(!slow.early, "nothing waited for the callback\n");
	return 0;
}

/* When synchronize returns, no callback runs, not even in the driver's removal. */
int synchronize_in_removal(struct client *c)
{
	return slow_wait(c, slow_run);
}

/* A channel's transactions are not freed while a callback of them runs. */
int released_in_callback(struct client *c)
{
	int ret = slow_wait(c, slow_run_late);

	c->chan = client_request(c);
	return ret;
}

/* The ring is completely full, again and again; each callback is called once. */
int full_ring(struct client *c)
{
	unsigned int round, count, full = 0, n = 0;
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t cookie, last = 0;

	for (round = 0; round < 20; round++) {
		for (count = 0; (cookie = client_submit(c, c->iova,
							client_count,
							&called)) > 0; count++)
			last = cookie;
		if (!round)
			full = count;
		/* All are done, so there is as much room as before. */
		expect(count == full, "round %u: room for %u, not for %u\n",
		       round, count, full);
		n += count;
		dma_async_issue_pending(c->chan);
		expect(client_wait(c, last) == DMA_COMPLETE, "round %u fails\n",
		       round);
		dmaengine_synchronize(c->chan);
	}
	expect(n >= 20, "only %u transfers in 20 rounds\n", n);
	expect(client_wait(c, last) == DMA_COMPLETE, "the last one fails\n");
	dmaengine_synchronize(c->chan);
	expect(atomic_read(&called) == n, "%d callbacks of %u transfers\n",
	       atomic_read(&called), n);
	return 0;
}

/*
 * Submits a transfer that asks for no interrupt, so that only the test finds its end.
 * @unmap stands for the mapping of its buffer: the driver drops a reference.
 */
static dma_cookie_t mapped_submit(struct client *c,
				  struct dmaengine_unmap_data *unmap)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memset(c->chan, c->iova, BYTE, PAGE_SIZE,
				       DMA_CTRL_ACK);
	if (!tx)
		return -ENOMEM;
	dma_set_unmap(tx, unmap);
	return dmaengine_submit(tx);
}

static bool is_mapped(struct dmaengine_unmap_data *unmap)
{
	return kref_read(&unmap->kref) > 1;
}

/* Whether the buffer of a transfer is unmapped when it is complete. */
static int mapped_poll(struct client *c, struct dmaengine_unmap_data *unmap)
{
	dma_cookie_t cookie = mapped_submit(c, unmap);
	unsigned long end = jiffies + PATIENCE_S * HZ;
	enum dma_status status;
	bool mapped;

	dma_async_issue_pending(c->chan);
	for (;;) {
		/* Nothing runs between the two looks. */
		preempt_disable();
		status = client_status(c, cookie);
		mapped = is_mapped(unmap);
		preempt_enable();
		if (status != DMA_IN_PROGRESS || time_after(jiffies, end))
			break;
		usleep_range(500, 1000);
	}
	expect(status == DMA_COMPLETE, "status %d\n", status);
	expect(!mapped, "complete, but still mapped\n");
	return 0;
}

/* Transfers that end in other ways, or never began, leave nothing mapped either. */
static int mapped_ends(struct client *c, struct dmaengine_unmap_data *unmap)
{
	struct dma_async_tx_descriptor *tx;

	mapped_submit(c, unmap);
	dmaengine_terminate_sync(c->chan);
	expect(!is_mapped(unmap), "mapped after terminate\n");

	mapped_submit(c, unmap);
	dma_release_channel(c->chan);
	c->chan = client_request(c);
	expect(!is_mapped(unmap), "mapped after the channel was released\n");
	expect(c->chan, "no channel\n");

	tx = dmaengine_prep_dma_memset(c->chan, c->iova, BYTE, PAGE_SIZE, 0);
	expect(tx, "no transfer\n");
	dma_set_unmap(tx, unmap);
	client_unbind(c);
	expect(dmaengine_submit(tx) < 0, "a transfer without a driver\n");
	expect(!is_mapped(unmap), "mapped after submit has failed\n");
	return 0;
}

/* Who sees the end of a transfer finds its buffer unmapped, however it ended. */
int end_is_unmapped(struct client *c)
{
	struct dmaengine_unmap_data *unmap;
	int ret;

	unmap = dmaengine_get_unmap_data(&c->pdev->dev, 1, GFP_KERNEL);
	expect(unmap, "no memory\n");
	ret = mapped_poll(c, unmap);
	if (!ret)
		ret = mapped_ends(c, unmap);
	dmaengine_unmap_put(unmap);
	return ret;
}

static void terminate_callback(void *param)
{
	struct client *c = param;

	dmaengine_terminate_async(c->chan);
}

/* A callback may terminate its own channel. */
int terminate_in_callback(struct client *c)
{
	unsigned int i;

	for (i = 0; i < 50; i++) {
		expect(client_submit(c, c->iova, terminate_callback, c) > 0,
		       "round %u: no transfer\n", i);
		expect(client_submit(c, c->iova, NULL, NULL) > 0,
		       "round %u: no second transfer\n", i);
		dma_async_issue_pending(c->chan);
		usleep_range(500, 1000);
	}
	dmaengine_terminate_sync(c->chan);
	expect(client_fill(c, c->iova) == DMA_COMPLETE, "no transfer afterwards\n");
	return 0;
}

/*
 * A transfer that asks for no interrupt has a callback: it is called once the client has
 * looked, and found the end of the transfer.
 */
int callback_without_interrupt(struct client *c)
{
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t cookie = client_submit_quiet(c, &called);
	enum dma_status status;
	int n;

	dma_async_issue_pending(c->chan);
	status = client_wait(c, cookie);
	n = client_called(&called, status == DMA_COMPLETE);
	dmaengine_terminate_sync(c->chan);
	expect(status == DMA_COMPLETE && n == 1, "status %d, %d callbacks\n",
	       status, n);
	return 0;
}
