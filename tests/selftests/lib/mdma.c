// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "mdma.h"
#include "procfs.h"
#include "vfio.h"

static int debugfs_open(struct mdma *m, const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/mdma/%s/%s", m->uuid,
		 name);
	fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int mdma_create(struct mdma *m, const char *type)
{
	int ret;

	*m = (struct mdma) {
		.group = -1, .device = -1, .pin = -1, .unpin = -1, .rw = -1,
	};
	ret = mdev_create(type, m->uuid);
	if (ret) {
		m->uuid[0] = 0;
		return ret;
	}
	m->id = strtoul(m->uuid, NULL, 16);
	m->pin = debugfs_open(m, "pin", O_WRONLY);
	m->unpin = debugfs_open(m, "unpin", O_WRONLY);
	m->rw = debugfs_open(m, "rw", O_WRONLY);
	return m->pin < 0 || m->unpin < 0 || m->rw < 0 ? -ENOENT : 0;
}

void mdma_close(struct mdma *m)
{
	close_fd(&m->device);
	close_fd(&m->group);
}

void mdma_destroy(struct mdma *m)
{
	if (!m->uuid[0])
		return;
	mdma_close(m);
	close_fd(&m->pin);
	close_fd(&m->unpin);
	close_fd(&m->rw);
	mdev_remove(m->uuid);
	m->uuid[0] = 0;
}

int mdma_attach(struct mdma *m, int container)
{
	if (m->group < 0)
		m->group = group_open(m->uuid);
	return m->group < 0 ? m->group : group_attach(m->group, container);
}

static int region_offset(struct mdma *m, unsigned int index, __u64 *offset)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = index,
	};

	if (ioctl(m->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	*offset = info.offset;
	return 0;
}

int mdma_config_read(struct mdma *m, int offset, void *data, int size)
{
	__u64 begin = 0;
	int ret = region_offset(m, VFIO_PCI_CONFIG_REGION_INDEX, &begin);

	if (!ret && pread(m->device, data, size, begin + offset) != size)
		ret = -errno;
	return ret;
}

int mdma_config_write(struct mdma *m, int offset, const void *data, int size)
{
	__u64 begin = 0;
	int ret = region_offset(m, VFIO_PCI_CONFIG_REGION_INDEX, &begin);

	if (!ret && pwrite(m->device, data, size, begin + offset) != size)
		ret = -errno;
	return ret;
}

/* A guest's driver enables bus mastering before any DMA. */
static int set_bus_master(struct mdma *m)
{
	__u16 command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	return mdma_config_write(m, PCI_COMMAND, &command, sizeof(command));
}

int mdma_reset(struct mdma *m)
{
	if (ioctl(m->device, VFIO_DEVICE_RESET))
		return -errno;
	return set_bus_master(m);
}

int mdma_begin(struct mdma *m)
{
	int ret = region_offset(m, VFIO_PCI_BAR0_REGION_INDEX, &m->bar0);

	return ret ? ret : set_bus_master(m);
}

int mdma_open(struct mdma *m)
{
	m->device = group_get_device(m->group, m->uuid);
	return m->device < 0 ? m->device : mdma_begin(m);
}

static int hook(int fd, const char *fmt, ...)
{
	char text[128];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* write() would wait for another thread's write() to the same descriptor. */
	return pwrite(fd, text, len, 0) < 0 ? -errno : 0;
}

int mdma_pin(struct mdma *m, __u64 iova, unsigned int npages, char mode)
{
	return hook(m->pin, "0x%llx %u %c", iova, npages, mode);
}

int mdma_unpin(struct mdma *m, __u64 iova, unsigned int npages)
{
	return hook(m->unpin, "0x%llx %u", iova, npages);
}

int mdma_rw_write(struct mdma *m, __u64 iova, unsigned int len, int byte)
{
	return hook(m->rw, "0x%llx %u w %u", iova, len, byte);
}

int mdma_rw_read(struct mdma *m, __u64 iova, unsigned int len)
{
	return hook(m->rw, "0x%llx %u r", iova, len);
}

int mdma_rw_expect(struct mdma *m, __u64 iova, unsigned int len, int first)
{
	return hook(m->rw, "0x%llx %u r %u", iova, len, first);
}

static void attribute(struct mdma *m, const char *name, char *path, int size)
{
	snprintf(path, size, "/sys/bus/mdev/devices/%s/%s", m->uuid, name);
}

int mdma_set(struct mdma *m, const char *name, const char *fmt, ...)
{
	char path[256], text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	attribute(m, name, path, sizeof(path));
	return file_write(path, text);
}

long long mdma_get(struct mdma *m, const char *name)
{
	char path[256];

	attribute(m, name, path, sizeof(path));
	return file_number(path);
}

int mdma_get_text(struct mdma *m, const char *name, char *text, int size)
{
	char path[256];

	attribute(m, name, path, sizeof(path));
	return file_read(path, text, size);
}

static int debugfs_write(struct mdma *m, const char *name, __u64 value)
{
	int fd = debugfs_open(m, name, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (dprintf(fd, "%llu", value) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int mdma_set_leak(struct mdma *m, int on)
{
	return debugfs_write(m, "leak_on_unmap", on);
}

int mdma_set_unmap_stall(struct mdma *m, int on)
{
	return debugfs_write(m, "stall_unmap", on);
}

int mdma_set_pin_stall(struct mdma *m, int where)
{
	return debugfs_write(m, "stall_pin", where);
}

int mdma_set_stall(struct mdma *m, __u64 bytes)
{
	return debugfs_write(m, "stall_midway", bytes);
}

int mdma_clear_ledger(struct mdma *m)
{
	return debugfs_write(m, "ledger_clear", 1);
}

long long mdma_ledger(struct mdma *m, struct mdma_ledger_record **records)
{
	int fd = debugfs_open(m, "ledger", O_RDONLY);
	size_t size = 0, room = 1 << 16;
	char *data = malloc(room);
	ssize_t n;

	*records = NULL;
	if (fd < 0 || !data)
		return fd < 0 ? fd : -ENOMEM;
	while ((n = read(fd, data + size, room - size)) > 0) {
		size += n;
		if (size == room)
			data = realloc(data, room *= 2);
	}
	n = n < 0 ? -errno : (ssize_t)(size / sizeof(**records));
	if (n >= 0 && size % sizeof(**records))
		n = -EIO;
	close(fd);
	*records = (void *)data;
	return n;
}

__u32 mdma_read32(struct mdma *m, __u32 reg)
{
	__u32 value;

	if (pread(m->device, &value, 4, m->bar0 + reg) != 4)
		return -1;
	return value;
}

__u64 mdma_read64(struct mdma *m, __u32 reg)
{
	__u64 value;

	if (pread(m->device, &value, 8, m->bar0 + reg) != 8)
		return -1;
	return value;
}

int mdma_write32(struct mdma *m, __u32 reg, __u32 value)
{
	return pwrite(m->device, &value, 4, m->bar0 + reg) == 4 ? 0 : -errno;
}

int mdma_write64(struct mdma *m, __u32 reg, __u64 value)
{
	return pwrite(m->device, &value, 8, m->bar0 + reg) == 8 ? 0 : -errno;
}
