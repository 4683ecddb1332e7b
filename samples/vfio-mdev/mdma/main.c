// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma: a mediated device that does DMA to guest memory.
 *
 * This file: the module, the parent device "mdma" and its types, and the life
 * of a device from creation to removal. A device that nobody has opened does
 * nothing. Takes regs_lock and the gate.
 */
#include <linux/device.h>
#include <linux/mdev.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "mdma.h"
#include "settings.h"
#include "thread.h"
#include "workload.h"

#define MDMA_NAME		"mdma"
#define MDMA_MAX_DEVICES	64

static char *class_name = MDMA_NAME;
module_param(class_name, charp, 0444);
MODULE_PARM_DESC(class_name,
		 "class of the parent device; with mtty, virsh nodedev-define takes it for a parent of mdevs");

struct mdma_type {
	struct mdev_type type;
	u32 nr_channels;
};

struct mdma_parent {
	struct device dev;
	struct mdev_parent parent;
};

static struct mdma_type types[] = {
	{
		.type.sysfs_name = "1",
		.type.pretty_name = "DMA engine, 1 channel",
		.nr_channels = 1,
	}, {
		.type.sysfs_name = "4",
		.type.pretty_name = "DMA engine, 4 channels",
		.nr_channels = 4,
	}, {
		.type.sysfs_name = "16",
		.type.pretty_name = "DMA engine, 16 channels",
		.nr_channels = MDMA_MAX_CHANNELS,
	},
};

static struct mdev_type *mdev_types[] = {
	&types[0].type,
	&types[1].type,
	&types[2].type,
};

static struct mdma_parent *mdma_parent;

static struct mdma_device *to_mdma(struct vfio_device *vdev)
{
	return container_of(vdev, struct mdma_device, vdev);
}

/**
 * mdma_device_reset() - back to the registers' first values, nothing pinned
 * @dev: open, regs_lock held, not the gate
 *
 * The workload's attributes and a window of the administrator stay.
 */
void mdma_device_reset(struct mdma_device *dev)
{
	lockdep_assert_held(&dev->regs_lock);

	down_write(&dev->engine.gate);
	mdma_regs_reset(dev);
	mdma_workload_restart(&dev->engine);
	mdma_unmap_all(&dev->engine.unmap);
	up_write(&dev->engine.gate);
}

/**
 * mdma_function_reset() - the reset of a PCI function
 * @dev: open, regs_lock held, not the gate
 *
 * What mdma_device_reset() does, and config space gets its first values.
 */
void mdma_function_reset(struct mdma_device *dev)
{
	mdma_device_reset(dev);
	down_write(&dev->engine.gate);
	mdma_pci_reset(dev);
	up_write(&dev->engine.gate);
}

static void raise_interrupt(struct mdma_engine *engine, struct mdma_channel *ch)
{
	mdma_irq_raise(container_of(engine, struct mdma_device, engine), ch);
}

static int mdma_init(struct vfio_device *vdev)
{
	struct mdev_device *mdev = to_mdev_device(vdev->dev);
	struct mdma_device *dev = to_mdma(vdev);
	int ret;

	/* A guid_t has the first number of the UUID in little-endian order */
	dev->engine.id = get_unaligned_le32(mdev->uuid.b);
	dev->engine.nr_channels = container_of(mdev->type, struct mdma_type,
					type)->nr_channels;
	dev->engine.interrupt = raise_interrupt;
	mutex_init(&dev->regs_lock);
	mutex_init(&dev->migration.lock);
	dev->migration.state = VFIO_DEVICE_STATE_RUNNING;
	mdma_ledger_view_init(&dev->ledger_view);
	mdma_irq_init(&dev->irqs);
	mdma_replay_init(&dev->upload);
	ret = mdma_engine_init(&dev->engine, vdev);
	if (ret) {
		mdma_engine_destroy(&dev->engine);
		return ret;
	}
	mdma_workload_init(&dev->engine);
	vdev->migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
				VFIO_MIGRATION_PRE_COPY;
	vdev->mig_ops = &mdma_migration_ops;
	return 0;
}

static void mdma_release(struct vfio_device *vdev)
{
	struct mdma_device *dev = to_mdma(vdev);

	mdma_replay_destroy(dev);
	mdma_engine_destroy(&dev->engine);
	mutex_destroy(&dev->migration.lock);
	mutex_destroy(&dev->regs_lock);
}

/* A new user finds a device as if nobody had used it before. */
static int mdma_open(struct vfio_device *vdev)
{
	struct mdma_device *dev = to_mdma(vdev);
	int ret;

	dev->engine.memcg = get_mem_cgroup_from_mm(current->mm);
	ret = mdma_thread_start(&dev->engine);
	if (ret) {
		mem_cgroup_put(dev->engine.memcg);
		return ret;
	}

	mutex_lock(&dev->regs_lock);
	down_write(&dev->engine.gate);
	mdma_pci_reset(dev);
	mdma_regs_reset(dev);
	mdma_workload_restart(&dev->engine);
	mdma_ledger_clear(&dev->engine.ledger);
	mdma_stats_clear(&dev->engine.stats);
	dev->engine.open = true;
	up_write(&dev->engine.gate);
	mutex_unlock(&dev->regs_lock);

	mdma_engine_run(&dev->engine, true);
	return 0;
}

/* Ledger and counters stay, to be read, until the next user comes. */
static void mdma_close(struct vfio_device *vdev)
{
	struct mdma_device *dev = to_mdma(vdev);
	void *trace;

	down_write(&dev->engine.gate);
	dev->engine.open = false;
	dev->engine.running = false;
	trace = mdma_settings_restore(&dev->engine);
	mdma_workload_end(&dev->engine);
	up_write(&dev->engine.gate);
	kvfree(trace);
	mdma_migration_reset(dev);
	mdma_thread_stop(&dev->engine);
	mdma_dirty_log_stop(&dev->engine.dirty_log);
	mdma_irq_release(dev);
	mdma_ledger_view_drop(&dev->ledger_view);
	mem_cgroup_put(dev->engine.memcg);
	dev->engine.memcg = NULL;
}

static void mdma_request(struct vfio_device *vdev, unsigned int count)
{
	struct mdma_device *dev = to_mdma(vdev);

	if (!count)
		dev_notice(vdev->dev, "in use, asking the user to release it\n");
	mdma_irq_request(dev);
}

static void mdma_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	mdma_unmap_range(&to_mdma(vdev)->engine.unmap, iova, length);
}

static const struct vfio_device_ops mdma_ops = {
	.name		= MDMA_NAME,
	.init		= mdma_init,
	.release	= mdma_release,
	.open_device	= mdma_open,
	.close_device	= mdma_close,
	.read		= mdma_pci_read,
	.write		= mdma_pci_write,
	.ioctl		= mdma_pci_ioctl,
	.request	= mdma_request,
	.dma_unmap	= mdma_dma_unmap,
	.bind_iommufd	= vfio_iommufd_emulated_bind,
	.unbind_iommufd	= vfio_iommufd_emulated_unbind,
	.attach_ioas	= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas	= vfio_iommufd_emulated_detach_ioas,
};

static int mdma_probe(struct mdev_device *mdev)
{
	struct mdma_device *dev;
	int ret;

	dev = vfio_alloc_device(mdma_device, vdev, &mdev->dev, &mdma_ops);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dev_set_drvdata(&mdev->dev, dev);
	ret = vfio_register_emulated_iommu_dev(&dev->vdev);
	if (ret)
		goto err_put;
	ret = mdma_workload_sysfs_add(dev);
	if (ret)
		goto err_unregister;
	mdma_debugfs_init(dev);
	return 0;

err_unregister:
	vfio_unregister_group_dev(&dev->vdev);
err_put:
	vfio_put_device(&dev->vdev);
	return ret;
}

/*
 * The user is asked first, and gives the device back: so whoever still writes an
 * attribute of a workload, "step" for hours, ends with -ENODEV and is waited for.
 */
static void mdma_remove(struct mdev_device *mdev)
{
	struct mdma_device *dev = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&dev->vdev);
	mdma_workload_sysfs_remove(dev);
	mdma_debugfs_exit(dev);
	vfio_put_device(&dev->vdev);
}

static struct mdev_driver mdma_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.max_instances = MDMA_MAX_DEVICES,
	.driver = {
		.name = MDMA_NAME,
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = mdma_sysfs_groups,
	},
	.probe = mdma_probe,
	.remove = mdma_remove,
};

static struct class mdma_class;

/*
 * Of parents that are no hardware, libvirt knows those of class "mtty" only, so
 * the class is for the administrator to choose.
 */
static int parent_class_register(void)
{
	if (!*class_name || strchr(class_name, '/')) {
		pr_err(MDMA_NAME ": class_name=%s is no name of a class\n",
		       class_name);
		return -EINVAL;
	}
	mdma_class.name = class_name;
	return class_register(&mdma_class);
}

static void parent_release(struct device *dev)
{
	kfree(container_of(dev, struct mdma_parent, dev));
}

static int parent_register(void)
{
	int ret;

	mdma_parent = kzalloc(sizeof(*mdma_parent), GFP_KERNEL);
	if (!mdma_parent)
		return -ENOMEM;
	device_initialize(&mdma_parent->dev);
	mdma_parent->dev.class = &mdma_class;
	mdma_parent->dev.release = parent_release;
	ret = dev_set_name(&mdma_parent->dev, MDMA_NAME);
	if (ret)
		goto err_put;
	ret = device_add(&mdma_parent->dev);
	if (ret)
		goto err_put;
	ret = mdev_register_parent(&mdma_parent->parent, &mdma_parent->dev,
				   &mdma_driver, mdev_types,
				   ARRAY_SIZE(mdev_types));
	if (ret)
		goto err_del;
	return 0;

err_del:
	device_del(&mdma_parent->dev);
err_put:
	put_device(&mdma_parent->dev);
	return ret;
}

static void parent_unregister(void)
{
	mdev_unregister_parent(&mdma_parent->parent);
	device_unregister(&mdma_parent->dev);
}

static int __init mdma_module_init(void)
{
	int ret;

	ret = mdma_ledger_module_init();
	if (ret)
		return ret;
	ret = mdma_dirty_log_module_init();
	if (ret)
		goto err_ledger;
	mdma_debugfs_module_init();
	ret = mdev_register_driver(&mdma_driver);
	if (ret)
		goto err_dirty_log;
	ret = parent_class_register();
	if (ret)
		goto err_driver;
	ret = parent_register();
	if (ret)
		goto err_class;
	return 0;

err_class:
	class_unregister(&mdma_class);
err_driver:
	mdev_unregister_driver(&mdma_driver);
err_dirty_log:
	mdma_debugfs_module_exit();
	mdma_dirty_log_module_exit();
err_ledger:
	mdma_ledger_module_exit();
	return ret;
}

static void __exit mdma_module_exit(void)
{
	parent_unregister();
	class_unregister(&mdma_class);
	mdev_unregister_driver(&mdma_driver);
	mdma_debugfs_module_exit();
	mdma_dirty_log_module_exit();
	mdma_ledger_module_exit();
}

module_init(mdma_module_init)
module_exit(mdma_module_exit)

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated device that does DMA, to test VFIO migration");
