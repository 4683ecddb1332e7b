// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vfio calls for device-side dirty tracking: from vfio's device to ours.
 * Takes the gate.
 */
#include <linux/kconfig.h>
#include <linux/vfio.h>

#include "mdma.h"

static struct mdma_dirty_log *to_log(struct vfio_device *vdev)
{
	return &container_of(vdev, struct mdma_device, vdev)->engine.dirty_log;
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
 * mdma_dirty_log_enable() - offer device-side dirty tracking, or do not
 * @dev: any
 * @on: offer it
 *
 * A kernel without iova_bitmap (CONFIG_IOMMUFD_DRIVER) would let the user start
 * the log and then report nothing.
 *
 * Return: 0, -EBUSY while the device is open, or -EOPNOTSUPP.
 */
int mdma_dirty_log_enable(struct mdma_device *dev, bool on)
{
	int ret = -EBUSY;

	if (on && !IS_ENABLED(CONFIG_IOMMUFD_DRIVER))
		return -EOPNOTSUPP;
	down_write(&dev->engine.gate);
	if (!dev->engine.open) {
		dev->vdev.log_ops = on ? &log_ops : NULL;
		dev->engine.dirty_log.enabled = on;
		ret = 0;
	}
	up_write(&dev->engine.gate);
	return ret;
}
