// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins by hand, for tests: each is exactly one call of vfio, whether it makes sense
 * or not. What was pinned so is counted page by page, so that ->dma_unmap(), a reset
 * and the close can give it back.
 *
 * An iommufd takes back what a call has pinned, as a whole; it warns of anything else.
 * There, calls are remembered, and an unpin that undoes none of them is refused.
 *
 * Takes mdma_access.lock, which is never held over a call into vfio.
 */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "access.h"
#include "manual.h"
#include "run.h"

/**
 * mdma_manual_init() - nothing is pinned by hand
 * @manual: zeroed
 * @access: of the device
 */
void mdma_manual_init(struct mdma_manual *manual, struct mdma_access *access)
{
	manual->access = access;
	INIT_LIST_HEAD(&manual->calls);
	xa_init_flags(&manual->pages, XA_FLAGS_ACCOUNT);
}

/* --- an iommufd: call by call --------------------------------------------- */

/* A run that was just pinned stays so; it is not busy any more. */
static void keep_call(struct mdma_manual *manual, struct mdma_run *run)
{
	struct mdma_access *access = manual->access;

	mutex_lock(&access->lock);
	mdma_run_remove(run, &access->runs);
	list_add(&run->list, &manual->calls);
	mutex_unlock(&access->lock);
	mdma_access_released(access);
}

/* Takes a call that touches a range, or with @npages is it; NULL if there is none. */
static struct mdma_run *take_call(struct mdma_manual *manual, u64 first,
				  u64 last, u32 npages)
{
	struct mdma_access *access = manual->access;
	struct mdma_run *run, *found = NULL;

	mutex_lock(&access->lock);
	list_for_each_entry(run, &manual->calls, list) {
		if (npages ? run->iova != first || run->npages != npages :
			     run->iova > last ||
			     mdma_last_byte(run->iova, run->npages) < first)
			continue;
		list_del(&run->list);
		mdma_run_insert(run, &access->runs);
		found = run;
		break;
	}
	mutex_unlock(&access->lock);
	return found;
}

static int unpin_call(struct mdma_manual *manual, u64 iova, u32 npages)
{
	struct mdma_run *run = take_call(manual, iova, 0, npages);

	if (!run)
		return -EINVAL;
	mdma_access_unpin(manual->access, run);
	return 0;
}

/* --- type1: page by page -------------------------------------------------- */

/*
 * Takes one page of a range, which becomes a busy run. Returns how often it was
 * pinned, 0 if there is none.
 */
static unsigned long take_page(struct mdma_manual *manual, u64 first, u64 last,
			       struct mdma_run *run)
{
	struct mdma_access *access = manual->access;
	unsigned long index = first >> MDMA_PAGE_SHIFT;
	void *entry;

	mutex_lock(&access->lock);
	entry = xa_find(&manual->pages, &index, last >> MDMA_PAGE_SHIFT,
			XA_PRESENT);
	if (entry) {
		xa_erase(&manual->pages, index);
		run->iova = (u64)index << MDMA_PAGE_SHIFT;
		mdma_run_insert(run, &access->runs);
	}
	mutex_unlock(&access->lock);
	return entry ? xa_to_value(entry) : 0;
}

/* Each page is a busy run until it is given back. The run is on the stack. */
static void release_pages(struct mdma_manual *manual, u64 first, u64 last)
{
	struct mdma_access *access = manual->access;
	struct mdma_run run = { .busy = true, .npages = 1 };
	unsigned long count;

	while ((count = take_page(manual, first, last, &run))) {
		/* Test hook: pins that leak at a close stay for ever */
		for (; count && !mdma_manual_leaks(manual); count--)
			mdma_access_unpin_pages(access, run.iova, 1, 1);
		mutex_lock(&access->lock);
		mdma_run_remove(&run, &access->runs);
		mutex_unlock(&access->lock);
		mdma_access_released(access);
	}
}

/* Remembers pages pinned by hand, as many as memory allows: their number. */
static u32 remember(struct mdma_manual *manual, u64 iova, u32 npages)
{
	unsigned long index = iova >> MDMA_PAGE_SHIFT;
	unsigned long count;
	void *entry;
	u32 i;

	for (i = 0; i < npages; i++) {
		entry = xa_load(&manual->pages, index + i);
		count = entry ? xa_to_value(entry) : 0;
		if (xa_err(xa_store(&manual->pages, index + i,
				    xa_mk_value(count + 1),
				    GFP_KERNEL_ACCOUNT)))
			break;
	}
	return i;
}

/* Forgets pages that are to be unpinned by hand: how many were pinned. */
static u32 forget(struct mdma_manual *manual, u64 iova, u32 npages)
{
	unsigned long index = iova >> MDMA_PAGE_SHIFT;
	unsigned long count;
	u32 i, pinned = 0;
	void *entry;

	for (i = 0; i < npages; i++) {
		entry = xa_load(&manual->pages, index + i);
		if (!entry)
			continue;
		pinned++;
		count = xa_to_value(entry) - 1;
		if (count)
			xa_store(&manual->pages, index + i,
				 xa_mk_value(count), GFP_KERNEL_ACCOUNT);
		else
			xa_erase(&manual->pages, index + i);
	}
	return pinned;
}

/* --- both ----------------------------------------------------------------- */

/**
 * mdma_manual_leaks() - whether the device is to break the contract of vfio
 * @manual: of a device that is open
 *
 * Return: true if it gives nothing back.
 */
bool mdma_manual_leaks(const struct mdma_manual *manual)
{
	return READ_ONCE(manual->leak) && !manual->access->exact;
}

/**
 * mdma_manual_release() - give back what was pinned by hand in a range
 * @manual: of a device that is open
 * @first: first byte
 * @last: last byte
 *
 * It is a busy run until it is given back, so that a ->dma_unmap() at the same time
 * waits for it. Giving back never fails.
 */
void mdma_manual_release(struct mdma_manual *manual, u64 first, u64 last)
{
	struct mdma_run *run;

	while ((run = take_call(manual, first, last, 0)))
		mdma_access_unpin(manual->access, run);
	release_pages(manual, first, last);
}

/**
 * mdma_manual_pin() - test hook: exactly one call of vfio_pin_pages()
 * @manual: of a device that is open, gate held for reading
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 * @write: for reading and writing, else for reading only
 *
 * The pages stay pinned until they are unpinned by hand, unmapped, or the
 * device is reset or closed.
 *
 * Return: 0, or a negative error; -EINPROGRESS after a signal.
 */
int mdma_manual_pin(struct mdma_manual *manual, u64 iova, u32 npages,
		    bool write)
{
	struct mdma_access *access = manual->access;
	struct page **pages;
	bool waited = false;
	struct mdma_run *run;
	u32 done;
	int ret;

	pages = kcalloc(npages, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	while ((ret = mdma_access_pin(access, iova, npages, write, waited,
				      pages, &run)) == -EINPROGRESS &&
	       !signal_pending(current)) {
		mdma_access_settle();
		waited = true;
	}
	kfree(pages);
	if (ret)
		return ret;
	if (access->exact) {
		keep_call(manual, run);
		return 0;
	}

	mutex_lock(&access->lock);
	done = remember(manual, iova, npages);
	mutex_unlock(&access->lock);
	if (done < npages) {
		mdma_access_unpin_pages(access,
					iova + ((u64)done << MDMA_PAGE_SHIFT),
					npages - done, npages - done);
		ret = -ENOMEM;
	}
	mdma_run_end(access, run);
	return ret;
}

/**
 * mdma_manual_unpin() - test hook: exactly one call of
 *	vfio_unpin_pages(), whether the pages are pinned or not; with an iommufd,
 *	only of a range that one call has pinned
 * @manual: of a device that is open, gate held for reading
 * @iova: page aligned
 * @npages: 1 to VFIO_PIN_PAGES_MAX_ENTRIES
 *
 * Return: 0, -ENOMEM, or -EINVAL if an iommufd would warn.
 */
int mdma_manual_unpin(struct mdma_manual *manual, u64 iova, u32 npages)
{
	struct mdma_access *access = manual->access;
	struct mdma_run *run;
	u32 pinned;

	if (access->exact)
		return unpin_call(manual, iova, npages);
	run = mdma_run_begin(access, iova, npages, MDMA_RESPECT_NONE);
	if (IS_ERR(run))
		return PTR_ERR(run);
	mutex_lock(&access->lock);
	pinned = forget(manual, iova, npages);
	mutex_unlock(&access->lock);

	mdma_access_unpin_pages(access, iova, npages, pinned);
	mdma_run_end(access, run);
	return 0;
}

/**
 * mdma_manual_rw() - test hook: exactly one call of vfio_dma_rw()
 * @manual: of a device that is open, gate held for reading
 * @iova: any alignment
 * @data: to write, or room to read to
 * @len: bytes, 1 to MDMA_DESC_MAX_LEN, does not wrap around
 * @write: guest memory is written
 *
 * Return: 0 or a negative error.
 */
int mdma_manual_rw(struct mdma_manual *manual, u64 iova, void *data, size_t len,
		   bool write)
{
	return mdma_run_rw(manual->access, iova, data, len, write,
			   MDMA_RESPECT_NONE);
}
