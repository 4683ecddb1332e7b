// SPDX-License-Identifier: GPL-2.0-only
/* The interrupt line: asserted, masked, unmasked, moved. */
#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "fixture.h"
#include "irq.h"
#include "migration.h"
#include "preempt.h"
#include "ring.h"
#include "stall.h"

#define MSIX		0x40
#define CHANNEL		1
#define SETS		1000

#define TRIGGER		VFIO_IRQ_SET_ACTION_TRIGGER
#define MASK		VFIO_IRQ_SET_ACTION_MASK
#define UNMASK		VFIO_IRQ_SET_ACTION_UNMASK

FIXTURE(line) {
	struct rig rig;
	struct ring ring;
	int fd;
};

static void line_open(struct line *l, const char *type, unsigned int channel)
{
	ASSERT_STR("0", error(rig_open(&l->rig, type, RIG_PAGES)));
	ring_enable(&l->ring, &l->rig, channel, 8);
	l->fd = irq_set(&l->rig.dev, VFIO_PCI_INTX_IRQ_INDEX, 0);
	ASSERT_LE(0, l->fd);
}

static void line_close(struct line *l)
{
	rig_close(&l->rig);
	close(l->fd);
}

FIXTURE_SETUP(line)
{
	line_open(self, "mdma-4", CHANNEL);
}

FIXTURE_TEARDOWN(line)
{
	line_close(self);
	EXPECT_LOCKED(0);
}

/* Makes the channel's interrupt pending. */
static void raise_irq(struct line *l)
{
	const struct mdma_desc desc = {
		.op = MDMA_OP_NOP, .flags = MDMA_DESC_IRQ,
	};

	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&l->ring, &desc));
	/* The interrupt comes after HEAD. */
	EXPECT_EQ(1, WAIT_FOR(ring_reg(&l->ring, MDMA_CHAN_IRQ) == 1));
}

static void clear_irq(struct line *l)
{
	ring_set_reg(&l->ring, MDMA_CHAN_IRQ, 1);
}

static int command(struct line *l, unsigned int action)
{
	return irq_command(&l->rig.dev, VFIO_IRQ_SET_DATA_NONE | action,
			   VFIO_PCI_INTX_IRQ_INDEX, 0, 1);
}

static int with_eventfd(struct line *l, unsigned int action, int fd)
{
	return irq_command(&l->rig.dev, VFIO_IRQ_SET_DATA_EVENTFD | action,
			   VFIO_PCI_INTX_IRQ_INDEX, 0, fd);
}

static int with_bool(struct line *l, unsigned int action, int value)
{
	return irq_command(&l->rig.dev, VFIO_IRQ_SET_DATA_BOOL | action,
			   VFIO_PCI_INTX_IRQ_INDEX, 0, value);
}

static bool status_bit(struct line *l)
{
	__u16 status = 0;

	ASSERT_EQ(0, mdma_config_read(&l->rig.dev, PCI_STATUS, &status, 2));
	return status & PCI_STATUS_INTERRUPT;
}

/* Signalled once; again only if the line is still asserted when it is unmasked. */
TEST_F(line, mdma_intx_masks_itself, 20)
{
	EXPECT_EQ(false, status_bit(self));
	raise_irq(self);
	EXPECT_EQ(true, status_bit(self));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	raise_irq(self);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	clear_irq(self);
	EXPECT_EQ(false, status_bit(self));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
}

TEST_F(line, mdma_intx_masked_by_the_user, 20)
{
	ASSERT_STR("0", error(command(self, MASK)));
	raise_irq(self);
	EXPECT_EQ(true, status_bit(self));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	EXPECT_STR("ENOTTY", error(with_eventfd(self, MASK, self->fd)));
}

/* Like KVM's irqfd: the guest's end of interrupt is an eventfd. */
TEST_F(line, mdma_intx_unmasked_by_an_eventfd, 20)
{
	int resample = eventfd(0, EFD_NONBLOCK), other = eventfd(0, 0);
	int i;

	ASSERT_STR("0", error(with_eventfd(self, UNMASK, resample)));
	EXPECT_STR("EBUSY", error(with_eventfd(self, UNMASK, other)));
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, eventfd_write(resample, 1));
		EXPECT_EQ(1, irq_count(self->fd, 3000));
	}
	clear_irq(self);
	ASSERT_EQ(0, eventfd_write(resample, 1));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ASSERT_STR("0", error(with_eventfd(self, UNMASK, -1)));
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	ASSERT_EQ(0, eventfd_write(resample, 1));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	close(resample);
	close(other);
}

/* One eventfd that signals the line and unmasks it: a storm, but nothing worse. */
TEST_F(line, mdma_intx_that_unmasks_itself, 20)
{
	int i;

	ASSERT_STR("0", error(with_eventfd(self, UNMASK, self->fd)));
	raise_irq(self);
	for (i = 0; i < 50; i++)
		EXPECT_LE(0, irq_count(self->fd, 1));
	clear_irq(self);
	ASSERT_STR("0", error(with_eventfd(self, UNMASK, -1)));
}

/* Checks that Interrupt Disable or MSI-X Enable keeps the line from being asserted. */
static void expect_gated(struct line *l, int offset, __u16 on)
{
	__u16 old = 0, with;

	ASSERT_EQ(0, mdma_config_read(&l->rig.dev, offset, &old, 2));
	with = old | on;
	ASSERT_EQ(0, mdma_config_write(&l->rig.dev, offset, &with, 2));
	raise_irq(l);
	EXPECT_EQ(true, status_bit(l));
	EXPECT_EQ(0, irq_count(l->fd, NOBODY_WAITS));
	ASSERT_EQ(0, mdma_config_write(&l->rig.dev, offset, &old, 2));
	EXPECT_EQ(1, irq_count(l->fd, 3000));
	clear_irq(l);
	ASSERT_STR("0", error(command(l, UNMASK)));
}

TEST_F(line, mdma_intx_disabled_in_config_space, 20)
{
	expect_gated(self, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
	expect_gated(self, MSIX + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

/* All channels share the line: it is asserted until no channel has an interrupt pending. */
TEST_F(line, mdma_intx_of_two_channels, 20)
{
	const struct mdma_desc desc = { .op = 99 };
	struct ring other;

	ring_enable(&other, &self->rig, 3, 8);
	raise_irq(self);
	EXPECT_EQ(MDMA_STATUS_BAD_OP, ring_run(&other, &desc));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	clear_irq(self);
	EXPECT_EQ(true, status_bit(self));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	/* A channel without MDMA_CTRL_IRQ does not assert the line. */
	ring_set_reg(&other, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE);
	EXPECT_EQ(false, status_bit(self));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ring_set_reg(&other, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
}

/* Without an eventfd, nothing is masked. An eventfd that comes later is signalled. */
TEST_F(line, mdma_intx_without_a_user, 20)
{
	struct mdma *m = &self->rig.dev;

	ASSERT_STR("0", error(command(self, TRIGGER)));
	EXPECT_EQ(1, irq_count(self->fd, 0));
	ASSERT_STR("0", error(irq_command(m, VFIO_IRQ_SET_DATA_NONE | TRIGGER,
					  VFIO_PCI_INTX_IRQ_INDEX, 0, 0)));
	EXPECT_STR("EINVAL", error(command(self, TRIGGER)));
	EXPECT_STR("EINVAL", error(command(self, MASK)));
	EXPECT_STR("EINVAL", error(command(self, UNMASK)));
	raise_irq(self);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	EXPECT_STR("EBADF", error(with_eventfd(self, TRIGGER, 12345)));
	ASSERT_STR("0", error(with_eventfd(self, TRIGGER, self->fd)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
}

TEST_F(line, mdma_intx_ends_with_a_reset, 20)
{
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	ASSERT_STR("0", error(mdma_reset(&self->rig.dev)));
	EXPECT_EQ(false, status_bit(self));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
}

/* A line that is asserted and masked at the source is signalled at the destination. */
TEST_F(line, mdma_intx_moves, 30)
{
	static char stream[1 << 17];
	struct line target = { .ring = self->ring };
	long long size;

	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	size = mig_save(self->rig.dev.device, stream, sizeof(stream));
	ASSERT_LT(0, size);
	ASSERT_STR("0", error(rig_open(&target.rig, "mdma-4", RIG_PAGES)));
	target.ring.rig = &target.rig;
	target.fd = irq_set(&target.rig.dev, VFIO_PCI_INTX_IRQ_INDEX, 0);
	ASSERT_EQ(0, mig_load(target.rig.dev.device, stream, size, NULL));
	EXPECT_EQ(true, status_bit(&target));
	EXPECT_EQ(0, irq_count(target.fd, NOBODY_WAITS));
	ASSERT_EQ(0, mig_set(target.rig.dev.device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, irq_count(target.fd, 3000));
	clear_irq(&target);
	ASSERT_STR("0", error(command(&target, UNMASK)));
	EXPECT_EQ(0, irq_count(target.fd, NOBODY_WAITS));
	rig_close(&target.rig);
	close(target.fd);
}

/* More or less than one action: the same answers as vfio-pci. */
TEST_F(line, mdma_intx_of_no_or_two_actions, 20)
{
	static const unsigned int wrong[] = {
		0, MASK | UNMASK, TRIGGER | MASK, TRIGGER | UNMASK,
		TRIGGER | MASK | UNMASK,
	};
	unsigned int i;

	ASSERT_STR("0", error(command(self, MASK)));
	raise_irq(self);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_STR("ENOTTY", error(command(self, wrong[i])));
		EXPECT_STR("ENOTTY", error(with_bool(self, wrong[i], 1)));
		EXPECT_STR("ENOTTY", error(with_bool(self, wrong[i], 0)));
		EXPECT_STR("ENOTTY",
			   error(with_eventfd(self, wrong[i], self->fd)));
		EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	}
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
}

/* --- who waits for whom ---------------------------------------------------- */

#define SLOW_PAGES	16

static int write_command(void *arg)
{
	const __u16 command = PCI_COMMAND_MEMORY;
	struct line *l = arg;

	return mdma_config_write(&l->rig.dev, PCI_COMMAND, &command, 2);
}

/*
 * The thread of channel 0 waits for its user's memory, and an eventfd unmasks. Returns
 * that.
 */
static int stall_channel_0(struct line *l, struct stall *stall)
{
	__u64 size = SLOW_PAGES << PAGE_SHIFT;
	int resample = eventfd(0, EFD_NONBLOCK);
	struct rig *r = &l->rig;

	ASSERT_STR("0", error(stall_open(stall, size)));
	ASSERT_EQ(0, dma_map(r->container, stall->mem, at(RIG_PAGES), size, MAP_RW));
	ASSERT_STR("0", error(with_eventfd(l, UNMASK, resample)));
	set_window(r, RIG_PAGES, RIG_PAGES + SLOW_PAGES);
	SET(r, "access", "rw");
	SET(r, "run", "1");
	ASSERT_LE(0, stall_wait(stall, 10000));
	return resample;
}

/* A channel whose thread waits for memory keeps no other one's interrupt. */
TEST_F(line, mdma_intx_unmasked_beside_a_stalled_channel, 60)
{
	struct stall stall;
	int resample = stall_channel_0(self, &stall);

	/* An interrupt without DMA: on the kernel's own type1, a pin would wait as well. */
	ring_set_reg(&self->ring, MDMA_CHAN_CTRL, 0);
	ring_set_reg(&self->ring, MDMA_CHAN_RING_SIZE, 0);
	ring_set_reg(&self->ring, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	ASSERT_EQ(0, eventfd_write(resample, 1));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	stall_release(&stall);
	close(resample);
}

static int close_device(void *arg)
{
	mdma_close(arg);
	return 0;
}

/*
 * The device waits for its user's memory, somebody waits for the device, and the line
 * is unmasked by an eventfd, which goes. vfio has one thread for all of its users to
 * clean up after eventfds, and the close of any device waits for that.
 */
TEST_F(line, mdma_unmask_that_stalls_stalls_nobody_else, 60)
{
	struct job writer, closer;
	struct stall stall;
	struct rig other;
	int resample;

	ASSERT_STR("0", error(rig_open(&other, "mdma-1", RIG_PAGES)));
	resample = stall_channel_0(self, &stall);
	job_start(&writer, write_command, self);
	job_settle(&writer);
	EXPECT_EQ(false, job_done(&writer, 0));
	ASSERT_EQ(0, eventfd_write(resample, 1));
	close(resample);
	job_start(&closer, close_device, &other.dev);
	EXPECT_EQ(true, job_ends(&closer));
	stall_release(&stall);
	EXPECT_EQ(0, job_join(&writer));
	job_join(&closer);
	rig_close(&other);
}

/*
 * The only thread that could unmask the line waits for memory, so what the eventfd asks
 * for is not done yet. Masking the line comes later, and lasts.
 */
TEST_F(line, mdma_mask_outlasts_an_earlier_eventfd, 60)
{
	struct stall stall;
	int resample;

	line_close(self);
	line_open(self, "mdma-1", 0);
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	resample = stall_channel_0(self, &stall);
	ASSERT_EQ(0, eventfd_write(resample, 1));
	ASSERT_STR("0", error(command(self, MASK)));
	stall_release(&stall);
	wait_for_writes(&self->rig, SLOW_PAGES);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ASSERT_STR("0", error(command(self, UNMASK)));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	close(resample);
}

struct setters {
	struct line *line;
	int fd, done;
};

static int set_and_unset_unmask(void *arg)
{
	struct setters *s = arg;
	int ret = 0;

	preempt_on_cpu_0(SCHED_IDLE);
	while (!__atomic_load_n(&s->done, __ATOMIC_RELAXED) && !ret)
		ret = with_eventfd(s->line, UNMASK, s->fd) ?:
		      with_eventfd(s->line, UNMASK, -1);
	return ret;
}

static int unset_unmask_often(void *arg)
{
	struct setters *s = arg;
	int ret = 0, i;

	preempt_on_cpu_0(SCHED_OTHER);
	for (i = 0; i < SETS && !ret; i++) {
		usleep(1 + i % 97);
		ret = with_eventfd(s->line, UNMASK, -1);
	}
	return ret;
}

/*
 * The place is between two calls of vfio's, which can't be stalled: make it long. The
 * lab's small kernels have no function tracer.
 */
#define SLOW_POLLS	"/sys/kernel/tracing/instances/intx-selftest"

static void slow_down_polls(void)
{
	int ret;

	rmdir(SLOW_POLLS);
	ASSERT_EQ(0, mkdir(SLOW_POLLS, 0700));
	ret = file_write(SLOW_POLLS "/set_ftrace_filter",
			 "eventfd_poll:stacktrace");
	if (ret == -ENOENT)
		printf("# no function tracer: the two meet less often\n");
	else
		ASSERT_EQ(0, ret);
}

/*
 * One thread sets the eventfd that unmasks again and again, and another one, which wakes
 * up at any place of this, takes it away. vfio knows of the eventfd before it is
 * complete, so it must not be taken away in between.
 */
TEST_F(line, mdma_unmask_is_set_and_unset_at_once, 60)
{
	struct setters setters = { .line = self, .fd = eventfd(0, EFD_NONBLOCK) };
	char model[PREEMPT_NAME];
	struct job set, unset;

	slow_down_polls();
	preempt_full(model);
	job_start(&set, set_and_unset_unmask, &setters);
	job_start(&unset, unset_unmask_often, &setters);
	EXPECT_STR("0", error(job_join(&unset)));
	__atomic_store_n(&setters.done, 1, __ATOMIC_RELAXED);
	EXPECT_STR("0", error(job_join(&set)));
	preempt_restore(model);
	EXPECT_EQ(0, rmdir(SLOW_POLLS));
	/* It still works. */
	ASSERT_STR("0", error(with_eventfd(self, UNMASK, -1)));
	ASSERT_STR("0", error(with_eventfd(self, UNMASK, setters.fd)));
	raise_irq(self);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	ASSERT_EQ(0, eventfd_write(setters.fd, 1));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	close(setters.fd);
}

TEST_MAIN(mdev_remove_leftovers)
