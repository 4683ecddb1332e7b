/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A user-space unit test: functions that return at the first failed CHECK(), and a
 * main() that runs them and prints KTAP. FIRST=1 ends it after the first that fails.
 */
#ifndef _UNIT_H
#define _UNIT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static bool unit_failed;
static uint64_t unit_seed = 1;

#define CHECK(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: %s: ", __FILE__, __LINE__, #cond); \
			printf(__VA_ARGS__);				\
			printf("\n");					\
			unit_failed = true;				\
			return;						\
		}							\
	} while (0)

struct unit_test {
	const char *name;
	void (*run)(void);
};

/* splitmix64: small, and the same everywhere. */
static inline uint64_t unit_random(void)
{
	uint64_t z = (unit_seed += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* 0 to @n - 1 */
static inline uint64_t unit_below(uint64_t n)
{
	return unit_random() % n;
}

static inline uint64_t unit_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static inline int unit_main(const struct unit_test *tests, unsigned int n)
{
	uint64_t seed = unit_env("SEED", 20191219);
	bool first = unit_env("FIRST", 0);
	unsigned int i, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n# SEED=%" PRIu64 "\n", n, seed);
	for (i = 0; i < n; i++) {
		unit_failed = false;
		unit_seed = seed;
		tests[i].run();
		printf("%sok %u %s\n", unit_failed ? "not " : "", i + 1,
		       tests[i].name);
		failed += unit_failed;
		if (failed && first)
			break;
	}
	return failed ? 1 : 0;
}

#endif /* _UNIT_H */
