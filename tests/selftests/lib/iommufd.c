// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/iommufd.h>

#include "iommufd.h"

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

int iommufd_open(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ioas_alloc(int iommufd, __u32 *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = call(iommufd, IOMMU_IOAS_ALLOC, &alloc);

	*ioas = alloc.out_ioas_id;
	return ret;
}

int ioas_destroy(int iommufd, __u32 ioas)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = ioas };

	return call(iommufd, IOMMU_DESTROY, &destroy);
}

int ioas_map(int iommufd, __u32 ioas, void *mem, __u64 iova, __u64 size)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.user_va = (unsigned long)mem,
		.length = size,
		.iova = iova,
	};

	return call(iommufd, IOMMU_IOAS_MAP, &map);
}

int ioas_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = iova,
		.length = size,
	};

	return call(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

int cdev_open(const char *uuid)
{
	char path[512] = "";
	struct dirent *entry;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/vfio-dev", uuid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, "vfio", 4))
			snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
				 entry->d_name);
	closedir(dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cdev_bind(int device, int iommufd)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};

	return call(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
}

int cdev_attach(int device, __u32 ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = ioas,
	};

	return call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int cdev_detach(int device)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int mdma_bind(struct mdma *m, int iommufd)
{
	int ret;

	m->device = cdev_open(m->uuid);
	if (m->device < 0)
		return m->device;
	ret = cdev_bind(m->device, iommufd);
	return ret ? ret : mdma_begin(m);
}

int iommufd_rig_open(struct rig *r, const char *type, __u64 pages, __u32 *ioas)
{
	int ret;

	memset(r, 0, sizeof(*r));
	r->pages = pages;
	r->mem = memory(pages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	r->container = iommufd_open();
	ret = r->container < 0 ? r->container : ioas_alloc(r->container, ioas);
	if (!ret)
		ret = ioas_map(r->container, *ioas, r->mem, at(0),
			       pages << PAGE_SHIFT);
	if (!ret)
		ret = mdma_create(&r->dev, type);
	if (!ret)
		ret = mdma_bind(&r->dev, r->container);
	return ret ? ret : cdev_attach(r->dev.device, *ioas);
}
