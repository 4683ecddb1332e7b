// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where kernels differ: what is made of the answers of vaddr_get_pfns(), in its older and
 * in its newer form.
 */
#include <errno.h>
#include <string.h>

#include "unit.h"

struct mm_struct;

struct page {
	int unused;
};

struct vfio_batch {
	struct page **pages;
	int capacity;
	int size;
};

/* What the kernel's function answers, and what it was asked. */
static long answer;
static bool in_batch;
static unsigned long asked;
static struct page page;

#define FRAME	77

static long get_batch(struct mm_struct *mm, unsigned long vaddr,
		      unsigned long npages, int prot, unsigned long *pfn,
		      struct vfio_batch *batch)
{
	(void)mm, (void)vaddr, (void)prot;
	asked = npages;
	*pfn = FRAME;
	batch->size = in_batch && answer > 0 ? answer : 0;
	if (batch->size && batch->capacity)
		batch->pages[0] = &page;
	return answer;
}

static int get_pages(struct mm_struct *mm, unsigned long vaddr, long npages,
		     int prot, unsigned long *pfn, struct page **pages)
{
	(void)mm, (void)vaddr, (void)prot;
	asked = npages;
	*pfn = FRAME;
	if (answer > 1)
		pages[0] = &page;
	return answer;
}

#define vaddr_get_pfns	get_pages
#define type1_get_pages	older
#include "type1_compat.h"
enum { OLDER_ERANGE = TYPE1_ERANGE };
#undef _TYPE1_COMPAT_H
#undef TYPE1_ERANGE
#undef vaddr_get_pfns
#undef type1_get_pages

#define TYPE1_HAS_VFIO_BATCH
#define TYPE1_SAYS_EOVERFLOW
#define vaddr_get_pfns	get_batch
#define type1_get_pages	newer
#include "type1_compat.h"
enum { NEWER_ERANGE = TYPE1_ERANGE };

typedef int (*get_fn)(struct mm_struct *mm, unsigned long vaddr, int want,
		      int prot, unsigned long *pfn, struct page **pages);

static void ask(get_fn get, long says, int want)
{
	struct page *pages[4] = {};
	unsigned long pfn = 0;
	int ret;

	answer = says;
	ret = get(NULL, 4096, 4, 1, &pfn, pages);
	CHECK(asked == 4, "%lu pages", asked);
	CHECK(ret == want, "%ld: %d, not %d", says, ret, want);
	CHECK(ret || pfn == FRAME, "%lu", pfn);
	CHECK(ret <= 0 || pages[0] == &page, "%ld: no page", says);
}

static void errors(void)
{
	static const get_fn all[] = { older, newer };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		ask(all[i], -EINTR, -EINTR);
		ask(all[i], -1, -1);
		ask(all[i], 0, -EFAULT);
	}
}

static void pages_of_a_batch(void)
{
	in_batch = true;
	ask(newer, 1, 1);
	ask(newer, 4, 4);
}

/* Of a VM_PFNMAP vma, frames alone come, of which the first one counts. */
static void frames_without_a_batch(void)
{
	in_batch = false;
	ask(newer, 1, 0);
	ask(newer, 4, 0);
}

/* A single one can be a frame, so it counts as such. */
static void pages_of_an_array(void)
{
	ask(older, 1, 0);
	ask(older, 2, 2);
	ask(older, 4, 4);
}

static void ranges(void)
{
	CHECK(OLDER_ERANGE == -EINVAL, "%d", OLDER_ERANGE);
	CHECK(NEWER_ERANGE == -EOVERFLOW, "%d", NEWER_ERANGE);
}

static const struct unit_test tests[] = {
	{ "compat: errors", errors },
	{ "compat: pages of a batch", pages_of_a_batch },
	{ "compat: frames without a batch", frames_without_a_batch },
	{ "compat: pages of an array", pages_of_an_array },
	{ "compat: R13: ranges beyond the address space", ranges },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
