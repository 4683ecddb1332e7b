// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for the units under test: counted, and failing on demand.
 */
#include <assert.h>
#include <malloc.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

size_t shim_bytes;
long shim_objects;
long shim_fail_in = -1;
const char *shim_read_end;
const char *shim_write_end;
bool shim_killed;

struct header {
	size_t size;
	size_t pad;
};

void *shim_alloc(size_t size)
{
	struct header *h;

	if (shim_fail_in == 0)
		return NULL;
	if (shim_fail_in > 0)
		shim_fail_in--;
	h = calloc(1, sizeof(*h) + size);
	assert(h);
	h->size = size;
	shim_bytes += size;
	shim_objects++;
	return h + 1;
}

void shim_free(const void *p)
{
	struct header *h;

	if (!p)
		return;
	h = (struct header *)p - 1;
	shim_bytes -= h->size;
	shim_objects--;
	free(h);
}

/* How much of [p, p + n) lies before @end? NULL: all. */
static unsigned long reachable(const void *p, unsigned long n, const char *end)
{
	const char *from = p;

	if (!end || from + n <= end)
		return n;
	return from >= end ? 0 : (unsigned long)(end - from);
}

unsigned long copy_to_user(void *to, const void *from, unsigned long n)
{
	unsigned long done = reachable(to, n, shim_write_end);

	memcpy(to, from, done);
	return n - done;
}

unsigned long copy_from_user(void *to, const void *from, unsigned long n)
{
	unsigned long done = reachable(from, n, shim_read_end);

	memcpy(to, from, done);
	memset((char *)to + done, 0, n - done);
	return n - done;
}

unsigned long clear_user(void *to, unsigned long n)
{
	unsigned long done = reachable(to, n, shim_write_end);

	memset(to, 0, done);
	return n - done;
}
