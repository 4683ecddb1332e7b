/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of one mapping are pinned, and which are retained.
 *
 * A store knows page numbers and page frames, and nothing of vfio: it is
 * compiled unmodified in user space by tests/unit. Page numbers count from the
 * start of the mapping; "last" is inclusive.
 *
 * Locking: the caller serializes all calls on one store; the backend does it
 * with iommu->lock. pin_store_pin(), pin_store_pin_frames() and pin_store_retain()
 * allocate, with GFP_KERNEL_ACCOUNT, and may sleep; nothing else does (R14).
 */
#ifndef _PIN_STORE_H
#define _PIN_STORE_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>

struct pin_leaf;
struct pin_plane;

/**
 * struct pin_spare - leaves that are not in use, some at most
 * @leaves: the leaves
 * @nr: their number
 */
struct pin_spare {
	struct hlist_head leaves;
	unsigned int nr;
};

/**
 * struct pin_store - the pages of one mapping
 * @root: leaves, ordered by number
 * @leaves: the same leaves, in the same order
 * @hint: leaf of the last look-up, or NULL
 * @spare: leaves to be used next, or freed together
 * @planes: planes, ordered by number
 * @plane_hint: plane of the last look-up, or NULL
 * @nr_pinned: pages that are pinned at least once
 * @nr_retained: pages that are retained, pinned or not
 * @nr_planed: of the retained: those in planes
 * @nr_empty: leaves that have neither, kept for pages that come back
 */
struct pin_store {
	struct rb_root root;
	struct hlist_head leaves;
	struct pin_leaf *hint;
	struct pin_spare spare;
	struct rb_root planes;
	struct pin_plane *plane_hint;
	u64 nr_pinned;
	u64 nr_retained;
	u64 nr_planed;
	u64 nr_empty;
};

/**
 * pin_store_cache_create - make the cache that leaves are allocated from
 *
 * Once, before the first store is used.
 *
 * Return: 0 or -ENOMEM.
 */
int pin_store_cache_create(void);

/**
 * pin_store_cache_destroy - free the cache; no store may hold anything
 */
void pin_store_cache_destroy(void);

/**
 * pin_store_init - make an empty store; allocates nothing
 * @store: the store
 */
void pin_store_init(struct pin_store *store);

/**
 * pin_store_is_empty - does a store hold no memory?
 * @store: the store
 */
static inline bool pin_store_is_empty(const struct pin_store *store)
{
	return !store->root.rb_node && !store->planes.rb_node;
}

/**
 * pin_store_destroy - forget everything and free all memory
 * @store: the store; can be used again, it is empty
 */
void pin_store_destroy(struct pin_store *store);

/**
 * pin_store_detach - move all that a store retains to another one, at once
 * @store: the store; is empty then, if nothing was pinned, else nothing changes
 * @to: an empty store, which the caller destroys without its lock
 *
 * Return: true if the store is empty now and @to is not.
 */
bool pin_store_detach(struct pin_store *store, struct pin_store *to);

/* Most pins of a page; the caller checks before it pins. */
#define PIN_STORE_REFS_MAX	((1U << 24) - 1)

/**
 * pin_store_pin - record one more pin of each page of a range
 * @store: the store
 * @first: first page
 * @n: number of pages
 * @pfn: frame of the first page; those of the others follow it, one by one. Of
 *	a page that is pinned, it is the one that pin_store_next_pinned() tells
 * @write: the pins are for writing, and so is each of the pages (R12). Where a
 *	page is pinned already, unpinning does not undo that; then pass false,
 *	and call pin_store_written() when nothing can fail any more
 * @tracking: what is pinned is to be retained when it is unpinned
 *
 * A retained page stays retained (R5). Reserves what pin_store_unpin() needs
 * (R14).
 *
 * Return: number of pages, from @first on, whose pins are recorded: less than @n
 * if there is no memory for more. pin_store_unpin() undoes them.
 */
unsigned int pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
			   unsigned long pfn, bool write, bool tracking);

/* Pages of one call of pin_store_pin_frames(), at most; they must not pass a multiple. */
#define PIN_STORE_PART	64

/**
 * pin_store_pin_frames - record pins of pages that are not pinned, to any frames
 * @store: the store
 * @first: first page
 * @n: number of pages; see PIN_STORE_PART
 * @pfns: their frames
 * @last: the last page that the caller will pin, with no page left out
 * @write: as for pin_store_pin()
 * @tracking: as for pin_store_pin()
 *
 * A call for many pages takes a tenth of what calls for single pages take.
 *
 * Return: false if there is no memory; then no pin is recorded.
 */
bool pin_store_pin_frames(struct pin_store *store, u64 first, unsigned int n,
			  const unsigned long *pfns, u64 last, bool write,
			  bool tracking);

/**
 * pin_store_written - the pins of a range are for writing, too (R12)
 * @store: the store
 * @first: first page
 * @last: last page; all of the range are pinned
 */
void pin_store_written(struct pin_store *store, u64 first, u64 last);

/**
 * struct pin_frames - page frames with consecutive numbers
 * @pfn: the first one
 * @n: how many
 */
struct pin_frames {
	unsigned long pfn;
	unsigned int n;
};

/* Most of them that one call of pin_store_unpin() returns. */
#define PIN_STORE_FRAMES	64

/**
 * pin_store_unpin - undo one pin of each page of a range; never allocates (R14)
 * @store: the store
 * @first: first page
 * @last: last page
 * @retain: retain a page if this was its last pin, and it was pinned for
 *	writing (R2)
 * @frames: where the frames go whose last pin this was, in the order of their
 *	pages; room for PIN_STORE_FRAMES, or for one if the range is one page. The
 *	caller has to release them
 * @nr: where the number of @frames is stored
 *
 * Does nothing for a page that is not pinned, retained or not (R6).
 *
 * Return: where to go on, because @frames is full; @last + 1 if that was all.
 */
u64 pin_store_unpin(struct pin_store *store, u64 first, u64 last, bool retain,
		    struct pin_frames *frames, unsigned int *nr);

/* What pin_store_unpin_page() returns for a page that is still pinned, or was not. */
#define PIN_STORE_NO_FRAME	ULONG_MAX

/**
 * pin_store_unpin_page - pin_store_unpin() of one page, quicker
 * @store: the store
 * @page: the page
 * @retain: as for pin_store_unpin()
 *
 * Return: its frame, if this was its last pin, or PIN_STORE_NO_FRAME.
 */
unsigned long pin_store_unpin_page(struct pin_store *store, u64 page,
				   bool retain);

/**
 * pin_store_retain - retain a range without a pin, as vfio_dma_rw() needs (R10)
 * @store: the store
 * @first: first page
 * @last: last page
 *
 * Return: 0, or -ENOMEM with nothing changed.
 */
int pin_store_retain(struct pin_store *store, u64 first, u64 last);

/**
 * pin_store_pinned - is a page pinned?
 * @store: the store
 * @page: the page
 *
 * A page that is retained alone is not (D11).
 */
bool pin_store_pinned(struct pin_store *store, u64 page);

/**
 * struct pin_row - consecutive pages that are pinned to consecutive frames
 * @page: the first page
 * @n: number of pages
 * @pfn: frame of the first page
 * @pins: how often each of them is pinned
 */
struct pin_row {
	u64 page;
	unsigned int n;
	unsigned long pfn;
	unsigned int pins;
};

/**
 * pin_store_next_pinned - the first pinned pages of a range
 * @store: the store
 * @first: first page
 * @last: last page
 * @row: where they are stored
 *
 * A page that is retained alone is not pinned (D11). More pinned pages can follow
 * the row at once.
 *
 * Return: false if no page of the range is pinned; then @row is not touched.
 */
bool pin_store_next_pinned(struct pin_store *store, u64 first, u64 last,
			   struct pin_row *row);

/**
 * enum pin_record - why a page is dirty
 * @PIN_DIRTY: it is pinned for writing, or retained
 * @PIN_UNREPORTED: the same, but not a page retained and marked as reported. Only for
 *	a range that the last report had all of
 */
enum pin_record {
	PIN_DIRTY,
	PIN_UNREPORTED,
};

/* Leaves and planes that one call of pin_store_next_dirty() looks at, at most. */
#define PIN_STORE_WALK_LEAVES	2048
#define PIN_STORE_WALK_PLANES	1024

/**
 * pin_store_next_dirty - the first dirty page of a range
 * @store: the store
 * @first: first page
 * @last: last page
 * @which: dirty in which sense
 * @next: where the page is stored; or where to go on, if none was found in a
 *	limited number of leaves, @last + 1 if that was all. None is dirty before it
 *
 * Return: true if page @next is dirty.
 */
bool pin_store_next_dirty(struct pin_store *store, u64 first, u64 last,
			  enum pin_record which, u64 *next);

/**
 * struct pin_span - pages from @first to @last
 * @first: first page
 * @last: last page
 */
struct pin_span {
	u64 first;
	u64 last;
};

/**
 * struct pin_report - a report of pages, made in one part or several
 * @bitmap: where bits are set; those of the range are 0 before, all others stay
 * @order: a bit stands for 2^@order pages
 * @offset: page P has bit (P >> @order) + @offset
 * @begin: the first page of all that is reported
 */
struct pin_report {
	u64 *bitmap;
	unsigned int order;
	s64 offset;
	u64 begin;
};

/**
 * pin_store_report - the dirty pages of a range: pinned for writing, or retained
 * @store: the store
 * @first: first page of this part of the report; the parts come in ascending order
 * @last: last page
 * @report: the report
 * @span: where pages are stored that no dirty page lies outside of
 *
 * Marks the retained pages of the range as reported, which pin_store_drop()
 * looks for. A page that is retained anew loses the mark, and the next report marks
 * anew, so a mark left by a report that failed does no harm.
 *
 * Return: true if a page is dirty; if not, @span is not touched.
 */
bool pin_store_report(struct pin_store *store, u64 first, u64 last,
		      const struct pin_report *report, struct pin_span *span);

/* Leaves that one call of pin_store_drop() looks at, and up to 63 more; less if some go. */
#define PIN_STORE_DROP_LEAVES	256

/**
 * enum pin_drop - which retained pages to forget
 * @PIN_DROP_REPORTED: those that were reported, and not written since (R3). Only for a
 *	range that the last report, or the parts of it, had all of
 * @PIN_DROP_ALL: all of them (R7)
 */
enum pin_drop {
	PIN_DROP_REPORTED,
	PIN_DROP_ALL,
};

/**
 * pin_store_drop - forget retained pages
 * @store: the store
 * @first: first page
 * @last: last page
 * @which: which of them
 * @next: where the page to go on with is stored, @last + 1 if that was all
 * @gone: an empty store, or one that a call has left; gets what is found empty. The caller
 *	destroys it without its lock, because memory that is freed can take long
 *
 * Looks at a limited number of leaves, so that the caller can drop its lock.
 *
 * Return: how many records were dropped.
 */
u64 pin_store_drop(struct pin_store *store, u64 first, u64 last,
		   enum pin_drop which, u64 *next, struct pin_store *gone);

#endif /* _PIN_STORE_H */
