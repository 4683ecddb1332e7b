// SPDX-License-Identifier: GPL-2.0-only
/* The pattern "trace": the device does what the trace says, at the times it says. */
#include "fixture.h"

#define MAX_ENTRIES	MDMA_TRACE_MAX

struct trace {
	struct mdma_trace_header header;
	struct mdma_trace_entry entry[MAX_ENTRIES + 1];
};

static struct trace *new_trace(void)
{
	struct trace *t = calloc(1, sizeof(*t));

	t->header.magic = MDMA_TRACE_MAGIC;
	t->header.version = MDMA_TRACE_VERSION;
	return t;
}

/* Adds an entry for pages of the rig. */
static void add(struct trace *t, __u64 page, __u32 npages, bool write,
		__u64 at_us, __u32 hold_ms)
{
	t->entry[t->header.entries++] = (struct mdma_trace_entry) {
		.iova = at(page), .npages = npages,
		.flags = write ? MDMA_TRACE_WRITE : 0,
		.at_us = at_us, .hold_ms = hold_ms,
	};
}

static long long size_of(const struct trace *t)
{
	return sizeof(t->header) + t->header.entries * sizeof(*t->entry);
}

static int open_file(struct rig *r)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace",
		 r->dev.uuid);
	return open(path, O_RDWR);
}

/* Writes the first @size bytes, @part bytes a call: 0 or -errno. */
static int load_part(struct rig *r, const struct trace *t, long long size,
		     long long part)
{
	int fd = open_file(r), ret = 0;
	long long pos, n;

	for (pos = 0; pos < size && !ret; pos += n) {
		n = size - pos < part ? size - pos : part;
		n = pwrite(fd, (const char *)t + pos, n, pos);
		if (n <= 0)
			ret = -errno;
	}
	close(fd);
	return ret;
}

static int load(struct rig *r, const struct trace *t)
{
	return load_part(r, t, size_of(t), 1 << 20);
}

static long long counter(struct rig *r, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "stats/%s", name);
	return mdma_get(&r->dev, path);
}

/* Waits for the end of the trace as long as it makes progress. */
static void wait_for_end(struct rig *r)
{
	long long seen;

	do
		seen = counter(r, "descriptors");
	while (!WAIT_FOR(!mdma_get(&r->dev, "workload/run")) &&
	       counter(r, "descriptors") != seen);
	EXPECT_EQ(0, mdma_get(&r->dev, "workload/run"));
}

static void expect_record(const struct mdma_ledger_record *record, __u64 page,
			  __u64 seq, __u64 writes)
{
	EXPECT_EQ(at(page), record->iova);
	EXPECT_EQ(seq, record->seq);
	EXPECT_EQ(writes, record->writes);
}

/* Page 5 is written twice; the window does not matter. */
TEST_F(rig, mdma_trace_is_replayed, 20)
{
	struct mdma_ledger_record *records;
	struct trace *t = new_trace();

	add(t, 5, 2, true, 0, 0);
	add(t, 700, 512 - 200, false, 0, 0);
	add(t, 4, 2, true, 0, 0);
	add(t, 900, 1, true, 0, 0);
	set_window(self, 0, 1);
	SET(self, "pattern", "trace");
	ASSERT_STR("0", error(load(self, t)));
	SET(self, "run", "1");
	wait_for_end(self);
	EXPECT_EQ(4, counter(self, "descriptors"));
	EXPECT_EQ(312, counter(self, "pages_read"));
	ASSERT_EQ(4, mdma_ledger(&self->dev, &records));
	expect_record(&records[0], 4, 3, 1);
	expect_record(&records[1], 5, 4, 2);
	expect_record(&records[2], 6, 2, 1);
	expect_record(&records[3], 900, 5, 1);
	check_stamps(self);
	/* Once for each start, from the first entry on. */
	SET(self, "run", "1");
	wait_for_end(self);
	EXPECT_EQ(8, counter(self, "descriptors"));
	SET(self, "step", "3");
	EXPECT_EQ(2 * 5 + 4, counter(self, "seq"));
	SET(self, "step", "2");
	EXPECT_EQ(13, counter(self, "descriptors"));
	EXPECT_EQ(2 * 5 + 5 + 2, counter(self, "seq"));
}

/* Exactly this many descriptors are executed before this time. */
static void expect_until(struct rig *r, long long n, double end)
{
	long long seen;

	EXPECT_EQ(true, WAIT_FOR(counter(r, "descriptors") >= n));
	do {
		seen = counter(r, "descriptors");
		if (now_ms() >= end)
			return;
		EXPECT_EQ(n, seen);
		usleep(50000);
	} while (seen == n);
}

TEST_F(rig, mdma_trace_keeps_its_times, 30)
{
	struct trace *t = new_trace();
	double begin;

	add(t, 1, 1, true, 0, 0);
	add(t, 2, 1, true, 1000000, 0);
	add(t, 3, 1, true, 1000000, 0);
	add(t, 4, 1, true, 2000000, 0);
	SET(self, "pattern", "trace");
	ASSERT_STR("0", error(load(self, t)));
	begin = now_ms();
	SET(self, "run", "1");
	expect_until(self, 1, begin + 1000);
	expect_until(self, 3, begin + 2000);
	wait_for_end(self);
	EXPECT_LE(2000, now_ms() - begin);
	EXPECT_EQ(4, counter(self, "descriptors"));
}

/* At once, apart from the machine's own time, instead of ten minutes. */
TEST_F(rig, mdma_rate_is_stronger_than_the_times_of_a_trace, 30)
{
	struct trace *t = new_trace();

	add(t, 1, 1, true, 0, 0);
	add(t, 2, 1, true, 600000000, 0);
	SET(self, "pattern", "trace");
	SET(self, "rate", "1000");
	ASSERT_STR("0", error(load(self, t)));
	SET(self, "run", "1");
	wait_for_end(self);
	EXPECT_EQ(2, counter(self, "descriptors"));
}

/* The entry with the short hold comes last, and expires first. */
TEST_F(rig, mdma_trace_holds_each_run_for_its_time, 30)
{
	struct trace *t = new_trace();
	long long pinned;
	double begin;

	add(t, 0, 4, true, 0, 600000);
	add(t, 10, 2, false, 0, 0);
	add(t, 20, 8, true, 0, 3000);
	add(t, 30, 16, true, 0, 300000);
	SET(self, "pattern", "trace");
	SET(self, "hold_ms", "5");
	ASSERT_STR("0", error(load(self, t)));
	begin = now_ms();
	SET(self, "step", "4");
	pinned = counter(self, "pinned");
	if (now_ms() < begin + 3000)
		EXPECT_EQ(28, pinned);
	else
		NO_CHANCE("four descriptors took longer than the hold");
	EXPECT_EQ(20, wait_for_value(self, "stats/pinned", 20));
	EXPECT_LOCKED(20);
}

/* Several traces in a row, in pieces of any size. */
TEST_F(rig, mdma_trace_comes_in_pieces, 30)
{
	struct trace *t = new_trace(), *back = new_trace();
	long long size = 0, n;
	int i, fd;

	for (i = 0; i < MAX_ENTRIES; i++)
		add(t, i % RIG_PAGES, 1, i % 3, i, i % 5);
	ASSERT_STR("0", error(load_part(self, t, size_of(t), 1000)));
	ASSERT_STR("0", error(load(self, t)));
	fd = open_file(self);
	while ((n = pread(fd, (char *)back + size, sizeof(*back) - size, size)) > 0)
		size += n;
	EXPECT_EQ(size_of(t), size);
	EXPECT_EQ(0, memcmp(t, back, size_of(t)));
	EXPECT_EQ(3, pread(fd, back, 3, size_of(t) - 3));
	EXPECT_EQ(0, pread(fd, back, 3, size_of(t)));
	close(fd);
	SET(self, "pattern", "trace");
	SET(self, "rate", "4294967295");
	SET(self, "run", "1");
	wait_for_end(self);
	EXPECT_EQ(MAX_ENTRIES, counter(self, "descriptors"));
	/* An empty trace removes the trace. */
	t->header.entries = 0;
	ASSERT_STR("0", error(load(self, t)));
	EXPECT_STR("ENODATA", error(mdma_set(&self->dev, "workload/step", "1")));
}

/* Loads a trace of three entries whose second was changed. */
#define BAD(errno_name, change) do {					\
	struct trace *bad = new_trace();				\
	struct mdma_trace_entry *entry = &bad->entry[1];		\
									\
	add(bad, 1, 1, true, 10, 0);					\
	add(bad, 2, 1, true, 20, 0);					\
	add(bad, 3, 1, true, 30, 0);					\
	change;								\
	(void)entry;							\
	EXPECT_STR(errno_name, error(load(self, bad)));			\
	free(bad);							\
} while (0)

TEST_F(rig, mdma_bad_traces, 20)
{
	struct trace *t = new_trace();

	add(t, 77, 1, true, 0, 0);
	SET(self, "pattern", "trace");
	EXPECT_STR("ENODATA", error(mdma_set(&self->dev, "workload/step", "1")));
	ASSERT_STR("0", error(load(self, t)));
	BAD("EINVAL", bad->header.magic++);
	BAD("EINVAL", bad->header.version++);
	BAD("EINVAL", bad->header.reserved++);
	BAD("EINVAL", entry->npages = 0);
	BAD("EINVAL", entry->npages = MDMA_BATCH_MAX + 1);
	BAD("EINVAL", entry->iova++);
	BAD("EINVAL", entry->iova = -(__u64)PAGE_SIZE; entry->npages = 2);
	BAD("EINVAL", entry->flags = 2);
	BAD("EINVAL", entry->hold_ms = MDMA_HOLD_MS_MAX + 1);
	BAD("EINVAL", entry->at_us = 9);
	BAD("EINVAL", entry->at_us = 31);
	BAD("EINVAL", entry[1].at_us = MDMA_TRACE_US_MAX + 1);
	BAD("EINVAL", entry->reserved = 1);
	BAD("0", entry->npages = MDMA_BATCH_MAX);
	ASSERT_STR("0", error(load(self, t)));
	/* Too short, cut off, or with a hole: the old trace stays. */
	EXPECT_STR("EINVAL", error(load_part(self, t, 7, 7)));
	BAD("E2BIG", bad->header.entries = MAX_ENTRIES + 1);
	add(t, 78, 1, true, 0, 0);
	EXPECT_STR("0", error(load_part(self, t, size_of(t) - 1, 1000)));
	SET(self, "step", "2");
	EXPECT_EQ(1, check_stamps(self));
}

TEST_F(rig, mdma_trace_is_fixed_while_a_workload_runs, 20)
{
	struct trace *t = new_trace();

	add(t, 1, 1, true, 0, 0);
	set_window(self, 0, 64);
	SET(self, "rate", "10");
	SET(self, "run", "1");
	EXPECT_STR("EBUSY", error(load(self, t)));
	SET(self, "run", "0");
	EXPECT_STR("0", error(load(self, t)));
}

TEST_F(rig, mdma_trace_of_memory_that_is_not_mapped, 20)
{
	struct trace *t = new_trace();

	add(t, RIG_PAGES, 1, true, 0, 0);
	add(t, 1, 1, true, 0, 0);
	SET(self, "pattern", "trace");
	ASSERT_STR("0", error(load(self, t)));
	SET(self, "run", "1");
	wait_for_end(self);
	EXPECT_EQ(1, counter(self, "skipped"));
	EXPECT_EQ(1, check_stamps(self));
	/* The last entry fails and is retried: the trace has not ended. */
	SET(self, "on_error", "retry");
	t->entry[0].iova = at(2);
	t->entry[1].iova = at(RIG_PAGES);
	ASSERT_STR("0", error(load(self, t)));
	SET(self, "run", "1");
	EXPECT_EQ(true, WAIT_FOR(counter(self, "retried") > 3));
	EXPECT_EQ(1, mdma_get(&self->dev, "workload/run"));
	SET(self, "run", "0");
}

/* An entry is held for its own time, however long the workload holds older runs. */
TEST_F(rig, mdma_trace_holds_do_not_wait_for_others, 20)
{
	struct trace *t = new_trace();

	set_window(self, 0, 100);
	SET(self, "hold_ms", "600000");
	SET(self, "step", "5");
	add(t, 500, 3, true, 0, 5);
	add(t, 600, 2, true, 0, 600000);
	add(t, 700, 1, true, 0, 50);
	SET(self, "pattern", "trace");
	ASSERT_STR("0", error(load(self, t)));
	SET(self, "step", "3");
	ASSERT_EQ(5 + 2, wait_for_value(self, "stats/pinned", 5 + 2));
	SET(self, "hold_ms", "0");
	EXPECT_EQ(2, wait_for_value(self, "stats/pinned", 2));
	/* The other one of the trace is held still. */
	usleep(100000);
	EXPECT_EQ(2, mdma_get(&self->dev, "stats/pinned"));
}

TEST_MAIN(mdev_remove_leftovers)
