// SPDX-License-Identifier: GPL-2.0-only
/*
 * The files of a migration: a reader or writer whose memory stalls does not stall
 * anybody else, and the cost of a stream in pieces is proportional to its length.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"
#include "stall.h"
#include "stream.h"

/* A file, and memory of two pages that stalls. */
FIXTURE(file) {
	struct rig rig;
	struct stall stall;
	struct job job;
	int fd;
};

FIXTURE_SETUP(file)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(stall_open(&self->stall, 2 * PAGE_SIZE)));
	self->fd = -1;
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static int call_read(void *arg)
{
	struct file *f = arg;

	return read(f->fd, f->stall.mem, 2 * PAGE_SIZE) < 0 ? -errno : 0;
}

static int call_write(void *arg)
{
	struct file *f = arg;

	return write(f->fd, f->stall.mem, 2 * PAGE_SIZE) < 0 ? -errno : 0;
}

static int call_reset(void *arg)
{
	struct file *f = arg;

	return ioctl(f->rig.dev.device, VFIO_DEVICE_RESET) ? -errno : 0;
}

static int call_close(void *arg)
{
	struct file *f = arg;

	mdma_close(&f->rig.dev);
	return 0;
}

/* A reader or writer waits for the memory; this call does not. */
static void expect_unstalled(struct file *f, int (*call)(void *arg))
{
	struct job job;
	bool done;

	ASSERT_LE(0, stall_wait(&f->stall, 10000));
	job_start(&job, call, f);
	done = job_ends(&job);
	stall_release(&f->stall);
	EXPECT_EQ(true, done);
	EXPECT_EQ(0, job_join(&job));
	job_join(&f->job);
}

TEST_F(file, mdma_stalled_reader_stalls_no_reset, 40)
{
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(STOP_COPY), &self->fd));
	job_start(&self->job, call_read, self);
	expect_unstalled(self, call_reset);
	EXPECT_EQ(MIG(RUNNING), mig_get(self->rig.dev.device));
	EXPECT_EQ(-1, read(self->fd, self->stall.mem, 1));
	EXPECT_EQ(ENODEV, errno);
}

TEST_F(file, mdma_stalled_reader_stalls_no_close, 40)
{
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(STOP_COPY), &self->fd));
	job_start(&self->job, call_read, self);
	expect_unstalled(self, call_close);
}

TEST_F(file, mdma_stalled_writer_stalls_no_reset, 40)
{
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RESUMING), &self->fd));
	job_start(&self->job, call_write, self);
	expect_unstalled(self, call_reset);
	EXPECT_STR("ENODEV", error(self->job.ret));
}

TEST_F(file, mdma_stalled_writer_stalls_no_close, 40)
{
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RESUMING), &self->fd));
	job_start(&self->job, call_write, self);
	expect_unstalled(self, call_close);
}

/* Bytes of the first part, read while the device is still in pre-copy. */
#define FIRST_BYTES	32

static int call_read_first(void *arg)
{
	struct file *f = arg;

	return read(f->fd, f->stall.mem, FIRST_BYTES) == FIRST_BYTES ? 0 : -EIO;
}

static int call_stop_copy(void *arg)
{
	struct file *f = arg;

	return mig_set(f->rig.dev.device, MIG(STOP_COPY), NULL);
}

/* A stalled reader of the first part does not delay the last part. */
TEST_F(file, mdma_stalled_reader_stalls_no_stop_copy, 40)
{
	char *rest = malloc(MDMA_STREAM_MAX);
	long long n;

	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(PRE_COPY), &self->fd));
	job_start(&self->job, call_read_first, self);
	expect_unstalled(self, call_stop_copy);
	EXPECT_EQ(0, self->job.ret);
	n = mig_read(self->fd, rest, MDMA_STREAM_MAX);
	ASSERT_LT(0, n);
	EXPECT_EQ(MDMA_STREAM_MAGIC,
		  ((struct mdma_stream_record *)self->stall.mem)->magic);
	/* The two parts together are the stream. */
	memmove(rest + MDMA_STREAM_MAX - n, rest, n);
	n += FIRST_BYTES;
	memcpy(rest + MDMA_STREAM_MAX - n, self->stall.mem, FIRST_BYTES);
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
	EXPECT_STR("0", error(mig_load(self->rig.dev.device,
				       rest + MDMA_STREAM_MAX - n, n, NULL)));
	free(rest);
}

/* A read that faults does not lose the data that it could not deliver. */
TEST_F(file, mdma_read_that_faults_loses_nothing, 30)
{
	char *buf = memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	char *stream = malloc(MDMA_STREAM_MAX);
	int device = self->rig.dev.device;
	long long n = 0, part;

	munmap(buf + PAGE_SIZE, PAGE_SIZE);
	set_workload(&self->rig);
	SET(&self->rig, "hold_ms", "600000");
	SET(&self->rig, "step", "500");
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), &self->fd));
	EXPECT_EQ(-1, read(self->fd, buf + PAGE_SIZE, 1));
	EXPECT_EQ(EFAULT, errno);
	do {
		part = read(self->fd, buf + PAGE_SIZE - 100, PAGE_SIZE);
		if (part < 0)
			part = read(self->fd, buf + PAGE_SIZE - 100, 100);
		ASSERT_LE(0, part);
		memcpy(stream + n, buf + PAGE_SIZE - 100, part);
		n += part;
	} while (part);
	ASSERT_EQ(0, mdma_reset(&self->rig.dev));
	EXPECT_STR("0", error(mig_load(device, stream, n, NULL)));
	free(stream);
}

/* A stream of nearly the maximum size, with records that this version skips. */
static long long make_long(struct rig *r, char *stream)
{
	const __u32 length = 65536 - sizeof(struct mdma_stream_record);
	char *payload = calloc(1, length);
	long long size;

	size = mig_save(r->dev.device, stream, MDMA_STREAM_MAX);
	ASSERT_LT(0, size);
	while (size + 65536 <= MDMA_STREAM_MAX)
		size = stream_insert(stream, size, 77, payload, length,
				     MDMA_STREAM_MINOR + 1);
	free(payload);
	ASSERT_EQ(0, mdma_reset(&r->dev));
	return size;
}

/* Milliseconds to write the stream to the file, this many bytes at a time. */
static double write_long(struct file *f, const char *stream, long long size,
			 long long part)
{
	double begin;
	long long i;
	int fd;

	ASSERT_EQ(0, mig_set(f->rig.dev.device, MIG(RESUMING), &fd));
	begin = now_ms();
	for (i = 0; i < size; i += part)
		if (write(fd, stream + i, part < size - i ? part : size - i) < 0)
			FAIL("at %lld: %s", i, error(-errno));
	begin = now_ms() - begin;
	close(fd);
	EXPECT_STR("0", error(mig_set(f->rig.dev.device, MIG(STOP), NULL)));
	return begin;
}

#define TRIES_MIN	2
#define TRIES_MAX	5

TEST_F(file, mdma_stream_in_pieces_costs_its_length, 120)
{
	char *stream = malloc(MDMA_STREAM_MAX);
	double whole = 1e9, pieces = 1e9, ms;
	long long size;
	int i;

	size = make_long(&self->rig, stream);
	/* The shortest time is the cost; on a busy machine it needs more tries. */
	for (i = 0; i < TRIES_MIN ||
	     (i < TRIES_MAX && pieces > 10 * whole + 50); i++) {
		ms = write_long(self, stream, size, size);
		whole = ms < whole ? ms : whole;
		ms = write_long(self, stream, size, PAGE_SIZE);
		pieces = ms < pieces ? ms : pieces;
	}
	printf("# %lld bytes: %.1f ms, in pieces %.1f ms\n", size, whole,
	       pieces);
	if (pieces > 10 * whole + 50)
		FAIL("%.0f ms in pieces, %.0f ms at once", pieces, whole);
	free(stream);
}

TEST_MAIN(mdev_remove_leftovers)
