// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vfio calls: from vfio's device to ours. Takes the gate.
 */
#include <linux/err.h>
#include <linux/kconfig.h>
#include <linux/vfio.h>

#include "compat.h"
#include "device.h"
#include "thread.h"
#include "vfio.h"

/* --- device-side dirty tracking ------------------------------------------ */

static struct mdma_dirty_log *to_log(struct vfio_device *vdev)
{
	return &mdma_of(vdev)->engine.dirty_log;
}

static int log_start(struct vfio_device *vdev, struct rb_root_cached *ranges,
		     u32 nnodes, u64 *page_size)
{
	return mdma_dirty_log_start(to_log(vdev), ranges, nnodes, page_size);
}

static int log_stop(struct vfio_device *vdev)
{
	mdma_dirty_log_stop(to_log(vdev));
	return 0;
}

static int log_read_and_clear(struct vfio_device *vdev, unsigned long iova,
			      unsigned long length, struct iova_bitmap *bitmap)
{
	return mdma_dirty_log_report(to_log(vdev), iova, length, bitmap);
}

static const struct vfio_log_ops log_ops = {
	.log_start		= log_start,
	.log_stop		= log_stop,
	.log_read_and_clear	= log_read_and_clear,
};

/**
 * mdma_vfio_offer_log() - offer device-side dirty tracking, or do not
 * @dev: any
 * @on: offer it
 *
 * A kernel without iova_bitmap (CONFIG_IOMMUFD_DRIVER) would let the user start
 * the log and then report nothing.
 *
 * Return: 0, -EBUSY while the device is open, -EOPNOTSUPP or -EINTR.
 */
int mdma_vfio_offer_log(struct mdma_device *dev, bool on)
{
	int ret;

	if (on && !IS_ENABLED(CONFIG_IOMMUFD_DRIVER))
		return -EOPNOTSUPP;
	ret = down_write_killable(&dev->engine.gate);
	if (ret)
		return ret;
	if (dev->engine.open) {
		ret = -EBUSY;
	} else {
		/* sysfs reads it without the gate */
		WRITE_ONCE(dev->vdev.log_ops, on ? &log_ops : NULL);
		dev->engine.dirty_log.enabled = on;
	}
	up_write(&dev->engine.gate);
	return ret;
}

/* --- migration ----------------------------------------------------------- */

static struct file *set_state(struct vfio_device *vdev,
			      enum vfio_device_mig_state state)
{
	struct mdma_device *dev = mdma_of(vdev);
	int ret = mdma_thread_adopt(&dev->engine);

	return ret ? ERR_PTR(ret) :
		     mdma_migration_set_state(&dev->migration, state);
}

static int get_state(struct vfio_device *vdev,
		     enum vfio_device_mig_state *state)
{
	*state = mdma_migration_get_state(&mdma_of(vdev)->migration);
	return 0;
}

static int get_data_size(struct vfio_device *vdev, unsigned long *length)
{
	*length = mdma_migration_data_size(&mdma_of(vdev)->migration);
	return 0;
}

static const struct vfio_migration_ops migration_ops = {
	.migration_set_state		= set_state,
	.migration_get_state		= get_state,
	.migration_get_data_size	= get_data_size,
};

/* --- the device ---------------------------------------------------------- */

static int device_init(struct vfio_device *vdev)
{
	vdev->migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
				VFIO_MIGRATION_PRE_COPY;
	vdev->mig_ops = &migration_ops;
	return mdma_device_init(mdma_of(vdev), to_mdev_device(vdev->dev));
}

static void device_release(struct vfio_device *vdev)
{
	mdma_device_release(mdma_of(vdev));
}

static int device_open(struct vfio_device *vdev)
{
	return mdma_device_open(mdma_of(vdev));
}

static void device_close(struct vfio_device *vdev)
{
	mdma_device_close(mdma_of(vdev));
}

static ssize_t device_read(struct vfio_device *vdev, char __user *buf,
			   size_t count, loff_t *ppos)
{
	struct mdma_device *dev = mdma_of(vdev);
	int ret = mdma_thread_adopt(&dev->engine);

	return ret ?: mdma_pci_read(&dev->pci, buf, count, ppos);
}

static ssize_t device_write(struct vfio_device *vdev, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct mdma_device *dev = mdma_of(vdev);
	int ret = mdma_thread_adopt(&dev->engine);

	return ret ?: mdma_pci_write(&dev->pci, buf, count, ppos);
}

static int region_info(struct vfio_device *vdev, struct vfio_region_info *info,
		       struct vfio_info_cap *caps)
{
	return mdma_pci_region_info(&mdma_of(vdev)->pci, info, caps);
}

static long device_ioctl(struct vfio_device *vdev, unsigned int cmd,
			 unsigned long arg)
{
	struct mdma_device *dev = mdma_of(vdev);
	int ret = mdma_thread_adopt(&dev->engine);

	if (ret)
		return ret;
#ifndef MDMA_HAS_REGION_INFO_CAPS
	if (cmd == VFIO_DEVICE_GET_REGION_INFO)
		return mdma_compat_region_info(vdev, (void __user *)arg,
					       region_info);
#endif
	return mdma_pci_ioctl(&dev->pci, cmd, arg);
}

static void device_request(struct vfio_device *vdev, unsigned int count)
{
	if (!count)
		dev_notice(vdev->dev, "in use, asking the user to release it\n");
	mdma_irq_request(&mdma_of(vdev)->irqs);
}

static void device_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	mdma_unmap_range(&mdma_of(vdev)->engine.unmap, iova, length);
}

/* vfio calls both while the device is not open, and neither without CONFIG_IOMMUFD. */
static int bind_iommufd(struct vfio_device *vdev, struct iommufd_ctx *ictx,
			u32 *id)
{
	int ret = -EOPNOTSUPP;

	if (IS_ENABLED(CONFIG_IOMMUFD))
		ret = vfio_iommufd_emulated_bind(vdev, ictx, id);
	mdma_of(vdev)->engine.access.exact = !ret;
	return ret;
}

static void unbind_iommufd(struct vfio_device *vdev)
{
	if (IS_ENABLED(CONFIG_IOMMUFD))
		vfio_iommufd_emulated_unbind(vdev);
	mdma_of(vdev)->engine.access.exact = false;
}

#if IS_ENABLED(CONFIG_IOMMUFD)
/*
 * From one IOAS to another, the device has none for a moment. Who pins meanwhile waits
 * instead of being told so.
 */
static int device_attach_ioas(struct vfio_device *vdev, u32 *pt_id)
{
	struct mdma_unmap *unmap = &mdma_of(vdev)->engine.unmap;
	struct mdma_going *going;
	int ret;

	if (!vdev->iommufd_attached)
		return vfio_iommufd_emulated_attach_ioas(vdev, pt_id);
	going = mdma_unmap_announce(unmap, 0, U64_MAX);
	ret = vfio_iommufd_emulated_attach_ioas(vdev, pt_id);
	mdma_unmap_over(unmap, going);
	return ret;
}
#else
#define device_attach_ioas	NULL
#endif

const struct vfio_device_ops mdma_vfio_ops = {
	.name		= "mdma",
	.init		= device_init,
	.release	= device_release,
	.open_device	= device_open,
	.close_device	= device_close,
	.read		= device_read,
	.write		= device_write,
	.ioctl		= device_ioctl,
#ifdef MDMA_HAS_REGION_INFO_CAPS
	.get_region_info_caps = region_info,
#endif
	.request	= device_request,
	.dma_unmap	= device_dma_unmap,
	.bind_iommufd	= bind_iommufd,
	.unbind_iommufd	= unbind_iommufd,
	.attach_ioas	= device_attach_ioas,
	.detach_ioas	= vfio_iommufd_emulated_detach_ioas,
};
