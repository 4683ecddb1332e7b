// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning and unpinning for mediated devices, in batches.
 *
 * Included by the hooked vfio_iommu_type1.c, whose mappings, accounting and
 * page table walks it uses. Everything here runs under iommu->lock.
 *
 * A call is worked off in runs, each inside of one mapping. A run first gets
 * all it can fail for: memory for the store, page frames, the allowance of
 * locked memory. Only when every run of the call has them, the pins are
 * recorded, which can't fail. So a call that fails has changed nothing.
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
 * @fresh: pages that this call has pinned, as opposed to found pinned
 */
struct pin_call {
	struct vfio_iommu *iommu;
	dma_addr_t iova;
	int npage;
	int prot;
	struct page **pages;
	bool account;
	DECLARE_BITMAP(fresh, VFIO_PIN_PAGES_MAX_ENTRIES);
};

/**
 * struct pin_run - pages of a call that lie in one mapping
 * @dma: the mapping
 * @at: index of the first page, in the call
 * @n: number of pages
 * @first: number of the first page, in the mapping
 * @locked: pages that run_get_pages() pinned and that count as locked memory
 */
struct pin_run {
	struct vfio_dma *dma;
	int at;
	int n;
	u64 first;
	long locked;
};

/* A retained page is not pinned: nobody must take it for that (D11). */
static bool vfio_dma_pinned(struct vfio_dma *dma, dma_addr_t iova)
{
	return pin_store_lookup(&dma->pins, (iova - dma->iova) >> PAGE_SHIFT,
				NULL);
}

static void count_locked(void *arg, unsigned long pfn)
{
	long *locked = arg;

	if (!is_invalid_reserved_pfn(pfn))
		(*locked)++;
}

/* Pages of a mapping that are pinned here and count as locked memory. */
static long vfio_dma_locked(struct vfio_dma *dma)
{
	long locked = 0;

	pin_store_walk_pinned(&dma->pins, count_locked, &locked);
	return locked;
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

/* Get page frames for up to @n pages from page @i on, none of them pinned. */
static int run_get_fresh(struct pin_call *call, struct pin_run *run, int i,
			 int n)
{
	struct vfio_dma *dma = run->dma;
	struct page **pages = call->pages + run->at + i;
	unsigned long pfn;
	int got, j;

	got = vaddr_get_pfns(dma->mm,
			     dma->vaddr + ((run->first + i) << PAGE_SHIFT),
			     n, dma->prot, &pfn, pages);
	if (got <= 0)
		return got ? got : -EFAULT;
	/* For a frame found in a VM_PFNMAP vma, pages[] was not filled in. */
	if (got == 1) {
		if (!pfn_valid(pfn))
			return -EINVAL;
		pages[0] = pfn_to_page(pfn);
	}
	bitmap_set(call->fresh, run->at + i, got);
	for (j = 0; j < got; j++)
		run->locked += !PageReserved(pages[j]);
	return got;
}

/* Take a page that is pinned already. */
static int run_get_pinned(struct pin_call *call, const struct pin_run *run,
			  int i)
{
	unsigned long pfn;

	if (pin_store_lookup(&run->dma->pins, run->first + i, &pfn) ==
	    PIN_STORE_REFS_MAX)
		return -EOVERFLOW;
	call->pages[run->at + i] = pfn_to_page(pfn);
	return 1;
}

static int run_get_pages(struct pin_call *call, struct pin_run *run)
{
	u64 last = run->first + run->n - 1;
	int i = 0, got;

	while (i < run->n) {
		u64 pinned = pin_store_next_pinned(&run->dma->pins,
						   run->first + i, last);
		int gap = pinned - run->first - i;

		got = gap ? run_get_fresh(call, run, i, gap) :
			    run_get_pinned(call, run, i);
		if (got < 0)
			return got;
		i += got;
	}
	return 0;
}

/* What run_get_pages() counted, once more: for a call that is undone. */
static long run_count_locked(const struct pin_call *call,
			     const struct pin_run *run)
{
	unsigned long i = run->at;
	long nr = 0;

	for_each_set_bit_from(i, call->fresh, run->at + run->n)
		nr += !PageReserved(call->pages[i]);
	return nr;
}

static void run_put_pages(struct pin_call *call, const struct pin_run *run)
{
	unsigned long i = run->at;

	for_each_set_bit_from(i, call->fresh, run->at + run->n)
		put_pfn(page_to_pfn(call->pages[i]), run->dma->prot);
	pin_store_cancel(&run->dma->pins, run->first, run->first + run->n - 1);
}

/* All of a run that can fail. On an error, nothing has changed. */
static int run_prepare(struct pin_call *call, struct pin_run *run)
{
	struct vfio_dma *dma = run->dma;
	int ret;

	if ((dma->prot & call->prot) != call->prot)
		return -EPERM;
	if (!mmget_not_zero(dma->mm))
		return -ENODEV;
	ret = pin_store_reserve(&dma->pins, run->first,
				run->first + run->n - 1);
	if (ret)
		goto out_mm;
	ret = run_get_pages(call, run);
	if (!ret && call->account)
		ret = vfio_lock_acct(dma, run->locked, false);
	if (ret)
		run_put_pages(call, run);
out_mm:
	mmput(dma->mm);
	return ret;
}

static void run_undo(struct pin_call *call, const struct pin_run *run)
{
	if (call->account)
		vfio_lock_acct(run->dma, -run_count_locked(call, run), true);
	run_put_pages(call, run);
}

static void run_commit(struct pin_call *call, const struct pin_run *run)
{
	unsigned long pfns[PIN_STORE_BATCH];
	int i, j, n;

	for (i = 0; i < run->n; i += n) {
		struct page **pages = call->pages + run->at + i;

		n = min(run->n - i, PIN_STORE_BATCH);
		for (j = 0; j < n; j++)
			pfns[j] = page_to_pfn(pages[j]);
		pin_store_pin(&run->dma->pins, run->first + i, n, pfns,
			      call->prot & IOMMU_WRITE);
	}
}

static int pin_call_prepare(struct pin_call *call)
{
	struct pin_run run;
	int at, done, ret = 0;

	for (done = 0; done < call->npage; done += run.n) {
		ret = -EINVAL;
		if (run_find(call->iommu, call->iova, call->npage, done, &run))
			ret = run_prepare(call, &run);
		if (ret)
			break;
	}
	if (!ret)
		return 0;

	for (at = 0; at < done; at += run.n) {
		run_find(call->iommu, call->iova, done, at, &run);
		run_undo(call, &run);
	}
	memset(call->pages, 0, call->npage * sizeof(*call->pages));
	return ret;
}

static void pin_call_commit(struct pin_call *call)
{
	struct pin_run run;
	int at;

	for (at = 0; at < call->npage; at += run.n) {
		run_find(call->iommu, call->iova, call->npage, at, &run);
		run_commit(call, &run);
	}
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
		ret = pin_call_prepare(&call);
	}
	if (!ret) {
		pin_call_commit(&call);
		vfio_group_pins(iommu, iommu_group);
		ret = npage;
	}
	mutex_unlock(&iommu->lock);
	return ret;
}

/* Release page frames of a mapping. Return: how many counted as locked. */
static long put_pfns(struct vfio_dma *dma, const unsigned long *pfns, int n)
{
	struct page *pages[PIN_STORE_BATCH];
	int i, nr = 0;

	for (i = 0; i < n; i++) {
		struct page *page = pfn_to_page(pfns[i]);

		/* A frame of a VM_PFNMAP vma was never pinned. */
		if (!PageReserved(page))
			pages[nr++] = page;
	}
	unpin_user_pages_dirty_lock(pages, nr, dma->prot & IOMMU_WRITE);
	return nr;
}

/* Unpin the pages of a run; those that are not pinned are left alone (R6). */
static void run_unpin(struct vfio_iommu *iommu, const struct pin_run *run)
{
	struct vfio_dma *dma = run->dma;
	unsigned long pfns[PIN_STORE_BATCH];
	long unlocked = 0;
	int i, n, nr;

	for (i = 0; i < run->n; i += n) {
		n = min(run->n - i, PIN_STORE_BATCH);
		nr = pin_store_unpin(&dma->pins, run->first + i, n,
				     iommu->dirty_page_tracking, pfns);
		unlocked += put_pfns(dma, pfns, nr);
	}
	if (list_empty(&iommu->domain_list))
		vfio_lock_acct(dma, -unlocked, true);
}

static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage)
{
	struct vfio_iommu *iommu = iommu_data;
	dma_addr_t iova = user_iova & PAGE_MASK;
	struct pin_run run;
	int at = 0;

	if (!iommu->v2)
		return;

	mutex_lock(&iommu->lock);
	while (at < npage) {
		if (run_find(iommu, iova, npage, at, &run)) {
			run_unpin(iommu, &run);
			at += run.n;
		} else {
			at++;
		}
	}
	mutex_unlock(&iommu->lock);
}

struct leaked_pins {
	struct vfio_dma *dma;
	long unlocked;
};

static void put_leaked(void *arg, unsigned long pfn)
{
	struct leaked_pins *leaked = arg;

	leaked->unlocked += put_pfn(pfn, leaked->dma->prot);
}

/*
 * A mapping goes away. Pins that are left were leaked by a driver whose
 * device is closed by now: the memory goes back to its owner (R15).
 */
static void vfio_dma_drop_pins(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	struct leaked_pins leaked = { .dma = dma };

	if (dma->pins.nr_pinned) {
		pr_warn_ratelimited("a driver left %llu pages pinned\n",
				    dma->pins.nr_pinned);
		pin_store_walk_pinned(&dma->pins, put_leaked, &leaked);
	}
	pin_store_destroy(&dma->pins);
	if (list_empty(&iommu->domain_list))
		vfio_lock_acct(dma, -leaked.unlocked, true);
}
