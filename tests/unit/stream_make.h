/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Streams for tests: possible devices, their streams, and a second opinion on what a
 * receiver may accept.
 */
#ifndef _STREAM_MAKE_H
#define _STREAM_MAKE_H

#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "stream.h"
#include "unit.h"

#define HEADER		sizeof(struct mdma_stream_record)
#define STATE_AT	MDMA_STREAM_CONFIG_SIZE
#define HELD_MAX	8	/* runs of a device made here */
#define TRACE_MAX	8	/* entries of its trace */

/* Offsets in a stream made here; the smallest has KNOBS, and then END. */
#define KNOBS_AT	(STATE_AT + HEADER + sizeof(struct mdma_stream_state))
#define KNOBS_END	(KNOBS_AT + HEADER + sizeof(struct mdma_stream_knobs))
#define SIZE_MIN	(KNOBS_END + HEADER)
#define SIZE_MAX_MADE	(SIZE_MIN + 4 * HEADER +			\
			 4 * sizeof(struct mdma_stream_array) +		\
			 MDMA_MAX_CHANNELS *				\
			 (sizeof(struct mdma_stream_progress) +		\
			  sizeof(struct mdma_stream_channel_workload)) + \
			 TRACE_MAX * sizeof(struct mdma_trace_entry) +	\
			 HELD_MAX * sizeof(struct mdma_stream_held))

/* Memory that a snapshot points to. */
struct made {
	struct mdma_stream_held held[HELD_MAX];
	struct mdma_trace_entry trace[TRACE_MAX];
};

static inline void make_channel(struct mdma_stream_channel *channel)
{
	u32 size = 1 << (1 + unit_below(10));

	channel->ring = cpu_to_le64(unit_below(1 << 30) * 64);
	channel->ring_size = cpu_to_le32(size);
	channel->ctrl = cpu_to_le32(unit_below(4));
	channel->head = cpu_to_le32((u32)unit_random());
	channel->tail = cpu_to_le32(le32_to_cpu(channel->head) +
				    (u32)unit_below(size + 1));
	channel->status = cpu_to_le32(unit_below(4) ? MDMA_STATUS_NONE :
						      MDMA_STATUS_BAD_RING);
	channel->irq = cpu_to_le32(unit_below(2));
}

static inline void make_window(struct mdma_stream_window *window)
{
	u32 i, nr = unit_below(MDMA_MAX_RANGES + 1);
	u64 at = unit_below(1000) << MDMA_PAGE_SHIFT;

	for (i = 0; i < nr; i++) {
		u64 size = (1 + unit_below(1000)) << MDMA_PAGE_SHIFT;

		window->ranges[i].iova = cpu_to_le64(at);
		window->ranges[i].size = cpu_to_le64(size);
		at += size + (unit_below(10) << MDMA_PAGE_SHIFT);
	}
	window->nr_ranges = cpu_to_le32(nr);
	window->origin = cpu_to_le32(nr ? 1 + unit_below(2) : 0);
	window->table = cpu_to_le64(unit_random());
	window->table_ranges = cpu_to_le32((u32)unit_random());
	window->table_status = cpu_to_le32(unit_below(2));
	window->table_pending = cpu_to_le32(unit_below(2));
}

static inline void make_workload(struct mdma_stream_workload *workload)
{
	workload->pattern = cpu_to_le32(unit_below(MDMA_PATTERN_LAST + 1));
	workload->direction = cpu_to_le32(unit_below(3));
	workload->batch = cpu_to_le32(1 + unit_below(MDMA_BATCH_MAX));
	workload->hold_ms = cpu_to_le32(unit_below(MDMA_HOLD_MS_MAX + 1));
	workload->rate = cpu_to_le32((u32)unit_random());
	workload->run = cpu_to_le32(unit_below(2));
	workload->pages = cpu_to_le64(unit_random());
	workload->seed = cpu_to_le64(unit_random());
	workload->prng = cpu_to_le64(unit_random());
	workload->position = cpu_to_le64(unit_random());
}

static inline void make_knobs(struct mdma_stream_knobs *knobs)
{
	knobs->access = cpu_to_le32(unit_below(2));
	knobs->on_error = cpu_to_le32(unit_below(3));
	knobs->write_percent = cpu_to_le32(unit_below(101));
	knobs->ring = cpu_to_le32(1 + unit_below(65536));
	knobs->stride = cpu_to_le32(1 + unit_below(1000));
	knobs->theta = cpu_to_le32(unit_below(1000));
	knobs->hot = cpu_to_le32(1 + unit_below(1000));
	knobs->hot_percent = cpu_to_le32(unit_below(101));
	knobs->drift = cpu_to_le32((u32)unit_random());
	knobs->burst = cpu_to_le32((u32)unit_random());
	knobs->pause_ms = cpu_to_le32(unit_below(600001));
	knobs->burst_done = cpu_to_le32((u32)unit_random());
	knobs->skipped = cpu_to_le64(unit_random());
}

/* Descriptors in which channels can have stopped. */
static inline void make_progress(struct mdma_snapshot *snap)
{
	const struct mdma_stream_channel *channel = snap->state.channel;
	struct mdma_stream_progress *progress;
	u64 len;
	u32 i;

	for (i = 0; i < snap->channels; i++, channel++) {
		if (!(le32_to_cpu(channel->ctrl) & MDMA_CTRL_ENABLE) ||
		    channel->head == channel->tail || unit_below(2))
			continue;
		progress = &snap->progress[snap->nr_progress++];
		len = 2 + unit_below(MDMA_DESC_MAX_LEN - 1);
		progress->channel = cpu_to_le32(i);
		progress->result = cpu_to_le32((u32)unit_random());
		progress->done = cpu_to_le64(1 + unit_below(len - 1));
		progress->desc.op = cpu_to_le32(unit_below(5));
		progress->desc.dst = cpu_to_le64(unit_random());
		progress->desc.src = cpu_to_le64(unit_random());
		progress->desc.len = cpu_to_le64(len);
	}
}

static inline void make_held(struct mdma_snapshot *snap,
			     struct mdma_stream_held *held)
{
	u32 i;

	snap->held = (struct mdma_entries) {
		unit_below(HELD_MAX + 1), sizeof(*held), held,
	};
	for (i = 0; i < snap->held.nr; i++)
		held[i] = (struct mdma_stream_held) {
			.iova = cpu_to_le64(unit_below(1 << 30) << 12),
			.npages = cpu_to_le32(1 + unit_below(MDMA_BATCH_MAX)),
			.flags = cpu_to_le32(unit_below(2)),
			.age_us = cpu_to_le64(unit_random()),
			.channel = cpu_to_le32(unit_below(snap->channels)),
			.hold_ms = cpu_to_le32(unit_below(600001)),
		};
}

static inline void make_trace(struct mdma_snapshot *snap,
			      struct mdma_trace_entry *trace)
{
	u64 at = 0;
	u32 i;

	snap->trace = (struct mdma_entries) {
		unit_below(TRACE_MAX + 1), sizeof(*trace), trace,
	};
	for (i = 0; i < snap->trace.nr; i++) {
		at += unit_below(1000000);
		trace[i] = (struct mdma_trace_entry) {
			.iova = cpu_to_le64(unit_below(1 << 30) << 12),
			.at_us = cpu_to_le64(at),
			.npages = cpu_to_le32(1 + unit_below(MDMA_BATCH_MAX)),
			.flags = cpu_to_le32(unit_below(2)),
			.hold_ms = cpu_to_le32(unit_below(600001)),
		};
	}
}

static inline void make_workloads(struct mdma_snapshot *snap)
{
	struct mdma_stream_channel_workload *to = snap->workload;
	u32 i;

	for (i = 1; i < snap->channels; i++, to++) {
		to->channel = cpu_to_le32(i);
		make_workload(&to->workload);
		make_knobs(&to->knobs);
		to->knobs.skipped = 0;
	}
}

/* A possible device. */
static inline void make_snapshot(struct mdma_snapshot *snap, struct made *made)
{
	u32 i;

	memset(snap, 0, sizeof(*snap));
	snap->channels = 1 + unit_below(MDMA_MAX_CHANNELS);
	for (i = 0; i < snap->channels; i++)
		make_channel(&snap->state.channel[i]);
	make_window(&snap->state.window);
	make_workload(&snap->state.workload);
	make_knobs(&snap->knobs);
	make_workloads(snap);
	snap->state.stats.seq = cpu_to_le64(unit_random());
	make_progress(snap);
	make_held(snap, made->held);
	make_trace(snap, made->trace);
}

/* Its stream, in a buffer of SIZE_MAX_MADE. Returns the size. */
static inline size_t make_stream(const struct mdma_snapshot *snap, u8 *stream)
{
	size_t size = mdma_stream_write_config(stream, snap);

	return size + mdma_stream_write_state(stream + size, snap);
}

/* Where the record at @at ends, or 0 if there is no whole record. */
static inline size_t record_end(const u8 *bytes, size_t size, size_t at)
{
	struct mdma_stream_record record;

	if (at > size || size - at < HEADER)
		return 0;
	memcpy(&record, bytes + at, HEADER);
	if (le32_to_cpu(record.length) > size - at - HEADER)
		return 0;
	return at + HEADER + le32_to_cpu(record.length);
}

/* Makes the record at @at valid again after a change. */
static inline void seal(u8 *bytes, size_t at)
{
	struct mdma_stream_record record;
	u32 crc;

	memcpy(&record, bytes + at, sizeof(record));
	crc = crc32_le(~0, bytes + at, offsetof(struct mdma_stream_record,
						crc));
	crc = crc32_le(crc, bytes + at + HEADER, le32_to_cpu(record.length));
	record.crc = cpu_to_le32(crc);
	memcpy(bytes + at, &record, sizeof(record));
}

/* A hostile sender knows how to compute a CRC. */
static inline void seal_all(u8 *bytes, size_t size)
{
	size_t at, end;

	for (at = 0; (end = record_end(bytes, size, at)); at = end)
		seal(bytes, at);
}

/* A second opinion on which workload may be accepted. */
static inline const char *wrong_workload(const struct mdma_stream_workload *workload)
{
	if (!workload->batch || le32_to_cpu(workload->batch) > 512 ||
	    le32_to_cpu(workload->pattern) > MDMA_PATTERN_LAST ||
	    le32_to_cpu(workload->direction) > 2 ||
	    le32_to_cpu(workload->hold_ms) > 600000 ||
	    le32_to_cpu(workload->run) > 1)
		return "workload";
	return NULL;
}

static inline const char *wrong_state(const struct mdma_stream_state *state, u32 channels)
{
	const struct mdma_stream_channel *channel = state->channel;
	const struct mdma_stream_window *window = &state->window;
	u32 i, size, nr = le32_to_cpu(window->nr_ranges);

	for (i = 0; i < channels; i++, channel++) {
		size = le32_to_cpu(channel->ring_size);
		if (le32_to_cpu(channel->ctrl) > 3 ||
		    le32_to_cpu(channel->irq) > 1)
			return "channel register";
		if (!(le32_to_cpu(channel->ctrl) & 1) || channel->status)
			continue;
		if (__builtin_popcount(size) != 1 || size < 2 || size > 1024)
			return "ring size";
		if (le64_to_cpu(channel->ring) % 64 ||
		    le64_to_cpu(channel->ring) > -(u64)size * 64)
			return "ring";
		if (le32_to_cpu(channel->tail) - le32_to_cpu(channel->head) >
		    size)
			return "tail";
	}
	if (nr > MDMA_MAX_RANGES || (nr && !window->origin) ||
	    (!nr && window->origin) || le32_to_cpu(window->origin) > 2)
		return "window";
	return wrong_workload(&state->workload);
}

static inline const char *wrong_knobs(const struct mdma_stream_knobs *knobs)
{
	if (le32_to_cpu(knobs->access) > 1 || le32_to_cpu(knobs->on_error) > 2)
		return "access or on_error";
	if (le32_to_cpu(knobs->write_percent) > 100 ||
	    le32_to_cpu(knobs->hot_percent) > 100)
		return "percent";
	if (!knobs->stride || !knobs->hot || !knobs->ring)
		return "0 runs";
	if (le32_to_cpu(knobs->ring) > 65536 || le32_to_cpu(knobs->theta) > 999 ||
	    le32_to_cpu(knobs->pause_ms) > 600000)
		return "ring, theta or pause";
	return NULL;
}

static inline const char *wrong_progress(const struct mdma_snapshot *snap)
{
	const struct mdma_stream_progress *progress = snap->progress;
	const struct mdma_stream_channel *channel;
	u32 i;

	if (snap->nr_progress > 16)
		return "progress of too many channels";
	for (i = 0; i < snap->nr_progress; i++, progress++) {
		if (le32_to_cpu(progress->channel) >= snap->channels)
			return "progress of no channel";
		if (i && le32_to_cpu(progress[-1].channel) >=
			 le32_to_cpu(progress->channel))
			return "progress out of order";
		channel = &snap->state.channel[le32_to_cpu(progress->channel)];
		if (!(le32_to_cpu(channel->ctrl) & 1) ||
		    channel->head == channel->tail)
			return "progress of an idle channel";
		if (!progress->done || le64_to_cpu(progress->done) >=
				       le64_to_cpu(progress->desc.len))
			return "progress beyond the descriptor";
		if (le64_to_cpu(progress->desc.len) > 2 << 20)
			return "progress of a long descriptor";
	}
	return NULL;
}

static inline const char *wrong_workloads(const struct mdma_snapshot *snap)
{
	const struct mdma_stream_channel_workload *from = snap->workload;
	const char *what;
	u32 i;

	for (i = 1; i < snap->channels; i++, from++) {
		if (le32_to_cpu(from->channel) != i || from->reserved)
			return "channel of a workload";
		if (from->knobs.skipped || from->knobs.stopped ||
		    from->knobs.retried)
			return "counters of a channel";
		what = wrong_workload(&from->workload) ?:
		       wrong_knobs(&from->knobs);
		if (what)
			return what;
	}
	return NULL;
}

static inline const char *wrong_run(u64 iova, u64 npages, u32 flags, u32 hold_ms)
{
	if (!npages || npages > 512 || iova % 4096)
		return "run";
	if ((iova / 4096 + npages - 1) >> 52)
		return "run beyond the address space";
	if (flags > 1)
		return "flags of a run";
	return hold_ms > 600000 ? "hold of a run" : NULL;
}

static inline const char *wrong_held(const struct mdma_snapshot *snap)
{
	struct mdma_stream_held held;
	const char *what;
	u64 pages = 0;
	u32 i;

	for (i = 0; i < snap->held.nr; i++) {
		held = mdma_snapshot_held(snap, i);
		what = wrong_run(le64_to_cpu(held.iova),
				 le32_to_cpu(held.npages),
				 le32_to_cpu(held.flags),
				 le32_to_cpu(held.hold_ms));
		if (what)
			return what;
		if (le32_to_cpu(held.channel) >= snap->channels)
			return "held by no channel";
		pages += le32_to_cpu(held.npages);
	}
	return pages > 65536 ? "too many pages held" : NULL;
}

static inline const char *wrong_trace(const struct mdma_snapshot *snap)
{
	struct mdma_trace_entry entry;
	const char *what;
	u64 at = 0;
	u32 i;

	for (i = 0; i < snap->trace.nr; i++) {
		entry = mdma_snapshot_trace(snap, i);
		what = wrong_run(le64_to_cpu(entry.iova),
				 le32_to_cpu(entry.npages),
				 le32_to_cpu(entry.flags),
				 le32_to_cpu(entry.hold_ms));
		if (what)
			return what;
		if (le64_to_cpu(entry.at_us) < at || entry.reserved ||
		    le64_to_cpu(entry.at_us) > 1000000000000ULL)
			return "time of an entry";
		at = le64_to_cpu(entry.at_us);
	}
	return snap->trace.nr > 16384 ? "too many entries" : NULL;
}

/* Why a snapshot must not have been accepted; NULL if it is correct. */
static inline const char *wrong(const struct mdma_snapshot *snap)
{
	return wrong_state(&snap->state, snap->channels) ?:
	       wrong_knobs(&snap->knobs) ?: wrong_workloads(snap) ?:
	       wrong_trace(snap) ?: wrong_progress(snap) ?: wrong_held(snap);
}

static inline bool same_held(const struct mdma_snapshot *a,
			     const struct mdma_snapshot *b)
{
	struct mdma_stream_held x, y;
	u32 i;

	for (i = 0; i < a->held.nr && i < b->held.nr; i++) {
		x = mdma_snapshot_held(a, i);
		y = mdma_snapshot_held(b, i);
		if (memcmp(&x, &y, sizeof(x)))
			return false;
	}
	return a->held.nr == b->held.nr;
}

static inline bool same_trace(const struct mdma_snapshot *a,
			      const struct mdma_snapshot *b)
{
	struct mdma_trace_entry x, y;
	u32 i;

	for (i = 0; i < a->trace.nr && i < b->trace.nr; i++) {
		x = mdma_snapshot_trace(a, i);
		y = mdma_snapshot_trace(b, i);
		if (memcmp(&x, &y, sizeof(x)))
			return false;
	}
	return a->trace.nr == b->trace.nr;
}

/* Whether two snapshots are equal. */
static inline bool same_snapshot(const struct mdma_snapshot *a,
				 const struct mdma_snapshot *b)
{
	return a->channels == b->channels && a->nr_progress == b->nr_progress &&
	       !memcmp(&a->state, &b->state, sizeof(a->state)) &&
	       !memcmp(&a->knobs, &b->knobs, sizeof(a->knobs)) &&
	       !memcmp(a->workload, b->workload,
		       (a->channels - 1) * sizeof(a->workload[0])) &&
	       !memcmp(a->progress, b->progress,
		       a->nr_progress * sizeof(a->progress[0])) &&
	       same_held(a, b) && same_trace(a, b);
}

#endif
