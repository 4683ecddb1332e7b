/* SPDX-License-Identifier: GPL-2.0-only */
/* What the administrator set, and what a stream brought over it. */
#ifndef MDMA_SETTINGS_H
#define MDMA_SETTINGS_H

#include "knobs.h"
#include "replay.h"
#include "window.h"

struct mdma_channel;
struct mdma_engine;
struct mdma_snapshot;

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

struct mdma_settings *mdma_settings_alloc(struct mdma_engine *engine);
void mdma_settings_keep(struct mdma_engine *engine,
			struct mdma_settings **settings);
void *mdma_settings_restore(struct mdma_engine *engine);
int mdma_settings_set(struct mdma_channel *ch, enum mdma_knob knob, u64 value);
int mdma_settings_set_window(struct mdma_engine *engine,
			     const struct mdma_range *range, u32 nr);
void *mdma_settings_drop_trace(struct mdma_engine *engine);
void mdma_settings_load(struct mdma_engine *engine,
			const struct mdma_snapshot *snap,
			struct mdma_settings **settings,
			struct mdma_replay *replay);

#endif /* MDMA_SETTINGS_H */
