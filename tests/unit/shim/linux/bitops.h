/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHIM_LINUX_BITOPS_H
#define _SHIM_LINUX_BITOPS_H

#include <linux/types.h>

#define BITS_PER_BYTE		8
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define round_down(n, to)	((n) & ~((__typeof__(n))(to) - 1))
#define __ffs(x)		((unsigned int)__builtin_ctzl(x))
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define hweight64(x)		((unsigned int)__builtin_popcountll(x))
#define fls64(x)		((unsigned int)(64 - __builtin_clzll(x)))
#define __ffs64(x)		((unsigned int)__builtin_ctzll(x))

#endif
