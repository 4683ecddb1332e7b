// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio_iommu_type1 with a page store instead of pfn list and bitmap.
 *
 * The kernel's own file, with our hooks in it (type1.cocci), and then our code,
 * which uses its mappings, groups, accounting and page table walks. Those are
 * static there, so this is one translation unit.
 *
 * R, W and D with a number, here and in all files of the backend: rules in
 * Documentation/design.rst of mdma, weaknesses of the kernel's own type1 and defects
 * in Documentation/testing.rst there.
 */
#include "type1.h"

#include "vfio_iommu_type1_hooked.c"

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sizes.h>

#include "dirty_report.h"
#include "page_row.h"

#define CREATE_TRACE_POINTS
#include "type1_trace.h"

#include "type1_compat.h"
#include "type1_container.c"
#include "type1_dma.c"
#include "type1_report.c"
#include "type1_dirty.c"
#include "type1_account.c"
#include "type1_unpin.c"
#include "type1_pin.c"
#include "type1_pin_page.c"
#include "type1_rw.c"
#include "type1_unmap.c"

static int type1_register(const struct vfio_iommu_driver_ops *ops)
{
	int ret = pin_store_cache_create();

	if (ret)
		return ret;
	ret = vfio_owners_init();
	if (ret)
		goto err_cache;
	ret = vfio_register_iommu_driver(ops);
	if (ret)
		goto err_owners;
	return 0;

err_owners:
	vfio_owners_exit();
err_cache:
	pin_store_cache_destroy();
	return ret;
}

/*
 * Nobody holds the module any more, but some may not have noticed yet. vfio gives the
 * module back, and then forgets the driver, without sleeping in between: that is the
 * first period. A call may have read the driver until then, and gets in without a lock:
 * that is the second one. Whoever is still in vfio_iommu_put() ends in the first.
 */
static void type1_calls_wait(void)
{
	synchronize_rcu_tasks();
	synchronize_rcu_tasks();
}

static void type1_unregister(const struct vfio_iommu_driver_ops *ops)
{
	type1_calls_wait();
	vfio_unregister_iommu_driver(ops);
	vfio_iommus_wait();
	vfio_owners_exit();
	pin_store_cache_destroy();
}

/* What tells this module from the kernel's: modinfo -F backend. */
MODULE_INFO(backend, "mdma: retains unpinned pages while tracking");
