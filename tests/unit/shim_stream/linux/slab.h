/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_SLAB_H
#define SHIM_STREAM_LINUX_SLAB_H

#include <stdbool.h>
#include <stdlib.h>

#define GFP_KERNEL_ACCOUNT	0

/* Of the test: nothing can be allocated. */
extern bool shim_no_memory;

static inline void *kvcalloc(size_t n, size_t size, int flags)
{
	return flags || shim_no_memory ? NULL : calloc(n, size);
}

#endif
