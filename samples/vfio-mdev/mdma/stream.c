// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bytes of the migration stream: serializer and parser of its records. What the
 * records say is checked in stream_values.c.
 *
 * Takes no lock; the caller owns buffer and snapshot.
 */
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "stream.h"
#include "stream_values.h"

static u32 record_crc(const struct mdma_stream_record *record,
		      const void *payload, size_t length)
{
	u32 crc;

	crc = crc32_le(~0, (const void *)record,
		       offsetof(struct mdma_stream_record, crc));
	return crc32_le(crc, payload, length);
}

/* Makes a record of the payload that is at @buf, behind the header. */
static size_t seal_record(void *buf, enum mdma_record_type type, size_t length)
{
	struct mdma_stream_record record = {
		.magic = cpu_to_le32(MDMA_STREAM_MAGIC),
		.major = cpu_to_le16(MDMA_STREAM_MAJOR),
		.minor = cpu_to_le16(MDMA_STREAM_MINOR),
		.type = cpu_to_le32(type),
		.length = cpu_to_le32(length),
	};

	record.crc = cpu_to_le32(record_crc(&record, buf + sizeof(record),
					    length));
	memcpy(buf, &record, sizeof(record));
	return sizeof(record) + length;
}

static size_t write_record(void *buf, enum mdma_record_type type,
			   const void *payload, size_t length)
{
	memcpy(buf + sizeof(struct mdma_stream_record), payload, length);
	return seal_record(buf, type, length);
}

/* Writes nothing if there are no entries. */
static size_t write_array(void *buf, enum mdma_record_type type,
			  const void *entries, u32 count, u32 size)
{
	struct mdma_stream_array array = {
		.count = cpu_to_le32(count),
		.size = cpu_to_le32(size),
	};
	void *at = buf + sizeof(struct mdma_stream_record);

	if (!count)
		return 0;
	memcpy(at, &array, sizeof(array));
	memcpy(at + sizeof(array), entries, (size_t)count * size);
	return seal_record(buf, type, sizeof(array) + (size_t)count * size);
}

static size_t entries_size(u32 count, size_t size)
{
	return count ? sizeof(struct mdma_stream_record) +
		       sizeof(struct mdma_stream_array) + count * size : 0;
}

/**
 * mdma_stream_state_size() - bytes that mdma_stream_write_state() writes
 * @channels: of the device
 * @nr_progress: channels within a descriptor
 * @nr_held: held runs
 * @nr_trace: entries of the trace
 *
 * Return: bytes.
 */
size_t mdma_stream_state_size(u32 channels, u32 nr_progress, u32 nr_held,
			      u32 nr_trace)
{
	return 3 * sizeof(struct mdma_stream_record) +
	       sizeof(struct mdma_stream_state) +
	       sizeof(struct mdma_stream_knobs) +
	       entries_size(channels - 1,
			    sizeof(struct mdma_stream_channel_workload)) +
	       entries_size(nr_trace, sizeof(struct mdma_trace_entry)) +
	       entries_size(nr_progress, sizeof(struct mdma_stream_progress)) +
	       entries_size(nr_held, sizeof(struct mdma_stream_held));
}

/**
 * mdma_stream_write_config() - the part that PRE_COPY sends
 * @buf: room for MDMA_STREAM_CONFIG_SIZE
 * @snap: only @channels is used
 *
 * Return: bytes written.
 */
size_t mdma_stream_write_config(void *buf, const struct mdma_snapshot *snap)
{
	struct mdma_stream_config config = {
		.channels = cpu_to_le32(snap->channels),
		.page_shift = cpu_to_le32(MDMA_PAGE_SHIFT),
	};

	return write_record(buf, MDMA_RECORD_CONFIG, &config, sizeof(config));
}

/**
 * mdma_stream_write_state() - the part that STOP_COPY sends
 * @buf: room for mdma_stream_state_size()
 * @snap: complete; entries have the size of this version
 *
 * Return: bytes written.
 */
size_t mdma_stream_write_state(void *buf, const struct mdma_snapshot *snap)
{
	void *at = buf;

	at += write_record(at, MDMA_RECORD_STATE, &snap->state,
			   sizeof(snap->state));
	at += write_record(at, MDMA_RECORD_KNOBS, &snap->knobs,
			   sizeof(snap->knobs));
	at += write_array(at, MDMA_RECORD_WORKLOADS, snap->workload,
			  snap->channels - 1, sizeof(snap->workload[0]));
	at += write_array(at, MDMA_RECORD_TRACE, snap->trace.data,
			  snap->trace.nr, sizeof(struct mdma_trace_entry));
	at += write_array(at, MDMA_RECORD_PROGRESS, snap->progress,
			  snap->nr_progress, sizeof(snap->progress[0]));
	at += write_array(at, MDMA_RECORD_HELD, snap->held.data, snap->held.nr,
			  sizeof(struct mdma_stream_held));
	at += seal_record(at, MDMA_RECORD_END, 0);
	return at - buf;
}

/* Place of a record in the stream; 0 is before the first. */
enum rank {
	RANK_CONFIG = 1,
	RANK_STATE,
	RANK_KNOBS,
	RANK_WORKLOADS,
	RANK_TRACE,
	RANK_PROGRESS,
	RANK_HELD,
	RANK_END,
};

/*
 * What a receiver knows of a type. Records come by ascending @rank. @version: the
 * minor version that added the record, and those that made it longer, each with the
 * size of the payload, or of an entry of an @array.
 */
struct known_record {
	u8 rank;
	bool array;
	struct {
		u16 minor;
		size_t size;
	} version[3];
};

static const struct known_record known_records[] = {
	[MDMA_RECORD_CONFIG] = {
		.rank = RANK_CONFIG,
		.version = { { 0, sizeof(struct mdma_stream_config) } },
	},
	[MDMA_RECORD_STATE] = {
		.rank = RANK_STATE,
		.version = { { 0, sizeof(struct mdma_stream_state) } },
	},
	[MDMA_RECORD_KNOBS] = {
		.rank = RANK_KNOBS,
		.version = { { 2, sizeof(struct mdma_stream_knobs) } },
	},
	[MDMA_RECORD_WORKLOADS] = {
		.rank = RANK_WORKLOADS,
		.array = true,
		.version = {
			{ 3, sizeof(struct mdma_stream_channel_workload) },
		},
	},
	[MDMA_RECORD_TRACE] = {
		.rank = RANK_TRACE,
		.array = true,
		.version = { { 3, sizeof(struct mdma_trace_entry) } },
	},
	[MDMA_RECORD_PROGRESS] = {
		.rank = RANK_PROGRESS,
		.array = true,
		.version = { { 1, sizeof(struct mdma_stream_progress) } },
	},
	[MDMA_RECORD_HELD] = {
		.rank = RANK_HELD,
		.array = true,
		.version = {
			{ 1, offsetof(struct mdma_stream_held, channel) },
			{ 3, sizeof(struct mdma_stream_held) },
		},
	},
	[MDMA_RECORD_END] = { .rank = RANK_END },
};

static const struct known_record *known_record(u32 type)
{
	return type && type < ARRAY_SIZE(known_records) ? &known_records[type] :
							  NULL;
}

/* Bytes that a record has, or each of its entries, in a minor version. */
static size_t known_size(const struct known_record *known, u16 minor)
{
	u32 i = ARRAY_SIZE(known->version) - 1;

	while (i && (!known->version[i].size || minor < known->version[i].minor))
		i--;
	return known->version[i].size;
}

/* @rank: of the last known record; @newer: of a newer minor version. */
static bool order_valid(const struct known_record *known, u32 rank, bool newer)
{
	if (!known)
		return newer && rank;
	if (known->rank <= rank)
		return false;
	/* The last that must come before this one */
	return rank >= min_t(u32, known->rank - 1, RANK_STATE);
}

/* Checks a header, but for its CRC. */
static int check_header(const struct mdma_stream_record *record, u32 rank)
{
	const struct known_record *known;
	u32 type = le32_to_cpu(record->type);
	u32 length = le32_to_cpu(record->length);
	u16 minor = le16_to_cpu(record->minor);
	bool newer = minor > MDMA_STREAM_MINOR;
	size_t size;

	if (le32_to_cpu(record->magic) != MDMA_STREAM_MAGIC)
		return -EBADMSG;
	if (le16_to_cpu(record->major) != MDMA_STREAM_MAJOR)
		return -EOPNOTSUPP;
	if (record->reserved || length > MDMA_STREAM_MAX || !type)
		return -EBADMSG;
	known = known_record(type);
	if (!order_valid(known, rank, newer))
		return -EBADMSG;
	if (!known)
		return 0;
	if (minor < known->version[0].minor)
		return -EBADMSG;
	size = known_size(known, minor);
	if (known->array)
		return length >= sizeof(struct mdma_stream_array) ? 0 :
								    -EBADMSG;
	return length == size || (newer && length > size) ? 0 : -EBADMSG;
}

/* Checks the start of an array's payload, and takes its entries. */
static int take_array(const struct mdma_stream_record *record,
		      const void *payload, struct mdma_snapshot *snap)
{
	u16 minor = le16_to_cpu(record->minor);
	bool newer = minor > MDMA_STREAM_MINOR;
	u32 type = le32_to_cpu(record->type);
	u64 length = le32_to_cpu(record->length);
	size_t known = known_size(known_record(type), minor);
	struct mdma_stream_array array;
	u32 count, size;
	u64 used;

	memcpy(&array, payload, sizeof(array));
	count = le32_to_cpu(array.count);
	size = le32_to_cpu(array.size);
	used = sizeof(array) + (u64)count * size;
	if (!count || size < known || used > length ||
	    (!newer && (size != known || used != length)))
		return -EBADMSG;
	payload += sizeof(array);
	switch (type) {
	case MDMA_RECORD_WORKLOADS:
		return mdma_values_take_workloads(snap, payload, count, size);
	case MDMA_RECORD_TRACE:
		return mdma_values_take_trace(snap, payload, count, size);
	case MDMA_RECORD_PROGRESS:
		return mdma_values_take_progress(snap, payload, count, size);
	default:
		return mdma_values_take_held(snap, payload, count, size);
	}
}

static int take_payload(const struct mdma_stream_record *record,
			const void *payload, struct mdma_snapshot *snap)
{
	struct mdma_stream_config config;

	switch (le32_to_cpu(record->type)) {
	case MDMA_RECORD_CONFIG:
		memcpy(&config, payload, sizeof(config));
		if (le32_to_cpu(config.channels) != snap->channels ||
		    le32_to_cpu(config.page_shift) != MDMA_PAGE_SHIFT)
			return -EINVAL;
		return 0;
	case MDMA_RECORD_STATE:
		memcpy(&snap->state, payload, sizeof(snap->state));
		return mdma_values_state(&snap->state, snap->channels) ? 0 : -EINVAL;
	case MDMA_RECORD_KNOBS:
		/* What an older version did not have is as in a new device */
		memcpy(&snap->knobs, payload,
		       min_t(size_t, le32_to_cpu(record->length),
			     sizeof(snap->knobs)));
		return mdma_values_knobs(&snap->knobs) ? 0 : -EINVAL;
	case MDMA_RECORD_WORKLOADS:
	case MDMA_RECORD_TRACE:
	case MDMA_RECORD_PROGRESS:
	case MDMA_RECORD_HELD:
		return take_array(record, payload, snap);
	default:
		return 0;
	}
}

/* One more record: 0 or a negative error, -EAGAIN if it is not complete. */
static int read_record(struct mdma_stream_parser *parser, const void *buf,
		       size_t size, struct mdma_snapshot *snap)
{
	const struct known_record *known;
	struct mdma_stream_record record;
	size_t pos = parser->pos;
	u32 length;
	int ret;

	memcpy(&record, buf + pos, sizeof(record));
	ret = check_header(&record, parser->rank);
	if (ret)
		return ret;
	pos += sizeof(record);
	length = le32_to_cpu(record.length);
	if (size - pos < length)
		return -EAGAIN;
	if (le32_to_cpu(record.crc) != record_crc(&record, buf + pos, length))
		return -EBADMSG;
	ret = take_payload(&record, buf + pos, snap);
	if (ret)
		return ret;
	if (le32_to_cpu(record.type) == MDMA_RECORD_HELD)
		parser->held_at = snap->held.data - buf;
	if (le32_to_cpu(record.type) == MDMA_RECORD_TRACE)
		parser->trace_at = snap->trace.data - buf;
	known = known_record(le32_to_cpu(record.type));
	if (known)
		parser->rank = known->rank;
	parser->pos = pos + length;
	return 0;
}

/**
 * mdma_stream_begin() - nothing was parsed yet
 * @parser: of a stream
 * @snap: @channels is that of the receiving device and must be the stream's
 */
void mdma_stream_begin(struct mdma_stream_parser *parser,
		       struct mdma_snapshot *snap)
{
	*parser = (struct mdma_stream_parser) {};
	mdma_snapshot_init(snap);
}

/**
 * mdma_stream_continue() - parse what came since the last call
 * @parser: no call has returned anything but -EAGAIN
 * @buf: the stream from its first byte on; it may have moved
 * @size: bytes, at most INT_MAX, not less than before
 * @snap: the same as before; valid only if 0 is returned, and @held and @trace
 *	as long as @buf is
 *
 * Return: 0 if the stream is complete and valid, -EAGAIN if nothing is wrong
 * so far but more must follow, -EBADMSG if it is damaged or goes on after its
 * end, -EOPNOTSUPP for a version, -EINVAL for a value that this device cannot
 * have.
 */
int mdma_stream_continue(struct mdma_stream_parser *parser, const void *buf,
			 size_t size, struct mdma_snapshot *snap)
{
	const size_t minor = offsetof(struct mdma_stream_record, minor);
	int ret;

	while (size - parser->pos >= sizeof(struct mdma_stream_record)) {
		if (parser->rank == RANK_END ||
		    memcmp(buf + parser->pos + minor, buf + minor,
			   sizeof(__le16)))
			return -EBADMSG;
		ret = read_record(parser, buf, size, snap);
		if (ret)
			return ret;
	}
	if (parser->rank != RANK_END)
		return -EAGAIN;
	snap->held.data = buf + parser->held_at;
	snap->trace.data = buf + parser->trace_at;
	return parser->pos == size ? 0 : -EBADMSG;
}

/**
 * mdma_stream_read() - parse a stream, or the start of one
 * @buf: the stream from its first byte on
 * @size: bytes, at most INT_MAX
 * @snap: see mdma_stream_begin() and mdma_stream_continue()
 *
 * Return: what mdma_stream_continue() returns.
 */
int mdma_stream_read(const void *buf, size_t size, struct mdma_snapshot *snap)
{
	struct mdma_stream_parser parser;

	mdma_stream_begin(&parser, snap);
	return mdma_stream_continue(&parser, buf, size, snap);
}
