/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_SLAB_H
#define SHIM_STREAM_LINUX_SLAB_H

#include <stdlib.h>

#define kvcalloc(n, size, flags)	calloc(n, size)

#endif
