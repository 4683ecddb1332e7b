// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a driver's call waits for the container's lock while another call runs: how
 * long that holds it. The driver unpins a page that it has not pinned, so it takes the
 * lock once. (A pin takes it twice, and can wait for two holds.)
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench_run.h"

#define PREEMPT	"/sys/kernel/debug/sched/preempt"

/* The page is in a mapping that no call of this group touches. */
#define ELSEWHERE	(IOVA + 2 * TIB)

/*
 * The driver comes at any moment of a hold. The longest wait of many is near the whole
 * hold, so a call that can be made again is made until so many have met the lock. Of a
 * hold that is much longer than what is between two tries, the first moment is always
 * met, and fewer do.
 */
#define MEETINGS	200
#define MEETINGS_LONG	20
#define LONG_NS		1e6
/* If so many calls do not do, the figure is of no worth. */
#define CALLS		20000

/**
 * struct waiter - who waits while another call runs
 * @b: the container
 * @stop: the end
 * @measures: such a call runs
 * @longest: time of an unpin that began and ended during such calls, in ns
 * @meetings: unpins that found the lock taken, and slept
 */
struct waiter {
	struct bench *b;
	atomic_int stop;
	atomic_int measures;
	double longest;
	atomic_int meetings;
};

/* How often this thread has gone to sleep. */
static long sleeps(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static void unpin_once(struct waiter *w)
{
	int measures = w->measures;
	long slept = sleeps();
	double begin = now_ns(), took;

	run(w->b, (struct mdma_bench_run){
		.op = MDMA_BENCH_UNPIN, .batch = 1, .start = ELSEWHERE,
		.count = 1 });
	took = now_ns() - begin;
	if (!measures || !w->measures)
		return;
	if (took > w->longest)
		w->longest = took;
	w->meetings += sleeps() != slept;
}

/* Runs before all other threads on this CPU. */
static void *unpin_again_and_again(void *arg)
{
	const struct sched_param param = { .sched_priority = 10 };
	struct timespec pause = {};
	struct waiter *w = arg;
	__u64 n = 0;

	check("FIFO", -pthread_setschedparam(pthread_self(), SCHED_FIFO,
					     &param));
	while (!w->stop) {
		unpin_once(w);
		/* In no step with the calls, which take the same time each. */
		pause.tv_nsec = 15000 + n++ * 7919 % 10000;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static bool met_enough(const struct waiter *w)
{
	return w->meetings >= MEETINGS ||
	       (w->meetings >= MEETINGS_LONG && w->longest > LONG_NS);
}

/*
 * The longest wait while @call runs, in a container with memory @b. @undo: what undoes
 * the call, so that it can be made again; NULL: it is made once.
 */
static void wait_during(struct bench *b, const char *key,
			double (*call)(struct bench *b),
			double (*undo)(struct bench *b))
{
	struct waiter w = { .b = b };
	pthread_t thread;
	int calls = 0;

	check("thread", -pthread_create(&thread, NULL, unpin_again_and_again, &w));
	usleep(2000);
	do {
		w.measures = 1;
		call(b);
		w.measures = 0;
		if (undo)
			undo(b);
	} while (undo && !met_enough(&w) && ++calls < CALLS);
	w.stop = 1;
	pthread_join(thread, NULL);
	if (!w.meetings)
		die("%s: nobody has met the lock", key);
	say(key, w.longest);
}

static void wait_open(struct bench *b, unsigned char *mem, __u64 size)
{
	bench_open(b, mem, size);
	check("map", dma_map(b->container, populated(HUGE, MADV_NOHUGEPAGE),
			     ELSEWHERE, HUGE, MAP_RW));
}

/* During a call with @count pages of 1 TiB retained, or none. */
static void longest_wait(const char *key, __u64 count,
			 double (*call)(struct bench *b),
			 double (*undo)(struct bench *b))
{
	struct bench b;

	wait_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	if (count) {
		check("START", dirty_start(b.container));
		scatter(&b, count);
	}
	wait_during(&b, key, call, undo);
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

/* During pins of all memory, and then during unpins. */
static void wait_pins(struct bench *b, const char *pin, const char *unpin)
{
	wait_during(b, pin, all_pins, all_unpins);
	all_pins(b);
	wait_during(b, unpin, all_unpins, all_pins);
	all_unpins(b);
}

/* Where a MAP finds place among other mappings. */
#define PLACE		(ELSEWHERE + 2 * TIB)
#define MAPPINGS	10000

static double map_again(struct bench *b)
{
	check("map", dma_map(b->container, b->mem, PLACE, b->size, MAP_RW));
	return 0;
}

static double unmap_again(struct bench *b)
{
	check("unmap", dma_unmap(b->container, PLACE, b->size, NULL));
	return 0;
}

/* While tracking is on, and there are many mappings. */
static void wait_map(void)
{
	struct bench b;
	__u64 i;

	wait_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	for (i = 0; i < MAPPINGS; i++)
		check("map", dma_map(b.container, b.mem, ELSEWHERE + TIB +
				     i * HUGE, PAGE_SIZE, MAP_RW));
	check("START", dirty_start(b.container));
	wait_during(&b, "wait_map", map_again, unmap_again);
	bench_close(&b);
}

/*
 * STOP with retained pages in a mapping with a pinned page: what is retained can't be
 * taken away as a whole, but bit by bit.
 */
static void wait_stop(void)
{
	struct bench b;

	wait_open(&b, anonymous(TIB, MADV_NOHUGEPAGE), TIB);
	check("START", dirty_start(b.container));
	scatter(&b, 65536);
	pins(&b, MDMA_BENCH_PIN, 1, 0, 1);
	wait_during(&b, "wait_stop", timed_stop, NULL);
	pins(&b, MDMA_BENCH_UNPIN, 1, 0, 1);
	bench_close(&b);
}

/* The same pins and unpins where each page has a mapping of its own, as with a vIOMMU. */
static void wait_mappings(void)
{
	struct bench b;
	__u64 i;

	bench_open_empty(&b, scattered(16 * MIB), 16 * MIB);
	check("map", dma_map(b.container, populated(HUGE, MADV_NOHUGEPAGE),
			     ELSEWHERE, HUGE, MAP_RW));
	for (i = 0; i < b.size; i += PAGE_SIZE)
		check("map", dma_map(b.container, b.mem + i, IOVA + i,
				     PAGE_SIZE, MAP_RW));
	check("START", dirty_start(b.container));
	wait_pins(&b, "wait_pin_mappings", "wait_unpin_mappings");
	bench_close(&b);
}

/*
 * There is none for the end of a container: who could wait for it has left before.
 */
void group_wait(void)
{
	struct bench b;

	/* Full preemption: an unpin waits for locks only, not for the end of a system call. */
	check("full", file_write(PREEMPT, "full"));
	longest_wait("wait_start", 0, timed_start, timed_stop);
	wait_map();
	longest_wait("wait_1t", 1024, timed_get, NULL);
	longest_wait("wait_get", 65536, timed_get, NULL);
	wait_stop();
	longest_wait("wait_unmap", 65536, timed_unmap, NULL);

	/* Small pages whose frames are in no order: the most that a call can do. */
	wait_open(&b, scattered(64 * MIB), 64 * MIB);
	check("START", dirty_start(b.container));
	wait_pins(&b, "wait_pin", "wait_unpin");
	bench_close(&b);
	wait_mappings();
	check("voluntary", file_write(PREEMPT, "voluntary"));
}
