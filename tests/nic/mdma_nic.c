// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio-pci for any PCI function, with a driver that can pin pages as well: the
 * one kind of device whose first pin narrows the dirty scope of a container
 * (R9, W5). The kernel's own vfio-pci never pins.
 *
 * The driver holds one run of pages at a time. debugfs has
 * mdma_nic/PCI-ADDRESS/pin, which takes "IOVA NPAGES r|w", and unpin. For the lab
 * only.
 */
#include <linux/debugfs.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

/**
 * struct mdma_nic - a function bound to this driver
 * @core: the function in vfio-pci
 * @lock: protects the fields below, and orders pins with unmaps and closes
 * @open: a user has the device open, so its container exists
 * @iova: first page that is pinned
 * @npages: number of pages that are pinned
 * @pages: the pages
 * @debugfs: its directory
 */
struct mdma_nic {
	struct vfio_pci_core_device core;
	struct mutex lock;	/* protects the fields below */
	bool open;
	u64 iova;
	u32 npages;
	struct page *pages[VFIO_PIN_PAGES_MAX_ENTRIES];
	struct dentry *debugfs;
};

static struct dentry *debugfs_root;

static struct mdma_nic *nic_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct mdma_nic, core.vdev);
}

/* Caller holds the lock. */
static void nic_unpin(struct mdma_nic *nic)
{
	if (nic->npages)
		vfio_unpin_pages(&nic->core.vdev, nic->iova, nic->npages);
	nic->npages = 0;
}

static int nic_pin(struct mdma_nic *nic, u64 iova, u32 npages, bool write)
{
	int prot = write ? IOMMU_READ | IOMMU_WRITE : IOMMU_READ;
	int ret = -EBUSY;

	mutex_lock(&nic->lock);
	if (!nic->open)
		ret = -ENODEV;
	else if (!nic->npages)
		ret = vfio_pin_pages(&nic->core.vdev, iova, npages, prot,
				     nic->pages);
	if (ret > 0) {
		nic->iova = iova;
		nic->npages = ret;
	}
	mutex_unlock(&nic->lock);
	return ret;
}

static ssize_t pin_write(struct file *filp, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	struct mdma_nic *nic = file_inode(filp)->i_private;
	char line[64], mode;
	u32 npages;
	u64 iova;
	int ret;

	if (count >= sizeof(line))
		return -E2BIG;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	line[count] = '\0';
	if (sscanf(line, "%lli %u %c", &iova, &npages, &mode) != 3 || !npages ||
	    npages > VFIO_PIN_PAGES_MAX_ENTRIES ||
	    (mode != 'r' && mode != 'w'))
		return -EINVAL;
	ret = nic_pin(nic, iova, npages, mode == 'w');
	return ret < 0 ? ret : count;
}

static ssize_t unpin_write(struct file *filp, const char __user *buf,
			   size_t count, loff_t *ppos)
{
	struct mdma_nic *nic = file_inode(filp)->i_private;

	mutex_lock(&nic->lock);
	nic_unpin(nic);
	mutex_unlock(&nic->lock);
	return count;
}

static const struct file_operations pin_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = pin_write,
	.llseek = noop_llseek,
};

static const struct file_operations unpin_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = unpin_write,
	.llseek = noop_llseek,
};

static int nic_open_device(struct vfio_device *vdev)
{
	struct mdma_nic *nic = nic_of(vdev);
	int ret;

	ret = vfio_pci_core_enable(&nic->core);
	if (ret)
		return ret;
	vfio_pci_core_finish_enable(&nic->core);
	mutex_lock(&nic->lock);
	nic->open = true;
	mutex_unlock(&nic->lock);
	return 0;
}

static void nic_close_device(struct vfio_device *vdev)
{
	struct mdma_nic *nic = nic_of(vdev);

	mutex_lock(&nic->lock);
	nic_unpin(nic);
	nic->open = false;
	mutex_unlock(&nic->lock);
	vfio_pci_core_close_device(vdev);
}

/* An overlap unpins the whole run: unpin takes no part of a run. */
static void nic_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct mdma_nic *nic = nic_of(vdev);

	mutex_lock(&nic->lock);
	if (nic->npages && nic->iova <= iova + (length - 1) &&
	    iova <= nic->iova + ((u64)nic->npages << PAGE_SHIFT) - 1)
		nic_unpin(nic);
	mutex_unlock(&nic->lock);
}

static const struct vfio_device_ops nic_ops = {
	.name = "mdma_nic",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = nic_open_device,
	.close_device = nic_close_device,
	.dma_unmap = nic_dma_unmap,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
#ifdef NIC_HAS_MATCH_TOKEN_UUID
	.match_token_uuid = vfio_pci_core_match_token_uuid,
#endif
#ifdef NIC_HAS_REGION_INFO_CAPS
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
#endif
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
};

static int nic_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct mdma_nic *nic;
	int ret;

	nic = vfio_alloc_device(mdma_nic, core.vdev, &pdev->dev, &nic_ops);
	if (IS_ERR(nic))
		return PTR_ERR(nic);
	mutex_init(&nic->lock);
	dev_set_drvdata(&pdev->dev, &nic->core);
	ret = vfio_pci_core_register_device(&nic->core);
	if (ret) {
		vfio_put_device(&nic->core.vdev);
		return ret;
	}
	nic->debugfs = debugfs_create_dir(pci_name(pdev), debugfs_root);
	debugfs_create_file("pin", 0200, nic->debugfs, nic, &pin_fops);
	debugfs_create_file("unpin", 0200, nic->debugfs, nic, &unpin_fops);
	return 0;
}

static void nic_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(&pdev->dev);
	struct mdma_nic *nic = nic_of(&core->vdev);

	debugfs_remove(nic->debugfs);
	vfio_pci_core_unregister_device(core);
	vfio_put_device(&core->vdev);
}

/* Binds by driver_override only. */
static const struct pci_device_id nic_table[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};

static struct pci_driver nic_driver = {
	.name = "mdma_nic",
	.id_table = nic_table,
	.probe = nic_probe,
	.remove = nic_remove,
	.err_handler = &vfio_pci_core_err_handlers,
	.driver_managed_dma = true,
};

static int __init nic_init(void)
{
	int ret;

	debugfs_root = debugfs_create_dir("mdma_nic", NULL);
	ret = pci_register_driver(&nic_driver);
	if (ret)
		debugfs_remove(debugfs_root);
	return ret;
}

static void __exit nic_exit(void)
{
	pci_unregister_driver(&nic_driver);
	debugfs_remove(debugfs_root);
}

module_init(nic_init);
module_exit(nic_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("vfio-pci whose driver pins pages, for tests");
