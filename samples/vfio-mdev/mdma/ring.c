// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's ring of a channel: which descriptor is next, whether it is one,
 * and how it ends.
 *
 * Whatever is read from guest memory is read once, into a copy, and checked
 * there. What the guest may act on comes last: the data before the status, and
 * the status before HEAD and the interrupt.
 *
 * All functions but mdma_ring_fail() run under the gate, held for reading,
 * and mdma_channel.exec; registers are read and advanced under
 * mdma_channel.lock.
 */
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "channel.h"
#include "engine.h"
#include "job.h"
#include "ring.h"

static bool wraps(u64 iova, u64 len)
{
	return iova + (len - 1) < iova;
}

/* Checks the guest's values and makes a job of them. */
static enum mdma_status check_desc(const struct mdma_desc *desc,
				   struct mdma_job *job)
{
	job->op = le32_to_cpu(desc->op);
	job->dst = le64_to_cpu(desc->dst);
	job->src = le64_to_cpu(desc->src);
	job->len = le64_to_cpu(desc->len);
	job->data = le64_to_cpu(desc->data);

	if (job->op > MDMA_OP_READ ||
	    le32_to_cpu(desc->flags) & ~MDMA_DESC_IRQ)
		return MDMA_STATUS_BAD_OP;
	if (job->op == MDMA_OP_NOP) {
		job->len = 0;
		return MDMA_STATUS_DONE;
	}
	if (!job->len || job->len > MDMA_DESC_MAX_LEN)
		return MDMA_STATUS_BAD_LENGTH;
	if ((mdma_op_writes(job->op) && wraps(job->dst, job->len)) ||
	    (mdma_op_reads(job->op) && wraps(job->src, job->len)))
		return MDMA_STATUS_BAD_LENGTH;
	if (job->op == MDMA_OP_STAMP && offset_in_page(job->len))
		return MDMA_STATUS_BAD_LENGTH;
	if (job->op == MDMA_OP_STAMP && offset_in_page(job->dst))
		return MDMA_STATUS_BAD_ADDRESS;
	if (job->op == MDMA_OP_COPY && job->dst <= job->src + (job->len - 1) &&
	    job->src <= job->dst + (job->len - 1))
		return MDMA_STATUS_BAD_ADDRESS;
	return MDMA_STATUS_DONE;
}

/* MDMA_STATUS_NONE if it stopped midway; the channel remembers where. */
static enum mdma_status execute_desc(struct mdma_channel *ch,
				     const struct mdma_desc *desc, u32 *result)
{
	struct mdma_midway *midway = &ch->midway;
	struct mdma_job job = { .pausable = true };
	enum mdma_status status;
	int ret;

	*result = 0;
	status = check_desc(desc, &job);
	if (status != MDMA_STATUS_DONE) {
		midway->done = 0;
		mdma_count(&ch->engine->stats, MDMA_STAT_DESCRIPTORS, 1);
		mdma_job_ended(ch, &job, status);
		return status;
	}
	job.done = midway->done;
	job.result = midway->result;
	midway->done = 0;
	ret = mdma_job_execute(ch, &job);
	if (ret == -ERESTART) {
		midway->desc = *desc;
		midway->done = job.done;
		midway->result = job.result;
		return MDMA_STATUS_NONE;
	}
	if (ret)
		return mdma_job_status(ret, MDMA_STATUS_BAD_ADDRESS);
	*result = job.result;
	return MDMA_STATUS_DONE;
}

/**
 * mdma_ring_fail() - halt a ring
 * @ch: any
 * @status: not MDMA_STATUS_NONE; the first one stays
 */
void mdma_ring_fail(struct mdma_channel *ch, enum mdma_status status)
{
	spin_lock(&ch->lock);
	if (ch->status == MDMA_STATUS_NONE)
		ch->status = status;
	spin_unlock(&ch->lock);
	ch->engine->interrupt(ch->engine, ch);
}

/* The IOVA of the next descriptor in the guest's ring, if there is one. */
static bool ring_next(struct mdma_channel *ch, u64 *iova)
{
	bool queued;

	spin_lock(&ch->lock);
	queued = (ch->ctrl & MDMA_CTRL_ENABLE) &&
		 ch->status == MDMA_STATUS_NONE && ch->head != ch->tail;
	if (queued)
		*iova = ch->ring + (u64)(ch->head & (ch->ring_size - 1)) *
				   sizeof(struct mdma_desc);
	spin_unlock(&ch->lock);
	return queued;
}

/* The descriptor at @iova, or the one that the channel has begun. */
static int load_desc(struct mdma_channel *ch, u64 iova, struct mdma_desc *desc)
{
	if (!ch->midway.done)
		return mdma_job_load(ch, iova, desc, sizeof(*desc));
	*desc = ch->midway.desc;
	return 0;
}

/* HEAD goes on: whether TAIL is still where it can be. */
static bool ring_advance(struct mdma_channel *ch)
{
	bool valid;

	spin_lock(&ch->lock);
	ch->head++;
	ch->returning = false;
	/* The guest may have taken back what was being executed */
	valid = mdma_channel_tail_valid(ch);
	spin_unlock(&ch->lock);
	return valid;
}

/**
 * mdma_ring_poll() - execute a descriptor of the guest, if there is one
 * @ch: of a device that runs; gate held for reading, exec held
 *
 * Return: whether there was one.
 */
bool mdma_ring_poll(struct mdma_channel *ch)
{
	enum mdma_status status = MDMA_STATUS_DONE;
	struct mdma_desc desc;
	u32 result;
	u64 iova;
	int ret;

	if (!ch->engine->bus_master || !ring_next(ch, &iova))
		return false;
	ret = load_desc(ch, iova, &desc);
	if (!ret) {
		status = execute_desc(ch, &desc, &result);
		if (status == MDMA_STATUS_NONE)
			return true;
		ret = mdma_job_store_status(ch, iova, status, result);
	}
	/* A signal stops the thread; the same descriptor is executed afterwards */
	if (ret == -ERESTART)
		return true;
	if (ret) {
		mdma_ring_fail(ch, mdma_job_status(ret, MDMA_STATUS_BAD_RING));
		return true;
	}
	if (!ring_advance(ch))
		mdma_ring_fail(ch, MDMA_STATUS_BAD_DOORBELL);
	else if (le32_to_cpu(desc.flags) & MDMA_DESC_IRQ ||
		 status != MDMA_STATUS_DONE)
		ch->engine->interrupt(ch->engine, ch);
	return true;
}
