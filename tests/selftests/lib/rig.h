/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The usual test rig: a type1v2 container with one open mdma device and one
 * mapping of anonymous memory. Pages are numbered from the start of the mapping.
 */
#ifndef SELFTESTS_RIG_H
#define SELFTESTS_RIG_H

#include "mdma.h"
#include "procfs.h"
#include "vfio.h"

#define RIG_IOVA	0x40000000ULL

struct rig {
	int container;
	struct mdma dev;
	unsigned char *mem;
	__u64 pages;
};

/* IOVA of a page of the rig. */
static inline __u64 at(__u64 page)
{
	return RIG_IOVA + (page << PAGE_SHIFT);
}

/* If pages is 0, nothing is mapped. Returns 0 or -errno. */
int rig_open(struct rig *r, const char *type, __u64 pages);
void rig_close(struct rig *r);

/*
 * One GET of npages pages, from this page on. Returns the numbers of the reported
 * pages as bitmap_text() does, or the name of the errno. The bits are 0 before, and
 * GET must not change those of pages that are not mapped.
 */
const char *dirty(struct rig *r, __u64 page, __u64 npages);

/* The same for all pages of the rig. */
static inline const char *dirty_all(struct rig *r)
{
	return dirty(r, 0, r->pages);
}

/* Anonymous memory that is not reserved. Never returns MAP_FAILED. */
void *memory(__u64 size, int prot);

/* Name of -errno, or "0". */
const char *error(int ret);

/*
 * The error for a range that goes beyond the address space, by its name: what MAP of the
 * kernel's own says, and the other calls with it.
 */
const char *range_error(int container);

/* Same seed, same numbers. */
__u64 random_next(__u64 *state);

/* $SEED, or a new seed. Prints the seed. */
__u64 random_seed(void);

#endif
