/* SPDX-License-Identifier: GPL-2.0-only */
/* A job: a descriptor, of the guest or of the workload, that was checked. */
#ifndef MDMA_JOB_H
#define MDMA_JOB_H

#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_channel;
struct mdma_engine;

/**
 * struct mdma_job - a descriptor that was checked
 * @op: enum mdma_op
 * @dst: IOVA
 * @src: IOVA
 * @len: bytes
 * @data: pattern of MDMA_OP_FILL
 * @done: bytes that are done
 * @result: of MDMA_OP_READ
 * @hold: the run stays pinned for @hold_ms
 * @hold_ms: 0 for the time that the workload says
 * @rw: STAMP or READ, by vfio_dma_rw() instead of pins
 * @part: not the first of a descriptor's jobs
 * @pausable: it may stop midway, see mdma_job_execute()
 */
struct mdma_job {
	u32 op;
	u64 dst;
	u64 src;
	u64 len;
	u64 data;
	u64 done;
	u32 result;
	u32 hold_ms;
	bool hold;
	bool rw;
	bool part;
	bool pausable;
};

static inline bool mdma_op_writes(u32 op)
{
	return op == MDMA_OP_COPY || op == MDMA_OP_FILL || op == MDMA_OP_STAMP;
}

static inline bool mdma_op_reads(u32 op)
{
	return op == MDMA_OP_COPY || op == MDMA_OP_READ;
}

int mdma_job_execute(struct mdma_channel *ch, struct mdma_job *job);
void mdma_job_ended(struct mdma_channel *ch, const struct mdma_job *job,
		    enum mdma_status status);
enum mdma_status mdma_job_status(int error, enum mdma_status bad);
void mdma_job_written(struct mdma_engine *engine, u32 channel, u64 iova,
		      u32 npages, u64 seq);
int mdma_job_load(struct mdma_channel *ch, u64 iova, void *data, size_t len);
int mdma_job_store_status(struct mdma_channel *ch, u64 iova, u32 status,
			  u32 result);

#endif /* MDMA_JOB_H */
