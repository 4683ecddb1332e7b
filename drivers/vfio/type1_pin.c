// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning for mediated devices, in batches.
 *
 * Included by type1.c, after the kernel's hooked file, whose mappings and page table
 * walks it uses.
 *
 * A pin waits for user memory, and for mmap_lock, without iommu->lock (R16). So a
 * call alternates: under the lock it looks for the next pages that are not pinned;
 * without the lock it gets them from the owner's memory, and charges the owner. When
 * it has all, it records them in one hold of the lock, if each mapping still is the
 * one that was looked at, and is not going (type1_dma.c). Until then nothing of the
 * call is to be seen: an UNMAP finds nothing pinned by it, and neither does a report.
 * What the call has got is given back where it fails, so a call that fails has changed
 * nothing. A process and its child can have mapped memory in one container: then a call
 * has parts, one for each stretch of pages with one owner, and records all of them in
 * that hold.
 *
 * A page that another call pinned meanwhile, or unpinned, makes no difference: the
 * frame of a page that is pinned is the recorded one, and a page that is not pinned
 * any more is got like any other. Each round gets a page that the call keeps, or makes
 * a part, so the number of rounds is bounded. A single page takes a short cut
 * (type1_pin_page.c).
 */

/*
 * How many of @npage pages are pinned. A retained page is not: nobody must take it for
 * that (D11).
 */
static long vfio_dma_pinned(struct vfio_dma *dma, dma_addr_t iova, long npage)
{
	u64 first = (iova - dma->iova) >> PAGE_SHIFT;
	u64 last = first + npage - 1;
	struct pin_row row;
	long pinned = 0;

	if (npage == 1)
		return pin_store_pinned(&dma->pins, first);
	while (first <= last &&
	       pin_store_next_pinned(&dma->pins, first, last, &row)) {
		pinned += row.n;
		first = row.page + row.n;
	}
	return pinned;
}

/*
 * An IOMMU-backed group gives back @npage frames, from @pfn on: how many of them does the
 * owner still pay for, since their pages are pinned here? A reserved frame was never paid
 * for. Newer kernels alone ask that.
 */
static long __maybe_unused
vfio_dma_pinned_frames(struct vfio_dma *dma, dma_addr_t iova, unsigned long pfn,
		       long npage)
{
	u64 first = (iova - dma->iova) >> PAGE_SHIFT, page = first;
	u64 last = first + npage - 1;
	struct pin_row row;
	long pinned = 0;

	while (page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		for (page = row.page; page < row.page + row.n; page++)
			pinned += !is_invalid_reserved_pfn(pfn + (page - first));
	}
	return pinned;
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

/**
 * struct pin_call - a call of vfio_pin_pages(), or the part of it with one owner
 * @iommu: the container
 * @group: the group that pins
 * @iova: of the first page
 * @npage: number of pages; cut where the next one has another owner
 * @left: number of pages that were cut off, and are in no part yet
 * @rest: the part for the pages that were cut off, or NULL
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @pages: an element for each page. Of the first @looked, those are NULL that were
 *	found pinned; the others were got by this call
 * @generation: of the newest mapping when the call began; a newer one is none that
 *	the call has looked at
 * @mm: the owner's memory, with a reference to its users if that is not the caller
 * @owner: who is charged
 * @looked: see @pages
 * @got: how many of them the call has got
 * @again: some were found pinned
 * @charge: what is got has to be charged
 * @covered: how many of @got have been charged, or found not to count
 * @charged: how many pages the owner was charged for; may be too many
 * @next: the next page to get
 * @want: number of pages to get from there on; all are in one mapping
 * @vaddr: address of the next page
 * @dma_prot: of that mapping
 * @limit: of locked memory, of the task that made that mapping
 * @recorded: pages that are recorded, from the first one on
 * @locked: how many of those are new, and count as locked memory
 * @twice: pages that another call had pinned meanwhile: what this call got is recorded
 *	already, and has to be given back
 */
struct pin_call {
	struct vfio_iommu *iommu;
	struct iommu_group *group;
	dma_addr_t iova;
	int npage;
	int left;
	struct pin_call *rest;
	int prot;
	struct page **pages;
	u64 generation;
	struct mm_struct *mm;
	struct vfio_owner *owner;
	int looked;
	int got;
	bool again;
	bool charge;
	int covered;
	long charged;
	int next;
	int want;
	unsigned long vaddr;
	int dma_prot;
	unsigned long limit;
	int recorded;
	long locked;
	DECLARE_BITMAP(twice, VFIO_PIN_PAGES_MAX_ENTRIES);
};

static dma_addr_t pin_iova(const struct pin_call *call, int i)
{
	return call->iova + ((dma_addr_t)i << PAGE_SHIFT);
}

/* Does what is pinned count as locked memory, or does an IOMMU lock it anyway? */
static bool pins_count(struct vfio_iommu *iommu)
{
	return list_empty(&iommu->domain_list);
}

/* --- what is missing: with iommu->lock ------------------------------------ */

/* The mapping of a page, if it was there when the call began, and can be pinned. */
static struct vfio_dma *pin_find(struct pin_call *call, dma_addr_t iova)
{
	struct vfio_dma *dma = vfio_find_dma_to_use(call->iommu, iova);

	if (!dma || dma->generation > call->generation)
		return ERR_PTR(-EINVAL);
	if ((dma->prot & call->prot) != call->prot)
		return ERR_PTR(-EPERM);
	return dma;
}

static int pin_begin(struct pin_call *call, struct mm_struct *mm)
{
	if (current->mm != mm && !mmget_not_zero(mm))
		return -ENODEV;
	call->mm = mm;
	call->owner = owner_get(call->iommu, mm);
	return call->owner ? 0 : -ENOMEM;
}

/* How many pages are to be got next, from this one on. */
static int pin_want(struct pin_call *call, struct vfio_dma *dma, u64 page,
		    int next, int want)
{
	call->next = next;
	call->want = want;
	call->vaddr = dma->vaddr + (page << PAGE_SHIFT);
	call->dma_prot = dma->prot;
	call->charge = pins_count(call->iommu);
	call->limit = dma_limit(dma);
	return 1;
}

/*
 * Look at pages up to one that is not pinned.
 * Return: 1 if there is one, 0 if there is none, or an error.
 */
static int pin_scan(struct pin_call *call)
{
	while (call->looked < call->npage) {
		int i = call->looked, n, ret;
		dma_addr_t iova = pin_iova(call, i);
		struct vfio_dma *dma = pin_find(call, iova);
		struct pin_row row;
		u64 page;

		if (IS_ERR(dma))
			return PTR_ERR(dma);
		if (!call->mm) {
			ret = pin_begin(call, dma->mm);
			if (ret)
				return ret;
		} else if (dma->mm != call->mm) {
			call->left = call->npage - i;
			call->npage = i;
			break;
		}
		page = (iova - dma->iova) >> PAGE_SHIFT;
		n = pages_in_dma(dma, iova, call->npage - i);
		if (!pin_store_next_pinned(&dma->pins, page, page + n - 1,
					   &row))
			return pin_want(call, dma, page, i, n);
		if (row.page > page)
			return pin_want(call, dma, page, i, row.page - page);
		n = min_t(int, n, row.n);
		memset(call->pages + i, 0, n * sizeof(*call->pages));
		call->looked += n;
		call->again = true;
	}
	return 0;
}

/*
 * Find a page that was found pinned, and is not any more.
 * Return: as pin_scan().
 */
static int pin_lost(struct pin_call *call)
{
	int i, n;

	for (i = 0; i < call->npage; i += n) {
		dma_addr_t iova = pin_iova(call, i);
		struct pin_row row;
		struct vfio_dma *dma;
		u64 page;

		n = 1;
		if (call->pages[i])
			continue;
		dma = pin_find(call, iova);
		if (IS_ERR(dma))
			return PTR_ERR(dma);
		page = (iova - dma->iova) >> PAGE_SHIFT;
		n = pages_in_dma(dma, iova, call->npage - i);
		if (!pin_store_next_pinned(&dma->pins, page, page + n - 1,
					   &row) || row.page > page)
			return pin_want(call, dma, page, i, 1);
		n = min_t(int, n, row.n);
	}
	return 0;
}

/* --- get it: without iommu->lock ------------------------------------------ */

/*
 * The owner waits for a page that user space has yet to provide (userfaultfd), and
 * can be killed then. Nobody can kill a kernel thread, nor a driver's own thread in the
 * owner's process alone, and who closes the device waits for it: so it gets an error
 * at once.
 */
static unsigned int wait_flags(void)
{
	return current->flags & (PF_KTHREAD | PF_USER_WORKER) ? FOLL_NOFAULT : 0;
}

/*
 * Get up to @call->want pages. The owner, and a kernel thread that uses the owner's
 * memory, finds them without mmap_lock, where nothing has to be faulted in.
 */
static int get_pages(struct pin_call *call, struct page **pages)
{
	unsigned int flags = FOLL_LONGTERM;
	unsigned long pfn;
	int got;

	if (current->mm == call->mm) {
		if (call->dma_prot & IOMMU_WRITE)
			flags |= FOLL_WRITE;
		flags |= wait_flags();
		got = pin_user_pages_fast(call->vaddr, call->want, flags,
					  pages);
		if (got > 0)
			return got;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	got = type1_get_pages(call->mm, call->vaddr, call->want,
			      call->dma_prot, &pfn, pages);
	if (got)
		return got;
	/* A frame in a VM_PFNMAP vma. It may have no page. */
	if (!pfn_valid(pfn))
		return -EINVAL;
	pages[0] = pfn_to_page(pfn);
	return 1;
}

static int pin_get(struct pin_call *call)
{
	while (call->want) {
		int got = get_pages(call, call->pages + call->next);

		if (got < 0) {
			/* It can have been filled in, and its page unpinned. */
			call->pages[call->next] = NULL;
			return got;
		}
		call->got += got;
		call->next += got;
		call->want -= got;
		call->vaddr += (unsigned long)got << PAGE_SHIFT;
		call->looked = max(call->looked, call->next);
	}
	return 0;
}

/* How many of the pages that the call has got count as locked memory. */
static noinline long pin_got_locked(const struct pin_call *call)
{
	long locked = 0;
	int i;

	for (i = 0; i < call->looked; i++)
		if (call->pages[i] && !PageReserved(call->pages[i]))
			locked++;
	return locked;
}

/* Charge the owner for what was got. Which pages count matters at the limit only. */
static int pin_charge(struct pin_call *call)
{
	long n = call->got - call->covered;
	int ret;

	ret = owner_charge(call->owner, n, call->limit);
	if (ret == -ENOMEM) {
		n = pin_got_locked(call) - call->charged;
		/* The limit may be below what is locked already. */
		ret = n ? owner_charge(call->owner, n, call->limit) : 0;
	}
	if (ret)
		return ret;
	call->charged += n;
	call->covered = call->got;
	return 0;
}

/* The pages that were cut off get a part of their own. */
static noinline int pin_split(struct pin_call *call)
{
	struct pin_call *rest = kzalloc(sizeof(*rest), GFP_KERNEL_ACCOUNT);

	if (!rest)
		return -ENOMEM;
	rest->iommu = call->iommu;
	rest->iova = pin_iova(call, call->npage);
	rest->npage = call->left;
	rest->prot = call->prot;
	rest->pages = call->pages + call->npage;
	rest->generation = call->generation;
	call->rest = rest;
	call->left = 0;
	return 0;
}

/* A kernel thread takes the owner's memory, as it has none. */
static int pin_wait(struct pin_call *call)
{
	bool use = !current->mm && current->flags & PF_KTHREAD;
	int ret;

	if (use)
		kthread_use_mm(call->mm);
	ret = pin_get(call);
	if (use)
		kthread_unuse_mm(call->mm);
	if (!ret && call->charge && call->covered < call->got)
		ret = pin_charge(call);
	if (!ret && call->left)
		ret = pin_split(call);
	return ret;
}

/* --- record it: with iommu->lock ------------------------------------------ */

/*
 * Record pins of @n pages that are not pinned, from @first on, whose frames are in no
 * order; as many as one call of the store takes. @locked goes up by those that count as
 * locked memory. Return: how many are recorded, 0 if there is no memory.
 */
static noinline int record_frames(struct pin_call *call, struct vfio_dma *dma,
				  u64 first, struct page **pages, int n,
				  long *locked)
{
	bool write = call->prot & IOMMU_WRITE;
	int part = min_t(int, n, PIN_STORE_PART - first % PIN_STORE_PART), i;
	unsigned long pfns[PIN_STORE_PART];

	for (i = 0; i < part; i++)
		pfns[i] = page_to_pfn(pages[i]);
	if (!pin_store_pin_frames(&dma->pins, first, part, pfns, first + n - 1,
				  write, call->iommu->dirty_page_tracking))
		return 0;
	for (i = 0; i < part; i++)
		*locked += !PageReserved(pages[i]);
	return part;
}

/* The same for a row of pages with consecutive frames. */
static int record_row(struct pin_call *call, struct vfio_dma *dma, u64 first,
		      struct page **pages, int row, long *locked)
{
	bool write = call->prot & IOMMU_WRITE;
	unsigned long pfn = page_to_pfn(*pages);

	row = pin_store_pin(&dma->pins, first, row, pfn, write,
			    call->iommu->dirty_page_tracking);
	*locked += frames_locked(pfn, row);
	return row;
}

/* Shorter rows are recorded together with what follows. */
#define PIN_ROW_MIN	16

/* Record the pins of @n pages, from @first on, that are not pinned. */
static int record_fresh(struct pin_call *call, struct vfio_dma *dma, u64 first,
			int n)
{
	struct page **pages = call->pages + call->recorded;
	int done, part;
	long locked = 0;

	for (done = 0; done < n; done += part) {
		int row = pages_in_row(pages + done, n - done);

		if (row < PIN_ROW_MIN && row < n - done)
			part = record_frames(call, dma, first + done,
					     pages + done, n - done, &locked);
		else
			part = record_row(call, dma, first + done, pages + done,
					  row, &locked);
		if (!part)
			break;
	}
	call->recorded += done;
	if (pins_count(call->iommu)) {
		dma->locked_vm += locked;
		call->locked += locked;
	}
	return done < n ? -ENOMEM : n;
}

/*
 * The frame of a page that is pinned. If another call has pinned it meanwhile, this one
 * has got it for nothing. It is given back without the lock, as that takes long; only if
 * the owner has another page there by now, it is given back at once.
 */
static void take_frame(struct pin_call *call, int i, unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn), *got = call->pages[i];

	if (got == page)
		__set_bit(i, call->twice);
	else if (got)
		put_pfn(page_to_pfn(got), IOMMU_READ);
	call->pages[i] = page;
}

/* Record pins of pages that are pinned: up to @n of @row. */
static int record_again(struct pin_call *call, struct vfio_dma *dma,
			const struct pin_row *row, int n)
{
	int i, done;

	if (row->pins == PIN_STORE_REFS_MAX)
		return -EOVERFLOW;
	n = min_t(int, n, row->n);
	done = pin_store_pin(&dma->pins, row->page, n, row->pfn, false,
			     call->iommu->dirty_page_tracking);
	if (!done)
		return -ENOMEM;
	for (i = 0; i < done; i++)
		take_frame(call, call->recorded + i, row->pfn + i);
	call->again = true;
	call->recorded += done;
	return done;
}

/* Record those of the pages from @iova on that are in one mapping. */
static int record_in_dma(struct pin_call *call, struct vfio_dma *dma,
			 dma_addr_t iova)
{
	u64 next = (iova - dma->iova) >> PAGE_SHIFT;
	u64 last = next + pages_in_dma(dma, iova,
				       call->npage - call->recorded) - 1;
	struct pin_row row;
	int ret;

	do {
		if (!pin_store_next_pinned(&dma->pins, next, last, &row))
			row.page = last + 1;
		if (row.page > next)
			ret = record_fresh(call, dma, next, row.page - next);
		else
			ret = record_again(call, dma, &row, last - next + 1);
		if (ret < 0)
			return ret;
		next += ret;
	} while (next <= last);
	return 0;
}

/*
 * Pages from @i on are not recorded any more: those stay in @call->pages that the call
 * gives back. These are the ones whose last pin is undone, which are those of @frames, and
 * those that it had got for nothing.
 */
static void keep_frames(struct pin_call *call, int i, int end,
			const struct pin_frames *frames)
{
	unsigned int done = 0;

	for (; i < end; i++) {
		if (test_bit(i, call->twice))
			continue;
		if (page_to_pfn(call->pages[i]) != frames->pfn + done) {
			call->pages[i] = NULL;
		} else if (++done == frames->n) {
			frames++;
			done = 0;
		}
	}
}

/* Undo the pins of @n pages of a mapping, from page @first on, which is the call's page @i. */
static void unrecord_in_dma(struct pin_call *call, struct vfio_dma *dma,
			    u64 first, int i, int n)
{
	/* One more, so that no frame is the last one's. */
	struct pin_frames frames[PIN_STORE_FRAMES + 1];
	u64 next, last = first + n - 1;
	unsigned int nr, f;

	for (; first <= last; first = next) {
		next = pin_store_unpin(&dma->pins, first, last, false, frames,
				       &nr);
		frames[nr] = (struct pin_frames){ .pfn = ULONG_MAX, .n = 1 };
		keep_frames(call, i, i + (next - first), frames);
		i += next - first;
		for (f = 0; f < nr && pins_count(call->iommu); f++)
			dma->locked_vm -= frames_locked(frames[f].pfn,
							frames[f].n);
	}
}

/*
 * Undo what was recorded, in the same hold of the lock: so nobody has seen it. Its pages
 * are given back without the lock, as all else that the call has got: each may be a folio of
 * its own.
 */
static noinline void pin_unrecord(struct pin_call *call)
{
	int done, n;

	for (done = 0; done < call->recorded; done += n) {
		dma_addr_t iova = pin_iova(call, done);
		struct vfio_dma *dma = vfio_find_dma(call->iommu, iova,
						     PAGE_SIZE);

		n = pages_in_dma(dma, iova, call->recorded - done);
		unrecord_in_dma(call, dma, (iova - dma->iova) >> PAGE_SHIFT,
				done, n);
	}
	call->locked = 0;
}

/* Pages that were pinned before are written now, too. All have just been recorded. */
static void written_range(struct vfio_iommu *iommu, dma_addr_t iova, int npage)
{
	while (npage) {
		struct vfio_dma *dma = vfio_find_dma(iommu, iova, PAGE_SIZE);
		u64 first = (iova - dma->iova) >> PAGE_SHIFT;
		int n = pages_in_dma(dma, iova, npage);

		pin_store_written(&dma->pins, first, first + n - 1);
		iova += (dma_addr_t)n << PAGE_SHIFT;
		npage -= n;
	}
}

static int pin_record_part(struct pin_call *call)
{
	struct vfio_charge charge;
	int ret = 0;

	vfio_charge_begin(&charge, call->mm);
	while (!ret && call->recorded < call->npage) {
		dma_addr_t iova = pin_iova(call, call->recorded);
		struct vfio_dma *dma = pin_find(call, iova);

		ret = IS_ERR(dma) ? PTR_ERR(dma) :
				    record_in_dma(call, dma, iova);
	}
	vfio_charge_end(&charge);
	return ret;
}

/* Record all parts, or nothing. */
static int pin_record(struct pin_call *call)
{
	struct pin_call *part;
	int ret = 0;

	for (part = call; part && !ret; part = part->rest)
		ret = pin_record_part(part);
	for (part = call; part; part = part->rest) {
		if (ret)
			pin_unrecord(part);
		else if (part->again && part->prot & IOMMU_WRITE)
			written_range(part->iommu, part->iova, part->npage);
	}
	if (!ret)
		vfio_group_pins(call->iommu, call->group);
	return ret;
}

/* --- a call --------------------------------------------------------------- */

/* Is there something to wait for? Return: as pin_scan(). */
static int pin_look(struct pin_call *call)
{
	int ret = pin_scan(call);

	if (!ret && call->again)
		ret = pin_lost(call);
	if (ret)
		return ret;
	/* The last IOMMU went, and what it had locked, since the pages were got. */
	if (call->covered < call->got && pins_count(call->iommu)) {
		call->charge = true;
		return 1;
	}
	return call->left ? 1 : 0;
}

/*
 * As far as it goes without waiting. Caller holds iommu->lock.
 * Return: 1 if there is something to wait for, for @part; 0 if all is pinned; or an
 * error.
 */
static int pin_step(struct pin_call *call, struct pin_call **part)
{
	struct vfio_iommu *iommu = call->iommu;
	int ret;

	if (iommu->vaddr_invalid_count)
		return -EBUSY;
	if (list_empty(&iommu->device_list))
		return -EINVAL;
	if (!call->generation)
		call->generation = iommu->generation;
	for (*part = call; *part; *part = (*part)->rest) {
		ret = pin_look(*part);
		if (ret)
			return ret;
	}
	return pin_record(call);
}

/* Give back what was got for nothing, by a call that did not fail. */
static void pin_put_twice(struct pin_call *call)
{
	unsigned int i;

	for_each_set_bit(i, call->twice, call->npage)
		put_pfn(page_to_pfn(call->pages[i]), IOMMU_READ);
}

/* Give back what a call that failed has got. */
static noinline void pin_give_back(struct pin_call *call)
{
	int i;

	for (i = 0; i < call->looked; i++)
		if (call->pages[i])
			put_pfn(page_to_pfn(call->pages[i]), IOMMU_READ);
}

/* Give back what a part of a call does not need, whether the call failed or not. */
static void pin_end(struct pin_call *call, bool failed)
{
	if (failed)
		pin_give_back(call);
	else
		pin_put_twice(call);
	if (call->charged != call->locked)
		owner_uncharge(call->owner, call->charged - call->locked);
	if (call->mm && call->mm != current->mm)
		mmput_async(call->mm);
}

static noinline int pin_range(struct vfio_iommu *iommu,
			      struct iommu_group *group, dma_addr_t iova,
			      int npage, int prot, struct page **pages,
			      u64 generation)
{
	struct pin_call call = {
		.iommu = iommu, .group = group, .iova = iova, .npage = npage,
		.prot = prot, .pages = pages, .generation = generation,
	};
	struct pin_call *part, *rest;
	int ret;

	do {
		mutex_lock(&iommu->lock);
		ret = pin_step(&call, &part);
		mutex_unlock(&iommu->lock);
		if (ret <= 0)
			break;
		ret = pin_wait(part);
	} while (!ret);

	pin_end(&call, ret);
	for (part = call.rest; part; part = rest) {
		rest = part->rest;
		pin_end(part, ret);
		kfree(part);
	}
	if (!ret)
		return npage;
	memset(pages, 0, npage * sizeof(*pages));
	return ret;
}
