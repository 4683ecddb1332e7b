// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace that MDMA_PATTERN_TRACE replays: whether what comes from outside, from
 * the administrator or from a migration, can be one, and how it moves. Takes no
 * lock.
 */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "replay.h"
#include "snapshot.h"

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
 * @entries: do not change meanwhile; need not be aligned
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

/**
 * mdma_replay_save() - the trace for a migration
 * @replay: does not change until the stream is written
 * @snap: refers to it
 */
void mdma_replay_save(const struct mdma_replay *replay,
		      struct mdma_snapshot *snap)
{
	snap->trace = (struct mdma_entries) {
		.nr = replay->nr,
		.size = sizeof(*replay->entries),
		.data = replay->entries,
	};
}

/**
 * mdma_replay_load() - make a trace of what a migration brought
 * @replay: gets it; the caller frees @entries with kvfree()
 * @snap: valid
 *
 * Return: 0 or -ENOMEM.
 */
int mdma_replay_load(struct mdma_replay *replay,
		     const struct mdma_snapshot *snap)
{
	u32 i;

	*replay = (struct mdma_replay) { .nr = snap->trace.nr };
	if (!replay->nr)
		return 0;
	replay->entries = kvcalloc(replay->nr, sizeof(*replay->entries),
				   GFP_KERNEL_ACCOUNT);
	if (!replay->entries)
		return -ENOMEM;
	for (i = 0; i < replay->nr; i++)
		replay->entries[i] = mdma_snapshot_trace(snap, i);
	return 0;
}
