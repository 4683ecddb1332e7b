// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <sys/mman.h>

#include "dma_log.h"
#include "migration.h"

int dma_log_rig_open(struct rig *r, const char *type, __u64 pages)
{
	int ret = rig_open(r, type, 0);

	if (ret)
		return ret;
	mdma_close(&r->dev);
	ret = mdma_set(&r->dev, "dirty_log/enabled", "1");
	if (!ret)
		ret = mdma_attach(&r->dev, r->container);
	if (!ret)
		ret = container_set_type(r->container, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = mdma_open(&r->dev);
	if (ret)
		return ret;
	r->pages = pages;
	r->mem = memory(pages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	return dma_map(r->container, r->mem, RIG_IOVA, pages << PAGE_SHIFT,
		       MAP_RW);
}

int dma_log_start(int device, __u64 *page_size,
		  const struct vfio_device_feature_dma_logging_range *ranges,
		  unsigned int nr)
{
	struct vfio_device_feature_dma_logging_control control = {
		.page_size = *page_size,
		.num_ranges = nr,
		.ranges = (unsigned long)ranges,
	};
	int ret = feature(device, VFIO_DEVICE_FEATURE_SET |
			  VFIO_DEVICE_FEATURE_DMA_LOGGING_START, &control,
			  sizeof(control));

	*page_size = control.page_size;
	return ret;
}

int dma_log_stop(int device)
{
	char none;

	return feature(device, VFIO_DEVICE_FEATURE_SET |
		       VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, &none, 0);
}

int dma_log_report(int device, __u64 iova, __u64 length, __u64 page_size,
		   void *bitmap)
{
	struct vfio_device_feature_dma_logging_report report = {
		.iova = iova,
		.length = length,
		.page_size = page_size,
		.bitmap = (unsigned long)bitmap,
	};

	return feature(device, VFIO_DEVICE_FEATURE_GET |
		       VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, &report,
		       sizeof(report));
}

const char *dma_log_text(struct rig *r, __u64 page, __u64 npages)
{
	unsigned char *bitmap = calloc(1, bitmap_bytes(npages));
	unsigned char *all = calloc(1, bitmap_bytes(page + npages));
	const char *text;
	__u64 n;
	int ret;

	ret = dma_log_report(r->dev.device, at(page), npages << PAGE_SHIFT,
			     PAGE_SIZE, bitmap);
	for (n = 0; n < npages; n++)
		bitmap_assign(all, page + n, bitmap_bit(bitmap, n));
	text = ret ? error(ret) : bitmap_text(all, page + npages);
	free(bitmap);
	free(all);
	return text;
}
