// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning and unpinning for mediated devices, in batches.
 *
 * Included by the hooked vfio_iommu_type1.c, whose mappings, accounting and
 * page table walks it uses. Everything here runs under iommu->lock.
 *
 * A call is worked off in runs, each inside of one mapping. Of each run the pins
 * are recorded and its pages counted as locked memory, or what was done is undone
 * by unpinning it. Only when every run of the call is pinned, the pages are said
 * to be written, which can't fail. So a call that fails has changed nothing.
 */

/**
 * struct pin_call - one call of vfio_pin_pages()
 * @iommu: the container
 * @iova: of the first page
 * @npage: number of pages
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @pages: where the pages go
 * @account: count new pins as locked memory. Not with an IOMMU-backed group:
 *	then all memory is pinned and counted already
 */
struct pin_call {
	struct vfio_iommu *iommu;
	dma_addr_t iova;
	int npage;
	int prot;
	struct page **pages;
	bool account;
};

/**
 * struct pin_run - pages of a call that lie in one mapping
 * @dma: the mapping
 * @at: index of the first page, in the call
 * @n: number of pages
 * @done: how many of them, from the first on, are pinned by this call
 * @first: number of the first page, in the mapping
 * @locked: pages pinned by this call that count as locked memory
 */
struct pin_run {
	struct vfio_dma *dma;
	int at;
	int n;
	int done;
	u64 first;
	long locked;
};

/* A retained page is not pinned: nobody must take it for that (D11). */
static bool vfio_dma_pinned(struct vfio_dma *dma, dma_addr_t iova)
{
	u64 page = (iova - dma->iova) >> PAGE_SHIFT;
	struct pin_row row;

	return pin_store_next_pinned(&dma->pins, page, page, &row);
}

/*
 * How many of @n consecutive frames count as locked memory. Those of a VM_PFNMAP
 * vma do not: they are reserved, all of a compound page or none of it.
 */
static long frames_locked(unsigned long pfn, unsigned long n)
{
	unsigned long i, step;
	long locked = 0;

	for (i = 0; i < n; i += step) {
		struct page *page = pfn_to_page(pfn + i);
		struct folio *folio = page_folio(page);

		step = folio_nr_pages(folio) - folio_page_idx(folio, page);
		step = min(step, n - i);
		if (!PageReserved(page))
			locked += step;
	}
	return locked;
}

/* Release frames of a mapping. Return: how many counted as locked memory. */
static long frames_put(struct vfio_dma *dma, unsigned long pfn, unsigned long n)
{
	long locked = frames_locked(pfn, n);

	if (locked == n)
		unpin_user_page_range_dirty_lock(pfn_to_page(pfn), n,
						 dma->prot & IOMMU_WRITE);
	else
		while (n--)
			put_pfn(pfn++, dma->prot);
	return locked;
}

/* Pages of a mapping that are pinned here and count as locked memory. */
static long vfio_dma_locked(struct vfio_dma *dma)
{
	u64 page = 0, last = dma_page(dma, U64_MAX);
	struct pin_row row;
	long locked = 0;

	while (page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		locked += frames_locked(row.pfn, row.n);
		page = row.page + row.n;
	}
	return locked;
}

/*
 * Count @npage more, or less, as locked memory of the mapping's owner. The caller
 * has its mm, or is the owner.
 */
static int dma_account(struct vfio_dma *dma, long npage)
{
	bool owner = current->mm == dma->mm;

	return vfio_lock_acct(dma, npage, !owner);
}

/*
 * The last IOMMU-backed group goes, and with it what it had pinned. Locked
 * stays what is pinned here, which was not counted beside the group's pins.
 */
static void vfio_iommu_unmap_unpin_reaccount(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(iommu, 0, U64_MAX); dma;
	     dma = vfio_dma_next_in(dma, U64_MAX)) {
		long unlocked = vfio_unmap_unpin(iommu, dma, false);

		vfio_lock_acct(dma, vfio_dma_locked(dma) - unlocked, true);
	}
}

/* The run of @npage pages at @iova that begins @at pages into the call. */
static bool run_find(struct vfio_iommu *iommu, dma_addr_t iova, int npage,
		     int at, struct pin_run *run)
{
	dma_addr_t start = iova + ((dma_addr_t)at << PAGE_SHIFT);
	struct vfio_dma *dma = vfio_find_dma(iommu, start, PAGE_SIZE);
	u64 left;

	if (!dma)
		return false;
	left = (dma->iova + dma->size - start) >> PAGE_SHIFT;
	*run = (struct pin_run){
		.dma = dma,
		.at = at,
		.n = min_t(u64, npage - at, left),
		.first = (start - dma->iova) >> PAGE_SHIFT,
	};
	return true;
}

/*
 * Get up to @n pages from @vaddr on. The owner's own memory is found without
 * mmap_lock, where nothing has to be faulted in.
 */
static int dma_get_pages(struct vfio_dma *dma, unsigned long vaddr, int n,
			 struct page **pages)
{
	unsigned int flags = FOLL_LONGTERM;
	unsigned long pfn;
	int got;

	if (current->mm == dma->mm) {
		if (dma->prot & IOMMU_WRITE)
			flags |= FOLL_WRITE;
		got = pin_user_pages_fast(vaddr, n, flags, pages);
		if (got > 0)
			return got;
	}
	got = vaddr_get_pfns(dma->mm, vaddr, n, dma->prot, &pfn, pages);
	if (got <= 0)
		return got ? got : -EFAULT;
	/* For a frame found in a VM_PFNMAP vma, pages[] was not filled in. */
	if (got == 1) {
		if (!pfn_valid(pfn))
			return -EINVAL;
		pages[0] = pfn_to_page(pfn);
	}
	return got;
}

/* How many of @n pages, from the first on, have consecutive frames. */
static int pages_in_row(struct page **pages, int n)
{
	struct page *page = pages[0];
	int i;

	for (i = 1; i < n && pages[i] == page + i; i++)
		;
	return i;
}

/* Pin up to @n pages that are not pinned yet, from the first one not done on. */
static int run_pin_fresh(struct pin_call *call, struct pin_run *run, int n)
{
	struct vfio_dma *dma = run->dma;
	u64 first = run->first + run->done;
	struct page **pages = call->pages + run->at + run->done;
	int got, i, row, done;

	got = dma_get_pages(dma, dma->vaddr + (first << PAGE_SHIFT), n, pages);
	if (got < 0)
		return got;
	for (i = 0; i < got; i += row) {
		unsigned long pfn = page_to_pfn(pages[i]);

		row = pages_in_row(pages + i, got - i);
		done = pin_store_pin(&dma->pins, first + i, row, pfn);
		run->locked += frames_locked(pfn, done);
		run->done += done;
		if (done == row)
			continue;
		for (i += done; i < got; i++)
			put_pfn(page_to_pfn(pages[i]), dma->prot);
		return -ENOMEM;
	}
	return 0;
}

/* Pin once more the pages of @row, which begins with the first one not done. */
static int run_pin_again(struct pin_call *call, struct pin_run *run,
			 const struct pin_row *row)
{
	int i, n = min_t(int, row->n, run->n - run->done);

	if (row->pins == PIN_STORE_REFS_MAX)
		return -EOVERFLOW;
	for (i = 0; i < n; i++)
		call->pages[run->at + run->done + i] =
			pfn_to_page(row->pfn + i);
	i = pin_store_pin(&run->dma->pins, row->page, n, row->pfn);
	run->done += i;
	return i == n ? 0 : -ENOMEM;
}

static int run_pin_pages(struct pin_call *call, struct pin_run *run)
{
	u64 last = run->first + run->n - 1;
	struct pin_row row;
	int ret = 0;

	while (!ret && run->done < run->n) {
		u64 next = run->first + run->done;

		if (!pin_store_next_pinned(&run->dma->pins, next, last, &row))
			row.page = last + 1;
		if (row.page > next)
			ret = run_pin_fresh(call, run, row.page - next);
		else
			ret = run_pin_again(call, run, &row);
	}
	return ret;
}

/*
 * Undo one pin of the pages of a run that are done; a page that is not pinned is
 * left alone (R6). Return: how many pages that counted as locked memory are not
 * pinned any more.
 */
static long run_unpin(const struct pin_run *run, bool retain)
{
	u64 next = run->first, last = run->first + run->done - 1;
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned int nr, i;
	long unlocked = 0;

	while (next <= last) {
		next = pin_store_unpin(&run->dma->pins, next, last, retain,
				       frames, &nr);
		for (i = 0; i < nr; i++)
			unlocked += frames_put(run->dma, frames[i].pfn,
					       frames[i].n);
	}
	return unlocked;
}

/* All of a run that can fail. On an error, nothing has changed. */
static int run_pin(struct pin_call *call, struct pin_run *run)
{
	struct vfio_dma *dma = run->dma;
	bool owner = current->mm == dma->mm;
	int ret;

	if ((dma->prot & call->prot) != call->prot)
		return -EPERM;
	if (!owner && !mmget_not_zero(dma->mm))
		return -ENODEV;
	ret = run_pin_pages(call, run);
	if (!ret && call->account)
		ret = vfio_lock_acct(dma, run->locked, false);
	if (ret)
		run_unpin(run, false);
	if (!owner)
		mmput(dma->mm);
	return ret;
}

static void run_undo(struct pin_call *call, struct pin_run *run)
{
	long unlocked;

	run->done = run->n;
	unlocked = run_unpin(run, false);
	if (call->account)
		dma_account(run->dma, -unlocked);
}

static void run_written(const struct pin_run *run)
{
	pin_store_written(&run->dma->pins, run->first,
			  run->first + run->n - 1);
}

static int pin_call_run(struct pin_call *call)
{
	struct pin_run run;
	int at, done, ret = 0;

	for (done = 0; done < call->npage; done += run.n) {
		ret = -EINVAL;
		if (run_find(call->iommu, call->iova, call->npage, done, &run))
			ret = run_pin(call, &run);
		if (ret)
			goto undo;
	}
	if (!(call->prot & IOMMU_WRITE))
		return 0;

	for (at = 0; at < call->npage; at += run.n) {
		/* Mostly there was one run, and it is at hand. */
		if (at != run.at)
			run_find(call->iommu, call->iova, call->npage, at, &run);
		run_written(&run);
	}
	return 0;

undo:
	for (at = 0; at < done; at += run.n) {
		run_find(call->iommu, call->iova, done, at, &run);
		run_undo(call, &run);
	}
	memset(call->pages, 0, call->npage * sizeof(*call->pages));
	return ret;
}

/* A group that pins says by it what it writes. Caller holds iommu->lock. */
static void vfio_group_pins(struct vfio_iommu *iommu,
			    struct iommu_group *iommu_group)
{
	struct vfio_iommu_group *group;

	group = vfio_iommu_find_iommu_group(iommu, iommu_group);
	if (group->pinned_page_dirty_scope)
		return;
	group->pinned_page_dirty_scope = true;
	iommu->num_non_pinned_groups--;
	vfio_dirty_scope_narrowed(iommu);
}

static int vfio_iommu_type1_pin_pages(void *iommu_data,
				      struct iommu_group *iommu_group,
				      dma_addr_t user_iova,
				      int npage, int prot,
				      struct page **pages)
{
	struct vfio_iommu *iommu = iommu_data;
	struct pin_call call = {
		.iommu = iommu,
		.iova = user_iova & PAGE_MASK,
		.npage = npage,
		.prot = prot,
		.pages = pages,
	};
	int ret;

	if (!iommu || !pages || npage > (int)VFIO_PIN_PAGES_MAX_ENTRIES)
		return -EINVAL;
	/* The last byte, not the end: the range may end with the address space. */
	if (call.iova + ((dma_addr_t)npage << PAGE_SHIFT) - 1 < call.iova)
		return -EINVAL;
	if (!iommu->v2)
		return -EACCES;

	mutex_lock(&iommu->lock);
	if (iommu->vaddr_invalid_count) {
		ret = -EBUSY;
	} else if (list_empty(&iommu->device_list)) {
		ret = -EINVAL;
	} else {
		call.account = list_empty(&iommu->domain_list);
		ret = pin_call_run(&call);
	}
	if (!ret) {
		vfio_group_pins(iommu, iommu_group);
		ret = npage;
	}
	mutex_unlock(&iommu->lock);
	return ret;
}

static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage)
{
	struct vfio_iommu *iommu = iommu_data;
	dma_addr_t iova = user_iova & PAGE_MASK;
	struct pin_run run;
	long unlocked;
	int at = 0;

	if (!iommu->v2)
		return;

	mutex_lock(&iommu->lock);
	while (at < npage) {
		if (!run_find(iommu, iova, npage, at, &run)) {
			at++;
			continue;
		}
		run.done = run.n;
		unlocked = run_unpin(&run, iommu->dirty_page_tracking);
		if (list_empty(&iommu->domain_list))
			dma_account(run.dma, -unlocked);
		at += run.n;
	}
	mutex_unlock(&iommu->lock);
}

/*
 * A mapping goes away. Pins that are left were leaked by a driver whose
 * device is closed by now: the memory goes back to its owner (R15).
 */
static void vfio_dma_drop_pins(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	u64 page = 0, last = dma_page(dma, U64_MAX);
	struct pin_row row;
	long unlocked = 0;

	if (dma->pins.nr_pinned)
		pr_warn_ratelimited("a driver left %llu pages pinned\n",
				    dma->pins.nr_pinned);
	while (dma->pins.nr_pinned && page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		unlocked += frames_put(dma, row.pfn, row.n);
		page = row.page + row.n;
	}
	pin_store_destroy(&dma->pins);
	if (list_empty(&iommu->domain_list))
		dma_account(dma, -unlocked);
}
