// SPDX-License-Identifier: GPL-2.0-only
/*
 * The settings of the administrator, while those that a migration brought count:
 * workloads, window and trace. Root alone may set them, but the stream comes from
 * whoever has the device open. So what a stream brings ends with the close; then
 * the device has again what the administrator set last.
 *
 * What the administrator writes in between changes both. Under the gate, held for
 * writing.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "mdma.h"

/**
 * mdma_settings_alloc() - room for the administrator's settings
 * @dev: any
 *
 * Return: to be given to mdma_settings_keep(), or NULL without memory.
 */
struct mdma_settings *mdma_settings_alloc(struct mdma_device *dev)
{
	struct mdma_settings *settings;

	return kzalloc(struct_size(settings, workload, dev->nr_channels),
		       GFP_KERNEL_ACCOUNT);
}

/**
 * mdma_settings_keep() - those of a stream are about to replace them
 * @dev: gate held for writing
 * @settings: of mdma_settings_alloc(); NULL afterwards if it was needed
 *
 * What an earlier stream replaced is still kept.
 */
void mdma_settings_keep(struct mdma_device *dev,
			struct mdma_settings **settings)
{
	struct mdma_settings *to = *settings;
	u32 i;

	if (dev->settings)
		return;
	*settings = NULL;
	dev->settings = to;
	for (i = 0; i < dev->nr_channels; i++)
		to->workload[i] = dev->channels[i].workload;
	if (dev->window.origin == MDMA_WINDOW_ADMIN)
		to->window = dev->window;
	swap(to->replay, dev->replay);
	to->has_replay = true;
}

/**
 * mdma_settings_restore() - the device is closed
 * @dev: gate held for writing, nothing executes any more
 *
 * Return: the stream's trace, to be freed with kvfree(), or NULL.
 */
void *mdma_settings_restore(struct mdma_device *dev)
{
	struct mdma_settings *settings = dev->settings;
	void *trace = NULL;
	u32 i;

	if (!settings)
		return NULL;
	for (i = 0; i < dev->nr_channels; i++)
		dev->channels[i].workload = settings->workload[i];
	mdma_workload_set_window(dev, settings->window.origin,
				 settings->window.range, settings->window.nr);
	if (settings->has_replay) {
		trace = dev->replay.entries;
		dev->replay = settings->replay;
	}
	kfree(settings);
	dev->settings = NULL;
	return trace;
}

/**
 * mdma_settings_drop_trace() - the administrator has another trace
 * @dev: gate held for writing
 *
 * Return: the one before, to be freed with kvfree(), or NULL.
 */
void *mdma_settings_drop_trace(struct mdma_device *dev)
{
	struct mdma_settings *settings = dev->settings;
	void *trace;

	if (!settings || !settings->has_replay)
		return NULL;
	trace = settings->replay.entries;
	settings->has_replay = false;
	return trace;
}
