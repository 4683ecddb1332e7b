/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_STRING_H
#define _SHIM_STRING_H

#include <string.h>
#include <linux/types.h>

static inline void *memset64(u64 *p, u64 value, size_t n)
{
	while (n--)
		p[n] = value;
	return p;
}

#endif
