// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mediated device that only measures vfio_pin_pages() and vfio_unpin_pages(), in
 * loops with as little other code as possible.
 *
 * It keeps no record of what it pinned: the program that uses it unpins everything
 * before it unmaps or closes. For the lab only.
 */
#include <linux/completion.h>
#include <linux/crc32.h>
#include <linux/device.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mdev.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "mdma_bench.h"

#define BENCH_NAME	"mdma-bench"
#define BENCH_PROT	(IOMMU_READ | IOMMU_WRITE)

/* Limit of bytes for one call: page pointers, or memory to be set. */
#define BENCH_BYTES_MAX	SZ_128M

static struct mdev_type bench_type = {
	.sysfs_name = "1",
	.pretty_name = "benchmark of vfio_pin_pages()",
};

static struct mdev_type *bench_types[] = { &bench_type };
static struct mdev_parent bench_parent;
static struct class *bench_class;
static struct device *bench_device;

/* Address of batch @i. */
static u64 bench_at(const struct mdma_bench_run *run, u64 i)
{
	return run->start + ((i * run->stride) & (run->span - 1));
}

static int bench_pin(struct vfio_device *vdev, const struct mdma_bench_run *run,
		     struct page **pages)
{
	u64 i;
	int ret;

	for (i = 0; i < run->count; i++) {
		ret = vfio_pin_pages(vdev, bench_at(run, i), run->batch,
				     BENCH_PROT, pages + i * run->batch);
		if (ret != run->batch)
			return ret < 0 ? ret : -EIO;
	}
	return 0;
}

static int bench_unpin(struct vfio_device *vdev,
		       const struct mdma_bench_run *run)
{
	u64 i;

	for (i = 0; i < run->count; i++)
		vfio_unpin_pages(vdev, bench_at(run, i), run->batch);
	return 0;
}

static int bench_ring(struct vfio_device *vdev,
		      const struct mdma_bench_run *run, struct page **pages)
{
	u64 i;
	int ret;

	for (i = 0; i < run->count; i++) {
		ret = vfio_pin_pages(vdev, bench_at(run, i), run->batch,
				     BENCH_PROT, pages);
		if (ret != run->batch)
			return ret < 0 ? ret : -EIO;
		vfio_unpin_pages(vdev, bench_at(run, i), run->batch);
	}
	return 0;
}

#define STAMP_BYTES	64
#define DESC_BYTES	64

static u32 bench_crc;

/* What a device does with the pages of a descriptor. */
static u32 access_pages(u32 op, struct page **dst, struct page **src, u32 n)
{
	static const char stamp[STAMP_BYTES];
	u32 i, crc = ~0;

	for (i = 0; i < n; i++) {
		void *page = kmap_local_page(dst[i]);

		if (op == MDMA_BENCH_STAMP)
			memcpy(page, stamp, sizeof(stamp));
		else if (op == MDMA_BENCH_COPY)
			copy_page(page, page_address(src[i]));
		else
			crc = crc32_le(crc, page, PAGE_SIZE);
		kunmap_local(page);
	}
	return crc;
}

/* A descriptor is read before its first piece @i, or its status is written after the last. */
static int access_desc(struct vfio_device *vdev,
		       const struct mdma_bench_run *run, u64 i, bool write)
{
	int prot = write ? BENCH_PROT : IOMMU_READ;
	static u8 desc[DESC_BYTES];
	struct page *page;
	int ret;

	if (!run->desc || i % run->pieces != (write ? run->pieces - 1 : 0))
		return 0;
	ret = vfio_pin_pages(vdev, run->desc, 1, prot, &page);
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	if (write)
		memcpy_to_page(page, 0, desc, sizeof(u64));
	else
		memcpy_from_page(desc, page, 0, sizeof(desc));
	vfio_unpin_pages(vdev, run->desc, 1);
	return 0;
}

static int bench_access(struct vfio_device *vdev,
			const struct mdma_bench_run *run, struct page **pages)
{
	u64 ahead = run->op == MDMA_BENCH_COPY ? SZ_2M : 0, i;
	u32 n = run->batch;
	int ret;

	for (i = 0; i < run->count; i++) {
		struct page **dst = pages, **src = pages + n;
		u64 at = bench_at(run, i);

		ret = access_desc(vdev, run, i, false);
		if (ret)
			return ret;
		ret = vfio_pin_pages(vdev, at, n, BENCH_PROT, dst);
		if (ret == n && ahead)
			ret = vfio_pin_pages(vdev, at + ahead, n, IOMMU_READ,
					     src);
		if (ret != n)
			return ret < 0 ? ret : -EIO;
		/* Used, so that it is computed. */
		WRITE_ONCE(bench_crc, access_pages(run->op, dst, src, n));
		vfio_unpin_pages(vdev, at, n);
		if (ahead)
			vfio_unpin_pages(vdev, at + ahead, n);
		ret = access_desc(vdev, run, i, true);
		if (ret)
			return ret;
	}
	return 0;
}

static int floor_pin(const struct mdma_bench_run *run, struct page **pages)
{
	struct mm_struct *mm = current->mm;
	u64 i;
	long ret;

	for (i = 0; i < run->count; i++) {
		mmap_read_lock(mm);
		ret = pin_user_pages_remote(mm, run->start + i * run->stride,
					    run->batch,
					    FOLL_WRITE | FOLL_LONGTERM,
					    pages + i * run->batch, NULL);
		mmap_read_unlock(mm);
		if (ret != run->batch)
			return ret < 0 ? ret : -EIO;
	}
	return 0;
}

static int bench_floor(struct mdma_bench_run *run, struct page **pages)
{
	u64 i, begin = ktime_get_ns();
	int ret;

	ret = floor_pin(run, pages);
	if (ret)
		return ret;
	run->ns = ktime_get_ns() - begin;

	begin = ktime_get_ns();
	for (i = 0; i < run->count; i++)
		unpin_user_pages_dirty_lock(pages + i * run->batch, run->batch,
					    true);
	run->unpin_ns = ktime_get_ns() - begin;
	return 0;
}

static int bench_execute(struct vfio_device *vdev, struct mdma_bench_run *run,
			 void *buffer)
{
	u64 begin = ktime_get_ns();
	int ret;

	switch (run->op) {
	case MDMA_BENCH_PIN:
		ret = bench_pin(vdev, run, buffer);
		break;
	case MDMA_BENCH_UNPIN:
		ret = bench_unpin(vdev, run);
		break;
	case MDMA_BENCH_RING:
		ret = bench_ring(vdev, run, buffer);
		break;
	case MDMA_BENCH_FLOOR:
		return bench_floor(run, buffer);
	case MDMA_BENCH_MEMSET:
		memset(buffer, 0, run->count);
		ret = 0;
		break;
	case MDMA_BENCH_STAMP:
	case MDMA_BENCH_COPY:
	case MDMA_BENCH_READ:
		ret = bench_access(vdev, run, buffer);
		break;
	default:
		return -EINVAL;
	}
	run->ns = ktime_get_ns() - begin;
	return ret;
}

struct bench_job {
	struct vfio_device *vdev;
	struct mdma_bench_run *run;
	void *buffer;
	struct completion done;
	int ret;
};

static int bench_thread(void *data)
{
	struct bench_job *job = data;

	job->ret = bench_execute(job->vdev, job->run, job->buffer);
	kthread_complete_and_exit(&job->done, 0);
}

static int bench_by_thread(struct vfio_device *vdev, struct mdma_bench_run *run,
			   void *buffer)
{
	struct bench_job job = { .vdev = vdev, .run = run, .buffer = buffer };
	struct task_struct *task;

	init_completion(&job.done);
	task = kthread_run(bench_thread, &job, BENCH_NAME);
	if (IS_ERR(task))
		return PTR_ERR(task);
	wait_for_completion(&job.done);
	return job.ret;
}

static long bench_ioctl(struct vfio_device *vdev, unsigned int cmd,
			unsigned long arg)
{
	struct mdma_bench_run run;
	void *buffer;
	u64 each;
	int ret;

	if (cmd != MDMA_BENCH_RUN)
		return -ENOTTY;
	if (copy_from_user(&run, (void __user *)arg, sizeof(run)))
		return -EFAULT;
	if (!run.batch || run.batch > VFIO_PIN_PAGES_MAX_ENTRIES)
		return -EINVAL;
	if (run.span & (run.span - 1) || (run.desc && !run.pieces))
		return -EINVAL;
	each = run.op == MDMA_BENCH_MEMSET ? 1 :
	       run.batch * sizeof(struct page *);
	if (!run.count || run.count > BENCH_BYTES_MAX / each)
		return -EINVAL;

	buffer = kvzalloc(run.count * each, GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	if (run.thread)
		ret = bench_by_thread(vdev, &run, buffer);
	else
		ret = bench_execute(vdev, &run, buffer);
	kvfree(buffer);
	if (ret)
		return ret;
	return copy_to_user((void __user *)arg, &run, sizeof(run)) ? -EFAULT : 0;
}

/* vfio requires this of a device that pins. The program unpins, see above. */
static void bench_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
}

static const struct vfio_device_ops bench_ops = {
	.name		= BENCH_NAME,
	.ioctl		= bench_ioctl,
	.dma_unmap	= bench_dma_unmap,
	.bind_iommufd	= vfio_iommufd_emulated_bind,
	.unbind_iommufd	= vfio_iommufd_emulated_unbind,
	.attach_ioas	= vfio_iommufd_emulated_attach_ioas,
	.detach_ioas	= vfio_iommufd_emulated_detach_ioas,
};

struct bench_vdev {
	struct vfio_device vdev;
};

static int bench_probe(struct mdev_device *mdev)
{
	struct bench_vdev *bench;
	int ret;

	bench = vfio_alloc_device(bench_vdev, vdev, &mdev->dev, &bench_ops);
	if (IS_ERR(bench))
		return PTR_ERR(bench);
	dev_set_drvdata(&mdev->dev, bench);
	ret = vfio_register_emulated_iommu_dev(&bench->vdev);
	if (ret)
		vfio_put_device(&bench->vdev);
	return ret;
}

static void bench_remove(struct mdev_device *mdev)
{
	struct bench_vdev *bench = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&bench->vdev);
	vfio_put_device(&bench->vdev);
}

static struct mdev_driver bench_driver = {
	.device_api = BENCH_NAME,
	.max_instances = 1,
	.driver = {
		.name = BENCH_NAME,
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
	.probe = bench_probe,
	.remove = bench_remove,
};

static int __init bench_module_init(void)
{
	int ret;

	ret = mdev_register_driver(&bench_driver);
	if (ret)
		return ret;
	bench_class = class_create(BENCH_NAME);
	if (IS_ERR(bench_class)) {
		ret = PTR_ERR(bench_class);
		goto err_driver;
	}
	bench_device = device_create(bench_class, NULL, MKDEV(0, 0), NULL,
				     BENCH_NAME);
	if (IS_ERR(bench_device)) {
		ret = PTR_ERR(bench_device);
		goto err_class;
	}
	ret = mdev_register_parent(&bench_parent, bench_device, &bench_driver,
				   bench_types, ARRAY_SIZE(bench_types));
	if (ret)
		goto err_device;
	return 0;

err_device:
	device_unregister(bench_device);
err_class:
	class_destroy(bench_class);
err_driver:
	mdev_unregister_driver(&bench_driver);
	return ret;
}

static void __exit bench_module_exit(void)
{
	mdev_unregister_parent(&bench_parent);
	device_unregister(bench_device);
	class_destroy(bench_class);
	mdev_unregister_driver(&bench_driver);
}

module_init(bench_module_init)
module_exit(bench_module_exit)

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Benchmark of vfio_pin_pages() and vfio_unpin_pages()");
