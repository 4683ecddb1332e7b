// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "irq.h"
#include "wait.h"

int irq_command(struct mdma *m, unsigned int flags, unsigned int index,
		unsigned int nr, int data)
{
	struct {
		struct vfio_irq_set set;
		int data;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = flags,
			.index = index,
			.start = nr,
			.count = flags & VFIO_IRQ_SET_DATA_NONE ? data : 1,
		},
		.data = data,
	};

	return ioctl(m->device, VFIO_DEVICE_SET_IRQS, &arg) ? -errno : 0;
}

int irq_set(struct mdma *m, unsigned int index, unsigned int nr)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	int ret = irq_command(m, VFIO_IRQ_SET_DATA_EVENTFD |
			      VFIO_IRQ_SET_ACTION_TRIGGER, index, nr, fd);

	if (ret)
		close(fd);
	return ret ? ret : fd;
}

int irq_count(int fd, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	__u64 count = 0;

	/* Another thread may have read it since poll(). */
	ms = ms > NOBODY_WAITS ? scaled_ms(ms) : ms;
	if (poll(&poll_fd, 1, ms) == 1 && read(fd, &count, 8) != 8)
		return errno == EAGAIN ? 0 : -errno;
	return count;
}

int irq_set_vector(struct mdma *m, unsigned int vector)
{
	return irq_set(m, VFIO_PCI_MSIX_IRQ_INDEX, vector);
}
