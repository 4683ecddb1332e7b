// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>

#include "reference.h"

int ref_map(struct reference *ref, int first, int n)
{
	int i;

	for (i = first; i < first + n; i++)
		if (ref->page[i].mapping)
			return -EEXIST;
	ref->mappings++;
	for (i = first; i < first + n; i++)
		ref->page[i] = (struct ref_page) { .mapping = ref->mappings };
	return 0;
}

/* Whether one mapping holds both this page and the page before it. */
static bool joined(const struct reference *ref, int page)
{
	return page > 0 && page < REF_PAGES && ref->page[page].mapping &&
	       ref->page[page].mapping == ref->page[page - 1].mapping;
}

bool ref_cuts(const struct reference *ref, int first, int n)
{
	return joined(ref, first) || joined(ref, first + n);
}

static void free_page(struct reference *ref, struct ref_page *p)
{
	p->record |= p->target && ref->tracking;
	p->target = false;
	p->pins = 0;
}

void ref_give_back(struct reference *ref, int first, int n)
{
	int i;

	for (i = first; i < first + n; i++)
		free_page(ref, &ref->page[i]);
}

int ref_unmap(struct reference *ref, int first, int n)
{
	int unmapped = 0, i;

	if (ref_cuts(ref, first, n))
		return -EINVAL;
	for (i = first; i < first + n; i++) {
		unmapped += !!ref->page[i].mapping;
		ref->page[i] = (struct ref_page) { 0 };
	}
	return unmapped;
}

int ref_pin(struct reference *ref, int first, int n, bool write)
{
	int end = first, i;

	while (end < first + n && ref->page[end].mapping)
		end++;
	for (i = first; i < end; i++) {
		struct ref_page *p = &ref->page[i];

		if (end < first + n) {
			p->unwound |= ref->tracking;
			continue;
		}
		p->touched |= ref->tracking;
		p->target |= write;
		p->pins++;
	}
	return end < first + n ? -EINVAL : 0;
}

void ref_unpin(struct reference *ref, int first, int n)
{
	int i;

	for (i = first; i < first + n; i++) {
		struct ref_page *p = &ref->page[i];

		if (p->pins && !--p->pins)
			free_page(ref, p);
	}
}

int ref_rw(struct reference *ref, int first, int last, bool write)
{
	int i;

	for (i = first; i <= last; i++) {
		struct ref_page *p = &ref->page[i];

		if (!p->mapping)
			return -EINVAL;
		p->record |= write && ref->tracking;
		p->touched |= write && ref->tracking;
	}
	return 0;
}

void ref_start(struct reference *ref)
{
	int i;

	for (i = 0; !ref->tracking && i < REF_PAGES; i++)
		ref->page[i].touched = ref->page[i].pins;
	ref->tracking = true;
}

void ref_stop(struct reference *ref)
{
	int i;

	for (i = 0; i < REF_PAGES; i++) {
		ref->page[i].record = false;
		ref->page[i].touched = false;
		ref->page[i].unwound = false;
	}
	ref->tracking = false;
}

bool ref_dirty(const struct ref_page *page)
{
	return page->record || (page->pins && page->target);
}

void ref_reported(struct reference *ref, int first, int n)
{
	int i;

	for (i = first; i < first + n; i++) {
		ref->page[i].record = false;
		ref->page[i].touched = ref->page[i].pins;
		ref->page[i].unwound = false;
	}
}

long long ref_locked(const struct reference *ref)
{
	long long pinned = 0;
	int i;

	for (i = 0; i < REF_PAGES; i++)
		pinned += ref->page[i].pins > 0;
	return pinned;
}
