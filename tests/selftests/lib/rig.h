/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The usual test rig: a type1v2 container with one open mdma device and one
 * mapping of anonymous memory. Pages are numbered from the begin of it.
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

/* With pages 0 nothing is mapped. Returns 0 or -errno. */
int rig_open(struct rig *r, const char *type, __u64 pages);
void rig_close(struct rig *r);

/*
 * One GET of npages pages from this one. Returns the numbers of the pages
 * that it reports as bitmap_text() does, or the name of the errno. Bits of
 * pages that are not mapped must be left alone: they are 0 before.
 */
const char *dirty(struct rig *r, __u64 page, __u64 npages);

/* The same for all pages of the rig. */
static inline const char *dirty_all(struct rig *r)
{
	return dirty(r, 0, r->pages);
}

/* Anonymous memory that is not reserved; MAP_FAILED is never returned. */
void *memory(__u64 size, int prot);

/* Name of -errno, or "0". */
const char *error(int ret);

/* Same seed, same numbers. */
__u64 random_next(__u64 *state);

/* $SEED or a new one; prints it. */
__u64 random_seed(void);

#endif
