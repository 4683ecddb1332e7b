// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_client: a dmaengine client that tests what the kernel's dmatest does not.
 *
 * dmatest holds every channel, so it never sees a device removed while one of the
 * device's channels is free. It asks for the status of its last transfer only, and
 * never reads registers. Each test brings about one such situation in a fixed
 * order, not by chance. Write the name of a test to "run" in debugfs: the write fails
 * with EIO if the test fails, and the kernel log says why.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/mdma.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "client.h"

/* --- channels and transfers ---------------------------------------------- */

static bool client_wants(struct dma_chan *chan, void *param)
{
	struct client *c = param;

	return chan->device->dev == &c->pdev->dev;
}

struct dma_chan *client_request(struct client *c)
{
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMSET, mask);
	return dma_request_channel(mask, client_wants, c);
}

void __iomem *client_regs(struct client *c)
{
	return c->regs + MDMA_REG_CHANNEL(c->chan->chan_id);
}

static dma_cookie_t submit(struct client *c, dma_addr_t dst, unsigned long flags,
			   dma_async_tx_callback callback, void *param)
{
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memset(c->chan, dst, BYTE, PAGE_SIZE,
				       flags | DMA_CTRL_ACK);
	if (!tx)
		return -ENOMEM;
	tx->callback = callback;
	tx->callback_param = param;
	return dmaengine_submit(tx);
}

/* Returns the cookie, or an error. The transfer still has to be issued. */
dma_cookie_t client_submit(struct client *c, dma_addr_t dst,
			   dma_async_tx_callback callback, void *param)
{
	return submit(c, dst, DMA_PREP_INTERRUPT, callback, param);
}

/* The same to the test's page, without an interrupt at the end; @called counts it. */
dma_cookie_t client_submit_quiet(struct client *c, atomic_t *called)
{
	return submit(c, c->iova, 0, client_count, called);
}

/* Issues a transfer to the test's page. Returns the cookie, or an error. */
dma_cookie_t client_start(struct client *c)
{
	dma_cookie_t cookie = client_submit(c, c->iova, NULL, NULL);

	dma_async_issue_pending(c->chan);
	return cookie;
}

enum dma_status client_status(struct client *c, dma_cookie_t cookie)
{
	return dmaengine_tx_status(c->chan, cookie, NULL);
}

/* Waits for the end of a transfer. Returns its status. */
enum dma_status client_wait(struct client *c, dma_cookie_t cookie)
{
	unsigned long end = jiffies + PATIENCE_S * HZ;
	enum dma_status status;

	while ((status = client_status(c, cookie)) == DMA_IN_PROGRESS &&
	       time_before(jiffies, end))
		usleep_range(500, 1000);
	return status;
}

enum dma_status client_fill(struct client *c, dma_addr_t dst)
{
	dma_cookie_t cookie = client_submit(c, dst, NULL, NULL);

	if (cookie < 0)
		return DMA_ERROR;
	dma_async_issue_pending(c->chan);
	return client_wait(c, cookie);
}

bool client_untouched(struct client *c)
{
	return !memchr_inv(c->buf, 0, PAGE_SIZE);
}

void client_unbind(struct client *c)
{
	device_release_driver(&c->pdev->dev);
}

/* Returns false if the driver does not bind to the device. */
bool client_bind(struct client *c)
{
	return device_attach(&c->pdev->dev) == 1;
}

/* With interrupts off: waits until @done returns true, up to a limit. */
void client_spin(struct client *c, bool (*done)(struct client *c))
{
	unsigned int ms = PATIENCE_S * 100;

	for (; ms && !done(c); ms--)
		mdelay(1);
}

bool client_halted(struct client *c)
{
	return readl(client_regs(c) + MDMA_CHAN_STATUS);
}

/* A callback that counts. */
void client_count(void *param)
{
	atomic_inc(param);
}

/* Waits until it has counted to @n, up to a limit. Returns how far it is. */
int client_called(atomic_t *called, int n)
{
	unsigned int i;

	for (i = 0; i < CALLBACK_S * 50 && atomic_read(called) < n; i++)
		msleep(20);
	return atomic_read(called);
}

/* --- the tests ------------------------------------------------------------- */

/* @loses: the driver has lost its device afterwards, and must be bound anew */
static const struct {
	const char *name;
	int (*run)(struct client *c);
	bool loses;
} tests[] = {
	{ "unbound_while_held", unbound_while_held },
	{ "status_of_each", status_of_each },
	{ "restart_forgets", restart_forgets },
	{ "halt_beside_completion", halt_beside_completion },
	{ "synchronize_in_removal", synchronize_in_removal },
	{ "released_in_callback", released_in_callback },
	{ "end_is_unmapped", end_is_unmapped },
	{ "full_ring", full_ring },
	{ "terminate_in_callback", terminate_in_callback },
	{ "callback_without_interrupt", callback_without_interrupt },
	{ "reset_before_bus_master", reset_before_bus_master },
	{ "shutdown_is_quiet", shutdown_is_quiet },
	{ "resume_continues", resume_continues },
	{ "suspended_is_quiet", suspended_is_quiet },
	{ "thread_after_suspend", thread_after_suspend },
	{ "callback_at_suspend", callback_at_suspend },
	{ "reset_continues", reset_continues },
	{ "error_recovers", error_recovers, true },
	{ "resume_fails", resume_fails, true },
	{ "window_refused_by_resume", window_refused_by_resume, true },
	{ "window_refused_by_reset", window_refused_by_reset, true },
	{ "lost_is_no_master", lost_is_no_master, true },
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
	if (c.pdev && tests[i].loses)
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
