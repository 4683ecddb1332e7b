/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls in threads of their own, and where they sleep. With these, a test enforces
 * the order of two calls instead of hoping for it.
 */
#ifndef SELFTESTS_JOB_H
#define SELFTESTS_JOB_H

#include <pthread.h>
#include <stdbool.h>

/**
 * struct job - a call in a thread of its own
 * @thread: the thread that makes the call
 * @call: the function that is called
 * @arg: argument of @call
 * @tid: of the thread, 0 until it runs
 * @ret: what @call returned, once @done
 * @done: whether @call has returned
 */
struct job {
	pthread_t thread;
	int (*call)(void *arg);
	void *arg;
	int tid;
	int ret;
	int done;
};

void job_start(struct job *j, int (*call)(void *arg), void *arg);

/* True if the call is done within this time. */
int job_done(struct job *j, int ms);

/* For a call that nothing may block: true if the call ends. */
int job_ends(struct job *j);

/*
 * The same for a call that the kernel's own type1 blocks. There, it is false as soon as
 * the call sleeps for good.
 */
int job_ends_but_on_stock(struct job *j);

/*
 * Waits until the call is done or sleeps in the kernel below this function, which
 * no other part of the call may use. Returns whether the call sleeps there.
 */
bool job_sleeps_in(struct job *j, const char *function);

/*
 * Waits until the call is done, or seems to sleep for good: it has done all that it
 * can do by now. A test must also be right if the call continues later.
 */
void job_settle(struct job *j);

/* Waits for the end of the call. Returns what the call returned. */
int job_join(struct job *j);

#endif
