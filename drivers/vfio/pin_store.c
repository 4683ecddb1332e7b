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
 * of a list in the same order: the tree finds a leaf, the list walks on from there.
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
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "pin_leaf.h"
#include "pin_store.h"

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
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO;
	void *leaves[STOCK_LEAVES];
	unsigned int i;

	stock->nr = kmem_cache_alloc_bulk(leaf_cache, gfp,
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

	if (!stock->nr && want == 1)
		return kmem_cache_zalloc(leaf_cache, GFP_KERNEL_ACCOUNT);
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
	if (stock->nr == 1)
		kmem_cache_free(leaf_cache, hlist_entry(stock->leaves.first,
							struct pin_leaf, list));
	else if (stock->nr)
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

/* --- pin, unpin, retain -------------------------------------------------- */

unsigned int pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
			   unsigned long pfn, bool write)
{
	u64 last_number = (first + n - 1) >> LEAF_SHIFT;
	struct leaf_stock stock = {};
	unsigned int done, here, fresh;
	u64 mask;

	for (done = 0; done < n; done += here) {
		u64 page = first + done;
		unsigned int slot = page % LEAF_PAGES;
		struct pin_leaf *leaf;

		leaf = leaf_get(store, page >> LEAF_SHIFT, last_number, &stock);
		if (!leaf)
			break;
		here = min(n - done, LEAF_PAGES - slot);
		mask = leaf_slots(slot, here);
		fresh = leaf_count(mask & ~leaf->pinned);
		if (!leaf_pin(leaf, slot, here, pfn + done)) {
			leaf_trim(store, leaf, &stock);
			break;
		}
		store->nr_pinned += fresh;
		if (write)
			leaf->written |= mask;
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
	store->nr_retained += leaf_count(mask & ~leaf->retained);
	leaf->retained |= mask;
	leaf->reported &= ~mask;
}

u64 pin_store_unpin(struct pin_store *store, u64 first, u64 last, bool retain,
		    struct pin_frames *frames, unsigned int *nr)
{
	struct pin_leaf *leaf, *next;
	struct leaf_stock stock = {};

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
		if (retain)
			leaf_retain(store, leaf, leaf->written & mask);
		leaf->written &= ~mask;
		leaf_trim(store, leaf, &stock);
	}
	stock_free(&stock);
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
	u64 slot = BIT_ULL(page % LEAF_PAGES);
	struct pin_leaf *leaf = store->hint;

	/* Quick for a page in the leaf of the last look-up, if that leaf stays. */
	if (!leaf || leaf->number != page >> LEAF_SHIFT ||
	    leaf->form != FORM_LINEAR || !(leaf->pinned & slot) ||
	    leaf->pinned == slot || (retain && leaf->written & slot))
		return unpin_page_slowly(store, page, retain);
	store->nr_pinned--;
	leaf->pinned &= ~slot;
	leaf->written &= ~slot;
	return leaf->base + page % LEAF_PAGES;
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

/* --- reports ------------------------------------------------------------- */

bool pin_store_next_dirty(struct pin_store *store, u64 first, u64 last,
			  enum pin_record which, u64 *next)
{
	unsigned int left = PIN_STORE_WALK_LEAVES;
	struct pin_leaf *leaf;

	for (leaf = leaf_first_in(store, first, last); leaf;
	     leaf = leaf_next_in(store, leaf, last)) {
		u64 dirty = leaf->retained;

		if (!left--) {
			*next = leaf->number << LEAF_SHIFT;
			return false;
		}
		if (which == PIN_UNREPORTED)
			dirty &= ~leaf->reported;
		dirty |= leaf->written;
		if (!dirty)
			continue;
		dirty &= leaf_mask(leaf, first, last);
		if (dirty) {
			*next = (leaf->number << LEAF_SHIFT) + __ffs64(dirty);
			return true;
		}
	}
	*next = last + 1;
	return false;
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

/* Report pages of a leaf, wherever its bits are, from page @first on. */
static noinline void report_leaf(struct pin_leaf *leaf, u64 dirty, u64 first,
				 unsigned int order, u64 *bitmap, u64 bit)
{
	u64 page = leaf->number << LEAF_SHIFT;

	if (page < first) {
		dirty >>= first - page;
		page = first;
	}
	if (order)
		report_pages(bitmap, bit, dirty, page - first, order);
	else
		report_word(bitmap, bit + page - first, dirty);
}

bool pin_store_report(struct pin_store *store, u64 first, u64 last,
		      unsigned int order, u64 *bitmap, u64 bit,
		      struct pin_span *span)
{
	u64 first_number = first >> LEAF_SHIFT, last_number = last >> LEAF_SHIFT;
	/* Is each leaf a word of the bitmap? Then it is that of its number + @word. */
	bool aligned = !order && (bit - first) % LEAF_PAGES == 0;
	s64 word = (s64)(bit - first) / LEAF_PAGES;
	u64 low = U64_MAX, high = 0;
	struct pin_leaf *leaf;

	leaf = leaf_first_in(store, first, last);
	for (; leaf; leaf = leaf_next(store, leaf)) {
		u64 dirty = leaf->written | leaf->retained;
		u64 number = leaf->number;

		/* Only the leaves at the ends can have pages outside. */
		if (number >= last_number || number == first_number) {
			if (number > last_number)
				break;
			dirty &= leaf_mask(leaf, first, last);
		}
		if (!dirty)
			continue;
		if (leaf->retained)
			leaf->reported |= leaf->retained & dirty;
		low = min(low, number);
		high = number;
		if (aligned)
			bitmap[number + word] |= dirty;
		else
			report_leaf(leaf, dirty, first, order, bitmap, bit);
	}
	if (low > high)
		return false;
	span->first = max(low << LEAF_SHIFT, first);
	span->last = min((high << LEAF_SHIFT) + LEAF_PAGES - 1, last);
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
		store->nr_retained -= leaf_count(mask);
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
