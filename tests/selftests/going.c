// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory is unmapped again and again, and each time the device is asked to give back
 * its pins there. Elsewhere in memory, the device works undisturbed.
 */
#include <errno.h>

#include "fixture.h"
#include "ring.h"
#include "stall.h"

#define PAIRS	150
#define HIGH	0x100000	/* page */

FIXTURE(going) {
	struct rig rig;
	struct ring ring;
	void *mem;
	int descriptors;		/* that are done */
};

/* A pinned page in a mapping of its own below the rig, and another one above it. */
FIXTURE_SETUP(going)
{
	struct rig *r = &self->rig;
	int i;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", RIG_PAGES)));
	self->mem = memory(PAGE_SIZE, PROT_READ | PROT_WRITE);
	ring_enable(&self->ring, r, 0, 16);
	for (i = 0; i < PAIRS; i++) {
		ASSERT_EQ(0, dma_map(r->container, self->mem, i << 13,
				     PAGE_SIZE, MAP_RW));
		ASSERT_EQ(0, dma_map(r->container, self->mem, at(HIGH + 2 * i),
				     PAGE_SIZE, MAP_RW));
		ASSERT_EQ(0, mdma_pin(&r->dev, i << 13, 1, 'w'));
		ASSERT_EQ(0, mdma_pin(&r->dev, at(HIGH + 2 * i), 1, 'w'));
	}
}

FIXTURE_TEARDOWN(going)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Waits until the device has done another descriptor. */
static int wait_for_another(struct going *g)
{
	int seen = __atomic_load_n(&g->descriptors, __ATOMIC_ACQUIRE);

	return WAIT_FOR(__atomic_load_n(&g->descriptors, __ATOMIC_ACQUIRE) != seen) ?
	       0 : -ETIMEDOUT;
}

/* Unmaps a page below and a page above in turn. */
static int call_unmap(void *arg)
{
	struct going *g = arg;
	int i, ret = 0;

	for (i = 0; i < PAIRS && !ret; i++) {
		ret = wait_for_another(g) ?:
		      dma_unmap(g->rig.container, i << 13, PAGE_SIZE, NULL) ?:
		      wait_for_another(g) ?:
		      dma_unmap(g->rig.container, at(HIGH + 2 * i), PAGE_SIZE,
				NULL);
	}
	return ret;
}

TEST_F(going, mdma_unmaps_elsewhere_close_nothing, 60)
{
	const struct mdma_desc fill = {
		.op = MDMA_OP_FILL, .dst = at(500), .len = 3 * PAGE_SIZE,
		.data = ~0ULL,
	};
	struct job job;

	job_start(&job, call_unmap, self);
	do {
		ASSERT_EQ(MDMA_STATUS_DONE, ring_run(&self->ring, &fill));
		__atomic_fetch_add(&self->descriptors, 1, __ATOMIC_RELEASE);
	} while (!job_done(&job, 0));
	printf("# %d descriptors\n", self->descriptors);
	EXPECT_STR("0", error(job_join(&job)));
	EXPECT_EQ(MDMA_STATUS_NONE, ring_reg(&self->ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
}

TEST_MAIN(mdev_remove_leftovers)
