// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which values of a migration stream a device can have. They are taken for hostile:
 * one is accepted only if a guest or the administrator could have set it on a
 * running device. Takes no lock; the caller owns the snapshot.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "replay.h"
#include "ring.h"
#include "snapshot.h"
#include "stream_values.h"
#include "window.h"

/* One of the entries of an array. What an older version did not have is 0. */
static void copy_entry(void *to, size_t to_size, const void *entries, u32 i,
		       u32 size)
{
	memset(to, 0, to_size);
	memcpy(to, entries + (size_t)i * size, min_t(size_t, to_size, size));
}

static bool all_zero(const void *buf, size_t size)
{
	return !memchr_inv(buf, 0, size);
}

static bool channel_valid(const struct mdma_stream_channel *channel)
{
	u64 ring = le64_to_cpu(channel->ring);
	u32 size = le32_to_cpu(channel->ring_size);
	u32 ctrl = le32_to_cpu(channel->ctrl);
	u32 status = le32_to_cpu(channel->status);
	u32 queued = le32_to_cpu(channel->tail) - le32_to_cpu(channel->head);

	if (ctrl & ~(MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ))
		return false;
	if (le32_to_cpu(channel->irq) > 1)
		return false;
	if (status != MDMA_STATUS_NONE && status != MDMA_STATUS_BAD_RING &&
	    status != MDMA_STATUS_BAD_DOORBELL &&
	    status != MDMA_STATUS_DEVICE_ERROR)
		return false;
	if (!(ctrl & MDMA_CTRL_ENABLE) || status != MDMA_STATUS_NONE)
		return true;
	return mdma_ring_valid(ring, size) && queued <= size;
}

static bool window_valid(const struct mdma_stream_window *window)
{
	u32 nr = le32_to_cpu(window->nr_ranges);
	u32 origin = le32_to_cpu(window->origin);
	u32 status = le32_to_cpu(window->table_status);

	if (mdma_window_check(window->ranges, nr))
		return false;
	if (origin > MDMA_WINDOW_GUEST || !nr != !origin)
		return false;
	if (status != MDMA_STATUS_NONE && status != MDMA_STATUS_DONE &&
	    status != MDMA_STATUS_BAD_WINDOW &&
	    status != MDMA_STATUS_DEVICE_ERROR)
		return false;
	return le32_to_cpu(window->table_pending) <= 1 && !window->reserved &&
	       all_zero(&window->ranges[nr],
			(MDMA_MAX_RANGES - nr) * sizeof(window->ranges[0]));
}

static bool workload_valid(const struct mdma_stream_workload *workload)
{
	u32 batch = le32_to_cpu(workload->batch);

	return le32_to_cpu(workload->pattern) <= MDMA_PATTERN_LAST &&
	       le32_to_cpu(workload->direction) <= MDMA_DIRECTION_MIXED &&
	       batch >= 1 && batch <= MDMA_BATCH_MAX &&
	       le32_to_cpu(workload->hold_ms) <= MDMA_HOLD_MS_MAX &&
	       le32_to_cpu(workload->run) <= 1;
}

/**
 * mdma_values_knobs() - whether a workload can have these attributes
 * @knobs: from outside
 *
 * Return: true if it can.
 */
bool mdma_values_knobs(const struct mdma_stream_knobs *knobs)
{
	u32 ring = le32_to_cpu(knobs->ring);

	return le32_to_cpu(knobs->access) <= MDMA_ACCESS_RW &&
	       le32_to_cpu(knobs->on_error) <= MDMA_ON_ERROR_RETRY &&
	       le32_to_cpu(knobs->write_percent) <= 100 &&
	       ring >= 1 && ring <= MDMA_RING_MAX &&
	       knobs->stride && knobs->hot &&
	       le32_to_cpu(knobs->theta) <= MDMA_THETA_MAX &&
	       le32_to_cpu(knobs->hot_percent) <= 100 &&
	       le32_to_cpu(knobs->pause_ms) <= MDMA_PAUSE_MS_MAX;
}

/**
 * mdma_values_state() - whether a device can be in this state
 * @state: from outside
 * @channels: of the device
 *
 * Return: true if it can.
 */
bool mdma_values_state(const struct mdma_stream_state *state, u32 channels)
{
	u32 i;

	for (i = 0; i < channels; i++)
		if (!channel_valid(&state->channel[i]))
			return false;
	return all_zero(&state->channel[channels],
			(MDMA_MAX_CHANNELS - channels) *
			sizeof(state->channel[0])) &&
	       window_valid(&state->window) &&
	       workload_valid(&state->workload);
}

/* A channel that can have stopped within a descriptor, and where. */
static bool progress_valid(const struct mdma_snapshot *snap,
			   const struct mdma_stream_progress *progress)
{
	const struct mdma_stream_channel *channel;
	u32 n = le32_to_cpu(progress->channel);
	u64 len = le64_to_cpu(progress->desc.len);
	u64 done = le64_to_cpu(progress->done);

	if (n >= snap->channels)
		return false;
	channel = &snap->state.channel[n];
	return le32_to_cpu(channel->ctrl) & MDMA_CTRL_ENABLE &&
	       channel->head != channel->tail &&
	       done && done < len && len <= MDMA_DESC_MAX_LEN;
}

/**
 * mdma_values_take_progress() - descriptors that channels stopped within
 * @snap: gets them; what the stream has before is in it
 * @entries: from outside, need not be aligned
 * @count: number, not 0
 * @size: bytes of each, at least those that this version knows
 *
 * Return: 0, or -EINVAL if a device cannot have them.
 */
int mdma_values_take_progress(struct mdma_snapshot *snap,
			      const void *entries, u32 count, u32 size)
{
	u32 i;

	if (count > MDMA_MAX_CHANNELS)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		copy_entry(&snap->progress[i], sizeof(snap->progress[i]),
			   entries, i, size);
		if (!progress_valid(snap, &snap->progress[i]))
			return -EINVAL;
		if (i && le32_to_cpu(snap->progress[i].channel) <=
			 le32_to_cpu(snap->progress[i - 1].channel))
			return -EINVAL;
	}
	snap->nr_progress = count;
	return 0;
}

/**
 * mdma_values_take_workloads() - workloads of the channels but the first
 * @snap: gets them; what the stream has before is in it
 * @entries: from outside, need not be aligned
 * @count: number, not 0
 * @size: bytes of each, at least those that this version knows
 *
 * Return: 0, or -EINVAL if a device cannot have them.
 */
int mdma_values_take_workloads(struct mdma_snapshot *snap,
			       const void *entries, u32 count, u32 size)
{
	struct mdma_stream_channel_workload from;
	u32 i, channel, last = 0;

	for (i = 0; i < count; i++) {
		copy_entry(&from, sizeof(from), entries, i, size);
		channel = le32_to_cpu(from.channel);
		if (channel <= last || channel >= snap->channels ||
		    from.reserved || !workload_valid(&from.workload) ||
		    !mdma_values_knobs(&from.knobs) || from.knobs.skipped ||
		    from.knobs.stopped || from.knobs.retried)
			return -EINVAL;
		snap->workload[channel - 1] = from;
		last = channel;
	}
	return 0;
}

/**
 * mdma_values_take_trace() - entries of the trace
 * @snap: gets them; what the stream has before is in it
 * @entries: from outside, need not be aligned
 * @count: number, not 0
 * @size: bytes of each, at least those that this version knows
 *
 * Return: 0, or -EINVAL if a device cannot have them.
 */
int mdma_values_take_trace(struct mdma_snapshot *snap,
			   const void *entries, u32 count, u32 size)
{
	snap->trace = (struct mdma_entries) { count, size, entries };
	return mdma_trace_check(entries, count, size);
}

static bool held_valid(const struct mdma_stream_held *held, u32 channels)
{
	u64 iova = le64_to_cpu(held->iova);
	u64 npages = le32_to_cpu(held->npages);

	return npages && npages <= MDMA_BATCH_MAX &&
	       !(iova & (MDMA_PAGE_SIZE - 1)) &&
	       iova + ((npages << MDMA_PAGE_SHIFT) - 1) >= iova &&
	       !(le32_to_cpu(held->flags) & ~MDMA_HELD_WRITE) &&
	       le32_to_cpu(held->channel) < channels &&
	       le32_to_cpu(held->hold_ms) <= MDMA_HOLD_MS_MAX;
}

/**
 * mdma_values_take_held() - runs that were held
 * @snap: gets them; what the stream has before is in it
 * @entries: from outside, need not be aligned
 * @count: number, not 0
 * @size: bytes of each, at least those that this version knows
 *
 * Return: 0, or -EINVAL if a device cannot have them.
 */
int mdma_values_take_held(struct mdma_snapshot *snap,
			  const void *entries, u32 count, u32 size)
{
	struct mdma_stream_held held;
	u64 pages = 0;
	u32 i;

	snap->held = (struct mdma_entries) { count, size, entries };
	for (i = 0; i < count; i++) {
		held = mdma_snapshot_held(snap, i);
		if (!held_valid(&held, snap->channels))
			return -EINVAL;
		pages += le32_to_cpu(held.npages);
		if (pages > MDMA_HELD_PAGES_MAX)
			return -EINVAL;
	}
	return 0;
}
