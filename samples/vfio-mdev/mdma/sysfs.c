// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device's files in sysfs, see Documentation/ABI/testing/
 * sysfs-bus-mdev-mdma. Takes the gate.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "device.h"
#include "dirty_log_sysfs.h"
#include "ledger_sysfs.h"
#include "settings.h"
#include "sysfs.h"

static struct mdma_device *to_mdma(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static ssize_t window_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct mdma_device *mdma = to_mdma(dev);
	struct mdma_window *window = &mdma->engine.window;
	int at = 0;
	u32 i;

	if (down_read_killable(&mdma->engine.gate))
		return -EINTR;
	for (i = 0; i < window->nr; i++) {
		u64 first = le64_to_cpu(window->range[i].iova);
		u64 size = le64_to_cpu(window->range[i].size);

		at += sysfs_emit_at(buf, at, "%s0x%llx-0x%llx", i ? "," : "",
				    first, first + (size - 1));
	}
	up_read(&mdma->engine.gate);
	return at + sysfs_emit_at(buf, at, "\n");
}

/* Parses "FIRST-LAST", hexadecimal; the caller checks the range. */
static int parse_range(char *text, struct mdma_range *range)
{
	char *dash = strchr(text, '-');
	u64 first, last;
	int ret;

	if (!dash)
		return -EINVAL;
	*dash = '\0';
	ret = kstrtou64(text, 16, &first);
	if (!ret)
		ret = kstrtou64(dash + 1, 16, &last);
	if (ret)
		return ret;
	if (last < first)
		return -EINVAL;
	range->iova = cpu_to_le64(first);
	range->size = cpu_to_le64(last - first + 1);
	return 0;
}

/* Parses "RANGE[,RANGE...]": the number of ranges, or a negative error. */
static int parse_window(const char *buf, struct mdma_range *range)
{
	char *copy, *text, *at;
	int ret = 0, nr = 0;

	copy = kstrdup(buf, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	text = strim(copy);
	if (!*text)
		text = NULL;
	while (!ret && (at = strsep(&text, ",")))
		ret = nr < MDMA_MAX_RANGES ? parse_range(at, &range[nr++]) :
					     -E2BIG;
	kfree(copy);
	if (!ret)
		ret = mdma_window_check(range, nr);
	return ret ?: nr;
}

static ssize_t window_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t count)
{
	struct mdma_device *mdma = to_mdma(dev);
	struct mdma_range *range;
	int ret;

	range = kcalloc(MDMA_MAX_RANGES, sizeof(*range), GFP_KERNEL);
	if (!range)
		return -ENOMEM;
	ret = parse_window(buf, range);
	if (ret >= 0)
		ret = mdma_settings_set_window(&mdma->engine, range, ret);
	kfree(range);
	return ret < 0 ? ret : count;
}

struct device_attribute mdma_window_attr = __ATTR_RW(window);

/* A counter. */
struct stat_attribute {
	struct device_attribute attr;
	enum mdma_stat stat;
};

static ssize_t stat_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct stat_attribute *stat =
		container_of(attr, struct stat_attribute, attr);
	struct mdma_device *mdma = to_mdma(dev);

	return sysfs_emit(buf, "%llu\n",
			  mdma_counted(&mdma->engine.stats, stat->stat));
}

#define STAT(_name, _id)						\
	static struct stat_attribute _name##_stat = {			\
		.attr = __ATTR(_name, 0444, stat_show, NULL),		\
		.stat = _id,						\
	}

STAT(pages_written, MDMA_STAT_PAGES_WRITTEN);
STAT(pages_read, MDMA_STAT_PAGES_READ);
STAT(descriptors, MDMA_STAT_DESCRIPTORS);
STAT(pins, MDMA_STAT_PINS);
STAT(unpins, MDMA_STAT_UNPINS);
STAT(pin_errors, MDMA_STAT_PIN_ERRORS);
STAT(pinned, MDMA_STAT_PINNED);
STAT(seq, MDMA_STAT_SEQ);
STAT(skipped, MDMA_STAT_SKIPPED);
STAT(stopped, MDMA_STAT_STOPPED);
STAT(retried, MDMA_STAT_RETRIED);

static struct attribute *stats_attrs[] = {
	&pages_written_stat.attr.attr,
	&pages_read_stat.attr.attr,
	&descriptors_stat.attr.attr,
	&pins_stat.attr.attr,
	&unpins_stat.attr.attr,
	&pin_errors_stat.attr.attr,
	&pinned_stat.attr.attr,
	&seq_stat.attr.attr,
	&skipped_stat.attr.attr,
	&stopped_stat.attr.attr,
	&retried_stat.attr.attr,
	NULL,
};

static const struct attribute_group stats_group = {
	.name = "stats",
	.attrs = stats_attrs,
};

static ssize_t channels_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%u\n", to_mdma(dev)->engine.nr_channels);
}
static DEVICE_ATTR_RO(channels);

static ssize_t migration_state_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	static const char * const names[] = {
		[VFIO_DEVICE_STATE_ERROR] = "error",
		[VFIO_DEVICE_STATE_STOP] = "stop",
		[VFIO_DEVICE_STATE_RUNNING] = "running",
		[VFIO_DEVICE_STATE_STOP_COPY] = "stop_copy",
		[VFIO_DEVICE_STATE_RESUMING] = "resuming",
		[VFIO_DEVICE_STATE_RUNNING_P2P] = "running_p2p",
		[VFIO_DEVICE_STATE_PRE_COPY] = "pre_copy",
		[VFIO_DEVICE_STATE_PRE_COPY_P2P] = "pre_copy_p2p",
	};
	enum vfio_device_mig_state state =
		READ_ONCE(to_mdma(dev)->migration.state);

	return sysfs_emit(buf, "%s\n", names[state]);
}
static DEVICE_ATTR_RO(migration_state);

static const char * const stream_settings_words[] = { "take", "keep", NULL };

static ssize_t stream_settings_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	bool keep = READ_ONCE(to_mdma(dev)->engine.keep_settings);

	return sysfs_emit(buf, "%s\n", stream_settings_words[keep]);
}

static ssize_t stream_settings_store(struct device *dev,
				     struct device_attribute *attr,
				     const char *buf, size_t count)
{
	struct mdma_device *mdma = to_mdma(dev);
	int ret;

	ret = __sysfs_match_string(stream_settings_words, -1, buf);
	if (ret < 0)
		return ret;
	if (down_write_killable(&mdma->engine.gate))
		return -EINTR;
	WRITE_ONCE(mdma->engine.keep_settings, ret);
	up_write(&mdma->engine.gate);
	return count;
}
static DEVICE_ATTR_RW(stream_settings);

static struct attribute *device_attrs[] = {
	&dev_attr_channels.attr,
	&dev_attr_migration_state.attr,
	&dev_attr_stream_settings.attr,
	NULL,
};

static const struct attribute_group device_group = {
	.attrs = device_attrs,
};

const struct attribute_group *mdma_sysfs_groups[] = {
	&device_group,
	&stats_group,
	&mdma_ledger_sysfs_group,
	&mdma_dirty_log_sysfs_group,
	NULL,
};
