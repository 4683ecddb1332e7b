// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long a container lives.
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * vfio calls ->ioctl() without a lock. So the last group can leave the container,
 * which releases it, while a call waits for the user's memory or for a driver. A
 * call therefore holds a reference. ->release() waits for nobody: it drops all
 * mappings, records and groups, and marks the container as dead. A call that
 * takes iommu->lock again finds it dead and ends with -ENODEV; the last one frees
 * the memory, and lets the module go.
 *
 * vfio also reads the address of the container without a lock, so a call can be late:
 * vfio's reference is gone, or even the last one. Then the count is zero, and it gets
 * none. Memory is therefore freed only after periods of Tasks RCU: a call does not
 * sleep between vfio's read of the address and that of the count. By then no new
 * container can have the address either.
 */

/* What a new container has beside the kernel's own fields. */
static void vfio_iommu_init(struct vfio_iommu *iommu)
{
	mutex_init(&iommu->report_lock);
	mutex_init(&iommu->map_lock);
	INIT_LIST_HEAD(&iommu->going);
	INIT_LIST_HEAD(&iommu->removed);
	INIT_LIST_HEAD(&iommu->owners);
	refcount_set(&iommu->users, 1);
}

static void vfio_iommu_free(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct vfio_iommu, rcu));
}

/*
 * vfio forgets the address when ->release() has returned, and does not sleep in between.
 * So a second period waits for calls that have read it during the first.
 */
static void vfio_iommu_forgotten(struct rcu_head *rcu)
{
	call_rcu_tasks(rcu, vfio_iommu_free);
}

static void vfio_iommu_put(struct vfio_iommu *iommu)
{
	if (!refcount_dec_and_test(&iommu->users))
		return;
	call_rcu_tasks(&iommu->rcu, vfio_iommu_forgotten);
	module_put(THIS_MODULE);
}

/* Waits for both periods of all containers that have gone. */
static void vfio_iommus_wait(void)
{
	rcu_barrier_tasks();
	rcu_barrier_tasks();
}

/* The container's own reference to the module; vfio's ends with ->release(). */
static void *type1_open(unsigned long arg)
{
	struct vfio_iommu *iommu = vfio_iommu_type1_open(arg);

	if (!IS_ERR(iommu))
		__module_get(THIS_MODULE);
	return iommu;
}

/* Its last group has left: the end of the container, as far as vfio can see. */
static void type1_release(void *iommu_data)
{
	struct vfio_iommu *iommu = iommu_data;

	mutex_lock(&iommu->lock);
	iommu->dead = true;
	vfio_iommu_type1_release(iommu);
	vfio_owners_free(iommu);
	vfio_iommu_unlock(iommu);
	vfio_iommu_put(iommu);
}

/*
 * vfio reads the driver first, and then the address of the container, which is NULL if
 * the last group leaves in between, or if VFIO_SET_IOMMU is just setting both.
 * VFIO_CHECK_EXTENSION may come without a container; the others would use it.
 */
static long type1_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct vfio_iommu *iommu = iommu_data;
	long ret;

	if (!iommu && cmd == VFIO_CHECK_EXTENSION)
		return vfio_iommu_type1_ioctl(NULL, cmd, arg);
	if (!iommu || !refcount_inc_not_zero(&iommu->users))
		return -ENODEV;
	ret = vfio_iommu_type1_ioctl(iommu, cmd, arg);
	vfio_iommu_put(iommu);
	return ret;
}
