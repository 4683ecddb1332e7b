/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory whose first access stalls until the test lets it continue (userfaultfd). */
#ifndef SELFTESTS_STALL_H
#define SELFTESTS_STALL_H

#include <linux/types.h>

#include "job.h"
#include "wait.h"

/* Why an access stalls. */
enum stall_kind {
	STALL_ANONYMOUS,	/* there is no page yet */
	STALL_SHMEM,		/* the same in shared memory */
	STALL_WRITE,		/* there is one, protected from writes */
	STALL_HUGE,		/* there is no huge page of hugetlbfs yet */
};

struct stall {
	int fd;
	unsigned char *mem;
	__u64 size;
	enum stall_kind kind;
};

/* A huge page of hugetlbfs; @size of STALL_HUGE is a multiple of it. */
#define STALL_HUGE_SIZE	(2ULL << 20)

/* Returns 0 or -errno. */
int stall_open_kind(struct stall *s, __u64 size, enum stall_kind kind);

static inline int stall_open(struct stall *s, __u64 size)
{
	return stall_open_kind(s, size, STALL_ANONYMOUS);
}

/* Waits up to scaled_ms() until an access stalls. Returns the page or -ETIMEDOUT. */
int stall_wait(struct stall *s, int ms);

/* Makes one page, or all pages from now on, ordinary memory, filled with zeroes. */
void stall_release_page(struct stall *s, int page);
void stall_release(struct stall *s);

/* Takes the memory away: accesses that stall, and later ones, fault. */
void stall_break(struct stall *s);

#endif
