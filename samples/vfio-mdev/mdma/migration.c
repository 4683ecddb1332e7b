// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration protocol, version 2: its states. The files that carry the
 * stream are in file.c.
 *
 * What a state means is told by three predicates, and an arc does what
 * changes between its ends:
 *
 *	runs		the engine executes: RUNNING, PRE_COPY. A device in a
 *			P2P state initiates no DMA at all.
 *	stopped		nothing is pinned any more: STOP, STOP_COPY, RESUMING.
 *			What was held is parked, and pinned again when the
 *			device runs
 *	saves		a file to read the stream from: PRE_COPY,
 *			PRE_COPY_P2P, STOP_COPY
 *
 * The device changes only on the arc from RESUMING to STOP, and only if the
 * whole stream is valid.
 *
 * Takes mdma_migration.lock.
 */
#include <linux/fs.h>
#include <linux/file.h>
#include <linux/slab.h>

#include "channel.h"
#include "file.h"
#include "mdma.h"
#include "settings.h"
#include "trace.h"
#include "workload.h"

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

/*
 * The state of a device that is stopped, but for the runs that it held: they
 * do not fit, see save_finish().
 */
static void take_snapshot(struct mdma_device *dev, struct mdma_snapshot *snap)
{
	u32 i;

	memset(snap, 0, sizeof(*snap));
	snap->channels = dev->engine.nr_channels;
	mutex_lock(&dev->regs_lock);
	down_write(&dev->engine.gate);
	for (i = 0; i < dev->engine.nr_channels; i++)
		mdma_channel_save(&dev->engine.channels[i], snap);
	mdma_regs_save(dev, snap);
	mdma_window_save(&dev->engine.window, &snap->state.window);
	mdma_workload_save(&dev->engine, snap);
	mdma_replay_save(&dev->engine.replay, snap);
	mdma_stats_save(&dev->engine.stats, snap);
	up_write(&dev->engine.gate);
	mutex_unlock(&dev->regs_lock);
}

/* A stopped device becomes what a valid snapshot says: 0 or -ENOMEM. */
static int apply_snapshot(struct mdma_device *dev,
			  const struct mdma_snapshot *snap)
{
	struct mdma_settings *settings = mdma_settings_alloc(&dev->engine);
	struct mdma_replay replay = {};
	int ret = -ENOMEM;
	u32 i;

	if (settings)
		ret = mdma_replay_load(&replay, snap);
	if (!ret)
		ret = mdma_held_load(&dev->engine.held, snap);
	if (!ret) {
		mutex_lock(&dev->regs_lock);
		down_write(&dev->engine.gate);
		for (i = 0; i < dev->engine.nr_channels; i++)
			mdma_channel_load(&dev->engine.channels[i], snap);
		mdma_regs_load(dev, snap);
		mdma_settings_load(&dev->engine, snap, &settings, &replay);
		mdma_stats_load(&dev->engine.stats, snap);
		up_write(&dev->engine.gate);
		mutex_unlock(&dev->regs_lock);
	}
	/* What there was before, or what was not needed */
	kvfree(replay.entries);
	kfree(settings);
	return ret;
}

/* The rest of the stream: 0 or -ENOMEM; then nothing has changed. */
static int save_finish(struct mdma_device *dev)
{
	struct mdma_file *file = dev->migration.saving;
	struct mdma_snapshot *snap = mdma_file_snapshot(file);
	int ret;

	take_snapshot(dev, snap);
	ret = mdma_held_save(&dev->engine.held, snap);
	if (!ret)
		ret = mdma_file_finish(file);
	kvfree(snap->held.data);
	snap->held.data = NULL;
	snap->trace.data = NULL;
	return ret;
}

static int resume_finish(struct mdma_device *dev)
{
	struct mdma_file *file = dev->migration.resuming;
	int ret;

	mdma_file_end(file);
	ret = mdma_file_result(file);
	if (!ret)
		ret = apply_snapshot(dev, mdma_file_snapshot(file));
	mdma_file_put(&dev->migration.resuming);
	return ret;
}

/* A new file of one kind or the other, and what the user gets of it. */
static struct file *begin(struct mdma_device *dev, struct mdma_file **file,
			  bool saves)
{
	struct mdma_file *new = mdma_file_create(dev, saves);

	if (IS_ERR(new))
		return ERR_CAST(new);
	*file = new;
	return mdma_file_get(new);
}

/* The window that the guest gave last comes before the first descriptor. */
static void start_running(struct mdma_device *dev)
{
	mdma_held_unpark(&dev->engine.held, dev->engine.channels[0].dst_pages);
	mutex_lock(&dev->regs_lock);
	mdma_regs_load_window(dev, true);
	mdma_engine_run(&dev->engine, true);
	mutex_unlock(&dev->regs_lock);
	mdma_irq_replay(dev);
}

static void set_state(struct mdma_device *dev, enum vfio_device_mig_state to)
{
	trace_mdma_state(dev->engine.id, dev->migration.state, to);
	WRITE_ONCE(dev->migration.state, to);
}

/* What an arc does that can fail; then the device has not left its state. */
static int arc(struct mdma_device *dev, enum vfio_device_mig_state from,
	       enum vfio_device_mig_state to)
{
	int ret;

	if (from == VFIO_DEVICE_STATE_RESUMING) {
		ret = resume_finish(dev);
		if (ret) {
			set_state(dev, VFIO_DEVICE_STATE_ERROR);
			return ret;
		}
	}
	if (state_runs(from) && !state_runs(to))
		mdma_engine_run(&dev->engine, false);
	if (state_stopped(to) && !state_stopped(from))
		mdma_held_park(&dev->engine.held);
	return to == VFIO_DEVICE_STATE_STOP_COPY ? save_finish(dev) : 0;
}

/* One arc of the state machine: a file for the user, NULL or an ERR_PTR(). */
static struct file *step(struct mdma_device *dev, enum vfio_device_mig_state to)
{
	enum vfio_device_mig_state from = dev->migration.state;
	bool saves = state_saves(to) && !state_saves(from);
	struct file *filp = NULL;
	int ret;

	if (to == VFIO_DEVICE_STATE_RESUMING)
		filp = begin(dev, &dev->migration.resuming, false);
	else if (saves)
		filp = begin(dev, &dev->migration.saving, true);
	if (IS_ERR(filp))
		return filp;

	ret = arc(dev, from, to);
	if (ret && saves)
		mdma_file_put(&dev->migration.saving);
	if (ret) {
		if (filp)
			fput(filp);
		return ERR_PTR(ret);
	}
	if (state_saves(from) && !state_saves(to))
		mdma_file_put(&dev->migration.saving);
	set_state(dev, to);
	if (state_runs(to) && !state_runs(from))
		start_running(dev);
	return filp;
}

static struct file *migration_set_state(struct vfio_device *vdev,
					enum vfio_device_mig_state new_state)
{
	struct mdma_device *dev = container_of(vdev, struct mdma_device, vdev);
	struct mdma_migration *migration = &dev->migration;
	enum vfio_device_mig_state next;
	struct file *filp = NULL;
	int ret;

	mutex_lock(&migration->lock);
	/* Only a reset leads out of ERROR, and only a failure into it */
	if (migration->state == VFIO_DEVICE_STATE_ERROR ||
	    new_state == VFIO_DEVICE_STATE_ERROR)
		filp = ERR_PTR(-EINVAL);
	while (!filp && migration->state != new_state) {
		ret = vfio_mig_get_next_state(vdev, migration->state,
					      new_state, &next);
		filp = ret ? ERR_PTR(ret) : step(dev, next);
	}
	mutex_unlock(&migration->lock);
	return filp;
}

static int migration_get_state(struct vfio_device *vdev,
			       enum vfio_device_mig_state *state)
{
	struct mdma_device *dev = container_of(vdev, struct mdma_device, vdev);

	mutex_lock(&dev->migration.lock);
	*state = dev->migration.state;
	mutex_unlock(&dev->migration.lock);
	return 0;
}

static int migration_get_data_size(struct vfio_device *vdev,
				   unsigned long *stop_copy_length)
{
	struct mdma_device *dev = container_of(vdev, struct mdma_device, vdev);

	/* How many channels will stop midway, nobody knows */
	*stop_copy_length = MDMA_STREAM_CONFIG_SIZE +
			    mdma_stream_state_size(dev->engine.nr_channels, 0,
						   mdma_held_count(&dev->engine.held),
						   READ_ONCE(dev->engine.replay.nr));
	return 0;
}

const struct vfio_migration_ops mdma_migration_ops = {
	.migration_set_state = migration_set_state,
	.migration_get_state = migration_get_state,
	.migration_get_data_size = migration_get_data_size,
};

/**
 * mdma_migration_reset() - reset the function: VFIO_DEVICE_RESET, and close
 * @dev: takes migration.lock, regs_lock and the gate
 *
 * Ends a migration, gives back what is pinned, and resets config space and
 * registers. The device runs afterwards, if it is open.
 */
void mdma_migration_reset(struct mdma_device *dev)
{
	mutex_lock(&dev->migration.lock);
	mdma_engine_run(&dev->engine, false);
	mdma_file_put(&dev->migration.saving);
	mdma_file_put(&dev->migration.resuming);
	mutex_lock(&dev->regs_lock);
	mdma_function_reset(dev);
	mutex_unlock(&dev->regs_lock);
	if (dev->migration.state != VFIO_DEVICE_STATE_RUNNING)
		set_state(dev, VFIO_DEVICE_STATE_RUNNING);
	mdma_engine_run(&dev->engine, dev->engine.open);
	mutex_unlock(&dev->migration.lock);
}
