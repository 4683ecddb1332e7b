// SPDX-License-Identifier: GPL-2.0-only
/*
 * Values from outside at both ends of what a device can have, and just beyond them:
 * each field of a stream and of a trace by itself, all others good.
 */
#include <stddef.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "replay.h"
#include "snapshot.h"
#include "stream_values.h"
#include "unit.h"

#define CHANNELS	4
#define NO_LIMIT	(~0U)

/* A 32-bit field, and the least and the most that it can be. */
struct field {
	const char *name;
	size_t at;
	u32 least, most;
};

#define FIELD(type, name, least, most) \
	{ #name, offsetof(struct type, name), least, most }

static struct mdma_stream_state state;
static struct mdma_snapshot snap;

bool shim_no_memory;

static void set_field(void *data, size_t at, u32 value)
{
	__le32 field = cpu_to_le32(value);

	memcpy(data + at, &field, sizeof(field));
}

/* A state in which everything is 0 that can be. */
static void plain(void)
{
	memset(&state, 0, sizeof(state));
	state.workload.batch = cpu_to_le32(1);
}

static bool state_good(const void *unused)
{
	(void)unused;
	return mdma_values_state(&state, CHANNELS);
}

static bool knobs_good(const void *knobs)
{
	return mdma_values_knobs(knobs);
}

static bool held_good(const void *held)
{
	snap.channels = CHANNELS;
	return !mdma_values_take_held(&snap, held, 1,
				      sizeof(struct mdma_stream_held));
}

static bool trace_good(const void *entry)
{
	return !mdma_trace_check(entry, 1, sizeof(struct mdma_trace_entry));
}

/* Each field at its limits, and beyond. */
static void check_fields(const struct field *fields, size_t n, void *data,
			 bool (*good)(const void *data))
{
	for (; n; n--, fields++) {
		u32 before;

		memcpy(&before, data + fields->at, sizeof(before));
		set_field(data, fields->at, fields->least);
		CHECK(good(data), "%s %u", fields->name, fields->least);
		set_field(data, fields->at, fields->most);
		CHECK(good(data), "%s %u", fields->name, fields->most);
		if (fields->least) {
			set_field(data, fields->at, fields->least - 1);
			CHECK(!good(data), "%s %u", fields->name,
			      fields->least - 1);
		}
		if (fields->most != NO_LIMIT) {
			set_field(data, fields->at, fields->most + 1);
			CHECK(!good(data), "%s %u", fields->name,
			      fields->most + 1);
		}
		memcpy(data + fields->at, &before, sizeof(before));
		CHECK(good(data), "without %s", fields->name);
	}
}

static void fields_of_workload(void)
{
	static const struct field fields[] = {
		FIELD(mdma_stream_workload, pattern, 0, MDMA_PATTERN_LAST),
		FIELD(mdma_stream_workload, direction, 0, 2),
		FIELD(mdma_stream_workload, batch, 1, 512),
		FIELD(mdma_stream_workload, hold_ms, 0, 600000),
		FIELD(mdma_stream_workload, rate, 0, NO_LIMIT),
		FIELD(mdma_stream_workload, run, 0, 1),
	};

	plain();
	check_fields(fields, ARRAY_SIZE(fields), &state.workload, state_good);
}

static void fields_of_knobs(void)
{
	static const struct field fields[] = {
		FIELD(mdma_stream_knobs, access, 0, 1),
		FIELD(mdma_stream_knobs, on_error, 0, 2),
		FIELD(mdma_stream_knobs, write_percent, 0, 100),
		FIELD(mdma_stream_knobs, ring, 1, 65536),
		FIELD(mdma_stream_knobs, stride, 1, NO_LIMIT),
		FIELD(mdma_stream_knobs, theta, 0, 999),
		FIELD(mdma_stream_knobs, hot, 1, NO_LIMIT),
		FIELD(mdma_stream_knobs, hot_percent, 0, 100),
		FIELD(mdma_stream_knobs, drift, 0, NO_LIMIT),
		FIELD(mdma_stream_knobs, burst, 0, NO_LIMIT),
		FIELD(mdma_stream_knobs, pause_ms, 0, 600000),
	};
	struct mdma_stream_knobs knobs = {
		.ring = cpu_to_le32(1), .stride = cpu_to_le32(1),
		.hot = cpu_to_le32(1),
	};

	check_fields(fields, ARRAY_SIZE(fields), &knobs, knobs_good);
}

static void fields_of_channel(void)
{
	static const struct field of_one[] = {
		FIELD(mdma_stream_channel, irq, 0, 1),
	};
	static const struct field of_none[] = {
		FIELD(mdma_stream_channel, irq, 0, 0),
	};

	plain();
	/* Without ENABLE, only the interrupt can be on. */
	state.channel[0].ctrl = cpu_to_le32(MDMA_CTRL_IRQ);
	CHECK(state_good(NULL), "interrupt without ring");
	state.channel[0].ctrl = cpu_to_le32(4);
	CHECK(!state_good(NULL), "a bit that is none");
	plain();
	check_fields(of_one, 1, &state.channel[CHANNELS - 1], state_good);
	check_fields(of_none, 1, &state.channel[CHANNELS], state_good);
	check_fields(of_none, 1, &state.channel[MDMA_MAX_CHANNELS - 1],
		     state_good);
}

/* The status of a channel and of the window: some numbers, which do not adjoin. */
static void each_status(void)
{
	u32 status;

	plain();
	for (status = 0; status < 40; status++) {
		state.channel[1].status = cpu_to_le32(status);
		CHECK(state_good(NULL) == (status == MDMA_STATUS_NONE ||
					   status == MDMA_STATUS_BAD_RING ||
					   status == MDMA_STATUS_BAD_DOORBELL ||
					   status == MDMA_STATUS_DEVICE_ERROR),
		      "channel %u", status);
	}
	plain();
	for (status = 0; status < 40; status++) {
		state.window.table_status = cpu_to_le32(status);
		CHECK(state_good(NULL) == (status == MDMA_STATUS_NONE ||
					   status == MDMA_STATUS_DONE ||
					   status == MDMA_STATUS_BAD_WINDOW ||
					   status == MDMA_STATUS_DEVICE_ERROR),
		      "window %u", status);
	}
}

/* A ring that is on must be one; after an error it need not. */
static void ring_of_channel(void)
{
	struct mdma_stream_channel *ch = &state.channel[2];

	plain();
	ch->ctrl = cpu_to_le32(MDMA_CTRL_ENABLE);
	CHECK(!state_good(NULL), "no size");
	ch->status = cpu_to_le32(MDMA_STATUS_BAD_RING);
	CHECK(state_good(NULL), "no size, and so halted");
	ch->status = 0;
	ch->ring_size = cpu_to_le32(8);
	CHECK(state_good(NULL), "a ring of 8");
	ch->tail = cpu_to_le32(3);
	ch->head = cpu_to_le32(-5);
	CHECK(state_good(NULL), "a full ring");
	ch->tail = cpu_to_le32(4);
	CHECK(!state_good(NULL), "more than a full ring");
	ch->ctrl = 0;
	CHECK(state_good(NULL), "a ring that is off");
}

static void fields_of_window(void)
{
	static const struct field fields[] = {
		FIELD(mdma_stream_window, table_pending, 0, 1),
		FIELD(mdma_stream_window, reserved, 0, 0),
		FIELD(mdma_stream_window, origin, 0, 0),
		FIELD(mdma_stream_window, table_ranges, 0, NO_LIMIT),
	};
	static const struct field of_one[] = {
		FIELD(mdma_stream_window, origin, 1, 2),
	};
	struct mdma_range *range = state.window.ranges;

	plain();
	check_fields(fields, ARRAY_SIZE(fields), &state.window, state_good);
	range[1].size = cpu_to_le64(MDMA_PAGE_SIZE);
	CHECK(!state_good(NULL), "a range that is not counted");
	range[0] = range[1];
	range[1].size = 0;
	state.window.nr_ranges = cpu_to_le32(1);
	state.window.origin = cpu_to_le32(1);
	check_fields(of_one, 1, &state.window, state_good);
	range[MDMA_MAX_RANGES - 1].iova = 1;
	CHECK(!state_good(NULL), "the last range, which is not counted");
}

static void fields_of_held(void)
{
	static const struct field fields[] = {
		FIELD(mdma_stream_held, npages, 1, 512),
		FIELD(mdma_stream_held, flags, 0, 1),
		FIELD(mdma_stream_held, channel, 0, CHANNELS - 1),
		FIELD(mdma_stream_held, hold_ms, 0, 600000),
	};
	struct mdma_stream_held held = { .npages = cpu_to_le32(1) };

	check_fields(fields, ARRAY_SIZE(fields), &held, held_good);
	held.iova = cpu_to_le64(1);
	CHECK(!held_good(&held), "no page");
	held.iova = cpu_to_le64(2048);
	CHECK(!held_good(&held), "half a page");
	held.iova = cpu_to_le64(-4096ULL);
	CHECK(held_good(&held), "the last page");
	held.npages = cpu_to_le32(2);
	CHECK(!held_good(&held), "beyond the last page");
}

static void fields_of_trace(void)
{
	static const struct field fields[] = {
		FIELD(mdma_trace_entry, npages, 1, 512),
		FIELD(mdma_trace_entry, flags, 0, 1),
		FIELD(mdma_trace_entry, hold_ms, 0, 600000),
		FIELD(mdma_trace_entry, reserved, 0, 0),
	};
	struct mdma_trace_entry entry = { .npages = cpu_to_le32(1) };

	check_fields(fields, ARRAY_SIZE(fields), &entry, trace_good);
	entry.iova = cpu_to_le64(1);
	CHECK(!trace_good(&entry), "no page");
	entry.iova = cpu_to_le64(2048);
	CHECK(!trace_good(&entry), "half a page");
	entry.iova = cpu_to_le64(-4096ULL);
	CHECK(trace_good(&entry), "the last page");
	entry.npages = cpu_to_le32(2);
	CHECK(!trace_good(&entry), "beyond the last page");
	entry.iova = 0;
	entry.at_us = cpu_to_le64(MDMA_TRACE_US_MAX);
	CHECK(trace_good(&entry), "the latest");
	entry.at_us = cpu_to_le64(MDMA_TRACE_US_MAX + 1);
	CHECK(!trace_good(&entry), "too late");
	CHECK(mdma_trace_check(NULL, MDMA_TRACE_MAX + 1, sizeof(entry)),
	      "too many");
}

static bool progress_good(u32 channel, u64 done, u64 len)
{
	struct mdma_stream_progress progress = {
		.channel = cpu_to_le32(channel),
		.done = cpu_to_le64(done),
		.desc.len = cpu_to_le64(len),
	};

	return !mdma_values_take_progress(&snap, &progress, 1,
					  sizeof(progress));
}

static void progress_of_a_descriptor(void)
{
	struct mdma_stream_channel *ch = &snap.state.channel[CHANNELS - 1];

	memset(&snap, 0, sizeof(snap));
	snap.channels = CHANNELS;
	ch->ctrl = cpu_to_le32(MDMA_CTRL_ENABLE);
	ch->tail = cpu_to_le32(1);
	ch[1] = *ch;
	CHECK(progress_good(CHANNELS - 1, 1, 2), "1 of 2");
	CHECK(progress_good(CHANNELS - 1, 1, MDMA_DESC_MAX_LEN), "the longest");
	CHECK(progress_good(CHANNELS - 1, MDMA_DESC_MAX_LEN - 1,
			    MDMA_DESC_MAX_LEN), "all but one byte");
	CHECK(!progress_good(CHANNELS - 1, 1, MDMA_DESC_MAX_LEN + 1), "too long");
	CHECK(!progress_good(CHANNELS - 1, 0, 2), "not begun");
	CHECK(!progress_good(CHANNELS - 1, 2, 2), "at its end");
	CHECK(!progress_good(CHANNELS, 1, 2), "of no channel");
	ch->head = ch->tail;
	CHECK(!progress_good(CHANNELS - 1, 1, 2), "of an empty ring");
	ch->head = 0;
	ch->ctrl = 0;
	CHECK(!progress_good(CHANNELS - 1, 1, 2), "of a ring that is off");
}

static void progress_is_ascending(void)
{
	struct mdma_stream_progress progress[MDMA_MAX_CHANNELS + 1] = { };
	u32 i, n = MDMA_MAX_CHANNELS;

	memset(&snap, 0, sizeof(snap));
	snap.channels = n;
	for (i = 0; i < n; i++) {
		snap.state.channel[i].ctrl = cpu_to_le32(MDMA_CTRL_ENABLE);
		snap.state.channel[i].tail = cpu_to_le32(1);
		progress[i].channel = cpu_to_le32(i);
		progress[i].done = cpu_to_le64(1);
		progress[i].desc.len = cpu_to_le64(2);
	}
	progress[n] = progress[n - 1];
	CHECK(!mdma_values_take_progress(&snap, progress, n, sizeof(*progress)),
	      "of all channels");
	CHECK(snap.nr_progress == n, "%u", snap.nr_progress);
	CHECK(mdma_values_take_progress(&snap, progress, n + 1,
					sizeof(*progress)), "one more");
	CHECK(mdma_values_take_progress(&snap, &progress[n - 1], 2,
					sizeof(*progress)), "twice the same");
	progress[0].channel = cpu_to_le32(2);
	CHECK(mdma_values_take_progress(&snap, progress, 2, sizeof(*progress)),
	      "descending");
}

/* What only the workload of the first channel has is 0 in the others. */
static void workloads_of_other_channels(void)
{
	struct mdma_stream_channel_workload from = {
		.channel = cpu_to_le32(1), .workload.batch = cpu_to_le32(1),
		.knobs = { .ring = cpu_to_le32(1), .stride = cpu_to_le32(1),
			   .hot = cpu_to_le32(1) },
	};
	__le64 *zeroes[] = { &from.knobs.skipped, &from.knobs.stopped,
			     &from.knobs.retried };
	size_t i;

	snap.channels = CHANNELS;
	CHECK(!mdma_values_take_workloads(&snap, &from, 1, sizeof(from)), "good");
	CHECK(!memcmp(&snap.workload[0], &from, sizeof(from)), "not taken");
	for (i = 0; i < ARRAY_SIZE(zeroes); i++) {
		*zeroes[i] = cpu_to_le64(1);
		CHECK(mdma_values_take_workloads(&snap, &from, 1, sizeof(from)),
		      "counter %zu", i);
		*zeroes[i] = 0;
	}
	from.reserved = cpu_to_le32(1);
	CHECK(mdma_values_take_workloads(&snap, &from, 1, sizeof(from)),
	      "reserved");
	from.reserved = 0;
	from.knobs.hot = 0;
	CHECK(mdma_values_take_workloads(&snap, &from, 1, sizeof(from)), "knobs");
	from.knobs.hot = cpu_to_le32(1);
	from.workload.batch = 0;
	CHECK(mdma_values_take_workloads(&snap, &from, 1, sizeof(from)), "batch");
	from.workload.batch = cpu_to_le32(1);
	from.channel = cpu_to_le32(CHANNELS);
	CHECK(mdma_values_take_workloads(&snap, &from, 1, sizeof(from)),
	      "of no channel");
	from.channel = cpu_to_le32(CHANNELS - 1);
	CHECK(!mdma_values_take_workloads(&snap, &from, 1, sizeof(from)),
	      "of the last channel");
}

static bool untouched(const void *data, size_t size)
{
	const u8 *bytes = data;

	while (size && bytes[size - 1] == 0xff)
		size--;
	return !size;
}

/* What an old stream does not have is as the ABI says of a new device. */
static void workload_of_a_new_device(void)
{
	const struct mdma_stream_knobs knobs = {
		.access = cpu_to_le32(0), .on_error = cpu_to_le32(0),
		.write_percent = cpu_to_le32(50), .ring = cpu_to_le32(8),
		.stride = cpu_to_le32(16), .theta = cpu_to_le32(990),
		.hot = cpu_to_le32(16), .hot_percent = cpu_to_le32(90),
	};
	const struct mdma_stream_workload workload = {
		.batch = cpu_to_le32(1),
	};
	u32 i;

	memset(&snap, 0xff, sizeof(snap));
	mdma_snapshot_init(&snap);
	CHECK(!snap.nr_progress && !snap.held.nr && !snap.trace.nr, "not empty");
	CHECK(!memcmp(&snap.knobs, &knobs, sizeof(knobs)), "first channel");
	CHECK(untouched(&snap.state, sizeof(snap.state)) &&
	      untouched(snap.progress, sizeof(snap.progress)), "too much");
	for (i = 0; i < MDMA_MAX_CHANNELS - 1; i++) {
		CHECK(le32_to_cpu(snap.workload[i].channel) == i + 1 &&
		      !snap.workload[i].reserved, "channel %u", i + 1);
		CHECK(!memcmp(&snap.workload[i].workload, &workload,
			      sizeof(workload)), "workload %u", i + 1);
		CHECK(!memcmp(&snap.workload[i].knobs, &knobs, sizeof(knobs)),
		      "knobs %u", i + 1);
	}
}

/* A trace that moves is the same at the other end. */
static void trace_moves(void)
{
	struct mdma_trace_entry entries[3];
	struct mdma_replay from = { .nr = 3, .entries = entries }, to;
	u32 i;

	memset(entries, 0, sizeof(entries));
	for (i = 0; i < 3; i++) {
		entries[i].npages = cpu_to_le32(i + 1);
		entries[i].at_us = cpu_to_le64(i);
	}
	mdma_replay_save(&from, &snap);
	CHECK(!mdma_replay_load(&to, &snap), "-");
	CHECK(to.nr == 3 && !memcmp(to.entries, entries, sizeof(entries)), "-");
	free(to.entries);
	shim_no_memory = true;
	CHECK(mdma_replay_load(&to, &snap) == -ENOMEM, "-");
	shim_no_memory = false;
	snap.trace.nr = 0;
	CHECK(!mdma_replay_load(&to, &snap) && !to.nr && !to.entries, "empty");
}

static const struct unit_test tests[] = {
	{ "trace_moves", trace_moves },
	{ "workload_of_a_new_device", workload_of_a_new_device },
	{ "fields_of_workload", fields_of_workload },
	{ "fields_of_knobs", fields_of_knobs },
	{ "fields_of_channel", fields_of_channel },
	{ "each_status", each_status },
	{ "ring_of_channel", ring_of_channel },
	{ "fields_of_window", fields_of_window },
	{ "fields_of_held", fields_of_held },
	{ "fields_of_trace", fields_of_trace },
	{ "progress_of_a_descriptor", progress_of_a_descriptor },
	{ "progress_is_ascending", progress_is_ascending },
	{ "workloads_of_other_channels", workloads_of_other_channels },
};

int main(void)
{
	return unit_main(tests, ARRAY_SIZE(tests));
}
