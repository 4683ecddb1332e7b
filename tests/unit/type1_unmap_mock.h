/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What type1_unmap.c needs of the kernel, with a device that is asked for its pins, and a
 * call of it. Includes the file, after type1_mock.h or type1_pin_mock.h.
 */
#ifndef TYPE1_UNMAP_MOCK_H
#define TYPE1_UNMAP_MOCK_H

#include <linux/sched.h>
#include <linux/vfio.h>

/* --- what the kernel's own file has ---------------------------------------- */

struct vfio_device;

struct vfio_device_ops {
	void (*dma_unmap)(struct vfio_device *device, u64 iova, u64 size);
};

struct vfio_device {
	const struct vfio_device_ops *ops;
	struct list_head iommu_entry;
};

/* How long the call has slept. */
static unsigned long slept_us;

#define USEC_PER_MSEC			1000UL
#define fsleep(us)			((void)(slept_us += (us)))
#define offsetofend(type, member) \
	(offsetof(type, member) + sizeof(((type *)0)->member))

static bool map_lock_is_taken;

static int mutex_trylock(struct mutex *lock)
{
	(void)lock;
	return !map_lock_is_taken;
}

static int mutex_lock_killable(struct mutex *lock)
{
	(void)lock;
	return 0;
}

static void vfio_remove_dma(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	rb_erase(&dma->node, &iommu->dma_list);
	vfio_dma_bury(iommu, dma);
}

static int bitmap_check(const struct vfio_bitmap *bitmap, u64 size)
{
	return bitmap->size * 8 >= size / bitmap->pgsize ? 0 : -EINVAL;
}

#include "type1_unmap.c"

/* --- a device, which does its worst ----------------------------------------- */

static unsigned int nr_asked;
static void (*when_asked)(u64 iova, u64 size);

static void dma_unmap(struct vfio_device *device, u64 iova, u64 size)
{
	(void)device;
	nr_asked++;
	if (when_asked)
		when_asked(iova, size);
}

static const struct vfio_device_ops ops = { .dma_unmap = dma_unmap };
static struct vfio_device device = { .ops = &ops };

static void begin_unmap(void)
{
	begin();
	list_add(&device.iommu_entry, &iommu.device_list);
	iommu.dirty_page_tracking = true;
	nr_delivered = 0;
	nr_thrown_away = 0;
	nr_asked = 0;
	slept_us = 0;
	map_lock_is_taken = false;
}

/*
 * The user's memory. It can be written up to shim_write_end, so the argument comes
 * before the bitmap.
 */
static struct {
	struct vfio_unmap_arg {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} arg;
	u64 bitmap[2];
} user;

/* One call of UNMAP; without a report if @bitmap is NULL. */
static int unmap(u64 page, u64 npages, u64 *bitmap, u64 *unmapped)
{
	struct vfio_unmap_arg *arg = &user.arg;
	int ret;

	*arg = (struct vfio_unmap_arg){
		.head = {
			.argsz = sizeof(*arg),
			.flags = bitmap ? VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP : 0,
			.iova = page << PAGE_SHIFT,
			.size = npages << PAGE_SHIFT,
		},
		.bitmap = {
			.pgsize = 4096,
			.size = (npages + 63) / 64 * 8,
			.data = (void *)bitmap,
		},
	};
	nr_holds = 0;
	ret = vfio_iommu_type1_unmap_dma(&iommu, (unsigned long)arg);
	between_holds = NULL;
	when_asked = NULL;
	*unmapped = arg->head.size >> PAGE_SHIFT;
	return ret;
}

#endif
