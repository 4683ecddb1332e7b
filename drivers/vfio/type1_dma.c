// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mappings of a container: how they are found, and how they end.
 *
 * Included by type1.c, after the kernel's hooked file. Caller holds iommu->lock,
 * unless a function says otherwise.
 *
 * A range of IOVAs that is being unmapped is *going*: its mappings are there still,
 * but nobody gets new pins in them, or reads or writes them. So what an UNMAP has
 * seen of it stays true while it drops the lock.
 *
 * What is removed under the lock is only unlinked. Its records and pins are freed
 * when the lock has been dropped, because there can be many.
 */

/* Most mappings that are looked at, or removed, before the lock is dropped. */
#define DMA_BATCH	64

/**
 * struct iova_range - a range of IOVAs that is going
 * @list: in iommu->going
 * @first: first IOVA
 * @last: last IOVA
 */
struct iova_range {
	struct list_head list;
	dma_addr_t first;
	dma_addr_t last;
};

/* --- look-up ------------------------------------------------------------- */

/* A mapping can end with the address space: there is a last IOVA, but no end. */
static dma_addr_t vfio_dma_last(const struct vfio_dma *dma)
{
	return dma->iova + dma->size - 1;
}

/* Any mapping that has a byte of @size bytes at @start, or NULL. */
static struct vfio_dma *vfio_find_dma(struct vfio_iommu *iommu,
				      dma_addr_t start, size_t size)
{
	struct rb_node *node = iommu->dma_list.rb_node;
	dma_addr_t last = start + size - 1;

	while (node) {
		struct vfio_dma *dma = rb_entry(node, struct vfio_dma, node);

		if (last < dma->iova)
			node = node->rb_left;
		else if (start > vfio_dma_last(dma))
			node = node->rb_right;
		else
			return dma;
	}
	return NULL;
}

static noinline bool iova_is_going(struct vfio_iommu *iommu, dma_addr_t iova)
{
	struct iova_range *range;

	list_for_each_entry(range, &iommu->going, list)
		if (iova >= range->first && iova <= range->last)
			return true;
	return false;
}

/* The mapping of @iova for a pin, a read or a write; NULL also if it is going. */
static struct vfio_dma *vfio_find_dma_to_use(struct vfio_iommu *iommu,
					     dma_addr_t iova)
{
	if (!list_empty(&iommu->going) && iova_is_going(iommu, iova))
		return NULL;
	return vfio_find_dma(iommu, iova, 1);
}

/* The lowest mapping that has a page in [first, last], or NULL. */
static struct vfio_dma *vfio_dma_first_in(struct vfio_iommu *iommu,
					  dma_addr_t first, dma_addr_t last)
{
	struct rb_node *node = iommu->dma_list.rb_node;
	struct vfio_dma *found = NULL;

	while (node) {
		struct vfio_dma *dma = rb_entry(node, struct vfio_dma, node);

		if (vfio_dma_last(dma) < first) {
			node = node->rb_right;
		} else {
			found = dma;
			node = node->rb_left;
		}
	}
	return found && found->iova <= last ? found : NULL;
}

static struct vfio_dma *vfio_dma_next_in(struct vfio_dma *dma, dma_addr_t last)
{
	struct rb_node *node = rb_next(&dma->node);

	if (!node)
		return NULL;
	dma = rb_entry(node, struct vfio_dma, node);
	return dma->iova <= last ? dma : NULL;
}

/* Number, in its mapping, of the page that holds @iova, cut to the mapping. */
static u64 dma_page(const struct vfio_dma *dma, dma_addr_t iova)
{
	return (clamp_t(u64, iova, dma->iova, vfio_dma_last(dma)) -
		dma->iova) >> PAGE_SHIFT;
}

/* --- begin and end ------------------------------------------------------- */

/* A mapping begins empty, and no group has written it yet. */
static void vfio_dma_init(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	pin_store_init(&dma->pins);
	dma->generation = ++iommu->generation;
	dma->narrowed = iommu->narrowings;
}

/* A mapping that is unlinked: to be freed when the lock has been dropped. */
static void vfio_dma_bury(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	vfio_dma_keep_owner(iommu, dma);
	list_add(&dma->removed, &iommu->removed);
}

/* Without iommu->lock: nobody finds the mapping any more. */
static void vfio_dma_free(struct vfio_dma *dma)
{
	vfio_dma_drop_pins(dma);
	put_task_struct(dma->task);
	mmdrop(dma->mm);
	kfree(dma);
}

/* Drop iommu->lock, and free what was removed while it was held. */
static void vfio_iommu_unlock(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma, *next;
	LIST_HEAD(removed);

	list_splice_init(&iommu->removed, &removed);
	mutex_unlock(&iommu->lock);
	list_for_each_entry_safe(dma, next, &removed, removed) {
		vfio_dma_free(dma);
		cond_resched();
	}
}

/* Let others have the lock. What was known under it must be looked up again. */
static void vfio_iommu_relock(struct vfio_iommu *iommu)
{
	vfio_iommu_unlock(iommu);
	cond_resched();
	mutex_lock(&iommu->lock);
}

/* For a device that is opened or closed: in the order that UNMAP has, too (W18). */
static void vfio_iommu_lock_devices(struct vfio_iommu *iommu)
{
	mutex_lock(&iommu->device_list_lock);
	mutex_lock(&iommu->lock);
}

/*
 * For what makes mappings, or a group that can write them: excluded while the
 * mappings of a range are removed, which drops iommu->lock now and then.
 */
static void vfio_iommu_lock_maps(struct vfio_iommu *iommu)
{
	mutex_lock(&iommu->map_lock);
	mutex_lock(&iommu->lock);
}

static void vfio_iommu_unlock_maps(struct vfio_iommu *iommu)
{
	mutex_unlock(&iommu->map_lock);
	vfio_iommu_unlock(iommu);
}
