// SPDX-License-Identifier: GPL-2.0-only
/*
 * One device, as a whole: made, opened, closed, reset, saved and loaded. A device
 * that nobody has opened does nothing. Takes mdma_regs.lock and the gate.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "channel.h"
#include "device.h"
#include "settings.h"
#include "snapshot.h"
#include "stream.h"
#include "thread.h"
#include "workload.h"

static struct mdma_device *to_device(struct mdma_migration *migration)
{
	return container_of(migration, struct mdma_device, migration);
}

/* --- what a migration carries -------------------------------------------- */

/*
 * These do not move: the ledger and the dirty log, which are about this host; pins by
 * hand, and other test hooks; what root set for the device as such, like bounds of
 * memory. Config space and the eventfds of interrupts belong to the VMM, which writes
 * and sets them at the destination.
 */
static int save(struct mdma_migration *migration, struct mdma_snapshot *snap)
{
	struct mdma_device *dev = to_device(migration);
	struct mdma_engine *engine = &dev->engine;
	u32 i;

	memset(snap, 0, sizeof(*snap));
	snap->channels = engine->nr_channels;
	mutex_lock(&dev->regs.lock);
	down_write(&engine->gate);
	for (i = 0; i < engine->nr_channels; i++)
		mdma_channel_save(&engine->channels[i], snap);
	mdma_regs_save(&dev->regs, snap);
	mdma_window_save(&engine->window, &snap->state.window);
	mdma_workload_save(engine, snap);
	mdma_replay_save(&engine->replay, snap);
	mdma_stats_save(&engine->stats, snap);
	up_write(&engine->gate);
	mutex_unlock(&dev->regs.lock);
	return mdma_held_save(&engine->held, snap);
}

/* With the gate held for writing: nothing fails any more. */
static void load_all(struct mdma_device *dev, const struct mdma_snapshot *snap,
		     struct mdma_settings **settings,
		     struct mdma_replay *replay)
{
	struct mdma_engine *engine = &dev->engine;
	u32 i;

	for (i = 0; i < engine->nr_channels; i++)
		mdma_channel_load(&engine->channels[i], snap);
	mdma_regs_load(&dev->regs, snap);
	mdma_settings_load(engine, snap, settings, replay);
	mdma_stats_load(&engine->stats, snap);
}

static int load(struct mdma_migration *migration,
		const struct mdma_snapshot *snap)
{
	struct mdma_device *dev = to_device(migration);
	struct mdma_engine *engine = &dev->engine;
	struct mdma_settings *settings = mdma_settings_alloc(engine);
	struct mdma_replay replay = {};
	int ret = -ENOMEM;

	if (settings)
		ret = mdma_replay_load(&replay, snap);
	if (!ret)
		ret = mdma_held_load(&engine->held, snap);
	if (!ret) {
		mutex_lock(&dev->regs.lock);
		down_write(&engine->gate);
		load_all(dev, snap, &settings, &replay);
		up_write(&engine->gate);
		mutex_unlock(&dev->regs.lock);
	}
	/* What there was before, or what was not needed */
	kvfree(replay.entries);
	kfree(settings);
	return ret;
}

static size_t size(struct mdma_migration *migration)
{
	struct mdma_engine *engine = migration->engine;

	return mdma_stream_state_size(engine->nr_channels, 0,
				      mdma_held_count(&engine->held),
				      READ_ONCE(engine->replay.nr));
}

/* The window that the guest gave last comes before the first descriptor. */
static void start(struct mdma_migration *migration)
{
	struct mdma_device *dev = to_device(migration);

	mutex_lock(&dev->regs.lock);
	mdma_regs_load_window(&dev->regs, true);
	mdma_engine_run(&dev->engine, true);
	mutex_unlock(&dev->regs.lock);
	mdma_irq_replay(&dev->irqs);
}

static void reset(struct mdma_migration *migration)
{
	struct mdma_device *dev = to_device(migration);

	mutex_lock(&dev->regs.lock);
	mdma_pci_reset_function(&dev->pci);
	mutex_unlock(&dev->regs.lock);
}

static const struct mdma_migration_hooks hooks = {
	.save	= save,
	.load	= load,
	.size	= size,
	.start	= start,
	.reset	= reset,
};

/* --- from creation to removal -------------------------------------------- */

static void interrupt(struct mdma_engine *engine, struct mdma_channel *ch)
{
	mdma_irq_raise(&container_of(engine, struct mdma_device, engine)->irqs,
		       ch);
}

static void attend(struct mdma_engine *engine)
{
	mdma_intx_attend(&container_of(engine, struct mdma_device, engine)->intx);
}

/**
 * mdma_device_init() - make a device
 * @dev: zeroed
 * @mdev: that it is
 *
 * Return: 0 or -ENOMEM.
 */
int mdma_device_init(struct mdma_device *dev, struct mdev_device *mdev)
{
	struct mdma_engine *engine = &dev->engine;
	int ret;

	/* A guid_t has the first number of the UUID in little-endian order */
	engine->id = get_unaligned_le32(mdev->uuid.b);
	engine->nr_channels = container_of(mdev->type, struct mdma_type,
					   type)->nr_channels;
	engine->interrupt = interrupt;
	engine->attend = attend;
	mdma_migration_init(&dev->migration, &dev->vdev, engine, &hooks);
	mdma_intx_init(&dev->intx, engine);
	mdma_irq_init(&dev->irqs, engine, &dev->intx);
	mdma_regs_init(&dev->regs, engine, &dev->irqs);
	mdma_ledger_view_init(&dev->ledger_view, &engine->ledger,
			      &engine->stats);
	dev->pci = (struct mdma_pci) {
		.engine = engine,
		.migration = &dev->migration,
		.regs = &dev->regs,
		.irqs = &dev->irqs,
		.intx = &dev->intx,
		.ledger_view = &dev->ledger_view,
	};
	mdma_upload_init(&dev->upload);
	ret = mdma_engine_init(engine, &dev->vdev);
	if (ret)
		mdma_engine_destroy(engine);
	else
		mdma_workload_init(engine);
	return ret;
}

/**
 * mdma_device_release() - undo mdma_device_init()
 * @dev: nobody uses it any more
 */
void mdma_device_release(struct mdma_device *dev)
{
	kvfree(dev->engine.replay.entries);
	mdma_upload_destroy(&dev->upload);
	mdma_engine_destroy(&dev->engine);
	mutex_destroy(&dev->migration.lock);
	mutex_destroy(&dev->regs.lock);
}

/**
 * mdma_device_open() - a user comes, and finds the device as new
 * @dev: not open
 *
 * Return: 0 or a negative error.
 */
int mdma_device_open(struct mdma_device *dev)
{
	struct mdma_engine *engine = &dev->engine;
	int ret;

	engine->memcg = get_mem_cgroup_from_mm(current->mm);
	ret = mdma_thread_start(engine);
	if (ret) {
		mem_cgroup_put(engine->memcg);
		return ret;
	}

	mutex_lock(&dev->regs.lock);
	down_write(&engine->gate);
	mdma_pci_reset(&dev->pci);
	mdma_regs_reset(&dev->regs);
	mdma_workload_restart(engine);
	mdma_ledger_clear(&engine->ledger);
	mdma_stats_clear(&engine->stats);
	engine->open = true;
	up_write(&engine->gate);
	mutex_unlock(&dev->regs.lock);

	mdma_engine_run(engine, true);
	return 0;
}

/**
 * mdma_device_close() - the user has gone
 * @dev: open
 *
 * Ledger and counters stay, to be read, until the next user comes.
 */
void mdma_device_close(struct mdma_device *dev)
{
	struct mdma_engine *engine = &dev->engine;
	void *trace;

	down_write(&engine->gate);
	engine->open = false;
	engine->running = false;
	trace = mdma_settings_restore(engine);
	mdma_workload_end(engine);
	up_write(&engine->gate);
	kvfree(trace);
	mdma_migration_reset(&dev->migration);
	/* Afterwards, no eventfd wakes a thread */
	mdma_irq_release(&dev->irqs);
	mdma_thread_stop(engine);
	mdma_dirty_log_stop(&engine->dirty_log);
	mdma_ledger_view_drop(&dev->ledger_view);
	mem_cgroup_put(engine->memcg);
	engine->memcg = NULL;
}
