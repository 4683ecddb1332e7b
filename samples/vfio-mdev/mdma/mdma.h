/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the host driver share.
 *
 * Locking order, outermost first:
 *
 *	vfio's dev_set->lock, mdma_replay_upload.lock
 *	  mdma_migration.lock		migration state, VFIO_DEVICE_RESET
 *	    mdma_device.regs_lock	config space, BAR0
 *	      mdma_device.gate		read: execute; write: nothing executes
 *	        mdma_channel.exec	the descriptor that a channel executes
 *	          mdma_ledger.lock, mdma_access.lock, mdma_channel.lock,
 *	          mdma_irqs.lock, mdma_dirty_log.lock, mdma_file.lock
 *					leaves, none taken under another
 *
 * mdma_ledger_view.lock is taken under nothing, mdma_ledger.copy_lock under it,
 * and the gate under that;
 * mdma_file.io is taken under nothing, over mdma_file.lock. User memory is
 * copied under these two, and under no other: both are for those who read or
 * write that file only.
 *
 * vfio_pin_pages(), vfio_unpin_pages() and vfio_dma_rw() take the container's
 * lock and may sleep for long in a page fault. They are called under any of
 * the above but the leaves. type1 calls ->dma_unmap() under its own
 * device_list_lock, which a pin may have to wait for: ->dma_unmap() therefore
 * takes only mdma_access.lock, and waits only for runs in use, whose owners
 * wait for nothing but the container's lock. For a call that can wait for user
 * memory it waits 50 ms at most.
 */
#ifndef MDMA_H
#define MDMA_H

#include <linux/atomic.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/rbtree_types.h>
#include <linux/rwsem.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "engine.h"
#include "stream.h"

struct eventfd_ctx;
struct mdma_device;
struct mdma_file;
struct mdma_workload_dir;
struct mem_cgroup;
struct task_struct;

/* Bytes of PCI config space, a conventional function's. */
#define MDMA_CONFIG_SIZE	256

/**
 * struct mdma_ledger_view - the copy of the ledger that the user reads
 * @lock: guards all fields
 * @data: struct mdma_ledger_header and records, or NULL
 * @size: bytes of it
 */
struct mdma_ledger_view {
	struct mutex lock;	/* all fields */
	void *data;
	size_t size;
};

/**
 * struct mdma_replay_upload - a trace of which not all has been written
 * @lock: guards all fields
 * @header: begin of it
 * @entries: room for as many as @header says, or NULL
 * @size: bytes that were written
 */
struct mdma_replay_upload {
	struct mutex lock;	/* all fields */
	struct mdma_trace_header header;
	struct mdma_trace_entry *entries;
	size_t size;
};

/**
 * struct mdma_irqs - eventfds of the user
 * @lock: guards all fields, but @intx_unmask
 * @msix: one a channel
 * @req: asks the user to give the device back
 * @intx: the line
 * @intx_masked: the user was told of the line, or does not want to be told
 * @intx_unmask: eventfd that ends @intx_masked; under a lock of vfio's
 */
struct mdma_irqs {
	spinlock_t lock;	/* all fields */
	struct eventfd_ctx *msix[MDMA_MAX_CHANNELS];
	struct eventfd_ctx *req;
	struct eventfd_ctx *intx;
	bool intx_masked;
	struct virqfd *intx_unmask;
};

/**
 * struct mdma_window_regs - registers of the window, under regs_lock
 * @table: WINDOW_TABLE
 * @ranges: WINDOW_RANGES
 * @status: WINDOW_STATUS
 * @pending: the table is to be read as soon as the device runs
 */
struct mdma_window_regs {
	u64 table;
	u32 ranges;
	u32 status;
	bool pending;
};

/**
 * struct mdma_migration - state of the migration protocol
 * @lock: guards the fields
 * @state: written under @lock, read anywhere
 * @saving: the file of a save in progress, or NULL
 * @resuming: the file of a resume in progress, or NULL
 */
struct mdma_migration {
	struct mutex lock;	/* all fields */
	enum vfio_device_mig_state state;
	struct mdma_file *saving;
	struct mdma_file *resuming;
};

/**
 * struct mdma_device - one mediated device
 * @vdev: vfio's part
 * @engine: does DMA
 * @intx_enabled: config space allows the line to be asserted; changes with the gate
 *	held for writing
 * @regs_lock: guards @config, @memory and @window_regs, serialises register
 *	accesses
 * @config: config space
 * @memory: PCI_COMMAND_MEMORY: BAR0 can be accessed
 * @window_regs: registers of the window
 * @ledger_view: the user's copy of the ledger
 * @upload: a trace on its way
 * @dirs: of the channels' workloads in sysfs
 * @irqs: eventfds
 * @migration: protocol state
 * @debugfs: directory
 */
struct mdma_device {
	struct vfio_device vdev;
	struct mdma_engine engine;
	bool intx_enabled;

	struct mutex regs_lock;	/* register accesses */
	u8 config[MDMA_CONFIG_SIZE];
	bool memory;
	struct mdma_window_regs window_regs;

	struct mdma_ledger_view ledger_view;
	struct mdma_replay_upload upload;
	struct mdma_workload_dir *dirs;
	struct mdma_irqs irqs;
	struct mdma_migration migration;
	struct dentry *debugfs;
};

/* main.c */
void mdma_device_reset(struct mdma_device *dev);
void mdma_function_reset(struct mdma_device *dev);

/* dirty_log_sysfs.c */
int mdma_dirty_log_enable(struct mdma_device *dev, bool on);
extern const struct attribute_group mdma_dirty_log_sysfs_group;

/* irq.c */
void mdma_irq_init(struct mdma_irqs *irqs);
void mdma_irq_raise(struct mdma_device *dev, struct mdma_channel *ch);
void mdma_irq_replay(struct mdma_device *dev);
void mdma_irq_request(struct mdma_device *dev);
int mdma_irq_set(struct mdma_device *dev, const struct vfio_irq_set *hdr,
		 const void *data);
void mdma_irq_release(struct mdma_device *dev);

/* intx.c */
bool mdma_intx_pending(struct mdma_device *dev);
void mdma_intx_update(struct mdma_device *dev);
int mdma_intx_set(struct mdma_device *dev, const struct vfio_irq_set *hdr,
		  const void *data);
void mdma_intx_release(struct mdma_device *dev);

/* ledger_region.c */
void mdma_ledger_view_init(struct mdma_ledger_view *view);
void mdma_ledger_view_drop(struct mdma_ledger_view *view);
u64 mdma_ledger_region_size(struct mdma_device *dev);
ssize_t mdma_ledger_region_read(struct mdma_device *dev, char __user *buf,
				size_t count, u64 offset);

/* ledger_sysfs.c */
extern const struct attribute_group mdma_ledger_sysfs_group;

/* migration.c */
extern const struct vfio_migration_ops mdma_migration_ops;
void mdma_migration_reset(struct mdma_device *dev);

/* pci.c */
void mdma_pci_reset(struct mdma_device *dev);
ssize_t mdma_pci_read(struct vfio_device *vdev, char __user *buf, size_t count,
		      loff_t *ppos);
ssize_t mdma_pci_write(struct vfio_device *vdev, const char __user *buf,
		       size_t count, loff_t *ppos);
long mdma_pci_ioctl(struct vfio_device *vdev, unsigned int cmd,
		    unsigned long arg);
u32 mdma_pci_irq_count(struct mdma_device *dev, u32 index);

/* regs.c */
void mdma_regs_reset(struct mdma_device *dev);
u32 mdma_regs_read(struct mdma_device *dev, u32 offset);
void mdma_regs_write(struct mdma_device *dev, u32 offset, u32 value);
void mdma_regs_save(struct mdma_device *dev, struct mdma_snapshot *snap);
void mdma_regs_load(struct mdma_device *dev, const struct mdma_snapshot *snap);
void mdma_regs_load_window(struct mdma_device *dev, bool starts);

/* sysfs.c */
extern const struct attribute_group *mdma_sysfs_groups[];
extern struct device_attribute mdma_window_attr;

/* debugfs.c */
void mdma_debugfs_module_init(void);
void mdma_debugfs_module_exit(void);
void mdma_debugfs_init(struct mdma_device *dev);
void mdma_debugfs_exit(struct mdma_device *dev);

/* workload_sysfs.c */
int mdma_workload_sysfs_add(struct mdma_device *dev);
void mdma_workload_sysfs_remove(struct mdma_device *dev);

/* replay_sysfs.c */
extern struct bin_attribute mdma_trace_attr;
void mdma_replay_init(struct mdma_replay_upload *upload);
void mdma_replay_destroy(struct mdma_device *dev);

#endif /* MDMA_H */
