/* SPDX-License-Identifier: GPL-2.0-only */
/* The migration protocol. */
#ifndef MDMA_MIGRATION_H
#define MDMA_MIGRATION_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/vfio.h>

struct file;
struct mdma_engine;
struct mdma_file;
struct mdma_migration;
struct mdma_snapshot;

/**
 * struct mdma_migration_hooks - what a migration needs of the whole device
 * @save: fill a snapshot; the device is stopped. Return: 0 or -ENOMEM
 * @load: become what a valid snapshot says; the device is stopped. Return: 0, or
 *	-ENOMEM: nothing has changed
 * @size: bytes of the part of the stream that STOP_COPY adds
 * @start: let the engine run, and signal interrupts that are pending
 * @reset: reset the function; the engine does not run
 */
struct mdma_migration_hooks {
	int (*save)(struct mdma_migration *migration,
		    struct mdma_snapshot *snap);
	int (*load)(struct mdma_migration *migration,
		    const struct mdma_snapshot *snap);
	size_t (*size)(struct mdma_migration *migration);
	void (*start)(struct mdma_migration *migration);
	void (*reset)(struct mdma_migration *migration);
};

/**
 * struct mdma_migration - state of the migration protocol
 * @vdev: vfio's part of the device
 * @engine: that runs, or does not
 * @hooks: of the device
 * @lock: guards the fields below it
 * @state: written under @lock, read anywhere
 * @saving: the file of a save in progress, or NULL
 * @resuming: the file of a resume in progress, or NULL
 */
struct mdma_migration {
	struct vfio_device *vdev;
	struct mdma_engine *engine;
	const struct mdma_migration_hooks *hooks;
	struct mutex lock;	/* all fields below */
	enum vfio_device_mig_state state;
	struct mdma_file *saving;
	struct mdma_file *resuming;
};

void mdma_migration_init(struct mdma_migration *migration,
			 struct vfio_device *vdev, struct mdma_engine *engine,
			 const struct mdma_migration_hooks *hooks);
struct file *mdma_migration_set_state(struct mdma_migration *migration,
				      enum vfio_device_mig_state new_state);
enum vfio_device_mig_state
mdma_migration_get_state(struct mdma_migration *migration);
size_t mdma_migration_data_size(struct mdma_migration *migration);
void mdma_migration_reset(struct mdma_migration *migration);

#endif /* MDMA_MIGRATION_H */
