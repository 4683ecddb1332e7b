// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pinner, a writer without pins, a mapper and unmapper, readers, and a toggler of
 * tracking, all at once, and the end of their process while they run.
 *
 * Pages below STABLE stay mapped, and none of them may be lost: the reader of a
 * page copies it when its report has come back, so there must be a report that
 * came back after the page's last write. Not for stock, which deadlocks (W3).
 */
#include <time.h>

#include "fixture.h"
#include "stall.h"

#define STABLE		512
#define READERS		2
#define CROWD_MS	6000
#define CROWD_ROUNDS	3	/* at least, however long they take */
#define KILLS		6

struct crowd {
	struct rig rig;
	double end;
	int failed;
	__u64 written[STABLE];		/* time in ns, 0: never */
	__u64 reported[STABLE];
	__u64 loops[READERS];
	__u64 rounds;
	__u64 checked;
	int next_reader;
};

FIXTURE_SETUP(crowd)
{
	if (stock_is_spared())
		SKIP("a backend that survives it (W3, W18)");
	self->rig.container = -1;
}

FIXTURE_TEARDOWN(crowd)
{
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

static __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static __u64 load(__u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static bool going(struct crowd *c)
{
	return now_ms() < c->end ||
	       (load(&c->rounds) < CROWD_ROUNDS &&
		now_ms() < c->end + patience_ms());
}

static void store_later(__u64 *p, __u64 ns)
{
	__u64 old = load(p);

	while (old < ns && !__atomic_compare_exchange_n(p, &old, ns, false,
							__ATOMIC_SEQ_CST,
							__ATOMIC_SEQ_CST))
		;
}

/* The device writes while the pages are pinned. */
static int call_pin(void *arg)
{
	struct crowd *c = arg;
	__u64 seed = now_ns() | 1, first, n, i, ns;

	while (going(c)) {
		n = 1 + random_next(&seed) % 24;
		first = random_next(&seed) % (STABLE - n);
		if (mdma_pin(&c->rig.dev, at(first), n, 'w'))
			return -EIO;
		for (ns = now_ns(), i = first; i < first + n; i++)
			store_later(&c->written[i], ns);
		if (mdma_unpin(&c->rig.dev, at(first), n))
			return -EIO;
	}
	return 0;
}

static int call_rw(void *arg)
{
	struct crowd *c = arg;
	__u64 seed = now_ns() | 1, page, ns;

	while (going(c)) {
		page = random_next(&seed) % STABLE;
		ns = now_ns();
		if (mdma_rw_write(&c->rig.dev, at(page) + 8, 100, 1))
			return -EIO;
		store_later(&c->written[page], ns);
	}
	return 0;
}

/* Pins pages that are mapped and unmapped; the unmap gives the pins back. */
static int call_pin_unstable(void *arg)
{
	struct crowd *c = arg;
	__u64 seed = now_ns() | 1, page;

	while (going(c)) {
		page = STABLE + random_next(&seed) % (RIG_PAGES - STABLE - 16);
		mdma_pin(&c->rig.dev, at(page), 16, 'w');
		if (random_next(&seed) % 2)
			mdma_unpin(&c->rig.dev, at(page), 16);
	}
	return 0;
}

static int call_map_unmap(void *arg)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	struct crowd *c = arg;
	__u64 size = (__u64)(RIG_PAGES - STABLE) << PAGE_SHIFT;
	__u64 turn;
	int ret;

	for (turn = 0; going(c); turn++) {
		ret = dma_map(c->rig.container,
			      c->rig.mem + ((__u64)STABLE << PAGE_SHIFT),
			      at(STABLE), size, MAP_RW);
		if (ret)
			return ret;
		usleep(turn % 3 * 500);
		ret = turn % 2 ? dma_unmap_get(c->rig.container, at(STABLE),
					       size, bitmap, NULL) : -EINVAL;
		if (ret == -EINVAL)	/* not tracking, just now */
			ret = dma_unmap(c->rig.container, at(STABLE), size,
					NULL);
		if (ret)
			return ret;
	}
	return 0;
}

/* Returns -EINVAL while nothing tracks. */
static int report(struct crowd *c, __u64 first, __u64 n)
{
	unsigned char bitmap[STABLE / 8 + 8] = "";
	__u64 ns, i;
	int ret;

	ret = dirty_get(c->rig.container, at(first), n << PAGE_SHIFT, bitmap);
	for (ns = now_ns(), i = 0; !ret && i < n; i++)
		if (bitmap_bit(bitmap, i))
			store_later(&c->reported[first + i], ns);
	return ret;
}

static int call_read(void *arg)
{
	struct crowd *c = arg;
	int me = __atomic_fetch_add(&c->next_reader, 1, __ATOMIC_SEQ_CST);
	__u64 seed = now_ns() | 1, first, n;
	int ret = 0;

	while (going(c) && (!ret || ret == -EINVAL)) {
		n = 1 + random_next(&seed) % STABLE;
		first = random_next(&seed) % (STABLE - n + 1);
		ret = report(c, first, n);
		__atomic_fetch_add(&c->loops[me], 1, __ATOMIC_SEQ_CST);
	}
	return ret == -EINVAL ? 0 : ret;
}

/* A reader that took a record has noted that by the end of its loop. */
static bool wait_for_readers(struct crowd *c)
{
	__u64 loops[READERS];
	int i;

	for (i = 0; i < READERS; i++)
		loops[i] = load(&c->loops[i]);
	for (i = 0; i < READERS; i++)
		while (load(&c->loops[i]) == loops[i]) {
			if (!going(c))
				return false;
			usleep(100);
		}
	return true;
}

/* One round of tracking. Pages written in it must be reported in it. */
static int track(struct crowd *c)
{
	__u64 written[STABLE], begin, page;
	int ret = dirty_start(c->rig.container);

	begin = now_ns();
	usleep(20000);
	for (page = 0; page < STABLE; page++)
		written[page] = load(&c->written[page]);
	if (!ret)
		ret = report(c, 0, STABLE);
	if (ret || !wait_for_readers(c))
		return ret;
	for (page = 0; page < STABLE; page++) {
		if (written[page] <= begin)
			continue;
		c->checked++;
		if (load(&c->reported[page]) < written[page]) {
			printf("# page %llu is lost\n", page);
			c->failed++;
		}
	}
	__atomic_fetch_add(&c->rounds, 1, __ATOMIC_SEQ_CST);
	return dirty_stop(c->rig.container);
}

static int call_toggle(void *arg)
{
	struct crowd *c = arg;
	int ret = 0;

	while (!ret && going(c))
		ret = track(c);
	return ret;
}

static int (*const calls[])(void *arg) = {
	call_pin, call_pin, call_rw, call_pin_unstable, call_map_unmap,
	call_read, call_read, call_toggle,
};

static void open_crowd(struct crowd *c, double ms)
{
	struct rig *r = &c->rig;

	ASSERT_STR("0", error(rig_open(r, "mdma-1", 0)));
	r->pages = RIG_PAGES;
	r->mem = memory((__u64)RIG_PAGES << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(0),
			     (__u64)STABLE << PAGE_SHIFT, MAP_RW));
	c->end = now_ms() + ms;
}

static void run_crowd(struct crowd *c)
{
	struct job job[ARRAY_SIZE(calls)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		job_start(&job[i], calls[i], c);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		EXPECT_STR("0", error(job_join(&job[i])));
}

TEST_F(crowd, R3_nothing_is_lost_in_a_crowd, 60)
{
	open_crowd(self, CROWD_MS);
	run_crowd(self);
	printf("# %llu rounds, %llu pages checked\n", self->rounds,
	       self->checked);
	EXPECT_EQ(0, self->failed);
	EXPECT_LT(0, self->rounds);
	EXPECT_LT(0, self->checked);
	ASSERT_EQ(0, dma_unmap(self->rig.container, at(0),
			       (__u64)RIG_PAGES << PAGE_SHIFT, NULL));
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

/* Killed while everything runs: nobody is left to unpin or unmap. */
TEST_F(crowd, R7_exit_in_the_midst_of_a_crowd, 60)
{
	long long users = module_refcount("vfio_iommu_type1");
	struct crowd *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	__u64 seed = random_seed();
	int i, status;
	pid_t pid;

	for (i = 0; i < KILLS; i++) {
		memset(c, 0, sizeof(*c));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			open_crowd(c, 1e6);
			run_crowd(c);
			_exit(0);
		}
		/* All of them are at work by then. */
		EXPECT_EQ(true, WAIT_FOR(load(&c->rounds) > 0));
		usleep(random_next(&seed) % 600000);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
		mdev_remove_leftovers();
		EXPECT_EQ(users, module_refcount("vfio_iommu_type1"));
	}
}

TEST_MAIN(mdev_remove_leftovers)
