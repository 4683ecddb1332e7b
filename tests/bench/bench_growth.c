// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each call costs as memory mapped, dirty pages or mappings grow.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_run.h"

/* What grows, and the number in the keys of its rows. */
struct growth {
	const char *what;
	__u64 n;
	__u64 size;
	__u64 dirty;
	__u64 mappings;
};

/* The costs of each call, and of all calls of a round: pins, unpins and these. */
struct costs {
	double start;
	double get;
	double stop;
	double unmap;
	double whole;
};

static void map_pieces(struct bench *b, __u64 mappings)
{
	__u64 piece = b->size / mappings, i;

	for (i = 0; i < mappings; i++)
		check("map", dma_map(b->container, b->mem + i * piece,
				     IOVA + i * piece, piece, MAP_RW));
}

/* What is mapped is unmapped at the end. */
static void growth_round(struct bench *b, const struct growth *g,
			 struct costs *least)
{
	double start, get, stop, unmap, pin;

	map_pieces(b, g->mappings);
	start = timed_start(b);
	pin = scatter(b, g->dirty);
	get = timed_get(b);
	expect(b, g->dirty);
	scatter(b, g->dirty);
	stop = timed_stop(b);
	check("START", dirty_start(b->container));
	pin += scatter(b, g->dirty);
	unmap = timed_unmap(b);
	expect(b, g->dirty);
	check("STOP", dirty_stop(b->container));

	keep_least(&least->start, start);
	keep_least(&least->get, get);
	keep_least(&least->stop, stop);
	keep_least(&least->unmap, unmap);
	keep_least(&least->whole, start + pin + get + stop + unmap);
}

static void say_growth(const struct growth *g, const char *call, double ns)
{
	char key[64];

	snprintf(key, sizeof(key), "%s_by_%s_%llu", call, g->what, g->n);
	say(key, ns);
}

static void grow(struct growth g)
{
	__u64 piece = g.size / g.mappings & ~(PAGE_SIZE - 1ULL);
	struct costs least = {};
	struct bench b;
	int i;

	g.size = piece * g.mappings;
	bench_open_empty(&b, anonymous(g.size, MADV_NOHUGEPAGE), g.size);
	/* The bits past the end stay as they are (R8). */
	memset(b.bitmap, 0, bitmap_bytes(g.size >> PAGE_SHIFT));
	for (i = 0; i < 2; i++)
		growth_round(&b, &g, &least);
	say_growth(&g, "start", least.start);
	say_growth(&g, "get", least.get);
	say_growth(&g, "stop", least.stop);
	say_growth(&g, "unmap", least.unmap);
	say_growth(&g, "whole", least.whole);
	bench_close(&b);
}

/* Each by ten, four times. */
void group_growth(void)
{
	__u64 n;

	for (n = 1; n <= 10000; n *= 10)
		grow((struct growth){ "memory", n, n * 512 * MIB, 1000, 1 });
	for (n = 5; n <= 50000; n *= 10)
		grow((struct growth){ "dirty", n, TIB, n, 1 });
	for (n = 6; n <= 60000; n *= 10)
		grow((struct growth){ "mappings", n, 240 * GIB, 1000, n });
}
