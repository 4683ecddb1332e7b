/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's harness, and what the tests of mdma need besides.
 */
#ifndef SELFTESTS_HARNESS_H
#define SELFTESTS_HARNESS_H

#include "../../kselftest_harness.h"

/* Functions take a fixture by its own name. */
#undef FIXTURE_DATA
#define FIXTURE_DATA(type)	struct type

/*
 * The test that runs. Functions have assertions, too, and these look for this name; in the
 * tests themselves it is an argument.
 */
static struct __test_metadata *_metadata;

/* At the begin of each setup. */
static inline void test_begins(struct __test_metadata *test)
{
	_metadata = test;
}

/* Ends the test, like ASSERT. */
#define FAIL(fmt, ...) do {				\
	TH_LOG(fmt, ##__VA_ARGS__);			\
	ASSERT_TRUE(false);				\
} while (0)

/*
 * Seconds for TEST_F_TIMEOUT, multiplied by $TIMEOUT_SCALE. The limit is for a hang; a slow
 * machine is none.
 */
static inline int within(int seconds)
{
	const char *scale = getenv("TIMEOUT_SCALE");

	return seconds * (scale && atoi(scale) > 0 ? atoi(scale) : 1);
}

/* after() cleans up what tests that were killed have left behind. */
#define TEST_MAIN(after)						\
int main(int argc, char **argv)						\
{									\
	if (access("/sys/class/mdev_bus/mdma", F_OK)) {			\
		ksft_print_header();					\
		ksft_exit_skip("no mdma: modprobe mdma, as root\n");	\
	}								\
	atexit(after);							\
	return test_harness_run(argc, argv);				\
}

#endif /* SELFTESTS_HARNESS_H */
