/* SPDX-License-Identifier: GPL-2.0-only */
/* What vfio calls. */
#ifndef MDMA_VFIO_H
#define MDMA_VFIO_H

#include <linux/types.h>

struct mdma_device;
struct vfio_device_ops;

extern const struct vfio_device_ops mdma_vfio_ops;
int mdma_vfio_offer_log(struct mdma_device *dev, bool on);

#endif /* MDMA_VFIO_H */
