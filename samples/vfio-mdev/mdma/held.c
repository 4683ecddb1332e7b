// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs that stay pinned after they were used: held, until their time is over,
 * too many are held, their memory is unmapped or the device stops.
 *
 * A device that stops has nothing pinned, but remembers what it held: such runs
 * are parked, in a list of their own, and pinned again when it runs; or at the
 * destination of a migration.
 *
 * Takes mdma_access.lock, and none of it over a call into vfio.
 */
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "access.h"
#include "mdma.h"

/**
 * mdma_held_take() - a held run becomes busy
 * @access: lock held
 * @run: held
 */
void mdma_held_take(struct mdma_access *access, struct mdma_run *run)
{
	lockdep_assert_held(&access->lock);

	list_del(&run->held);
	run->busy = true;
	access->held[run->channel].nr--;
	access->held_pages -= run->npages;
}

/* The first run that a channel holds, or NULL. */
static struct mdma_run *first_held(struct mdma_access *access, u32 channel)
{
	return list_first_entry_or_null(&access->held[channel].runs,
					struct mdma_run, held);
}

/* A channel's first held run, busy now, if too many pages are held. */
static struct mdma_run *take_superfluous(struct mdma_access *access,
					 u32 channel)
{
	struct mdma_run *run = NULL;

	mutex_lock(&access->lock);
	if (access->held_pages > MDMA_HELD_PAGES_MAX) {
		run = first_held(access, channel);
		if (run)
			mdma_held_take(access, run);
	}
	mutex_unlock(&access->lock);
	return run;
}

/* When a run is to be given back, if the workload says @hold_ms. */
static ktime_t ends(const struct mdma_run *run, u32 hold_ms)
{
	return ktime_add_ms(run->held_since, run->hold_ms ?: hold_ms);
}

/* After all runs that end before; those of a trace need not end in order. */
static void insert_held(struct mdma_held *held, struct mdma_run *run)
{
	struct list_head *at = &held->runs;
	struct mdma_run *before;

	list_for_each_entry_reverse(before, &held->runs, held) {
		if (!run->hold_ms || !before->hold_ms ||
		    !ktime_after(ends(before, 0), ends(run, 0)))
			break;
		at = &before->held;
	}
	list_add_tail(&run->held, at);
	held->nr++;
}

static void hold_since(struct mdma_device *dev, struct mdma_run *run,
		       ktime_t since)
{
	struct mdma_access *access = &dev->access;
	u32 channel = run->channel;

	run->held_since = since;
	mutex_lock(&access->lock);
	run->busy = false;
	insert_held(&access->held[channel], run);
	access->held_pages += run->npages;
	mutex_unlock(&access->lock);
	mdma_access_released(access);
	while ((run = take_superfluous(access, channel)))
		mdma_access_unpin(dev, run);
}

/**
 * mdma_held_init() - nothing is held
 * @access: of a new device
 */
void mdma_held_init(struct mdma_access *access)
{
	u32 i;

	for (i = 0; i < MDMA_MAX_CHANNELS; i++)
		INIT_LIST_HEAD(&access->held[i].runs);
	INIT_LIST_HEAD(&access->parked);
}

/**
 * mdma_held_add() - leave a run pinned but unused
 * @ch: that used it; of a device that is open
 * @run: of mdma_access_pin(); must not be used afterwards
 * @hold_ms: for how long, 0 for as long as the channel's workload says
 *
 * mdma_held_expire() gives it back, or ->dma_unmap(), or the end of the
 * device's running. If too many pages are held, the oldest runs of the channel
 * are given back now.
 */
void mdma_held_add(struct mdma_channel *ch, struct mdma_run *run, u32 hold_ms)
{
	run->channel = ch->index;
	run->hold_ms = hold_ms;
	hold_since(ch->dev, run, ktime_get());
}

/**
 * mdma_held_expire() - give back runs that were held long enough
 * @ch: that holds them; of a device that is open
 * @hold_ms: this long; not looked at if @keep is not 0
 * @keep: give back all but the youngest @keep runs
 *
 * Return: when to call again, KTIME_MAX if nothing is held or @keep is given.
 */
ktime_t mdma_held_expire(struct mdma_channel *ch, u32 hold_ms, u64 keep)
{
	struct mdma_access *access = &ch->dev->access;
	ktime_t due, now = ktime_get();
	struct mdma_run *run;

	for (;;) {
		mutex_lock(&access->lock);
		run = first_held(access, ch->index);
		due = run && !keep ? ends(run, hold_ms) : KTIME_MAX;
		if (!run || (keep && access->held[ch->index].nr <= keep) ||
		    (!keep && ktime_after(due, now))) {
			mutex_unlock(&access->lock);
			return due;
		}
		mdma_held_take(access, run);
		mutex_unlock(&access->lock);
		mdma_access_unpin(ch->dev, run);
		cond_resched();
	}
}

/**
 * mdma_held_drop_parked() - forget the parked runs that touch a range
 * @access: lock held
 * @first: first byte
 * @last: last byte
 */
void mdma_held_drop_parked(struct mdma_access *access, u64 first, u64 last)
{
	struct mdma_run *run, *next;

	lockdep_assert_held(&access->lock);

	list_for_each_entry_safe(run, next, &access->parked, held) {
		if (!mdma_run_overlaps(run, first, last))
			continue;
		list_del(&run->held);
		access->nr_parked--;
		kfree(run);
	}
}

static struct mdma_run *take_held(struct mdma_access *access)
{
	struct mdma_run *run = NULL;
	u32 i;

	mutex_lock(&access->lock);
	for (i = 0; i < MDMA_MAX_CHANNELS && !run; i++)
		run = first_held(access, i);
	if (run)
		mdma_held_take(access, run);
	mutex_unlock(&access->lock);
	return run;
}

/**
 * mdma_held_park() - give back all held runs, but remember them
 * @dev: open, and nothing executes
 */
void mdma_held_park(struct mdma_device *dev)
{
	struct mdma_access *access = &dev->access;
	struct mdma_run *run;

	while ((run = take_held(access))) {
		run->age = ktime_sub(ktime_get(), run->held_since);
		mdma_run_unpin(dev, run);
		mutex_lock(&access->lock);
		list_del(&run->node);
		list_add_tail(&run->held, &access->parked);
		access->nr_parked++;
		mutex_unlock(&access->lock);
		mdma_access_released(access);
	}
}

/* The oldest parked run, busy now; -EINPROGRESS if its range is going. */
static struct mdma_run *take_parked(struct mdma_access *access)
{
	struct mdma_run *run;

	mutex_lock(&access->lock);
	run = list_first_entry_or_null(&access->parked, struct mdma_run, held);
	if (run && mdma_access_going(access, run->iova,
				     mdma_last_byte(run->iova, run->npages))) {
		run = ERR_PTR(-EINPROGRESS);
	} else if (run) {
		list_del(&run->held);
		access->nr_parked--;
		list_add_tail(&run->node, &access->runs);
	}
	mutex_unlock(&access->lock);
	return run;
}

/**
 * mdma_held_unpark() - pin again what was parked, and hold it
 * @dev: open, and nothing executes
 *
 * The time that a run was held before counts. One that cannot be pinned any
 * more is forgotten.
 */
void mdma_held_unpark(struct mdma_device *dev)
{
	struct page **pages = dev->channels[0].dst_pages;
	struct mdma_access *access = &dev->access;
	struct mdma_run *run;

	while ((run = take_parked(access))) {
		if (IS_ERR(run))
			mdma_access_settle(dev);
		else if (mdma_run_pin(dev, run, pages))
			mdma_run_end(access, run);
		else
			hold_since(dev, run, ktime_sub(ktime_get(), run->age));
		cond_resched();
	}
}

/**
 * mdma_held_count() - runs that a migration would have to take along
 * @dev: any
 *
 * Return: held and parked ones.
 */
u32 mdma_held_count(struct mdma_device *dev)
{
	struct mdma_access *access = &dev->access;
	u32 i, n;

	mutex_lock(&access->lock);
	n = access->nr_parked;
	for (i = 0; i < MDMA_MAX_CHANNELS; i++)
		n += access->held[i].nr;
	mutex_unlock(&access->lock);
	return n;
}

/**
 * mdma_held_get_parked() - the parked runs, for a migration
 * @dev: stopped
 * @held: room for @max
 * @max: entries
 *
 * Return: number of entries.
 */
u32 mdma_held_get_parked(struct mdma_device *dev,
			 struct mdma_stream_held *held, u32 max)
{
	struct mdma_access *access = &dev->access;
	struct mdma_run *run;
	u32 n = 0;

	mutex_lock(&access->lock);
	list_for_each_entry(run, &access->parked, held) {
		if (n == max)
			break;
		held[n++] = (struct mdma_stream_held) {
			.iova = cpu_to_le64(run->iova),
			.npages = cpu_to_le32(run->npages),
			.flags = cpu_to_le32(run->write ? MDMA_HELD_WRITE : 0),
			.age_us = cpu_to_le64(ktime_to_us(run->age)),
			.channel = cpu_to_le32(run->channel),
			.hold_ms = cpu_to_le32(run->hold_ms),
		};
	}
	mutex_unlock(&access->lock);
	return n;
}

static struct mdma_run *parked_run(const struct mdma_stream_held *held)
{
	/* Longer than any hold; whoever sends more cannot make it wrap */
	const u64 age_max = 2ULL * MDMA_HOLD_MS_MAX * USEC_PER_MSEC;
	struct mdma_run *run = kmalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);

	if (!run)
		return NULL;
	run->busy = true;
	run->write = le32_to_cpu(held->flags) & MDMA_HELD_WRITE;
	run->iova = le64_to_cpu(held->iova);
	run->npages = le32_to_cpu(held->npages);
	run->channel = le32_to_cpu(held->channel);
	run->hold_ms = le32_to_cpu(held->hold_ms);
	run->age = ns_to_ktime(min(le64_to_cpu(held->age_us), age_max) *
			       NSEC_PER_USEC);
	return run;
}

/**
 * mdma_held_set_parked() - what a migration brought
 * @dev: stopped; what it had parked is forgotten
 * @snap: valid
 *
 * Return: 0, or -ENOMEM: nothing was changed.
 */
int mdma_held_set_parked(struct mdma_device *dev,
			 const struct mdma_snapshot *snap)
{
	struct mdma_access *access = &dev->access;
	struct mdma_stream_held held;
	struct mdma_run *run, *next;
	LIST_HEAD(mine);
	u32 i;

	for (i = 0; i < snap->held.nr; i++) {
		held = mdma_snapshot_held(snap, i);
		run = parked_run(&held);
		if (!run)
			break;
		list_add_tail(&run->held, &mine);
	}
	if (i == snap->held.nr) {
		mutex_lock(&access->lock);
		mdma_held_drop_parked(access, 0, U64_MAX);
		list_splice_init(&mine, &access->parked);
		access->nr_parked = snap->held.nr;
		mutex_unlock(&access->lock);
	}
	list_for_each_entry_safe(run, next, &mine, held)
		kfree(run);
	return i == snap->held.nr ? 0 : -ENOMEM;
}
