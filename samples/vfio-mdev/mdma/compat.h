/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where kernels differ. Kbuild looks into the headers of the kernel that it builds for,
 * and says by macros what it found there, since stable kernels take changes from newer
 * ones.
 */
#ifndef MDMA_COMPAT_H
#define MDMA_COMPAT_H

#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

/* Binary attributes of sysfs and their lists are const. */
#ifdef MDMA_HAS_CONST_BIN_ATTRIBUTE
#define MDMA_BIN_CONST	const
#else
#define MDMA_BIN_CONST
#endif

#ifndef MDMA_HAS_REGION_INFO_CAPS
typedef int (*mdma_region_info_fn)(struct vfio_device *vdev,
				   struct vfio_region_info *info,
				   struct vfio_info_cap *caps);

/* What a kernel with vfio_device_ops.get_region_info_caps does with @caps. */
static inline int mdma_compat_put_caps(struct vfio_region_info *info,
				       struct vfio_info_cap *caps,
				       void __user *arg)
{
	size_t size = sizeof(*info) + caps->size;

	if (!caps->size)
		return 0;
	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	if (info->argsz < size) {
		info->argsz = size;
		return 0;
	}
	vfio_info_cap_shift(caps, sizeof(*info));
	info->cap_offset = sizeof(*info);
	return copy_to_user(arg + sizeof(*info), caps->buf, caps->size) ?
	       -EFAULT : 0;
}

/**
 * mdma_compat_region_info() - VFIO_DEVICE_GET_REGION_INFO
 * @vdev: that is asked
 * @arg: struct vfio_region_info of the user
 * @region_info: as vfio_device_ops.get_region_info_caps, which this kernel lacks
 *
 * Return: 0 or a negative error.
 */
static inline int mdma_compat_region_info(struct vfio_device *vdev,
					  void __user *arg,
					  mdma_region_info_fn region_info)
{
	size_t minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info = {};
	struct vfio_info_cap caps = {};
	int ret;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	ret = region_info(vdev, &info, &caps);
	if (!ret)
		ret = mdma_compat_put_caps(&info, &caps, arg);
	if (!ret && copy_to_user(arg, &info, minsz))
		ret = -EFAULT;
	kfree(caps.buf);
	return ret;
}
#endif

#endif /* MDMA_COMPAT_H */
