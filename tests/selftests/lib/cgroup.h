/* SPDX-License-Identifier: GPL-2.0-only */
/* Control groups of the default hierarchy, with this process in them. */
#ifndef SELFTESTS_CGROUP_H
#define SELFTESTS_CGROUP_H

/*
 * Makes a group with a controller, or "" for none, and moves this process there.
 * Returns 0 or -errno.
 */
int cgroup_enter(const char *name, const char *controller);

/* Moves this process to the group above all of ours. Returns 0 or -errno. */
int cgroup_leave(void);

/* The path of a file of a group. Valid until the next call. */
const char *cgroup_file(const char *name, const char *file);

/* Removes a group, and when it was the last one, what all have in common. */
void cgroup_remove(const char *name);

#endif
