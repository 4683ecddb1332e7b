// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs that stay pinned: many of them, as a hostile stream brings them, cost no
 * more than their number, and an unmap gives back exactly those that it touches.
 */
#include "fixture.h"
#include "migration.h"

/* Mappings side by side: of what is held, an unmap takes back its own, no more. */
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
