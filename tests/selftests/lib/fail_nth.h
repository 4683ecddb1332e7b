/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Injected failures: the nth allocation, or copy of user memory, of a thread fails. Only the
 * debug kernel has that (testing.rst).
 */
#ifndef SELFTESTS_FAIL_NTH_H
#define SELFTESTS_FAIL_NTH_H

#include <stdbool.h>

/*
 * The file for a thread of this process, after which any allocation of it may fail but those of
 * user pages, which would start the OOM killer. -ENOENT without fault injection, or -errno.
 */
int fail_nth_open(int tid);

/* Lets the nth allocation or copy from now on fail. 0: none. Returns 0 or -errno. */
int fail_nth_arm(int fd, int nth);

/* Ends the injection. Returns whether a failure was injected. */
bool fail_nth_disarm(int fd);

#endif
