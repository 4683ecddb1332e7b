/* SPDX-License-Identifier: GPL-2.0-only */
/* A workload's attributes, and where in its sequence it is. */
#ifndef MDMA_KNOBS_H
#define MDMA_KNOBS_H

#include <linux/ktime.h>
#include <linux/mdma.h>
#include <linux/types.h>

#include "sequence.h"

/**
 * enum mdma_knob - a numeric attribute of the workload, see workload/ in sysfs
 * @MDMA_KNOB_PATTERN: enum mdma_pattern
 * @MDMA_KNOB_ACCESS: enum mdma_access_mode
 * @MDMA_KNOB_DIRECTION: enum mdma_direction
 * @MDMA_KNOB_WRITE_PERCENT: of MDMA_DIRECTION_MIXED
 * @MDMA_KNOB_ON_ERROR: enum mdma_on_error
 * @MDMA_KNOB_BATCH: pages
 * @MDMA_KNOB_RING: runs that stay pinned
 * @MDMA_KNOB_STRIDE: runs
 * @MDMA_KNOB_THETA: thousandths
 * @MDMA_KNOB_HOT: runs
 * @MDMA_KNOB_HOT_PERCENT: of the visits
 * @MDMA_KNOB_DRIFT: visits
 * @MDMA_KNOB_PAGES: working set
 * @MDMA_KNOB_SEED: of the generator
 * @MDMA_KNOB_HOLD_MS: milliseconds
 * @MDMA_KNOB_RATE: descriptors per second
 * @MDMA_KNOB_BURST: descriptors
 * @MDMA_KNOB_PAUSE_MS: milliseconds
 * @MDMA_KNOB_RUN: 0 or 1
 */
enum mdma_knob {
	MDMA_KNOB_PATTERN,
	MDMA_KNOB_ACCESS,
	MDMA_KNOB_DIRECTION,
	MDMA_KNOB_WRITE_PERCENT,
	MDMA_KNOB_ON_ERROR,
	MDMA_KNOB_BATCH,
	MDMA_KNOB_RING,
	MDMA_KNOB_STRIDE,
	MDMA_KNOB_THETA,
	MDMA_KNOB_HOT,
	MDMA_KNOB_HOT_PERCENT,
	MDMA_KNOB_DRIFT,
	MDMA_KNOB_PAGES,
	MDMA_KNOB_SEED,
	MDMA_KNOB_HOLD_MS,
	MDMA_KNOB_RATE,
	MDMA_KNOB_BURST,
	MDMA_KNOB_PAUSE_MS,
	MDMA_KNOB_RUN,
};

/**
 * struct mdma_workload - the host-side workload of a channel
 * @sequence: which slots it visits
 * @access: enum mdma_access_mode
 * @direction: enum mdma_direction
 * @write_percent: of MDMA_DIRECTION_MIXED
 * @on_error: enum mdma_on_error
 * @batch: pages of a descriptor
 * @ring: runs that MDMA_PATTERN_RING keeps pinned
 * @hold_ms: how long a run stays pinned
 * @rate: descriptors per second, 0 for no limit
 * @burst: descriptors between two pauses, 0 for no pauses
 * @pause_ms: how long a pause is
 * @burst_done: descriptors since the last pause
 * @run: started
 * @pages: working set, 0 for the whole window
 * @due: time of the next descriptor
 *
 * What an execution changes (@sequence, @burst_done, @due; @run to 0) changes
 * under the channel's exec; all else with the gate held for writing. Attributes are
 * read without either, by sysfs (mdma_knobs_get()). So they are written by
 * WRITE_ONCE(), and of @sequence an execution writes @prng and @position alone.
 */
struct mdma_workload {
	struct mdma_sequence sequence;
	u32 access;
	u32 direction;
	u32 write_percent;
	u32 on_error;
	u32 batch;
	u32 ring;
	u32 hold_ms;
	u32 rate;
	u32 burst;
	u32 pause_ms;
	u32 burst_done;
	u32 run;
	u64 pages;
	ktime_t due;
};

u64 mdma_knobs_get(const struct mdma_workload *workload, enum mdma_knob knob);
void mdma_knobs_set(struct mdma_workload *workload, enum mdma_knob knob,
		    u64 value);
void mdma_knobs_copy(struct mdma_workload *to, const struct mdma_workload *from);
bool mdma_knobs_live(enum mdma_knob knob);
void mdma_knobs_restart(struct mdma_workload *workload);
void mdma_knobs_save(const struct mdma_workload *from,
		     struct mdma_stream_workload *to,
		     struct mdma_stream_knobs *knobs);
void mdma_knobs_load(struct mdma_workload *to,
		     const struct mdma_stream_workload *from,
		     const struct mdma_stream_knobs *knobs);

#endif /* MDMA_KNOBS_H */
