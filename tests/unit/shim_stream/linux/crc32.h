/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHIM_STREAM_LINUX_CRC32_H
#define SHIM_STREAM_LINUX_CRC32_H

#include <linux/types.h>

static inline u32 crc32_le(u32 crc, const u8 *at, size_t size)
{
	int bit;

	for (; size; at++, size--) {
		crc ^= *at;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return crc;
}

#endif
