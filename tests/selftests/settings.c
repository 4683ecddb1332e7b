// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may set what: workload, window and trace belong to the administrator. A stream
 * sets them only until the device is closed, or not at all.
 */
#include "fixture.h"
#include "migration.h"
#include "stream.h"

#define TRACE_ENTRIES	3

/* A device set by the administrator, and the stream of a device set otherwise. */
FIXTURE(settings) {
	struct rig rig;
	char *stream;
	long long size;
};

static int trace_open(struct rig *r)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/workload/trace",
		 r->dev.uuid);
	return open(path, O_RDWR);
}

static void load_trace(struct rig *r, __u32 entries)
{
	struct {
		struct mdma_trace_header header;
		struct mdma_trace_entry entry[TRACE_ENTRIES];
	} trace = {
		.header = { MDMA_TRACE_MAGIC, MDMA_TRACE_VERSION, entries, 0 },
	};
	long long size = sizeof(trace.header) + entries * sizeof(*trace.entry);
	int fd = trace_open(r);
	__u32 i;

	for (i = 0; i < entries; i++)
		trace.entry[i] = (struct mdma_trace_entry) {
			.iova = at(700 + i), .npages = 1,
			.flags = MDMA_TRACE_WRITE,
		};
	ASSERT_EQ(size, write(fd, &trace, size));
	close(fd);
}

static long long trace_entries(struct rig *r)
{
	struct mdma_trace_header header = { 0 };
	int fd = trace_open(r);

	ASSERT_EQ(sizeof(header), read(fd, &header, sizeof(header)));
	close(fd);
	return header.entries;
}

/* All settings, with two sets of values. */
static const struct {
	const char *name, *admin, *stream;
} knobs[] = {
	{ "window", "0x40010000-0x4001ffff", "0x40100000-0x401fffff" },
	{ "pattern", "hot", "stride" },
	{ "direction", "mixed", "read" },
	{ "write_percent", "31", "70" },
	{ "access", "pin", "rw" },
	{ "on_error", "stop", "retry" },
	{ "batch", "2", "5" },
	{ "ring", "7", "3" },
	{ "stride", "9", "5" },
	{ "theta", "100", "700" },
	{ "hot", "4", "9" },
	{ "hot_percent", "55", "60" },
	{ "drift", "2", "11" },
	{ "pages", "12", "40" },
	{ "seed", "1", "2" },
	{ "hold_ms", "3", "60000" },
	{ "rate", "10", "1000000" },
	{ "burst", "6", "13" },
	{ "pause_ms", "1", "17" },
};

#define ADMIN	1
#define STREAM	2

static const char *value_of(unsigned int i, int who)
{
	return who == ADMIN ? knobs[i].admin : knobs[i].stream;
}

static void set_all(struct rig *r, int who)
{
	char path[64];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		snprintf(path, sizeof(path), "workload/%s", knobs[i].name);
		ASSERT_STR("0", error(mdma_set(&r->dev, path, "%s",
					       value_of(i, who))));
	}
	load_trace(r, who);
}

static void expect_all(struct rig *r, int who)
{
	char path[64], text[256];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		snprintf(path, sizeof(path), "workload/%s", knobs[i].name);
		ASSERT_EQ(0, mdma_get_text(&r->dev, path, text, sizeof(text)));
		if (strcmp(text, value_of(i, who)))
			FAIL("%s: %s, not %s", knobs[i].name, text,
			     value_of(i, who));
	}
	EXPECT_EQ(who, trace_entries(r));
}

FIXTURE_SETUP(settings)
{
	struct rig source;

	ASSERT_STR("0", error(rig_open(&source, "mdma-1", RIG_PAGES)));
	set_all(&source, STREAM);
	SET(&source, "run", "1");
	self->stream = malloc(MDMA_STREAM_MAX);
	self->size = mig_save(source.dev.device, self->stream, MDMA_STREAM_MAX);
	ASSERT_LT(0, self->size);
	rig_close(&source);
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	set_all(&self->rig, ADMIN);
}

FIXTURE_TEARDOWN(settings)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static void load(struct settings *s)
{
	ASSERT_STR("0", error(mig_load(s->rig.dev.device, s->stream, s->size,
				       NULL)));
}

/* The VMM closes the device, another one opens it. */
static void next_tenant(struct settings *s)
{
	struct mdma *m = &s->rig.dev;

	mdma_close(m);
	ASSERT_STR("0", error(mdma_attach(m, s->rig.container)));
	ASSERT_STR("0", error(container_set_type(s->rig.container,
						 VFIO_TYPE1v2_IOMMU)));
	ASSERT_EQ(0, dma_map(s->rig.container, s->rig.mem, RIG_IOVA,
			     RIG_PAGES << PAGE_SHIFT, MAP_RW));
	ASSERT_STR("0", error(mdma_open(m)));
}

TEST_F(settings, mdma_settings_of_a_stream_end_with_the_close, 30)
{
	load(self);
	expect_all(&self->rig, STREAM);
	EXPECT_EQ(1, mdma_get(&self->rig.dev, "workload/run"));
	/* A reset keeps them: the VMM that brought them is still there. */
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
	expect_all(&self->rig, STREAM);
	next_tenant(self);
	expect_all(&self->rig, ADMIN);
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "workload/run"));
}

TEST_F(settings, mdma_settings_of_two_streams_end_with_the_close, 30)
{
	load(self);
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
	load(self);
	expect_all(&self->rig, STREAM);
	next_tenant(self);
	expect_all(&self->rig, ADMIN);
}

/* Settings by the administrator after the stream take effect, and stay. */
TEST_F(settings, mdma_settings_of_the_administrator_stay, 30)
{
	load(self);
	SET(&self->rig, "run", "0");
	SET(&self->rig, "batch", "17");
	SET(&self->rig, "window", "0x40000000-0x40000fff");
	load_trace(&self->rig, 3);
	EXPECT_EQ(17, mdma_get(&self->rig.dev, "workload/batch"));
	next_tenant(self);
	EXPECT_EQ(17, mdma_get(&self->rig.dev, "workload/batch"));
	EXPECT_EQ(3, trace_entries(&self->rig));
	SET(&self->rig, "batch", "2");
	load_trace(&self->rig, ADMIN);
	SET(&self->rig, "window", knobs[0].admin);
	expect_all(&self->rig, ADMIN);
}

/* A trace of the administrator's between two streams is neither lost nor the stream's. */
TEST_F(settings, mdma_trace_between_two_streams_stays, 30)
{
	load(self);
	SET(&self->rig, "run", "0");
	load_trace(&self->rig, 3);
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
	load(self);
	EXPECT_EQ(STREAM, trace_entries(&self->rig));
	next_tenant(self);
	EXPECT_EQ(3, trace_entries(&self->rig));
}

/* A guest that takes its window back does not take that of the administrator. */
TEST_F(settings, mdma_guest_takes_back_its_own_window, 30)
{
	struct mdma *m = &self->rig.dev;
	char text[64];

	SET(&self->rig, "window", "0x40000000-0x40000fff");
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, 0);
	EXPECT_EQ(MDMA_STATUS_DONE, mdma_read32(m, MDMA_REG_WINDOW_STATUS));
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, sizeof(text)));
	EXPECT_STR("0x40000000-0x40000fff", text);
}

TEST_F(settings, mdma_settings_of_a_stream_can_be_refused, 30)
{
	struct mdma *m = &self->rig.dev;
	char text[64];

	ASSERT_EQ(0, mdma_get_text(m, "stream_settings", text, sizeof(text)));
	EXPECT_STR("take", text);
	EXPECT_STR("EINVAL", error(mdma_set(m, "stream_settings", "ask")));
	ASSERT_STR("0", error(mdma_set(m, "stream_settings", "keep")));
	ASSERT_EQ(0, mdma_get_text(m, "stream_settings", text, sizeof(text)));
	EXPECT_STR("keep", text);
	load(self);
	expect_all(&self->rig, ADMIN);
	EXPECT_EQ(0, mdma_get(m, "workload/run"));
	next_tenant(self);
	expect_all(&self->rig, ADMIN);
	ASSERT_STR("0", error(mdma_set(m, "stream_settings", "take")));
	load(self);
	expect_all(&self->rig, STREAM);
}

/* The guest's window belongs to the guest and moves with it. */
TEST_F(settings, mdma_window_of_the_guest_moves_in_any_case, 30)
{
	struct mdma_range *table = (void *)self->rig.mem;
	struct mdma *m = &self->rig.dev;
	char text[64];

	table[0] = (struct mdma_range) { at(300), 2 * PAGE_SIZE };
	mdma_write64(m, MDMA_REG_WINDOW_TABLE, at(0));
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, 1);
	self->size = mig_save(m->device, self->stream, MDMA_STREAM_MAX);
	ASSERT_LT(0, self->size);
	next_tenant(self);
	ASSERT_STR("0", error(mdma_set(m, "stream_settings", "keep")));
	SET(&self->rig, "window", knobs[0].admin);
	load(self);
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, sizeof(text)));
	EXPECT_STR("0x4012c000-0x4012dfff", text);
	EXPECT_EQ(2, mdma_get(m, "workload/batch"));
}

/* A guest that brings no window does not work in that of the guest before it. */
TEST_F(settings, mdma_window_of_a_former_guest_ends, 30)
{
	struct mdma_range *table = (void *)self->rig.mem;
	struct mdma *m = &self->rig.dev;
	char text[64];

	SET(&self->rig, "batch", "2");
	ASSERT_STR("0", error(mdma_set(m, "stream_settings", "keep")));
	table[0] = (struct mdma_range) { at(300), 2 * PAGE_SIZE };
	mdma_write64(m, MDMA_REG_WINDOW_TABLE, at(0));
	mdma_write32(m, MDMA_REG_WINDOW_RANGES, 1);
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, sizeof(text)));
	ASSERT_STR("0x4012c000-0x4012dfff", text);
	load(self);
	ASSERT_EQ(0, mdma_get_text(m, "workload/window", text, sizeof(text)));
	EXPECT_STR("", text);
}

TEST_MAIN(mdev_remove_leftovers)
