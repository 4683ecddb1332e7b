// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin store, compared with a model that is too simple to be wrong: an array.
 */
#include <string.h>
#include <linux/limits.h>
#include <linux/slab.h>

#include "pin_store.h"
#include "unit.h"

/*
 * The model's pages: a dense part that crosses borders of leaves, and a sparse
 * part far away from it.
 */
#define NR_DENSE	400
#define NR_PAGES	520
#define DENSE_BASE	61ULL
#define SPARSE_BASE	((1ULL << 40) + 5)
#define SPARSE_STEP	29

struct model_page {
	unsigned int refs;
	unsigned long pfn;
	bool written;
	bool retained;
	bool reported;
};

static struct model_page model[NR_PAGES];
static struct pin_store store;

static u64 page_of(unsigned int i)
{
	if (i < NR_DENSE)
		return DENSE_BASE + i;
	return SPARSE_BASE + (u64)(i - NR_DENSE) * SPARSE_STEP;
}

/* A random range that begins and ends at pages of one part of the model. */
static void random_range(unsigned int *first, unsigned int *last)
{
	unsigned int low = unit_below(4) ? 0 : NR_DENSE;
	unsigned int high = low ? NR_PAGES : NR_DENSE;
	unsigned int max = unit_below(3) ? 20 : high - low;

	*first = low + unit_below(high - low);
	*last = *first + unit_below(max);
	if (*last >= high)
		*last = high - 1;
}

static void begin(void)
{
	memset(model, 0, sizeof(model));
	pin_store_init(&store);
}

static void model_pin(unsigned int i, unsigned long pfn, bool write)
{
	if (!model[i].refs++)
		model[i].pfn = pfn;
	model[i].written |= write;
}

static void model_retain(unsigned int i)
{
	model[i].retained = true;
	model[i].reported = false;
}

static void model_forget(unsigned int i)
{
	model[i].retained = false;
	model[i].reported = false;
}

/*
 * Frames for pages [first, last]: either in the order of the pages, as in huge pages,
 * from a base that is always the same or new in each call; or scattered.
 */
static void random_frames(unsigned int first, unsigned int last,
			  unsigned long *pfns)
{
	unsigned int how = unit_below(3), i;
	unsigned long base = how ? 12345 : unit_below(1ULL << 39);
	bool scattered = how == 2 && unit_below(2);

	for (i = first; i <= last; i++) {
		struct pin_row row = { .pfn = base + page_of(i) % (1ULL << 38) };

		if (scattered)
			row.pfn = unit_below(1ULL << 40);
		pin_store_next_pinned(&store, page_of(i), page_of(i), &row);
		pfns[i] = row.pfn;
	}
}

/* Frames that are not pinned any more, as the store returns them. */
struct gone {
	unsigned long pfns[NR_PAGES];
	unsigned int nr;
	unsigned int elements;
};

static void add_gone(struct gone *gone, unsigned long pfn, unsigned int n)
{
	for (; n; n--, gone->nr++, pfn++)
		if (gone->nr < NR_PAGES)
			gone->pfns[gone->nr] = pfn;
}

/* Undoes one pin of each page; for a single page, by either function. */
static void unpin(u64 first, u64 last, bool retain, struct gone *gone)
{
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned long pfn;
	unsigned int nr, i;
	u64 next;

	gone->nr = 0;
	gone->elements = 0;
	if (first == last && unit_below(2)) {
		pfn = pin_store_unpin_page(&store, first, retain);
		if (pfn != PIN_STORE_NO_FRAME)
			add_gone(gone, pfn, 1);
		return;
	}
	for (; first <= last; first = next) {
		next = pin_store_unpin(&store, first, last, retain, frames,
				       &nr);
		CHECK(next > first && nr <= PIN_STORE_FRAMES, "%u frames", nr);
		for (i = 0; i < nr; i++)
			add_gone(gone, frames[i].pfn, frames[i].n);
		gone->elements += nr;
	}
}

/* How many pages from @i on one call can pin: pages and frames are consecutive. */
static unsigned int in_row(unsigned int i, unsigned int last,
			   const unsigned long *pfns)
{
	unsigned int n = 1;

	while (i + n <= last && page_of(i + n) == page_of(i) + n &&
	       pfns[i + n] == pfns[i] + n && unit_below(100))
		n++;
	return n;
}

/*
 * Pin [first, last] in as few calls as possible. @written: whether pages are marked as
 * written by pin_store_written(). Return: one past the last page that was pinned.
 */
static unsigned int pin_pages(unsigned int first, unsigned int last,
			      bool write, bool written)
{
	unsigned long pfns[NR_PAGES];
	unsigned int i, j, n, done;

	random_frames(first, last, pfns);
	for (i = first; i <= last; i += n) {
		n = in_row(i, last, pfns);
		done = pin_store_pin(&store, page_of(i), n, pfns[i],
				     write && !written);
		for (j = i; j < i + done; j++)
			model_pin(j, pfns[j], write);
		if (write && written && done)
			pin_store_written(&store, page_of(i),
					  page_of(i) + done - 1);
		if (done < n)
			return i + done;
	}
	return last + 1;
}

static void do_pin(void)
{
	unsigned int first, last, end;

	random_range(&first, &last);
	if (!unit_below(8))
		shim_fail_in = unit_below(8);
	end = pin_pages(first, last, unit_below(3), unit_below(2));
	CHECK(end > last || shim_fail_in == 0, "%u of %u-%u", end, first, last);
	shim_fail_in = -1;
}

static void model_unpin(unsigned int i, bool retain)
{
	struct model_page *page = &model[i];

	if (page->refs == 1 && retain && page->written)
		model_retain(i);
	if (page->refs)
		page->refs--;
	if (!page->refs)
		page->written = false;
}

/* Which frames must be returned when one pin of [first, last] is undone. */
static unsigned int model_unpin_range(unsigned int first, unsigned int last,
				      bool retain, unsigned long *want)
{
	unsigned int i, nr = 0;

	for (i = first; i <= last; i++) {
		if (model[i].refs == 1)
			want[nr++] = model[i].pfn;
		model_unpin(i, retain);
	}
	return nr;
}

static void do_unpin(void)
{
	bool retain = unit_below(4);
	unsigned long want[NR_PAGES];
	unsigned int first, last, nr;
	struct gone gone;

	random_range(&first, &last);
	nr = model_unpin_range(first, last, retain, want);
	shim_fail_in = 0;
	unpin(page_of(first), page_of(last), retain, &gone);
	shim_fail_in = -1;
	CHECK(gone.nr == nr, "%u-%u: %u frames, should be %u", first, last,
	      gone.nr, nr);
	CHECK(!memcmp(gone.pfns, want, nr * sizeof(*want)), "%u-%u", first,
	      last);
}

/* Checks that every page of the row is as the row says. */
static void check_row(unsigned int i, const struct pin_row *row)
{
	unsigned int n;

	CHECK(row->page == page_of(i) && row->n, "page %u", i);
	for (n = 0; n < row->n; n++, i++) {
		CHECK(i < NR_PAGES && page_of(i) == row->page + n, "page %u", i);
		CHECK(model[i].refs == row->pins, "page %u", i);
		CHECK(model[i].pfn == row->pfn + n, "page %u", i);
	}
}

static void do_next_pinned(void)
{
	struct pin_row row;
	unsigned int first, last, i;
	bool found;

	random_range(&first, &last);
	found = pin_store_next_pinned(&store, page_of(first), page_of(last),
				      &row);
	for (i = first; i <= last && !model[i].refs; i++)
		CHECK(!pin_store_pinned(&store, page_of(i)), "page %u", i);
	CHECK(found == (i <= last), "%u-%u", first, last);
	CHECK(!found || pin_store_pinned(&store, page_of(i)), "page %u", i);
	if (!found)
		return;
	check_row(i, &row);
	CHECK(row.page + row.n - 1 <= page_of(last), "%u-%u", first, last);
}

static void do_retain(void)
{
	unsigned int first, last, i;
	int ret;

	random_range(&first, &last);
	if (first >= NR_DENSE)
		last = first;
	if (!unit_below(4))
		shim_fail_in = unit_below(8);
	ret = pin_store_retain(&store, page_of(first), page_of(last));
	CHECK(!ret || (ret == -12 && shim_fail_in >= 0), "%d", ret);
	shim_fail_in = -1;
	for (i = first; !ret && i <= last; i++)
		model_retain(i);
}

static bool model_dirty(unsigned int i)
{
	return model[i].written || model[i].retained;
}

#define BITMAP_WORDS	((NR_PAGES * SPARSE_STEP + 256) / 64)

/* Compares a report of [first, last] bit by bit; other bits must not change. */
static void check_report(unsigned int first, unsigned int last,
			 unsigned int order)
{
	static u64 want[BITMAP_WORDS], got[BITMAP_WORDS];
	u64 base = page_of(first) >> order << order;
	struct pin_span span = { 1, 0 };
	u64 low = ~0ULL, high = 0;
	u64 bit = unit_below(130);
	unsigned int i;

	if (base < DENSE_BASE)
		base = 0;
	for (i = 0; i < BITMAP_WORDS; i++)
		want[i] = unit_random() & unit_random();
	memcpy(got, want, sizeof(got));
	for (i = 0; i < NR_PAGES; i++) {
		u64 at;

		if (page_of(i) < base || page_of(i) > page_of(last) ||
		    !model_dirty(i))
			continue;
		at = bit + ((page_of(i) - base) >> order);
		want[at / 64] |= 1ULL << at % 64;
		low = low < page_of(i) ? low : page_of(i);
		high = page_of(i);
		if (model[i].retained)
			model[i].reported = true;
	}
	CHECK(pin_store_report(&store, base, page_of(last), order, got, bit,
			       &span) == !!high,
	      "%u-%u order %u", first, last, order);
	if (high)
		CHECK(span.first >= base && span.first <= low &&
		      span.last >= high && span.last <= page_of(last),
		      "%llu-%llu, span %llu-%llu", low, high, span.first,
		      span.last);
	else
		CHECK(span.first == 1, "span was touched");
	for (i = 0; i < BITMAP_WORDS; i++)
		CHECK(want[i] == got[i], "%u-%u order %u word %u: %llx %llx",
		      first, last, order, i, want[i], got[i]);
}

static void do_report(void)
{
	unsigned int first, last;

	random_range(&first, &last);
	check_report(first, last, unit_below(3) ? 0 : unit_below(10));
}

/* Repeats a drop, which stops now and then, until it is complete. */
static u64 drop_reported(u64 first, u64 last)
{
	u64 nr = 0;

	while (first <= last)
		nr += pin_store_drop(&store, first, last, PIN_DROP_REPORTED,
				     &first);
	return nr;
}

static void do_drop(void)
{
	unsigned int first, last, i;
	u64 nr = 0;

	random_range(&first, &last);
	for (i = first; i <= last; i++) {
		nr += model[i].reported;
		if (model[i].reported)
			model_forget(i);
	}
	CHECK(drop_reported(page_of(first), page_of(last)) == nr, "%u-%u",
	      first, last);
}

static void do_drop_all(void)
{
	unsigned int first, last, i;
	u64 next;

	if (unit_below(10))
		return;
	random_range(&first, &last);
	for (i = first; i <= last; i++)
		model_forget(i);
	for (next = page_of(first); next <= page_of(last);)
		pin_store_drop(&store, next, page_of(last), PIN_DROP_ALL, &next);
}

/* The next dirty page, however many leaves one call looks at. */
static u64 next_dirty(u64 first, u64 last, enum pin_record which)
{
	u64 next = first;

	while (!pin_store_next_dirty(&store, next, last, which, &next) &&
	       next <= last)
		;
	return next;
}

static void do_next_dirty(void)
{
	enum pin_record which = unit_below(2) ? PIN_DIRTY : PIN_UNREPORTED;
	unsigned int first, last, i;
	u64 want;

	random_range(&first, &last);
	for (i = first; i <= last; i++) {
		if (model[i].written)
			break;
		if (model[i].retained &&
		    (which == PIN_DIRTY || !model[i].reported))
			break;
	}
	want = i <= last ? page_of(i) : page_of(last) + 1;
	CHECK(next_dirty(page_of(first), page_of(last), which) == want,
	      "%u-%u", first, last);
}

static void check_all(void)
{
	u64 nr_pinned = 0, nr_retained = 0, next = 0;
	struct pin_row row;
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++) {
		nr_retained += model[i].retained;
		if (!model[i].refs)
			continue;
		nr_pinned++;
		if (page_of(i) < next)
			continue;
		CHECK(pin_store_next_pinned(&store, next, U64_MAX, &row),
		      "page %u", i);
		check_row(i, &row);
		if (unit_failed)
			return;
		next = row.page + row.n;
	}
	CHECK(!pin_store_next_pinned(&store, next, U64_MAX, &row), "%llu",
	      row.page);
	CHECK(store.nr_pinned == nr_pinned, "%llu", store.nr_pinned);
	CHECK(store.nr_retained == nr_retained, "%llu", store.nr_retained);
	if (!nr_pinned && !nr_retained)
		CHECK(!shim_objects, "empty, but holds %ld", shim_objects);
}

static void random_ops(void)
{
	static void (*const ops[])(void) = {
		do_pin, do_unpin, do_unpin, do_unpin, do_unpin, do_retain,
		do_next_pinned, do_report, do_report, do_drop, do_drop,
		do_drop_all, do_next_dirty,
	};
	uint64_t left = unit_env("OPS", 300000);

	begin();
	for (; left && !unit_failed; left--) {
		ops[unit_below(sizeof(ops) / sizeof(*ops))]();
		if (!unit_failed && left % 64 == 0)
			check_all();
	}
	if (unit_failed)
		printf("# %" PRIu64 " operations were left\n", left);
	pin_store_destroy(&store);
	CHECK(!shim_objects, "%ld objects leaked", shim_objects);
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

		CHECK(pin_store_pin(&store, page, 1, frame(page), true) == 1,
		      "-");
	}
}

/* Undo one pin of a page. Return: number of frames to release, 0 or 1. */
static unsigned int unpin_page(u64 page)
{
	struct gone gone;

	unpin(page, page, true, &gone);
	return gone.nr;
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
				     true);
		CHECK(done < 1400 || fail > 20, "%u", fail);
		shim_fail_in = -1;
		CHECK(store.nr_pinned == 3 + done, "%llu", store.nr_pinned);
		for (i = 0; i < done; i++) {
			unpin(103 + i, 103 + i, false, &gone);
			CHECK(gone.nr == 1 &&
			      gone.pfns[0] == frame_in_order(103 + i), "%u", i);
		}
		CHECK(store.nr_pinned == 3, "%llu", store.nr_pinned);
		CHECK(shim_objects <= 2, "%ld", shim_objects);
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
	struct pin_span span;
	u64 bitmap[2] = {};

	begin();
	pin_range(7, 1, 1, frame_in_order);
	unpin_page(7);
	pin_store_report(&store, 0, 63, 0, bitmap, 0, &span);
	/* The device writes once more between the snapshot and the drop. */
	pin_range(7, 1, 1, frame_in_order);
	unpin_page(7);
	CHECK(!drop_reported(0, 63), "record dropped");
	CHECK(store.nr_retained == 1, "%llu", store.nr_retained);
	pin_store_destroy(&store);
}

static void drop_outside_range_stays(void)
{
	struct pin_span span;
	u64 bitmap[4] = {};
	u64 page;

	begin();
	pin_range(0, 192, 1, frame_in_order);
	for (page = 0; page < 192; page++)
		unpin_page(page);
	pin_store_report(&store, 0, 191, 0, bitmap, 0, &span);
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
		struct pin_span span;
		u64 bitmap[1] = {};

		unpin_page(5 + i * 64);
		pin_store_report(&store, i * 64, i * 64 + 63, 0, bitmap, 0,
				 &span);
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

static void a_drop_has_a_limit(void)
{
	const u64 nr = PIN_STORE_DROP_LEAVES + 10;
	u64 i, next;

	begin();
	pin_range(5, nr, 64, frame_in_order);
	for (i = 0; i < nr; i++) {
		struct pin_span span;
		u64 bitmap[1] = {};

		unpin_page(5 + i * 64);
		pin_store_report(&store, i * 64, i * 64 + 63, 0, bitmap, 0,
				 &span);
	}
	CHECK(pin_store_drop(&store, 0, 1 << 20, PIN_DROP_REPORTED, &next) ==
	      PIN_STORE_DROP_LEAVES, "next is %llu", next);
	CHECK(next == PIN_STORE_DROP_LEAVES * 64, "%llu", next);
	CHECK(pin_store_drop(&store, next, 1 << 20, PIN_DROP_REPORTED, &next) ==
	      10, "-");
	CHECK(next == (1 << 20) + 1, "%llu", next);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void many_pins_of_one_page(void)
{
	const unsigned long pfn = (1UL << 40) - 1;
	struct pin_row row;
	unsigned int i;

	begin();
	for (i = 0; i < PIN_STORE_REFS_MAX; i++)
		pin_store_pin(&store, 5, 1, pfn, false);
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
	CHECK(pin_store_pin(&store, 5, 5000, 123456, true) == 5000, "-");
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
			pin_store_pin(&store, 64, 64, 1000, false);
			pin_store_pin(&store, 64 + first, n, 1000 + first,
				      false);
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
		pin_store_pin(&store, 9, 1, pfns[i % 2], true);
		pin_store_pin(&store, 9, 1, pfns[i % 2], true);
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
	{ "store: random operations as the model has them", random_ops },
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
	{ "store: D1: a drop that frees leaves goes on where it stopped", a_drop_has_a_limit },
	{ "store: R16: a walk ends at a number of leaves", a_walk_has_a_limit },
	{ "store: R12: a page pinned very often, for reading, is not retained",
	  many_pins_of_one_page },
};

int main(void)
{
	if (pin_store_cache_create())
		return 1;
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
