// SPDX-License-Identifier: GPL-2.0-only
/*
 * The report of a range of a container: its contents with many mappings, with holes or
 * without any mapping, how long it holds the lock, and what it does when the container
 * changes meanwhile.
 */
#include "type1_mock.h"

#define DROP_FAILED	1

static unsigned int snapshot_holds;

static int report(u64 page, u64 npages, u64 pgsize, u64 *bitmap)
{
	struct dirty_range range;
	int ret;

	range_init(&range, &iommu, page << PAGE_SHIFT, npages << PAGE_SHIFT,
		   pgsize);
	nr_holds = 0;
	ret = range_report(&range, bitmap);
	snapshot_holds = nr_holds;
	if (!ret) {
		/* Errors that are found after the last snapshot. */
		int drop = range_drop(&range, PIN_DROP_REPORTED);

		between_holds = NULL;
		return drop ? DROP_FAILED : 0;
	}
	between_holds = NULL;
	return ret;
}

/* --- tests ----------------------------------------------------------------- */

static void holes_are_skipped_at_once(void)
{
	static u64 bitmap[4];
	const u64 far = 1ULL << 34;

	begin();
	map(3, 2);
	map(far + 70, 2);
	CHECK(!report(200, 1ULL << 33, 4096, NULL), "-");
	CHECK(nr_holds <= 2, "%u holds for nothing", nr_holds);
	CHECK(!pin_store_retain(&vfio_find_dma(&iommu, (far + 70) << PAGE_SHIFT,
					       1)->pins, 1, 1), "-");
	/* Only the words of the mapping are written: the buffer has no others. */
	CHECK(!report(5, far + 70 + 2 - 5, 4096,
		      bitmap - (far + 70 - 5) / 64), "-");
	CHECK(nr_holds <= 4, "%u holds", nr_holds);
	CHECK(bitmap[0] == 1ULL << (far + 71 - 5) % 64, "%llx", bitmap[0]);
	end();
}

static void the_end_of_the_space(void)
{
	u64 bitmap[2] = { ~0ULL, ~0ULL };
	struct vfio_dma *dma;

	begin();
	dma = map(IOVA_PAGES - 3, 3);
	CHECK(vfio_find_dma(&iommu, -1ULL, 1) == dma, "-");
	CHECK(vfio_find_dma(&iommu, -0x1000ULL, 0x1000) == dma, "-");
	CHECK(!vfio_find_dma(&iommu, -0x4000ULL, 0x1000), "-");
	CHECK(!vfio_find_dma(&iommu, 0, 0x1000), "-");
	CHECK(!pin_store_retain(&dma->pins, 2, 2), "-");
	CHECK(!report(IOVA_PAGES - 5, 5, 4096, bitmap), "-");
	CHECK(bitmap[0] == ((~0ULL << 5) | 1 << 4 | 3), "%llx", bitmap[0]);
	CHECK(!dma->pins.nr_retained, "%llu", dma->pins.nr_retained);
	end();
}

/* No hold of the lock covers all of many mappings, and no mapping is missed. */
static void many_mappings(void)
{
	enum { NR = 20000 };
	static u64 bitmap[2 * NR / 64 + 1];
	static bool dirty[2 * NR];
	u64 i;

	begin();
	memset(bitmap, 0xff, sizeof(bitmap));
	for (i = 0; i < 2 * NR; i += 1 + unit_below(3)) {
		struct vfio_dma *dma = map(i, 1);

		dirty[i] = !unit_below(7);
		bitmap_set((unsigned long *)bitmap, i, 1);
		if (dirty[i])
			CHECK(!pin_store_retain(&dma->pins, 0, 0), "-");
		else
			bitmap[i / 64] |= 1ULL << i % 64;
	}
	CHECK(!report(0, 2 * NR, 4096, bitmap), "-");
	CHECK(snapshot_holds > NR / (DMA_BATCH + 64), "%u holds",
	      snapshot_holds);
	CHECK(nr_holds - snapshot_holds > NR / 128, "%u holds", nr_holds);
	for (i = 0; i < 2 * NR; i++) {
		bool mapped = vfio_find_dma(&iommu, i << PAGE_SHIFT, 1);

		CHECK(bit_of(bitmap, i) == (dirty[i] || !mapped), "page %llu",
		      i);
	}
	memset(bitmap, 0, sizeof(bitmap));
	CHECK(!report(0, 2 * NR, 4096, bitmap), "-");
	for (i = 0; i < 2 * NR; i++)
		CHECK(!bit_of(bitmap, i), "page %llu is not dropped", i);
	end();
}

/* How often the lock is still taken before it happens. */
static int holds_left;

/* A group that could map only 64 KiB leaves, and a page is mapped after that. */
static void map_a_small_page(void)
{
	if (holds_left--)
		return;
	iommu.pgsize_bitmap |= 0x1000;
	if (pin_store_retain(&map(0x100001, 1)->pins, 0, 0))
		abort();
}

/* While the first part of the report is made, or a later one. */
static void pages_become_smaller(void)
{
	static u64 bitmap[(0x100000 + 0x1000) / 16 / 64];
	int holds;

	for (holds = 0; holds < 3; holds++) {
		begin();
		iommu.pgsize_bitmap = ~0xffffULL;
		CHECK(!pin_store_retain(&map(0, 16)->pins, 3, 3), "-");
		CHECK(!pin_store_retain(&map(0x100000 + 64, 16)->pins, 3, 3),
		      "-");
		holds_left = holds;
		between_holds = map_a_small_page;
		CHECK(report(0, 0x101000, 0x10000, bitmap) == -EINVAL,
		      "after %d holds", holds);
		/* No page is dropped that was not reported. */
		CHECK(vfio_find_dma(&iommu, 0, 1)->pins.nr_retained == 1, "-");
		end();
	}
}

static void kill_container(void)
{
	iommu.dead = true;
}

static void the_container_is_gone(void)
{
	static u64 bitmap[200064 / 64];

	begin();
	CHECK(!pin_store_retain(&map(0, 64)->pins, 3, 3), "-");
	between_holds = kill_container;
	CHECK(report(0, 64, 4096, bitmap) == DROP_FAILED, "-");
	iommu.dead = false;
	CHECK(!pin_store_retain(&map(200000, 64)->pins, 3, 3), "-");
	between_holds = kill_container;
	CHECK(report(0, 200064, 4096, bitmap) == -ENODEV, "-");
	end();
}

/* Writes of a group that left are reported until one report has held all memory. */
static void a_group_goes(void)
{
	static u64 bitmap[4];
	u64 i;

	begin();
	map(0, 100);
	iommu.dirty_page_tracking = true;
	vfio_dirty_scope_narrowed(&iommu);
	map(128, 64);
	CHECK(!report(0, 99, 4096, bitmap), "-");
	for (i = 0; i < 2; i++) {
		memset(bitmap, 0, sizeof(bitmap));
		CHECK(!report(0, 256, 4096, bitmap), "-");
		CHECK(bit_of(bitmap, 0) == !i && bit_of(bitmap, 99) == !i,
		      "report %llu", i);
		CHECK(!bit_of(bitmap, 128), "mapped later");
	}
	end();
}

static void narrow_once(void)
{
	if (!iommu.narrowings)
		vfio_dirty_scope_narrowed(&iommu);
}

/* The group leaves during a report: writes after the snapshot are in the next one. */
static void a_group_goes_during_a_report(void)
{
	static u64 bitmap[2];

	begin();
	iommu.num_non_pinned_groups = 1;
	map(0, 100)->iommu_mapped = true;
	iommu.dirty_page_tracking = true;
	between_holds = narrow_once;
	CHECK(!report(0, 100, 4096, bitmap), "-");
	iommu.num_non_pinned_groups = 0;
	memset(bitmap, 0, sizeof(bitmap));
	CHECK(!report(0, 100, 4096, bitmap), "-");
	CHECK(bit_of(bitmap, 99), "-");
	memset(bitmap, 0, sizeof(bitmap));
	CHECK(!report(0, 100, 4096, bitmap), "-");
	CHECK(!bit_of(bitmap, 99), "-");
	end();
}

/* All is dirty, and the user's buffer ends with the report. */
static void nothing_behind_the_report(void)
{
	u64 nbits, i;

	begin();
	iommu.num_non_pinned_groups = 1;
	map(0, 4096)->iommu_mapped = true;
	for (nbits = 64; nbits <= 4096; nbits += 64) {
		u64 *bitmap = calloc(nbits / 64, 8);

		CHECK(!report(0, nbits, 4096, bitmap), "-");
		for (i = 0; i < nbits / 64; i++)
			CHECK(bitmap[i] == ~0ULL, "word %llu", i);
		free(bitmap);
	}
	end();
}

/*
 * Pages that are far from each other share words with the begins of chunks, whatever
 * the first page of the range is modulo 64.
 */
static void nothing_is_told_again(void)
{
	static u64 bitmap[16];
	struct vfio_dma *dma;
	u64 first, i;

	for (first = 1; first < 64; first++) {
		begin();
		dma = map(0, 1024);
		for (i = 4; i < 10; i++)
			CHECK(!pin_store_retain(&dma->pins, 64 * i + 5,
						64 * i + 5), "-");
		CHECK(dma->pins.nr_planed == 6, "%llu", dma->pins.nr_planed);
		memset(bitmap, 0, sizeof(bitmap));
		CHECK(!report(first, 960, 4096, bitmap), "-");
		for (i = 4; i < 10; i++)
			CHECK(bit_of(bitmap, 64 * i + 5 - first), "page %llu",
			      i);
		CHECK(!dma->pins.nr_retained, "from page %llu: %llu", first,
		      dma->pins.nr_retained);
		end();
	}
}

/* Runs are traced with their addresses, if anybody traces, and are counted. */
static void runs_are_traced(void)
{
	static u64 bitmap[4];
	struct vfio_dma *dma;
	int i;

	for (i = 0; i < 2; i++) {
		begin();
		dma = map(100, 200);
		CHECK(!pin_store_retain(&dma->pins, 3, 5), "-");
		CHECK(!pin_store_retain(&dma->pins, 64, 64), "-");
		CHECK(!pin_store_retain(&dma->pins, 70, 199), "-");
		nr_runs = 0;
		tracing = i;
		CHECK(!report(100, 200, 4096, bitmap), "-");
		tracing = false;
		CHECK(nr_runs == (i ? 3 : 0), "%u runs", nr_runs);
		end();
	}
	CHECK(runs[0].iova == 103 << PAGE_SHIFT && runs[0].npages == 3, "-");
	CHECK(runs[1].iova == 164 << PAGE_SHIFT && runs[1].npages == 1, "-");
	CHECK(runs[2].iova == 170 << PAGE_SHIFT && runs[2].npages == 130, "-");
}

static const struct unit_test tests[] = {
	{ "range: R17: holes are skipped at once", holes_are_skipped_at_once },
	{ "range: R8: the end of the space", the_end_of_the_space },
	{ "range: R16: many mappings, in many holds of the lock", many_mappings },
	{ "range: R13: pages become smaller during a report",
	  pages_become_smaller },
	{ "range: R7: the container goes during a report",
	  the_container_is_gone },
	{ "range: R9: a group that has gone", a_group_goes },
	{ "range: R9: a group that goes during a report",
	  a_group_goes_during_a_report },
	{ "range: R8: nothing changes behind the report",
	  nothing_behind_the_report },
	{ "range: R3: nothing is told again", nothing_is_told_again },
	{ "range: runs are traced", runs_are_traced },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
