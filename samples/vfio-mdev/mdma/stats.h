/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters of a device, see stats/ in sysfs. They are atomic and need no lock.
 */
#ifndef MDMA_STATS_H
#define MDMA_STATS_H

#include <linux/atomic.h>
#include <linux/types.h>

struct mdma_snapshot;

/**
 * enum mdma_stat - counters, see stats/ in sysfs
 * @MDMA_STAT_PAGES_WRITTEN: page writes
 * @MDMA_STAT_PAGES_READ: page reads
 * @MDMA_STAT_DESCRIPTORS: descriptors executed, failed ones as well
 * @MDMA_STAT_PINS: pages pinned
 * @MDMA_STAT_UNPINS: pages unpinned
 * @MDMA_STAT_PIN_ERRORS: calls of vfio_pin_pages() that failed
 * @MDMA_STAT_PINNED: pages pinned now
 * @MDMA_STAT_SEQ: sequence number of the last page write
 * @MDMA_STAT_SKIPPED: descriptors of the workload that failed and were skipped
 * @MDMA_STAT_STOPPED: such that stopped it
 * @MDMA_STAT_RETRIED: such that were tried again
 * @MDMA_NR_STATS: number of counters
 */
enum mdma_stat {
	MDMA_STAT_PAGES_WRITTEN,
	MDMA_STAT_PAGES_READ,
	MDMA_STAT_DESCRIPTORS,
	MDMA_STAT_PINS,
	MDMA_STAT_UNPINS,
	MDMA_STAT_PIN_ERRORS,
	MDMA_STAT_PINNED,
	MDMA_STAT_SEQ,
	MDMA_STAT_SKIPPED,
	MDMA_STAT_STOPPED,
	MDMA_STAT_RETRIED,
	MDMA_NR_STATS,
};

/**
 * struct mdma_stats - the counters of a device
 * @n: their values
 */
struct mdma_stats {
	atomic64_t n[MDMA_NR_STATS];
};

static inline void mdma_count(struct mdma_stats *stats, enum mdma_stat stat,
			      s64 n)
{
	atomic64_add(n, &stats->n[stat]);
}

static inline u64 mdma_counted(const struct mdma_stats *stats,
			       enum mdma_stat stat)
{
	return atomic64_read(&stats->n[stat]);
}

/**
 * mdma_stats_number() - numbers for page writes that are about to happen
 * @stats: of the device that writes
 * @npages: how many
 *
 * Return: the first of @npages numbers that nobody else has.
 */
static inline u64 mdma_stats_number(struct mdma_stats *stats, u32 npages)
{
	return atomic64_fetch_add(npages, &stats->n[MDMA_STAT_SEQ]) + 1;
}

void mdma_stats_clear(struct mdma_stats *stats);
void mdma_stats_save(const struct mdma_stats *stats, struct mdma_snapshot *snap);
void mdma_stats_load(struct mdma_stats *stats, const struct mdma_snapshot *snap);

#endif /* MDMA_STATS_H */
