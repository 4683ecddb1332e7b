// SPDX-License-Identifier: GPL-2.0-only
/* What moves with a migration, and what stays at the source. */
#include <errno.h>
#include <sys/ioctl.h>

#include "fixture.h"
#include "kmsg.h"
#include "migration.h"
#include "ring.h"

/* Copies the guest's memory, as QEMU does. */
static void copy_memory(struct rig *to, struct rig *from)
{
	memcpy(to->mem, from->mem, RIG_PAGES << PAGE_SHIFT);
}

static void expect_same_stamps(struct rig *a, struct rig *b)
{
	struct mdma_stamp *s, *t;
	__u64 page;

	for (page = 0; page < RIG_PAGES; page++) {
		s = (void *)(a->mem + (page << PAGE_SHIFT));
		t = (void *)(b->mem + (page << PAGE_SHIFT));
		if (s->magic != t->magic || s->seq != t->seq ||
		    s->iova != t->iova || s->channel != t->channel)
			FAIL("page %llu: seq %llu and %llu", page,
			     (long long)s->seq, (long long)t->seq);
	}
}

/* Each parameter differs from that of a new device. */
static void set_pattern(struct rig *r, const char *pattern)
{
	set_workload(r);
	SET(r, "pattern", pattern);
	SET(r, "direction", "mixed");
	SET(r, "write_percent", "70");
	SET(r, "access", strcmp(pattern, "stride") ? "pin" : "rw");
	SET(r, "on_error", "retry");
	SET(r, "ring", "3");
	SET(r, "stride", "5");
	SET(r, "theta", "700");
	SET(r, "hot", "9");
	SET(r, "hot_percent", "60");
	SET(r, "drift", "11");
	SET(r, "burst", "13");
	SET(r, "pause_ms", "17");
}

static void expect_same_knobs(struct rig *a, struct rig *b)
{
	static const char * const names[] = {
		"window", "pattern", "direction", "write_percent", "access",
		"on_error", "batch", "ring", "stride", "theta", "hot",
		"hot_percent", "drift", "pages", "seed", "hold_ms", "rate",
		"burst", "pause_ms", "run",
	};
	char path[64], one[4096], other[4096];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "workload/%s", names[i]);
		ASSERT_EQ(0, mdma_get_text(&a->dev, path, one, sizeof(one)));
		ASSERT_EQ(0, mdma_get_text(&b->dev, path, other, sizeof(other)));
		if (strcmp(one, other))
			FAIL("%s: %s and %s", names[i], one, other);
	}
}

/* The writes are the same whether the device moves half way or not. */
static void moved_run(struct rig *source, const char *pattern)
{
	char *buf = malloc(MDMA_STREAM_MAX);
	struct rig target, whole;
	long long n;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&whole, "mdma-1", RIG_PAGES)));
	set_pattern(source, pattern);
	SET(source, "step", "201");
	n = mig_save(source->dev.device, buf, MDMA_STREAM_MAX);
	ASSERT_LT(0, n);
	copy_memory(&target, source);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	ASSERT_STR("0", error(mig_set(target.dev.device, MIG(RUNNING), NULL)));
	expect_same_knobs(source, &target);
	SET(&target, "step", "99");

	set_pattern(&whole, pattern);
	SET(&whole, "step", "300");
	expect_same_stamps(&whole, &target);
	EXPECT_EQ(mdma_get(&whole.dev, "stats/seq"),
		  mdma_get(&target.dev, "stats/seq"));
	rig_close(&target);
	rig_close(&whole);
	free(buf);
}

TEST_F(rig, mdma_moved_workload_goes_on_where_it_was, 40)
{
	moved_run(self, "random");
}

TEST_F(rig, mdma_moved_sequential_workload, 40)
{
	moved_run(self, "sequential");
}

TEST_F(rig, mdma_moved_ring_workload, 40)
{
	moved_run(self, "ring");
}

TEST_F(rig, mdma_moved_stride_workload, 40)
{
	moved_run(self, "stride");
}

TEST_F(rig, mdma_moved_zipf_workload, 40)
{
	moved_run(self, "zipf");
}

TEST_F(rig, mdma_moved_hot_workload, 40)
{
	moved_run(self, "hot");
}

TEST_F(rig, mdma_moved_scatter_workload, 40)
{
	moved_run(self, "scatter");
}

TEST_F(rig, mdma_moved_with_precopy, 40)
{
	int device = self->dev.device, fd;
	char *buf = malloc(MDMA_STREAM_MAX);
	long long n;
	struct rig target;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	set_workload(self);
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &fd));
	n = read(fd, buf, 7);
	ASSERT_EQ(7, n);
	SET(self, "step", "50");
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY_P2P), NULL));
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), NULL));
	n += mig_read(fd, buf + n, MDMA_STREAM_MAX - n);
	ASSERT_LT(7, n);
	close(fd);
	copy_memory(&target, self);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	ASSERT_STR("0", error(mig_set(target.dev.device, MIG(RUNNING), NULL)));
	ASSERT_STR("0", error(mig_set(device, MIG(RUNNING), NULL)));
	SET(&target, "step", "50");
	SET(self, "step", "50");
	expect_same_stamps(self, &target);
	rig_close(&target);
}

/* A doorbell that was rung when the device had stopped is not lost. */
TEST_F(rig, mdma_moved_doorbell, 30)
{
	struct mdma_desc desc = {
		.op = MDMA_OP_STAMP, .dst = at(100), .len = PAGE_SIZE,
	};
	char *buf = malloc(MDMA_STREAM_MAX);
	struct ring ring, moved;
	struct rig target;
	long long n;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	ring_enable(&ring, self, 0, 8);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	desc.dst = at(101);
	ring_put(&ring, &desc);
	ring_doorbell(&ring);
	usleep(50000);
	EXPECT_EQ(1, ring_reg(&ring, MDMA_CHAN_HEAD));
	n = mig_save(self->dev.device, buf, MDMA_STREAM_MAX);
	ASSERT_LT(0, n);
	copy_memory(&target, self);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	moved = ring;
	moved.rig = &target;
	moved.desc = (void *)target.mem;
	EXPECT_EQ(2, ring_reg(&moved, MDMA_CHAN_TAIL));
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(2, ring_wait(&moved));
	EXPECT_EQ(MDMA_STATUS_DONE, moved.desc[1].status);
	EXPECT_EQ(0, ring.desc[1].status);
	EXPECT_EQ(2, ((struct mdma_stamp *)(target.mem + 101 * PAGE_SIZE))->seq
		     - ((struct mdma_stamp *)(self->mem + 100 * PAGE_SIZE))->seq);
	rig_close(&target);
}

/* Compares every counter. They also depend on the state of the generator. */
static void expect_same_stats(struct rig *a, struct rig *b)
{
	static const char * const names[] = {
		"seq", "pages_written", "pages_read", "descriptors", "pins",
		"unpins", "pin_errors", "skipped", "stopped", "retried",
	};
	char path[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "stats/%s", names[i]);
		if (mdma_get(&a->dev, path) != mdma_get(&b->dev, path))
			FAIL("%s: %lld and %lld", names[i],
			     mdma_get(&a->dev, path), mdma_get(&b->dev, path));
	}
}

/* Moves the state from one device to the other, and the memory as QEMU does. */
static void move(struct rig *from, struct rig *to)
{
	char *buf = malloc(MDMA_STREAM_MAX);
	long long n = mig_save(from->dev.device, buf, MDMA_STREAM_MAX);

	ASSERT_LT(0, n);
	copy_memory(to, from);
	ASSERT_STR("0", error(mig_load(to->dev.device, buf, n, NULL)));
	expect_same_stats(from, to);
	ASSERT_STR("0", error(mig_set(to->dev.device, MIG(RUNNING), NULL)));
	free(buf);
}

/* Back and forth between two devices: the result is that of a device that never moved. */
TEST_F(rig, mdma_moved_twenty_times, 60)
{
	struct rig other, whole, *here = self, *there = &other, *swap;
	int i;

	ASSERT_STR("0", error(rig_open(&other, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&whole, "mdma-1", RIG_PAGES)));
	set_workload(self);
	SET(self, "direction", "mixed");
	for (i = 0; i < 20; i++) {
		SET(here, "step", "37");
		move(here, there);
		swap = here;
		here = there;
		there = swap;
	}
	set_workload(&whole);
	SET(&whole, "direction", "mixed");
	SET(&whole, "step", "740");
	expect_same_stamps(&whole, here);
	expect_same_stats(&whole, here);
	rig_close(&other);
	rig_close(&whole);
}

/* Holds ten runs of four pages for ten minutes. */
static void hold_ten_runs(struct rig *r, const char *direction)
{
	set_workload(r);
	SET(r, "pattern", "sequential");
	SET(r, "batch", "4");
	SET(r, "direction", direction);
	SET(r, "hold_ms", "600000");
	SET(r, "step", "10");
	ASSERT_EQ(40, mdma_get(&r->dev, "stats/pinned"));
}

TEST_F(rig, mdma_held_pins_move_along, 30)
{
	struct rig target;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	hold_ten_runs(self, "write");
	START(&target);
	move(self, &target);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_EQ(40, mdma_get(&target.dev, "stats/pinned"));
	/* Pinned for writing: dirty in each report. */
	EXPECT_STR("16-55", dirty_all(&target));
	EXPECT_STR("16-55", dirty_all(&target));
	SET(&target, "hold_ms", "0");
	SET(&target, "step", "1");
	EXPECT_EQ(0, mdma_get(&target.dev, "stats/pinned"));
	rig_close(&target);
}

TEST_F(rig, mdma_held_for_reading_moves_along, 30)
{
	struct rig target;

	if (backend_is_stock())
		SKIP("a backend that tells read pins from write pins (W11)");
	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	hold_ten_runs(self, "read");
	START(&target);
	move(self, &target);
	EXPECT_EQ(40, mdma_get(&target.dev, "stats/pinned"));
	EXPECT_STR("none", dirty_all(&target));
	rig_close(&target);
}

/* Moved, or stopped and started, twice in a row: no held run is lost. */
TEST_F(rig, mdma_held_pins_move_on, 30)
{
	struct rig target;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	hold_ten_runs(self, "write");
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(40, mdma_get(&self->dev, "stats/pinned"));
	move(self, &target);
	move(&target, self);
	EXPECT_EQ(0, mdma_get(&target.dev, "stats/pinned"));
	EXPECT_EQ(40, mdma_get(&self->dev, "stats/pinned"));
	rig_close(&target);
}

/*
 * Runs whose memory was unmapped meanwhile are not pinned again, even if the memory
 * was mapped anew, provided that the container told the device. It does if something
 * is pinned.
 */
TEST_F(rig, mdma_unmapped_runs_are_not_pinned_again, 30)
{
	hold_ten_runs(self, "write");
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	PIN(self, 900, 1, 'w');
	ASSERT_EQ(0, dma_unmap(self->container, RIG_IOVA,
			       RIG_PAGES << PAGE_SHIFT, NULL));
	ASSERT_EQ(0, dma_map(self->container, self->mem, RIG_IOVA,
			     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pin_errors"));
}

/* That is not silent: the log has their number and the first error. */
TEST_F(rig, mdma_runs_that_cannot_be_pinned_are_forgotten, 30)
{
	int log = kmsg_open();

	ASSERT_LT(0, log);
	hold_ten_runs(self, "write");
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	ASSERT_EQ(0, dma_unmap(self->container, RIG_IOVA,
			       RIG_PAGES << PAGE_SHIFT, NULL));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_EQ(10, mdma_get(&self->dev, "stats/pin_errors"));
	EXPECT_EQ(1, kmsg_has(log, "10 held runs"));
	close(log);
}

/*
 * A destination that may lock less memory holds as many runs as it may. What a process
 * may lock is looked at when it maps.
 */
TEST_F(rig, mdma_runs_beyond_the_memlock_limit_are_forgotten, 30)
{
	int log = kmsg_open();

	ASSERT_LT(0, log);
	hold_ten_runs(self, "write");
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	EXPECT_LOCKED(0);
	ASSERT_STR("0", error(limit_locked_pages(22)));
	ASSERT_EQ(0, dma_unmap(self->container, RIG_IOVA,
			       RIG_PAGES << PAGE_SHIFT, NULL));
	ASSERT_EQ(0, dma_map(self->container, self->mem, RIG_IOVA,
			     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(20, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_EQ(5, mdma_get(&self->dev, "stats/pin_errors"));
	EXPECT_EQ(1, kmsg_has(log, "5 held runs"));
	close(log);
}

struct trace {
	struct mdma_trace_header header;
	struct mdma_trace_entry entry[100];
};

static void load_trace(struct rig *r, struct trace *trace, __u32 entries)
{
	long long size = sizeof(trace->header) + entries * sizeof(*trace->entry);
	char path[128];
	int fd;

	trace->header = (struct mdma_trace_header) {
		MDMA_TRACE_MAGIC, MDMA_TRACE_VERSION, entries, 0
	};
	SET(r, "pattern", "trace");
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace",
		 r->dev.uuid);
	fd = open(path, O_WRONLY);
	ASSERT_EQ(size, write(fd, trace, size));
	close(fd);
}

#define HOLD_MS		6000

/*
 * A run is held for its total time, before the stop and after it together: it is given
 * back before another one, which begins after the stop and is held for 3/4 of that time.
 * The channel gives back what is over in the order in which it is over.
 */
TEST_F(rig, mdma_time_held_before_a_stop_counts, 30)
{
	struct trace trace = {
		.entry = {
			{ .iova = at(1), .npages = 1, .hold_ms = HOLD_MS },
			{ .iova = at(8), .npages = 2, .hold_ms = HOLD_MS * 3 / 4 },
		},
	};
	double begin;
	long long pinned;

	load_trace(self, &trace, 2);
	begin = now_ms();
	SET(self, "step", "1");
	usleep(HOLD_MS / 2 * 1000);
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	SET(self, "step", "1");
	pinned = mdma_get(&self->dev, "stats/pinned");
	if (now_ms() < begin + HOLD_MS)
		EXPECT_EQ(1 + 2, pinned);
	else
		NO_CHANCE("the stop came when the hold was over");
	EXPECT_EQ(true, WAIT_FOR((pinned = mdma_get(&self->dev, "stats/pinned")) != 1 + 2));
	if (pinned)
		EXPECT_EQ(2, pinned);
	else
		NO_CHANCE("the look came when both holds were over");
	EXPECT_EQ(0, wait_for_value(self, "stats/pinned", 0));
}

TEST_F(rig, mdma_reset_forgets_parked_runs, 30)
{
	hold_ten_runs(self, "write");
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	ASSERT_EQ(0, mdma_reset(&self->dev));
	EXPECT_EQ(MIG(RUNNING), mig_get(self->dev.device));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
}

static void expect_data_size(struct rig *r, char *buf, int in_precopy)
{
	long long told = mig_data_size(r->dev.device), n;
	int fd;

	if (in_precopy)
		ASSERT_EQ(0, mig_set(r->dev.device, MIG(PRE_COPY), &fd));
	n = mig_set(r->dev.device, MIG(STOP_COPY), in_precopy ? NULL : &fd);
	ASSERT_EQ(0, n);
	n = mig_read(fd, buf, MDMA_STREAM_MAX);
	close(fd);
	if (n < told * 9 / 10 || n > told * 11 / 10)
		FAIL("%lld bytes were announced, %lld came", told, n);
	/* The estimate is exact now that the stream exists. */
	EXPECT_EQ(n, mig_data_size(r->dev.device));
	ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING), NULL));
}

TEST_F(rig, mdma_data_size_is_true, 30)
{
	static const char * const steps[] = { "1", "9", "90", "400" };
	char *buf = malloc(MDMA_STREAM_MAX);
	unsigned int i;

	set_workload(self);
	SET(self, "hold_ms", "600000");
	expect_data_size(self, buf, 0);
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		SET(self, "step", steps[i]);
		expect_data_size(self, buf, i & 1);
	}
	free(buf);
}

/*
 * The stream breaks off at some place: the destination fails, and can be used again;
 * the source continues as if nothing had happened.
 */
static void break_stream(struct rig *source, struct rig *target, long long cut)
{
	long long seq = mdma_get(&source->dev, "stats/seq"), n;
	char *buf = malloc(MDMA_STREAM_MAX);
	int to_stop;

	n = mig_save(source->dev.device, buf, MDMA_STREAM_MAX);
	ASSERT_LT(cut, n);
	if (cut < 0)
		cut += n;
	mig_load(target->dev.device, buf, cut, &to_stop);
	EXPECT_NE(0, to_stop);
	EXPECT_EQ(MIG(ERROR), mig_get(target->dev.device));
	EXPECT_EQ(0, mdma_get(&target->dev, "stats/pinned"));
	ASSERT_EQ(0, mdma_reset(&target->dev));
	EXPECT_EQ(0, mdma_get(&target->dev, "stats/seq"));
	ASSERT_EQ(0, mig_set(source->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(40, mdma_get(&source->dev, "stats/pinned"));
	EXPECT_EQ(seq, mdma_get(&source->dev, "stats/seq"));
	free(buf);
}

TEST_F(rig, mdma_stream_that_breaks_harms_neither_side, 60)
{
	static const long long cuts[] = { 0, 1, 23, 24, 40, 1000, -150, -25, -1 };
	struct rig target;
	unsigned int i;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	hold_ten_runs(self, "write");
	for (i = 0; i < ARRAY_SIZE(cuts); i++)
		break_stream(self, &target, cuts[i]);
	SET(self, "step", "1");
	EXPECT_EQ(44, mdma_get(&self->dev, "stats/seq"));
	move(self, &target);
	SET(&target, "step", "1");
	EXPECT_EQ(48, mdma_get(&target.dev, "stats/seq"));
	rig_close(&target);
}

/* Data after END is refused, and so is data that cannot be read there. */
TEST_F(rig, mdma_nothing_is_taken_behind_the_end, 30)
{
	char *buf = malloc(MDMA_STREAM_MAX), *bad = memory(MDMA_STREAM_MAX, PROT_NONE);
	struct rig target;
	long long n;
	int fd;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	hold_ten_runs(self, "write");
	n = mig_save(self->dev.device, buf, MDMA_STREAM_MAX);
	ASSERT_LT(0, n);
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RESUMING), &fd));
	ASSERT_EQ(n, write(fd, buf, n));
	EXPECT_EQ(-1, write(fd, bad, MDMA_STREAM_MAX / 2));
	EXPECT_EQ(EBADMSG, errno);
	close(fd);
	EXPECT_STR("EBADMSG", error(mig_set(target.dev.device, MIG(STOP), NULL)));
	EXPECT_EQ(MIG(ERROR), mig_get(target.dev.device));
	rig_close(&target);
	free(buf);
}

/* All settings of two channels, on devices with four. */
static void set_channels(struct rig *r)
{
	set_workload(r);
	ASSERT_EQ(0, mdma_set(&r->dev, "workload1/pattern", "hot"));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload1/batch", "3"));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload1/seed", "4711"));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload3/pattern", "zipf"));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload3/theta", "400"));
}

static void step_channels(struct rig *r, const char *n)
{
	SET(r, "step", n);
	ASSERT_EQ(0, mdma_set(&r->dev, "workload1/step", n));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload3/step", n));
}

TEST_F(rig, mdma_moved_workloads_of_all_channels, 40)
{
	struct rig source, target, whole;

	ASSERT_STR("0", error(rig_open(&source, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&target, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&whole, "mdma-4", RIG_PAGES)));
	set_channels(&source);
	step_channels(&source, "50");
	/* The previous settings of the destination are gone. */
	ASSERT_EQ(0, mdma_set(&target.dev, "workload2/batch", "9"));
	move(&source, &target);
	EXPECT_EQ(1, mdma_get(&target.dev, "workload2/batch"));
	EXPECT_EQ(400, mdma_get(&target.dev, "workload3/theta"));
	step_channels(&target, "50");
	set_channels(&whole);
	step_channels(&whole, "50");
	step_channels(&whole, "50");
	expect_same_stamps(&whole, &target);
	expect_same_stats(&whole, &target);
	rig_close(&source);
	rig_close(&target);
	rig_close(&whole);
}

/* At the destination, each run is held by the same channel as at the source. */
TEST_F(rig, mdma_moved_pins_belong_to_their_channels, 30)
{
	struct rig source, target;

	ASSERT_STR("0", error(rig_open(&source, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&target, "mdma-4", RIG_PAGES)));
	set_channels(&source);
	SET(&source, "hold_ms", "600000");
	ASSERT_EQ(0, mdma_set(&source.dev, "workload1/hold_ms", "600000"));
	step_channels(&source, "10");
	move(&source, &target);
	EXPECT_EQ(20 + 30, mdma_get(&target.dev, "stats/pinned"));
	SET(&target, "hold_ms", "0");
	SET(&target, "step", "1");
	EXPECT_EQ(30, wait_for_value(&target, "stats/pinned", 30));
	/* The other runs are not given back later either. */
	usleep(200000);
	EXPECT_EQ(30, mdma_get(&target.dev, "stats/pinned"));
	rig_close(&source);
	rig_close(&target);
}

/* A trace moves, and so do the runs that it holds, each for the rest of its time. */
TEST_F(rig, mdma_moved_trace, 40)
{
	struct trace trace;
	long long pinned;
	struct rig target;
	double begin;
	int i;

	for (i = 0; i < 100; i++)
		trace.entry[i] = (struct mdma_trace_entry) {
			.iova = at(i * 7), .at_us = i, .npages = 1 + i % 3,
			.flags = MDMA_TRACE_WRITE,
			.hold_ms = i == 3 ? 600000 : i == 4 ? HOLD_MS : 0,
		};
	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	load_trace(self, &trace, 100);
	begin = now_ms();
	SET(self, "step", "40");
	move(self, &target);
	pinned = mdma_get(&target.dev, "stats/pinned");
	if (now_ms() < begin + HOLD_MS)
		EXPECT_EQ(1 + 2, pinned);
	else
		NO_CHANCE("the move took longer than the hold");
	EXPECT_EQ(1, wait_for_value(&target, "stats/pinned", 1));
	ASSERT_STR("0", error(mig_set(self->dev.device, MIG(RUNNING), NULL)));
	SET(&target, "step", "60");
	SET(self, "step", "60");
	expect_same_stamps(self, &target);
	EXPECT_EQ(199, mdma_get(&target.dev, "stats/seq"));
	rig_close(&target);
}

/* A ring that has halted is halted at the destination, for the same reason. */
TEST_F(rig, mdma_moved_status_of_a_channel, 30)
{
	struct rig source, target;
	struct ring ring;

	ASSERT_STR("0", error(rig_open(&source, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&target, "mdma-4", RIG_PAGES)));
	ring_enable(&ring, &source, 2, 8);
	ring_set_reg(&ring, MDMA_CHAN_TAIL, 1000);
	ring_enable(&ring, &source, 3, 7);
	move(&source, &target);
	ring.rig = &target;
	EXPECT_EQ(MDMA_STATUS_BAD_RING, ring_reg(&ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(7, ring_reg(&ring, MDMA_CHAN_RING_SIZE));
	ring.channel = 2;
	EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL, ring_reg(&ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(1000, ring_reg(&ring, MDMA_CHAN_TAIL));
	ring.channel = 1;
	EXPECT_EQ(MDMA_STATUS_NONE, ring_reg(&ring, MDMA_CHAN_STATUS));
	rig_close(&source);
	rig_close(&target);
}

TEST_MAIN(mdev_remove_leftovers)
