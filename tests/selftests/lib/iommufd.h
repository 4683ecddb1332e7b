/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The UAPI of iommufd, and of the file that a device of vfio's has for it, one function
 * a call. Functions that can fail return -errno. An IOAS is a number.
 */
#ifndef SELFTESTS_IOMMUFD_H
#define SELFTESTS_IOMMUFD_H

#include <linux/types.h>

#include "rig.h"

int iommufd_open(void);
int ioas_alloc(int iommufd, __u32 *ioas);
int ioas_destroy(int iommufd, __u32 ioas);

/* For reading and writing, at this IOVA. */
int ioas_map(int iommufd, __u32 ioas, void *mem, __u64 iova, __u64 size);
int ioas_unmap(int iommufd, __u32 ioas, __u64 iova, __u64 size);

/* Opens the file of an mdev below /dev/vfio/devices. */
int cdev_open(const char *uuid);
int cdev_bind(int device, int iommufd);
int cdev_attach(int device, __u32 ioas);
int cdev_detach(int device);

/* mdma_open() by that file: the device is bound, and in no IOAS. */
int mdma_bind(struct mdma *m, int iommufd);

/*
 * The rig without a container: its memory is mapped in an IOAS, in which the device is.
 * rig.container is the iommufd, and rig_close() closes it.
 */
int iommufd_rig_open(struct rig *r, const char *type, __u64 pages, __u32 *ioas);

#endif
