/* SPDX-License-Identifier: GPL-2.0-only */
/* The device's interrupts as eventfds. */
#ifndef SELFTESTS_IRQ_H
#define SELFTESTS_IRQ_H

#include "mdma.h"

/* A vector of MSI-X to a new eventfd that does not block; or -errno. */
int irq_set_vector(struct mdma *m, unsigned int vector);

#endif
