// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the owner of a mapping is charged: locked memory, and the memory of records.
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * mm->locked_vm is changed under mmap_lock, which user space can make anybody wait
 * for: by a slow page, an munmap() of much memory, another reader. A pin waits for
 * it, before it takes iommu->lock. An unpin never waits (R14): if it can't have
 * mmap_lock at once, it owes the owner those pages, and a worker counts them down.
 */

/**
 * struct vfio_owner - an owner of mappings that drivers have pinned pages of
 * @list: in the container; iommu->lock
 * @refs: the container's, one of @work while that is queued, and one of each mapping
 *	that is removed and not freed yet
 * @mm: the owner's memory, grabbed
 * @owed: pages that are not pinned any more, and are still counted in @mm
 * @work: counts them down
 *
 * It stays with the container as long as @mm has users. Who has a reference to those
 * while a device of the container is open needs none to this. A mapping that is
 * removed with pins in it keeps a reference, because it outlives the container.
 */
struct vfio_owner {
	struct list_head list;
	refcount_t refs;
	struct mm_struct *mm;
	atomic_long_t owed;
	struct work_struct work;
};

static struct workqueue_struct *owner_queue;

static int vfio_owners_init(void)
{
	owner_queue = alloc_workqueue("vfio_owner", WQ_UNBOUND, 0);
	return owner_queue ? 0 : -ENOMEM;
}

static void vfio_owners_exit(void)
{
	destroy_workqueue(owner_queue);
}

static void owner_put(struct vfio_owner *owner)
{
	if (!refcount_dec_and_test(&owner->refs))
		return;
	mmdrop(owner->mm);
	kfree(owner);
}

/* Count down what is owed. Caller holds mmap_lock. */
static void owner_settle(struct vfio_owner *owner)
{
	if (atomic_long_read(&owner->owed))
		owner->mm->locked_vm -= atomic_long_xchg(&owner->owed, 0);
}

static void owner_work(struct work_struct *work)
{
	struct vfio_owner *owner = container_of(work, struct vfio_owner, work);

	if (mmget_not_zero(owner->mm)) {
		mmap_write_lock(owner->mm);
		owner_settle(owner);
		mmap_write_unlock(owner->mm);
		mmput(owner->mm);
	}
	owner_put(owner);
}

static struct vfio_owner *owner_find(struct vfio_iommu *iommu,
				     struct mm_struct *mm)
{
	struct vfio_owner *owner;

	list_for_each_entry(owner, &iommu->owners, list)
		if (owner->mm == mm)
			return owner;
	return NULL;
}

/* Forget the owners that have exited: nobody can pin their memory any more. */
static void owners_prune(struct vfio_iommu *iommu)
{
	struct vfio_owner *owner, *next;

	list_for_each_entry_safe(owner, next, &iommu->owners, list) {
		if (atomic_read(&owner->mm->mm_users))
			continue;
		list_del(&owner->list);
		owner_put(owner);
	}
}

static noinline struct vfio_owner *owner_make(struct vfio_iommu *iommu,
					      struct mm_struct *mm, gfp_t gfp)
{
	struct vfio_owner *owner;

	owners_prune(iommu);
	owner = kzalloc(sizeof(*owner), gfp);
	if (!owner)
		return NULL;
	refcount_set(&owner->refs, 1);
	mmgrab(mm);
	owner->mm = mm;
	INIT_WORK(&owner->work, owner_work);
	list_add(&owner->list, &iommu->owners);
	return owner;
}

/* The owner of some memory that has users; NULL if there is no memory for it. */
static struct vfio_owner *owner_get(struct vfio_iommu *iommu,
				    struct mm_struct *mm)
{
	struct vfio_owner *owner = owner_find(iommu, mm);

	return owner ? owner : owner_make(iommu, mm, GFP_KERNEL_ACCOUNT);
}

/* The container goes. What is owed is still counted down. */
static void vfio_owners_free(struct vfio_iommu *iommu)
{
	struct vfio_owner *owner, *next;

	list_for_each_entry_safe(owner, next, &iommu->owners, list) {
		list_del(&owner->list);
		owner_put(owner);
	}
}

/*
 * Count @npage more as locked memory, up to @limit. Waits for mmap_lock, so the
 * caller holds no lock of the container, but a reference to the users of the mm.
 */
static int owner_charge(struct vfio_owner *owner, long npage,
			unsigned long limit)
{
	struct mm_struct *mm = owner->mm;
	int ret = 0;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	owner_settle(owner);
	if (mm->locked_vm + npage > limit)
		ret = -ENOMEM;
	else
		mm->locked_vm += npage;
	mmap_write_unlock(mm);
	return ret;
}

static noinline void owner_owe(struct vfio_owner *owner, long npage)
{
	atomic_long_add(npage, &owner->owed);
	refcount_inc(&owner->refs);
	if (!queue_work(owner_queue, &owner->work))
		owner_put(owner);
}

/*
 * Try to count @npage less as locked memory of an mm, which has users. No vma is
 * changed, so those who look one up without mmap_lock need not be told.
 */
static bool mm_uncharge(struct mm_struct *mm, long npage)
{
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
	mm->locked_vm -= npage;
	up_write(&mm->mmap_lock);
	return true;
}

/* How many pages of a mapping's owner may be locked. */
static unsigned long dma_limit(const struct vfio_dma *dma)
{
	if (dma->lock_cap)
		return ULONG_MAX;
	return task_rlimit(dma->task, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

static void owner_uncharge(struct vfio_owner *owner, long npage)
{
	if (!mm_uncharge(owner->mm, npage))
		owner_owe(owner, npage);
}

/*
 * Count @npage less as locked memory of the mapping's owner, who may have exited;
 * pages of it have been pinned, so that there is an owner. Waits for nothing, and
 * leaves the end of the owner's memory, if this is the last reference, to others.
 * Caller holds iommu->lock.
 */
static __always_inline void dma_uncharge(struct vfio_iommu *iommu,
					 struct vfio_dma *dma, long npage)
{
	struct mm_struct *mm = dma->mm;
	bool owner = current->mm == mm;

	if (!owner && !mmget_not_zero(mm))
		return;
	dma->locked_vm -= npage;
	if (!mm_uncharge(mm, npage))
		owner_owe(owner_find(iommu, mm), npage);
	if (!owner)
		mmput_async(mm);
}

/*
 * A mapping is removed. What is left pinned in it is counted down without iommu->lock,
 * when the container can be gone: keep the owner for that. Caller holds iommu->lock.
 */
static void vfio_dma_keep_owner(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	if (!dma->pins.nr_pinned || !list_empty(&iommu->domain_list))
		return;
	dma->charged = owner_find(iommu, dma->mm);
	if (dma->charged)
		refcount_inc(&dma->charged->refs);
}

/*
 * Count down what was left pinned in a mapping that was removed. Waits for nothing
 * either: the caller may hold map_lock, or locks of vfio.
 */
static void dma_uncharge_left(struct vfio_dma *dma, long npage)
{
	struct vfio_owner *owner = dma->charged;

	if (!owner)
		return;
	if (npage && mmget_not_zero(owner->mm)) {
		owner_uncharge(owner, npage);
		mmput_async(owner->mm);
	}
	owner_put(owner);
}

/* --- what is pinned in a mapping ------------------------------------------- */

/*
 * How many of @n pages with consecutive frames, from @page on, are in its folio.
 * Either all or none of those are reserved; those of a VM_PFNMAP vma are.
 */
static unsigned long pages_of_folio(struct folio *folio, struct page *page,
				    unsigned long n)
{
	unsigned long left;

	if (n == 1 || !folio_test_large(folio))
		return 1;
	left = folio_nr_pages(folio) - folio_page_idx(folio, page);
	return min(left, n);
}

/* How many of @n frames count as locked memory: those that are not reserved. */
static long frames_locked(unsigned long pfn, unsigned long n)
{
	unsigned long end = pfn + n, step;
	long locked = 0;

	for (; pfn < end; pfn += step) {
		struct page *page = pfn_to_page(pfn);

		step = pages_of_folio(page_folio(page), page, end - pfn);
		if (!PageReserved(page))
			locked += step;
	}
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
 * The last IOMMU-backed group goes, and with it what it had pinned. Locked
 * stays what is pinned here, which was not counted beside the group's pins.
 */
static void vfio_iommu_unmap_unpin_reaccount(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(iommu, 0, U64_MAX); dma;
	     dma = vfio_dma_next_in(dma, U64_MAX)) {
		long unlocked = vfio_unmap_unpin(iommu, dma, false);

		/* Each unpin from now on needs one (R14). */
		if (!owner_find(iommu, dma->mm))
			owner_make(iommu, dma->mm, GFP_KERNEL | __GFP_NOFAIL);
		unlocked -= vfio_dma_locked(dma);
		if (unlocked)
			dma_uncharge(iommu, dma, unlocked);
	}
}

/* --- memory of records ---------------------------------------------------- */

/**
 * struct vfio_charge - a part of a call whose records are charged to an owner
 * @memcg: the owner's memory control group, referenced; NULL: nothing was changed
 * @old: that of the caller
 */
struct vfio_charge {
	struct mem_cgroup *memcg;
	struct mem_cgroup *old;
};

/*
 * From here on, what is allocated is charged to the owner of some memory, whoever
 * the caller is: a kernel thread would be charged for nothing.
 */
static void vfio_charge_begin(struct vfio_charge *charge, struct mm_struct *mm)
{
	charge->memcg = NULL;
	if (current->mm == mm && !(current->flags & PF_KTHREAD))
		return;
	charge->memcg = get_mem_cgroup_from_mm(mm);
	if (charge->memcg)
		charge->old = set_active_memcg(charge->memcg);
}

static void vfio_charge_end(struct vfio_charge *charge)
{
	if (!charge->memcg)
		return;
	set_active_memcg(charge->old);
	mem_cgroup_put(charge->memcg);
}
