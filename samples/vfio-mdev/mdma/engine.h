/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine: all that does DMA, and what it knows of the device around it.
 * device.h has the order of all locks.
 */
#ifndef MDMA_ENGINE_H
#define MDMA_ENGINE_H

#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/types.h>

#include "access.h"
#include "dirty_log.h"
#include "held.h"
#include "ledger.h"
#include "manual.h"
#include "replay.h"
#include "stats.h"
#include "unmap.h"
#include "window.h"

struct mdma_channel;
struct mdma_settings;
struct mem_cgroup;
struct vfio_device;

#define MDMA_ATTENTION	0	/* bit of mdma_engine.attention */

/**
 * struct mdma_engine - what executes descriptors
 * @id: first 4 bytes of the device's UUID, as the number that they print
 * @nr_channels: 1 to MDMA_MAX_CHANNELS
 * @channels: of the device
 * @threads: held while threads of channels are started anew
 * @orphaned: some have ended with their process, or could not be started anew
 * @gate: held for reading while anything executes
 * @open: has a user; changes with @gate held for writing
 * @running: open, and in a migration state that does DMA; likewise
 * @bus_master: PCI_COMMAND_MASTER: descriptors of the guest may execute, and
 *	the workload in a window of the guest; likewise
 * @pausing: descriptors stop midway, so that quiescing the device does not
 *	wait for their end
 * @stall_midway: test hook: descriptors wait when so many bytes are done
 * @window: changes with @gate held for writing
 * @replay: the trace of workloads with MDMA_PATTERN_TRACE; changes with
 *	migration.lock, and @gate held for writing
 * @settings: of the administrator, while those of a stream count, else NULL;
 *	changes with @gate held for writing
 * @keep_settings: those of a stream do not count; likewise
 * @interrupt: raises a channel's interrupt; gate held
 * @attention: bit MDMA_ATTENTION: there is work for @attend
 * @attend: does what the function has for the thread of any channel, and clears
 *	@attention; gate held for reading
 * @stats: counters
 * @access: what is pinned
 * @held: what of it is not used
 * @manual: what the debugfs hook pinned
 * @unmap: gives pins back
 * @ledger: what was written
 * @dirty_log: what was written since the user looked last
 * @memcg: of the user, charged for what threads that are not the user's allocate for
 *	it; changes with @gate held for writing
 */
struct mdma_engine {
	u32 id;
	u32 nr_channels;
	struct mdma_channel *channels;

	struct mutex threads;	/* of channels */
	bool orphaned;
	struct rw_semaphore gate;
	bool open;
	bool running;
	bool bus_master;
	bool pausing;
	u64 stall_midway;

	struct mdma_window window;
	struct mdma_replay replay;
	struct mdma_settings *settings;
	bool keep_settings;
	void (*interrupt)(struct mdma_engine *engine, struct mdma_channel *ch);
	unsigned long attention;
	void (*attend)(struct mdma_engine *engine);

	struct mdma_stats stats;
	struct mdma_access access;
	struct mdma_held held;
	struct mdma_manual manual;
	struct mdma_unmap unmap;
	struct mdma_ledger ledger;
	struct mdma_dirty_log dirty_log;
	struct mem_cgroup *memcg;
};

int mdma_engine_init(struct mdma_engine *engine, struct vfio_device *vdev);
void mdma_engine_destroy(struct mdma_engine *engine);
void mdma_engine_kick(struct mdma_engine *engine);
void mdma_engine_run(struct mdma_engine *engine, bool run);

#endif /* MDMA_ENGINE_H */
