// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine as a whole: made, let run, quiesced. ring.c has the guest's
 * descriptors and workload.c the host's, job.c executes them, and thread.c
 * has the threads that do so. Takes the gate.
 */
#include <linux/slab.h>

#include "channel.h"
#include "engine.h"

/**
 * mdma_engine_init() - make the channels and all that they use
 * @engine: zeroed; @id, @nr_channels, @interrupt and @attend are set
 * @vdev: whose pins they will have
 *
 * Return: 0 or -ENOMEM; then mdma_engine_destroy() is still to be called.
 */
int mdma_engine_init(struct mdma_engine *engine, struct vfio_device *vdev)
{
	int ret = 0;
	u32 i;

	mutex_init(&engine->threads);
	init_rwsem(&engine->gate);
	mdma_access_init(&engine->access, vdev, engine->id, &engine->stats);
	mdma_held_init(&engine->held, &engine->access);
	mdma_manual_init(&engine->manual, &engine->access);
	mdma_unmap_init(&engine->unmap, &engine->access, &engine->held,
			&engine->manual);
	mdma_ledger_init(&engine->ledger, &engine->gate);
	mdma_dirty_log_init(&engine->dirty_log, engine->id);
	engine->channels = kcalloc(engine->nr_channels,
				   sizeof(*engine->channels), GFP_KERNEL);
	if (!engine->channels)
		return -ENOMEM;
	for (i = 0; i < engine->nr_channels && !ret; i++)
		ret = mdma_channel_init(&engine->channels[i], engine, i);
	return ret;
}

/**
 * mdma_engine_destroy() - undo mdma_engine_init()
 * @engine: its threads have ended
 */
void mdma_engine_destroy(struct mdma_engine *engine)
{
	u32 i;

	mdma_ledger_clear(&engine->ledger);
	for (i = 0; engine->channels && i < engine->nr_channels; i++)
		mdma_channel_destroy(&engine->channels[i]);
	kfree(engine->channels);
}

/**
 * mdma_engine_kick() - make all channels look for work
 * @engine: gate held; nothing happens if it is not open
 */
void mdma_engine_kick(struct mdma_engine *engine)
{
	u32 i;

	for (i = 0; engine->open && i < engine->nr_channels; i++)
		mdma_channel_kick(&engine->channels[i]);
}

/**
 * mdma_engine_run() - let the engine execute, or quiesce it
 * @engine: open
 * @run: false: nothing executes on return, nor until the next call
 */
void mdma_engine_run(struct mdma_engine *engine, bool run)
{
	u32 i;

	WRITE_ONCE(engine->pausing, !run);
	down_write(&engine->gate);
	engine->running = run;
	up_write(&engine->gate);
	for (i = 0; run && i < engine->nr_channels; i++)
		mdma_channel_kick(&engine->channels[i]);
}
