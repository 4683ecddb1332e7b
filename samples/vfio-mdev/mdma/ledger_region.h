/* SPDX-License-Identifier: GPL-2.0-only */
/* The ledger as a region of the device. */
#ifndef MDMA_LEDGER_REGION_H
#define MDMA_LEDGER_REGION_H

#include <linux/mutex.h>
#include <linux/types.h>

struct mdma_ledger;
struct mdma_stats;

/**
 * struct mdma_ledger_view - the copy of the ledger that the user reads
 * @ledger: of the device
 * @stats: of the device
 * @lock: guards the fields below it
 * @data: struct mdma_ledger_header and records, or NULL
 * @size: bytes of it
 */
struct mdma_ledger_view {
	struct mdma_ledger *ledger;
	struct mdma_stats *stats;
	struct mutex lock;	/* all fields below */
	void *data;
	size_t size;
};

void mdma_ledger_view_init(struct mdma_ledger_view *view,
			   struct mdma_ledger *ledger, struct mdma_stats *stats);
void mdma_ledger_view_drop(struct mdma_ledger_view *view);
u64 mdma_ledger_region_size(const struct mdma_ledger_view *view);
ssize_t mdma_ledger_region_read(struct mdma_ledger_view *view, char __user *buf,
				size_t count, u64 offset);

#endif /* MDMA_LEDGER_REGION_H */
