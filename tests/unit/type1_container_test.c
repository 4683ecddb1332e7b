// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a container lives: calls that come without one, that are late, or that
 * outlive it. Freed memory is poisoned, so a call that uses it ends the test.
 */
#include <linux/compiler.h>
#include <errno.h>
#include <linux/list.h>
#include <linux/slab.h>

#include "unit.h"

#define VFIO_CHECK_EXTENSION	1
#define CALL			2
#define THIS_MODULE		NULL

#define IS_ERR(p)		((unsigned long)(p) >= -4095UL)
#define ERR_PTR(error)		((void *)(long)(error))
#define kfree(p)		free(p)

#ifndef container_of
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#endif

struct mutex {
	bool held;
};

typedef struct {
	int n;
} refcount_t;

struct rcu_head {
	void (*func)(struct rcu_head *rcu);
	struct rcu_head *next;
};

struct vfio_iommu {
	struct mutex lock, report_lock, map_lock;	/* as in the kernel */
	struct list_head going, removed, owners;
	refcount_t users;
	struct rcu_head rcu;
	bool dead;
};

#define mutex_init(lock)		((lock)->held = false)
#define mutex_lock(lock)		((lock)->held = true)
#define vfio_iommu_unlock(iommu)	((iommu)->lock.held = false)
#define vfio_owners_free(iommu)		((void)(iommu))
#define refcount_set(r, value)		((r)->n = (value))
#define refcount_inc_not_zero(r)	((r)->n ? (r)->n++ : 0)
#define refcount_dec_and_test(r)	(!--(r)->n)

static int module_users;

#define __module_get(module)		((void)(module), module_users++)
#define module_put(module)		((void)(module), module_users--)

/* Those that wait for the end of the period that begins now. */
static struct rcu_head *waiting;

static void call_rcu_tasks(struct rcu_head *rcu,
			   void (*func)(struct rcu_head *rcu))
{
	rcu->func = func;
	rcu->next = waiting;
	waiting = rcu;
}

/* A period ends. What is asked for meanwhile waits for the next one. */
static void rcu_barrier_tasks(void)
{
	struct rcu_head *rcu = waiting, *next;

	waiting = NULL;
	for (; rcu; rcu = next) {
		next = rcu->next;
		rcu->func(rcu);
	}
}

static void vfio_iommu_init(struct vfio_iommu *iommu);
static void type1_release(void *iommu_data);

/* What the kernel's own file does. */
static bool no_memory, releases;
static int calls, releases_seen;
static struct vfio_iommu *called;

static void *vfio_iommu_type1_open(unsigned long arg)
{
	struct vfio_iommu *iommu;

	(void)arg;
	if (no_memory)
		return ERR_PTR(-ENOMEM);
	iommu = calloc(1, sizeof(*iommu));
	vfio_iommu_init(iommu);
	return iommu;
}

static void vfio_iommu_type1_release(struct vfio_iommu *iommu)
{
	releases_seen += iommu->lock.held && iommu->dead;
}

static long vfio_iommu_type1_ioctl(void *iommu_data, unsigned int cmd,
				   unsigned long arg)
{
	(void)cmd;
	(void)arg;
	calls++;
	called = iommu_data;
	if (!called)
		return 0;
	if (releases)
		type1_release(called);
	/* A period ends while the call is on. */
	rcu_barrier_tasks();
	return called->dead ? -ENODEV : 0;
}

#include "type1_container.c"

static struct vfio_iommu *begin(void)
{
	calls = 0;
	releases_seen = 0;
	module_users = 0;
	no_memory = false;
	releases = false;
	called = NULL;
	return type1_open(0);
}

/* --- tests ----------------------------------------------------------------- */

/* The last group leaves, or VFIO_SET_IOMMU sets driver and container, while vfio reads. */
static void a_call_without_a_container(void)
{
	calls = 0;
	CHECK(type1_ioctl(NULL, CALL, 0) == -ENODEV, "-");
	CHECK(!calls, "%d", calls);
	CHECK(!type1_ioctl(NULL, VFIO_CHECK_EXTENSION, 0), "-");
	CHECK(calls == 1, "%d", calls);
}

static void a_call_with_a_container(void)
{
	struct vfio_iommu *iommu = begin();

	CHECK(!type1_ioctl(iommu, CALL, 0), "-");
	CHECK(!type1_ioctl(iommu, VFIO_CHECK_EXTENSION, 0), "-");
	CHECK(calls == 2 && called == iommu, "%d", calls);
	CHECK(module_users == 1 && iommu->users.n == 1, "%d", module_users);
	type1_release(iommu);
	CHECK(releases_seen == 1 && !module_users, "%d", module_users);
	vfio_iommus_wait();
	CHECK(!waiting, "-");
}

/* It has the address from before vfio forgot it, which is in the first period. */
static void a_call_that_is_late(void)
{
	struct vfio_iommu *iommu = begin();

	type1_release(iommu);
	CHECK(type1_ioctl(iommu, CALL, 0) == -ENODEV, "-");
	rcu_barrier_tasks();
	CHECK(type1_ioctl(iommu, CALL, 0) == -ENODEV, "-");
	CHECK(!calls && !iommu->users.n, "%d", calls);
	rcu_barrier_tasks();
	CHECK(!waiting, "the memory is still there");
}

/* The call is the last one: the periods begin when it ends. */
static void a_call_that_outlives_its_container(void)
{
	struct vfio_iommu *iommu = begin();

	releases = true;
	CHECK(type1_ioctl(iommu, CALL, 0) == -ENODEV, "-");
	CHECK(calls == 1 && releases_seen == 1, "%d", releases_seen);
	CHECK(!module_users, "%d", module_users);
	rcu_barrier_tasks();
	CHECK(type1_ioctl(iommu, CALL, 0) == -ENODEV, "-");
	CHECK(calls == 1, "%d", calls);
	vfio_iommus_wait();
	CHECK(!waiting, "the memory is still there");
}

static void no_memory_for_a_container(void)
{
	module_users = 0;
	no_memory = true;
	CHECK(IS_ERR(type1_open(0)), "-");
	CHECK(!module_users, "%d", module_users);
}

static const struct unit_test tests[] = {
	{ "container: R7: a call without one", a_call_without_a_container },
	{ "container: a call with one", a_call_with_a_container },
	{ "container: R7: a call that is late", a_call_that_is_late },
	{ "container: R7: a call that outlives it",
	  a_call_that_outlives_its_container },
	{ "container: no memory for one", no_memory_for_a_container },
};

int main(void)
{
	return unit_main(tests, sizeof(tests) / sizeof(*tests));
}
