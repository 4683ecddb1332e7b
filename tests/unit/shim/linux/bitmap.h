/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_LINUX_BITMAP_H
#define _SHIM_LINUX_BITMAP_H

#include <stdbool.h>

#include <linux/bitops.h>

/* The first bit from @at on that is 1, or 0; @size if there is none. */
static inline unsigned int shim_next_bit(const unsigned long *map, bool one,
					 unsigned int at, unsigned int size)
{
	while (at < size && (map[at / 64] >> at % 64 & 1) != one)
		at++;
	return at;
}

#define for_each_set_bitrange_from(b, e, addr, size)			\
	for (; (b) = shim_next_bit(addr, true, b, size),		\
	       (e) = shim_next_bit(addr, false, b, size), (b) < (size);	\
	     (b) = (e))

static inline void bitmap_set(unsigned long *map, unsigned int start,
			      unsigned int n)
{
	for (; n; n--, start++)
		map[start / 64] |= 1UL << start % 64;
}

#endif
