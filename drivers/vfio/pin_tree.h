/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The leaves and planes of a pin store: how they are found, made and freed.
 *
 * For the files of the store alone. Leaves are ordered by number, planes too; what is
 * looked up is in [first, last], pages.
 */
#ifndef _PIN_TREE_H
#define _PIN_TREE_H

#include "pin_leaf.h"
#include "pin_plane.h"
#include "pin_store.h"

/* --- leaves --------------------------------------------------------------- */

/* leaf_floor() where the hint does not help. */
struct pin_leaf *leaf_descend(struct pin_store *store, u64 number);

/* The leaf after @leaf, or after none: the first one; or NULL. */
static inline struct pin_leaf *leaf_next(struct pin_store *store,
					 struct pin_leaf *leaf)
{
	struct hlist_node *next = leaf ? leaf->list.next : store->leaves.first;

	return hlist_entry_safe(next, struct pin_leaf, list);
}

/*
 * The leaf with the highest number up to this one, or NULL. leaf_next() of it,
 * also where it is NULL, is the first one with a higher number.
 */
static inline struct pin_leaf *leaf_floor(struct pin_store *store, u64 number)
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
static inline struct pin_leaf *leaf_next_in(struct pin_store *store,
					    struct pin_leaf *leaf, u64 last)
{
	leaf = leaf_next(store, leaf);
	return leaf && leaf->number <= last >> LEAF_SHIFT ? leaf : NULL;
}

/* The first leaf that has pages of [first, last], or NULL. */
static inline struct pin_leaf *leaf_first_in(struct pin_store *store, u64 first,
					     u64 last)
{
	struct pin_leaf *leaf = leaf_floor(store, first >> LEAF_SHIFT);

	if (leaf && leaf->number == first >> LEAF_SHIFT)
		return leaf;
	return leaf_next_in(store, leaf, last);
}

static inline bool leaf_is_empty(const struct pin_leaf *leaf)
{
	return !(leaf->pinned | leaf->retained);
}

/**
 * leaf_get - the leaf with a number, made if there is none
 * @store: the store
 * @number: the number
 * @last_number: so far the call will go on, with no leaf left out
 *
 * It can be an empty one: the caller fills it, or trims it.
 *
 * Return: the leaf, or NULL if there is no memory.
 */
struct pin_leaf *leaf_get(struct pin_store *store, u64 number, u64 last_number);

/**
 * leaf_trim - give back what a leaf does not need any more, maybe the leaf itself
 * @store: the store
 * @leaf: the leaf
 *
 * The call ends with spare_settle().
 */
void leaf_trim(struct pin_store *store, struct pin_leaf *leaf);

/**
 * leaf_move - take a leaf out of a store
 * @store: the store
 * @leaf: the leaf, with nothing pinned or retained
 * @gone: a store that is destroyed and not used otherwise; has it in its list alone
 */
void leaf_move(struct pin_store *store, struct pin_leaf *leaf,
	       struct pin_store *gone);

/* Free the leaves that are not in use. */
void spare_free(struct pin_spare *spare);

/* At the end of each call that may have taken the last leaf or plane out of the store. */
static inline void spare_settle(struct pin_store *store)
{
	if (store->spare.nr && pin_store_is_empty(store))
		spare_free(&store->spare);
}

/* --- planes --------------------------------------------------------------- */

/* The first plane that has pages from this number on, or NULL. */
struct pin_plane *plane_from(struct pin_store *store, u64 number);

/* The first plane that has pages of [first, last], or NULL. */
static inline struct pin_plane *plane_first_in(struct pin_store *store, u64 first,
					       u64 last)
{
	struct pin_plane *plane = plane_from(store, first >> PLANE_SHIFT);

	return plane && plane->number <= last >> PLANE_SHIFT ? plane : NULL;
}

static inline struct pin_plane *plane_next_in(struct pin_plane *plane, u64 last)
{
	plane = rb_entry_safe(rb_next(&plane->node), struct pin_plane, node);
	return plane && plane->number <= last >> PLANE_SHIFT ? plane : NULL;
}

/* The plane that has the words of a leaf, or NULL. */
static inline struct pin_plane *plane_of(struct pin_store *store, u64 leaf_number)
{
	u64 number = leaf_number / PLANE_WORDS;
	struct pin_plane *plane = store->plane_hint;

	if (!store->planes.rb_node)
		return NULL;
	if (plane && plane->number == number)
		return plane;
	plane = plane_from(store, number);
	if (!plane || plane->number != number)
		return NULL;
	return store->plane_hint = plane;
}

/**
 * plane_move - take a plane out of a store
 * @store: the store
 * @plane: the plane, with nothing retained
 * @gone: another store, which gets it
 */
void plane_move(struct pin_store *store, struct pin_plane *plane,
		struct pin_store *gone);

/**
 * plane_is_wanted - should what is retained around a leaf be in a plane, and is not?
 * @store: the store
 * @leaf: the leaf
 */
bool plane_is_wanted(struct pin_store *store, struct pin_leaf *leaf);

/**
 * plane_make - have a plane for the pages around a leaf, if there is memory
 * @store: the store
 * @leaf: the leaf; is freed if nothing in it is pinned
 *
 * Where there is none, the leaves keep what is retained: that takes longer, and is as
 * good. The call ends with spare_settle().
 */
void plane_make(struct pin_store *store, struct pin_leaf *leaf);

#endif /* _PIN_TREE_H */
