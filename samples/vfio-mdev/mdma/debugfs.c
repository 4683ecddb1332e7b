// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ledger and the test hooks in debugfs, see Documentation/ABI/testing/
 * debugfs-mdma. Takes the gate.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "debugfs.h"
#include "device.h"
#include "job.h"

#define COMMAND_MAX	80	/* bytes of a command line */

static struct dentry *debugfs_root;

struct ledger_copy {
	void *data;
	size_t size;
};

static int ledger_open(struct inode *inode, struct file *filp)
{
	struct mdma_device *dev = inode->i_private;
	struct ledger_copy *copy;

	copy = kmalloc(sizeof(*copy), GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	copy->data = mdma_ledger_copy(&dev->engine.ledger, 0, &copy->size);
	if (IS_ERR(copy->data)) {
		int ret = PTR_ERR(copy->data);

		kfree(copy);
		return ret;
	}
	filp->private_data = copy;
	return 0;
}

static ssize_t ledger_read(struct file *filp, char __user *buf, size_t count,
			   loff_t *ppos)
{
	struct ledger_copy *copy = filp->private_data;

	return simple_read_from_buffer(buf, count, ppos, copy->data,
				       copy->size);
}

static int ledger_release(struct inode *inode, struct file *filp)
{
	struct ledger_copy *copy = filp->private_data;

	kvfree(copy->data);
	kfree(copy);
	return 0;
}

static const struct file_operations ledger_fops = {
	.owner = THIS_MODULE,
	.open = ledger_open,
	.read = ledger_read,
	.llseek = default_llseek,
	.release = ledger_release,
};

/* Runs @command on the line that was written, with an open device. */
static ssize_t run_command(struct file *filp, const char __user *buf,
			   size_t count,
			   int (*command)(struct mdma_device *dev, char *line))
{
	struct mdma_device *dev = file_inode(filp)->i_private;
	char line[COMMAND_MAX + 1];
	int ret;

	if (count > COMMAND_MAX)
		return -E2BIG;
	if (copy_from_user(line, buf, count))
		return -EFAULT;
	line[count] = '\0';
	if (down_read_killable(&dev->engine.gate))
		return -EINTR;
	ret = dev->engine.open ? command(dev, line) : -ENODEV;
	up_read(&dev->engine.gate);
	return ret ?: count;
}

/* Parses "r" or "w". */
static int parse_direction(char direction, bool *write)
{
	if (direction != 'r' && direction != 'w')
		return -EINVAL;
	*write = direction == 'w';
	return 0;
}

static bool pages_valid(u64 iova, u32 npages)
{
	return !(iova % MDMA_PAGE_SIZE) && npages &&
	       npages <= VFIO_PIN_PAGES_MAX_ENTRIES;
}

static int command_pin(struct mdma_device *dev, char *line)
{
	char direction;
	bool write;
	u32 npages;
	u64 iova;

	if (sscanf(line, "%lli %u %c", &iova, &npages, &direction) != 3 ||
	    parse_direction(direction, &write) || !pages_valid(iova, npages))
		return -EINVAL;
	return mdma_manual_pin(&dev->engine.manual, iova, npages, write);
}

static ssize_t pin_write(struct file *filp, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	return run_command(filp, buf, count, command_pin);
}

static int command_unpin(struct mdma_device *dev, char *line)
{
	u32 npages;
	u64 iova;

	if (sscanf(line, "%lli %u", &iova, &npages) != 2 ||
	    !pages_valid(iova, npages))
		return -EINVAL;
	return mdma_manual_unpin(&dev->engine.manual, iova, npages);
}

static ssize_t unpin_write(struct file *filp, const char __user *buf,
			   size_t count, loff_t *ppos)
{
	return run_command(filp, buf, count, command_unpin);
}

/* Writes guest memory by vfio_dma_rw(), and enters it in the ledger. */
static int rw_write_guest(struct mdma_device *dev, u64 iova, void *data,
			  u32 len)
{
	u64 first = round_down(iova, MDMA_PAGE_SIZE);
	u64 last = iova + len - 1;
	u32 npages = ((last - first) >> MDMA_PAGE_SHIFT) + 1;
	u64 seq;
	int ret;

	ret = mdma_ledger_reserve(&dev->engine.ledger, first, npages);
	if (ret)
		return ret;
	ret = mdma_manual_rw(&dev->engine.manual, iova, data, len, true);
	if (ret) {
		/* Some of it may have been written */
		mdma_dirty_log_record(&dev->engine.dirty_log, first, npages);
		return ret;
	}
	seq = mdma_stats_number(&dev->engine.stats, npages);
	mdma_job_written(&dev->engine, MDMA_CHANNEL_NONE, first, npages, seq);
	return 0;
}

/* A pattern that no two pages share. */
static bool is_pattern(const u8 *data, u32 len, u32 first)
{
	u32 i;

	for (i = 0; i < len; i++)
		if (data[i] != (first + i) % 251)
			return false;
	return true;
}

static int command_rw(struct mdma_device *dev, char *line)
{
	u32 len, byte = 0;
	char direction;
	void *data;
	bool write;
	u64 iova;
	int ret, n;

	n = sscanf(line, "%lli %u %c %i", &iova, &len, &direction, &byte);
	if (n < 3 || parse_direction(direction, &write) || !len ||
	    len > MDMA_DESC_MAX_LEN || iova + (len - 1) < iova || byte > 0xff)
		return -EINVAL;
	data = kvmalloc(len, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	memset(data, byte, len);
	if (write)
		ret = rw_write_guest(dev, iova, data, len);
	else
		ret = mdma_manual_rw(&dev->engine.manual, iova, data, len, false);
	if (!ret && !write && n == 4 && !is_pattern(data, len, byte))
		ret = -EILSEQ;
	kvfree(data);
	return ret;
}

static ssize_t rw_write(struct file *filp, const char __user *buf, size_t count,
			loff_t *ppos)
{
	return run_command(filp, buf, count, command_rw);
}

static ssize_t ledger_clear_write(struct file *filp, const char __user *buf,
				  size_t count, loff_t *ppos)
{
	struct mdma_device *dev = file_inode(filp)->i_private;

	if (down_write_killable(&dev->engine.gate))
		return -EINTR;
	mdma_ledger_clear(&dev->engine.ledger);
	atomic64_set(&dev->engine.stats.n[MDMA_STAT_SEQ], 0);
	up_write(&dev->engine.gate);
	return count;
}

#define COMMAND_FOPS(_name)				\
	static const struct file_operations _name##_fops = {	\
		.owner = THIS_MODULE,			\
		.open = simple_open,			\
		.write = _name##_write,			\
		.llseek = noop_llseek,			\
	}

COMMAND_FOPS(pin);
COMMAND_FOPS(unpin);
COMMAND_FOPS(rw);
COMMAND_FOPS(ledger_clear);

/**
 * mdma_debugfs_module_init() - make the directory of all devices
 */
void mdma_debugfs_module_init(void)
{
	debugfs_root = debugfs_create_dir("mdma", NULL);
}

/**
 * mdma_debugfs_module_exit() - remove the directory of all devices
 */
void mdma_debugfs_module_exit(void)
{
	debugfs_remove(debugfs_root);
}

/**
 * mdma_debugfs_init() - make the directory of a device
 * @dev: any
 */
void mdma_debugfs_init(struct mdma_device *dev)
{
	struct dentry *dir;

	dir = debugfs_create_dir(dev_name(dev->vdev.dev), debugfs_root);
	debugfs_create_file("ledger", 0400, dir, dev, &ledger_fops);
	debugfs_create_file("ledger_clear", 0200, dir, dev, &ledger_clear_fops);
	debugfs_create_file("pin", 0200, dir, dev, &pin_fops);
	debugfs_create_file("unpin", 0200, dir, dev, &unpin_fops);
	debugfs_create_file("rw", 0200, dir, dev, &rw_fops);
	debugfs_create_bool("leak_on_unmap", 0600, dir, &dev->engine.manual.leak);
	debugfs_create_bool("stall_unmap", 0600, dir, &dev->engine.unmap.stall);
	debugfs_create_u8("stall_pin", 0600, dir, &dev->engine.access.stall);
	debugfs_create_u64("stall_midway", 0600, dir, &dev->engine.stall_midway);
	dev->debugfs = dir;
}

/**
 * mdma_debugfs_exit() - remove the directory of a device
 * @dev: its files may be in use, which is waited for
 */
void mdma_debugfs_exit(struct mdma_device *dev)
{
	debugfs_remove(dev->debugfs);
}
