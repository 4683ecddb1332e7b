// SPDX-License-Identifier: GPL-2.0-only
/*
 * R3, R5, R7, R11, R14: each call of the backend, with each of its allocations and copies of user
 * memory failing in turn. No record is lost, and nothing is counted that is not pinned.
 *
 * vfio_dma_rw() is called by a thread that has no memory of its own; failing_worker.c has it.
 */
#include <sys/ioctl.h>

#include "migration.h"
#include "sweep.h"

#define ALL		(RIG_PAGES << PAGE_SHIFT)

static unsigned char bitmap[RIG_PAGES / 8];
static __u64 unmapped;

/* All mapped, nothing pinned or retained. */
static void begin_anew(struct failing *f)
{
	struct rig *r = &f->rig;

	STOP(r);
	ASSERT_EQ(0, dma_unmap(r->container, at(0), ALL, NULL));
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(0), ALL, MAP_RW));
	START(r);
}

static void expect_pinned(struct failing *f, long long n)
{
	EXPECT_EQ(n, mdma_get(&f->rig.dev, "stats/pinned"));
	EXPECT_LOCKED(n);
}

#define MADE_DIRTY	"3,20-22,600-899"
#define PINNED		3

static void make_dirty(struct failing *f)
{
	begin_anew(f);
	memset(bitmap, 0, sizeof(bitmap));
	unmapped = 0;
	TOUCH(&f->rig, 3, 1);
	TOUCH(&f->rig, 600, 300);
	PIN(&f->rig, 20, PINNED, 'w');
}

/* --- pins ------------------------------------------------------------------ */

/* What is pinned, and the report of all pages after that and after a failure. */
struct pins {
	__u64 first, n;
	const char *done, *not_done;
};

static int call_pin(struct failing *f)
{
	const struct pins *p = f->arg;

	return mdma_pin(&f->rig.dev, at(p->first), p->n, 'w');
}

static void check_pin(struct failing *f, bool done)
{
	const struct pins *p = f->arg;

	expect_pinned(f, done ? p->n : 0);
	EXPECT_STR(done ? p->done : p->not_done, dirty_all(&f->rig));
}

static void sweep_pin(struct failing *f, const struct pins *p,
		      void (*before)(struct failing *f))
{
	const struct sweep s = {
		.of = "vfio_iommu_type1_pin_pages pin_write",
		.before = before, .call = call_pin, .check = check_pin,
	};

	f->arg = p;
	sweep(f, &s);
}

TEST_F(failing, R14_failing_pin_of_a_page, 60)
{
	static const struct pins p = { 60, 1, "60", "none" };

	sweep_pin(self, &p, begin_anew);
}

TEST_F(failing, R14_failing_pin_of_many_pages, 60)
{
	static const struct pins p = { 60, 512, "60-571", "none" };

	sweep_pin(self, &p, begin_anew);
}

static void retain(struct failing *f)
{
	begin_anew(f);
	TOUCH(&f->rig, 70, 2);
	TOUCH(&f->rig, 130, 1);
}

TEST_F(failing, R5_failing_pin_keeps_the_records, 60)
{
	static const struct pins p = { 60, 80, "60-139", "70-71,130" };

	sweep_pin(self, &p, retain);
}

static int call_unpin(struct failing *f)
{
	return mdma_unpin(&f->rig.dev, at(20), PINNED);
}

/* The page is told once more: as one that is retained, or as one that is pinned for ever. */
static void check_unpin(struct failing *f, bool done)
{
	expect_pinned(f, done ? 0 : PINNED);
	EXPECT_STR(MADE_DIRTY, dirty_all(&f->rig));
	EXPECT_STR(done ? "none" : "20-22", dirty_all(&f->rig));
}

/* What fails is the test hook's own. */
TEST_F(failing, R14_failing_unpin_keeps_the_pins, 60)
{
	static const struct sweep s = {
		.of = "vfio_iommu_type1_unpin_pages unpin_write",
		.before = make_dirty, .call = call_unpin, .check = check_unpin,
	};

	sweep(self, &s);
}

/* --- tracking -------------------------------------------------------------- */

static void pin_one(struct failing *f)
{
	begin_anew(f);
	STOP(&f->rig);
	PIN(&f->rig, 5, 1, 'w');
}

static int call_start(struct failing *f)
{
	return dirty_start(f->rig.container);
}

static void check_start(struct failing *f, bool done)
{
	EXPECT_STR(done ? "5" : "EINVAL", dirty_all(&f->rig));
}

TEST_F(failing, R1_failing_start_starts_nothing, 60)
{
	static const struct sweep s = {
		.of = "VFIO_IOMMU_DIRTY_PAGES_FLAG_START",
		.before = pin_one, .call = call_start, .check = check_start,
	};

	sweep(self, &s);
}

static int call_stop(struct failing *f)
{
	return dirty_stop(f->rig.container);
}

static void check_stop(struct failing *f, bool done)
{
	expect_pinned(f, PINNED);
	EXPECT_STR(done ? "EINVAL" : MADE_DIRTY, dirty_all(&f->rig));
	START(&f->rig);
	EXPECT_STR("20-22", dirty_all(&f->rig));
}

TEST_F(failing, R7_failing_stop_forgets_nothing, 60)
{
	static const struct sweep s = {
		.of = "VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP",
		.before = make_dirty, .call = call_stop, .check = check_stop,
	};

	sweep(self, &s);
}

static int call_get(struct failing *f)
{
	return dirty_get(f->rig.container, at(0), ALL, bitmap);
}

static void check_get(struct failing *f, bool done)
{
	if (done)
		EXPECT_STR(MADE_DIRTY, bitmap_text(bitmap, RIG_PAGES));
	EXPECT_STR(done ? "20-22" : MADE_DIRTY, dirty_all(&f->rig));
	expect_pinned(f, PINNED);
}

TEST_F(failing, R3_failing_report_loses_nothing, 60)
{
	static const struct sweep s = {
		.of = "VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP",
		.before = make_dirty, .call = call_get, .check = check_get,
	};

	sweep(self, &s);
}

/* --- mappings -------------------------------------------------------------- */

static int unmap(struct failing *f, __u32 flags, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg), .flags = flags, .iova = iova, .size = size,
	};
	int ret = unmap_ioctl(f->rig.container, &arg);

	unmapped = arg.size;
	return ret;
}

static int call_unmap(struct failing *f)
{
	return unmap(f, 0, at(0), ALL);
}

static int call_unmap_all(struct failing *f)
{
	return unmap(f, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0);
}

static int call_unmap_get(struct failing *f)
{
	return dma_unmap_get(f->rig.container, at(0), ALL, bitmap, &unmapped);
}

static bool late;

/*
 * The very last copy is that of the size, which is known only when everything is unmapped. If that
 * copy fails, the call returns EFAULT although it is done (errno.rst). No earlier failure may look
 * like that.
 */
static bool is_unmapped(struct failing *f)
{
	bool is = f->ret == -EFAULT &&
		  mdma_rw_read(&f->rig.dev, at(0), 1) == -EINVAL;

	EXPECT_EQ(false, late);
	late |= is;
	return is;
}

static void check_unmap(struct failing *f, bool done)
{
	if (!done) {
		EXPECT_STR(MADE_DIRTY, dirty_all(&f->rig));
		return;
	}
	if (!f->ret)
		EXPECT_EQ(ALL, unmapped);
	expect_pinned(f, 0);
	ASSERT_EQ(0, dma_unmap(f->rig.container, at(0), ALL, &unmapped));
	EXPECT_EQ(0, unmapped);
}

static void check_unmap_get(struct failing *f, bool done)
{
	if (done)
		EXPECT_STR(MADE_DIRTY, bitmap_text(bitmap, RIG_PAGES));
	check_unmap(f, done);
}

static void sweep_unmap(struct failing *f, const char *of,
			int (*call)(struct failing *f),
			void (*check)(struct failing *f, bool done))
{
	const struct sweep s = {
		.of = of, .before = make_dirty, .call = call,
		.done = is_unmapped, .check = check, .fewer = true,
	};

	late = false;
	sweep(f, &s);
	EXPECT_EQ(true, late);
}

TEST_F(failing, R11_failing_unmap_changes_nothing, 60)
{
	sweep_unmap(self, "VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP",
		    call_unmap_get, check_unmap_get);
}

TEST_F(failing, R11_failing_unmap_without_a_bitmap, 60)
{
	sweep_unmap(self, "VFIO_IOMMU_UNMAP_DMA vfio_iommu_type1_unmap_dma",
		    call_unmap, check_unmap);
}

TEST_F(failing, R11_failing_unmap_of_all, 60)
{
	sweep_unmap(self, "VFIO_DMA_UNMAP_FLAG_ALL", call_unmap_all, check_unmap);
}

static void unmap_everything(struct failing *f)
{
	ASSERT_EQ(0, dma_unmap(f->rig.container, at(0), ALL, NULL));
}

static int call_map(struct failing *f)
{
	return dma_map(f->rig.container, f->rig.mem, at(0), ALL, MAP_RW);
}

static void check_map(struct failing *f, bool done)
{
	EXPECT_STR(done ? "0" : "EINVAL",
		   error(mdma_pin(&f->rig.dev, at(9), 1, 'w')));
	EXPECT_STR(done ? "EEXIST" : "0", error(call_map(f)));
}

TEST_F(failing, R13_failing_map_maps_nothing, 60)
{
	static const struct sweep s = {
		.of = "VFIO_IOMMU_MAP_DMA",
		.before = unmap_everything, .call = call_map, .check = check_map,
	};

	sweep(self, &s);
}

/* --- the container --------------------------------------------------------- */

static struct {
	struct vfio_iommu_type1_info info;
	char room[1024];
} told;

static void ask_nothing(struct failing *f)
{
	make_dirty(f);
	memset(&told, 0, sizeof(told));
	told.info.argsz = sizeof(told);
}

static int call_get_info(struct failing *f)
{
	return ioctl(f->rig.container, VFIO_IOMMU_GET_INFO, &told) ? -errno : 0;
}

static void check_get_info(struct failing *f, bool done)
{
	if (done) {
		EXPECT_EQ(PAGE_SIZE, told.info.iova_pgsizes & PAGE_SIZE);
		EXPECT_EQ(sizeof(told.info), told.info.cap_offset);
	}
	EXPECT_STR(MADE_DIRTY, dirty_all(&f->rig));
	expect_pinned(f, PINNED);
}

TEST_F(failing, R13_failing_info_changes_nothing, 60)
{
	static const struct sweep s = {
		.of = "VFIO_IOMMU_GET_INFO",
		.before = ask_nothing, .call = call_get_info,
		.check = check_get_info,
	};

	sweep(self, &s);
}

static void create_target(struct failing *f)
{
	ASSERT_STR("0", error(mdma_create(&f->target.dev, "mdma-1")));
}

/* The target's group is in a container of its own, which has no type yet. */
static void container_anew(struct failing *f)
{
	struct rig *r = &f->target;

	mdma_close(&r->dev);
	if (r->container >= 0)
		close(r->container);
	r->container = container_open();
	ASSERT_LE(0, r->container);
	ASSERT_STR("0", error(mdma_attach(&r->dev, r->container)));
}

static int call_set_type(struct failing *f)
{
	return container_set_type(f->target.container, VFIO_TYPE1v2_IOMMU);
}

static void check_set_type(struct failing *f, bool done)
{
	if (!done) {
		EXPECT_STR("EINVAL", error(mdma_open(&f->target.dev)));
		EXPECT_STR("0", error(call_set_type(f)));
	}
	EXPECT_STR("0", error(mdma_open(&f->target.dev)));
}

TEST_F(failing, R7_failing_type_leaves_no_container, 60)
{
	static const struct sweep s = {
		.of = "type1_open attach_group",
		.before = container_anew, .call = call_set_type,
		.check = check_set_type,
	};

	create_target(self);
	sweep(self, &s);
}

/* The target's group is in no container. */
static void group_anew(struct failing *f)
{
	struct mdma *m = &f->target.dev;

	mdma_close(m);
	m->group = group_open(m->uuid);
	ASSERT_LE(0, m->group);
}

static int call_attach(struct failing *f)
{
	return group_attach(f->target.dev.group, f->rig.container);
}

static void check_attach(struct failing *f, bool done)
{
	if (!done) {
		EXPECT_STR("EINVAL", error(mdma_open(&f->target.dev)));
		EXPECT_STR("0", error(call_attach(f)));
	}
	EXPECT_STR("0", error(mdma_open(&f->target.dev)));
	EXPECT_STR("0", error(mdma_pin(&f->target.dev, at(5), 1, 'w')));
}

TEST_F(failing, R9_failing_attach_leaves_no_group, 60)
{
	static const struct sweep s = {
		.of = "attach_group",
		.before = group_anew, .call = call_attach, .check = check_attach,
	};

	create_target(self);
	sweep(self, &s);
}

static void attach(struct failing *f)
{
	group_anew(f);
	ASSERT_STR("0", error(call_attach(f)));
}

static int call_detach(struct failing *f)
{
	return group_detach(f->target.dev.group);
}

static void check_detach(struct failing *f, bool done)
{
	EXPECT_EQ(true, done);
	EXPECT_STR("EINVAL", error(mdma_open(&f->target.dev)));
}

TEST_F(failing, R7_detach_never_fails, 60)
{
	static const struct sweep s = {
		.of = "detach_group", .sure = true,
		.before = attach, .call = call_detach, .check = check_detach,
	};

	create_target(self);
	sweep(self, &s);
}

/* A container with pins and records. */
static void fill_container(struct failing *f)
{
	struct rig *r = &f->target;

	container_anew(f);
	ASSERT_STR("0", error(call_set_type(f)));
	ASSERT_STR("0", error(mdma_open(&r->dev)));
	ASSERT_EQ(0, dma_map(r->container, f->rig.mem, at(0), ALL, MAP_RW));
	START(r);
	TOUCH(r, 600, 300);
	PIN(r, 20, PINNED, 'w');
}

/* The last user of the device and of the container goes. */
static int call_close(struct failing *f)
{
	mdma_close(&f->target.dev);
	close(f->target.container);
	f->target.container = -1;
	return 0;
}

static void check_close(struct failing *f, bool done)
{
	EXPECT_EQ(true, done);
	EXPECT_EQ(0, mdma_get(&f->target.dev, "stats/pinned"));
	EXPECT_LOCKED(0);
}

TEST_F(failing, R7_release_never_fails, 60)
{
	static const struct sweep s = {
		.of = "type1_release device_close", .sure = true,
		.before = fill_container, .call = call_close,
		.check = check_close,
	};

	create_target(self);
	sweep(self, &s);
}

TEST_MAIN(mdev_remove_leftovers)
