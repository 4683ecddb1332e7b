/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A real PCI function behind an IOMMU: an e1000e (Intel 82574L) that does DMA
 * by the IOVAs of its container. Functions that can fail return -errno.
 */
#ifndef SELFTESTS_NIC_H
#define SELFTESTS_NIC_H

#include <linux/types.h>

/* The kernel's own driver, which never pins, and the driver of tests/nic. */
#define NIC_VFIO_PCI	"vfio-pci"
#define NIC_THAT_PINS	"mdma_nic"

/**
 * struct nic - an e1000e, and which of its files are open
 * @name: PCI address; empty if there is none
 * @group: file descriptor, or -1
 * @device: file descriptor, or -1
 * @bar0: offset of BAR0 in @device
 */
struct nic {
	char name[16];
	int group;
	int device;
	__u64 bar0;
};

/* Finds a NIC that is bound to this driver. -ENOENT if there is none. */
int nic_find(struct nic *nic, const char *driver);

/*
 * Maps BAR0, whose memory has no pages. Nothing may have opened the device. Returns NULL
 * on an error.
 */
void *nic_map_bar0(const struct nic *nic, __u64 size);

/* Puts the NIC's group into the container, which then pins and maps all memory. */
int nic_attach(struct nic *nic, int container);

/* Takes the NIC's group out again; the device must be closed. */
int nic_detach(struct nic *nic);

/* Opens the device, whose container must have its IOMMU type. */
int nic_open(struct nic *nic);
void nic_close(struct nic *nic);

/* Closes device and group. */
void nic_release(struct nic *nic);

/*
 * Makes the NIC write to this IOVA. vaddr is the same memory, and has 16 bytes of
 * zeroes. They become a descriptor of the NIC, which the NIC marks as done. Returns
 * -ETIMEDOUT if the mark does not reach the memory.
 */
int nic_dma_write(struct nic *nic, __u64 iova, void *vaddr);

/* The same, if the mark must not reach the memory: 1 if it did not within a second. */
int nic_dma_is_blocked(struct nic *nic, __u64 iova, void *vaddr);

/* NIC_THAT_PINS: one vfio_pin_pages() of its only run, and the unpin of that run. */
int nic_pin(struct nic *nic, __u64 iova, unsigned int npages, char mode);
int nic_unpin(struct nic *nic);

#endif
