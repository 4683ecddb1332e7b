/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container in user space: what our type1 files need from the kernel's own file, and
 * those of our files that deal with mappings and reports.
 */
#ifndef _TYPE1_MOCK_H
#define _TYPE1_MOCK_H

/* First, as the C library takes back what it has of the same names. */
#include <linux/compiler.h>

#include <errno.h>
#include <string.h>
#include <linux/bitmap.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dirty_report.h"
#include "pin_store.h"
#include "unit.h"

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
#define IOVA_PAGES	(1ULL << (64 - PAGE_SHIFT))

typedef u64 dma_addr_t;
typedef struct { u64 value; } atomic64_t;

#define ATOMIC64_INIT(n)		{ n }
#define atomic64_inc_return(v)		(++(v)->value)

/* This mutex does not lock; it counts how often it is taken. */
struct mutex {
	int unused;
};

struct vfio_iommu {
	struct mutex lock;	/* as in the kernel */
	struct mutex map_lock;	/* as in the kernel */
	struct rb_root dma_list;
	struct list_head domain_list;
	struct list_head going;
	struct list_head removed;
	struct mutex report_lock;	/* as in the kernel */
	struct mutex device_list_lock;	/* as in the kernel */
	struct list_head device_list;
	struct list_head emulated_iommu_groups;
	u64 pgsize_bitmap;
	u64 num_non_pinned_groups;
	u64 narrowings;
	u64 generation;
	bool dirty_page_tracking;
	bool dead;
	bool v2;
	unsigned int vaddr_invalid_count;
};

struct vfio_dma {
	struct rb_node node;
	dma_addr_t iova;
	size_t size;
	bool iommu_mapped;
	bool vaddr_invalid;
	unsigned long vaddr;
	int prot;
	long locked_vm;
	struct pin_store pins;
	u64 narrowed;
	u64 all_report;
	u64 all_narrowed;
	struct list_head removed;
	u64 generation;
	void *task;
	struct mm_struct *mm;
};

/* How often the lock was taken, and a function to call before it is taken again. */
static unsigned int nr_holds;
static bool lock_is_held;
static void (*between_holds)(void);
static struct mutex *counted_lock;

/* Counts only the container's lock. */
static void mutex_lock(struct mutex *lock)
{
	if (lock == counted_lock && nr_holds++ && between_holds)
		between_holds();
	lock_is_held |= lock == counted_lock;
}

static void mutex_unlock(struct mutex *lock)
{
	lock_is_held &= lock != counted_lock;
}

#define put_task_struct(task)		((void)(task))
#define mmdrop(mm)			((void)(mm))
#define kfree(p)			free(p)
#ifdef MOCK_WITH_PINS
static void vfio_dma_drop_pins(struct vfio_dma *dma);
#else
#define vfio_dma_drop_pins(dma)		pin_store_destroy(&(dma)->pins)
#endif

/* There is no accounting in this test, but each mapping that ends must come by here. */
static unsigned int nr_mapped, nr_kept;

static void vfio_dma_keep_owner(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	(void)iommu;
	(void)dma;
	nr_kept++;
}

/* Whether runs are traced, and the first of them that were. */
static bool tracing;
static unsigned int nr_runs;
static struct {
	u64 iova, npages;
} runs[8];

static bool trace_vfio_dirty_run_enabled(void)
{
	return tracing;
}

#define trace_vfio_dirty_report_enabled	trace_vfio_dirty_run_enabled

static void trace_vfio_dirty_run(u64 report, u64 iova, u64 npages)
{
	(void)report;
	if (nr_runs < ARRAY_SIZE(runs)) {
		runs[nr_runs].iova = iova;
		runs[nr_runs].npages = npages;
	}
	nr_runs++;
}

/* Number of reports whose end was traced with 0, and with an error; the last one. */
static unsigned int nr_delivered, nr_thrown_away;
static struct {
	bool unmap;
	u64 iova, size, dirty;
} traced;

static void trace_vfio_dirty_report(u64 report, bool unmap, u64 iova, u64 size,
				    u64 dirty, u64 retained, int ret)
{
	(void)report;
	(void)retained;
	traced.dirty = dirty;
	traced.unmap = unmap;
	traced.iova = iova;
	traced.size = size;
	if (ret)
		nr_thrown_away++;
	else
		nr_delivered++;
}

#pragma GCC diagnostic ignored "-Wunused-function"
#include "type1_dma.c"
#include "type1_report.c"

/* --- a container ----------------------------------------------------------- */

static struct vfio_iommu iommu;

static void begin(void)
{
	counted_lock = &iommu.lock;
	lock_is_held = false;
	nr_mapped = 0;
	nr_kept = 0;
	iommu = (struct vfio_iommu){ .pgsize_bitmap = ~0xfffULL,
				      .v2 = true };
	INIT_LIST_HEAD(&iommu.domain_list);
	INIT_LIST_HEAD(&iommu.going);
	INIT_LIST_HEAD(&iommu.removed);
	INIT_LIST_HEAD(&iommu.device_list);
	INIT_LIST_HEAD(&iommu.emulated_iommu_groups);
	if (pin_store_cache_create())
		abort();
}

static struct vfio_dma *map(u64 page, u64 npages)
{
	struct rb_node **link = &iommu.dma_list.rb_node, *parent = NULL;
	struct vfio_dma *dma = calloc(1, sizeof(*dma));

	dma->iova = page << PAGE_SHIFT;
	dma->size = npages << PAGE_SHIFT;
	while (*link) {
		parent = *link;
		link = dma->iova < rb_entry(parent, struct vfio_dma, node)->iova ?
		       &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&dma->node, parent, link);
	rb_insert_color(&dma->node, &iommu.dma_list);
	vfio_dma_init(&iommu, dma);
	nr_mapped++;
	return dma;
}

static void end(void)
{
	struct vfio_dma *dma;

	while ((dma = vfio_dma_first_in(&iommu, 0, ~0ULL))) {
		rb_erase(&dma->node, &iommu.dma_list);
		vfio_dma_bury(&iommu, dma);
	}
	vfio_iommu_unlock(&iommu);
	CHECK(nr_kept == nr_mapped, "%u of %u owners are kept", nr_kept,
	      nr_mapped);
	CHECK(!shim_objects, "%ld leaked", shim_objects);
}

static bool bit_of(const u64 *words, u64 i)
{
	return words[i / 64] >> i % 64 & 1;
}

#endif /* _TYPE1_MOCK_H */
