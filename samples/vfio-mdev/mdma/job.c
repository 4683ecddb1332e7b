// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a channel executes a descriptor: in pieces of at most 64 pages for a guest's,
 * 512 for the workload's, and one page with access=rw. A piece is pinned, accessed, entered in the
 * ledger, traced, entered in the dirty log, and unpinned or held.
 *
 * Waiters on the gate continue once the descriptor ends. Where the device is being
 * quiesced, or its user stopped or killed, a descriptor of the guest stops at the end
 * of a piece, and the channel remembers how far it came (mdma_channel.midway). It goes
 * on there, here or at the destination of a migration.
 *
 * Whatever is read from guest memory is read once, into a copy, and checked there.
 *
 * Runs under the gate, held for reading, and mdma_channel.exec. Takes
 * mdma_channel.lock.
 */
#include <linux/crc32.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <linux/vfio.h>

#include "channel.h"
#include "engine.h"
#include "job.h"
#include "trace.h"
#include "worker.h"

#define SPAN_PAGES	VFIO_PIN_PAGES_MAX_ENTRIES
#define PIECE_PAGES	64	/* of a descriptor that can stop midway */
#define STALL_MS	10000	/* longest wait of the test hook */

/* Bytes of guest memory whose pages are pinned. */
struct span {
	struct page **pages;
	struct mdma_run *run;
	u64 iova;		/* of the first page */
	u32 npages;
	u32 offset;		/* of the first byte in the first page */
	u32 len;
};

/*
 * Whether a call that returned *@ret is to be made again: waits if its memory
 * is being unmapped. Only type1 can tell that memory is not mapped any more.
 *
 * With iommufd, ->dma_unmap() can take long. A signal does not wait for it: then *@ret
 * becomes -ERESTART.
 */
static bool try_again(struct mdma_channel *ch, int *ret)
{
	if (*ret == -EINPROGRESS && mdma_worker_interrupted())
		*ret = -ERESTART;
	ch->waited = *ret == -EINPROGRESS;
	if (ch->waited)
		mdma_access_settle();
	return ch->waited;
}

static int span_pin(struct mdma_channel *ch, struct span *span, u64 iova,
		    u32 len, bool write)
{
	span->pages = write ? ch->dst_pages : ch->src_pages;
	span->offset = offset_in_page(iova);
	span->iova = iova - span->offset;
	span->npages = DIV_ROUND_UP(span->offset + len, MDMA_PAGE_SIZE);
	span->len = len;
	return mdma_access_pin(&ch->engine->access, span->iova, span->npages, write,
			       ch->waited, span->pages, &span->run);
}

/*
 * Pins for writing, and reserves room in the ledger: a write that cannot be
 * recorded must not happen. Pins come first, so addresses that a guest
 * invents get no room.
 */
static int span_pin_write(struct mdma_channel *ch, struct span *span, u64 iova,
			  u32 len)
{
	int ret;

	ret = span_pin(ch, span, iova, len, true);
	if (ret)
		return ret;
	ret = mdma_ledger_reserve(&ch->engine->ledger, span->iova, span->npages);
	if (ret)
		mdma_access_unpin(&ch->engine->access, span->run);
	return ret;
}

/*
 * Pins for reading, beside a span that is pinned already, or none. Pinning
 * can wait for user memory, so ->dma_unmap() must not wait for @other
 * meanwhile.
 */
static int span_pin_read(struct mdma_channel *ch, struct span *span,
			 struct span *other, u64 iova, u32 len)
{
	int ret, asked = 0;

	if (other->npages)
		mdma_access_pause(&ch->engine->access, other->run);
	ret = span_pin(ch, span, iova, len, false);
	if (other->npages)
		asked = mdma_access_resume(&ch->engine->access, other->run);
	if (asked && !ret)
		mdma_access_unpin(&ch->engine->access, span->run);
	return asked ?: ret;
}

static void span_put(struct mdma_channel *ch, struct span *span)
{
	if (span->npages)
		mdma_access_unpin(&ch->engine->access, span->run);
}

/* The end of a piece: its pages stay pinned if the job says so. */
static void span_done(struct mdma_channel *ch, struct span *span,
		      const struct mdma_job *job)
{
	if (span->npages && job->hold)
		mdma_held_add(&ch->engine->held, span->run, ch->index, job->hold_ms);
	else
		span_put(ch, span);
}

/* Numbers for the page writes of a span that is about to be written. */
static u64 span_number(struct mdma_channel *ch, const struct span *span)
{
	return mdma_stats_number(&ch->engine->stats, span->npages);
}

/**
 * mdma_job_written() - pages were written, and are still pinned if they were
 * @engine: open, with room for them in the ledger
 * @channel: that wrote, or MDMA_CHANNEL_NONE
 * @iova: of the first page
 * @npages: contiguous
 * @seq: of the first page; page i has @seq + i
 *
 * The dirty log comes last, so a page is in none of its reports before the
 * event of the write.
 */
void mdma_job_written(struct mdma_engine *engine, u32 channel, u64 iova,
		      u32 npages, u64 seq)
{
	mdma_ledger_record(&engine->ledger, iova, npages, seq, channel);
	mdma_count(&engine->stats, MDMA_STAT_PAGES_WRITTEN, npages);
	trace_mdma_write(engine->id, channel, iova, npages, seq);
	mdma_dirty_log_record(&engine->dirty_log, iova, npages);
}

static void span_written(struct mdma_channel *ch, const struct span *span,
			 u64 seq)
{
	mdma_job_written(ch->engine, ch->index, span->iova, span->npages, seq);
}

/*
 * Maps the page of a span with the byte @pos: its address. @left becomes the
 * bytes from there to the end of the page or of the span.
 */
static void *span_map(const struct span *span, u32 pos, u32 *left)
{
	u32 at = span->offset + pos;

	*left = min_t(u32, MDMA_PAGE_SIZE - offset_in_page(at),
		      span->len - pos);
	return kmap_local_page(span->pages[at >> MDMA_PAGE_SHIFT]) +
	       offset_in_page(at);
}

static void do_copy(const struct span *dst, const struct span *src)
{
	u32 pos, piece, dst_left, src_left;
	void *to, *from;

	for (pos = 0; pos < dst->len; pos += piece) {
		to = span_map(dst, pos, &dst_left);
		from = span_map(src, pos, &src_left);
		piece = min(dst_left, src_left);
		/* Two IOVAs may be one page */
		if (piece == MDMA_PAGE_SIZE)
			copy_page(to, from);
		else
			memmove(to, from, piece);
		kunmap_local(from);
		kunmap_local(to);
	}
}

/*
 * Writes the guest's memory, as do_stamp() does. Another channel or a CPU of the guest may
 * access the same bytes meanwhile, as with any DMA: that race is the guest's own.
 */
static __no_kcsan void do_fill(const struct span *dst, u64 data, u64 done)
{
	u32 pos, piece, i;
	u64 pattern;
	u8 *to;

	for (pos = 0; pos < dst->len; pos += piece) {
		to = span_map(dst, pos, &piece);
		pattern = ror64(data, (done + pos) % 8 * 8);
		for (i = 0; i + 8 <= piece; i += 8)
			put_unaligned_le64(pattern, to + i);
		for (; i < piece; i++)
			to[i] = pattern >> (i % 8 * 8);
		kunmap_local(to);
	}
}

static __no_kcsan void make_stamp(struct mdma_channel *ch, u64 iova, u64 seq,
				  struct mdma_stamp *stamp)
{
	*stamp = (struct mdma_stamp) {
		.magic = cpu_to_le64(MDMA_STAMP_MAGIC),
		.seq = cpu_to_le64(seq),
		.iova = cpu_to_le64(iova),
		.device = cpu_to_le32(ch->engine->id),
		.channel = cpu_to_le32(ch->index),
	};
}

static void do_stamp(struct mdma_channel *ch, const struct span *dst, u64 seq)
{
	void *to;
	u32 i;

	for (i = 0; i < dst->npages; i++) {
		to = kmap_local_page(dst->pages[i]);
		make_stamp(ch, dst->iova + ((u64)i << MDMA_PAGE_SHIFT),
			   seq + i, to);
		kunmap_local(to);
	}
}

static u32 do_read(const struct span *src, u32 crc)
{
	u32 pos, piece;
	void *from;

	for (pos = 0; pos < src->len; pos += piece) {
		from = span_map(src, pos, &piece);
		crc = crc32_le(crc, from, piece);
		kunmap_local(from);
	}
	return crc;
}

/*
 * Each page write has a number of its own; one that fails uses its number up.
 */
static int rw_stamp(struct mdma_channel *ch, u64 iova)
{
	struct span page = { .iova = iova, .npages = 1 };
	u64 seq;
	int ret;

	ret = mdma_ledger_reserve(&ch->engine->ledger, iova, 1);
	if (ret)
		return ret;
	seq = span_number(ch, &page);
	make_stamp(ch, iova, seq, ch->bounce);
	ret = mdma_access_rw(&ch->engine->access, iova, ch->bounce,
			     sizeof(struct mdma_stamp), true, ch->waited);
	if (!ret)
		span_written(ch, &page, seq);
	return ret;
}

static int rw_read(struct mdma_channel *ch, u64 iova, u32 *crc)
{
	int ret;

	ret = mdma_access_rw(&ch->engine->access, iova, ch->bounce, MDMA_PAGE_SIZE, false,
			     ch->waited);
	if (ret)
		return ret;
	*crc = crc32_le(*crc, ch->bounce, MDMA_PAGE_SIZE);
	mdma_count(&ch->engine->stats, MDMA_STAT_PAGES_READ, 1);
	return 0;
}

/* Executes the page at @done of a job, by vfio_dma_rw(). */
static int execute_rw(struct mdma_channel *ch, struct mdma_job *job, u64 done)
{
	if (job->op == MDMA_OP_STAMP)
		return rw_stamp(ch, job->dst + done);
	return rw_read(ch, job->src + done, &job->result);
}

/* Executes the bytes [@done, @done + @len) of a job. */
static int execute_piece(struct mdma_channel *ch, struct mdma_job *job,
			 u64 done, u32 len)
{
	struct span dst = {}, src = {};
	u64 seq = 0;
	int ret;

	if (job->rw)
		return execute_rw(ch, job, done);
	if (mdma_op_writes(job->op)) {
		ret = span_pin_write(ch, &dst, job->dst + done, len);
		if (ret)
			return ret;
	}
	if (mdma_op_reads(job->op)) {
		ret = span_pin_read(ch, &src, &dst, job->src + done, len);
		if (ret) {
			span_put(ch, &dst);
			return ret;
		}
		mdma_count(&ch->engine->stats, MDMA_STAT_PAGES_READ, src.npages);
	}
	/* Nothing fails from here on: every number belongs to a write */
	if (dst.npages)
		seq = span_number(ch, &dst);
	switch (job->op) {
	case MDMA_OP_COPY:
		do_copy(&dst, &src);
		break;
	case MDMA_OP_FILL:
		do_fill(&dst, job->data, done);
		break;
	case MDMA_OP_STAMP:
		do_stamp(ch, &dst, seq);
		break;
	case MDMA_OP_READ:
		job->result = do_read(&src, job->result);
		break;
	}
	if (dst.npages)
		span_written(ch, &dst, seq);
	span_done(ch, &dst, job);
	span_done(ch, &src, job);
	return 0;
}

/* Bytes from @done that touch no more pages than a piece has. */
static u32 piece_len(const struct mdma_job *job, u64 done)
{
	u64 room = (job->pausable ? PIECE_PAGES : SPAN_PAGES) * MDMA_PAGE_SIZE;
	u64 len = job->len - done;

	if (job->rw)
		return MDMA_PAGE_SIZE;
	if (mdma_op_writes(job->op))
		len = min(len, room - offset_in_page(job->dst + done));
	if (mdma_op_reads(job->op))
		len = min(len, room - offset_in_page(job->src + done));
	return len;
}

static bool is_pausing(struct mdma_engine *engine)
{
	return READ_ONCE(engine->pausing) || mdma_worker_interrupted();
}

/* Whether a descriptor is to stop before its next piece. */
static bool stops_midway(struct mdma_engine *engine, const struct mdma_job *job)
{
	u32 ms;

	if (!job->pausable || !job->done)
		return false;
	/* Test hook: wait here until the device is being quiesced */
	for (ms = 0; ms < STALL_MS && !is_pausing(engine) &&
	     job->done - 1 >= READ_ONCE(engine->stall_midway) - 1; ms++)
		usleep_range(1000, 2000);
	return is_pausing(engine);
}

/* Executes what is left of a job, piece by piece. */
static int execute_pieces(struct mdma_channel *ch, struct mdma_job *job)
{
	u32 len;
	int ret;

	for (; job->done < job->len; job->done += len) {
		if (stops_midway(ch->engine, job))
			return -ERESTART;
		len = piece_len(job, job->done);
		do
			ret = execute_piece(ch, job, job->done, len);
		while (try_again(ch, &ret));
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * mdma_job_ended() - the event of a descriptor that ended
 * @ch: that had it
 * @job: what it was
 * @status: how it ended
 */
void mdma_job_ended(struct mdma_channel *ch, const struct mdma_job *job,
		    enum mdma_status status)
{
	trace_mdma_descriptor(ch->engine->id, ch->index, job->pausable,
			      job->part, job->op, job->dst, job->src, job->len,
			      status);
}

/**
 * mdma_job_execute() - execute a descriptor, or the rest of one
 * @ch: gate held for reading, exec held
 * @job: checked; @result is set
 *
 * Return: 0, the error of vfio_pin_pages() or vfio_dma_rw(), or -ENOMEM. If it
 * failed, a part of it may have been done, and is in the ledger. -ERESTART if a signal
 * stops the thread, or if @pausable and the device is being quiesced: @done and
 * @result tell how far it came.
 */
int mdma_job_execute(struct mdma_channel *ch, struct mdma_job *job)
{
	int ret;

	if (!job->done) {
		mdma_count(&ch->engine->stats, MDMA_STAT_DESCRIPTORS, !job->part);
		job->result = job->op == MDMA_OP_READ ? ~0 : 0;
	}
	ret = execute_pieces(ch, job);
	if (!ret)
		mdma_job_ended(ch, job, MDMA_STATUS_DONE);
	else if (ret != -ERESTART)
		mdma_job_ended(ch, job,
			       mdma_job_status(ret, MDMA_STATUS_BAD_ADDRESS));
	return ret;
}

/**
 * mdma_job_load() - read guest memory that is no descriptor's data
 * @ch: gate held for reading, exec held
 * @iova: of the first byte
 * @data: gets a copy
 * @len: touches at most SPAN_PAGES pages, does not wrap around
 *
 * Return: 0, the error of vfio_pin_pages(), or -ERESTART if a signal stops the thread.
 */
int mdma_job_load(struct mdma_channel *ch, u64 iova, void *data, size_t len)
{
	struct span src = {};
	u32 pos, piece;
	void *from;
	int ret;

	do
		ret = span_pin(ch, &src, iova, len, false);
	while (try_again(ch, &ret));
	if (ret)
		return ret;
	for (pos = 0; pos < len; pos += piece) {
		from = span_map(&src, pos, &piece);
		memcpy(data + pos, from, piece);
		kunmap_local(from);
	}
	mdma_count(&ch->engine->stats, MDMA_STAT_PAGES_READ, src.npages);
	span_put(ch, &src);
	return 0;
}

/**
 * mdma_job_status() - the status that an error becomes
 * @error: negative
 * @bad: status for an error that is the guest's fault
 *
 * Return: @bad, or MDMA_STATUS_DEVICE_ERROR if the error is not the guest's
 * fault.
 */
enum mdma_status mdma_job_status(int error, enum mdma_status bad)
{
	return error == -ENOMEM || error == -ENOSPC ?
	       MDMA_STATUS_DEVICE_ERROR : bad;
}

/*
 * The descriptor at HEAD is about to be returned. A guest that sees its
 * status may queue another one in its place, although HEAD advances later.
 */
static void begin_return(struct mdma_channel *ch)
{
	spin_lock(&ch->lock);
	ch->returning = true;
	spin_unlock(&ch->lock);
}

/**
 * mdma_job_store_status() - write result and then status of a descriptor
 * @ch: gate held for reading, exec held; the descriptor is the one at HEAD
 * @iova: of the descriptor
 * @status: enum mdma_status
 * @result: of MDMA_OP_READ
 *
 * Return: 0, the error of vfio_pin_pages(), -ENOMEM, or -ERESTART if a signal stops
 * the thread.
 */
int mdma_job_store_status(struct mdma_channel *ch, u64 iova, u32 status,
			  u32 result)
{
	struct mdma_desc *desc;
	struct span dst = {};
	u32 left;
	u64 seq;
	int ret;

	do
		ret = span_pin_write(ch, &dst, iova, sizeof(*desc));
	while (try_again(ch, &ret));
	if (ret)
		return ret;
	seq = span_number(ch, &dst);
	begin_return(ch);
	desc = span_map(&dst, 0, &left);
	WRITE_ONCE(desc->result, cpu_to_le32(result));
	/* The guest sees the data and the result once it sees the status */
	smp_store_release(&desc->status, cpu_to_le32(status));
	kunmap_local(desc);
	span_written(ch, &dst, seq);
	span_put(ch, &dst);
	return 0;
}
