// SPDX-License-Identifier: GPL-2.0-only
/* The device's tracepoints agree with its counters and its ledger. */
#include <sys/stat.h>

#include "fixture.h"
#include "migration.h"
#include "ring.h"

/* A separate trace buffer, so that it has no events of others. */
#define INSTANCE	"/sys/kernel/tracing/instances/mdma-selftest"
#define DATA		32	/* first page of the data */
#define EVENTS_MAX	4096

/* An event of this device. */
struct event {
	char name[24];
	char fields[160];
};

FIXTURE(traced) {
	struct rig rig;
	struct event events[EVENTS_MAX];
	int nr;
};

FIXTURE_SETUP(traced)
{
	rmdir(INSTANCE);
	ASSERT_EQ(0, mkdir(INSTANCE, 0700));
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(file_write(INSTANCE "/events/mdma/enable", "1")));
}

FIXTURE_TEARDOWN(traced)
{
	rig_close(&self->rig);
	EXPECT_EQ(0, rmdir(INSTANCE));
}

/* Takes the device's events so far out of the trace. */
static void read_events(struct traced *t)
{
	FILE *file = fopen(INSTANCE "/trace", "r");
	struct event *event = t->events;
	unsigned int device;
	char line[512];

	ASSERT_NE(NULL, file);
	while (fgets(line, sizeof(line), file)) {
		char *at = strstr(line, ": mdma_");

		if (!at || sscanf(at, ": mdma_%23[^:]: device=%x %159[^\n]",
				  event->name, &device, event->fields) != 3 ||
		    device != t->rig.dev.id)
			continue;
		ASSERT_LT(event, t->events + EVENTS_MAX - 1);
		event++;
	}
	fclose(file);
	t->nr = event - t->events;
	ASSERT_EQ(0, truncate(INSTANCE "/trace", 0));
}

/* The value of "name=" in an event; fails if the name is missing. */
static long long field(const struct event *event, const char *name)
{
	const char *at = event->fields;
	size_t len = strlen(name);

	for (; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
		if (!strncmp(at, name, len) && at[len] == '=')
			return strtoll(at + len + 1, NULL, 0);
	FAIL("%s has no %s: %s", event->name, name, event->fields);
	return 0;
}

/* Sum of a field over the events of this name; their number if it is NULL. */
static long long sum(struct traced *t, const char *name, const char *what)
{
	long long n = 0;
	int i;

	for (i = 0; i < t->nr; i++)
		if (!strcmp(t->events[i].name, name))
			n += what ? field(&t->events[i], what) : 1;
	return n;
}

/* Number of pages that were pinned, or of calls that failed. */
static long long pins(struct traced *t, bool failed)
{
	long long n = 0, ret;
	int i;

	for (i = 0; i < t->nr; i++) {
		if (strcmp(t->events[i].name, "pin"))
			continue;
		ret = field(&t->events[i], "ret");
		if (ret > 0)
			EXPECT_EQ(field(&t->events[i], "npages"), ret);
		n += failed ? ret < 0 : ret > 0 ? ret : 0;
	}
	return n;
}

static void expect_stats(struct traced *t)
{
	struct mdma *m = &t->rig.dev;

	EXPECT_EQ(mdma_get(m, "stats/descriptors"),
		  sum(t, "descriptor", NULL) - sum(t, "descriptor", "part"));
	EXPECT_EQ(mdma_get(m, "stats/pages_written"), sum(t, "write", "npages"));
	EXPECT_EQ(mdma_get(m, "stats/pins"), pins(t, false));
	EXPECT_EQ(mdma_get(m, "stats/pin_errors"), pins(t, true));
	EXPECT_EQ(mdma_get(m, "stats/unpins"), sum(t, "unpin", "npages"));
}

/* The ledger must be as the write events say. */
static void expect_ledger(struct traced *t)
{
	static struct mdma_ledger_record want[RIG_PAGES];
	struct mdma_ledger_record *records;
	long long nr, n;
	int i;

	memset(want, 0, sizeof(want));
	for (i = 0; i < t->nr; i++) {
		const struct event *event = &t->events[i];
		__u64 page, npages;

		if (strcmp(event->name, "write"))
			continue;
		page = (field(event, "iova") - at(0)) >> PAGE_SHIFT;
		npages = field(event, "npages");
		ASSERT_LE(page + npages, RIG_PAGES);
		for (n = 0; n < (long long)npages; n++) {
			want[page + n].writes++;
			want[page + n].seq = field(event, "seq") + n;
			want[page + n].channel = field(event, "channel");
		}
	}
	nr = mdma_ledger(&t->rig.dev, &records);
	ASSERT_LT(0, nr);
	for (n = 0; n < nr; n++) {
		struct mdma_ledger_record *seen = &records[n];
		__u64 page = (seen->iova - at(0)) >> PAGE_SHIFT;

		ASSERT_LT(page, RIG_PAGES);
		EXPECT_EQ(want[page].seq, seen->seq);
		EXPECT_EQ(want[page].writes, seen->writes);
		EXPECT_EQ(want[page].channel, seen->channel);
		want[page].writes = 0;
	}
	for (n = 0; n < RIG_PAGES; n++)
		EXPECT_EQ(0, want[n].writes);
	free(records);
}

TEST_F(traced, mdma_trace_of_the_workload, 40)
{
	struct rig *r = &self->rig;

	set_workload(r);
	SET(r, "direction", "mixed");
	SET(r, "step", "200");
	SET(r, "hold_ms", "600000");
	SET(r, "step", "20");
	SET(r, "pattern", "scatter");
	SET(r, "step", "30");
	ASSERT_STR("0", error(mdma_reset(&r->dev)));
	read_events(self);
	/* 30 descriptors have two pages each, anywhere in the window. */
	EXPECT_EQ(280, sum(self, "descriptor", NULL));
	EXPECT_EQ(280, sum(self, "descriptor", "status"));
	EXPECT_EQ(30, sum(self, "descriptor", "part"));
	EXPECT_EQ(0, sum(self, "descriptor", "ring"));
	expect_stats(self);
	expect_ledger(self);
}

static __u32 run(struct ring *ring, __u32 op, __u64 dst, __u64 src, __u64 len)
{
	struct mdma_desc desc = {
		.op = op, .dst = dst, .src = src, .len = len,
	};

	return ring_run(ring, &desc);
}

/* Each descriptor of the guest has its event, with its status. */
TEST_F(traced, mdma_trace_of_the_guest, 40)
{
	static const __u32 want[] = {
		MDMA_STATUS_DONE, MDMA_STATUS_DONE, MDMA_STATUS_DONE,
		MDMA_STATUS_BAD_OP, MDMA_STATUS_BAD_LENGTH,
		MDMA_STATUS_BAD_ADDRESS,
	};
	struct ring ring;
	int i, n = 0;

	ring_enable(&ring, &self->rig, 2, 16);
	run(&ring, MDMA_OP_NOP, 0, 0, 0);
	run(&ring, MDMA_OP_STAMP, at(DATA), 0, 3 * PAGE_SIZE);
	run(&ring, MDMA_OP_COPY, at(DATA + 9) + 5, at(DATA), 2 * PAGE_SIZE);
	run(&ring, 99, at(DATA), 0, PAGE_SIZE);
	run(&ring, MDMA_OP_FILL, at(DATA), 0, 0);
	run(&ring, MDMA_OP_FILL, at(RIG_PAGES), 0, 8);
	read_events(self);
	for (i = 0; i < self->nr; i++) {
		const struct event *event = &self->events[i];

		if (strcmp(event->name, "descriptor"))
			continue;
		ASSERT_LT(n, (int)ARRAY_SIZE(want));
		EXPECT_EQ(want[n], field(event, "status"));
		EXPECT_EQ(want[n], ring.desc[n].status);
		EXPECT_EQ(2, field(event, "channel"));
		EXPECT_EQ(1, field(event, "ring"));
		EXPECT_EQ(ring.desc[n].op, field(event, "op"));
		EXPECT_EQ(ring.desc[n].dst, field(event, "dst"));
		n++;
	}
	EXPECT_EQ((int)ARRAY_SIZE(want), n);
	expect_stats(self);
	expect_ledger(self);
}

static void expect_states(struct traced *t, const int *state, int nr)
{
	int i, n = 0;

	for (i = 0; i < t->nr; i++) {
		if (strcmp(t->events[i].name, "state"))
			continue;
		ASSERT_LT(n, nr - 1);
		EXPECT_EQ(state[n], field(&t->events[i], "from"));
		EXPECT_EQ(state[n + 1], field(&t->events[i], "to"));
		n++;
	}
	EXPECT_EQ(nr - 1, n);
}

TEST_F(traced, mdma_trace_of_states_and_unmaps, 40)
{
	static const int path[] = {
		MIG(RUNNING), MIG(RUNNING_P2P), MIG(STOP), MIG(STOP_COPY),
		MIG(STOP), MIG(RUNNING_P2P), MIG(RUNNING),
	};
	struct rig *r = &self->rig;
	int i, unmaps = 0;

	PIN(r, 5, 3, 'w');
	ASSERT_EQ(0, mig_set(r->dev.device, MIG(STOP_COPY), NULL));
	ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING), NULL));
	ASSERT_EQ(0, dma_unmap(r->container, at(0), RIG_PAGES << PAGE_SHIFT,
			       NULL));
	read_events(self);
	expect_states(self, path, ARRAY_SIZE(path));
	for (i = 0; i < self->nr; i++) {
		const struct event *event = &self->events[i];

		if (strcmp(event->name, "dma_unmap"))
			continue;
		unmaps++;
		EXPECT_EQ(at(0), field(event, "iova"));
		EXPECT_EQ(RIG_PAGES << PAGE_SHIFT, field(event, "length"));
	}
	EXPECT_LE(1, unmaps);
	EXPECT_EQ(3, sum(self, "unpin", "npages"));
	expect_stats(self);
}

TEST_MAIN(mdev_remove_leftovers)
