// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin store: what it must do in cases that random operations seldom meet.
 */
#include "pin_store_unit.h"

static void begin(void)
{
	pin_store_init(&store);
	tracking = false;
}

/* Frames for pages: in the order of the pages, or in no order at all. */
static unsigned long frame_in_order(u64 page)
{
	return 77 + page;
}

static unsigned long frame_scattered(u64 page)
{
	return (1UL << 39) - 2 * page;
}

/* Pin @n pages for writing, each by a call of its own. */
static void pin_range(u64 first, unsigned int n, unsigned int step,
		      unsigned long (*frame)(u64 page))
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		u64 page = first + (u64)i * step;

		CHECK(pin_store_pin(&store, page, 1, frame(page), true,
				    tracking) == 1, "-");
	}
}

/* Undo one pin of a page. Return: number of frames to release, 0 or 1. */
static unsigned int unpin_page(u64 page)
{
	struct gone gone;

	unpin(page, page, true, &gone);
	return gone.nr;
}

static void drop_all(u64 first, u64 last)
{
	u64 next;

	for (next = first; next <= last;)
		drop(next, last, PIN_DROP_ALL, &next);
}

/* A report of [first, last], that nobody looks at. */
static void report_range(u64 first, u64 last)
{
	u64 *words = calloc((last - first) / 64 + 2, sizeof(*words));
	struct pin_report report = {
		.bitmap = words, .offset = -(s64)first, .begin = first,
	};
	struct pin_span span;

	pin_store_report(&store, first, last, &report, &span);
	free(words);
}

static void memory_dense(void)
{
	begin();
	pin_range(0, 65536, 1, frame_scattered);
	CHECK(shim_bytes <= 65536 * 10, "%zu bytes a 65536 pages", shim_bytes);
	pin_store_destroy(&store);
}

static void memory_huge(void)
{
	begin();
	pin_range(0, 65536, 1, frame_in_order);
	CHECK(shim_bytes <= 65536 * 2, "%zu bytes a 65536 pages", shim_bytes);
	pin_store_destroy(&store);
}

static void memory_isolated(void)
{
	begin();
	pin_range(0, 4096, 1u << 18, frame_scattered);
	CHECK(shim_bytes <= 4096 * 160, "%zu bytes a 4096 pages", shim_bytes);
	pin_store_destroy(&store);
}

/* Memory a page, for any number of pages in a leaf: never more than the limit. */
static void memory_worst(void)
{
	unsigned int n, leaf;

	for (n = 1; n <= 64; n++) {
		begin();
		for (leaf = 0; leaf < 64; leaf++)
			pin_range(leaf * 64 + 64 - n, n, 1, frame_scattered);
		CHECK(shim_bytes <= n * 64 * 160, "%u pages a leaf: %zu bytes",
		      n, shim_bytes);
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

/* A pin of a range succeeds, or stops after some pages, which are then undone. */
static void failed_pin_is_undone(void)
{
	unsigned int fail, done, i;
	struct gone gone;

	for (fail = 0; fail < 24; fail++) {
		begin();
		pin_range(100, 3, 1, frame_scattered);
		shim_fail_in = fail;
		done = pin_store_pin(&store, 103, 1400, frame_in_order(103),
				     true, tracking);
		CHECK(done < 1400 || fail > 20, "%u", fail);
		shim_fail_in = -1;
		CHECK(store.nr_pinned == 3 + done, "%llu", store.nr_pinned);
		for (i = 0; i < done; i++) {
			unpin(103 + i, 103 + i, false, &gone);
			CHECK(gone.nr == 1 &&
			      gone.pfns[0] == frame_in_order(103 + i), "%u", i);
		}
		CHECK(store.nr_pinned == 3, "%llu", store.nr_pinned);
		CHECK(shim_objects <= 2 + store.spare.nr, "%ld", shim_objects);
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

/* Fails at each allocation, with more leaves than one batch, three of which exist. */
static void failed_retain_changes_nothing(void)
{
	unsigned int fail;
	int ret;

	for (fail = 0; fail < 100; fail++) {
		size_t bytes;

		begin();
		pin_range(70, 5, 1, frame_scattered);
		CHECK(!pin_store_retain(&store, 700, 720), "-");
		bytes = shim_bytes;
		shim_fail_in = fail;
		ret = pin_store_retain(&store, 12, 64 * 40);
		shim_fail_in = -1;
		if (!ret)
			break;
		CHECK(ret == -12, "%d", ret);
		bytes += store.spare.nr * sizeof(struct pin_leaf);
		CHECK(shim_bytes == bytes, "%zu", shim_bytes - bytes);
		CHECK(store.nr_retained == 21, "%llu", store.nr_retained);
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
	CHECK(fail == 41 - 3, "%u", fail);
	CHECK(store.nr_retained == 64 * 40 - 12 + 1, "%llu", store.nr_retained);
	pin_store_destroy(&store);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void written_again_loses_the_mark(void)
{
	begin();
	pin_range(7, 1, 1, frame_in_order);
	unpin_page(7);
	report_range(0, 63);
	/* The device writes once more between the snapshot and the drop. */
	pin_range(7, 1, 1, frame_in_order);
	unpin_page(7);
	CHECK(!drop_reported(0, 63), "record dropped");
	CHECK(store.nr_retained == 1, "%llu", store.nr_retained);
	pin_store_destroy(&store);
}

static void drop_outside_range_stays(void)
{
	u64 page;

	begin();
	pin_range(0, 192, 1, frame_in_order);
	for (page = 0; page < 192; page++)
		unpin_page(page);
	report_range(0, 191);
	CHECK(drop_reported(63, 128) == 66, "-");
	CHECK(store.nr_retained == 192 - 66, "%llu", store.nr_retained);
	pin_store_destroy(&store);
}

static void a_walk_has_a_limit(void)
{
	const u64 nr = 2 * PIN_STORE_WALK_LEAVES + 10, last = nr * 64 - 1;
	u64 i, next = 0, before;

	begin();
	pin_range(5, nr, 64, frame_in_order);
	for (i = 0; i < nr; i++) {
		unpin_page(5 + i * 64);
		report_range(i * 64, i * 64 + 63);
	}
	for (i = 0; next <= last; i++) {
		before = next;
		CHECK(!pin_store_next_dirty(&store, next, last, PIN_UNREPORTED,
					    &next), "page %llu", next);
		CHECK(next - before <= 64 * PIN_STORE_WALK_LEAVES, "%llu",
		      next);
	}
	CHECK(i == 3, "%llu calls", i);
	pin_store_destroy(&store);
}

/* In a store with nothing dirty, the walk is over at once, one past the range. */
static void nothing_is_dirty(void)
{
	u64 next = 0;

	begin();
	CHECK(!pin_store_next_dirty(&store, 3, 70, PIN_DIRTY, &next) &&
	      next == 71, "%llu", next);
	CHECK(pin_store_pin(&store, 5, 1, 77, false, tracking) == 1, "-");
	next = 0;
	CHECK(!pin_store_next_dirty(&store, 3, 70, PIN_DIRTY, &next) &&
	      next == 71, "%llu", next);
	unpin_page(5);
	pin_store_destroy(&store);
}

/* Leaves, of which each drop looks at some; so does the next one, which frees them. */
static void a_drop_has_a_limit(void)
{
	const u64 nr = 2 * PIN_STORE_DROP_LEAVES, last = nr * 64 - 1;
	u64 i, next, sum = 0;

	begin();
	pin_range(5, nr, 64, frame_in_order);
	for (i = 0; i < nr; i++)
		unpin_page(5 + i * 64);
	report_range(0, last);
	for (i = 0, next = 0; next <= last; i++) {
		u64 done = drop(next, last, PIN_DROP_REPORTED, &next);

		sum += done;
		CHECK(done < PIN_STORE_DROP_LEAVES + 64 && next == sum * 64,
		      "%llu, next is %llu", done, next);
	}
	CHECK(i > 1 && sum == nr && !store.nr_retained, "%llu, %llu", i, sum);
	for (i = 0, next = 0; next <= last; i++)
		CHECK(!drop(next, last, PIN_DROP_REPORTED, &next), "-");
	CHECK(i > 1, "%llu", i);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* A plane for @nr leaves, all retained, with a mark or without. */
static void retained_plane(u64 nr, bool marked)
{
	begin();
	CHECK(!pin_store_retain(&store, 0, nr * 64 - 1), "-");
	CHECK(store.nr_planed == nr * 64 && !store.root.rb_node, "%llu",
	      store.nr_planed);
	/* The plane, and leaves to spare. */
	CHECK(shim_objects == 1 + store.spare.nr, "%ld objects", shim_objects);
	if (marked)
		report_range(0, nr * 64 - 1);
}

/* Parts of a report meet in the midst of a word: what comes between them is kept. */
static void a_word_in_two_parts(void)
{
	u64 words[8] = {}, page;
	struct pin_report report = { .bitmap = words };
	struct pin_span span;

	for (page = 64; page < 128; page++) {
		retained_plane(8, false);
		pin_store_report(&store, 0, 95, &report, &span);
		CHECK(!pin_store_retain(&store, page, page), "-");
		pin_store_report(&store, 96, 511, &report, &span);
		drop_reported(0, 511);
		CHECK(store_retains(page), "page %llu", page);
		CHECK(store.nr_retained == 64, "%llu", store.nr_retained);
		report_range(0, 511);
		CHECK(drop_reported(0, 511) == 64, "-");
		pin_store_destroy(&store);
	}
}

/* A report of pages of a plane, of one and of all that there can be. */
static void a_part_of_a_plane(void)
{
	u64 first, last;

	for (first = 0; first < 512; first += 37) {
		for (last = first; last < 512; last += 31) {
			retained_plane(8, false);
			report_range(first, last);
			CHECK(drop_reported(first, last) == last - first + 1,
			      "%llu-%llu", first, last);
			CHECK(store.nr_retained == 511 - (last - first),
			      "%llu-%llu", first, last);
			CHECK(!store_retains(first) && !store_retains(last),
			      "%llu-%llu", first, last);
			pin_store_destroy(&store);
		}
	}
}

/* A report of a whole plane: of few pages, word by word; of more, all in a row. */
static void a_plane_of_any_number(void)
{
	unsigned int n, i;

	for (n = 6; n <= 64; n++) {
		u64 words[64] = {};
		struct pin_report report = { .bitmap = words };
		struct pin_span span;

		begin();
		tracking = true;
		pin_range(1, n, 63, frame_in_order);
		for (i = 0; i < n; i++)
			unpin_page(1 + i * 63);
		CHECK(store.nr_planed == n, "%llu", store.nr_planed);
		CHECK(pin_store_report(&store, 0, 4095, &report, &span), "-");
		for (i = 0; i < n; i++)
			words[(1 + i * 63) / 64] ^= 1ULL << (1 + i * 63) % 64;
		for (i = 0; i < 64; i++)
			CHECK(!words[i], "%u pages, word %u", n, i);
		CHECK(drop_reported(0, 4095) == n, "%u", n);
		pin_store_destroy(&store);
	}
}

/* A report of all of a plane has each page that is retained, and no other one. */
static void all_of_a_plane(void)
{
	static u64 words[64], want[64];
	struct pin_report report = { .bitmap = words };
	struct pin_span span;
	unsigned int i, skip;
	u64 page;

	/* Once with a page or more in each word, once with some empty words. */
	for (skip = 0; skip < 2; skip++) {
		retained_plane(8, false);
		drop_all(0, 511);
		memset(words, 0, sizeof(words));
		memset(want, 0, sizeof(want));
		for (i = 0; i < 64 * 20; i++) {
			page = (i % 64) * 64 + unit_below(64);
			if (skip && i % 5 == 0)
				continue;
			want[page / 64] |= 1ULL << page % 64;
			CHECK(!pin_store_retain(&store, page, page), "-");
		}
		CHECK(store.planes.rb_node, "no plane");
		CHECK(pin_store_report(&store, 0, 4095, &report, &span), "-");
		for (i = 0; i < 64; i++)
			CHECK(words[i] == want[i], "word %u", i);
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

/* Bits behind the page's own number, by each number of bits around a word. */
static void a_report_with_an_offset(void)
{
	u64 words[12], page;
	struct pin_report report = { .bitmap = words };
	struct pin_span span;

	for (report.offset = 0; report.offset < 130; report.offset++) {
		begin();
		CHECK(!pin_store_retain(&store, 3, 70), "-");
		CHECK(!pin_store_retain(&store, 400, 400), "-");
		memset(words, 0, sizeof(words));
		CHECK(pin_store_report(&store, 0, 511, &report, &span), "-");
		for (page = 0; page < 512; page++) {
			u64 bit = page + report.offset;

			CHECK((words[bit / 64] >> bit % 64 & 1) ==
			      ((page >= 3 && page <= 70) || page == 400),
			      "page %llu, offset %lld", page, report.offset);
		}
		pin_store_destroy(&store);
	}
}

/* Without memory for a plane, leaves retain the same. */
static void no_plane(void)
{
	u64 i;

	begin();
	tracking = true;
	for (i = 0; i < 64; i++) {
		/* A leaf can be had, and no plane. */
		shim_fail_in = 1;
		pin_range(i * 64, 1, 1, frame_in_order);
		shim_fail_in = -1;
	}
	CHECK(!store.planes.rb_node, "there is a plane");
	for (i = 0; i < 64; i++)
		CHECK(unpin_page(i * 64) == 1, "page %llu", i * 64);
	CHECK(store.nr_retained == 64 && !store.nr_planed, "%llu",
	      store.nr_planed);
	/* The next pin has one, and it takes all that was retained. */
	pin_range(7, 1, 1, frame_in_order);
	CHECK(store.nr_planed == 64, "%llu", store.nr_planed);
	CHECK(unpin_page(7) == 1 && !store.root.rb_node, "-");
	report_range(0, 4095);
	CHECK(drop_reported(0, 4095) == 65, "-");
	pin_store_destroy(&store);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* Pins that began before a plane was there are retained in it. */
static void pinned_before_the_plane(void)
{
	u64 i;

	begin();
	pin_range(0, 256, 1, frame_scattered);
	for (i = 0; i < 256; i += 2)
		unpin_page(i);
	CHECK(store.nr_retained == 128 && !store.nr_planed, "-");
	tracking = true;
	pin_range(256, 1, 1, frame_scattered);
	CHECK(store.nr_planed == 128, "%llu", store.nr_planed);
	for (i = 1; i < 256; i += 2)
		unpin_page(i);
	CHECK(store.nr_planed == 256 && store.nr_pinned == 1, "%llu",
	      store.nr_planed);
	pin_store_destroy(&store);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* A device that goes on with the same pages needs no memory after a report. */
static void emptied_leaves_are_used_again(void)
{
	unsigned int round;
	u64 i;

	begin();
	tracking = true;
	for (round = 0; round < 3; round++) {
		shim_fail_in = round ? 0 : -1;
		for (i = 0; i < 40; i++)
			CHECK(!pin_store_retain(&store, i * 5000, i * 5000),
			      "%llu", i);
		CHECK(!pin_store_retain(&store, 1 << 20, (1 << 20) + 511),
		      "-");
		shim_fail_in = -1;
		report_range(0, 1 << 21);
		CHECK(drop_reported(0, 1 << 21) == 552, "-");
	}
	CHECK(store.nr_empty == 40 && store.planes.rb_node, "%llu",
	      store.nr_empty);
	/* Nothing came since: all of it goes. */
	CHECK(!drop_reported(0, 1 << 21), "-");
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* So does one with a ring, page by page, while what it writes is retained. */
static void a_ring_needs_no_memory(void)
{
	u64 i;

	retained_plane(8, false);
	tracking = true;
	for (i = 0; i < 512; i++) {
		pin_range(i, 1, 1, frame_in_order);
		CHECK(unpin_page(i) == 1 && !store.root.rb_node, "%llu", i);
		shim_fail_in = 0;
	}
	shim_fail_in = -1;
	pin_store_destroy(&store);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void planes_have_limits(void)
{
	const u64 nr = PIN_STORE_WALK_PLANES + 10, last = nr * PLANE_PAGES - 1;
	u64 i, next, calls, dropped;

	begin();
	for (i = 0; i < nr; i++)
		CHECK(!pin_store_retain(&store, i * PLANE_PAGES,
					i * PLANE_PAGES + 511), "-");
	CHECK(store.nr_planed == nr * 512, "%llu", store.nr_planed);
	for (i = 0; i < nr; i++)
		report_range(i * PLANE_PAGES, (i + 1) * PLANE_PAGES - 1);
	for (calls = 0, next = 0; next <= last; calls++)
		CHECK(!pin_store_next_dirty(&store, next, last, PIN_UNREPORTED,
					    &next), "page %llu", next);
	CHECK(calls == 2, "%llu calls", calls);
	for (calls = 0, next = 0; next <= last; calls++) {
		dropped = drop(next, last, PIN_DROP_REPORTED, &next);
		CHECK(dropped <= PIN_STORE_DROP_LEAVES * 512ULL, "%llu",
		      dropped);
	}
	CHECK(calls > 4 && !store.nr_retained, "%llu calls", calls);
	/* Now they are freed, which takes longer. */
	for (calls = 0, next = 0; next <= last; calls++)
		drop(next, last, PIN_DROP_REPORTED, &next);
	CHECK(calls > nr / 64, "%llu calls", calls);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* A plane that is dropped in parts goes when it is found empty, as any other. */
static void a_plane_dropped_in_parts(void)
{
	u64 i;

	retained_plane(64, true);
	for (i = 0; i < 2; i++) {
		CHECK(!pin_store_is_empty(&store), "-");
		CHECK(drop_reported(0, 2047) == (i ? 0 : 2048), "-");
		CHECK(drop_reported(2048, 4095) == (i ? 0 : 2048), "-");
	}
	CHECK(pin_store_is_empty(&store), "-");
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void memory_retained(void)
{
	begin();
	CHECK(!pin_store_retain(&store, 0, 65535), "-");
	CHECK(shim_bytes <= 65536 * 15 / 100, "%zu bytes a 65536 pages",
	      shim_bytes);
	pin_store_destroy(&store);
}

static void detach_spares_pins(void)
{
	struct pin_store old;

	retained_plane(8, false);
	pin_range(3, 1, 1, frame_in_order);
	CHECK(!pin_store_detach(&store, &old), "-");
	CHECK(store.nr_pinned == 1 && store.nr_retained == 512, "-");
	unpin_page(3);
	CHECK(pin_store_detach(&store, &old) && old.nr_retained == 512, "-");
	CHECK(!store.nr_retained && pin_store_is_empty(&store), "-");
	pin_store_destroy(&old);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void caches_that_cannot_be_had(void)
{
	int fail;

	for (fail = 0; fail < 2; fail++) {
		shim_fail_in = fail;
		CHECK(pin_store_cache_create() == -12, "%d", fail);
		shim_fail_in = -1;
	}
	CHECK(!pin_store_cache_create(), "-");
	pin_store_cache_destroy();
}

static void many_pins_of_one_page(void)
{
	const unsigned long pfn = (1UL << 40) - 1;
	struct pin_row row;
	unsigned int i;

	begin();
	for (i = 0; i < PIN_STORE_REFS_MAX; i++)
		pin_store_pin(&store, 5, 1, pfn, false, false);
	CHECK(pin_store_next_pinned(&store, 0, 63, &row), "-");
	CHECK(row.page == 5 && row.n == 1, "%llu, %u", row.page, row.n);
	CHECK(row.pins == PIN_STORE_REFS_MAX, "%u", row.pins);
	CHECK(row.pfn == pfn, "%lx", row.pfn);
	for (i = 1; i < PIN_STORE_REFS_MAX; i++)
		CHECK(!unpin_page(5), "%u", i);
	CHECK(unpin_page(5) == 1, "-");
	CHECK(!store.nr_retained, "a page pinned for reading was retained");
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* Pages with frames in order take one element of frames[], not one each. */
static void frames_in_order_come_back_as_one(void)
{
	static struct gone gone;

	begin();
	CHECK(pin_store_pin(&store, 5, 5000, 123456, true, false) == 5000, "-");
	unpin(0, 9999, false, &gone);
	CHECK(gone.nr == 5000 && gone.elements == 1,
	      "%u frames in %u elements", gone.nr, gone.elements);
	CHECK(gone.pfns[0] == 123456, "%lu", gone.pfns[0]);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

/* A pinned leaf, of which a part is pinned again, at each border of the part. */
static void pinned_again_in_part(void)
{
	unsigned int first, last;
	struct pin_row row;
	struct gone gone;

	for (first = 0; first < 64; first++) {
		for (last = first; last < 64; last++) {
			unsigned int n = last - first + 1;

			begin();
			pin_store_pin(&store, 64, 64, 1000, false, false);
			pin_store_pin(&store, 64 + first, n, 1000 + first,
				      false, false);
			CHECK(store.nr_pinned == 64, "%llu", store.nr_pinned);
			unpin(0, 191, false, &gone);
			CHECK(gone.nr == 64 - n, "%u-%u: %u", first, last,
			      gone.nr);
			CHECK(store.nr_pinned == n, "%llu", store.nr_pinned);
			CHECK(pin_store_next_pinned(&store, 0, 191, &row), "-");
			CHECK(row.page == 64 + first && row.pins == 1 &&
			      row.pfn == 1000 + first, "%u-%u", first, last);
			unpin(64 + first, 64 + last, false, &gone);
			CHECK(gone.nr == n && gone.pfns[0] == 1000 + first,
			      "%u-%u", first, last);
			CHECK(!shim_objects, "%ld leaked", shim_objects);
		}
	}
}

/* The lowest and the highest frame number, alone and beside others. */
static void frames_at_the_ends(void)
{
	static const unsigned long pfns[] = { 0, (1UL << 40) - 1 };
	unsigned int i, others;
	struct pin_row row;
	struct gone gone;

	for (i = 0; i < 4; i++) {
		begin();
		others = i / 2 * 3;
		pin_range(20, others, 2, frame_scattered);
		pin_store_pin(&store, 9, 1, pfns[i % 2], true, false);
		pin_store_pin(&store, 9, 1, pfns[i % 2], true, false);
		CHECK(!unpin_page(9), "one of two pins was the last");
		CHECK(pin_store_next_pinned(&store, 0, 63, &row), "-");
		CHECK(row.page == 9 && row.pfn == pfns[i % 2] && row.pins == 1,
		      "%llu, %lx, %u", row.page, row.pfn, row.pins);
		unpin(9, 9, false, &gone);
		CHECK(gone.nr == 1 && gone.pfns[0] == pfns[i % 2], "%u, %lx",
		      gone.nr, gone.pfns[0]);
		CHECK(store.nr_pinned == others, "%llu", store.nr_pinned);
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

static const struct unit_test tests[] = {
	{ "store: at most 10 bytes a page where all are pinned", memory_dense },
	{ "store: at most 2 bytes a page of huge pages", memory_huge },
	{ "store: at most 160 bytes an isolated page", memory_isolated },
	{ "store: at most 160 bytes a page, whatever is pinned", memory_worst },
	{ "store: R14: a pin that runs out of memory says how far it got",
	  failed_pin_is_undone },
	{ "store: R14: a retain that runs out of memory changes nothing",
	  failed_retain_changes_nothing },
	{ "store: frames in order come back as one",
	  frames_in_order_come_back_as_one },
	{ "store: the lowest and the highest frame", frames_at_the_ends },
	{ "store: a leaf pinned again in part, at all borders",
	  pinned_again_in_part },
	{ "store: R3: a page written after the snapshot keeps its record",
	  written_again_loses_the_mark },
	{ "store: R3, D8: records outside of the range stay",
	  drop_outside_range_stays },
	{ "store: R17: a walk over nothing dirty is over at once", nothing_is_dirty },
	{ "store: D1: a drop that frees leaves goes on where it stopped", a_drop_has_a_limit },
	{ "store: R16: a walk ends at a number of leaves", a_walk_has_a_limit },
	{ "store: R3: a word of a plane that two parts of a report have",
	  a_word_in_two_parts },
	{ "store: R3, D8: a report of a part of a plane", a_part_of_a_plane },
	{ "store: R3: a report of a whole plane", a_plane_of_any_number },
	{ "store: R3: a report of all of a plane", all_of_a_plane },
	{ "store: R3: a report with an offset", a_report_with_an_offset },
	{ "store: R14: no memory for a plane", no_plane },
	{ "store: R2: pinned before there was a plane",
	  pinned_before_the_plane },
	{ "store: what a drop empties is used again, or goes",
	  emptied_leaves_are_used_again },
	{ "store: R14: a ring that is retained needs no memory",
	  a_ring_needs_no_memory },
	{ "store: R16: walks and drops end at a number of planes",
	  planes_have_limits },
	{ "store: a plane that is dropped in parts", a_plane_dropped_in_parts },
	{ "store: at most 0.15 bytes a page where all are retained",
	  memory_retained },
	{ "store: R7: what is pinned is not detached", detach_spares_pins },
	{ "store: no memory for a cache", caches_that_cannot_be_had },
	{ "store: R12: a page pinned very often, for reading, is not retained",
	  many_pins_of_one_page },
};

int main(void)
{
	if (pin_store_cache_create())
		return 1;
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
