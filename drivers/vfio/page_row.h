/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that lie in a row in physical memory.
 */
#ifndef _PAGE_ROW_H
#define _PAGE_ROW_H

#include <linux/mm.h>

/**
 * pages_in_row - how many pages, from the first on, have consecutive frames
 * @pages: the pages
 * @n: how many there are, at least one
 *
 * One array has all struct page, in the order of their frames; but where memory is in
 * sections, each of which has its own array, the next section's may be anywhere.
 */
static inline int pages_in_row(struct page **pages, int n)
{
	struct page **at = pages, **end = pages + n;
#if defined(CONFIG_SPARSEMEM) && !defined(CONFIG_SPARSEMEM_VMEMMAP)
	unsigned long pfn = page_to_pfn(*at);

	while (++at < end && page_to_pfn(*at) == ++pfn)
		;
#else
	struct page *page = *at;

	while (++at < end && *at == ++page)
		;
#endif
	return at - pages;
}

#endif /* _PAGE_ROW_H */
