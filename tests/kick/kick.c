// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks both CPUs of the lab's QEMU to leave their loops, again and again, which should do
 * no harm at any time. Loaded into QEMU by LAB_PRELOAD=; Documentation/lab.rst describes
 * what it shows.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CPUS		2
/* The lab's kernel is up by then. */
#define BEGIN_S		12

static void *kick(void *arg)
{
	const char *text = getenv("KICK_US");
	void *(*get_cpu)(int index) = dlsym(RTLD_DEFAULT, "qemu_get_cpu");
	void (*leave)(void *cpu) = dlsym(RTLD_DEFAULT, "cpu_exit");
	int i, us = text ? atoi(text) : 300;
	unsigned int seed = 1;
	void *cpu;

	if (!get_cpu || !leave || us <= 0)
		return arg;
	sleep(BEGIN_S);
	fprintf(stderr, "every %d us: cpu_exit()\n", us);
	for (i = 0;; i = (i + 1) % CPUS) {
		cpu = get_cpu(i);
		if (cpu)
			leave(cpu);
		usleep(us / 2 + rand_r(&seed) % us);
	}
}

__attribute__((constructor)) static void begin(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, kick, NULL);
}
