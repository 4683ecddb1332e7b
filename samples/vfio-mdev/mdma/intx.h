/* SPDX-License-Identifier: GPL-2.0-only */
/* INTx, the interrupt line. */
#ifndef MDMA_INTX_H
#define MDMA_INTX_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct eventfd_ctx;
struct mdma_engine;
struct vfio_irq_set;
struct virqfd;

/**
 * struct mdma_intx - the line
 * @engine: whose channels raise it
 * @enabled: config space allows the line to be asserted; changes with the gate
 *	held for writing
 * @lock: guards @eventfd and @masked
 * @eventfd: tells the user, or NULL
 * @masked: the user was told of the line, or does not want to be told
 * @setting: the eventfd that unmasks is being set, by one thread at a time: vfio makes
 *	it known before it is complete, and another one could take it away. Taken with
 *	no lock of the device's held
 * @unmask: eventfd that ends @masked: by mdma_engine.attention
 */
struct mdma_intx {
	struct mdma_engine *engine;
	bool enabled;
	spinlock_t lock;	/* eventfd and masked */
	struct eventfd_ctx *eventfd;
	bool masked;
	struct mutex setting;	/* changes of unmask */
	struct virqfd *unmask;
};

void mdma_intx_init(struct mdma_intx *intx, struct mdma_engine *engine);
bool mdma_intx_pending(struct mdma_intx *intx);
void mdma_intx_update(struct mdma_intx *intx);
int mdma_intx_set(struct mdma_intx *intx, const struct vfio_irq_set *hdr,
		  const void *data);
void mdma_intx_attend(struct mdma_intx *intx);
void mdma_intx_release(struct mdma_intx *intx);

#endif /* MDMA_INTX_H */
