/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The plain reference: what a type1 backend must answer, with one entry a page and
 * nothing clever. Pages are numbered from the start of the space.
 *
 * Each function does to the reference what the call does to the container, and
 * returns what the call must return.
 */
#ifndef SELFTESTS_REFERENCE_H
#define SELFTESTS_REFERENCE_H

#include <stdbool.h>

#define REF_PAGES	2000

/**
 * struct ref_page - one page of the space
 * @mapping: number of its mapping; 0: not mapped
 * @pins: how often it is pinned
 * @target: pinned for write since it was last free
 * @record: written while tracking and not reported
 * @touched: pinned or written since START or its last report: what the kernel's
 *	own type1 reports, be it for read or for write (W11)
 * @unwound: pinned by a call that failed at a later page
 */
struct ref_page {
	unsigned int mapping;
	int pins;
	bool target;
	bool record;
	bool touched;
	bool unwound;
};

struct reference {
	struct ref_page page[REF_PAGES];
	unsigned int mappings;
	bool tracking;
};

int ref_map(struct reference *ref, int first, int n);

/* Whether the range cuts a mapping in two. */
bool ref_cuts(const struct reference *ref, int first, int n);

/* The driver gives back its pins of the range, as on an unmap. */
void ref_give_back(struct reference *ref, int first, int n);

/* Returns the pages that were unmapped, or -errno. */
int ref_unmap(struct reference *ref, int first, int n);

int ref_pin(struct reference *ref, int first, int n, bool write);

/* All pages of the range must be mapped; pages that are not pinned do not change. */
void ref_unpin(struct reference *ref, int first, int n);

/* A copy from the first to the last page. */
int ref_rw(struct reference *ref, int first, int last, bool write);

void ref_start(struct reference *ref);
void ref_stop(struct reference *ref);

/* Whether a report that is made now holds the page. */
bool ref_dirty(const struct ref_page *page);

/* A report of the range has reached its reader. */
void ref_reported(struct reference *ref, int first, int n);

/* Number of pinned pages: what is charged to the process. */
long long ref_locked(const struct reference *ref);

#endif
