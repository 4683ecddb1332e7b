// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"
#include "procfs.h"
#include "wait.h"

/* After this many looks, 1 ms apart, without a context switch, a thread sleeps for good. */
#define SETTLED		50

static void *job_main(void *arg)
{
	struct job *j = arg;

	__atomic_store_n(&j->tid, gettid(), __ATOMIC_RELEASE);
	j->ret = j->call(j->arg);
	__atomic_store_n(&j->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

void job_start(struct job *j, int (*call)(void *arg), void *arg)
{
	*j = (struct job) { .call = call, .arg = arg };
	if (pthread_create(&j->thread, NULL, job_main, j)) {
		perror("# pthread_create");
		exit(1);
	}
}

int job_done(struct job *j, int ms)
{
	double end = now_ms() + ms;

	while (!__atomic_load_n(&j->done, __ATOMIC_ACQUIRE) && now_ms() < end)
		usleep(1000);
	return __atomic_load_n(&j->done, __ATOMIC_ACQUIRE);
}

int job_ends(struct job *j)
{
	return job_done(j, backend_is_stock() ? 3000 : patience_ms());
}

/* Reads a file of the thread in /proc; empty if the thread is gone. */
static void read_task(struct job *j, const char *name, char *text, int size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s",
		 __atomic_load_n(&j->tid, __ATOMIC_ACQUIRE), name);
	file_read_all(path, text, size);
}

/* How often the thread has gone to sleep, or -1 if it does not sleep now. */
static long long sleeps(struct job *j)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char text[4096], *state, *number;

	read_task(j, "status", text, sizeof(text));
	state = strstr(text, "\nState:\t");
	number = strstr(text, key);
	if (!state || !number || !strchr("DS", state[8]))
		return -1;
	return strtoll(number + strlen(key), NULL, 10);
}

static bool stack_has(struct job *j, const char *function)
{
	char text[8192];

	read_task(j, "stack", text, sizeof(text));
	return strstr(text, function);
}

/* The call uses the function once. So if it is there before and after, it sleeps there. */
static bool sleeps_now_in(struct job *j, const char *function)
{
	return stack_has(j, function) && sleeps(j) >= 0 &&
	       stack_has(j, function);
}

bool job_sleeps_in(struct job *j, const char *function)
{
	bool asleep = false;

	WAIT_FOR((asleep = sleeps_now_in(j, function)) || job_done(j, 0));
	return asleep;
}

void job_settle(struct job *j)
{
	long long before = -1, now;
	int same = 0;

	while (!job_done(j, 1) && same < SETTLED) {
		now = sleeps(j);
		same = now >= 0 && now == before ? same + 1 : 0;
		before = now;
	}
}

int job_join(struct job *j)
{
	pthread_join(j->thread, NULL);
	return j->ret;
}
