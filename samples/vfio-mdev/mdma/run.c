// SPDX-License-Identifier: GPL-2.0-only
/*
 * Trees of runs, by the range of IOVAs that each has. There can be 65536 of the
 * same pages. Under mdma_access.lock.
 */
#include <linux/interval_tree_generic.h>

#include "run.h"

static u64 run_first(const struct mdma_run *run)
{
	return run->iova;
}

static u64 run_last(const struct mdma_run *run)
{
	return mdma_last_byte(run->iova, run->npages);
}

INTERVAL_TREE_DEFINE(struct mdma_run, node, u64, subtree_last, run_first,
		     run_last, static inline, run_tree)

void mdma_run_insert(struct mdma_run *run, struct rb_root_cached *root)
{
	run_tree_insert(run, root);
}

void mdma_run_remove(struct mdma_run *run, struct rb_root_cached *root)
{
	run_tree_remove(run, root);
}

/* The first run with a byte in a range, both ends included. */
struct mdma_run *mdma_run_iter_first(struct rb_root_cached *root, u64 first,
				     u64 last)
{
	return run_tree_iter_first(root, first, last);
}

/* The next one. */
struct mdma_run *mdma_run_iter_next(struct mdma_run *run, u64 first, u64 last)
{
	return run_tree_iter_next(run, first, last);
}
