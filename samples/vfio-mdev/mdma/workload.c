// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host-side workload of a channel: makes descriptors that visit the window,
 * or those of a trace, for the channel to execute. The same attributes and
 * window make the same descriptors, on every kernel and machine.
 *
 * Attributes, window and trace change with the gate held for writing, when
 * nothing executes; the generator advances under the channel's exec.
 */
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#include "channel.h"
#include "engine.h"
#include "job.h"
#include "snapshot.h"
#include "workload.h"

/* A workload that is late by more than this does not catch up. */
#define LATE_MAX	NSEC_PER_SEC
/* Pause after a failed descriptor of a workload without limit. */
#define ERROR_PAUSE	NSEC_PER_MSEC

/**
 * mdma_workload_init() - workloads as a new device has them
 * @engine: nobody else knows it
 */
void mdma_workload_init(struct mdma_engine *engine)
{
	struct mdma_stream_workload first;
	struct mdma_stream_knobs knobs;
	u32 i;

	mdma_snapshot_workload(&first, &knobs);
	for (i = 0; i < engine->nr_channels; i++)
		mdma_knobs_load(&engine->channels[i].workload, &first, &knobs);
}

/**
 * mdma_workload_restart() - every channel's next descriptor is the first again
 * @engine: gate held for writing
 */
void mdma_workload_restart(struct mdma_engine *engine)
{
	u32 i;

	for (i = 0; i < engine->nr_channels; i++)
		mdma_knobs_restart(&engine->channels[i].workload);
}

/**
 * mdma_workload_end() - no channel's workload is started any more
 * @engine: gate held for writing
 */
void mdma_workload_end(struct mdma_engine *engine)
{
	u32 i;

	for (i = 0; i < engine->nr_channels; i++)
		WRITE_ONCE(engine->channels[i].workload.run, 0);
}

/**
 * mdma_workload_started() - whether that of any channel is
 * @engine: gate held
 *
 * Return: true if one is.
 */
bool mdma_workload_started(struct mdma_engine *engine)
{
	u32 i;

	for (i = 0; i < engine->nr_channels; i++)
		if (READ_ONCE(engine->channels[i].workload.run))
			return true;
	return false;
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

static u64 nr_slots(struct mdma_channel *ch)
{
	return mdma_window_slots(&ch->engine->window, slot_pages(&ch->workload),
				 ch->workload.pages);
}

/* Executes a job at the slot that is next; not 0 of @slots. */
static int execute_slot(struct mdma_channel *ch, struct mdma_job *job,
			u64 slots)
{
	struct mdma_workload *workload = &ch->workload;
	u64 slot = mdma_sequence_next(&workload->sequence, slots);
	u32 npages;

	npages = mdma_window_slot(&ch->engine->window, slot_pages(workload),
				  workload->pages, slot, &job->dst);
	job->src = job->dst;
	job->len = (u64)npages << MDMA_PAGE_SHIFT;
	job->done = 0;
	return mdma_job_execute(ch, job);
}

/* Executes the next descriptor in the window; -ENODATA if that is empty. */
static int execute_visit(struct mdma_channel *ch)
{
	struct mdma_workload *workload = &ch->workload;
	u64 slots = nr_slots(ch);
	struct mdma_job job = {};
	u32 i, parts = 1;
	int ret = 0;

	if (!slots)
		return -ENODATA;
	job.op = next_writes(workload) ? MDMA_OP_STAMP : MDMA_OP_READ;
	job.rw = workload->access == MDMA_ACCESS_RW;
	job.hold = workload->hold_ms || mdma_workload_keep(ch);
	if (workload->sequence.kind == MDMA_PATTERN_SCATTER)
		parts = workload->batch;
	for (i = 0; i < parts && !ret; i++) {
		job.part = i;
		ret = execute_slot(ch, &job, slots);
	}
	return ret;
}

static bool replays(const struct mdma_workload *workload)
{
	return workload->sequence.kind == MDMA_PATTERN_TRACE;
}

/*
 * The next entry of the trace; the first one if the trace is shorter than
 * that.
 */
static u32 next_entry(struct mdma_channel *ch)
{
	u64 position = ch->workload.sequence.position;

	return position < ch->engine->replay.nr ? position : 0;
}

/* Executes the next entry of the trace; -ENODATA if there is none. */
static int execute_entry(struct mdma_channel *ch)
{
	const struct mdma_trace_entry *entry;
	struct mdma_workload *workload = &ch->workload;
	struct mdma_job job = {};
	u32 i = next_entry(ch);

	if (!ch->engine->replay.nr)
		return -ENODATA;
	entry = &ch->engine->replay.entries[i];
	workload->sequence.position = i + 1;
	job.op = le32_to_cpu(entry->flags) & MDMA_TRACE_WRITE ? MDMA_OP_STAMP :
								MDMA_OP_READ;
	job.rw = workload->access == MDMA_ACCESS_RW;
	job.hold_ms = le32_to_cpu(entry->hold_ms);
	job.hold = job.hold_ms;
	job.dst = le64_to_cpu(entry->iova);
	job.src = job.dst;
	job.len = (u64)le32_to_cpu(entry->npages) << MDMA_PAGE_SHIFT;
	return mdma_job_execute(ch, &job);
}

static void count_failure(struct mdma_channel *ch)
{
	switch (ch->workload.on_error) {
	case MDMA_ON_ERROR_STOP:
		/*
		 * Under exec. Other writers hold the gate for writing, and
		 * come later
		 */
		WRITE_ONCE(ch->workload.run, 0);
		mdma_count(&ch->engine->stats, MDMA_STAT_STOPPED, 1);
		break;
	case MDMA_ON_ERROR_RETRY:
		mdma_count(&ch->engine->stats, MDMA_STAT_RETRIED, 1);
		break;
	default:
		mdma_count(&ch->engine->stats, MDMA_STAT_SKIPPED, 1);
	}
}

/* Executes the next descriptor; -ENODATA if there can be none. */
static int execute_next(struct mdma_channel *ch)
{
	struct mdma_workload *workload = &ch->workload;
	struct mdma_sequence before = workload->sequence;
	int ret;

	ret = replays(workload) ? execute_entry(ch) : execute_visit(ch);
	if (!ret || ret == -ENODATA)
		return ret;
	if (ret != -ERESTART)
		count_failure(ch);
	/* The same random numbers make the same descriptor */
	if (ret == -ERESTART || workload->on_error == MDMA_ON_ERROR_RETRY) {
		workload->sequence.prng = before.prng;
		workload->sequence.position = before.position;
	}
	return ret;
}

static bool pause_is_due(struct mdma_workload *workload)
{
	if (!workload->burst || ++workload->burst_done < workload->burst)
		return false;
	workload->burst_done = 0;
	return true;
}

/* A trace is replayed once for each start. */
static bool trace_ended(struct mdma_channel *ch)
{
	return replays(&ch->workload) &&
	       ch->workload.sequence.position == ch->engine->replay.nr;
}

/* Nanoseconds from the entry of a trace before the next one to that. */
static u64 trace_interval(struct mdma_channel *ch)
{
	const struct mdma_trace_entry *entry = ch->engine->replay.entries;
	u32 next = next_entry(ch);

	if (!next)
		return 0;
	return (le64_to_cpu(entry[next].at_us) -
		le64_to_cpu(entry[next - 1].at_us)) * NSEC_PER_USEC;
}

/* When the descriptor after one at @now is due. */
static void schedule_next(struct mdma_channel *ch, ktime_t now, int ret)
{
	struct mdma_workload *workload = &ch->workload;
	s64 interval = 0;
	ktime_t pause = 0;

	if (pause_is_due(workload))
		pause = ktime_add_ms(now, workload->pause_ms);
	if (workload->rate)
		interval = NSEC_PER_SEC / workload->rate;
	else if (ret)
		pause = max(pause, ktime_add_ns(now, ERROR_PAUSE));
	else if (replays(workload))
		interval = trace_interval(ch);
	if (!interval || ktime_sub(now, workload->due) > LATE_MAX)
		workload->due = now;
	workload->due = max(ktime_add_ns(workload->due, interval), pause);
}

/*
 * The window of a guest counts only while the function is a bus master.
 * Otherwise the guest's driver has died, or another kernel has taken over,
 * and the memory is the guest's again. The administrator's window, and a
 * trace, do not depend on that.
 */
static bool has_work(struct mdma_channel *ch)
{
	struct mdma_engine *engine = ch->engine;

	if (replays(&ch->workload))
		return engine->replay.nr;
	return engine->window.nr && (engine->window.origin != MDMA_WINDOW_GUEST ||
				  engine->bus_master);
}

/**
 * mdma_workload_poll() - execute a descriptor if one is due
 * @ch: of a device that runs; gate held for reading, exec held
 * @next: if there is none: when one is due, else unchanged
 *
 * @on_error says what follows a descriptor that failed.
 *
 * Return: whether one was executed.
 */
bool mdma_workload_poll(struct mdma_channel *ch, ktime_t *next)
{
	struct mdma_workload *workload = &ch->workload;
	ktime_t now;
	int ret;

	if (!workload->run || !has_work(ch))
		return false;
	now = ktime_get();
	if (ktime_after(workload->due, now)) {
		*next = workload->due;
		return false;
	}
	ret = execute_next(ch);
	schedule_next(ch, now, ret);
	if (trace_ended(ch))
		WRITE_ONCE(workload->run, 0);
	return true;
}

/**
 * mdma_workload_keep() - runs that the pattern keeps pinned
 * @ch: gate held
 *
 * Return: a number, or 0 if it is time and not the pattern that ends a hold.
 */
u64 mdma_workload_keep(struct mdma_channel *ch)
{
	struct mdma_workload *workload = &ch->workload;

	if (workload->sequence.kind != MDMA_PATTERN_RING)
		return 0;
	return clamp_t(u64, nr_slots(ch), 1, workload->ring);
}

/*
 * Gives back runs that a step made superfluous. The thread expires the others.
 */
static void expire(struct mdma_channel *ch)
{
	ktime_t next;

	next = mdma_held_expire(&ch->engine->held, ch->index, ch->workload.hold_ms,
				mdma_workload_keep(ch));
	if (next != KTIME_MAX)
		mdma_channel_kick(ch);
}

/* Memory is charged to the user, as when the thread executes. */
static int step_now(struct mdma_channel *ch, int *error)
{
	struct mem_cgroup *old;
	int ret;

	ret = mutex_lock_killable(&ch->exec);
	if (ret)
		return ret;
	old = set_active_memcg(ch->engine->memcg);
	ret = execute_next(ch);
	set_active_memcg(old);
	mutex_unlock(&ch->exec);
	if (ret && !*error)
		*error = ret;
	expire(ch);
	return 0;
}

static int step_one(struct mdma_channel *ch, int *error)
{
	struct mdma_engine *engine = ch->engine;
	int ret;

	ret = down_read_killable(&engine->gate);
	if (ret)
		return ret;
	if (!engine->open)
		ret = -ENODEV;
	else if (!engine->running || READ_ONCE(ch->workload.run))
		/* The channel's thread may be about to stop its workload */
		ret = -EBUSY;
	else if (!has_work(ch))
		ret = -ENODATA;
	else
		ret = step_now(ch, error);
	up_read(&engine->gate);
	return ret;
}

/**
 * mdma_workload_step() - execute exactly @n descriptors, as fast as possible
 * @ch: of a device in any state
 * @n: number
 *
 * All of them are executed even if one fails, unless @on_error is to stop. One
 * that is tried again counts as one more.
 *
 * Return: 0, or the error of the first that failed; -ENODEV if the device is
 * not open, -EBUSY if the workload is started or the device is quiesced,
 * -ENODATA if there is neither window nor trace, -EINTR after a signal: fewer
 * may have been executed then.
 */
int mdma_workload_step(struct mdma_channel *ch, u32 n)
{
	int ret = 0, error = 0;

	while (n-- && !ret) {
		if (signal_pending(current))
			return -EINTR;
		ret = step_one(ch, &error);
		if (error && READ_ONCE(ch->workload.on_error) ==
			     MDMA_ON_ERROR_STOP)
			break;
		cond_resched();
	}
	return ret ?: error;
}

/**
 * mdma_workload_set_window() - the window gets new ranges
 * @engine: gate held for writing
 * @origin: who sets it
 * @range: checked
 * @nr: number, 0 for an empty window
 */
void mdma_workload_set_window(struct mdma_engine *engine,
			      enum mdma_window_origin origin,
			      const struct mdma_range *range, u32 nr)
{
	struct mdma_window *window = &engine->window;

	memset(window, 0, sizeof(*window));
	window->origin = nr ? origin : MDMA_WINDOW_NONE;
	window->nr = nr;
	if (nr)
		memcpy(window->range, range, nr * sizeof(*range));
	mdma_workload_restart(engine);
	mdma_engine_kick(engine);
}

/**
 * mdma_workload_save() - the workloads for a migration
 * @engine: gate held for writing
 * @snap: gets all of them, but no counters
 */
void mdma_workload_save(struct mdma_engine *engine, struct mdma_snapshot *snap)
{
	struct mdma_stream_channel_workload *to = snap->workload;
	struct mdma_channel *ch = engine->channels;
	u32 i;

	mdma_knobs_save(&ch->workload, &snap->state.workload, &snap->knobs);
	for (i = 1; i < engine->nr_channels; i++, to++) {
		ch = &engine->channels[i];
		to->channel = cpu_to_le32(i);
		mdma_knobs_save(&ch->workload, &to->workload, &to->knobs);
	}
}

/**
 * mdma_workload_load() - the workloads that a migration brought
 * @engine: gate held for writing
 * @snap: valid
 */
void mdma_workload_load(struct mdma_engine *engine,
			const struct mdma_snapshot *snap)
{
	const struct mdma_stream_channel_workload *from = snap->workload;
	struct mdma_channel *ch = engine->channels;
	u32 i;

	mdma_knobs_load(&ch->workload, &snap->state.workload, &snap->knobs);
	for (i = 1; i < engine->nr_channels; i++, from++) {
		ch = &engine->channels[i];
		mdma_knobs_load(&ch->workload, &from->workload, &from->knobs);
	}
}
