// SPDX-License-Identifier: GPL-2.0-only
/* R7, R14 and the device: a process that dies leaves nothing behind, in any state. */
#include "fixture.h"
#include "job.h"
#include "migration.h"
#include "preempt.h"

/* A process that does this to a device until it is killed. */
static pid_t victim(void (*act)(struct rig *r), char uuid[37])
{
	int ready[2];
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		static struct rig r;

		if (rig_open(&r, "mdma-1", RIG_PAGES) ||
		    dirty_start(r.container) ||
		    mdma_set(&r.dev, "workload/window", "%llx-%llx", at(0),
			     at(RIG_PAGES) - 1) ||
		    mdma_set(&r.dev, "workload/pattern", "random") ||
		    mdma_set(&r.dev, "workload/batch", "32") ||
		    mdma_set(&r.dev, "workload/hold_ms", "20") ||
		    mdma_set(&r.dev, "workload/run", "1") ||
		    write(ready[1], r.dev.uuid, 37) != 37)
			_exit(1);
		for (;;)
			act(&r);
	}
	close(ready[1]);
	ASSERT_EQ(37, read(ready[0], uuid, 37));
	close(ready[0]);
	return pid;
}

/* Kills it at some moment. Then the device is free and clean, and can be removed. */
static void kill_and_check(void (*act)(struct rig *r), int ms)
{
	struct mdma m = { 0 };
	int status;
	pid_t pid;

	pid = victim(act, m.uuid);
	EXPECT_EQ(true, WAIT_FOR(mdma_get(&m, "stats/pins") > 0));
	usleep(ms * 1000);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(SIGKILL, status);
	EXPECT_EQ(mdma_get(&m, "stats/pins"), mdma_get(&m, "stats/unpins"));
	EXPECT_EQ(0, mdma_get(&m, "stats/pinned"));
	EXPECT_STR("0", error(mdev_remove(m.uuid)));
}

static void act_wait(struct rig *r)
{
	(void)r;
	usleep(1000);
}

static void act_get(struct rig *r)
{
	dirty_all(r);
}

static void act_map(struct rig *r)
{
	static char bitmap[RIG_PAGES / 8];
	__u64 size = RIG_PAGES << PAGE_SHIFT;

	dma_unmap_get(r->container, at(0), size, bitmap, NULL);
	dma_map(r->container, r->mem, at(0), size, MAP_RW);
}

static void act_migrate(struct rig *r)
{
	static char buf[1 << 17];

	mig_save(r->dev.device, buf, sizeof(buf));
	mig_set(r->dev.device, MIG(RUNNING), NULL);
}

static void act_step(struct rig *r)
{
	mdma_set(&r->dev, "workload/run", "0");
	mdma_set(&r->dev, "workload/step", "100000");
}

static void kill_some(void (*act)(struct rig *r))
{
	int ms;

	for (ms = 30; ms < 150; ms += 37)
		kill_and_check(act, ms);
}

TEST_F(rig, R7_killed_while_the_device_runs, 40)
{
	kill_some(act_wait);
	(void)self;
}

TEST_F(rig, R7_killed_while_it_gets_reports, 40)
{
	kill_some(act_get);
	(void)self;
}

TEST_F(rig, R7_killed_while_it_maps, 40)
{
	kill_some(act_map);
	(void)self;
}

TEST_F(rig, R7_killed_while_it_migrates, 40)
{
	kill_some(act_migrate);
	(void)self;
}

TEST_F(rig, R7_killed_while_it_steps, 40)
{
	kill_some(act_step);
	(void)self;
}

/* What a child with the file descriptors finds when the owner has exited. */
static void expect_orphaned(struct rig *r, pid_t owner)
{
	/* A process gives up its memory before it reparents its children. */
	EXPECT_EQ(true, WAIT_FOR(getppid() != owner));
	EXPECT_NE(0, mdma_pin(&r->dev, at(50), 1, 'w'));
	EXPECT_NE(0, mdma_pin(&r->dev, at(20), 300, 'w'));
	EXPECT_EQ(0, mdma_unpin(&r->dev, at(4), 4));
	EXPECT_STR("0-11", dirty_all(r));
	EXPECT_STR("8-11", dirty_all(r));
	mdma_unpin(&r->dev, at(8), 2);
	EXPECT_STR("8-11", dirty_all(r));
	EXPECT_EQ(0, dma_unmap(r->container, at(0), r->pages << PAGE_SHIFT,
			       NULL));
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
	rig_close(r);
}

/* The memory belonged to a process that has exited. */
TEST_F(rig, R14_owner_of_the_memory_has_exited, 40)
{
	static struct rig r;
	int done[2];
	pid_t pid;
	char byte;

	(void)self;
	ASSERT_EQ(0, pipe(done));
	pid = fork();
	if (!pid) {
		if (rig_open(&r, "mdma-1", RIG_PAGES) ||
		    dirty_start(r.container) ||
		    mdma_pin(&r.dev, at(0), 12, 'w') ||
		    mdma_unpin(&r.dev, at(0), 4))
			_exit(1);
		pid = getpid();
		if (fork())
			_exit(0);
		expect_orphaned(&r, pid);
		fflush(stdout);
		_exit(0);
	}
	close(done[1]);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(0, read(done[0], &byte, 1));
}

/* --- a call that is late ------------------------------------------------------ */

#define LATE_ROUNDS	600

static int late_container = -1, late_calls, late_end;

/* Calls STOP of a container that may be released at any time. */
static int call_stop(void *arg __attribute__((unused)))
{
	preempt_on_cpu_0(SCHED_IDLE);
	while (!__atomic_load_n(&late_end, __ATOMIC_RELAXED)) {
		dirty_stop(__atomic_load_n(&late_container, __ATOMIC_RELAXED));
		__atomic_add_fetch(&late_calls, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Lets the other thread make two calls and more, and stops it anywhere in one. */
static void let_it_call(int more_us)
{
	int begin = __atomic_load_n(&late_calls, __ATOMIC_RELAXED);

	while (__atomic_load_n(&late_calls, __ATOMIC_RELAXED) - begin < 2)
		usleep(100);
	usleep(more_us);
}

/*
 * Returns 1 if the new container does not track any more, though nobody stopped it. The
 * descriptors have the same numbers in each round.
 */
static int replace_container(int group, int more_us)
{
	int old = container_open(), new = container_open();
	char bitmap[8];
	int ret;

	ret = group_attach(group, old);
	if (!ret)
		ret = container_set_type(old, VFIO_TYPE1v2_IOMMU);
	__atomic_store_n(&late_container, old, __ATOMIC_RELAXED);
	let_it_call(more_us);
	if (!ret)
		ret = group_detach(group);
	if (!ret)
		ret = group_attach(group, new);
	if (!ret)
		ret = container_set_type(new, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = dirty_start(new);
	let_it_call(0);
	if (!ret)
		ret = dirty_get(new, 0, PAGE_SIZE, bitmap) ? 1 : 0;
	group_detach(group);
	close(old);
	close(new);
	return ret;
}

/*
 * A call has got the address of its container, and is stopped there. The container goes,
 * and another user opens one: the call must not do anything to that.
 */
TEST_F(rig, R7_late_call_meets_no_other_container, 60)
{
	char model[PREEMPT_NAME];
	struct mdma m = { 0 };
	struct job job;
	int i, ret = 0;

	(void)self;
	if (backend_is_stock())
		SKIP("a backend whose calls use no freed container");
	ASSERT_EQ(0, mdma_create(&m, "mdma-1"));
	m.group = group_open(m.uuid);
	preempt_full(model);
	job_start(&job, call_stop, NULL);
	preempt_on_cpu_0(SCHED_OTHER);
	for (i = 0; !ret && i < LATE_ROUNDS; i++)
		ret = replace_container(m.group, i % 64);
	__atomic_store_n(&late_end, 1, __ATOMIC_RELAXED);
	job_join(&job);
	preempt_restore(model);
	EXPECT_EQ(0, ret);
	mdma_destroy(&m);
}

/* Open and close, create and remove leave the reference counts of the modules unchanged. */
TEST_F(rig, mdma_modules_are_given_back, 40)
{
	long long mdma, type1;
	struct rig r;
	int i;

	rig_close(self);
	mdma = module_refcount("mdma");
	type1 = module_refcount("vfio_iommu_type1");
	for (i = 0; i < 10; i++) {
		ASSERT_STR("0", error(rig_open(&r, "mdma-16", 64)));
		EXPECT_LT(mdma, module_refcount("mdma"));
		EXPECT_LT(type1, module_refcount("vfio_iommu_type1"));
		START(&r);
		PIN(&r, 3, 4, 'w');
		rig_close(&r);
	}
	EXPECT_EQ(mdma, module_refcount("mdma"));
	EXPECT_EQ(type1, module_refcount("vfio_iommu_type1"));
	EXPECT_LOCKED(0);
}

TEST_MAIN(mdev_remove_leftovers)
