// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a migration carries if it does not say anything else: the values of a new
 * device. Takes no lock.
 */
#include "snapshot.h"

/**
 * mdma_snapshot_workload() - a workload as a new device has it
 * @workload: becomes it
 * @knobs: likewise
 */
void mdma_snapshot_workload(struct mdma_stream_workload *workload,
			    struct mdma_stream_knobs *knobs)
{
	*workload = (struct mdma_stream_workload) { .batch = cpu_to_le32(1) };
	*knobs = (struct mdma_stream_knobs) {
		.access = cpu_to_le32(MDMA_ACCESS_PIN),
		.on_error = cpu_to_le32(MDMA_ON_ERROR_SKIP),
		.write_percent = cpu_to_le32(50),
		.ring = cpu_to_le32(8),
		.stride = cpu_to_le32(16),
		.theta = cpu_to_le32(990),
		.hot = cpu_to_le32(16),
		.hot_percent = cpu_to_le32(90),
	};
}

/**
 * mdma_snapshot_init() - what an empty stream means
 * @snap: @channels stays; @state comes with each stream, and is not touched
 */
void mdma_snapshot_init(struct mdma_snapshot *snap)
{
	struct mdma_stream_channel_workload *to = snap->workload;
	struct mdma_stream_workload first;
	u32 channel;

	snap->nr_progress = 0;
	snap->held.nr = 0;
	snap->trace.nr = 0;
	mdma_snapshot_workload(&first, &snap->knobs);
	for (channel = 1; channel < MDMA_MAX_CHANNELS; channel++, to++) {
		to->channel = cpu_to_le32(channel);
		to->reserved = 0;
		mdma_snapshot_workload(&to->workload, &to->knobs);
	}
}
