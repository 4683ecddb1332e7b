// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of one mapping are pinned, and which are retained.
 *
 * R, W and D with a number, here and in all files of the backend: rules in
 * Documentation/design.rst of mdma, weaknesses of the kernel's own type1 and defects
 * in Documentation/testing.rst there.
 *
 * A leaf (pin_leaf.h) stands for 64 pages, and is there only if some of them are
 * pinned or retained. Leaves are nodes of a red-black tree, ordered by number, and
 * of a list in the same order: the tree finds a leaf, the list walks on from there
 * (pin_tree.c). A plane (pin_plane.h) stands for 64 leaves: it has what they retain,
 * so that a leaf whose last page is unpinned goes at once. It is made by a pin or a
 * write while tracking is on, where more than four of its leaves are there. What is
 * said of dirty pages is in pin_dirty.c.
 *
 * Memory: a leaf is 112 bytes, an array 512. So 112 bytes for an isolated page,
 * 1.8 bytes a page for pinned huge pages, 9.8 bytes a page for scattered frames. The
 * worst case is four pinned pages in each leaf, to scattered frames: 156 bytes a page;
 * while tracking, five leaves with a page each beside a plane: 228. A plane is 568
 * bytes: 0.14 a page where all are retained, 37 MiB for 1 TiB. Nothing for pages
 * neither pinned nor retained, but for what the last report has left (below), and up
 * to 15 leaves to be used next.
 *
 * Time: a look-up descends the tree, unless it asks for the leaf of the last
 * look-up, or the one after it. A walk costs one step for each leaf in its range, or
 * for each 64 words of a plane, whatever the size of the mapping (R17). A whole GET
 * with its drop costs 13 instructions for each 64 pages of a plane. Leaves are
 * allocated and freed by the dozen. A drop frees no leaf and no plane that it has
 * emptied, for a device often goes on with the same pages: the next drop frees it, if
 * it is empty still. The worst case is a device that never comes back to a page: each
 * leaf is taken out of the tree and freed then, some 300 instructions.
 *
 * Because unpinning moves a page from one set to another, it never allocates
 * (R14). Where there is no memory for a plane, the leaves stay.
 */
#include <linux/errno.h>
#include <linux/minmax.h>

#include "pin_tree.h"

/* Pages of a leaf were pinned, @fresh of them for the first time. */
static void note_pins(struct pin_store *store, struct pin_leaf *leaf, u64 mask,
		      unsigned int fresh, bool write, bool tracking)
{
	store->nr_pinned += fresh;
	if (write)
		leaf->written |= mask;
	if (tracking && plane_is_wanted(store, leaf))
		plane_make(store, leaf);
}

unsigned int pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
			   unsigned long pfn, bool write, bool tracking)
{
	u64 last_number = (first + n - 1) >> LEAF_SHIFT;
	unsigned int done, here, fresh;
	u64 mask;

	for (done = 0; done < n; done += here) {
		u64 page = first + done;
		unsigned int slot = page % LEAF_PAGES;
		struct pin_leaf *leaf;

		leaf = leaf_get(store, page >> LEAF_SHIFT, last_number);
		if (!leaf)
			break;
		here = min(n - done, LEAF_PAGES - slot);
		mask = leaf_slots(slot, here);
		fresh = leaf_count(mask & ~leaf->pinned);
		if (!leaf_pin(leaf, slot, here, pfn + done)) {
			leaf_trim(store, leaf);
			break;
		}
		note_pins(store, leaf, mask, fresh, write, tracking);
	}
	spare_settle(store);
	return done;
}

bool pin_store_pin_frames(struct pin_store *store, u64 first, unsigned int n,
			  const unsigned long *pfns, u64 last, bool write,
			  bool tracking)
{
	unsigned int slot = first % LEAF_PAGES;
	struct pin_leaf *leaf;
	bool done;

	leaf = leaf_get(store, first >> LEAF_SHIFT, last >> LEAF_SHIFT);
	if (!leaf)
		return false;
	done = leaf_pin_frames(leaf, slot, n, pfns);
	if (done)
		note_pins(store, leaf, leaf_slots(slot, n), n, write, tracking);
	else
		leaf_trim(store, leaf);
	spare_settle(store);
	return done;
}

void pin_store_written(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last))
		leaf->written |= leaf_mask(leaf, first, last);
}

/*
 * Retain pages of the 64 with this number; each was just written, so it is not
 * reported. @leaf: that of the number; may be NULL where there is a plane.
 */
static void retain_pages(struct pin_store *store, struct pin_leaf *leaf,
			 u64 number, u64 mask)
{
	struct pin_plane *plane = plane_of(store, number);
	unsigned int nr;

	if (plane) {
		nr = plane_retain(plane, number, mask);
		store->nr_planed += nr;
	} else {
		nr = leaf_count(mask & ~leaf->retained);
		leaf->retained |= mask;
		leaf->reported &= ~mask;
	}
	store->nr_retained += nr;
}

u64 pin_store_unpin(struct pin_store *store, u64 first, u64 last, bool retain,
		    struct pin_frames *frames, unsigned int *nr)
{
	struct pin_leaf *leaf, *next;

	*nr = 0;
	for (leaf = leaf_first_in(store, first, last); leaf; leaf = next) {
		u64 mask = leaf->pinned & leaf_mask(leaf, first, last);

		next = leaf_next_in(store, leaf, last);
		if (!mask)
			continue;
		if (*nr + leaf_frames_max(leaf, mask) > PIN_STORE_FRAMES) {
			last = (leaf->number << LEAF_SHIFT) - 1;
			break;
		}
		mask = leaf_unpin(leaf, mask, frames, nr);
		store->nr_pinned -= leaf_count(mask);
		if (retain && leaf->written & mask)
			retain_pages(store, leaf, leaf->number,
				     leaf->written & mask);
		leaf->written &= ~mask;
		leaf_trim(store, leaf);
	}
	spare_settle(store);
	return last + 1;
}

static noinline unsigned long unpin_page_slowly(struct pin_store *store,
						u64 page, bool retain)
{
	struct pin_frames frame;
	unsigned int nr;

	pin_store_unpin(store, page, page, retain, &frame, &nr);
	return nr ? frame.pfn : PIN_STORE_NO_FRAME;
}

unsigned long pin_store_unpin_page(struct pin_store *store, u64 page,
				   bool retain)
{
	struct pin_leaf *leaf = leaf_floor(store, page >> LEAF_SHIFT);
	u64 slot = BIT_ULL(page % LEAF_PAGES);
	unsigned long pfn;

	if (!leaf || leaf->number != page >> LEAF_SHIFT ||
	    !(leaf->pinned & slot))
		return PIN_STORE_NO_FRAME;
	if (leaf->form != FORM_LINEAR)
		return unpin_page_slowly(store, page, retain);
	pfn = leaf->base + page % LEAF_PAGES;
	store->nr_pinned--;
	leaf->pinned &= ~slot;
	if (retain && leaf->written & slot)
		retain_pages(store, leaf, leaf->number, slot);
	leaf->written &= ~slot;
	if (!leaf->pinned) {
		leaf_trim(store, leaf);
		spare_settle(store);
	}
	return pfn;
}

/* Have all leaves of a range that no plane has. On false, nothing has changed. */
static bool leaves_get(struct pin_store *store, u64 first, u64 last)
{
	u64 number, last_number = last >> LEAF_SHIFT;
	struct pin_leaf *leaf;
	bool all;

	for (number = first >> LEAF_SHIFT; number <= last_number; number++)
		if (!plane_of(store, number) &&
		    !leaf_get(store, number, last_number))
			break;
	all = number > last_number;
	while (!all && number-- > first >> LEAF_SHIFT) {
		leaf = leaf_floor(store, number);
		if (leaf && leaf->number == number)
			leaf_trim(store, leaf);
	}
	spare_settle(store);
	return all;
}

/* Have planes for what was retained in a range, where there is a lot of it. */
static void planes_get(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;
	u64 end;

	for (; first <= last; first = end + 1) {
		end = min(last, first | (PLANE_PAGES - 1));
		leaf = leaf_first_in(store, first, end);
		if (leaf && plane_is_wanted(store, leaf))
			plane_make(store, leaf);
	}
	spare_settle(store);
}

int pin_store_retain(struct pin_store *store, u64 first, u64 last)
{
	u64 number;

	if (!leaves_get(store, first, last))
		return -ENOMEM;
	for (number = first >> LEAF_SHIFT; number <= last >> LEAF_SHIFT;
	     number++)
		retain_pages(store, leaf_floor(store, number), number,
			     number_mask(number, first, last));
	planes_get(store, first, last);
	return 0;
}

bool pin_store_pinned(struct pin_store *store, u64 page)
{
	struct pin_leaf *leaf = leaf_floor(store, page >> LEAF_SHIFT);

	return leaf && leaf->number == page >> LEAF_SHIFT &&
	       leaf->pinned & BIT_ULL(page % LEAF_PAGES);
}

bool pin_store_next_pinned(struct pin_store *store, u64 first, u64 last,
			   struct pin_row *row)
{
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last)) {
		u64 pinned = leaf->pinned & leaf_mask(leaf, first, last);
		unsigned int slot;
		u64 entry;

		if (!pinned)
			continue;
		slot = __ffs64(pinned);
		entry = leaf_entry(leaf, slot);
		row->page = (leaf->number << LEAF_SHIFT) + slot;
		row->n = leaf->form == FORM_LINEAR ?
			 leaf_row_length(leaf_row(pinned)) : 1;
		row->pfn = entry & ENTRY_PFN;
		row->pins = entry >> ENTRY_PFN_BITS;
		return true;
	}
	return false;
}
