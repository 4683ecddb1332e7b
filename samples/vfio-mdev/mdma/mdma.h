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

#include "access.h"
#include "dirty_log.h"
#include "held.h"
#include "ledger.h"
#include "manual.h"
#include "sequence.h"
#include "stats.h"
#include "stream.h"
#include "unmap.h"
#include "window.h"

struct eventfd_ctx;
struct mdma_device;
struct mdma_file;
struct mdma_workload_dir;
struct mem_cgroup;
struct task_struct;

/* Bytes of PCI config space, a conventional function's. */
#define MDMA_CONFIG_SIZE	256

/**
 * struct mdma_midway - a descriptor that stopped midway
 * @done: bytes, 0 if there is none
 * @result: of what is done of a READ
 * @desc: as it was read from the ring
 */
struct mdma_midway {
	u64 done;
	u32 result;
	struct mdma_desc desc;
};

/**
 * struct mdma_workload - the host-side workload of a channel
 * @sequence: which slots it visits
 * @access: enum mdma_access_mode
 * @direction: enum mdma_direction
 * @write_percent: of MDMA_DIRECTION_MIXED
 * @on_error: enum mdma_on_error
 * @batch: pages of a descriptor
 * @ring: runs that MDMA_PATTERN_RING keeps pinned
 * @hold_ms: how long a run stays pinned
 * @rate: descriptors per second, 0 for no limit
 * @burst: descriptors between two pauses, 0 for no pauses
 * @pause_ms: how long a pause is
 * @burst_done: descriptors since the last pause
 * @run: started
 * @pages: working set, 0 for the whole window
 * @due: time of the next descriptor
 *
 * What an execution changes (@sequence, @burst_done, @due; @run to 0) changes
 * under the channel's exec; all else with the gate held for writing.
 */
struct mdma_workload {
	struct mdma_sequence sequence;
	u32 access;
	u32 direction;
	u32 write_percent;
	u32 on_error;
	u32 batch;
	u32 ring;
	u32 hold_ms;
	u32 rate;
	u32 burst;
	u32 pause_ms;
	u32 burst_done;
	u32 run;
	u64 pages;
	ktime_t due;
};

/**
 * struct mdma_channel - a ring, its registers and its thread
 * @dev: that it belongs to
 * @index: of the channel, and of its vector
 * @lock: guards the registers below it
 * @ring: register, does not change while @ctrl has MDMA_CTRL_ENABLE
 * @ring_size: register, likewise
 * @ctrl: register
 * @tail: register
 * @head: register, advanced under @exec
 * @status: register
 * @irq: register
 * @returning: the descriptor at @head has, or is about to have, its status
 * @exec: held while a descriptor is executed
 * @midway: how far the descriptor at @head is, under @exec, or with the gate
 *	held for writing
 * @dst_pages: of the descriptor, VFIO_PIN_PAGES_MAX_ENTRIES, under @exec
 * @src_pages: likewise
 * @bounce: a page, for what vfio_dma_rw() reads, under @exec
 * @waited: it waits for memory that is being unmapped, under @exec
 * @workload: the host-side workload that the channel executes
 * @task: thread, while the device is open
 * @kicked: bit 0: there may be work; the thread looks before it sleeps
 */
struct mdma_channel {
	struct mdma_device *dev;
	u32 index;

	spinlock_t lock;	/* registers */
	u64 ring;
	u32 ring_size;
	u32 ctrl;
	u32 tail;
	u32 head;
	u32 status;
	u32 irq;
	bool returning;

	struct mutex exec;	/* one descriptor at a time */
	struct mdma_midway midway;
	struct page **dst_pages;
	struct page **src_pages;
	void *bounce;
	bool waited;
	struct mdma_workload workload;
	struct task_struct *task;
	unsigned long kicked;
};

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
 * struct mdma_replay - a trace
 * @entries: struct mdma_trace_entry, checked, or NULL
 * @nr: number
 */
struct mdma_replay {
	struct mdma_trace_entry *entries;
	u32 nr;
};

/**
 * struct mdma_settings - what the administrator set, under what a stream brought
 * @window: of the administrator, or empty
 * @replay: trace, if @has_replay
 * @has_replay: else the trace of the device is the administrator's
 * @workload: of each channel
 */
struct mdma_settings {
	struct mdma_window window;
	struct mdma_replay replay;
	bool has_replay;
	struct mdma_workload workload[];
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
 * @id: first 4 bytes of the UUID, as the number that they print
 * @nr_channels: 1 to MDMA_MAX_CHANNELS
 * @channels: of the device
 * @gate: held for reading while anything executes
 * @open: has a user; changes with @gate held for writing
 * @running: open, and in a migration state that does DMA; likewise
 * @pausing: descriptors stop midway, so that who quiesces the device has not
 *	to wait for their end
 * @stall_midway: test hook: descriptors wait when so many bytes are done
 * @bus_master: PCI_COMMAND_MASTER: descriptors of the guest may execute, and
 *	the workload in a window of the guest; likewise
 * @intx_enabled: config space allows the line to be asserted; likewise
 * @regs_lock: guards @config, @memory and @window_regs, serialises register
 *	accesses
 * @config: config space
 * @memory: PCI_COMMAND_MEMORY: BAR0 can be accessed
 * @window_regs: registers of the window
 * @window: changes with @gate held for writing
 * @access: what is pinned
 * @held: what of it is not used
 * @manual: what the debugfs hook pinned
 * @unmap: gives pins back
 * @ledger: what was written
 * @ledger_view: the user's copy of it
 * @dirty_log: what was written since the user looked last
 * @replay: the trace of workloads with MDMA_PATTERN_TRACE; changes with
 *	migration.lock, and @gate held for writing
 * @upload: a trace on its way
 * @settings: of the administrator, while those of a stream count, else NULL;
 *	changes with @gate held for writing
 * @keep_settings: those of a stream do not count; likewise
 * @dirs: of the channels' workloads in sysfs
 * @irqs: eventfds
 * @migration: protocol state
 * @stats: counters
 * @memcg: of the user, charged for what the device allocates for it
 * @debugfs: directory
 */
struct mdma_device {
	struct vfio_device vdev;
	u32 id;
	u32 nr_channels;
	struct mdma_channel *channels;

	struct rw_semaphore gate;
	bool open;
	bool running;
	bool pausing;
	u64 stall_midway;
	bool bus_master;
	bool intx_enabled;

	struct mutex regs_lock;	/* register accesses */
	u8 config[MDMA_CONFIG_SIZE];
	bool memory;
	struct mdma_window_regs window_regs;

	struct mdma_window window;
	struct mdma_access access;
	struct mdma_held held;
	struct mdma_manual manual;
	struct mdma_unmap unmap;
	struct mdma_ledger ledger;
	struct mdma_ledger_view ledger_view;
	struct mdma_dirty_log dirty_log;
	struct mdma_replay replay;
	struct mdma_replay_upload upload;
	struct mdma_settings *settings;
	bool keep_settings;
	struct mdma_workload_dir *dirs;
	struct mdma_irqs irqs;
	struct mdma_migration migration;
	struct mdma_stats stats;
	struct mem_cgroup *memcg;
	struct dentry *debugfs;
};

/**
 * mdma_channel_tail_valid() - whether TAIL is where it can be
 * @ch: lock held
 *
 * Return: whether as many descriptors are queued as the ring can have, the one
 * that is being returned not among them.
 */
static inline bool mdma_channel_tail_valid(const struct mdma_channel *ch)
{
	return ch->tail - ch->head - ch->returning <= ch->ring_size;
}

/* main.c */
void mdma_device_reset(struct mdma_device *dev);
void mdma_function_reset(struct mdma_device *dev);

/* dirty_log_sysfs.c */
int mdma_dirty_log_enable(struct mdma_device *dev, bool on);
extern const struct attribute_group mdma_dirty_log_sysfs_group;

/* engine.c */

/**
 * struct mdma_job - a descriptor that was checked
 * @op: enum mdma_op
 * @dst: IOVA
 * @src: IOVA
 * @len: bytes
 * @data: pattern of MDMA_OP_FILL
 * @done: bytes that are done
 * @result: of MDMA_OP_READ
 * @hold: the run stays pinned for @hold_ms
 * @hold_ms: 0 for the time that the workload says
 * @rw: STAMP or READ, by vfio_dma_rw() instead of pins
 * @part: not the first of a descriptor's jobs
 * @pausable: it may stop midway, see mdma_engine_execute()
 */
struct mdma_job {
	u32 op;
	u64 dst;
	u64 src;
	u64 len;
	u64 data;
	u64 done;
	u32 result;
	u32 hold_ms;
	bool hold;
	bool rw;
	bool part;
	bool pausable;
};

static inline bool mdma_op_writes(u32 op)
{
	return op == MDMA_OP_COPY || op == MDMA_OP_FILL || op == MDMA_OP_STAMP;
}

static inline bool mdma_op_reads(u32 op)
{
	return op == MDMA_OP_COPY || op == MDMA_OP_READ;
}

int mdma_engine_init(struct mdma_device *dev);
void mdma_engine_destroy(struct mdma_device *dev);
int mdma_engine_start(struct mdma_device *dev);
void mdma_engine_stop(struct mdma_device *dev);
void mdma_engine_run(struct mdma_device *dev, bool run);
void mdma_channel_kick(struct mdma_channel *ch);
void mdma_channel_sync(struct mdma_channel *ch);
int mdma_engine_execute(struct mdma_channel *ch, struct mdma_job *job);
void mdma_engine_written(struct mdma_device *dev, u32 channel, u64 iova,
			 u32 npages, u64 seq);
int mdma_engine_load(struct mdma_channel *ch, u64 iova, void *data,
		     size_t len);
int mdma_engine_store_status(struct mdma_channel *ch, u64 iova, u32 status,
			     u32 result);
enum mdma_status mdma_engine_status(int error, enum mdma_status bad);

/* irq.c */
void mdma_irq_init(struct mdma_irqs *irqs);
bool mdma_irq_wanted(struct mdma_channel *ch);
void mdma_irq_raise(struct mdma_channel *ch);
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
void mdma_regs_load_window(struct mdma_device *dev, bool starts);

/* ring.c */
bool mdma_ring_poll(struct mdma_channel *ch);
void mdma_channel_fail(struct mdma_channel *ch, enum mdma_status status);

/* settings.c */
struct mdma_settings *mdma_settings_alloc(struct mdma_device *dev);
void mdma_settings_keep(struct mdma_device *dev,
			struct mdma_settings **settings);
void *mdma_settings_restore(struct mdma_device *dev);
void *mdma_settings_drop_trace(struct mdma_device *dev);

/* sysfs.c */
extern const struct attribute_group *mdma_sysfs_groups[];
extern struct device_attribute mdma_window_attr;

/* debugfs.c */
void mdma_debugfs_module_init(void);
void mdma_debugfs_module_exit(void);
void mdma_debugfs_init(struct mdma_device *dev);
void mdma_debugfs_exit(struct mdma_device *dev);

/* workload.c */

/**
 * enum mdma_knob - a numeric attribute of the workload, see workload/ in sysfs
 * @MDMA_KNOB_PATTERN: enum mdma_pattern
 * @MDMA_KNOB_ACCESS: enum mdma_access_mode
 * @MDMA_KNOB_DIRECTION: enum mdma_direction
 * @MDMA_KNOB_WRITE_PERCENT: of MDMA_DIRECTION_MIXED
 * @MDMA_KNOB_ON_ERROR: enum mdma_on_error
 * @MDMA_KNOB_BATCH: pages
 * @MDMA_KNOB_RING: runs that stay pinned
 * @MDMA_KNOB_STRIDE: runs
 * @MDMA_KNOB_THETA: thousandths
 * @MDMA_KNOB_HOT: runs
 * @MDMA_KNOB_HOT_PERCENT: of the visits
 * @MDMA_KNOB_DRIFT: visits
 * @MDMA_KNOB_PAGES: working set
 * @MDMA_KNOB_SEED: of the generator
 * @MDMA_KNOB_HOLD_MS: milliseconds
 * @MDMA_KNOB_RATE: descriptors per second
 * @MDMA_KNOB_BURST: descriptors
 * @MDMA_KNOB_PAUSE_MS: milliseconds
 * @MDMA_KNOB_RUN: 0 or 1
 */
enum mdma_knob {
	MDMA_KNOB_PATTERN,
	MDMA_KNOB_ACCESS,
	MDMA_KNOB_DIRECTION,
	MDMA_KNOB_WRITE_PERCENT,
	MDMA_KNOB_ON_ERROR,
	MDMA_KNOB_BATCH,
	MDMA_KNOB_RING,
	MDMA_KNOB_STRIDE,
	MDMA_KNOB_THETA,
	MDMA_KNOB_HOT,
	MDMA_KNOB_HOT_PERCENT,
	MDMA_KNOB_DRIFT,
	MDMA_KNOB_PAGES,
	MDMA_KNOB_SEED,
	MDMA_KNOB_HOLD_MS,
	MDMA_KNOB_RATE,
	MDMA_KNOB_BURST,
	MDMA_KNOB_PAUSE_MS,
	MDMA_KNOB_RUN,
};

void mdma_workload_init(struct mdma_device *dev);
void mdma_workload_restart(struct mdma_device *dev);
void mdma_workload_end(struct mdma_device *dev);
bool mdma_workload_started(struct mdma_device *dev);
u64 mdma_workload_get(struct mdma_channel *ch, enum mdma_knob knob);
int mdma_workload_set(struct mdma_channel *ch, enum mdma_knob knob, u64 value);
void mdma_workload_set_window(struct mdma_device *dev,
			      enum mdma_window_origin origin,
			      const struct mdma_range *range, u32 nr);
bool mdma_workload_poll(struct mdma_channel *ch, ktime_t *next);
int mdma_workload_step(struct mdma_channel *ch, u32 n);
u64 mdma_workload_keep(struct mdma_channel *ch);
void mdma_workload_take(struct mdma_device *dev, struct mdma_snapshot *snap);
void mdma_workload_apply(struct mdma_device *dev,
			 const struct mdma_snapshot *snap);

/* workload_sysfs.c */
int mdma_workload_sysfs_add(struct mdma_device *dev);
void mdma_workload_sysfs_remove(struct mdma_device *dev);

/* replay_sysfs.c */
extern struct bin_attribute mdma_trace_attr;
int mdma_replay_copy(struct mdma_replay *replay,
		     const struct mdma_snapshot *snap);
void mdma_replay_init(struct mdma_replay_upload *upload);
void mdma_replay_destroy(struct mdma_device *dev);

#endif /* MDMA_H */
