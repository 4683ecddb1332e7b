// SPDX-License-Identifier: GPL-2.0-only
//
// Turn the kernel's vfio_iommu_type1.c into ours: unhook its pfn list and its
// dirty bitmap, hook our page store. Nothing else of the file is touched.
//
// A rule that matches nothing is silent in Coccinelle. So "hook: N TEXT" below
// says on how many lines of the result a text must stand (0: it was there, and
// is gone), and hook-check fails the build where that does not hold.
//
// kernel: 6.12

// The mapping: what is pinned and retained in it, instead of a list and a
// bitmap. all_dirty: all of it may have been written by a group that does not
// say where (R9, W5), and all_report is the report that held all of it.
@@ @@
 struct vfio_dma {
 ...
-	struct rb_root pfn_list;
-	unsigned long *bitmap;
+	struct pin_store	pins;
+	bool			all_dirty;
+	u64			all_report;	/* held all of it */
 ...
 };
// hook: 1 pins;
// hook: 0 pfn_list;

// The container: reports are made one at a time (type1_dirty.c).
@@ @@
 struct vfio_iommu {
 ...
 struct mutex lock;
+	struct mutex		report_lock;	/* one report at a time */
 ...
 };
// hook: 1 report_lock;

// ... by a lock that is made with the container's own one.
@@ expression E; @@
 mutex_init(&E->lock);
+	mutex_init(&E->report_lock);
// hook: 1 mutex_init(&iommu->report_lock);

// The list of pinned pages goes.
@@ @@
-struct vfio_pfn { ... };

// All that look it up, change it, or pin and unpin a page by it.
@@
identifier f = {vfio_find_vpfn, vfio_link_pfn, vfio_unlink_pfn,
	vfio_add_to_pfn_list, vfio_remove_from_pfn_list,
	vfio_iova_get_vfio_pfn, vfio_iova_put_vfio_pfn,
	vfio_pin_page_external, vfio_unpin_page_external};
type T;
@@
-T f(...) { ... }
// hook: 0 struct vfio_pfn
// hook: 0 vfio_add_to_pfn_list
// hook: 0 vfio_pin_page_external

// The bitmap of each mapping goes, and with it its limit of 8 TiB (R17): its
// allocation by START (R1), its writing under the lock (R16, W1, W2, W15).
@@
identifier f = {vfio_dma_bitmap_alloc, vfio_dma_bitmap_free,
	vfio_dma_populate_bitmap, vfio_iommu_populate_bitmap_full,
	vfio_dma_bitmap_alloc_all, vfio_dma_bitmap_free_all,
	update_user_bitmap, vfio_iova_dirty_bitmap, verify_bitmap_size};
type T;
@@
-T f(...) { ... }
// hook: 0 vfio_dma_bitmap_alloc_all
// hook: 0 update_user_bitmap
// hook: 0 verify_bitmap_size

// Ours in their place: type1_pin.c, type1_rw.c, type1_dirty.c, type1_unmap.c.
@@
identifier f = {vfio_iommu_type1_pin_pages, vfio_iommu_type1_unpin_pages,
	vfio_iommu_type1_dma_rw_chunk, vfio_iommu_type1_dma_rw,
	vfio_iommu_type1_dirty_pages, vfio_iommu_type1_unmap_dma,
	vfio_dma_do_unmap, vfio_notify_dma_unmap, vfio_find_dma_first_node,
	vfio_iommu_unmap_unpin_reaccount};
type T;
@@
-T f(...) { ... }
// hook: 1 vfio_iommu_type1_pin_pages
// hook: 1 vfio_iommu_type1_unpin_pages
// hook: 1 vfio_iommu_type1_dma_rw
// hook: 1 vfio_iommu_type1_dirty_pages(
// hook: 1 vfio_iommu_type1_unmap_dma(
// hook: 1 vfio_iommu_unmap_unpin_reaccount(
// hook: 0 vfio_dma_do_unmap

// A page is not counted twice as locked memory if it is pinned, and only if it
// is really pinned: a retained page is not (D11).
@@ expression D, I; @@
-vfio_find_vpfn(D, I)
+vfio_dma_pinned(D, I)
// hook: 2 vfio_dma_pinned(dma, iova)

// A mapping begins empty, and ends with what drivers have leaked (R15).
@@ expression D; @@
-	D->pfn_list = RB_ROOT;
+	pin_store_init(&D->pins);

// While tracking, a new mapping had a bitmap allocated. It needs nothing now.
@@ expression D, E, R, S; @@
-	if (!R && E->dirty_page_tracking) {
-		R = vfio_dma_bitmap_alloc(D, S);
-		if (R)
-			vfio_remove_dma(E, D);
-	}
// hook: 1 pin_store_init(&dma->pins);

// A pin that is left was a WARN, and a page lost for ever. It is given back.
@@ expression D; @@
-	WARN_ON(!RB_EMPTY_ROOT(&D->pfn_list));
+	vfio_dma_drop_pins(iommu, D);

// vfio_dma_drop_pins() freed the store, so there is no bitmap to be freed.
@@ expression D; @@
-	vfio_dma_bitmap_free(D);
// hook: 1 vfio_dma_drop_pins(iommu, dma);
// hook: 0 vfio_dma_bitmap_free

// device_list_lock is held over ->dma_unmap(), in which a driver unpins, which
// takes iommu->lock: so it comes first. The kernel's order is the other one where
// a device is opened or closed, which deadlocks with an unmap (W18).
@@ expression I; @@
-	mutex_lock(&I->lock);
-	mutex_lock(&I->device_list_lock);
+	mutex_lock(&I->device_list_lock);
+	mutex_lock(&I->lock);
// hook: 2 mutex_lock(&iommu->device_list_lock);

// A group that dirtied memory without saying where is detached (R9).
@@ expression I; @@
-	if (I->dirty_page_tracking)
-		vfio_iommu_populate_bitmap_full(I);
+	vfio_dirty_scope_narrowed(I);
// hook: 1 vfio_dirty_scope_narrowed(iommu);
// hook: 0 vfio_iommu_populate_bitmap_full

// The biggest bitmap that is accepted (R17).
@@ @@
-DIRTY_BITMAP_SIZE_MAX
+REPORT_BYTES_MAX
// hook: 1 cap_mig.max_dirty_bitmap_size = REPORT_BYTES_MAX;

// The cache of the store lives as long as the module.
@@ expression O; @@
-vfio_register_iommu_driver(O)
+type1_register(O)
// hook: 1 type1_register(

// It is destroyed when no container can be made any more.
@@ expression O; @@
-vfio_unregister_iommu_driver(O)
+type1_unregister(O)
// hook: 1 type1_unregister(
