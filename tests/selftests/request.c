// SPDX-License-Identifier: GPL-2.0-only
/* A device is removed while a VMM has it open: the VMM is asked to release it. */
#include <sys/stat.h>

#include "fixture.h"
#include "irq.h"
#include "stall.h"

/* Two devices in a container, one of them to be removed, and the remover. */
FIXTURE(removal) {
	struct rig rig;
	struct mdma other;
	struct job job;
};

static int remove_job(void *arg)
{
	return mdev_remove(arg);
}

static bool exists(struct mdma *m)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s", m->uuid);
	return !stat(path, &st);
}

FIXTURE_SETUP(removal)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	ASSERT_STR("0", error(mdma_create(&self->other, "mdma-1")));
	ASSERT_STR("0", error(mdma_attach(&self->other, self->rig.container)));
	ASSERT_STR("0", error(mdma_open(&self->other)));
}

FIXTURE_TEARDOWN(removal)
{
	mdma_destroy(&self->other);
	rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

/* Waits until a device can't be opened any more: its removal has begun. */
static void wait_begun(struct mdma *m)
{
	int fd;

	WAIT_FOR((fd = group_get_device(m->group, m->uuid)) < 0 || close(fd));
	EXPECT_STR("ENODEV", error(fd));
}

/* The VMM releases the device as requested. */
TEST_F(removal, mdma_request_is_followed, 40)
{
	struct mdma *m = &self->other;
	int fd = irq_set(m, VFIO_PCI_REQ_IRQ_INDEX, 0);

	ASSERT_LE(0, fd);
	ASSERT_STR("0", error(mdma_pin(m, at(7), 2, 'w')));
	EXPECT_LOCKED(2);
	EXPECT_EQ(0, irq_count(fd, 0));
	job_start(&self->job, remove_job, m->uuid);
	ASSERT_EQ(1, irq_count(fd, 5000));
	EXPECT_EQ(false, job_done(&self->job, 300));
	EXPECT_LOCKED(2);
	wait_begun(m);

	mdma_close(m);
	EXPECT_STR("0", error(job_join(&self->job)));
	EXPECT_EQ(false, exists(m));
	EXPECT_LOCKED(0);
	TOUCH(&self->rig, 3, 1);
}

/* The VMM ignores the request: its device keeps working, and the removal waits. */
TEST_F(removal, mdma_request_is_ignored, 60)
{
	struct mdma *m = &self->other;
	int fd = irq_set(m, VFIO_PCI_REQ_IRQ_INDEX, 0);

	job_start(&self->job, remove_job, m->uuid);
	ASSERT_EQ(1, irq_count(fd, 5000));
	EXPECT_EQ(true, mdma_read32(m, MDMA_REG_MAGIC) == MDMA_MAGIC);
	ASSERT_STR("0", error(mdma_pin(m, at(7), 2, 'w')));
	EXPECT_LOCKED(2);
	/* vfio asks again every ten seconds */
	EXPECT_EQ(1, irq_count(fd, 20000));
	EXPECT_EQ(false, job_done(&self->job, 0));
	EXPECT_EQ(0, mdma_reset(m));
	EXPECT_LOCKED(0);

	mdma_close(m);
	EXPECT_STR("0", error(job_join(&self->job)));
	EXPECT_EQ(false, exists(m));
}

/* The removal waits for a VMM without an eventfd; a VMM that dies releases the device. */
TEST_F(removal, mdma_request_to_one_who_dies, 40)
{
	struct mdma victim;
	int ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_STR("0", error(mdma_create(&victim, "mdma-1")));
	pid = fork();
	if (!pid) {
		int container = container_open();

		if (mdma_attach(&victim, container) ||
		    container_set_type(container, VFIO_TYPE1v2_IOMMU) ||
		    dma_map(container, self->rig.mem, at(0), 1 << 20, MAP_RW) ||
		    mdma_open(&victim) || mdma_pin(&victim, at(3), 9, 'w') ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(9, mdma_get(&victim, "stats/pinned"));
	job_start(&self->job, remove_job, victim.uuid);
	EXPECT_EQ(false, job_done(&self->job, 1000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_STR("0", error(job_join(&self->job)));
	EXPECT_EQ(false, exists(&victim));
	mdma_destroy(&victim);
}

static int step_job(void *arg)
{
	return mdma_set(arg, "workload/step", "4294967295");
}

/*
 * A removal does not wait for a long write by the administrator either: the VMM is
 * asked, and the write ends with the device.
 */
TEST_F(removal, mdma_request_while_it_steps, 60)
{
	struct mdma *m = &self->other;
	int fd = irq_set(m, VFIO_PCI_REQ_IRQ_INDEX, 0);
	struct job step;

	ASSERT_STR("0", error(mdma_set(m, "workload/window", "%llx-%llx",
				       at(0), at(64) - 1)));
	job_start(&step, step_job, m);
	while (!mdma_get(m, "stats/descriptors"))
		usleep(1000);
	job_start(&self->job, remove_job, m->uuid);
	EXPECT_EQ(1, irq_count(fd, 5000));
	EXPECT_EQ(false, job_done(&step, 0));
	mdma_close(m);
	EXPECT_STR("ENODEV", error(job_join(&step)));
	EXPECT_STR("0", error(job_join(&self->job)));
	EXPECT_EQ(false, exists(m));
}

TEST_MAIN(mdev_remove_leftovers)
