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

static bool plane_is_within(const struct pin_plane *plane, u64 first, u64 last)
{
	return plane_first(plane) >= first &&
	       plane_first(plane) + PLANE_PAGES - 1 <= last;
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

/* All words, each of which is one of the bitmap. */
static void plane_report_all(const struct pin_plane *plane, u64 *to)
{
	const u64 *from = plane->retained;
	u64 left = plane->used;
	unsigned int i;

	if (left != U64_MAX) {
		for (; left; left &= left - 1)
			to[__ffs64(left)] |= from[__ffs64(left)];
		return;
	}
	for (i = 0; i < PLANE_WORDS; i += 8, from += 8, to += 8) {
		to[0] |= from[0];
		to[1] |= from[1];
		to[2] |= from[2];
		to[3] |= from[3];
		to[4] |= from[4];
		to[5] |= from[5];
		to[6] |= from[6];
		to[7] |= from[7];
	}
}

u64 plane_report(struct pin_plane *plane, u64 first, u64 last,
		 const struct pin_report *report)
{
	u64 words = plane_words(plane, first, last);
	u64 left = plane->used & words, found = left;

	/*
	 * A report that has told the begin of the word in an earlier part of it did
	 * not see what was written there since: such a word stays fresh.
	 */
	if (first % LEAF_PAGES && first >= plane_first(plane) &&
	    first > report->begin)
		words &= words - 1;
	plane->fresh &= ~words;

	if (report_is_aligned(report) && plane_is_within(plane, first, last)) {
		plane_report_all(plane, report_word(report, word_number(plane, 0)));
		return found;
	}
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

unsigned int plane_drop(struct pin_plane *plane, u64 first, u64 last,
			enum pin_drop which)
{
	u64 words = plane->used & plane_words(plane, first, last);
	unsigned int nr = 0;

	if (which == PIN_DROP_REPORTED)
		words &= ~plane->fresh;
	if (words == plane->used && plane_is_within(plane, first, last)) {
		nr = plane->nr_retained;
		if (nr)
			memset(plane->retained, 0, sizeof(plane->retained));
		plane->used = 0;
		plane->fresh = 0;
		words = 0;
	}
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
