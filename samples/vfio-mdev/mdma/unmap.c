// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving pins back when the user unmaps their memory (->dma_unmap()), resets the
 * device or closes it: held runs are unpinned, parked ones forgotten, busy ones
 * waited for.
 *
 * type1 calls ->dma_unmap() with locks of the container held, and a call of
 * vfio_pin_pages() or vfio_dma_rw() can wait for user memory as long as user space
 * likes. So ->dma_unmap() waits for such a call ASK_MS at most. It marks the run as
 * asked for, and the run's owner gives back what it got when the call returns. type1
 * looks again until all pins are gone, or tells the user -EBUSY (R15).
 *
 * iommufd asks a hundred times if memory is unmapped, and then warns. When the device
 * leaves an IOAS, it asks once, and forgets to whom the pins belonged. So with iommufd,
 * ->dma_unmap() waits for the owners, however late the scheduler runs them. It makes
 * nobody wait longer for user memory than without: a call that waits for that holds the
 * lock that iommufd needs to unmap, or to let the device leave.
 *
 * A reset needs no such lock, and the device stays in its IOAS. It holds the gate, so it
 * waits ASK_MS at most, with iommufd as well. At the close, no run waits for user memory.
 *
 * Takes mdma_access.lock, which is never held over a call into vfio.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/sched/signal.h>

#include "access.h"
#include "held.h"
#include "manual.h"
#include "run.h"
#include "trace.h"
#include "unmap.h"

#define ASK_MS	50	/* longest wait for calls that can wait for user memory */

/**
 * mdma_unmap_init() - nothing is to be given back
 * @unmap: zeroed
 * @access: of the device
 * @held: likewise
 * @manual: likewise
 */
void mdma_unmap_init(struct mdma_unmap *unmap, struct mdma_access *access,
		     struct mdma_held *held, struct mdma_manual *manual)
{
	unmap->access = access;
	unmap->held = held;
	unmap->manual = manual;
}

/*
 * Looks once at the runs that touch a range: forgets the parked ones, makes the
 * held ones busy and lists them in @mine, asks for those that wait for user memory.
 * Returns whether any is busy; @used becomes true if one of these is in use, which
 * ends soon.
 */
static bool collect_runs(struct mdma_unmap *unmap, u64 first, u64 last,
			 struct list_head *mine, bool *used)
{
	struct mdma_access *access = unmap->access;
	struct mdma_run *run;
	bool busy = false;

	*used = false;
	mutex_lock(&access->lock);
	mdma_held_drop_parked(unmap->held, first, last);
	for (run = mdma_run_iter_first(&access->runs, first, last); run;
	     run = mdma_run_iter_next(run, first, last)) {
		if (!run->busy) {
			mdma_held_take(unmap->held, run);
			list_add_tail(&run->list, mine);
			continue;
		}
		busy = true;
		run->asked |= run->waits;
		*used |= !run->waits;
	}
	mutex_unlock(&access->lock);
	return busy;
}

/*
 * Gives back the held runs that touch a range, forgets the parked ones, waits
 * for the busy ones: for user memory no longer than ASK_MS, unless @patient.
 */
static void release_runs(struct mdma_unmap *unmap, u64 first, u64 last,
			 bool patient)
{
	unsigned long until = jiffies + msecs_to_jiffies(ASK_MS);
	struct mdma_access *access = unmap->access;
	struct mdma_run *run, *next;
	LIST_HEAD(mine);
	bool busy, used;
	int seen;

	do {
		seen = atomic_read(&access->released);
		busy = collect_runs(unmap, first, last, &mine, &used);
		list_for_each_entry_safe(run, next, &mine, list) {
			list_del(&run->list);
			mdma_access_unpin(access, run);
			seen++;
		}
		if (busy)
			wait_event_timeout(access->wait,
					   atomic_read(&access->released) !=
					   seen, msecs_to_jiffies(ASK_MS));
	} while (busy && (used || patient || time_before(jiffies, until)));
}

/**
 * mdma_unmap_all() - give back all runs, and what was pinned by hand
 * @unmap: of a device that is open, and nothing executes
 *
 * A run that is being pinned again, and waits for user memory, is given back by its owner.
 */
void mdma_unmap_all(struct mdma_unmap *unmap)
{
	release_runs(unmap, 0, U64_MAX, false);
	mdma_manual_release(unmap->manual, 0, U64_MAX);
}

/* Test hook: waits, so that what can happen meanwhile happens. */
static void stall(struct mdma_unmap *unmap)
{
	while (READ_ONCE(unmap->stall) && !fatal_signal_pending(current))
		usleep_range(1000, 2000);
}

/**
 * mdma_unmap_announce() - memory goes, nothing is pinned there until mdma_unmap_over()
 * @unmap: of a device that is open
 * @first: first byte
 * @last: last byte
 *
 * Return: for mdma_unmap_over().
 */
struct mdma_going *mdma_unmap_announce(struct mdma_unmap *unmap, u64 first,
				       u64 last)
{
	struct mdma_access *access = unmap->access;
	struct mdma_going *going;

	mutex_lock(&access->lock);
	going = mdma_going_begin(access->going, first, last);
	mutex_unlock(&access->lock);
	return going;
}

/**
 * mdma_unmap_over() - the memory is gone, or will stay
 * @unmap: of the announcement
 * @going: likewise
 */
void mdma_unmap_over(struct mdma_unmap *unmap, struct mdma_going *going)
{
	struct mdma_access *access = unmap->access;

	mutex_lock(&access->lock);
	mdma_going_end(going);
	mutex_unlock(&access->lock);
	mdma_access_released(access);
}

/**
 * mdma_unmap_range() - the user takes a mapping away: ->dma_unmap()
 * @unmap: of a device that is open
 * @iova: first byte
 * @length: bytes, not 0
 *
 * On return, the device does not access the range and has nothing pinned in it, with
 * two exceptions. A call into vfio may still wait for user memory: type1 fails it, or
 * what it got is given back at once. And the test hook mdma_manual.leak does nothing.
 */
void mdma_unmap_range(struct mdma_unmap *unmap, u64 iova, u64 length)
{
	struct mdma_access *access = unmap->access;
	u64 last = iova + length - 1;
	struct mdma_going *going;

	stall(unmap);
	if (mdma_manual_leaks(unmap->manual)) {
		trace_mdma_dma_unmap(access->id, iova, length, true);
		return;
	}
	going = mdma_unmap_announce(unmap, iova, last);
	release_runs(unmap, iova, last, access->exact);
	mdma_manual_release(unmap->manual, iova, last);
	/* Wait for what another caller of mdma_manual_release() has taken. */
	release_runs(unmap, iova, last, access->exact);
	mdma_unmap_over(unmap, going);
	trace_mdma_dma_unmap(access->id, iova, length, false);
}
