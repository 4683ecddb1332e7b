/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's interrupts as eventfds. */
#ifndef SELFTESTS_IRQ_H
#define SELFTESTS_IRQ_H

#include "mdma.h"

/* Connects an interrupt of an index to a new non-blocking eventfd. Returns it or -errno. */
int irq_set(struct mdma *m, unsigned int index, unsigned int nr);

/*
 * VFIO_DEVICE_SET_IRQS with these VFIO_IRQ_SET_* flags for one interrupt. With
 * VFIO_IRQ_SET_DATA_NONE, @data is the number of interrupts.
 */
int irq_command(struct mdma *m, unsigned int flags, unsigned int index,
		unsigned int nr, int data);

/*
 * Milliseconds to wait for an interrupt that must not come, on a machine of any speed:
 * only a wrong one can come too late to be seen.
 */
#define NOBODY_WAITS	30

/*
 * Waits up to scaled_ms(), or NOBODY_WAITS, until an eventfd is signalled. Returns how
 * often it was signalled since the last call.
 */
int irq_count(int fd, int ms);

/* irq_set() for an MSI-X vector. */
int irq_set_vector(struct mdma *m, unsigned int vector);

#endif
