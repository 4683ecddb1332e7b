// SPDX-License-Identifier: GPL-2.0-only
/* What a VMM does with its container, and a driver with pins and copies. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

/* Addresses for the kernel: good, of nothing, of the kernel's own, not aligned. */
static void *some_memory(struct fuzz *f)
{
	switch (input_below(&f->in, 16)) {
	case 12:
		return NULL;
	case 13:
		return (void *)(input_number(&f->in) | 1ULL << 47);
	case 14:
		return f->rig.mem - PAGE_SIZE;
	case 15:
		return f->rig.mem + input_byte(&f->in);
	default:
		return f->rig.mem + (input_below(&f->in, PAGES) << PAGE_SHIFT);
	}
}

/* A bitmap for the kernel to write. */
static void *some_bitmap(struct fuzz *f)
{
	return input_one_in(&f->in, 8) ? some_memory(f) : f->bitmaps;
}

static int map(struct fuzz *f)
{
	static const __u32 flags[] = {
		MAP_RW, MAP_RW, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE,
		VFIO_DMA_MAP_FLAG_VADDR, MAP_RW | VFIO_DMA_MAP_FLAG_VADDR, 0, -1,
	};
	__u64 iova = input_iova(&f->in);
	__u64 size = input_pages(&f->in) << PAGE_SHIFT;

	return dma_map(f->rig.container, some_memory(f), iova, size,
		       flags[input_below(&f->in, ARRAY_SIZE(flags))]);
}

static int unmap(struct fuzz *f)
{
	static const __u32 flags[] = {
		0, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL, VFIO_DMA_UNMAP_FLAG_VADDR,
		VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR, -1,
	};
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg),
		.flags = flags[input_below(&f->in, ARRAY_SIZE(flags))],
		.iova = input_iova(&f->in),
		.size = input_pages(&f->in) << PAGE_SHIFT,
	};

	if (arg.flags & VFIO_DMA_UNMAP_FLAG_ALL && !input_one_in(&f->in, 8)) {
		arg.iova = 0;
		arg.size = 0;
	}
	return unmap_ioctl(f->rig.container, &arg);
}

int fuzz_map_in_parts(struct fuzz *f)
{
	__u64 step = 1ULL << input_below(&f->in, 9), page;
	int ret = 0;

	for (page = 0; page < PAGES && !ret; page += step)
		ret = dma_map(f->rig.container,
			      f->rig.mem + (page << PAGE_SHIFT), at(page),
			      step << PAGE_SHIFT, MAP_RW);
	return ret;
}

static int unmap_and_map(struct fuzz *f)
{
	dma_unmap(f->rig.container, at(0), PAGES << PAGE_SHIFT, NULL);
	return fuzz_map_in_parts(f);
}

static int unmap_get(struct fuzz *f)
{
	struct vfio_unmap_get arg;
	__u64 iova = input_iova(&f->in);

	dma_unmap_get_prepare(&arg, iova, input_pages(&f->in) << PAGE_SHIFT,
			      some_bitmap(f));
	if (input_one_in(&f->in, 16))
		arg.bitmap.size = input_number(&f->in);
	if (input_one_in(&f->in, 16))
		arg.bitmap.pgsize = input_number(&f->in);
	return unmap_ioctl(f->rig.container, &arg);
}

static int start(struct fuzz *f)
{
	return dirty_start(f->rig.container);
}

static int stop(struct fuzz *f)
{
	return dirty_stop(f->rig.container);
}

static int get(struct fuzz *f)
{
	struct vfio_get arg;
	__u64 iova = input_iova(&f->in);

	dirty_get_prepare(&arg, iova, input_pages(&f->in) << PAGE_SHIFT,
			  some_bitmap(f));
	if (input_one_in(&f->in, 16))
		arg.range.bitmap.size = input_number(&f->in);
	if (input_one_in(&f->in, 16))
		arg.range.bitmap.pgsize = input_number(&f->in);
	if (input_one_in(&f->in, 16))
		arg.head.flags = input_number(&f->in);
	return dirty_ioctl(f->rig.container, &arg);
}

/* Any structure for any of its calls. */
static int container_raw(struct fuzz *f)
{
	static const unsigned long calls[] = {
		VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA,
		VFIO_IOMMU_DIRTY_PAGES, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU,
		VFIO_IOMMU_ENABLE,
	};
	unsigned long call = calls[input_below(&f->in, ARRAY_SIZE(calls))];

	return fuzz_raw(f, f->rig.container, call);
}

/* The device is closed and opened again, perhaps after its group was away. */
static int reopen(struct fuzz *f)
{
	int ret = 0;

	close(f->rig.dev.device);
	f->rig.dev.device = -1;
	if (input_one_in(&f->in, 2)) {
		ret = group_detach(f->rig.dev.group);
		if (!ret)
			ret = mdma_attach(&f->rig.dev, f->rig.container);
		if (!ret)
			ret = container_set_type(f->rig.container,
						 VFIO_TYPE1v2_IOMMU);
	}
	return ret ? ret : fuzz_open_device(f);
}

static int pin(struct fuzz *f)
{
	__u64 iova = input_iova(&f->in);
	unsigned int npages = input_pages(&f->in);

	return mdma_pin(&f->rig.dev, iova, npages,
			input_one_in(&f->in, 3) ? 'r' : 'w');
}

static int unpin(struct fuzz *f)
{
	__u64 iova = input_iova(&f->in);

	return mdma_unpin(&f->rig.dev, iova, input_pages(&f->in));
}

static int rw_write(struct fuzz *f)
{
	__u64 iova = input_iova(&f->in);

	return mdma_rw_write(&f->rig.dev, iova + input_byte(&f->in),
			     input_number(&f->in), 'x');
}

static int rw_read(struct fuzz *f)
{
	__u64 iova = input_iova(&f->in);

	return mdma_rw_read(&f->rig.dev, iova, input_number(&f->in));
}

/* The VMM's memory changes below its mappings. */
static int memory_changes(struct fuzz *f)
{
	unsigned int page = input_below(&f->in, PAGES);
	void *mem = f->rig.mem + (page << PAGE_SHIFT);
	__u64 size = (1 + input_below(&f->in, PAGES - page)) << PAGE_SHIFT;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	switch (input_below(&f->in, 4)) {
	case 0:
		return madvise(mem, size, MADV_DONTNEED) ? -errno : 0;
	case 1:
		return mprotect(mem, size, input_below(&f->in, 4)) ? -errno : 0;
	case 2:
		return munmap(mem, size) ? -errno : 0;
	default:
		return mmap(mem, size, PROT_READ | PROT_WRITE, flags, -1, 0) ==
		       MAP_FAILED ? -errno : 0;
	}
}

const struct op backend_ops[] = {
	{ "map", map },
	{ "unmap", unmap },
	{ "unmap_and_map", unmap_and_map },
	{ "unmap_get", unmap_get },
	{ "start", start },
	{ "stop", stop },
	{ "get", get },
	{ "container_raw", container_raw },
	{ "reopen", reopen },
	{ "pin", pin },
	{ "unpin", unpin },
	{ "rw_write", rw_write },
	{ "rw_read", rw_read },
	{ "memory_changes", memory_changes },
	{ }
};
