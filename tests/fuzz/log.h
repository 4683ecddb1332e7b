/* SPDX-License-Identifier: GPL-2.0-only */
/* What an input makes the kernel log. */
#ifndef FUZZ_LOG_H
#define FUZZ_LOG_H

#include <stdbool.h>

/*
 * Begins with what is logged from now on. @patterns: file of POSIX extended regular
 * expressions, one a line, for lines that report a defect. Returns 0 or -errno.
 */
int log_open(const char *patterns);

/* Returns the first line since the last call that reports a defect, or NULL. */
const char *log_defect(void);

#endif
