// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of the migration stream, on the parser that the device uses. It knows
 * records: it changes fields, counts and order, and seals the result with good
 * CRCs, as a hostile sender would. Inputs that reach new edges of the parser
 * (it is built with -fsanitize-coverage=trace-pc) are kept and changed further.
 *
 * It begins with the streams in $CORPUS, which are tests as well: those whose
 * name begins with "ok" must be accepted for ever, all others must be refused.
 *
 * SEED= and OPS= choose other inputs; SAVE=DIR writes a stream of each kind to
 * DIR, for the corpus. An input that fails is written to "stream_fuzz.bin".
 */
#include <dirent.h>
#include <sys/stat.h>

#include "stream_make.h"

bool shim_no_memory;

#define ROOM		16384
#define KEPT_MAX	512
#define EDGES		65536

struct input {
	u8 data[ROOM];
	size_t size;
	char name[64];
};

static struct input kept[KEPT_MAX];
static unsigned int nr_kept, nr_files;
static u8 edges[EDGES];
static unsigned int nr_edges;
static bool new_edge;

/* Called by the fuzzed code at each edge; not built with coverage itself. */
void __sanitizer_cov_trace_pc(void)
{
	static uintptr_t last;
	uintptr_t here = (uintptr_t)__builtin_return_address(0);
	unsigned int edge = (here ^ last << 1) % EDGES;

	last = here;
	if (!edges[edge]) {
		edges[edge] = 1;
		nr_edges++;
		new_edge = true;
	}
}

/* The number of channels that the stream is for, so that CONFIG is accepted. */
static u32 channels_of(const struct input *in)
{
	struct mdma_stream_config config;

	if (in->size < HEADER + sizeof(config))
		return 1;
	memcpy(&config, in->data + HEADER, sizeof(config));
	return 1 + (le32_to_cpu(config.channels) - 1) % MDMA_MAX_CHANNELS;
}

static u8 *copy_of(const struct input *in, size_t size)
{
	u8 *copy = malloc(size ? size : 1);

	memcpy(copy, in->data, size);
	return copy;
}

static const char *check_accepted(const struct input *in, const u8 *bytes,
				  struct mdma_snapshot *snap)
{
	static u8 again[ROOM];
	struct mdma_snapshot second = { .channels = snap->channels };
	const char *what = wrong(snap);
	struct mdma_stream_held *held;
	struct mdma_trace_entry *trace;
	size_t size;
	u8 *part;
	u32 i;
	int ret;

	if (what)
		return what;
	/* No prefix of a stream is complete, and nothing follows its end. */
	size = unit_below(in->size);
	part = copy_of(in, size);
	second = *snap;
	ret = mdma_stream_read(part, size, &second);
	free(part);
	if (ret != -EAGAIN)
		return "a part of it is no part";
	/* A stream that was accepted can be sent again. */
	if (mdma_stream_read(bytes, in->size, snap))
		return "accepted once only";
	held = calloc(snap->held.nr + 1, sizeof(*held));
	for (i = 0; i < snap->held.nr; i++)
		held[i] = mdma_snapshot_held(snap, i);
	trace = calloc(snap->trace.nr + 1, sizeof(*trace));
	for (i = 0; i < snap->trace.nr; i++)
		trace[i] = mdma_snapshot_trace(snap, i);
	second = *snap;
	second.held.data = held;
	second.trace.data = trace;
	if (MDMA_STREAM_CONFIG_SIZE +
	    mdma_stream_state_size(second.channels, second.nr_progress,
				   second.held.nr, second.trace.nr) <= ROOM) {
		size = make_stream(&second, again);
		memset(&second, 0xa5, sizeof(second));
		second.channels = snap->channels;
		ret = mdma_stream_read(again, size, &second);
		if (ret || !same_snapshot(snap, &second))
			what = "not the same when sent on";
	}
	free(trace);
	free(held);
	return what;
}

/* Parses the input. Returns NULL, or what is wrong with the result. */
static const char *try(const struct input *in, int *ret)
{
	struct mdma_snapshot snap;
	const char *what = NULL;
	u8 *bytes = copy_of(in, in->size);

	memset(&snap, 0xa5, sizeof(snap));
	snap.channels = channels_of(in);
	*ret = mdma_stream_read(bytes, in->size, &snap);
	if (!*ret)
		what = check_accepted(in, bytes, &snap);
	else if (*ret != -EAGAIN && *ret != -EBADMSG && *ret != -EINVAL &&
		 *ret != -EOPNOTSUPP)
		what = "an error that it has not";
	free(bytes);
	return what;
}

static void keep(const struct input *in)
{
	/* The corpus is kept; a new input replaces any other one. */
	if (nr_kept < KEPT_MAX)
		kept[nr_kept++] = *in;
	else if (nr_files < KEPT_MAX)
		kept[nr_files + unit_below(KEPT_MAX - nr_files)] = *in;
}

/* --- changes ---------------------------------------------------------------*/

static u64 odd_number(void)
{
	static const u64 odd[] = {
		0, 1, 2, 3, 4, 8, 15, 16, 17, 64, 65, 255, 512, 513, 1024, 4095,
		4096, 65535, 65536, 65537, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, -4096ULL, -1ULL, 1ULL << 63,
	};

	return unit_below(4) ? odd[unit_below(ARRAY_SIZE(odd))] : unit_random();
}

/* Offset of one of the records; any offset if there is none. */
static size_t some_record(const struct input *in)
{
	size_t starts[64], at = 0;
	unsigned int n = 0;

	while (n < 64 && at < in->size) {
		starts[n++] = at;
		at = record_end(in->data, in->size, at);
		if (!at)
			break;
	}
	return n ? starts[unit_below(n)] : 0;
}

static void put_number(struct input *in, size_t at, unsigned int size, u64 value)
{
	value = cpu_to_le64(value);
	if (at + size <= in->size)
		memcpy(in->data + at, &value, size);
}

static void change_header(struct input *in)
{
	static const struct {
		u8 at, size;
	} fields[] = {
		{ 0, 4 }, { 4, 2 }, { 6, 2 }, { 8, 4 }, { 12, 4 }, { 16, 4 },
		{ 8, 4 }, { 12, 4 },
	};
	unsigned int i = unit_below(ARRAY_SIZE(fields));
	u64 value = fields[i].at == 8 ? unit_below(10) : odd_number();

	put_number(in, some_record(in) + fields[i].at, fields[i].size, value);
}

static void change_payload(struct input *in)
{
	size_t at = some_record(in) + HEADER;
	size_t end = record_end(in->data, in->size, at - HEADER);
	unsigned int size = unit_below(2) ? 4 : 8;

	if (end > at + size)
		put_number(in, at + unit_below((end - at) / size) * size, size,
			   odd_number());
}

static void cut_out(struct input *in, size_t at, size_t size)
{
	memmove(in->data + at, in->data + at + size, in->size - at - size);
	in->size -= size;
}

/* Inserts bytes at @at, if there is room for them. */
static bool put_in(struct input *in, size_t at, const u8 *bytes, size_t size)
{
	static u8 copy[ROOM];

	if (in->size + size > ROOM)
		return false;
	memcpy(copy, bytes, size);
	memmove(in->data + at + size, in->data + at, in->size - at);
	memcpy(in->data + at, copy, size);
	in->size += size;
	return true;
}

static void drop_record(struct input *in)
{
	size_t at = some_record(in), end = record_end(in->data, in->size, at);

	if (end)
		cut_out(in, at, end - at);
}

/* Inserts a record of this or another stream, at its place or elsewhere. */
static void add_record(struct input *in)
{
	struct input *from = unit_below(2) ? in : &kept[unit_below(nr_kept)];
	size_t at = some_record(from);
	size_t end = record_end(from->data, from->size, at);

	if (end)
		put_in(in, some_record(in), from->data + at, end - at);
}

/* Makes a payload longer or shorter, with or without a change of its header. */
static void resize_payload(struct input *in)
{
	size_t at = some_record(in), end = record_end(in->data, in->size, at);
	u8 more[64] = { 0 };
	size_t n = 1 + unit_below(sizeof(more));
	u64 length = end - at - HEADER;

	if (!end)
		return;
	if (unit_below(2) && put_in(in, end, more, n)) {
		length += n;
	} else if (n <= length) {
		cut_out(in, end - n, n);
		length -= n;
	}
	if (unit_below(8))
		put_number(in, at + 12, 4, length);
}

/* Changes count and size of entries, with or without a matching payload. */
static void change_array(struct input *in)
{
	static const u32 types[] = {
		MDMA_RECORD_PROGRESS, MDMA_RECORD_HELD, MDMA_RECORD_WORKLOADS,
		MDMA_RECORD_TRACE,
	};
	static u8 entries[4096];
	struct mdma_stream_record record;
	u32 count = unit_below(20), size = 8 * unit_below(20);
	size_t at = some_record(in), end = record_end(in->data, in->size, at);
	u32 words[2] = { cpu_to_le32(count), cpu_to_le32(size) };

	if (!end || count * size + HEADER + 8 > sizeof(entries))
		return;
	memcpy(&record, in->data + at, HEADER);
	record.type = cpu_to_le32(types[unit_below(ARRAY_SIZE(types))]);
	record.length = cpu_to_le32(8 + count * size +
				    (unit_below(8) ? 0 : unit_below(16)));
	memcpy(entries, &record, HEADER);
	memcpy(entries + HEADER, words, 8);
	put_in(in, end, entries, HEADER + 8 + count * size);
}

/* Gives all records a newer minor version, an older one, or any one. */
static void change_version(struct input *in)
{
	u64 minor = unit_below(8) ? unit_below(5) : odd_number();
	size_t at;

	for (at = 0; record_end(in->data, in->size, at);
	     at = record_end(in->data, in->size, at))
		put_number(in, at + 6, 2, minor);
}

static void change_bytes(struct input *in)
{
	unsigned int n = 1 + unit_below(8);

	while (in->size && n--)
		in->data[unit_below(in->size)] ^= 1 << unit_below(8);
	if (in->size && !unit_below(4))
		in->size = unit_below(in->size);
}

static void change(struct input *in)
{
	static void (*const changes[])(struct input *in) = {
		change_header, change_payload, change_payload, change_payload,
		drop_record, add_record, resize_payload, change_array,
		change_version, change_bytes,
	};
	unsigned int n = 1 + unit_below(5);

	while (n--)
		changes[unit_below(ARRAY_SIZE(changes))](in);
	if (unit_below(16))
		seal_all(in->data, in->size);
}

/* --- the corpus -------------------------------------------------------------*/

static bool load(const char *dir, const char *name)
{
	struct input *in = &kept[nr_kept];
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "rb");
	if (!file)
		return false;
	in->size = fread(in->data, 1, ROOM, file);
	fclose(file);
	snprintf(in->name, sizeof(in->name), "%.63s", name);
	nr_kept++;
	return true;
}

static void load_corpus(const char *dir)
{
	struct dirent **list = NULL;
	int i, n = scandir(dir, &list, NULL, alphasort);

	for (i = 0; i < n; i++)
		if (strstr(list[i]->d_name, ".bin") && nr_kept < KEPT_MAX / 2)
			load(dir, list[i]->d_name);
	while (n > 0)
		free(list[--n]);
	free(list);
	nr_files = nr_kept;
}

static void store(const char *dir, const char *name, const struct input *in)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "wb");
	if (!file || fwrite(in->data, 1, in->size, file) != in->size)
		perror(path);
	if (file)
		fclose(file);
}

static void make_input(struct input *in)
{
	struct mdma_snapshot snap;
	struct made made;

	make_snapshot(&snap, &made);
	in->size = make_stream(&snap, in->data);
}

/* --- tests ------------------------------------------------------------------*/

static void corpus_is_judged_as_ever(void)
{
	const char *what;
	unsigned int i;
	int ret;

	CHECK(nr_files >= 5, "%u streams in $CORPUS", nr_files);
	for (i = 0; i < nr_files; i++) {
		what = try(&kept[i], &ret);
		CHECK(!what, "%s: %s", kept[i].name, what);
		CHECK(!ret == !strncmp(kept[i].name, "ok", 2), "%s: %d",
		      kept[i].name, ret);
	}
}

static void changed_streams(void)
{
	u64 i, accepted = 0, n = unit_env("OPS", 100000);
	static struct input in;
	const char *what;
	int ret;

	for (i = 0; i < n; i++) {
		if (!nr_kept || !unit_below(16))
			make_input(&in);
		else
			in = kept[unit_below(nr_kept)];
		change(&in);
		new_edge = false;
		what = try(&in, &ret);
		accepted += !ret;
		if (what)
			store(".", "stream_fuzz.bin", &in);
		CHECK(!what, "input %llu: %s", (unsigned long long)i, what);
		if (new_edge)
			keep(&in);
	}
	printf("# %llu streams, %llu accepted, %u edges, %u kept\n",
	       (unsigned long long)n, (unsigned long long)accepted, nr_edges,
	       nr_kept);
	/* A fuzzer whose inputs are all refused, or all accepted, finds nothing. */
	CHECK(accepted > n / 100 && accepted < n, "accepted");
	CHECK(nr_edges > 50, "edges");
}

static const struct unit_test tests[] = {
	{ "corpus_is_judged_as_ever", corpus_is_judged_as_ever },
	{ "changed_streams", changed_streams },
};

static int save(const char *dir)
{
	static struct input in;
	char name[64];
	int i;

	for (i = 0; i < 4; i++) {
		make_input(&in);
		snprintf(name, sizeof(name), "ok-%u.%u-%d.bin",
			 MDMA_STREAM_MAJOR, MDMA_STREAM_MINOR, i);
		store(dir, name, &in);
	}
	return 0;
}

int main(void)
{
	const char *dir = getenv("SAVE");

	if (dir) {
		unit_seed = unit_env("SEED", 1);
		return save(dir);
	}
	dir = getenv("CORPUS");
	load_corpus(dir ? dir : "corpus");
	return unit_main(tests, ARRAY_SIZE(tests));
}
