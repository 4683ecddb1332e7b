// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job.h"
#include "procfs.h"
#include "wait.h"

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
	return job_done(j, patience_ms());
}

int job_ends_but_on_stock(struct job *j)
{
	if (!backend_is_stock())
		return job_ends(j);
	job_settle(j);
	return job_done(j, 0);
}

static long long sleeps(struct job *j)
{
	return thread_sleeps(__atomic_load_n(&j->tid, __ATOMIC_ACQUIRE), "DS");
}

static bool stack_has(struct job *j, const char *function)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/stack",
		 __atomic_load_n(&j->tid, __ATOMIC_ACQUIRE));
	return file_read_all(path, text, sizeof(text)) > 0 && strstr(text, function);
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
