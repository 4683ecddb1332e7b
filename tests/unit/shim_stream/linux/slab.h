/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_SLAB_H
#define SHIM_STREAM_LINUX_SLAB_H

#include <stdlib.h>

#define GFP_KERNEL_ACCOUNT	0

static inline void *kvcalloc(size_t n, size_t size, int flags)
{
	return flags ? NULL : calloc(n, size);
}

#endif
