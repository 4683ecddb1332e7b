// SPDX-License-Identifier: GPL-2.0-only
/* Each channel has a workload of its own, and no workload disturbs another. */
#include "fixture.h"

#define CHANNELS	4

FIXTURE(channels) {
	struct rig rig;
};

FIXTURE_SETUP(channels)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
	set_window(&self->rig, 0, RIG_PAGES);
}

FIXTURE_TEARDOWN(channels)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Name of a file of a channel's workload. */
static const char *file_of(int channel, const char *name)
{
	static char path[64];

	if (channel)
		snprintf(path, sizeof(path), "workload%d/%s", channel, name);
	else
		snprintf(path, sizeof(path), "workload/%s", name);
	return path;
}

static int try(struct channels *c, int channel, const char *name,
	       const char *value)
{
	return mdma_set(&c->rig.dev, file_of(channel, name), "%s", value);
}

#define PUT(c, channel, name, value) \
	ASSERT_STR("0", error(try(c, channel, name, value)))

static long long get(struct channels *c, int channel, const char *name)
{
	return mdma_get(&c->rig.dev, file_of(channel, name));
}

static long long counter(struct channels *c, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "stats/%s", name);
	return mdma_get(&c->rig.dev, path);
}

/* Page writes of each channel by the ledger, which has pages written once only. */
static void count_pages(struct channels *c, int pages[CHANNELS])
{
	struct mdma_ledger_record *records;
	long long n = mdma_ledger(&c->rig.dev, &records), i;

	ASSERT_LE(0, n);
	memset(pages, 0, CHANNELS * sizeof(*pages));
	for (i = 0; i < n; i++) {
		ASSERT_LT(records[i].channel, CHANNELS);
		pages[records[i].channel]++;
	}
	free(records);
}

/* A channel's thread may still unpin pages after the step has returned. */
static void expect_pinned(struct channels *c, long long pages)
{
	EXPECT_EQ(pages, wait_for_value(&c->rig, "stats/pinned", pages));
}

TEST_F(channels, mdma_each_channel_has_its_settings, 20)
{
	int i;

	for (i = 0; i < CHANNELS; i++) {
		EXPECT_EQ(1, get(self, i, "batch"));
		EXPECT_EQ(990, get(self, i, "theta"));
	}
	PUT(self, 0, "batch", "2");
	PUT(self, 2, "batch", "5");
	PUT(self, 3, "pattern", "zipf");
	EXPECT_EQ(2, get(self, 0, "batch"));
	EXPECT_EQ(1, get(self, 1, "batch"));
	EXPECT_EQ(5, get(self, 2, "batch"));
	EXPECT_STR("ENOENT", error(try(self, CHANNELS, "batch", "1")));
	EXPECT_STR("ENOENT", error(try(self, 1, "window", "0-fff")));
	EXPECT_STR("ERANGE", error(try(self, 1, "batch", "513")));
	EXPECT_STR("EINVAL", error(try(self, 1, "pattern", "chaos")));
}

TEST_F(channels, mdma_a_step_is_of_its_channel, 20)
{
	int pages[CHANNELS];

	PUT(self, 1, "batch", "3");
	PUT(self, 3, "batch", "7");
	PUT(self, 3, "step", "10");
	PUT(self, 1, "step", "4");
	count_pages(self, pages);
	EXPECT_EQ(0, pages[0]);
	EXPECT_EQ(12, pages[1]);
	EXPECT_EQ(0, pages[2]);
	EXPECT_EQ(58, pages[3]);
	EXPECT_EQ(14, counter(self, "descriptors"));
	EXPECT_EQ(70, check_stamps(&self->rig));
	/* It continues where it was, whatever the others did. */
	PUT(self, 3, "step", "1");
	count_pages(self, pages);
	EXPECT_EQ(65, pages[3]);
}

/* Waits until this many more descriptors have been executed. */
static void wait_for_more(struct channels *c, long long more)
{
	long long begin = counter(c, "descriptors");

	if (!WAIT_FOR(counter(c, "descriptors") >= begin + more))
		FAIL("the workload does not run");
}

TEST_F(channels, mdma_channels_run_side_by_side, 40)
{
	int i, pages[CHANNELS];

	for (i = 0; i < CHANNELS; i++) {
		PUT(self, i, "pattern", "random");
		PUT(self, i, "seed", i % 2 ? "5" : "9");
		PUT(self, i, "rate", "500");
	}
	PUT(self, 2, "direction", "read");
	for (i = 0; i < CHANNELS; i++)
		PUT(self, i, "run", "1");
	wait_for_more(self, 1000);
	/* A started workload bars changes of its attributes and of the window. */
	EXPECT_STR("EBUSY", error(try(self, 1, "batch", "2")));
	PUT(self, 1, "run", "0");
	EXPECT_STR("0", error(try(self, 1, "batch", "1")));
	EXPECT_STR("EBUSY", error(try(self, 0, "window", "0-fff")));
	PUT(self, 0, "run", "0");
	PUT(self, 2, "run", "0");
	EXPECT_STR("EBUSY", error(try(self, 0, "window", "0-fff")));
	ASSERT_STR("0", error(mdma_clear_ledger(&self->rig.dev)));
	wait_for_more(self, 100);
	count_pages(self, pages);
	EXPECT_EQ(0, pages[0] + pages[1] + pages[2]);
	EXPECT_LT(50, pages[3]);
	PUT(self, 3, "run", "0");
	EXPECT_LT(0, counter(self, "pages_read"));
	check_stamps(&self->rig);
	EXPECT_STR("0", error(try(self, 0, "window", "0-fff")));
}

/* A short hold after a long one, and a ring beside both. */
TEST_F(channels, mdma_each_channel_holds_for_its_time, 30)
{
	PUT(self, 0, "pattern", "ring");
	PUT(self, 0, "ring", "3");
	PUT(self, 1, "hold_ms", "600000");
	PUT(self, 2, "hold_ms", "300");
	PUT(self, 1, "batch", "20");
	PUT(self, 1, "step", "2");
	PUT(self, 2, "step", "9");
	PUT(self, 0, "step", "10");
	PUT(self, 3, "step", "10");
	EXPECT_LE(43, counter(self, "pinned"));
	expect_pinned(self, 43);
	PUT(self, 1, "hold_ms", "0");
	PUT(self, 1, "step", "1");
	expect_pinned(self, 3);
	EXPECT_LOCKED(3);
}

/* The number of held pages is limited. A channel at the limit unpins its own pages. */
TEST_F(channels, mdma_held_pages_of_all_channels_are_limited, 60)
{
	unsigned int limit = 65536;

	PUT(self, 0, "batch", "512");
	PUT(self, 1, "batch", "512");
	PUT(self, 0, "hold_ms", "600000");
	PUT(self, 1, "hold_ms", "600000");
	PUT(self, 0, "step", "100");
	PUT(self, 1, "step", "28");
	expect_pinned(self, limit);
	PUT(self, 1, "step", "9");
	expect_pinned(self, limit);
	PUT(self, 0, "hold_ms", "0");
	PUT(self, 0, "step", "1");
	expect_pinned(self, 28 * 512);
	PUT(self, 1, "hold_ms", "0");
	PUT(self, 1, "step", "1");
	expect_pinned(self, 0);
}

TEST_F(channels, mdma_unmap_of_what_channels_hold, 20)
{
	struct rig *r = &self->rig;
	int i;

	for (i = 0; i < CHANNELS; i++) {
		PUT(self, i, "hold_ms", "600000");
		PUT(self, i, "step", "6");
	}
	EXPECT_EQ(24, counter(self, "pinned"));
	ASSERT_STR("0", error(dma_unmap(r->container, at(0),
					RIG_PAGES << PAGE_SHIFT, NULL)));
	EXPECT_EQ(0, counter(self, "pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(channels, mdma_close_stops_all_channels, 20)
{
	int i;

	for (i = 0; i < CHANNELS; i++) {
		PUT(self, i, "rate", "10");
		PUT(self, i, "run", "1");
	}
	mdma_close(&self->rig.dev);
	for (i = 0; i < CHANNELS; i++) {
		EXPECT_EQ(0, get(self, i, "run"));
		EXPECT_EQ(10, get(self, i, "rate"));
	}
}

TEST_MAIN(mdev_remove_leftovers)
