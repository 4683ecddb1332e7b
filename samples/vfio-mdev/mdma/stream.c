// SPDX-License-Identifier: GPL-2.0-only
/*
 * The migration stream: serializer and parser.
 *
 * The parser takes what it is given for hostile: a value is accepted only if
 * a guest or the administrator could have set it on a running device. Takes
 * no lock; the caller owns buffer and snapshot.
 */
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "stream.h"
#include "window.h"

static u32 record_crc(const struct mdma_stream_record *record,
		      const void *payload, size_t length)
{
	u32 crc;

	crc = crc32_le(~0, (const void *)record,
		       offsetof(struct mdma_stream_record, crc));
	return crc32_le(crc, payload, length);
}

static size_t write_record(void *buf, enum mdma_record_type type,
			   const void *payload, size_t length)
{
	struct mdma_stream_record record = {
		.magic = cpu_to_le32(MDMA_STREAM_MAGIC),
		.major = cpu_to_le16(MDMA_STREAM_MAJOR),
		.minor = cpu_to_le16(MDMA_STREAM_MINOR),
		.type = cpu_to_le32(type),
		.length = cpu_to_le32(length),
	};

	record.crc = cpu_to_le32(record_crc(&record, payload, length));
	memcpy(buf, &record, sizeof(record));
	memcpy(buf + sizeof(record), payload, length);
	return sizeof(record) + length;
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
 * @buf: room for MDMA_STREAM_STATE_SIZE
 * @snap: complete
 *
 * Return: bytes written.
 */
size_t mdma_stream_write_state(void *buf, const struct mdma_snapshot *snap)
{
	size_t size;

	size = write_record(buf, MDMA_RECORD_STATE, &snap->state,
			    sizeof(snap->state));
	return size + write_record(buf + size, MDMA_RECORD_END, "", 0);
}

static bool all_zero(const void *buf, size_t size)
{
	return !memchr_inv(buf, 0, size);
}

static bool channel_valid(const struct mdma_stream_channel *channel)
{
	u64 ring = le64_to_cpu(channel->ring);
	u32 size = le32_to_cpu(channel->ring_size);
	u32 ctrl = le32_to_cpu(channel->ctrl);
	u32 status = le32_to_cpu(channel->status);
	u32 queued = le32_to_cpu(channel->tail) - le32_to_cpu(channel->head);

	if (ctrl & ~(MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ))
		return false;
	if (le32_to_cpu(channel->irq) > 1)
		return false;
	if (status != MDMA_STATUS_NONE && status != MDMA_STATUS_BAD_RING &&
	    status != MDMA_STATUS_BAD_DOORBELL &&
	    status != MDMA_STATUS_DEVICE_ERROR)
		return false;
	if (!(ctrl & MDMA_CTRL_ENABLE) || status != MDMA_STATUS_NONE)
		return true;
	return mdma_ring_valid(ring, size) && queued <= size;
}

static bool window_valid(const struct mdma_stream_window *window)
{
	u32 nr = le32_to_cpu(window->nr_ranges);
	u32 origin = le32_to_cpu(window->origin);
	u32 status = le32_to_cpu(window->table_status);

	if (mdma_window_check(window->ranges, nr))
		return false;
	if (origin > MDMA_WINDOW_GUEST || !nr != !origin)
		return false;
	if (status != MDMA_STATUS_NONE && status != MDMA_STATUS_DONE &&
	    status != MDMA_STATUS_BAD_WINDOW &&
	    status != MDMA_STATUS_DEVICE_ERROR)
		return false;
	return le32_to_cpu(window->table_pending) <= 1 && !window->reserved &&
	       all_zero(&window->ranges[nr],
			(MDMA_MAX_RANGES - nr) * sizeof(window->ranges[0]));
}

static bool workload_valid(const struct mdma_stream_workload *workload)
{
	u32 batch = le32_to_cpu(workload->batch);

	return le32_to_cpu(workload->pattern) <= MDMA_PATTERN_RING &&
	       le32_to_cpu(workload->direction) <= MDMA_DIRECTION_MIXED &&
	       batch >= 1 && batch <= MDMA_BATCH_MAX &&
	       le32_to_cpu(workload->hold_ms) <= MDMA_HOLD_MS_MAX &&
	       le32_to_cpu(workload->run) <= 1;
}

static bool state_valid(const struct mdma_stream_state *state, u32 channels)
{
	u32 i;

	for (i = 0; i < channels; i++)
		if (!channel_valid(&state->channel[i]))
			return false;
	return all_zero(&state->channel[channels],
			(MDMA_MAX_CHANNELS - channels) *
			sizeof(state->channel[0])) &&
	       window_valid(&state->window) &&
	       workload_valid(&state->workload);
}

/* Checks a header against its predecessor; @newer: of a newer minor version. */
static int check_header(const struct mdma_stream_record *record, u32 last,
			bool *newer)
{
	static const size_t known[] = {
		[MDMA_RECORD_CONFIG] = sizeof(struct mdma_stream_config),
		[MDMA_RECORD_STATE] = sizeof(struct mdma_stream_state),
		[MDMA_RECORD_END] = 0,
	};
	u32 type = le32_to_cpu(record->type);
	u32 length = le32_to_cpu(record->length);

	if (le32_to_cpu(record->magic) != MDMA_STREAM_MAGIC)
		return -EBADMSG;
	if (le16_to_cpu(record->major) != MDMA_STREAM_MAJOR)
		return -EOPNOTSUPP;
	*newer = le16_to_cpu(record->minor) > MDMA_STREAM_MINOR;
	if (record->reserved || length > MDMA_STREAM_MAX)
		return -EBADMSG;
	if (!type)
		return -EBADMSG;
	if (type < ARRAY_SIZE(known)) {
		if (type != last + 1)
			return -EBADMSG;
		return length == known[type] ||
		       (*newer && length > known[type]) ? 0 : -EBADMSG;
	}
	return *newer && last ? 0 : -EBADMSG;
}

static int take_payload(u32 type, const void *payload,
			struct mdma_snapshot *snap)
{
	struct mdma_stream_config config;

	switch (type) {
	case MDMA_RECORD_CONFIG:
		memcpy(&config, payload, sizeof(config));
		if (le32_to_cpu(config.channels) != snap->channels ||
		    le32_to_cpu(config.page_shift) != MDMA_PAGE_SHIFT)
			return -EINVAL;
		return 0;
	case MDMA_RECORD_STATE:
		memcpy(&snap->state, payload, sizeof(snap->state));
		return state_valid(&snap->state, snap->channels) ? 0 : -EINVAL;
	default:
		return 0;
	}
}

/**
 * mdma_stream_read() - parse a stream, or the begin of one
 * @buf: the stream from its first byte on
 * @size: bytes
 * @snap: @channels is that of the receiving device and must be the stream's;
 *	@state is valid only if 0 is returned
 *
 * Return: 0 if the stream is complete and valid, -EAGAIN if nothing is wrong
 * so far but more must follow, -EBADMSG if it is damaged or goes on after its
 * end, -EOPNOTSUPP for a version, -EINVAL for a value that this device cannot
 * have.
 */
int mdma_stream_read(const void *buf, size_t size, struct mdma_snapshot *snap)
{
	struct mdma_stream_record record, first;
	u32 length, last = 0;
	size_t pos = 0;
	bool newer;
	int ret;

	while (size - pos >= sizeof(record)) {
		memcpy(&record, buf + pos, sizeof(record));
		if (!pos)
			first = record;
		if (last == MDMA_RECORD_END || record.minor != first.minor)
			return -EBADMSG;
		ret = check_header(&record, last, &newer);
		if (ret)
			return ret;
		pos += sizeof(record);
		length = le32_to_cpu(record.length);
		if (size - pos < length)
			return -EAGAIN;
		if (le32_to_cpu(record.crc) !=
		    record_crc(&record, buf + pos, length))
			return -EBADMSG;
		ret = take_payload(le32_to_cpu(record.type), buf + pos, snap);
		if (ret)
			return ret;
		pos += length;
		if (le32_to_cpu(record.type) <= MDMA_RECORD_END)
			last = le32_to_cpu(record.type);
	}
	if (last != MDMA_RECORD_END)
		return -EAGAIN;
	return pos == size ? 0 : -EBADMSG;
}
