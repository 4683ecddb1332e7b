// SPDX-License-Identifier: GPL-2.0-only
/*
 * The workloads' files in sysfs, see
 * Documentation/ABI/testing/sysfs-bus-mdev-mdma: a directory for each channel.
 * "workload" is that of channel 0, and also has the window and the trace, which
 * belong to the whole device. Takes the gate.
 */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "channel.h"
#include "device.h"
#include "replay_sysfs.h"
#include "settings.h"
#include "sysfs.h"
#include "workload.h"
#include "workload_sysfs.h"

/* A file with an attribute: a number from @min to @max, or one of @words. */
struct knob_file {
	const char *name;
	u64 min;
	u64 max;
	const char * const *words;	/* NULL at the end */
};

static const char * const pattern_words[] = {
	[MDMA_PATTERN_SEQUENTIAL] = "sequential",
	[MDMA_PATTERN_RANDOM] = "random",
	[MDMA_PATTERN_RING] = "ring",
	[MDMA_PATTERN_STRIDE] = "stride",
	[MDMA_PATTERN_ZIPF] = "zipf",
	[MDMA_PATTERN_HOT] = "hot",
	[MDMA_PATTERN_SCATTER] = "scatter",
	[MDMA_PATTERN_TRACE] = "trace",
	NULL
};

static const char * const access_words[] = {
	[MDMA_ACCESS_PIN] = "pin",
	[MDMA_ACCESS_RW] = "rw",
	NULL
};

static const char * const direction_words[] = {
	[MDMA_DIRECTION_WRITE] = "write",
	[MDMA_DIRECTION_READ] = "read",
	[MDMA_DIRECTION_MIXED] = "mixed",
	NULL
};

static const char * const on_error_words[] = {
	[MDMA_ON_ERROR_SKIP] = "skip",
	[MDMA_ON_ERROR_STOP] = "stop",
	[MDMA_ON_ERROR_RETRY] = "retry",
	NULL
};

#define NUMBER(_name, _min, _max) \
	{ .name = _name, .min = _min, .max = _max }
#define WORD(_name, _words) \
	{ .name = _name, .words = _words }

static const struct knob_file knob_files[] = {
	[MDMA_KNOB_PATTERN] = WORD("pattern", pattern_words),
	[MDMA_KNOB_ACCESS] = WORD("access", access_words),
	[MDMA_KNOB_DIRECTION] = WORD("direction", direction_words),
	[MDMA_KNOB_WRITE_PERCENT] = NUMBER("write_percent", 0, 100),
	[MDMA_KNOB_ON_ERROR] = WORD("on_error", on_error_words),
	[MDMA_KNOB_BATCH] = NUMBER("batch", 1, MDMA_BATCH_MAX),
	[MDMA_KNOB_RING] = NUMBER("ring", 1, MDMA_RING_MAX),
	[MDMA_KNOB_STRIDE] = NUMBER("stride", 1, U32_MAX),
	[MDMA_KNOB_THETA] = NUMBER("theta", 0, MDMA_THETA_MAX),
	[MDMA_KNOB_HOT] = NUMBER("hot", 1, U32_MAX),
	[MDMA_KNOB_HOT_PERCENT] = NUMBER("hot_percent", 0, 100),
	[MDMA_KNOB_DRIFT] = NUMBER("drift", 0, U32_MAX),
	[MDMA_KNOB_PAGES] = NUMBER("pages", 0, U64_MAX),
	[MDMA_KNOB_SEED] = NUMBER("seed", 0, U64_MAX),
	[MDMA_KNOB_HOLD_MS] = NUMBER("hold_ms", 0, MDMA_HOLD_MS_MAX),
	[MDMA_KNOB_RATE] = NUMBER("rate", 0, U32_MAX),
	[MDMA_KNOB_BURST] = NUMBER("burst", 0, U32_MAX),
	[MDMA_KNOB_PAUSE_MS] = NUMBER("pause_ms", 0, MDMA_PAUSE_MS_MAX),
	[MDMA_KNOB_RUN] = NUMBER("run", 0, 1),
};

#define NR_KNOBS	ARRAY_SIZE(knob_files)

/* A file of a channel. */
struct channel_file {
	struct device_attribute attr;
	struct mdma_channel *ch;
	enum mdma_knob knob;
};

/* The directory of a channel. */
struct mdma_workload_dir {
	struct attribute_group group;
	char name[sizeof("workload") + 10];
	struct channel_file knobs[NR_KNOBS];
	struct channel_file step;
	struct attribute *attrs[NR_KNOBS + 3];	/* step, window, NULL */
};

static struct channel_file *to_file(struct device_attribute *attr)
{
	return container_of(attr, struct channel_file, attr);
}

static ssize_t knob_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct channel_file *file = to_file(attr);
	const struct knob_file *knob = &knob_files[file->knob];
	u64 value = mdma_knobs_get(&file->ch->workload, file->knob);

	if (knob->words)
		return sysfs_emit(buf, "%s\n", knob->words[value]);
	return sysfs_emit(buf, "%llu\n", value);
}

/* What was written, or a negative error. */
static int parse_knob(const struct knob_file *knob, const char *buf,
		      u64 *value)
{
	int ret;

	if (knob->words) {
		ret = __sysfs_match_string(knob->words, -1, buf);
		*value = ret;
		return min(ret, 0);
	}
	ret = kstrtou64(buf, 0, value);
	if (ret)
		return ret;
	return *value < knob->min || *value > knob->max ? -ERANGE : 0;
}

static ssize_t knob_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t count)
{
	struct channel_file *file = to_file(attr);
	u64 value;
	int ret;

	ret = parse_knob(&knob_files[file->knob], buf, &value);
	if (!ret)
		ret = mdma_settings_set(file->ch, file->knob, value);
	return ret ?: count;
}

static ssize_t step_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t count)
{
	u32 n;
	int ret;

	ret = kstrtou32(buf, 0, &n);
	if (ret)
		return ret;
	return mdma_workload_step(to_file(attr)->ch, n) ?: count;
}

static MDMA_BIN_CONST struct bin_attribute *MDMA_BIN_CONST device_bin_attrs[] = {
	&mdma_trace_attr,
	NULL,
};

static void fill_dir(struct mdma_workload_dir *dir, struct mdma_channel *ch)
{
	struct attribute **attr = dir->attrs;
	u32 i;

	for (i = 0; i < NR_KNOBS; i++) {
		dir->knobs[i] = (struct channel_file) {
			.attr = {
				.attr = { knob_files[i].name, 0644 },
				.show = knob_show,
				.store = knob_store,
			},
			.ch = ch,
			.knob = i,
		};
		sysfs_attr_init(&dir->knobs[i].attr.attr);
		*attr++ = &dir->knobs[i].attr.attr;
	}
	dir->step.attr = (struct device_attribute)__ATTR(step, 0200, NULL,
							 step_store);
	dir->step.ch = ch;
	sysfs_attr_init(&dir->step.attr.attr);
	*attr++ = &dir->step.attr.attr;
	strscpy(dir->name, "workload");
	if (ch->index) {
		snprintf(dir->name, sizeof(dir->name), "workload%u", ch->index);
	} else {
		*attr = &mdma_window_attr.attr;
		dir->group.bin_attrs = device_bin_attrs;
	}
	dir->group.name = dir->name;
	dir->group.attrs = dir->attrs;
}

/**
 * mdma_workload_sysfs_add() - make the directories of the workloads
 * @dev: with channels
 *
 * Return: 0 or a negative error.
 */
int mdma_workload_sysfs_add(struct mdma_device *dev)
{
	struct device *parent = dev->vdev.dev;
	u32 i;
	int ret;

	dev->dirs = kcalloc(dev->engine.nr_channels, sizeof(*dev->dirs), GFP_KERNEL);
	if (!dev->dirs)
		return -ENOMEM;
	for (i = 0; i < dev->engine.nr_channels; i++) {
		fill_dir(&dev->dirs[i], &dev->engine.channels[i]);
		ret = sysfs_create_group(&parent->kobj, &dev->dirs[i].group);
		if (ret)
			goto err_remove;
	}
	return 0;

err_remove:
	while (i--)
		sysfs_remove_group(&parent->kobj, &dev->dirs[i].group);
	kfree(dev->dirs);
	return ret;
}

/**
 * mdma_workload_sysfs_remove() - remove them again
 * @dev: mdma_workload_sysfs_add() succeeded
 *
 * Waits for those who read or write a file.
 */
void mdma_workload_sysfs_remove(struct mdma_device *dev)
{
	u32 i;

	for (i = 0; i < dev->engine.nr_channels; i++)
		sysfs_remove_group(&dev->vdev.dev->kobj, &dev->dirs[i].group);
	kfree(dev->dirs);
}
