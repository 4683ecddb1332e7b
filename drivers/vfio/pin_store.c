// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of one mapping are pinned, and which are retained.
 *
 * A leaf stands for 64 pages, so that each of its sets is one word, and a word
 * of a report is made of one word of a leaf:
 *
 *	pinned		pinned at least once; has a frame and a number of pins
 *	written		of the pinned: at least one pin was for writing
 *	retained	written, and not in a report yet; needs no frame
 *	reported	of the retained: in the report that is being made
 *
 * The frames of a leaf are kept in one of three forms:
 *
 *	linear		each page is pinned once, and the frames have the order of
 *			the pages: the frame of the first page says them all. So it
 *			is with huge pages, and with a page that is pinned alone
 *	few		up to three entries (frame, number of pins) in the leaf, in
 *			the order of their pages
 *	all		an array of 64 entries, indexed by page
 *
 * Leaves are nodes of a red-black tree, ordered by number, and of a list in the
 * same order: the tree finds a leaf, the list walks on from there.
 *
 * Memory: a leaf is 112 bytes, an array 512. So 112 bytes for an isolated page,
 * 1.8 bytes a page for pinned huge pages or retained pages where all 64 of a
 * leaf are, 9.8 bytes a page for scattered frames. The worst case is four pinned
 * pages in each leaf, to scattered frames: 156 bytes a page. Nothing for pages
 * neither pinned nor retained.
 *
 * Time: a look-up descends the tree, unless it asks for the leaf of the last
 * look-up, or the one after it. A walk costs one step for each leaf in its range,
 * whatever the size of the mapping (R17). Leaves are allocated and freed by the
 * dozen.
 *
 * Because unpinning moves a page from one set to another, it never allocates
 * (R14).
 */
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "pin_store.h"

#define LEAF_SHIFT	6
#define LEAF_PAGES	64
#define LEAF_FEW	3

enum leaf_form {
	FORM_LINEAR,
	FORM_FEW,
	FORM_ALL,
};

struct pin_leaf {
	struct rb_node node;
	struct hlist_node list;
	u64 number;		/* of the first page, shifted by LEAF_SHIFT */
	u64 pinned;
	u64 written;
	u64 retained;
	u64 reported;
	enum leaf_form form;
	union {
		u64 base;	/* linear: frame of the leaf's first page */
		u64 few[LEAF_FEW];
		u64 *all;	/* LEAF_PAGES entries */
	};
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

/* --- memory of leaves, by the dozen ------------------------------------- */

#define STOCK_LEAVES	16

/* Leaves that a call has allocated and not used yet, or will free at its end. */
struct leaf_stock {
	struct hlist_head leaves;
	unsigned int nr;
};

/* Its array is on the stack of the calls that need it only. */
static noinline void stock_fill(struct leaf_stock *stock, u64 want)
{
	void *leaves[STOCK_LEAVES];
	unsigned int i;

	stock->nr = kmem_cache_alloc_bulk(leaf_cache,
					  GFP_KERNEL_ACCOUNT | __GFP_ZERO,
					  min_t(u64, want, STOCK_LEAVES),
					  leaves);
	for (i = stock->nr; i--;) {
		struct pin_leaf *leaf = leaves[i];

		hlist_add_head(&leaf->list, &stock->leaves);
	}
}

static noinline void stock_empty(struct leaf_stock *stock)
{
	void *leaves[STOCK_LEAVES];
	struct hlist_node *node = stock->leaves.first;
	unsigned int n;

	for (n = 0; node; node = node->next)
		leaves[n++] = hlist_entry(node, struct pin_leaf, list);
	kmem_cache_free_bulk(leaf_cache, n, leaves);
	*stock = (struct leaf_stock){};
}

/* A leaf, all 0, or NULL; @want: how many the call will take from now on. */
static struct pin_leaf *stock_take(struct leaf_stock *stock, u64 want)
{
	struct pin_leaf *leaf;

	if (!stock->nr)
		stock_fill(stock, want);
	if (!stock->nr)
		return NULL;
	leaf = hlist_entry(stock->leaves.first, struct pin_leaf, list);
	hlist_del(&leaf->list);
	stock->nr--;
	return leaf;
}

static void stock_put(struct leaf_stock *stock, struct pin_leaf *leaf)
{
	hlist_add_head(&leaf->list, &stock->leaves);
	if (++stock->nr == STOCK_LEAVES)
		stock_empty(stock);
}

/* At the end of each call that has a stock. */
static void stock_free(struct leaf_stock *stock)
{
	if (stock->nr)
		stock_empty(stock);
}

/* --- leaves of a store --------------------------------------------------- */

static struct pin_leaf *leaf_next(struct pin_store *store,
				  struct pin_leaf *leaf)
{
	struct hlist_node *next = leaf ? leaf->list.next : store->leaves.first;

	return hlist_entry_safe(next, struct pin_leaf, list);
}

/* leaf_floor() where the hint does not help. */
static noinline struct pin_leaf *leaf_descend(struct pin_store *store,
					      u64 number)
{
	struct rb_node *node = store->root.rb_node;
	struct pin_leaf *found = NULL;

	while (node) {
		struct pin_leaf *leaf = rb_entry(node, struct pin_leaf, node);

		if (leaf->number > number) {
			node = node->rb_left;
			continue;
		}
		found = leaf;
		if (leaf->number == number)
			break;
		node = node->rb_right;
	}
	if (found)
		store->hint = found;
	return found;
}

/*
 * The leaf with the highest number up to this one, or NULL. leaf_next() of it,
 * also where it is NULL, is the first one with a higher number.
 */
static struct pin_leaf *leaf_floor(struct pin_store *store, u64 number)
{
	struct pin_leaf *hint = store->hint, *next;

	if (!hint || hint->number > number)
		return leaf_descend(store, number);
	if (hint->number == number)
		return hint;
	next = leaf_next(store, hint);
	if (!next || next->number > number)
		return hint;
	if (next->number == number)
		return store->hint = next;
	return leaf_descend(store, number);
}

/* The leaf after @leaf, if it has pages up to @last, or NULL. */
static struct pin_leaf *leaf_next_in(struct pin_store *store,
				     struct pin_leaf *leaf, u64 last)
{
	leaf = leaf_next(store, leaf);
	return leaf && leaf->number <= last >> LEAF_SHIFT ? leaf : NULL;
}

/* The first leaf that has pages of [first, last], or NULL. */
static struct pin_leaf *leaf_first_in(struct pin_store *store, u64 first,
				      u64 last)
{
	struct pin_leaf *leaf = leaf_floor(store, first >> LEAF_SHIFT);

	if (leaf && leaf->number == first >> LEAF_SHIFT)
		return leaf;
	return leaf_next_in(store, leaf, last);
}

/* Insert a leaf; @prev: the one that comes before it, or NULL. */
static void leaf_insert(struct pin_store *store, struct pin_leaf *prev,
			struct pin_leaf *new)
{
	struct pin_leaf *next = leaf_next(store, prev);
	struct rb_node **link = &store->root.rb_node, *parent = NULL;

	/* Of two neighbours in the order, one has no child on the side between. */
	if (prev && !prev->node.rb_right) {
		parent = &prev->node;
		link = &parent->rb_right;
	} else if (next) {
		parent = &next->node;
		link = &parent->rb_left;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &store->root);
	if (prev)
		hlist_add_behind(&new->list, &prev->list);
	else
		hlist_add_head(&new->list, &store->leaves);
}

/* The leaf with this number, made if there is none, or NULL. */
static struct pin_leaf *leaf_get(struct pin_store *store, u64 number,
				 u64 last_number, struct leaf_stock *stock)
{
	struct pin_leaf *prev = leaf_floor(store, number), *leaf;

	if (prev && prev->number == number)
		return prev;
	leaf = stock_take(stock, last_number - number + 1);
	if (!leaf)
		return NULL;
	leaf->number = number;
	leaf_insert(store, prev, leaf);
	store->hint = leaf;
	return leaf;
}

static void leaf_forget_frames(struct pin_leaf *leaf)
{
	if (leaf->form == FORM_ALL)
		kfree(leaf->all);
	leaf->form = FORM_LINEAR;
}

/* Give back what the leaf does not need any more, maybe the leaf itself. */
static void leaf_trim(struct pin_store *store, struct pin_leaf *leaf,
		      struct leaf_stock *stock)
{
	if (leaf->pinned)
		return;
	leaf_forget_frames(leaf);
	if (leaf->retained)
		return;
	if (store->hint == leaf)
		store->hint = NULL;
	rb_erase(&leaf->node, &store->root);
	hlist_del(&leaf->list);
	stock_put(stock, leaf);
}

/* The same of one leaf, by a call that has no other to free. */
static noinline void leaf_trim_alone(struct pin_store *store,
				     struct pin_leaf *leaf)
{
	struct leaf_stock stock = {};

	leaf_trim(store, leaf, &stock);
	if (stock.nr)
		kmem_cache_free(leaf_cache, leaf);
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

/* @n pages of a leaf, at least one, from @slot on. */
static u64 pages_mask(unsigned int slot, unsigned int n)
{
	return U64_MAX >> (LEAF_PAGES - n) << slot;
}

/* The row of bits that begins with the lowest bit of @mask. */
static u64 lowest_row(u64 mask)
{
	return mask & ~(mask + (mask & -mask));
}

static unsigned int row_length(u64 row)
{
	return fls64(row) - __ffs64(row);
}

/* --- frames of a leaf ---------------------------------------------------- */

/* Where the entry of a page is, or where it is to be inserted; not if linear. */
static u64 *leaf_entry(struct pin_leaf *leaf, unsigned int slot)
{
	if (leaf->form == FORM_ALL)
		return &leaf->all[slot];
	return &leaf->few[hweight64(leaf->pinned & (BIT_ULL(slot) - 1))];
}

static u64 leaf_value(struct pin_leaf *leaf, unsigned int slot)
{
	if (leaf->form == FORM_LINEAR)
		return (leaf->base + slot) | ENTRY_REF;
	return *leaf_entry(leaf, slot);
}

static void leaf_to_few(struct pin_leaf *leaf)
{
	u64 left = leaf->pinned, few[LEAF_FEW];
	unsigned int n;

	if (leaf->form == FORM_FEW)
		return;
	for (n = 0; left; left &= left - 1)
		few[n++] = leaf_value(leaf, __ffs64(left));
	memcpy(leaf->few, few, n * sizeof(*few));
	leaf->form = FORM_FEW;
}

static bool leaf_to_all(struct pin_leaf *leaf)
{
	u64 left = leaf->pinned;
	u64 *all;

	all = kmalloc_array(LEAF_PAGES, sizeof(*all), GFP_KERNEL_ACCOUNT);
	if (!all)
		return false;
	for (; left; left &= left - 1)
		all[__ffs64(left)] = leaf_value(leaf, __ffs64(left));
	leaf->all = all;
	leaf->form = FORM_ALL;
	return true;
}

/* Have entries, and place for those of @mask besides those that are pinned. */
static bool leaf_make_entries(struct pin_leaf *leaf, u64 mask)
{
	if (leaf->form == FORM_ALL)
		return true;
	if (hweight64(leaf->pinned | mask) > LEAF_FEW)
		return leaf_to_all(leaf);
	leaf_to_few(leaf);
	return true;
}

/* Make place for the entry of a page that is not pinned. */
static u64 *leaf_add_entry(struct pin_leaf *leaf, unsigned int slot)
{
	u64 *entry = leaf_entry(leaf, slot);

	if (leaf->form == FORM_FEW)
		memmove(entry + 1, entry, (leaf->few + LEAF_FEW - 1 - entry) *
						  sizeof(*entry));
	leaf->pinned |= BIT_ULL(slot);
	return entry;
}

/* Forget the entries of the pages of @gone, all of which have one. */
static void leaf_del_entries(struct pin_leaf *leaf, u64 gone)
{
	u64 left = leaf->form == FORM_FEW ? leaf->pinned : 0;
	unsigned int from = 0, to = 0;

	for (; left; left &= left - 1) {
		if (!(gone & left & -left))
			leaf->few[to++] = leaf->few[from];
		from++;
	}
}

/* --- pin, unpin, retain -------------------------------------------------- */

/* Can the leaf be linear with these pages pinned, too? */
static bool leaf_stays_linear(struct pin_leaf *leaf, u64 mask, u64 base)
{
	if (leaf->form != FORM_LINEAR)
		return false;
	if (!leaf->pinned)
		leaf->base = base;
	return leaf->base == base && !(leaf->pinned & mask);
}

static bool leaf_pin(struct pin_store *store, struct pin_leaf *leaf,
		     unsigned int slot, unsigned int n, unsigned long pfn)
{
	u64 mask = pages_mask(slot, n);
	unsigned int i;

	if (leaf_stays_linear(leaf, mask, (u64)pfn - slot)) {
		leaf->pinned |= mask;
		store->nr_pinned += n;
		return true;
	}
	if (!leaf_make_entries(leaf, mask))
		return false;
	store->nr_pinned += hweight64(mask & ~leaf->pinned);
	for (i = 0; i < n; i++) {
		if (leaf->pinned & BIT_ULL(slot + i))
			*leaf_entry(leaf, slot + i) += ENTRY_REF;
		else
			*leaf_add_entry(leaf, slot + i) = (pfn + i) | ENTRY_REF;
	}
	return true;
}

unsigned int pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
			   unsigned long pfn, bool write)
{
	u64 last_number = (first + n - 1) >> LEAF_SHIFT;
	struct leaf_stock stock = {};
	unsigned int done, here;

	for (done = 0; done < n; done += here) {
		u64 page = first + done;
		unsigned int slot = page % LEAF_PAGES;
		struct pin_leaf *leaf;

		leaf = leaf_get(store, page >> LEAF_SHIFT, last_number, &stock);
		if (!leaf)
			break;
		here = min(n - done, LEAF_PAGES - slot);
		if (!leaf_pin(store, leaf, slot, here, pfn + done)) {
			leaf_trim(store, leaf, &stock);
			break;
		}
		if (write)
			leaf->written |= pages_mask(slot, here);
	}
	stock_free(&stock);
	return done;
}

void pin_store_written(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last))
		leaf->written |= leaf_mask(leaf, first, last);
}

/* Retain the pages of @mask; each was just written, so it is not reported. */
static void leaf_retain(struct pin_store *store, struct pin_leaf *leaf,
			u64 mask)
{
	store->nr_retained += hweight64(mask & ~leaf->retained);
	leaf->retained |= mask;
	leaf->reported &= ~mask;
}

/* The pages of @row, at least one, are not pinned any more. */
static void leaf_unpinned(struct pin_store *store, struct pin_leaf *leaf,
			  u64 row, unsigned int n, bool retain)
{
	store->nr_pinned -= n;
	if (retain)
		leaf_retain(store, leaf, leaf->written & row);
	leaf->written &= ~row;
	leaf->pinned &= ~row;
	if (!leaf->pinned)
		leaf_trim_alone(store, leaf);
}

/* The last page of [.., last] that is before those of @mask, in a leaf. */
static u64 page_before(const struct pin_leaf *leaf, u64 mask, u64 last)
{
	u64 base = leaf->number << LEAF_SHIFT;

	return mask ? base + __ffs64(mask) - 1 :
		      min(base + LEAF_PAGES - 1, last);
}

/* pin_store_unpin() of pages of @mask, where each has an entry. */
static noinline struct pin_gone
leaf_unpin_entries(struct pin_store *store, struct pin_leaf *leaf, u64 mask,
		   u64 first, u64 last, bool retain)
{
	struct pin_gone gone = {};
	u64 row = 0;

	for (; mask; mask &= mask - 1) {
		u64 *entry = leaf_entry(leaf, __ffs64(mask));

		/* Frames that do not follow are for the next call. */
		if (row && *entry != ((gone.pfn + gone.n) | ENTRY_REF))
			break;
		*entry -= ENTRY_REF;
		if (*entry >= ENTRY_REF)
			continue;
		if (!row)
			gone.pfn = *entry;
		gone.n++;
		row |= mask & -mask;
	}
	gone.pages = page_before(leaf, mask, last) - first + 1;
	if (row) {
		leaf_del_entries(leaf, row);
		leaf_unpinned(store, leaf, row, gone.n, retain);
	}
	return gone;
}

static noinline struct pin_gone unpin_row(struct pin_store *store, u64 first,
					  u64 last, bool retain)
{
	struct pin_leaf *leaf = leaf_first_in(store, first, last);
	struct pin_gone gone = {};
	u64 mask, row;

	if (!leaf) {
		gone.pages = last - first + 1;
		return gone;
	}
	mask = leaf->pinned & leaf_mask(leaf, first, last);
	if (leaf->form != FORM_LINEAR)
		return leaf_unpin_entries(store, leaf, mask, first, last,
					  retain);
	row = lowest_row(mask);
	gone.pages = page_before(leaf, mask & ~row, last) - first + 1;
	if (row) {
		gone.pfn = leaf->base + __ffs64(row);
		gone.n = row_length(row);
		leaf_unpinned(store, leaf, row, gone.n, retain);
	}
	return gone;
}

struct pin_gone pin_store_unpin(struct pin_store *store, u64 first, u64 last,
				bool retain)
{
	u64 row = BIT_ULL(first % LEAF_PAGES);
	struct pin_leaf *leaf = store->hint;

	/* The quick way: one page, in the leaf of the last look-up, which stays. */
	if (first != last || !leaf || leaf->number != first >> LEAF_SHIFT ||
	    leaf->form != FORM_LINEAR || !(leaf->pinned & row) ||
	    leaf->pinned == row || (retain && leaf->written & row))
		return unpin_row(store, first, last, retain);
	store->nr_pinned--;
	leaf->pinned &= ~row;
	leaf->written &= ~row;
	return (struct pin_gone){ .pfn = leaf->base + first % LEAF_PAGES,
				  .n = 1, .pages = 1 };
}

/* Have all leaves of a range. On false, there are no more than before. */
static bool leaves_get(struct pin_store *store, u64 first, u64 last)
{
	u64 number, last_number = last >> LEAF_SHIFT;
	struct pin_leaf *leaf, *next;
	struct leaf_stock stock = {};

	for (number = first >> LEAF_SHIFT; number <= last_number; number++)
		if (!leaf_get(store, number, last_number, &stock))
			break;
	if (number <= last_number) {
		leaf = leaf_first_in(store, first, last);
		for (; leaf; leaf = next) {
			next = leaf_next_in(store, leaf, last);
			leaf_trim(store, leaf, &stock);
		}
	}
	stock_free(&stock);
	return number > last_number;
}

int pin_store_retain(struct pin_store *store, u64 first, u64 last)
{
	struct pin_leaf *leaf;

	if (!leaves_get(store, first, last))
		return -ENOMEM;
	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last))
		leaf_retain(store, leaf, leaf_mask(leaf, first, last));
	return 0;
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
		entry = leaf_value(leaf, slot);
		row->page = (leaf->number << LEAF_SHIFT) + slot;
		row->n = leaf->form == FORM_LINEAR ?
			 row_length(lowest_row(pinned)) : 1;
		row->pfn = entry & ENTRY_PFN;
		row->pins = entry >> ENTRY_PFN_BITS;
		return true;
	}
	return false;
}

/* --- reports ------------------------------------------------------------- */

u64 pin_store_next_dirty(struct pin_store *store, u64 first, u64 last,
			 enum pin_record which)
{
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last)) {
		u64 dirty = leaf->retained;

		if (which == PIN_UNREPORTED)
			dirty &= ~leaf->reported;
		dirty |= leaf->written;
		if (!dirty)
			continue;
		dirty &= leaf_mask(leaf, first, last);
		if (dirty)
			return (leaf->number << LEAF_SHIFT) + __ffs64(dirty);
	}
	return last + 1;
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
	u64 first_number = first >> LEAF_SHIFT, last_number = last >> LEAF_SHIFT;
	u64 low = U64_MAX, high = 0, page;
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last)) {
		u64 dirty = leaf->written | leaf->retained;

		page = leaf->number << LEAF_SHIFT;
		/* Only the leaves at the ends can have pages outside. */
		if (leaf->number == first_number || leaf->number == last_number)
			dirty &= leaf_mask(leaf, first, last);
		if (!dirty)
			continue;
		leaf->reported |= leaf->retained & dirty;
		low = min(low, page);
		high = page;
		if (page < first) {
			dirty >>= first - page;
			page = first;
		}
		if (order)
			report_pages(bitmap, bit, dirty, page - first, order);
		else
			report_word(bitmap, bit + page - first, dirty);
	}
	if (low > high)
		return false;
	span->first = max(low, first);
	span->last = min(high + LEAF_PAGES - 1, last);
	return true;
}

u64 pin_store_drop(struct pin_store *store, u64 first, u64 last,
		   enum pin_drop which, u64 *next)
{
	unsigned int left = PIN_STORE_DROP_LEAVES;
	struct pin_leaf *leaf, *after;
	struct leaf_stock stock = {};
	u64 before = store->nr_retained;

	*next = last + 1;
	if (!before)
		return 0;
	for (leaf = leaf_first_in(store, first, last); leaf; leaf = after) {
		u64 mask = leaf_mask(leaf, first, last);

		after = leaf_next_in(store, leaf, last);
		if (!left--) {
			*next = leaf->number << LEAF_SHIFT;
			break;
		}
		mask &= which == PIN_DROP_ALL ? leaf->retained : leaf->reported;
		if (!mask)
			continue;
		store->nr_retained -= hweight64(mask);
		leaf->retained &= ~mask;
		leaf->reported &= ~mask;
		leaf_trim(store, leaf, &stock);
	}
	stock_free(&stock);
	return before - store->nr_retained;
}

void pin_store_destroy(struct pin_store *store)
{
	struct pin_leaf *leaf, *next;
	struct leaf_stock stock = {};

	/* All goes, so nothing has to be taken out of the tree. */
	for (leaf = leaf_next(store, NULL); leaf; leaf = next) {
		next = leaf_next(store, leaf);
		leaf_forget_frames(leaf);
		stock_put(&stock, leaf);
	}
	stock_free(&stock);
	pin_store_init(store);
}
