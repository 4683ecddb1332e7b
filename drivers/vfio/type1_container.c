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
 * A call that is late looks for its container in a list, by address, so it takes no
 * reference of memory that is free. Nor has a new container got that address by then:
 * a call does not sleep between vfio's read of the address and the look-up, and the
 * memory of a container is freed only after periods of Tasks RCU.
 */

static LIST_HEAD(vfio_iommus);
static DEFINE_SPINLOCK(vfio_iommus_lock);

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

static bool vfio_iommu_get(struct vfio_iommu *wanted)
{
	struct vfio_iommu *iommu;
	bool found = false;

	spin_lock(&vfio_iommus_lock);
	list_for_each_entry(iommu, &vfio_iommus, vfio_iommus) {
		found = iommu == wanted;
		if (found) {
			refcount_inc(&iommu->users);
			break;
		}
	}
	spin_unlock(&vfio_iommus_lock);
	return found;
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

/*
 * A call that is late may find the new container here before vfio knows of it, so it
 * must be complete. vfio holds the module.
 */
static void *type1_open(unsigned long arg)
{
	struct vfio_iommu *iommu = vfio_iommu_type1_open(arg);

	if (IS_ERR(iommu))
		return iommu;
	__module_get(THIS_MODULE);
	spin_lock(&vfio_iommus_lock);
	list_add(&iommu->vfio_iommus, &vfio_iommus);
	spin_unlock(&vfio_iommus_lock);
	return iommu;
}

/* Its last group has left: the end of the container, as far as vfio can see. */
static void type1_release(void *iommu_data)
{
	struct vfio_iommu *iommu = iommu_data;

	spin_lock(&vfio_iommus_lock);
	list_del(&iommu->vfio_iommus);
	spin_unlock(&vfio_iommus_lock);

	mutex_lock(&iommu->lock);
	iommu->dead = true;
	vfio_iommu_type1_release(iommu);
	vfio_owners_free(iommu);
	vfio_iommu_unlock(iommu);
	vfio_iommu_put(iommu);
}

static long type1_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct vfio_iommu *iommu = iommu_data;
	long ret;

	/* VFIO_CHECK_EXTENSION comes without a container, too. */
	if (!iommu)
		return vfio_iommu_type1_ioctl(NULL, cmd, arg);
	if (!vfio_iommu_get(iommu))
		return -ENODEV;
	ret = vfio_iommu_type1_ioctl(iommu, cmd, arg);
	vfio_iommu_put(iommu);
	return ret;
}
