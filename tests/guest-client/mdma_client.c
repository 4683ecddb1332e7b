// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_client: a dmaengine client that tests what the kernel's dmatest does not.
 *
 * dmatest holds every channel, so it never sees a device removed while one of the
 * device's channels is free. It asks for the status of its last transfer only, and
 * never reads registers. Each test below brings about one such situation in a fixed
 * order, not by chance. Write the name of a test to "run" in debugfs: the write fails
 * with EIO if the test fails, and the kernel log says why.
 */
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/kthread.h>
#include <linux/mdma.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

/* No guest has memory at this address, so a transfer to it fails. */
#define BAD_IOVA	0x7ffffffff000ULL
#define BYTE		0x5a
/* A limit for a guest that hangs, not a measure. */
#define PATIENCE_S	60
/* How long to wait for something that must not happen. */
#define GRACE_MS	300

#define expect(condition, ...) do {	\
	if (!(condition)) {		\
		pr_err(__VA_ARGS__);	\
		return -EIO;		\
	}				\
} while (0)

/**
 * struct client - the state of a test
 * @pdev: the device
 * @regs: a mapping of its registers beside the driver's own
 * @chan: the channel that the test holds, or %NULL
 * @buf: a page for transfers
 * @iova: of @buf
 */
struct client {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct dma_chan *chan;
	u8 *buf;
	dma_addr_t iova;
};

/* --- channels and transfers ---------------------------------------------- */

static bool client_wants(struct dma_chan *chan, void *param)
{
	struct client *c = param;

	return chan->device->dev == &c->pdev->dev;
}

static struct dma_chan *client_request(struct client *c)
{
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMSET, mask);
	return dma_request_channel(mask, client_wants, c);
}

static void __iomem *client_regs(struct client *c)
{
	return c->regs + MDMA_REG_CHANNEL(c->chan->chan_id);
}

/* Returns the cookie, or an error. The transfer still has to be issued. */
static dma_cookie_t client_submit(struct client *c, dma_addr_t dst,
				  dma_async_tx_callback callback, void *param)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memset(c->chan, dst, BYTE, PAGE_SIZE,
				       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return -ENOMEM;
	tx->callback = callback;
	tx->callback_param = param;
	return dmaengine_submit(tx);
}

static enum dma_status client_status(struct client *c, dma_cookie_t cookie)
{
	return dmaengine_tx_status(c->chan, cookie, NULL);
}

/* Waits for the end of a transfer. Returns its status. */
static enum dma_status client_wait(struct client *c, dma_cookie_t cookie)
{
	unsigned long end = jiffies + PATIENCE_S * HZ;
	enum dma_status status;

	while ((status = client_status(c, cookie)) == DMA_IN_PROGRESS &&
	       time_before(jiffies, end))
		usleep_range(500, 1000);
	return status;
}

static enum dma_status client_fill(struct client *c, dma_addr_t dst)
{
	dma_cookie_t cookie = client_submit(c, dst, NULL, NULL);

	if (cookie < 0)
		return DMA_ERROR;
	dma_async_issue_pending(c->chan);
	return client_wait(c, cookie);
}

static bool client_untouched(struct client *c)
{
	return !memchr_inv(c->buf, 0, PAGE_SIZE);
}

static void client_unbind(struct client *c)
{
	device_release_driver(&c->pdev->dev);
}

/* Returns false if the driver does not bind to the device. */
static bool client_bind(struct client *c)
{
	return device_attach(&c->pdev->dev) == 1;
}

/* --- the tests ------------------------------------------------------------- */

/*
 * A client holds a channel of a device whose driver is unbound. Another client that
 * asks for a channel gets none. When the first releases its channel, the device is
 * freed.
 */
static int unbound_while_held(struct client *c)
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
static int status_of_each(struct client *c)
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

/* With interrupts off: waits until @done returns true, up to a limit. */
static void client_spin(struct client *c, bool (*done)(struct client *c))
{
	unsigned int ms = PATIENCE_S * 100;

	for (; ms && !done(c); ms--)
		mdelay(1);
}

static bool client_raised(struct client *c)
{
	return readl(client_regs(c) + MDMA_CHAN_IRQ);
}

static bool client_halted(struct client *c)
{
	return readl(client_regs(c) + MDMA_CHAN_STATUS);
}

/*
 * One interrupt signals both that the ring has halted and that a transfer is done. The
 * guest has one CPU, so with its interrupts off, the two become one interrupt.
 */
static int halt_beside_completion(struct client *c)
{
	dma_cookie_t first, second;
	enum dma_status status;
	unsigned long flags;

	local_irq_save(flags);
	first = client_submit(c, c->iova, NULL, NULL);
	dma_async_issue_pending(c->chan);
	client_spin(c, client_raised);
	/* A doorbell far out of range halts the ring. */
	writel(~0, client_regs(c) + MDMA_CHAN_TAIL);
	client_spin(c, client_halted);
	/* The host delivers an interrupt some time after it became pending. */
	mdelay(GRACE_MS);
	second = client_submit(c, c->iova, NULL, NULL);
	dma_async_issue_pending(c->chan);
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
 * @synchronized: synchronize has returned
 * @early: synchronize returned before the callback had ended
 */
struct slow {
	struct client *c;
	struct completion entered;
	struct completion go;
	bool ended;
	struct completion synchronized;
	bool early;
};

static void slow_callback(void *param)
{
	struct slow *slow = param;

	complete(&slow->entered);
	wait_for_completion_timeout(&slow->go, PATIENCE_S * HZ);
	WRITE_ONCE(slow->ended, true);
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
	slow->early = !READ_ONCE(slow->ended);
	complete(&slow->synchronized);
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
	expect(!wait_for_completion_timeout(&slow->synchronized,
					    msecs_to_jiffies(GRACE_MS)),
	       "synchronize returns while a callback runs\n");
	return 0;
}

/* When synchronize returns, no callback runs, not even in the driver's removal. */
static int synchronize_in_removal(struct client *c)
{
	struct task_struct *tasks[2] = { };
	struct slow slow = { .c = c };
	unsigned int i;
	int ret;

	init_completion(&slow.entered);
	init_completion(&slow.go);
	init_completion(&slow.synchronized);
	ret = slow_run(&slow, tasks);
	complete_all(&slow.go);
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		if (!tasks[i])
			continue;
		kthread_stop(tasks[i]);
		put_task_struct(tasks[i]);
	}
	if (ret)
		return ret;
	expect(!slow.early, "synchronize did not wait for the callback\n");
	return 0;
}

static void count_callback(void *param)
{
	atomic_inc(param);
}

/* The ring is completely full, again and again; each callback is called once. */
static int full_ring(struct client *c)
{
	unsigned int round, count, full = 0, n = 0;
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t cookie, last = 0;

	for (round = 0; round < 20; round++) {
		for (count = 0; (cookie = client_submit(c, c->iova,
							count_callback,
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
static int terminate_in_callback(struct client *c)
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

/* Leaves a descriptor in the device, like a kernel that kexec replaces. */
static int stale_ring(struct client *c, struct mdma_desc *ring, dma_addr_t iova)
{
	void __iomem *regs = c->regs + MDMA_REG_CHANNEL(0);

	ring[0] = (struct mdma_desc){
		.op = cpu_to_le32(MDMA_OP_FILL),
		.dst = cpu_to_le64(c->iova),
		.len = cpu_to_le64(PAGE_SIZE),
		.data = cpu_to_le64(~0ULL),
	};
	expect(!pci_enable_device_mem(c->pdev), "the device can't be enabled\n");
	pci_clear_master(c->pdev);
	writeq(iova, regs + MDMA_CHAN_RING);
	writel(MDMA_RING_SIZE_MIN, regs + MDMA_CHAN_RING_SIZE);
	writel(MDMA_CTRL_ENABLE, regs + MDMA_CHAN_CTRL);
	writel(1, regs + MDMA_CHAN_TAIL);
	msleep(GRACE_MS);
	expect(readl(regs + MDMA_CHAN_TAIL) == 1, "the doorbell was lost\n");
	expect(client_untouched(c), "DMA without bus master\n");
	pci_disable_device(c->pdev);
	return 0;
}

/* The driver's probe does not execute what a former kernel left in the device. */
static int reset_before_bus_master(struct client *c)
{
	struct mdma_desc *ring;
	dma_addr_t iova;
	int ret;

	dma_release_channel(c->chan);
	c->chan = NULL;
	client_unbind(c);
	ring = dma_alloc_coherent(&c->pdev->dev, PAGE_SIZE, &iova, GFP_KERNEL);
	expect(ring, "no memory\n");
	ret = stale_ring(c, ring, iova);
	if (!ret && !client_bind(c))
		ret = -EIO;
	msleep(GRACE_MS);
	dma_free_coherent(&c->pdev->dev, PAGE_SIZE, ring, iova);
	if (ret)
		return ret;
	expect(client_untouched(c), "a stale descriptor was executed by probe\n");
	return 0;
}

/* After a shutdown, e.g. before a kexec, the device is quiet and clients survive. */
static int shutdown_is_quiet(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	dma_cookie_t cookie;
	u16 command;

	dev->bus->shutdown(dev);
	pci_read_config_word(c->pdev, PCI_COMMAND, &command);
	expect(!(readl(client_regs(c) + MDMA_CHAN_CTRL) & MDMA_CTRL_ENABLE),
	       "the ring is enabled after the shutdown\n");
	expect(!readl(c->regs + MDMA_REG_WINDOW_RANGES),
	       "the device has a window after the shutdown\n");
	expect(!(command & PCI_COMMAND_MASTER), "bus master after the shutdown\n");
	cookie = client_submit(c, c->iova, NULL, NULL);
	dma_async_issue_pending(c->chan);
	msleep(GRACE_MS);
	expect(client_untouched(c), "a transfer after the shutdown\n");
	client_unbind(c);
	expect(cookie < 0 || client_status(c, cookie) == DMA_ERROR,
	       "a transfer outlives its driver\n");
	return 0;
}

/* Turns memory decoding off: registers read as ones, like those of a removed device. */
static void client_pull_out(struct client *c)
{
	u16 command;

	pci_read_config_word(c->pdev, PCI_COMMAND, &command);
	pci_write_config_word(c->pdev, PCI_COMMAND,
			      command & ~PCI_COMMAND_MEMORY);
}

/* What a suspended device was given is done when it works again. */
static int resume_continues(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t cookie;
	int status;

	expect(!pm->suspend(dev), "suspend fails\n");
	cookie = client_submit(c, c->iova, NULL, NULL);
	dma_async_issue_pending(c->chan);
	status = client_status(c, cookie);
	expect(!pm->resume(dev), "resume fails\n");
	expect(status == DMA_IN_PROGRESS, "status %d of a suspended device\n",
	       status);
	status = client_wait(c, cookie);
	expect(status == DMA_COMPLETE, "status %d after resume\n", status);
	return 0;
}

/* If the device does not come back from suspend, all pending transfers fail. */
static int resume_fails(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t cookie;
	enum dma_status status;
	int ret;

	expect(!pm->suspend(dev), "suspend fails\n");
	cookie = client_submit(c, c->iova, NULL, NULL);
	dma_async_issue_pending(c->chan);
	client_pull_out(c);
	ret = pm->resume(dev);
	expect(ret, "a device that is not there resumes\n");
	status = client_status(c, cookie);
	expect(status == DMA_ERROR, "a client waits for a dead device: %d\n",
	       status);
	expect(client_submit(c, c->iova, NULL, NULL) < 0,
	       "a dead device takes a transfer\n");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct client *c);
} tests[] = {
	{ "unbound_while_held", unbound_while_held },
	{ "status_of_each", status_of_each },
	{ "halt_beside_completion", halt_beside_completion },
	{ "synchronize_in_removal", synchronize_in_removal },
	{ "full_ring", full_ring },
	{ "terminate_in_callback", terminate_in_callback },
	{ "reset_before_bus_master", reset_before_bus_master },
	{ "shutdown_is_quiet", shutdown_is_quiet },
	{ "resume_continues", resume_continues },
	{ "resume_fails", resume_fails },
};

/* --- debugfs ---------------------------------------------------------------- */

static struct dentry *client_debugfs;

static int client_open(struct client *c)
{
	c->pdev = pci_get_device(MDMA_PCI_VENDOR_ID, MDMA_PCI_DEVICE_ID, NULL);
	if (!c->pdev)
		return -ENODEV;
	c->regs = pci_ioremap_bar(c->pdev, 0);
	c->buf = dma_alloc_coherent(&c->pdev->dev, PAGE_SIZE, &c->iova,
				    GFP_KERNEL | __GFP_ZERO);
	c->chan = client_request(c);
	return c->regs && c->buf && c->chan ? 0 : -EBUSY;
}

/* The driver is bound afterwards, whatever the test did. */
static int client_close(struct client *c)
{
	int ret = 0;

	if (c->chan) {
		dmaengine_terminate_sync(c->chan);
		dma_release_channel(c->chan);
	}
	if (c->pdev && !c->pdev->dev.driver && !client_bind(c))
		ret = -ENODEV;
	if (c->buf)
		dma_free_coherent(&c->pdev->dev, PAGE_SIZE, c->buf, c->iova);
	if (c->regs)
		iounmap(c->regs);
	pci_dev_put(c->pdev);
	return ret;
}

static int client_run(const char *name)
{
	struct client c = { };
	unsigned int i;
	int ret, end;

	for (i = 0; i < ARRAY_SIZE(tests); i++)
		if (!strcmp(name, tests[i].name))
			break;
	if (i == ARRAY_SIZE(tests))
		return -EINVAL;
	ret = client_open(&c);
	if (!ret)
		ret = tests[i].run(&c);
	/* Binds a driver anew that has lost its device. */
	if (tests[i].run == resume_fails)
		client_unbind(&c);
	end = client_close(&c);
	return ret ?: end;
}

static ssize_t client_write(struct file *file, const char __user *user,
			    size_t count, loff_t *pos)
{
	char name[32];
	ssize_t n;
	int ret;

	n = simple_write_to_buffer(name, sizeof(name) - 1, pos, user, count);
	if (n < 0)
		return n;
	name[n] = '\0';
	ret = client_run(strim(name));
	return ret ?: count;
}

static const struct file_operations client_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = client_write,
};

static int __init client_init(void)
{
	client_debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("run", 0200, client_debugfs, NULL, &client_fops);
	return 0;
}

static void __exit client_exit(void)
{
	debugfs_remove(client_debugfs);
}

module_init(client_init);
module_exit(client_exit);

MODULE_DESCRIPTION("dmaengine client that tests mdma_guest");
MODULE_LICENSE("GPL");
