// SPDX-License-Identifier: GPL-2.0-only
/*
 * The leaves and planes of a pin store: how they are found, made and freed.
 */
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "pin_tree.h"

static struct kmem_cache *leaf_cache, *plane_cache;

int pin_store_cache_create(void)
{
	leaf_cache = kmem_cache_create("vfio_pin_leaf", sizeof(struct pin_leaf),
				       0, SLAB_ACCOUNT, NULL);
	if (!leaf_cache)
		return -ENOMEM;
	plane_cache = kmem_cache_create("vfio_pin_plane",
					sizeof(struct pin_plane), 0,
					SLAB_ACCOUNT, NULL);
	if (plane_cache)
		return 0;
	kmem_cache_destroy(leaf_cache);
	return -ENOMEM;
}

void pin_store_cache_destroy(void)
{
	kmem_cache_destroy(plane_cache);
	kmem_cache_destroy(leaf_cache);
}

void pin_store_init(struct pin_store *store)
{
	*store = (struct pin_store){ .root = RB_ROOT, .planes = RB_ROOT };
}

/* --- memory of leaves, by the dozen ------------------------------------- */

#define SPARE_LEAVES	16

/* Its array is on the stack of the calls that need it only. */
static noinline void spare_fill(struct pin_spare *spare, u64 want)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO;
	void *leaves[SPARE_LEAVES];
	unsigned int n = min_t(u64, want, SPARE_LEAVES), i;

	/* All or none. Kernels differ in whether it says how many that is. */
	if (!kmem_cache_alloc_bulk(leaf_cache, gfp, n, leaves))
		return;
	spare->nr = n;
	for (i = n; i--;) {
		struct pin_leaf *leaf = leaves[i];

		hlist_add_head(&leaf->list, &spare->leaves);
	}
}

void spare_free(struct pin_spare *spare)
{
	void *leaves[SPARE_LEAVES];
	struct hlist_node *node = spare->leaves.first;
	unsigned int n;

	for (n = 0; node; node = node->next)
		leaves[n++] = hlist_entry(node, struct pin_leaf, list);
	kmem_cache_free_bulk(leaf_cache, n, leaves);
	*spare = (struct pin_spare){};
}

/*
 * A leaf with nothing pinned or retained, or NULL; @want: how many the call will take
 * from now on.
 */
static struct pin_leaf *spare_take(struct pin_spare *spare, u64 want)
{
	struct pin_leaf *leaf;

	if (!spare->nr && want == 1)
		return kmem_cache_zalloc(leaf_cache, GFP_KERNEL_ACCOUNT);
	if (!spare->nr)
		spare_fill(spare, want);
	if (!spare->nr)
		return NULL;
	leaf = hlist_entry(spare->leaves.first, struct pin_leaf, list);
	hlist_del(&leaf->list);
	spare->nr--;
	return leaf;
}

static void spare_put(struct pin_spare *spare, struct pin_leaf *leaf)
{
	hlist_add_head(&leaf->list, &spare->leaves);
	if (++spare->nr == SPARE_LEAVES)
		spare_free(spare);
}

/* --- leaves of a store --------------------------------------------------- */

/* leaf_floor() where the hint does not help. */
struct pin_leaf *leaf_descend(struct pin_store *store,
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

/*
 * The leaf with this number, made if there is none, or NULL. It can be an empty one:
 * the caller fills it, or trims it.
 */
struct pin_leaf *leaf_get(struct pin_store *store, u64 number,
			  u64 last_number)
{
	struct pin_leaf *prev = leaf_floor(store, number), *leaf;

	if (prev && prev->number == number) {
		store->nr_empty -= leaf_is_empty(prev);
		return prev;
	}
	leaf = spare_take(&store->spare, last_number - number + 1);
	if (!leaf)
		return NULL;
	leaf->number = number;
	leaf_insert(store, prev, leaf);
	store->hint = leaf;
	return leaf;
}

static void leaf_unlink(struct pin_store *store, struct pin_leaf *leaf)
{
	/* What is unpinned next is often the next leaf's. */
	if (store->hint == leaf)
		store->hint = leaf_next(store, leaf);
	rb_erase(&leaf->node, &store->root);
	hlist_del(&leaf->list);
}

/* Give back what the leaf does not need any more, maybe the leaf itself. */
void leaf_trim(struct pin_store *store, struct pin_leaf *leaf)
{
	if (leaf->pinned)
		return;
	leaf_forget_frames(leaf);
	if (leaf->retained)
		return;
	leaf_unlink(store, leaf);
	spare_put(&store->spare, leaf);
}

void leaf_move(struct pin_store *store, struct pin_leaf *leaf,
	       struct pin_store *gone)
{
	leaf_unlink(store, leaf);
	hlist_add_head(&leaf->list, &gone->leaves);
}

/* --- planes --------------------------------------------------------------- */

/* More leaves than that among 64 take more time than a plane, and more memory. */
#define PLANE_LEAVES_MAX	4

/* The first plane that has pages from this number on, or NULL. */
struct pin_plane *plane_from(struct pin_store *store, u64 number)
{
	struct rb_node *node = store->planes.rb_node;
	struct pin_plane *found = NULL;

	while (node) {
		struct pin_plane *plane = rb_entry(node, struct pin_plane, node);

		if (plane->number < number) {
			node = node->rb_right;
			continue;
		}
		found = plane;
		if (plane->number == number)
			break;
		node = node->rb_left;
	}
	return found;
}

static void plane_insert(struct pin_store *store, struct pin_plane *new)
{
	struct rb_node **link = &store->planes.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = new->number < rb_entry(parent, struct pin_plane,
					      node)->number ?
		       &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &store->planes);
}

void plane_move(struct pin_store *store, struct pin_plane *plane,
		struct pin_store *gone)
{
	if (store->plane_hint == plane)
		store->plane_hint = NULL;
	rb_erase(&plane->node, &store->planes);
	plane_insert(gone, plane);
}

/* Move to a plane what a leaf retains. */
static void plane_take(struct pin_store *store, struct pin_plane *plane,
		       struct pin_leaf *leaf)
{
	u64 reported = leaf->reported;

	if (leaf->retained) {
		store->nr_planed += plane_retain(plane, leaf->number,
						 leaf->retained);
		if (leaf->retained == reported)
			plane->fresh &= ~BIT_ULL(leaf->number % PLANE_WORDS);
		leaf->retained = 0;
		leaf->reported = 0;
	} else {
		store->nr_empty -= leaf_is_empty(leaf);
	}
	leaf_trim(store, leaf);
}

/* Have a plane for the pages around a leaf, if there is memory. The leaf may go. */
void plane_make(struct pin_store *store, struct pin_leaf *leaf)
{
	struct pin_leaf *next;
	struct pin_plane *plane;
	u64 last;

	plane = kmem_cache_zalloc(plane_cache, GFP_KERNEL_ACCOUNT);
	if (!plane)
		return;
	plane->number = leaf->number / PLANE_WORDS;
	plane_insert(store, plane);
	last = plane_first(plane) + PLANE_PAGES - 1;
	for (leaf = leaf_first_in(store, plane_first(plane), last); leaf;
	     leaf = next) {
		next = leaf_next_in(store, leaf, last);
		plane_take(store, plane, leaf);
	}
}

/* Is there a leaf, and would the same plane stand for it? */
static bool leaf_is_near(struct rb_node *node, u64 number)
{
	struct pin_leaf *leaf = rb_entry_safe(node, struct pin_leaf, node);

	return leaf && !((leaf->number ^ number) / PLANE_WORDS);
}

bool plane_is_wanted(struct pin_store *store, struct pin_leaf *leaf)
{
	unsigned int left = PLANE_LEAVES_MAX;
	struct rb_node *node;

	if (plane_of(store, leaf->number))
		return false;
	for (node = rb_prev(&leaf->node); left && leaf_is_near(node, leaf->number);
	     node = rb_prev(node))
		left--;
	for (node = rb_next(&leaf->node); left && leaf_is_near(node, leaf->number);
	     node = rb_next(node))
		left--;
	return !left;
}

/* --- all of a store -------------------------------------------------------- */

bool pin_store_detach(struct pin_store *store, struct pin_store *to)
{
	if (store->nr_pinned || pin_store_is_empty(store))
		return false;
	*to = *store;
	hlist_move_list(&store->leaves, &to->leaves);
	hlist_move_list(&store->spare.leaves, &to->spare.leaves);
	pin_store_init(store);
	return true;
}

/* All planes, without taking them out of the tree. */
static noinline void planes_free(struct pin_store *store)
{
	struct pin_plane *plane, *next;
	void *planes[SPARE_LEAVES];
	unsigned int n = 0;

	rbtree_postorder_for_each_entry_safe(plane, next, &store->planes, node) {
		planes[n++] = plane;
		if (n == SPARE_LEAVES) {
			kmem_cache_free_bulk(plane_cache, n, planes);
			n = 0;
		}
	}
	if (n)
		kmem_cache_free_bulk(plane_cache, n, planes);
}

void pin_store_destroy(struct pin_store *store)
{
	struct pin_leaf *leaf, *next;

	/* All goes, so nothing has to be taken out of a tree. */
	for (leaf = leaf_next(store, NULL); leaf; leaf = next) {
		next = leaf_next(store, leaf);
		leaf_forget_frames(leaf);
		spare_put(&store->spare, leaf);
	}
	if (store->spare.nr)
		spare_free(&store->spare);
	if (store->planes.rb_node)
		planes_free(store);
	pin_store_init(store);
}
