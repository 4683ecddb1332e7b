// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to guest memory: the only file that calls vfio_pin_pages(),
 * vfio_unpin_pages() and vfio_dma_rw(). The bytes of pinned pages are read and
 * written in job.c.
 *
 * A run (run.h) is busy while a thread pins, uses or unpins it; only that thread,
 * its owner, may touch it. Otherwise the run is held (held.c): it stays pinned, and
 * whoever makes it busy gives it back; or it is parked: not pinned, to be pinned again
 * when the device runs. All runs that are not parked are in one tree, so ->dma_unmap()
 * finds those in its range (unmap.c).
 *
 * A pin in a range that is being unmapped (going.c), or of a device whose IOAS is
 * being replaced, gets -EINPROGRESS. Its caller
 * gives back whatever else it has pinned, since ->dma_unmap() may be waiting for
 * that, calls mdma_access_settle() and tries again, until type1 tells whether the
 * range is still mapped.
 *
 * Takes mdma_access.lock, which is never held over a call into vfio.
 */
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/workqueue.h>

#include "access.h"
#include "run.h"
#include "stats.h"
#include "trace.h"
#include "worker.h"

static_assert(PAGE_SIZE == MDMA_PAGE_SIZE);

/**
 * mdma_access_released() - wake up those who wait for busy runs
 * @access: lock not held
 */
void mdma_access_released(struct mdma_access *access)
{
	atomic_inc(&access->released);
	/* Who waits looks at the count again when it can be seen to wait. */
	if (wq_has_sleeper(&access->wait))
		wake_up_all(&access->wait);
}

static enum mdma_respect respect_if(bool waited)
{
	return waited ? MDMA_RESPECT_CALLS : MDMA_RESPECT_ALL;
}

/**
 * mdma_access_closed() - whether nothing may be pinned in a range now
 * @access: lock held
 * @first: first byte
 * @last: last byte
 * @waited: the caller has called mdma_access_settle()
 *
 * Return: whether some of the range is being unmapped.
 */
bool mdma_access_closed(struct mdma_access *access, u64 first, u64 last,
			bool waited)
{
	lockdep_assert_held(&access->lock);

	return mdma_going_overlaps(access->going, first, last, waited);
}

/**
 * mdma_run_begin() - a new busy run, for a call into vfio
 * @access: lock not held
 * @iova: of the first page
 * @npages: number
 * @respect: which ranges that are being unmapped refuse it
 *
 * Return: to be given to mdma_run_end(), or an ERR_PTR(): -EINPROGRESS if the
 * range is being unmapped, -EINVAL for none or for one that wraps around, -ENOMEM.
 */
struct mdma_run *mdma_run_begin(struct mdma_access *access, u64 iova,
				u32 npages, enum mdma_respect respect)
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
	if (respect != MDMA_RESPECT_NONE &&
	    mdma_access_closed(access, iova, last,
			       respect == MDMA_RESPECT_CALLS)) {
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

/**
 * mdma_access_unpin_pages() - one call of vfio_unpin_pages()
 * @access: lock not held
 * @iova: of the first page
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 * @pinned: how many of them were pinned
 */
void mdma_access_unpin_pages(struct mdma_access *access, u64 iova, u32 npages,
			     u32 pinned)
{
	vfio_unpin_pages(access->vdev, iova, npages);
	trace_mdma_unpin(access->id, iova, npages);
	mdma_count(access->stats, MDMA_STAT_UNPINS, pinned);
	mdma_count(access->stats, MDMA_STAT_PINNED, -(s64)pinned);
}

/**
 * mdma_run_unpin() - unpin the pages of a run, which stays
 * @access: of a device that is open
 * @run: busy
 */
void mdma_run_unpin(struct mdma_access *access, struct mdma_run *run)
{
	mdma_access_unpin_pages(access, run->iova, run->npages, run->npages);
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

/*
 * Did the call find no IOAS because the device gets another one? iommufd takes the old
 * one from the device, unlocks it while ->dma_unmap() gives the pins back and waits
 * for this run, and then lets it have the new one. So the change is in progress still.
 * Otherwise, -ENOENT means that nothing is mapped, or that there is no IOAS.
 */
static bool changes_ioas(struct mdma_access *access, u64 iova, u32 npages,
			 int ret)
{
	bool closed;

	if (ret != -ENOENT || !access->exact)
		return false;
	mutex_lock(&access->lock);
	closed = mdma_access_closed(access, iova, mdma_last_byte(iova, npages),
				    true);
	mutex_unlock(&access->lock);
	return closed;
}

/* Test hook: waits, so that what can happen meanwhile happens. */
static void stall(struct mdma_access *access, u8 where)
{
	while (READ_ONCE(access->stall) == where && !signal_pending(current))
		usleep_range(1000, 2000);
}

static int run_pin(struct mdma_access *access, struct mdma_run *run,
		   struct page **pages)
{
	u32 npages = run->npages;
	bool write = run->write;
	u64 iova = run->iova;
	int prot = write ? IOMMU_READ | IOMMU_WRITE : IOMMU_READ;
	int ret;

	stall(access, MDMA_STALL_BEFORE_PIN);
	ret = vfio_pin_pages(access->vdev, iova, npages, prot, pages);
	trace_mdma_pin(access->id, iova, npages, write, ret);
	if (ret == npages) {
		mdma_count(access->stats, MDMA_STAT_PINS, npages);
		mdma_count(access->stats, MDMA_STAT_PINNED, npages);
		stall(access, MDMA_STALL_AFTER_PIN);
		return 0;
	}
	if (ret > 0)
		vfio_unpin_pages(access->vdev, iova, ret);
	if (changes_ioas(access, iova, npages, ret))
		return -EINPROGRESS;
	if (mdma_worker_interrupted())
		return -ERESTART;
	mdma_count(access->stats, MDMA_STAT_PIN_ERRORS, 1);
	return ret < 0 && ret != -EINPROGRESS ? ret : -EFAULT;
}

/**
 * mdma_run_pin() - pin the pages of a run by one call of vfio_pin_pages()
 * @access: of a device that is open
 * @run: busy, @waits is set
 * @pages: room for all of them
 *
 * Return: 0, -EINPROGRESS if ->dma_unmap() came meanwhile, or the device changes
 * its IOAS: nothing is pinned, -ERESTART if a signal interrupted it, or the error of
 * vfio_pin_pages().
 */
int mdma_run_pin(struct mdma_access *access, struct mdma_run *run,
		 struct page **pages)
{
	int ret = run_pin(access, run, pages);

	if (!was_asked(access, run) || ret)
		return ret;
	mdma_run_unpin(access, run);
	return -EINPROGRESS;
}

/**
 * mdma_access_init() - nothing is pinned
 * @access: zeroed
 * @vdev: whose pins they will be
 * @id: of the device
 * @stats: of the device
 */
void mdma_access_init(struct mdma_access *access, struct vfio_device *vdev,
		      u32 id, struct mdma_stats *stats)
{
	access->vdev = vdev;
	access->id = id;
	access->stats = stats;
	mutex_init(&access->lock);
	access->runs = RB_ROOT_CACHED;
	mdma_going_init(access->going);
	init_waitqueue_head(&access->wait);
}

/**
 * mdma_access_pin() - pin a run of pages by one call of vfio_pin_pages()
 * @access: of a device that is open
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 * @write: for reading and writing, else for reading only
 * @waited: the call before this one said -EINPROGRESS
 * @pages: room for @npages
 * @run: to give to mdma_access_unpin() or mdma_held_add()
 *
 * Return: 0, -EINPROGRESS if the range is being unmapped: give back all runs
 * and call mdma_access_settle(), -ERESTART if a signal interrupted it, or the error
 * of vfio_pin_pages().
 */
int mdma_access_pin(struct mdma_access *access, u64 iova, u32 npages,
		    bool write, bool waited, struct page **pages,
		    struct mdma_run **run)
{
	int ret;

	*run = mdma_run_begin(access, iova, npages, respect_if(waited));
	if (IS_ERR(*run))
		return PTR_ERR(*run);
	(*run)->write = write;
	ret = mdma_run_pin(access, *run, pages);
	if (ret)
		mdma_run_end(access, *run);
	return ret;
}

/**
 * mdma_access_unpin() - give a run back
 * @access: of a device that is open
 * @run: of mdma_access_pin(); is gone afterwards
 */
void mdma_access_unpin(struct mdma_access *access, struct mdma_run *run)
{
	mdma_run_unpin(access, run);
	mdma_run_end(access, run);
}

/**
 * mdma_access_pause() - a run is not used while its owner pins another one
 * @access: of a device that is open
 * @run: of mdma_access_pin()
 */
void mdma_access_pause(struct mdma_access *access, struct mdma_run *run)
{
	mutex_lock(&access->lock);
	run->waits = true;
	mutex_unlock(&access->lock);
	mdma_access_released(access);
}

/**
 * mdma_access_resume() - use a run again
 * @access: of a device that is open
 * @run: of mdma_access_pause()
 *
 * Return: 0, or -EINPROGRESS if its range is being unmapped: give back all runs
 * and call mdma_access_settle().
 */
int mdma_access_resume(struct mdma_access *access, struct mdma_run *run)
{
	return was_asked(access, run) ? -EINPROGRESS : 0;
}

/**
 * mdma_access_settle() - wait until a range that was being unmapped may not be
 *
 * The caller has no run in use.
 */
void mdma_access_settle(void)
{
	msleep(MDMA_GOING_MS);
}

struct rw {
	struct work_struct work;
	struct vfio_device *vdev;
	u64 iova;
	void *data;
	size_t len;
	bool write;
	int ret;
};

static void rw_work(struct work_struct *work)
{
	struct rw *rw = container_of(work, struct rw, work);

	rw->ret = vfio_dma_rw(rw->vdev, rw->iova, rw->data, rw->len, rw->write);
}

/*
 * vfio_dma_rw() takes the memory of the caller for the guest's, unless the caller
 * has none. A worker may be of the process that mapped it; for all others, a kernel
 * thread calls it, at once, though the CPUs are busy.
 */
static int rw_by_thread(struct rw *rw)
{
	if (!current->mm || current->flags & PF_USER_WORKER) {
		rw_work(&rw->work);
		if (!rw->ret || !current->mm || signal_pending(current))
			return rw->ret;
	}
	INIT_WORK_ONSTACK(&rw->work, rw_work);
	queue_work(system_highpri_wq, &rw->work);
	flush_work(&rw->work);
	destroy_work_on_stack(&rw->work);
	return rw->ret;
}

/**
 * mdma_run_rw() - one call of vfio_dma_rw() that counts, which is a run meanwhile
 * @access: of a device that is open
 * @iova: any alignment
 * @data: to write, or room to read to
 * @len: bytes, not 0, does not wrap around
 * @write: guest memory is written
 * @respect: which ranges that are being unmapped refuse it
 *
 * Return: 0, -EINPROGRESS if the range is being unmapped, or the error of
 * vfio_dma_rw().
 */
int mdma_run_rw(struct mdma_access *access, u64 iova, void *data, size_t len,
		bool write, enum mdma_respect respect)
{
	struct rw rw = {
		.vdev = access->vdev, .iova = iova, .data = data, .len = len,
		.write = write,
	};
	u64 first = round_down(iova, MDMA_PAGE_SIZE);
	u64 last = round_down(iova + len - 1, MDMA_PAGE_SIZE);
	u32 npages = ((last - first) >> MDMA_PAGE_SHIFT) + 1;
	struct mdma_run *run;
	int ret;

	run = mdma_run_begin(access, first, npages, respect);
	if (IS_ERR(run))
		return PTR_ERR(run);
	stall(access, MDMA_STALL_BEFORE_PIN);
	ret = rw_by_thread(&rw);
	if (respect != MDMA_RESPECT_NONE &&
	    changes_ioas(access, first, npages, ret))
		ret = -EINPROGRESS;
	mdma_run_end(access, run);
	return ret;
}

/**
 * mdma_access_rw() - read or write guest memory by one call of vfio_dma_rw()
 * @access: of a device that is open
 * @iova: any alignment
 * @data: to write, or room to read to
 * @len: bytes, not 0, does not wrap around
 * @write: guest memory is written
 * @waited: the call before this one said -EINPROGRESS
 *
 * Return: 0, -EINPROGRESS if the range is being unmapped: call
 * mdma_access_settle() and try again, -ERESTART if a signal interrupted it, or the
 * error of vfio_dma_rw().
 */
int mdma_access_rw(struct mdma_access *access, u64 iova, void *data, size_t len,
		   bool write, bool waited)
{
	int ret = mdma_run_rw(access, iova, data, len, write,
			      respect_if(waited));

	if (!ret || ret == -EINPROGRESS)
		return ret;
	if (mdma_worker_interrupted())
		return -ERESTART;
	mdma_count(access->stats, MDMA_STAT_PIN_ERRORS, 1);
	return ret;
}
