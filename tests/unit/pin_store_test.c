// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin store against a model that is too simple to be wrong: an array.
 */
#include <string.h>
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

/* Pin pages [first, last] of one part of the model, in one call if dense. */
static void pin_pages(unsigned int first, unsigned int last, bool write)
{
	unsigned long pfns[NR_PAGES];
	unsigned int i, n;

	for (i = first; i <= last; i++) {
		pfns[i] = unit_below(1ULL << 40);
		pin_store_lookup(&store, page_of(i), &pfns[i]);
		model_pin(i, pfns[i], write);
	}
	for (i = first; i <= last; i += n) {
		n = 1;
		if (last < NR_DENSE && last > first)
			n += unit_below(PIN_STORE_BATCH);
		if (n > last - i + 1)
			n = last - i + 1;
		pin_store_pin(&store, page_of(i), n, &pfns[i], write);
	}
}

static void do_pin(void)
{
	bool write = unit_below(3);
	unsigned int first, last;

	random_range(&first, &last);
	CHECK(!pin_store_reserve(&store, page_of(first), page_of(last)), "-");
	if (unit_below(5))
		pin_pages(first, last, write);
	/* What was reserved beside the pages must go. */
	pin_store_cancel(&store, page_of(first), page_of(last));
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

/* Unpin @n dense pages, or a sparse one, and check which frames come back. */
static void unpin_pages(unsigned int first, unsigned int n, bool retain)
{
	unsigned long pfns[PIN_STORE_BATCH], want[PIN_STORE_BATCH];
	unsigned int i, nr = 0;

	for (i = first; i < first + n; i++) {
		if (model[i].refs == 1)
			want[nr++] = model[i].pfn;
		model_unpin(i, retain);
	}
	CHECK(pin_store_unpin(&store, page_of(first), n, retain, pfns) == nr,
	      "pages %u + %u, should be %u", first, n, nr);
	CHECK(!memcmp(pfns, want, nr * sizeof(*pfns)), "%u + %u", first, n);
}

static void do_unpin(void)
{
	bool retain = unit_below(4);
	unsigned int first, last, i, n;

	random_range(&first, &last);
	shim_fail_in = 0;
	for (i = first; i <= last && !unit_failed; i += n) {
		n = last < NR_DENSE ? 1 + unit_below(PIN_STORE_BATCH) : 1;
		if (n > last - i + 1)
			n = last - i + 1;
		unpin_pages(i, n, retain);
	}
	shim_fail_in = -1;
}

static void do_next_pinned(void)
{
	unsigned int first, last, i;
	u64 want;

	random_range(&first, &last);
	for (i = first; i <= last && !model[i].refs; i++)
		;
	want = i <= last ? page_of(i) : page_of(last) + 1;
	CHECK(pin_store_next_pinned(&store, page_of(first), page_of(last)) ==
	      want, "%u-%u", first, last);
}

static void do_retain(void)
{
	unsigned int first, last, i;

	random_range(&first, &last);
	if (first >= NR_DENSE)
		last = first;
	CHECK(!pin_store_reserve(&store, page_of(first), page_of(last)), "-");
	pin_store_retain(&store, page_of(first), page_of(last));
	for (i = first; i <= last; i++)
		model_retain(i);
}

static void do_fail(void)
{
	size_t objects = shim_objects;
	unsigned int first, last;
	int ret;

	random_range(&first, &last);
	shim_fail_in = unit_below(4);
	ret = pin_store_reserve(&store, page_of(first), page_of(last));
	shim_fail_in = -1;
	CHECK(!ret || ret == -12, "%d", ret);
	if (!ret)
		pin_store_cancel(&store, page_of(first), page_of(last));
	CHECK((size_t)shim_objects <= objects + NR_PAGES, "-");
}

static bool model_dirty(unsigned int i)
{
	return model[i].written || model[i].retained;
}

#define BITMAP_WORDS	((NR_PAGES * SPARSE_STEP + 256) / 64)

/* A report of [first, last], compared bit by bit; other bits must stay. */
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

/* All of a drop, which stops now and then. */
static u64 drop_reported(u64 first, u64 last)
{
	u64 nr = 0;

	while (first <= last)
		nr += pin_store_drop_reported(&store, first, last, &first);
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
	unsigned int i;

	if (unit_below(50))
		return;
	for (i = 0; i < NR_PAGES; i++)
		model_forget(i);
	pin_store_drop_retained(&store);
	CHECK(!store.nr_retained, "%llu", store.nr_retained);
}

static void check_unreported(void)
{
	unsigned int first, last, i;
	bool want = false;

	random_range(&first, &last);
	for (i = first; i <= last; i++)
		want |= model[i].written ||
			(model[i].retained && !model[i].reported);
	CHECK(pin_store_unreported(&store, page_of(first), page_of(last)) ==
	      want, "%u-%u", first, last);
}

static void walk(void *arg, unsigned long pfn)
{
	unsigned int *i = arg;

	while (*i < NR_PAGES && !model[*i].refs)
		++*i;
	if (*i >= NR_PAGES || model[*i].pfn != pfn)
		unit_failed = true;
	++*i;
}

static void check_all(void)
{
	u64 nr_pinned = 0, nr_retained = 0;
	unsigned int i, next = 0;

	for (i = 0; i < NR_PAGES; i++) {
		unsigned long pfn = 0;

		CHECK(pin_store_lookup(&store, page_of(i), &pfn) ==
		      model[i].refs, "page %u", i);
		if (model[i].refs)
			CHECK(pfn == model[i].pfn, "page %u", i);
		nr_pinned += !!model[i].refs;
		nr_retained += model[i].retained;
	}
	CHECK(store.nr_pinned == nr_pinned, "%llu", store.nr_pinned);
	CHECK(store.nr_retained == nr_retained, "%llu", store.nr_retained);
	pin_store_walk_pinned(&store, walk, &next);
	CHECK(!unit_failed, "walk is wrong at page %u", next - 1);
	if (!nr_pinned && !nr_retained)
		CHECK(!shim_objects, "empty, but holds %ld", shim_objects);
}

static void random_ops(void)
{
	static void (*const ops[])(void) = {
		do_pin, do_unpin, do_unpin, do_unpin, do_unpin, do_retain,
		do_fail, do_next_pinned, do_report, do_report, do_drop, do_drop, do_drop_all,
		check_unreported,
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

static void pin_range(u64 first, unsigned int n, unsigned int step)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		u64 page = first + (u64)i * step;

		unsigned long pfn = page;

		CHECK(!pin_store_reserve(&store, page, page), "-");
		pin_store_pin(&store, page, 1, &pfn, true);
	}
}

static void memory_dense(void)
{
	begin();
	pin_range(0, 65536, 1);
	CHECK(shim_bytes <= 65536 * 10, "%zu bytes a 65536 pages", shim_bytes);
	pin_store_destroy(&store);
}

static void memory_isolated(void)
{
	begin();
	pin_range(0, 4096, 1u << 18);
	CHECK(shim_bytes <= 4096 * 160, "%zu bytes a 4096 pages", shim_bytes);
	pin_store_destroy(&store);
}

static void failed_reserve_changes_nothing(void)
{
	unsigned int fail;

	for (fail = 0; fail < 6; fail++) {
		size_t bytes;

		begin();
		pin_range(10, 3, 1);
		bytes = shim_bytes;
		shim_fail_in = fail;
		CHECK(pin_store_reserve(&store, 12, 600) == -12, "%u", fail);
		shim_fail_in = -1;
		CHECK(shim_bytes <= bytes + 64 * 8, "%zu", shim_bytes - bytes);
		CHECK(store.nr_pinned == 3, "-");
		pin_store_destroy(&store);
		CHECK(!shim_objects, "%ld leaked", shim_objects);
	}
}

static void written_again_loses_the_mark(void)
{
	struct pin_span span;
	u64 bitmap[2] = {};
	unsigned long pfn;

	begin();
	pin_range(7, 1, 1);
	pin_store_unpin(&store, 7, 1, true, &pfn);
	pin_store_report(&store, 0, 63, 0, bitmap, 0, &span);
	/* Between the snapshot and the drop the device writes once more. */
	pin_range(7, 1, 1);
	pin_store_unpin(&store, 7, 1, true, &pfn);
	CHECK(!drop_reported(0, 63), "record dropped");
	CHECK(store.nr_retained == 1, "%llu", store.nr_retained);
	pin_store_destroy(&store);
}

static void drop_outside_range_stays(void)
{
	struct pin_span span;
	u64 bitmap[4] = {};
	unsigned long pfn;
	u64 page;

	begin();
	pin_range(0, 192, 1);
	for (page = 0; page < 192; page++)
		pin_store_unpin(&store, page, 1, true, &pfn);
	pin_store_report(&store, 0, 191, 0, bitmap, 0, &span);
	CHECK(drop_reported(63, 128) == 66, "-");
	CHECK(store.nr_retained == 192 - 66, "%llu", store.nr_retained);
	pin_store_destroy(&store);
}

static void a_drop_has_a_limit(void)
{
	const u64 nr = PIN_STORE_DROP_LEAVES + 10;
	unsigned long pfn;
	u64 i, next;

	begin();
	pin_range(5, nr, 64);
	for (i = 0; i < nr; i++) {
		struct pin_span span;
		u64 bitmap[1] = {};

		pin_store_unpin(&store, 5 + i * 64, 1, true, &pfn);
		pin_store_report(&store, i * 64, i * 64 + 63, 0, bitmap, 0,
				 &span);
	}
	CHECK(pin_store_drop_reported(&store, 0, 1 << 20, &next) ==
	      PIN_STORE_DROP_LEAVES, "next is %llu", next);
	CHECK(next == PIN_STORE_DROP_LEAVES * 64, "%llu", next);
	CHECK(pin_store_drop_reported(&store, next, 1 << 20, &next) == 10, "-");
	CHECK(next == (1 << 20) + 1, "%llu", next);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static void many_pins_of_one_page(void)
{
	unsigned long pfn = (1UL << 40) - 1;
	unsigned int i;

	begin();
	CHECK(!pin_store_reserve(&store, 5, 5), "-");
	for (i = 0; i < PIN_STORE_REFS_MAX; i++)
		pin_store_pin(&store, 5, 1, &pfn, false);
	pfn = 0;
	CHECK(pin_store_lookup(&store, 5, &pfn) == PIN_STORE_REFS_MAX, "-");
	CHECK(pfn == (1UL << 40) - 1, "%lx", pfn);
	for (i = 1; i < PIN_STORE_REFS_MAX; i++)
		CHECK(!pin_store_unpin(&store, 5, 1, true, &pfn), "%u", i);
	CHECK(pin_store_unpin(&store, 5, 1, true, &pfn) == 1, "-");
	CHECK(!store.nr_retained, "a page pinned for reading was retained");
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static const struct unit_test tests[] = {
	{ "store: random operations as the model has them", random_ops },
	{ "store: at most 10 bytes a page where all are pinned", memory_dense },
	{ "store: at most 160 bytes an isolated page", memory_isolated },
	{ "store: R14: a reserve that fails changes nothing",
	  failed_reserve_changes_nothing },
	{ "store: R3: a page written after the snapshot keeps its record",
	  written_again_loses_the_mark },
	{ "store: R3: records outside of the range stay",
	  drop_outside_range_stays },
	{ "store: a drop stops now and then, and goes on", a_drop_has_a_limit },
	{ "store: R12: a page pinned very often, for reading, is not retained",
	  many_pins_of_one_page },
};

int main(void)
{
	if (pin_store_cache_create())
		return 1;
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
