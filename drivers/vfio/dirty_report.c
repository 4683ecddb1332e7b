// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing a dirty bitmap to user space, a chunk at a time.
 *
 * The cost is one pass over the user's buffer, plus the dirty bits: what is clean
 * up to the next dirty bit is cleared in one go, without a buffer of ours, and the
 * user's old bits are read only where some of them must stay.
 */
#include <linux/bitmap.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "dirty_report.h"

/**
 * struct report_buffer - the memory of one report
 * @chunk: what the snapshot sees; its bitmaps are all 0 between two chunks
 * @user: bits as they are in the user's buffer
 * @small: the three bitmaps, if they are not allocated
 */
struct report_buffer {
	struct dirty_chunk chunk;
	u64 *user;
	u64 small[3][DIRTY_SMALL_WORDS];
};

static void report_buffer_free(struct report_buffer *buf)
{
	if (buf->chunk.dirty == buf->small[0])
		return;
	kvfree(buf->chunk.dirty);
	kvfree(buf->chunk.mapped);
	kvfree(buf->user);
}

/* On the stack, all 0 yet: for a short report, and where there is no memory. */
static void report_buffer_small(struct report_buffer *buf)
{
	report_buffer_free(buf);
	buf->chunk.first_dirty = 0;
	buf->chunk.end_dirty = 0;
	buf->chunk.room = DIRTY_SMALL_BITS;
	buf->chunk.dirty = buf->small[0];
	buf->chunk.mapped = buf->small[1];
	buf->user = buf->small[2];
}

/* Have memory for @nbits that are left, or for a chunk of them. */
static void report_buffer_alloc(struct report_buffer *buf, u64 nbits)
{
	size_t words = min_t(u64, DIV_ROUND_UP(nbits, 64),
			     DIRTY_CHUNK_BYTES / sizeof(u64));

	if (nbits > DIRTY_SMALL_BITS)
		buf->chunk.dirty = kvzalloc(words * sizeof(u64),
					    GFP_KERNEL_ACCOUNT);
	buf->chunk.room = words * 64;
	if (!buf->chunk.dirty)
		report_buffer_small(buf);
}

/* The same for what only a chunk needs that is not all of one mapping. */
static void report_buffer_mask(struct report_buffer *buf)
{
	size_t bytes = buf->chunk.room / BITS_PER_BYTE;

	buf->chunk.mapped = kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
	buf->user = kvmalloc(bytes, GFP_KERNEL_ACCOUNT);
	if (!buf->chunk.mapped || !buf->user)
		report_buffer_small(buf);
}

static void chunk_place(struct dirty_chunk *chunk, u64 first)
{
	chunk->first = first;
	chunk->nbits = min_t(u64, chunk->end - first, chunk->room);
}

void dirty_chunk_skip(struct dirty_chunk *chunk, unsigned int nbits)
{
	chunk_place(chunk, chunk->first + nbits);
	chunk->skipped += nbits;
}

void dirty_chunk_hole(struct dirty_chunk *chunk, u64 nbits)
{
	chunk_place(chunk, chunk->first + nbits);
}

void dirty_chunk_cut(struct dirty_chunk *chunk, unsigned int nbits)
{
	chunk->nbits = min(chunk->nbits, nbits);
}

void dirty_chunk_map(struct dirty_chunk *chunk, unsigned int bit,
		     unsigned int nbits)
{
	chunk->nr_mapped += nbits;
	/* No mask for the usual chunk, which is inside of one mapping. */
	if (nbits == chunk->nbits)
		return;
	if (chunk->mapped)
		bitmap_set((unsigned long *)chunk->mapped, bit, nbits);
	chunk->masked = true;
}

void dirty_chunk_mark(struct dirty_chunk *chunk, unsigned int first,
		      unsigned int last)
{
	if (chunk->first_dirty == chunk->end_dirty) {
		chunk->first_dirty = first / 64;
		chunk->end_dirty = last / 64 + 1;
		return;
	}
	chunk->first_dirty = min(chunk->first_dirty, first / 64);
	chunk->end_dirty = max(chunk->end_dirty, last / 64 + 1);
}

static int clear_words(u64 __user *from, u64 __user *end)
{
	size_t bytes = (end - from) * sizeof(u64);

	return bytes && clear_user(from, bytes) ? -EFAULT : 0;
}

/* A word or two, as pages far from each other make them, take no copy. */
static int copy_words(u64 __user *to, const u64 *from, unsigned int words)
{
	if (words > 2)
		return copy_to_user(to, from, words * sizeof(u64)) ? -EFAULT : 0;
	for (; words; words--)
		if (put_user(*from++, to++))
			return -EFAULT;
	return 0;
}

static int read_words(u64 *to, const u64 __user *from, unsigned int words)
{
	if (words > 2)
		return copy_from_user(to, from, words * sizeof(u64)) ? -EFAULT : 0;
	for (; words; words--)
		if (get_user(*to++, from++))
			return -EFAULT;
	return 0;
}

/* All bits of the chunk's words are mapped: nothing of the user's stays. */
static int chunk_write(struct dirty_chunk *chunk, u64 __user *to,
		       unsigned int words)
{
	unsigned int first = chunk->first_dirty, end = chunk->end_dirty;
	int ret;

	if (first == end)
		return clear_words(to - chunk->skipped / 64, to + words);
	ret = clear_words(to - chunk->skipped / 64, to + first);
	if (!ret)
		ret = copy_words(to + first, chunk->dirty + first, end - first);
	/* What is clean behind it is cleared with what is clean from there on. */
	chunk->nbits = end * 64;
	return ret;
}

/* Some bits are not ours to write: past the end, or not mapped. */
static int chunk_merge(struct report_buffer *buf, u64 __user *to,
		       unsigned int words)
{
	struct dirty_chunk *chunk = &buf->chunk;
	unsigned int i;

	if (!chunk->masked) {
		bitmap_set((unsigned long *)chunk->mapped, 0, chunk->nbits);
		chunk->masked = true;
	}
	if (read_words(buf->user, to, words))
		return -EFAULT;
	for (i = 0; i < words; i++)
		buf->user[i] = (buf->user[i] & ~chunk->mapped[i]) |
			       chunk->dirty[i];
	return copy_words(to, buf->user, words);
}

static int chunk_out(struct report_buffer *buf, u64 __user *bitmap)
{
	struct dirty_chunk *chunk = &buf->chunk;
	unsigned int words = DIV_ROUND_UP(chunk->nbits, 64);
	u64 __user *to = bitmap + chunk->first / 64;
	int ret;

	if (chunk->nr_mapped == chunk->nbits && chunk->nbits % 64 == 0)
		return chunk_write(chunk, to, words);
	ret = clear_words(to - chunk->skipped / 64, to);
	if (!ret && chunk->nr_mapped)
		ret = chunk_merge(buf, to, words);
	return ret;
}

static void chunk_begin(struct dirty_chunk *chunk, u64 first)
{
	if (chunk->first_dirty != chunk->end_dirty)
		memset64(chunk->dirty + chunk->first_dirty, 0,
			 chunk->end_dirty - chunk->first_dirty);
	if (chunk->masked && chunk->mapped)
		memset(chunk->mapped, 0, chunk->room / BITS_PER_BYTE);
	chunk_place(chunk, first);
	chunk->skipped = 0;
	chunk->first_dirty = 0;
	chunk->end_dirty = 0;
	chunk->nr_mapped = 0;
	chunk->masked = false;
}

/*
 * A report of one word, as a VMM with a vIOMMU asks for again and again: without
 * buffers. A word is never cut.
 */
static int report_word(u64 __user *to, unsigned int nbits,
		       dirty_snapshot_fn snapshot, void *ctx)
{
	u64 dirty = 0, mapped = 0, user = 0;
	struct dirty_chunk chunk = {
		.nbits = nbits, .room = 64, .end = nbits,
		.dirty = &dirty, .mapped = &mapped,
	};
	int ret = snapshot(ctx, &chunk);

	if (ret)
		return ret;
	if (chunk.skipped)
		mapped = U64_MAX;
	else if (chunk.nr_mapped && !chunk.masked)
		mapped = GENMASK_ULL(nbits - 1, 0);
	if (!mapped)
		return 0;
	if (mapped != U64_MAX && get_user(user, to))
		return -EFAULT;
	if (put_user((user & ~mapped) | dirty, to))
		return -EFAULT;
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static noinline int report_chunks(u64 __user *bitmap, u64 nbits,
				  dirty_snapshot_fn snapshot, void *ctx)
{
	struct report_buffer buf = { .chunk.end = nbits };
	u64 next = 0;
	int ret = 0;

	if (nbits <= DIRTY_SMALL_BITS)
		report_buffer_small(&buf);
	while (next < nbits) {
		u64 before = next;

		chunk_begin(&buf.chunk, next);
		ret = snapshot(ctx, &buf.chunk);
		if (!ret && dirty_chunk_again(&buf.chunk)) {
			report_buffer_mask(&buf);
			continue;
		}
		if (!ret)
			ret = chunk_out(&buf, bitmap);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		if (ret)
			break;
		next = buf.chunk.first + buf.chunk.nbits;
		/* No more can be skipped without looking at it. */
		if (next == before && !buf.chunk.room)
			report_buffer_alloc(&buf, nbits - next);
		cond_resched();
	}
	report_buffer_free(&buf);
	return ret;
}

int dirty_report_write(u64 __user *bitmap, u64 nbits,
		       dirty_snapshot_fn snapshot, void *ctx)
{
	if (nbits <= 64)
		return report_word(bitmap, nbits, snapshot, ctx);
	return report_chunks(bitmap, nbits, snapshot, ctx);
}
