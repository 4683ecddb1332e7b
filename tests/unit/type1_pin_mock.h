/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What type1_pin.c, type1_pin_page.c and type1_unpin.c need of the kernel: memory whose
 * frames are counted, owners who are charged, and a caller. Includes the three.
 */
#ifndef TYPE1_PIN_MOCK_H
#define TYPE1_PIN_MOCK_H

#define MOCK_WITH_PINS
#include "type1_mock.h"

/* --- what the kernel has ---------------------------------------------------- */

#define PAGE_MASK			(~(PAGE_SIZE - 1))
#define IOMMU_READ			1
#define IOMMU_WRITE			2
#define FOLL_WRITE			1
#define FOLL_LONGTERM			2
#define FOLL_NOFAULT			4
#define PF_KTHREAD			1
#define PF_USER_WORKER			2
#define VFIO_PIN_PAGES_MAX_ENTRIES	512
#define TYPE1_ERANGE			(-EINVAL)
#define ERR_PTR(error)			((void *)(long)(error))
#define PTR_ERR(p)			((long)(p))
#define IS_ERR(p)			((unsigned long)(p) >= -4095UL)
#define pr_warn_ratelimited(...)	((void)0)
#define DECLARE_BITMAP(name, n)		unsigned long name[(n) / 64]
#define test_bit(i, map)		((map)[(i) / 64] >> (i) % 64 & 1)
#define __set_bit(i, map)		((void)((map)[(i) / 64] |= 1UL << (i) % 64))
#define for_each_set_bit(i, map, n)					\
	for (i = 0; i = shim_next_bit(map, true, i, n), i < (unsigned int)(n); i++)

struct mm_struct {
	long locked_vm;
	int users;
};

/* The caller's memory, and that of another owner. */
static struct mm_struct owner_mm, other_mm;
static struct {
	struct mm_struct *mm;
	unsigned int flags;
} task = { .mm = &owner_mm };

#undef current
#define current	(&task)

/*
 * Physical memory. Its frames are folios of their own, or all together one: then the
 * first one stands for all.
 */
#define FRAMES	8192

struct page {
	int pins;
	bool reserved;
};

struct folio {
	int unused;
};

static struct page memory[FRAMES];
static bool one_folio;
/* Folios that were released in one hold of the lock: now, and at most. */
static unsigned int released_in_hold, released_most, released_hold;

/* Pins of all frames. */
static long frames_pinned(void)
{
	long sum = 0;
	int i;

	for (i = 0; i < FRAMES; i++)
		sum += memory[i].pins;
	return sum;
}

static unsigned long page_to_pfn(const struct page *page)
{
	return page - memory;
}

#define pfn_to_page(pfn)	(memory + (pfn))
#define pfn_valid(pfn)		((pfn) < FRAMES)
#define PageReserved(page)	((page)->reserved)
#define is_invalid_reserved_pfn(pfn) \
	(!pfn_valid(pfn) || PageReserved(pfn_to_page(pfn)))
#define page_folio(page)	((struct folio *)(page))
#define folio_test_dirty(folio)	((void)(folio), true)

static unsigned long pages_of_folio(struct folio *folio, struct page *page,
				    unsigned long n)
{
	(void)folio;
	(void)page;
	return one_folio ? n : 1;
}

static long frames_locked(unsigned long pfn, unsigned long n)
{
	long locked = 0;

	for (; n; n--, pfn++)
		locked += !memory[pfn].reserved;
	return locked;
}

/* Those of reserved pages are not counted. */
static void release(struct page *page, unsigned long n)
{
	for (; n; n--)
		if (!page[n - 1].reserved && page[n - 1].pins-- <= 0)
			abort();
	if (!lock_is_held)
		return;
	released_in_hold = released_hold == nr_holds ? released_in_hold + 1 : 1;
	released_hold = nr_holds;
	released_most = max(released_most, released_in_hold);
}

static void unpin_user_folio(struct folio *folio, unsigned long n)
{
	release((struct page *)folio, n);
}

static void unpin_user_page_range_dirty_lock(struct page *page, unsigned long n,
					     bool dirty)
{
	(void)dirty;
	release(page, n);
}

static void unpin_user_page(struct page *page)
{
	release(page, 1);
}

static int put_pfn(unsigned long pfn, int prot)
{
	(void)prot;
	release(pfn_to_page(pfn), 1);
	return 1;
}

/* The frame of each page of the owner's memory. */
static unsigned long frame_of[FRAMES];

/* At most some pages are got by one call. */
static int get_most = VFIO_PIN_PAGES_MAX_ENTRIES;

static int get_frames(unsigned long vaddr, int n, struct page **pages)
{
	int i;

	if (lock_is_held)
		abort();
	n = min(n, get_most);
	for (i = 0; i < n; i++) {
		pages[i] = memory + frame_of[((vaddr >> PAGE_SHIFT) + i) % FRAMES];
		pages[i]->pins += !pages[i]->reserved;
	}
	return n;
}

static int pin_user_pages_fast(unsigned long vaddr, int n, unsigned int flags,
			       struct page **pages)
{
	(void)flags;
	return get_frames(vaddr, n, pages);
}

/* Calls that take the owner's mmap_lock. */
static unsigned int nr_slow;

static int type1_get_pages(struct mm_struct *mm, unsigned long vaddr, int want,
			   int prot, unsigned long *pfn, struct page **pages)
{
	nr_slow++;
	(void)mm;
	(void)prot;
	*pfn = FRAMES;
	return get_frames(vaddr, want, pages);
}

#define mmget_not_zero(mm)	((mm)->users++ >= 0)
#define mmput_async(mm)		((void)(mm)->users--)
#define kthread_use_mm(new)	((void)(task.mm = (new)))
#define kthread_unuse_mm(old)	((void)(old), (void)(task.mm = NULL))

/* --- type1_account.c --------------------------------------------------------- */

struct vfio_owner {
	struct mm_struct *mm;
};

static struct vfio_owner owners[] = { { &owner_mm }, { &other_mm } };
static long locked_most;

static struct vfio_owner *owner_get(struct vfio_iommu *iommu,
				    struct mm_struct *mm)
{
	(void)iommu;
	return owners + (mm == &other_mm);
}

static int owner_charge(struct vfio_owner *owner, long npage,
			unsigned long limit)
{
	/* It takes the owner's mmap_lock, so not for nothing. */
	if (!npage)
		abort();
	if ((unsigned long)(owner->mm->locked_vm + npage) > limit)
		return -ENOMEM;
	owner->mm->locked_vm += npage;
	return 0;
}

static void owner_uncharge(struct vfio_owner *owner, long npage)
{
	owner->mm->locked_vm -= npage;
}

static void dma_uncharge(struct vfio_iommu *iommu, struct vfio_dma *dma,
			 long npage)
{
	(void)iommu;
	dma->locked_vm -= npage;
	dma->mm->locked_vm -= npage;
}

static void dma_uncharge_left(struct vfio_dma *dma, long npage)
{
	dma->mm->locked_vm -= npage;
}

#define dma_limit(dma)	((void)(dma), (unsigned long)locked_most)

struct vfio_charge {
	struct mm_struct *mm;
};

static void vfio_charge_begin(struct vfio_charge *charge, struct mm_struct *mm)
{
	charge->mm = mm;
}

#define vfio_charge_end(charge)		((void)(charge))

/* --- a group ------------------------------------------------------------------ */

struct iommu_group;

struct vfio_iommu_group {
	bool pinned_page_dirty_scope;
};

static struct vfio_iommu_group the_group = { .pinned_page_dirty_scope = true };

static struct vfio_iommu_group *
vfio_iommu_find_iommu_group(struct vfio_iommu *iommu, struct iommu_group *group)
{
	(void)iommu;
	(void)group;
	return &the_group;
}

#include "page_row.h"
#include "type1_unpin.c"

/* Parts of a call are allocated where the test can make that fail. */
#undef kfree
#define kfree(p)		shim_free(p)

static void *kzalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return shim_alloc(size);
}

/* The series has it for a kernel's tree that has it. */
#define kzalloc_obj(type, gfp)	kzalloc(sizeof(type), gfp)

#include "type1_pin.c"
#include "type1_pin_page.c"

#endif
