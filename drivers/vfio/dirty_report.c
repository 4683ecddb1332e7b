// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a dirty bitmap to user space, a chunk at a time.
 *
 * The cost is one pass over the user's buffer, plus the dirty bits: a chunk
 * with nothing dirty in it is cleared without a buffer of ours, and the user's
 * old bits are read only where some of them must stay.
 */
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "dirty_report.h"

/**
 * struct report_buffer - the memory of one report
 * @chunk: what the snapshot sees; its bitmaps are all 0 between two chunks
 * @user: bits as they are in the user's buffer
 */
struct report_buffer {
	struct dirty_chunk chunk;
	u64 *user;
};

static void report_buffer_free(struct report_buffer *buf)
{
	free_page((unsigned long)buf->chunk.dirty);
	free_page((unsigned long)buf->chunk.mapped);
	free_page((unsigned long)buf->user);
}

static int report_buffer_alloc(struct report_buffer *buf)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO;

	*buf = (struct report_buffer){
		.chunk.dirty = (u64 *)__get_free_page(gfp),
		.chunk.mapped = (u64 *)__get_free_page(gfp),
		.user = (u64 *)__get_free_page(gfp),
	};
	if (buf->chunk.dirty && buf->chunk.mapped && buf->user)
		return 0;
	report_buffer_free(buf);
	return -ENOMEM;
}

void dirty_chunk_map(struct dirty_chunk *chunk, unsigned int bit,
		     unsigned int nbits)
{
	chunk->nr_mapped += nbits;
	/* No mask for the usual chunk, which is inside of one mapping. */
	if (nbits == chunk->nbits)
		return;
	bitmap_set((unsigned long *)chunk->mapped, bit, nbits);
	chunk->masked = true;
}

/* All bits of the chunk's words are mapped: nothing of the user's stays. */
static int chunk_write(struct dirty_chunk *chunk, u64 __user *to, size_t bytes)
{
	if (!chunk->nr_dirty)
		return clear_user(to, bytes) ? -EFAULT : 0;
	return copy_to_user(to, chunk->dirty, bytes) ? -EFAULT : 0;
}

/* Some bits are not ours to write: past the end, or not mapped. */
static int chunk_merge(struct report_buffer *buf, u64 __user *to, size_t bytes)
{
	struct dirty_chunk *chunk = &buf->chunk;
	unsigned int i;

	if (!chunk->masked) {
		bitmap_set((unsigned long *)chunk->mapped, 0, chunk->nbits);
		chunk->masked = true;
	}
	if (copy_from_user(buf->user, to, bytes))
		return -EFAULT;
	for (i = 0; i < bytes / sizeof(u64); i++)
		buf->user[i] = (buf->user[i] & ~chunk->mapped[i]) |
			       chunk->dirty[i];
	return copy_to_user(to, buf->user, bytes) ? -EFAULT : 0;
}

static int chunk_out(struct report_buffer *buf, u64 __user *bitmap)
{
	struct dirty_chunk *chunk = &buf->chunk;
	size_t bytes = DIV_ROUND_UP(chunk->nbits, 64) * sizeof(u64);
	u64 __user *to = bitmap + chunk->first / 64;

	if (!chunk->nr_mapped)
		return 0;
	if (chunk->nr_mapped == chunk->nbits && chunk->nbits % 64 == 0)
		return chunk_write(chunk, to, bytes);
	return chunk_merge(buf, to, bytes);
}

static void chunk_begin(struct dirty_chunk *chunk, u64 first, u64 nbits)
{
	if (chunk->nr_dirty)
		memset(chunk->dirty, 0, PAGE_SIZE);
	if (chunk->masked)
		memset(chunk->mapped, 0, PAGE_SIZE);
	chunk->first = first;
	chunk->nbits = min_t(u64, nbits - first, DIRTY_CHUNK_BITS);
	chunk->nr_dirty = 0;
	chunk->nr_mapped = 0;
	chunk->masked = false;
}

int dirty_report_write(u64 __user *bitmap, u64 nbits,
		       dirty_snapshot_fn snapshot, void *ctx)
{
	struct report_buffer buf;
	u64 first;
	int ret;

	ret = report_buffer_alloc(&buf);
	if (ret)
		return ret;

	for (first = 0; first < nbits; first += buf.chunk.nbits) {
		chunk_begin(&buf.chunk, first, nbits);
		ret = snapshot(ctx, &buf.chunk);
		if (!ret)
			ret = chunk_out(&buf, bitmap);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (ret)
			break;
		cond_resched();
	}
	report_buffer_free(&buf);
	return ret;
}
