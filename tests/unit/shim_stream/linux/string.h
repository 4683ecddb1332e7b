/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_STRING_H
#define SHIM_STREAM_LINUX_STRING_H

#include <string.h>

static inline void *memchr_inv(const void *start, int c, size_t size)
{
	const unsigned char *at = start;

	for (; size; at++, size--)
		if (*at != (unsigned char)c)
			return (void *)at;
	return NULL;
}

#endif
