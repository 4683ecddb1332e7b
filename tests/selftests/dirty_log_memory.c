// SPDX-License-Identifier: GPL-2.0-only
/* Who is charged for the log of device-side dirty tracking, and a log without memory. */
#include "dma_log.h"
#include "fixture.h"
#include "memcg.h"

#define LEAF_PAGES	512	/* pages of the log that share 64 bytes */
#define LEAVES		16384
#define BYTES		(LEAVES * 64LL)

/* Opens the device anew, with a log, from within the cgroup. */
static void reopen_in_memcg(struct rig *r)
{
	int ret;

	mdma_close(&r->dev);
	ret = mdma_set(&r->dev, "dirty_log/enabled", "1");
	if (ret == -EOPNOTSUPP)
		SKIP("vfio and mdma are not built with CONFIG_IOMMUFD_DRIVER");
	ASSERT_STR("0", error(ret));
	ENTER_MEMCG();
	ASSERT_EQ(0, mdma_attach(&r->dev, r->container));
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, mdma_open(&r->dev));
	ASSERT_STR("0", error(memcg_leave()));
}

/* Maps one page of each leaf, and writes these pages in turn. */
static void map_and_write_leaves(struct rig *r)
{
	__u64 npages = (__u64)LEAVES * LEAF_PAGES;
	char *mem = memory(npages << PAGE_SHIFT, PROT_READ | PROT_WRITE);

	madvise(mem, npages << PAGE_SHIFT, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, dma_map(r->container, mem, at(RIG_PAGES),
			     npages << PAGE_SHIFT, MAP_RW));
	set_window(r, RIG_PAGES, RIG_PAGES + npages);
	SET(r, "pattern", "stride");
	ASSERT_EQ(0, mdma_set(&r->dev, "workload/stride", "%d", LEAF_PAGES));
	SET(r, "batch", "1");
	ASSERT_EQ(0, mdma_set(&r->dev, "workload/step", "%d", LEAVES));
}

static void start_log(struct rig *r)
{
	struct vfio_device_feature_dma_logging_range range = {
		.iova = at(RIG_PAGES),
		.length = (__u64)LEAVES * LEAF_PAGES << PAGE_SHIFT,
	};
	__u64 page_size = PAGE_SIZE;

	ASSERT_STR("0", error(dma_log_start(r->dev.device, &page_size, &range,
					    1)));
}

/*
 * The log is charged to the user who has the device open, whether a step or the
 * device's own thread makes it grow. The ledger has all these pages already.
 */
TEST_F(rig, mdma_log_is_charged_to_its_user, 120)
{
	long long charged[2], before;

	reopen_in_memcg(self);
	map_and_write_leaves(self);
	start_log(self);
	/* The same pages again */
	SET(self, "pattern", "stride");

	before = memcg_kernel_bytes();
	ASSERT_EQ(0, mdma_set(&self->dev, "workload/step", "%d", LEAVES / 2));
	EXPECT_EQ(BYTES / 2, mdma_get(&self->dev, "dirty_log/bytes"));
	charged[0] = memcg_kernel_bytes() - before;
	ASSERT_STR("0", error(memcg_enter()));
	SET(self, "run", "1");
	while (mdma_get(&self->dev, "dirty_log/bytes") < BYTES)
		usleep(10000);
	SET(self, "run", "0");
	ASSERT_STR("0", error(memcg_leave()));
	charged[1] = memcg_kernel_bytes() - before;
	printf("# log: %lld, then %lld bytes; charged: %lld, then %lld\n",
	       BYTES / 2, BYTES, charged[0], charged[1]);
	EXPECT_LE(BYTES / 2, charged[0]);
	EXPECT_LE(BYTES, charged[1]);
	/* And nothing else of that size, except the index. */
	EXPECT_LE(charged[1], BYTES + BYTES / 2);

	ASSERT_EQ(0, dma_log_stop(self->dev.device));
	EXPECT_LE(memcg_kernel_bytes() - before, BYTES / 4);
}

/* No memory at all, for a range whose last unit has the last byte of the space. */
TEST_F(rig, mdma_log_without_memory_at_the_end_of_the_space, 20)
{
	struct vfio_device_feature_dma_logging_range range = {
		.iova = -(1024 * PAGE_SIZE),
		.length = 1023 * PAGE_SIZE,
	};
	__u64 iova = range.iova + 1021 * PAGE_SIZE, page_size = PAGE_SIZE;
	int i;

	reopen_in_memcg(self);
	ASSERT_EQ(0, dma_map(self->container,
			     memory(2 * PAGE_SIZE, PROT_READ | PROT_WRITE),
			     iova, 2 * PAGE_SIZE, MAP_RW));
	ASSERT_STR("0",
		   error(mdma_set(&self->dev, "dirty_log/bytes_max", "0")));
	ASSERT_STR("0", error(dma_log_start(self->dev.device, &page_size, &range,
					    1)));
	ASSERT_STR("0", error(mdma_rw_write(&self->dev, iova, PAGE_SIZE + 1,
					    0x5a)));
	for (i = 0; i < 2; i++) {
		unsigned char bitmap[1024 / 8] = { 0 };

		ASSERT_EQ(0, dma_log_report(self->dev.device, range.iova,
					    range.length, PAGE_SIZE, bitmap));
		EXPECT_STR(i ? "none" : "1020-1022", bitmap_text(bitmap, 1023));
	}
	ASSERT_EQ(0, dma_log_stop(self->dev.device));
}

static void after(void)
{
	mdev_remove_leftovers();
	memcg_remove();
}

TEST_MAIN(after)
