/* SPDX-License-Identifier: GPL-2.0-only */
/* The registers of BAR0. */
#ifndef MDMA_REGS_H
#define MDMA_REGS_H

#include <linux/mutex.h>
#include <linux/types.h>

struct mdma_engine;
struct mdma_irqs;
struct mdma_snapshot;

/**
 * struct mdma_window_regs - registers of the window, under mdma_regs.lock
 * @table: WINDOW_TABLE
 * @ranges: WINDOW_RANGES
 * @status: WINDOW_STATUS
 * @pending: the table is to be read as soon as the device runs
 */
struct mdma_window_regs {
	u64 table;
	u32 ranges;
	u32 status;
	bool pending;
};

/**
 * struct mdma_regs - registers; those of a channel are in struct mdma_channel
 * @engine: that they control
 * @irqs: that they raise
 * @lock: guards @window, serialises accesses to registers and config space
 * @window: registers of the window
 */
struct mdma_regs {
	struct mdma_engine *engine;
	struct mdma_irqs *irqs;
	struct mutex lock;	/* accesses */
	struct mdma_window_regs window;
};

void mdma_regs_init(struct mdma_regs *regs, struct mdma_engine *engine,
		    struct mdma_irqs *irqs);
void mdma_regs_reset(struct mdma_regs *regs);
void mdma_regs_reset_device(struct mdma_regs *regs);
u32 mdma_regs_read(struct mdma_regs *regs, u32 offset);
void mdma_regs_write(struct mdma_regs *regs, u32 offset, u32 value);
void mdma_regs_load_window(struct mdma_regs *regs, bool starts);
void mdma_regs_save(const struct mdma_regs *regs, struct mdma_snapshot *snap);
void mdma_regs_load(struct mdma_regs *regs, const struct mdma_snapshot *snap);

#endif /* MDMA_REGS_H */
