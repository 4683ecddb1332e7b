// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger as a region of the device, for the user that has it open, see
 * struct mdma_ledger_header.
 *
 * The user reads a copy, and a read of the first byte makes a new one. So the
 * ledger that is read piece by piece is that of one moment, whatever the
 * device writes meanwhile. There is one copy, and its memory is charged to
 * the reader. Takes mdma_ledger_view.lock and, under it, what
 * mdma_ledger_copy() takes.
 */
#include <linux/mdma.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ledger.h"
#include "ledger_region.h"
#include "stats.h"

/**
 * mdma_ledger_view_init() - no copy yet
 * @view: zeroed
 * @ledger: of the device
 * @stats: of the device
 */
void mdma_ledger_view_init(struct mdma_ledger_view *view,
			   struct mdma_ledger *ledger, struct mdma_stats *stats)
{
	view->ledger = ledger;
	view->stats = stats;
	mutex_init(&view->lock);
}

/**
 * mdma_ledger_view_drop() - forget the copy
 * @view: any
 */
void mdma_ledger_view_drop(struct mdma_ledger_view *view)
{
	mutex_lock(&view->lock);
	kvfree(view->data);
	view->data = NULL;
	view->size = 0;
	mutex_unlock(&view->lock);
}

/* 0, -ENOMEM or -EINTR; then the old copy stays. */
static int make_copy(struct mdma_ledger_view *view)
{
	struct mdma_ledger_header *header;
	size_t size;
	void *data;

	data = mdma_ledger_copy(view->ledger, sizeof(*header), &size);
	if (IS_ERR(data))
		return PTR_ERR(data);
	header = data;
	*header = (struct mdma_ledger_header) {
		.magic = cpu_to_le32(MDMA_LEDGER_MAGIC),
		.version = cpu_to_le32(MDMA_LEDGER_VERSION),
		.records = cpu_to_le64((size - sizeof(*header)) /
				       sizeof(struct mdma_ledger_record)),
		/* Read after the copy, so that no record has a higher one */
		.seq = cpu_to_le64(mdma_counted(view->stats,
							   MDMA_STAT_SEQ)),
		.refused = cpu_to_le64(READ_ONCE(view->ledger->refused)),
	};
	kvfree(view->data);
	view->data = data;
	view->size = size;
	return 0;
}

/**
 * mdma_ledger_region_size() - size of the region
 * @view: any
 *
 * Return: bytes, of the header and the most records that the ledger can have.
 */
u64 mdma_ledger_region_size(const struct mdma_ledger_view *view)
{
	return sizeof(struct mdma_ledger_header) +
	       mdma_ledger_records_max(view->ledger) *
	       sizeof(struct mdma_ledger_record);
}

/**
 * mdma_ledger_region_read() - read from the region
 * @view: open
 * @buf: of the user
 * @count: bytes
 * @offset: 0 makes the copy that this and later reads see
 *
 * What is behind the last record reads as zeroes.
 *
 * Return: @count, -ENOMEM, -EFAULT or -EINTR.
 */
ssize_t mdma_ledger_region_read(struct mdma_ledger_view *view, char __user *buf,
				size_t count, u64 offset)
{
	size_t have = 0;
	int ret = 0;

	if (mutex_lock_killable(&view->lock))
		return -EINTR;
	if (!offset || !view->data)
		ret = make_copy(view);
	if (!ret && offset < view->size)
		have = min_t(u64, count, view->size - offset);
	if (!ret && (copy_to_user(buf, view->data + offset, have) ||
		     clear_user(buf + have, count - have)))
		ret = -EFAULT;
	mutex_unlock(&view->lock);
	return ret ?: count;
}
