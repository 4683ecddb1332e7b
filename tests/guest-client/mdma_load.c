// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_load: dmaengine clients that work at the same time, beside mdma_client, which has
 * a fixed order for everything.
 *
 * A client is a thread. It copies and fills a few bytes or many, at any alignment, waits
 * by a callback or polls, and checks each byte that it may have changed and the bytes
 * around them. Several clients share a channel, or one has several channels. Write
 * the name of a test to "run" in debugfs: the write fails with EIO if the test fails,
 * and the kernel log says why.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/kthread.h>
#include <linux/mdma.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

static unsigned int transfers = 200;
module_param(transfers, uint, 0644);
MODULE_PARM_DESC(transfers, "of each client in a test; may change while one runs (default: 200)");

#define CHANNELS	MDMA_MAX_CHANNELS
/* Of each channel, when they share it. */
#define CLIENTS		4
#define AREA		SZ_16K
#define GUARD		64
/* A limit for a guest that hangs, not a measure. */
#define PATIENCE	(60 * HZ)

/**
 * struct load - a test
 * @pdev: the device
 * @chans: all its channels, which the test holds
 * @nr_chans: their number
 * @ends: transfers may fail from now on, since the driver is being unbound
 */
struct load {
	struct pci_dev *pdev;
	struct dma_chan *chans[CHANNELS];
	unsigned int nr_chans;
	bool ends;
};

/**
 * struct client - a thread
 * @load: test
 * @task: thread
 * @chan: that it uses
 * @random: its own numbers
 * @mem: source and destination, each an AREA, coherent
 * @iova: of @mem
 * @done: its last transfer has ended
 * @result: of that
 * @made: good transfers
 * @ret: what is wrong
 */
struct client {
	struct load *load;
	struct task_struct *task;
	struct dma_chan *chan;
	struct rnd_state random;
	u8 *mem;
	dma_addr_t iova;
	struct completion done;
	enum dmaengine_tx_result result;
	unsigned int made;
	int ret;
};

/**
 * struct transfer - bytes to copy or to fill
 * @copy: or fill
 * @src: offset in the source
 * @dst: offset in the destination
 * @len: bytes
 * @value: to fill with
 */
struct transfer {
	bool copy;
	u32 src;
	u32 dst;
	u32 len;
	u8 value;
};

/* --- one transfer ------------------------------------------------------------ */

static u8 *area_of(struct client *c, bool dst)
{
	return c->mem + (dst ? AREA : 0);
}

static u32 below(struct client *c, u32 limit)
{
	return prandom_u32_state(&c->random) % limit;
}

static void choose(struct client *c, struct transfer *t)
{
	t->copy = below(c, 3);
	t->len = 1 + below(c, below(c, 4) ? 300 : AREA - 2 * GUARD);
	t->src = GUARD + below(c, AREA - 2 * GUARD - t->len + 1);
	t->dst = GUARD + below(c, AREA - 2 * GUARD - t->len + 1);
	t->value = 1 + below(c, 255);
	if (t->copy)
		prandom_bytes_state(&c->random, area_of(c, false) + t->src,
				    t->len);
	memset(area_of(c, true) + t->dst - GUARD, 0, t->len + 2 * GUARD);
}

static void client_done(void *param, const struct dmaengine_result *result)
{
	struct client *c = param;

	c->result = result->result;
	complete(&c->done);
}

static struct dma_async_tx_descriptor *prepare(struct client *c,
					       const struct transfer *t)
{
	unsigned long flags = DMA_PREP_INTERRUPT | DMA_CTRL_ACK;
	dma_addr_t dst = c->iova + AREA + t->dst;

	if (t->copy)
		return dmaengine_prep_dma_memcpy(c->chan, dst, c->iova + t->src,
						 t->len, flags);
	return dmaengine_prep_dma_memset(c->chan, dst, t->value, t->len, flags);
}

/*
 * Others may have the whole ring, so ask again. Returns the cookie, or an error: -ENODEV
 * if the driver is gone.
 */
static dma_cookie_t client_submit(struct client *c, const struct transfer *t,
				  bool callback)
{
	unsigned long end = jiffies + PATIENCE;
	struct dma_async_tx_descriptor *tx;

	while (!(tx = prepare(c, t))) {
		if (READ_ONCE(c->load->ends))
			return -ENODEV;
		if (time_after(jiffies, end))
			return -EBUSY;
		dma_async_issue_pending(c->chan);
		usleep_range(100, 200);
	}
	if (callback) {
		reinit_completion(&c->done);
		tx->callback_result = client_done;
		tx->callback_param = c;
	}
	return dmaengine_submit(tx);
}

static enum dma_status client_poll(struct client *c, dma_cookie_t cookie)
{
	unsigned long end = jiffies + PATIENCE;
	enum dma_status status;

	while ((status = dmaengine_tx_status(c->chan, cookie, NULL)) ==
	       DMA_IN_PROGRESS && time_before(jiffies, end))
		usleep_range(20, 200);
	return status;
}

/* Waits for the end. Returns 0, -EIO if the transfer failed, or -ETIMEDOUT. */
static int client_wait(struct client *c, dma_cookie_t cookie, bool callback)
{
	enum dma_status status;

	if (callback) {
		if (!wait_for_completion_timeout(&c->done, PATIENCE))
			return -ETIMEDOUT;
		return c->result == DMA_TRANS_NOERROR ? 0 : -EIO;
	}
	status = client_poll(c, cookie);
	if (status == DMA_IN_PROGRESS)
		return -ETIMEDOUT;
	return status == DMA_COMPLETE ? 0 : -EIO;
}

static bool is_good(struct client *c, const struct transfer *t)
{
	u8 *dst = area_of(c, true) + t->dst;

	if (memchr_inv(dst - GUARD, 0, GUARD) ||
	    memchr_inv(dst + t->len, 0, GUARD))
		return false;
	if (t->copy)
		return !memcmp(dst, area_of(c, false) + t->src, t->len);
	return !memchr_inv(dst, t->value, t->len);
}

/* One transfer: 0, or an error; -ENODEV if the driver has gone meanwhile. */
static int client_transfer(struct client *c)
{
	bool callback = below(c, 2);
	struct transfer t;
	dma_cookie_t cookie;
	int ret;

	choose(c, &t);
	cookie = client_submit(c, &t, callback);
	if (cookie < 0)
		return READ_ONCE(c->load->ends) ? -ENODEV : cookie;
	dma_async_issue_pending(c->chan);
	ret = client_wait(c, cookie, callback);
	if (ret == -EIO && READ_ONCE(c->load->ends))
		return -ENODEV;
	if (!ret && !is_good(c, &t))
		ret = -EILSEQ;
	if (ret)
		pr_err("%s of %u bytes from %u to %u, %s: %d\n",
		       t.copy ? "copy" : "fill", t.len, t.src, t.dst,
		       callback ? "callback" : "polled", ret);
	return ret;
}

/* --- clients ------------------------------------------------------------------ */

static int client_thread(void *data)
{
	struct client *c = data;
	int ret = 0;

	while (!ret && !kthread_should_stop() &&
	       c->made < READ_ONCE(transfers)) {
		ret = client_transfer(c);
		if (!ret)
			WRITE_ONCE(c->made, c->made + 1);
	}
	c->ret = ret == -ENODEV ? 0 : ret;
	/* Whoever stops it must find it. */
	while (!kthread_should_stop()) {
		set_current_state(TASK_IDLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static int client_init(struct client *c, struct load *load,
		       struct dma_chan *chan)
{
	c->load = load;
	c->chan = chan;
	init_completion(&c->done);
	prandom_seed_state(&c->random, get_random_u64());
	c->mem = dma_alloc_coherent(&load->pdev->dev, 2 * AREA, &c->iova,
				    GFP_KERNEL);
	return c->mem ? 0 : -ENOMEM;
}

static void client_destroy(struct client *c)
{
	if (c->mem)
		dma_free_coherent(&c->load->pdev->dev, 2 * AREA, c->mem,
				  c->iova);
}

static bool client_ended(struct client *c)
{
	return READ_ONCE(c->made) >= READ_ONCE(transfers) || READ_ONCE(c->ret);
}

/* Ends the threads after the transfers that they make now. Returns the first error. */
static int clients_stop(struct client *clients, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr; i++)
		if (clients[i].task)
			kthread_stop(clients[i].task);
	for (i = 0; i < nr; i++) {
		ret = ret ?: clients[i].ret;
		/* Of one that did not wait long enough. */
		if (clients[i].chan)
			dmaengine_terminate_sync(clients[i].chan);
		client_destroy(&clients[i]);
	}
	kfree(clients);
	return ret;
}

/* CLIENTS for each channel. Returns an array, or an ERR_PTR(). */
static struct client *clients_start(struct load *load, unsigned int *nr)
{
	struct client *clients;
	unsigned int i;
	int ret = 0;

	*nr = load->nr_chans * CLIENTS;
	clients = kcalloc(*nr, sizeof(*clients), GFP_KERNEL);
	if (!clients)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < *nr && !ret; i++)
		ret = client_init(&clients[i], load, load->chans[i / CLIENTS]);
	if (ret) {
		clients_stop(clients, *nr);
		return ERR_PTR(ret);
	}
	for (i = 0; i < *nr; i++) {
		clients[i].task = kthread_run(client_thread, &clients[i],
					      "mdma-load/%u", i);
		if (IS_ERR(clients[i].task)) {
			clients[i].task = NULL;
			clients[i].ret = -ENOMEM;
		}
	}
	return clients;
}

/* Waits until all have made @share percent of their transfers, or have failed. */
static void clients_wait(struct client *clients, unsigned int nr,
			 unsigned int share)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		while (!client_ended(&clients[i]) &&
		       READ_ONCE(clients[i].made) * 100ULL <
		       READ_ONCE(transfers) * (u64)share)
			usleep_range(1000, 2000);
}

/* --- the tests ---------------------------------------------------------------- */

static bool load_wants(struct dma_chan *chan, void *param)
{
	struct load *load = param;

	return chan->device->dev == &load->pdev->dev;
}

static void load_release(struct load *load)
{
	while (load->nr_chans) {
		struct dma_chan *chan = load->chans[--load->nr_chans];

		dmaengine_terminate_sync(chan);
		dma_release_channel(chan);
	}
}

static int load_request(struct load *load)
{
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMSET, mask);
	while (load->nr_chans < CHANNELS) {
		struct dma_chan *chan = dma_request_channel(mask, load_wants,
							    load);

		if (!chan)
			break;
		load->chans[load->nr_chans++] = chan;
	}
	return load->nr_chans ? 0 : -ENODEV;
}

/* Several clients on each channel, all at the same time. */
static int shared_channels(struct load *load)
{
	struct client *clients;
	unsigned int nr;

	clients = clients_start(load, &nr);
	if (IS_ERR(clients))
		return PTR_ERR(clients);
	clients_wait(clients, nr, 100);
	return clients_stop(clients, nr);
}

/* A round of the client of all channels: one transfer in each, then wait for each. */
static int on_each(struct load *load, struct client *clients)
{
	struct transfer t[CHANNELS];
	dma_cookie_t cookies[CHANNELS];
	unsigned int i;
	int ret;

	for (i = 0; i < load->nr_chans; i++) {
		choose(&clients[i], &t[i]);
		cookies[i] = client_submit(&clients[i], &t[i], i % 2);
		if (cookies[i] < 0)
			return cookies[i];
	}
	for (i = load->nr_chans; i; i--)
		dma_async_issue_pending(load->chans[i - 1]);
	for (i = 0; i < load->nr_chans; i++) {
		ret = client_wait(&clients[i], cookies[i], i % 2);
		if (!ret && !is_good(&clients[i], &t[i]))
			ret = -EILSEQ;
		if (ret) {
			pr_err("channel %u: %d\n", i, ret);
			return ret;
		}
	}
	return 0;
}

/* One client has all channels. */
static int several_channels(struct load *load)
{
	struct client *clients;
	unsigned int i;
	int ret = 0;

	clients = kcalloc(load->nr_chans, sizeof(*clients), GFP_KERNEL);
	if (!clients)
		return -ENOMEM;
	for (i = 0; i < load->nr_chans && !ret; i++)
		ret = client_init(&clients[i], load, load->chans[i]);
	for (i = 0; i < transfers && !ret; i++)
		ret = on_each(load, clients);
	return clients_stop(clients, load->nr_chans) ?: ret;
}

/* One transfer whose destination begins within its source fails, and no other does. */
static int overlap_once(struct client *c)
{
	struct transfer good, bad = { .copy = true, .src = GUARD };
	dma_cookie_t cookies[3];
	int ret;

	choose(c, &good);
	bad.len = AREA - GUARD + 1;
	cookies[0] = client_submit(c, &good, false);
	cookies[1] = client_submit(c, &bad, false);
	cookies[2] = client_submit(c, &good, false);
	if (cookies[0] < 0 || cookies[1] < 0 || cookies[2] < 0)
		return -EBUSY;
	dma_async_issue_pending(c->chan);
	ret = client_wait(c, cookies[2], false);
	if (!ret && client_wait(c, cookies[1], false) != -EIO) {
		pr_err("a copy onto itself does not fail\n");
		return -EIO;
	}
	return ret ?: client_wait(c, cookies[0], false);
}

static int overlapping_buffers(struct load *load)
{
	struct client c = { };
	unsigned int i;
	int ret;

	ret = client_init(&c, load, load->chans[0]);
	for (i = 0; i < 20 && !ret; i++)
		ret = overlap_once(&c);
	dmaengine_terminate_sync(c.chan);
	client_destroy(&c);
	return ret;
}

static void count(void *param)
{
	atomic_inc(param);
}

/* Some transfers with a callback each, to the same place. Returns 0 or an error. */
static int start_some(struct client *c, const struct transfer *t,
		      atomic_t *called)
{
	struct dma_async_tx_descriptor *tx;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		tx = prepare(c, t);
		if (!tx)
			break;
		tx->callback = count;
		tx->callback_param = called;
		if (dmaengine_submit(tx) < 0)
			return -EIO;
	}
	dma_async_issue_pending(c->chan);
	return i ? 0 : -ENOMEM;
}

/* They are terminated at any moment. Afterwards nothing comes of them any more. */
static int terminate_once(struct client *c, unsigned int us)
{
	const struct transfer stale = { .dst = 0, .len = 4096, .value = 0x5a };
	const struct transfer next = { .dst = 8192, .len = 100, .value = 1 };
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t cookie;
	unsigned int n;

	if (start_some(c, &stale, &called))
		return -EIO;
	udelay(us);
	dmaengine_terminate_sync(c->chan);
	n = atomic_read(&called);
	memset(area_of(c, true), 0xa5, stale.len);
	/* What is left in the ring would be executed before this one. */
	cookie = client_submit(c, &next, false);
	dma_async_issue_pending(c->chan);
	if (cookie < 0 || client_wait(c, cookie, false)) {
		pr_err("no transfer after terminate\n");
		return -EIO;
	}
	if (memchr_inv(area_of(c, true), 0xa5, stale.len) ||
	    atomic_read(&called) != n) {
		pr_err("a transfer goes on after terminate, %u had ended\n", n);
		return -EIO;
	}
	return 0;
}

static int terminate_at_any_time(struct load *load)
{
	struct client c = { };
	unsigned int i;
	int ret;

	ret = client_init(&c, load, load->chans[0]);
	for (i = 0; i < transfers && !ret; i++)
		ret = terminate_once(&c, i * 37 % 1000);
	client_destroy(&c);
	return ret;
}

/*
 * The driver is unbound while all clients work: each of their transfers ends, good or
 * failed. Then it is bound, and all works again.
 */
static int unbound_under_load(struct load *load)
{
	struct client *clients;
	unsigned int nr, i;
	int ret;

	for (i = 0; i < 4; i++) {
		clients = clients_start(load, &nr);
		if (IS_ERR(clients))
			return PTR_ERR(clients);
		clients_wait(clients, nr, i * 5);
		WRITE_ONCE(load->ends, true);
		device_release_driver(&load->pdev->dev);
		ret = clients_stop(clients, nr);
		load_release(load);
		load->ends = false;
		if (device_attach(&load->pdev->dev) != 1)
			ret = ret ?: -ENODEV;
		ret = ret ?: load_request(load);
		if (ret)
			return ret;
	}
	return shared_channels(load);
}

static const struct {
	const char *name;
	int (*run)(struct load *load);
} tests[] = {
	{ "shared_channels", shared_channels },
	{ "several_channels", several_channels },
	{ "overlapping_buffers", overlapping_buffers },
	{ "terminate_at_any_time", terminate_at_any_time },
	{ "unbound_under_load", unbound_under_load },
};

/* --- debugfs ------------------------------------------------------------------ */

static struct dentry *load_debugfs;

static int load_run(int (*run)(struct load *load))
{
	struct load load = { };
	int ret;

	load.pdev = pci_get_device(MDMA_PCI_VENDOR_ID, MDMA_PCI_DEVICE_ID, NULL);
	if (!load.pdev)
		return -ENODEV;
	ret = load_request(&load);
	if (!ret)
		ret = run(&load);
	load_release(&load);
	pci_dev_put(load.pdev);
	return ret;
}

static ssize_t load_write(struct file *file, const char __user *user,
			  size_t count, loff_t *pos)
{
	char name[32];
	unsigned int i;
	ssize_t n;
	int ret;

	n = simple_write_to_buffer(name, sizeof(name) - 1, pos, user, count);
	if (n < 0)
		return n;
	name[n] = '\0';
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(strim(name), tests[i].name))
			break;
	if (i == ARRAY_SIZE(tests))
		return -EINVAL;
	ret = load_run(tests[i].run);
	if (ret)
		pr_err("%s: %d\n", tests[i].name, ret);
	return ret ?: count;
}

static const struct file_operations load_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = load_write,
};

static int __init load_init(void)
{
	load_debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0200, load_debugfs, NULL, &load_fops);
	return 0;
}

static void __exit load_exit(void)
{
	debugfs_remove(load_debugfs);
}

module_init(load_init);
module_exit(load_exit);

MODULE_DESCRIPTION("dmaengine clients that load mdma_guest");
MODULE_LICENSE("GPL");
