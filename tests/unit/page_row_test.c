// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of pages on a machine whose memory is in sections: each section has its own
 * array of struct page, and these arrays are in no order.
 */
#include "unit.h"

#define CONFIG_SPARSEMEM
#define SECTION_PAGES	16
#define SECTIONS	3

struct page {
	int section;
};

static struct page array[SECTIONS][SECTION_PAGES];

/* The first array has the pages of section 1, and so on. */
static const unsigned long base[SECTIONS] = { 16, 32, 0 };

static unsigned long page_to_pfn(const struct page *page)
{
	unsigned long n = page - array[0];

	return base[n / SECTION_PAGES] + n % SECTION_PAGES;
}

#include "page_row.h"

/* The same on a kernel whose struct pages are one array, in the order of frames. */
#define CONFIG_SPARSEMEM_VMEMMAP
#define pages_in_row pages_in_row_of_one_array
#undef _PAGE_ROW_H
#include "page_row.h"
#undef pages_in_row

/* @n pages, from frame @pfn on. */
static void frames(struct page **pages, unsigned long pfn, int n)
{
	int i, s;

	for (i = 0; i < n; i++, pfn++)
		for (s = 0; s < SECTIONS; s++)
			if (pfn / SECTION_PAGES == base[s] / SECTION_PAGES)
				pages[i] = &array[s][pfn % SECTION_PAGES];
}

static void test_one(void)
{
	struct page *pages[1];

	frames(pages, 3, 1);
	CHECK(pages_in_row(pages, 1) == 1, "one page");
}

static void test_within_a_section(void)
{
	struct page *pages[8];

	frames(pages, 4, 8);
	CHECK(pages_in_row(pages, 8) == 8, "%d", pages_in_row(pages, 8));
	CHECK(pages_in_row(pages, 5) == 5, "%d", pages_in_row(pages, 5));
	pages[6] = pages[5];
	CHECK(pages_in_row(pages, 8) == 6, "%d", pages_in_row(pages, 8));
	pages[1] = pages[4];
	CHECK(pages_in_row(pages, 8) == 1, "%d", pages_in_row(pages, 8));
}

/* Consecutive frames whose struct pages are not adjacent. */
static void test_across_sections(void)
{
	struct page *pages[20];

	frames(pages, 10, 20);
	CHECK(pages_in_row(pages, 20) == 20, "%d", pages_in_row(pages, 20));
}

/* Adjacent struct pages whose frames are not consecutive. */
static void test_arrays_that_adjoin(void)
{
	struct page *pages[4] = {
		&array[1][14], &array[1][15], &array[2][0], &array[2][1],
	};

	CHECK(pages_in_row(pages, 4) == 2, "%d", pages_in_row(pages, 4));
}

/* There, only the addresses of struct pages count. */
static void test_one_array(void)
{
	struct page *pages[6];
	int i;

	for (i = 0; i < 6; i++)
		pages[i] = &array[0][i];
	CHECK(pages_in_row_of_one_array(pages, 1) == 1, "one page");
	CHECK(pages_in_row_of_one_array(pages, 6) == 6, "%d",
	      pages_in_row_of_one_array(pages, 6));
	pages[4] = pages[5];
	CHECK(pages_in_row_of_one_array(pages, 6) == 4, "%d",
	      pages_in_row_of_one_array(pages, 6));
}

int main(void)
{
	static const struct unit_test tests[] = {
		{ "one", test_one },
		{ "within_a_section", test_within_a_section },
		{ "across_sections", test_across_sections },
		{ "arrays_that_adjoin", test_arrays_that_adjoin },
		{ "one_array", test_one_array },
	};

	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
