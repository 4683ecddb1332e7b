// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration stream and the window: what is written can be read again, and
 * nothing else can. Streams are parsed from buffers of their exact size, so
 * that ASan sees a byte too many.
 */
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "stream.h"
#include "unit.h"
#include "window.h"

#define SIZE		(MDMA_STREAM_CONFIG_SIZE + MDMA_STREAM_STATE_SIZE)
#define HEADER		sizeof(struct mdma_stream_record)
#define STATE_AT	MDMA_STREAM_CONFIG_SIZE
#define END_AT		(SIZE - HEADER)

static struct mdma_snapshot snap;
static u8 stream[SIZE];

static void make_channel(struct mdma_stream_channel *channel)
{
	u32 size = 1 << (1 + unit_below(10));

	channel->ring = cpu_to_le64(unit_below(1 << 30) * 64);
	channel->ring_size = cpu_to_le32(size);
	channel->ctrl = cpu_to_le32(unit_below(4));
	channel->head = cpu_to_le32((u32)unit_random());
	channel->tail = cpu_to_le32(le32_to_cpu(channel->head) +
				    (u32)unit_below(size + 1));
	channel->status = cpu_to_le32(unit_below(4) ? MDMA_STATUS_NONE :
						      MDMA_STATUS_BAD_RING);
	channel->irq = cpu_to_le32(unit_below(2));
}

static void make_window(struct mdma_stream_window *window)
{
	u32 i, nr = unit_below(MDMA_MAX_RANGES + 1);
	u64 at = unit_below(1000) << MDMA_PAGE_SHIFT;

	for (i = 0; i < nr; i++) {
		u64 size = (1 + unit_below(1000)) << MDMA_PAGE_SHIFT;

		window->ranges[i].iova = cpu_to_le64(at);
		window->ranges[i].size = cpu_to_le64(size);
		at += size + (unit_below(10) << MDMA_PAGE_SHIFT);
	}
	window->nr_ranges = cpu_to_le32(nr);
	window->origin = cpu_to_le32(nr ? 1 + unit_below(2) : 0);
	window->table = cpu_to_le64(unit_random());
	window->table_ranges = cpu_to_le32((u32)unit_random());
	window->table_status = cpu_to_le32(unit_below(2));
	window->table_pending = cpu_to_le32(unit_below(2));
}

static void make_workload(struct mdma_stream_workload *workload)
{
	workload->pattern = cpu_to_le32(unit_below(3));
	workload->direction = cpu_to_le32(unit_below(3));
	workload->batch = cpu_to_le32(1 + unit_below(MDMA_BATCH_MAX));
	workload->hold_ms = cpu_to_le32(unit_below(MDMA_HOLD_MS_MAX + 1));
	workload->rate = cpu_to_le32((u32)unit_random());
	workload->run = cpu_to_le32(unit_below(2));
	workload->pages = cpu_to_le64(unit_random());
	workload->seed = cpu_to_le64(unit_random());
	workload->prng = cpu_to_le64(unit_random());
	workload->position = cpu_to_le64(unit_random());
}

/* A device as it could be, and its stream. */
static void make(void)
{
	u32 i;

	memset(&snap, 0, sizeof(snap));
	snap.channels = 1 + unit_below(MDMA_MAX_CHANNELS);
	for (i = 0; i < snap.channels; i++)
		make_channel(&snap.state.channel[i]);
	make_window(&snap.state.window);
	make_workload(&snap.state.workload);
	snap.state.stats.seq = cpu_to_le64(unit_random());
	mdma_stream_write_config(stream, &snap);
	mdma_stream_write_state(stream + STATE_AT, &snap);
}

/* Parses a copy of exactly @size bytes. */
static int parse(const u8 *bytes, size_t size, struct mdma_snapshot *into)
{
	u8 *copy = malloc(size ? size : 1);
	int ret;

	if (size)
		memcpy(copy, bytes, size);
	memset(into, 0, sizeof(*into));
	into->channels = snap.channels;
	ret = mdma_stream_read(copy, size, into);
	free(copy);
	return ret;
}

/* Makes the record at @at valid again after a change. */
static void seal(u8 *bytes, size_t at)
{
	struct mdma_stream_record record;
	u32 crc;

	memcpy(&record, bytes + at, sizeof(record));
	crc = crc32_le(~0, bytes + at, offsetof(struct mdma_stream_record,
						crc));
	crc = crc32_le(crc, bytes + at + HEADER, le32_to_cpu(record.length));
	record.crc = cpu_to_le32(crc);
	memcpy(bytes + at, &record, sizeof(record));
}

static void set_minor(u8 *bytes, size_t at, u16 minor)
{
	struct mdma_stream_record record;

	memcpy(&record, bytes + at, sizeof(record));
	record.minor = cpu_to_le16(minor);
	memcpy(bytes + at, &record, sizeof(record));
	seal(bytes, at);
}

static void round_trip(void)
{
	struct mdma_snapshot got;
	int i, ret;

	for (i = 0; i < 1000; i++) {
		make();
		ret = parse(stream, SIZE, &got);
		CHECK(!ret, "stream %d: %d", i, ret);
		CHECK(!memcmp(&got, &snap, sizeof(snap)), "stream %d", i);
	}
}

static void every_truncation(void)
{
	struct mdma_snapshot got;
	size_t size;
	int ret;

	make();
	for (size = 0; size < SIZE; size++) {
		ret = parse(stream, size, &got);
		CHECK(ret == -EAGAIN, "%zu bytes: %d", size, ret);
	}
}

static void every_flipped_bit(void)
{
	struct mdma_snapshot got;
	size_t bit;
	int ret;

	make();
	for (bit = 0; bit < SIZE * 8; bit++) {
		stream[bit / 8] ^= 1 << bit % 8;
		ret = parse(stream, SIZE, &got);
		CHECK(ret, "bit %zu accepted", bit);
		stream[bit / 8] ^= 1 << bit % 8;
	}
	CHECK(!parse(stream, SIZE, &got), "the stream itself");
}

/* A second opinion on what may be accepted. */
static const char *wrong(const struct mdma_stream_state *state, u32 channels)
{
	const struct mdma_stream_channel *channel = state->channel;
	const struct mdma_stream_workload *workload = &state->workload;
	const struct mdma_stream_window *window = &state->window;
	u32 i, size, nr = le32_to_cpu(window->nr_ranges);

	for (i = 0; i < channels; i++, channel++) {
		size = le32_to_cpu(channel->ring_size);
		if (le32_to_cpu(channel->ctrl) > 3 ||
		    le32_to_cpu(channel->irq) > 1)
			return "channel register";
		if (!(le32_to_cpu(channel->ctrl) & 1) || channel->status)
			continue;
		if (__builtin_popcount(size) != 1 || size < 2 || size > 1024)
			return "ring size";
		if (le64_to_cpu(channel->ring) % 64 ||
		    le64_to_cpu(channel->ring) > -(u64)size * 64)
			return "ring";
		if (le32_to_cpu(channel->tail) - le32_to_cpu(channel->head) >
		    size)
			return "tail";
	}
	if (nr > MDMA_MAX_RANGES || (nr && !window->origin) ||
	    (!nr && window->origin) || le32_to_cpu(window->origin) > 2)
		return "window";
	if (!workload->batch || le32_to_cpu(workload->batch) > 512 ||
	    le32_to_cpu(workload->pattern) > 2 ||
	    le32_to_cpu(workload->direction) > 2 ||
	    le32_to_cpu(workload->hold_ms) > 600000 ||
	    le32_to_cpu(workload->run) > 1)
		return "workload";
	return NULL;
}

/* A hostile sender knows how to compute a CRC. */
static void every_flipped_bit_with_good_crc(void)
{
	struct mdma_snapshot got;
	const char *what;
	size_t bit;
	int round;

	for (round = 0; round < 5; round++) {
		make();
		for (bit = (STATE_AT + HEADER) * 8; bit < END_AT * 8; bit++) {
			stream[bit / 8] ^= 1 << bit % 8;
			seal(stream, STATE_AT);
			if (!parse(stream, SIZE, &got)) {
				what = wrong(&got.state, got.channels);
				CHECK(!what, "bit %zu: %s", bit, what);
			}
			stream[bit / 8] ^= 1 << bit % 8;
		}
	}
}

static void other_device(void)
{
	struct mdma_snapshot got = {};
	u32 channels;

	make();
	for (channels = 1; channels <= MDMA_MAX_CHANNELS; channels++) {
		got.channels = channels;
		CHECK(mdma_stream_read(stream, SIZE, &got) ==
		      (channels == snap.channels ? 0 : -EINVAL),
		      "%u channels", channels);
	}
}

static void order_of_records(void)
{
	struct mdma_snapshot got;
	u8 mixed[2 * SIZE];

	make();
	CHECK(parse(stream + STATE_AT, SIZE - STATE_AT, &got) == -EBADMSG,
	      "without CONFIG");
	memcpy(mixed, stream, STATE_AT);
	memcpy(mixed + STATE_AT, stream + END_AT, HEADER);
	CHECK(parse(mixed, STATE_AT + HEADER, &got) == -EBADMSG,
	      "without STATE");
	memcpy(mixed + STATE_AT, stream, SIZE);
	CHECK(parse(mixed, STATE_AT + SIZE, &got) == -EBADMSG, "CONFIG twice");
	memcpy(mixed, stream, SIZE);
	memcpy(mixed + SIZE, stream, SIZE);
	CHECK(parse(mixed, 2 * SIZE, &got) == -EBADMSG, "stream twice");
	CHECK(parse(mixed, SIZE + 1, &got) == -EBADMSG, "a byte too many");
}

static void other_version(void)
{
	struct mdma_snapshot got;
	u8 major;

	make();
	for (major = 0; major < 5; major++) {
		stream[4] = major;
		seal(stream, 0);
		CHECK(parse(stream, SIZE, &got) ==
		      (major == MDMA_STREAM_MAJOR ? 0 : -EOPNOTSUPP),
		      "major %u", major);
	}
	stream[4] = MDMA_STREAM_MAJOR;
	set_minor(stream, 0, MDMA_STREAM_MINOR + 1);
	CHECK(parse(stream, SIZE, &got) == -EBADMSG, "two minors");
	set_minor(stream, STATE_AT, MDMA_STREAM_MINOR + 1);
	set_minor(stream, END_AT, MDMA_STREAM_MINOR + 1);
	CHECK(!parse(stream, SIZE, &got), "newer minor");
	CHECK(!memcmp(&got, &snap, sizeof(snap)), "newer minor");
}

/* Puts a record of @length payload bytes between CONFIG and STATE. */
static size_t insert_record(u8 *bytes, u32 type, u32 length, u16 minor)
{
	struct mdma_stream_record record = {
		.magic = cpu_to_le32(MDMA_STREAM_MAGIC),
		.major = cpu_to_le16(MDMA_STREAM_MAJOR),
		.minor = cpu_to_le16(minor),
		.type = cpu_to_le32(type),
		.length = cpu_to_le32(length),
	};
	size_t size = STATE_AT + HEADER + length;

	memcpy(bytes, stream, STATE_AT);
	memcpy(bytes + STATE_AT, &record, HEADER);
	memset(bytes + STATE_AT + HEADER, 0xa5, length);
	memcpy(bytes + size, stream + STATE_AT, SIZE - STATE_AT);
	set_minor(bytes, 0, minor);
	set_minor(bytes, STATE_AT, minor);
	set_minor(bytes, size, minor);
	set_minor(bytes, size + END_AT - STATE_AT, minor);
	return SIZE + HEADER + length;
}

static void unknown_record(void)
{
	struct mdma_snapshot got;
	u8 bytes[2 * SIZE];
	size_t size;

	make();
	size = insert_record(bytes, 77, 100, MDMA_STREAM_MINOR + 1);
	CHECK(!parse(bytes, size, &got), "newer minor");
	CHECK(!memcmp(&got, &snap, sizeof(snap)), "newer minor");
	size = insert_record(bytes, 77, 100, MDMA_STREAM_MINOR);
	CHECK(parse(bytes, size, &got) == -EBADMSG, "this minor");
	size = insert_record(bytes, 0, 100, MDMA_STREAM_MINOR + 1);
	CHECK(parse(bytes, size, &got) == -EBADMSG, "type 0");
}

/* Parses damaged streams with good CRCs: nothing but ASan looks at them. */
static void garbage(void)
{
	u64 i, n = unit_env("OPS", 20000);
	struct mdma_snapshot got;
	u8 bytes[SIZE];
	const char *what;

	for (i = 0; i < n; i++) {
		u32 changes = 1 + unit_below(8);

		make();
		memcpy(bytes, stream, SIZE);
		while (changes--)
			bytes[unit_below(SIZE)] = unit_random();
		if (unit_below(2)) {
			memcpy(bytes, stream, HEADER);
			memcpy(bytes + STATE_AT, stream + STATE_AT, HEADER);
			memcpy(bytes + END_AT, stream + END_AT, HEADER);
			seal(bytes, 0);
			seal(bytes, STATE_AT);
		}
		if (!parse(bytes, SIZE, &got)) {
			what = wrong(&got.state, got.channels);
			CHECK(!what, "stream %llu: %s", (unsigned long long)i,
			      what);
		}
	}
}

static void window_limits(void)
{
	static const struct {
		u64 iova, size;
		int ret;
	} cases[] = {
		{ 0, 0, -EINVAL },
		{ 0, 4096, 0 },
		{ 1, 4096, -EINVAL },
		{ 0, 4097, -EINVAL },
		{ -4096ULL, 4096, 0 },
		{ -4096ULL, 8192, -EINVAL },
		{ 4096, -4096ULL, 0 },
		{ 4096, -8192ULL, 0 },
		{ 8192, -4096ULL, -EINVAL },
	};
	struct mdma_range range;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		range.iova = cpu_to_le64(cases[i].iova);
		range.size = cpu_to_le64(cases[i].size);
		CHECK(mdma_window_check(&range, 1) == cases[i].ret,
		      "case %zu", i);
	}
	CHECK(mdma_window_check(&range, MDMA_MAX_RANGES + 1) == -EINVAL,
	      "too many");
}

/* The slots of a window are its pages, each once and in order. */
static void window_slots(void)
{
	struct mdma_window window = {};
	int round;

	for (round = 0; round < 200; round++) {
		u64 limit, pages, slot, slots, iova, at, used = 0, seen = 0;
		u32 i, n, batch = 1 + unit_below(MDMA_BATCH_MAX);

		make();
		window.nr = le32_to_cpu(snap.state.window.nr_ranges);
		memcpy(window.range, snap.state.window.ranges,
		       sizeof(window.range));
		CHECK(!mdma_window_check(window.range, window.nr), "window");
		limit = unit_below(2) ? unit_below(40000) : 0;
		pages = mdma_window_pages(&window, limit);
		slots = mdma_window_slots(&window, batch, limit);
		i = 0;
		for (slot = 0; slot < slots; slot++) {
			n = mdma_window_slot(&window, batch, limit, slot,
					     &iova);
			CHECK(n && n <= batch, "slot of %u pages", n);
			at = le64_to_cpu(window.range[i].iova) + used * 4096;
			CHECK(iova == at, "slot at %llx",
			      (unsigned long long)iova);
			used += n;
			seen += n;
			if (used * 4096 == le64_to_cpu(window.range[i].size)) {
				used = 0;
				i++;
			}
		}
		CHECK(seen == pages, "%llu pages", (unsigned long long)seen);
		CHECK(!mdma_window_slot(&window, batch, limit, slots, &iova),
		      "slot beyond the last");
	}
}

static const struct unit_test tests[] = {
	{ "round_trip", round_trip },
	{ "every_truncation", every_truncation },
	{ "every_flipped_bit", every_flipped_bit },
	{ "every_flipped_bit_with_good_crc", every_flipped_bit_with_good_crc },
	{ "other_device", other_device },
	{ "order_of_records", order_of_records },
	{ "other_version", other_version },
	{ "unknown_record", unknown_record },
	{ "garbage", garbage },
	{ "window_limits", window_limits },
	{ "window_slots", window_slots },
};

int main(void)
{
	return unit_main(tests, ARRAY_SIZE(tests));
}
