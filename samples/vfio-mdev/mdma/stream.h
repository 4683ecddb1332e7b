/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The migration stream: a device's state as records. Pure: no vfio, no locks;
 * compiled in user space as well.
 */
#ifndef MDMA_STREAM_H
#define MDMA_STREAM_H

#include <linux/mdma.h>
#include <linux/types.h>

#include "snapshot.h"

/**
 * struct mdma_stream_parser - how far a stream was parsed
 * @pos: bytes of complete records
 * @rank: place of the last known record in the order of records
 * @held_at: where the entries of HELD are, 0 if there is none
 * @trace_at: likewise of TRACE
 */
struct mdma_stream_parser {
	size_t pos;
	u32 rank;
	size_t held_at;
	size_t trace_at;
};

/* Bytes that mdma_stream_write_config() writes. */
#define MDMA_STREAM_CONFIG_SIZE \
	(sizeof(struct mdma_stream_record) + sizeof(struct mdma_stream_config))

size_t mdma_stream_state_size(u32 channels, u32 nr_progress, u32 nr_held,
			      u32 nr_trace);
size_t mdma_stream_write_config(void *buf, const struct mdma_snapshot *snap);
size_t mdma_stream_write_state(void *buf, const struct mdma_snapshot *snap);
void mdma_stream_begin(struct mdma_stream_parser *parser,
		       struct mdma_snapshot *snap);
int mdma_stream_continue(struct mdma_stream_parser *parser, const void *buf,
			 size_t size, struct mdma_snapshot *snap);
int mdma_stream_read(const void *buf, size_t size, struct mdma_snapshot *snap);

#endif /* MDMA_STREAM_H */
