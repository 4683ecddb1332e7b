/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's log. */
#ifndef SELFTESTS_KMSG_H
#define SELFTESTS_KMSG_H

#include <stdbool.h>
#include <stddef.h>

/* Returns a file descriptor for what is logged from now on, or -errno. */
int kmsg_open(void);

/* Reads the next line that is there, cut to @size. Returns false if there is none. */
bool kmsg_next(int fd, char *text, size_t size);

/* Reads all that is there. Returns whether a line of it has this text. */
bool kmsg_has(int fd, const char *text);

#endif
