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

#include "device.h"
#include "replay_sysfs.h"
#include "settings.h"
#include "upload.h"
#include "workload.h"

#define HEADER_SIZE	sizeof(struct mdma_trace_header)

static ssize_t trace_read(struct file *filp, struct kobject *kobj,
			  MDMA_BIN_CONST struct bin_attribute *attr, char *buf,
			  loff_t pos, size_t count)
{
	struct mdma_device *dev = dev_get_drvdata(kobj_to_dev(kobj));
	struct mdma_trace_header header;
	ssize_t head, body = 0;
	loff_t at;

	if (down_read_killable(&dev->engine.gate))
		return -EINTR;
	header = mdma_upload_header(dev->engine.replay.nr);
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

/* With migration.lock held: the trace that was written becomes the device's. */
static int replace(struct mdma_device *dev)
{
	struct mdma_replay_upload *upload = &dev->upload;
	struct mdma_engine *engine = &dev->engine;
	void *old = NULL;
	int ret;

	ret = down_write_killable(&engine->gate);
	if (ret)
		return ret;
	if (mdma_workload_started(engine)) {
		ret = -EBUSY;
	} else {
		swap(engine->replay.entries, upload->entries);
		WRITE_ONCE(engine->replay.nr,
			   le32_to_cpu(upload->header.entries));
		mdma_workload_restart(engine);
		old = mdma_settings_drop_trace(engine);
	}
	up_write(&engine->gate);
	kvfree(old);
	return ret;
}

static int finish(struct mdma_device *dev)
{
	int ret;

	ret = mutex_lock_killable(&dev->migration.lock);
	if (ret)
		return ret;
	ret = replace(dev);
	mutex_unlock(&dev->migration.lock);
	return ret;
}

static ssize_t trace_write(struct file *filp, struct kobject *kobj,
			   MDMA_BIN_CONST struct bin_attribute *attr, char *buf,
			   loff_t pos, size_t count)
{
	struct mdma_device *dev = dev_get_drvdata(kobj_to_dev(kobj));
	bool more = false;
	int ret;

	if (mutex_lock_killable(&dev->upload.lock))
		return -EINTR;
	ret = mdma_upload_part(&dev->upload, buf, pos, count);
	if (!ret)
		ret = finish(dev);
	else
		more = ret > 0;
	if (!more)
		mdma_upload_drop(&dev->upload);
	mutex_unlock(&dev->upload.lock);
	return ret < 0 ? ret : count;
}

MDMA_BIN_CONST struct bin_attribute mdma_trace_attr = {
	.attr = { .name = "trace", .mode = 0644 },
	.read = trace_read,
	.write = trace_write,
};
