// SPDX-License-Identifier: GPL-2.0-only
/*
 * A wrong, short, long or hostile migration stream gets an error, the device
 * goes to ERROR, and a reset makes it usable again.
 */
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"
#include "stream.h"

#define STREAM_MAX	0x10000

FIXTURE(stream) {
	struct rig rig;
	unsigned char good[STREAM_MAX];
	unsigned char bad[STREAM_MAX + 1];
	long long size;
};

/* The stream of a device with a workload and a ring. */
FIXTURE_SETUP(stream)
{
	struct rig *r = &self->rig;
	struct mdma *m = &r->dev;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", 64)));
	ASSERT_EQ(0, mdma_set(m, "workload/window", "%llx-%llx", at(8),
			      at(32) - 1));
	ASSERT_EQ(0, mdma_write64(m, MDMA_REG_CHANNEL(0) + MDMA_CHAN_RING,
				  at(0)));
	ASSERT_EQ(0, mdma_write32(m, MDMA_REG_CHANNEL(0) + MDMA_CHAN_RING_SIZE,
				  8));
	ASSERT_EQ(0, mdma_write32(m, MDMA_REG_CHANNEL(0) + MDMA_CHAN_CTRL,
				  MDMA_CTRL_ENABLE));
	ASSERT_STR("0", error(mdma_set(m, "workload/step", "5")));
	self->size = mig_save(m->device, self->good, STREAM_MAX);
	ASSERT_LT(0, self->size);
	memcpy(self->bad, self->good, STREAM_MAX);
}

FIXTURE_TEARDOWN(stream)
{
	rig_close(&self->rig);
}

/* The device works, after a good stream or a reset. */
static void expect_works(struct stream *s)
{
	struct rig *r = &s->rig;

	if (mig_get(r->dev.device) == MIG(STOP))
		ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING), NULL));
	ASSERT_EQ(MIG(RUNNING), mig_get(r->dev.device));
	ASSERT_EQ(0, mdma_set(&r->dev, "workload/window", "%llx-%llx", at(8),
			      at(32) - 1));
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/step", "1")));
}

/* Whether the stream is refused as it should be. */
static bool is_refused(struct stream *s, const void *buf, long long size)
{
	int device = s->rig.dev.device, to_stop, ret;

	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	ret = mig_load(device, buf, size, &to_stop);
	return ret && to_stop && mig_get(device) == MIG(ERROR);
}

static void expect_refused(struct stream *s, const void *buf, long long size)
{
	int device = s->rig.dev.device;

	ASSERT_EQ(1, is_refused(s, buf, size));
	/* Nothing but a reset leads out of ERROR. */
	EXPECT_NE(0, mig_set(device, MIG(RUNNING), NULL));
	EXPECT_NE(0, mig_set(device, MIG(STOP), NULL));
	EXPECT_NE(0, mig_set(device, MIG(RESUMING), NULL));
	EXPECT_EQ(MIG(ERROR), mig_get(device));
	EXPECT_NE(0, mdma_set(&s->rig.dev, "workload/step", "1"));
	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	expect_works(s);
}

TEST_F(stream, mdma_good_stream_is_taken, 20)
{
	int device = self->rig.dev.device;

	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	ASSERT_STR("0", error(mig_load(device, self->good, self->size, NULL)));
	EXPECT_EQ(MIG(STOP), mig_get(device));
	expect_works(self);
}

TEST_F(stream, mdma_good_stream_byte_by_byte, 20)
{
	int device = self->rig.dev.device, fd;
	long long i;

	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	ASSERT_EQ(0, mig_set(device, MIG(RESUMING), &fd));
	for (i = 0; i < self->size; i++)
		ASSERT_EQ(1, write(fd, self->good + i, 1));
	ASSERT_STR("0", error(mig_set(device, MIG(STOP), NULL)));
	close(fd);
	expect_works(self);
}

TEST_F(stream, mdma_corrupted_stream_is_refused, 60)
{
	__u64 seed = random_seed();
	long long i, where;

	expect_refused(self, memset(self->bad, 0, STREAM_MAX), self->size);
	memcpy(self->bad, self->good, STREAM_MAX);
	for (i = 0; i < 300; i++) {
		where = i < 48 ? i : (long long)(random_next(&seed) %
						 self->size);
		self->bad[where] ^= 1 << random_next(&seed) % 8;
		if (!is_refused(self, self->bad, self->size))
			FAIL("byte %lld: 0x%02x instead of 0x%02x", where,
			     self->bad[where], self->good[where]);
		self->bad[where] = self->good[where];
	}
	ASSERT_EQ(0, ioctl(self->rig.dev.device, VFIO_DEVICE_RESET));
	expect_works(self);
}

TEST_F(stream, mdma_short_stream_is_refused, 60)
{
	long long size;

	expect_refused(self, self->good, 0);
	expect_refused(self, self->good, 1);
	expect_refused(self, self->good, self->size / 2);
	expect_refused(self, self->good, self->size - 1);
	for (size = 0; size < self->size; size += size < 64 ? 1 : 37)
		if (!is_refused(self, self->good, size))
			FAIL("%lld bytes", size);
}

TEST_F(stream, mdma_long_stream_is_refused, 20)
{
	self->bad[self->size] = 0;
	expect_refused(self, self->bad, self->size + 1);
	memcpy(self->bad + self->size, self->good, self->size);
	expect_refused(self, self->bad, 2 * self->size);
	memset(self->bad + self->size, 0xff, STREAM_MAX - self->size);
	expect_refused(self, self->bad, STREAM_MAX + 1);
}

TEST_F(stream, mdma_stream_of_another_type_is_refused, 20)
{
	long long n;
	struct rig four;

	ASSERT_STR("0", error(rig_open(&four, "mdma-4", 8)));
	n = mig_save(four.dev.device, self->bad, STREAM_MAX);
	ASSERT_LT(0, n);
	expect_refused(self, self->bad, n);
	rig_close(&four);
}

/* A good stream except for this change, with a corrected CRC. */
#define HOSTILE(change) do {						\
	struct mdma_stream_record *config = (void *)self->bad;		\
	struct mdma_stream_config *c = (void *)(config + 1);		\
	struct mdma_stream_record *state = (void *)(c + 1);		\
	struct mdma_stream_state *s = (void *)(state + 1);		\
	struct mdma_stream_record *knobs = (void *)(s + 1);		\
	struct mdma_stream_knobs *k = (void *)(knobs + 1);		\
	struct mdma_stream_record *end = (void *)(k + 1);		\
	unsigned int length = sizeof(*s);				\
									\
	memcpy(self->bad, self->good, self->size);			\
	change;								\
	stream_seal(config, sizeof(*c));				\
	stream_seal(state, length);					\
	stream_seal(knobs, sizeof(*k));					\
	stream_seal(end, 0);						\
	if (!is_refused(self, self->bad, self->size))			\
		FAIL("taken: %s", #change);				\
} while (0)

TEST_F(stream, mdma_hostile_headers_are_refused, 30)
{
	HOSTILE(config->magic++);
	HOSTILE(config->major++);
	HOSTILE(config->type = 0);
	HOSTILE(config->type = MDMA_RECORD_STATE);
	HOSTILE(config->type = 77);
	HOSTILE(config->reserved = 1);
	HOSTILE(config->length = 0);
	HOSTILE(config->length = ~0U);
	HOSTILE(state->magic = 0);
	HOSTILE(state->type = MDMA_RECORD_END);
	HOSTILE(state->type = MDMA_RECORD_CONFIG);
	HOSTILE(state->length--);
	HOSTILE(state->length++);
	HOSTILE(state->length = 0);
	HOSTILE(state->length = 0x7fffffff);
	HOSTILE(state->length = ~0U);
	HOSTILE(state->major = 0);
	HOSTILE(state->reserved = ~0U);
	HOSTILE(knobs->type = MDMA_RECORD_STATE);
	HOSTILE(knobs->type = MDMA_RECORD_END);
	HOSTILE(knobs->length--);
	HOSTILE(knobs->length = ~0U);
	HOSTILE(end->type = MDMA_RECORD_STATE);
	HOSTILE(end->type = MDMA_RECORD_KNOBS);
	HOSTILE(end->length = 1);
	HOSTILE(end->length = ~0U);
	HOSTILE(end->type = 0);
	ASSERT_EQ(0, ioctl(self->rig.dev.device, VFIO_DEVICE_RESET));
	expect_works(self);
}

TEST_F(stream, mdma_hostile_state_is_refused, 30)
{
	HOSTILE(c->channels = 4);
	HOSTILE(c->channels = 0);
	HOSTILE(c->channels = ~0U);
	HOSTILE(c->page_shift = 16);
	HOSTILE(s->channel[0].ring_size = 3);
	HOSTILE(s->channel[0].ring_size = 0);
	HOSTILE(s->channel[0].ring_size = ~0U);
	HOSTILE(s->channel[0].ring_size = 2048);
	HOSTILE(s->channel[0].ring = at(0) + 1);
	HOSTILE(s->channel[0].ring = -64ULL);
	HOSTILE(s->channel[0].tail = 9);
	HOSTILE(s->channel[0].head = 1);
	HOSTILE(s->channel[0].ctrl = ~0U);
	HOSTILE(s->channel[0].status = 99);
	HOSTILE(s->channel[0].irq = 2);
	HOSTILE(s->channel[1].ctrl = 1);
	HOSTILE(s->channel[15].ring = 1);
	HOSTILE(s->window.nr_ranges = MDMA_MAX_RANGES + 1);
	HOSTILE(s->window.nr_ranges = ~0U);
	HOSTILE(s->window.nr_ranges = 2);
	HOSTILE(s->window.nr_ranges = 0);
	HOSTILE(s->window.ranges[0].iova++);
	HOSTILE(s->window.ranges[0].size = 0);
	HOSTILE(s->window.ranges[0].size--);
	HOSTILE(s->window.ranges[0].iova = -PAGE_SIZE);
	HOSTILE(s->window.ranges[0].size = -PAGE_SIZE);
	HOSTILE(s->window.origin = 7);
	HOSTILE(s->window.origin = MDMA_WINDOW_NONE);
	HOSTILE(s->window.table_status = 55);
	HOSTILE(s->window.table_pending = 2);
	HOSTILE(s->workload.pattern = 99);
	HOSTILE(s->workload.direction = 3);
	HOSTILE(s->workload.batch = 0);
	HOSTILE(s->workload.batch = 513);
	HOSTILE(s->workload.batch = ~0U);
	HOSTILE(s->workload.hold_ms = 600001);
	HOSTILE(s->workload.run = 2);
	HOSTILE(k->access = 2);
	HOSTILE(k->on_error = 3);
	HOSTILE(k->write_percent = 101);
	HOSTILE(k->ring = 0);
	HOSTILE(k->ring = MDMA_RING_MAX + 1);
	HOSTILE(k->stride = 0);
	HOSTILE(k->theta = 1000);
	HOSTILE(k->theta = ~0U);
	HOSTILE(k->hot = 0);
	HOSTILE(k->hot_percent = 101);
	HOSTILE(k->pause_ms = 600001);
	ASSERT_EQ(0, ioctl(self->rig.dev.device, VFIO_DEVICE_RESET));
	expect_works(self);
}

/*
 * Random values with a correct CRC are accepted or refused. If they are accepted, the
 * device can be run and closed.
 */
TEST_F(stream, mdma_random_state_does_no_harm, 60)
{
	__u64 seed = random_seed();
	struct mdma_stream_record *state = (void *)(self->bad +
		sizeof(*state) + sizeof(struct mdma_stream_config));
	unsigned char *payload = (void *)(state + 1);
	unsigned int size = sizeof(struct mdma_stream_state);
	int device = self->rig.dev.device, i, n, taken = 0;

	for (i = 0; i < 300; i++) {
		memcpy(self->bad, self->good, self->size);
		for (n = random_next(&seed) % 4; n >= 0; n--)
			payload[random_next(&seed) % size] = random_next(&seed);
		stream_seal(state, size);
		ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
		if (mig_load(device, self->bad, self->size, NULL)) {
			ASSERT_EQ(MIG(ERROR), mig_get(device));
			continue;
		}
		taken++;
		ASSERT_EQ(0, mig_set(device, MIG(RUNNING), NULL));
		mdma_set(&self->rig.dev, "workload/run", "0");
		mdma_set(&self->rig.dev, "workload/step", "2");
	}
	printf("# %d of 300 taken\n", taken);
	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	expect_works(self);
}

/* Each page write has a number, from 1 on, whatever last number a stream contains. */
TEST_F(stream, mdma_counters_of_a_stream_never_wrap, 20)
{
	static const __u64 seqs[] = { ~0ULL, ~0ULL - 1, 1ULL << 63, 1ULL << 62 };
	int device = self->rig.dev.device;
	struct mdma_ledger_record *records;
	struct mdma_stream_record *record;
	struct mdma_stream_state *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(seqs); i++) {
		record = stream_find(self->bad, self->size, MDMA_RECORD_STATE);
		state = (void *)(record + 1);
		state->stats.seq = seqs[i];
		state->stats.pages_written = seqs[i];
		stream_seal(record, sizeof(*state));
		ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
		ASSERT_EQ(0, mdma_clear_ledger(&self->rig.dev));
		ASSERT_STR("0", error(mig_load(device, self->bad, self->size,
					       NULL)));
		ASSERT_EQ(0, mig_set(device, MIG(RUNNING), NULL));
		ASSERT_STR("0", error(mdma_set(&self->rig.dev, "workload/step",
					       "3")));
		EXPECT_LT(1LL << 61, mdma_get(&self->rig.dev, "stats/seq"));
		EXPECT_LT(1LL << 61,
			  mdma_get(&self->rig.dev, "stats/pages_written"));
		ASSERT_EQ(3, mdma_ledger(&self->rig.dev, &records));
		EXPECT_EQ(1, records[0].writes);
		free(records);
	}
}

TEST_MAIN(mdev_remove_leftovers)
