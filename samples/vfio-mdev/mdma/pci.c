// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI function as vfio-pci shows it: config space, regions, interrupts,
 * ioctls. A conventional function with one memory BAR, INTx, MSI-X, and a reset
 * by its Advanced Features; and a region for the ledger, which no function has.
 * Takes mdma_regs.lock, and the gate for what the engine looks at.
 */
#include <linux/kernel.h>
#include <linux/mdma.h>
#include <linux/pci_regs.h>
#include <linux/pci_ids.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include <linux/vfio.h>

#include "engine.h"
#include "intx.h"
#include "irq.h"
#include "ledger_region.h"
#include "migration.h"
#include "pci.h"
#include "regs.h"

/* A region's offset in the device's file, as vfio-pci has it. */
#define REGION_SHIFT	40
#define REGION_OFFSET(index)	((u64)(index) << REGION_SHIFT)

/* A region that vfio-pci does not have, behind those that it has. */
#define LEDGER_REGION	VFIO_PCI_NUM_REGIONS
#define NUM_REGIONS	(LEDGER_REGION + 1)

#define MSIX_CAP	PCI_STD_HEADER_SIZEOF
#define AF_CAP		(MSIX_CAP + PCI_CAP_MSIX_SIZEOF)

/**
 * mdma_pci_reset() - config space gets its first values
 * @pci: lock of mdma_regs held, gate held for writing
 */
void mdma_pci_reset(struct mdma_pci *pci)
{
	u8 *config = pci->config;

	memset(config, 0, sizeof(pci->config));
	put_unaligned_le16(MDMA_PCI_VENDOR_ID, &config[PCI_VENDOR_ID]);
	put_unaligned_le16(MDMA_PCI_DEVICE_ID, &config[PCI_DEVICE_ID]);
	put_unaligned_le16(PCI_STATUS_CAP_LIST, &config[PCI_STATUS]);
	config[PCI_REVISION_ID] = MDMA_PCI_REVISION;
	put_unaligned_le16(PCI_CLASS_SYSTEM_OTHER, &config[PCI_CLASS_DEVICE]);
	put_unaligned_le32(PCI_BASE_ADDRESS_SPACE_MEMORY |
			   PCI_BASE_ADDRESS_MEM_TYPE_32,
			   &config[PCI_BASE_ADDRESS_0]);
	put_unaligned_le16(MDMA_PCI_VENDOR_ID,
			   &config[PCI_SUBSYSTEM_VENDOR_ID]);
	put_unaligned_le16(MDMA_PCI_DEVICE_ID, &config[PCI_SUBSYSTEM_ID]);
	config[PCI_CAPABILITY_LIST] = MSIX_CAP;
	config[MSIX_CAP + PCI_CAP_LIST_ID] = PCI_CAP_ID_MSIX;
	config[PCI_INTERRUPT_PIN] = 1;
	config[MSIX_CAP + PCI_CAP_LIST_NEXT] = AF_CAP;
	config[AF_CAP + PCI_CAP_LIST_ID] = PCI_CAP_ID_AF;
	config[AF_CAP + PCI_AF_LENGTH] = PCI_CAP_AF_SIZEOF;
	config[AF_CAP + PCI_AF_CAP] = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
	put_unaligned_le16(pci->engine->nr_channels - 1,
			   &config[MSIX_CAP + PCI_MSIX_FLAGS]);
	put_unaligned_le32(MDMA_MSIX_TABLE_OFFSET,
			   &config[MSIX_CAP + PCI_MSIX_TABLE]);
	put_unaligned_le32(MDMA_MSIX_PBA_OFFSET,
			   &config[MSIX_CAP + PCI_MSIX_PBA]);
	pci->memory = false;
	pci->engine->bus_master = false;
	pci->intx->enabled = true;
}

/**
 * mdma_pci_reset_function() - the reset of a PCI function
 * @pci: of a device that is open, lock of mdma_regs held, not the gate
 *
 * What mdma_regs_reset_device() does, and config space gets its first values.
 */
void mdma_pci_reset_function(struct mdma_pci *pci)
{
	mdma_regs_reset_device(pci->regs);
	down_write(&pci->engine->gate);
	mdma_pci_reset(pci);
	up_write(&pci->engine->gate);
}

/* The bits of a byte of config space that can be written. */
static u8 config_mask(u32 offset)
{
	switch (offset) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_CACHE_LINE_SIZE:
	case PCI_LATENCY_TIMER:
	case PCI_INTERRUPT_LINE:
		return 0xff;
	case PCI_BASE_ADDRESS_0 ... PCI_BASE_ADDRESS_0 + 3:
		return (u32)-MDMA_BAR0_SIZE >>
		       (8 * (offset - PCI_BASE_ADDRESS_0));
	case MSIX_CAP + PCI_MSIX_FLAGS + 1:
		return (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	default:
		return 0;
	}
}

/* Makes the engine see what was written to config space. */
static void config_apply(struct mdma_pci *pci)
{
	u16 command = get_unaligned_le16(&pci->config[PCI_COMMAND]);
	u16 msix = get_unaligned_le16(&pci->config[MSIX_CAP + PCI_MSIX_FLAGS]);
	bool master = command & PCI_COMMAND_MASTER;
	bool intx = !(command & PCI_COMMAND_INTX_DISABLE) &&
		    !(msix & PCI_MSIX_FLAGS_ENABLE);

	pci->memory = command & PCI_COMMAND_MEMORY;
	if (master == pci->engine->bus_master && intx == pci->intx->enabled)
		return;
	down_write(&pci->engine->gate);
	pci->engine->bus_master = master;
	pci->intx->enabled = intx;
	mdma_engine_kick(pci->engine);
	mdma_intx_update(pci->intx);
	up_write(&pci->engine->gate);
}

/* Whether a write of config space is one of Initiate FLR. */
static bool initiates_flr(u32 offset, const u8 *data, u32 count)
{
	u32 ctrl = AF_CAP + PCI_AF_CTRL;

	return offset <= ctrl && ctrl < offset + count &&
	       data[ctrl - offset] & PCI_AF_CTRL_FLR;
}

static void config_write(struct mdma_pci *pci, u32 offset, const u8 *data,
			 u32 count)
{
	u32 i;

	if (initiates_flr(offset, data, count)) {
		mdma_pci_reset_function(pci);
		return;
	}
	for (i = 0; i < count; i++) {
		u8 mask = config_mask(offset + i);
		u8 *byte = &pci->config[offset + i];

		*byte = (*byte & ~mask) | (data[i] & mask);
	}
	config_apply(pci);
}

static void config_read(struct mdma_pci *pci, u32 offset, u8 *data,
			u32 count)
{
	u8 *status = &pci->config[PCI_STATUS];

	*status &= ~PCI_STATUS_INTERRUPT;
	if (mdma_intx_pending(pci->intx))
		*status |= PCI_STATUS_INTERRUPT;
	memcpy(data, &pci->config[offset], count);
}

/* Access to BAR0: one that is not aligned 4 or 8 bytes hits no register. */
static void bar_read(struct mdma_pci *pci, u32 offset, u8 *data, u32 count)
{
	u32 i;

	memset(data, 0xff, count);
	if (!pci->memory || count < 4)
		return;
	for (i = 0; i < count; i += 4)
		put_unaligned_le32(mdma_regs_read(pci->regs, offset + i), data + i);
}

static void bar_write(struct mdma_pci *pci, u32 offset, const u8 *data,
		      u32 count)
{
	u32 i;

	if (!pci->memory || count < 4)
		return;
	for (i = 0; i < count; i += 4)
		mdma_regs_write(pci->regs, offset + i, get_unaligned_le32(data + i));
}

static void region_access(struct mdma_pci *pci, u32 index, u32 offset,
			  u8 *data, u32 count, bool write)
{
	mutex_lock(&pci->regs->lock);
	if (index == VFIO_PCI_CONFIG_REGION_INDEX && write)
		config_write(pci, offset, data, count);
	else if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		config_read(pci, offset, data, count);
	else if (write)
		bar_write(pci, offset, data, count);
	else
		bar_read(pci, offset, data, count);
	mutex_unlock(&pci->regs->lock);
}

static u64 region_size(struct mdma_pci *pci, u32 index)
{
	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return MDMA_CONFIG_SIZE;
	case VFIO_PCI_BAR0_REGION_INDEX:
		return MDMA_BAR0_SIZE;
	case LEDGER_REGION:
		return mdma_ledger_region_size(pci->ledger_view);
	default:
		return 0;
	}
}

/* The largest aligned power of two, up to 8, that an access can begin with. */
static u32 access_size(u32 offset, size_t left)
{
	u32 size = 8;

	while (offset % size || size > left)
		size /= 2;
	return size;
}

static ssize_t read_ledger(struct mdma_pci *pci, char __user *buf,
			   size_t count, loff_t *ppos, u64 offset)
{
	ssize_t ret = mdma_ledger_region_read(pci->ledger_view, buf, count, offset);

	if (ret > 0)
		*ppos += ret;
	return ret;
}

static ssize_t region_rw(struct mdma_pci *pci, char __user *buf,
			 size_t count, loff_t *ppos, bool write)
{
	u64 index = (u64)*ppos >> REGION_SHIFT;
	u64 offset = *ppos & (REGION_OFFSET(1) - 1);
	u64 limit = index < NUM_REGIONS ? region_size(pci, index) : 0;
	size_t done, size;
	u8 data[8];

	if (offset >= limit)
		return -EINVAL;
	if (index == LEDGER_REGION && write)
		return -EINVAL;
	count = min_t(u64, count, limit - offset);
	if (index == LEDGER_REGION)
		return read_ledger(pci, buf, count, ppos, offset);
	for (done = 0; done < count; done += size) {
		size = access_size(offset + done, count - done);
		if (write && copy_from_user(data, buf + done, size))
			return -EFAULT;
		region_access(pci, index, offset + done, data, size, write);
		if (!write && copy_to_user(buf + done, data, size))
			return -EFAULT;
	}
	*ppos += done;
	return done;
}

/**
 * mdma_pci_read() - read from a region
 * @pci: of a device that is open
 * @buf: of the user
 * @count: bytes; what is beyond the region's end is left out
 * @ppos: region and offset
 *
 * Return: bytes, -EINVAL if there is no such region, -EFAULT.
 */
ssize_t mdma_pci_read(struct mdma_pci *pci, char __user *buf, size_t count,
		      loff_t *ppos)
{
	return region_rw(pci, buf, count, ppos, false);
}

/**
 * mdma_pci_write() - write to a region
 * @pci: of a device that is open
 * @buf: of the user
 * @count: bytes; what is beyond the region's end is left out
 * @ppos: region and offset
 *
 * Return: bytes, -EINVAL if there is no such region, -EFAULT.
 */
ssize_t mdma_pci_write(struct mdma_pci *pci, const char __user *buf,
		       size_t count, loff_t *ppos)
{
	return region_rw(pci, (char __user *)buf, count, ppos, true);
}

static int get_info(void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/*
 * Adds the capability that says what the ledger's region is. If the user left
 * no room for it, @argsz says how much is needed.
 */
static int add_ledger_type(struct vfio_info_cap *caps)
{
	struct vfio_region_info_cap_type type = {
		.header.id = VFIO_REGION_INFO_CAP_TYPE,
		.header.version = 1,
		.type = VFIO_REGION_TYPE_PCI_VENDOR_TYPE | MDMA_PCI_VENDOR_ID,
		.subtype = MDMA_REGION_SUBTYPE_LEDGER,
	};

	return vfio_info_add_capability(caps, &type.header, sizeof(type));
}

/**
 * mdma_pci_region_info() - tell about a region
 * @pci: of a device that is open
 * @info: its index is set; gets the rest
 * @caps: gets what more there is to tell; the caller frees its buffer
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int mdma_pci_region_info(struct mdma_pci *pci, struct vfio_region_info *info,
			 struct vfio_info_cap *caps)
{
	if (info->index >= NUM_REGIONS)
		return -EINVAL;
	info->size = region_size(pci, info->index);
	info->offset = REGION_OFFSET(info->index);
	info->cap_offset = 0;
	if (info->index == LEDGER_REGION) {
		info->flags = VFIO_REGION_INFO_FLAG_READ;
		return add_ledger_type(caps);
	}
	info->flags = info->size ? VFIO_REGION_INFO_FLAG_READ |
				   VFIO_REGION_INFO_FLAG_WRITE : 0;
	return 0;
}

static int get_irq_info(struct mdma_pci *pci, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	/* As vfio-pci does for a function that cannot report errors */
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_IRQS ||
	    info.index == VFIO_PCI_ERR_IRQ_INDEX)
		return -EINVAL;
	info.count = mdma_irq_count(pci->irqs, info.index);
	info.flags = info.count ? VFIO_IRQ_INFO_EVENTFD : 0;
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static int set_irqs(struct mdma_pci *pci, void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_irq_set, count);
	struct vfio_irq_set hdr;
	void *data = NULL;
	size_t size;
	int ret;

	if (copy_from_user(&hdr, arg, minsz))
		return -EFAULT;
	ret = vfio_set_irqs_validate_and_prepare(&hdr,
						 mdma_irq_count(pci->irqs, hdr.index),
						 VFIO_PCI_NUM_IRQS, &size);
	if (ret)
		return ret;
	if (size) {
		data = memdup_user(arg + minsz, size);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}
	ret = mdma_irq_set(pci->irqs, &hdr, data);
	kfree(data);
	return ret;
}

/**
 * mdma_pci_ioctl() - VFIO_DEVICE_*, but VFIO_DEVICE_GET_REGION_INFO
 * @pci: of a device that is open
 * @cmd: number
 * @arg: address of a structure of the user
 *
 * Return: 0 or a negative error.
 */
long mdma_pci_ioctl(struct mdma_pci *pci, unsigned int cmd,
		    unsigned long arg)
{
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_info(uarg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info(pci, uarg);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(pci, uarg);
	case VFIO_DEVICE_RESET:
		mdma_migration_reset(pci->migration);
		return 0;
	default:
		return -ENOTTY;
	}
}
