/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory whose first access stalls, until the test lets it go on (by
 * userfaultfd).
 */
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
};

struct stall {
	int fd;
	unsigned char *mem;
	__u64 size;
	enum stall_kind kind;
};

/* Returns 0 or -errno. */
int stall_open_kind(struct stall *s, __u64 size, enum stall_kind kind);

static inline int stall_open(struct stall *s, __u64 size)
{
	return stall_open_kind(s, size, STALL_ANONYMOUS);
}

/* Waits until somebody stalls, for scaled_ms(). Returns the page or -ETIMEDOUT. */
int stall_wait(struct stall *s, int ms);

/* One page, or all from now on, is memory like any other, and zero. */
void stall_release_page(struct stall *s, int page);
void stall_release(struct stall *s);

/* Who stalls or comes later gets a fault: the memory is gone. */
void stall_break(struct stall *s);

#endif
