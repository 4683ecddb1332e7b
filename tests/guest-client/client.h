/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mdma_client: what its tests have in common. A test returns 0 or an error; the kernel log
 * says what is wrong.
 */
#ifndef MDMA_CLIENT_H
#define MDMA_CLIENT_H

#include <linux/dmaengine.h>
#include <linux/printk.h>
#include <linux/types.h>

struct pci_dev;

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#define BYTE		0x5a
/* A limit for a guest that hangs, not a measure. */
#define PATIENCE_S	60
/* The same for callbacks that are due. Less than guest_mutants waits for a test. */
#define CALLBACK_S	15
/* How long to wait for something that must not happen. */
#define GRACE_MS	300

#define expect(condition, ...) do {	\
	if (!(condition)) {		\
		pr_err(__VA_ARGS__);	\
		return -EIO;		\
	}				\
} while (0)

/**
 * struct client - the state of a test
 * @pdev: the device
 * @regs: a mapping of its registers beside the driver's own
 * @chan: the channel that the test holds, or %NULL
 * @buf: a page for transfers
 * @iova: of @buf
 */
struct client {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct dma_chan *chan;
	u8 *buf;
	dma_addr_t iova;
};

/* client.c */
struct dma_chan *client_request(struct client *c);
void __iomem *client_regs(struct client *c);
dma_cookie_t client_submit(struct client *c, dma_addr_t dst,
			   dma_async_tx_callback callback, void *param);
dma_cookie_t client_submit_quiet(struct client *c, atomic_t *called);
dma_cookie_t client_start(struct client *c);
enum dma_status client_status(struct client *c, dma_cookie_t cookie);
enum dma_status client_wait(struct client *c, dma_cookie_t cookie);
enum dma_status client_fill(struct client *c, dma_addr_t dst);
bool client_untouched(struct client *c);
void client_spin(struct client *c, bool (*done)(struct client *c));
bool client_halted(struct client *c);
void client_count(void *param);
int client_called(atomic_t *called, int n);
void client_unbind(struct client *c);
bool client_bind(struct client *c);

/* Tests: client_calls.c */
int unbound_while_held(struct client *c);
int status_of_each(struct client *c);
int restart_forgets(struct client *c);
int halt_beside_completion(struct client *c);
int synchronize_in_removal(struct client *c);
int released_in_callback(struct client *c);
int end_is_unmapped(struct client *c);
int full_ring(struct client *c);
int terminate_in_callback(struct client *c);
int callback_without_interrupt(struct client *c);

/* Tests: client_power.c */
int reset_before_bus_master(struct client *c);
int shutdown_is_quiet(struct client *c);
int resume_continues(struct client *c);
int suspended_is_quiet(struct client *c);
int thread_after_suspend(struct client *c);
int callback_at_suspend(struct client *c);
int reset_continues(struct client *c);
int error_recovers(struct client *c);
int resume_fails(struct client *c);
int window_refused_by_resume(struct client *c);
int window_refused_by_reset(struct client *c);
int lost_is_no_master(struct client *c);

#endif /* MDMA_CLIENT_H */
