/* SPDX-License-Identifier: GPL-2.0-only */
/* KUnit in user space: as much of it as pin_store_kunit.c uses. */
#ifndef _SHIM_KUNIT_TEST_H
#define _SHIM_KUNIT_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/slab.h>
#include <linux/types.h>

#define GFP_KERNEL	GFP_KERNEL_ACCOUNT

/* A test may allocate that often; it is freed with the test. */
#define KUNIT_ALLOCS	8

struct kunit {
	void *priv;
	void *allocs[KUNIT_ALLOCS];
	unsigned int nr_allocs;
	bool failed;
	jmp_buf out;
};

struct kunit_case {
	void (*run)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char *name;
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(function)	{ .run = function, .name = #function }

static inline void *kunit_kcalloc(struct kunit *test, size_t n, size_t size,
				  gfp_t gfp)
{
	(void)gfp;
	if (test->nr_allocs == KUNIT_ALLOCS)
		return NULL;
	return test->allocs[test->nr_allocs++] = calloc(n, size);
}

static inline void *kunit_kzalloc(struct kunit *test, size_t size, gfp_t gfp)
{
	return kunit_kcalloc(test, 1, size, gfp);
}

#define kunit_check(test, end, good, fmt, ...) do {			\
	if (!(good)) {							\
		printf("# %s:%d: %s " fmt "\n", __FILE__, __LINE__,	\
		       #good, ##__VA_ARGS__);				\
		(test)->failed = true;					\
		if (end)						\
			longjmp((test)->out, 1);			\
	}								\
} while (0)

#define KUNIT_EXPECT_EQ(test, a, b)	kunit_check(test, false, (a) == (b), "")
#define KUNIT_ASSERT_EQ(test, a, b)	kunit_check(test, true, (a) == (b), "")
#define KUNIT_ASSERT_EQ_MSG(test, a, b, fmt, ...) \
	kunit_check(test, true, (a) == (b), fmt, ##__VA_ARGS__)
#define KUNIT_ASSERT_NOT_NULL(test, p)	kunit_check(test, true, p, "")
#define KUNIT_EXPECT_TRUE(test, cond)	kunit_check(test, false, cond, "")
#define KUNIT_EXPECT_FALSE(test, cond)	kunit_check(test, false, !(cond), "")

static inline bool kunit_run(struct kunit_suite *suite, struct kunit_case *one)
{
	static struct kunit test;

	test = (struct kunit){};
	if (suite->init(&test)) {
		test.failed = true;
	} else {
		if (!setjmp(test.out))
			one->run(&test);
		suite->exit(&test);
	}
	while (test.nr_allocs)
		free(test.allocs[--test.nr_allocs]);
	return !test.failed;
}

static inline int kunit_run_all(struct kunit_suite *suite)
{
	struct kunit_case *one;
	unsigned int n = 0, failed = 0;

	for (one = suite->test_cases; one->run; one++)
		n++;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", n);
	for (one = suite->test_cases, n = 1; one->run; one++, n++) {
		bool good = kunit_run(suite, one);

		printf("%sok %u %s: %s\n", good ? "" : "not ", n, suite->name,
		       one->name);
		failed += !good;
	}
	return failed != 0;
}

/* As the module does before its tests run. */
int pin_store_cache_create(void);
void pin_store_cache_destroy(void);

#define kunit_test_suite(suite)						\
	int main(void)							\
	{								\
		int ret = pin_store_cache_create();			\
									\
		if (!ret)						\
			ret = kunit_run_all(&(suite));			\
		pin_store_cache_destroy();				\
		return ret;						\
	}								\
	struct kunit

#endif
