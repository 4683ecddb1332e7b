/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints of the host driver, system "mdma". A device is named by the
 * first 4 bytes of its UUID.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mdma

#if !defined(MDMA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MDMA_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* A call of vfio_pin_pages() ended with @ret: pages or a negative error. */
TRACE_EVENT(mdma_pin,
	    TP_PROTO(u32 device, u64 iova, u32 npages, bool write, int ret),
	    TP_ARGS(device, iova, npages, write, ret),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, iova)
			     __field(u32, npages)
			     __field(bool, write)
			     __field(int, ret)),
	    TP_fast_assign(__entry->device = device;
			   __entry->iova = iova;
			   __entry->npages = npages;
			   __entry->write = write;
			   __entry->ret = ret;),
	    TP_printk("device=%08x iova=0x%llx npages=%u write=%d ret=%d",
		      __entry->device, __entry->iova, __entry->npages,
		      __entry->write, __entry->ret)
);

/* A call of vfio_unpin_pages() ended. */
TRACE_EVENT(mdma_unpin,
	    TP_PROTO(u32 device, u64 iova, u32 npages),
	    TP_ARGS(device, iova, npages),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, iova)
			     __field(u32, npages)),
	    TP_fast_assign(__entry->device = device;
			   __entry->iova = iova;
			   __entry->npages = npages;),
	    TP_printk("device=%08x iova=0x%llx npages=%u",
		      __entry->device, __entry->iova, __entry->npages)
);

/* Pages were written and are still pinned; page i of the run has @seq + i. */
TRACE_EVENT(mdma_write,
	    TP_PROTO(u32 device, u32 channel, u64 iova, u32 npages, u64 seq),
	    TP_ARGS(device, channel, iova, npages, seq),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u32, channel)
			     __field(u64, iova)
			     __field(u32, npages)
			     __field(u64, seq)),
	    TP_fast_assign(__entry->device = device;
			   __entry->channel = channel;
			   __entry->iova = iova;
			   __entry->npages = npages;
			   __entry->seq = seq;),
	    TP_printk("device=%08x channel=%u iova=0x%llx npages=%u seq=%llu",
		      __entry->device, __entry->channel, __entry->iova,
		      __entry->npages, __entry->seq)
);

/*
 * A descriptor ended, of the guest's @ring or of the workload. There is one event for
 * each that stats/descriptors counts, except for one that stopped midway and goes on
 * or was given up. A scattered one has an event for each page: all but the first are a
 * @part.
 */
TRACE_EVENT(mdma_descriptor,
	    TP_PROTO(u32 device, u32 channel, bool ring, bool part, u32 op,
		     u64 dst, u64 src, u64 len, u32 status),
	    TP_ARGS(device, channel, ring, part, op, dst, src, len, status),
	    TP_STRUCT__entry(__field(u32, device) __field(u32, channel)
			     __field(bool, ring) __field(bool, part)
			     __field(u32, op)
			     __field(u64, dst) __field(u64, src)
			     __field(u64, len) __field(u32, status)),
	    TP_fast_assign(__entry->device = device;
			   __entry->channel = channel;
			   __entry->ring = ring;
			   __entry->part = part;
			   __entry->op = op;
			   __entry->dst = dst;
			   __entry->src = src;
			   __entry->len = len;
			   __entry->status = status;),
	    TP_printk("device=%08x channel=%u ring=%d part=%d op=%u dst=0x%llx src=0x%llx len=%llu status=%u",
		      __entry->device, __entry->channel, __entry->ring,
		      __entry->part, __entry->op, __entry->dst, __entry->src,
		      __entry->len, __entry->status)
);

/* The migration state changed, see enum vfio_device_mig_state. */
TRACE_EVENT(mdma_state,
	    TP_PROTO(u32 device, u32 from, u32 to),
	    TP_ARGS(device, from, to),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u32, from)
			     __field(u32, to)),
	    TP_fast_assign(__entry->device = device;
			   __entry->from = from;
			   __entry->to = to;),
	    TP_printk("device=%08x from=%u to=%u",
		      __entry->device, __entry->from, __entry->to)
);

/* ->dma_unmap() ended; @leaked: the test hook made it do nothing. */
TRACE_EVENT(mdma_dma_unmap,
	    TP_PROTO(u32 device, u64 iova, u64 length, bool leaked),
	    TP_ARGS(device, iova, length, leaked),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, iova)
			     __field(u64, length)
			     __field(bool, leaked)),
	    TP_fast_assign(__entry->device = device;
			   __entry->iova = iova;
			   __entry->length = length;
			   __entry->leaked = leaked;),
	    TP_printk("device=%08x iova=0x%llx length=0x%llx leaked=%d",
		      __entry->device, __entry->iova, __entry->length,
		      __entry->leaked)
);

/* The dirty log was started, by VFIO_DEVICE_FEATURE_DMA_LOGGING_START. */
TRACE_EVENT(mdma_log_start,
	    TP_PROTO(u32 device, u64 page_size, u32 ranges),
	    TP_ARGS(device, page_size, ranges),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, page_size)
			     __field(u32, ranges)),
	    TP_fast_assign(__entry->device = device;
			   __entry->page_size = page_size;
			   __entry->ranges = ranges;),
	    TP_printk("device=%08x page_size=%llu ranges=%u",
		      __entry->device, __entry->page_size, __entry->ranges)
);

/* The dirty log was stopped. */
TRACE_EVENT(mdma_log_stop,
	    TP_PROTO(u32 device),
	    TP_ARGS(device),
	    TP_STRUCT__entry(__field(u32, device)),
	    TP_fast_assign(__entry->device = device;),
	    TP_printk("device=%08x", __entry->device)
);

/*
 * Pages, of MDMA_PAGE_SIZE, that a report of the dirty log holds. They count
 * only if the report ends with ret=0.
 */
TRACE_EVENT(mdma_log_run,
	    TP_PROTO(u32 device, u64 report, u64 iova, u64 npages),
	    TP_ARGS(device, report, iova, npages),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, report)
			     __field(u64, iova)
			     __field(u64, npages)),
	    TP_fast_assign(__entry->device = device;
			   __entry->report = report;
			   __entry->iova = iova;
			   __entry->npages = npages;),
	    TP_printk("device=%08x report=%llu iova=0x%llx npages=%llu",
		      __entry->device, __entry->report, __entry->iova,
		      __entry->npages)
);

/* The end of a report: pages in it. */
TRACE_EVENT(mdma_log_report,
	    TP_PROTO(u32 device, u64 report, u64 iova, u64 size, u64 dirty,
		     int ret),
	    TP_ARGS(device, report, iova, size, dirty, ret),
	    TP_STRUCT__entry(__field(u32, device)
			     __field(u64, report)
			     __field(u64, iova)
			     __field(u64, size)
			     __field(u64, dirty)
			     __field(int, ret)),
	    TP_fast_assign(__entry->device = device;
			   __entry->report = report;
			   __entry->iova = iova;
			   __entry->size = size;
			   __entry->dirty = dirty;
			   __entry->ret = ret;),
	    TP_printk("device=%08x report=%llu iova=0x%llx size=0x%llx dirty=%llu ret=%d",
		      __entry->device, __entry->report, __entry->iova,
		      __entry->size, __entry->dirty, __entry->ret)
);

#endif /* MDMA_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
