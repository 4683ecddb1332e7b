// SPDX-License-Identifier: GPL-2.0-only
/*
 * A leaf of a pin store: the frames of its pages, and how often they are pinned.
 */
#include <linux/slab.h>
#include <linux/string.h>

#include "pin_leaf.h"

/* Where the entry of a page is, or where it is to be inserted; not if linear. */
static u64 *entry_of(struct pin_leaf *leaf, unsigned int slot)
{
	if (leaf->form == FORM_ALL)
		return &leaf->all[slot];
	return &leaf->few[leaf_count(leaf->pinned & (BIT_ULL(slot) - 1))];
}

u64 leaf_entry(const struct pin_leaf *leaf, unsigned int slot)
{
	if (leaf->form == FORM_LINEAR)
		return (leaf->base + slot) | ENTRY_REF;
	return *entry_of((struct pin_leaf *)leaf, slot);
}

static void to_few(struct pin_leaf *leaf)
{
	u64 left = leaf->pinned, few[LEAF_FEW];
	unsigned int n;

	if (leaf->form == FORM_FEW)
		return;
	for (n = 0; left; left &= left - 1)
		few[n++] = leaf_entry(leaf, __ffs64(left));
	memcpy(leaf->few, few, n * sizeof(*few));
	leaf->form = FORM_FEW;
}

static bool to_all(struct pin_leaf *leaf)
{
	u64 left = leaf->pinned;
	u64 *all;

	all = kmalloc_array(LEAF_PAGES, sizeof(*all), GFP_KERNEL_ACCOUNT);
	if (!all)
		return false;
	for (; left; left &= left - 1)
		all[__ffs64(left)] = leaf_entry(leaf, __ffs64(left));
	leaf->all = all;
	leaf->form = FORM_ALL;
	return true;
}

/* Have entries, and place for those of @mask besides those that are pinned. */
static bool make_entries(struct pin_leaf *leaf, u64 mask)
{
	if (leaf->form == FORM_ALL)
		return true;
	if (leaf_count(leaf->pinned | mask) > LEAF_FEW)
		return to_all(leaf);
	to_few(leaf);
	return true;
}

/* Make place for the entry of a page that is not pinned. */
static u64 *add_entry(struct pin_leaf *leaf, unsigned int slot)
{
	u64 *entry = entry_of(leaf, slot);

	if (leaf->form == FORM_FEW)
		memmove(entry + 1, entry, (leaf->few + LEAF_FEW - 1 - entry) *
						  sizeof(*entry));
	leaf->pinned |= BIT_ULL(slot);
	return entry;
}

/* Can the leaf be linear with these pages pinned, too? */
static bool stays_linear(struct pin_leaf *leaf, u64 mask, u64 base)
{
	if (leaf->form != FORM_LINEAR)
		return false;
	if (!leaf->pinned)
		leaf->base = base;
	return leaf->base == base && !(leaf->pinned & mask);
}

bool leaf_pin(struct pin_leaf *leaf, unsigned int slot, unsigned int n,
	      unsigned long pfn)
{
	u64 mask = leaf_slots(slot, n);

	if (stays_linear(leaf, mask, (u64)pfn - slot)) {
		leaf->pinned |= mask;
		return true;
	}
	if (!make_entries(leaf, mask))
		return false;
	for (; n; n--, slot++, pfn++) {
		if (leaf->pinned & BIT_ULL(slot))
			*entry_of(leaf, slot) += ENTRY_REF;
		else
			*add_entry(leaf, slot) = pfn | ENTRY_REF;
	}
	return true;
}

bool leaf_pin_frames(struct pin_leaf *leaf, unsigned int slot, unsigned int n,
		     const unsigned long *pfns)
{
	unsigned int i;

	if (!make_entries(leaf, leaf_slots(slot, n)))
		return false;
	for (i = 0; i < n; i++)
		*add_entry(leaf, slot + i) = pfns[i] | ENTRY_REF;
	return true;
}

/* Forget the entries of the pages of @gone, all of which have one. */
static void del_entries(struct pin_leaf *leaf, u64 gone)
{
	u64 left = leaf->form == FORM_FEW ? leaf->pinned : 0;
	unsigned int from = 0, to = 0;

	for (; left; left &= left - 1) {
		if (!(gone & left & -left))
			leaf->few[to++] = leaf->few[from];
		from++;
	}
}

static void add_frames(struct pin_frames *frames, unsigned int *nr,
		       unsigned long pfn, unsigned int n)
{
	struct pin_frames *end = frames + *nr;

	if (*nr && end[-1].pfn + end[-1].n == pfn) {
		end[-1].n += n;
		return;
	}
	end->pfn = pfn;
	end->n = n;
	++*nr;
}

/* All pages of @mask are pinned once, to frames in order. */
static void unpin_linear(struct pin_leaf *leaf, u64 mask,
			 struct pin_frames *frames, unsigned int *nr)
{
	while (mask) {
		u64 row = leaf_row(mask);

		add_frames(frames, nr, leaf->base + __ffs64(row),
			   leaf_row_length(row));
		mask &= ~row;
	}
}

/* Return: the pages of @mask that are not pinned any more. */
static u64 unpin_entries(struct pin_leaf *leaf, u64 mask,
			 struct pin_frames *frames, unsigned int *nr)
{
	u64 gone = 0;

	for (; mask; mask &= mask - 1) {
		u64 *entry = entry_of(leaf, __ffs64(mask));

		*entry -= ENTRY_REF;
		if (*entry >= ENTRY_REF)
			continue;
		gone |= mask & -mask;
		add_frames(frames, nr, *entry, 1);
	}
	del_entries(leaf, gone);
	return gone;
}

u64 leaf_unpin(struct pin_leaf *leaf, u64 mask, struct pin_frames *frames,
	       unsigned int *nr)
{
	if (leaf->form == FORM_LINEAR)
		unpin_linear(leaf, mask, frames, nr);
	else
		mask = unpin_entries(leaf, mask, frames, nr);
	leaf->pinned &= ~mask;
	return mask;
}

void leaf_forget_frames(struct pin_leaf *leaf)
{
	if (leaf->form == FORM_ALL)
		kfree(leaf->all);
	leaf->form = FORM_LINEAR;
}

/* A bit stands for several pages. */
static void report_large(u64 page, u64 dirty, const struct pin_report *report)
{
	for (; dirty; dirty &= dirty - 1) {
		u64 at = ((page + __ffs64(dirty)) >> report->order) +
			 report->offset;

		report->bitmap[at / 64] |= BIT_ULL(at % 64);
	}
}

void leaf_report(u64 number, u64 dirty, const struct pin_report *report)
{
	unsigned int shift, skip = __ffs64(dirty);
	u64 at;

	if (report->order) {
		report_large(number << LEAF_SHIFT, dirty, report);
		return;
	}
	/* The pages before the lowest one may have no bits in the bitmap. */
	at = (number << LEAF_SHIFT) + skip + report->offset;
	dirty >>= skip;
	shift = at % 64;
	report->bitmap[at / 64] |= dirty << shift;
	if (shift && dirty >> (64 - shift))
		report->bitmap[at / 64 + 1] |= dirty >> (64 - shift);
}
