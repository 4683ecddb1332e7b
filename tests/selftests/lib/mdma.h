/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One mdma device: its sysfs attributes, its debugfs hooks, its registers.
 * Functions that can fail return -errno.
 */
#ifndef SELFTESTS_MDMA_H
#define SELFTESTS_MDMA_H

#include <linux/mdma.h>
#include <linux/types.h>

/**
 * struct mdma - an mdma mdev, and which of its files are open
 * @uuid: of the mdev; empty if there is none
 * @id: identifies the device in its stamps: the first four bytes of the UUID
 * @group: file descriptor, or -1
 * @device: file descriptor, or -1
 * @pin: debugfs file, open as long as the mdev exists
 * @unpin: debugfs file
 * @rw: debugfs file
 * @bar0: offset of BAR0 in @device
 */
struct mdma {
	char uuid[37];
	__u32 id;
	int group;
	int device;
	int pin;
	int unpin;
	int rw;
	__u64 bar0;
};

/* Creates the mdev. mdma_destroy() undoes everything, in any state. */
int mdma_create(struct mdma *m, const char *type);
void mdma_destroy(struct mdma *m);

/* Puts the group of the mdev into the container. */
int mdma_attach(struct mdma *m, int container);

/* Opens the device, whose container must have its IOMMU type. */
int mdma_open(struct mdma *m);

/* What a guest's driver does first, with a device that is open. */
int mdma_begin(struct mdma *m);
void mdma_close(struct mdma *m);

/* VFIO_DEVICE_RESET, and then what a guest's driver does to use it again. */
int mdma_reset(struct mdma *m);

/* Exactly one call of vfio_pin_pages(), vfio_unpin_pages(), vfio_dma_rw(). */
int mdma_pin(struct mdma *m, __u64 iova, unsigned int npages, char mode);
int mdma_unpin(struct mdma *m, __u64 iova, unsigned int npages);
int mdma_rw_write(struct mdma *m, __u64 iova, unsigned int len, int byte);
int mdma_rw_read(struct mdma *m, __u64 iova, unsigned int len);

/* Reads; -EILSEQ if the bytes are not first, first + 1, ... modulo 251. */
int mdma_rw_expect(struct mdma *m, __u64 iova, unsigned int len, int first);

/* Attributes by their name below the mdev's directory, e.g. "workload/window". */
int mdma_set(struct mdma *m, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
long long mdma_get(struct mdma *m, const char *name);
int mdma_get_text(struct mdma *m, const char *name, char *text, int size);

/* leak_on_unmap, stall_unmap, stall_pin and stall_midway of debugfs. */
int mdma_set_leak(struct mdma *m, int on);
int mdma_set_unmap_stall(struct mdma *m, int on);
int mdma_set_pin_stall(struct mdma *m, int where);
int mdma_set_stall(struct mdma *m, __u64 bytes);

/* Stores the ledger in a buffer of malloc(). Returns the number of records or -errno. */
long long mdma_ledger(struct mdma *m, struct mdma_ledger_record **records);

/* Empties the ledger; the next write has number 1. */
int mdma_clear_ledger(struct mdma *m);

/* Config space. */
int mdma_config_read(struct mdma *m, int offset, void *data, int size);
int mdma_config_write(struct mdma *m, int offset, const void *data, int size);

/* Registers; an access that fails reads as ones. */
__u32 mdma_read32(struct mdma *m, __u32 reg);
__u64 mdma_read64(struct mdma *m, __u32 reg);
int mdma_write32(struct mdma *m, __u32 reg, __u32 value);
int mdma_write64(struct mdma *m, __u32 reg, __u64 value);

#endif
