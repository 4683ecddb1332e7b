// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs that stay pinned: the cost of many of them, as in a hostile stream, is
 * proportional to their number, and an unmap gives back exactly the runs that it
 * touches.
 */
#include "fixture.h"
#include "migration.h"
#include "stream.h"

#define FEW		2048
#define MANY		65536

/* A stream of a device that holds this many runs, all of page 100. */
static long long make_stream(struct rig *r, char *stream, __u32 nr)
{
	struct mdma_stream_array *array;
	struct mdma_stream_held *held;
	__u32 length = sizeof(*array) + nr * sizeof(*held), i;
	long long size;

	size = mig_save(r->dev.device, stream, MDMA_STREAM_MAX);
	ASSERT_LT(0, size);
	array = calloc(1, length);
	*array = (struct mdma_stream_array) { nr, sizeof(*held) };
	held = (void *)(array + 1);
	/* The later a run comes in the stream, the sooner it expires. */
	for (i = 0; i < nr; i++)
		held[i] = (struct mdma_stream_held) {
			.iova = at(100), .npages = 1,
			.flags = MDMA_HELD_WRITE, .age_us = i * 1000ULL,
			.hold_ms = 600000,
		};
	size = stream_insert(stream, size, MDMA_RECORD_HELD, array, length,
			     MDMA_STREAM_MINOR);
	ASSERT_LT(0, size);
	free(array);
	return size;
}

/* Loads such a stream and runs the device. Returns the milliseconds until it runs. */
static double run_held(struct rig *r, __u32 nr)
{
	char *stream = malloc(MDMA_STREAM_MAX + 4096);
	long long size;
	double begin;

	ASSERT_EQ(0, mdma_reset(&r->dev));
	size = make_stream(r, stream, nr);
	ASSERT_EQ(0, mdma_reset(&r->dev));
	ASSERT_STR("0", error(mig_load(r->dev.device, stream, size, NULL)));
	begin = now_ms();
	ASSERT_STR("0", error(mig_set(r->dev.device, MIG(RUNNING), NULL)));
	begin = now_ms() - begin;
	EXPECT_EQ(nr, mdma_get(&r->dev, "stats/pinned"));
	free(stream);
	return begin;
}

/*
 * Maps, pins and unmaps a page elsewhere, again and again. Returns the milliseconds
 * of the quickest unmap.
 */
static double unmap_elsewhere(struct rig *r, const void *mem)
{
	const __u64 iova = at(2 * RIG_PAGES);
	double took, best = 1e9;
	int i;

	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, dma_map(r->container, (void *)mem, iova, PAGE_SIZE,
				     MAP_RW));
		ASSERT_EQ(0, mdma_pin(&r->dev, iova, 1, 'w'));
		took = now_ms();
		ASSERT_EQ(0, dma_unmap(r->container, iova, PAGE_SIZE, NULL));
		took = now_ms() - took;
		best = took < best ? took : best;
	}
	return best;
}

/* As many runs, a few at a time: a busy host slows them as much as all of them at once. */
static double run_held_in_parts(struct rig *r)
{
	double took = 0;
	int i;

	for (i = 0; i < MANY / FEW; i++)
		took += run_held(r, FEW);
	return took;
}

/* 32 times the runs cost 32 times the time and a logarithm, not the square. */
TEST_F(rig, mdma_many_held_runs_cost_their_number, 240)
{
	void *mem = memory(PAGE_SIZE, PROT_READ | PROT_WRITE);
	double parts, many, beside_few, beside_many;
	int again = 3;

	run_held(self, FEW);
	do {
		parts = run_held_in_parts(self);
		beside_few = unmap_elsewhere(self, mem);
		many = run_held(self, MANY);
		beside_many = unmap_elsewhere(self, mem);
	} while (again-- && many > 4 * parts);
	printf("# pinned again in %.0f ms, at once in %.0f ms; unmapped in %.2f ms, %.2f ms\n",
	       parts, many, beside_few, beside_many);
	if (many > 4 * parts)
		FAIL("%d runs, %d at a time: %.0f ms, at once: %.0f ms", MANY, FEW, parts, many);
	if (beside_many > 8 * beside_few)
		FAIL("an unmap beside %d runs: %.2f ms, %d: %.2f ms", FEW,
		     beside_few, MANY, beside_many);
	ASSERT_STR("0", error(dma_unmap(self->container, RIG_IOVA,
					RIG_PAGES << PAGE_SHIFT, NULL)));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

/* Adjacent mappings: an unmap takes back the held runs of its own mapping only. */
TEST_F(rig, mdma_unmap_gives_back_to_its_last_page, 30)
{
	const __u64 all = RIG_PAGES << PAGE_SHIFT;

	ASSERT_EQ(0, dma_unmap(self->container, RIG_IOVA, all, NULL));
	ASSERT_EQ(0, dma_map(self->container, self->mem, at(0),
			     128 << PAGE_SHIFT, MAP_RW));
	ASSERT_EQ(0, dma_map(self->container, self->mem + (128 << PAGE_SHIFT),
			     at(128), 128 << PAGE_SHIFT, MAP_RW));
	set_window(self, 127, 129);
	SET(self, "hold_ms", "600000");
	SET(self, "step", "2");
	EXPECT_EQ(2, mdma_get(&self->dev, "stats/pinned"));
	ASSERT_STR("0", error(dma_unmap(self->container, at(0),
					128 << PAGE_SHIFT, NULL)));
	EXPECT_EQ(1, mdma_get(&self->dev, "stats/pinned"));
	ASSERT_STR("0", error(dma_unmap(self->container, at(128),
					128 << PAGE_SHIFT, NULL)));
	EXPECT_EQ(0, mdma_get(&self->dev, "stats/pinned"));
	ASSERT_EQ(0, dma_map(self->container, self->mem, RIG_IOVA, all,
			     MAP_RW));
}

TEST_MAIN(mdev_remove_leftovers)
