/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plane of a pin store: the retained pages of 64 leaves, a word for each. So a
 * leaf is needed only where a page is pinned, and what a report does with a plane is
 * a copy of 64 words, and a memset().
 *
 * One word has a bit for each word that is not 0 (@used), another one a bit for each
 * word that is fresh (@fresh): a page of it was written after the last report that
 * has it began. That is kept by the word, not by the page: a drop forgets no page of
 * a fresh word, and the next report has all of it once more. None is lost by that.
 *
 * For the files of the store alone.
 */
#ifndef _PIN_PLANE_H
#define _PIN_PLANE_H

#include <linux/rbtree.h>
#include <linux/types.h>

#include "pin_leaf.h"

#define PLANE_SHIFT	(LEAF_SHIFT + 6)
#define PLANE_WORDS	64
#define PLANE_PAGES	(PLANE_WORDS * LEAF_PAGES)

/**
 * struct pin_plane - the retained pages of PLANE_PAGES pages
 * @node: in the store's tree of planes
 * @number: number of the first page, shifted by PLANE_SHIFT
 * @used: words that are not 0
 * @fresh: of the used: words that must stay when what was reported is dropped
 * @nr_retained: pages that are retained
 * @retained: a bit for each page
 */
struct pin_plane {
	struct rb_node node;
	u64 number;
	u64 used;
	u64 fresh;
	unsigned int nr_retained;
	u64 retained[PLANE_WORDS];
};

static inline u64 plane_first(const struct pin_plane *plane)
{
	return plane->number << PLANE_SHIFT;
}

/* Are all pages of the plane in [first, last]? */
static inline bool plane_is_within(const struct pin_plane *plane, u64 first,
				   u64 last)
{
	return plane_first(plane) >= first &&
	       plane_first(plane) + PLANE_PAGES - 1 <= last;
}

/**
 * plane_retain - retain pages of one word; all were just written
 * @plane: the plane
 * @number: number of the leaf, in the store
 * @mask: pages of it, at least one
 *
 * Return: how many were not retained before.
 */
unsigned int plane_retain(struct pin_plane *plane, u64 number, u64 mask);

/**
 * plane_report - the retained pages of a range
 * @plane: the plane, which has pages of the range
 * @first: first page of the range, maybe before the plane
 * @last: last page of the range, maybe behind the plane
 * @report: where they go
 *
 * Return: the words that have such pages.
 */
u64 plane_report(struct pin_plane *plane, u64 first, u64 last,
		 const struct pin_report *report);

/**
 * plane_report_whole - the retained pages of a whole plane
 * @plane: the plane
 * @bitmap: a word for each of its words; all are 0
 *
 * Return: the words that have such pages.
 */
u64 plane_report_whole(struct pin_plane *plane, u64 *bitmap);

/**
 * plane_drop - forget retained pages of a range
 * @plane: the plane, which has pages of the range
 * @first: first page of the range, maybe before the plane
 * @last: last page of the range, maybe behind the plane
 * @which: which of them
 *
 * Return: how many.
 */
unsigned int plane_drop(struct pin_plane *plane, u64 first, u64 last,
			enum pin_drop which);

/**
 * plane_drop_whole - forget all retained pages
 * @plane: the plane
 *
 * Return: how many.
 */
unsigned int plane_drop_whole(struct pin_plane *plane);

/**
 * plane_next_dirty - the first retained page of a range
 * @plane: the plane, which has pages of the range
 * @first: first page of the range, maybe before the plane
 * @last: last page of the range, maybe behind the plane
 * @which: PIN_UNREPORTED: only of fresh words
 * @page: where it is stored
 *
 * Return: false if there is none.
 */
bool plane_next_dirty(struct pin_plane *plane, u64 first, u64 last,
		      enum pin_record which, u64 *page);

#endif /* _PIN_PLANE_H */
