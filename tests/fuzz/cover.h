/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What libFuzzer takes for progress: the branches of our modules that an input reaches,
 * by KCOV, in the threads that make the calls and in the device's own; and what calls
 * return. A kernel without KCOV has the latter only.
 */
#ifndef FUZZ_COVER_H
#define FUZZ_COVER_H

/*
 * For the calling thread. Returns whether the kernel has KCOV; ends the process if it
 * has, but can't be used.
 */
int cover_open(void);

/* An input begins or has ended. */
void cover_begin(void);
void cover_end(void);

/* A call whose kind has this number returned this. */
void cover_answer(unsigned int kind, int ret);

/*
 * Calls @call in a thread of its own, in whose name the device's threads that it
 * starts are covered. Returns what it returns.
 */
int cover_call(int (*call)(void *arg), void *arg);

/* Basic blocks that any input has reached. */
unsigned int cover_blocks(void);

/* Leaves their addresses in a file, as 64-bit numbers. Returns 0 or -errno. */
int cover_save(const char *path);

#endif
