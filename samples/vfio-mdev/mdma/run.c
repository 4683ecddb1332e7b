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

/* Instead of "static" */
#define SHARED

INTERVAL_TREE_DEFINE(struct mdma_run, node, u64, subtree_last, run_first,
		     run_last, SHARED, mdma_run)
