/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of one mapping are pinned, and which are retained.
 *
 * A store knows page numbers and page frames, and nothing of vfio: it is
 * compiled unmodified in user space by tests/unit. Page numbers count from the
 * begin of the mapping; "last" is inclusive.
 *
 * Locking: the caller serializes all calls on one store; the backend does it
 * with iommu->lock. Only pin_store_reserve() allocates, and it may sleep.
 */
#ifndef _PIN_STORE_H
#define _PIN_STORE_H

#include <linux/rbtree.h>
#include <linux/types.h>

struct pin_leaf;

/**
 * struct pin_store - the pages of one mapping
 * @root: leaves, ordered by number
 * @hint: leaf of the last look-up, or NULL
 * @nr_pinned: pages that are pinned at least once
 * @nr_retained: pages that are retained, pinned or not
 */
struct pin_store {
	struct rb_root root;
	struct pin_leaf *hint;
	u64 nr_pinned;
	u64 nr_retained;
};

/**
 * typedef pin_store_fn - called for a page frame that is pinned
 * @arg: as given by the caller
 * @pfn: page frame
 */
typedef void (*pin_store_fn)(void *arg, unsigned long pfn);

/**
 * pin_store_cache_create - make the cache that leaves are allocated from
 *
 * Once, before the first pin_store_reserve().
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
 * pin_store_reserve - have the memory to pin or retain a range (R14)
 * @store: the store
 * @first: first page
 * @last: last page
 *
 * What is reserved stays until the pages are pinned or retained, or until
 * pin_store_cancel(). The caller does one of both before it drops the lock.
 * Allocates with GFP_KERNEL_ACCOUNT.
 *
 * Return: 0, or -ENOMEM with nothing reserved and nothing changed.
 */
int pin_store_reserve(struct pin_store *store, u64 first, u64 last);

/**
 * pin_store_cancel - give back what was reserved and not used
 * @store: the store
 * @first: first page, as reserved
 * @last: last page, as reserved
 */
void pin_store_cancel(struct pin_store *store, u64 first, u64 last);

/**
 * pin_store_lookup - look for a pinned page; retained alone is not pinned (D11)
 * @store: the store
 * @page: page number
 * @pfn: where its page frame is stored, or NULL
 *
 * Return: how often the page is pinned, 0 if it is not.
 */
unsigned int pin_store_lookup(struct pin_store *store, u64 page,
			      unsigned long *pfn);

/* A page can be pinned that often; the caller checks before it pins. */
#define PIN_STORE_REFS_MAX	((1U << 24) - 1)

/**
 * pin_store_next_pinned - the first pinned page of a range
 * @store: the store
 * @first: first page
 * @last: last page
 *
 * Return: its number, or @last + 1 if none is pinned.
 */
u64 pin_store_next_pinned(struct pin_store *store, u64 first, u64 last);

/* Pages that one call of pin_store_pin(), pin_store_unpin() takes at most. */
#define PIN_STORE_BATCH		64

/**
 * pin_store_pin - record one more pin of each page of a range
 * @store: the store
 * @first: first page; all pages are reserved or already pinned
 * @n: number of pages, 1 to PIN_STORE_BATCH
 * @pfns: their page frames; of a page that is pinned, the stored one
 * @write: the pages may be written; false for a pin for reading only (R12)
 *
 * A retained page stays retained.
 */
void pin_store_pin(struct pin_store *store, u64 first, unsigned int n,
		   const unsigned long *pfns, bool write);

/**
 * pin_store_unpin - undo one pin of each page of a range; never allocates (R14)
 * @store: the store
 * @first: first page
 * @n: number of pages, 1 to PIN_STORE_BATCH
 * @retain: retain a page if this was its last pin, and it was pinned for
 *	writing (R2)
 * @pfns: where the page frames go whose last pin this was; room for @n
 *
 * Does nothing for a page that is not pinned, retained or not (R6).
 *
 * Return: number of page frames in @pfns, which the caller has to release.
 */
unsigned int pin_store_unpin(struct pin_store *store, u64 first,
			     unsigned int n, bool retain, unsigned long *pfns);

/**
 * pin_store_retain - retain a range without a pin, as vfio_dma_rw() needs (R10)
 * @store: the store
 * @first: first page, reserved
 * @last: last page, reserved
 */
void pin_store_retain(struct pin_store *store, u64 first, u64 last);

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
 * pin_store_report - the dirty pages of a range: pinned for writing, or retained
 * @store: the store
 * @first: first page
 * @last: last page
 * @order: a bit stands for 2^@order pages; @first is a multiple of that
 * @bitmap: a bit is set for each dirty page; no bit is cleared
 * @bit: the bit of page @first
 * @span: where pages are stored that no dirty page lies outside of
 *
 * Marks the retained pages of the range as reported, which
 * pin_store_drop_reported() looks for. A page that is written later loses the
 * mark, so a mark left by a report that failed does no harm.
 *
 * Return: true if a page is dirty; if not, @span is not touched.
 */
bool pin_store_report(struct pin_store *store, u64 first, u64 last,
		      unsigned int order, u64 *bitmap, u64 bit,
		      struct pin_span *span);

/**
 * pin_store_unreported - is there something a report of this range must hold?
 * @store: the store
 * @first: first page
 * @last: last page
 *
 * Return: true if a page of the range is pinned for writing, or is retained
 * and not marked as reported.
 */
bool pin_store_unreported(struct pin_store *store, u64 first, u64 last);

/* Leaves that one call of pin_store_drop_reported() looks at, at most. */
#define PIN_STORE_DROP_LEAVES	256

/**
 * pin_store_drop_reported - forget retained pages that were reported (R3)
 * @store: the store
 * @first: first page
 * @last: last page
 * @next: where the page to go on with is stored, @last + 1 if that was all
 *
 * Looks at a limited number of leaves, so that the caller can drop its lock.
 *
 * Return: how many records were dropped.
 */
u64 pin_store_drop_reported(struct pin_store *store, u64 first, u64 last,
			    u64 *next);

/**
 * pin_store_drop_retained - forget all retained pages (R7)
 * @store: the store
 */
void pin_store_drop_retained(struct pin_store *store);

/**
 * pin_store_walk_pinned - call a function for each pinned page, once
 * @store: the store
 * @fn: the function; must not change the store
 * @arg: for @fn
 */
void pin_store_walk_pinned(struct pin_store *store, pin_store_fn fn,
			   void *arg);

/**
 * pin_store_destroy - forget everything and free all memory
 * @store: the store; can be used again, it is empty
 */
void pin_store_destroy(struct pin_store *store);

#endif /* _PIN_STORE_H */
