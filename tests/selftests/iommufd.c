// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device with an iommufd, which warns unless it gets back exactly what each call
 * has pinned: a warning in the kernel's log fails the test.
 */
#include <sched.h>

#include "dma_log.h"
#include "fixture.h"
#include "iommufd.h"
#include "ring.h"
#include "stall.h"

#define BYTES		((__u64)RIG_PAGES << PAGE_SHIFT)
#define ROUNDS		40

/* The rig, and an IOAS with other memory at the same IOVA, in which no device is. */
FIXTURE(iommufd) {
	struct rig rig;
	struct mdma second;
	__u32 ioas;
	__u32 other;
	unsigned char *other_mem;
	long long pinned;
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

/* --- a pin that is late -------------------------------------------------- */

static int hogging, stop_hogging;

#define PREEMPT		"/sys/kernel/debug/sched/preempt"

/* The kernel's model of preemption: "none voluntary (lazy) full". */
static void get_preemption(char *model, size_t size)
{
	char text[100] = "", *begin, *end;

	file_read_all(PREEMPT, text, sizeof(text));
	begin = strchr(text, '(');
	end = begin ? strchr(begin, ')') : NULL;
	snprintf(model, size, "%.*s", end ? (int)(end - begin - 1) : 0,
		 begin ? begin + 1 : "");
}

/* All threads that call it are on one CPU; @policy says which of them get it. */
static void on_cpu_0(int policy)
{
	struct sched_param param = { 0 };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	sched_setscheduler(0, policy, &param);
}

static int call_pin(void *arg)
{
	struct iommufd *t = arg;

	on_cpu_0(SCHED_IDLE);
	return mdma_pin(&t->rig.dev, at(RIG_PAGES), 1, 'w');
}

static int call_detach(void *arg)
{
	on_cpu_0(SCHED_OTHER);
	return detach(arg);
}

static int call_hog(void *arg __attribute__((unused)))
{
	on_cpu_0(SCHED_OTHER);
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
	char model[20];
	int ret;

	ASSERT_STR("0", error(stall_open(&stall, PAGE_SIZE)));
	ASSERT_STR("0", error(ioas_map(self->rig.container, self->ioas,
				       stall.mem, at(RIG_PAGES), PAGE_SIZE)));
	job_start(&pinner, call_pin, self);
	ASSERT_EQ(0, stall_wait(&stall, 5000));
	job_start(&leaver, call_detach, self);
	job_settle(&leaver);
	EXPECT_EQ(0, job_done(&leaver, 0));
	get_preemption(model, sizeof(model));
	file_write(PREEMPT, "full");
	job_start(&hog, call_hog, NULL);
	while (!__atomic_load_n(&hogging, __ATOMIC_RELAXED))
		usleep(1000);
	stall_release(&stall);
	EXPECT_STR("0", error(job_join(&leaver)));
	EXPECT_EQ(0, pins(self));
	__atomic_store_n(&stop_hogging, 1, __ATOMIC_RELAXED);
	job_join(&hog);
	ret = job_join(&pinner);
	file_write(PREEMPT, model);
	/* It is told to try again, and finds no IOAS. */
	if (ret)
		EXPECT_STR("ENOENT", error(ret));
	else
		NO_CHANCE("the pin was done before the device was to leave");
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
