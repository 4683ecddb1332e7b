// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace that MDMA_PATTERN_TRACE replays: whether what comes from outside,
 * from the administrator or from a migration, can be one. Takes no lock.
 */
#include <linux/errno.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "replay.h"

static bool entry_valid(const struct mdma_trace_entry *entry)
{
	u64 iova = le64_to_cpu(entry->iova);
	u64 npages = le32_to_cpu(entry->npages);

	return npages && npages <= MDMA_BATCH_MAX &&
	       !(iova & (MDMA_PAGE_SIZE - 1)) &&
	       iova + ((npages << MDMA_PAGE_SHIFT) - 1) >= iova &&
	       !(le32_to_cpu(entry->flags) & ~MDMA_TRACE_WRITE) &&
	       le32_to_cpu(entry->hold_ms) <= MDMA_HOLD_MS_MAX &&
	       le64_to_cpu(entry->at_us) <= MDMA_TRACE_US_MAX &&
	       !entry->reserved;
}

/**
 * mdma_trace_check() - whether entries from outside can be a trace
 * @entries: nobody else can change them; need not be aligned
 * @nr: how many
 * @size: bytes of each, at least those of struct mdma_trace_entry
 *
 * Return: 0, or -EINVAL for too many entries, and for one that is out of range
 * or before the one before it.
 */
int mdma_trace_check(const void *entries, u32 nr, u32 size)
{
	struct mdma_trace_entry entry;
	u64 at = 0;
	u32 i;

	if (nr > MDMA_TRACE_MAX)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		memcpy(&entry, entries + (size_t)i * size, sizeof(entry));
		if (!entry_valid(&entry) || le64_to_cpu(entry.at_us) < at)
			return -EINVAL;
		at = le64_to_cpu(entry.at_us);
	}
	return 0;
}
