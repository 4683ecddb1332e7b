// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures the loaded type1 through the module mdma_bench. Prints a line "KEY
 * VALUE" for each figure, in nanoseconds or bytes. tests/scenarios/bench.py says what
 * each key means.
 *
 * usage: bench GROUP...        groups: see the table above main()
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_run.h"

/* --- floor ------------------------------------------------------------- */

static void floor_of(struct bench *b, __u32 batch, const char *suffix)
{
	struct mdma_bench_run todo = {
		.op = MDMA_BENCH_FLOOR, .batch = batch,
		.start = (__u64)b->mem, .stride = batch * PAGE_SIZE,
		.count = batch == 1 ? 16384 : 65536 / batch,
	};
	double pin = 0, unpin = 0;
	char key[64];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		struct mdma_bench_run done = run(b, todo);

		keep_least(&pin, done.ns);
		keep_least(&unpin, done.unpin_ns);
	}
	snprintf(key, sizeof(key), "pin_%s", suffix);
	say(key, pin / (todo.count * batch));
	snprintf(key, sizeof(key), "unpin_%s", suffix);
	say(key, unpin / (todo.count * batch));
}

static void group_floor(void)
{
	struct bench b;
	struct mdma_bench_run set = { .op = MDMA_BENCH_MEMSET, .batch = 1 };

	bench_open(&b, populated(256 * MIB, MADV_HUGEPAGE), 256 * MIB);
	floor_of(&b, BATCH, "512");
	floor_of(&b, 1, "1");
	set.count = TIB >> PAGE_SHIFT >> 3;
	say("get_1t_1024", run(&b, set).ns);
	set.count = GIB >> PAGE_SHIFT >> 3;
	say("get_1g_all", run(&b, set).ns);
	bench_close(&b);
	bench_open(&b, scattered(256 * MIB), 256 * MIB);
	floor_of(&b, BATCH, "512_scattered");
	bench_close(&b);
}

/* --- pin, unpin -------------------------------------------------------- */

static void pin_and_unpin(struct bench *b, __u32 batch, __u64 stride,
			  __u64 count, const char *suffix)
{
	double pin = 0, unpin = 0;
	char key[64];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		keep_least(&pin, pins(b, MDMA_BENCH_PIN, batch, stride, count));
		keep_least(&unpin,
			   pins(b, MDMA_BENCH_UNPIN, batch, stride, count));
	}
	snprintf(key, sizeof(key), "pin_%s", suffix);
	say(key, pin / (count * batch));
	snprintf(key, sizeof(key), "unpin_%s", suffix);
	say(key, unpin / (count * batch));
}

/* Nanoseconds a page, for 512 pages that are pinned and unpinned again and again. */
static double ring(struct bench *b, __u32 batch)
{
	struct mdma_bench_run todo = {
		.op = MDMA_BENCH_RING, .batch = batch, .start = IOVA,
		.stride = batch * PAGE_SIZE, .span = RING,
		.count = batch == 1 ? 16384 : 128,
	};
	double least = 0;
	int i;

	for (i = 0; i < ROUNDS; i++)
		keep_least(&least, run(b, todo).ns);
	return least / todo.count / batch;
}

/* Pins single pages all over 1 TiB, in no order, each with a leaf of its own. */
static void pin_random(void)
{
	struct mdma_bench_run todo = {
		.batch = 1, .start = IOVA, .stride = SCRAMBLE, .span = TIB,
		.count = 16384,
	};
	double pin = 0, unpin = 0;
	struct bench b;
	int i;

	bench_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	for (i = 0; i < ROUNDS; i++) {
		todo.op = MDMA_BENCH_PIN;
		keep_least(&pin, run(&b, todo).ns);
		todo.op = MDMA_BENCH_UNPIN;
		keep_least(&unpin, run(&b, todo).ns);
	}
	say("pin_1_random", pin / todo.count);
	say("unpin_1_random", unpin / todo.count);
	bench_close(&b);
}

/* Pins by a kernel thread, which is not the owner of the memory. */
static void pin_by_thread(struct bench *b, __u32 batch, __u64 count)
{
	struct mdma_bench_run todo = {
		.batch = batch, .start = IOVA, .stride = batch * PAGE_SIZE,
		.count = count, .thread = 1,
	};
	double pin = 0, unpin = 0;
	char key[64];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		todo.op = MDMA_BENCH_PIN;
		keep_least(&pin, run(b, todo).ns);
		todo.op = MDMA_BENCH_UNPIN;
		keep_least(&unpin, run(b, todo).ns);
	}
	snprintf(key, sizeof(key), "pin_%d_thread", batch);
	say(key, pin / (count * batch));
	snprintf(key, sizeof(key), "unpin_%d_thread", batch);
	say(key, unpin / (count * batch));
}

static void group_pin(void)
{
	const __u64 size = 256 * MIB;
	struct bench b;

	bench_open(&b, populated(size, MADV_HUGEPAGE), size);
	pin_and_unpin(&b, BATCH, HUGE, size / HUGE, "512");
	pin_and_unpin(&b, 1, PAGE_SIZE, 16384, "1");
	pin_and_unpin(&b, 1, HUGE, size / HUGE, "1_isolated");
	say("ring_512", ring(&b, BATCH));
	say("ring_1", ring(&b, 1));
	pin_by_thread(&b, BATCH, size / HUGE);
	pin_by_thread(&b, 1, 16384);

	check("START", dirty_start(b.container));
	pin_and_unpin(&b, BATCH, HUGE, size / HUGE, "512_tracking");
	say("ring_512_tracking", ring(&b, BATCH));
	say("ring_1_tracking", ring(&b, 1));
	bench_close(&b);

	bench_open(&b, scattered(size), size);
	pin_and_unpin(&b, BATCH, HUGE, size / HUGE, "512_scattered");
	bench_close(&b);

	pin_random();
}

/* --- START ------------------------------------------------------------- */

static double least_start(struct bench *b)
{
	double least = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		keep_least(&least, timed_start(b));
		check("STOP", dirty_stop(b->container));
	}
	return least;
}

static void group_start(void)
{
	struct bench b;
	long long before;

	bench_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	say("start_1t", least_start(&b));
	before = kernel_bytes();
	check("START", dirty_start(b.container));
	say("start_1t_bytes", kernel_bytes() - before);
	bench_close(&b);

	bench_open(&b, populated(GIB, MADV_HUGEPAGE), GIB);
	pin_all(&b, MDMA_BENCH_PIN, GIB);
	say("start_1g", least_start(&b));
	pin_all(&b, MDMA_BENCH_UNPIN, GIB);
	bench_close(&b);
}

/* --- GET, UNMAP -------------------------------------------------------- */

/* A GET of @count pages; @whole: with their pins and unpins. */
static double scattered_get(struct bench *b, __u64 count, double *whole)
{
	double least = 0;
	int i;

	*whole = 0;
	for (i = 0; i < ROUNDS; i++) {
		double before = scatter(b, count), ns = timed_get(b);

		keep_least(&least, ns);
		keep_least(whole, before + ns);
		expect(b, count);
	}
	return least;
}

/* Every second page: pinned, unpinned, reported; and the report alone. */
static void half_get(struct bench *b)
{
	double get = 0, whole = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		double before = scatter(b, b->size / PAGE_SIZE / 2);
		double ns = timed_get(b);

		keep_least(&get, ns);
		keep_least(&whole, before + ns);
		expect(b, b->size / PAGE_SIZE / 2);
	}
	say("get_1g_half", get);
	say("get_1g_half_whole", whole);
}

/* The same, but each time other pages, so that none of the records is used again. */
static double moving_get(struct bench *b, __u64 count)
{
	double least = 0;
	int i;

	for (i = 1; i <= 2 * ROUNDS; i++) {
		double ns;

		scatter_at(b, i * HUGE, count);
		ns = timed_get(b);
		/* From the third one on, each has what the one before has left. */
		if (i > 2)
			keep_least(&least, ns);
		expect(b, count);
	}
	return least;
}

/* Makes the buffer like one that QEMU passes: from malloc(), not touched yet. */
static void forget(void *mem, __u64 size)
{
	check("DONTNEED", madvise(mem, size, MADV_DONTNEED) ? -errno : 0);
	check("NOHUGEPAGE", madvise(mem, size, MADV_NOHUGEPAGE) ? -errno : 0);
}

/* A GET of @npages clean pages at @iova, best of many. */
static double short_get(struct bench *b, __u64 iova, __u64 npages)
{
	double least = 0;
	int i;

	for (i = 0; i < 50; i++) {
		double begin = now_ns();

		check("GET", dirty_get(b->container, iova, npages << PAGE_SHIFT,
				       b->bitmap));
		keep_least(&least, now_ns() - begin);
	}
	return least;
}

/* START, such a GET, and STOP. */
static double short_tracking(struct bench *b, __u64 iova, __u64 npages)
{
	double least = 0;
	int i;

	for (i = 0; i < 50; i++) {
		double begin = now_ns();

		check("START", dirty_start(b->container));
		check("GET", dirty_get(b->container, iova, npages << PAGE_SHIFT,
				       b->bitmap));
		check("STOP", dirty_stop(b->container));
		keep_least(&least, now_ns() - begin);
	}
	return least;
}

static void say_short(struct bench *b, const char *name, __u64 iova,
		      __u64 npages)
{
	char key[64];

	check("START", dirty_start(b->container));
	snprintf(key, sizeof(key), "get_%s", name);
	say(key, short_get(b, iova, npages));
	check("STOP", dirty_stop(b->container));
	snprintf(key, sizeof(key), "get_%s_whole", name);
	say(key, short_tracking(b, iova, npages));
}

/* A mapping of so many pages, and all of it asked for; and a hole of 8 TiB. */
static void group_short(void)
{
	static const struct {
		const char *name;
		__u64 npages;
	} sizes[] = { { "1", 1 }, { "64", 64 }, { "512", 512 } };
	struct bench b;
	unsigned int i;

	bench_open(&b, populated(HUGE, MADV_NOHUGEPAGE), HUGE);
	munmap(b.bitmap, bitmap_bytes(HUGE >> PAGE_SHIFT));
	b.bitmap = anonymous(bitmap_bytes(8 * TIB >> PAGE_SHIFT),
			     MADV_NOHUGEPAGE);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		__u64 iova = 2 * IOVA + i * HUGE;

		check("map", dma_map(b.container, b.mem, iova,
				     sizes[i].npages * PAGE_SIZE, MAP_RW));
		say_short(&b, sizes[i].name, iova, sizes[i].npages);
	}
	say_short(&b, "hole", 16 * TIB, (8 * TIB - HUGE) >> PAGE_SHIFT);
	bench_close(&b);
}

static void group_get(void)
{
	struct bench b;
	double least = 0, whole;
	int i;

	bench_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	check("START", dirty_start(b.container));
	say("get_1t_1024", scattered_get(&b, 1024, &whole));
	scatter(&b, 1024);
	forget(b.bitmap, bitmap_bytes(TIB >> PAGE_SHIFT));
	say("get_1t_fresh", timed_get(&b));
	bench_close(&b);

	bench_open(&b, populated(GIB, MADV_HUGEPAGE), GIB);
	check("START", dirty_start(b.container));
	half_get(&b);
	pin_all(&b, MDMA_BENCH_PIN, GIB);
	for (i = 0; i < ROUNDS; i++) {
		keep_least(&least, timed_get(&b));
		expect(&b, GIB / PAGE_SIZE);
	}
	say("get_1g_all", least);
	pin_all(&b, MDMA_BENCH_UNPIN, GIB);
	bench_close(&b);
}

/* 1 TiB, more and more of it dirty. */
static void group_dirty(void)
{
	static const int counts[] = { 256, 1024, 4096, 16384, 65536 };
	struct bench b;
	unsigned int i;
	double whole;
	char key[64];

	bench_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	check("START", dirty_start(b.container));
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		snprintf(key, sizeof(key), "dirty_%d", counts[i]);
		say(key, scattered_get(&b, counts[i], &whole));
	}
	say("moving_16384", moving_get(&b, 16384));
	bench_close(&b);
}

/* 1024 dirty pages, more and more memory around them. */
static void group_mapped(void)
{
	static const int gibs[] = { 1, 16, 256, 1024, 4096, 16384 };
	struct bench b;
	unsigned int i;
	double whole;
	char key[64];
	int ret;

	for (i = 0; i < sizeof(gibs) / sizeof(*gibs); i++) {
		__u64 size = gibs[i] * GIB;

		bench_open(&b, anonymous(size, MADV_NOHUGEPAGE), size);
		ret = dirty_start(b.container);
		/* The kernel's own refuses more than 8 TiB: no figure. */
		if (ret != -EINVAL)
			check("START", ret);
		snprintf(key, sizeof(key), "mapped_%d", gibs[i]);
		if (!ret)
			say(key, scattered_get(&b, 1024, &whole));
		if (gibs[i] == 1)
			say("mapped_1_whole", whole);
		bench_close(&b);
	}
}

static void group_unmap(void)
{
	struct bench b;
	double unmap = 0, both = 0, whole = 0;
	int i;

	bench_open(&b, populated(GIB, MADV_HUGEPAGE), GIB);
	check("START", dirty_start(b.container));
	for (i = 0; i < ROUNDS; i++) {
		double pin, unpin, ns;

		if (i)
			check("map", dma_map(b.container, b.mem, IOVA, GIB,
					     MAP_RW));
		pin = pin_all(&b, MDMA_BENCH_PIN, GIB);
		unpin = pin_all(&b, MDMA_BENCH_UNPIN, GIB);
		ns = timed_unmap(&b);
		keep_least(&unmap, ns);
		keep_least(&both, unpin + ns);
		keep_least(&whole, pin + unpin + ns);
		expect(&b, GIB / PAGE_SIZE);
	}
	say("unmap_1g", unmap);
	say("unmap_1g_unpin", both);
	say("unmap_1g_whole", whole);
	bench_close(&b);
}

/*
 * STOP with @count pages retained, 0: all of them; and with the START before, and with
 * the pins and unpins between them.
 */
static void stop_of(const char *suffix, unsigned char *mem, __u64 size,
		    __u64 count)
{
	double stop = 0, both = 0, whole = 0;
	struct bench b;
	char key[64];
	int i;

	bench_open(&b, mem, size);
	for (i = 0; i < ROUNDS; i++) {
		double start = timed_start(&b), pin, ns;

		if (count)
			pin = scatter(&b, count);
		else
			pin = pin_all(&b, MDMA_BENCH_PIN, size) +
			      pin_all(&b, MDMA_BENCH_UNPIN, size);
		ns = timed_stop(&b);
		keep_least(&stop, ns);
		keep_least(&both, start + ns);
		keep_least(&whole, start + pin + ns);
	}
	snprintf(key, sizeof(key), "stop_%s", suffix);
	say(key, stop);
	snprintf(key, sizeof(key), "tracking_%s", suffix);
	say(key, both);
	snprintf(key, sizeof(key), "tracking_%s_whole", suffix);
	say(key, whole);
	bench_close(&b);
}

static void group_stop(void)
{
	stop_of("1g", populated(GIB, MADV_HUGEPAGE), GIB, 0);
	/* One page of each 64. */
	stop_of("16g", anonymous(16 * GIB, MADV_NOHUGEPAGE), 16 * GIB, 65536);
	stop_of("1t", anonymous(TIB, MADV_NOHUGEPAGE), TIB, 65536);
}

/* --- memory ------------------------------------------------------------ */

static double bytes_a_page(struct bench *b, __u32 batch, __u64 stride,
			   __u64 count)
{
	long long before, after;

	/* Make the user's pages and page tables before the measurement. */
	pins(b, MDMA_BENCH_PIN, batch, stride, count);
	pins(b, MDMA_BENCH_UNPIN, batch, stride, count);
	before = kernel_bytes();
	pins(b, MDMA_BENCH_PIN, batch, stride, count);
	after = kernel_bytes();
	pins(b, MDMA_BENCH_UNPIN, batch, stride, count);
	return (double)(after - before) / (batch * count);
}

/*
 * All of 1 TiB dirty, by calculation: there is not that much memory to dirty. A page of
 * each 64 in 16 GiB takes what all of these pages would take. With what START allocates.
 */
static double bytes_of_a_tib(void)
{
	long long before;
	double bytes;
	struct bench b;

	bench_open(&b, anonymous(16 * GIB, MADV_NOHUGEPAGE), 16 * GIB);
	scatter(&b, 65536);
	before = kernel_bytes();
	check("START", dirty_start(b.container));
	scatter(&b, 65536);
	bytes = kernel_bytes() - before;
	bench_close(&b);
	return bytes * (TIB / (16 * GIB));
}

static void group_memory(void)
{
	struct bench b;

	say("memory_1t", bytes_of_a_tib());

	bench_open(&b, scattered(GIB), GIB);
	say("memory_dense", bytes_a_page(&b, BATCH, HUGE, GIB / HUGE));
	/* Four in each 64: the worst case. */
	say("memory_scattered", bytes_a_page(&b, 1, 16 * PAGE_SIZE,
					     GIB / PAGE_SIZE / 16));
	bench_close(&b);

	bench_open(&b, populated(GIB, MADV_HUGEPAGE), GIB);
	say("memory_huge", bytes_a_page(&b, BATCH, HUGE, GIB / HUGE));
	bench_close(&b);

	bench_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	say("memory_isolated", bytes_a_page(&b, 1, 32 * MIB, TIB / 32 / MIB));
	bench_close(&b);
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "floor", group_floor },
	{ "pin", group_pin },
	{ "start", group_start },
	{ "get", group_get },
	{ "short", group_short },
	{ "stop", group_stop },
	{ "wait", group_wait },
	{ "unmap", group_unmap },
	{ "memory", group_memory },
	{ "mapped", group_mapped },
	{ "dirty", group_dirty },
	{ "growth", group_growth },
};

int main(int argc, char **argv)
{
	unsigned int i;
	int found;

	while (*++argv) {
		found = 0;
		for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
			if (strcmp(groups[i].name, *argv))
				continue;
			groups[i].run();
			found = 1;
		}
		if (!found)
			die("%s: no such group", *argv);
	}
	return argc < 2;
}
