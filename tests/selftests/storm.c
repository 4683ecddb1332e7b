// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls against each other, all at once: no call waits for ever, no page is lost,
 * nothing is left behind. Not for stock, which deadlocks or dies in some of the tests
 * (W3, W18).
 */
#include "fixture.h"
#include "migration.h"
#include "stall.h"

#define SIZE		((__u64)RIG_PAGES << PAGE_SHIFT)
#define STORM_ROUNDS	100	/* of each call, however long they take */
#define STORM_CALLS	8

FIXTURE(storm) {
	struct rig rig;
	struct mdma second;
	double end;			/* of all patience */
	bool failed;			/* a call has, so the others end as well */
	int calls, begun;		/* how many there are, and have begun */
	int rounds[STORM_CALLS];
};

FIXTURE_SETUP(storm)
{
	if (stock_is_spared())
		SKIP("a backend that survives it (W3, W18)");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-4", RIG_PAGES)));
	ASSERT_STR("0", error(mdma_create(&self->second, "mdma-1")));
	ASSERT_STR("0", error(mdma_attach(&self->second,
					  self->rig.container)));
}

FIXTURE_TEARDOWN(storm)
{
	mdma_destroy(&self->second);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/*
 * Whether a call begins another round: until each call has made enough of them, or one
 * has failed. *me is 0 before the first round, @ret what the last one returned.
 */
static bool goes_on(struct storm *s, int *me, int ret)
{
	int i;

	if (ret) {
		__atomic_store_n(&s->failed, true, __ATOMIC_SEQ_CST);
		return false;
	}
	if (*me)
		__atomic_fetch_add(&s->rounds[*me - 1], 1, __ATOMIC_SEQ_CST);
	else
		*me = __atomic_add_fetch(&s->begun, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < s->calls; i++)
		if (__atomic_load_n(&s->rounds[i], __ATOMIC_SEQ_CST) <
		    STORM_ROUNDS)
			return now_ms() < s->end &&
			       !__atomic_load_n(&s->failed, __ATOMIC_SEQ_CST);
	return false;
}

static int call_map(void *arg)
{
	struct storm *s = arg;
	struct rig *r = &s->rig;
	int ret = 0, me = 0;

	while (goes_on(s, &me, ret)) {
		ret = dma_unmap(r->container, at(0), SIZE, NULL);
		if (!ret)
			ret = dma_map(r->container, r->mem, at(0), SIZE,
				      MAP_RW);
	}
	return ret;
}

static int call_unmap_get(void *arg)
{
	static unsigned char bitmap[RIG_PAGES / 8];
	struct storm *s = arg;
	struct rig *r = &s->rig;
	int ret = 0, me = 0;

	while (goes_on(s, &me, ret)) {
		ret = dma_unmap_get(r->container, at(0), SIZE, bitmap, NULL);
		if (ret == -EINVAL) {	/* not tracking, just now */
			ret = 0;
			continue;
		}
		if (!ret)
			ret = dma_map(r->container, r->mem, at(0), SIZE,
				      MAP_RW);
	}
	return ret;
}

static int call_open(void *arg)
{
	struct storm *s = arg;
	int ret = 0, me = 0;

	while (goes_on(s, &me, ret)) {
		ret = mdma_open(&s->second);
		if (!ret) {
			mdma_pin(&s->second, at(3), 5, 'w');
			close(s->second.device);
		}
		s->second.device = -1;
	}
	return ret;
}

static int call_pin(void *arg)
{
	struct storm *s = arg;
	__u64 seed = 77, page;
	int me = 0;

	while (goes_on(s, &me, 0)) {
		page = random_next(&seed) % (RIG_PAGES - 16);
		mdma_pin(&s->rig.dev, at(page), 16, 'w');
		mdma_unpin(&s->rig.dev, at(page), 16);
	}
	return 0;
}

static int call_rw(void *arg)
{
	struct storm *s = arg;
	__u64 seed = 99;
	int me = 0;

	while (goes_on(s, &me, 0))
		mdma_rw_write(&s->rig.dev,
			      at(0) + random_next(&seed) % (SIZE - 5000), 5000,
			      1);
	return 0;
}

static int call_get(void *arg)
{
	static __thread unsigned char bitmap[RIG_PAGES / 8];
	struct storm *s = arg;
	int ret = 0, me = 0;

	while (goes_on(s, &me, ret == -EINVAL ? 0 : ret))
		ret = dirty_get(s->rig.container, at(0), SIZE, bitmap);
	return ret == -EINVAL ? 0 : ret;
}

static int call_start_stop(void *arg)
{
	struct storm *s = arg;
	int ret = 0, me = 0;

	while (goes_on(s, &me, ret)) {
		ret = dirty_start(s->rig.container);
		usleep(1000);
		if (!ret)
			ret = dirty_stop(s->rig.container);
	}
	return ret;
}

static int call_migrate(void *arg)
{
	struct storm *s = arg;
	int device = s->rig.dev.device, ret = 0, me = 0;

	while (goes_on(s, &me, ret)) {
		ret = mig_set(device, MIG(PRE_COPY), NULL);
		if (!ret)
			ret = mig_set(device, MIG(STOP_COPY), NULL);
		if (!ret)
			ret = mig_set(device, MIG(RUNNING), NULL);
	}
	return ret;
}

static void run_workload(struct mdma *m)
{
	ASSERT_EQ(0, mdma_set(m, "workload/window", "%llx-%llx", at(0),
			      at(RIG_PAGES) - 1));
	ASSERT_EQ(0, mdma_set(m, "workload/pattern", "random"));
	ASSERT_EQ(0, mdma_set(m, "workload/batch", "8"));
	ASSERT_EQ(0, mdma_set(m, "workload/hold_ms", "1"));
	ASSERT_EQ(0, mdma_set(m, "workload/run", "1"));
}

#define STORM(s, ...) do {						\
	static int (*const call[])(void *arg) = { __VA_ARGS__ };	\
	struct job job[ARRAY_SIZE(call)];				\
	unsigned int j;							\
									\
	(s)->calls = ARRAY_SIZE(call);					\
	(s)->end = now_ms() + patience_ms();				\
	(s)->failed = false;						\
	for (j = 0; j < ARRAY_SIZE(call); j++)				\
		job_start(&job[j], call[j], s);				\
	for (j = 0; j < ARRAY_SIZE(call); j++)				\
		EXPECT_STR("0", error(job_join(&job[j])));		\
	for (j = 0; j < ARRAY_SIZE(call); j++)				\
		if ((s)->rounds[j] < STORM_ROUNDS)			\
			NO_CHANCE("a call had %d rounds", (s)->rounds[j]); \
} while (0)

static int call_unmap(void *arg)
{
	return dma_unmap(((struct storm *)arg)->rig.container, at(0), SIZE,
			 NULL);
}

static int call_open_once(void *arg)
{
	return mdma_open(&((struct storm *)arg)->second);
}

static int call_close_once(void *arg)
{
	return close(((struct storm *)arg)->second.device);
}

/*
 * The first device is told that its pages are unmapped. It gives them back when the
 * call for the second device waits in type1, with one of the locks, or is done.
 */
static void unmap_beside(struct storm *s, int (*call)(void *arg),
			 const char *function)
{
	struct rig *r = &s->rig;
	struct job unmap, other;

	PIN(r, 0, 8, 'w');
	ASSERT_EQ(0, mdma_set_unmap_stall(&r->dev, 1));
	job_start(&unmap, call_unmap, s);
	ASSERT_EQ(true, job_sleeps_in(&unmap, "mdma_unmap_range"));
	job_start(&other, call, s);
	job_sleeps_in(&other, function);
	ASSERT_EQ(0, mdma_set_unmap_stall(&r->dev, 0));
	EXPECT_STR("0", error(job_join(&unmap)));
	EXPECT_STR("0", error(job_join(&other)));
	EXPECT_LOCKED(0);
}

TEST_F(storm, W18_unmap_while_a_device_opens, 30)
{
	unmap_beside(self, call_open_once, "vfio_iommu_type1_register_device");
}

TEST_F(storm, W18_unmap_while_a_device_closes, 30)
{
	ASSERT_STR("0", error(mdma_open(&self->second)));
	unmap_beside(self, call_close_once,
		     "vfio_iommu_type1_unregister_device");
	self->second.device = -1;
}

TEST_F(storm, W18_unmaps_and_pins_while_a_device_opens, 30)
{
	STORM(self, call_map, call_open, call_pin);
}

TEST_F(storm, W18_unmap_of_a_running_device_while_another_opens, 30)
{
	run_workload(&self->rig.dev);
	STORM(self, call_map, call_open);
}

TEST_F(storm, R11_reports_and_unmaps_at_once, 30)
{
	START(&self->rig);
	run_workload(&self->rig.dev);
	STORM(self, call_unmap_get, call_get, call_pin, call_rw);
}

TEST_F(storm, R7_start_stop_among_all_else, 30)
{
	run_workload(&self->rig.dev);
	STORM(self, call_start_stop, call_get, call_pin, call_rw, call_map);
}

TEST_F(storm, R11_stop_among_unmaps_with_a_bitmap, 30)
{
	run_workload(&self->rig.dev);
	STORM(self, call_start_stop, call_unmap_get, call_open);
}

TEST_F(storm, mdma_migrates_among_all_else, 30)
{
	START(&self->rig);
	run_workload(&self->rig.dev);
	STORM(self, call_migrate, call_get, call_map, call_open);
}

/*
 * Reports by two threads while the device runs: every written page is in a report, of
 * either thread, that began after the write.
 */
struct shared {
	struct storm s;
	char reported[RIG_PAGES];
};

static int report(struct shared *shared)
{
	static __thread unsigned char bitmap[RIG_PAGES / 8];
	int page, ret;

	ret = dirty_get(shared->s.rig.container, at(0), SIZE, bitmap);
	for (page = 0; !ret && page < RIG_PAGES; page++)
		if (bitmap_bit(bitmap, page))
			__atomic_store_n(&shared->reported[page], 1,
					 __ATOMIC_SEQ_CST);
	return ret;
}

static int call_report(void *arg)
{
	struct shared *shared = arg;
	int ret = 0, me = 0;

	while (goes_on(&shared->s, &me, ret))
		ret = report(shared);
	return ret;
}

TEST_F(storm, R3_reports_of_two_threads_lose_nothing, 30)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct mdma_ledger_record *rec;
	struct rig *r = &self->rig;
	long long n, i;

	shared->s = *self;
	START(r);
	run_workload(&r->dev);
	STORM(&shared->s, call_report, call_report);
	ASSERT_EQ(0, mdma_set(&r->dev, "workload/run", "0"));
	ASSERT_EQ(0, report(shared));
	n = mdma_ledger(&r->dev, &rec);
	ASSERT_LT(0, n);
	for (i = 0; i < n; i++)
		if (!shared->reported[(rec[i].iova - at(0)) >> PAGE_SHIFT])
			FAIL("iova 0x%llx is lost", (long long)rec[i].iova);
	free(shared);
}

TEST_MAIN(mdev_remove_leftovers)
