// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a pin store are dirty: reports of them, and what is forgotten after a
 * report.
 */
#include <linux/minmax.h>

#include "pin_tree.h"

/* As many leaves take as long to look at as a plane, or as to free something. */
#define DROP_PLANE_LEAVES	2
#define DROP_FREE_LEAVES	5

/* Does a report find something in the leaves? */
static bool leaves_are_dirty(const struct pin_store *store)
{
	return store->nr_pinned || store->nr_retained != store->nr_planed;
}

/* pin_store_next_dirty() for leaves alone. */
static bool leaves_next_dirty(struct pin_store *store, u64 first, u64 last,
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

/* The same for planes. */
static bool planes_next_dirty(struct pin_store *store, u64 first, u64 last,
			      enum pin_record which, u64 *next)
{
	unsigned int left = PIN_STORE_WALK_PLANES;
	struct pin_plane *plane;

	for (plane = plane_first_in(store, first, last); plane;
	     plane = plane_next_in(plane, last)) {
		if (!left--) {
			*next = plane_first(plane);
			return false;
		}
		if (plane_next_dirty(plane, first, last, which, next))
			return true;
	}
	*next = last + 1;
	return false;
}

bool pin_store_next_dirty(struct pin_store *store, u64 first, u64 last,
			  enum pin_record which, u64 *next)
{
	bool in_leaves = false, in_planes;
	u64 next_in_planes;

	*next = last + 1;
	if (leaves_are_dirty(store))
		in_leaves = leaves_next_dirty(store, first, last, which, next);
	if (!store->nr_planed)
		return in_leaves;
	in_planes = planes_next_dirty(store, first, last, which,
				      &next_in_planes);
	if (next_in_planes > *next)
		return in_leaves;
	in_planes |= in_leaves && next_in_planes == *next;
	*next = next_in_planes;
	return in_planes;
}

/* Numbers of the first and the last leaf that has dirty pages. */
struct leaf_span {
	u64 low;
	u64 high;
};

static void planes_report(struct pin_store *store, u64 first, u64 last,
			  const struct pin_report *report,
			  struct leaf_span *span)
{
	u64 *bitmap = report_is_aligned(report) ? report_word(report, 0) : NULL;
	struct pin_plane *plane;

	for (plane = plane_first_in(store, first, last); plane;
	     plane = plane_next_in(plane, last)) {
		u64 number = plane->number * PLANE_WORDS, words;

		if (bitmap && plane_is_within(plane, first, last))
			words = plane_report_whole(plane, bitmap + number);
		else
			words = plane_report(plane, first, last, report);
		if (!words)
			continue;
		if (span->low > span->high)
			span->low = number + __ffs64(words);
		span->high = number + fls64(words) - 1;
	}
}

static void leaves_report(struct pin_store *store, u64 first, u64 last,
			  const struct pin_report *report,
			  struct leaf_span *span)
{
	u64 first_number = first >> LEAF_SHIFT, last_number = last >> LEAF_SHIFT;
	u64 *words = report_is_aligned(report) ? report_word(report, 0) : NULL;
	u64 low = span->low, high = span->high;
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
		high = max(high, number);
		if (words)
			words[number] |= dirty;
		else
			leaf_report(number, dirty, report);
	}
	span->low = low;
	span->high = high;
}

bool pin_store_report(struct pin_store *store, u64 first, u64 last,
		      const struct pin_report *report, struct pin_span *span)
{
	struct leaf_span found = { .low = U64_MAX };

	if (store->nr_planed)
		planes_report(store, first, last, report, &found);
	if (leaves_are_dirty(store))
		leaves_report(store, first, last, report, &found);
	if (found.low > found.high)
		return false;
	span->first = max(found.low << LEAF_SHIFT, first);
	span->last = min((found.high << LEAF_SHIFT) + LEAF_PAGES - 1, last);
	return true;
}

/*
 * A plane that is found empty goes. One that becomes empty stays until the next drop,
 * because a device that works often goes on with the same pages. Return: what it costs,
 * in leaves.
 */
static int drop_plane(struct pin_store *store, struct pin_plane *plane,
		      u64 first, u64 last, enum pin_drop which,
		      struct pin_store *gone)
{
	bool empty = !plane->used;
	unsigned int nr;

	if (plane_is_within(plane, first, last) &&
	    (!plane->fresh || which == PIN_DROP_ALL))
		nr = plane_drop_whole(plane);
	else
		nr = plane_drop(plane, first, last, which);
	store->nr_planed -= nr;
	store->nr_retained -= nr;
	if (!empty && (plane->used || which != PIN_DROP_ALL))
		return DROP_PLANE_LEAVES;
	plane_move(store, plane, gone);
	return DROP_FREE_LEAVES;
}

/* The same for a leaf. */
static int drop_leaf(struct pin_store *store, struct pin_leaf *leaf, u64 mask,
		     enum pin_drop which, struct pin_store *gone)
{
	bool empty = leaf_is_empty(leaf);

	mask &= leaf->retained;
	if (which == PIN_DROP_REPORTED)
		mask &= leaf->reported;
	store->nr_retained -= leaf_count(mask);
	leaf->retained &= ~mask;
	leaf->reported &= ~mask;
	if (!leaf_is_empty(leaf))
		return 1;
	if (!empty && which != PIN_DROP_ALL) {
		store->nr_empty++;
		return 1;
	}
	store->nr_empty -= empty;
	leaf_move(store, leaf, gone);
	return DROP_FREE_LEAVES;
}

/*
 * Drop pages of the leaves from @leaf on that have pages up to @last, until @left is
 * used up. Return: the leaf to go on with, if there is one.
 */
static struct pin_leaf *drop_leaves(struct pin_store *store,
				    struct pin_leaf *leaf, u64 first, u64 last,
				    enum pin_drop which,
				    struct pin_store *gone, int *left)
{
	u64 first_number = first >> LEAF_SHIFT, last_number = last >> LEAF_SHIFT;

	while (leaf && leaf->number <= last_number && *left > 0) {
		struct pin_leaf *next = leaf_next(store, leaf);
		u64 mask = U64_MAX;

		/* Only the leaves at the ends can have pages outside. */
		if (leaf->number == first_number || leaf->number == last_number)
			mask = leaf_mask(leaf, first, last);
		*left -= drop_leaf(store, leaf, mask, which, gone);
		leaf = next;
	}
	return leaf;
}

/* Drop a plane, and then all leaves of the same pages. Return: as drop_leaves(). */
static struct pin_leaf *drop_plane_and_leaves(struct pin_store *store,
					      struct pin_plane *plane,
					      struct pin_leaf *leaf, u64 first,
					      u64 last, enum pin_drop which,
					      struct pin_store *gone, int *left)
{
	int all = PLANE_WORDS * DROP_FREE_LEAVES;

	last = min(last, plane_first(plane) + PLANE_PAGES - 1);
	*left -= drop_plane(store, plane, first, last, which, gone);
	if (!leaf)
		return NULL;
	*left -= all;
	leaf = drop_leaves(store, leaf, first, last, which, gone, &all);
	*left += all;
	return leaf;
}

u64 pin_store_drop(struct pin_store *store, u64 first, u64 last,
		   enum pin_drop which, u64 *next, struct pin_store *gone)
{
	struct pin_plane *plane = plane_first_in(store, first, last), *after;
	struct pin_leaf *leaf = NULL;
	u64 before = store->nr_retained;
	int left = PIN_STORE_DROP_LEAVES;

	if (store->nr_empty || before != store->nr_planed)
		leaf = leaf_first_in(store, first, last);
	*next = last + 1;
	while (left > 0 && (plane || leaf)) {
		if (leaf && (!plane || leaf->number / PLANE_WORDS < plane->number)) {
			leaf = drop_leaves(store, leaf, first, plane ?
					   plane_first(plane) - 1 : last, which,
					   gone, &left);
		} else {
			after = plane_next_in(plane, last);
			leaf = drop_plane_and_leaves(store, plane, leaf, first,
						     last, which, gone, &left);
			plane = after;
		}
		if (leaf && leaf->number > last >> LEAF_SHIFT)
			leaf = NULL;
	}
	if (leaf)
		*next = leaf->number << LEAF_SHIFT;
	if (plane)
		*next = min(*next, plane_first(plane));
	spare_settle(store);
	return before - store->nr_retained;
}
