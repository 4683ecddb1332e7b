/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the pin store share: a store, and how to go about it.
 */
#ifndef _PIN_STORE_UNIT_H
#define _PIN_STORE_UNIT_H

#include <string.h>
#include <linux/limits.h>
#include <linux/slab.h>

#include "pin_plane.h"
#include "pin_store.h"
#include "unit.h"

/* Frames that one call of unpin() can bring. */
#define GONE_MAX	8000

static struct pin_store store;
/* What is pinned is to be retained: planes are made. */
static bool tracking;

/* Frames that are not pinned any more, as the store returns them. */
struct gone {
	unsigned long pfns[GONE_MAX];
	unsigned int nr;
	unsigned int elements;
};

static void add_gone(struct gone *gone, unsigned long pfn, unsigned int n)
{
	for (; n; n--, gone->nr++, pfn++)
		if (gone->nr < GONE_MAX)
			gone->pfns[gone->nr] = pfn;
}

/* Undoes one pin of each page; for a single page, by either function. */
static void unpin(u64 first, u64 last, bool retain, struct gone *gone)
{
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned long pfn;
	unsigned int nr, i;
	u64 next;

	gone->nr = 0;
	gone->elements = 0;
	if (first == last && unit_below(2)) {
		pfn = pin_store_unpin_page(&store, first, retain);
		if (pfn != PIN_STORE_NO_FRAME)
			add_gone(gone, pfn, 1);
		return;
	}
	for (; first <= last; first = next) {
		next = pin_store_unpin(&store, first, last, retain, frames,
				       &nr);
		CHECK(next > first && nr <= PIN_STORE_FRAMES, "%u frames", nr);
		for (i = 0; i < nr; i++)
			add_gone(gone, frames[i].pfn, frames[i].n);
		gone->elements += nr;
	}
}

/* A drop frees nothing but some spare leaves; what it has found empty is freed after it. */
static u64 drop(u64 first, u64 last, enum pin_drop which, u64 *next)
{
	long before = shim_objects;
	struct pin_store gone;
	u64 nr;

	pin_store_init(&gone);
	nr = pin_store_drop(&store, first, last, which, next, &gone);
	if (before - shim_objects > 16) {
		printf("# %ld objects are freed too early\n", before - shim_objects);
		unit_failed = true;
	}
	pin_store_destroy(&gone);
	return nr;
}

/* Repeats a drop, which stops now and then, until it is complete. */
static u64 drop_reported(u64 first, u64 last)
{
	u64 nr = 0;

	while (first <= last)
		nr += drop(first, last, PIN_DROP_REPORTED, &first);
	return nr;
}

/* Does the store retain a page? */
static bool store_retains(u64 page)
{
	struct rb_node *node;

	for (node = rb_first(&store.planes); node; node = rb_next(node)) {
		struct pin_plane *plane = rb_entry(node, struct pin_plane, node);

		if (plane->number == page >> PLANE_SHIFT)
			return plane->retained[page / 64 % 64] >> page % 64 & 1;
	}
	for (node = rb_first(&store.root); node; node = rb_next(node)) {
		struct pin_leaf *leaf = rb_entry(node, struct pin_leaf, node);

		if (leaf->number == page >> LEAF_SHIFT)
			return leaf->retained >> page % 64 & 1;
	}
	return false;
}

#endif /* _PIN_STORE_UNIT_H */
