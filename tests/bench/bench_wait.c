// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a pin waits while another call runs: how long that holds the container's
 * lock.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench_run.h"

#define PREEMPT	"/sys/kernel/debug/sched/preempt"

/* The pins are in a mapping that no call of this group touches. */
#define ELSEWHERE	(IOVA + 2 * TIB)

struct waiter {
	struct bench *b;
	atomic_int stop;
	double longest;
};

/* Runs before all other threads on this CPU. */
static void *pin_again_and_again(void *arg)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	const struct sched_param param = { .sched_priority = 10 };
	struct waiter *w = arg;

	check("FIFO", -pthread_setschedparam(pthread_self(), SCHED_FIFO,
					     &param));
	while (!w->stop) {
		double begin = now_ns(), took;

		run(w->b, (struct mdma_bench_run){
			.op = MDMA_BENCH_RING, .batch = 1, .start = ELSEWHERE,
			.count = 1 });
		took = now_ns() - begin;
		if (took > w->longest)
			w->longest = took;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* The longest wait of a pin while @call runs, in a container with memory @b. */
static void wait_during(struct bench *b, const char *key,
			double (*call)(struct bench *b))
{
	struct waiter w = { .b = b };
	pthread_t thread;

	check("thread", -pthread_create(&thread, NULL, pin_again_and_again, &w));
	usleep(2000);
	w.longest = 0;
	call(b);
	say(key, w.longest);
	w.stop = 1;
	pthread_join(thread, NULL);
}

static void wait_open(struct bench *b, unsigned char *mem, __u64 size)
{
	bench_open(b, mem, size);
	check("map", dma_map(b->container, populated(HUGE, MADV_NOHUGEPAGE),
			     ELSEWHERE, HUGE, MAP_RW));
}

/* During a call with @count pages of 1 TiB retained. */
static void longest_wait(const char *key, __u64 count,
			 double (*call)(struct bench *b))
{
	struct bench b;

	wait_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	if (count) {
		check("START", dirty_start(b.container));
		scatter(&b, count);
	}
	wait_during(&b, key, call);
	bench_close(&b);
}

static double all_pins(struct bench *b)
{
	return pin_all(b, MDMA_BENCH_PIN, b->size);
}

static double all_unpins(struct bench *b)
{
	return pin_all(b, MDMA_BENCH_UNPIN, b->size);
}

static double timed_map(struct bench *b)
{
	double begin = now_ns();

	check("map", dma_map(b->container, b->mem, ELSEWHERE + TIB, b->size,
			     MAP_RW));
	return now_ns() - begin;
}

/*
 * There is none for the end of a container: who could wait for it has left before.
 */
void group_wait(void)
{
	struct bench b;

	/* Full preemption: a pin waits for locks only, not for the end of a system call. */
	check("full", file_write(PREEMPT, "full"));
	longest_wait("wait_start", 0, timed_start);
	longest_wait("wait_map", 0, timed_map);
	longest_wait("wait_1t", 1024, timed_get);
	longest_wait("wait_get", 65536, timed_get);
	longest_wait("wait_stop", 65536, timed_stop);
	longest_wait("wait_unmap", 65536, timed_unmap);

	/* Small pages whose frames are in no order: the most that a call can do. */
	wait_open(&b, scattered(64 * MIB), 64 * MIB);
	check("START", dirty_start(b.container));
	wait_during(&b, "wait_pin", all_pins);
	wait_during(&b, "wait_unpin", all_unpins);
	bench_close(&b);
	check("voluntary", file_write(PREEMPT, "voluntary"));
}
