// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "migration.h"

int feature(int device, __u32 flags, void *data, unsigned int size)
{
	unsigned int argsz = sizeof(struct vfio_device_feature) + size;
	struct vfio_device_feature *arg = calloc(1, argsz);
	int ret;

	arg->argsz = argsz;
	arg->flags = flags;
	memcpy(arg->data, data, size);
	ret = ioctl(device, VFIO_DEVICE_FEATURE, arg) ? -errno : 0;
	memcpy(data, arg->data, size);
	free(arg);
	return ret;
}

long long mig_flags(int device)
{
	struct vfio_device_feature_migration mig = { 0 };
	int ret = feature(device, VFIO_DEVICE_FEATURE_GET |
			  VFIO_DEVICE_FEATURE_MIGRATION, &mig, sizeof(mig));

	return ret ? ret : (long long)mig.flags;
}

int mig_get(int device)
{
	struct vfio_device_feature_mig_state mig = { 0 };
	int ret = feature(device, VFIO_DEVICE_FEATURE_GET |
			  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
			  sizeof(mig));

	return ret ? ret : (int)mig.device_state;
}

int mig_set(int device, int state, int *data_fd)
{
	struct vfio_device_feature_mig_state mig = {
		.device_state = state, .data_fd = -1,
	};
	int ret = feature(device, VFIO_DEVICE_FEATURE_SET |
			  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig,
			  sizeof(mig));

	if (data_fd)
		*data_fd = ret ? -1 : mig.data_fd;
	else if (!ret && mig.data_fd >= 0)
		close(mig.data_fd);
	return ret;
}

int mig_precopy_info(int data_fd, struct vfio_precopy_info *info)
{
	*info = (struct vfio_precopy_info) {
		.argsz = sizeof(*info), .flags = PRECOPY_INFO_JUNK,
	};
	return ioctl(data_fd, VFIO_MIG_GET_PRECOPY_INFO, info) ? -errno : 0;
}

long long mig_data_size(int device)
{
	struct vfio_device_feature_mig_data_size data = { 0 };
	int ret = feature(device, VFIO_DEVICE_FEATURE_GET |
			  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, &data,
			  sizeof(data));

	return ret ? ret : (long long)data.stop_copy_length;
}

long long mig_read(int data_fd, void *buf, long long size)
{
	long long done = 0;
	ssize_t n;

	while (done < size) {
		n = read(data_fd, (char *)buf + done, size - done);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += n;
	}
	return done;
}

long long mig_save(int device, void *buf, long long size)
{
	long long n;
	int fd, ret;

	ret = mig_set(device, MIG(STOP_COPY), &fd);
	if (ret)
		return ret;
	n = mig_read(fd, buf, size);
	close(fd);
	ret = mig_set(device, MIG(STOP), NULL);
	return ret ? ret : n;
}

int mig_load(int device, const void *buf, long long size, int *to_stop)
{
	long long done = 0;
	int fd, ret, stop;
	ssize_t n;

	ret = mig_set(device, MIG(RESUMING), &fd);
	if (ret)
		return ret;
	while (!ret && done < size) {
		n = write(fd, (const char *)buf + done, size - done);
		if (n <= 0)
			ret = n ? -errno : -EIO;
		done += n;
	}
	stop = mig_set(device, MIG(STOP), NULL);
	close(fd);
	if (to_stop)
		*to_stop = stop;
	return ret ? ret : stop;
}
