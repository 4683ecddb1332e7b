// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of one mapping are pinned, and which are retained.
 *
 * A leaf stands for 64 pages, so that each of its sets is one word, and a word
 * of a report is made of one word of a leaf:
 *
 *	pinned		pinned at least once; each has an entry
 *	written		of the pinned: at least one pin was for writing
 *	retained	written, and not in a report yet; needs no entry
 *	reported	of the retained: in the report that is being made
 *
 * An entry is a page frame and the number of its pins. Up to four entries are
 * kept in the leaf itself, in the order of their pages; a leaf with more pinned
 * pages has an array of 64, indexed by page. Leaves are the nodes of a red-black
 * tree, ordered by number.
 *
 * Memory: 104 bytes for an isolated page, 9.6 bytes a page where all 64 are
 * pinned, 104 bytes for 64 retained pages. The worst case is five pinned pages
 * in each leaf: 123 bytes a page. Nothing for pages neither pinned nor retained.
 *
 * Time: a look-up descends the tree, unless it asks for the leaf of the last
 * look-up, or the one after it. A walk costs one step for each leaf in its range,
 * whatever the size of the mapping (R17).
 *
 * Because unpinning moves a page from one set to another, it never allocates
 * (R14).
 */
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "pin_store.h"

#define LEAF_SHIFT	6
#define LEAF_PAGES	64
#define LEAF_FEW	4

struct pin_leaf {
	struct rb_node node;
	u64 number;		/* of the first page, shifted by LEAF_SHIFT */
	u64 pinned;
	u64 written;
	u64 retained;
	u64 reported;
	u64 *all;		/* LEAF_PAGES entries, or NULL: use few */
	u64 few[LEAF_FEW];
};

/* An entry: 40 bits of page frame number, 24 bits of pin count. */
#define ENTRY_PFN_BITS	40
#define ENTRY_PFN	GENMASK_ULL(ENTRY_PFN_BITS - 1, 0)
#define ENTRY_REF	BIT_ULL(ENTRY_PFN_BITS)

static struct kmem_cache *leaf_cache;

int pin_store_cache_create(void)
{
	leaf_cache = kmem_cache_create("vfio_pin_leaf", sizeof(struct pin_leaf),
				       0, SLAB_ACCOUNT, NULL);
	return leaf_cache ? 0 : -ENOMEM;
}

void pin_store_cache_destroy(void)
{
	kmem_cache_destroy(leaf_cache);
}

void pin_store_init(struct pin_store *store)
{
	*store = (struct pin_store){ .root = RB_ROOT };
}

static struct pin_leaf *leaf_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct pin_leaf, node);
}

static struct pin_leaf *leaf_next(struct pin_leaf *leaf)
{
	return leaf_of(rb_next(&leaf->node));
}

/* The leaf with this number, or else the next higher one, or NULL. */
static struct pin_leaf *leaf_at_or_after(struct pin_store *store, u64 number)
{
	struct rb_node *node = store->root.rb_node;
	struct pin_leaf *found = NULL;

	while (node) {
		struct pin_leaf *leaf = leaf_of(node);

		if (leaf->number < number) {
			node = node->rb_right;
		} else {
			found = leaf;
			if (leaf->number == number)
				break;
			node = node->rb_left;
		}
	}
	return found;
}

static struct pin_leaf *leaf_find(struct pin_store *store, u64 number)
{
	struct pin_leaf *leaf = store->hint;

	if (leaf && leaf->number == number)
		return leaf;
	if (leaf && leaf->number + 1 == number)
		leaf = leaf_next(leaf);
	else
		leaf = leaf_at_or_after(store, number);
	if (!leaf || leaf->number != number)
		return NULL;
	store->hint = leaf;
	return leaf;
}

/* The same, but quick where it is the leaf of the last look-up. */
static struct pin_leaf *leaf_find_or_after(struct pin_store *store, u64 number)
{
	struct pin_leaf *leaf = leaf_find(store, number);

	return leaf ? leaf : leaf_at_or_after(store, number);
}

static void leaf_insert(struct pin_store *store, struct pin_leaf *new)
{
	struct rb_node **link = &store->root.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (new->number < leaf_of(parent)->number)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &store->root);
}

static void leaf_free(struct pin_store *store, struct pin_leaf *leaf)
{
	if (store->hint == leaf)
		store->hint = NULL;
	rb_erase(&leaf->node, &store->root);
	kfree(leaf->all);
	kmem_cache_free(leaf_cache, leaf);
}

/* Give back what the leaf does not need any more, maybe the leaf itself. */
static void leaf_trim(struct pin_store *store, struct pin_leaf *leaf)
{
	if (leaf->pinned)
		return;
	if (!leaf->retained) {
		leaf_free(store, leaf);
		return;
	}
	kfree(leaf->all);
	leaf->all = NULL;
}

/* The pages of [first, last] that are in the leaf; mostly, all of them. */
static u64 leaf_mask(const struct pin_leaf *leaf, u64 first, u64 last)
{
	u64 base = leaf->number << LEAF_SHIFT;
	u64 mask = U64_MAX;

	if (first > base)
		mask <<= first - base;
	if (last - base < LEAF_PAGES - 1)
		mask &= GENMASK_ULL(last - base, 0);
	return mask;
}

static u64 *leaf_entry(struct pin_leaf *leaf, unsigned int slot)
{
	if (leaf->all)
		return &leaf->all[slot];
	return &leaf->few[hweight64(leaf->pinned & (BIT_ULL(slot) - 1))];
}

/* Have place for the pages of @mask besides those that are pinned. */
static int leaf_grow(struct pin_leaf *leaf, u64 mask)
{
	u64 left = leaf->pinned;
	unsigned int n = 0;
	u64 *all;

	if (leaf->all || hweight64(leaf->pinned | mask) <= LEAF_FEW)
		return 0;
	all = kcalloc(LEAF_PAGES, sizeof(*all), GFP_KERNEL_ACCOUNT);
	if (!all)
		return -ENOMEM;
	for (; left; left &= left - 1)
		all[__ffs64(left)] = leaf->few[n++];
	leaf->all = all;
	return 0;
}

static struct pin_leaf *leaf_get(struct pin_store *store, u64 number)
{
	struct pin_leaf *leaf = leaf_find(store, number);

	if (leaf)
		return leaf;
	leaf = kmem_cache_zalloc(leaf_cache, GFP_KERNEL_ACCOUNT);
	if (!leaf)
		return NULL;
	leaf->number = number;
	leaf_insert(store, leaf);
	store->hint = leaf;
	return leaf;
}

int pin_store_reserve(struct pin_store *store, u64 first, u64 last)
{
	u64 number;

	for (number = first >> LEAF_SHIFT; number <= last >> LEAF_SHIFT;
	     number++) {
		struct pin_leaf *leaf = leaf_get(store, number);

		if (!leaf || leaf_grow(leaf, leaf_mask(leaf, first, last))) {
			pin_store_cancel(store, first, last);
			return -ENOMEM;
		}
	}
	return 0;
}

void pin_store_cancel(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf, *next;

	leaf = leaf_at_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT; leaf = next) {
		next = leaf_next(leaf);
		leaf_trim(store, leaf);
	}
}

unsigned int pin_store_lookup(struct pin_store *store, u64 page,
			      unsigned long *pfn)
{
	struct pin_leaf *leaf = leaf_find(store, page >> LEAF_SHIFT);
	unsigned int slot = page % LEAF_PAGES;
	u64 entry;

	if (!leaf || !(leaf->pinned & BIT_ULL(slot)))
		return 0;
	entry = *leaf_entry(leaf, slot);
	if (pfn)
		*pfn = entry & ENTRY_PFN;
	return entry >> ENTRY_PFN_BITS;
}

u64 pin_store_next_pinned(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	leaf = leaf_find_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT;
	     leaf = leaf_next(leaf)) {
		u64 pinned = leaf->pinned & leaf_mask(leaf, first, last);

		if (pinned)
			return (leaf->number << LEAF_SHIFT) + __ffs64(pinned);
	}
	return last + 1;
}

/* Make place for the entry of a page that is not pinned. */
static u64 *leaf_add_entry(struct pin_leaf *leaf, unsigned int slot)
{
	u64 *entry = leaf_entry(leaf, slot);

	if (!leaf->all)
		memmove(entry + 1, entry, (leaf->few + LEAF_FEW - 1 - entry) *
						  sizeof(*entry));
	leaf->pinned |= BIT_ULL(slot);
	return entry;
}

/* Forget the entries of the pages of @gone, all of which have one. */
static void leaf_del_entries(struct pin_leaf *leaf, u64 gone)
{
	u64 left = leaf->all ? 0 : leaf->pinned;
	unsigned int from = 0, to = 0;

	for (; left; left &= left - 1) {
		if (!(gone & BIT_ULL(__ffs64(left))))
			leaf->few[to++] = leaf->few[from];
		from++;
	}
	leaf->pinned &= ~gone;
}

static void leaf_pin_one(struct pin_store *store, struct pin_leaf *leaf,
			 unsigned int slot, unsigned long pfn)
{
	if (leaf->pinned & BIT_ULL(slot)) {
		*leaf_entry(leaf, slot) += ENTRY_REF;
	} else {
		*leaf_add_entry(leaf, slot) = (pfn & ENTRY_PFN) | ENTRY_REF;
		store->nr_pinned++;
	}
}

static void leaf_pin(struct pin_store *store, struct pin_leaf *leaf,
		     unsigned int slot, unsigned int n,
		     const unsigned long *pfns, bool write)
{
	u64 mask = GENMASK_ULL(slot + n - 1, slot);
	unsigned int i;

	/* The usual case is the quick one: all new, each to its place. */
	if (leaf->all && !(leaf->pinned & mask)) {
		for (i = 0; i < n; i++)
			leaf->all[slot + i] = (pfns[i] & ENTRY_PFN) | ENTRY_REF;
		leaf->pinned |= mask;
		store->nr_pinned += n;
	} else {
		for (i = 0; i < n; i++)
			leaf_pin_one(store, leaf, slot + i, pfns[i]);
	}
	if (write)
		leaf->written |= mask;
}

void pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
		   const unsigned long *pfns, bool write)
{
	while (n) {
		unsigned int slot = first % LEAF_PAGES;
		unsigned int here = min_t(unsigned int, n, LEAF_PAGES - slot);

		leaf_pin(store, leaf_find(store, first >> LEAF_SHIFT), slot,
			 here, pfns, write);
		first += here;
		pfns += here;
		n -= here;
	}
}

/* Retain the pages of @mask; each was just written, so it is not reported. */
static void leaf_retain(struct pin_store *store, struct pin_leaf *leaf,
			u64 mask)
{
	store->nr_retained += hweight64(mask & ~leaf->retained);
	leaf->retained |= mask;
	leaf->reported &= ~mask;
}

/*
 * The usual case of leaf_put(): @n pages in a row, all pinned, with entries
 * indexed by page. Return: false if some of them have pins left.
 */
static bool put_row(u64 *entry, unsigned int n, unsigned long *pfns)
{
	u64 any = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		u64 left = entry[i] - ENTRY_REF;

		entry[i] = left;
		pfns[i] = left;
		any |= left;
	}
	return any < ENTRY_REF;
}

/* Undo one pin of each page of @mask: the pages that it was the last one of. */
static u64 leaf_put(struct pin_leaf *leaf, u64 mask, unsigned long *pfns)
{
	unsigned int slot = __ffs64(mask), n = hweight64(mask);
	bool row = leaf->all && mask == GENMASK_ULL(n - 1, 0) << slot;
	unsigned int nr = 0;
	u64 gone = 0;

	if (row && put_row(leaf->all + slot, n, pfns))
		return mask;
	for (; mask; mask &= mask - 1) {
		u64 *entry = leaf_entry(leaf, __ffs64(mask));

		if (!row)
			*entry -= ENTRY_REF;
		if (*entry >= ENTRY_REF)
			continue;
		gone |= mask & -mask;
		pfns[nr++] = *entry;
	}
	return gone;
}

unsigned int pin_store_unpin(struct pin_store *store, u64 first,
			     unsigned int n, bool retain, unsigned long *pfns)
{
	u64 last = first + n - 1;
	struct pin_leaf *leaf, *next;
	unsigned int nr = 0;

	leaf = leaf_find_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT; leaf = next) {
		u64 mask = leaf->pinned & leaf_mask(leaf, first, last);
		u64 gone = mask ? leaf_put(leaf, mask, pfns + nr) : 0;

		next = leaf_next(leaf);
		if (!gone)
			continue;
		nr += hweight64(gone);
		leaf_del_entries(leaf, gone);
		if (retain)
			leaf_retain(store, leaf, leaf->written & gone);
		leaf->written &= ~gone;
		leaf_trim(store, leaf);
	}
	store->nr_pinned -= nr;
	return nr;
}

void pin_store_retain(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	leaf = leaf_at_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT;
	     leaf = leaf_next(leaf)) {
		leaf_retain(store, leaf, leaf_mask(leaf, first, last));
		/* Reserving may have made room for entries: not needed. */
		leaf_trim(store, leaf);
	}
}

/* Set the bits of @dirty, whose lowest bit stands for bit @bit of the bitmap. */
static void report_word(u64 *bitmap, u64 bit, u64 dirty)
{
	unsigned int shift = bit % 64;

	bitmap[bit / 64] |= dirty << shift;
	if (shift && dirty >> (64 - shift))
		bitmap[bit / 64 + 1] |= dirty >> (64 - shift);
}

/* The same where a bit stands for 2^@order pages, @page being the lowest. */
static void report_pages(u64 *bitmap, u64 bit, u64 dirty, u64 page,
			 unsigned int order)
{
	for (; dirty; dirty &= dirty - 1) {
		u64 at = bit + ((page + __ffs64(dirty)) >> order);

		bitmap[at / 64] |= BIT_ULL(at % 64);
	}
}

bool pin_store_report(struct pin_store *store, u64 first, u64 last,
		      unsigned int order, u64 *bitmap, u64 bit,
		      struct pin_span *span)
{
	struct pin_leaf *leaf;
	bool any = false;

	leaf = leaf_at_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT;
	     leaf = leaf_next(leaf)) {
		u64 mask = leaf_mask(leaf, first, last);
		u64 dirty = (leaf->written | leaf->retained) & mask;
		u64 base = leaf->number << LEAF_SHIFT;
		u64 page = max(base, first);

		if (!dirty)
			continue;
		leaf->reported |= leaf->retained & mask;
		dirty >>= page - base;
		if (order)
			report_pages(bitmap, bit, dirty, page - first, order);
		else
			report_word(bitmap, bit + page - first, dirty);
		if (!any)
			span->first = page;
		span->last = min(base + LEAF_PAGES - 1, last);
		any = true;
	}
	return any;
}

bool pin_store_unreported(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	leaf = leaf_at_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT;
	     leaf = leaf_next(leaf)) {
		u64 open = leaf->written | (leaf->retained & ~leaf->reported);

		if (open & leaf_mask(leaf, first, last))
			return true;
	}
	return false;
}

static u64 leaf_drop(struct pin_store *store, struct pin_leaf *leaf, u64 mask)
{
	u64 nr = hweight64(mask);

	leaf->retained &= ~mask;
	leaf->reported &= ~mask;
	store->nr_retained -= nr;
	leaf_trim(store, leaf);
	return nr;
}

u64 pin_store_drop_reported(struct pin_store *store, u64 first, u64 last,
			    u64 *next)
{
	unsigned int left = PIN_STORE_DROP_LEAVES;
	struct pin_leaf *leaf, *after;
	u64 nr = 0;

	*next = last + 1;
	if (!store->nr_retained)
		return 0;
	leaf = leaf_at_or_after(store, first >> LEAF_SHIFT);
	for (; leaf && leaf->number <= last >> LEAF_SHIFT && left;
	     leaf = after, left--) {
		u64 mask = leaf->reported & leaf_mask(leaf, first, last);

		after = leaf_next(leaf);
		if (mask)
			nr += leaf_drop(store, leaf, mask);
	}
	if (leaf && leaf->number <= last >> LEAF_SHIFT)
		*next = leaf->number << LEAF_SHIFT;
	return nr;
}

void pin_store_drop_retained(struct pin_store *store)
{
	struct pin_leaf *leaf, *next;

	for (leaf = leaf_of(rb_first(&store->root)); leaf; leaf = next) {
		next = leaf_next(leaf);
		leaf_drop(store, leaf, leaf->retained);
	}
}

void pin_store_walk_pinned(struct pin_store *store, pin_store_fn fn,
			   void *arg)
{
	struct pin_leaf *leaf;

	for (leaf = leaf_of(rb_first(&store->root)); leaf;
	     leaf = leaf_next(leaf)) {
		u64 left = leaf->pinned;

		for (; left; left &= left - 1)
			fn(arg, *leaf_entry(leaf, __ffs64(left)) & ENTRY_PFN);
	}
}

void pin_store_destroy(struct pin_store *store)
{
	struct rb_node *node;

	while ((node = rb_first(&store->root)))
		leaf_free(store, leaf_of(node));
	pin_store_init(store);
}
