// SPDX-License-Identifier: GPL-2.0-only
/* The migration states: when there is DMA and when not, and what is moved. */
#include <sys/ioctl.h>

#include "fixture.h"
#include "migration.h"
#include "ring.h"

#define STREAM_MAX	0x10000

#define SET(rig, name, value) \
	ASSERT_STR("0", error(mdma_set(&(rig)->dev, "workload/" name, value)))

static void set_workload(struct rig *r)
{
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/window", "%llx-%llx",
				       at(16), at(RIG_PAGES) - 1)));
	SET(r, "pattern", "random");
	SET(r, "batch", "2");
	SET(r, "seed", "12345");
}

static void wait_for_writes(struct rig *r, long long more)
{
	long long seen = mdma_get(&r->dev, "stats/pages_written");
	double end = now_ms() + 10000;

	while (mdma_get(&r->dev, "stats/pages_written") < seen + more)
		if (now_ms() > end)
			FAIL("the workload does not run");
}

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
 * The device runs, comes to a state without DMA, and from then on memory does
 * not change, nothing is pinned by the workload, and nothing comes later.
 */
static void expect_silence(struct rig *r, int state)
{
	__u64 size = RIG_PAGES << PAGE_SHIFT, page;
	unsigned char *copy = memory(size, PROT_READ | PROT_WRITE);
	int device = r->dev.device;
	long long seq;

	set_workload(r);
	SET(r, "hold_ms", "3");
	SET(r, "run", "1");
	wait_for_writes(r, 100);
	START(r);
	ASSERT_STR("0", error(mig_set(device, state, NULL)));
	EXPECT_EQ(state, mig_get(device));
	memcpy(copy, r->mem, size);
	seq = mdma_get(&r->dev, "stats/seq");
	EXPECT_EQ(0, locked_pages());
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
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

TEST_F(rig, mdma_states_that_do_not_exist, 20)
{
	int device = self->dev.device;

	EXPECT_STR("EINVAL", error(mig_set(device, MIG(ERROR), NULL)));
	EXPECT_STR("EINVAL", error(mig_set(device, MIG(NR), NULL)));
	EXPECT_STR("EINVAL", error(mig_set(device, -1, NULL)));
	/* There is no way back from STOP_COPY to PRE_COPY. */
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), NULL));
	EXPECT_STR("EINVAL", error(mig_set(device, MIG(PRE_COPY), NULL)));
	EXPECT_STR("EINVAL", error(mig_set(device, MIG(PRE_COPY_P2P), NULL)));
	EXPECT_EQ(MIG(STOP_COPY), mig_get(device));
}

/* From each state to each other: there, or an error and no change. */
TEST_F(rig, mdma_every_pair_of_states, 60)
{
	static const int states[] = {
		MIG(STOP), MIG(RUNNING), MIG(STOP_COPY), MIG(RESUMING),
		MIG(RUNNING_P2P), MIG(PRE_COPY), MIG(PRE_COPY_P2P),
	};
	int device = self->dev.device, from, to, ret, seen;

	for (from = 0; from < 7; from++) {
		for (to = 0; to < 7; to++) {
			ASSERT_EQ(0, ioctl(device, VFIO_DEVICE_RESET));
			ASSERT_EQ(MIG(RUNNING), mig_get(device));
			ASSERT_EQ(0, mig_set(device, states[from], NULL));
			ret = mig_set(device, states[to], NULL);
			seen = mig_get(device);
			/* An unfinished stream does not go to STOP. */
			if (ret && states[from] == MIG(RESUMING))
				EXPECT_EQ(MIG(ERROR), seen);
			else if (ret)
				EXPECT_EQ(states[from], seen);
			else
				EXPECT_EQ(states[to], seen);
			if (states[from] == MIG(RUNNING))
				EXPECT_EQ(0, ret);
		}
	}
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

/* The fd outlives the device, which outlives nothing. */
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

/* Memory of the guest, as QEMU moves it. */
static void copy_memory(struct rig *to, struct rig *from)
{
	memcpy(to->mem, from->mem, RIG_PAGES << PAGE_SHIFT);
}

static void expect_same_stamps(struct rig *a, struct rig *b)
{
	struct mdma_stamp *s, *t;
	__u64 page;

	for (page = 0; page < RIG_PAGES; page++) {
		s = (void *)(a->mem + (page << PAGE_SHIFT));
		t = (void *)(b->mem + (page << PAGE_SHIFT));
		if (s->magic != t->magic || s->seq != t->seq ||
		    s->iova != t->iova || s->channel != t->channel)
			FAIL("page %llu: seq %llu and %llu", page,
			     (long long)s->seq, (long long)t->seq);
	}
}

/* Moved to a second device half way, or not: the same writes. */
static void moved_run(struct rig *source, const char *pattern)
{
	char *buf = malloc(STREAM_MAX);
	struct rig target, whole;
	long long n;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(rig_open(&whole, "mdma-1", RIG_PAGES)));
	set_workload(source);
	SET(source, "pattern", pattern);
	SET(source, "step", "201");
	n = mig_save(source->dev.device, buf, STREAM_MAX);
	ASSERT_LT(0, n);
	copy_memory(&target, source);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	ASSERT_STR("0", error(mig_set(target.dev.device, MIG(RUNNING), NULL)));
	SET(&target, "step", "99");

	set_workload(&whole);
	SET(&whole, "pattern", pattern);
	SET(&whole, "step", "300");
	expect_same_stamps(&whole, &target);
	EXPECT_EQ(mdma_get(&whole.dev, "stats/seq"),
		  mdma_get(&target.dev, "stats/seq"));
	rig_close(&target);
	rig_close(&whole);
	free(buf);
}

TEST_F(rig, mdma_moved_workload_goes_on_where_it_was, 40)
{
	moved_run(self, "random");
}

TEST_F(rig, mdma_moved_sequential_workload, 40)
{
	moved_run(self, "sequential");
}

TEST_F(rig, mdma_moved_ring_workload, 40)
{
	moved_run(self, "ring");
}

TEST_F(rig, mdma_moved_with_precopy, 40)
{
	int device = self->dev.device, fd;
	char *buf = malloc(STREAM_MAX);
	long long n;
	struct rig target;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	set_workload(self);
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY), &fd));
	n = read(fd, buf, 7);
	ASSERT_EQ(7, n);
	SET(self, "step", "50");
	ASSERT_EQ(0, mig_set(device, MIG(PRE_COPY_P2P), NULL));
	ASSERT_EQ(0, mig_set(device, MIG(STOP_COPY), NULL));
	n += mig_read(fd, buf + n, STREAM_MAX - n);
	ASSERT_LT(7, n);
	close(fd);
	copy_memory(&target, self);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	ASSERT_STR("0", error(mig_set(target.dev.device, MIG(RUNNING), NULL)));
	ASSERT_STR("0", error(mig_set(device, MIG(RUNNING), NULL)));
	SET(&target, "step", "50");
	SET(self, "step", "50");
	expect_same_stamps(self, &target);
	rig_close(&target);
}

/* A descriptor that was announced when the device had stopped is not lost. */
TEST_F(rig, mdma_moved_doorbell, 30)
{
	struct mdma_desc desc = {
		.op = MDMA_OP_STAMP, .dst = at(100), .len = PAGE_SIZE,
	};
	char *buf = malloc(STREAM_MAX);
	struct ring ring, moved;
	struct rig target;
	long long n;

	ASSERT_STR("0", error(rig_open(&target, "mdma-1", RIG_PAGES)));
	ring_enable(&ring, self, 0, 8);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &desc));
	ASSERT_EQ(0, mig_set(self->dev.device, MIG(STOP), NULL));
	desc.dst = at(101);
	ring_put(&ring, &desc);
	ring_doorbell(&ring);
	usleep(50000);
	EXPECT_EQ(1, ring_reg(&ring, MDMA_CHAN_HEAD));
	n = mig_save(self->dev.device, buf, STREAM_MAX);
	ASSERT_LT(0, n);
	copy_memory(&target, self);
	ASSERT_STR("0", error(mig_load(target.dev.device, buf, n, NULL)));
	moved = ring;
	moved.rig = &target;
	moved.desc = (void *)target.mem;
	EXPECT_EQ(2, ring_reg(&moved, MDMA_CHAN_TAIL));
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(2, ring_wait(&moved));
	EXPECT_EQ(MDMA_STATUS_DONE, moved.desc[1].status);
	EXPECT_EQ(0, ring.desc[1].status);
	EXPECT_EQ(2, ((struct mdma_stamp *)(target.mem + 101 * PAGE_SIZE))->seq
		     - ((struct mdma_stamp *)(self->mem + 100 * PAGE_SIZE))->seq);
	rig_close(&target);
}

/* A migration that is given up half way leaves a device that goes on. */
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

TEST_MAIN(mdev_remove_leftovers)
