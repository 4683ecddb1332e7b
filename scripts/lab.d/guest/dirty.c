// SPDX-License-Identifier: GPL-2.0-only
/*
 * dirty MIB PAGES_PER_S: writes memory with the CPU, and checks it.
 *
 * Cycles through MIB MiB of anonymous memory. Each page is first compared with
 * what was written to it one round ago, then written again. The content of a
 * page follows from its number and its generation, which is kept elsewhere. So
 * a page that a migration lost is noticed, whether it is damaged or only old.
 *
 * It makes up for late ticks, so the rate is exact.
 *
 * Prints only errors, one line each: the first word of a page that differs.
 * Never ends, unless it can't start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <linux/types.h>

#define PAGE_SIZE	4096
#define PAGE_WORDS	(PAGE_SIZE / sizeof(__u64))
#define PAGES_PER_MIB	((1UL << 20) / PAGE_SIZE)
#define TICKS_PER_S	20
#define NSEC_PER_SEC	1000000000LL

struct memory {
	__u64 *words;
	__u32 *generation;	/* 0: never written, all zeroes */
	unsigned long pages;
};

static __u64 expected(unsigned long page, __u32 generation, unsigned int word)
{
	__u64 x = (__u64)generation << 32 | page;

	return generation ? (x + word) * 0x9e3779b97f4a7c15ULL : 0;
}

static void check(const struct memory *m, unsigned long page)
{
	const __u64 *words = m->words + page * PAGE_WORDS;
	__u32 generation = m->generation[page];

	for (unsigned int i = 0; i < PAGE_WORDS; i++) {
		__u64 good = expected(page, generation, i);

		if (words[i] == good)
			continue;
		printf("dirty: page %lu of %lu, word %u: %#llx, not %#llx of generation %u\n",
		       page, m->pages, i, words[i], good, generation);
		fflush(stdout);
		return;
	}
}

static void dirty(struct memory *m, unsigned long page)
{
	__u64 *words = m->words + page * PAGE_WORDS;
	__u32 generation = ++m->generation[page];

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		words[i] = expected(page, generation, i);
}

/* In nanoseconds. */
static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	return *text && !*end ? value : 0;
}

int main(int argc, char **argv)
{
	const struct timespec tick = { .tv_nsec = NSEC_PER_SEC / TICKS_PER_S };
	long long due, page_ns;
	struct memory m;
	unsigned long mib, rate, page = 0;

	mib = argc == 3 ? number(argv[1]) : 0;
	rate = argc == 3 ? number(argv[2]) : 0;
	if (!mib || !rate) {
		fprintf(stderr, "usage: dirty MIB PAGES_PER_S\n");
		return 2;
	}

	m.pages = mib * PAGES_PER_MIB;
	m.generation = calloc(m.pages, sizeof(*m.generation));
	m.words = mmap(NULL, m.pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!m.generation || m.words == MAP_FAILED) {
		printf("dirty: no memory for %lu MiB\n", mib);
		return 1;
	}

	page_ns = NSEC_PER_SEC / rate;
	for (due = now();; nanosleep(&tick, NULL)) {
		/* After a standstill, make up for one second at most. */
		if (now() - due > NSEC_PER_SEC)
			due = now() - NSEC_PER_SEC;
		for (; due <= now(); due += page_ns) {
			check(&m, page);
			dirty(&m, page);
			page = (page + 1) % m.pages;
		}
	}
}
