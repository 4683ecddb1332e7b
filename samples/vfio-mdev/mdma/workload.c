// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host-side workload: makes descriptors that visit the window, for channel
 * 0 to execute. The same attributes and window make the same descriptors, on
 * every kernel and machine.
 *
 * Attributes and window change with the gate held for writing, when nothing
 * executes; the generator advances under channel 0's exec.
 */
#include <linux/math64.h>
#include <linux/sched/signal.h>

#include "mdma.h"

/* Runs that stay pinned with MDMA_PATTERN_RING. */
#define RING_KEEP	8
/* A workload that is late by more than this does not catch up. */
#define LATE_MAX	(100 * NSEC_PER_MSEC)
/* Pause after a failed descriptor of a workload without limit. */
#define ERROR_PAUSE	NSEC_PER_MSEC

/**
 * mdma_workload_init() - a workload as a new device has it
 * @workload: any
 */
void mdma_workload_init(struct mdma_workload *workload)
{
	*workload = (struct mdma_workload) {
		.pattern = MDMA_PATTERN_SEQUENTIAL,
		.direction = MDMA_DIRECTION_WRITE,
		.batch = 1,
	};
	mdma_workload_restart(workload);
}

/**
 * mdma_workload_restart() - the next descriptor is the first again
 * @workload: gate held for writing
 */
void mdma_workload_restart(struct mdma_workload *workload)
{
	workload->prng = workload->seed;
	workload->position = 0;
	workload->due = 0;
}

/* splitmix64, public domain: one addition and a finalizer. */
static u64 prng_next(struct mdma_workload *workload)
{
	u64 z = workload->prng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool next_writes(struct mdma_workload *workload)
{
	if (workload->direction == MDMA_DIRECTION_MIXED)
		return prng_next(workload) >> 63;
	return workload->direction == MDMA_DIRECTION_WRITE;
}

static u64 next_slot(struct mdma_workload *workload, u64 slots)
{
	u64 slot;

	if (workload->pattern == MDMA_PATTERN_RANDOM)
		return mul_u64_u64_shr(prng_next(workload), slots, 64);
	slot = workload->position < slots ? workload->position : 0;
	workload->position = slot + 1;
	return slot;
}

/* Executes the next descriptor; -ENODATA if the window is empty. */
static int execute_next(struct mdma_device *dev)
{
	struct mdma_workload *workload = &dev->workload;
	struct mdma_job job = {};
	u64 iova, slots;
	u32 npages;

	slots = mdma_window_slots(&dev->window, workload->batch,
				  workload->pages);
	if (!slots)
		return -ENODATA;
	job.op = next_writes(workload) ? MDMA_OP_STAMP : MDMA_OP_READ;
	npages = mdma_window_slot(&dev->window, workload->batch,
				  workload->pages, next_slot(workload, slots),
				  &iova);
	job.dst = iova;
	job.src = iova;
	job.len = (u64)npages << MDMA_PAGE_SHIFT;
	job.hold = workload->hold_ms || mdma_workload_keep(dev);
	return mdma_engine_execute(&dev->channels[0], &job);
}

/* When the descriptor after one at @now is due. */
static void schedule_next(struct mdma_workload *workload, ktime_t now, int ret)
{
	if (!workload->rate) {
		workload->due = ret ? ktime_add_ns(now, ERROR_PAUSE) : 0;
		return;
	}
	if (ktime_sub(now, workload->due) > LATE_MAX)
		workload->due = now;
	workload->due = ktime_add_ns(workload->due,
				     NSEC_PER_SEC / workload->rate);
}

/**
 * mdma_workload_poll() - execute a descriptor if one is due
 * @dev: running; gate held for reading, channel 0's exec held
 * @next: if there is none: when one is due, else unchanged
 *
 * A descriptor that fails is counted by what failed, and skipped.
 *
 * Return: whether one was executed.
 */
bool mdma_workload_poll(struct mdma_device *dev, ktime_t *next)
{
	struct mdma_workload *workload = &dev->workload;
	ktime_t now;
	int ret;

	if (!workload->run || !dev->window.nr)
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
	u64 slots;

	if (workload->pattern != MDMA_PATTERN_RING)
		return 0;
	slots = mdma_window_slots(&dev->window, workload->batch,
				  workload->pages);
	return clamp_t(u64, slots, 1, RING_KEEP);
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
	} else if (!dev->window.nr) {
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
 * All of them are executed even if one fails.
 *
 * Return: 0, or the error of the first that failed; -ENODEV if the device is
 * not open, -EBUSY if the workload is started or the device is quiesced,
 * -ENODATA if the window is empty, -EINTR after a signal: then fewer may have
 * been executed.
 */
int mdma_workload_step(struct mdma_device *dev, u32 n)
{
	int ret = 0, error = 0;

	while (n-- && !ret) {
		if (signal_pending(current))
			return -EINTR;
		ret = step_one(dev, &error);
		cond_resched();
	}
	return ret ?: error;
}

/**
 * mdma_workload_get() - value of an attribute
 * @dev: any
 * @knob: which
 *
 * Return: the value.
 */
u64 mdma_workload_get(struct mdma_device *dev, enum mdma_knob knob)
{
	struct mdma_workload *workload = &dev->workload;

	switch (knob) {
	case MDMA_KNOB_PATTERN:
		return READ_ONCE(workload->pattern);
	case MDMA_KNOB_DIRECTION:
		return READ_ONCE(workload->direction);
	case MDMA_KNOB_BATCH:
		return READ_ONCE(workload->batch);
	case MDMA_KNOB_HOLD_MS:
		return READ_ONCE(workload->hold_ms);
	case MDMA_KNOB_RATE:
		return READ_ONCE(workload->rate);
	case MDMA_KNOB_SEED:
		return READ_ONCE(workload->seed);
	case MDMA_KNOB_PAGES:
		return READ_ONCE(workload->pages);
	case MDMA_KNOB_RUN:
		return READ_ONCE(workload->run);
	}
	return 0;
}

static void set_knob(struct mdma_workload *workload, enum mdma_knob knob,
		     u64 value)
{
	switch (knob) {
	case MDMA_KNOB_PATTERN:
		WRITE_ONCE(workload->pattern, value);
		break;
	case MDMA_KNOB_DIRECTION:
		WRITE_ONCE(workload->direction, value);
		return;
	case MDMA_KNOB_BATCH:
		WRITE_ONCE(workload->batch, value);
		break;
	case MDMA_KNOB_HOLD_MS:
		WRITE_ONCE(workload->hold_ms, value);
		return;
	case MDMA_KNOB_RATE:
		WRITE_ONCE(workload->rate, value);
		workload->due = 0;
		return;
	case MDMA_KNOB_SEED:
		WRITE_ONCE(workload->seed, value);
		break;
	case MDMA_KNOB_PAGES:
		WRITE_ONCE(workload->pages, value);
		break;
	case MDMA_KNOB_RUN:
		WRITE_ONCE(workload->run, value);
		workload->due = 0;
		return;
	}
	mdma_workload_restart(workload);
}

static bool knob_is_live(enum mdma_knob knob)
{
	return knob == MDMA_KNOB_RUN || knob == MDMA_KNOB_RATE ||
	       knob == MDMA_KNOB_HOLD_MS;
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
	if (dev->workload.run && !knob_is_live(knob))
		ret = -EBUSY;
	else
		set_knob(&dev->workload, knob, value);
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
