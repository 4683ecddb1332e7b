/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A real PCI function behind an IOMMU: an e1000e (Intel 82574L) that does DMA
 * by the IOVAs of its container. What can fail returns -errno.
 */
#ifndef SELFTESTS_NIC_H
#define SELFTESTS_NIC_H

#include <linux/types.h>

/* The kernel's own driver, which never pins; and the one of tests/nic. */
#define NIC_VFIO_PCI	"vfio-pci"
#define NIC_THAT_PINS	"mdma_nic"

/**
 * struct nic - an e1000e and how far it is opened
 * @name: PCI address; empty: none
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

/* One that is bound to this driver. -ENOENT: there is none. */
int nic_find(struct nic *nic, const char *driver);

/* Puts its group into the container, which pins and maps all of it. */
int nic_attach(struct nic *nic, int container);

/* Takes its group out again; the device must be closed. */
int nic_detach(struct nic *nic);

/* Opens the device, whose container must have its IOMMU type. */
int nic_open(struct nic *nic);
void nic_close(struct nic *nic);

/* Closes device and group. */
void nic_release(struct nic *nic);

/*
 * Has the NIC write to this IOVA: 16 bytes of zeroes at vaddr, which is the
 * same memory, become a descriptor of it, which it marks as done. Returns
 * -ETIMEDOUT if that does not reach the memory.
 */
int nic_dma_write(struct nic *nic, __u64 iova, void *vaddr);

/* The same, where it must not reach the memory: 1 if it did not within a second. */
int nic_dma_is_blocked(struct nic *nic, __u64 iova, void *vaddr);

/* One vfio_pin_pages() of NIC_THAT_PINS, which holds one run, and its end. */
int nic_pin(struct nic *nic, __u64 iova, unsigned int npages, char mode);
int nic_unpin(struct nic *nic);

#endif
