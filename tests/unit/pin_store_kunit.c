// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the store of pinned and retained pages: what it promises, and random
 * operations compared with an array. tools/testing/vfio has more, in user space.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/prandom.h>
#include <linux/string.h>
#include <linux/types.h>

#include "pin_store.h"

/* Pages of the model; a leaf of the store stands for 64. */
#define PAGES		300
#define WORDS		((PAGES + 63) / 64)
#define OPERATIONS	2000
#define SEED		1
/* Frame of page 0. */
#define FRAME		1000UL

static int store_init(struct kunit *test)
{
	struct pin_store *store = kunit_kzalloc(test, sizeof(struct pin_store),
						GFP_KERNEL);

	if (!store)
		return -ENOMEM;
	pin_store_init(store);
	test->priv = store;
	return 0;
}

static void store_exit(struct kunit *test)
{
	if (test->priv)
		pin_store_destroy(test->priv);
}

static void pin(struct kunit *test, u64 first, unsigned int n, bool write,
		bool tracking)
{
	KUNIT_ASSERT_EQ(test, n, pin_store_pin(test->priv, first, n, FRAME + first,
					       write, tracking));
}

/* Undo one pin of each page. Return: how many frames are to be released. */
static unsigned int unpin(struct kunit *test, u64 first, u64 last, bool retain)
{
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned int nr, i, gone = 0;

	while (first <= last) {
		first = pin_store_unpin(test->priv, first, last, retain, frames,
					&nr);
		for (i = 0; i < nr; i++)
			gone += frames[i].n;
	}
	return gone;
}

/* Report pages [0, PAGES). */
static void report(struct kunit *test, u64 *bitmap)
{
	struct pin_report to = { .bitmap = bitmap };
	struct pin_span span;

	memset(bitmap, 0, WORDS * sizeof(*bitmap));
	pin_store_report(test->priv, 0, PAGES - 1, &to, &span);
}

static void drop(struct kunit *test)
{
	struct pin_store gone;
	u64 next = 0;

	pin_store_init(&gone);
	while (next < PAGES)
		pin_store_drop(test->priv, next, PAGES - 1, PIN_DROP_REPORTED,
			       &next, &gone);
	pin_store_destroy(&gone);
}

static bool in(const u64 *bitmap, unsigned int page)
{
	return bitmap[page / 64] & BIT_ULL(page % 64);
}

/* A written page is in reports while it is pinned, and in one after that (R2, R3). */
static void retained_page_is_reported_once(struct kunit *test)
{
	u64 bitmap[WORDS];

	pin(test, 62, 4, true, true);
	KUNIT_EXPECT_EQ(test, 4U, unpin(test, 62, 65, true));
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, BIT_ULL(62) | BIT_ULL(63), bitmap[0]);
	KUNIT_EXPECT_EQ(test, BIT_ULL(0) | BIT_ULL(1), bitmap[1]);
	drop(test);
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, 0ULL, bitmap[0] | bitmap[1]);
}

/* A report that was not dropped is made again (R3). */
static void failed_report_loses_nothing(struct kunit *test)
{
	u64 bitmap[WORDS];

	pin(test, 7, 1, true, true);
	unpin(test, 7, 7, true);
	report(test, bitmap);
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, BIT_ULL(7), bitmap[0]);
}

/* What is written between a report and its end stays (R3). */
static void page_written_again_stays(struct kunit *test)
{
	u64 bitmap[WORDS];

	KUNIT_ASSERT_EQ(test, 0, pin_store_retain(test->priv, 7, 7));
	report(test, bitmap);
	KUNIT_ASSERT_EQ(test, 0, pin_store_retain(test->priv, 7, 7));
	drop(test);
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, BIT_ULL(7), bitmap[0]);
}

/* A page that is pinned for reading is not dirty, before and after the unpin (R12). */
static void page_pinned_for_reading_is_clean(struct kunit *test)
{
	u64 bitmap[WORDS];

	pin(test, 3, 1, false, true);
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, 0ULL, bitmap[0]);
	unpin(test, 3, 3, true);
	report(test, bitmap);
	KUNIT_EXPECT_EQ(test, 0ULL, bitmap[0]);
}

/* A retained page is not pinned, and an unpin of it does nothing (R6, D11). */
static void retained_page_is_not_pinned(struct kunit *test)
{
	struct pin_store *store = test->priv;

	KUNIT_ASSERT_EQ(test, 0, pin_store_retain(store, 9, 9));
	KUNIT_EXPECT_FALSE(test, pin_store_pinned(store, 9));
	KUNIT_EXPECT_EQ(test, 0U, unpin(test, 9, 9, false));
	KUNIT_EXPECT_EQ(test, PIN_STORE_NO_FRAME,
			pin_store_unpin_page(store, 9, false));
	KUNIT_EXPECT_EQ(test, 1ULL, store->nr_retained);
}

/* Only the last unpin gives a frame back. */
static void pins_are_counted(struct kunit *test)
{
	struct pin_row row;

	pin(test, 0, 2, true, false);
	pin(test, 1, 1, true, false);
	KUNIT_EXPECT_TRUE(test, pin_store_next_pinned(test->priv, 1, 5, &row));
	KUNIT_EXPECT_EQ(test, 1ULL, row.page);
	KUNIT_EXPECT_EQ(test, 2U, row.pins);
	KUNIT_EXPECT_EQ(test, FRAME + 1, row.pfn);
	KUNIT_EXPECT_EQ(test, 1U, unpin(test, 0, 1, false));
	KUNIT_EXPECT_EQ(test, FRAME + 1,
			pin_store_unpin_page(test->priv, 1, false));
}

/* Numbers at the end of the address space do not wrap. */
static void last_page_number(struct kunit *test)
{
	u64 last = U64_MAX >> 12, next;

	pin(test, last, 1, true, true);
	unpin(test, last, last, true);
	KUNIT_EXPECT_TRUE(test, pin_store_next_dirty(test->priv, last - 9, last,
						     PIN_DIRTY, &next));
	KUNIT_EXPECT_EQ(test, last, next);
}

struct page_model {
	unsigned int pins;
	bool written;
	bool retained;
};

static void model_unpin(struct page_model *page)
{
	if (page->pins == 1) {
		page->retained |= page->written;
		page->written = false;
	}
	if (page->pins)
		page->pins--;
}

/* One random operation on the store and on the model. */
static void operate(struct kunit *test, struct page_model *model,
		    struct rnd_state *rnd)
{
	unsigned int first = prandom_u32_state(rnd) % PAGES, i;
	unsigned int n = 1 + prandom_u32_state(rnd) % 40;
	bool write = prandom_u32_state(rnd) % 2;

	n = min(n, PAGES - first);
	switch (prandom_u32_state(rnd) % 4) {
	case 0:
		pin(test, first, n, false, true);
		if (write)
			pin_store_written(test->priv, first, first + n - 1);
		for (i = first; i < first + n; i++) {
			model[i].pins++;
			model[i].written |= write;
		}
		break;
	case 1:
		KUNIT_ASSERT_EQ(test, 0, pin_store_retain(test->priv, first,
							  first + n - 1));
		for (i = first; i < first + n; i++)
			model[i].retained = true;
		break;
	default:
		unpin(test, first, first + n - 1, true);
		for (i = first; i < first + n; i++)
			model_unpin(&model[i]);
	}
}

/* Now and then all is reported and dropped; each report must be what the model says. */
static void random_operations(struct kunit *test)
{
	struct page_model *model = kunit_kcalloc(test, PAGES, sizeof(*model),
						 GFP_KERNEL);
	struct rnd_state rnd;
	u64 bitmap[WORDS];
	unsigned int i, n;

	KUNIT_ASSERT_NOT_NULL(test, model);
	prandom_seed_state(&rnd, SEED);
	for (n = 0; n < OPERATIONS; n++) {
		operate(test, model, &rnd);
		if (prandom_u32_state(&rnd) % 8)
			continue;
		report(test, bitmap);
		for (i = 0; i < PAGES; i++) {
			KUNIT_ASSERT_EQ_MSG(test, in(bitmap, i),
					    model[i].written || model[i].retained,
					    "page %u, operation %u", i, n);
			KUNIT_ASSERT_EQ_MSG(test, pin_store_pinned(test->priv, i),
					    model[i].pins > 0,
					    "page %u, operation %u", i, n);
		}
		drop(test);
		for (i = 0; i < PAGES; i++)
			model[i].retained = false;
	}
}

static struct kunit_case pin_store_cases[] = {
	KUNIT_CASE(retained_page_is_reported_once),
	KUNIT_CASE(failed_report_loses_nothing),
	KUNIT_CASE(page_written_again_stays),
	KUNIT_CASE(page_pinned_for_reading_is_clean),
	KUNIT_CASE(retained_page_is_not_pinned),
	KUNIT_CASE(pins_are_counted),
	KUNIT_CASE(last_page_number),
	KUNIT_CASE(random_operations),
	{}
};

static struct kunit_suite pin_store_suite = {
	.name = "vfio_pin_store",
	.init = store_init,
	.exit = store_exit,
	.test_cases = pin_store_cases,
};

kunit_test_suite(pin_store_suite);
