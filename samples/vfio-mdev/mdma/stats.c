// SPDX-License-Identifier: GPL-2.0-only
/*
 * The counters: cleared for each user, and moved by a migration. The stream has
 * them in two records: KNOBS has those that version 1.2 added.
 */
#include <linux/kernel.h>

#include "snapshot.h"
#include "stats.h"

/**
 * mdma_stats_clear() - a new user counts from 0
 * @stats: any
 */
void mdma_stats_clear(struct mdma_stats *stats)
{
	u32 i;

	for (i = 0; i < MDMA_NR_STATS; i++)
		atomic64_set(&stats->n[i], 0);
}

static __le64 save(const struct mdma_stats *stats, enum mdma_stat stat)
{
	return cpu_to_le64(mdma_counted(stats, stat));
}

/**
 * mdma_stats_save() - the counters for a migration
 * @stats: of a device that executes nothing
 * @snap: gets them
 */
void mdma_stats_save(const struct mdma_stats *stats, struct mdma_snapshot *snap)
{
	struct mdma_stream_stats *to = &snap->state.stats;

	to->seq = save(stats, MDMA_STAT_SEQ);
	to->pages_written = save(stats, MDMA_STAT_PAGES_WRITTEN);
	to->pages_read = save(stats, MDMA_STAT_PAGES_READ);
	to->descriptors = save(stats, MDMA_STAT_DESCRIPTORS);
	to->pins = save(stats, MDMA_STAT_PINS);
	to->unpins = save(stats, MDMA_STAT_UNPINS);
	to->pin_errors = save(stats, MDMA_STAT_PIN_ERRORS);
	snap->knobs.skipped = save(stats, MDMA_STAT_SKIPPED);
	snap->knobs.stopped = save(stats, MDMA_STAT_STOPPED);
	snap->knobs.retried = save(stats, MDMA_STAT_RETRIED);
}

/* Cut to a value that cannot wrap, whatever the stream says. */
static void load(struct mdma_stats *stats, enum mdma_stat stat, __le64 value)
{
	atomic64_set(&stats->n[stat], mdma_stream_counter(value));
}

/**
 * mdma_stats_load() - the counters that a migration brought
 * @stats: of a device that executes nothing
 * @snap: valid
 */
void mdma_stats_load(struct mdma_stats *stats, const struct mdma_snapshot *snap)
{
	const struct mdma_stream_stats *from = &snap->state.stats;

	/* What was written here before keeps its numbers */
	atomic64_set(&stats->n[MDMA_STAT_SEQ],
		     max_t(u64, mdma_counted(stats, MDMA_STAT_SEQ),
			   mdma_stream_counter(from->seq)));
	load(stats, MDMA_STAT_PAGES_WRITTEN, from->pages_written);
	load(stats, MDMA_STAT_PAGES_READ, from->pages_read);
	load(stats, MDMA_STAT_DESCRIPTORS, from->descriptors);
	load(stats, MDMA_STAT_PINS, from->pins);
	load(stats, MDMA_STAT_UNPINS, from->unpins);
	load(stats, MDMA_STAT_PIN_ERRORS, from->pin_errors);
	load(stats, MDMA_STAT_SKIPPED, snap->knobs.skipped);
	load(stats, MDMA_STAT_STOPPED, snap->knobs.stopped);
	load(stats, MDMA_STAT_RETRIED, snap->knobs.retried);
}
