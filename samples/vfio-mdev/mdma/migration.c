// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration protocol, version 2: its states. The files that carry the
 * stream are in file.c.
 *
 * Three predicates say what a state means. An arc does what differs between
 * its ends:
 *
 *	runs		the engine executes: RUNNING, PRE_COPY. A device in a
 *			P2P state initiates no DMA at all.
 *	stopped		the device has nothing pinned: STOP, STOP_COPY, RESUMING.
 *			What it held is parked, and pinned again when it runs.
 *			What was pinned by hand (manual.c) stays pinned
 *	saves		a file to read the stream from: PRE_COPY,
 *			PRE_COPY_P2P, STOP_COPY
 *
 * The device changes only on the arc from RESUMING to STOP, and only if the
 * whole stream is valid.
 *
 * Takes mdma_migration.lock.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>

#include "channel.h"
#include "engine.h"
#include "file.h"
#include "migration.h"
#include "stream.h"
#include "trace.h"

static bool state_runs(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_RUNNING ||
	       state == VFIO_DEVICE_STATE_PRE_COPY;
}

static bool state_stopped(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_STOP ||
	       state == VFIO_DEVICE_STATE_STOP_COPY ||
	       state == VFIO_DEVICE_STATE_RESUMING;
}

static bool state_saves(enum vfio_device_mig_state state)
{
	return state == VFIO_DEVICE_STATE_PRE_COPY ||
	       state == VFIO_DEVICE_STATE_PRE_COPY_P2P ||
	       state == VFIO_DEVICE_STATE_STOP_COPY;
}

/* The rest of the stream: 0 or -ENOMEM; then nothing has changed. */
static int save_finish(struct mdma_migration *migration)
{
	struct mdma_file *file = migration->saving;
	struct mdma_snapshot *snap = mdma_file_snapshot(file);
	int ret;

	ret = migration->hooks->save(migration, snap);
	if (!ret)
		ret = mdma_file_finish(file);
	/* The runs were copied for us; the trace is the engine's own */
	kvfree(snap->held.data);
	snap->held.data = NULL;
	snap->trace.data = NULL;
	return ret;
}

static int resume_finish(struct mdma_migration *migration)
{
	struct mdma_file *file = migration->resuming;
	int ret;

	mdma_file_end(file);
	ret = mdma_file_result(file);
	if (!ret)
		ret = migration->hooks->load(migration,
					     mdma_file_snapshot(file));
	mdma_file_put(&migration->resuming);
	return ret;
}

/* A new file of one kind or the other, and what the user gets of it. */
static struct file *begin(struct mdma_migration *migration,
			  struct mdma_file **file, bool saves)
{
	struct mdma_file *new = mdma_file_create(migration->engine->id,
						 migration->engine->nr_channels,
						 saves);

	if (IS_ERR(new))
		return ERR_CAST(new);
	*file = new;
	return mdma_file_get(new);
}

/* What was held is pinned again before the first descriptor. */
static void start_running(struct mdma_migration *migration)
{
	mdma_held_unpark(&migration->engine->held,
			 migration->engine->channels[0].dst_pages);
	migration->hooks->start(migration);
}

static void set_state(struct mdma_migration *migration,
		      enum vfio_device_mig_state to)
{
	trace_mdma_state(migration->engine->id, migration->state, to);
	WRITE_ONCE(migration->state, to);
}

/*
 * What an arc does that can fail. Then the device has not left its state, except
 * that it is in ERROR if it can't become what the stream says.
 */
static int arc(struct mdma_migration *migration,
	       enum vfio_device_mig_state from, enum vfio_device_mig_state to)
{
	int ret;

	if (from == VFIO_DEVICE_STATE_RESUMING) {
		ret = resume_finish(migration);
		if (ret) {
			set_state(migration, VFIO_DEVICE_STATE_ERROR);
			return ret;
		}
	}
	if (state_runs(from) && !state_runs(to))
		mdma_engine_run(migration->engine, false);
	if (state_stopped(to) && !state_stopped(from))
		mdma_held_park(&migration->engine->held);
	return to == VFIO_DEVICE_STATE_STOP_COPY ? save_finish(migration) : 0;
}

/* One arc of the state machine: a file for the user, NULL or an ERR_PTR(). */
static struct file *step(struct mdma_migration *migration,
			 enum vfio_device_mig_state to)
{
	enum vfio_device_mig_state from = migration->state;
	bool saves = state_saves(to) && !state_saves(from);
	struct file *filp = NULL;
	int ret;

	if (to == VFIO_DEVICE_STATE_RESUMING)
		filp = begin(migration, &migration->resuming, false);
	else if (saves)
		filp = begin(migration, &migration->saving, true);
	if (IS_ERR(filp))
		return filp;

	ret = arc(migration, from, to);
	if (ret && saves)
		mdma_file_put(&migration->saving);
	if (ret) {
		if (filp)
			fput(filp);
		return ERR_PTR(ret);
	}
	if (state_saves(from) && !state_saves(to))
		mdma_file_put(&migration->saving);
	set_state(migration, to);
	if (state_runs(to) && !state_runs(from))
		start_running(migration);
	return filp;
}

/**
 * mdma_migration_init() - a device that runs
 * @migration: zeroed
 * @vdev: vfio's part of the device
 * @engine: of the device
 * @hooks: likewise
 */
void mdma_migration_init(struct mdma_migration *migration,
			 struct vfio_device *vdev, struct mdma_engine *engine,
			 const struct mdma_migration_hooks *hooks)
{
	migration->vdev = vdev;
	migration->engine = engine;
	migration->hooks = hooks;
	mutex_init(&migration->lock);
	migration->state = VFIO_DEVICE_STATE_RUNNING;
}

/**
 * mdma_migration_set_state() - go to a state, through those on the way
 * @migration: of a device that is open
 * @new_state: from the user
 *
 * Return: the file that the state has, NULL for none, or an ERR_PTR().
 */
struct file *mdma_migration_set_state(struct mdma_migration *migration,
				      enum vfio_device_mig_state new_state)
{
	enum vfio_device_mig_state next;
	struct file *filp = NULL;
	int ret;

	mutex_lock(&migration->lock);
	/* Only a reset leads out of ERROR, and only a failure into it */
	if (migration->state == VFIO_DEVICE_STATE_ERROR ||
	    new_state == VFIO_DEVICE_STATE_ERROR)
		filp = ERR_PTR(-EINVAL);
	while (!filp && migration->state != new_state) {
		ret = vfio_mig_get_next_state(migration->vdev, migration->state,
					      new_state, &next);
		filp = ret ? ERR_PTR(ret) : step(migration, next);
	}
	mutex_unlock(&migration->lock);
	return filp;
}

/**
 * mdma_migration_get_state() - the state, not that of a transition
 * @migration: any
 *
 * Return: the state.
 */
enum vfio_device_mig_state
mdma_migration_get_state(struct mdma_migration *migration)
{
	enum vfio_device_mig_state state;

	mutex_lock(&migration->lock);
	state = migration->state;
	mutex_unlock(&migration->lock);
	return state;
}

/**
 * mdma_migration_data_size() - how long the stream will be
 * @migration: any
 *
 * Return: bytes, without those for descriptors that stop midway, which cannot
 * be known yet.
 */
size_t mdma_migration_data_size(struct mdma_migration *migration)
{
	return MDMA_STREAM_CONFIG_SIZE + migration->hooks->size(migration);
}

/**
 * mdma_migration_reset() - reset the function: VFIO_DEVICE_RESET, and close
 * @migration: takes its lock
 *
 * Ends a migration, gives back what is pinned, and resets config space and
 * registers. The device runs afterwards, if it is open.
 */
void mdma_migration_reset(struct mdma_migration *migration)
{
	mutex_lock(&migration->lock);
	mdma_engine_run(migration->engine, false);
	mdma_file_put(&migration->saving);
	mdma_file_put(&migration->resuming);
	migration->hooks->reset(migration);
	if (migration->state != VFIO_DEVICE_STATE_RUNNING)
		set_state(migration, VFIO_DEVICE_STATE_RUNNING);
	mdma_engine_run(migration->engine, migration->engine->open);
	mutex_unlock(&migration->lock);
}
