// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log's files in sysfs, see Documentation/ABI/testing/
 * sysfs-bus-mdev-mdma. Takes mdma_dirty_log.lock.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "device.h"
#include "dirty_log_sysfs.h"
#include "vfio.h"

static struct mdma_device *to_mdma(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static ssize_t enabled_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", !!READ_ONCE(to_mdma(dev)->vdev.log_ops));
}

static ssize_t enabled_store(struct device *dev, struct device_attribute *attr,
			     const char *buf, size_t count)
{
	bool on;
	int ret;

	ret = kstrtobool(buf, &on);
	if (!ret)
		ret = mdma_vfio_offer_log(to_mdma(dev), on);
	return ret ?: count;
}
static DEVICE_ATTR_RW(enabled);

static ssize_t page_size_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	struct mdma_dirty_log *log = &to_mdma(dev)->engine.dirty_log;
	u64 size;

	mutex_lock(&log->lock);
	size = log->nr_ranges ? 1ULL << log->shift : 0;
	mutex_unlock(&log->lock);
	return sysfs_emit(buf, "%llu\n", size);
}
static DEVICE_ATTR_RO(page_size);

static ssize_t overflows_show(struct device *dev, struct device_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  READ_ONCE(to_mdma(dev)->engine.dirty_log.overflows));
}
static DEVICE_ATTR_RO(overflows);

static ssize_t bytes_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  READ_ONCE(to_mdma(dev)->engine.dirty_log.bytes));
}
static DEVICE_ATTR_RO(bytes);

static ssize_t bytes_max_show(struct device *dev,
			      struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  READ_ONCE(to_mdma(dev)->engine.dirty_log.bytes_max));
}

static ssize_t bytes_max_store(struct device *dev,
			       struct device_attribute *attr, const char *buf,
			       size_t count)
{
	u64 value;
	int ret;

	ret = kstrtou64(buf, 0, &value);
	if (ret)
		return ret;
	if (value > MDMA_DIRTY_LOG_BYTES_MAX)
		return -ERANGE;
	WRITE_ONCE(to_mdma(dev)->engine.dirty_log.bytes_max, value);
	return count;
}
static DEVICE_ATTR_RW(bytes_max);

static struct attribute *dirty_log_attrs[] = {
	&dev_attr_enabled.attr,
	&dev_attr_page_size.attr,
	&dev_attr_overflows.attr,
	&dev_attr_bytes.attr,
	&dev_attr_bytes_max.attr,
	NULL,
};

const struct attribute_group mdma_dirty_log_sysfs_group = {
	.name = "dirty_log",
	.attrs = dirty_log_attrs,
};
