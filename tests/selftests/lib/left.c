// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>

#include "left.h"
#include "procfs.h"
#include "wait.h"

static long long entries(const char *path)
{
	DIR *dir = opendir(path);
	long long n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

void left_look(struct left *l)
{
	*l = (struct left) {
		.pins = pinned_pages(),
		.locked = locked_pages(),
		.threads = entries("/proc/self/task"),
		.files = entries("/proc/self/fd"),
		.mdma = module_refcount("mdma"),
		.type1 = module_refcount("vfio_iommu_type1"),
	};
}

/* A thread that had ended its work before may only be gone now. */
static bool same(const struct left *a, const struct left *b, bool fewer)
{
	if (fewer ? a->pins < b->pins || a->locked < b->locked :
		    a->pins != b->pins || a->locked != b->locked)
		return false;
	return a->threads >= b->threads && a->files == b->files &&
	       a->mdma == b->mdma && a->type1 == b->type1;
}

bool left_is(const struct left *before, bool fewer, struct left *now)
{
	return WAIT_FOR((left_look(now), same(before, now, fewer)));
}
