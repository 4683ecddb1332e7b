/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of a file whose first read waits until the test lets it continue. The file
 * is in a user-space file system (FUSE), whose server is a process of its own.
 *
 * The kernel's own type1 holds the mmap_lock of the memory meanwhile. The test's own
 * thread then waits for that when it needs more memory, and can't end the stall. The
 * server sees that, and gives up the stall.
 */
#ifndef SELFTESTS_SLOW_FILE_H
#define SELFTESTS_SLOW_FILE_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

struct slow_file_state;

/**
 * struct slow_file - a file of zeros, mapped
 * @mem: its private mapping
 * @size: bytes
 * @server: the process that answers
 * @state: shared with @server
 */
struct slow_file {
	unsigned char *mem;
	__u64 size;
	pid_t server;
	struct slow_file_state *state;
};

/* Returns 0 or -errno. */
int slow_file_open(struct slow_file *f, __u64 size);

/* Waits until a read waits for a page. Returns 0 or -ETIMEDOUT. */
int slow_file_wait(struct slow_file *f);

/* Whether the test's own thread was stuck until the server gave up the stall. */
bool slow_file_gave_up(struct slow_file *f);

/* Reads are answered from now on. */
void slow_file_release(struct slow_file *f);

void slow_file_close(struct slow_file *f);

#endif
