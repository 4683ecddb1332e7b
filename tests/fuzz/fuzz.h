/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer of all that a process can do with a container and a device of ours. An input
 * of libFuzzer is a sequence of operations and their arguments. Each runs on a rig of
 * its own, so that an input does the same each time.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "input.h"
#include "migration.h"
#include "rig.h"
#include "ring.h"

#define PAGES		256	/* of the rig */
#define READ_ONLY	300	/* pages of their own, which the device must not write */
#define READ_ONLY_SIZE	(8 * PAGE_SIZE)
#define FILLER		0x5a
#define STREAM_MAX	(64 << 10)
#define BITMAPS_SIZE	(64 << 10)

/**
 * struct fuzz - what operations change
 * @in: the rest of the input
 * @rig: with PAGES pages at page 0
 * @read_only: pages that are mapped at READ_ONLY for reading only
 * @bitmaps: BITMAPS_SIZE bytes, and then nothing for GiB, for what the kernel writes
 * @config: offset of config space in the device's file
 * @data_fd: of a migration, or -1
 * @stream: what was read from @data_fd of a save
 * @size: bytes in @stream
 * @loaded: bytes of @stream that were written to @data_fd of a load
 * @set: files of sysfs were written
 */
struct fuzz {
	struct input in;
	struct rig rig;
	unsigned char *read_only;
	unsigned char *bitmaps;
	__u64 config;
	int data_fd;
	unsigned char *stream;
	long long size;
	long long loaded;
	bool set;
};

/**
 * struct op - an operation
 * @name: for the table at the end
 * @run: does it. Returns 0 or more, or -errno, as the call that it made
 */
struct op {
	const char *name;
	int (*run)(struct fuzz *f);
};

/* Maps the memory of the rig, in mappings of 1, 2, 4, ... or all pages. */
int fuzz_map_in_parts(struct fuzz *f);

/* Makes a call with any bytes as its structure. Returns 0 or -errno. */
int fuzz_raw(struct fuzz *f, int fd, unsigned long call);

/* Opens the device of the rig, whose group is in the container. */
int fuzz_open_device(struct fuzz *f);

/* The last one of each table has no name. None has more than OPS_MAX. */
#define OPS_MAX		20

extern const struct op backend_ops[];
extern const struct op device_ops[];
extern const struct op migration_ops[];

#endif
