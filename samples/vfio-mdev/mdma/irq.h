/* SPDX-License-Identifier: GPL-2.0-only */
/* Interrupts, as eventfds of the user. */
#ifndef MDMA_IRQ_H
#define MDMA_IRQ_H

#include <linux/mdma.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct eventfd_ctx;
struct mdma_channel;
struct mdma_engine;
struct mdma_intx;
struct vfio_irq_set;

/**
 * struct mdma_irqs - interrupts of a device
 * @engine: whose channels raise them
 * @intx: the line
 * @lock: guards the fields below it
 * @msix: one a channel
 * @req: asks the user to give the device back
 */
struct mdma_irqs {
	struct mdma_engine *engine;
	struct mdma_intx *intx;
	spinlock_t lock;	/* all fields below */
	struct eventfd_ctx *msix[MDMA_MAX_CHANNELS];
	struct eventfd_ctx *req;
};

void mdma_irq_init(struct mdma_irqs *irqs, struct mdma_engine *engine,
		   struct mdma_intx *intx);
u32 mdma_irq_count(struct mdma_irqs *irqs, u32 index);
void mdma_irq_raise(struct mdma_irqs *irqs, struct mdma_channel *ch);
void mdma_irq_replay(struct mdma_irqs *irqs);
void mdma_irq_request(struct mdma_irqs *irqs);
int mdma_irq_set(struct mdma_irqs *irqs, const struct vfio_irq_set *hdr,
		 const void *data);
void mdma_irq_release(struct mdma_irqs *irqs);

#endif /* MDMA_IRQ_H */
