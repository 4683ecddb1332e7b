// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to guest memory: the only file that calls vfio_pin_pages(),
 * vfio_unpin_pages() and vfio_dma_rw().
 *
 * A run is a number of contiguous pages that one call pinned. It is busy while
 * somebody pins, uses or unpins it, and only that somebody may touch it; else
 * it is held, and whoever makes it busy gives it back. All runs are in one
 * tree, so ->dma_unmap() finds those in its range: it gives back the held ones
 * and waits for the busy ones.
 *
 * A call of vfio_pin_pages() or vfio_dma_rw() can wait for user memory as long
 * as user space likes. ->dma_unmap() is called with locks of the container held,
 * so it does not wait for that: after ASK_MS it returns. The run is asked for, and
 * who made the call gives back what it has got, which type1 waits for.
 *
 * Runs that are held or parked are the matter of held.c.
 *
 * A pin in a range that is being unmapped (going.c) gets -EINPROGRESS, and its
 * caller gives back what else it has (it could be what ->dma_unmap() waits for),
 * calls mdma_access_settle() and tries again, until type1 tells whether the
 * range is still mapped.
 *
 * Takes mdma_access.lock, and none of it over a call into vfio.
 */
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "access.h"
#include "mdma.h"
#include "trace.h"

static_assert(PAGE_SIZE == MDMA_PAGE_SIZE);

#define ASK_MS	50	/* longest wait for calls that can wait for user memory */

/**
 * mdma_access_released() - tell who waits that a run is not busy any more
 * @access: lock not held
 */
void mdma_access_released(struct mdma_access *access)
{
	atomic_inc(&access->released);
	wake_up_all(&access->wait);
}

/* Whether a new run has to respect ranges that are being unmapped. */
enum respect {
	RESPECT_ALL,
	RESPECT_CALLS,	/* after mdma_access_settle(): what is in progress */
	RESPECT_NONE,
};

static enum respect respect_if(bool waited)
{
	return waited ? RESPECT_CALLS : RESPECT_ALL;
}

/*
 * A new busy run, for a call into vfio; refused with -EINPROGRESS if the range is
 * being unmapped.
 */
static struct mdma_run *run_begin(struct mdma_access *access, u64 iova,
				  u32 npages, enum respect respect)
{
	u64 last = mdma_last_byte(iova, npages);
	struct mdma_run *run;

	if (!npages || last < iova)
		return ERR_PTR(-EINVAL);
	run = kmalloc(sizeof(*run), GFP_KERNEL_ACCOUNT);
	if (!run)
		return ERR_PTR(-ENOMEM);
	run->busy = true;
	run->waits = true;
	run->asked = false;
	run->iova = iova;
	run->npages = npages;

	mutex_lock(&access->lock);
	if (respect != RESPECT_NONE &&
	    mdma_going_overlaps(access, iova, last, respect == RESPECT_CALLS)) {
		mutex_unlock(&access->lock);
		kfree(run);
		return ERR_PTR(-EINPROGRESS);
	}
	mdma_run_insert(run, &access->runs);
	mutex_unlock(&access->lock);
	return run;
}

/**
 * mdma_run_end() - a run is not pinned any more
 * @access: lock not held
 * @run: busy; is gone afterwards
 */
void mdma_run_end(struct mdma_access *access, struct mdma_run *run)
{
	mutex_lock(&access->lock);
	mdma_run_remove(run, &access->runs);
	mutex_unlock(&access->lock);
	kfree(run);
	mdma_access_released(access);
}

static void unpin(struct mdma_device *dev, u64 iova, u32 npages)
{
	vfio_unpin_pages(&dev->vdev, iova, npages);
	trace_mdma_unpin(dev->id, iova, npages);
	mdma_count(&dev->stats, MDMA_STAT_UNPINS, npages);
	mdma_count(&dev->stats, MDMA_STAT_PINNED, -(s64)npages);
}

/**
 * mdma_run_unpin() - unpin the pages of a run, which stays
 * @dev: open
 * @run: busy
 */
void mdma_run_unpin(struct mdma_device *dev, struct mdma_run *run)
{
	unpin(dev, run->iova, run->npages);
}

/* A call that could wait for user memory has ended: was the run asked for? */
static bool was_asked(struct mdma_access *access, struct mdma_run *run)
{
	bool asked;

	mutex_lock(&access->lock);
	run->waits = false;
	asked = run->asked;
	mutex_unlock(&access->lock);
	return asked;
}

static int run_pin(struct mdma_device *dev, struct mdma_run *run,
		   struct page **pages)
{
	u32 npages = run->npages;
	bool write = run->write;
	u64 iova = run->iova;
	int prot = write ? IOMMU_READ | IOMMU_WRITE : IOMMU_READ;
	int ret;

	ret = vfio_pin_pages(&dev->vdev, iova, npages, prot, pages);
	trace_mdma_pin(dev->id, iova, npages, write, ret);
	if (ret == npages) {
		mdma_count(&dev->stats, MDMA_STAT_PINS, npages);
		mdma_count(&dev->stats, MDMA_STAT_PINNED, npages);
		return 0;
	}
	mdma_count(&dev->stats, MDMA_STAT_PIN_ERRORS, 1);
	if (ret > 0)
		vfio_unpin_pages(&dev->vdev, iova, ret);
	return ret < 0 && ret != -EINPROGRESS ? ret : -EFAULT;
}

/**
 * mdma_run_pin() - pin the pages of a run by one call of vfio_pin_pages()
 * @dev: open
 * @run: busy, @waits is set
 * @pages: room for all of them
 *
 * Return: 0, -EINPROGRESS if ->dma_unmap() came meanwhile: nothing is pinned,
 * or the error of vfio_pin_pages().
 */
int mdma_run_pin(struct mdma_device *dev, struct mdma_run *run,
		 struct page **pages)
{
	int ret = run_pin(dev, run, pages);

	if (!was_asked(&dev->access, run) || ret)
		return ret;
	mdma_run_unpin(dev, run);
	return -EINPROGRESS;
}

/**
 * mdma_access_init() - nothing is pinned
 * @access: zeroed
 */
void mdma_access_init(struct mdma_access *access)
{
	mutex_init(&access->lock);
	access->runs = RB_ROOT_CACHED;
	mdma_held_init(access);
	mdma_going_init(access);
	xa_init_flags(&access->manual, XA_FLAGS_ACCOUNT);
	init_waitqueue_head(&access->wait);
}

/**
 * mdma_access_pin() - pin a run of pages by one call of vfio_pin_pages()
 * @dev: open
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 * @write: for reading and writing, else for reading only
 * @waited: the call before this one said -EINPROGRESS
 * @pages: room for @npages
 * @run: to give to mdma_access_unpin() or mdma_held_add()
 *
 * Return: 0, -EINPROGRESS if the range is being unmapped: give back all runs
 * and call mdma_access_settle(), or the error of vfio_pin_pages().
 */
int mdma_access_pin(struct mdma_device *dev, u64 iova, u32 npages, bool write,
		    bool waited, struct page **pages, struct mdma_run **run)
{
	int ret;

	*run = run_begin(&dev->access, iova, npages, respect_if(waited));
	if (IS_ERR(*run))
		return PTR_ERR(*run);
	(*run)->write = write;
	ret = mdma_run_pin(dev, *run, pages);
	if (ret)
		mdma_run_end(&dev->access, *run);
	return ret;
}

/**
 * mdma_access_unpin() - give a run back
 * @dev: open
 * @run: of mdma_access_pin(); is gone afterwards
 */
void mdma_access_unpin(struct mdma_device *dev, struct mdma_run *run)
{
	mdma_run_unpin(dev, run);
	mdma_run_end(&dev->access, run);
}

/**
 * mdma_access_rest() - a run is not used while its owner pins another one
 * @dev: open
 * @run: of mdma_access_pin()
 */
void mdma_access_rest(struct mdma_device *dev, struct mdma_run *run)
{
	mutex_lock(&dev->access.lock);
	run->waits = true;
	mutex_unlock(&dev->access.lock);
	mdma_access_released(&dev->access);
}

/**
 * mdma_access_resume() - use a run again
 * @dev: open
 * @run: of mdma_access_rest()
 *
 * Return: 0, or -EINPROGRESS if its range is being unmapped: give back all runs
 * and call mdma_access_settle().
 */
int mdma_access_resume(struct mdma_device *dev, struct mdma_run *run)
{
	return was_asked(&dev->access, run) ? -EINPROGRESS : 0;
}

/**
 * mdma_access_settle() - wait until a range that was being unmapped may not be
 * @dev: open; the caller has no run in use
 */
void mdma_access_settle(struct mdma_device *dev)
{
	msleep(MDMA_GOING_MS);
}

/*
 * Looks at the runs that touch a range, once: forgets the parked ones, makes the
 * held ones busy and lists them, asks for those that wait for user memory. Returns
 * whether any is busy, and in @used whether any is in use, which soon ends.
 */
static bool collect_runs(struct mdma_access *access, u64 first, u64 last,
			 struct list_head *mine, bool *used)
{
	struct mdma_run *run;
	bool busy = false;

	*used = false;
	mutex_lock(&access->lock);
	mdma_held_drop_parked(access, first, last);
	for (run = mdma_run_iter_first(&access->runs, first, last); run;
	     run = mdma_run_iter_next(run, first, last)) {
		if (!run->busy) {
			mdma_held_take(access, run);
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
 * for the busy ones, but no longer than ASK_MS for user memory.
 */
static void release_runs(struct mdma_device *dev, u64 first, u64 last)
{
	unsigned long until = jiffies + msecs_to_jiffies(ASK_MS);
	struct mdma_access *access = &dev->access;
	struct mdma_run *run, *next;
	LIST_HEAD(mine);
	bool busy, used;
	int seen;

	do {
		seen = atomic_read(&access->released);
		busy = collect_runs(access, first, last, &mine, &used);
		list_for_each_entry_safe(run, next, &mine, list) {
			list_del(&run->list);
			mdma_access_unpin(dev, run);
			seen++;
		}
		if (busy)
			wait_event_timeout(access->wait,
					   atomic_read(&access->released) !=
					   seen, msecs_to_jiffies(ASK_MS));
	} while (busy && (used || time_before(jiffies, until)));
}

/* Takes what debugfs pinned of one page of a range, as a busy run: its count. */
static unsigned long manual_take(struct mdma_access *access, u64 first,
				 u64 last, struct mdma_run *run)
{
	unsigned long index = first >> MDMA_PAGE_SHIFT;
	void *entry;

	mutex_lock(&access->lock);
	entry = xa_find(&access->manual, &index, last >> MDMA_PAGE_SHIFT,
			XA_PRESENT);
	if (entry) {
		xa_erase(&access->manual, index);
		run->iova = (u64)index << MDMA_PAGE_SHIFT;
		mdma_run_insert(run, &access->runs);
	}
	mutex_unlock(&access->lock);
	return entry ? xa_to_value(entry) : 0;
}

/*
 * Each page is a busy run until it is given back, so that a ->dma_unmap() at
 * the same time waits for it. The run is on the stack: giving back never fails.
 */
static void release_manual(struct mdma_device *dev, u64 first, u64 last)
{
	struct mdma_access *access = &dev->access;
	struct mdma_run run = { .busy = true, .npages = 1 };
	unsigned long count;

	while ((count = manual_take(access, first, last, &run))) {
		/* The test hook: at a close, nobody else will do it now */
		for (; count && !READ_ONCE(access->leak_on_unmap); count--)
			unpin(dev, run.iova, 1);
		mutex_lock(&access->lock);
		mdma_run_remove(&run, &access->runs);
		mutex_unlock(&access->lock);
		mdma_access_released(access);
	}
}

/**
 * mdma_access_release_all() - give back all runs, and what debugfs pinned
 * @dev: open, and nothing executes
 */
void mdma_access_release_all(struct mdma_device *dev)
{
	release_runs(dev, 0, U64_MAX);
	release_manual(dev, 0, U64_MAX);
}

/* Test hook: waits, so that what can happen meanwhile happens. */
static void stall_unmap(struct mdma_access *access)
{
	while (READ_ONCE(access->stall_unmap) && !fatal_signal_pending(current))
		usleep_range(1000, 2000);
}

/**
 * mdma_access_dma_unmap() - the user takes a mapping away
 * @vdev: of the device
 * @iova: first byte
 * @length: bytes, not 0
 *
 * Nothing in the range is accessed or pinned by the device on return, but for
 * calls into vfio that wait for user memory: type1 fails them, or what they have
 * got is given back at once. Unless the test hook leak_on_unmap is set. Called by
 * the container, see the locking order in mdma.h.
 */
void mdma_access_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct mdma_device *dev = container_of(vdev, struct mdma_device, vdev);
	struct mdma_access *access = &dev->access;
	u64 last = iova + length - 1;
	struct mdma_going *going;

	stall_unmap(access);
	if (READ_ONCE(access->leak_on_unmap)) {
		trace_mdma_dma_unmap(dev->id, iova, length, true);
		return;
	}
	mutex_lock(&access->lock);
	going = mdma_going_begin(access, iova, last);
	mutex_unlock(&access->lock);
	release_runs(dev, iova, last);
	release_manual(dev, iova, last);
	/* Wait for what another caller of release_manual() has taken. */
	release_runs(dev, iova, last);
	mutex_lock(&access->lock);
	mdma_going_end(access, going);
	mutex_unlock(&access->lock);
	mdma_access_released(access);
	trace_mdma_dma_unmap(dev->id, iova, length, false);
}

/* Remembers pages pinned by hand, as many as memory allows: their number. */
static u32 manual_add(struct mdma_access *access, u64 iova, u32 npages)
{
	unsigned long index = iova >> MDMA_PAGE_SHIFT;
	unsigned long count;
	void *entry;
	u32 i;

	for (i = 0; i < npages; i++) {
		entry = xa_load(&access->manual, index + i);
		count = entry ? xa_to_value(entry) : 0;
		if (xa_err(xa_store(&access->manual, index + i,
				    xa_mk_value(count + 1),
				    GFP_KERNEL_ACCOUNT)))
			break;
	}
	return i;
}

/* Forgets pages that are to be unpinned by hand: how many were pinned. */
static u32 manual_del(struct mdma_access *access, u64 iova, u32 npages)
{
	unsigned long index = iova >> MDMA_PAGE_SHIFT;
	unsigned long count;
	u32 i, pinned = 0;
	void *entry;

	for (i = 0; i < npages; i++) {
		entry = xa_load(&access->manual, index + i);
		if (!entry)
			continue;
		pinned++;
		count = xa_to_value(entry) - 1;
		if (count)
			xa_store(&access->manual, index + i,
				 xa_mk_value(count), GFP_KERNEL_ACCOUNT);
		else
			xa_erase(&access->manual, index + i);
	}
	return pinned;
}

/**
 * mdma_access_manual_pin() - test hook: exactly one call of vfio_pin_pages()
 * @dev: open, gate held for reading
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 * @write: for reading and writing, else for reading only
 *
 * The pages stay pinned until they are unpinned by hand, unmapped, or the
 * device is reset or closed.
 *
 * Return: 0, or a negative error; -EINPROGRESS after a signal.
 */
int mdma_access_manual_pin(struct mdma_device *dev, u64 iova, u32 npages,
			   bool write)
{
	struct mdma_access *access = &dev->access;
	struct page **pages;
	bool waited = false;
	struct mdma_run *run;
	u32 done;
	int ret;

	pages = kcalloc(npages, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	while ((ret = mdma_access_pin(dev, iova, npages, write, waited, pages,
				      &run)) == -EINPROGRESS &&
	       !signal_pending(current)) {
		mdma_access_settle(dev);
		waited = true;
	}
	kfree(pages);
	if (ret)
		return ret;

	mutex_lock(&access->lock);
	done = manual_add(access, iova, npages);
	mutex_unlock(&access->lock);
	if (done < npages) {
		unpin(dev, iova + ((u64)done << MDMA_PAGE_SHIFT),
		      npages - done);
		ret = -ENOMEM;
	}
	mdma_run_end(access, run);
	return ret;
}

/**
 * mdma_access_manual_unpin() - test hook: exactly one call of
 *	vfio_unpin_pages(), whether the pages are pinned or not
 * @dev: open, gate held for reading
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 *
 * Return: 0 or -ENOMEM.
 */
int mdma_access_manual_unpin(struct mdma_device *dev, u64 iova, u32 npages)
{
	struct mdma_access *access = &dev->access;
	struct mdma_run *run;
	u32 pinned;

	run = run_begin(access, iova, npages, RESPECT_NONE);
	if (IS_ERR(run))
		return PTR_ERR(run);
	mutex_lock(&access->lock);
	pinned = manual_del(access, iova, npages);
	mutex_unlock(&access->lock);

	vfio_unpin_pages(&dev->vdev, iova, npages);
	trace_mdma_unpin(dev->id, iova, npages);
	mdma_count(&dev->stats, MDMA_STAT_UNPINS, pinned);
	mdma_count(&dev->stats, MDMA_STAT_PINNED, -(s64)pinned);
	mdma_run_end(access, run);
	return 0;
}

struct rw {
	struct work_struct work;
	struct mdma_device *dev;
	u64 iova;
	void *data;
	size_t len;
	bool write;
	int ret;
};

static void rw_work(struct work_struct *work)
{
	struct rw *rw = container_of(work, struct rw, work);

	rw->ret = vfio_dma_rw(&rw->dev->vdev, rw->iova, rw->data, rw->len,
			      rw->write);
}

/*
 * Called by a kernel thread, as vfio_dma_rw() takes the memory of the caller for
 * the guest's otherwise; at once, though the CPUs are busy.
 */
static int rw_by_thread(struct rw *rw)
{
	if (!current->mm) {
		rw_work(&rw->work);
		return rw->ret;
	}
	INIT_WORK_ONSTACK(&rw->work, rw_work);
	queue_work(system_highpri_wq, &rw->work);
	flush_work(&rw->work);
	destroy_work_on_stack(&rw->work);
	return rw->ret;
}

static int rw_run(struct rw *rw, enum respect respect)
{
	struct mdma_access *access = &rw->dev->access;
	u64 first = round_down(rw->iova, MDMA_PAGE_SIZE);
	u64 last = round_down(rw->iova + rw->len - 1, MDMA_PAGE_SIZE);
	struct mdma_run *run;
	int ret;

	run = run_begin(access, first, ((last - first) >> MDMA_PAGE_SHIFT) + 1,
			respect);
	if (IS_ERR(run))
		return PTR_ERR(run);
	ret = rw_by_thread(rw);
	mdma_run_end(access, run);
	return ret;
}

/**
 * mdma_access_rw() - read or write guest memory by one call of vfio_dma_rw()
 * @dev: open
 * @iova: any alignment
 * @data: to write, or room to read to
 * @len: bytes, not 0, does not wrap around
 * @write: guest memory is written
 * @waited: the call before this one said -EINPROGRESS
 *
 * Return: 0, -EINPROGRESS if the range is being unmapped: call
 * mdma_access_settle() and try again, or the error of vfio_dma_rw().
 */
int mdma_access_rw(struct mdma_device *dev, u64 iova, void *data, size_t len,
		   bool write, bool waited)
{
	struct rw rw = {
		.dev = dev, .iova = iova, .data = data, .len = len,
		.write = write,
	};
	int ret = rw_run(&rw, respect_if(waited));

	if (ret && ret != -EINPROGRESS)
		mdma_count(&dev->stats, MDMA_STAT_PIN_ERRORS, 1);
	return ret;
}

/**
 * mdma_access_manual_rw() - test hook: exactly one call of vfio_dma_rw()
 * @dev: open, gate held for reading
 * @iova: any alignment
 * @data: to write, or room to read to
 * @len: bytes, 1 to MDMA_DESC_MAX_LEN, does not wrap around
 * @write: guest memory is written
 *
 * Return: 0 or a negative error.
 */
int mdma_access_manual_rw(struct mdma_device *dev, u64 iova, void *data,
			  size_t len, bool write)
{
	struct rw rw = {
		.dev = dev, .iova = iova, .data = data, .len = len,
		.write = write,
	};

	return rw_run(&rw, RESPECT_NONE);
}
