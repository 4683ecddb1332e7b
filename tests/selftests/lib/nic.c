// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "nic.h"
#include "procfs.h"
#include "vfio.h"
#include "wait.h"

/* Registers of the 82574L in BAR0, and bits of them. */
#define REG_CTRL	0x0000
#define CTRL_RST	(1U << 26)
#define REG_TCTL	0x0400
#define TCTL_EN		(1U << 1)
#define REG_TDBAL	0x3800
#define REG_TDBAH	0x3804
#define REG_TDLEN	0x3808
#define REG_TDH		0x3810
#define REG_TDT		0x3818

/* A legacy transmit descriptor. */
struct tx_desc {
	__u64 addr;
	__u16 length;
	__u8 cso;
	__u8 cmd;
	__u8 status;
	__u8 css;
	__u16 special;
};

#define TX_CMD_EOP	0x01	/* end of packet */
#define TX_CMD_RS	0x08	/* report status */
#define TX_STATUS_DD	0x01	/* descriptor done */
#define TX_RING_BYTES	128	/* the smallest: 8 descriptors */

#define PCI_DEVICES	"/sys/bus/pci/devices"

static int is_e1000e(const struct nic *nic)
{
	char path[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vendor", nic->name);
	if (file_number(path) != 0x8086)
		return 0;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/device", nic->name);
	return file_number(path) == 0x10d3;
}

int nic_find(struct nic *nic, const char *driver)
{
	struct dirent *entry;
	char directory[64];
	DIR *dir;

	*nic = (struct nic) { .group = -1, .device = -1 };
	snprintf(directory, sizeof(directory), "/sys/bus/pci/drivers/%s",
		 driver);
	dir = opendir(directory);
	while (dir && (entry = readdir(dir))) {
		if (strlen(entry->d_name) >= sizeof(nic->name))
			continue;
		strcpy(nic->name, entry->d_name);
		if (is_e1000e(nic))
			break;
		nic->name[0] = 0;
	}
	if (dir)
		closedir(dir);
	return nic->name[0] ? 0 : -ENOENT;
}

void *nic_map_bar0(const struct nic *nic, __u64 size)
{
	char path[64];
	void *bar;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource0", nic->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	bar = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return bar == MAP_FAILED ? NULL : bar;
}

int nic_attach(struct nic *nic, int container)
{
	char path[64];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", nic->name);
	if (nic->group < 0)
		nic->group = group_open_of(path);
	return nic->group < 0 ? nic->group : group_attach(nic->group, container);
}

int nic_detach(struct nic *nic)
{
	return group_detach(nic->group);
}

int nic_open(struct nic *nic)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	__u16 command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	nic->device = group_get_device(nic->group, nic->name);
	if (nic->device < 0)
		return nic->device;
	if (ioctl(nic->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	if (pwrite(nic->device, &command, sizeof(command),
		   info.offset + PCI_COMMAND) != sizeof(command))
		return -errno;
	info.index = VFIO_PCI_BAR0_REGION_INDEX;
	if (ioctl(nic->device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	nic->bar0 = info.offset;
	return 0;
}

void nic_close(struct nic *nic)
{
	if (nic->device >= 0)
		close(nic->device);
	nic->device = -1;
}

void nic_release(struct nic *nic)
{
	nic_close(nic);
	if (nic->group >= 0)
		close(nic->group);
	nic->group = -1;
}

/* How long to wait for DMA that must not happen. */
#define BLOCKED_MS	1000

static int set_reg(struct nic *nic, __u32 reg, __u32 value)
{
	return pwrite(nic->device, &value, 4, nic->bar0 + reg) == 4 ? 0 : -errno;
}

/* Makes the NIC mark a descriptor as done. Returns 0, or what the registers say. */
static int nic_dma_begin(struct nic *nic, __u64 iova, volatile struct tx_desc *desc)
{
	/* A ring whose first descriptor is queued. */
	const struct {
		__u32 reg;
		__u32 value;
	} setup[] = {
		{ REG_CTRL, CTRL_RST },
		{ REG_TDBAL, iova },
		{ REG_TDBAH, iova >> 32 },
		{ REG_TDLEN, TX_RING_BYTES },
		{ REG_TDH, 0 },
		{ REG_TCTL, TCTL_EN },
		{ REG_TDT, 1 },
	};
	unsigned int i;
	int ret = 0;

	desc->addr = iova;
	desc->length = 64;
	desc->cmd = TX_CMD_EOP | TX_CMD_RS;
	for (i = 0; !ret && i < sizeof(setup) / sizeof(setup[0]); i++)
		ret = set_reg(nic, setup[i].reg, setup[i].value);
	return ret;
}

int nic_dma_write(struct nic *nic, __u64 iova, void *vaddr)
{
	volatile struct tx_desc *desc = vaddr;
	int ret = nic_dma_begin(nic, iova, desc);

	if (ret)
		return ret;
	return WAIT_FOR(desc->status & TX_STATUS_DD) ? 0 : -ETIMEDOUT;
}

int nic_dma_is_blocked(struct nic *nic, __u64 iova, void *vaddr)
{
	volatile struct tx_desc *desc = vaddr;
	int ret = nic_dma_begin(nic, iova, desc);

	if (ret)
		return ret;
	usleep(BLOCKED_MS * 1000);
	return !(desc->status & TX_STATUS_DD);
}

static int hook(struct nic *nic, const char *file, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/mdma_nic/%s/%s",
		 nic->name, file);
	return file_write(path, text);
}

int nic_pin(struct nic *nic, __u64 iova, unsigned int npages, char mode)
{
	char text[64];

	snprintf(text, sizeof(text), "0x%llx %u %c", iova, npages, mode);
	return hook(nic, "pin", text);
}

int nic_unpin(struct nic *nic)
{
	return hook(nic, "unpin", "1");
}
