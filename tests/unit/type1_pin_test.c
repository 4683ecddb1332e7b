// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins and unpins of a container: which frames are recorded and given back, what is
 * counted as locked memory, and how much of it is done in one hold of the lock.
 */
#include "type1_pin_mock.h"

/* --- a device ------------------------------------------------------------------ */

#define MAX	VFIO_PIN_PAGES_MAX_ENTRIES

static struct list_head device;
static struct page *pages[MAX];

/* Frames in the order of pages. */
static void begin_pins(void)
{
	unsigned int i;

	begin();
	list_add(&device, &iommu.device_list);
	iommu.dirty_page_tracking = true;
	memset(memory, 0, sizeof(memory));
	for (i = 0; i < FRAMES; i++)
		frame_of[i] = i;
	one_folio = false;
	released_most = 0;
	released_hold = 0;
	owner_mm = (struct mm_struct){ 0 };
	other_mm = owner_mm;
	locked_most = FRAMES;
	get_most = MAX;
}

/* Every page's frame is far from that of the page before it. */
static void scatter(void)
{
	unsigned int i;

	for (i = 0; i < FRAMES; i++)
		frame_of[i] = i * 4097 % FRAMES;
}

/* A mapping whose page 0 is the owner's page of the same number as its first one. */
static struct vfio_dma *map_memory(u64 page, u64 npages)
{
	struct vfio_dma *dma = map(page, npages);

	dma->vaddr = page << PAGE_SHIFT;
	dma->prot = IOMMU_READ | IOMMU_WRITE;
	dma->mm = &owner_mm;
	return dma;
}

static int pin(u64 page, int n)
{
	memset(pages, SHIM_JUNK, sizeof(pages));
	nr_holds = 0;
	return vfio_iommu_type1_pin_pages(&iommu, NULL, page << PAGE_SHIFT, n,
					  IOMMU_READ | IOMMU_WRITE, pages);
}

static void unpin(u64 page, int n)
{
	nr_holds = 0;
	vfio_iommu_type1_unpin_pages(&iommu, page << PAGE_SHIFT, n);
}

static void nothing_is_pinned(void)
{
	CHECK(!frames_pinned(), "%ld frames", frames_pinned());
	CHECK(!owner_mm.locked_vm, "%ld pages are locked", owner_mm.locked_vm);
	CHECK(!other_mm.locked_vm, "%ld of the other's", other_mm.locked_vm);
	CHECK(!owner_mm.users && !other_mm.users, "references are left");
}

/* Has each of the pages its frame, in the answer and in the store? */
static void each_has_its_frame(u64 page, int n)
{
	struct vfio_dma *dma;
	struct pin_row row;
	int i;

	for (i = 0; i < n; i++) {
		u64 at;

		dma = vfio_find_dma(&iommu, (page + i) << PAGE_SHIFT, 1);
		at = page + i - (dma->iova >> PAGE_SHIFT);
		CHECK(pages[i] == memory + frame_of[page + i], "page %d", i);
		CHECK(pin_store_next_pinned(&dma->pins, at, at, &row) &&
		      row.pfn == frame_of[page + i], "page %d is recorded as %lu",
		      i, row.pfn);
	}
}

/* --- tests ---------------------------------------------------------------------- */

/* The limit of one hold, and a leaf. */
#define HOLD_MOST	(UNPIN_FOLIOS + 63)

static void small_folios_in_many_holds(void)
{
	int scattered, first;

	for (scattered = 0; scattered < 2; scattered++) {
		for (first = 0; first < 64; first += 21) {
			begin_pins();
			if (scattered)
				scatter();
			map_memory(0, 1000);
			CHECK(pin(first, MAX) == MAX, "-");
			unpin(first, MAX);
			CHECK(released_most <= HOLD_MOST, "%u folios in a hold",
			      released_most);
			CHECK(nr_holds <= MAX / 64, "%u holds", nr_holds);
			nothing_is_pinned();
			end();
		}
	}
}

static void a_huge_page_in_one_hold(void)
{
	begin_pins();
	one_folio = true;
	map_memory(0, 512);
	CHECK(pin(0, MAX) == MAX, "-");
	unpin(0, MAX);
	CHECK(nr_holds == 1, "%u holds", nr_holds);
	nothing_is_pinned();
	end();
}

static void many_mappings_in_many_holds(void)
{
	int i;

	begin_pins();
	for (i = 0; i < MAX; i++)
		map_memory(i, 1);
	CHECK(pin(0, MAX) == MAX, "-");
	unpin(0, MAX);
	CHECK(nr_holds > MAX / 40, "%u holds", nr_holds);
	nothing_is_pinned();
	/* Where nothing is pinned, or mapped, there is nothing to do. */
	unpin(0, MAX);
	unpin(MAX - 100, MAX);
	CHECK(nr_holds > 400 / 40, "%u holds", nr_holds);
	nothing_is_pinned();
	end();
}

static void holes_are_left_alone(void)
{
	begin_pins();
	map_memory(10, 100);
	map_memory(200, 100);
	CHECK(pin(10, 100) == 100 && pin(200, 100) == 100, "-");
	CHECK(pin(100, 100) == -EINVAL, "-");
	unpin(0, MAX);
	nothing_is_pinned();
	end();
}

/* Rows of frames of all lengths, and some that do not count, at any place of a leaf. */
static void rows_of_any_length(void)
{
	int round, i, first, n, locked;

	for (round = 0; round < 300; round++) {
		begin_pins();
		for (i = 0; i < FRAMES; i++)
			frame_of[i] = i && unit_below(1 + round % 40) ?
				      (frame_of[i - 1] + 1) % FRAMES :
				      unit_below(FRAMES);
		for (i = 0; i < FRAMES; i++)
			memory[i].reserved = !unit_below(5);
		get_most = 1 + unit_below(MAX);
		first = unit_below(200);
		n = 2 + unit_below(MAX - 1);
		map_memory(0, 2000);
		CHECK(pin(first, n) == n, "-");
		each_has_its_frame(first, n);
		for (locked = 0, i = 0; i < n; i++)
			locked += !pages[i]->reserved;
		CHECK(owner_mm.locked_vm == locked, "%ld are locked, not %d",
		      owner_mm.locked_vm, locked);
		CHECK(frames_pinned() == locked, "%ld", frames_pinned());
		unpin(first, n);
		nothing_is_pinned();
		end();
	}
}

static void pinned_again(void)
{
	begin_pins();
	scatter();
	map_memory(0, 1000);
	CHECK(pin(100, 50) == 50, "-");
	CHECK(pin(0, MAX) == MAX, "-");
	each_has_its_frame(0, MAX);
	CHECK(frames_pinned() == MAX, "%ld", frames_pinned());
	unpin(0, MAX);
	CHECK(frames_pinned() == 50 && owner_mm.locked_vm == 50, "-");
	unpin(100, 50);
	nothing_is_pinned();
	end();
}

/* In this hold of the lock, pins are recorded: one before it for each mapping to be got. */
static unsigned int recording_hold;

/* The mapping behind the first one is gone before the pins are recorded. */
static void second_goes(void)
{
	struct vfio_dma *dma = vfio_find_dma(&iommu, 400ULL << PAGE_SHIFT, 1);

	if (nr_holds < recording_hold)
		return;
	between_holds = NULL;
	rb_erase(&dma->node, &iommu.dma_list);
	vfio_dma_bury(&iommu, dma);
}

static void a_mapping_goes(void)
{
	static const int before[] = { 0, 1, 130, 400 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(before); i++) {
		struct vfio_dma *dma;

		begin_pins();
		scatter();
		dma = map_memory(0, 400);
		map_memory(400, 400);
		CHECK(!before[i] || pin(0, before[i]) == before[i], "-");
		recording_hold = before[i] == 400 ? 2 : 3;
		between_holds = second_goes;
		CHECK(pin(0, MAX) == -EINVAL, "-");
		CHECK(!pages[0] && !pages[MAX - 1], "-");
		/* Nothing was released with the lock held. */
		CHECK(!released_most, "%u folios", released_most);
		CHECK(frames_pinned() == before[i] &&
		      owner_mm.locked_vm == before[i] &&
		      dma->locked_vm == before[i], "%ld, %ld, %ld",
		      frames_pinned(), owner_mm.locked_vm, dma->locked_vm);
		CHECK(dma->pins.nr_pinned == (u64)before[i], "%llu",
		      dma->pins.nr_pinned);
		unpin(0, before[i]);
		nothing_is_pinned();
		vfio_iommu_unlock(&iommu);
		end();
	}
}

/* Two pages of the owner's are one frame, and another call pins the first of them. */
static void pin_all_but_some(void)
{
	struct page *theirs[MAX];

	between_holds = NULL;
	if (vfio_iommu_type1_pin_pages(&iommu, NULL, 7ULL << PAGE_SHIFT, 300,
				       IOMMU_READ, theirs) != 300)
		abort();
	released_most = 0;
}

static void two_calls_at_once(void)
{
	begin_pins();
	scatter();
	frame_of[500] = frame_of[8];
	map_memory(0, 1000);
	between_holds = pin_all_but_some;
	CHECK(pin(0, MAX) == MAX, "-");
	each_has_its_frame(0, MAX);
	CHECK(!released_most, "%u folios", released_most);
	CHECK(frames_pinned() == MAX && owner_mm.locked_vm == MAX, "%ld, %ld",
	      frames_pinned(), owner_mm.locked_vm);
	unpin(7, 300);
	CHECK(frames_pinned() == MAX, "%ld", frames_pinned());
	unpin(0, MAX);
	nothing_is_pinned();
	end();
}

static void pin_and_second_goes(void)
{
	if (nr_holds < recording_hold)
		return;
	pin_all_but_some();
	nr_holds = recording_hold;
	second_goes();
}

static void two_calls_at_once_and_one_fails(void)
{
	begin_pins();
	scatter();
	frame_of[390] = frame_of[8];
	map_memory(0, 400);
	map_memory(400, 400);
	recording_hold = 3;
	between_holds = pin_and_second_goes;
	CHECK(pin(0, MAX) == -EINVAL, "-");
	CHECK(!released_most, "%u folios", released_most);
	CHECK(frames_pinned() == 300 && owner_mm.locked_vm == 300, "%ld, %ld",
	      frames_pinned(), owner_mm.locked_vm);
	unpin(7, 300);
	nothing_is_pinned();
	vfio_iommu_unlock(&iommu);
	end();
}

/*
 * A process and its child have both mapped memory: mappings of 40 pages each, that are
 * theirs in turn.
 */
#define OF_AN_OWNER	40
/* With pages from the 10th on, a call has so many parts. */
#define PARTS		14

static void map_of_two_owners(void)
{
	u64 page;

	begin_pins();
	scatter();
	for (page = 0; page < 2 * MAX; page += OF_AN_OWNER)
		if (page / OF_AN_OWNER % 2)
			map_memory(page, OF_AN_OWNER)->mm = &other_mm;
		else
			map_memory(page, OF_AN_OWNER);
}

static u64 pages_pinned(void)
{
	struct vfio_dma *dma;
	u64 sum = 0, page;

	for (page = 0; page < 2 * MAX; page += OF_AN_OWNER) {
		dma = vfio_find_dma(&iommu, page << PAGE_SHIFT, 1);
		sum += dma ? dma->pins.nr_pinned : 0;
	}
	return sum;
}

/* Before the lock is taken for the last time. */
static void nothing_is_recorded(void)
{
	CHECK(!pages_pinned(), "%llu in hold %u", pages_pinned(), nr_holds);
}

static void pages_of_two_owners(void)
{
	unsigned int holds;

	map_of_two_owners();
	between_holds = nothing_is_recorded;
	CHECK(pin(10, MAX) == MAX, "-");
	between_holds = NULL;
	holds = nr_holds;
	each_has_its_frame(10, MAX);
	CHECK(pages_pinned() == MAX, "%llu", pages_pinned());
	CHECK(owner_mm.locked_vm == 30 + 6 * 40 && other_mm.locked_vm == 6 * 40 + 2,
	      "%ld and %ld", owner_mm.locked_vm, other_mm.locked_vm);
	/* Two for each: to see what is to be got, and that another one follows. */
	CHECK(holds == 2 * PARTS, "%u holds", holds);
	unpin(10, MAX);
	nothing_is_pinned();
	CHECK(!pages_pinned(), "%llu", pages_pinned());
	end();
}

/*
 * Before each hold of the lock in turn, a mapping goes. For two parts nothing is to be
 * got.
 */
static void of_two_owners_and_one_goes(void)
{
	for (recording_hold = 2; recording_hold <= 2 * PARTS - 2;
	     recording_hold++) {
		map_of_two_owners();
		CHECK(pin(30, 100) == 100, "-");
		between_holds = second_goes;
		CHECK(pin(10, MAX) == -EINVAL, "hold %u", recording_hold);
		CHECK(pages_pinned() == 100, "%llu", pages_pinned());
		CHECK(frames_pinned() == 100, "%ld", frames_pinned());
		CHECK(owner_mm.locked_vm + other_mm.locked_vm == 100, "%ld, %ld",
		      owner_mm.locked_vm, other_mm.locked_vm);
		unpin(30, 100);
		nothing_is_pinned();
		vfio_iommu_unlock(&iommu);
		end();
	}
}

/* With each allocation that can fail, and at each limit of locked memory. */
static void of_two_owners_and_no_memory(void)
{
	int fail, ret = -ENOMEM;

	for (fail = 0; ret < 0; fail++) {
		map_of_two_owners();
		shim_fail_in = fail;
		ret = pin(10, MAX);
		shim_fail_in = -1;
		CHECK(ret == MAX || ret == -ENOMEM, "%d", ret);
		CHECK(pages_pinned() == (ret == MAX ? MAX : 0), "%llu",
		      pages_pinned());
		unpin(10, MAX);
		nothing_is_pinned();
		end();
	}
	CHECK(fail > 2 * PARTS, "%d allocations", fail);
	for (ret = -ENOMEM, fail = 0; ret < 0; fail += 10) {
		map_of_two_owners();
		locked_most = fail;
		ret = pin(10, MAX);
		CHECK((ret == MAX) == (fail >= 270), "%d: %d", fail, ret);
		unpin(10, MAX);
		nothing_is_pinned();
		end();
	}
}

/* The owner has put other pages there since another call pinned them. */
static void replace_and_pin(void)
{
	unsigned long old[FRAMES];
	int i;

	memcpy(old, frame_of, sizeof(old));
	for (i = 0; i < FRAMES; i++)
		frame_of[i] = (frame_of[i] + 1) % FRAMES;
	pin_all_but_some();
	memcpy(frame_of, old, sizeof(old));
}

static void another_page_by_now(void)
{
	int i;

	begin_pins();
	map_memory(0, 1000);
	between_holds = replace_and_pin;
	CHECK(pin(0, MAX) == MAX, "-");
	for (i = 0; i < MAX; i++)
		CHECK(page_to_pfn(pages[i]) == (unsigned long)i +
		      (i >= 7 && i < 307), "page %d", i);
	unpin(7, 300);
	unpin(0, MAX);
	nothing_is_pinned();
	end();
}

/* With each allocation that can fail. */
static void no_memory_for_records(void)
{
	int fail, ret = -ENOMEM;

	for (fail = 0; ret < 0; fail++) {
		begin_pins();
		scatter();
		map_memory(0, 1000);
		shim_fail_in = fail;
		ret = pin(30, MAX);
		shim_fail_in = -1;
		CHECK(ret == MAX || ret == -ENOMEM, "%d", ret);
		if (ret == MAX)
			unpin(30, MAX);
		else
			CHECK(!released_most, "%u folios", released_most);
		nothing_is_pinned();
		end();
	}
	CHECK(fail > 9, "%d allocations", fail);
}

static void limit_of_locked_memory(void)
{
	begin_pins();
	memory[5].reserved = true;
	map_memory(0, 1000);
	locked_most = 99;
	CHECK(pin(0, 101) == -ENOMEM, "-");
	nothing_is_pinned();
	CHECK(pin(0, 100) == 100, "-");
	CHECK(owner_mm.locked_vm == 99, "%ld", owner_mm.locked_vm);
	CHECK(pin(300, 1) == -ENOMEM, "-");
	unpin(0, 100);
	CHECK(pin(300, 1) == 1 && pages[0] == memory + 300, "-");
	unpin(300, 1);
	/* The limit is below what is locked, and there is nothing to lock. */
	locked_most = 0;
	CHECK(pin(5, 1) == 1, "-");
	CHECK(!owner_mm.locked_vm, "%ld", owner_mm.locked_vm);
	unpin(5, 1);
	nothing_is_pinned();
	end();
}

/* What a group gives back, of a mapping that has pins: frames of some pages, in a row. */
static void frames_of_a_group(void)
{
	struct vfio_dma *dma;

	begin_pins();
	scatter();
	dma = map_memory(100, 400);
	CHECK(pin(110, 20) == 20 && pin(140, 1) == 1, "-");
#define PINNED(page, pfn, n) \
	vfio_dma_pinned_frames(dma, (page) * PAGE_SIZE, pfn, n)
	CHECK(PINNED(100, 7000, 400) == 21, "%ld", PINNED(100, 7000, 400));
	CHECK(PINNED(100, 7000, 10) == 0 && PINNED(130, 7000, 10) == 0, "-");
	CHECK(PINNED(129, 7000, 12) == 2 && PINNED(140, 7000, 1) == 1, "-");
	/* Those that are given back count, not those that are recorded. */
	memory[frame_of[110]].reserved = true;
	CHECK(PINNED(110, 7000, 20) == 20, "%ld", PINNED(110, 7000, 20));
	memory[7003].reserved = true;
	memory[7020].reserved = true;
	memory[7030].reserved = true;
	CHECK(PINNED(110, 7000, 31) == 19, "%ld", PINNED(110, 7000, 31));
	CHECK(PINNED(140, 7030, 1) == 0, "-");
	/* Of those behind the last one, nothing is known. */
	CHECK(PINNED(110, FRAMES - 5, 20) == 5, "-");
#undef PINNED
	memory[frame_of[110]].reserved = false;
	unpin(110, 31);
	nothing_is_pinned();
	end();
}

/* A kernel thread uses the owner's memory, and nobody else's; it takes no mmap_lock. */
static void by_a_kernel_thread(void)
{
	begin_pins();
	map_memory(0, 1000);
	nr_slow = 0;
	task.mm = NULL;
	task.flags = PF_KTHREAD;
	CHECK(pin(3, 70) == 70, "-");
	each_has_its_frame(3, 70);
	CHECK(!task.mm, "-");
	CHECK(pin(3, 1) == 1 && pages[0] == memory + 3, "-");
	CHECK(pin(200, 1) == 1 && pages[0] == memory + 200, "-");
	CHECK(!nr_slow, "%u times", nr_slow);
	unpin(3, 70);
	unpin(3, 1);
	unpin(200, 1);
	task.mm = &owner_mm;
	task.flags = 0;
	nothing_is_pinned();
	end();
}

/* What is left of a range that goes beyond the last page is not that page's neighbour. */
static void unpin_wraps_around(void)
{
	u64 last = ~0ULL >> PAGE_SHIFT;

	begin_pins();
	map_memory(0, 10);
	CHECK(pin(0, 1) == 1, "page 0");
	unpin(last, 2);
	unpin(last - 5, MAX);
	CHECK(frames_pinned() == 1, "%ld frames are pinned", frames_pinned());
	/* The last page itself is no such range. */
	map_memory(last, 1);
	CHECK(pin(last, 1) == 1, "the last page");
	unpin(last, 1);
	unpin(0, 1);
	nothing_is_pinned();
	end();
}

static void bad_calls(void)
{
	struct vfio_dma *dma;

	begin_pins();
	dma = map_memory(10, 10);
	dma->prot = IOMMU_READ;
	CHECK(pin(10, 2) == -EPERM && pin(10, 1) == -EPERM, "read-only");
	dma->prot |= IOMMU_WRITE;
	CHECK(pin(19, 2) == -EINVAL && pin(20, 1) == -EINVAL, "not mapped");
	CHECK(pin(~0ULL >> PAGE_SHIFT, 2) == TYPE1_ERANGE, "wraps around");
	CHECK(pin(10, MAX + 1) == -EINVAL, "too many");
	iommu.vaddr_invalid_count = 1;
	CHECK(pin(10, 2) == -EBUSY && pin(10, 1) == -EBUSY, "no address");
	iommu.vaddr_invalid_count = 0;
	iommu.v2 = false;
	CHECK(pin(10, 2) == -EACCES, "version 1");
	iommu.v2 = true;
	list_del(&device);
	CHECK(pin(10, 2) == -EINVAL && pin(10, 1) == -EINVAL, "no device");
	nothing_is_pinned();
	end();
}

/* What is left when a mapping ends goes back to its owner. */
static void left_by_a_driver(void)
{
	begin_pins();
	scatter();
	map_memory(0, 1000);
	CHECK(pin(0, MAX) == MAX, "-");
	end();
	nothing_is_pinned();
}

static const struct unit_test tests[] = {
	{ "unpin: R16: folios of a page, in many holds of the lock",
	  small_folios_in_many_holds },
	{ "unpin: a huge page in one hold", a_huge_page_in_one_hold },
	{ "unpin: R16: many mappings, in many holds",
	  many_mappings_in_many_holds },
	{ "unpin: R6: what is not mapped", holes_are_left_alone },
	{ "unpin: R15: what a driver has left", left_by_a_driver },
	{ "pin: R14: rows of frames of any length", rows_of_any_length },
	{ "pin: R5: pages that are pinned", pinned_again },
	{ "pin: R16: a mapping goes meanwhile", a_mapping_goes },
	{ "pin: R16: two calls at once", two_calls_at_once },
	{ "pin: R16: two calls at once, and one fails",
	  two_calls_at_once_and_one_fails },
	{ "pin: R16: pages of two owners", pages_of_two_owners },
	{ "pin: R16: pages of two owners, and one's mapping goes",
	  of_two_owners_and_one_goes },
	{ "pin: R14: pages of two owners, and no memory",
	  of_two_owners_and_no_memory },
	{ "pin: another page is there by now", another_page_by_now },
	{ "pin: R14: no memory for records", no_memory_for_records },
	{ "pin: R14: the limit of locked memory", limit_of_locked_memory },
	{ "pin: R14: frames of a group", frames_of_a_group },
	{ "pin: a kernel thread", by_a_kernel_thread },
	{ "pin: R13: bad calls", bad_calls },
	{ "pin: R13: an unpin that wraps around", unpin_wraps_around },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
