// SPDX-License-Identifier: GPL-2.0-only
/*
 * The window: which IOVA ranges the workload may use, and how they are cut
 * into slots. A slot is what one descriptor accesses: a run of up to "batch"
 * pages that starts at a multiple of "batch" pages from the start of its
 * range; the last slot of a range may be shorter. Slots are numbered through
 * all ranges. Takes no lock.
 */
#include <linux/errno.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include <asm/byteorder.h>

#include "window.h"

static u64 range_first(const struct mdma_range *range)
{
	return le64_to_cpu(range->iova);
}

static u64 range_last(const struct mdma_range *range)
{
	return le64_to_cpu(range->iova) + le64_to_cpu(range->size) - 1;
}

static bool range_valid(const struct mdma_range *range)
{
	u64 iova = le64_to_cpu(range->iova);
	u64 size = le64_to_cpu(range->size);

	return size && !((iova | size) & (MDMA_PAGE_SIZE - 1)) &&
	       iova + (size - 1) >= iova;
}

/* Pages of @range that @left, the rest of the working set, leaves of it. */
static u64 range_pages(const struct mdma_range *range, u64 left)
{
	return min(le64_to_cpu(range->size) >> MDMA_PAGE_SHIFT, left);
}

/**
 * mdma_window_check() - whether ranges from outside can be a window
 * @range: do not change meanwhile
 * @nr: how many
 *
 * Return: 0, or -EINVAL for too many ranges, for one that is empty, not page
 * aligned or beyond the address space, and for two that overlap.
 */
int mdma_window_check(const struct mdma_range *range, u32 nr)
{
	u32 i, j;

	if (nr > MDMA_MAX_RANGES)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		if (!range_valid(&range[i]))
			return -EINVAL;
		for (j = 0; j < i; j++)
			if (range_first(&range[i]) <= range_last(&range[j]) &&
			    range_first(&range[j]) <= range_last(&range[i]))
				return -EINVAL;
	}
	return 0;
}

/**
 * mdma_window_pages() - size of the working set
 * @window: checked
 * @limit: pages, 0 for no limit
 *
 * Return: pages.
 */
u64 mdma_window_pages(const struct mdma_window *window, u64 limit)
{
	u64 pages = 0;
	u32 i;

	for (i = 0; i < window->nr; i++)
		pages += le64_to_cpu(window->range[i].size) >> MDMA_PAGE_SHIFT;
	return limit ? min(pages, limit) : pages;
}

/**
 * mdma_window_slots() - number of slots
 * @window: checked
 * @batch: pages of a slot, 1 to MDMA_BATCH_MAX
 * @limit: use only the first @limit pages of the window, 0 for all
 *
 * Return: slots, 0 if the window is empty.
 */
u64 mdma_window_slots(const struct mdma_window *window, u32 batch, u64 limit)
{
	u64 left = mdma_window_pages(window, limit);
	u64 slots = 0;
	u32 i;

	for (i = 0; i < window->nr && left; i++) {
		u64 pages = range_pages(&window->range[i], left);

		slots += div_u64(pages + batch - 1, batch);
		left -= pages;
	}
	return slots;
}

/**
 * mdma_window_slot() - where a slot is
 * @window: checked
 * @batch: pages of a slot, 1 to MDMA_BATCH_MAX
 * @limit: use only the first @limit pages of the window, 0 for all
 * @slot: less than mdma_window_slots()
 * @iova: of the first page
 *
 * Return: pages of this slot, 0 if there is no such slot.
 */
u32 mdma_window_slot(const struct mdma_window *window, u32 batch, u64 limit,
		     u64 slot, u64 *iova)
{
	u64 left = mdma_window_pages(window, limit);
	u32 i;

	for (i = 0; i < window->nr && left; i++) {
		u64 pages = range_pages(&window->range[i], left);
		u64 slots = div_u64(pages + batch - 1, batch);

		if (slot < slots) {
			u64 first = slot * batch;

			*iova = range_first(&window->range[i]) +
				(first << MDMA_PAGE_SHIFT);
			return min_t(u64, batch, pages - first);
		}
		slot -= slots;
		left -= pages;
	}
	return 0;
}

/**
 * mdma_window_save() - the window for a migration
 * @window: checked
 * @to: gets it; the registers of the window stay as they are
 */
void mdma_window_save(const struct mdma_window *window,
		      struct mdma_stream_window *to)
{
	to->origin = cpu_to_le32(window->origin);
	to->nr_ranges = cpu_to_le32(window->nr);
	memcpy(to->ranges, window->range, sizeof(to->ranges));
}
