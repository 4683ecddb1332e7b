// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger's files in sysfs: what it has and how much it can have, see
 * Documentation/ABI/testing/sysfs-bus-mdev-mdma. Takes no lock.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "device.h"
#include "ledger_sysfs.h"

static struct mdma_ledger *to_ledger(struct device *dev)
{
	struct mdma_device *mdma = dev_get_drvdata(dev);

	return &mdma->engine.ledger;
}

static ssize_t records_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_ledger(dev)->records));
}
static DEVICE_ATTR_RO(records);

static ssize_t refused_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_ledger(dev)->refused));
}
static DEVICE_ATTR_RO(refused);

static ssize_t bytes_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_ledger(dev)->bytes));
}
static DEVICE_ATTR_RO(bytes);

static ssize_t bytes_max_show(struct device *dev,
			      struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_ledger(dev)->bytes_max));
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
	if (value > MDMA_LEDGER_BYTES_MAX)
		return -ERANGE;
	WRITE_ONCE(to_ledger(dev)->bytes_max, value);
	return count;
}
static DEVICE_ATTR_RW(bytes_max);

static struct attribute *ledger_attrs[] = {
	&dev_attr_records.attr,
	&dev_attr_refused.attr,
	&dev_attr_bytes.attr,
	&dev_attr_bytes_max.attr,
	NULL,
};

const struct attribute_group mdma_ledger_sysfs_group = {
	.name = "ledger",
	.attrs = ledger_attrs,
};
