/* SPDX-License-Identifier: GPL-2.0-only */
/* A memory cgroup, to see which kernel memory is charged to a process in it. */
#ifndef SELFTESTS_MEMCG_H
#define SELFTESTS_MEMCG_H

/* Makes the cgroup and moves this process there. Returns 0 or -errno. */
int memcg_enter(void);

/* Moves this process out again; its charges stay. Returns 0 or -errno. */
int memcg_leave(void);

/* Limits the memory of the cgroup to so many bytes, 0: no limit. Returns 0 or -errno. */
int memcg_limit(long long bytes);

/* Kernel memory that is charged to the cgroup now, or -errno. Takes 3 s. */
long long memcg_kernel_bytes(void);

/* Removes the cgroup, after its last process and its last test. */
void memcg_remove(void);

/* In a test. Skips the test if there is no memory controller. */
#define ENTER_MEMCG() do {						\
	int memcg_ret = memcg_enter();					\
									\
	if (memcg_ret)							\
		SKIP("memory controller of cgroup2: %s",		\
		     strerror(-memcg_ret));				\
} while (0)

#endif
