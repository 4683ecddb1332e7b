/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A leaf of a pin store: 64 pages, so that each of its sets is one word, and a
 * word of a report is made of one word of a leaf:
 *
 *	pinned		pinned at least once; has a frame and a number of pins
 *	written		of the pinned: at least one pin was for writing
 *	retained	was written, and no report that reached user space has held it
 *			since; needs no frame
 *	reported	of the retained: marked by a report, which drops them once all
 *			of it has reached user space. A report that fails leaves its
 *			marks; they do no harm, as the next report marks anew
 *
 * "Written" is all that is known of a pin: it was for writing. A page loses its mark
 * when it is retained anew. A pin takes no mark away, and need not: if the page's
 * record is then dropped, the page is still in "written", so it is in every report
 * until its last unpin retains it anew.
 *
 * The frames are kept in one of three forms:
 *
 *	linear		each page is pinned once, and the frames have the order of
 *			the pages: the frame of the first page gives all of them. So it
 *			is with huge pages, and with a page that is pinned alone
 *	few		up to three entries (frame, number of pins) in the leaf, in
 *			the order of their pages
 *	all		an array of 64 entries, indexed by page
 *
 * For the files of the store alone. A page of a leaf is named by its slot, 0 to 63, several
 * by a mask of slots.
 */
#ifndef _PIN_LEAF_H
#define _PIN_LEAF_H

#include <linux/bitops.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

#include "pin_store.h"

#define LEAF_SHIFT	6
#define LEAF_PAGES	64
#define LEAF_FEW	3

enum leaf_form {
	FORM_LINEAR,
	FORM_FEW,
	FORM_ALL,
};

/**
 * struct pin_leaf - 64 pages of a store
 * @node: in the store's tree
 * @list: in the store's list
 * @number: number of the first page, shifted by LEAF_SHIFT
 * @pinned: a set of pages, see above
 * @written: a set of pages
 * @retained: a set of pages
 * @reported: a set of pages
 * @form: how frames are kept; linear where nothing is pinned
 * @base: linear: frame of the first page, if it were pinned
 * @few: few: entries, in the order of their pages
 * @all: all: LEAF_PAGES entries, undefined where a page is not pinned
 */
struct pin_leaf {
	struct rb_node node;
	struct hlist_node list;
	u64 number;
	u64 pinned;
	u64 written;
	u64 retained;
	u64 reported;
	enum leaf_form form;
	union {
		u64 base;
		u64 few[LEAF_FEW];
		u64 *all;
	};
};

/* An entry: 40 bits of page frame number, 24 bits of pin count. */
#define ENTRY_PFN_BITS	40
#define ENTRY_PFN	GENMASK_ULL(ENTRY_PFN_BITS - 1, 0)
#define ENTRY_REF	BIT_ULL(ENTRY_PFN_BITS)

/* @n pages, at least one, from @slot on. */
static inline u64 leaf_slots(unsigned int slot, unsigned int n)
{
	return U64_MAX >> (LEAF_PAGES - n) << slot;
}

/* Which of the 64 that a number stands for, the first being 64 * @number, are in
 * [first, last]? At least one is.
 */
static inline u64 number_mask(u64 number, u64 first, u64 last)
{
	u64 base = number << LEAF_SHIFT;
	u64 mask = U64_MAX;

	if (first > base)
		mask <<= first - base;
	if (last - base < LEAF_PAGES - 1)
		mask &= GENMASK_ULL(last - base, 0);
	return mask;
}

/* The pages of [first, last], of the whole store, that are in the leaf. */
static inline u64 leaf_mask(const struct pin_leaf *leaf, u64 first, u64 last)
{
	return number_mask(leaf->number, first, last);
}

/* As hweight64(), which is slow where the CPU has no instruction for it. */
static inline unsigned int leaf_count(u64 mask)
{
	if (mask == U64_MAX)
		return LEAF_PAGES;
	return mask & (mask - 1) ? hweight64(mask) : !!mask;
}

/* The row of bits that begins with the lowest bit of @mask. */
static inline u64 leaf_row(u64 mask)
{
	return mask & ~(mask + (mask & -mask));
}

static inline unsigned int leaf_row_length(u64 row)
{
	return fls64(row) - __ffs64(row);
}

/**
 * leaf_entry - frame and number of pins of a page that is pinned
 * @leaf: the leaf
 * @slot: the page
 *
 * Return: an entry, whatever form the leaf has.
 */
u64 leaf_entry(const struct pin_leaf *leaf, unsigned int slot);

/**
 * leaf_pin - one more pin of each of some pages; may allocate
 * @leaf: the leaf
 * @slot: first page
 * @n: number of pages, at least one
 * @pfn: frame of the first page; those of the others follow it
 *
 * Return: false if there is no memory; then nothing has changed.
 */
bool leaf_pin(struct pin_leaf *leaf, unsigned int slot, unsigned int n,
	      unsigned long pfn);

/**
 * leaf_pin_frames - pin pages that are not pinned, to frames in any order; may allocate
 * @leaf: the leaf
 * @slot: first page
 * @n: number of pages, at least one
 * @pfns: their frames
 *
 * Return: false if there is no memory; then nothing has changed.
 */
bool leaf_pin_frames(struct pin_leaf *leaf, unsigned int slot, unsigned int n,
		     const unsigned long *pfns);

/**
 * leaf_unpin - undo one pin of each page of a mask
 * @leaf: the leaf
 * @mask: pages that are pinned
 * @frames: where the frames go whose last pin this was
 * @nr: their number so far; goes up
 *
 * Return: the pages of these frames, which are not pinned any more.
 */
u64 leaf_unpin(struct pin_leaf *leaf, u64 mask, struct pin_frames *frames,
	       unsigned int *nr);

/**
 * leaf_frames_max - how many elements of frames[] leaf_unpin() can need at most
 * @leaf: the leaf
 * @mask: pages that are pinned
 */
static inline unsigned int leaf_frames_max(const struct pin_leaf *leaf,
					   u64 mask)
{
	if (leaf->form == FORM_LINEAR && mask == leaf_row(mask))
		return 1;
	return leaf_count(mask);
}

/**
 * leaf_forget_frames - give back the memory of frames
 * @leaf: the leaf; nothing in it is pinned, or it is about to be freed
 */
void leaf_forget_frames(struct pin_leaf *leaf);

/* Is each leaf a word of the bitmap of a report? */
static inline bool report_is_aligned(const struct pin_report *report)
{
	return !report->order && report->offset % LEAF_PAGES == 0;
}

/* If so: the word of a leaf. */
static inline u64 *report_word(const struct pin_report *report, u64 number)
{
	return report->bitmap + ((s64)number + report->offset / LEAF_PAGES);
}

/**
 * leaf_report - set the bits of pages of a leaf, wherever they are in the bitmap
 * @number: number of the leaf
 * @dirty: the pages, at least one
 * @report: where they go
 */
void leaf_report(u64 number, u64 dirty, const struct pin_report *report);

#endif /* _PIN_LEAF_H */
