// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host-side workload: makes descriptors that visit the window, for channel
 * 0 to execute. The same attributes and window make the same descriptors, on
 * every kernel and machine.
 *
 * Attributes and window change with the gate held for writing, when nothing
 * executes; the generator advances under channel 0's exec.
 */
#include <linux/sched/signal.h>
#include <linux/stddef.h>

#include "mdma.h"

/* A workload that is late by more than this does not catch up. */
#define LATE_MAX	NSEC_PER_SEC
/* Pause after a failed descriptor of a workload without limit. */
#define ERROR_PAUSE	NSEC_PER_MSEC

/**
 * mdma_workload_init() - a workload as a new device has it
 * @dev: nobody else knows it
 */
void mdma_workload_init(struct mdma_device *dev)
{
	static const struct mdma_stream_workload first = {
		.batch = cpu_to_le32(1),
	};
	struct mdma_stream_knobs knobs;

	mdma_knobs_init(&knobs);
	mdma_workload_apply(dev, &first, &knobs);
}

/**
 * mdma_workload_restart() - the next descriptor is the first again
 * @workload: gate held for writing
 */
void mdma_workload_restart(struct mdma_workload *workload)
{
	mdma_sequence_restart(&workload->sequence);
	workload->burst_done = 0;
	workload->due = 0;
}

static bool next_writes(struct mdma_workload *workload)
{
	if (workload->direction == MDMA_DIRECTION_MIXED)
		return mdma_sequence_below(&workload->sequence, 100) >=
		       100 - workload->write_percent;
	return workload->direction == MDMA_DIRECTION_WRITE;
}

/* Pages of a slot. */
static u32 slot_pages(const struct mdma_workload *workload)
{
	return workload->sequence.kind == MDMA_PATTERN_SCATTER ?
	       1 : workload->batch;
}

static u64 nr_slots(struct mdma_device *dev)
{
	return mdma_window_slots(&dev->window, slot_pages(&dev->workload),
				 dev->workload.pages);
}

/* Executes a job at the slot that is next; not 0 of @slots. */
static int execute_slot(struct mdma_device *dev, struct mdma_job *job,
			u64 slots)
{
	struct mdma_workload *workload = &dev->workload;
	u64 slot = mdma_sequence_next(&workload->sequence, slots);
	u32 npages;

	npages = mdma_window_slot(&dev->window, slot_pages(workload),
				  workload->pages, slot, &job->dst);
	job->src = job->dst;
	job->len = (u64)npages << MDMA_PAGE_SHIFT;
	job->done = 0;
	return mdma_engine_execute(&dev->channels[0], job);
}

static void count_failure(struct mdma_device *dev)
{
	struct mdma_workload *workload = &dev->workload;

	switch (workload->on_error) {
	case MDMA_ON_ERROR_STOP:
		/* Under exec; who holds the gate for writing comes later */
		WRITE_ONCE(workload->run, 0);
		mdma_count(dev, MDMA_STAT_STOPPED, 1);
		break;
	case MDMA_ON_ERROR_RETRY:
		mdma_count(dev, MDMA_STAT_RETRIED, 1);
		break;
	default:
		mdma_count(dev, MDMA_STAT_SKIPPED, 1);
	}
}

/* Executes the next descriptor; -ENODATA if the window is empty. */
static int execute_next(struct mdma_device *dev)
{
	struct mdma_workload *workload = &dev->workload;
	struct mdma_sequence before = workload->sequence;
	u64 slots = nr_slots(dev);
	struct mdma_job job = {};
	u32 i, parts = 1;
	int ret = 0;

	if (!slots)
		return -ENODATA;
	job.op = next_writes(workload) ? MDMA_OP_STAMP : MDMA_OP_READ;
	job.rw = workload->access == MDMA_ACCESS_RW;
	job.hold = workload->hold_ms || mdma_workload_keep(dev);
	if (workload->sequence.kind == MDMA_PATTERN_SCATTER)
		parts = workload->batch;
	for (i = 0; i < parts && !ret; i++) {
		job.part = i;
		ret = execute_slot(dev, &job, slots);
	}
	if (!ret)
		return 0;
	count_failure(dev);
	/* The same random numbers make the same descriptor */
	if (workload->on_error == MDMA_ON_ERROR_RETRY)
		workload->sequence = before;
	return ret;
}

static bool pause_is_due(struct mdma_workload *workload)
{
	if (!workload->burst || ++workload->burst_done < workload->burst)
		return false;
	workload->burst_done = 0;
	return true;
}

/* When the descriptor after one at @now is due. */
static void schedule_next(struct mdma_workload *workload, ktime_t now, int ret)
{
	ktime_t pause = 0;

	if (pause_is_due(workload))
		pause = ktime_add_ms(now, workload->pause_ms);
	if (!workload->rate) {
		workload->due = ret ? ktime_add_ns(now, ERROR_PAUSE) : 0;
	} else {
		if (ktime_sub(now, workload->due) > LATE_MAX)
			workload->due = now;
		workload->due = ktime_add_ns(workload->due,
					     NSEC_PER_SEC / workload->rate);
	}
	workload->due = max(workload->due, pause);
}

/*
 * Memory that a guest gave belongs to the guest again when the function is no
 * bus master: its driver has died, or another kernel has come. A window of the
 * administrator has nothing to do with that.
 */
static bool has_window(struct mdma_device *dev)
{
	return dev->window.nr && (dev->window.origin != MDMA_WINDOW_GUEST ||
				  dev->bus_master);
}

/**
 * mdma_workload_poll() - execute a descriptor if one is due
 * @dev: running; gate held for reading, channel 0's exec held
 * @next: if there is none: when one is due, else unchanged
 *
 * What comes of a descriptor that fails, @on_error says.
 *
 * Return: whether one was executed.
 */
bool mdma_workload_poll(struct mdma_device *dev, ktime_t *next)
{
	struct mdma_workload *workload = &dev->workload;
	ktime_t now;
	int ret;

	if (!workload->run || !has_window(dev))
		return false;
	now = ktime_get();
	if (ktime_after(workload->due, now)) {
		*next = workload->due;
		return false;
	}
	ret = execute_next(dev);
	schedule_next(workload, now, ret);
	return true;
}

/**
 * mdma_workload_keep() - runs that the pattern keeps pinned
 * @dev: gate held
 *
 * Return: a number, or 0 if it is time and not the pattern that ends a hold.
 */
u64 mdma_workload_keep(struct mdma_device *dev)
{
	struct mdma_workload *workload = &dev->workload;

	if (workload->sequence.kind != MDMA_PATTERN_RING)
		return 0;
	return clamp_t(u64, nr_slots(dev), 1, workload->ring);
}

/* Gives back what a step made superfluous, tells the thread of the rest. */
static void expire(struct mdma_device *dev)
{
	ktime_t next;

	next = mdma_held_expire(dev, dev->workload.hold_ms,
				mdma_workload_keep(dev));
	if (next != KTIME_MAX)
		mdma_channel_kick(&dev->channels[0]);
}

static int step_one(struct mdma_device *dev, int *error)
{
	struct mdma_channel *ch = &dev->channels[0];
	int ret;

	down_read(&dev->gate);
	if (!dev->open) {
		ret = -ENODEV;
	} else if (!dev->running || dev->workload.run) {
		ret = -EBUSY;
	} else if (!has_window(dev)) {
		ret = -ENODATA;
	} else {
		mutex_lock(&ch->exec);
		ret = execute_next(dev);
		mutex_unlock(&ch->exec);
		if (ret && !*error)
			*error = ret;
		ret = 0;
		expire(dev);
	}
	up_read(&dev->gate);
	return ret;
}

/**
 * mdma_workload_step() - execute exactly @n descriptors, as fast as possible
 * @dev: may be in any state
 * @n: number
 *
 * All of them are executed even if one fails, unless @on_error is to stop. One
 * that is tried again counts as one more.
 *
 * Return: 0, or the error of the first that failed; -ENODEV if the device is
 * not open, -EBUSY if the workload is started or the device is quiesced,
 * -ENODATA if there is no window to write, -EINTR after a signal: then fewer may have
 * been executed.
 */
int mdma_workload_step(struct mdma_device *dev, u32 n)
{
	int ret = 0, error = 0;

	while (n-- && !ret) {
		if (signal_pending(current))
			return -EINTR;
		ret = step_one(dev, &error);
		if (error && READ_ONCE(dev->workload.on_error) ==
			     MDMA_ON_ERROR_STOP)
			break;
		cond_resched();
	}
	return ret ?: error;
}

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
 * mdma_workload_get() - value of an attribute
 * @dev: any
 * @knob: which
 *
 * Return: the value.
 */
u64 mdma_workload_get(struct mdma_device *dev, enum mdma_knob knob)
{
	void *at = (void *)&dev->workload + knobs[knob].offset;

	return knobs[knob].wide ? READ_ONCE(*(u64 *)at) :
				  READ_ONCE(*(u32 *)at);
}

static void set_knob(struct mdma_workload *workload, const struct knob *knob,
		     u64 value)
{
	void *at = (void *)workload + knob->offset;

	if (knob->wide)
		WRITE_ONCE(*(u64 *)at, value);
	else
		WRITE_ONCE(*(u32 *)at, value);
	if (knob->live)
		workload->due = 0;
	if (knob->shape)
		mdma_workload_restart(workload);
}

/**
 * mdma_workload_set() - set an attribute
 * @dev: any
 * @knob: which
 * @value: in its range
 *
 * Return: 0, or -EBUSY for an attribute that cannot change while the workload
 * is started.
 */
int mdma_workload_set(struct mdma_device *dev, enum mdma_knob knob, u64 value)
{
	int ret = 0;

	down_write(&dev->gate);
	if (dev->workload.run && !knobs[knob].live)
		ret = -EBUSY;
	else
		set_knob(&dev->workload, &knobs[knob], value);
	if (dev->open)
		mdma_channel_kick(&dev->channels[0]);
	up_write(&dev->gate);
	return ret;
}

/**
 * mdma_workload_set_window() - the window gets new ranges
 * @dev: gate held for writing
 * @origin: who sets it
 * @range: checked
 * @nr: number, 0 for an empty window
 */
void mdma_workload_set_window(struct mdma_device *dev,
			      enum mdma_window_origin origin,
			      const struct mdma_range *range, u32 nr)
{
	struct mdma_window *window = &dev->window;

	memset(window, 0, sizeof(*window));
	window->origin = nr ? origin : MDMA_WINDOW_NONE;
	window->nr = nr;
	if (nr)
		memcpy(window->range, range, nr * sizeof(*range));
	mdma_workload_restart(&dev->workload);
	if (dev->open)
		mdma_channel_kick(&dev->channels[0]);
}

/**
 * mdma_workload_take() - the workload for a migration
 * @dev: gate held for writing
 * @to: all of it
 * @knobs: all but the counters
 */
void mdma_workload_take(struct mdma_device *dev,
			struct mdma_stream_workload *to,
			struct mdma_stream_knobs *knobs)
{
	const struct mdma_workload *from = &dev->workload;
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
 * mdma_workload_apply() - the workload that a migration brought
 * @dev: gate held for writing
 * @from: valid
 * @knobs: valid
 */
void mdma_workload_apply(struct mdma_device *dev,
			 const struct mdma_stream_workload *from,
			 const struct mdma_stream_knobs *knobs)
{
	dev->workload = (struct mdma_workload) {
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
}
