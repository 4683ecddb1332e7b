// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins, writes, reports and UNMAPs of a container at random, compared with an array of
 * pages. Whenever a call has dropped the lock, devices pin, unpin and write.
 *
 * ROUNDS=n: that many containers, one after the other. Each prints, if it fails, the seed
 * that makes it the first one.
 */
#include "type1_model.h"

#define MAX		VFIO_PIN_PAGES_MAX_ENTRIES
#define CALLS		40
/* No call takes the lock so often, if devices interfere only so often. */
#define HOLDS_MAX	20000
#define MEANWHILE_MAX	60

/* Where devices are, and whether they only write: then, planes are made. */
static u64 centre, spread;
static bool only_writes;
/* Makes this round the first one. */
static u64 round_seed;
/* How often devices may still interfere with this call. */
static unsigned int left_meanwhile;

static u64 some_page(void)
{
	return (centre + unit_below(spread)) % SPACE;
}

/* --- devices ------------------------------------------------------------------- */

static void do_write(void)
{
	u64 page = some_page(), last = page + (unit_below(4) ? 0 : unit_below(40)), i;
	struct vfio_dma *dma = vfio_find_dma_to_use(&iommu, to_iova(page));

	if (!dma)
		return;
	CHECK(model[page].map, "page %llu is not mapped", page);
	last = min(last, vfio_dma_last(dma) >> PAGE_SHIFT);
	for (i = page; i <= last; i++)
		touch(i);
	if (pin_store_retain(&dma->pins, page - (dma->iova >> PAGE_SHIFT),
			     last - (dma->iova >> PAGE_SHIFT)))
		return;
	for (i = page; i <= last; i++)
		model[i].retained = SURELY;
}

static void do_pin(u64 page, int n, bool write)
{
	struct page *pages[MAX];
	int prot = IOMMU_READ | (write ? IOMMU_WRITE : 0), i, ret;
	struct pin_row row;

	if (page + n > SPACE)
		return;
	/* The model counts to 255. */
	for (i = 0; i < n; i++)
		if (model[page + i].pins > 250)
			return;
	/* Also those of a call that fails. */
	for (i = 0; told.npages && i < n; i++)
		touch(page + i);
	ret = vfio_iommu_type1_pin_pages(&iommu, NULL, to_iova(page), n, prot, pages);
	CHECK(ret == n || ret < 0, "%d of %d pages", ret, n);
	for (i = 0; i < ret; i++) {
		u64 at = page + i - model[page + i].map + 1;
		struct vfio_dma *dma = vfio_find_dma(&iommu, to_iova(page + i), 1);

		model_pin(page + i, write);
		CHECK(dma && pages[i] == memory + frame_at(page + i), "page %llu", page + i);
		CHECK(pin_store_next_pinned(&dma->pins, at, at, &row), "page %llu", page + i);
		CHECK(row.pfn == frame_at(page + i) && row.pins == model[page + i].pins,
		      "page %llu has %u pins, of frame %lu", page + i, row.pins, row.pfn);
	}
}

/* A device undoes pins of its own only. */
static void do_unpin(u64 page, int most)
{
	int n = 0, i;

	while (n < most && page + n < SPACE && model[page + n].pins)
		n++;
	if (!n)
		return;
	for (i = 0; i < n; i++)
		model_unpin(page + i);
	vfio_iommu_type1_unpin_pages(&iommu, to_iova(page), n);
}

static void do_something(void)
{
	switch (only_writes ? 0 : unit_below(4)) {
	case 0:
		return do_write();
	case 1:
		return do_pin(some_page(), 1 + unit_below(20), unit_below(3));
	default:
		do_unpin(some_page(), 1 + unit_below(20));
	}
}

/* While a call does not hold the lock. */
static void meanwhile(void)
{
	unsigned int n = unit_below(4), left;
	long fail_in = shim_fail_in;
	typeof(task) caller = task;

	if (nr_holds > HOLDS_MAX) {
		printf("# a call does not end: SEED=%llu ROUNDS=1\n", round_seed);
		exit(1);
	}
	if (!left_meanwhile)
		return;
	left = left_meanwhile - 1;
	left_meanwhile = 0;
	shim_fail_in = -1;
	task.mm = &owner_mm;
	task.flags = 0;
	for (; n && !unit_failed; n--)
		do_something();
	task = caller;
	shim_fail_in = fail_in;
	left_meanwhile = left;
}

static void begin_call(void)
{
	left_meanwhile = unit_below(2) ? unit_below(MEANWHILE_MAX) : 0;
	if (!unit_below(8))
		shim_fail_in = unit_below(20);
	if (!unit_below(3)) {
		task.mm = unit_below(2) ? NULL : &other_mm;
		task.flags = task.mm ? 0 : PF_KTHREAD;
	}
	get_most = unit_below(2) ? MAX : 1 + unit_below(64);
	locked_most = unit_below(6) ? SPACE : owner_mm.locked_vm + unit_below(200);
}

static void end_call(void)
{
	left_meanwhile = 0;
	shim_fail_in = -1;
	task.mm = &owner_mm;
	task.flags = 0;
	get_most = MAX;
	locked_most = SPACE;
	CHECK(frames_pinned() == nr_pinned, "%ld frames are pinned, not %ld",
	      frames_pinned(), nr_pinned);
	CHECK(owner_mm.locked_vm == nr_pinned, "%ld pages are locked, not %ld",
	      owner_mm.locked_vm, nr_pinned);
	CHECK(!other_mm.locked_vm && !owner_mm.users && !other_mm.users, "-");
}

/* --- reports ------------------------------------------------------------------- */

static int get(u64 first, u64 npages)
{
	struct dirty_range range;
	int ret;

	range_init(&range, &iommu, to_iova(first), to_iova(npages), PAGE_SIZE);
	told.npages = npages;
	if (!unit_below(8))
		shim_write_end = (char *)told.bitmap + unit_below(npages / 8 + 8);
	ret = range_report(&range, told.bitmap);
	shim_write_end = NULL;
	return ret ? ret : range_drop(&range, PIN_DROP_REPORTED);
}

static void do_get(void)
{
	u64 first = 0, npages = SPACE, most, before;
	int ret;

	if (unit_below(4)) {
		first = some_page();
		before = unit_below(300);
		first -= min(first, before);
		most = unit_below(3) ? 1000 : SPACE;
		npages = 1 + unit_below(min(SPACE - first, most));
	}
	begin_report(first, npages);
	begin_call();
	ret = get(first, npages);
	CHECK(!ret || ret == -EFAULT, "%d", ret);
	if (!ret) {
		check_bits(first, npages);
		model_drop();
	} else {
		model_keep();
	}
	end_report();
}

/* --- UNMAP --------------------------------------------------------------------- */

static unsigned int asked_in_vain;

/* A device gives back its pins, if it knows of them yet. */
static void give_back(u64 iova, u64 size)
{
	u64 page = iova >> PAGE_SHIFT, end = page + (size >> PAGE_SHIFT);
	unsigned int left;

	if (asked_in_vain) {
		asked_in_vain--;
		return;
	}
	left = left_meanwhile;
	left_meanwhile = 0;
	for (; page < end; page++)
		while (model[page].pins)
			do_unpin(page, 1);
	left_meanwhile = left;
}

static void do_unmap(void)
{
	unsigned int from = unit_below(nr_maps), to = from + unit_below(nr_maps - from);
	bool wanted = unit_below(3), again = unit_below(2);
	u64 first, npages, size;
	int ret;

	if (unit_below(2))
		to = from;
	first = maps[from].first;
	/* It may begin in the hole before the first mapping. */
	if (unit_below(2))
		first = from ? maps[from - 1].first + maps[from - 1].npages : 0;
	npages = maps[to].first + maps[to].npages - first;
	begin_report(first, npages);
	begin_call();
	if (unit_below(2)) {
		centre = first + unit_below(npages);
		spread = 1 + unit_below(500);
	}
	asked_in_vain = unit_below(4) ? 0 : unit_below(4);
	if (!unit_below(20))
		asked_in_vain = ~0U;
	when_asked = give_back;
	/* The argument comes before what is allocated. */
	if (wanted && !unit_below(8))
		shim_write_end = (char *)told.bitmap + unit_below(npages / 8 + 8);
	ret = unmap(first, npages, wanted ? told.bitmap : NULL, &size);
	CHECK(!ret || ret == -EBUSY || (ret == -EFAULT && shim_write_end), "%d", ret);
	shim_write_end = NULL;
	CHECK(ret || size, "nothing is unmapped");
	if (!ret && wanted)
		check_bits(first, npages);
	npages -= maps[from].first - first;
	first = maps[from].first;
	if (!ret)
		unmapped(from, to);
	if (!ret && again)
		map_some(first, 1 + unit_below(npages));
	end_report();
}

/* --- rounds -------------------------------------------------------------------- */

static void begin_round(void)
{
	unsigned int straight = unit_below(30), i;

	begin_unmap();
	memset(memory, 0, sizeof(memory));
	memset(model, 0, sizeof(model));
	for (i = 0; i < FRAMES; i++)
		frame_of[i] = i && unit_below(1 + straight) ?
			      (frame_of[i - 1] + 1) % FRAMES : unit_below(FRAMES);
	nr_maps = 0;
	nr_pinned = 0;
	centre = unit_below(SPACE);
	map_all();
}

static void one_call(void)
{
	unsigned int what = unit_below(20);
	int i;

	/* Calls are often about the same pages as the last one. */
	if (unit_below(2))
		centre = unit_below(SPACE);
	spread = unit_below(4) ? 1 + unit_below(unit_below(2) ? 100 : 600) : SPACE;
	only_writes = unit_below(2);
	between_holds = meanwhile;
	nr_holds = 0;
	for (i = unit_below(60); i && !unit_failed; i--)
		do_something();
	if (unit_failed)
		return;
	if (what < 2 && nr_maps) {
		do_unmap();
	} else if (what < 10) {
		do_get();
	} else {
		begin_call();
		do_pin(some_page(), 1 + unit_below(unit_below(2) ? MAX : 64), unit_below(2));
	}
	if (!unit_failed)
		end_call();
}

/* Does the container retain what the model does? */
static void end_round(void)
{
	u64 i, page;

	for (i = 0; i < nr_maps; i++) {
		struct vfio_dma *dma = vfio_find_dma(&iommu, to_iova(maps[i].first), 1);
		u64 least = 0, most = 0;

		for (page = maps[i].first; page < maps[i].first + maps[i].npages; page++) {
			least += model[page].retained == SURELY;
			most += model[page].retained != NOT;
		}
		CHECK(dma->pins.nr_retained >= least && dma->pins.nr_retained <= most,
		      "%llu pages are retained, not %llu to %llu", dma->pins.nr_retained,
		      least, most);
	}
	for (page = 0; page < SPACE; page++)
		while (model[page].pins)
			do_unpin(page, 1);
	CHECK(!frames_pinned() && !owner_mm.locked_vm, "-");
	end();
}

static void random_calls(void)
{
	u64 rounds = unit_env("ROUNDS", 200), i;
	unsigned int calls;

	for (i = 0; i < rounds && !unit_failed; i++) {
		round_seed = unit_seed;
		begin_round();
		for (calls = 0; calls < CALLS && !unit_failed; calls++)
			one_call();
		if (!unit_failed)
			end_round();
		if (unit_failed)
			printf("# round %llu, call %u: SEED=%llu ROUNDS=1\n", i, calls, round_seed);
	}
}

static const struct unit_test tests[] = {
	{ "type1: random calls as the model has them", random_calls },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
