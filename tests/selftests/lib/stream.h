/* SPDX-License-Identifier: GPL-2.0-only */
/* Changing a migration stream on its way, with correct CRCs. */
#ifndef SELFTESTS_STREAM_H
#define SELFTESTS_STREAM_H

#include <linux/mdma.h>
#include <linux/types.h>

/* Same as the kernel's crc32_le(). */
__u32 stream_crc32(__u32 crc, const void *data, __u64 len);

/* Corrects the CRC of a record with this many bytes of payload. */
void stream_seal(struct mdma_stream_record *record, __u32 payload);

/* The first record of a type in a stream, or NULL. */
struct mdma_stream_record *stream_find(void *stream, long long size,
				       __u32 type);

/*
 * Inserts a record before END; the buffer must have room for it. Sets the minor
 * version of the stream. Returns its size.
 */
long long stream_insert(void *stream, long long size, __u32 type,
			const void *payload, __u32 length, __u16 minor);

#endif
