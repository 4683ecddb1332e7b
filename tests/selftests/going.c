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

/* How long the device pins nothing where memory was unmapped (MDMA_GOING_MS). */
#define CLOSED_MS	20

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

/* Unmaps a page below, or the one above of the same pair. */
static int unmap_low(struct going *g, int pair)
{
	return dma_unmap(g->rig.container, pair << 13, PAGE_SIZE, NULL);
}

static int unmap_high(struct going *g, int pair)
{
	return dma_unmap(g->rig.container, at(HIGH + 2 * pair), PAGE_SIZE, NULL);
}

/* A descriptor that works in the middle. */
static void run_between(struct going *g)
{
	const struct mdma_desc fill = {
		.op = MDMA_OP_FILL, .dst = at(500), .len = 3 * PAGE_SIZE,
		.data = ~0ULL,
	};

	ASSERT_EQ(MDMA_STATUS_DONE, ring_run(&g->ring, &fill));
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

	for (i = 0; i < PAIRS && !ret; i++)
		ret = wait_for_another(g) ?: unmap_low(g, i) ?:
		      wait_for_another(g) ?: unmap_high(g, i);
	return ret;
}

TEST_F(going, mdma_unmaps_elsewhere_close_nothing, 60)
{
	struct job job;

	job_start(&job, call_unmap, self);
	do {
		run_between(self);
		__atomic_fetch_add(&self->descriptors, 1, __ATOMIC_RELEASE);
	} while (!job_done(&job, 0));
	printf("# %d descriptors\n", self->descriptors);
	EXPECT_STR("0", error(job_join(&job)));
	EXPECT_EQ(MDMA_STATUS_NONE, ring_reg(&self->ring, MDMA_CHAN_STATUS));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
}

/*
 * If what lies between two ranges were closed as well, each descriptor that follows two
 * unmaps in a row would take at least as long as they stay closed. Otherwise it takes as
 * long as any other.
 */
TEST_F(going, mdma_unmaps_elsewhere_delay_nothing, 60)
{
	int alone = 0, quick = 0, pairs = 0, i;
	double begin, middle, end;

	for (i = 0; i < PAIRS; i++) {
		begin = now_ms();
		run_between(self);
		alone += now_ms() < begin + CLOSED_MS;
	}
	for (i = 0; i < PAIRS; i++) {
		begin = now_ms();
		ASSERT_EQ(0, unmap_low(self, i));
		middle = now_ms();
		ASSERT_EQ(0, unmap_high(self, i));
		end = now_ms();
		run_between(self);
		/* Was the first range closed still when the second one came? */
		if (end < begin + CLOSED_MS) {
			pairs++;
			quick += now_ms() < middle + CLOSED_MS;
		}
	}
	printf("# quick: %d of %d alone, %d of %d after unmaps\n", alone, PAIRS,
	       quick, pairs);
	if (alone < PAIRS / 2 || pairs < PAIRS / 2)
		NO_CHANCE("a descriptor, or two unmaps, take %d ms here", CLOSED_MS);
	else
		EXPECT_LE(pairs / 10, quick);
}

TEST_MAIN(mdev_remove_leftovers)
