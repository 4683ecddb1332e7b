// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <linux/vfio.h>

#include "irq.h"

int irq_set_vector(struct mdma *m, unsigned int vector)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSIX_IRQ_INDEX,
			.start = vector,
			.count = 1,
		},
		.fd = eventfd(0, EFD_NONBLOCK),
	};

	return ioctl(m->device, VFIO_DEVICE_SET_IRQS, &arg) ? -errno : arg.fd;
}
