// SPDX-License-Identifier: GPL-2.0-only
#include <stddef.h>
#include <string.h>

#include "stream.h"

__u32 stream_crc32(__u32 crc, const void *data, __u64 len)
{
	static __u32 table[256];
	const unsigned char *p = data;
	__u32 i, value;
	int bit;

	for (i = 0; !table[255] && i < 256; i++) {
		value = i;
		for (bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
		table[i] = value;
	}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

void stream_seal(struct mdma_stream_record *record, __u32 payload)
{
	const size_t head = offsetof(struct mdma_stream_record, crc);

	record->crc = stream_crc32(stream_crc32(~0, record, head), record + 1,
				   payload);
}

static struct mdma_stream_record *next(struct mdma_stream_record *record)
{
	return (void *)((char *)(record + 1) + record->length);
}

struct mdma_stream_record *stream_find(void *stream, long long size,
				       __u32 type)
{
	struct mdma_stream_record *at = stream;
	char *end = (char *)stream + size;

	while ((char *)(at + 1) <= end && at->type != type)
		at = next(at);
	return (char *)(at + 1) <= end ? at : NULL;
}

long long stream_insert(void *stream, long long size, __u32 type,
			const void *payload, __u32 length, __u16 minor)
{
	struct mdma_stream_record *end, *at = stream;

	end = stream_find(stream, size, MDMA_RECORD_END);
	if (!end)
		return -1;
	memmove((char *)(end + 1) + length, end, sizeof(*end));
	end->type = type;
	end->length = length;
	memcpy(end + 1, payload, length);
	size += sizeof(*end) + length;
	if (((struct mdma_stream_record *)stream)->minor == minor)
		at = end;
	for (; (char *)at < (char *)stream + size; at = next(at)) {
		at->minor = minor;
		stream_seal(at, at->length);
	}
	return size;
}
