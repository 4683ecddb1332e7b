// SPDX-License-Identifier: GPL-2.0-only
/* Masked vectors: the user takes an eventfd away and gives it back. */
#include <sys/eventfd.h>

#include "fixture.h"
#include "irq.h"
#include "migration.h"
#include "ring.h"

#define CHANNEL		1
#define OTHER		3
#define NONE		-1

FIXTURE(vector) {
	struct rig rig;
	struct ring ring;
	int fd;
};

FIXTURE_SETUP(vector)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
	ring_enable(&self->ring, &self->rig, CHANNEL, 8);
	self->fd = irq_set_vector(&self->rig.dev, CHANNEL);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(vector)
{
	rig_close(&self->rig);
	close(self->fd);
	EXPECT_LOCKED(0);
}

/* Sets the eventfd of the channel's vector, or NONE. */
static void set_eventfd(struct vector *v, int fd)
{
	ASSERT_STR("0", error(irq_command(&v->rig.dev,
					  VFIO_IRQ_SET_DATA_EVENTFD |
					  VFIO_IRQ_SET_ACTION_TRIGGER,
					  VFIO_PCI_MSIX_IRQ_INDEX, CHANNEL,
					  fd)));
}

static void raise_irq(struct ring *ring)
{
	const struct mdma_desc desc = {
		.op = MDMA_OP_NOP, .flags = MDMA_DESC_IRQ,
	};

	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(ring, &desc));
	/* The interrupt comes after HEAD. */
	EXPECT_EQ(1, WAIT_FOR(ring_reg(ring, MDMA_CHAN_IRQ) == 1));
}

/* Pending while masked, and signalled as soon as there is an eventfd. */
TEST_F(vector, mdma_msix_masked_and_unmasked, 20)
{
	int i;

	for (i = 0; i < 10; i++) {
		set_eventfd(self, NONE);
		raise_irq(&self->ring);
		raise_irq(&self->ring);
		EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
		set_eventfd(self, self->fd);
		EXPECT_EQ(1, irq_count(self->fd, 3000));
		ring_set_reg(&self->ring, MDMA_CHAN_IRQ, 1);
	}
}

/* An interrupt that the guest has cleared, or has disabled, is not signalled. */
TEST_F(vector, mdma_msix_unmasked_with_nothing_pending, 20)
{
	set_eventfd(self, NONE);
	raise_irq(&self->ring);
	ring_set_reg(&self->ring, MDMA_CHAN_IRQ, 1);
	set_eventfd(self, self->fd);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));

	set_eventfd(self, NONE);
	raise_irq(&self->ring);
	ring_set_reg(&self->ring, MDMA_CHAN_CTRL, MDMA_CTRL_ENABLE);
	set_eventfd(self, self->fd);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
}

/* A replaced eventfd: no interrupt is lost, and none is signalled. */
TEST_F(vector, mdma_msix_of_another_eventfd, 20)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	raise_irq(&self->ring);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	set_eventfd(self, fd);
	EXPECT_EQ(0, irq_count(fd, NOBODY_WAITS));
	EXPECT_EQ(0, irq_count(self->fd, 0));
	raise_irq(&self->ring);
	EXPECT_EQ(1, irq_count(fd, 3000));
	EXPECT_EQ(0, irq_count(self->fd, 0));
	close(fd);
}

/* A masked vector does not keep another one from being signalled. */
TEST_F(vector, mdma_msix_of_two_channels, 20)
{
	int fd = irq_set_vector(&self->rig.dev, OTHER);
	struct ring ring;

	/* Both rings are in the same memory, so use one after the other. */
	set_eventfd(self, NONE);
	raise_irq(&self->ring);
	ring_enable(&ring, &self->rig, OTHER, 8);
	raise_irq(&ring);
	EXPECT_EQ(1, irq_count(fd, 3000));
	set_eventfd(self, self->fd);
	EXPECT_EQ(1, irq_count(self->fd, 3000));
	EXPECT_EQ(0, irq_count(fd, NOBODY_WAITS));
	close(fd);
}

/* A device that does not run signals when it runs, and only once. */
TEST_F(vector, mdma_msix_unmasked_while_stopped, 20)
{
	int device = self->rig.dev.device;

	set_eventfd(self, NONE);
	raise_irq(&self->ring);
	ASSERT_EQ(0, mig_set(device, MIG(STOP), NULL));
	set_eventfd(self, self->fd);
	EXPECT_EQ(0, irq_count(self->fd, NOBODY_WAITS));
	ASSERT_EQ(0, mig_set(device, MIG(RUNNING), NULL));
	EXPECT_EQ(1, irq_count(self->fd, 3000));
}

TEST_MAIN(mdev_remove_leftovers)
