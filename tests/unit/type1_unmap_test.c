// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNMAP of a range of a container: it ends, whatever devices do meanwhile, and it
 * changes nothing if it fails.
 */
#include "type1_mock.h"

/* What a kernel says whose own type1 tells such ranges apart (type1_compat.h). */
#define TYPE1_ERANGE			(-EOVERFLOW)

#include "type1_unmap_mock.h"

/* --- a device that writes and pins -------------------------------------------- */

/* A write without a pin, recorded like vfio_dma_rw(); false if it is refused. */
static bool write_page(u64 page)
{
	struct vfio_dma *dma = vfio_find_dma_to_use(&iommu, page << PAGE_SHIFT);

	return dma && !pin_store_retain(&dma->pins,
					page - (dma->iova >> PAGE_SHIFT),
					page - (dma->iova >> PAGE_SHIFT));
}

static bool pin_page(u64 page)
{
	struct vfio_dma *dma = vfio_find_dma_to_use(&iommu, page << PAGE_SHIFT);

	return dma && pin_store_pin(&dma->pins,
				    page - (dma->iova >> PAGE_SHIFT), 1, 77,
				    true, true) == 1;
}

static void unpin_all(u64 iova, u64 size)
{
	struct vfio_dma *dma = vfio_find_dma(&iommu, iova, size);
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned int nr;

	if (dma)
		pin_store_unpin(&dma->pins, 0, dma_page(dma, ~0ULL), true,
				frames, &nr);
}

/* --- tests ----------------------------------------------------------------- */

static unsigned int nr_written;

static void write_always(void)
{
	nr_written += write_page(5);
}

static void pages_always_written(void)
{
	u64 bitmap[2] = {}, unmapped;

	begin_unmap();
	map(0, 100);
	nr_written = 0;
	between_holds = write_always;
	CHECK(!unmap(0, 100, bitmap, &unmapped), "-");
	CHECK(unmapped == 100, "%llu", unmapped);
	CHECK(nr_written, "nothing written");
	CHECK(bit_of(bitmap, 5), "lost");
	CHECK(nr_delivered == 1 && nr_thrown_away <= 1, "%u, %u", nr_delivered,
	      nr_thrown_away);
	CHECK(!write_page(5), "still mapped");
	CHECK(list_empty(&iommu.going), "-");
	end();
}

static void pin_always(void)
{
	nr_written += pin_page(7);
}

static void pages_always_pinned(void)
{
	u64 bitmap[2] = {}, unmapped;
	int i;

	for (i = 0; i < 2; i++) {
		begin_unmap();
		map(0, 100);
		between_holds = pin_always;
		when_asked = unpin_all;
		CHECK(pin_page(9), "-");
		CHECK(!unmap(0, 100, i ? NULL : bitmap, &unmapped), "-");
		CHECK(i || (bit_of(bitmap, 7) && bit_of(bitmap, 9)), "lost");
		CHECK(nr_delivered + nr_thrown_away <= 2, "-");
		end();
	}
}

static void device_without_pins_is_asked(void)
{
	u64 bitmap[2] = {}, unmapped;

	begin_unmap();
	map(10, 10);
	map(30, 10);
	CHECK(!unmap(10, 30, bitmap, &unmapped), "-");
	CHECK(nr_asked == 2, "asked %u times", nr_asked);
	CHECK(traced.unmap && traced.iova == 10 << PAGE_SHIFT &&
	      traced.size == 30 << PAGE_SHIFT, "%llx, %llx", traced.iova,
	      traced.size);
	CHECK(nr_delivered == 1 && !nr_thrown_away, "%u, %u", nr_delivered,
	      nr_thrown_away);
	end();
}

static void leak_is_the_only_ebusy(void)
{
	u64 bitmap[2] = {}, unmapped;

	begin_unmap();
	map(0, 100);
	CHECK(pin_page(9), "-");
	CHECK(unmap(0, 100, bitmap, &unmapped) == -EBUSY, "-");
	/* The argument is unchanged, and the range is in use again. */
	CHECK(unmapped == 100, "%llu", unmapped);
	CHECK(!nr_delivered, "-");
	CHECK(slept_us > 100000 && slept_us < 1000000, "%lu us", slept_us);
	CHECK(write_page(3), "still going");
	unpin_all(0, 100 << PAGE_SHIFT);
	CHECK(!unmap(0, 100, bitmap, &unmapped), "-");
	CHECK(bit_of(bitmap, 3) && bit_of(bitmap, 9), "lost");
	end();
}

static void fault_changes_nothing(void)
{
	u64 *bitmap = user.bitmap, unmapped;

	memset(user.bitmap, 0, sizeof(user.bitmap));
	begin_unmap();
	map(0, 100);
	CHECK(write_page(70), "-");
	shim_write_end = (char *)&bitmap[1];
	CHECK(unmap(0, 100, bitmap, &unmapped) == -EFAULT, "-");
	shim_write_end = NULL;
	CHECK(unmapped == 100, "%llu", unmapped);
	CHECK(!nr_delivered && nr_thrown_away == 1, "-");
	CHECK(write_page(3), "still going");
	CHECK(!unmap(0, 100, bitmap, &unmapped), "-");
	CHECK(bit_of(bitmap, 3) && bit_of(bitmap, 70), "lost");
	end();
}

/* 5000 mappings: both the check and the removal take several holds of the lock. */
static void many_mappings(void)
{
	enum { NR = 5000 };
	static u64 bitmap[NR / 64 + 1];
	u64 i, unmapped;

	begin_unmap();
	for (i = 0; i < NR; i++)
		map(i, 1);
	CHECK(!unmap(0, NR / 2, NULL, &unmapped), "-");
	CHECK(unmapped == NR / 2, "%llu", unmapped);
	CHECK(nr_holds >= NR / DMA_BATCH && nr_holds < 8 * NR / DMA_BATCH,
	      "%u holds", nr_holds);
	for (i = NR / 2; i < NR; i += 3)
		CHECK(write_page(i), "-");
	CHECK(!unmap(NR / 2, NR / 2, bitmap, &unmapped), "-");
	for (i = 0; i < NR / 2; i++)
		CHECK(bit_of(bitmap, i) == !(i % 3), "page %llu", i);
	CHECK(unmapped == NR / 2, "%llu", unmapped);
	end();
}

/* Any byte of a mapping is in it, and the ones beside it are not. */
static void bytes_of_a_mapping(void)
{
	struct vfio_dma *dma;
	const u64 first = 10ULL << PAGE_SHIFT, after = 20ULL << PAGE_SHIFT;

	begin_unmap();
	dma = map(10, 10);
	CHECK(!vfio_find_dma_to_use(&iommu, first - 1), "before it");
	CHECK(vfio_find_dma_to_use(&iommu, first) == dma, "first");
	CHECK(vfio_find_dma_to_use(&iommu, after - 1) == dma, "last");
	CHECK(!vfio_find_dma_to_use(&iommu, after), "behind it");
	end();
}

/* All leaves are checked against the last report, and freed, in many holds. */
static void many_leaves(void)
{
	enum { NR = 4 * PIN_STORE_WALK_LEAVES };
	u64 *bitmap = calloc(NR, 8), i, unmapped;

	begin_unmap();
	map(0, NR * 64);
	for (i = 0; i < NR; i++)
		CHECK(write_page(i * 64), "-");
	CHECK(!unmap(0, NR * 64, bitmap, &unmapped), "-");
	for (i = 0; i < NR; i++)
		CHECK(bitmap[i] == 1, "word %llu", i);
	CHECK(nr_holds >= NR / 2048 + 4, "%u holds", nr_holds);
	free(bitmap);
	end();
}

/* Holds of the lock while the range is going. */
static unsigned int going_holds;

static void count_going(void)
{
	going_holds += !list_empty(&iommu.going);
}

/* Mappings with leaves: after each of them the lock can be had. */
static void many_mappings_with_leaves(void)
{
	enum { NR = 40, PAGES = 4096 };
	static u64 bitmap[NR * PAGES / 64];
	u64 i, unmapped;

	begin_unmap();
	for (i = 0; i < NR; i++)
		map(i * PAGES, PAGES);
	for (i = 0; i < NR * PAGES; i += 64)
		CHECK(write_page(i), "-");
	going_holds = 0;
	between_holds = count_going;
	CHECK(!unmap(0, NR * PAGES, bitmap, &unmapped), "-");
	CHECK(unmapped == NR * PAGES, "%llu", unmapped);
	CHECK(nr_holds >= NR, "%u holds", nr_holds);
	CHECK(nr_delivered == 1 && !nr_thrown_away, "-");
	/* The devices are asked for each of them, and then each is looked at. */
	CHECK(going_holds > 2 * NR - 2, "%u holds", going_holds);
	end();
}

static void die_now(void)
{
	iommu.dead = true;
}

static void the_container_is_gone(void)
{
	u64 bitmap[2] = {}, unmapped;

	begin_unmap();
	map(0, 100);
	between_holds = die_now;
	CHECK(unmap(0, 100, bitmap, &unmapped) == -ENODEV, "-");
	CHECK(unmapped == 100, "%llu", unmapped);
	CHECK(vfio_find_dma(&iommu, 0, 1), "unmapped");
	CHECK(!nr_delivered, "-");
	end();
}

/* A group that can write everything is attached during the report, once. */
static void group_comes(void)
{
	struct vfio_dma *dma = vfio_find_dma(&iommu, 0, 1);

	if (list_empty(&iommu.going) || iommu.num_non_pinned_groups || !dma)
		return;
	iommu.num_non_pinned_groups++;
	dma->iommu_mapped = true;
}

static void a_group_comes_meanwhile(void)
{
	u64 bitmap[2] = {}, unmapped;

	begin_unmap();
	map(0, 100);
	CHECK(pin_page(9), "-");
	between_holds = group_comes;
	when_asked = unpin_all;
	CHECK(!unmap(0, 100, bitmap, &unmapped), "-");
	CHECK(bit_of(bitmap, 0) && bit_of(bitmap, 99), "not reported");
	end();
}

static void a_fatal_signal_ends_it(void)
{
	u64 unmapped;

	begin_unmap();
	map(0, 100);
	CHECK(pin_page(9), "-");
	shim_killed = true;
	CHECK(unmap(0, 100, NULL, &unmapped) == -EINTR, "-");
	shim_killed = false;
	CHECK(slept_us < 100000, "%lu us", slept_us);
	CHECK(write_page(3), "still going");
	end();
}

static void memory_goes_away(void)
{
	shim_write_end = (char *)&user;
}

/* Nobody can be told what was unmapped: that is an error, and not the same again. */
static void the_answer_faults(void)
{
	u64 unmapped;

	begin_unmap();
	map(0, 100);
	CHECK(pin_page(9), "-");
	when_asked = unpin_all;
	between_holds = memory_goes_away;
	CHECK(unmap(0, 100, NULL, &unmapped) == -EFAULT, "-");
	shim_write_end = NULL;
	CHECK(!vfio_find_dma(&iommu, 0, 1), "still mapped");
	end();
}

/* One call with these words in its argument, whose bitmap is for a page. */
static int raw(u32 argsz, u32 flags, u64 iova, u64 size)
{
	struct vfio_unmap_arg *arg = &user.arg;

	*arg = (struct vfio_unmap_arg){
		.head = { .argsz = argsz, .flags = flags, .iova = iova,
			  .size = size },
		.bitmap = { .pgsize = 4096, .size = 8,
			    .data = (void *)user.bitmap },
	};
	return vfio_iommu_type1_unmap_dma(&iommu, (unsigned long)arg);
}

#define SHORT	sizeof(struct vfio_iommu_type1_dma_unmap)
#define LONG	sizeof(struct vfio_unmap_arg)
#define BITMAP	VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP
#define ALL	VFIO_DMA_UNMAP_FLAG_ALL
#define VADDR	VFIO_DMA_UNMAP_FLAG_VADDR
#define PAGE	4096ULL

static void bad_arguments(void)
{
	static const struct {
		u32 argsz, flags;
		u64 iova, size;
		int ret;
	} calls[] = {
		{ SHORT - 1, 0, 0, PAGE, -EINVAL },
		{ SHORT, 8, 0, PAGE, -EINVAL },
		{ SHORT, 0, 0, 0, -EINVAL },
		{ SHORT, 0, 0, PAGE + 1, -EINVAL },
		{ SHORT, 0, 1, PAGE - 1, -EINVAL },
		{ SHORT, 0, -PAGE, 2 * PAGE, TYPE1_ERANGE },
		{ SHORT, ALL, PAGE, 0, -EINVAL },
		{ SHORT, ALL, 0, PAGE, -EINVAL },
		{ LONG, ALL | BITMAP, 0, 0, -EINVAL },
		{ LONG, VADDR | BITMAP, 0, PAGE, -EINVAL },
		{ LONG - 1, BITMAP, 0, PAGE, -EINVAL },
		{ LONG, BITMAP, 0, 65 * PAGE, -EINVAL },
		/* Good ones, of nothing. */
		{ SHORT, 0, -PAGE, PAGE, 0 },
		{ SHORT, 0, 100 * PAGE, PAGE, 0 },
		{ LONG, BITMAP, 100 * PAGE, PAGE, 0 },
	};
	size_t i;

	begin_unmap();
	map(0, 65);
	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		int ret = raw(calls[i].argsz, calls[i].flags, calls[i].iova,
			      calls[i].size);
		u64 size = ret ? calls[i].size : 0;

		CHECK(ret == calls[i].ret, "call %zu: %d", i, ret);
		CHECK(user.arg.head.size == size, "call %zu: size %llu", i,
		      user.arg.head.size);
	}
	iommu.dirty_page_tracking = false;
	CHECK(raw(LONG, BITMAP, 100 * PAGE, PAGE) == -EINVAL, "not tracking");
	iommu.dirty_page_tracking = true;
	iommu.pgsize_bitmap = ~0xffffULL;
	CHECK(raw(LONG, BITMAP, 0, 16 * PAGE) == -EINVAL, "bigger pages");
	CHECK(!raw(SHORT, ALL, 0, 0), "-");
	CHECK(user.arg.head.size == 65 * PAGE, "%llu", user.arg.head.size);
	end();
}

/* With v2, a range has whole mappings; with v1, those that begin in it go. */
static void mappings_that_are_cut(void)
{
	begin_unmap();
	map(0, 10);
	map(10, 10);
	CHECK(raw(SHORT, 0, 5 * PAGE, 15 * PAGE) == -EINVAL, "at its begin");
	CHECK(raw(SHORT, 0, 0, 15 * PAGE) == -EINVAL, "at its end");
	iommu.v2 = false;
	CHECK(!raw(SHORT, 0, 5 * PAGE, 10 * PAGE), "-");
	CHECK(!user.arg.head.size, "%llu", user.arg.head.size);
	CHECK(!raw(SHORT, 0, 0, 15 * PAGE), "-");
	CHECK(user.arg.head.size == 20 * PAGE, "%llu", user.arg.head.size);
	CHECK(!vfio_dma_first_in(&iommu, 0, ~0ULL), "left");
	end();
}

/* The addresses of mappings go, and the mappings stay; each address goes once. */
static void addresses_go(void)
{
	struct vfio_dma *first, *second, *third;
	struct list_head group;

	begin_unmap();
	first = map(0, 10);
	second = map(20, 5);
	third = map(30, 1);
	list_add(&group, &iommu.emulated_iommu_groups);
	CHECK(raw(SHORT, VADDR, 0, 30 * PAGE) == -EBUSY, "with a mediated device");
	list_del(&group);
	CHECK(!raw(SHORT, VADDR, 0, 30 * PAGE), "-");
	CHECK(user.arg.head.size == 15 * PAGE, "%llu", user.arg.head.size);
	CHECK(first->vaddr_invalid && second->vaddr_invalid &&
	      !third->vaddr_invalid, "-");
	CHECK(iommu.vaddr_invalid_count == 2, "%u", iommu.vaddr_invalid_count);
	CHECK(raw(SHORT, VADDR | ALL, 0, 0) == -EINVAL, "twice");
	CHECK(!third->vaddr_invalid && iommu.vaddr_invalid_count == 2, "-");
	CHECK(!raw(SHORT, VADDR, 30 * PAGE, PAGE), "-");
	CHECK(third->vaddr_invalid && iommu.vaddr_invalid_count == 3, "-");
	CHECK(vfio_find_dma(&iommu, 0, 1) == first, "unmapped");
	end();
}

/* A call that does not end by itself is killed. */
static void kill_what_never_ends(void)
{
	shim_killed = nr_holds > 1000;
}

/* Of a mapping that begins within a word of the report, in chunks that begin likewise. */
static void report_of_a_shifted_mapping_ends(void)
{
	static u64 bitmap[(36 + 400000) / 64 + 1];
	const u64 first = 64 * 4096 + 30;
	struct vfio_dma *dma;
	u64 unmapped;
	int i, ret;

	begin_unmap();
	map(0, 36);
	dma = map(36, 400000);
	for (i = 0; i < 6; i++)
		CHECK(!pin_store_retain(&dma->pins, first + 64 * i,
					first + 64 * i), "-");
	CHECK(dma->pins.nr_planed == 6, "%llu", dma->pins.nr_planed);
	between_holds = kill_what_never_ends;
	ret = unmap(0, 36 + 400000, bitmap, &unmapped);
	shim_killed = false;
	CHECK(!ret, "%d, after %u reports", ret, nr_thrown_away);
	for (i = 0; i < 6; i++)
		CHECK(bit_of(bitmap, 36 + first + 64 * i), "page %d", i);
	CHECK(nr_delivered == 1 && nr_thrown_away <= 1, "%u, %u", nr_delivered,
	      nr_thrown_away);
	end();
}

static const struct unit_test tests[] = {
	{ "unmap: R11: pages that are always written", pages_always_written },
	{ "unmap: R11: pages that are always pinned", pages_always_pinned },
	{ "unmap: R11: a device without pins is asked",
	  device_without_pins_is_asked },
	{ "unmap: R15: only a leak is an error", leak_is_the_only_ebusy },
	{ "unmap: R11: a fault changes nothing", fault_changes_nothing },
	{ "unmap: R16: many mappings, in many holds of the lock",
	  many_mappings },
	{ "unmap: bytes of a mapping", bytes_of_a_mapping },
	{ "unmap: R16: many leaves, in many holds of the lock", many_leaves },
	{ "unmap: R16: many mappings with leaves", many_mappings_with_leaves },
	{ "unmap: R7: the container goes during a report",
	  the_container_is_gone },
	{ "unmap: R9: a group comes during a report",
	  a_group_comes_meanwhile },
	{ "unmap: a fatal signal ends it", a_fatal_signal_ends_it },
	{ "unmap: the answer faults", the_answer_faults },
	{ "unmap: bad arguments change nothing", bad_arguments },
	{ "unmap: mappings that are cut", mappings_that_are_cut },
	{ "unmap: the addresses of mappings go", addresses_go },
	{ "unmap: R11: the report of a shifted mapping ends",
	  report_of_a_shifted_mapping_ends },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
