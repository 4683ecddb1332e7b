// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_client: tests of the calls of dmaengine, and of what they wait for.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mdma.h>
#include <linux/pci.h>

#include "client.h"

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
