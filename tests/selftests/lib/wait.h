/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Time in tests. A test waits for what must happen by WAIT_FOR(), never by a sleep:
 * a slow machine takes longer, and only a hang takes for ever.
 */
#ifndef SELFTESTS_WAIT_H
#define SELFTESTS_WAIT_H

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "procfs.h"

/* Milliseconds, multiplied by $TIMEOUT_SCALE. */
int scaled_ms(int ms);

/*
 * Milliseconds to wait for what must happen: ten seconds, multiplied by
 * $TIMEOUT_SCALE. No test asserts that something takes less.
 */
int patience_ms(void);

/* Waits until the condition is true, or patience ends. Returns whether it is. */
#define WAIT_FOR(condition) ({						\
	double wait_end = now_ms() + patience_ms();			\
	bool wait_came;							\
									\
	while (!(wait_came = (condition)) && now_ms() < wait_end)	\
		usleep(1000);						\
	wait_came;							\
})

/*
 * mm->locked_vm of this process in pages, once it is @want or patience has ended. An
 * unpin that can't have mmap_lock at once leaves the counting to a worker (R14).
 */
long long locked_pages_soon(long long want);

#define EXPECT_LOCKED(want)	EXPECT_EQ(want, locked_pages_soon(want))

/*
 * The machine was too slow or too fast for what a test wants to see. That is not a
 * failure. The scenario prints the message and counts the test as skipped, so one that
 * never sees it is noticed.
 */
#define NO_CHANCE(fmt, ...)	printf("# no chance: " fmt "\n", ##__VA_ARGS__)

#endif
