/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rest of the backend needs to know of the kernel's own file: how it gets
 * pages, and which error it gives.
 */
#ifndef _TYPE1_COMPAT_H
#define _TYPE1_COMPAT_H

/*
 * The error for a range that does not fit into the address space: that of the kernel's
 * own type1.
 */
#ifdef TYPE1_SAYS_EOVERFLOW
#define TYPE1_ERANGE	(-EOVERFLOW)
#else
#define TYPE1_ERANGE	(-EINVAL)
#endif

/*
 * Without CONFIG_TASKS_RCU, call_rcu_tasks() is call_rcu(), which does not wait for a
 * call that is preempted (type1_container.c).
 */
#if defined(CONFIG_PREEMPTION) && !defined(CONFIG_TASKS_RCU)
#error "a preemptible kernel without CONFIG_TASKS_RCU"
#endif

#ifdef call_rcu_tasks
#define rcu_barrier_tasks	rcu_barrier
#endif

/*
 * vaddr_get_pfns() of the kernel's file, for up to @want pages.
 *
 * Return: how many @pages it got; 0 if it got one frame, @pfn, which may have no page
 * and is not in @pages; or an error.
 */
static int type1_get_pages(struct mm_struct *mm, unsigned long vaddr, int want,
			   int prot, unsigned long *pfn, struct page **pages)
{
#ifdef TYPE1_HAS_VFIO_BATCH
	struct vfio_batch batch = { .pages = pages, .capacity = want };
	long got = vaddr_get_pfns(mm, vaddr, want, prot, pfn, &batch);
	/* For a VM_PFNMAP vma the batch is empty, and more frames may follow. */
	bool frame = !batch.size;
#else
	int got = vaddr_get_pfns(mm, vaddr, want, prot, pfn, pages);
	/* Whether a single frame is of a VM_PFNMAP vma is not to be seen. */
	bool frame = got == 1;
#endif

	if (got <= 0)
		return got ? got : -EFAULT;
	return frame ? 0 : got;
}

#endif /* _TYPE1_COMPAT_H */
