/* SPDX-License-Identifier: GPL-2.0-only */
/* A trace on its way to the device. */
#ifndef MDMA_UPLOAD_H
#define MDMA_UPLOAD_H

#include <linux/mdma.h>
#include <linux/mutex.h>
#include <linux/types.h>

/**
 * struct mdma_replay_upload - a trace of which not all has been written
 * @lock: guards all fields
 * @header: start of it
 * @entries: room for as many as @header says, or NULL
 * @size: bytes that were written
 */
struct mdma_replay_upload {
	struct mutex lock;	/* all fields */
	struct mdma_trace_header header;
	struct mdma_trace_entry *entries;
	size_t size;
};

struct mdma_trace_header mdma_upload_header(u32 entries);
void mdma_upload_init(struct mdma_replay_upload *upload);
void mdma_upload_destroy(struct mdma_replay_upload *upload);
void mdma_upload_drop(struct mdma_replay_upload *upload);
int mdma_upload_part(struct mdma_replay_upload *upload, const char *buf,
		     loff_t pos, size_t count);

#endif /* MDMA_UPLOAD_H */
