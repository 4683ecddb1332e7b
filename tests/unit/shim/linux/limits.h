/* SPDX-License-Identifier: GPL-2.0-only */
#define U64_MAX	(~0ULL)
#define ULONG_MAX	(~0UL)
