// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs that stay pinned after they were used: held, until their time is over,
 * too many are held, their memory is unmapped or the device stops.
 *
 * Runs of a trace have a time of their own and must not wait for other runs,
 * so they have a separate queue. Queues are trees, since a stream can bring
 * 65536 runs in any order.
 *
 * A device that stops gives back what it held, but remembers it: such runs
 * are parked, in a tree of their own, and pinned again when it runs; or at the
 * destination of a migration.
 *
 * Takes mdma_access.lock, which is never held over a call into vfio.
 */
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "access.h"
#include "held.h"
#include "run.h"
#include "snapshot.h"

/*
 * Of a run with a time of its own, when its hold ends; of another, when its hold
 * began, as the workload may change the time that it is held.
 */
static ktime_t position(const struct mdma_run *run)
{
	return ktime_add_ms(run->held_since, run->hold_ms);
}

static struct mdma_run *to_run(struct rb_node *node)
{
	return rb_entry(node, struct mdma_run, queue);
}

static bool is_before(struct rb_node *node, const struct rb_node *other)
{
	return ktime_before(position(to_run(node)),
			    position(rb_entry(other, struct mdma_run, queue)));
}

static struct mdma_queue *queue_of(struct mdma_held *held,
				   const struct mdma_run *run)
{
	struct mdma_held_channel *channel = &held->channel[run->channel];

	return run->hold_ms ? &channel->timed : &channel->others;
}

static struct mdma_run *first_of(const struct mdma_queue *queue)
{
	struct rb_node *first = rb_first_cached(&queue->runs);

	return first ? to_run(first) : NULL;
}

/**
 * mdma_held_take() - a held run becomes busy
 * @held: lock of mdma_access held
 * @run: held
 */
void mdma_held_take(struct mdma_held *held, struct mdma_run *run)
{
	struct mdma_queue *queue = queue_of(held, run);

	lockdep_assert_held(&held->access->lock);

	rb_erase_cached(&run->queue, &queue->runs);
	queue->nr--;
	run->busy = true;
	run->waits = false;
	held->pages -= run->npages;
}

/* The run that a channel is to give back first, or NULL. */
static struct mdma_run *first_held(struct mdma_held *held, u32 channel)
{
	struct mdma_held_channel *of = &held->channel[channel];

	return first_of(&of->others) ?: first_of(&of->timed);
}

/* A channel's first held run, busy now, if too many pages are held. */
static struct mdma_run *take_superfluous(struct mdma_held *held, u32 channel)
{
	struct mdma_run *run = NULL;

	mutex_lock(&held->access->lock);
	if (held->pages > MDMA_HELD_PAGES_MAX) {
		run = first_held(held, channel);
		if (run)
			mdma_held_take(held, run);
	}
	mutex_unlock(&held->access->lock);
	return run;
}

static void insert_held(struct mdma_held *held, struct mdma_run *run)
{
	struct mdma_queue *queue = queue_of(held, run);

	rb_add_cached(&run->queue, &queue->runs, is_before);
	queue->nr++;
	held->pages += run->npages;
}

static void hold_since(struct mdma_held *held, struct mdma_run *run,
		       ktime_t since)
{
	struct mdma_access *access = held->access;
	u32 channel = run->channel;

	run->held_since = since;
	mutex_lock(&access->lock);
	run->busy = false;
	insert_held(held, run);
	mutex_unlock(&access->lock);
	mdma_access_released(access);
	while ((run = take_superfluous(held, channel)))
		mdma_access_unpin(access, run);
}

/**
 * mdma_held_init() - nothing is held
 * @held: zeroed
 * @access: of the device
 */
void mdma_held_init(struct mdma_held *held, struct mdma_access *access)
{
	u32 i;

	held->access = access;
	for (i = 0; i < MDMA_MAX_CHANNELS; i++) {
		held->channel[i].timed.runs = RB_ROOT_CACHED;
		held->channel[i].others.runs = RB_ROOT_CACHED;
	}
	held->parked = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&held->parked_list);
}

/**
 * mdma_held_add() - leave a run pinned but unused
 * @held: of a device that is open
 * @run: of mdma_access_pin(); must not be used afterwards
 * @channel: that used it
 * @hold_ms: for how long, 0 for as long as the channel's workload says
 *
 * mdma_held_expire() gives it back, or ->dma_unmap(), or the end of the
 * device's running. If too many pages are held, the oldest runs of the channel
 * are given back now.
 */
void mdma_held_add(struct mdma_held *held, struct mdma_run *run, u32 channel,
		   u32 hold_ms)
{
	run->channel = channel;
	run->hold_ms = hold_ms;
	hold_since(held, run, ktime_get());
}

/*
 * A run that was held long enough at @now, or NULL: then @due becomes the time
 * of the next one.
 */
static struct mdma_run *first_expired(const struct mdma_held_channel *channel,
				      u32 hold_ms, u64 keep, ktime_t now,
				      ktime_t *due)
{
	struct mdma_run *run = first_of(&channel->timed);
	ktime_t ends;

	*due = KTIME_MAX;
	if (run) {
		*due = position(run);
		if (!ktime_after(*due, now))
			return run;
	}
	run = first_of(&channel->others);
	if (keep)
		return channel->others.nr > keep ? run : NULL;
	if (run) {
		ends = ktime_add_ms(run->held_since, hold_ms);
		if (!ktime_after(ends, now))
			return run;
		*due = min(*due, ends);
	}
	return NULL;
}

/**
 * mdma_held_expire() - give back runs that were held long enough
 * @held: of a device that is open
 * @channel: that holds them
 * @hold_ms: this long, those that do not say it themselves; not looked at if
 *	@keep is not 0
 * @keep: give back all of these but the youngest @keep runs
 *
 * Return: when to call again, KTIME_MAX if nothing is held that ends by itself.
 */
ktime_t mdma_held_expire(struct mdma_held *held, u32 channel, u32 hold_ms,
			 u64 keep)
{
	struct mdma_access *access = held->access;
	ktime_t due, now = ktime_get();
	struct mdma_run *run;

	for (;;) {
		mutex_lock(&access->lock);
		run = first_expired(&held->channel[channel], hold_ms, keep, now,
				    &due);
		if (run)
			mdma_held_take(held, run);
		mutex_unlock(&access->lock);
		if (!run)
			return due;
		mdma_access_unpin(access, run);
		cond_resched();
	}
}

static void unlist_parked(struct mdma_held *held, struct mdma_run *run)
{
	mdma_run_remove(run, &held->parked);
	list_del(&run->list);
	held->nr_parked--;
}

/**
 * mdma_held_drop_parked() - forget the parked runs that touch a range
 * @held: lock of mdma_access held
 * @first: first byte
 * @last: last byte
 */
void mdma_held_drop_parked(struct mdma_held *held, u64 first, u64 last)
{
	struct mdma_run *run;

	lockdep_assert_held(&held->access->lock);

	while ((run = mdma_run_iter_first(&held->parked, first, last))) {
		unlist_parked(held, run);
		kfree(run);
	}
}

static struct mdma_run *take_held(struct mdma_held *held)
{
	struct mdma_run *run = NULL;
	u32 i;

	mutex_lock(&held->access->lock);
	for (i = 0; i < MDMA_MAX_CHANNELS && !run; i++)
		run = first_held(held, i);
	if (run)
		mdma_held_take(held, run);
	mutex_unlock(&held->access->lock);
	return run;
}

static void add_parked(struct mdma_held *held, struct mdma_run *run)
{
	mdma_run_insert(run, &held->parked);
	list_add_tail(&run->list, &held->parked_list);
	held->nr_parked++;
}

/**
 * mdma_held_park() - give back all held runs, but remember them
 * @held: of a device that is open, and nothing executes
 */
void mdma_held_park(struct mdma_held *held)
{
	struct mdma_access *access = held->access;
	struct mdma_run *run;

	while ((run = take_held(held))) {
		run->age = ktime_sub(ktime_get(), run->held_since);
		mdma_run_unpin(access, run);
		mutex_lock(&access->lock);
		mdma_run_remove(run, &access->runs);
		add_parked(held, run);
		mutex_unlock(&access->lock);
		mdma_access_released(access);
	}
}

/* The oldest parked run, busy now; -EINPROGRESS if its range is going. */
static struct mdma_run *take_parked(struct mdma_held *held, bool waited)
{
	struct mdma_access *access = held->access;
	struct mdma_run *run;
	u64 last;

	mutex_lock(&access->lock);
	run = list_first_entry_or_null(&held->parked_list, struct mdma_run, list);
	last = run ? mdma_last_byte(run->iova, run->npages) : 0;
	if (run && mdma_access_closed(access, run->iova, last, waited)) {
		run = ERR_PTR(-EINPROGRESS);
	} else if (run) {
		unlist_parked(held, run);
		run->waits = true;
		run->asked = false;
		mdma_run_insert(run, &access->runs);
	}
	mutex_unlock(&access->lock);
	return run;
}

static void forget_parked(struct mdma_held *held)
{
	mutex_lock(&held->access->lock);
	mdma_held_drop_parked(held, 0, U64_MAX);
	mutex_unlock(&held->access->lock);
}

/* 0 as well if the run was unmapped meanwhile, which is no error. */
static int pin_again(struct mdma_held *held, struct mdma_run *run,
		     struct page **pages)
{
	int ret = mdma_run_pin(held->access, run, pages);

	if (ret)
		mdma_run_end(held->access, run);
	else
		hold_since(held, run, ktime_sub(ktime_get(), run->age));
	return ret == -EINPROGRESS ? 0 : ret;
}

/* To be noticed: a destination whose limits are lower shows less dirty memory. */
static void tell_forgotten(const struct mdma_access *access, u32 n, int error)
{
	if (n)
		pr_notice_ratelimited("mdma %08x: %u held runs can't be pinned again, and are forgotten; first error: %d\n",
				      access->id, n, error);
}

/**
 * mdma_held_unpark() - pin again what was parked, and hold it
 * @held: of a device that is open, and nothing executes
 * @pages: room for VFIO_PIN_PAGES_MAX_ENTRIES
 *
 * The time that a run was held before counts. One that cannot be pinned any
 * more is forgotten, which is logged unless its memory was unmapped meanwhile.
 * So are all that are left if the caller is killed.
 */
void mdma_held_unpark(struct mdma_held *held, struct page **pages)
{
	struct mdma_access *access = held->access;
	int ret, first_error = 0;
	struct mdma_run *run;
	bool waited = false;
	u32 forgotten = 0;

	while ((run = take_parked(held, waited))) {
		ret = 0;
		waited = IS_ERR(run);
		if (waited)
			mdma_access_settle();
		else
			ret = pin_again(held, run, pages);
		if (ret && !forgotten++)
			first_error = ret;
		if (fatal_signal_pending(current))
			forget_parked(held);
		cond_resched();
	}
	tell_forgotten(access, forgotten, first_error);
}

/**
 * mdma_held_count() - runs that a migration would have to take along
 * @held: any
 *
 * Return: held and parked ones.
 */
u32 mdma_held_count(struct mdma_held *held)
{
	u32 i, n;

	mutex_lock(&held->access->lock);
	n = held->nr_parked;
	for (i = 0; i < MDMA_MAX_CHANNELS; i++)
		n += held->channel[i].timed.nr + held->channel[i].others.nr;
	mutex_unlock(&held->access->lock);
	return n;
}

/* The parked runs, @max at most: how many. */
static u32 get_parked(struct mdma_held *held, struct mdma_stream_held *to,
		      u32 max)
{
	struct mdma_run *run;
	u32 n = 0;

	mutex_lock(&held->access->lock);
	list_for_each_entry(run, &held->parked_list, list) {
		if (n == max)
			break;
		to[n++] = (struct mdma_stream_held) {
			.iova = cpu_to_le64(run->iova),
			.npages = cpu_to_le32(run->npages),
			.flags = cpu_to_le32(run->write ? MDMA_HELD_WRITE : 0),
			.age_us = cpu_to_le64(ktime_to_us(run->age)),
			.channel = cpu_to_le32(run->channel),
			.hold_ms = cpu_to_le32(run->hold_ms),
		};
	}
	mutex_unlock(&held->access->lock);
	return n;
}

/**
 * mdma_held_save() - the parked runs for a migration
 * @held: of a device that is stopped
 * @snap: gets them; the caller frees their memory with kvfree()
 *
 * Return: 0, or -ENOMEM: @snap has not changed.
 */
int mdma_held_save(struct mdma_held *held, struct mdma_snapshot *snap)
{
	u32 nr = mdma_held_count(held);
	struct mdma_stream_held *to;

	to = kvcalloc(nr, sizeof(*to), GFP_KERNEL_ACCOUNT);
	if (!to)
		return -ENOMEM;
	snap->held = (struct mdma_entries) {
		.nr = get_parked(held, to, nr),
		.size = sizeof(*to),
		.data = to,
	};
	return 0;
}

static struct mdma_run *parked_run(const struct mdma_stream_held *from)
{
	/* Longer than any hold, so that no stream can make it wrap */
	const u64 age_max = 2ULL * MDMA_HOLD_MS_MAX * USEC_PER_MSEC;
	struct mdma_run *run = kmalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);

	if (!run)
		return NULL;
	run->busy = true;
	run->write = le32_to_cpu(from->flags) & MDMA_HELD_WRITE;
	run->iova = le64_to_cpu(from->iova);
	run->npages = le32_to_cpu(from->npages);
	run->channel = le32_to_cpu(from->channel);
	run->hold_ms = le32_to_cpu(from->hold_ms);
	run->age = ns_to_ktime(min(le64_to_cpu(from->age_us), age_max) *
			       NSEC_PER_USEC);
	return run;
}

/**
 * mdma_held_load() - what a migration brought becomes parked
 * @held: of a device that is stopped; what it had parked is forgotten
 * @snap: valid
 *
 * Return: 0, or -ENOMEM: nothing was changed.
 */
int mdma_held_load(struct mdma_held *held, const struct mdma_snapshot *snap)
{
	struct mdma_stream_held from;
	struct mdma_run *run, *next;
	LIST_HEAD(mine);
	u32 i;

	for (i = 0; i < snap->held.nr; i++) {
		from = mdma_snapshot_held(snap, i);
		run = parked_run(&from);
		if (!run)
			break;
		list_add_tail(&run->list, &mine);
	}
	mutex_lock(&held->access->lock);
	if (i == snap->held.nr)
		mdma_held_drop_parked(held, 0, U64_MAX);
	list_for_each_entry_safe(run, next, &mine, list) {
		if (i == snap->held.nr)
			add_parked(held, run);
		else
			kfree(run);
	}
	mutex_unlock(&held->access->lock);
	return i == snap->held.nr ? 0 : -ENOMEM;
}
