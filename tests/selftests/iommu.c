// SPDX-License-Identifier: GPL-2.0-only
/*
 * R9, W5: a group behind an IOMMU may have written all mapped memory. This memory is
 * reported even after the group has left, or has begun to pin.
 */
#include "fixture.h"
#include "nic.h"
#include "stall.h"

#define ALL	"0-1023"	/* of RIG_PAGES */
#define SIZE(npages)	((__u64)(npages) << PAGE_SHIFT)

/* An mdma device and all memory in a container, and two NICs beside it. */
FIXTURE(iommu) {
	struct rig rig;
	struct nic nic;		/* never pins */
	struct nic pinner;	/* pins when it is told to */
};

FIXTURE_SETUP(iommu)
{
	if (nic_find(&self->nic, NIC_VFIO_PCI) ||
	    nic_find(&self->pinner, NIC_THAT_PINS))
		SKIP("an e1000e on vfio-pci and one on mdma_nic");
	ASSERT_STR("0", error(rig_open(&self->rig, "mdma-1", RIG_PAGES)));
}

FIXTURE_TEARDOWN(iommu)
{
	nic_release(&self->nic);
	nic_release(&self->pinner);
	if (self->rig.container)
		rig_close(&self->rig);
	EXPECT_LOCKED(0);
}

#define ATTACH(self, who) \
	ASSERT_STR("0", error(nic_attach(who, (self)->rig.container)))
#define DETACH(who) \
	ASSERT_STR("0", error(nic_detach(who)))
#define OPEN(who) \
	ASSERT_STR("0", error(nic_open(who)))
/* While tracking is on, a group that may write everything is attached and detached. */
#define START_AND_GO(self) do {		\
	START(&(self)->rig);		\
	ATTACH(self, &(self)->nic);	\
	DETACH(&(self)->nic);		\
} while (0)
/* The NIC writes to this page. */
#define NIC_WRITE(self, who, page) \
	ASSERT_STR("0", error(nic_dma_write(who, at(page), \
		(self)->rig.mem + ((page) << PAGE_SHIFT))))

/* Removes the mdma device, so that the NIC is alone in the container. */
static void nic_alone(struct iommu *self)
{
	struct rig *r = &self->rig;

	rig_close(r);
	r->pages = RIG_PAGES;
	r->mem = memory(SIZE(RIG_PAGES), PROT_READ | PROT_WRITE);
	r->container = container_open();
	ASSERT_LE(0, r->container);
	ATTACH(self, &self->nic);
	ASSERT_EQ(0, container_set_type(r->container, VFIO_TYPE1v2_IOMMU));
	OPEN(&self->nic);
	ASSERT_EQ(0, dma_map(r->container, r->mem, RIG_IOVA, SIZE(RIG_PAGES),
			     MAP_RW));
}

TEST_F(iommu, R9_nic_alone_reports_all, 30)
{
	struct rig *r = &self->rig;

	nic_alone(self);
	EXPECT_STR("EINVAL", dirty_all(r));
	START(r);
	EXPECT_STR(ALL, dirty_all(r));
	NIC_WRITE(self, &self->nic, 7);
	EXPECT_STR(ALL, dirty_all(r));
	STOP(r);
	EXPECT_STR("EINVAL", dirty_all(r));
	START(r);
	EXPECT_STR(ALL, dirty_all(r));
}

TEST_F(iommu, R9_sub_range_beside_a_nic, 30)
{
	nic_alone(self);
	START(&self->rig);
	EXPECT_STR("100-299", dirty(&self->rig, 100, 200));
	EXPECT_STR("100-299", dirty(&self->rig, 100, 200));
}

/* Only mapped pages: bits of holes keep their value (R8). */
TEST_F(iommu, R9_holes_are_left_alone, 30)
{
	unsigned char bitmap[RIG_PAGES / 8 + 32] = "";
	struct rig *r = &self->rig;
	int i;

	nic_alone(self);
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(RIG_PAGES + 3), SIZE(50),
			     MAP_RW));
	START(r);
	ASSERT_STR("0", error(dirty_get(r->container, at(0),
					SIZE(RIG_PAGES + 256), bitmap)));
	EXPECT_STR("0-1023,1027-1076", bitmap_text(bitmap, RIG_PAGES + 256));
	for (i = RIG_PAGES; i < RIG_PAGES + 256; i++)
		bitmap_assign(bitmap, i, i % 3);
	ASSERT_STR("0", error(dirty_get(r->container, at(0),
					SIZE(RIG_PAGES + 256), bitmap)));
	for (i = RIG_PAGES; i < RIG_PAGES + 256; i++)
		if (i < RIG_PAGES + 3 || i >= RIG_PAGES + 53)
			EXPECT_EQ(!!(i % 3), bitmap_bit(bitmap, i));
		else
			EXPECT_EQ(1, bitmap_bit(bitmap, i));
}

TEST_F(iommu, R9_nic_alone_unmap_with_bitmap, 30)
{
	unsigned char bitmap[RIG_PAGES / 8] = "";
	struct rig *r = &self->rig;
	__u64 unmapped = 0;

	nic_alone(self);
	START(r);
	NIC_WRITE(self, &self->nic, 9);
	ASSERT_STR("0", error(dma_unmap_get(r->container, at(0),
					    SIZE(RIG_PAGES), bitmap,
					    &unmapped)));
	EXPECT_STR(ALL, bitmap_text(bitmap, RIG_PAGES));
	EXPECT_EQ(SIZE(RIG_PAGES), unmapped);
	EXPECT_LOCKED(0);
	/* The IOMMU's mapping is removed as well. */
	EXPECT_EQ(1, nic_dma_is_blocked(&self->nic, at(9), r->mem + SIZE(8)));
}

TEST_F(iommu, R9_attached_before_start, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->nic);
	OPEN(&self->nic);
	PIN(r, 3, 1, 'w');
	START(r);
	EXPECT_STR(ALL, dirty_all(r));
	TOUCH(r, 20, 1);
	EXPECT_STR(ALL, dirty_all(r));
	UNPIN(r, 3, 1);
	EXPECT_STR(ALL, dirty_all(r));
}

TEST_F(iommu, R9_attached_after_start, 30)
{
	struct rig *r = &self->rig;

	START(r);
	TOUCH(r, 20, 1);
	EXPECT_STR("20", dirty_all(r));
	ATTACH(self, &self->nic);
	OPEN(&self->nic);
	NIC_WRITE(self, &self->nic, 500);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
}

/* Its writes until it left are in the next report, and in no later one. */
TEST_F(iommu, R9_detached_during_tracking, 30)
{
	struct rig *r = &self->rig;

	START(r);
	ATTACH(self, &self->nic);
	OPEN(&self->nic);
	NIC_WRITE(self, &self->nic, 500);
	nic_close(&self->nic);
	DETACH(&self->nic);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
	TOUCH(r, 20, 1);
	EXPECT_STR("20", dirty_all(r));
}

TEST_F(iommu, R9_detached_and_attached_again, 30)
{
	struct rig *r = &self->rig;

	START_AND_GO(self);
	ATTACH(self, &self->nic);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
	DETACH(&self->nic);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* Nothing is forgotten before a report holds the whole mapping. */
TEST_F(iommu, R9_sub_range_after_a_detach, 30)
{
	struct rig *r = &self->rig;

	START_AND_GO(self);
	EXPECT_STR("10-19", dirty(r, 10, 10));
	EXPECT_STR("0-99", dirty(r, 0, 100));
	EXPECT_STR("1000-1023", dirty(r, 1000, 24));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

TEST_F(iommu, R9_detach_before_start_is_not_reported, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->nic);
	DETACH(&self->nic);
	PIN(r, 3, 1, 'w');
	START(r);
	EXPECT_STR("3", dirty_all(r));
}

TEST_F(iommu, R7_stop_forgets_what_a_nic_wrote, 30)
{
	struct rig *r = &self->rig;

	START_AND_GO(self);
	STOP(r);
	START(r);
	EXPECT_STR("none", dirty_all(r));
}

/* One of two NICs has left: the other one may still write anywhere. */
TEST_F(iommu, R9_two_nics_and_one_goes, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->nic);
	ATTACH(self, &self->pinner);
	START(r);
	DETACH(&self->nic);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
	DETACH(&self->pinner);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

TEST_F(iommu, R9_mapped_after_a_detach_is_clean, 30)
{
	struct rig *r = &self->rig;

	START_AND_GO(self);
	ASSERT_EQ(0, dma_map(r->container, r->mem, at(RIG_PAGES), SIZE(64),
			     MAP_RW));
	EXPECT_STR(ALL, dirty(r, 0, RIG_PAGES + 64));
	EXPECT_STR("none", dirty(r, 0, RIG_PAGES + 64));
}

/* A report that fails after the detach drops nothing (R3). */
TEST_F(iommu, R9_fault_after_a_detach_loses_nothing, 30)
{
	void *bad = memory(PAGE_SIZE, PROT_READ);
	struct rig *r = &self->rig;

	START_AND_GO(self);
	EXPECT_STR("EFAULT", error(dirty_get(r->container, at(0),
					     SIZE(RIG_PAGES), bad)));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

TEST_F(iommu, R9_unmap_after_a_detach, 30)
{
	unsigned char bitmap[RIG_PAGES / 8] = "";
	struct rig *r = &self->rig;

	START_AND_GO(self);
	ASSERT_STR("0", error(dma_unmap_get(r->container, at(0),
					    SIZE(RIG_PAGES), bitmap, NULL)));
	EXPECT_STR(ALL, bitmap_text(bitmap, RIG_PAGES));
}

/* The mdma device leaves, the NIC and the mappings stay. */
TEST_F(iommu, R9_mdev_goes_and_the_nic_stays, 30)
{
	struct rig *r = &self->rig;

	START(r);
	ATTACH(self, &self->nic);
	OPEN(&self->nic);
	TOUCH(r, 20, 1);
	PIN(r, 30, 1, 'w');
	mdma_destroy(&r->dev);
	EXPECT_LOCKED(RIG_PAGES);
	NIC_WRITE(self, &self->nic, 40);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
}

/* The driver pins before tracking begins: it writes only where it pins. */
TEST_F(iommu, R9_driver_that_has_pinned_is_believed, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 2, 'w')));
	START(r);
	EXPECT_STR("3-4", dirty_all(r));
	ASSERT_STR("0", error(nic_unpin(&self->pinner)));
	EXPECT_STR("3-4", dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* W5: the driver pins for the first time. Earlier writes are not lost. */
TEST_F(iommu, R9_first_pin_narrows_the_scope, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	START(r);
	EXPECT_STR(ALL, dirty_all(r));
	NIC_WRITE(self, &self->pinner, 500);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 2, 'w')));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("3-4", dirty_all(r));
	ASSERT_STR("0", error(nic_unpin(&self->pinner)));
	EXPECT_STR("3-4", dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
	/* A later pin narrows nothing more. */
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(8), 1, 'w')));
	EXPECT_STR("8", dirty_all(r));
}

/* A pin that fails does not show that the driver pins what it writes. */
TEST_F(iommu, R9_failing_first_pin_narrows_nothing, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	START(r);
	EXPECT_STR("EINVAL", error(nic_pin(&self->pinner, at(RIG_PAGES), 1,
					   'w')));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
}

/* A pin for reading shows as well that the driver pins what it touches. */
TEST_F(iommu, R9_first_pin_for_reading, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	START(r);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 2, 'r')));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* The pins of one group say nothing about another one. */
TEST_F(iommu, R9_pinning_group_beside_one_that_does_not, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->nic);
	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	START(r);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 2, 'w')));
	PIN(r, 50, 1, 'w');
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR(ALL, dirty_all(r));
	DETACH(&self->nic);
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("3-4,50", dirty_all(r));
}

/* A group that pinned leaves: only the pages that it had pinned are dirty. */
TEST_F(iommu, R9_pinning_group_goes, 30)
{
	struct rig *r = &self->rig;

	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 2, 'w')));
	START(r);
	EXPECT_STR("3-4", dirty_all(r));
	nic_close(&self->pinner);
	DETACH(&self->pinner);
	EXPECT_STR("3-4", dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* --- a report waits for the user's memory meanwhile ---------------------- */

struct report {
	struct iommu *iommu;
	struct stall stall;
	struct job job;
};

static int call_get(void *arg)
{
	struct report *report = arg;

	return dirty_get(report->iommu->rig.container, at(0), SIZE(RIG_PAGES),
			 report->stall.mem);
}

static int call_unmap_get(void *arg)
{
	struct report *report = arg;

	return dma_unmap_get(report->iommu->rig.container, at(0),
			     SIZE(RIG_PAGES), report->stall.mem, NULL);
}

static void report_begin(struct report *report, struct iommu *self,
			 int (*call)(void *arg))
{
	report->iommu = self;
	ASSERT_STR("0", error(stall_open(&report->stall, PAGE_SIZE)));
	job_start(&report->job, call, report);
	ASSERT_LE(0, stall_wait(&report->stall, 10000));
}

/* Lets the report continue. Returns the pages that it reports. */
static const char *report_end(struct report *report)
{
	int ret;

	stall_release(&report->stall);
	ret = job_join(&report->job);
	return ret ? error(ret) : bitmap_text(report->stall.mem, RIG_PAGES);
}

/* Stock holds the lock that attach and detach need, so nothing would continue. */
static void needs_r16(void)
{
	if (backend_is_stock())
		SKIP("a report that holds no lock while it waits (W9)");
}

/* The report's snapshot is older than the detach: the next report holds all again. */
TEST_F(iommu, R9_detach_during_a_report, 60)
{
	struct report report;
	struct rig *r = &self->rig;

	needs_r16();
	ATTACH(self, &self->nic);
	START(r);
	report_begin(&report, self, call_get);
	DETACH(&self->nic);
	EXPECT_STR(ALL, report_end(&report));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

TEST_F(iommu, R9_first_pin_during_a_report, 60)
{
	struct report report;
	struct rig *r = &self->rig;

	needs_r16();
	ATTACH(self, &self->pinner);
	OPEN(&self->pinner);
	START(r);
	report_begin(&report, self, call_get);
	NIC_WRITE(self, &self->pinner, 500);
	ASSERT_STR("0", error(nic_pin(&self->pinner, at(3), 1, 'w')));
	EXPECT_STR(ALL, report_end(&report));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("3", dirty_all(r));
}

/* A detach, and another one while the report about the first is made. */
TEST_F(iommu, R9_second_detach_during_a_report, 60)
{
	struct report report;
	struct rig *r = &self->rig;

	needs_r16();
	START_AND_GO(self);
	report_begin(&report, self, call_get);
	ATTACH(self, &self->nic);
	DETACH(&self->nic);
	EXPECT_STR(ALL, report_end(&report));
	EXPECT_STR(ALL, dirty_all(r));
	EXPECT_STR("none", dirty_all(r));
}

/* A group is attached while an unmap reports: the report holds its writes, too. */
TEST_F(iommu, R9_attach_during_an_unmap, 60)
{
	struct report report;
	struct rig *r = &self->rig;

	needs_r16();
	START(r);
	TOUCH(r, 20, 1);
	report_begin(&report, self, call_unmap_get);
	ATTACH(self, &self->nic);
	OPEN(&self->nic);
	NIC_WRITE(self, &self->nic, 500);
	EXPECT_STR(ALL, report_end(&report));
	EXPECT_LOCKED(0);
}

TEST_F(iommu, R9_attach_and_detach_during_an_unmap, 60)
{
	struct report report;
	struct rig *r = &self->rig;

	needs_r16();
	START(r);
	report_begin(&report, self, call_unmap_get);
	ATTACH(self, &self->nic);
	DETACH(&self->nic);
	EXPECT_STR(ALL, report_end(&report));
}

/* --- memory without pages ---------------------------------------------------- */

/* What is pinned before the BAR in the same call is given back. */
TEST_F(iommu, R13_pin_of_a_bar, 20)
{
	struct rig *r = &self->rig;
	struct mdma *m = &r->dev;
	void *bar = nic_map_bar0(&self->nic, SIZE(4));

	ASSERT_EQ(true, !!bar);
	ASSERT_EQ(0, dma_map(r->container, bar, at(RIG_PAGES), SIZE(4), MAP_RW));
	START(r);
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(RIG_PAGES + 1), 1, 'w')));
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(RIG_PAGES), 4, 'r')));
	EXPECT_STR("EINVAL", error(mdma_pin(m, at(RIG_PAGES - 2), 4, 'w')));
	EXPECT_LOCKED(0);
	EXPECT_STR("none", dirty(r, 0, RIG_PAGES + 4));
	EXPECT_EQ(0, dma_unmap(r->container, at(RIG_PAGES), SIZE(4), NULL));
}

TEST_MAIN(mdev_remove_leftovers)
