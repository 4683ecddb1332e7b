// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "rig.h"

int rig_open(struct rig *r, const char *type, __u64 pages)
{
	int ret;

	memset(r, 0, sizeof(*r));
	r->container = container_open();
	ret = r->container < 0 ? r->container : mdma_create(&r->dev, type);
	if (!ret)
		ret = mdma_attach(&r->dev, r->container);
	if (!ret)
		ret = container_set_type(r->container, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = mdma_open(&r->dev);
	if (ret || !pages)
		return ret;
	r->pages = pages;
	r->mem = memory(pages << PAGE_SHIFT, PROT_READ | PROT_WRITE);
	return dma_map(r->container, r->mem, RIG_IOVA, pages << PAGE_SHIFT,
		       MAP_RW);
}

void rig_close(struct rig *r)
{
	mdma_destroy(&r->dev);
	if (r->container > 0)
		close(r->container);
	if (r->mem)
		munmap(r->mem, r->pages << PAGE_SHIFT);
	r->container = -1;
	r->mem = NULL;
}

const char *dirty(struct rig *r, __u64 page, __u64 npages)
{
	__u64 bytes = bitmap_bytes(page + npages);
	unsigned char *bitmap = calloc(1, bytes + 8);
	unsigned char *all = calloc(1, bytes);
	const char *text;
	__u64 n;
	int ret;

	ret = dirty_get(r->container, at(page), npages << PAGE_SHIFT, bitmap);
	for (n = 0; n < npages; n++)
		bitmap_assign(all, page + n, bitmap_bit(bitmap, n));
	text = ret ? error(ret) : bitmap_text(all, page + npages);
	free(bitmap);
	free(all);
	return text;
}

void *memory(__u64 size, int prot)
{
	void *p = mmap(NULL, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("# mmap");
		exit(1);
	}
	return p;
}

const char *error(int ret)
{
	return ret < 0 ? strerrorname_np(-ret) : "0";
}

const char *range_error(int container)
{
	return error(dma_map(container, (void *)PAGE_SIZE, -PAGE_SIZE,
			     2 * PAGE_SIZE, MAP_RW));
}

/* xorshift64* */
__u64 random_next(__u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dULL) >> 16;
}

__u64 random_seed(void)
{
	const char *text = getenv("SEED");
	__u64 seed = text ? strtoull(text, NULL, 0) : 0;

	if (!seed && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = 1;
	printf("# SEED=0x%llx\n", seed);
	return seed ? seed : 1;
}
