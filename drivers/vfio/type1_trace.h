/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints of the backend: what user space was told, and when.
 *
 * A run is traced under iommu->lock, before its bits can reach user space. So a
 * page that is traced as written by its device before a run that holds it is
 * in what user space reads after that report.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vfio_type1

#if !defined(_TYPE1_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TYPE1_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

DECLARE_EVENT_CLASS(vfio_dirty_container,
	TP_PROTO(const void *container),
	TP_ARGS(container),
	TP_STRUCT__entry(
		__field(const void *, container)
	),
	TP_fast_assign(
		__entry->container = container;
	),
	TP_printk("container=%p", __entry->container)
);

DEFINE_EVENT(vfio_dirty_container, vfio_dirty_start,
	TP_PROTO(const void *container), TP_ARGS(container));

DEFINE_EVENT(vfio_dirty_container, vfio_dirty_stop,
	TP_PROTO(const void *container), TP_ARGS(container));

/* Pages that a report holds. They count only if the report ends with ret=0. */
TRACE_EVENT(vfio_dirty_run,
	TP_PROTO(u64 report, u64 iova, u64 npages),
	TP_ARGS(report, iova, npages),
	TP_STRUCT__entry(
		__field(u64, report)
		__field(u64, iova)
		__field(u64, npages)
	),
	TP_fast_assign(
		__entry->report = report;
		__entry->iova = iova;
		__entry->npages = npages;
	),
	TP_printk("report=%llu iova=0x%llx npages=%llu",
		  __entry->report, __entry->iova, __entry->npages)
);

/* The end of a report: dirty pages in it, retained records dropped after it. */
TRACE_EVENT(vfio_dirty_report,
	TP_PROTO(u64 report, bool unmap, u64 iova, u64 size, u64 dirty,
		 u64 retained, int ret),
	TP_ARGS(report, unmap, iova, size, dirty, retained, ret),
	TP_STRUCT__entry(
		__field(u64, report)
		__field(u64, iova)
		__field(u64, size)
		__field(u64, dirty)
		__field(u64, retained)
		__field(int, ret)
		__field(bool, unmap)
	),
	TP_fast_assign(
		__entry->report = report;
		__entry->iova = iova;
		__entry->size = size;
		__entry->dirty = dirty;
		__entry->retained = retained;
		__entry->ret = ret;
		__entry->unmap = unmap;
	),
	TP_printk("report=%llu op=%s iova=0x%llx size=0x%llx dirty=%llu retained=%llu ret=%d",
		  __entry->report, __entry->unmap ? "unmap" : "get",
		  __entry->iova, __entry->size, __entry->dirty,
		  __entry->retained, __entry->ret)
);

#endif /* _TYPE1_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE type1_trace
#include <trace/define_trace.h>
