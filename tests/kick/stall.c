// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stops one thread of the lab's QEMU after the other, a vCPU or the main loop, wherever it
 * is, for a random time, like a busy host does, but more often. It should do no harm.
 * Loaded by LAB_PRELOAD=, see Documentation/lab.rst.
 *
 * The thread sleeps in the handler of a signal. QEMU's threads block all signals, so here
 * they begin in a function that unblocks this one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS		256
/* The lab's kernel is up by then. */
#define BEGIN_S		15
/* Longest wait for a thread to leave the handler; longer than any sleep there. */
#define PATIENCE_US	1000000

typedef int creator(pthread_t *thread, const pthread_attr_t *attr,
		    void *(*run)(void *arg), void *arg);

struct start {
	void *(*run)(void *arg);
	void *arg;
};

static atomic_int threads[THREADS], count;
static atomic_bool asleep;

static int stop_signal(void)
{
	return SIGRTMIN + 7;
}

/* Mostly short, seldom a tick long, and sometimes so long that timers pile up. */
static int duration(unsigned int *seed)
{
	int luck = rand_r(seed) % 1000;

	if (luck < 700)
		return rand_r(seed) % 300;
	if (luck < 990)
		return rand_r(seed) % 5000;
	return rand_r(seed) % (luck < 998 ? 60000 : 600000);
}

static void stop(int number)
{
	static __thread unsigned int seed;
	int saved = errno;

	(void)number;
	if (!seed)
		seed = syscall(SYS_gettid);
	usleep(duration(&seed));
	asleep = false;
	errno = saved;
}

static void *begin_thread(void *arg)
{
	struct start start = *(struct start *)arg;
	int at = count++;
	sigset_t set;

	free(arg);
	sigemptyset(&set);
	sigaddset(&set, stop_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (at < THREADS)
		threads[at] = syscall(SYS_gettid);
	return start.run(start.arg);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
		   void *(*run)(void *arg), void *arg)
{
	creator *create = (creator *)dlsym(RTLD_NEXT, "pthread_create");
	struct start *start = malloc(sizeof(*start));
	int error = EAGAIN;

	if (start) {
		*start = (struct start){ .run = run, .arg = arg };
		error = create(thread, attr, begin_thread, start);
	}
	return error;
}

static bool is_vcpu(int thread)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", thread);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = 0;
	fclose(file);
	return !strncmp(name, "CPU ", 4);
}

/* A vCPU; the main loop every fourth time. */
static int choose(unsigned int *seed)
{
	int known = count < THREADS ? count : THREADS, tries, thread;

	for (tries = 0; known && tries < 20 && rand_r(seed) % 4; tries++) {
		thread = threads[rand_r(seed) % known];
		if (thread && is_vcpu(thread))
			return thread;
	}
	return getpid();
}

static void *stall(void *arg)
{
	const char *text = getenv("STALL_US");
	int us = text ? atoi(text) : 600, waited;
	unsigned int seed = 1;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (us <= 0)
		return arg;
	sleep(BEGIN_S);
	fprintf(stderr, "every %d us: a thread stops\n", us);
	for (;;) {
		asleep = true;
		syscall(SYS_tgkill, getpid(), choose(&seed), stop_signal());
		for (waited = 0; asleep && waited < PATIENCE_US; waited += 50)
			usleep(50);
		usleep(us / 2 + rand_r(&seed) % us);
	}
}

__attribute__((constructor)) static void begin(void)
{
	struct sigaction action = { .sa_handler = stop, .sa_flags = SA_RESTART };
	creator *create = (creator *)dlsym(RTLD_NEXT, "pthread_create");
	pthread_t thread;

	sigaction(stop_signal(), &action, NULL);
	create(&thread, NULL, stall, NULL);
}
