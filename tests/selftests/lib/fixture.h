/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rig as a fixture. The teardown closes everything and checks that no memory
 * is locked then, whatever the test did and in whatever state it left the device.
 */
#ifndef SELFTESTS_FIXTURE_H
#define SELFTESTS_FIXTURE_H

#include "../harness.h"
#include "rig.h"
#include "wait.h"

#define RIG_PAGES	1024

FIXTURE(rig);

FIXTURE_SETUP(rig)
{
	ASSERT_STR("0", error(rig_open(self, "mdma-1", RIG_PAGES)));
}

FIXTURE_TEARDOWN(rig)
{
	rig_close(self);
	EXPECT_LOCKED(0);
}

#define START(rig)	ASSERT_STR("0", error(dirty_start((rig)->container)))
#define STOP(rig)	ASSERT_STR("0", error(dirty_stop((rig)->container)))

/* Exactly one call each, for npages pages from a page of the rig on. */
#define PIN(rig, page, npages, mode) \
	ASSERT_STR("0", error(mdma_pin(&(rig)->dev, at(page), npages, mode)))
#define UNPIN(rig, page, npages) \
	ASSERT_STR("0", error(mdma_unpin(&(rig)->dev, at(page), npages)))

/* Pinned for write and unpinned again: a retained page while tracking. */
#define TOUCH(rig, page, npages) do {	\
	PIN(rig, page, npages, 'w');	\
	UNPIN(rig, page, npages);	\
} while (0)

/* An attribute of the workload. */
#define SET(rig, name, value) \
	ASSERT_STR("0", error(mdma_set(&(rig)->dev, "workload/" name, value)))

/* Waits until a file of the device has this number. Returns the last number read. */
static inline long long wait_for_value(struct rig *r, const char *name,
				       long long value)
{
	WAIT_FOR(mdma_get(&r->dev, name) == value);
	return mdma_get(&r->dev, name);
}

/* Waits until this many more pages are written. */
static inline void wait_for_writes(struct rig *r, long long more)
{
	long long seen = mdma_get(&r->dev, "stats/pages_written");

	if (!WAIT_FOR(mdma_get(&r->dev, "stats/pages_written") >= seen + more))
		FAIL("the workload does not run");
}

/* The workload's window: pages of the rig from @first to before @end. */
static inline void set_window(struct rig *r, __u64 first, __u64 end)
{
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/window", "%llx-%llx",
				       at(first), at(end) - 1)));
}

/* A random workload with a fixed seed. */
static inline void set_workload(struct rig *r)
{
	set_window(r, 16, RIG_PAGES);
	SET(r, "pattern", "random");
	SET(r, "batch", "2");
	SET(r, "seed", "12345");
}

static inline struct mdma_stamp *stamp_at(struct rig *r, __u64 iova)
{
	return (void *)(r->mem + (iova - RIG_IOVA));
}

/* Checks each stamp against the ledger. Returns the pages in the ledger. */
static inline long long check_stamps(struct rig *r)
{
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&r->dev, &rec), i;
	struct mdma_stamp *s;

	for (i = 0; i < n; i++) {
		s = stamp_at(r, rec[i].iova);
		if (i && rec[i].iova <= rec[i - 1].iova)
			FAIL("record %lld is not in order", i);
		if (s->magic != MDMA_STAMP_MAGIC || s->iova != rec[i].iova ||
		    s->seq != rec[i].seq || s->channel != rec[i].channel ||
		    s->device != r->dev.id || !rec[i].writes)
			FAIL("record %lld: iova %llx seq %llu, stamp: %llx %llu device %08x",
			     i, (long long)rec[i].iova, (long long)rec[i].seq,
			     (long long)s->iova, (long long)s->seq, s->device);
	}
	free(rec);
	return n;
}

#endif
