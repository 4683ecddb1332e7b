// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges that are being unmapped: nothing is pinned there.
 *
 * type1 calls ->dma_unmap() and then looks whether anything is still pinned. A
 * device that pins again at once would make it ask, and ask again, and give up.
 * So a range stays closed for MDMA_GOING_MS more, and no other memory with it. There
 * is room for a number of ranges, so that to close one cannot fail; if there are
 * more, the two that are nearest become one.
 *
 * Under mdma_access.lock.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>

#include "going.h"

static bool is_closed(const struct mdma_going *going, bool waited)
{
	return going->users ||
	       (!waited && time_before_eq(jiffies, going->until));
}

/**
 * mdma_going_init() - nothing is being unmapped
 * @ranges: MDMA_GOING_RANGES, zeroed
 */
void mdma_going_init(struct mdma_going *ranges)
{
	u32 i;

	for (i = 0; i < MDMA_GOING_RANGES; i++)
		ranges[i].until = jiffies - 1;
}

/**
 * mdma_going_overlaps() - whether nothing may be pinned in a range now
 * @ranges: MDMA_GOING_RANGES
 * @first: first byte
 * @last: last byte
 * @waited: the caller was refused, and has called mdma_access_settle() since.
 *	Now only a ->dma_unmap() that is in progress refuses it, so it does
 *	not wait for ever while memory elsewhere is unmapped
 *
 * Return: whether ->dma_unmap() announced some of it lately.
 */
bool mdma_going_overlaps(const struct mdma_going *ranges, u64 first, u64 last,
			 bool waited)
{
	const struct mdma_going *going = ranges;
	u32 i;

	for (i = 0; i < MDMA_GOING_RANGES; i++, going++)
		if (going->first <= last && first <= going->last &&
		    is_closed(going, waited))
			return true;
	return false;
}

/* By how many bytes a range has to grow to include this one as well. */
static u64 growth(const struct mdma_going *going, u64 first, u64 last)
{
	return (max(going->last, last) - min(going->first, first)) -
	       (going->last - going->first);
}

/**
 * mdma_going_begin() - a range is being unmapped
 * @ranges: MDMA_GOING_RANGES
 * @first: first byte
 * @last: last byte
 *
 * Return: to be given to mdma_going_end().
 */
struct mdma_going *mdma_going_begin(struct mdma_going *ranges, u64 first,
				    u64 last)
{
	struct mdma_going *going, *nearest = ranges;

	for (going = ranges; going < ranges + MDMA_GOING_RANGES; going++) {
		if (!is_closed(going, false)) {
			going->first = first;
			going->last = last;
			nearest = going;
			break;
		}
		if (growth(going, first, last) < growth(nearest, first, last))
			nearest = going;
	}
	nearest->first = min(nearest->first, first);
	nearest->last = max(nearest->last, last);
	nearest->users++;
	return nearest;
}

/**
 * mdma_going_end() - ->dma_unmap() of a range returns
 * @going: of mdma_going_begin()
 */
void mdma_going_end(struct mdma_going *going)
{
	going->users--;
	going->until = jiffies + msecs_to_jiffies(MDMA_GOING_MS);
}
