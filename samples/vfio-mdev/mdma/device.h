/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One mediated device: its parts, put together.
 *
 * Order of all locks, outermost first; any of the outer ones may be left out:
 *
 *	vfio's dev_set->lock, mdma_replay_upload.lock
 *	  mdma_migration.lock		migration state, VFIO_DEVICE_RESET
 *	    mdma_regs.lock		config space, BAR0
 *	      mdma_engine.gate		read: execute; write: nothing executes
 *	        mdma_channel.exec	the descriptor that a channel executes
 *	          mdma_access.lock (with all of mdma_held), mdma_ledger.lock,
 *	          mdma_dirty_log.lock, mdma_channel.lock, mdma_irqs.lock,
 *	          mdma_intx.lock, mdma_file.lock
 *					innermost, none taken under another
 *
 * mdma_engine.threads is taken under nothing, and only the gate (write) under it.
 * mdma_intx.setting is taken under dev_set->lock or nothing, and nothing under it.
 * mdma_ledger_view.lock is taken under nothing, mdma_ledger.copy_lock under it,
 * and the gate under that; mdma_file.io is taken under nothing, and
 * mdma_file.lock under it. User memory is copied under mdma_ledger_view.lock and
 * mdma_file.io, and under no other lock: only readers and writers of that file
 * take them.
 *
 * vfio_pin_pages(), vfio_unpin_pages() and vfio_dma_rw() take the container's lock.
 * A pin, a read or a write can also wait for user memory, for as long as user space
 * likes. None of them is called under an innermost lock. Those above are held thus:
 *
 *	gate (read), exec		a piece of a descriptor, and its end
 *	regs, gate (read), exec		the table of a window is read; with migration
 *					if the device is about to run
 *	gate (read)			a thread gives back runs that have expired; pins
 *					by hand
 *	regs, gate (write)		a reset by a register or config space unpins;
 *					with migration if by VFIO_DEVICE_RESET or close
 *	migration			held runs are unpinned when the device stops, and
 *					pinned when it runs
 *	type1's device_list_lock	->dma_unmap() unpins
 *	vfio's dev_set->lock		with iommufd: the device leaves its IOAS, and
 *					->dma_unmap() unpins
 *
 * So who waits for one of these locks on behalf of root, in a file of sysfs or debugfs,
 * waits killably: a VMM can make that as long as it likes. (What root has the device do
 * by vfio_dma_rw() waits in a kernel thread, which nobody can kill.)
 *
 * In our type1, no pin waits for device_list_lock. In the kernel's own, a pin can: a
 * thread that opens a device waits for it and holds the container's lock, for which
 * the pin waits (W18). So ->dma_unmap() takes only mdma_access.lock. It waits for two
 * kinds of runs (unmap.c): for those in use, whose owners wait for no more than the
 * container's lock, until they are given back; for those whose owners are in a call
 * that can wait for user memory, 50 ms at most. With iommufd, it waits for all of them.
 */
#ifndef MDMA_DEVICE_H
#define MDMA_DEVICE_H

#include <linux/mdev.h>
#include <linux/vfio.h>

#include "engine.h"
#include "intx.h"
#include "irq.h"
#include "ledger_region.h"
#include "migration.h"
#include "pci.h"
#include "regs.h"
#include "upload.h"

struct dentry;
struct mdma_workload_dir;

/**
 * struct mdma_type - a type of device that can be created
 * @type: of mdev
 * @nr_channels: that a device has
 */
struct mdma_type {
	struct mdev_type type;
	u32 nr_channels;
};

/**
 * struct mdma_device - one mediated device
 * @vdev: vfio's part
 * @engine: does DMA
 * @migration: protocol state
 * @regs: registers of BAR0
 * @irqs: interrupts
 * @intx: the interrupt line
 * @ledger_view: the user's copy of the ledger
 * @pci: the function
 * @upload: a trace on its way
 * @dirs: of the channels' workloads in sysfs
 * @debugfs: directory
 */
struct mdma_device {
	struct vfio_device vdev;
	struct mdma_engine engine;
	struct mdma_migration migration;
	struct mdma_regs regs;
	struct mdma_irqs irqs;
	struct mdma_intx intx;
	struct mdma_ledger_view ledger_view;
	struct mdma_pci pci;
	struct mdma_replay_upload upload;
	struct mdma_workload_dir *dirs;
	struct dentry *debugfs;
};

static inline struct mdma_device *mdma_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct mdma_device, vdev);
}

int mdma_device_init(struct mdma_device *dev, struct mdev_device *mdev);
void mdma_device_release(struct mdma_device *dev);
int mdma_device_open(struct mdma_device *dev);
void mdma_device_close(struct mdma_device *dev);

#endif /* MDMA_DEVICE_H */
