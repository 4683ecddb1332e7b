// SPDX-License-Identifier: GPL-2.0-only
/*
 * A trace that comes in pieces, as sysfs passes a page at a time. Takes
 * mdma_replay_upload.lock.
 */
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "replay.h"
#include "upload.h"

#define HEADER_SIZE	sizeof(struct mdma_trace_header)

/**
 * mdma_upload_header() - start of a trace
 * @entries: that follow
 *
 * Return: the header.
 */
struct mdma_trace_header mdma_upload_header(u32 entries)
{
	return (struct mdma_trace_header) {
		.magic = cpu_to_le32(MDMA_TRACE_MAGIC),
		.version = cpu_to_le32(MDMA_TRACE_VERSION),
		.entries = cpu_to_le32(entries),
	};
}

/**
 * mdma_upload_init() - nothing is on its way
 * @upload: zeroed
 */
void mdma_upload_init(struct mdma_replay_upload *upload)
{
	mutex_init(&upload->lock);
}

/**
 * mdma_upload_drop() - forget what has come
 * @upload: lock held
 */
void mdma_upload_drop(struct mdma_replay_upload *upload)
{
	kvfree(upload->entries);
	upload->entries = NULL;
	upload->size = 0;
}

/**
 * mdma_upload_destroy() - undo mdma_upload_init()
 * @upload: nobody uses it any more
 */
void mdma_upload_destroy(struct mdma_replay_upload *upload)
{
	kvfree(upload->entries);
	mutex_destroy(&upload->lock);
}

static size_t whole_size(const struct mdma_replay_upload *upload)
{
	return HEADER_SIZE + (size_t)le32_to_cpu(upload->header.entries) *
			     sizeof(*upload->entries);
}

/* A new trace begins: what its header says is checked. */
static int begin_upload(struct mdma_replay_upload *upload, const char *buf,
			size_t count)
{
	struct mdma_trace_header want;
	u32 nr;

	mdma_upload_drop(upload);
	if (count < HEADER_SIZE)
		return -EINVAL;
	memcpy(&upload->header, buf, HEADER_SIZE);
	nr = le32_to_cpu(upload->header.entries);
	want = mdma_upload_header(nr);
	if (memcmp(&upload->header, &want, HEADER_SIZE))
		return -EINVAL;
	if (nr > MDMA_TRACE_MAX)
		return -E2BIG;
	upload->entries = kvcalloc(max(nr, 1U), sizeof(*upload->entries),
				   GFP_KERNEL_ACCOUNT);
	return upload->entries ? 0 : -ENOMEM;
}

/**
 * mdma_upload_part() - the next part of a trace
 * @upload: lock held
 * @buf: the part
 * @pos: where it begins: at 0, or where the last one ended
 * @count: bytes
 *
 * Return: 1 if more must follow, 0 if the trace is complete and valid, or what is
 * wrong with it.
 */
int mdma_upload_part(struct mdma_replay_upload *upload, const char *buf,
		     loff_t pos, size_t count)
{
	size_t skip = 0;
	int ret;

	if (!pos) {
		ret = begin_upload(upload, buf, count);
		if (ret)
			return ret;
		skip = HEADER_SIZE;
	}
	if (!upload->entries || pos != upload->size)
		return -EINVAL;
	if (count > whole_size(upload) - upload->size)
		return -EFBIG;
	memcpy((void *)upload->entries + pos + skip - HEADER_SIZE, buf + skip,
	       count - skip);
	upload->size += count;
	if (upload->size < whole_size(upload))
		return 1;
	return mdma_trace_check(upload->entries,
				le32_to_cpu(upload->header.entries),
				sizeof(*upload->entries));
}
