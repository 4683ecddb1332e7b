// SPDX-License-Identifier: GPL-2.0-only
/* What a VMM does with the device's migration and its dirty log. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dma_log.h"
#include "fuzz.h"
#include "stream.h"

static int set_state(struct fuzz *f)
{
	static const int states[] = {
		MIG(RUNNING), MIG(STOP), MIG(PRE_COPY), MIG(STOP_COPY),
		MIG(RESUMING), MIG(RUNNING_P2P), MIG(PRE_COPY_P2P), MIG(ERROR),
		-1,
	};
	int state = states[input_below(&f->in, ARRAY_SIZE(states))];
	int fd, ret;

	ret = mig_set(f->rig.dev.device, state, &fd);
	if (ret || fd < 0)
		return ret;
	if (f->data_fd >= 0)
		close(f->data_fd);
	f->data_fd = fd;
	if (state == MIG(RESUMING))
		f->loaded = 0;
	else
		f->size = 0;
	return 0;
}

static int close_data(struct fuzz *f)
{
	if (f->data_fd >= 0)
		close(f->data_fd);
	f->data_fd = -1;
	return 0;
}

/* The next bytes of a stream that is saved, or all. */
static int save(struct fuzz *f)
{
	size_t room = STREAM_MAX - f->size;
	ssize_t n;

	if (input_one_in(&f->in, 2))
		room = input_byte(&f->in);
	if (room > (size_t)(STREAM_MAX - f->size))
		room = STREAM_MAX - f->size;
	n = read(f->data_fd, f->stream + f->size, room);
	if (n < 0)
		return -errno;
	f->size += n;
	return 0;
}

/* The whole way of a save, so that there is a stream to be loaded. */
static int save_all(struct fuzz *f)
{
	long long n = mig_save(f->rig.dev.device, f->stream, STREAM_MAX);

	if (n < 0)
		return n;
	f->size = n;
	return 0;
}

/* One word of a record becomes another, and its CRC is right or not. */
static int spoil(struct fuzz *f)
{
	__u32 type = 1 + input_below(&f->in, 12), payload;
	struct mdma_stream_record *record;
	unsigned int offset;
	__u64 value;

	record = stream_find(f->stream, f->size, type);
	if (!record)
		return -ENOENT;
	payload = record->length;
	if (!payload)
		return -ENODATA;
	offset = input_below(&f->in, payload < 256 ? payload : 256);
	value = input_number(&f->in);
	memcpy((char *)(record + 1) + offset, &value,
	       payload - offset < 8 ? payload - offset : 8);
	if (!input_one_in(&f->in, 16))
		stream_seal(record, payload);
	return 0;
}

/* Bytes of the stream, in pieces or as a whole. */
static int load(struct fuzz *f)
{
	long long n = f->size - f->loaded;
	ssize_t done;

	if (input_one_in(&f->in, 4) && n > 256)
		n = input_byte(&f->in);
	done = write(f->data_fd, f->stream + f->loaded, n > 0 ? n : 0);
	if (done < 0)
		return -errno;
	f->loaded += done;
	return 0;
}

/* What was saved, into the same device. */
static int load_all(struct fuzz *f)
{
	int to_stop, ret;

	ret = mig_load(f->rig.dev.device, f->stream, f->size, &to_stop);
	return ret ? ret : to_stop;
}

static int write_bytes(struct fuzz *f)
{
	unsigned char data[64];
	unsigned int n = input_below(&f->in, 65), i;

	for (i = 0; i < n; i++)
		data[i] = input_byte(&f->in);
	return write(f->data_fd, data, n) < 0 ? -errno : 0;
}

static int ask(struct fuzz *f)
{
	struct vfio_precopy_info info;
	long long size;

	switch (input_below(&f->in, 3)) {
	case 0:
		return mig_precopy_info(f->data_fd, &info);
	case 1:
		size = mig_data_size(f->rig.dev.device);
		return size < 0 ? size : 0;
	default:
		return mig_get(f->rig.dev.device);
	}
}

static int log_start(struct fuzz *f)
{
	struct vfio_device_feature_dma_logging_range ranges[4];
	unsigned int nr = 1 + input_below(&f->in, 4), i;
	__u64 page_size = 1ULL << (12 + input_below(&f->in, 10));

	for (i = 0; i < nr; i++) {
		ranges[i].iova = input_iova(&f->in);
		ranges[i].length = input_pages(&f->in) << PAGE_SHIFT;
	}
	if (input_one_in(&f->in, 16))
		page_size = input_number(&f->in);
	return dma_log_start(f->rig.dev.device, &page_size, ranges, nr);
}

static int log_stop(struct fuzz *f)
{
	return dma_log_stop(f->rig.dev.device);
}

static int log_report(struct fuzz *f)
{
	__u64 iova = input_iova(&f->in);
	__u64 npages = input_pages(&f->in);

	return dma_log_report(f->rig.dev.device, iova, npages << PAGE_SHIFT,
			      PAGE_SIZE << input_below(&f->in, 10),
			      f->bitmaps);
}

const struct op migration_ops[] = {
	{ "set_state", set_state },
	{ "close_data", close_data },
	{ "save", save },
	{ "save_all", save_all },
	{ "spoil", spoil },
	{ "load", load },
	{ "load_all", load_all },
	{ "write_bytes", write_bytes },
	{ "ask", ask },
	{ "log_start", log_start },
	{ "log_stop", log_stop },
	{ "log_report", log_report },
	{ }
};
