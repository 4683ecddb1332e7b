// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pin store, compared with a model that is too simple to be wrong: an array.
 */
#include "pin_store_unit.h"

/*
 * The model's pages: a dense part that crosses borders of leaves and of a plane, and
 * far away from it a sparse part, and one with hardly a leaf beside another.
 */
#define NR_DENSE	(PLANE_PAGES + 600)
#define NR_SPARSE	120
#define NR_LONELY	60
#define NR_PAGES	(NR_DENSE + NR_SPARSE + NR_LONELY)
#define DENSE_BASE	(3 * PLANE_PAGES - 310ULL)
#define SPARSE_BASE	((1ULL << 40) + 5)
#define SPARSE_STEP	29
#define LONELY_STEP	1700
#define LONELY_BASE	(SPARSE_BASE + NR_SPARSE * SPARSE_STEP)

struct model_page {
	unsigned int refs;
	unsigned long pfn;
	bool written;
	bool retained;
	bool reported;
	/* A page of the same 64 was written since they were reported. */
	bool fresh;
};

static struct model_page model[NR_PAGES];
/* What the last report was of, by index; @told_last less: nothing. */
static unsigned int told_first, told_last;

static u64 page_of(unsigned int i)
{
	if (i < NR_DENSE)
		return DENSE_BASE + i;
	i -= NR_DENSE;
	if (i < NR_SPARSE)
		return SPARSE_BASE + (u64)i * SPARSE_STEP;
	return LONELY_BASE + (u64)(i - NR_SPARSE) * LONELY_STEP;
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

/* A random range of what was reported last; false if that is nothing. */
static bool random_told(unsigned int *first, unsigned int *last)
{
	if (told_last < told_first)
		return false;
	*first = told_first + unit_below(told_last - told_first + 1);
	*last = *first + unit_below(told_last - *first + 1);
	return true;
}

static void begin(void)
{
	memset(model, 0, sizeof(model));
	pin_store_init(&store);
	tracking = false;
	told_first = 1;
	told_last = 0;
}

static void model_pin(unsigned int i, unsigned long pfn, bool write)
{
	if (!model[i].refs++)
		model[i].pfn = pfn;
	model[i].written |= write;
}

static u64 leaf_of(unsigned int i)
{
	return page_of(i) >> LEAF_SHIFT;
}

/* Say of all pages of the leaf of page @i whether one of them is fresh. */
static void model_fresh(unsigned int i, bool fresh)
{
	unsigned int j;

	for (j = i; j < NR_PAGES && leaf_of(j) == leaf_of(i); j++)
		model[j].fresh = fresh;
	for (j = i; j-- && leaf_of(j) == leaf_of(i);)
		model[j].fresh = fresh;
}

/* May the store take page @i for unreported because of one beside it? */
static bool model_beside_fresh(unsigned int i)
{
	unsigned int j = i;

	while (j && leaf_of(j - 1) == leaf_of(i))
		j--;
	for (; j < NR_PAGES && leaf_of(j) == leaf_of(i); j++)
		if (model[j].retained && (model[j].fresh || !model[j].reported))
			return true;
	return false;
}

static void model_retain(unsigned int i)
{
	model[i].retained = true;
	model[i].reported = false;
	model_fresh(i, true);
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

/* How many pages from @i on pin_store_pin_frames() can pin: of a leaf, not pinned. */
static unsigned int in_part(unsigned int i, unsigned int last)
{
	unsigned int n = 0;

	while (i + n <= last && page_of(i + n) == page_of(i) + n &&
	       page_of(i + n) / PIN_STORE_PART == page_of(i) / PIN_STORE_PART &&
	       !model[i + n].refs)
		n++;
	return n;
}

/* Pin such pages. Return: how many of @n. */
static unsigned int pin_part(unsigned int i, unsigned int n,
			     const unsigned long *pfns, bool write)
{
	u64 last = page_of(i) + n - 1 + unit_below(1000);

	return pin_store_pin_frames(&store, page_of(i), n, pfns + i, last,
				    write, tracking) ? n : 0;
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
		n = unit_below(2) ? in_part(i, last) : 0;
		if (n) {
			done = pin_part(i, n, pfns, write && !written);
		} else {
			n = in_row(i, last, pfns);
			done = pin_store_pin(&store, page_of(i), n, pfns[i],
					     write && !written, tracking);
		}
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

#define BITMAP_WORDS	((NR_SPARSE * SPARSE_STEP + NR_LONELY * LONELY_STEP) / 64 + 4)

/* Have pages before @first, of the same 64, been told in an earlier part of the report? */
static bool model_told(u64 begin, u64 first)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		if (leaf_of(i) == first >> LEAF_SHIFT && model[i].retained &&
		    page_of(i) >= begin && page_of(i) < first)
			return true;
	return false;
}

/* The store has seen this part of a report, which began at page @begin. */
static void model_report(u64 begin, u64 first, u64 last)
{
	bool told = model_told(begin, first);
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++) {
		if (page_of(i) < first || page_of(i) > last)
			continue;
		model[i].reported = model[i].retained;
		if (told && leaf_of(i) == first >> LEAF_SHIFT)
			continue;
		model_fresh(i, false);
	}
}

/*
 * A report of [first, last] that began at page @begin, compared bit by bit. Bits of
 * other pages must stay, those of the range are 0 before.
 */
static void check_part(u64 begin, u64 first, u64 last, unsigned int order)
{
	static u64 want[BITMAP_WORDS], got[BITMAP_WORDS];
	u64 bit = unit_below(3) ? unit_below(130) : 64 * unit_below(2) + first % 64;
	struct pin_report report = {
		.bitmap = got, .order = order, .begin = begin,
		.offset = bit - (first >> order),
	};
	struct pin_span span = { 1, 0 };
	u64 low = ~0ULL, high = 0;
	unsigned int i;

	for (i = 0; i < BITMAP_WORDS; i++)
		want[i] = unit_random() & unit_random();
	for (i = 0; i <= (last - first) >> order; i++)
		want[(bit + i) / 64] &= ~(1ULL << (bit + i) % 64);
	memcpy(got, want, sizeof(got));
	for (i = 0; i < NR_PAGES; i++) {
		u64 at;

		if (page_of(i) < first || page_of(i) > last || !model_dirty(i))
			continue;
		at = bit + ((page_of(i) - first) >> order);
		want[at / 64] |= 1ULL << at % 64;
		low = low < page_of(i) ? low : page_of(i);
		high = page_of(i);
	}
	CHECK(pin_store_report(&store, first, last, &report, &span) == !!high,
	      "%llu-%llu order %u", first, last, order);
	if (high)
		CHECK(span.first >= first && span.first <= low &&
		      span.last >= high && span.last <= last,
		      "%llu-%llu, span %llu-%llu", low, high, span.first,
		      span.last);
	else
		CHECK(span.first == 1, "span was touched");
	for (i = 0; i < BITMAP_WORDS; i++)
		CHECK(want[i] == got[i], "%llu-%llu order %u word %u: %llx %llx",
		      first, last, order, i, want[i], got[i]);
	model_report(begin, first, last);
}

/* One operation that may come between two parts of a report. */
static void do_write(void)
{
	unsigned int i = unit_below(NR_PAGES);

	if (!pin_store_retain(&store, page_of(i), page_of(i)))
		model_retain(i);
}

static u64 next_dirty(u64 first, u64 last, enum pin_record which)
{
	u64 next = first;

	while (!pin_store_next_dirty(&store, next, last, which, &next) &&
	       next <= last)
		;
	return next;
}

static void do_report(void)
{
	unsigned int order = unit_below(3) ? 0 : unit_below(10);
	unsigned int i, j;
	u64 begin, first, last, end;

	random_range(&i, &j);
	told_first = i;
	told_last = j;
	begin = page_of(i) >> order << order;
	if (begin < DENSE_BASE)
		begin = 0;
	last = page_of(j);
	for (first = begin; first <= last && !unit_failed; first = end + 1) {
		end = last;
		/* Parts begin and end anywhere. */
		if (unit_below(2))
			end = ((first + unit_below(2 * PLANE_PAGES)) >> order <<
			       order) + (1ULL << order) - 1;
		if (end > last)
			end = last;
		check_part(begin, first, end, order);
		/* What is clean may be left out. */
		if (unit_below(2) && end < last) {
			u64 dirty = next_dirty(end + 1, last, PIN_DIRTY);

			end += (dirty - end - 1) >> order << order;
		}
		if (unit_below(2))
			do_write();
	}
}

/*
 * What was reported is dropped, and nothing else. Only where another of the same 64
 * pages was written since, a page may stay.
 */
static void do_drop(void)
{
	unsigned int first, last, i;
	u64 nr = 0, dropped;

	if (!random_told(&first, &last))
		return;
	dropped = drop_reported(page_of(first), page_of(last));
	for (i = first; i <= last; i++) {
		bool stays = store_retains(page_of(i));

		CHECK(!stays || model[i].retained, "page %u", i);
		if (stays)
			CHECK(!model[i].reported || model_beside_fresh(i),
			      "page %u", i);
		else
			CHECK(!model[i].retained || model[i].reported,
			      "page %u", i);
	}
	for (i = first; i <= last; i++) {
		if (model[i].retained && !store_retains(page_of(i))) {
			model_forget(i);
			nr++;
		}
	}
	CHECK(dropped == nr, "%u-%u: %llu, %llu", first, last, dropped, nr);
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
		drop(next, page_of(last), PIN_DROP_ALL, &next);
}

/* STOP of a store that has no pins: all of it moves to another one, and goes. */
static void do_detach(void)
{
	struct pin_store old;
	unsigned int i;

	if (unit_below(200))
		return;
	if (!pin_store_detach(&store, &old)) {
		CHECK(store.nr_pinned || !shim_objects, "-");
		return;
	}
	CHECK(!store.nr_retained && !old.nr_pinned, "-");
	pin_store_destroy(&old);
	CHECK(!shim_objects, "%ld", shim_objects);
	for (i = 0; i < NR_PAGES; i++)
		model_forget(i);
}

static void do_tracking(void)
{
	if (!unit_below(50))
		tracking = !tracking;
}

/* The next dirty page, however many leaves one call looks at. */
/* Of a page that is beside a fresh one the store may have forgotten the mark. */
static bool model_unreported(unsigned int i, bool maybe)
{
	return model[i].written ||
	       (model[i].retained &&
		(!model[i].reported || (maybe && model_beside_fresh(i))));
}

static void do_next_dirty(void)
{
	enum pin_record which = unit_below(2) ? PIN_DIRTY : PIN_UNREPORTED;
	unsigned int first, last, i;
	u64 low, high, found;

	random_range(&first, &last);
	if (which == PIN_UNREPORTED && !random_told(&first, &last))
		return;
	low = page_of(last) + 1;
	high = low;
	for (i = last + 1; i-- > first;) {
		if (which == PIN_DIRTY ? model_dirty(i) : model_unreported(i, true))
			low = page_of(i);
		if (which == PIN_DIRTY ? model_dirty(i) :
		    model_unreported(i, false))
			high = page_of(i);
	}
	found = next_dirty(page_of(first), page_of(last), which);
	CHECK(found >= low && found <= high, "%u-%u", first, last);
	for (i = first; i <= last; i++)
		if (page_of(i) == found)
			CHECK(model_dirty(i), "page %u", i);
}

/* Is each number that the store keeps what it counts? */
static void check_counts(void)
{
	u64 nr_empty = 0, nr_planed = 0;
	struct rb_node *node;

	for (node = rb_first(&store.planes); node; node = rb_next(node)) {
		struct pin_plane *plane = rb_entry(node, struct pin_plane, node);
		unsigned int i, nr = 0;

		for (i = 0; i < PLANE_WORDS; i++) {
			nr += hweight64(plane->retained[i]);
			CHECK(!plane->retained[i] == !(plane->used >> i & 1),
			      "word %u", i);
		}
		CHECK(!(plane->fresh & ~plane->used), "-");
		CHECK(plane->nr_retained == nr, "%u", nr);
		nr_planed += nr;
	}
	for (node = rb_first(&store.root); node; node = rb_next(node)) {
		struct pin_leaf *leaf = rb_entry(node, struct pin_leaf, node);

		nr_empty += !(leaf->pinned | leaf->retained);
		CHECK(!(leaf->reported & ~leaf->retained), "-");
		CHECK(!(leaf->written & ~leaf->pinned), "-");
	}
	CHECK(store.nr_empty == nr_empty, "%llu", store.nr_empty);
	CHECK(store.nr_planed == nr_planed, "%llu", store.nr_planed);
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
	check_counts();
	if (unit_failed || nr_pinned || nr_retained)
		return;
	/* What is empty is found by the next drop. */
	drop_reported(0, page_of(NR_PAGES));
	CHECK(!shim_objects, "empty, but holds %ld", shim_objects);
}

static void random_ops(void)
{
	static void (*const ops[])(void) = {
		do_pin, do_unpin, do_unpin, do_unpin, do_unpin, do_retain,
		do_next_pinned, do_report, do_report, do_drop, do_drop,
		do_drop_all, do_next_dirty, do_detach, do_tracking,
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

static const struct unit_test tests[] = {
	{ "store: random operations as the model has them", random_ops },
};

int main(void)
{
	if (pin_store_cache_create())
		return 1;
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
