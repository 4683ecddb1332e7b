/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls in threads of their own, and where they are: so that a test brings about
 * an order of two calls, and does not hope for it.
 */
#ifndef SELFTESTS_JOB_H
#define SELFTESTS_JOB_H

#include <pthread.h>
#include <stdbool.h>

/**
 * struct job - a call in a thread of its own
 * @thread: that makes the call
 * @call: what it calls
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

/* True if it is done within this time. */
int job_done(struct job *j, int ms);

/*
 * For a call that nothing may block: true if it ends. One that stock blocks is not
 * waited for as long as patience_ms() there.
 */
int job_ends(struct job *j);

/*
 * Waits until the call sleeps in the kernel below this function, which no other
 * part of the call may use, or is done. Returns whether it sleeps there.
 */
bool job_sleeps_in(struct job *j, const char *function);

/*
 * Waits until the call is done, or sleeps as if it would not go on by itself: what
 * it can do by now is done. Nothing may be wrong if it goes on later.
 */
void job_settle(struct job *j);

/* Waits for its end. Returns what the call returned. */
int job_join(struct job *j);

#endif
