// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_guest: dmaengine driver of the mdma device, a PCI function that the
 * host makes in software (samples/vfio-mdev/mdma). It copies and fills memory.
 *
 * A guest uses the device's DMA and checks the result by this driver: the
 * kernel's dmatest runs on it. The device is not an accelerator.
 */
#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/slab.h>

#include "mdma_guest.h"

static unsigned int window_mb;
module_param(window_mb, uint, 0444);
MODULE_PARM_DESC(window_mb, "MiB of memory given to each device, 0 to 256 (default: 0)");

static int mdma_guest_set_ring_size(const char *text,
				    const struct kernel_param *param)
{
	unsigned int size;
	int ret = kstrtouint(text, 0, &size);

	if (ret)
		return ret;
	if (size < MDMA_RING_SIZE_MIN || size > MDMA_RING_SIZE_MAX ||
	    !is_power_of_2(size))
		return -EINVAL;
	return param_set_uint(text, param);
}

static const struct kernel_param_ops mdma_guest_ring_size_ops = {
	.set = mdma_guest_set_ring_size,
	.get = param_get_uint,
};

static unsigned int ring_size = 256;
module_param_cb(ring_size, &mdma_guest_ring_size_ops, &ring_size, 0444);
MODULE_PARM_DESC(ring_size, "descriptors of each channel's ring, a power of 2 (default: 256)");

static struct dentry *mdma_guest_debugfs;
static struct workqueue_struct *mdma_guest_wq;

static bool mdma_guest_take_none(struct dma_chan *chan, void *unused)
{
	return false;
}

/*
 * dma_release_channel() still looks at the channel after it has put the last
 * reference, under the lock that dma_request_channel() takes. A request that
 * takes no channel waits for that lock.
 */
static void mdma_guest_free(struct work_struct *work)
{
	struct mdma_guest *guest = container_of(work, struct mdma_guest,
						release);
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	dma_request_channel(mask, mdma_guest_take_none, NULL);

	pci_dev_put(guest->pdev);
	mutex_destroy(&guest->lock);
	kfree(guest);
}

/* The driver is unbound, and the last client has released its channel. */
static void mdma_guest_release(struct dma_device *dma)
{
	struct mdma_guest *guest = container_of(dma, struct mdma_guest, dma);

	queue_work(mdma_guest_wq, &guest->release);
}

/* Resets the device and returns its number of channels. */
static int mdma_guest_identify(struct pci_dev *pdev, void __iomem *regs)
{
	u32 magic = readl(regs + MDMA_REG_MAGIC);
	u32 version = readl(regs + MDMA_REG_VERSION);
	u32 channels = readl(regs + MDMA_REG_CHANNELS);

	if (magic != MDMA_MAGIC || version != MDMA_VERSION ||
	    !channels || channels > MDMA_MAX_CHANNELS)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "magic 0x%x, version %u, %u channels: unknown\n",
				     magic, version, channels);

	writel(1, regs + MDMA_REG_RESET);
	return channels;
}

static struct mdma_guest *mdma_guest_alloc(struct pci_dev *pdev,
					   void __iomem *regs,
					   unsigned int nr_chans)
{
	struct mdma_guest *guest;
	unsigned int i;

	guest = kzalloc(struct_size(guest, chans, nr_chans), GFP_KERNEL);
	if (!guest)
		return NULL;

	guest->pdev = pci_dev_get(pdev);
	guest->regs = regs;
	guest->nr_chans = nr_chans;
	guest->ring_size = ring_size;
	mutex_init(&guest->lock);
	INIT_WORK(&guest->release, mdma_guest_free);

	guest->dma.dev = &pdev->dev;
	guest->dma.device_release = mdma_guest_release;
	INIT_LIST_HEAD(&guest->dma.channels);
	mdma_chan_setup_dma(&guest->dma);
	for (i = 0; i < nr_chans; i++)
		mdma_chan_init(guest, i);

	return guest;
}

static void mdma_guest_remove_chans(struct mdma_guest *guest)
{
	unsigned int i;

	for (i = 0; i < guest->nr_chans; i++)
		mdma_chan_remove(&guest->chans[i]);
	pci_free_irq_vectors(guest->pdev);
}

/* A vector for each channel; without MSI-X, all of them share the line. */
static int mdma_guest_request_irqs(struct mdma_guest *guest)
{
	struct pci_dev *pdev = guest->pdev;
	bool line = false;
	unsigned int i;
	int ret;

	ret = pci_alloc_irq_vectors(pdev, guest->nr_chans, guest->nr_chans,
				    PCI_IRQ_MSIX);
	if (ret < 0) {
		line = true;
		ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_INTX);
	}
	if (ret < 0)
		return dev_err_probe(&pdev->dev, ret,
				     "neither %u vectors nor a line\n",
				     guest->nr_chans);

	for (i = 0; i < guest->nr_chans; i++) {
		ret = mdma_chan_request_irq(&guest->chans[i],
					    pci_irq_vector(pdev, line ? 0 : i),
					    line);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Ends what mdma_guest_start() has begun, or a part of it. Bus mastering ends first: the
 * registers do not stop a device that does not answer.
 */
static void mdma_guest_stop(struct mdma_guest *guest)
{
	pci_clear_master(guest->pdev);
	debugfs_remove(guest->debugfs);
	mdma_guest_remove_chans(guest);
	mdma_window_destroy(guest);
}

/* Brings up a device whose registers are mapped. */
static int mdma_guest_start(struct mdma_guest *guest)
{
	int ret;

	guest->debugfs = debugfs_create_dir(pci_name(guest->pdev),
					    mdma_guest_debugfs);
	ret = mdma_window_create(guest, window_mb);
	if (ret)
		dev_err_probe(&guest->pdev->dev, ret,
			      "no window of %u MiB\n", window_mb);
	else
		ret = mdma_guest_request_irqs(guest);
	if (!ret)
		ret = dma_async_device_register(&guest->dma);
	if (ret)
		mdma_guest_stop(guest);

	return ret;
}

static int mdma_guest_probe(struct pci_dev *pdev,
			    const struct pci_device_id *id)
{
	struct mdma_guest *guest;
	void __iomem *regs;
	int ret;

	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;

	ret = pci_request_mem_regions(pdev, KBUILD_MODNAME);
	if (ret)
		goto err_disable;

	ret = -ENOMEM;
	regs = pci_ioremap_bar(pdev, 0);
	if (!regs)
		goto err_regions;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		goto err_unmap;
	dma_set_max_seg_size(&pdev->dev, MDMA_DESC_MAX_LEN);

	/* A former kernel may have left rings and a window: reset before bus mastering. */
	ret = mdma_guest_identify(pdev, regs);
	if (ret < 0)
		goto err_unmap;
	pci_set_master(pdev);

	guest = mdma_guest_alloc(pdev, regs, ret);
	ret = -ENOMEM;
	if (!guest)
		goto err_unmap;
	pci_set_drvdata(pdev, guest);

	ret = mdma_guest_start(guest);
	if (ret) {
		mdma_guest_release(&guest->dma);
		goto err_unmap;
	}
	/* For mdma_guest_slot_reset(). */
	pci_save_state(pdev);
	return 0;

err_unmap:
	pci_clear_master(pdev);
	iounmap(regs);
err_regions:
	pci_release_mem_regions(pdev);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void mdma_guest_remove(struct pci_dev *pdev)
{
	struct mdma_guest *guest = pci_get_drvdata(pdev);

	mdma_guest_stop(guest);
	writel(1, guest->regs + MDMA_REG_RESET);
	iounmap(guest->regs);
	pci_release_mem_regions(pdev);
	pci_disable_device(pdev);
	/* May free *guest. */
	dma_async_device_unregister(&guest->dma);
}

static void mdma_guest_lose(struct mdma_guest *guest)
{
	unsigned int i;

	for (i = 0; i < guest->nr_chans; i++)
		mdma_chan_lose(&guest->chans[i]);
}

/*
 * Leaves the device quiet and without state. Bus mastering ends first, as in
 * mdma_guest_stop(): the device may not hear that it is to stop.
 */
static int mdma_guest_suspend(struct device *dev)
{
	struct mdma_guest *guest = dev_get_drvdata(dev);
	unsigned int i;

	pci_clear_master(guest->pdev);
	for (i = 0; i < guest->nr_chans; i++)
		mdma_chan_suspend(&guest->chans[i]);
	mdma_window_suspend(guest);
	writel(1, guest->regs + MDMA_REG_RESET);
	return 0;
}

/*
 * The device may have lost its power or not: mdma_guest_suspend() has reset it. On an error
 * its channels are lost, and none of their rings was started: they work with the window or
 * not at all, as after probe.
 */
static int mdma_guest_resume(struct device *dev)
{
	struct mdma_guest *guest = dev_get_drvdata(dev);
	unsigned int i;
	int ret;

	ret = mdma_guest_identify(guest->pdev, guest->regs);
	if (ret < 0)
		goto lost;
	pci_set_master(guest->pdev);
	/* Whoever restored config space has used up what was saved. */
	pci_save_state(guest->pdev);

	ret = mdma_window_resume(guest);
	if (ret)
		goto lost;
	for (i = 0; i < guest->nr_chans; i++)
		mdma_chan_resume(&guest->chans[i]);
	return 0;

lost:
	mdma_guest_lose(guest);
	return ret;
}

/*
 * Before a reboot, a power-off, or a kexec: the next kernel finds a device that does
 * no DMA. Clients are not notified. What they submit from now on is not executed.
 */
static void mdma_guest_shutdown(struct pci_dev *pdev)
{
	mdma_guest_suspend(&pdev->dev);
}

/* The function loses all that it was told. The kernel restores its config space. */
static void mdma_guest_reset_prepare(struct pci_dev *pdev)
{
	mdma_guest_suspend(&pdev->dev);
}

/*
 * If the device does not come back, or refuses its window, its channels are lost, and the
 * log says why. One that was lost before stays lost until the driver is bound anew.
 */
static void mdma_guest_reset_done(struct pci_dev *pdev)
{
	mdma_guest_resume(&pdev->dev);
}

/* After an error of the bus, a reset is tried, unless the device is lost for good. */
static pci_ers_result_t
mdma_guest_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	if (state == pci_channel_io_perm_failure) {
		mdma_guest_lose(pci_get_drvdata(pdev));
		return PCI_ERS_RESULT_DISCONNECT;
	}
	mdma_guest_suspend(&pdev->dev);
	return PCI_ERS_RESULT_NEED_RESET;
}

/* Here the kernel leaves config space to the driver. */
static pci_ers_result_t mdma_guest_slot_reset(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	if (mdma_guest_resume(&pdev->dev))
		return PCI_ERS_RESULT_DISCONNECT;
	return PCI_ERS_RESULT_RECOVERED;
}

static const struct pci_error_handlers mdma_guest_errors = {
	.reset_prepare = mdma_guest_reset_prepare,
	.reset_done = mdma_guest_reset_done,
	.error_detected = mdma_guest_error_detected,
	.slot_reset = mdma_guest_slot_reset,
};

static DEFINE_SIMPLE_DEV_PM_OPS(mdma_guest_pm_ops, mdma_guest_suspend,
				mdma_guest_resume);

static const struct pci_device_id mdma_guest_ids[] = {
	{ PCI_DEVICE(MDMA_PCI_VENDOR_ID, MDMA_PCI_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, mdma_guest_ids);

static struct pci_driver mdma_guest_driver = {
	.name = KBUILD_MODNAME,
	.id_table = mdma_guest_ids,
	.probe = mdma_guest_probe,
	.remove = mdma_guest_remove,
	.shutdown = mdma_guest_shutdown,
	.err_handler = &mdma_guest_errors,
	.driver.pm = pm_sleep_ptr(&mdma_guest_pm_ops),
};

static int __init mdma_guest_init(void)
{
	int ret;

	mdma_guest_wq = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!mdma_guest_wq)
		return -ENOMEM;

	mdma_guest_debugfs = debugfs_create_dir(KBUILD_MODNAME, NULL);
	ret = pci_register_driver(&mdma_guest_driver);
	if (ret) {
		debugfs_remove(mdma_guest_debugfs);
		destroy_workqueue(mdma_guest_wq);
	}
	return ret;
}

static void __exit mdma_guest_exit(void)
{
	pci_unregister_driver(&mdma_guest_driver);
	debugfs_remove(mdma_guest_debugfs);
	destroy_workqueue(mdma_guest_wq);
}

module_init(mdma_guest_init);
module_exit(mdma_guest_exit);

MODULE_DESCRIPTION("dmaengine driver of the mdma device");
MODULE_LICENSE("GPL");
