// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "procfs.h"
#include "vfio.h"
#include "wait.h"

#define MDEV_DEVICES	"/sys/bus/mdev/devices"
#define MDEV_TYPES	"/sys/class/mdev_bus/mdma/mdev_supported_types"

/* The mark in a UUID that identifies leftovers, and its position. */
#define MARK		"5e1f7e57"
#define MARK_AT		24

static int ioctl_errno(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int mdev_create(const char *type, char uuid[37])
{
	unsigned char r[12];
	char path[256];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	snprintf(uuid, 37,
		 "%02x%02x%02x%02x-%02x%02x-4%01x%02x-8%01x%02x-" MARK "%02x%02x",
		 r[0], r[1], r[2], r[3], r[4], r[5], r[6] & 15, r[7],
		 r[8] & 15, r[9], r[10], r[11]);
	snprintf(path, sizeof(path), MDEV_TYPES "/%s/create", type);
	return file_write(path, uuid);
}

int mdev_remove(const char *uuid)
{
	char path[256];

	snprintf(path, sizeof(path), MDEV_DEVICES "/%s/remove", uuid);
	return file_write(path, "1");
}

void mdev_remove_leftovers(void)
{
	DIR *dir = opendir(MDEV_DEVICES);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strlen(entry->d_name) == 36 &&
		    !strncmp(entry->d_name + MARK_AT, MARK, strlen(MARK)))
			mdev_remove(entry->d_name);
	if (dir)
		closedir(dir);
}

static int try_open_of(const char *device)
{
	char path[256], target[256];
	int len, fd;

	snprintf(path, sizeof(path), "%s/iommu_group", device);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	fd = open(path, O_RDWR);
	return fd < 0 ? -errno : fd;
}

int group_open_of(const char *device)
{
	int fd;

	/* A user that was just killed may not have exited yet. */
	WAIT_FOR((fd = try_open_of(device)) != -EBUSY);
	return fd;
}

int group_open(const char *uuid)
{
	char path[256];

	snprintf(path, sizeof(path), MDEV_DEVICES "/%s", uuid);
	return group_open_of(path);
}

int group_try_open(const char *uuid)
{
	char path[256];

	snprintf(path, sizeof(path), MDEV_DEVICES "/%s", uuid);
	return try_open_of(path);
}

int group_attach(int group, int container)
{
	return ioctl_errno(group, VFIO_GROUP_SET_CONTAINER, &container);
}

int group_detach(int group)
{
	return ioctl_errno(group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

int group_get_device(int group, const char *name)
{
	return ioctl_errno(group, VFIO_GROUP_GET_DEVICE_FD, (void *)name);
}

int container_open(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR);

	return fd < 0 ? -errno : fd;
}

int container_set_type(int container, unsigned long type)
{
	return ioctl_errno(container, VFIO_SET_IOMMU, (void *)type);
}

int dma_map(int container, void *vaddr, __u64 iova, __u64 size, __u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (unsigned long)vaddr,
		.iova = iova,
		.size = size,
	};

	return ioctl_errno(container, VFIO_IOMMU_MAP_DMA, &map);
}

int unmap_ioctl(int container, void *arg)
{
	return ioctl_errno(container, VFIO_IOMMU_UNMAP_DMA, arg);
}

int dma_unmap(int container, __u64 iova, __u64 size, __u64 *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};
	int ret = unmap_ioctl(container, &unmap);

	if (unmapped)
		*unmapped = unmap.size;
	return ret;
}

void dma_unmap_get_prepare(struct vfio_unmap_get *unmap, __u64 iova,
			   __u64 size, void *bitmap)
{
	*unmap = (struct vfio_unmap_get) {
		.head = {
			.argsz = sizeof(*unmap),
			.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
			.iova = iova,
			.size = size,
		},
		.bitmap = {
			.pgsize = PAGE_SIZE,
			.size = bitmap_bytes(size >> PAGE_SHIFT),
			.data = bitmap,
		},
	};
}

int dma_unmap_get(int container, __u64 iova, __u64 size, void *bitmap,
		  __u64 *unmapped)
{
	struct vfio_unmap_get unmap;
	int ret;

	dma_unmap_get_prepare(&unmap, iova, size, bitmap);
	ret = unmap_ioctl(container, &unmap);
	if (unmapped)
		*unmapped = unmap.head.size;
	return ret;
}

int dirty_ioctl(int container, void *arg)
{
	return ioctl_errno(container, VFIO_IOMMU_DIRTY_PAGES, arg);
}

static int dirty_command(int container, __u32 flags)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = {
		.argsz = sizeof(dirty),
		.flags = flags,
	};

	return dirty_ioctl(container, &dirty);
}

int dirty_start(int container)
{
	return dirty_command(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
}

int dirty_stop(int container)
{
	return dirty_command(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
}

void dirty_get_prepare(struct vfio_get *get, __u64 iova, __u64 size,
		       void *bitmap)
{
	*get = (struct vfio_get) {
		.head = {
			.argsz = sizeof(*get),
			.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		},
		.range = {
			.iova = iova,
			.size = size,
			.bitmap = {
				.pgsize = PAGE_SIZE,
				.size = bitmap_bytes(size >> PAGE_SHIFT),
				.data = bitmap,
			},
		},
	};
}

int dirty_get(int container, __u64 iova, __u64 size, void *bitmap)
{
	struct vfio_get get;

	dirty_get_prepare(&get, iova, size, bitmap);
	return dirty_ioctl(container, &get);
}

const char *bitmap_text(const void *bitmap, __u64 npages)
{
	static char texts[8][2048];
	static unsigned int turn;
	char *text = texts[turn++ % 8];
	__u64 first, n;
	int len = 0;

	for (n = 0; n < npages && len < 2000; n++) {
		if (!bitmap_bit(bitmap, n))
			continue;
		first = n;
		while (n + 1 < npages && bitmap_bit(bitmap, n + 1))
			n++;
		len += sprintf(text + len, "%s%llu", len ? "," : "", first);
		if (n > first)
			len += sprintf(text + len, "-%llu", n);
	}
	return len ? text : "none";
}
