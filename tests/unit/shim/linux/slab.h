/* SPDX-License-Identifier: GPL-2.0-only */
/* Allocations that are counted, and that fail when a test wants it. */
#ifndef _SHIM_LINUX_SLAB_H
#define _SHIM_LINUX_SLAB_H

#include <stdlib.h>
#include <linux/types.h>

#define GFP_KERNEL_ACCOUNT	0u
#define SLAB_ACCOUNT		0u

/* Bytes and objects in use; allocations until one fails, -1: never. */
extern size_t shim_bytes;
extern long shim_objects;
extern long shim_fail_in;

void *shim_alloc(size_t size);
void shim_free(const void *p);

struct kmem_cache {
	size_t size;
};

static inline struct kmem_cache *kmem_cache_create(const char *name,
						   size_t size, size_t align,
						   unsigned int flags,
						   void (*ctor)(void *))
{
	static struct kmem_cache cache;

	(void)name, (void)align, (void)flags, (void)ctor;
	cache.size = size;
	return &cache;
}

static inline void kmem_cache_destroy(struct kmem_cache *cache)
{
	(void)cache;
}

static inline void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	(void)gfp;
	return shim_alloc(cache->size);
}

static inline void kmem_cache_free(struct kmem_cache *cache, void *p)
{
	(void)cache;
	shim_free(p);
}

static inline void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	(void)gfp;
	return shim_alloc(n * size);
}

static inline void kfree(const void *p)
{
	shim_free(p);
}

static inline void *kvzalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return shim_alloc(size);
}

static inline void *kvmalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return shim_alloc(size);
}

static inline void kvfree(const void *p)
{
	shim_free(p);
}

#endif
