/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's interrupts as eventfds. */
#ifndef SELFTESTS_IRQ_H
#define SELFTESTS_IRQ_H

#include "mdma.h"

/* An interrupt of an index to a new eventfd that does not block; or -errno. */
int irq_set(struct mdma *m, unsigned int index, unsigned int nr);

/*
 * VFIO_DEVICE_SET_IRQS with these VFIO_IRQ_SET_* flags for one interrupt; with
 * VFIO_IRQ_SET_DATA_NONE, @data is how many.
 */
int irq_command(struct mdma *m, unsigned int flags, unsigned int index,
		unsigned int nr, int data);

/*
 * How often an eventfd was signalled since the last call, waiting until it is, for
 * scaled_ms().
 */
int irq_count(int fd, int ms);

/* The same for a vector of MSI-X. */
int irq_set_vector(struct mdma *m, unsigned int vector);

#endif
