// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma: a mediated device that does DMA to guest memory. The files, in layers; a file
 * calls only files further down in its own layer, and those of the layers below:
 *
 *	face		main (this file: module, parent, creation), sysfs, *_sysfs,
 *			debugfs, vfio (what vfio calls), device (puts all together)
 *	function	pci, regs, irq, intx, ledger_region: what the guest sees
 *	move		migration (states), file, stream (bytes), stream_values
 *	work		thread, settings, workload, ring, job (does a descriptor),
 *			engine, worker (whose task it is), channel, knobs, sequence,
 *			replay, upload
 *	memory		unmap, held, manual, access (all calls into vfio; the bytes
 *			are written in job), going, run, window
 *	record		ledger, dirty_log, stats, trace (tracepoints), snapshot (what
 *			moves)
 *
 * What must go up is a function pointer that is handed down: mdma_engine.interrupt,
 * mdma_engine.attend and mdma_migration.hooks.
 *
 * How to add a pattern of the workload, or a field of the migration stream:
 * Documentation/extending.rst.
 *
 * R, W and D with a number, here and in all files: rules in Documentation/design.rst,
 * weaknesses of the kernel's own type1 and defects in Documentation/testing.rst.
 */
#include <linux/device.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vfio.h>

#include "debugfs.h"
#include "device.h"
#include "sysfs.h"
#include "vfio.h"
#include "workload_sysfs.h"

#define MDMA_NAME		"mdma"
#define MDMA_MAX_DEVICES	64

static char *class_name = MDMA_NAME;
module_param(class_name, charp, 0444);
MODULE_PARM_DESC(class_name,
		 "class of the parent device; with mtty, virsh nodedev-define takes it for a parent of mdevs");

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

static int mdma_probe(struct mdev_device *mdev)
{
	struct mdma_device *dev;
	int ret;

	/* Calls mdma_vfio_ops.init, and that mdma_device_init() */
	dev = vfio_alloc_device(mdma_device, vdev, &mdev->dev, &mdma_vfio_ops);
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
 * Unregister first: vfio asks the user to give the device back. Then a writer
 * that is still in an attribute ("step" can take hours) gets -ENODEV, and the
 * removal of the attributes, which waits for it, ends.
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
 * libvirt knows one class of parents that are no hardware, "mtty", so the
 * administrator can choose the class.
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
