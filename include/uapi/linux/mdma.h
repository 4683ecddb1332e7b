/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * mdma: mediated DMA. The one contract between the host driver, the guest
 * driver, user space and a migration stream.
 *
 * All multi-byte fields in guest memory, in the ledger and in the stream are
 * little-endian. Registers are accessed by aligned reads and writes of 4 or
 * 8 bytes; anything else reads as ones and is ignored on write.
 *
 * An IOVA is a device address; "last" is inclusive; a page is 4 KiB.
 */
#ifndef _UAPI_LINUX_MDMA_H
#define _UAPI_LINUX_MDMA_H

#include <linux/types.h>

/* PCI identity. 0x1234 is not assigned; QEMU's own sample devices use it. */
#define MDMA_PCI_VENDOR_ID		0x1234
#define MDMA_PCI_DEVICE_ID		0x6d64	/* "md" */
#define MDMA_PCI_REVISION		1

#define MDMA_PAGE_SHIFT			12
#define MDMA_PAGE_SIZE			(1UL << MDMA_PAGE_SHIFT)

#define MDMA_MAX_CHANNELS		16
#define MDMA_MAX_RANGES			64	/* ranges of a window */

/* BAR0: registers, then the MSI-X table and its pending bits. */
#define MDMA_BAR0_SIZE			0x4000
#define MDMA_MSIX_TABLE_OFFSET		0x2000
#define MDMA_MSIX_PBA_OFFSET		0x3000
/*
 * One MSI-X vector per channel: vector n belongs to channel n. Without MSI-X,
 * INTx is asserted while any channel with MDMA_CTRL_IRQ has IRQ pending.
 */

/* Device registers */
#define MDMA_REG_MAGIC			0x000	/* RO, MDMA_MAGIC */
#define MDMA_REG_VERSION		0x004	/* RO, MDMA_VERSION */
#define MDMA_REG_CHANNELS		0x008	/* RO, number of channels */
#define MDMA_REG_RESET			0x00c	/* WO, any write resets */
/*
 * The window: memory that the guest gives to the host-side workload. The
 * guest writes the IOVA of a table of struct mdma_range and then the number
 * of ranges (0 takes the window back); the device reads the table before the
 * write returns. WINDOW_STATUS holds the result (enum mdma_status). A device
 * that a migration has quiesced reads the table later, before it writes to
 * guest memory again; until then WINDOW_STATUS is MDMA_STATUS_NONE. A window
 * is always taken back before the write returns.
 */
#define MDMA_REG_WINDOW_TABLE		0x010	/* RW, 64 bit, IOVA */
#define MDMA_REG_WINDOW_RANGES		0x018	/* RW, 0..MDMA_MAX_RANGES */
#define MDMA_REG_WINDOW_STATUS		0x01c	/* RO */

#define MDMA_MAGIC			0x616d646d	/* "mdma" */
#define MDMA_VERSION			1

/* Channel registers: channel n at MDMA_REG_CHANNEL(n). */
#define MDMA_REG_CHANNEL_BASE		0x1000
#define MDMA_REG_CHANNEL_SIZE		0x40
#define MDMA_REG_CHANNEL(n) \
	(MDMA_REG_CHANNEL_BASE + (n) * MDMA_REG_CHANNEL_SIZE)
#define MDMA_CHAN_RING			0x00	/* RW, 64 bit, IOVA, 64-byte aligned */
#define MDMA_CHAN_RING_SIZE		0x08	/* RW, entries, power of two */
#define MDMA_CHAN_CTRL			0x0c	/* RW, MDMA_CTRL_* */
/*
 * HEAD counts the descriptors the device has completed and TAIL those the
 * guest has queued; both run freely modulo 2^32 and are 0 after reset or
 * enable. Writing TAIL is the doorbell. A TAIL more than RING_SIZE ahead of
 * HEAD is an error (MDMA_STATUS_BAD_DOORBELL).
 *
 * HEAD counts a descriptor after its status was written. A guest that has seen
 * the status can queue another descriptor in that slot at once: TAIL is checked
 * as if HEAD had counted the descriptor.
 */
#define MDMA_CHAN_TAIL			0x10	/* RW, doorbell */
#define MDMA_CHAN_HEAD			0x14	/* RO */
#define MDMA_CHAN_STATUS		0x18	/* RO, enum mdma_status; not 0 halts the ring */
#define MDMA_CHAN_IRQ			0x1c	/* RO, 1 if pending; write 1 clears */

#define MDMA_CTRL_ENABLE		(1U << 0) /* 0 to 1: HEAD, TAIL, STATUS become 0 */
#define MDMA_CTRL_IRQ			(1U << 1)

#define MDMA_RING_SIZE_MIN		2
#define MDMA_RING_SIZE_MAX		1024

/**
 * enum mdma_op - what a descriptor does
 * @MDMA_OP_NOP: nothing
 * @MDMA_OP_COPY: copy @len bytes from @src to @dst, which must not overlap
 * @MDMA_OP_FILL: fill @len bytes at @dst with the 8 bytes of @data, repeated
 *	from the first byte of @dst on
 * @MDMA_OP_STAMP: write a struct mdma_stamp to the start of each page in
 *	[@dst, @dst + @len); @dst and @len are page aligned
 * @MDMA_OP_READ: read @len bytes at @src; their CRC32 (crc32_le(~0), not
 *	inverted at the end) goes to @result
 */
enum mdma_op {
	MDMA_OP_NOP	= 0,
	MDMA_OP_COPY	= 1,
	MDMA_OP_FILL	= 2,
	MDMA_OP_STAMP	= 3,
	MDMA_OP_READ	= 4,
};

/* Raise the channel's vector when done. A descriptor that fails always raises it. */
#define MDMA_DESC_IRQ			(1U << 0)
#define MDMA_DESC_MAX_LEN		(512UL << MDMA_PAGE_SHIFT)

/**
 * enum mdma_status - how a descriptor, or a register command, ended
 * @MDMA_STATUS_NONE: not done yet; no error
 * @MDMA_STATUS_DONE: done
 * @MDMA_STATUS_BAD_OP: unknown op or flags
 * @MDMA_STATUS_BAD_LENGTH: length is 0, too long, or wraps around
 * @MDMA_STATUS_BAD_ADDRESS: address is not mapped, or misaligned
 * @MDMA_STATUS_BAD_RING: ring is not mapped, or has a bad size
 * @MDMA_STATUS_BAD_DOORBELL: TAIL is too far ahead
 * @MDMA_STATUS_BAD_WINDOW: table is not mapped, or has a bad range
 * @MDMA_STATUS_DEVICE_ERROR: not the guest's fault: the host ran out of memory,
 *	or the ledger may not grow
 */
enum mdma_status {
	MDMA_STATUS_NONE		= 0,
	MDMA_STATUS_DONE		= 1,
	MDMA_STATUS_BAD_OP		= 2,
	MDMA_STATUS_BAD_LENGTH		= 3,
	MDMA_STATUS_BAD_ADDRESS		= 4,
	MDMA_STATUS_BAD_RING		= 5,
	MDMA_STATUS_BAD_DOORBELL	= 6,
	MDMA_STATUS_BAD_WINDOW		= 7,
	MDMA_STATUS_DEVICE_ERROR	= 8,
};

/**
 * struct mdma_desc - a descriptor, 64 bytes, an entry of a channel's ring
 * @op: enum mdma_op
 * @flags: MDMA_DESC_*
 * @dst: IOVA
 * @src: IOVA
 * @len: bytes, 1 to MDMA_DESC_MAX_LEN (NOP: ignored)
 * @data: pattern of FILL
 * @status: written by the device when the descriptor is done; the guest writes 0
 * @result: written by the device before @status
 * @cookie: for the guest; ignored by the device
 * @reserved: ignored
 */
struct mdma_desc {
	__le32 op;
	__le32 flags;
	__le64 dst;
	__le64 src;
	__le64 len;
	__le64 data;
	__le32 status;
	__le32 result;
	__le64 cookie;
	__le64 reserved;
};

/**
 * struct mdma_range - one range of a window
 * @iova: page aligned
 * @size: bytes, page aligned, not 0
 */
struct mdma_range {
	__le64 iova;
	__le64 size;
};

/**
 * struct mdma_stamp - what STAMP writes to the start of a page
 * @magic: MDMA_STAMP_MAGIC
 * @seq: number of this page write, see struct mdma_ledger_record
 * @iova: of the page
 * @device: first 4 bytes of the mdev's UUID, as the number in which they are
 *	printed: 0x11223344 for 11223344-...
 * @channel: the channel that wrote
 */
struct mdma_stamp {
	__le64 magic;
	__le64 seq;
	__le64 iova;
	__le32 device;
	__le32 channel;
};

#define MDMA_STAMP_MAGIC		0x706d6174536d646dULL	/* "mdmStamp" */

/**
 * struct mdma_ledger_record - one page that the device wrote
 * @iova: of the page
 * @seq: number of its last write. Every page write of a device has its own
 *	number, counted from 1
 * @writes: how often it was written
 * @channel: the channel that wrote last, MDMA_CHANNEL_NONE for a debugfs hook
 * @reserved: 0
 *
 * The ledger (debugfs) is a sequence of these records in ascending @iova. It
 * holds no times: the same descriptors give the same ledger.
 */
struct mdma_ledger_record {
	__le64 iova;
	__le64 seq;
	__le64 writes;
	__le32 channel;
	__le32 reserved;
};

#define MDMA_CHANNEL_NONE		0xffffffffU

/*
 * The ledger is also a region of the VFIO device, read-only. The type of the
 * region (VFIO_REGION_INFO_CAP_TYPE) is VFIO_REGION_TYPE_PCI_VENDOR_TYPE with
 * MDMA_PCI_VENDOR_ID, and this is the subtype. A read at offset 0 makes a copy
 * of the ledger. That read and all later reads at other offsets return the copy:
 * the header, the records, and then zeroes.
 */
#define MDMA_REGION_SUBTYPE_LEDGER	1

/**
 * struct mdma_ledger_header - start of the ledger's region
 * @magic: MDMA_LEDGER_MAGIC
 * @version: MDMA_LEDGER_VERSION
 * @records: struct mdma_ledger_record that follow
 * @seq: number of the last page write; no record has a higher one
 * @refused: writes that did not happen because the ledger may not grow
 */
struct mdma_ledger_header {
	__le32 magic;
	__le32 version;
	__le64 records;
	__le64 seq;
	__le64 refused;
};

#define MDMA_LEDGER_MAGIC		0x7267646c	/* "ldgr" */
#define MDMA_LEDGER_VERSION		1

/*
 * The migration stream is a sequence of records in this order: CONFIG (sent in
 * PRE_COPY), STATE, KNOBS, WORKLOADS, TRACE, PROGRESS, HELD, END. WORKLOADS,
 * TRACE, PROGRESS and HELD are present only if they have content. Each of the
 * others is present exactly once. Nothing follows END.
 *
 * A receiver refuses another MAJOR. A newer MINOR may lengthen a payload or the
 * entries of an array; the receiver takes the part that it knows. A newer MINOR
 * may also add records of unknown types between CONFIG and END; the receiver
 * skips them. All records of a stream have the same version.
 *
 * Minor 1 added PROGRESS and HELD. Minor 2 added KNOBS, and the patterns after
 * MDMA_PATTERN_RING; a stream without KNOBS means the values of a new device.
 * Minor 3 added WORKLOADS, TRACE, MDMA_PATTERN_TRACE and the last two fields of
 * struct mdma_stream_held. A receiver refuses a pattern that it does not know,
 * whatever the minor, so a new pattern alone needs no new minor.
 */
#define MDMA_STREAM_MAGIC		0x7274736d	/* "mstr" */
#define MDMA_STREAM_MAJOR		1
#define MDMA_STREAM_MINOR		3
#define MDMA_STREAM_MAX			0x400000	/* bytes of a whole stream */

/**
 * enum mdma_record_type - what a record of the stream contains
 * @MDMA_RECORD_CONFIG: struct mdma_stream_config
 * @MDMA_RECORD_STATE: struct mdma_stream_state
 * @MDMA_RECORD_END: no payload
 * @MDMA_RECORD_PROGRESS: struct mdma_stream_array of struct
 *	mdma_stream_progress: channels that stopped within a descriptor
 * @MDMA_RECORD_HELD: struct mdma_stream_array of struct mdma_stream_held: runs
 *	of pages that the destination is to pin again; for each channel, the
 *	oldest first
 * @MDMA_RECORD_KNOBS: struct mdma_stream_knobs, of channel 0's workload
 * @MDMA_RECORD_WORKLOADS: struct mdma_stream_array of struct
 *	mdma_stream_channel_workload: of the other channels
 * @MDMA_RECORD_TRACE: struct mdma_stream_array of struct mdma_trace_entry
 */
enum mdma_record_type {
	MDMA_RECORD_CONFIG	= 1,
	MDMA_RECORD_STATE	= 2,
	MDMA_RECORD_END		= 3,
	MDMA_RECORD_PROGRESS	= 4,
	MDMA_RECORD_HELD	= 5,
	MDMA_RECORD_KNOBS	= 6,
	MDMA_RECORD_WORKLOADS	= 7,
	MDMA_RECORD_TRACE	= 8,
};

/**
 * struct mdma_stream_record - header of a record
 * @magic: MDMA_STREAM_MAGIC
 * @major: MDMA_STREAM_MAJOR
 * @minor: MDMA_STREAM_MINOR
 * @type: enum mdma_record_type
 * @length: bytes of payload that follow the header
 * @reserved: 0
 * @crc: crc32_le(~0), not inverted at the end, over the header without @crc
 *	and then the payload
 */
struct mdma_stream_record {
	__le32 magic;
	__le16 major;
	__le16 minor;
	__le32 type;
	__le32 length;
	__le32 reserved;
	__le32 crc;
};

/**
 * struct mdma_stream_config - what must be equal on both sides
 * @channels: number of channels
 * @page_shift: MDMA_PAGE_SHIFT
 */
struct mdma_stream_config {
	__le32 channels;
	__le32 page_shift;
};

/**
 * struct mdma_stream_channel - registers of a channel, see MDMA_CHAN_*
 * @ring: RING
 * @ring_size: RING_SIZE
 * @ctrl: CTRL
 * @tail: TAIL
 * @head: HEAD
 * @status: STATUS
 * @irq: IRQ
 */
struct mdma_stream_channel {
	__le64 ring;
	__le32 ring_size;
	__le32 ctrl;
	__le32 tail;
	__le32 head;
	__le32 status;
	__le32 irq;
};

/**
 * enum mdma_window_origin - who set the window
 * @MDMA_WINDOW_NONE: nobody, the window is empty
 * @MDMA_WINDOW_ADMIN: the administrator, by sysfs
 * @MDMA_WINDOW_GUEST: the guest, by registers
 */
enum mdma_window_origin {
	MDMA_WINDOW_NONE	= 0,
	MDMA_WINDOW_ADMIN	= 1,
	MDMA_WINDOW_GUEST	= 2,
};

/**
 * struct mdma_stream_window - the window and its registers
 * @table: WINDOW_TABLE
 * @table_ranges: WINDOW_RANGES
 * @table_status: WINDOW_STATUS
 * @table_pending: 1 if the device has yet to read the table
 * @origin: enum mdma_window_origin
 * @nr_ranges: used entries of @ranges; the rest is 0
 * @reserved: 0
 * @ranges: of the window, in the order in which the workload uses them
 */
struct mdma_stream_window {
	__le64 table;
	__le32 table_ranges;
	__le32 table_status;
	__le32 table_pending;
	__le32 origin;
	__le32 nr_ranges;
	__le32 reserved;
	struct mdma_range ranges[MDMA_MAX_RANGES];
};

/**
 * enum mdma_pattern - order in which the workload visits the window
 * @MDMA_PATTERN_SEQUENTIAL: one run of pages after the other, round and round
 * @MDMA_PATTERN_RANDOM: any run
 * @MDMA_PATTERN_RING: sequential, and the last runs stay pinned, like the
 *	buffers of a network card's receive ring
 * @MDMA_PATTERN_STRIDE: every n-th run, and then those between them
 * @MDMA_PATTERN_ZIPF: any run, the first ones more often
 * @MDMA_PATTERN_HOT: any run, but most often one of a hot set that moves
 * @MDMA_PATTERN_SCATTER: each page of a descriptor is any page
 * @MDMA_PATTERN_TRACE: not the window, but one entry of a trace after the other
 */
enum mdma_pattern {
	MDMA_PATTERN_SEQUENTIAL	= 0,
	MDMA_PATTERN_RANDOM	= 1,
	MDMA_PATTERN_RING	= 2,
	MDMA_PATTERN_STRIDE	= 3,
	MDMA_PATTERN_ZIPF	= 4,
	MDMA_PATTERN_HOT	= 5,
	MDMA_PATTERN_SCATTER	= 6,
	MDMA_PATTERN_TRACE	= 7,
};

/* The last of them. Streams and tests take all patterns up to it. */
#define MDMA_PATTERN_LAST	MDMA_PATTERN_TRACE

/**
 * enum mdma_direction - what the workload does to a run of pages
 * @MDMA_DIRECTION_WRITE: MDMA_OP_STAMP
 * @MDMA_DIRECTION_READ: MDMA_OP_READ
 * @MDMA_DIRECTION_MIXED: either
 */
enum mdma_direction {
	MDMA_DIRECTION_WRITE	= 0,
	MDMA_DIRECTION_READ	= 1,
	MDMA_DIRECTION_MIXED	= 2,
};

/**
 * enum mdma_access_mode - how the workload accesses memory
 * @MDMA_ACCESS_PIN: vfio_pin_pages(), the host's mapping, vfio_unpin_pages()
 * @MDMA_ACCESS_RW: vfio_dma_rw(), page by page
 */
enum mdma_access_mode {
	MDMA_ACCESS_PIN	= 0,
	MDMA_ACCESS_RW	= 1,
};

/**
 * enum mdma_on_error - what the workload does after a descriptor that failed
 * @MDMA_ON_ERROR_SKIP: execute the next one
 * @MDMA_ON_ERROR_STOP: stop
 * @MDMA_ON_ERROR_RETRY: execute the same one again
 */
enum mdma_on_error {
	MDMA_ON_ERROR_SKIP	= 0,
	MDMA_ON_ERROR_STOP	= 1,
	MDMA_ON_ERROR_RETRY	= 2,
};

#define MDMA_BATCH_MAX			512
#define MDMA_HOLD_MS_MAX		600000
#define MDMA_RING_MAX			65536	/* runs */
#define MDMA_THETA_MAX			999	/* thousandths */
#define MDMA_PAUSE_MS_MAX		600000

/**
 * struct mdma_stream_workload - the workload and its position
 * @pattern: enum mdma_pattern
 * @direction: enum mdma_direction
 * @batch: pages, 1 to MDMA_BATCH_MAX
 * @hold_ms: milliseconds, 0 to MDMA_HOLD_MS_MAX
 * @rate: descriptors per second, 0 for no limit
 * @run: 1 if it is started
 * @pages: working set, 0 for the whole window
 * @seed: of the generator
 * @prng: state of the generator
 * @position: the next run of pages in the sequence; for MDMA_PATTERN_TRACE, the
 *	next entry
 */
struct mdma_stream_workload {
	__le32 pattern;
	__le32 direction;
	__le32 batch;
	__le32 hold_ms;
	__le32 rate;
	__le32 run;
	__le64 pages;
	__le64 seed;
	__le64 prng;
	__le64 position;
};

/**
 * struct mdma_stream_knobs - attributes that struct mdma_stream_workload lacks
 * @access: enum mdma_access_mode
 * @on_error: enum mdma_on_error
 * @write_percent: writes of MDMA_DIRECTION_MIXED, 0 to 100
 * @ring: runs that stay pinned, 1 to MDMA_RING_MAX
 * @stride: runs, not 0
 * @theta: thousandths, 0 to MDMA_THETA_MAX
 * @hot: runs of the hot set, not 0
 * @hot_percent: percentage of visits that go to the hot set, 0 to 100
 * @drift: visits until the hot set moves by one run, 0 for never
 * @burst: descriptors between two pauses, 0 for no pauses
 * @pause_ms: milliseconds, 0 to MDMA_PAUSE_MS_MAX
 * @burst_done: descriptors since the last pause
 * @skipped: descriptors that failed and were skipped
 * @stopped: descriptors that failed and stopped the workload
 * @retried: descriptors that failed and were tried again
 */
struct mdma_stream_knobs {
	__le32 access;
	__le32 on_error;
	__le32 write_percent;
	__le32 ring;
	__le32 stride;
	__le32 theta;
	__le32 hot;
	__le32 hot_percent;
	__le32 drift;
	__le32 burst;
	__le32 pause_ms;
	__le32 burst_done;
	__le64 skipped;
	__le64 stopped;
	__le64 retried;
};

/**
 * struct mdma_stream_channel_workload - the workload of a channel other than 0
 * @channel: number, ascending, not 0
 * @reserved: 0
 * @workload: like channel 0's in struct mdma_stream_state
 * @knobs: likewise; the counters are 0, because they belong to the device
 */
struct mdma_stream_channel_workload {
	__le32 channel;
	__le32 reserved;
	struct mdma_stream_workload workload;
	struct mdma_stream_knobs knobs;
};

#define MDMA_TRACE_WRITE		(1U << 0) /* otherwise the pages are read */
#define MDMA_TRACE_MAX			16384	/* entries */
#define MDMA_TRACE_US_MAX		1000000000000ULL

/**
 * struct mdma_trace_entry - a run of pages that a workload is to access
 * @iova: page aligned
 * @at_us: microseconds since the start of the trace, up to MDMA_TRACE_US_MAX,
 *	not less than that of the previous entry
 * @npages: 1 to MDMA_BATCH_MAX
 * @flags: MDMA_TRACE_*
 * @hold_ms: how long the run stays pinned, 0 to MDMA_HOLD_MS_MAX milliseconds
 * @reserved: 0
 */
struct mdma_trace_entry {
	__le64 iova;
	__le64 at_us;
	__le32 npages;
	__le32 flags;
	__le32 hold_ms;
	__le32 reserved;
};

/**
 * struct mdma_trace_header - start of a trace in sysfs
 * @magic: MDMA_TRACE_MAGIC
 * @version: MDMA_TRACE_VERSION
 * @entries: struct mdma_trace_entry that follow, up to MDMA_TRACE_MAX
 * @reserved: 0
 */
struct mdma_trace_header {
	__le32 magic;
	__le32 version;
	__le32 entries;
	__le32 reserved;
};

#define MDMA_TRACE_MAGIC		0x6372746d	/* "mtrc" */
#define MDMA_TRACE_VERSION		1

/* No device counts this far. A larger value in a stream is cut to this one. */
#define MDMA_STREAM_COUNTER_MAX		(1ULL << 62)

/**
 * struct mdma_stream_stats - counters, in pages unless stated otherwise
 * @seq: sequence number of the last page write
 * @pages_written: page writes
 * @pages_read: page reads
 * @descriptors: descriptors
 * @pins: pages pinned
 * @unpins: pages unpinned
 * @pin_errors: pin calls that failed
 */
struct mdma_stream_stats {
	__le64 seq;
	__le64 pages_written;
	__le64 pages_read;
	__le64 descriptors;
	__le64 pins;
	__le64 unpins;
	__le64 pin_errors;
};

/**
 * struct mdma_stream_state - the state of a quiesced device
 * @channel: registers; those beyond the number of channels are 0
 * @window: the window
 * @workload: the workload
 * @stats: counters
 */
struct mdma_stream_state {
	struct mdma_stream_channel channel[MDMA_MAX_CHANNELS];
	struct mdma_stream_window window;
	struct mdma_stream_workload workload;
	struct mdma_stream_stats stats;
};

/**
 * struct mdma_stream_array - start of a payload with several entries
 * @count: entries that follow
 * @size: bytes of each
 */
struct mdma_stream_array {
	__le32 count;
	__le32 size;
};

/**
 * struct mdma_stream_progress - a channel that stopped within a descriptor
 * @channel: number, ascending; its ring is enabled and not empty
 * @result: CRC32 of the bytes that a READ has read so far
 * @done: bytes done, more than 0 and less than the descriptor's length
 * @desc: the descriptor as the device read it when it began
 */
struct mdma_stream_progress {
	__le32 channel;
	__le32 result;
	__le64 done;
	struct mdma_desc desc;
};

#define MDMA_HELD_WRITE			(1U << 0) /* pinned for writing */
#define MDMA_HELD_PAGES_MAX		65536	/* in all runs together */

/**
 * struct mdma_stream_held - a run of pages that was held
 * @iova: page aligned
 * @npages: 1 to MDMA_BATCH_MAX
 * @flags: MDMA_HELD_*
 * @age_us: how long it has been held, in microseconds
 * @channel: the channel whose workload held it
 * @hold_ms: how long it is to be held, 0 to MDMA_HOLD_MS_MAX milliseconds; 0: as
 *	long as hold_ms of that workload
 */
struct mdma_stream_held {
	__le64 iova;
	__le32 npages;
	__le32 flags;
	__le64 age_us;
	__le32 channel;
	__le32 hold_ms;
};

#endif /* _UAPI_LINUX_MDMA_H */
