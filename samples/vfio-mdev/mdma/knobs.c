// SPDX-License-Identifier: GPL-2.0-only
/*
 * A workload's attributes: their values, what a change of one means, and how they
 * move with the device. Their names and ranges are in workload_sysfs.c.
 *
 * Takes no lock: see struct mdma_workload.
 */
#include <linux/array_size.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/stddef.h>

#include <asm/byteorder.h>

#include "knobs.h"

/*
 * Where the value of an attribute is. @live: it can change while the workload
 * is started. @shape: it makes another sequence, which restarts.
 */
struct knob {
	u16 offset;
	bool wide;
	bool live;
	bool shape;
};

#define AT(_field)	offsetof(struct mdma_workload, _field)

static const struct knob knobs[] = {
	[MDMA_KNOB_PATTERN] = { AT(sequence.kind), .shape = true },
	[MDMA_KNOB_ACCESS] = { AT(access) },
	[MDMA_KNOB_DIRECTION] = { AT(direction) },
	[MDMA_KNOB_WRITE_PERCENT] = { AT(write_percent) },
	[MDMA_KNOB_ON_ERROR] = { AT(on_error) },
	[MDMA_KNOB_BATCH] = { AT(batch), .shape = true },
	[MDMA_KNOB_RING] = { AT(ring) },
	[MDMA_KNOB_STRIDE] = { AT(sequence.stride), .shape = true },
	[MDMA_KNOB_THETA] = { AT(sequence.theta), .shape = true },
	[MDMA_KNOB_HOT] = { AT(sequence.hot), .shape = true },
	[MDMA_KNOB_HOT_PERCENT] = { AT(sequence.hot_percent), .shape = true },
	[MDMA_KNOB_DRIFT] = { AT(sequence.drift), .shape = true },
	[MDMA_KNOB_PAGES] = { AT(pages), .wide = true, .shape = true },
	[MDMA_KNOB_SEED] = { AT(sequence.seed), .wide = true, .shape = true },
	[MDMA_KNOB_HOLD_MS] = { AT(hold_ms), .live = true },
	[MDMA_KNOB_RATE] = { AT(rate), .live = true },
	[MDMA_KNOB_BURST] = { AT(burst), .live = true },
	[MDMA_KNOB_PAUSE_MS] = { AT(pause_ms), .live = true },
	[MDMA_KNOB_RUN] = { AT(run), .live = true },
};

/**
 * mdma_knobs_restart() - the next descriptor is the first again
 * @workload: any
 */
void mdma_knobs_restart(struct mdma_workload *workload)
{
	mdma_sequence_restart(&workload->sequence);
	workload->burst_done = 0;
	workload->due = 0;
}

/**
 * mdma_knobs_get() - value of an attribute
 * @workload: any
 * @knob: which
 *
 * Return: the value.
 */
u64 mdma_knobs_get(const struct mdma_workload *workload, enum mdma_knob knob)
{
	const void *at = (const void *)workload + knobs[knob].offset;

	return knobs[knob].wide ? READ_ONCE(*(const u64 *)at) :
				  READ_ONCE(*(const u32 *)at);
}

static void write_knob(struct mdma_workload *workload, enum mdma_knob knob, u64 value)
{
	void *at = (void *)workload + knobs[knob].offset;

	if (knobs[knob].wide)
		WRITE_ONCE(*(u64 *)at, value);
	else
		WRITE_ONCE(*(u32 *)at, value);
}

/* mdma_knobs_copy() leaves nothing out: the attributes, two of them wide, and the rest. */
static_assert(sizeof(struct mdma_workload) ==
	      (ARRAY_SIZE(knobs) + 2) * sizeof(u32) +
	      sizeof_field(struct mdma_workload, sequence.prng) +
	      sizeof_field(struct mdma_workload, sequence.position) +
	      sizeof_field(struct mdma_workload, burst_done) +
	      sizeof_field(struct mdma_workload, due));

/**
 * mdma_knobs_copy() - a workload becomes another one
 * @to: becomes it, attribute by attribute, as mdma_knobs_get() may read them
 * @from: does not change meanwhile
 */
void mdma_knobs_copy(struct mdma_workload *to, const struct mdma_workload *from)
{
	enum mdma_knob knob;

	for (knob = 0; knob < ARRAY_SIZE(knobs); knob++)
		write_knob(to, knob, mdma_knobs_get(from, knob));
	to->sequence.prng = from->sequence.prng;
	to->sequence.position = from->sequence.position;
	to->burst_done = from->burst_done;
	to->due = from->due;
}

/**
 * mdma_knobs_set() - set an attribute
 * @workload: any
 * @knob: which
 * @value: in its range
 */
void mdma_knobs_set(struct mdma_workload *workload, enum mdma_knob knob,
		    u64 value)
{
	write_knob(workload, knob, value);
	if (knobs[knob].live)
		workload->due = 0;
	if (knobs[knob].shape)
		mdma_knobs_restart(workload);
}

/**
 * mdma_knobs_live() - whether an attribute can change while the workload runs
 * @knob: which
 *
 * Return: true if it can.
 */
bool mdma_knobs_live(enum mdma_knob knob)
{
	return knobs[knob].live;
}

/**
 * mdma_knobs_save() - a workload for a migration
 * @from: does not change meanwhile
 * @to: gets it
 * @knobs: gets the rest of it, and no counters
 */
void mdma_knobs_save(const struct mdma_workload *from,
		     struct mdma_stream_workload *to,
		     struct mdma_stream_knobs *knobs)
{
	const struct mdma_sequence *sequence = &from->sequence;

	*to = (struct mdma_stream_workload) {
		.pattern = cpu_to_le32(sequence->kind),
		.direction = cpu_to_le32(from->direction),
		.batch = cpu_to_le32(from->batch),
		.hold_ms = cpu_to_le32(from->hold_ms),
		.rate = cpu_to_le32(from->rate),
		.run = cpu_to_le32(from->run),
		.pages = cpu_to_le64(from->pages),
		.seed = cpu_to_le64(sequence->seed),
		.prng = cpu_to_le64(sequence->prng),
		.position = cpu_to_le64(sequence->position),
	};
	*knobs = (struct mdma_stream_knobs) {
		.access = cpu_to_le32(from->access),
		.on_error = cpu_to_le32(from->on_error),
		.write_percent = cpu_to_le32(from->write_percent),
		.ring = cpu_to_le32(from->ring),
		.stride = cpu_to_le32(sequence->stride),
		.theta = cpu_to_le32(sequence->theta),
		.hot = cpu_to_le32(sequence->hot),
		.hot_percent = cpu_to_le32(sequence->hot_percent),
		.drift = cpu_to_le32(sequence->drift),
		.burst = cpu_to_le32(from->burst),
		.pause_ms = cpu_to_le32(from->pause_ms),
		.burst_done = cpu_to_le32(from->burst_done),
	};
}

/**
 * mdma_knobs_load() - the workload that a migration brought
 * @to: becomes it
 * @from: valid
 * @knobs: valid
 */
void mdma_knobs_load(struct mdma_workload *to,
		     const struct mdma_stream_workload *from,
		     const struct mdma_stream_knobs *knobs)
{
	const struct mdma_workload workload = {
		.sequence = {
			.kind = le32_to_cpu(from->pattern),
			.stride = le32_to_cpu(knobs->stride),
			.theta = le32_to_cpu(knobs->theta),
			.hot = le32_to_cpu(knobs->hot),
			.hot_percent = le32_to_cpu(knobs->hot_percent),
			.drift = le32_to_cpu(knobs->drift),
			.seed = le64_to_cpu(from->seed),
			.prng = le64_to_cpu(from->prng),
			.position = le64_to_cpu(from->position),
		},
		.access = le32_to_cpu(knobs->access),
		.direction = le32_to_cpu(from->direction),
		.write_percent = le32_to_cpu(knobs->write_percent),
		.on_error = le32_to_cpu(knobs->on_error),
		.batch = le32_to_cpu(from->batch),
		.ring = le32_to_cpu(knobs->ring),
		.hold_ms = le32_to_cpu(from->hold_ms),
		.rate = le32_to_cpu(from->rate),
		.burst = le32_to_cpu(knobs->burst),
		.pause_ms = le32_to_cpu(knobs->pause_ms),
		.burst_done = le32_to_cpu(knobs->burst_done),
		.run = le32_to_cpu(from->run),
		.pages = le64_to_cpu(from->pages),
	};

	mdma_knobs_copy(to, &workload);
}
