/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The migration stream: a device's state as records. Pure: no vfio, no locks;
 * compiled in user space as well.
 */
#ifndef MDMA_STREAM_H
#define MDMA_STREAM_H

#include <linux/log2.h>
#include <linux/mdma.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/types.h>

#include <asm/byteorder.h>

/**
 * struct mdma_entries - entries of an array in a stream
 * @nr: number
 * @size: bytes of each
 * @data: in memory of the caller; after mdma_stream_read() a part of the stream
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
 * struct mdma_stream_parser - how far a stream was parsed
 * @pos: bytes of complete records
 * @rank: place of the last known record in the order of records
 * @held_at: where the entries of HELD are, 0 if there is none
 * @trace_at: likewise of TRACE
 */
struct mdma_stream_parser {
	size_t pos;
	u32 rank;
	size_t held_at;
	size_t trace_at;
};

/* Bytes that mdma_stream_write_config() writes. */
#define MDMA_STREAM_CONFIG_SIZE \
	(sizeof(struct mdma_stream_record) + sizeof(struct mdma_stream_config))

/**
 * mdma_ring_valid() - whether a ring can be enabled
 * @ring: IOVA
 * @size: entries
 *
 * Return: false if the size is out of range or no power of two, or if the ring
 * is not aligned or wraps around.
 */
static inline bool mdma_ring_valid(u64 ring, u32 size)
{
	u64 bytes = (u64)size * sizeof(struct mdma_desc);

	return size >= MDMA_RING_SIZE_MIN && size <= MDMA_RING_SIZE_MAX &&
	       is_power_of_2(size) && !(ring % sizeof(struct mdma_desc)) &&
	       ring + (bytes - 1) >= ring;
}

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
 * Return: the value, at most MDMA_STREAM_COUNTER_MAX: who sends more cannot make
 * it wrap.
 */
static inline u64 mdma_stream_counter(__le64 value)
{
	return min(le64_to_cpu(value), MDMA_STREAM_COUNTER_MAX);
}

void mdma_knobs_init(struct mdma_stream_knobs *knobs);
void mdma_stream_workload_init(struct mdma_stream_workload *workload);
size_t mdma_stream_state_size(u32 channels, u32 nr_progress, u32 nr_held,
			      u32 nr_trace);
size_t mdma_stream_write_config(void *buf, const struct mdma_snapshot *snap);
size_t mdma_stream_write_state(void *buf, const struct mdma_snapshot *snap);
void mdma_stream_begin(struct mdma_stream_parser *parser,
		       struct mdma_snapshot *snap);
int mdma_stream_continue(struct mdma_stream_parser *parser, const void *buf,
			 size_t size, struct mdma_snapshot *snap);
int mdma_stream_read(const void *buf, size_t size, struct mdma_snapshot *snap);

#endif /* MDMA_STREAM_H */
