// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace as a file in sysfs, see Documentation/ABI/testing/
 * sysfs-bus-mdev-mdma. It comes in pieces, as sysfs passes a page at a time, and
 * becomes the device's when it is complete. Takes mdma_replay_upload.lock, and
 * migration.lock and the gate under it.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "mdma.h"
#include "settings.h"
#include "workload.h"

#define HEADER_SIZE	sizeof(struct mdma_trace_header)

/**
 * mdma_replay_init() - nothing is on its way
 * @upload: zeroed
 */
void mdma_replay_init(struct mdma_replay_upload *upload)
{
	mutex_init(&upload->lock);
}

/**
 * mdma_replay_destroy() - drop the trace, and one that is on its way
 * @dev: nobody uses it any more
 */
void mdma_replay_destroy(struct mdma_device *dev)
{
	kvfree(dev->engine.replay.entries);
	kvfree(dev->upload.entries);
	mutex_destroy(&dev->upload.lock);
}

static struct mdma_trace_header header_of(u32 entries)
{
	return (struct mdma_trace_header) {
		.magic = cpu_to_le32(MDMA_TRACE_MAGIC),
		.version = cpu_to_le32(MDMA_TRACE_VERSION),
		.entries = cpu_to_le32(entries),
	};
}

static ssize_t trace_read(struct file *filp, struct kobject *kobj,
			  struct bin_attribute *attr, char *buf, loff_t pos,
			  size_t count)
{
	struct mdma_device *dev = dev_get_drvdata(kobj_to_dev(kobj));
	struct mdma_trace_header header;
	ssize_t head, body = 0;
	loff_t at;

	down_read(&dev->engine.gate);
	header = header_of(dev->engine.replay.nr);
	head = memory_read_from_buffer(buf, count, &pos, &header, HEADER_SIZE);
	at = pos - HEADER_SIZE;
	if (head >= 0 && at >= 0 && dev->engine.replay.nr)
		body = memory_read_from_buffer(buf + head, count - head, &at,
					       dev->engine.replay.entries,
					       dev->engine.replay.nr *
					       sizeof(*dev->engine.replay.entries));
	up_read(&dev->engine.gate);
	return head < 0 ? head : head + body;
}

static void drop_upload(struct mdma_replay_upload *upload)
{
	kvfree(upload->entries);
	upload->entries = NULL;
	upload->size = 0;
}

static size_t whole_size(const struct mdma_replay_upload *upload)
{
	return HEADER_SIZE + (size_t)le32_to_cpu(upload->header.entries) *
			     sizeof(*upload->entries);
}

/* A new trace begins: what its header says is checked. */
static int begin_upload(struct mdma_replay_upload *upload, const char *buf,
			size_t count)
{
	struct mdma_trace_header want;
	u32 nr;

	drop_upload(upload);
	if (count < HEADER_SIZE)
		return -EINVAL;
	memcpy(&upload->header, buf, HEADER_SIZE);
	nr = le32_to_cpu(upload->header.entries);
	want = header_of(nr);
	if (memcmp(&upload->header, &want, HEADER_SIZE))
		return -EINVAL;
	if (nr > MDMA_TRACE_MAX)
		return -E2BIG;
	upload->entries = kvcalloc(max(nr, 1U), sizeof(*upload->entries),
				   GFP_KERNEL_ACCOUNT);
	return upload->entries ? 0 : -ENOMEM;
}

/* The trace that was written becomes the device's. */
static int finish_upload(struct mdma_device *dev)
{
	struct mdma_replay_upload *upload = &dev->upload;
	u32 nr = le32_to_cpu(upload->header.entries);
	void *old = NULL;
	int ret;

	ret = mdma_trace_check(upload->entries, nr, sizeof(*upload->entries));
	if (ret)
		return ret;
	mutex_lock(&dev->migration.lock);
	down_write(&dev->engine.gate);
	if (mdma_workload_started(&dev->engine)) {
		ret = -EBUSY;
	} else {
		swap(dev->engine.replay.entries, upload->entries);
		WRITE_ONCE(dev->engine.replay.nr, nr);
		mdma_workload_restart(&dev->engine);
		old = mdma_settings_drop_trace(&dev->engine);
	}
	up_write(&dev->engine.gate);
	mutex_unlock(&dev->migration.lock);
	kvfree(old);
	return ret;
}

/* The part [@pos, @pos + @count) of a trace; @pos is where the last one ended. */
static int take_part(struct mdma_device *dev, const char *buf, loff_t pos,
		     size_t count)
{
	struct mdma_replay_upload *upload = &dev->upload;
	size_t skip = 0;
	int ret;

	if (!pos) {
		ret = begin_upload(upload, buf, count);
		if (ret)
			return ret;
		skip = HEADER_SIZE;
	}
	if (!upload->entries || pos != upload->size)
		return -EINVAL;
	if (count > whole_size(upload) - upload->size)
		return -EFBIG;
	memcpy((void *)upload->entries + pos + skip - HEADER_SIZE, buf + skip,
	       count - skip);
	upload->size += count;
	return upload->size == whole_size(upload) ? finish_upload(dev) : 1;
}

static ssize_t trace_write(struct file *filp, struct kobject *kobj,
			   struct bin_attribute *attr, char *buf, loff_t pos,
			   size_t count)
{
	struct mdma_device *dev = dev_get_drvdata(kobj_to_dev(kobj));
	int ret;

	mutex_lock(&dev->upload.lock);
	ret = take_part(dev, buf, pos, count);
	if (ret <= 0)
		drop_upload(&dev->upload);
	mutex_unlock(&dev->upload.lock);
	return ret < 0 ? ret : count;
}

struct bin_attribute mdma_trace_attr = {
	.attr = { .name = "trace", .mode = 0644 },
	.read = trace_read,
	.write = trace_write,
};
