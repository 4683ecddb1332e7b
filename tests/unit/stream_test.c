// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration stream and the window: what is written can be read again, and nothing
 * else can. Streams are parsed from buffers of their exact size, so that ASan sees an
 * access to one byte too many.
 */
#include "stream_make.h"
#include "window.h"

#define SIZE		stream_size
#define END_AT		(stream_size - HEADER)

bool shim_no_memory;

static struct mdma_snapshot snap;
static struct made made;
static u8 stream[SIZE_MAX_MADE];
static size_t stream_size;

static void make(void)
{
	make_snapshot(&snap, &made);
	stream_size = make_stream(&snap, stream);
}

/*
 * The last parsed copy, of its exact size. It stays until the next one, because a
 * snapshot points into it.
 */
static u8 *parsed;

/* Parses a copy of exactly @size bytes. */
static int parse(const u8 *bytes, size_t size, struct mdma_snapshot *into)
{
	free(parsed);
	parsed = malloc(size ? size : 1);
	if (size)
		memcpy(parsed, bytes, size);
	memset(into, 0xa5, sizeof(*into));
	into->channels = snap.channels;
	return mdma_stream_read(parsed, size, into);
}

static void set_minor(u8 *bytes, size_t size, u16 minor)
{
	size_t at;

	for (at = 0; record_end(bytes, size, at);
	     at = record_end(bytes, size, at))
		memcpy(bytes + at + offsetof(struct mdma_stream_record, minor),
		       &minor, sizeof(minor));
	seal_all(bytes, size);
}

static void round_trip(void)
{
	struct mdma_snapshot got;
	int i, ret;

	for (i = 0; i < 1000; i++) {
		make();
		ret = parse(stream, SIZE, &got);
		CHECK(!ret, "stream %d: %d", i, ret);
		CHECK(same_snapshot(&got, &snap), "stream %d", i);
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

/* Parsing piece by piece, at a new address each time, equals parsing at once. */
static void in_pieces(void)
{
	struct mdma_stream_parser parser;
	struct mdma_snapshot got;
	size_t size, before;
	u8 *moved, *old = NULL;
	int round, ret;

	for (round = 0; round < 300; round++) {
		make();
		got.channels = snap.channels;
		mdma_stream_begin(&parser, &got);
		ret = -EAGAIN;
		for (size = 0; size < SIZE; free(old), old = moved) {
			CHECK(ret == -EAGAIN, "%zu bytes: %d", size, ret);
			before = size;
			size += 1 + unit_below(unit_below(2) ? 50 : 1000);
			size = size < SIZE ? size : SIZE;
			moved = malloc(size);
			/* The parser does not look again at what it has parsed. */
			memset(moved, 0, size);
			memcpy(moved, stream, parser.pos ? HEADER : 0);
			memcpy(moved + parser.pos, stream + parser.pos,
			       size - parser.pos);
			ret = mdma_stream_continue(&parser, moved, size, &got);
			CHECK(parser.pos <= size && size > before, "position");
		}
		CHECK(!ret, "stream %d: %d", round, ret);
		memcpy(old, stream, SIZE);
		CHECK(same_snapshot(&got, &snap), "stream %d", round);
		free(old);
		old = NULL;
	}
}

/* Every value is taken; a value that is too big is cut to the biggest possible one. */
static void counter_limit(void)
{
	const u64 max = MDMA_STREAM_COUNTER_MAX;

	CHECK(!mdma_stream_counter(0), "0");
	CHECK(mdma_stream_counter(cpu_to_le64(max)) == max, "max");
	CHECK(mdma_stream_counter(cpu_to_le64(max - 1)) == max - 1, "max - 1");
	CHECK(mdma_stream_counter(cpu_to_le64(max + 1)) == max, "max + 1");
	CHECK(mdma_stream_counter(cpu_to_le64(~0ULL)) == max, "~0");
}

/* A hostile sender knows how to compute a CRC. */
static void every_flipped_bit_with_good_crc(void)
{
	u8 bytes[SIZE_MAX_MADE];
	struct mdma_snapshot got;
	const char *what;
	size_t bit;
	int round;

	for (round = 0; round < 5; round++) {
		make();
		for (bit = STATE_AT * 8; bit < END_AT * 8; bit++) {
			stream[bit / 8] ^= 1 << bit % 8;
			memcpy(bytes, stream, SIZE);
			seal_all(bytes, SIZE);
			if (!parse(bytes, SIZE, &got)) {
				what = wrong(&got);
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
	u8 mixed[2 * SIZE_MAX_MADE];

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
	set_minor(stream, STATE_AT, MDMA_STREAM_MINOR + 1);
	CHECK(parse(stream, SIZE, &got) == -EBADMSG, "two minors");
	set_minor(stream, SIZE, MDMA_STREAM_MINOR + 1);
	CHECK(!parse(stream, SIZE, &got), "newer minor");
	CHECK(same_snapshot(&got, &snap), "newer minor");
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
	size += SIZE - STATE_AT;
	set_minor(bytes, size, minor);
	return size;
}

static void unknown_record(void)
{
	struct mdma_snapshot got;
	u8 bytes[2 * SIZE_MAX_MADE];
	size_t size;

	make();
	size = insert_record(bytes, 77, 100, MDMA_STREAM_MINOR + 1);
	CHECK(!parse(bytes, size, &got), "newer minor");
	CHECK(same_snapshot(&got, &snap), "newer minor");
	size = insert_record(bytes, 77, 100, MDMA_STREAM_MINOR);
	CHECK(parse(bytes, size, &got) == -EBADMSG, "this minor");
	size = insert_record(bytes, 0, 100, MDMA_STREAM_MINOR + 1);
	CHECK(parse(bytes, size, &got) == -EBADMSG, "type 0");
}

/* The minor version that added a record. */
static u16 added_by(u32 type)
{
	switch (type) {
	case MDMA_RECORD_PROGRESS:
	case MDMA_RECORD_HELD:
		return 1;
	case MDMA_RECORD_KNOBS:
		return 2;
	case MDMA_RECORD_WORKLOADS:
	case MDMA_RECORD_TRACE:
		return 3;
	default:
		return 0;
	}
}

/* Makes the entries of an array, @now bytes each, as they were before they grew. */
static void shorten(u8 *record, u32 *length, size_t old, size_t now)
{
	u8 *entries = record + HEADER + sizeof(struct mdma_stream_array);
	u32 i, n = (*length - sizeof(struct mdma_stream_array)) / now;
	__le32 value = cpu_to_le32(old);

	for (i = 0; i < n; i++)
		memmove(entries + i * old, entries + i * now, old);
	*length -= n * (now - old);
	memcpy(record + HEADER + 4, &value, sizeof(value));
	value = cpu_to_le32(*length);
	memcpy(record + offsetof(struct mdma_stream_record, length), &value,
	       sizeof(value));
}

/* A stream as an older minor sent it, but with the records in @keep. */
static size_t make_older(u8 *bytes, u16 minor, u32 keep)
{
	size_t at, end, to = 0, size = make_stream(&snap, bytes);
	struct mdma_stream_record record;
	u32 type, length;

	for (at = 0; (end = record_end(bytes, size, at)); at = end) {
		memcpy(&record, bytes + at, HEADER);
		type = le32_to_cpu(record.type);
		length = le32_to_cpu(record.length);
		if (added_by(type) > minor && type != keep)
			continue;
		memmove(bytes + to, bytes + at, HEADER + length);
		if (type == MDMA_RECORD_HELD && minor < 3)
			shorten(bytes + to, &length, 24,
				sizeof(struct mdma_stream_held));
		to += HEADER + length;
	}
	set_minor(bytes, to, minor);
	return to;
}

/* Removes from the device what an older minor does not send. */
static void forget_newer(u16 minor)
{
	struct mdma_stream_workload new_workload;
	u32 i;

	for (i = 0; minor < 3 && i < snap.held.nr; i++) {
		made.held[i].channel = 0;
		made.held[i].hold_ms = 0;
	}
	for (i = 1; minor < 3 && i < snap.channels; i++) {
		snap.workload[i - 1] = (struct mdma_stream_channel_workload) {
			.channel = cpu_to_le32(i),
		};
		mdma_snapshot_workload(&snap.workload[i - 1].workload,
				       &snap.workload[i - 1].knobs);
	}
	if (minor < 3)
		snap.trace.nr = 0;
	if (minor < 2)
		mdma_snapshot_workload(&new_workload, &snap.knobs);
	if (minor < 1) {
		snap.nr_progress = 0;
		snap.held.nr = 0;
	}
}

static void make_rich(void)
{
	do
		make();
	while (!snap.nr_progress || !snap.held.nr || !snap.trace.nr ||
	       snap.channels == 1);
}

/* State in records of a newer minor is absent, or as in a new device. */
static void older_version(void)
{
	struct mdma_snapshot got;
	u8 bytes[SIZE_MAX_MADE];
	size_t size;
	u16 minor;
	u32 keep;

	for (minor = 0; minor < MDMA_STREAM_MINOR; minor++) {
		make_rich();
		for (keep = 1; keep <= MDMA_RECORD_TRACE; keep++) {
			if (added_by(keep) <= minor)
				continue;
			size = make_older(bytes, minor, keep);
			CHECK(parse(bytes, size, &got) == -EBADMSG,
			      "1.%u with record %u", minor, keep);
		}
		size = make_older(bytes, minor, 0);
		CHECK(!parse(bytes, size, &got), "1.%u", minor);
		CHECK(!same_snapshot(&got, &snap), "1.%u says all", minor);
		forget_newer(minor);
		CHECK(same_snapshot(&got, &snap), "1.%u", minor);
	}
	/* An entry with a length that its version does not have. */
	make_rich();
	size = make_older(bytes, 2, 0);
	set_minor(bytes, size, 3);
	CHECK(parse(bytes, size, &got) == -EBADMSG, "1.3 with held runs of 1.2");
}

/* A device with the shortest stream: SIZE_MIN. */
static void bare_channel(void)
{
	memset(&snap.state.channel[1], 0, sizeof(snap.state.channel) -
	       sizeof(snap.state.channel[0]));
	snap.channels = 1;
	snap.nr_progress = 0;
	snap.held.nr = 0;
	snap.trace.nr = 0;
}

/* Puts an array between KNOBS and END. Returns the size. */
static size_t make_array(u8 *bytes, u32 type, u32 count, u32 size, u32 extra,
			 u16 minor)
{
	struct mdma_stream_record record = {
		.magic = cpu_to_le32(MDMA_STREAM_MAGIC),
		.major = cpu_to_le16(MDMA_STREAM_MAJOR),
		.type = cpu_to_le32(type),
		.length = cpu_to_le32(8 + count * size + extra),
	};
	u32 array[2] = { cpu_to_le32(count), cpu_to_le32(size) };
	struct mdma_stream_held run = { .npages = cpu_to_le32(1) };
	size_t at = SIZE_MIN - HEADER;
	u32 i;

	bare_channel();
	make_stream(&snap, bytes);
	memmove(bytes + at + HEADER + 8 + count * size + extra, bytes + at,
		HEADER);
	memcpy(bytes + at, &record, HEADER);
	memcpy(bytes + at + HEADER, array, 8);
	memset(bytes + at + HEADER + 8, 0, count * size + extra);
	for (i = 0; i < count && size >= sizeof(run); i++)
		memcpy(bytes + at + HEADER + 8 + i * size, &run, sizeof(run));
	at += 2 * HEADER + 8 + count * size + extra;
	set_minor(bytes, at, minor);
	return at;
}

static int parse_array(u32 count, u32 size, u32 extra, u16 minor)
{
	static u8 bytes[SIZE_MAX_MADE + 200000];
	struct mdma_snapshot got;
	size_t n;

	n = make_array(bytes, MDMA_RECORD_HELD, count, size, extra, minor);
	return parse(bytes, n, &got);
}

static void array_limits(void)
{
	const u32 held_size = sizeof(struct mdma_stream_held);
	u16 now = MDMA_STREAM_MINOR, newer = MDMA_STREAM_MINOR + 1;

	make();
	CHECK(!parse_array(1, held_size, 0, now), "one");
	CHECK(!parse_array(4000, held_size, 0, now), "many");
	CHECK(parse_array(0, held_size, 0, now) == -EBADMSG, "none");
	CHECK(parse_array(1, held_size, 1, now) == -EBADMSG, "longer");
	CHECK(!parse_array(1, held_size, 1, newer), "longer, newer");
	CHECK(parse_array(2, held_size + 8, 0, now) == -EBADMSG, "bigger");
	CHECK(!parse_array(2, held_size + 8, 0, newer), "bigger, newer");
	CHECK(parse_array(2, held_size - 8, 0, newer) == -EBADMSG, "smaller");
	CHECK(parse_array(2, 0, 0, newer) == -EBADMSG, "of nothing");
}

/* The maximum number of held pages, and one more. */
static void held_limit(void)
{
	static struct mdma_stream_held runs[129];
	static u8 bytes[SIZE_MAX_MADE + sizeof(runs)];
	struct mdma_snapshot got;
	u32 i;

	make();
	for (i = 0; i < 128; i++)
		runs[i].npages = cpu_to_le32(MDMA_BATCH_MAX);
	runs[128].npages = cpu_to_le32(1);
	snap.held.data = runs;
	snap.held.nr = 128;
	CHECK(!parse(bytes, make_stream(&snap, bytes), &got), "65536 pages");
	CHECK(got.held.nr == 128, "%u runs", got.held.nr);
	snap.held.nr = 129;
	CHECK(parse(bytes, make_stream(&snap, bytes), &got) == -EINVAL,
	      "65537 pages");
}

/* The maximum number of trace entries, and one more. */
static void trace_limit(void)
{
	static struct mdma_trace_entry trace[MDMA_TRACE_MAX + 1];
	static u8 bytes[SIZE_MAX_MADE + sizeof(trace)];
	struct mdma_snapshot got;
	u32 i;

	make();
	for (i = 0; i <= MDMA_TRACE_MAX; i++)
		trace[i].npages = cpu_to_le32(1);
	snap.trace.data = trace;
	snap.trace.nr = MDMA_TRACE_MAX;
	CHECK(!parse(bytes, make_stream(&snap, bytes), &got), "16384 entries");
	CHECK(got.trace.nr == MDMA_TRACE_MAX, "%u entries", got.trace.nr);
	snap.trace.nr++;
	CHECK(parse(bytes, make_stream(&snap, bytes), &got) == -EINVAL,
	      "16385 entries");
	/* A little earlier than the previous entry. */
	snap.trace.nr = 2;
	trace[0].at_us = cpu_to_le64(MDMA_TRACE_US_MAX);
	trace[1].at_us = cpu_to_le64(MDMA_TRACE_US_MAX - 1);
	CHECK(parse(bytes, make_stream(&snap, bytes), &got) == -EINVAL, "order");
	trace[1].at_us = trace[0].at_us;
	CHECK(!parse(bytes, make_stream(&snap, bytes), &got), "at once");
}

/* Workloads out of order, twice, of a channel that does not exist, and of channel 0. */
static void workload_channels(void)
{
	static const u32 wrong[][2] = {
		{ 2, 1 }, { 1, 1 }, { 2, 2 }, { 0, 1 }, { 1, 3 }, { 1, 16 },
	};
	u8 bytes[SIZE_MAX_MADE];
	struct mdma_snapshot got;
	size_t i;

	do
		make();
	while (snap.channels != 3);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		snap.workload[0].channel = cpu_to_le32(wrong[i][0]);
		snap.workload[1].channel = cpu_to_le32(wrong[i][1]);
		CHECK(parse(bytes, make_stream(&snap, bytes), &got) == -EINVAL,
		      "%u and %u", wrong[i][0], wrong[i][1]);
	}
	snap.workload[0].channel = cpu_to_le32(1);
	snap.workload[1].channel = cpu_to_le32(2);
	CHECK(!parse(bytes, make_stream(&snap, bytes), &got), "1 and 2");
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

/* Ranges of 4 pages at all pairs of places: adjacent, overlapping, one in the other. */
static void window_overlaps(void)
{
	struct mdma_range range[2];
	u64 first, second;

	for (first = 0; first < 12; first++)
		for (second = 0; second < 12; second++) {
			range[0].iova = cpu_to_le64(first * 4096);
			range[1].iova = cpu_to_le64(second * 4096);
			range[0].size = cpu_to_le64(4 * 4096);
			range[1].size = cpu_to_le64(4 * 4096);
			CHECK(mdma_window_check(range, 2) ==
			      (first < second + 4 && second < first + 4 ?
			       -EINVAL : 0), "pages %llu and %llu", first, second);
		}
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

/* As many ranges as a window can have, adjacent to nothing. */
static void window_is_full(void)
{
	struct mdma_window window = { .nr = MDMA_MAX_RANGES, .origin = 2 };
	static struct mdma_stream_window saved;
	u64 iova;
	u32 i;

	for (i = 0; i < MDMA_MAX_RANGES; i++) {
		window.range[i].iova = cpu_to_le64(i * 2 * MDMA_PAGE_SIZE);
		window.range[i].size = cpu_to_le64(MDMA_PAGE_SIZE);
	}
	CHECK(!mdma_window_check(window.range, window.nr), "-");
	CHECK(mdma_window_pages(&window, 0) == MDMA_MAX_RANGES, "pages");
	CHECK(mdma_window_slots(&window, 1, 0) == MDMA_MAX_RANGES, "slots");
	CHECK(mdma_window_slot(&window, 1, 0, MDMA_MAX_RANGES - 1, &iova) == 1 &&
	      iova == (MDMA_MAX_RANGES - 1) * 2 * MDMA_PAGE_SIZE, "the last");
	CHECK(!mdma_window_slot(&window, 1, 0, MDMA_MAX_RANGES, &iova), "beyond");
	mdma_window_save(&window, &saved);
	CHECK(le32_to_cpu(saved.origin) == 2 &&
	      le32_to_cpu(saved.nr_ranges) == MDMA_MAX_RANGES &&
	      !memcmp(saved.ranges, window.range, sizeof(saved.ranges)), "saved");
}

static const struct unit_test tests[] = {
	{ "round_trip", round_trip },
	{ "in_pieces", in_pieces },
	{ "counter_limit", counter_limit },
	{ "every_truncation", every_truncation },
	{ "every_flipped_bit", every_flipped_bit },
	{ "every_flipped_bit_with_good_crc", every_flipped_bit_with_good_crc },
	{ "other_device", other_device },
	{ "order_of_records", order_of_records },
	{ "other_version", other_version },
	{ "unknown_record", unknown_record },
	{ "older_version", older_version },
	{ "array_limits", array_limits },
	{ "held_limit", held_limit },
	{ "trace_limit", trace_limit },
	{ "workload_channels", workload_channels },
	{ "window_limits", window_limits },
	{ "window_overlaps", window_overlaps },
	{ "window_slots", window_slots },
	{ "window_is_full", window_is_full },
};

int main(void)
{
	return unit_main(tests, ARRAY_SIZE(tests));
}
