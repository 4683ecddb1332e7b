// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registers of BAR0, see <linux/mdma.h>. pci.c cuts every access into
 * aligned ones of 4 bytes. All functions run under mdma_regs.lock; what the engine
 * reads as well is changed under mdma_channel.lock or with the gate held for
 * writing.
 *
 * A device that does not run keeps what is written to its registers, and acts
 * on it when it runs again.
 */
#include <linux/kernel.h>
#include <linux/string.h>

#include "channel.h"
#include "engine.h"
#include "irq.h"
#include "job.h"
#include "regs.h"
#include "ring.h"
#include "snapshot.h"
#include "workload.h"

/**
 * mdma_regs_init() - no register was written
 * @regs: zeroed
 * @engine: that they control
 * @irqs: that they raise
 */
void mdma_regs_init(struct mdma_regs *regs, struct mdma_engine *engine,
		    struct mdma_irqs *irqs)
{
	regs->engine = engine;
	regs->irqs = irqs;
	mutex_init(&regs->lock);
}

static void set_low(u64 *reg, u32 value)
{
	*reg = (*reg & ~(u64)U32_MAX) | value;
}

static void set_high(u64 *reg, u32 value)
{
	*reg = (*reg & U32_MAX) | (u64)value << 32;
}

/**
 * mdma_regs_reset() - all registers get their first values
 * @regs: lock held, gate held for writing
 *
 * A window that the guest gave is dropped; the administrator's stays.
 */
void mdma_regs_reset(struct mdma_regs *regs)
{
	u32 i;

	for (i = 0; i < regs->engine->nr_channels; i++)
		mdma_channel_reset(&regs->engine->channels[i]);
	regs->window = (struct mdma_window_regs) {};
	if (regs->engine->window.origin == MDMA_WINDOW_GUEST)
		mdma_workload_set_window(regs->engine, MDMA_WINDOW_NONE, NULL, 0);
}

/**
 * mdma_regs_reset_device() - back to the registers' first values, nothing pinned
 * @regs: of a device that is open, lock held, not the gate
 *
 * The workload's attributes and a window of the administrator stay.
 */
void mdma_regs_reset_device(struct mdma_regs *regs)
{
	lockdep_assert_held(&regs->lock);

	down_write(&regs->engine->gate);
	mdma_regs_reset(regs);
	mdma_workload_restart(regs->engine);
	mdma_unmap_all(&regs->engine->unmap);
	up_write(&regs->engine->gate);
}

static u32 channel_read(struct mdma_channel *ch, u32 reg)
{
	u32 value = 0;

	spin_lock(&ch->lock);
	switch (reg) {
	case MDMA_CHAN_RING:
		value = lower_32_bits(ch->ring);
		break;
	case MDMA_CHAN_RING + 4:
		value = upper_32_bits(ch->ring);
		break;
	case MDMA_CHAN_RING_SIZE:
		value = ch->ring_size;
		break;
	case MDMA_CHAN_CTRL:
		value = ch->ctrl;
		break;
	case MDMA_CHAN_TAIL:
		value = ch->tail;
		break;
	case MDMA_CHAN_HEAD:
		value = ch->head;
		break;
	case MDMA_CHAN_STATUS:
		value = ch->status;
		break;
	case MDMA_CHAN_IRQ:
		value = ch->irq;
		break;
	}
	spin_unlock(&ch->lock);
	return value;
}

static void write_ctrl(struct mdma_regs *regs, struct mdma_channel *ch,
		       u32 value)
{
	bool enable, disable, bad = false, replay;

	value &= MDMA_CTRL_ENABLE | MDMA_CTRL_IRQ;
	spin_lock(&ch->lock);
	enable = ~ch->ctrl & value & MDMA_CTRL_ENABLE;
	disable = ch->ctrl & ~value & MDMA_CTRL_ENABLE;
	replay = (~ch->ctrl & value & MDMA_CTRL_IRQ) && ch->irq;
	if (enable) {
		ch->head = 0;
		ch->tail = 0;
		ch->status = MDMA_STATUS_NONE;
		bad = !mdma_ring_valid(ch->ring, ch->ring_size);
	}
	ch->ctrl = value;
	if (bad)
		ch->status = MDMA_STATUS_BAD_RING;
	spin_unlock(&ch->lock);
	if (disable)
		mdma_channel_sync(ch);
	if (bad || replay)
		mdma_irq_raise(regs->irqs, ch);
}

/*
 * A guest that takes back all of its descriptors gives up the one that has
 * begun: wait for its end if it is being executed, forget it if it stopped
 * midway.
 */
static void write_tail(struct mdma_channel *ch, u32 value)
{
	bool bad = false, taken_back = false;

	spin_lock(&ch->lock);
	if (ch->ctrl & MDMA_CTRL_ENABLE) {
		taken_back = ch->tail != ch->head && value == ch->head;
		ch->tail = value;
		bad = !mdma_channel_tail_valid(ch) &&
		      ch->status == MDMA_STATUS_NONE;
	}
	spin_unlock(&ch->lock);
	if (bad)
		mdma_ring_fail(ch, MDMA_STATUS_BAD_DOORBELL);
	if (taken_back)
		mdma_channel_sync(ch);
	mdma_channel_kick(ch);
}

/* The ring does not move under the engine: writes are ignored meanwhile. */
static void write_ring(struct mdma_channel *ch, u32 reg, u32 value)
{
	spin_lock(&ch->lock);
	if (!(ch->ctrl & MDMA_CTRL_ENABLE)) {
		if (reg == MDMA_CHAN_RING)
			set_low(&ch->ring, value);
		else if (reg == MDMA_CHAN_RING + 4)
			set_high(&ch->ring, value);
		else
			ch->ring_size = value;
	}
	spin_unlock(&ch->lock);
}

static void channel_write(struct mdma_regs *regs, struct mdma_channel *ch,
			  u32 reg, u32 value)
{
	switch (reg) {
	case MDMA_CHAN_RING:
	case MDMA_CHAN_RING + 4:
	case MDMA_CHAN_RING_SIZE:
		write_ring(ch, reg, value);
		break;
	case MDMA_CHAN_CTRL:
		write_ctrl(regs, ch, value);
		break;
	case MDMA_CHAN_TAIL:
		write_tail(ch, value);
		break;
	case MDMA_CHAN_IRQ:
		spin_lock(&ch->lock);
		if (value & 1)
			ch->irq = 0;
		spin_unlock(&ch->lock);
		break;
	}
}

/* Reads and checks the guest's table into @range, with the gate held. */
static u32 read_table(struct mdma_regs *regs, u64 table,
		      struct mdma_range *range, u32 nr)
{
	struct mdma_channel *ch = &regs->engine->channels[0];
	int ret;

	if (!regs->engine->bus_master || nr > MDMA_MAX_RANGES ||
	    table + (nr * sizeof(*range) - 1) < table)
		return MDMA_STATUS_BAD_WINDOW;
	mutex_lock(&ch->exec);
	ret = mdma_job_load(ch, table, range, nr * sizeof(*range));
	mutex_unlock(&ch->exec);
	if (ret)
		return mdma_job_status(ret, MDMA_STATUS_BAD_WINDOW);
	if (mdma_window_check(range, nr))
		return MDMA_STATUS_BAD_WINDOW;
	return MDMA_STATUS_DONE;
}

/**
 * mdma_regs_load_window() - apply the last write to WINDOW_RANGES
 * @regs: lock held, not the gate
 * @starts: the device is about to run
 *
 * Does nothing if nothing is pending. A table is read only if the device runs
 * or starts to; to take the window back needs no DMA.
 */
void mdma_regs_load_window(struct mdma_regs *regs, bool starts)
{
	struct mdma_window_regs *window = &regs->window;
	struct mdma_range range[MDMA_MAX_RANGES];

	lockdep_assert_held(&regs->lock);

	down_read(&regs->engine->gate);
	if (window->pending && !window->ranges)
		window->status = MDMA_STATUS_DONE;
	else if (window->pending && (regs->engine->running || starts))
		window->status = read_table(regs, window->table, range,
					    window->ranges);
	up_read(&regs->engine->gate);
	if (!window->pending || window->status == MDMA_STATUS_NONE)
		return;
	window->pending = false;
	if (window->status != MDMA_STATUS_DONE)
		return;
	down_write(&regs->engine->gate);
	/* What the guest takes back is its own window */
	if (window->ranges || regs->engine->window.origin == MDMA_WINDOW_GUEST)
		mdma_workload_set_window(regs->engine, MDMA_WINDOW_GUEST, range,
					 window->ranges);
	up_write(&regs->engine->gate);
}

static void write_window(struct mdma_regs *regs, u32 offset, u32 value)
{
	struct mdma_window_regs *window = &regs->window;

	switch (offset) {
	case MDMA_REG_WINDOW_TABLE:
		set_low(&window->table, value);
		break;
	case MDMA_REG_WINDOW_TABLE + 4:
		set_high(&window->table, value);
		break;
	case MDMA_REG_WINDOW_RANGES:
		window->ranges = value;
		window->status = MDMA_STATUS_NONE;
		window->pending = true;
		mdma_regs_load_window(regs, false);
		break;
	}
}

static struct mdma_channel *channel_at(struct mdma_regs *regs, u32 offset)
{
	u32 n = (offset - MDMA_REG_CHANNEL_BASE) / MDMA_REG_CHANNEL_SIZE;

	if (offset < MDMA_REG_CHANNEL_BASE || n >= regs->engine->nr_channels)
		return NULL;
	return &regs->engine->channels[n];
}

/**
 * mdma_regs_read() - read a register
 * @regs: lock held
 * @offset: in BAR0, a multiple of 4
 *
 * Return: 4 bytes of the register; 0 where there is none, as in the MSI-X
 * table, which the VMM emulates.
 */
u32 mdma_regs_read(struct mdma_regs *regs, u32 offset)
{
	struct mdma_channel *ch = channel_at(regs, offset);

	if (ch)
		return channel_read(ch, offset % MDMA_REG_CHANNEL_SIZE);
	switch (offset) {
	case MDMA_REG_MAGIC:
		return MDMA_MAGIC;
	case MDMA_REG_VERSION:
		return MDMA_VERSION;
	case MDMA_REG_CHANNELS:
		return regs->engine->nr_channels;
	case MDMA_REG_WINDOW_TABLE:
		return lower_32_bits(regs->window.table);
	case MDMA_REG_WINDOW_TABLE + 4:
		return upper_32_bits(regs->window.table);
	case MDMA_REG_WINDOW_RANGES:
		return regs->window.ranges;
	case MDMA_REG_WINDOW_STATUS:
		return regs->window.status;
	default:
		return 0;
	}
}

/**
 * mdma_regs_write() - write a register
 * @regs: lock held
 * @offset: in BAR0, a multiple of 4
 * @value: from the guest
 */
void mdma_regs_write(struct mdma_regs *regs, u32 offset, u32 value)
{
	struct mdma_channel *ch = channel_at(regs, offset);

	if (ch) {
		down_read(&regs->engine->gate);
		channel_write(regs, ch, offset % MDMA_REG_CHANNEL_SIZE, value);
		up_read(&regs->engine->gate);
	} else if (offset == MDMA_REG_RESET) {
		mdma_regs_reset_device(regs);
	} else {
		write_window(regs, offset, value);
	}
}

/**
 * mdma_regs_save() - the registers of the window for a migration
 * @regs: lock held
 * @snap: gets them
 */
void mdma_regs_save(const struct mdma_regs *regs, struct mdma_snapshot *snap)
{
	struct mdma_stream_window *to = &snap->state.window;

	to->table = cpu_to_le64(regs->window.table);
	to->table_ranges = cpu_to_le32(regs->window.ranges);
	to->table_status = cpu_to_le32(regs->window.status);
	to->table_pending = cpu_to_le32(regs->window.pending);
}

/**
 * mdma_regs_load() - what a migration brought of them
 * @regs: lock held
 * @snap: valid
 */
void mdma_regs_load(struct mdma_regs *regs, const struct mdma_snapshot *snap)
{
	const struct mdma_stream_window *from = &snap->state.window;

	regs->window.table = le64_to_cpu(from->table);
	regs->window.ranges = le32_to_cpu(from->table_ranges);
	regs->window.status = le32_to_cpu(from->table_status);
	regs->window.pending = le32_to_cpu(from->table_pending);
}
