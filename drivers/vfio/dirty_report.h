/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writing a dirty bitmap to user space, a chunk at a time.
 *
 * "Dirty" and "mapped" are what the caller says they are; this file knows no
 * vfio and no store.
 */
#ifndef _DIRTY_REPORT_H
#define _DIRTY_REPORT_H

#include <linux/bits.h>
#include <linux/types.h>

/* Bits in a chunk, at most: 16 KiB of bitmap, 512 MiB of memory at 4 KiB a bit. */
#define DIRTY_CHUNK_BYTES	16384
#define DIRTY_CHUNK_BITS	(DIRTY_CHUNK_BYTES * BITS_PER_BYTE)

/* Bits in a chunk of a short report, and where there is no memory for more. */
#define DIRTY_SMALL_WORDS	8
#define DIRTY_SMALL_BITS	(DIRTY_SMALL_WORDS * 64)

/* Bits that one chunk can skip as clean: 4 GiB of memory at 4 KiB a bit. */
#define DIRTY_SKIP_BITS		(8 * DIRTY_CHUNK_BITS)

/**
 * struct dirty_chunk - a piece of a report
 * @first: its first bit, in the report; a multiple of 64
 * @nbits: its number of bits, at most @room
 * @room: bits that @dirty and @mapped have, at most DIRTY_CHUNK_BITS; 0 as long as
 *	all of the report was skipped
 * @end: one past the last bit of the report
 * @skipped: bits before @first that are mapped and clean; see dirty_chunk_skip()
 * @dirty: bitmap, all 0 when handed out. Only mapped bits may be set, and only
 *	those that dirty_chunk_mark() was told of
 * @first_dirty: first word of @dirty that is not 0, or @end_dirty
 * @end_dirty: one past the last such word
 * @nr_mapped: how many bits are mapped; see dirty_chunk_map()
 * @mapped: which ones; all 0 as long as @masked is false. NULL: see
 *	dirty_chunk_again()
 * @masked: @mapped is in use, or would be
 */
struct dirty_chunk {
	u64 first;
	unsigned int nbits;
	unsigned int room;
	u64 end;
	unsigned int skipped;
	u64 *dirty;
	unsigned int first_dirty;
	unsigned int end_dirty;
	unsigned int nr_mapped;
	u64 *mapped;
	bool masked;
};

/**
 * dirty_chunk_again - is a snapshot in vain, because the chunk has no @mapped?
 * @chunk: the chunk, as the snapshot has left it
 *
 * Then it gets one, and another snapshot is made. Most reports need none.
 */
static inline bool dirty_chunk_again(const struct dirty_chunk *chunk)
{
	return !chunk->mapped && (chunk->masked || chunk->nbits % 64);
}

/**
 * dirty_chunk_skip - say that a chunk begins with bits that are mapped and clean
 * @chunk: the chunk, of which nothing else was said yet
 * @nbits: number of bits, from the first one on; a multiple of 64, at most
 *	DIRTY_SKIP_BITS; may be more than the chunk has
 *
 * The chunk begins behind them now, and may be empty. They are cleared in the
 * user's buffer at once, however many there are.
 */
void dirty_chunk_skip(struct dirty_chunk *chunk, unsigned int nbits);

/**
 * dirty_chunk_hole - say that a chunk begins with bits that are not mapped
 * @chunk: the chunk, of which nothing else was said yet
 * @nbits: number of bits, from the first one on; a multiple of 64, or all up to
 *	the end of the report
 *
 * The chunk begins behind them now, and may be empty. They keep their value in the
 * user's buffer, which is not touched there, however many they are (R8).
 */
void dirty_chunk_hole(struct dirty_chunk *chunk, u64 nbits);

/**
 * dirty_chunk_cut - make a chunk shorter: the next one goes on there
 * @chunk: the chunk
 * @nbits: number of bits that it has then, if it has more; a multiple of 64. None
 *	behind them may have been mapped or marked
 */
void dirty_chunk_cut(struct dirty_chunk *chunk, unsigned int nbits);

/**
 * dirty_chunk_map - say that bits of a chunk are mapped
 * @chunk: the chunk
 * @bit: first bit, in the chunk
 * @nbits: number of bits, none of which was mapped before
 */
void dirty_chunk_map(struct dirty_chunk *chunk, unsigned int bit,
		     unsigned int nbits);

/**
 * dirty_chunk_mark - say where bits of @dirty are set
 * @chunk: the chunk
 * @first: no bit before this one is set by the caller, in the chunk
 * @last: and none after this one
 */
void dirty_chunk_mark(struct dirty_chunk *chunk, unsigned int first,
		      unsigned int last);

/**
 * typedef dirty_snapshot_fn - fill in a chunk
 * @ctx: as given to dirty_report_write()
 * @chunk: the chunk
 *
 * Takes the locks it needs, and has dropped them when it returns: user memory
 * is touched between two calls, never under a lock of the caller's (R16).
 *
 * Return: 0, or an error that ends the report.
 */
typedef int (*dirty_snapshot_fn)(void *ctx, struct dirty_chunk *chunk);

/**
 * dirty_report_write - write a whole report
 * @bitmap: user buffer of at least @nbits bits, in 64-bit words
 * @nbits: bits to report, at least 1
 * @snapshot: called for each chunk, in ascending order
 * @ctx: for @snapshot
 *
 * Bits that are mapped become what the snapshot says; every other bit of the
 * buffer keeps its value (R8). Allocates three times
 * DIRTY_CHUNK_BYTES at most, and nothing for a short report, or one that is all
 * skipped. Where there is no memory, chunks are short.
 *
 * Return: 0, -EFAULT, -EINTR if the caller is being killed, or what
 * @snapshot returned. On an error the buffer may be partly written.
 */
int dirty_report_write(u64 __user *bitmap, u64 nbits,
		       dirty_snapshot_fn snapshot, void *ctx);

#endif /* _DIRTY_REPORT_H */
