/* SPDX-License-Identifier: GPL-2.0-only */
/* A migration stream that is changed on its way, with CRCs that are right. */
#ifndef SELFTESTS_STREAM_H
#define SELFTESTS_STREAM_H

#include <linux/mdma.h>
#include <linux/types.h>

/* As the kernel's crc32_le(). */
__u32 stream_crc32(__u32 crc, const void *data, __u64 len);

/* Makes the CRC of a record with so many bytes of payload right. */
void stream_seal(struct mdma_stream_record *record, __u32 payload);

/* The first record of a type in a stream, or NULL. */
struct mdma_stream_record *stream_find(void *stream, long long size,
				       __u32 type);

/*
 * Puts a record before END, in room for it. Returns the size of the stream,
 * which now has this minor version.
 */
long long stream_insert(void *stream, long long size, __u32 type,
			const void *payload, __u32 length, __u16 minor);

#endif
