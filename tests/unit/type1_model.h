/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container as an array of pages: what is mapped, pinned and retained, and what a report
 * must say of it.
 */
#ifndef TYPE1_MODEL_H
#define TYPE1_MODEL_H

#include "type1_pin_mock.h"
#include "type1_unmap_mock.h"

/* Pages of the address space: several chunks of a report. */
#define SPACE		600000
#define MAPS_MAX	2000
#define TOUCHED_MAX	8192

/*
 * Is a page retained? Perhaps, if it was reported, and another one of the same 64 was
 * touched meanwhile.
 */
enum retained { NOT, PERHAPS, SURELY };

static struct model_page {
	unsigned char pins;
	bool written;		/* one of the pins is to write */
	unsigned char retained;	/* enum retained */
	bool late;		/* touched after the report has told of it */
	bool was_written;	/* what it was then */
	unsigned char was_retained;
	unsigned int map;	/* first page of its mapping, plus 1; 0: not mapped */
} model[SPACE];

static struct {
	u64 first, npages;
} maps[MAPS_MAX];
static unsigned int nr_maps;
static long nr_pinned;

/* The report that is being made, unless @npages is 0. */
static struct {
	u64 first, npages;
	u64 *bitmap, *before;
	u64 touched[TOUCHED_MAX];
	unsigned int nr_touched;
} told;

/* --- the model --------------------------------------------------------------- */

static u64 to_iova(u64 page)
{
	return page << PAGE_SHIFT;
}

/* The report has told of a page when its word is not what it was (begin_report()). */
static bool is_told(u64 page)
{
	u64 word = (page - told.first) / 64;

	return page >= told.first && page - told.first < told.npages &&
	       told.bitmap[word] != told.before[word];
}

/* A device is about to do something with a page. */
static void touch(u64 page)
{
	struct model_page *p = &model[page];

	if (!told.npages)
		return;
	if (told.nr_touched == TOUCHED_MAX)
		abort();
	told.touched[told.nr_touched++] = page;
	if (p->late || !is_told(page))
		return;
	p->late = true;
	p->was_written = p->written;
	p->was_retained = p->retained;
	p->retained = NOT;
}

static void model_pin(u64 page, bool write)
{
	touch(page);
	nr_pinned += !model[page].pins++;
	model[page].written |= write;
}

static void model_unpin(u64 page)
{
	struct model_page *p = &model[page];

	if (!p->pins)
		return;
	touch(page);
	if (--p->pins)
		return;
	nr_pinned--;
	if (p->written)
		p->retained = SURELY;
	p->written = false;
}

/* What was told is dropped; beside a page that was touched since, it may stay. */
static void model_drop(void)
{
	u64 page, i;

	for (page = told.first; page < told.first + told.npages; page++)
		if (!model[page].late)
			model[page].was_retained = model[page].retained;
	for (page = told.first; page < told.first + told.npages; page++)
		if (!model[page].late)
			model[page].retained = NOT;
	for (i = 0; i < told.nr_touched; i++) {
		unsigned int map = model[told.touched[i]].map;
		u64 first = map - 1 + round_down(told.touched[i] - (map - 1), 64);

		/* A pin of what is not mapped has failed. */
		if (!map)
			continue;
		for (page = max(first, told.first);
		     page < min(first + 64, told.first + told.npages); page++)
			if (model[page].map == map && model[page].was_retained &&
			    !model[page].retained)
				model[page].retained = PERHAPS;
	}
}

/* After a report that failed, everything is as it was. */
static void model_keep(void)
{
	u64 page;

	for (page = told.first; page < told.first + told.npages; page++)
		if (model[page].late)
			model[page].retained = max(model[page].retained,
						   model[page].was_retained);
}

/* --- mappings ------------------------------------------------------------------ */

/* The owner has FRAMES pages of memory, again and again. */
static void map_some(u64 first, u64 npages)
{
	struct vfio_dma *dma = map(first, npages);
	unsigned int at = nr_maps++;
	u64 page;

	dma->vaddr = to_iova(first % FRAMES);
	dma->prot = IOMMU_READ | IOMMU_WRITE;
	dma->mm = &owner_mm;
	for (; at && maps[at - 1].first > first; at--)
		maps[at] = maps[at - 1];
	maps[at].first = first;
	maps[at].npages = npages;
	for (page = first; page < first + npages; page++)
		model[page] = (struct model_page){ .map = first + 1 };
}

static unsigned long frame_at(u64 page)
{
	u64 first = model[page].map - 1;

	return frame_of[(first % FRAMES + page - first) % FRAMES];
}

static void map_all(void)
{
	unsigned int how = unit_below(4);
	u64 first = unit_below(200), n;

	while (nr_maps < MAPS_MAX / 2) {
		n = 1 + (how && !unit_below(3) ? unit_below(250000) : unit_below(300));
		if (first + n > SPACE)
			break;
		map_some(first, n);
		first += n + (unit_below(3) ? 0 : unit_below(100));
	}
}

static void unmapped(unsigned int from, unsigned int to)
{
	u64 page;

	for (page = maps[from].first; page < maps[to].first + maps[to].npages; page++)
		model[page] = (struct model_page){ 0 };
	memmove(maps + from, maps + to + 1, (nr_maps - to - 1) * sizeof(*maps));
	nr_maps -= to + 1 - from;
}

/* --- bitmaps ------------------------------------------------------------------- */

/*
 * The user's bitmap. Bits of what is not mapped are at random and must stay; all others
 * are set, so that a word changes when it is written, unless all of it is dirty.
 */
static void begin_report(u64 first, u64 npages)
{
	u64 words = (npages + 63) / 64, i;

	told.first = first;
	told.nr_touched = 0;
	told.bitmap = malloc(words * 8);
	told.before = malloc(words * 8);
	for (i = 0; i < words; i++)
		told.before[i] = unit_random();
	for (i = 0; i < npages; i++) {
		if (model[first + i].map)
			told.before[i / 64] |= 1ULL << i % 64;
		model[first + i].late = false;
	}
	memcpy(told.bitmap, told.before, words * 8);
}

static void end_report(void)
{
	free(told.bitmap);
	free(told.before);
	told.npages = 0;
}

/* Is each bit what it must be? A page that is touched late counts as it was before. */
static void check_bits(u64 first, u64 npages)
{
	u64 i;

	for (i = 0; i < npages; i++) {
		struct model_page *p = &model[first + i];
		bool written = p->late ? p->was_written : p->written;
		unsigned char retained = p->late ? p->was_retained : p->retained;
		bool bit = bit_of(told.bitmap, i);

		if (!p->map)
			CHECK(bit == bit_of(told.before, i), "page %llu is a hole",
			      first + i);
		else if (written || retained == SURELY)
			CHECK(bit, "page %llu is lost", first + i);
		else
			CHECK(!bit || retained, "page %llu is clean", first + i);
	}
	for (; i % 64; i++)
		CHECK(bit_of(told.bitmap, i) == bit_of(told.before, i), "behind the end");
}

#endif
