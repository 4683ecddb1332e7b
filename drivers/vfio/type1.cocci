// SPDX-License-Identifier: GPL-2.0-only
//
// Turn the kernel's vfio_iommu_type1.c into ours: unhook its pfn list and its
// dirty bitmap, hook in our pin store. The rest of the file does not change.
//
// Coccinelle is silent about a rule that matches nothing. So "hook: N TEXT" below
// says on how many lines of the result a text must occur (0: it was there, and
// is gone), and hook-check fails the build if that does not hold.
//
// kernel: 6.12 or 7.3

// The mapping: a store of its pinned and retained pages, instead of a list and a
// bitmap (type1_dma.c, type1_report.c). A narrowing of the dirty scope makes every
// mapping all dirty (R9, W5). iommu->narrowings counts them. narrowed is that count
// when the mapping was made, when tracking stopped, or when the last report was made
// that held all of the mapping and has reached user space. If the two differ, the
// mapping is all dirty. all_report is the number of a report that holds all of the
// mapping. all_narrowed is the count when that report was made; it becomes narrowed
// once the report has reached user space.
@@ @@
 struct vfio_dma {
 ...
-	struct rb_root pfn_list;
-	unsigned long *bitmap;
+	struct pin_store	pins;
+	u64			narrowed;
+	u64			all_report;
+	u64			all_narrowed;
+	struct list_head	removed;	/* in vfio_iommu.removed */
+	u64			generation;	/* no other mapping has the same */
+	struct vfio_owner	*charged;	/* for pins that are left */
 ...
 };
// hook: 1 pins;
// hook: 1 charged;
// hook: 0 pfn_list;

// The container: reports are made one at a time (type1_dirty.c), mappings are
// removed in small steps (type1_dma.c), and calls may outlive the container
// (type1_container.c). A pin that dropped the lock recognises a mapping by its
// generation (type1_pin.c). owners are charged for pins (type1_account.c).
@@ @@
 struct vfio_iommu {
 ...
 struct mutex lock;
+	struct mutex		report_lock;	/* one report at a time */
+	struct mutex		map_lock;	/* nothing is mapped, attached */
+	struct list_head	going;		/* ranges being unmapped */
+	struct list_head	removed;	/* to be freed without lock */
+	refcount_t		users;		/* vfio's, and one a call */
+	struct rcu_head		rcu;		/* no users are left */
+	bool			dead;		/* vfio's is gone */
+	u64			narrowings;	/* of the dirty scope */
+	u64			generation;	/* of the newest mapping */
+	struct list_head	owners;		/* of what drivers pinned */
 ...
 };
// hook: 1 report_lock;

// These fields are initialised together with the container's own lock.
@@ expression E; @@
 mutex_init(&E->lock);
+	vfio_iommu_init(E);
// hook: 1 vfio_iommu_init(iommu);

// A container that has gone stays for a while (type1_container.c), so its memory is on
// the account of who opened it.
@@ symbol iommu; @@
 vfio_iommu_type1_open(...)
 {
 <...
(
-kzalloc(sizeof(*iommu), GFP_KERNEL)
+kzalloc(sizeof(*iommu), GFP_KERNEL_ACCOUNT)
|
-kzalloc_obj(*iommu)
+kzalloc(sizeof(*iommu), GFP_KERNEL_ACCOUNT)
)
 ...>
 }
// hook: 1 iommu = kzalloc(sizeof(*iommu), GFP_KERNEL_ACCOUNT);

// A container holds the module.
@@ identifier O; symbol vfio_iommu_type1_open; @@
 struct vfio_iommu_driver_ops O = {
-	.open = vfio_iommu_type1_open,
+	.open = type1_open,
 };

// A call holds a reference to the container. The release empties the container under
// its lock, for which calls may still wait. The last call frees it (type1_container.c).
@@ identifier O; symbol vfio_iommu_type1_release; @@
 struct vfio_iommu_driver_ops O = {
-	.release = vfio_iommu_type1_release,
+	.release = type1_release,
 };

@@ identifier O; symbol vfio_iommu_type1_ioctl; @@
 struct vfio_iommu_driver_ops O = {
-	.ioctl = vfio_iommu_type1_ioctl,
+	.ioctl = type1_ioctl,
 };
// hook: 1 = type1_open,
// hook: 1 = type1_release,
// hook: 1 = type1_ioctl,

// The memory is for the last call to free. What is left is for a failure to open.
@@ symbol iommu; @@
 vfio_iommu_type1_release(...)
 {
 ...
-	kfree(iommu);
 }
// hook: 1 kfree(iommu);

// No mapping is made while others are removed, or in a container that is released.
@@ symbol iommu, ret; @@
 vfio_dma_do_map(...)
 {
 ...
-	mutex_lock(&iommu->lock);
+	vfio_iommu_lock_maps(iommu);
+	if (iommu->dead) {
+		ret = -ENODEV;
+		goto out_unlock;
+	}
 ...
-	mutex_unlock(&iommu->lock);
+	vfio_iommu_unlock_maps(iommu);
 return ret;
 }
// hook: 1 if (iommu->dead) {

// No group that could write the memory being removed is attached either (R9, R11).
@@ symbol iommu; @@
 vfio_iommu_type1_attach_group(...)
 {
 <...
(
-	mutex_lock(&iommu->lock);
+	vfio_iommu_lock_maps(iommu);
|
-	mutex_unlock(&iommu->lock);
+	vfio_iommu_unlock_maps(iommu);
)
 ...>
 }
// hook: 2 vfio_iommu_lock_maps(iommu);
// hook: 3 vfio_iommu_unlock_maps(iommu);

// When the last group leaves, its mappings are freed without the lock.
@@ symbol iommu, update_dirty_scope; @@
 vfio_iommu_type1_detach_group(...)
 {
 ...
 if (update_dirty_scope) { ... }
-	mutex_unlock(&iommu->lock);
+	vfio_iommu_unlock(iommu);
 }
// hook: 1 vfio_iommu_unlock(iommu);

// A range can end at 2^64, so its end is never computed.
@@ expression I, D; @@
-	I < D->iova + D->size
+	I - D->iova < D->size

// The end is not kept in a variable either.
@@ symbol dma, end; @@
 vfio_unmap_unpin(...)
 {
 ...
-	dma_addr_t end = dma->iova + dma->size;
 ...
 }

@@ expression E; symbol dma, end; @@
 vfio_unmap_unpin(...)
 {
 <...
-	E < end
+	E - dma->iova < dma->size
 ...>
 }
// where: dma_addr_t end = dma->iova + dma->size
// hook: 6 - dma->iova < dma->size
// hook: 0 iova < end
// hook: 0 end = dma->iova

// Remove the list of pinned pages.
@@ @@
-struct vfio_pfn { ... };

// Remove all functions that look up or change the list, or pin and unpin by it.
@@
identifier f = {vfio_find_vpfn, vfio_find_vpfn_range, vpfn_pages,
	vfio_link_pfn, vfio_unlink_pfn,
	vfio_add_to_pfn_list, vfio_remove_from_pfn_list,
	vfio_iova_get_vfio_pfn, vfio_iova_put_vfio_pfn,
	vfio_batch_init_single,
	vfio_pin_page_external, vfio_unpin_page_external};
type T;
@@
-T f(...) { ... }
// hook: 0 struct vfio_pfn
// hook: 0 vfio_add_to_pfn_list
// hook: 0 vfio_pin_page_external

// Remove the bitmap of each mapping and its limit of 8 TiB (R17), its allocation by
// START (R1), and the report under the lock (R16, W1, W2, W15).
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

// Remove these functions; ours replace them: type1_pin.c, type1_unpin.c, type1_rw.c,
// type1_dirty.c, type1_unmap.c.
@@
identifier f = {vfio_iommu_type1_pin_pages, vfio_iommu_type1_unpin_pages,
	vfio_iommu_type1_dma_rw_chunk, vfio_iommu_type1_dma_rw,
	vfio_iommu_type1_dirty_pages, vfio_iommu_type1_unmap_dma,
	vfio_dma_do_unmap, vfio_notify_dma_unmap, vfio_find_dma_first_node,
	vfio_find_dma, vfio_iommu_unmap_unpin_reaccount};
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

// where: start + size <= dma->iova
// hook: 0 start + size <= dma->iova

// A pinned page is not counted as locked memory twice. A retained page is not pinned
// (D11).
@@ expression D, I; @@
-vfio_find_vpfn(D, I)
+vfio_dma_pinned(D, I, 1)
// where: if (vfio_find_vpfn(dma, iova))
// hook: 2 vfio_dma_pinned(dma, iova, 1)

// Newer kernels count a range of pages. Where frames are given back, they also count pages
// with reserved frames, which were never charged: an attach that fails then charges them.
@@ expression D, I, N; symbol pfn; @@
 vfio_unpin_pages_remote(...)
 {
 <...
-vpfn_pages(D, I, N)
+vfio_dma_pinned_frames(D, I, pfn, N)
 ...>
 }
// where: vpfn_pages(
// hook: 1 vfio_dma_pinned_frames(dma, iova, pfn,

@@ expression D, I, N; @@
-vpfn_pages(D, I, N)
+vfio_dma_pinned(D, I, N)
// where: vpfn_pages(
// hook: 1 vfio_dma_pinned(dma, iova,

// A new mapping has an empty store.
@@ expression D; @@
-	D->pfn_list = RB_ROOT;
+	vfio_dma_init(iommu, D);

// The kernel allocates a bitmap for a mapping made while tracking is on. Ours needs
// none.
@@ expression D, E, R, S; @@
-	if (!R && E->dirty_page_tracking) {
-		R = vfio_dma_bitmap_alloc(D, S);
-		if (R)
-			vfio_remove_dma(E, D);
-	}
// hook: 1 vfio_dma_init(iommu, dma);

// In the kernel's file, a remaining pin is a WARN, and the page stays pinned for ever.
// In ours, it is given back when the mapping is freed (R15). That happens without the
// lock, because it can take long.
@@ expression D; @@
-	WARN_ON(!RB_EMPTY_ROOT(&D->pfn_list));

@@ expression D; @@
-	vfio_dma_bitmap_free(D);

@@ symbol dma; @@
 vfio_remove_dma(...)
 {
 ...
-	put_task_struct(dma->task);
-	mmdrop(dma->mm);
 ...
-	kfree(dma);
+	vfio_dma_bury(iommu, dma);
 ...
 }
// hook: 1 vfio_dma_bury(iommu, dma);
// hook: 0 vfio_dma_bitmap_free
// hook: 0 WARN_ON(!RB_EMPTY_ROOT(&dma->pfn_list))

// device_list_lock is held across ->dma_unmap(), in which a driver unpins and so takes
// iommu->lock. Therefore device_list_lock is taken first. The kernel takes the two in
// the opposite order when a device is opened or closed, which deadlocks with an unmap
// (W18).
@@ expression I; @@
-	mutex_lock(&I->lock);
-	mutex_lock(&I->device_list_lock);
+	vfio_iommu_lock_devices(I);
// hook: 2 vfio_iommu_lock_devices(iommu);

// A group is detached that dirtied memory without saying where (R9).
@@ expression I; @@
-	if (I->dirty_page_tracking)
-		vfio_iommu_populate_bitmap_full(I);
+	vfio_dirty_scope_narrowed(I);
// hook: 1 vfio_dirty_scope_narrowed(iommu);
// hook: 0 vfio_iommu_populate_bitmap_full

// The largest bitmap that is accepted (R17, R18).
@@ @@
-DIRTY_BITMAP_SIZE_MAX
+REPORT_BYTES_TOLD
// hook: 1 cap_mig.max_dirty_bitmap_size = REPORT_BYTES_TOLD;

// Create the cache of the store when the module is loaded.
@@ expression O; @@
-vfio_register_iommu_driver(O)
+type1_register(O)
// hook: 1 type1_register(

// Destroy the cache when no container can be made any more.
@@ expression O; @@
-vfio_unregister_iommu_driver(O)
+type1_unregister(O)
// hook: 1 type1_unregister(
