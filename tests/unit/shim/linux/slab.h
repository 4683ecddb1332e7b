/* SPDX-License-Identifier: GPL-2.0-only */
/* Allocations that are counted, and that fail when a test wants it. */
#ifndef _SHIM_LINUX_SLAB_H
#define _SHIM_LINUX_SLAB_H

#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

/* What is in memory that was not asked to be 0. */
#define SHIM_JUNK		0x5a

#define GFP_KERNEL_ACCOUNT	0u
#define SLAB_ACCOUNT		0u
#define __GFP_ZERO		1u

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
	static struct kmem_cache caches[4];
	unsigned int i;

	(void)name, (void)align, (void)flags, (void)ctor;
	if (shim_fail_in == 0)
		return NULL;
	if (shim_fail_in > 0)
		shim_fail_in--;
	for (i = 0; caches[i].size && caches[i].size != size; i++)
		;
	caches[i].size = size;
	return &caches[i];
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

static inline void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n,
					void **p)
{
	(void)cache;
	while (n)
		shim_free(p[--n]);
}

/* All of them or none, as in the kernel. 6.12 says how many, and 7.3 whether. */
static inline bool kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp,
					 size_t n, void **p)
{
	size_t i;

	for (i = 0; i < n; i++) {
		p[i] = shim_alloc(cache->size);
		if (!p[i]) {
			kmem_cache_free_bulk(cache, i, p);
			return false;
		}
		if (!(gfp & __GFP_ZERO))
			memset(p[i], SHIM_JUNK, cache->size);
	}
	return true;
}

static inline void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	void *p = shim_alloc(n * size);

	(void)gfp;
	return p ? memset(p, SHIM_JUNK, n * size) : NULL;
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
