/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which values of a migration stream a device can have. Pure: no vfio, no locks;
 * compiled in user space as well.
 */
#ifndef MDMA_STREAM_VALUES_H
#define MDMA_STREAM_VALUES_H

#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_snapshot;

bool mdma_values_state(const struct mdma_stream_state *state, u32 channels);
bool mdma_values_knobs(const struct mdma_stream_knobs *knobs);
int mdma_values_take_progress(struct mdma_snapshot *snap, const void *entries,
			      u32 count, u32 size);
int mdma_values_take_workloads(struct mdma_snapshot *snap, const void *entries,
			       u32 count, u32 size);
int mdma_values_take_trace(struct mdma_snapshot *snap, const void *entries,
			   u32 count, u32 size);
int mdma_values_take_held(struct mdma_snapshot *snap, const void *entries,
			  u32 count, u32 size);

#endif /* MDMA_STREAM_VALUES_H */
