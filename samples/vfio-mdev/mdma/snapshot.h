/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a migration carries, as records of the stream have it. Each part of the
 * device saves its own fields here and loads them from here: channel, regs, window,
 * knobs and stats share STATE (Documentation/extending.rst has a table). The
 * window's ranges, workloads and the trace are loaded by settings.c, as root may have
 * set them here. The stream's bytes are stream.c's. Pure: no vfio, no locks; compiled
 * in user space as well.
 */
#ifndef MDMA_SNAPSHOT_H
#define MDMA_SNAPSHOT_H

#include <linux/mdma.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/types.h>

#include <asm/byteorder.h>

/**
 * struct mdma_entries - entries of an array in a stream
 * @nr: number
 * @size: bytes of each
 * @data: memory of the part that saved them; after mdma_stream_read(), of the
 *	stream
 */
struct mdma_entries {
	u32 nr;
	u32 size;
	const void *data;
};

/**
 * struct mdma_snapshot - what a stream carries
 * @channels: of the device, 1 to MDMA_MAX_CHANNELS
 * @nr_progress: used entries of @progress
 * @held: struct mdma_stream_held, see mdma_snapshot_held()
 * @trace: struct mdma_trace_entry, see mdma_snapshot_trace()
 * @state: of the quiesced device
 * @knobs: likewise; of a stream without them, those of a new device
 * @workload: those of channels 1 to @channels - 1, at their number less 1; of a
 *	stream without them, those of a new device
 * @progress: of channels that stopped within a descriptor, ascending
 */
struct mdma_snapshot {
	u32 channels;
	u32 nr_progress;
	struct mdma_entries held;
	struct mdma_entries trace;
	struct mdma_stream_state state;
	struct mdma_stream_knobs knobs;
	struct mdma_stream_channel_workload workload[MDMA_MAX_CHANNELS - 1];
	struct mdma_stream_progress progress[MDMA_MAX_CHANNELS];
};

/**
 * mdma_snapshot_held() - one of the held runs
 * @snap: written, or read without an error
 * @i: less than the number of them
 *
 * Return: a copy, as the stream may have it anywhere. What an older version did
 * not have is 0.
 */
static inline struct mdma_stream_held
mdma_snapshot_held(const struct mdma_snapshot *snap, u32 i)
{
	const struct mdma_entries *entries = &snap->held;
	struct mdma_stream_held held = {};

	memcpy(&held, entries->data + (size_t)i * entries->size,
	       min_t(size_t, entries->size, sizeof(held)));
	return held;
}

/**
 * mdma_snapshot_trace() - one of the entries of the trace
 * @snap: written, or read without an error
 * @i: less than the number of them
 *
 * Return: a copy.
 */
static inline struct mdma_trace_entry
mdma_snapshot_trace(const struct mdma_snapshot *snap, u32 i)
{
	struct mdma_trace_entry entry;

	memcpy(&entry, snap->trace.data + (size_t)i * snap->trace.size,
	       sizeof(entry));
	return entry;
}

/**
 * mdma_stream_counter() - the value of a counter in a stream
 * @value: of struct mdma_stream_stats, or a counter of struct mdma_stream_knobs
 *
 * Return: the value, at most MDMA_STREAM_COUNTER_MAX, so that no stream can
 * make it wrap.
 */
static inline u64 mdma_stream_counter(__le64 value)
{
	return min(le64_to_cpu(value), MDMA_STREAM_COUNTER_MAX);
}

void mdma_snapshot_workload(struct mdma_stream_workload *workload,
			    struct mdma_stream_knobs *knobs);
void mdma_snapshot_init(struct mdma_snapshot *snap);

#endif /* MDMA_SNAPSHOT_H */
