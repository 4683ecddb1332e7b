// SPDX-License-Identifier: GPL-2.0-only
/*
 * Settings: workloads, window and trace. Only root may set them, but a
 * migration stream has them too, and comes from whoever has the device open.
 * So the settings of a stream count until the close, and the administrator's
 * are kept meanwhile and restored then.
 *
 * What the administrator sets meanwhile changes both. Takes the gate.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "channel.h"
#include "engine.h"
#include "settings.h"
#include "snapshot.h"
#include "workload.h"

/**
 * mdma_settings_alloc() - room for the administrator's settings
 * @engine: any
 *
 * Return: to be given to mdma_settings_keep(), or NULL without memory.
 */
struct mdma_settings *mdma_settings_alloc(struct mdma_engine *engine)
{
	struct mdma_settings *settings;

	return kzalloc(struct_size(settings, workload, engine->nr_channels),
		       GFP_KERNEL_ACCOUNT);
}

/* mdma_migration_data_size() reads the number without a lock. */
static void set_replay(struct mdma_engine *engine, const struct mdma_replay *replay)
{
	engine->replay.entries = replay->entries;
	WRITE_ONCE(engine->replay.nr, replay->nr);
}

/* The administrator's trace, unless the engine has that of an earlier stream. */
static void keep_trace(struct mdma_engine *engine, struct mdma_settings *settings)
{
	if (settings->has_replay)
		return;
	settings->replay = engine->replay;
	set_replay(engine, &(struct mdma_replay) {});
	settings->has_replay = true;
}

/**
 * mdma_settings_keep() - those of a stream are about to replace them
 * @engine: gate held for writing
 * @settings: of mdma_settings_alloc(); NULL afterwards if it was needed
 *
 * What an earlier stream replaced is still kept, and what the administrator has set
 * since then.
 */
void mdma_settings_keep(struct mdma_engine *engine,
			struct mdma_settings **settings)
{
	struct mdma_settings *to = *settings;
	u32 i;

	if (engine->settings) {
		keep_trace(engine, engine->settings);
		return;
	}
	*settings = NULL;
	engine->settings = to;
	for (i = 0; i < engine->nr_channels; i++)
		to->workload[i] = engine->channels[i].workload;
	if (engine->window.origin == MDMA_WINDOW_ADMIN)
		to->window = engine->window;
	keep_trace(engine, to);
}

/**
 * mdma_settings_restore() - the device is closed
 * @engine: gate held for writing, nothing executes any more
 *
 * Return: the stream's trace, to be freed with kvfree(), or NULL.
 */
void *mdma_settings_restore(struct mdma_engine *engine)
{
	struct mdma_settings *settings = engine->settings;
	void *trace = NULL;
	u32 i;

	if (!settings)
		return NULL;
	for (i = 0; i < engine->nr_channels; i++)
		mdma_knobs_copy(&engine->channels[i].workload,
				&settings->workload[i]);
	mdma_workload_set_window(engine, settings->window.origin,
				 settings->window.range, settings->window.nr);
	if (settings->has_replay) {
		trace = engine->replay.entries;
		set_replay(engine, &settings->replay);
	}
	kfree(settings);
	engine->settings = NULL;
	return trace;
}

/**
 * mdma_settings_set() - the administrator sets an attribute of a workload
 * @ch: any
 * @knob: which
 * @value: in its range
 *
 * Return: 0, -EBUSY for an attribute that cannot change while the workload is
 * started, or -EINTR.
 */
int mdma_settings_set(struct mdma_channel *ch, enum mdma_knob knob, u64 value)
{
	struct mdma_engine *engine = ch->engine;
	int ret;

	ret = down_write_killable(&engine->gate);
	if (ret)
		return ret;
	if (ch->workload.run && !mdma_knobs_live(knob))
		ret = -EBUSY;
	else
		mdma_knobs_set(&ch->workload, knob, value);
	if (!ret && engine->settings)
		mdma_knobs_set(&engine->settings->workload[ch->index], knob,
			       value);
	if (engine->open)
		mdma_channel_kick(ch);
	up_write(&engine->gate);
	return ret;
}

/**
 * mdma_settings_set_window() - the administrator sets the window
 * @engine: any
 * @range: checked
 * @nr: number, 0 for an empty window
 *
 * Return: 0, -EBUSY while a workload is started, or -EINTR.
 */
int mdma_settings_set_window(struct mdma_engine *engine,
			     const struct mdma_range *range, u32 nr)
{
	int ret;

	ret = down_write_killable(&engine->gate);
	if (ret)
		return ret;
	if (mdma_workload_started(engine)) {
		ret = -EBUSY;
	} else {
		mdma_workload_set_window(engine, MDMA_WINDOW_ADMIN, range, nr);
		if (engine->settings)
			engine->settings->window = engine->window;
	}
	up_write(&engine->gate);
	return ret;
}

/**
 * mdma_settings_drop_trace() - the administrator has another trace
 * @engine: gate held for writing
 *
 * Return: the one before, to be freed with kvfree(), or NULL.
 */
void *mdma_settings_drop_trace(struct mdma_engine *engine)
{
	struct mdma_settings *settings = engine->settings;
	void *trace;

	if (!settings || !settings->has_replay)
		return NULL;
	trace = settings->replay.entries;
	settings->has_replay = false;
	return trace;
}

/*
 * Of a stream, also where its settings do not count: the window of the guest. If it
 * has none, a guest that was here before takes its own along.
 */
static void load_window(struct mdma_engine *engine,
			const struct mdma_stream_window *from)
{
	u32 origin = le32_to_cpu(from->origin);

	if (!engine->keep_settings || origin == MDMA_WINDOW_GUEST)
		mdma_workload_set_window(engine, origin, from->ranges,
					 le32_to_cpu(from->nr_ranges));
	else if (engine->window.origin == MDMA_WINDOW_GUEST)
		mdma_workload_set_window(engine, MDMA_WINDOW_NONE, NULL, 0);
}

/**
 * mdma_settings_load() - the settings that a migration brought
 * @engine: gate held for writing
 * @snap: valid
 * @settings: of mdma_settings_alloc(); NULL afterwards if it was needed
 * @replay: the trace of @snap; afterwards the one before
 */
void mdma_settings_load(struct mdma_engine *engine,
			const struct mdma_snapshot *snap,
			struct mdma_settings **settings,
			struct mdma_replay *replay)
{
	struct mdma_replay before;

	if (!engine->keep_settings)
		mdma_settings_keep(engine, settings);
	load_window(engine, &snap->state.window);
	if (engine->keep_settings)
		return;
	mdma_workload_load(engine, snap);
	before = engine->replay;
	set_replay(engine, replay);
	*replay = before;
}
