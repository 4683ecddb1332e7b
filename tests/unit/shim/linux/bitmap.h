/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_LINUX_BITMAP_H
#define _SHIM_LINUX_BITMAP_H

#include <linux/bitops.h>

#define for_each_set_bitrange_from(b, e, addr, size)			\
	for ((void)(addr), e = (b); b < (size); b = (size))

static inline void bitmap_set(unsigned long *map, unsigned int start,
			      unsigned int n)
{
	for (; n; n--, start++)
		map[start / 64] |= 1UL << start % 64;
}

#endif
