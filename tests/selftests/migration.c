// SPDX-License-Identifier: GPL-2.0-only
/* The migration states: when there is DMA and when not, and what is moved. */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"

#define STREAM_MAX	0x10000

TEST_F(rig, mdma_migration_features, 20)
{
	char text[32];

	EXPECT_EQ(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P |
		  VFIO_MIGRATION_PRE_COPY, mig_flags(self->dev.device));
	EXPECT_EQ(MIG(RUNNING), mig_get(self->dev.device));
	ASSERT_EQ(0, mdma_get_text(&self->dev, "migration_state", text, 32));
	EXPECT_STR("running", text);
	EXPECT_LT(0, mig_data_size(self->dev.device));
}

/*
 * In a state that stops the device, nothing is pinned from the first moment on. In a
 * P2P state the device pins nothing more, but still holds the runs that it held until
 * they expire. The test decides when they do.
 */
static void expect_pins_given_back(struct rig *r, int state)
{
	long long pins = mdma_get(&r->dev, "stats/pins");

	if (state == MIG(RUNNING_P2P) || state == MIG(PRE_COPY_P2P)) {
		EXPECT_LT(0, mdma_get(&r->dev, "stats/pinned"));
		SET(r, "hold_ms", "1");
		EXPECT_EQ(0, wait_for_value(r, "stats/pinned", 0));
	}
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
	EXPECT_EQ(pins, mdma_get(&r->dev, "stats/pins"));
}

/*
 * The device runs and is brought to a state without DMA. From then on, memory does
 * not change and the workload pins nothing, now or later.
 */
static void expect_silence(struct rig *r, int state)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT, page;
	unsigned char *copy = memory(size, PROT_READ | PROT_WRITE);
	int device = r->dev.device;
	long long seq;

	set_workload(r);
	/* Held until the test ends the hold. */
	SET(r, "hold_ms", "600000");
	SET(r, "run", "1");
	wait_for_writes(r, 100);
	START(r);
	ASSERT_STR("0", error(mig_set(device, state, NULL)));
	EXPECT_EQ(state, mig_get(device));
	memcpy(copy, r->mem, size);
	seq = mdma_get(&r->dev, "stats/seq");
	expect_pins_given_back(r, state);
	ASSERT_NE('E', dirty_all(r)[0]);
	usleep(200000);
	EXPECT_STR("none", dirty_all(r));
	EXPECT_EQ(seq, mdma_get(&r->dev, "stats/seq"));
	for (page = 0; page < RIG_PAGES; page++)
		if (memcmp(copy + (page << PAGE_SHIFT),
			   r->mem + (page << PAGE_SHIFT), PAGE_SIZE))
			FAIL("page %llu was written in state %d", page, state);
	EXPECT_NE(0, mdma_set(&r->dev, "workload/step", "1"));
	EXPECT_EQ(1, mdma_get(&r->dev, "workload/run"));
}

static void expect_goes_on(struct rig *r)
{
	ASSERT_STR("0", error(mig_set(r->dev.device, MIG(RUNNING), NULL)));
	wait_for_writes(r, 50);
	SET(r, "run", "0");
}

TEST_F(rig, mdma_no_dma_in_stop, 30)
{
	expect_silence(self, MIG(STOP));
	expect_goes_on(self);
}

TEST_F(rig, mdma_no_dma_in_running_p2p, 30)
{
	expect_silence(self, MIG(RUNNING_P2P));
	expect_goes_on(self);
}

TEST_F(rig, mdma_no_dma_in_pre_copy_p2p, 30)
{
	expect_silence(self, MIG(PRE_COPY_P2P));
	expect_goes_on(self);
}

TEST_F(rig, mdma_no_dma_in_stop_copy, 30)
{
	expect_silence(self, MIG(STOP_COPY));
	expect_goes_on(self);
}

TEST_F(rig, mdma_no_dma_in_resuming, 30)
{
	expect_silence(self, MIG(RESUMING));
}

TEST_F(rig, mdma_dma_goes_on_in_pre_copy, 30)
{
	set_workload(self);
	SET(self, "run", "1");
	ASSERT_STR("0", error(mig_set(self->dev.device, MIG(PRE_COPY), NULL)));
	wait_for_writes(self, 50);
	SET(self, "run", "0");
}

/* A workload that is started in STOP begins when the device runs. */
TEST_F(rig, mdma_run_is_remembered_in_stop, 30)
{
	set_workload(self);
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	SET(self, "run", "1");
	usleep(50000);
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/seq"));
	expect_goes_on(self);
}

TEST_F(rig, mdma_stream_belongs_to_its_state, 20)
{
	int device = self->dev.device, fd;
	char byte;

	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), &fd));
	ASSERT_LE(0, fd);
	EXPECT_EQ(1, read(fd, &byte, 1));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	ASSERT_EQ(0, mig_set(device, MIG(STOP), NULL));
	EXPECT_EQ(-1, read(fd, &byte, 1));
	close(fd);
	ASSERT_EQ(0, mig_set(device, MIG(RESUMING), &fd));
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, read(fd, &byte, 1));
	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	close(fd);
	EXPECT_EQ(MIG(RUNNING), mig_get(device));
}

/* The fd may outlive the open device; the saved state does not. */
TEST_F(rig, mdma_stream_after_the_device_is_closed, 20)
{
	char byte;
	int fd;

	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP_COPY), &fd));
	rig_close(self);
	EXPECT_EQ(-1, read(fd, &byte, 1));
	close(fd);
}

TEST_F(rig, mdma_precopy_info, 20)
{
	int device = self->dev.device, fd;
	char *buf = malloc(STREAM_MAX);
	struct vfio_precopy_info info;
	long long n;

	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &fd));
	ASSERT_STR("0", error(mig_precopy_info(fd, &info)));
	EXPECT_LT(0, info.initial_bytes);
	EXPECT_EQ(info.initial_bytes, mig_read(fd, buf, info.initial_bytes));
	ASSERT_STR("0", error(mig_precopy_info(fd, &info)));
	EXPECT_EQ(0, info.initial_bytes);
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY_P2P), NULL));
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), NULL));
	EXPECT_STR("EINVAL", error(mig_precopy_info(fd, &info)));
	n = mig_read(fd, buf, STREAM_MAX);
	EXPECT_LT(0, n);
	EXPECT_LE(n, mig_data_size(device));
	close(fd);
}

/* What poll() says of a file that saves, without waiting. */
static int polled(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN | POLLRDHUP };

	return poll(&one, 1, 0) < 0 ? -errno : one.revents;
}

/* Who waits for the data of pre-copy hears of a reset; the next migration has a file of its own. */
TEST_F(rig, mdma_reset_ends_pre_copy, 20)
{
	int device = self->dev.device, old, fd;
	struct vfio_precopy_info info;
	char buf[16];

	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &old));
	EXPECT_EQ(POLLIN, polled(old));
	while (read(old, buf, sizeof(buf)) > 0)
		;
	EXPECT_EQ(0, polled(old));
	ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
	EXPECT_EQ(MIG(RUNNING), mig_get(device));
	EXPECT_EQ(POLLIN | POLLRDHUP, polled(old));
	EXPECT_STR("ENODEV", error(mig_precopy_info(old, &info)));
	EXPECT_STR("ENODEV", error(mig_read(old, buf, sizeof(buf))));
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &fd));
	EXPECT_STR("0", error(mig_precopy_info(fd, &info)));
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), NULL));
	EXPECT_EQ(POLLIN, polled(fd));
	EXPECT_EQ(sizeof(buf), mig_read(fd, buf, sizeof(buf)));
	EXPECT_STR("ENODEV", error(mig_precopy_info(old, &info)));
	close(fd);
	close(old);
}

/* Of the flags of the info, the device has none to say, and the user's are no answer. */
TEST_F(rig, mdma_precopy_info_flags_are_an_output, 20)
{
	struct vfio_precopy_info info[2] = { { 0 } };
	int fd;

	ASSERT_EQ(0, mig_set(self->dev.device, MIG(PRE_COPY), &fd));
	info->argsz = sizeof(info);
	info->flags = PRECOPY_INFO_JUNK;
	info->dirty_bytes = 5;
	EXPECT_EQ(0, ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, info));
	EXPECT_EQ(sizeof(info), info->argsz);
	EXPECT_EQ(0, info->flags);
	EXPECT_LT(0, info->initial_bytes);
	EXPECT_EQ(0, info->dirty_bytes);
	close(fd);
}

TEST_F(rig, mdma_precopy_info_bad_arguments, 20)
{
	struct vfio_precopy_info info = { .flags = 7 };
	unsigned int argsz;
	int fd;

	ASSERT_EQ(0, mig_set(self->dev.device, MIG(PRE_COPY), &fd));
	for (argsz = 0; argsz < sizeof(info); argsz++) {
		info.argsz = argsz;
		EXPECT_EQ(-1, ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, &info));
		EXPECT_STR("EINVAL", error(-errno));
	}
	EXPECT_EQ(7, info.flags);
	EXPECT_EQ(0, info.initial_bytes);
	EXPECT_EQ(-1, ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO, NULL));
	EXPECT_STR("EFAULT", error(-errno));
	EXPECT_EQ(-1, ioctl(fd, VFIO_MIG_GET_PRECOPY_INFO + 1, &info));
	EXPECT_STR("ENOTTY", error(-errno));
	close(fd);
}

/* As of Linux 7.1. By SET, a user says that it looks at the flags of the info. */
#ifndef VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2
#define VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2	12
#endif

#define FEATURE_PROBE	VFIO_DEVICE_FEATURE_PROBE
#define FEATURE_GET	VFIO_DEVICE_FEATURE_GET
#define FEATURE_SET	VFIO_DEVICE_FEATURE_SET
#define FEATURE_SIZE	sizeof(struct vfio_device_feature)

/* What the device says to it with these flags, and this argsz, in which data may be. */
static const char *precopy_v2(struct rig *r, __u32 flags, __u32 argsz)
{
	__u32 arg[8] = { argsz, flags, 1, 2, 3, 4, 5, 6 };

	arg[1] |= VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
	return error(ioctl(r->dev.device, VFIO_DEVICE_FEATURE, arg) ? -errno : 0);
}

/* vfio knows it for a device with PRE_COPY. In older kernels nobody does. */
static bool knows_precopy_v2(struct rig *r)
{
	const char *said = precopy_v2(r, FEATURE_PROBE | FEATURE_SET, FEATURE_SIZE);

	if (strcmp(said, "ENOTTY"))
		ASSERT_STR("0", said);
	return !strcmp(said, "0");
}

TEST_F(rig, mdma_precopy_v2_is_set, 20)
{
	const bool known = knows_precopy_v2(self);
	const char *good = known ? "0" : "ENOTTY", *bad = known ? "EINVAL" : "ENOTTY";

	/* It can be set again, and data are ignored. */
	EXPECT_STR(good, precopy_v2(self, FEATURE_SET, FEATURE_SIZE));
	EXPECT_STR(good, precopy_v2(self, FEATURE_SET, FEATURE_SIZE));
	EXPECT_STR(good, precopy_v2(self, FEATURE_SET, FEATURE_SIZE + 1));
	EXPECT_STR(good, precopy_v2(self, FEATURE_SET, FEATURE_SIZE + 24));
	EXPECT_STR(good, precopy_v2(self, FEATURE_PROBE, FEATURE_SIZE));
	EXPECT_STR(good, precopy_v2(self, FEATURE_PROBE | FEATURE_SET,
				    FEATURE_SIZE + 24));
	/* There is nothing to get. */
	EXPECT_STR(bad, precopy_v2(self, FEATURE_GET, FEATURE_SIZE));
	EXPECT_STR(bad, precopy_v2(self, FEATURE_PROBE | FEATURE_GET, FEATURE_SIZE));
	EXPECT_STR(bad, precopy_v2(self, FEATURE_PROBE | FEATURE_GET | FEATURE_SET,
				   FEATURE_SIZE));
	EXPECT_STR(bad, precopy_v2(self, 0, FEATURE_SIZE));
}

/* Whether or not the kernel knows it. */
TEST_F(rig, mdma_precopy_v2_bad_arguments, 20)
{
	__u32 argsz;

	for (argsz = 0; argsz < FEATURE_SIZE; argsz++) {
		EXPECT_STR("EINVAL", precopy_v2(self, FEATURE_SET, argsz));
		EXPECT_STR("EINVAL", precopy_v2(self, FEATURE_PROBE | FEATURE_SET,
						argsz));
	}
	EXPECT_STR("EINVAL", precopy_v2(self, FEATURE_GET | FEATURE_SET,
					FEATURE_SIZE));
	EXPECT_STR("EINVAL", precopy_v2(self, FEATURE_SET | (1 << 19),
					FEATURE_SIZE));
	EXPECT_EQ(-1, ioctl(self->dev.device, VFIO_DEVICE_FEATURE, NULL));
	EXPECT_STR("EFAULT", error(-errno));
}

/* Brings a device that runs to this state. Returns the data fd, or -1. */
static int reach(int device, int state)
{
	int fd = -1;

	if (state == MIG(ERROR)) {
		/* By a stream without an end. */
		ASSERT_EQ(0, mig_set(device, MIG(RESUMING), NULL));
		ASSERT_STR("EINVAL", error(mig_set(device, MIG(STOP), NULL)));
	} else {
		ASSERT_STR("0", error(mig_set(device, state, &fd)));
	}
	ASSERT_EQ(state, mig_get(device));
	return fd;
}

/* Only a device in pre-copy has the info. */
static void expect_info(int fd, int state)
{
	bool precopy = state == MIG(PRE_COPY) || state == MIG(PRE_COPY_P2P);
	struct vfio_precopy_info info;
	int ret = mig_precopy_info(fd, &info);

	EXPECT_STR(precopy ? "0" : state == MIG(STOP_COPY) ? "EINVAL" :
		   state == MIG(RESUMING) ? "ENOTTY" : "EBADF", error(ret));
	EXPECT_EQ(precopy ? 0 : PRECOPY_INFO_JUNK, info.flags);
}

TEST_F(rig, mdma_precopy_v2_in_each_state, 30)
{
	const char *good = knows_precopy_v2(self) ? "0" : "ENOTTY";
	int state, fd;

	for (state = MIG(ERROR); state < MIG(NR); state++) {
		fd = reach(self->dev.device, state);
		EXPECT_STR(good, precopy_v2(self, FEATURE_PROBE | FEATURE_SET,
					    FEATURE_SIZE));
		expect_info(fd, state);
		EXPECT_STR(good, precopy_v2(self, FEATURE_SET, FEATURE_SIZE));
		expect_info(fd, state);
		EXPECT_EQ(state, mig_get(self->dev.device));
		ASSERT_EQ(0, ioctl(self->dev.device, VFIO_DEVICE_RESET));
		if (fd >= 0)
			close(fd);
	}
}

/* A migration that is given up half way leaves a device that continues. */
TEST_F(rig, mdma_cancelled_migration, 30)
{
	int device = self->dev.device, fd;
	char buf[16];

	set_workload(self);
	SET(self, "run", "1");
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &fd));
	EXPECT_LT(0, read(fd, buf, sizeof(buf)));
	ASSERT_EQ(0, mig_set(device, MIG(RUNNING), NULL));
	close(fd);
	wait_for_writes(self, 50);
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), &fd));
	EXPECT_LT(0, read(fd, buf, sizeof(buf)));
	close(fd);
	expect_goes_on(self);
}

/* Gives the device a window of the guest. */
static void give_window(struct rig *r, __u64 first, __u64 npages)
{
	struct mdma_range *table = (void *)r->mem;

	table[0] = (struct mdma_range) { at(first), npages << PAGE_SHIFT };
	mdma_write64(&r->dev, MDMA_REG_WINDOW_TABLE, at(0));
	mdma_write32(&r->dev, MDMA_REG_WINDOW_RANGES, 1);
}

static void run_in_window_of_guest(struct rig *r)
{
	give_window(r, 16, 64);
	ASSERT_EQ(MDMA_STATUS_DONE,
		  mdma_read32(&r->dev, MDMA_REG_WINDOW_STATUS));
	SET(r, "run", "1");
	wait_for_writes(r, 50);
	ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING_P2P), NULL));
	memset(r->mem + PAGE_SIZE, 0, (RIG_PAGES - 1) << PAGE_SHIFT);
}

static void expect_untouched(struct rig *r, __u64 first, __u64 end)
{
	__u64 page;

	for (page = first; page < end; page++)
		if (stamp_at(r, at(page))->magic)
			FAIL("page %llu was written", page);
}

/* The ledger has what was written before a stream came, and no number comes twice. */
TEST_F(rig, mdma_numbers_of_writes_never_go_back, 30)
{
	static char stream[STREAM_MAX];
	long long size, seq;

	size = mig_save(self->dev.device, stream, sizeof(stream));
	ASSERT_LT(0, size);
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	set_workload(self);
	SET(self, "run", "1");
	wait_for_writes(self, 50);
	SET(self, "run", "0");
	seq = mdma_get(&self->dev, "stats/seq");
	ASSERT_STR("0", error(mig_load(self->dev.device, stream, size, NULL)));
	EXPECT_EQ(seq, mdma_get(&self->dev, "stats/seq"));
}

/*
 * The guest takes its window back while the device is quiesced, and uses the memory
 * for something else: the device never writes that memory again.
 */
TEST_F(rig, mdma_window_taken_back_while_quiesced, 30)
{
	long long seq;
	char text[64];

	run_in_window_of_guest(self);
	seq = mdma_get(&self->dev, "stats/seq");
	mdma_write32(&self->dev, MDMA_REG_WINDOW_RANGES, 0);
	EXPECT_EQ(MDMA_STATUS_DONE,
		  mdma_read32(&self->dev, MDMA_REG_WINDOW_STATUS));
	ASSERT_EQ(0, mdma_get_text(&self->dev, "workload/window", text, 64));
	EXPECT_STR("", text);
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	usleep(100000);
	EXPECT_EQ(seq, mdma_get(&self->dev, "stats/seq"));
	expect_untouched(self, 1, RIG_PAGES);
	give_window(self, 200, 16);
	wait_for_writes(self, 50);
	SET(self, "run", "0");
}

/* The guest gives another window, which is used from the first descriptor on. */
TEST_F(rig, mdma_window_replaced_while_quiesced, 30)
{
	run_in_window_of_guest(self);
	give_window(self, 200, 16);
	EXPECT_EQ(MDMA_STATUS_NONE,
		  mdma_read32(&self->dev, MDMA_REG_WINDOW_STATUS));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(MDMA_STATUS_DONE,
		  mdma_read32(&self->dev, MDMA_REG_WINDOW_STATUS));
	wait_for_writes(self, 50);
	SET(self, "run", "0");
	expect_untouched(self, 1, 200);
	expect_untouched(self, 216, RIG_PAGES);
}

/* A read of no bytes returns 0, and does not end the data. */
TEST_F(rig, mdma_read_of_no_bytes, 20)
{
	char buf[256];
	int fd;

	ASSERT_EQ(0, mig_set(self->dev.device, MIG(PRE_COPY), &fd));
	EXPECT_EQ(0, read(fd, buf, 0));
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	EXPECT_STR("ENOMSG", error(-errno));
	EXPECT_EQ(0, read(fd, buf, 0));
	close(fd);
}

TEST_MAIN(mdev_remove_leftovers)
