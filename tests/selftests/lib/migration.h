/* SPDX-License-Identifier: GPL-2.0-only */
/* VFIO_DEVICE_FEATURE and the migration protocol. Errors are -errno. */
#ifndef SELFTESTS_MIGRATION_H
#define SELFTESTS_MIGRATION_H

#include <linux/types.h>
#include <linux/vfio.h>

#define MIG(state)	VFIO_DEVICE_STATE_##state

/* Gets or sets a feature with this payload. */
int feature(int device, __u32 flags, void *data, unsigned int size);

/* Flags of VFIO_DEVICE_FEATURE_MIGRATION. */
long long mig_flags(int device);

/* Returns the state, one of MIG(...). */
int mig_get(int device);

/* Stores the data fd, or -1, in *data_fd; it may be NULL. */
int mig_set(int device, int state, int *data_fd);

/* VFIO_MIG_GET_PRECOPY_INFO of a data fd. The flags are an output: they are junk before. */
#define PRECOPY_INFO_JUNK	~0U
int mig_precopy_info(int data_fd, struct vfio_precopy_info *info);

/* Bytes estimated for stop-copy. */
long long mig_data_size(int device);

/* Reads to the end of file. Returns the length or -errno. */
long long mig_read(int data_fd, void *buf, long long size);

/*
 * RUNNING to STOP_COPY and to STOP: the length of the stream in buf.
 */
long long mig_save(int device, void *buf, long long size);

/*
 * Goes to RESUMING, writes the stream, and goes to STOP, even if the write fails.
 * Returns the first error; *to_stop gets the result of the change to STOP.
 */
int mig_load(int device, const void *buf, long long size, int *to_stop);

#endif
