// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device with an iommufd, which warns unless it gets back exactly what each call
 * has pinned: a warning in the kernel's log fails the test.
 */
#include <dirent.h>
#include <sched.h>

#include "dma_log.h"
#include "fixture.h"
#include "iommufd.h"
#include "migration.h"
#include "preempt.h"
#include "ring.h"
#include "stall.h"
#include "unmap_trace.h"

#define BYTES		((__u64)RIG_PAGES << PAGE_SHIFT)
#define ROUNDS		40
#define SETTLES		"msleep"	/* where mdma_access_settle() waits */

/* The rig, and an IOAS with other memory at the same IOVA, in which no device is. */
FIXTURE(iommufd) {
	struct rig rig;
	struct mdma second;
	__u32 ioas;
	__u32 other;
	unsigned char *other_mem;
	long long pinned;
	int tries, done;
};

FIXTURE_SETUP(iommufd)
{
	struct rig *r = &self->rig;

	self->pinned = pinned_pages();
	ASSERT_STR("0", error(iommufd_rig_open(r, "mdma-4", RIG_PAGES,
					       &self->ioas)));
	self->other_mem = memory(BYTES, PROT_READ | PROT_WRITE);
	ASSERT_STR("0", error(ioas_alloc(r->container, &self->other)));
	ASSERT_STR("0", error(ioas_map(r->container, self->other,
				       self->other_mem, at(0), BYTES)));
}

/* All is given back, whatever the test did. */
FIXTURE_TEARDOWN(iommufd)
{
	mdma_set_pin_stall(&self->rig.dev, 0);
	mdma_set_unmap_stall(&self->rig.dev, 0);
	mdma_destroy(&self->second);
	rig_close(&self->rig);
	EXPECT_EQ(self->pinned, pinned_pages());
	EXPECT_EQ(0, locked_pages());
}

static int attach(struct iommufd *t, __u32 ioas)
{
	return cdev_attach(t->rig.dev.device, ioas);
}

static int detach(struct iommufd *t)
{
	return cdev_detach(t->rig.dev.device);
}

static int unmap_all(struct iommufd *t, __u32 ioas)
{
	return ioas_unmap(t->rig.container, ioas, at(0), BYTES);
}

static int map_all(struct iommufd *t)
{
	return ioas_map(t->rig.container, t->ioas, t->rig.mem, at(0), BYTES);
}

static int pin(struct iommufd *t, __u64 page, unsigned int npages)
{
	return mdma_pin(&t->rig.dev, at(page), npages, 'w');
}

static long long pins(struct iommufd *t)
{
	return mdma_get(&t->rig.dev, "stats/pinned");
}

static void open_second(struct iommufd *t)
{
	ASSERT_STR("0", error(mdma_create(&t->second, "mdma-1")));
	ASSERT_STR("0", error(mdma_bind(&t->second, t->rig.container)));
	ASSERT_STR("0", error(cdev_attach(t->second.device, t->ioas)));
}

/* As much as the device can do. */
static void load(struct iommufd *t, const char *hold_ms)
{
	struct rig *r = &t->rig;

	set_workload(r);
	SET(r, "batch", "7");
	SET(r, "rate", "0");
	ASSERT_STR("0", error(mdma_set(&r->dev, "workload/hold_ms", "%s",
				       hold_ms)));
	SET(r, "on_error", "skip");
	SET(r, "run", "1");
}

/* --- bind ---------------------------------------------------------------- */

TEST_F(iommufd, iommufd_device_is_used_after_bind_only, 20)
{
	struct mdma *m = &self->rig.dev;
	__u32 command;
	int fd;

	EXPECT_STR("EINVAL", error(cdev_bind(m->device, self->rig.container)));
	fd = cdev_open(m->uuid);
	ASSERT_LE(0, fd);
	EXPECT_STR("EINVAL", error(cdev_bind(fd, self->rig.container)));
	EXPECT_STR("EINVAL", error(cdev_attach(fd, self->ioas)));
	EXPECT_EQ(-1, pread(fd, &command, 4, m->bar0));
	mdma_close(m);
	EXPECT_STR("EBADFD", error(cdev_bind(fd, fd)));
	EXPECT_STR("ENODEV", error(mdma_pin(m, at(0), 1, 'w')));
	EXPECT_STR("0", error(cdev_bind(fd, self->rig.container)));
	EXPECT_STR("ENOENT", error(mdma_pin(m, at(0), 1, 'w')));
	close(fd);
}

/* A device that was bound is as new for the next user, by a group or not. */
TEST_F(iommufd, iommufd_cdev_and_group_at_once_are_refused, 20)
{
	struct mdma *m = &self->rig.dev;
	int group, fd;

	EXPECT_STR("EBUSY", error(group_try_open(m->uuid)));
	mdma_close(m);
	group = group_open(m->uuid);
	ASSERT_LE(0, group);
	fd = cdev_open(m->uuid);
	ASSERT_LE(0, fd);
	EXPECT_STR("EBUSY", error(cdev_bind(fd, self->rig.container)));
	close(group);
	EXPECT_STR("0", error(cdev_bind(fd, self->rig.container)));
	EXPECT_STR("EBUSY", error(group_try_open(m->uuid)));
	close(fd);
}

/* --- attach, replace, detach --------------------------------------------- */

TEST_F(iommufd, iommufd_in_no_ioas_nothing_is_pinned, 30)
{
	const struct mdma_desc fill = {
		.op = MDMA_OP_FILL, .dst = at(500), .len = PAGE_SIZE,
	};
	struct rig *r = &self->rig;
	struct ring ring;

	ASSERT_STR("0", error(detach(self)));
	EXPECT_STR("0", error(detach(self)));
	EXPECT_STR("ENOENT", error(pin(self, 3, 1)));
	EXPECT_STR("ENOENT", error(mdma_rw_write(&r->dev, at(3), 1, 1)));
	ring_enable(&ring, r, 0, 8);
	EXPECT_EQ(0, ring_run(&ring, &fill));
	EXPECT_EQ(MDMA_STATUS_BAD_RING, ring_reg(&ring, MDMA_CHAN_STATUS));
	load(self, "0");
	WAIT_FOR(mdma_get(&r->dev, "stats/pin_errors") > 20);
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pages_written"));
	EXPECT_EQ(0, pins(self));
	/* Now there is memory, and the work goes on. */
	ASSERT_STR("0", error(attach(self, self->ioas)));
	wait_for_writes(r, 100);
	SET(r, "run", "0");
	ring_enable(&ring, r, 0, 8);
	EXPECT_EQ(MDMA_STATUS_DONE, ring_run(&ring, &fill));
}

TEST_F(iommufd, iommufd_detach_gives_all_back, 30)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(pin(self, 10, 20)));
	load(self, "600000");
	wait_for_writes(r, 100);
	EXPECT_LT(120, pins(self));
	ASSERT_STR("0", error(detach(self)));
	EXPECT_EQ(0, pins(self));
	EXPECT_EQ(self->pinned, pinned_pages());
	/* Nothing of the device is left in the IOAS. */
	EXPECT_STR("0", error(unmap_all(self, self->ioas)));
	EXPECT_STR("0", error(ioas_destroy(r->container, self->ioas)));
	EXPECT_STR("ENOENT", error(attach(self, self->ioas)));
}

TEST_F(iommufd, iommufd_replace_changes_the_memory, 30)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(mdma_rw_write(&r->dev, at(7), 1, 0x11)));
	ASSERT_STR("0", error(pin(self, 7, 3)));
	/* What fails changes nothing. */
	EXPECT_STR("ENOENT", error(attach(self, self->other + 1000)));
	EXPECT_EQ(3, pins(self));
	EXPECT_STR("EBUSY", error(ioas_destroy(r->container, self->ioas)));

	ASSERT_STR("0", error(attach(self, self->other)));
	EXPECT_EQ(0, pins(self));
	EXPECT_STR("0", error(unmap_all(self, self->ioas)));
	EXPECT_STR("0", error(ioas_destroy(r->container, self->ioas)));
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, at(7) + 1, 1, 0x22)));
	ASSERT_STR("0", error(pin(self, 7, 3)));
	/* By the same one: nothing changes. */
	ASSERT_STR("0", error(attach(self, self->other)));
	EXPECT_EQ(3, pins(self));
	EXPECT_EQ(0x11, r->mem[7 * PAGE_SIZE]);
	EXPECT_EQ(0, r->mem[7 * PAGE_SIZE + 1]);
	EXPECT_EQ(0x22, self->other_mem[7 * PAGE_SIZE + 1]);
}

/* --- unmap --------------------------------------------------------------- */

TEST_F(iommufd, iommufd_unmap_gets_held_pins, 30)
{
	struct rig *r = &self->rig;

	ASSERT_STR("0", error(pin(self, 0, 8)));
	load(self, "600000");
	wait_for_writes(r, 100);
	EXPECT_STR("0", error(unmap_all(self, self->ioas)));
	EXPECT_EQ(0, pins(self));
	EXPECT_EQ(self->pinned, pinned_pages());
	EXPECT_STR("ENOENT", error(pin(self, 0, 1)));
	ASSERT_STR("0", error(map_all(self)));
	wait_for_writes(r, 100);
}

/* One call pins pages of two mappings; when one of these goes, all of it goes. */
TEST_F(iommufd, iommufd_pins_across_mappings, 20)
{
	int fd = self->rig.container;

	ASSERT_STR("0", error(unmap_all(self, self->ioas)));
	ASSERT_STR("0", error(ioas_map(fd, self->ioas, self->rig.mem, at(0),
				       16 * PAGE_SIZE)));
	ASSERT_STR("0", error(ioas_map(fd, self->ioas, self->other_mem, at(16),
				       16 * PAGE_SIZE)));
	ASSERT_STR("0", error(pin(self, 10, 12)));
	ASSERT_STR("0", error(pin(self, 20, 2)));
	EXPECT_STR("ENOENT", error(pin(self, 30, 3)));
	EXPECT_EQ(14, pins(self));
	EXPECT_STR("0", error(ioas_unmap(fd, self->ioas, at(0), 16 * PAGE_SIZE)));
	EXPECT_EQ(2, pins(self));
	EXPECT_STR("0", error(ioas_unmap(fd, self->ioas, at(16), 16 * PAGE_SIZE)));
	EXPECT_EQ(0, pins(self));
}

TEST_F(iommufd, iommufd_two_devices_in_one_ioas, 30)
{
	open_second(self);
	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_STR("0", error(mdma_pin(&self->second, at(10), 10, 'w')));
	ASSERT_STR("0", error(mdma_pin(&self->second, at(15), 10, 'r')));
	ASSERT_STR("0", error(detach(self)));
	EXPECT_EQ(0, pins(self));
	EXPECT_EQ(20, mdma_get(&self->second, "stats/pinned"));
	ASSERT_STR("0", error(attach(self, self->ioas)));
	ASSERT_STR("0", error(pin(self, 12, 1)));
	EXPECT_STR("0", error(unmap_all(self, self->ioas)));
	EXPECT_EQ(0, pins(self));
	EXPECT_EQ(0, mdma_get(&self->second, "stats/pinned"));
}

/* --- pins by hand -------------------------------------------------------- */

TEST_F(iommufd, iommufd_pins_are_undone_exactly, 20)
{
	struct mdma *m = &self->rig.dev;

	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_STR("0", error(pin(self, 15, 10)));
	EXPECT_EQ(30, pins(self));
	/* Not what a call has pinned. */
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(10), 9)));
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(11), 9)));
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(10), 15)));
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(100), 1)));
	EXPECT_EQ(30, pins(self));
	EXPECT_STR("0", error(mdma_unpin(m, at(10), 10)));
	EXPECT_STR("0", error(mdma_unpin(m, at(15), 10)));
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(15), 10)));
	EXPECT_STR("0", error(mdma_unpin(m, at(10), 10)));
	EXPECT_STR("EINVAL", error(mdma_unpin(m, at(10), 10)));
	EXPECT_EQ(0, pins(self));
	/* The rest is for a reset, and for the close. */
	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_STR("0", error(mdma_reset(m)));
	EXPECT_EQ(0, pins(self));
	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_STR("0", error(pin(self, 19, 3)));
}

/* iommufd has no remedy for a device that leaks, so this one does not. */
TEST_F(iommufd, iommufd_nothing_leaks, 20)
{
	ASSERT_STR("0", error(pin(self, 10, 10)));
	ASSERT_EQ(0, mdma_set_leak(&self->rig.dev, 1));
	EXPECT_STR("0", error(unmap_all(self, self->ioas)));
	EXPECT_EQ(0, pins(self));
	ASSERT_STR("0", error(map_all(self)));
	ASSERT_STR("0", error(pin(self, 10, 10)));
}

/* --- under load ---------------------------------------------------------- */

TEST_F(iommufd, iommufd_unmap_under_load, 60)
{
	int i;

	load(self, "3");
	for (i = 0; i < ROUNDS; i++) {
		wait_for_writes(&self->rig, 20);
		ASSERT_STR("0", error(unmap_all(self, self->ioas)));
		EXPECT_EQ(0, pins(self));
		ASSERT_STR("0", error(map_all(self)));
	}
}

TEST_F(iommufd, iommufd_attach_and_detach_under_load, 60)
{
	int i;

	load(self, "3");
	for (i = 0; i < ROUNDS; i++) {
		wait_for_writes(&self->rig, 20);
		if (i % 2)
			ASSERT_STR("0", error(detach(self)));
		ASSERT_STR("0", error(attach(self, i & 2 ? self->ioas :
						       self->other)));
	}
}

TEST_F(iommufd, iommufd_access_is_destroyed_under_load, 60)
{
	struct rig *r = &self->rig;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		load(self, "3");
		wait_for_writes(r, 20);
		mdma_close(&r->dev);
		EXPECT_EQ(0, pins(self));
		ASSERT_STR("0", error(mdma_bind(&r->dev, r->container)));
		ASSERT_STR("0", error(attach(self, self->ioas)));
	}
}

/* --- calls that are late ------------------------------------------------- */

static int call_pin_three(void *arg)
{
	return pin(arg, 7, 3);
}

static int call_unmap(void *arg)
{
	struct iommufd *t = arg;

	return unmap_all(t, t->ioas);
}

static int call_replace(void *arg)
{
	struct iommufd *t = arg;

	return attach(t, t->other);
}

/*
 * A pin has its pages, and its thread gets no time to see that they are to go. iommufd
 * asks for them a hundred times, and then warns: the device must not answer before it
 * has given them back.
 */
TEST_F(iommufd, iommufd_unmap_waits_for_a_late_pin, 60)
{
	struct job pinner, unmapper;

	ASSERT_STR("0", error(unmap_trace_begin_answers()));
	ASSERT_EQ(0, mdma_set_pin_stall(&self->rig.dev, 2));
	job_start(&pinner, call_pin_three, self);
	WAIT_FOR(pins(self) == 3);
	job_start(&unmapper, call_unmap, self);
	EXPECT_EQ(true, job_sleeps_in(&unmapper, "mdma_unmap_range"));
	usleep(1000000);
	EXPECT_EQ(0, unmap_trace_answers());
	ASSERT_EQ(0, mdma_set_pin_stall(&self->rig.dev, 0));
	EXPECT_STR("0", error(job_join(&unmapper)));
	/* It is told to try again. The mapping is gone, or going. */
	EXPECT_NE(0, job_join(&pinner));
	EXPECT_EQ(0, pins(self));
}

/* A device that gets another IOAS has none for a moment: who pins then is not told. */
TEST_F(iommufd, iommufd_pin_while_the_ioas_is_replaced, 30)
{
	struct job pinner, changer;

	ASSERT_EQ(0, mdma_set_unmap_stall(&self->rig.dev, 1));
	job_start(&changer, call_replace, self);
	ASSERT_EQ(true, job_sleeps_in(&changer, "mdma_unmap_range"));
	job_start(&pinner, call_pin_three, self);
	EXPECT_EQ(true, job_sleeps_in(&pinner, SETTLES));
	ASSERT_EQ(0, mdma_set_unmap_stall(&self->rig.dev, 0));
	EXPECT_STR("0", error(job_join(&changer)));
	EXPECT_STR("0", error(job_join(&pinner)));
	EXPECT_EQ(3, pins(self));
}

/* Never pauses for as long as the device takes an announcement for a recent one. */
static int call_attach_to_nothing(void *arg)
{
	static const struct sched_param first = { .sched_priority = 1 };
	struct iommufd *t = arg;

	if (sched_setscheduler(0, SCHED_FIFO, &first))
		return -1;
	while (!__atomic_load_n(&t->done, __ATOMIC_RELAXED)) {
		if (attach(t, t->other + 1000) != -ENOENT)
			return -1;
		__atomic_add_fetch(&t->tries, 1, __ATOMIC_RELAXED);
		usleep(5000);
	}
	return 0;
}

/* Often: a machine that gets no CPU time may attach too late for one of them. */
static int call_pin_beyond(void *arg)
{
	int i, ret = -ENOENT;

	for (i = 0; i < 20 && ret == -ENOENT; i++)
		ret = pin(arg, RIG_PAGES + 1, 1);
	return ret;
}

/* What is not mapped is told, whatever the user asks for meanwhile. */
TEST_F(iommufd, iommufd_pin_of_nothing_while_the_user_attaches, 30)
{
	struct job attacher, pinner;

	job_start(&attacher, call_attach_to_nothing, self);
	WAIT_FOR(__atomic_load_n(&self->tries, __ATOMIC_RELAXED) > 1);
	job_start(&pinner, call_pin_beyond, self);
	EXPECT_EQ(true, job_ends(&pinner));
	__atomic_store_n(&self->done, 1, __ATOMIC_RELAXED);
	EXPECT_STR("ENOENT", error(job_join(&pinner)));
	EXPECT_EQ(0, job_join(&attacher));
}

/* The thread of the first channel, in this process. */
static int worker_tid(struct iommufd *t, pid_t pid)
{
	char name[20], path[300], comm[20] = "";
	struct dirent *entry;
	int tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	snprintf(name, sizeof(name), "mdma%.8s.0\n", t->rig.dev.uuid);
	while (dir && !tid && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid,
			 entry->d_name);
		file_read_all(path, comm, sizeof(comm));
		if (!strncmp(comm, name, strlen(name)))
			tid = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return tid;
}

/* The device has begun to call vfio when its IOAS is taken away. */
static void call_while_the_ioas_is_replaced(struct iommufd *t,
					    const char *access, const char *in)
{
	struct rig *r = &t->rig;
	struct job changer, worker;

	SET(r, "access", access);
	load(t, "0");
	wait_for_writes(r, 20);
	worker = (struct job) { .tid = worker_tid(t, getpid()) };
	ASSERT_LT(0, worker.tid);
	ASSERT_EQ(0, mdma_set_pin_stall(&r->dev, 1));
	ASSERT_EQ(true, job_sleeps_in(&worker, in));
	ASSERT_EQ(0, mdma_set_unmap_stall(&r->dev, 1));
	job_start(&changer, call_replace, t);
	ASSERT_EQ(true, job_sleeps_in(&changer, "mdma_unmap_range"));
	ASSERT_EQ(0, mdma_set_pin_stall(&r->dev, 0));
	EXPECT_EQ(true, job_sleeps_in(&worker, SETTLES));
	ASSERT_EQ(0, mdma_set_unmap_stall(&r->dev, 0));
	EXPECT_STR("0", error(job_join(&changer)));
	wait_for_writes(r, 20);
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pin_errors"));
}

TEST_F(iommufd, iommufd_device_pins_while_the_ioas_is_replaced, 30)
{
	call_while_the_ioas_is_replaced(self, "pin", "mdma_run_pin");
}

TEST_F(iommufd, iommufd_device_writes_while_the_ioas_is_replaced, 30)
{
	call_while_the_ioas_is_replaced(self, "rw", "mdma_run_rw");
}

static int hogging, stop_hogging;

static int call_pin(void *arg)
{
	struct iommufd *t = arg;

	preempt_on_cpu_0(SCHED_IDLE);
	return mdma_pin(&t->rig.dev, at(RIG_PAGES), 1, 'w');
}

static int call_detach(void *arg)
{
	preempt_on_cpu_0(SCHED_OTHER);
	return detach(arg);
}

static int call_hog(void *arg __attribute__((unused)))
{
	preempt_on_cpu_0(SCHED_OTHER);
	__atomic_store_n(&hogging, 1, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&stop_hogging, __ATOMIC_RELAXED))
		;
	return 0;
}

/*
 * A pin waits for the user's memory, and the device is to leave the IOAS, for which
 * iommufd waits. When the memory is there, the thread that pins gets hardly any time
 * to give back what it got. iommufd asks for it once.
 *
 * With full preemption, the thread that leaves goes on as soon as the pin unlocks the
 * IOAS. Otherwise, the pin may be done first, and is then given back like any other.
 */
TEST_F(iommufd, iommufd_detach_waits_for_a_late_pin, 60)
{
	struct job pinner, leaver, hog;
	struct stall stall;
	char model[PREEMPT_NAME];
	int ret;

	ASSERT_STR("0", error(stall_open(&stall, PAGE_SIZE)));
	ASSERT_STR("0", error(ioas_map(self->rig.container, self->ioas,
				       stall.mem, at(RIG_PAGES), PAGE_SIZE)));
	job_start(&pinner, call_pin, self);
	ASSERT_EQ(0, stall_wait(&stall, 5000));
	job_start(&leaver, call_detach, self);
	job_settle(&leaver);
	EXPECT_EQ(0, job_done(&leaver, 0));
	preempt_full(model);
	job_start(&hog, call_hog, NULL);
	while (!__atomic_load_n(&hogging, __ATOMIC_RELAXED))
		usleep(1000);
	stall_release(&stall);
	EXPECT_STR("0", error(job_join(&leaver)));
	EXPECT_EQ(0, pins(self));
	__atomic_store_n(&stop_hogging, 1, __ATOMIC_RELAXED);
	job_join(&hog);
	ret = job_join(&pinner);
	preempt_restore(model);
	/* It is told to try again, and finds no IOAS. */
	if (ret)
		EXPECT_STR("ENOENT", error(ret));
	else
		NO_CHANCE("the pin was done before the device was to leave");
	EXPECT_EQ(0, pins(self));
}

/* Has the device of its parent bound, until it is killed. */
static void own(struct iommufd *t, int ready)
{
	struct mdma *m = &t->rig.dev;

	ASSERT_STR("0", error(cdev_bind(m->device, t->rig.container)));
	ASSERT_STR("0", error(mdma_begin(m)));
	ASSERT_STR("0", error(attach(t, t->ioas)));
	ASSERT_EQ(1, write(ready, "", 1));
	for (;;)
		pause();
}

/* Starts another process that owns the device's threads. This one has the device, too. */
static pid_t start_owner(struct iommufd *t)
{
	struct mdma *m = &t->rig.dev;
	int ready[2];
	char byte;
	pid_t pid;

	mdma_close(m);
	m->device = cdev_open(m->uuid);
	ASSERT_LE(0, m->device);
	ASSERT_EQ(0, pipe(ready));
	fflush(stdout);
	pid = fork();
	if (!pid)
		IN_CHILD(own(t, ready[1]));
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	close(ready[0]);
	return pid;
}

/*
 * Memory is being unmapped, which waits for a pin of root's. The owner of the device's
 * threads is killed, and need not wait for that.
 */
TEST_F(iommufd, iommufd_killed_while_memory_is_unmapped, 60)
{
	const struct mdma_desc nop = { .op = MDMA_OP_NOP };
	struct job pinner, unmapper, worker = { 0 };
	struct rig *r = &self->rig;
	struct ring ring;
	int status;
	pid_t pid;

	pid = start_owner(self);
	worker.tid = worker_tid(self, pid);
	if (!worker.tid)
		SKIP("CONFIG_VHOST_TASK");
	ring_enable(&ring, r, 0, 8);
	ring_put(&ring, &nop);
	ASSERT_EQ(0, mdma_set_pin_stall(&r->dev, 2));
	job_start(&pinner, call_pin_three, self);
	WAIT_FOR(pins(self) == 3);
	job_start(&unmapper, call_unmap, self);
	EXPECT_EQ(true, job_sleeps_in(&unmapper, "mdma_unmap_range"));
	ring_doorbell(&ring);
	EXPECT_EQ(true, job_sleeps_in(&worker, SETTLES));
	kill(pid, SIGKILL);
	EXPECT_EQ(true, WAIT_FOR(waitpid(pid, &status, WNOHANG) == pid));
	EXPECT_EQ(0, job_done(&unmapper, 0));
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pin_errors"));
	ASSERT_EQ(0, mdma_set_pin_stall(&r->dev, 0));
	EXPECT_STR("0", error(job_join(&unmapper)));
	EXPECT_NE(0, job_join(&pinner));
}

static int call_run(void *arg)
{
	struct iommufd *t = arg;

	return mig_set(t->rig.dev.device, MIG(RUNNING), NULL);
}

static int call_reset(void *arg)
{
	struct iommufd *t = arg;

	return mdma_write32(&t->rig.dev, MDMA_REG_RESET, 1);
}

/*
 * What was held is pinned again, and waits for the user's memory. A reset leaves no IOAS,
 * so it does not wait for that.
 */
TEST_F(iommufd, iommufd_reset_waits_for_no_user_memory, 60)
{
	struct rig *r = &self->rig;
	struct job runner, resetter;
	struct stall stall;

	ASSERT_STR("0", error(stall_open(&stall, PAGE_SIZE)));
	ASSERT_STR("0", error(ioas_map(r->container, self->ioas, stall.mem,
				       at(RIG_PAGES), PAGE_SIZE)));
	stall_release_page(&stall, 0);
	set_window(r, RIG_PAGES, RIG_PAGES + 1);
	SET(r, "batch", "1");
	SET(r, "hold_ms", "600000");
	SET(r, "step", "1");
	EXPECT_EQ(1, pins(self));
	ASSERT_STR("0", error(mig_set(r->dev.device, MIG(STOP), NULL)));
	ASSERT_EQ(0, madvise(stall.mem, PAGE_SIZE, MADV_DONTNEED));
	job_start(&runner, call_run, self);
	ASSERT_EQ(0, stall_wait(&stall, 5000));
	job_start(&resetter, call_reset, self);
	EXPECT_EQ(true, job_ends(&resetter));
	EXPECT_EQ(0, job_done(&runner, 0));
	stall_release(&stall);
	EXPECT_STR("0", error(job_join(&resetter)));
	EXPECT_STR("0", error(job_join(&runner)));
	EXPECT_EQ(0, pins(self));
}

/* --- the dirty log ------------------------------------------------------- */

TEST_F(iommufd, iommufd_device_logs_what_it_writes, 30)
{
	struct vfio_device_feature_dma_logging_range all = {
		.iova = at(0), .length = BYTES,
	};
	struct rig *r = &self->rig;
	__u64 size = PAGE_SIZE;

	mdma_close(&r->dev);
	ASSERT_STR("0", error(mdma_set(&r->dev, "dirty_log/enabled", "1")));
	ASSERT_STR("0", error(mdma_bind(&r->dev, r->container)));
	ASSERT_STR("0", error(attach(self, self->ioas)));
	ASSERT_STR("0", error(dma_log_start(r->dev.device, &size, &all, 1)));
	ASSERT_STR("0", error(pin(self, 30, 4)));
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, at(3) - 1, 2, 0x5a)));
	set_window(r, 100, 140);
	SET(r, "batch", "8");
	SET(r, "hold_ms", "600000");
	SET(r, "step", "5");
	EXPECT_STR("2-3,100-139", dma_log_text(r, 0, RIG_PAGES));
	EXPECT_STR("none", dma_log_text(r, 0, RIG_PAGES));
	SET(r, "step", "1");
	EXPECT_STR("100-107", dma_log_text(r, 0, RIG_PAGES));
	/* The log is about IOVAs, whose memory may change. */
	ASSERT_STR("0", error(attach(self, self->other)));
	ASSERT_STR("0", error(mdma_rw_write(&r->dev, at(9), 1, 0x5a)));
	EXPECT_STR("9", dma_log_text(r, 0, RIG_PAGES));
}

TEST_MAIN(mdev_remove_leftovers)
