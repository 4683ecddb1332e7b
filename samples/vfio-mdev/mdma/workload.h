/* SPDX-License-Identifier: GPL-2.0-only */
/* The host-side workloads of the channels. */
#ifndef MDMA_WORKLOAD_H
#define MDMA_WORKLOAD_H

#include <linux/ktime.h>
#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_channel;
struct mdma_engine;
struct mdma_snapshot;

void mdma_workload_init(struct mdma_engine *engine);
void mdma_workload_restart(struct mdma_engine *engine);
void mdma_workload_end(struct mdma_engine *engine);
bool mdma_workload_started(struct mdma_engine *engine);
void mdma_workload_set_window(struct mdma_engine *engine,
			      enum mdma_window_origin origin,
			      const struct mdma_range *range, u32 nr);
bool mdma_workload_poll(struct mdma_channel *ch, ktime_t *next);
int mdma_workload_step(struct mdma_channel *ch, u32 n);
u64 mdma_workload_keep(struct mdma_channel *ch);
void mdma_workload_save(struct mdma_engine *engine, struct mdma_snapshot *snap);
void mdma_workload_load(struct mdma_engine *engine,
			const struct mdma_snapshot *snap);

#endif /* MDMA_WORKLOAD_H */
