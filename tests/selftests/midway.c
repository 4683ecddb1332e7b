// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel that is stopped within a descriptor continues there, at the source or at
 * the destination: nothing is left out, and nothing is done twice. Also interrupts
 * that are pending, masked or not.
 */
#include <sys/ioctl.h>

#include "fixture.h"
#include "irq.h"
#include "migration.h"
#include "ring.h"
#include "stall.h"

#define STREAM_MAX	0x10000

/* A descriptor of the maximum size at BIG, which waits after STALLED pages. */
#define BIG		256
#define BIG_PAGES	512
#define STALLED		192
#define DATA		0x1122334455667788ULL

FIXTURE(midway) {
	struct rig rig;
	struct ring ring;
	unsigned char *big;
};

FIXTURE_SETUP(midway)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-4", BIG + BIG_PAGES)));
	self->big = r->mem + (BIG << PAGE_SHIFT);
	ring_enable(&self->ring, r, 1, 8);
}

FIXTURE_TEARDOWN(midway)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Brings the device to STOP while it is within this descriptor. */
static void stop_within(struct midway *m, const struct mdma_desc *desc)
{
	struct mdma_desc *put = ring_put(&m->ring, desc);

	ASSERT_STR("0", error(mdma_set_stall(&m->rig.dev,
					     (STALLED - 1) << PAGE_SHIFT)));
	ring_doorbell(&m->ring);
	EXPECT_EQ(true,
		  WAIT_FOR(mdma_get(&m->rig.dev, "stats/pages_written") +
			   mdma_get(&m->rig.dev, "stats/pages_read") >=
			   STALLED));
	ASSERT_STR("0", error(mig_set(m->rig.dev.device, MIG(STOP), NULL)));
	ASSERT_STR("0", error(mdma_set_stall(&m->rig.dev, 0)));
	EXPECT_EQ(0, put->status);
	EXPECT_EQ(0, ring_reg(&m->ring, MDMA_CHAN_HEAD));
}

static const struct mdma_desc fill = {
	.op = MDMA_OP_FILL, .dst = RIG_IOVA + (BIG << PAGE_SHIFT) + 3,
	.len = (BIG_PAGES << PAGE_SHIFT) - 5, .data = DATA,
};

/* The FILL is complete and wrote each page once, by one ledger or by two. */
static void expect_filled(const unsigned char *mem)
{
	__u64 i;

	for (i = 0; i < fill.len; i++)
		if (mem[3 + i] != (unsigned char)(DATA >> i % 8 * 8))
			FAIL("byte %llu: %02x", i, mem[3 + i]);
	EXPECT_EQ(0, mem[2]);
	EXPECT_EQ(0, mem[3 + fill.len]);
}

/* Adds the page writes of the big range to these counters. */
static void count_writes(struct rig *r, int *writes)
{
	struct mdma_ledger_record *rec;
	long long n = mdma_ledger(&r->dev, &rec), i;

	for (i = 0; i < n; i++)
		if (rec[i].iova >= at(BIG))
			writes[(rec[i].iova - at(BIG)) >> PAGE_SHIFT] +=
				rec[i].writes;
	free(rec);
}

static void expect_each_once(const int *writes)
{
	int i;

	for (i = 0; i < BIG_PAGES; i++)
		if (writes[i] != 1)
			FAIL("page %d was written %d times", i, writes[i]);
}

TEST_F(midway, mdma_stopped_within_a_descriptor, 60)
{
	int writes[BIG_PAGES] = { 0 };

	stop_within(self, &fill);
	EXPECT_NE(0, self->big[(STALLED - 1) << PAGE_SHIFT]);
	EXPECT_EQ(0, self->big[STALLED << PAGE_SHIFT]);
	EXPECT_LOCKED(0);
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, ring_wait(&self->ring));
	EXPECT_EQ(MDMA_STATUS_DONE, self->ring.desc[0].status);
	expect_filled(self->big);
	count_writes(&self->rig, writes);
	expect_each_once(writes);
	EXPECT_EQ(1, mdma_get(&self->rig.dev, "stats/descriptors"));
}

/* Makes the destination, in STOP, with a copy of all memory. */
static void move_to(struct midway *m, struct rig *target, struct ring *ring)
{
	char *buf = malloc(STREAM_MAX);
	long long n = mig_save(m->rig.dev.device, buf, STREAM_MAX);

	ASSERT_LT(0, n);
	ASSERT_STR("0", error(rig_open(target, "mdma-4", m->rig.pages)));
	memcpy(target->mem, m->rig.mem, m->rig.pages << PAGE_SHIFT);
	ASSERT_STR("0", error(mig_load(target->dev.device, buf, n, NULL)));
	*ring = m->ring;
	ring->rig = target;
	ring->desc = (void *)(target->mem + PAGE_SIZE);
	free(buf);
}

TEST_F(midway, mdma_moved_within_a_fill, 60)
{
	int writes[BIG_PAGES] = { 0 };
	struct rig target;
	struct ring ring;

	stop_within(self, &fill);
	move_to(self, &target, &ring);
	/* The guest can't change a descriptor that has begun. */
	ring.desc[0].data = 0;
	ring.desc[0].len = 1;
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, ring_wait(&ring));
	EXPECT_EQ(MDMA_STATUS_DONE, ring.desc[0].status);
	expect_filled(target.mem + (BIG << PAGE_SHIFT));
	count_writes(&self->rig, writes);
	count_writes(&target, writes);
	expect_each_once(writes);
	EXPECT_EQ(1, mdma_get(&target.dev, "stats/descriptors"));
	rig_close(&target);
}

TEST_F(midway, mdma_moved_within_a_read, 60)
{
	struct mdma_desc read = {
		.op = MDMA_OP_READ, .src = at(BIG),
		.len = BIG_PAGES << PAGE_SHIFT,
	};
	struct rig target;
	struct ring ring;
	__u32 whole;
	int page;

	for (page = 0; page < BIG_PAGES; page++)
		memset(self->big + (page << PAGE_SHIFT), page, PAGE_SIZE);
	stop_within(self, &read);
	move_to(self, &target, &ring);
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, ring_wait(&ring));
	EXPECT_EQ(MDMA_STATUS_DONE, ring.desc[0].status);
	whole = ring.desc[0].result;
	/* The same without an interruption. */
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &read));
	EXPECT_EQ(ring.desc[1].result, whole);
	rig_close(&target);
}

/* A ring that is disabled while its channel is stopped gives up its descriptor. */
TEST_F(midway, mdma_disabled_within_a_descriptor, 60)
{
	struct mdma_desc stamp = {
		.op = MDMA_OP_STAMP, .dst = at(100), .len = PAGE_SIZE,
	};
	int writes[BIG_PAGES] = { 0 };

	stop_within(self, &fill);
	ring_enable(&self->ring, &self->rig, 1, 8);
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&self->ring, &stamp));
	EXPECT_EQ(1, ring_reg(&self->ring, MDMA_CHAN_HEAD));
	count_writes(&self->rig, writes);
	EXPECT_EQ(1, writes[0]);
	EXPECT_EQ(0, writes[BIG_PAGES - 1]);
}

static void expect_signal(int fd, __u64 wanted)
{
	__u64 count = irq_count(fd, wanted ? 5000 : NOBODY_WAITS);

	if (!count != !wanted)
		FAIL("%llu signals, not %llu", (long long)count,
		     (long long)wanted);
}

/* Interrupts that are pending, masked or not, move to the destination. */
TEST_F(midway, mdma_moved_interrupts, 60)
{
	static const struct mdma_desc nop = {
		.op = MDMA_OP_NOP, .flags = MDMA_DESC_IRQ,
	};
	struct ring masked, ring;
	struct rig target;
	int open_fd, masked_fd;

	ring_enable(&masked, &self->rig, 2, 8);
	ring_set_reg(&masked, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&masked, &nop));
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&self->ring, &nop));
	move_to(self, &target, &ring);
	masked.rig = &target;
	open_fd = irq_set_vector(&target.dev, 1);
	masked_fd = irq_set_vector(&target.dev, 2);
	EXPECT_EQ(1, ring_reg(&masked, MDMA_CHAN_IRQ));
	EXPECT_EQ(1, ring_reg(&ring, MDMA_CHAN_IRQ));
	expect_signal(open_fd, 0);
	ASSERT_EQ(0, mig_set(target.dev.device, MIG(RUNNING), NULL));
	expect_signal(open_fd, 1);
	expect_signal(masked_fd, 0);
	ring_set_reg(&masked, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ);
	expect_signal(masked_fd, 1);
	rig_close(&target);
}

/* An interrupt in STOP is signalled when the device runs, here or elsewhere. */
TEST_F(midway, mdma_interrupt_of_a_stopped_device, 30)
{
	int fd = irq_set_vector(&self->rig.dev, 1);

	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(STOP), NULL));
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 1000);
	EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL,
		  ring_reg(&self->ring, MDMA_CHAN_STATUS));
	expect_signal(fd, 0);
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RUNNING), NULL));
	expect_signal(fd, 1);
}

static const struct mdma_desc stamp = {
	.op = MDMA_OP_STAMP, .dst = RIG_IOVA + (100 << PAGE_SHIFT),
	.len = PAGE_SIZE,
};

/* The guest takes the doorbell back, and queues something else instead. */
static void expect_given_up(struct rig *r, struct ring *ring)
{
	unsigned char *mem = r->mem + (BIG << PAGE_SHIFT);

	ASSERT_EQ(0, mig_set(r->dev.device, MIG(RUNNING), NULL));
	ring->tail = 0;
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(ring, &stamp));
	EXPECT_EQ(MDMA_STAMP_MAGIC, stamp_at(r, at(100))->magic);
	EXPECT_EQ(0, mem[(BIG_PAGES - 1) << PAGE_SHIFT]);
	EXPECT_EQ(1, ring_reg(ring, MDMA_CHAN_HEAD));
	EXPECT_EQ(MDMA_STATUS_NONE, ring_reg(ring, MDMA_CHAN_STATUS));
}

TEST_F(midway, mdma_doorbell_taken_back_within_a_descriptor, 60)
{
	stop_within(self, &fill);
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 0);
	expect_given_up(&self->rig, &self->ring);
}

TEST_F(midway, mdma_doorbell_taken_back_and_moved, 60)
{
	struct rig target;
	struct ring ring;

	stop_within(self, &fill);
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 0);
	move_to(self, &target, &ring);
	expect_given_up(&target, &ring);
	rig_close(&target);
}

/* Taken back and rung again: another descriptor, at the source and elsewhere. */
TEST_F(midway, mdma_doorbell_taken_back_and_rung_again, 60)
{
	stop_within(self, &fill);
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 0);
	self->ring.desc[0] = stamp;
	ring_set_reg(&self->ring, MDMA_CHAN_TAIL, 1);
	ASSERT_EQ(0, mig_set(self->rig.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, ring_wait(&self->ring));
	EXPECT_EQ(MDMA_STAMP_MAGIC, stamp_at(&self->rig, at(100))->magic);
	EXPECT_EQ(0, self->big[(BIG_PAGES - 1) << PAGE_SHIFT]);
}

static int call_take_back(void *arg)
{
	ring_set_reg(arg, MDMA_CHAN_TAIL, 0);
	return 0;
}

/* Taken back while the descriptor is executed: HEAD passes TAIL, and the ring halts. */
TEST_F(midway, mdma_doorbell_taken_back_too_late, 60)
{
	struct job job;

	ASSERT_STR("0", error(mdma_set_stall(&self->rig.dev,
					     (STALLED - 1) << PAGE_SHIFT)));
	ring_put(&self->ring, &fill);
	ring_doorbell(&self->ring);
	ASSERT_EQ(STALLED, wait_for_value(&self->rig, "stats/pages_written",
					  STALLED));
	job_start(&job, call_take_back, &self->ring);
	ASSERT_EQ(true, job_sleeps_in(&job, "mdma_channel_sync"));
	ASSERT_STR("0", error(mdma_set_stall(&self->rig.dev, 0)));
	job_join(&job);
	self->ring.tail = 1;
	EXPECT_EQ(1, ring_wait(&self->ring));
	EXPECT_EQ(MDMA_STATUS_DONE, self->ring.desc[0].status);
	EXPECT_EQ(MDMA_STATUS_BAD_DOORBELL,
		  ring_reg(&self->ring, MDMA_CHAN_STATUS));
	usleep(50000);
	EXPECT_EQ(1, ring_reg(&self->ring, MDMA_CHAN_HEAD));
}

TEST_MAIN(mdev_remove_leftovers)
