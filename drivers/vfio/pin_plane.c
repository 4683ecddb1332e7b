// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plane of a pin store: the retained pages of 64 leaves.
 */
#include <linux/minmax.h>
#include <linux/string.h>

#include "pin_plane.h"

/* The words that have pages of [first, last]. */
static u64 plane_words(const struct pin_plane *plane, u64 first, u64 last)
{
	return number_mask(plane->number, first >> LEAF_SHIFT,
			   last >> LEAF_SHIFT);
}

/* Number of the leaf that a word of the plane stands for. */
static u64 word_number(const struct pin_plane *plane, unsigned int word)
{
	return plane->number * PLANE_WORDS + word;
}

unsigned int plane_retain(struct pin_plane *plane, u64 number, u64 mask)
{
	u64 *word = &plane->retained[number % PLANE_WORDS];
	unsigned int nr = leaf_count(mask & ~*word);

	*word |= mask;
	plane->used |= BIT_ULL(number % PLANE_WORDS);
	plane->fresh |= BIT_ULL(number % PLANE_WORDS);
	plane->nr_retained += nr;
	return nr;
}

/* More pages than that may be in more words than take less time than all 64 in a row. */
#define PLANE_PAGES_FEW	12

u64 plane_report_whole(struct pin_plane *plane, u64 *bitmap)
{
	u64 left = plane->used;

	plane->fresh = 0;
	if (plane->nr_retained > PLANE_PAGES_FEW)
		memcpy(bitmap, plane->retained, sizeof(plane->retained));
	else
		for (; left; left &= left - 1)
			bitmap[__ffs64(left)] = plane->retained[__ffs64(left)];
	return plane->used;
}

/*
 * Has an earlier part of the report told of pages of the word that @first is in? If it
 * skipped them because they were clean, only what was written since is retained.
 */
static bool plane_told(const struct pin_plane *plane, u64 first,
		       const struct pin_report *report)
{
	u64 number = first >> LEAF_SHIFT;

	if (first % LEAF_PAGES == 0 || first < plane_first(plane) ||
	    first <= report->begin)
		return false;
	return plane->retained[number % PLANE_WORDS] &
	       number_mask(number, report->begin, first - 1);
}

u64 plane_report(struct pin_plane *plane, u64 first, u64 last,
		 const struct pin_report *report)
{
	u64 words = plane_words(plane, first, last);
	u64 left = plane->used & words, found = left;

	/*
	 * A report that has told of the start of the word did not see what was written
	 * there since: such a word stays fresh.
	 */
	if (plane_told(plane, first, report))
		words &= words - 1;
	plane->fresh &= ~words;

	for (; left; left &= left - 1) {
		unsigned int word = __ffs64(left);
		u64 number = word_number(plane, word);
		u64 dirty = plane->retained[word] &
			    number_mask(number, first, last);

		if (dirty)
			leaf_report(number, dirty, report);
		else
			found &= ~BIT_ULL(word);
	}
	return found;
}

unsigned int plane_drop_whole(struct pin_plane *plane)
{
	unsigned int nr = plane->nr_retained;

	if (nr)
		memset(plane->retained, 0, sizeof(plane->retained));
	plane->used = 0;
	plane->fresh = 0;
	plane->nr_retained = 0;
	return nr;
}

unsigned int plane_drop(struct pin_plane *plane, u64 first, u64 last,
			enum pin_drop which)
{
	u64 words = plane->used & plane_words(plane, first, last);
	unsigned int nr = 0;

	if (which == PIN_DROP_REPORTED)
		words &= ~plane->fresh;
	for (; words; words &= words - 1) {
		unsigned int word = __ffs64(words);
		u64 gone = plane->retained[word] &
			   number_mask(word_number(plane, word), first, last);

		nr += leaf_count(gone);
		plane->retained[word] &= ~gone;
		if (!plane->retained[word]) {
			plane->used &= ~BIT_ULL(word);
			plane->fresh &= ~BIT_ULL(word);
		}
	}
	plane->nr_retained -= nr;
	return nr;
}

bool plane_next_dirty(struct pin_plane *plane, u64 first, u64 last,
		      enum pin_record which, u64 *page)
{
	u64 words = plane->used & plane_words(plane, first, last);

	if (which == PIN_UNREPORTED)
		words &= plane->fresh;
	for (; words; words &= words - 1) {
		u64 number = word_number(plane, __ffs64(words));
		u64 dirty = plane->retained[__ffs64(words)] &
			    number_mask(number, first, last);

		if (dirty) {
			*page = (number << LEAF_SHIFT) + __ffs64(dirty);
			return true;
		}
	}
	return false;
}
