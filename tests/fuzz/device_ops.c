// SPDX-License-Identifier: GPL-2.0-only
/* What a guest and a VMM do with the device, and an administrator in sysfs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "fuzz.h"
#include "irq.h"

#define CHANNELS	4
#define ENTRIES		16

static int region(struct fuzz *f, __u64 offset, unsigned int size, bool write)
{
	unsigned char data[64] = { 0 };
	unsigned int i;
	ssize_t n;

	size %= sizeof(data) + 1;
	for (i = 0; write && i < size; i++)
		data[i] = input_byte(&f->in);
	n = write ? pwrite(f->rig.dev.device, data, size, offset) :
		    pread(f->rig.dev.device, data, size, offset);
	return n < 0 ? -errno : 0;
}

static int write_register(struct fuzz *f)
{
	static const __u32 regs[] = {
		MDMA_CHAN_RING, MDMA_CHAN_RING + 4, MDMA_CHAN_RING_SIZE,
		MDMA_CHAN_CTRL, MDMA_CHAN_TAIL, MDMA_CHAN_IRQ,
	};
	__u32 offset = MDMA_REG_CHANNEL(input_below(&f->in, CHANNELS + 1)) +
		       regs[input_below(&f->in, ARRAY_SIZE(regs))];

	if (input_one_in(&f->in, 8))
		offset = MDMA_REG_WINDOW_TABLE + 4 * input_below(&f->in, 3);
	if (input_one_in(&f->in, 16))
		offset = MDMA_REG_RESET;
	return mdma_write32(&f->rig.dev, offset, input_one_in(&f->in, 2) ?
			    input_iova(&f->in) : input_number(&f->in));
}

static int bar0(struct fuzz *f)
{
	bool write = input_below(&f->in, 2);
	__u64 offset = f->rig.dev.bar0 +
		       input_below(&f->in, MDMA_BAR0_SIZE + 8);

	return region(f, offset, 1 + input_below(&f->in, 16), write);
}

static int config(struct fuzz *f)
{
	bool write = input_below(&f->in, 2);
	__u64 offset = f->config + input_below(&f->in, 256);

	return region(f, offset, 1 + input_below(&f->in, 8), write);
}

static int bus_master(struct fuzz *f)
{
	__u16 command = input_below(&f->in, 8) << 1;

	return mdma_config_write(&f->rig.dev, PCI_COMMAND, &command, 2);
}

static int any_region(struct fuzz *f)
{
	__u64 offset = (__u64)input_below(&f->in, 16) << 40;
	bool write = input_below(&f->in, 2);

	return region(f, offset + input_number(&f->in),
		      input_byte(&f->in), write);
}

static struct mdma_desc some_desc(struct fuzz *f)
{
	struct mdma_desc desc = {
		.op = input_below(&f->in, 6),
		.flags = input_below(&f->in, 3),
		.dst = input_iova(&f->in),
		.src = input_iova(&f->in),
		.data = input_byte(&f->in),
	};

	switch (input_below(&f->in, 4)) {
	case 0:
		desc.len = input_number(&f->in);
		break;
	case 1:
		desc.len = input_byte(&f->in) << 4;
		break;
	default:
		desc.len = input_pages(&f->in) << PAGE_SHIFT;
	}
	return desc;
}

/* A ring is pages 0 to 3, unless the memory there is gone. */
static bool ring_is_there(struct fuzz *f)
{
	return !mprotect(f->rig.mem, CHANNELS << PAGE_SHIFT,
			 PROT_READ | PROT_WRITE);
}

/* A device that may not run, or not reach its ring, does nothing for ever. */
static int wait_a_little(struct ring *ring)
{
	int tries;

	for (tries = 0; tries < 50; tries++) {
		if (ring_reg(ring, MDMA_CHAN_HEAD) == ring->tail ||
		    ring_reg(ring, MDMA_CHAN_STATUS))
			return 0;
		usleep(100);
	}
	return -ETIMEDOUT;
}

/* Descriptors in a ring that is enabled for them, and run. */
static int run_descs(struct fuzz *f)
{
	unsigned int n = 1 + input_below(&f->in, 4);
	struct mdma_desc desc;
	struct ring ring;

	if (!ring_is_there(f))
		return -EFAULT;
	ring_enable(&ring, &f->rig, input_below(&f->in, CHANNELS), ENTRIES);
	while (n--) {
		desc = some_desc(f);
		ring_put(&ring, &desc);
	}
	ring_doorbell(&ring);
	return input_one_in(&f->in, 4) ? 0 : wait_a_little(&ring);
}

/* One that is perhaps in a ring that runs. */
static int write_desc(struct fuzz *f)
{
	struct mdma_desc *ring;

	if (!ring_is_there(f))
		return -EFAULT;
	ring = (void *)(f->rig.mem +
			(input_below(&f->in, CHANNELS) << PAGE_SHIFT));
	ring[input_below(&f->in, ENTRIES)] = some_desc(f);
	return 0;
}

static int irqs(struct fuzz *f)
{
	unsigned int index = input_below(&f->in, 6);
	unsigned int flags = 1 << input_below(&f->in, 3) |
			     1 << (3 + input_below(&f->in, 3));
	unsigned int nr = input_below(&f->in, 8);
	int data = input_byte(&f->in) - 1, fd = -1, ret;

	if (flags & VFIO_IRQ_SET_DATA_EVENTFD && !input_one_in(&f->in, 8)) {
		fd = eventfd(0, EFD_NONBLOCK);
		data = fd;
	}
	ret = irq_command(&f->rig.dev, flags, index, nr, data);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Any structure for any of its calls. */
static int device_raw(struct fuzz *f)
{
	static const unsigned long calls[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS,
		VFIO_DEVICE_RESET, VFIO_DEVICE_FEATURE,
		VFIO_DEVICE_IOEVENTFD, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	};
	unsigned long call = calls[input_below(&f->in, ARRAY_SIZE(calls))];

	return fuzz_raw(f, f->rig.dev.device, call);
}

static int reset(struct fuzz *f)
{
	return mdma_reset(&f->rig.dev);
}

/* What a file of the device can be set to. */
static int set(struct fuzz *f)
{
	static const char *const files[] = {
		"workload/pattern", "workload/ring", "workload/stride",
		"workload/theta", "workload/hot", "workload/hot_percent",
		"workload/drift", "workload/direction",
		"workload/write_percent", "workload/access",
		"workload/on_error", "workload/batch", "workload/pages",
		"workload/hold_ms", "workload/rate", "workload/burst",
		"workload/pause_ms", "workload/seed", "workload1/run",
		"ledger/bytes_max", "dirty_log/bytes_max",
		"dirty_log/enabled", "stream_settings",
	};
	static const char *const words[] = {
		"sequential", "random", "zipf", "ring", "hotspot", "stride",
		"trace", "read", "write", "copy", "mixed", "pin", "rw",
		"stop", "skip", "retry", "accept", "refuse", "", "-1",
	};
	const char *file = files[input_below(&f->in, ARRAY_SIZE(files))];

	f->set = true;
	if (input_one_in(&f->in, 3))
		return mdma_set(&f->rig.dev, file, "%s",
				words[input_below(&f->in, ARRAY_SIZE(words))]);
	return mdma_set(&f->rig.dev, file, "%llu", input_number(&f->in));
}

static int set_window(struct fuzz *f)
{
	__u64 first = input_iova(&f->in) & -PAGE_SIZE;

	f->set = true;
	return mdma_set(&f->rig.dev, "workload/window", "%llx-%llx", first,
			first + (input_pages(&f->in) << PAGE_SHIFT) - 1);
}

/* So many steps of the workload, or its thread. */
static int work(struct fuzz *f)
{
	f->set = true;
	if (input_one_in(&f->in, 2))
		return mdma_set(&f->rig.dev, "workload/run", "%u",
				input_below(&f->in, 2));
	return mdma_set(&f->rig.dev, "workload/step", "%u",
			input_below(&f->in, 64));
}

/* A trace to replay: entries with times, slots and numbers of pages. */
static int upload(struct fuzz *f)
{
	unsigned char data[256];
	unsigned int n = input_byte(&f->in), i;
	char path[256];
	ssize_t done;
	int fd;

	snprintf(path, sizeof(path),
		 "/sys/bus/mdev/devices/%s/workload/trace", f->rig.dev.uuid);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -errno;
	f->set = true;
	for (i = 0; i < n; i++)
		data[i] = input_byte(&f->in);
	done = pwrite(fd, data, n, input_one_in(&f->in, 8) ?
		      input_number(&f->in) >> 1 : 0);
	if (done >= 0)
		done = pread(fd, data, sizeof(data), 0);
	close(fd);
	return done < 0 ? -errno : 0;
}

static int read_files(struct fuzz *f)
{
	static const char *const files[] = {
		"workload/window", "workload/pattern", "migration_state",
		"stats/pages_written", "ledger/bytes", "dirty_log/bytes",
	};
	struct mdma_ledger_record *rec;
	char text[4096];
	long long n;

	if (input_one_in(&f->in, 4)) {
		n = mdma_ledger(&f->rig.dev, &rec);
		free(rec);
		return n < 0 ? n : 0;
	}
	return mdma_get_text(&f->rig.dev,
			     files[input_below(&f->in, ARRAY_SIZE(files))],
			     text, sizeof(text));
}

static int clear_ledger(struct fuzz *f)
{
	return mdma_clear_ledger(&f->rig.dev);
}

const struct op device_ops[] = {
	{ "write_register", write_register },
	{ "bar0", bar0 },
	{ "config", config },
	{ "bus_master", bus_master },
	{ "any_region", any_region },
	{ "run_descs", run_descs },
	{ "write_desc", write_desc },
	{ "irqs", irqs },
	{ "device_raw", device_raw },
	{ "reset", reset },
	{ "set", set },
	{ "set_window", set_window },
	{ "work", work },
	{ "upload", upload },
	{ "read_files", read_files },
	{ "clear_ledger", clear_ledger },
	{ }
};
