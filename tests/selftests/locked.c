// SPDX-License-Identifier: GPL-2.0-only
/*
 * R14: locked_vm is exact even if a group behind an IOMMU, for which all mapped
 * memory is pinned, is attached and detached, and if the owner of the memory forks,
 * execs (CVE-2023-53171) or exits.
 */
#include "fixture.h"
#include "nic.h"

#define SIZE(npages)	((__u64)(npages) << PAGE_SHIFT)

/* The estate that another process takes over: open files that stay open after an exec. */
FIXTURE(estate) {
	struct rig rig;
	struct nic nic;
};

FIXTURE_SETUP(estate)
{
	if (nic_find(&self->nic, NIC_VFIO_PCI))
		SKIP("an e1000e on vfio-pci");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
}

FIXTURE_TEARDOWN(estate)
{
	nic_release(&self->nic);
	if (self->rig.container)
		rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

#define ATTACH(self) \
	ASSERT_STR("0", error(nic_attach(&(self)->nic, (self)->rig.container)))
#define DETACH(self)	ASSERT_STR("0", error(nic_detach(&(self)->nic)))
#define MAP(self, page, npages, mem) \
	ASSERT_STR("0", error(dma_map((self)->rig.container, mem, at(page), \
				      SIZE(npages), MAP_RW)))
#define UNMAP(self, page, npages) \
	ASSERT_STR("0", error(dma_unmap((self)->rig.container, at(page), \
					SIZE(npages), NULL)))

/* Removes the mdma device; the NIC is alone in an empty container. */
static void nic_alone(struct estate *self)
{
	struct rig *r = &self->rig;
	void *mem = memory(SIZE(RIG_PAGES), PROT_READ | PROT_WRITE);

	rig_close(r);
	*r = (struct rig) { .mem = mem, .pages = RIG_PAGES };
	r->container = container_open();
	ASSERT_LE(0, r->container);
	ATTACH(self);
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	ASSERT_STR("0", error(nic_open(&self->nic)));
}

TEST_F(estate, R14_group_counts_each_page_once, 30)
{
	struct rig *r = &self->rig;

	PIN(r, 100, 50, 'w');
	PIN(r, 120, 50, 'r');
	EXPECT_LOCKED(70);
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(70);
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	UNPIN(r, 100, 50);
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(50);
	UNPIN(r, 120, 50);
	EXPECT_LOCKED(0);
}

TEST_F(estate, R14_pins_beside_a_group_are_not_counted, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self);
	PIN(r, 0, 512, 'w');
	PIN(r, 10, 1, 'w');
	EXPECT_LOCKED(RIG_PAGES);
	EXPECT_STR("EINVAL", error(mdma_pin(&r->dev, at(1000), 100, 'w')));
	EXPECT_LOCKED(RIG_PAGES);
	UNPIN(r, 0, 100);
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(413);
	UNPIN(r, 10, 1);
	UNPIN(r, 100, 412);
	EXPECT_LOCKED(0);
}

/* A retained page is not pinned (D11): the group counts it, and counts it down. */
TEST_F(estate, R14_retained_pages_and_a_group, 30)
{
	struct rig *r = &self->rig;

	START(r);
	TOUCH(r, 0, 300);
	PIN(r, 299, 2, 'w');
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	TOUCH(r, 500, 100);
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(2);
	UNPIN(r, 299, 2);
	EXPECT_LOCKED(0);
}

TEST_F(estate, R14_maps_and_unmaps_beside_a_group, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self);
	MAP(self, RIG_PAGES, RIG_PAGES, r->mem);
	EXPECT_LOCKED(2 * RIG_PAGES);
	PIN(r, RIG_PAGES + 5, 5, 'w');
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(RIG_PAGES);
	UNMAP(self, RIG_PAGES, RIG_PAGES);
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, mdma_get(&r->dev, "stats/pinned"));
	MAP(self, 0, 10, r->mem);
	EXPECT_LOCKED(10);
}

TEST_F(estate, R14_second_group_counts_nothing, 30)
{
	struct nic second;

	if (nic_find(&second, NIC_THAT_PINS))
		SKIP("an e1000e on mdma_nic");
	ATTACH(self);
	ASSERT_STR("0", error(nic_attach(&second, self->rig.container)));
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	nic_release(&second);
	EXPECT_LOCKED(0);
}

TEST_F(estate, R14_mdev_goes_and_the_group_stays, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self);
	PIN(r, 0, 10, 'w');
	mdma_destroy(&r->dev);
	EXPECT_LOCKED(RIG_PAGES);
	nic_release(&self->nic);
	EXPECT_LOCKED(0);
}

/* --- RLIMIT_MEMLOCK ------------------------------------------------------ */

/* The limit is that of the task that maps, so map everything anew. */
static void remap_with_limit(struct estate *self, int limit, int npages)
{
	struct rig *r = &self->rig;

	UNMAP(self, 0, RIG_PAGES);
	ASSERT_STR("0", error(limit_locked_pages(limit)));
	MAP(self, 0, npages, r->mem);
}

TEST_F(estate, R14_group_within_the_limit, 30)
{
	struct rig *r = &self->rig;

	remap_with_limit(self, RIG_PAGES, RIG_PAGES);
	PIN(r, 100, 50, 'w');
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	/* Pages that are pinned are not counted again; pages that are only mapped are. */
	PIN(r, 0, 512, 'w');
	EXPECT_STR("ENOMEM", error(dma_map(r->container, r->mem, at(RIG_PAGES),
					   PAGE_SIZE, MAP_RW)));
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(512);
	PIN(r, 512, 512, 'w');
	EXPECT_LOCKED(RIG_PAGES);
}

/* One page too few: the attach fails and changes nothing. */
TEST_F(estate, R14_group_beyond_the_limit, 30)
{
	struct rig *r = &self->rig;

	remap_with_limit(self, RIG_PAGES - 1, RIG_PAGES);
	START(r);
	PIN(r, 100, 50, 'w');
	TOUCH(r, 300, 1);
	EXPECT_STR("ENOMEM", error(nic_attach(&self->nic, r->container)));
	EXPECT_LOCKED(50);
	EXPECT_STR("100-149,300", dirty_all(r));
	PIN(r, 100, 50, 'w');
	UNPIN(r, 100, 50);
	UNPIN(r, 100, 50);
	EXPECT_LOCKED(0);
	EXPECT_STR("100-149", dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* Two mappings are in the IOMMU when the third exceeds the limit. */
TEST_F(estate, R14_group_beyond_the_limit_in_a_later_mapping, 30)
{
	struct rig *r = &self->rig;

	remap_with_limit(self, 299, 100);
	MAP(self, 200, 100, r->mem + SIZE(200));
	MAP(self, 400, 100, r->mem + SIZE(400));
	PIN(r, 250, 10, 'w');
	PIN(r, 499, 1, 'w');
	EXPECT_STR("ENOMEM", error(nic_attach(&self->nic, r->container)));
	EXPECT_LOCKED(11);
	UNMAP(self, 0, 100);
	ATTACH(self);
	EXPECT_LOCKED(200);
}

TEST_F(estate, R14_map_beyond_the_limit_of_a_group, 30)
{
	struct rig *r = &self->rig;

	nic_alone(self);
	ASSERT_STR("0", error(limit_locked_pages(1000)));
	EXPECT_STR("ENOMEM", error(dma_map(r->container, r->mem, at(0),
					   SIZE(1001), MAP_RW)));
	EXPECT_LOCKED(0);
	MAP(self, 0, 1000, r->mem);
	EXPECT_LOCKED(1000);
	EXPECT_STR("ENOMEM", error(dma_map(r->container, r->mem, at(1000),
					   SIZE(1), MAP_RW)));
	EXPECT_LOCKED(1000);
}

/* Frames of the firmware, below 1 MiB: they are reserved, and count for nobody. */
static void *firmware(int npages)
{
	int fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	void *mem;

	ASSERT_LE(0, fd);
	mem = mmap(NULL, SIZE(npages), PROT_READ, MAP_SHARED, fd, 0xf0000);
	ASSERT_NE(0, mem != MAP_FAILED);
	close(fd);
	return mem;
}

/* They are pinned, and in the IOMMU when a later mapping exceeds the limit. */
TEST_F(estate, R14_reserved_frames_and_a_failed_attach, 30)
{
	struct rig *r = &self->rig;

	UNMAP(self, 0, RIG_PAGES);
	ASSERT_STR("0", error(limit_locked_pages(299)));
	ASSERT_STR("0", error(dma_map(r->container, firmware(16), at(0), SIZE(16),
				      VFIO_DMA_MAP_FLAG_READ)));
	MAP(self, 200, 300, r->mem);
	PIN(r, 0, 16, 'r');
	PIN(r, 250, 10, 'w');
	EXPECT_LOCKED(10);
	EXPECT_STR("ENOMEM", error(nic_attach(&self->nic, r->container)));
	EXPECT_LOCKED(10);
	UNMAP(self, 200, 300);
	MAP(self, 200, 299, r->mem);
	ATTACH(self);
	EXPECT_LOCKED(299);
	DETACH(self);
	EXPECT_LOCKED(0);
	UNPIN(r, 0, 16);
	EXPECT_LOCKED(0);
}

/* --- a driver that keeps its pins (R15) ---------------------------------- */

TEST_F(estate, R15_leaking_driver_beside_a_group, 60)
{
	struct rig *r = &self->rig;

	if (stock_is_spared())
		SKIP("a backend that survives it (W7)");
	ATTACH(self);
	ASSERT_STR("0", error(nic_open(&self->nic)));
	START(r);
	PIN(r, 20, 3, 'w');
	ASSERT_EQ(0, mdma_set_leak(&r->dev, 1));
	EXPECT_STR("EBUSY", error(dma_unmap(r->container, at(0),
					    SIZE(RIG_PAGES), NULL)));
	EXPECT_LOCKED(RIG_PAGES);
	EXPECT_STR("0", error(nic_dma_write(&self->nic, at(7),
					    r->mem + SIZE(7))));
	EXPECT_STR("0-1023", dirty_all(r));
	UNPIN(r, 20, 3);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
}

/* The group leaves while there are pins that will never be given back. */
TEST_F(estate, R15_leaked_pins_and_a_detach, 60)
{
	struct rig *r = &self->rig;

	if (stock_is_spared())
		SKIP("a backend that survives it (W7)");
	PIN(r, 20, 3, 'w');
	ATTACH(self);
	ASSERT_EQ(0, mdma_set_leak(&r->dev, 1));
	EXPECT_STR("EBUSY", error(dma_unmap(r->container, at(0),
					    SIZE(RIG_PAGES), NULL)));
	DETACH(self);
	EXPECT_LOCKED(3);
	rig_close(r);
	EXPECT_LOCKED(0);
}

/* --- fork, exec, exit ---------------------------------------------------- */

/* Another process does this with the estate; a failure there fails this test. */
static void in_child(struct estate *self, void (*act)(struct estate *self))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		IN_CHILD(act(self));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

static void child_unpins(struct estate *self)
{
	EXPECT_LOCKED(0);
	UNPIN(&self->rig, 0, 40);
	EXPECT_LOCKED(0);
	/* Pins are charged to the mapping's memory, whichever process pins. */
	PIN(&self->rig, 500, 7, 'w');
	EXPECT_LOCKED(0);
}

TEST_F(estate, R14_child_pins_and_unpins, 30)
{
	PIN(&self->rig, 0, 100, 'w');
	in_child(self, child_unpins);
	EXPECT_LOCKED(67);
	UNPIN(&self->rig, 40, 60);
	UNPIN(&self->rig, 500, 7);
	EXPECT_LOCKED(0);
}

static void child_detaches(struct estate *self)
{
	EXPECT_LOCKED(0);
	DETACH(self);
	EXPECT_LOCKED(0);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
	MAP(self, 0, 64, self->rig.mem);
	PIN(&self->rig, 0, 10, 'w');
	EXPECT_LOCKED(10);
	ATTACH(self);
	EXPECT_LOCKED(64);
}

/* The child's mapping outlives the child: nobody is charged for the rest. */
TEST_F(estate, R14_child_takes_over_and_exits, 30)
{
	PIN(&self->rig, 0, 100, 'w');
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	in_child(self, child_detaches);
	EXPECT_LOCKED(0);
	EXPECT_NE(0, mdma_pin(&self->rig.dev, at(20), 1, 'w'));
	DETACH(self);
	EXPECT_LOCKED(0);
	UNPIN(&self->rig, 0, 10);
	EXPECT_LOCKED(0);
	UNMAP(self, 0, 64);
	EXPECT_LOCKED(0);
}

/* What the process does in the program that it has executed. */
static void exec_unpin(struct estate *self)
{
	EXPECT_LOCKED(0);
	UNPIN(&self->rig, 0, 40);
	EXPECT_LOCKED(0);
	EXPECT_STR("0-99", dirty_all(&self->rig));
	EXPECT_NE(0, mdma_pin(&self->rig.dev, at(200), 1, 'w'));
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
	EXPECT_EQ(0, mdma_get(&self->rig.dev, "stats/pinned"));
	MAP(self, 0, 64, memory(SIZE(64), PROT_READ | PROT_WRITE));
	PIN(&self->rig, 0, 10, 'w');
	EXPECT_LOCKED(10);
	mdma_destroy(&self->rig.dev);
	EXPECT_LOCKED(0);
}

static void exec_detach(struct estate *self)
{
	EXPECT_LOCKED(0);
	UNPIN(&self->rig, 0, 40);
	DETACH(self);
	EXPECT_LOCKED(0);
	UNPIN(&self->rig, 40, 60);
	EXPECT_LOCKED(0);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
	mdma_destroy(&self->rig.dev);
}

static void exec_unmap(struct estate *self)
{
	EXPECT_LOCKED(0);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
}

static void exec_close(struct estate *self)
{
	nic_release(&self->nic);
	close(self->rig.container);
	EXPECT_LOCKED(0);
}

/* The new owner sets the new address of the memory, and is charged for it. */
static void exec_vaddr(struct estate *self)
{
	void *mem = memory(SIZE(RIG_PAGES), PROT_READ | PROT_WRITE);

	EXPECT_LOCKED(0);
	ASSERT_STR("0", error(dma_map(self->rig.container, mem, at(0),
				      SIZE(RIG_PAGES),
				      VFIO_DMA_MAP_FLAG_VADDR)));
	EXPECT_LOCKED(RIG_PAGES);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
}

static void exec_vaddr_limit(struct estate *self)
{
	void *mem = memory(SIZE(RIG_PAGES), PROT_READ | PROT_WRITE);

	ASSERT_STR("0", error(limit_locked_pages(RIG_PAGES - 1)));
	EXPECT_STR("ENOMEM", error(dma_map(self->rig.container, mem, at(0),
					   SIZE(RIG_PAGES),
					   VFIO_DMA_MAP_FLAG_VADDR)));
	EXPECT_LOCKED(0);
	UNMAP(self, 0, RIG_PAGES);
	EXPECT_LOCKED(0);
}

static const struct {
	const char *name;
	void (*act)(struct estate *self);
} heirs[] = {
	{ "unpin", exec_unpin },
	{ "detach", exec_detach },
	{ "unmap", exec_unmap },
	{ "close", exec_close },
	{ "vaddr", exec_vaddr },
	{ "vaddr_limit", exec_vaddr_limit },
};

/* main() calls this after the exec; the estate is in a file. */
static int heir_main(const char *name, const char *will)
{
	struct harness_verdict verdict = { 0 };
	struct estate self;
	unsigned int i;

	harness_verdict = &verdict;
	if (pread(atoi(will), &self, sizeof(self), 0) != sizeof(self))
		return 2;
	for (i = 0; i < ARRAY_SIZE(heirs); i++)
		if (!strcmp(name, heirs[i].name) && !setjmp(harness_out))
			heirs[i].act(&self);
	return !!verdict.failures;
}

/* An exec closes only the descriptors that VFIO itself creates. */
static void keep_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static const char *heir;

static void become_heir(struct estate *self)
{
	int will = memfd_create("estate", 0);
	char number[16];

	keep_open(self->rig.dev.device);
	keep_open(self->nic.device);
	ASSERT_EQ(sizeof(*self), write(will, self, sizeof(*self)));
	snprintf(number, sizeof(number), "%d", will);
	execl("/proc/self/exe", "heir", "--heir", heir, number, NULL);
	FAIL("exec: %s", strerror(errno));
}

/* A separate process opens everything, because the test's own process must not exec. */
static void owner_of_mdev(struct estate *self)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	START(&self->rig);
	PIN(&self->rig, 0, 100, 'w');
	become_heir(self);
}

static void owner_of_both(struct estate *self)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	PIN(&self->rig, 0, 100, 'w');
	ATTACH(self);
	EXPECT_LOCKED(RIG_PAGES);
	become_heir(self);
}

static void owner_of_nic(struct estate *self)
{
	nic_alone(self);
	MAP(self, 0, RIG_PAGES, self->rig.mem);
	EXPECT_LOCKED(RIG_PAGES);
	if (!strncmp(heir, "vaddr", 5)) {
		struct vfio_iommu_type1_dma_unmap unmap = {
			.argsz = sizeof(unmap),
			.flags = VFIO_DMA_UNMAP_FLAG_VADDR,
			.iova = at(0),
			.size = SIZE(RIG_PAGES),
		};

		ASSERT_EQ(0, unmap_ioctl(self->rig.container, &unmap));
		EXPECT_LOCKED(RIG_PAGES);
	}
	become_heir(self);
}

static void exec_test(struct estate *self, void (*owner)(struct estate *self),
		      const char *name)
{
	rig_close(&self->rig);
	heir = name;
	in_child(self, owner);
}

TEST_F(estate, R14_exec_then_unpin, 30)
{
	exec_test(self, owner_of_mdev, "unpin");
}

TEST_F(estate, R14_exec_then_detach, 30)
{
	exec_test(self, owner_of_both, "detach");
}

TEST_F(estate, R14_exec_then_unmap, 30)
{
	exec_test(self, owner_of_nic, "unmap");
}

TEST_F(estate, R14_exec_then_close, 30)
{
	exec_test(self, owner_of_nic, "close");
}

TEST_F(estate, R14_exec_then_new_address, 30)
{
	exec_test(self, owner_of_nic, "vaddr");
}

TEST_F(estate, R14_exec_then_new_address_beyond_the_limit, 30)
{
	exec_test(self, owner_of_nic, "vaddr_limit");
}

/* Maps, attaches and exits; its parent still has the descriptors. */
static void owner_exits(struct estate *self)
{
	MAP(self, RIG_PAGES, 64, memory(SIZE(64), PROT_READ | PROT_WRITE));
	PIN(&self->rig, RIG_PAGES, 8, 'w');
	ATTACH(self);
	/* Its own mapping is charged to it, the other one to its parent. */
	EXPECT_LOCKED(64);
}

TEST_F(estate, R14_owner_with_a_group_has_exited, 30)
{
	struct rig *r = &self->rig;

	PIN(r, 0, 4, 'w');
	/* Attach here, so that the group's descriptor belongs to the parent. */
	ATTACH(self);
	DETACH(self);
	in_child(self, owner_exits);
	EXPECT_LOCKED(RIG_PAGES);
	UNPIN(r, RIG_PAGES, 2);
	EXPECT_LOCKED(RIG_PAGES);
	DETACH(self);
	EXPECT_LOCKED(4);
	UNPIN(r, RIG_PAGES + 2, 6);
	UNMAP(self, RIG_PAGES, 64);
	EXPECT_LOCKED(4);
	UNPIN(r, 0, 4);
}

static void victim(struct estate *self)
{
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
	START(&self->rig);
	PIN(&self->rig, 0, 100, 'w');
	ATTACH(self);
	ASSERT_STR("0", error(nic_open(&self->nic)));
	raise(SIGKILL);
}

/* Killed with everything open: the NIC can be opened again, and nothing is locked. */
TEST_F(estate, R7_killed_with_a_group, 60)
{
	int status;
	pid_t pid;

	rig_close(&self->rig);
	pid = fork();
	if (!pid)
		victim(self);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(SIGKILL, status);
	nic_alone(self);
	MAP(self, 0, RIG_PAGES, self->rig.mem);
	EXPECT_LOCKED(RIG_PAGES);
	EXPECT_STR("0", error(nic_dma_write(&self->nic, at(7),
					    self->rig.mem + SIZE(7))));
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--heir"))
		return heir_main(argv[2], argv[3]);
	return harness_main(argc, argv, mdev_remove_leftovers);
}
