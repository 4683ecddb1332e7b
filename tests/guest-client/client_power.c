// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_client: tests of a device that is suspended, reset, or not there, and of what it had
 * been told before its driver came.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/mdma.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/preempt.h>

#include "client.h"

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
int reset_before_bus_master(struct client *c)
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
int shutdown_is_quiet(struct client *c)
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
	cookie = client_start(c);
	msleep(GRACE_MS);
	expect(client_untouched(c), "a transfer after the shutdown\n");
	client_unbind(c);
	expect(cookie < 0 || client_status(c, cookie) == DMA_ERROR,
	       "a transfer outlives its driver\n");
	return 0;
}

static u16 client_command(struct client *c)
{
	u16 command;

	pci_read_config_word(c->pdev, PCI_COMMAND, &command);
	return command;
}

/* Turns memory decoding off: no register answers, like those of a removed device. */
static void client_pull_out(struct client *c)
{
	u16 command = client_command(c);

	pci_write_config_word(c->pdev, PCI_COMMAND,
			      command & ~PCI_COMMAND_MEMORY);
}

/* What a suspended device was given is done when it works again. */
int resume_continues(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t cookie;
	int status;

	expect(!pm->suspend(dev), "suspend fails\n");
	cookie = client_start(c);
	status = client_status(c, cookie);
	expect(!pm->resume(dev), "resume fails\n");
	expect(status == DMA_IN_PROGRESS, "status %d of a suspended device\n",
	       status);
	status = client_wait(c, cookie);
	expect(status == DMA_COMPLETE, "status %d after resume\n", status);
	return 0;
}

/* A suspended device is left alone, whatever its clients do. */
static int suspended_calls(struct client *c)
{
	struct dma_chan *other;

	client_start(c);
	dmaengine_terminate_async(c->chan);
	client_start(c);
	msleep(GRACE_MS);
	expect(client_untouched(c), "DMA of a suspended device after terminate\n");

	/* Another channel had no ring when the device was suspended, if there is one. */
	other = client_request(c);
	dma_release_channel(c->chan);
	c->chan = other ?: client_request(c);
	expect(c->chan, "no channel of a suspended device\n");
	client_start(c);
	msleep(GRACE_MS);
	expect(client_untouched(c), "DMA of a suspended device's new channel\n");
	expect(!(readl(client_regs(c) + MDMA_CHAN_CTRL) & MDMA_CTRL_ENABLE),
	       "a suspended device's ring is enabled\n");
	return 0;
}

/* Afterwards, what was issued meanwhile is done, and what was only submitted is not. */
int suspended_is_quiet(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t issued = 0, submitted = 0;
	int ret;

	expect(!pm->suspend(dev), "suspend fails\n");
	ret = suspended_calls(c);
	if (!ret) {
		issued = client_start(c);
		submitted = client_submit(c, c->iova, NULL, NULL);
	}
	expect(!pm->resume(dev), "resume fails\n");
	if (ret)
		return ret;
	expect(client_wait(c, issued) == DMA_COMPLETE, "lost by suspend\n");
	msleep(GRACE_MS);
	expect(client_status(c, submitted) == DMA_IN_PROGRESS,
	       "resume issues what was only submitted\n");
	dma_async_issue_pending(c->chan);
	expect(client_wait(c, submitted) == DMA_COMPLETE, "no transfer afterwards\n");
	return 0;
}

static bool client_done(struct client *c)
{
	return readl(client_regs(c) + MDMA_CHAN_HEAD);
}

/*
 * The interrupt's thread runs when the device is already suspended, as in a reset, and its
 * registers may say anything: nothing is lost. The guest has one CPU, so the thread runs
 * no earlier.
 */
int thread_after_suspend(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t cookie;
	int ret;

	preempt_disable();
	client_submit(c, c->iova, client_count, &called);
	dma_async_issue_pending(c->chan);
	client_spin(c, client_done);
	ret = pm->suspend(dev);
	cookie = client_start(c);
	/* A ring of size 0 halts. */
	writel(MDMA_CTRL_ENABLE, client_regs(c) + MDMA_CHAN_CTRL);
	client_spin(c, client_halted);
	preempt_enable();
	msleep(GRACE_MS);
	expect(!ret, "suspend fails\n");
	expect(!pm->resume(dev), "resume fails\n");
	expect(client_wait(c, cookie) == DMA_COMPLETE, "lost by suspend\n");
	expect(atomic_read(&called) == 1, "%d callbacks\n", atomic_read(&called));
	return 0;
}

/* Nobody has seen the end of a transfer when the device is suspended: its callback is due. */
int callback_at_suspend(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	atomic_t called = ATOMIC_INIT(0);
	int ret, n;

	client_submit_quiet(c, &called);
	dma_async_issue_pending(c->chan);
	client_spin(c, client_done);
	ret = pm->suspend(dev);
	n = client_called(&called, !ret);
	dmaengine_terminate_sync(c->chan);
	expect(!ret, "suspend fails\n");
	expect(!pm->resume(dev), "resume fails\n");
	expect(n == 1, "%d callbacks\n", n);
	expect(client_fill(c, c->iova) == DMA_COMPLETE, "no transfer afterwards\n");
	return 0;
}

static const struct pci_error_handlers *client_handlers(struct client *c)
{
	return to_pci_driver(c->pdev->dev.driver)->err_handler;
}

/*
 * The function is reset before it has done what its ring has: it is quiet before that,
 * and does it afterwards. It does nothing until it is a bus master.
 */
int reset_continues(struct client *c)
{
	const struct pci_error_handlers *err = client_handlers(c);
	atomic_t called = ATOMIC_INIT(0);
	dma_cookie_t last = 0;
	int i, n = 64;
	u32 control;
	int ret;

	expect(err && err->reset_prepare, "the driver ignores resets\n");
	pci_clear_master(c->pdev);
	for (i = 0; i < n; i++)
		last = client_submit(c, c->iova, client_count, &called);
	dma_async_issue_pending(c->chan);
	err->reset_prepare(c->pdev);
	control = readl(client_regs(c) + MDMA_CHAN_CTRL);
	pci_set_master(c->pdev);
	ret = pci_reset_function(c->pdev);
	expect(last > 0, "no transfer\n");
	expect(!(control & MDMA_CTRL_ENABLE), "reset while the ring is enabled\n");
	expect(!ret, "no reset: %d\n", ret);
	expect(client_wait(c, last) == DMA_COMPLETE, "lost by a reset\n");
	/* Those of transfers that were looked for may still be due. */
	client_called(&called, n);
	dmaengine_synchronize(c->chan);
	expect(atomic_read(&called) == n, "%d callbacks of %d transfers\n",
	       atomic_read(&called), n);
	return 0;
}

/*
 * What the kernel does with the driver after an error of the bus, and a reset of the slot.
 * Before that, another reset has used up the config space that was saved.
 */
int error_recovers(struct client *c)
{
	const struct pci_error_handlers *err = client_handlers(c);
	pci_ers_result_t frozen, recovered, lost;
	atomic_t called = ATOMIC_INIT(0);
	enum dma_status status;
	dma_cookie_t cookie;
	u16 command;
	int n;

	expect(err && err->error_detected, "the driver ignores errors\n");
	expect(!pci_reset_function(c->pdev), "no reset\n");
	frozen = err->error_detected(c->pdev, pci_channel_io_frozen);
	pci_read_config_word(c->pdev, PCI_COMMAND, &command);
	pci_write_config_word(c->pdev, PCI_COMMAND, 0);
	cookie = client_start(c);
	recovered = err->slot_reset(c->pdev);
	expect(!(command & PCI_COMMAND_MASTER), "bus master after an error\n");
	expect(frozen == PCI_ERS_RESULT_NEED_RESET &&
	       recovered == PCI_ERS_RESULT_RECOVERED,
	       "an error is answered by %u, a reset of the slot by %u\n",
	       frozen, recovered);
	expect(client_wait(c, cookie) == DMA_COMPLETE, "lost by an error\n");

	/* An interrupt may come later than the status, and causes any callback that is due. */
	msleep(GRACE_MS);
	cookie = client_submit(c, c->iova, client_count, &called);
	lost = err->error_detected(c->pdev, pci_channel_io_perm_failure);
	status = client_status(c, cookie);
	n = status == DMA_ERROR ? client_called(&called, 1) : 0;
	dmaengine_terminate_sync(c->chan);
	expect(lost == PCI_ERS_RESULT_DISCONNECT, "a lost device recovers\n");
	expect(status == DMA_ERROR && n == 1,
	       "a client waits for a lost device: %d, %d callbacks\n", status, n);
	return 0;
}

/* If the device does not come back from suspend, all pending transfers fail. */
int resume_fails(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t cookie;
	enum dma_status status;
	int ret;

	expect(!pm->suspend(dev), "suspend fails\n");
	cookie = client_start(c);
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

/* Makes the first range of the driver's table one of that size, and returns what it was. */
static __le64 client_spoil_window(struct client *c, __le64 size)
{
	struct mdma_range *range = phys_to_virt(readq(c->regs + MDMA_REG_WINDOW_TABLE));
	__le64 was = range->size;

	range->size = size;
	return was;
}

/*
 * The device has refused the window. Its driver has failed a transfer, so the client may
 * free the buffer, and the device must leave it alone for good.
 */
static int lost_with_window(struct client *c, dma_cookie_t cookie)
{
	enum dma_status status = client_status(c, cookie);

	pci_set_master(c->pdev);
	msleep(GRACE_MS);
	expect(status == DMA_ERROR, "a client waits for a device without a window: %d\n",
	       status);
	expect(client_untouched(c), "DMA of a transfer that has failed\n");
	return 0;
}

/* If the device has no window after suspend, nothing works, and all pending transfers fail. */
int window_refused_by_resume(struct client *c)
{
	struct device *dev = &c->pdev->dev;
	const struct dev_pm_ops *pm = dev->driver->pm;
	dma_cookie_t cookie;
	__le64 size;
	int ret;

	expect(readl(c->regs + MDMA_REG_WINDOW_RANGES), "no window\n");
	size = client_spoil_window(c, 0);
	ret = pm->suspend(dev);
	cookie = client_start(c);
	expect(!ret, "suspend fails\n");
	ret = pm->resume(dev);
	client_spoil_window(c, size);
	expect(ret, "a device without a window resumes\n");
	return lost_with_window(c, cookie);
}

/* The same after a reset of the slot. */
int window_refused_by_reset(struct client *c)
{
	const struct pci_error_handlers *err = client_handlers(c);
	pci_ers_result_t result;
	dma_cookie_t cookie;
	__le64 size;

	expect(readl(c->regs + MDMA_REG_WINDOW_RANGES), "no window\n");
	size = client_spoil_window(c, 0);
	err->error_detected(c->pdev, pci_channel_io_frozen);
	cookie = client_start(c);
	result = err->slot_reset(c->pdev);
	client_spoil_window(c, size);
	expect(result == PCI_ERS_RESULT_DISCONNECT,
	       "a reset of the slot is answered by %u without a window\n", result);
	return lost_with_window(c, cookie);
}

/**
 * struct stranded - a transfer whose device does not answer any more
 * @c: client
 * @command: of the device when the transfer's callback was called
 * @calls: of it
 */
struct stranded {
	struct client *c;
	u16 command;
	unsigned int calls;
};

static void stranded_callback(void *param)
{
	struct stranded *stranded = param;

	stranded->command = client_command(stranded->c);
	stranded->calls++;
}

static void stranded_terminate(struct client *c)
{
	dmaengine_terminate_sync(c->chan);
}

/* A suspended ring counts as stopped, so the suspend must see to it. */
static void stranded_suspend(struct client *c)
{
	struct device *dev = &c->pdev->dev;

	dev->driver->pm->suspend(dev);
	stranded_terminate(c);
}

static void stranded_release(struct client *c)
{
	dma_release_channel(c->chan);
	c->chan = NULL;
}

/*
 * How such a transfer ends. Before a removal it is not issued, so that its end alone does
 * not show the driver that nobody answers; a removal alone calls back.
 */
static const struct {
	const char *how;
	void (*end)(struct client *c);
	bool issued;
	unsigned int calls;
} stranded_ends[] = {
	{ "terminate", stranded_terminate, true, 0 },
	{ "release", stranded_release, true, 0 },
	{ "suspend", stranded_suspend, true, 0 },
	{ "removal", client_unbind, false, 1 },
};

static int strand(struct client *c, unsigned int i)
{
	struct stranded stranded = { .c = c };

	/* The ring is stopped behind the driver's back: the transfer never ends by itself. */
	writel(0, client_regs(c) + MDMA_CHAN_CTRL);
	expect(client_submit(c, c->iova, stranded_callback, &stranded) > 0,
	       "no transfer\n");
	if (stranded_ends[i].issued)
		dma_async_issue_pending(c->chan);
	client_pull_out(c);
	stranded_ends[i].end(c);
	stranded.command |= client_command(c);
	if (c->chan)
		stranded_release(c);
	client_unbind(c);
	expect(!(stranded.command & PCI_COMMAND_MASTER),
	       "a transfer ends by %s while its device may do DMA\n",
	       stranded_ends[i].how);
	expect(stranded.calls == stranded_ends[i].calls, "%s: %u callbacks\n",
	       stranded_ends[i].how, stranded.calls);
	expect(client_bind(c), "the driver does not come back\n");
	c->chan = client_request(c);
	expect(c->chan, "no channel\n");
	return 0;
}

/*
 * A device that does not answer may still do DMA. When memory is given back, it is no bus
 * master any more.
 */
int lost_is_no_master(struct client *c)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(stranded_ends) && !ret; i++)
		ret = strand(c, i);
	return ret;
}
