// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>
#include <linux/types.h>

#include "cover.h"

#define WORDS		(256 << 10)	/* addresses that an input may reach */
#define COUNTERS	(64 << 10)
#define BLOCKS		(64 << 10)	/* more than our modules have */
#define HANDLE		1

/* libFuzzer looks here after each input, and clears it. */
__attribute__((section("__libfuzzer_extra_counters")))
static unsigned char counters[COUNTERS];

/* The addresses that were ever reached: a hash table, and their number. */
static __u64 blocks[BLOCKS];
static unsigned int blocks_seen;

/* What KCOV writes: the number of addresses, then these. NULL: no KCOV. */
static unsigned long *own, *threads;

/* The thread of cover_call(). */
static struct {
	int (*call)(void *arg);
	void *arg;
	int ret;
	sem_t begin, end;
} caller;

static void give_up(const char *what)
{
	perror(what);
	exit(3);
}

static int kcov_open(unsigned long **area)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR);

	if (fd < 0)
		return -1;
	if (ioctl(fd, KCOV_INIT_TRACE, WORDS))
		give_up("KCOV_INIT_TRACE");
	*area = mmap(NULL, WORDS * sizeof(**area), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (*area == MAP_FAILED)
		give_up("mmap of KCOV");
	return fd;
}

/* A thread has its own calls covered, or those of others in its name, not both. */
static void cover_threads(void)
{
	struct kcov_remote_arg arg = {
		.trace_mode = KCOV_TRACE_PC,
		.area_size = WORDS,
		.common_handle = kcov_remote_handle(KCOV_SUBSYSTEM_COMMON,
						    HANDLE),
	};
	int fd = kcov_open(&threads);

	if (fd >= 0 && ioctl(fd, KCOV_REMOTE_ENABLE, &arg))
		give_up("KCOV_REMOTE_ENABLE");
}

static void *caller_loop(void *unused)
{
	(void)unused;
	cover_threads();
	for (;;) {
		sem_post(&caller.end);
		sem_wait(&caller.begin);
		caller.ret = caller.call(caller.arg);
	}
	return NULL;
}

int cover_call(int (*call)(void *arg), void *arg)
{
	caller.call = call;
	caller.arg = arg;
	sem_post(&caller.begin);
	sem_wait(&caller.end);
	return caller.ret;
}

int cover_open(void)
{
	pthread_t thread;
	int fd;

	sem_init(&caller.begin, 0, 0);
	sem_init(&caller.end, 0, 0);
	if (pthread_create(&thread, NULL, caller_loop, NULL))
		give_up("pthread_create");
	sem_wait(&caller.end);
	fd = kcov_open(&own);
	if (fd >= 0 && ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		give_up("KCOV_ENABLE");
	return fd >= 0;
}

static void count(__u64 what)
{
	unsigned char *counter;

	what *= 0x9e3779b97f4a7c15ULL;
	counter = &counters[(what >> 40) % COUNTERS];
	if (*counter < 255)
		++*counter;
}

static void see(__u64 address)
{
	unsigned int i = (address * 0x9e3779b97f4a7c15ULL >> 40) % BLOCKS;

	while (blocks[i] && blocks[i] != address)
		i = (i + 1) % BLOCKS;
	if (!blocks[i] && blocks_seen < BLOCKS - 1) {
		blocks[i] = address;
		blocks_seen++;
	}
}

void cover_begin(void)
{
	if (own)
		__atomic_store_n(&own[0], 0, __ATOMIC_SEQ_CST);
	if (threads)
		__atomic_store_n(&threads[0], 0, __ATOMIC_SEQ_CST);
}

/* From one block to the next is a branch. */
static void take(unsigned long *area)
{
	unsigned long n, i, last = 0;

	if (!area)
		return;
	n = __atomic_load_n(&area[0], __ATOMIC_SEQ_CST);
	for (i = 1; i <= n && i < WORDS; i++) {
		see(area[i]);
		count(area[i] ^ last);
		last = area[i] << 7;
	}
}

void cover_end(void)
{
	take(own);
	take(threads);
}

void cover_answer(unsigned int kind, int ret)
{
	count((__u64)kind << 32 | (ret < 0 ? -ret : 0));
}

unsigned int cover_blocks(void)
{
	return blocks_seen;
}

int cover_save(const char *path)
{
	FILE *file = fopen(path, "w");
	unsigned int i;

	if (!file)
		return -errno;
	for (i = 0; i < BLOCKS; i++)
		if (blocks[i])
			fwrite(&blocks[i], sizeof(blocks[i]), 1, file);
	return fclose(file) ? -errno : 0;
}
