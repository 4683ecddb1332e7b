// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer's view: it gives inputs, and changes those that reach something new. Each
 * input begins with a container and a device as new. It is written to $CURRENT before it
 * runs, so that the one that stops the kernel is known. A line of the kernel's log that
 * matches one of $PATTERNS is a finding like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cover.h"
#include "fuzz.h"
#include "log.h"
#include "wait.h"

/*
 * The device writes to the arena, so nothing else may be there: it is far from where
 * mmap() puts something, also if an operation made a hole.
 */
#define ARENA		((unsigned char *)0x100000000000)
#define ARENA_SIZE	(64ULL << 30)
#define MEMORY		(ARENA + (16ULL << 30))
#define BITMAPS		(ARENA + (8ULL << 30))
/* Below all that an operation can map for writing. */
#define NOT_WRITTEN	(ARENA + (4ULL << 30))

static const struct op *const ops[] = {
	backend_ops, device_ops, migration_ops,
};

static struct fuzz fuzz;
static int current = -1;
static unsigned long long inputs;

/* For each operation: how often it ran, and how often without an error. */
static unsigned long long calls[ARRAY_SIZE(ops)][OPS_MAX];
static unsigned long long good[ARRAY_SIZE(ops)][OPS_MAX];

static void fail(const char *what, long long value)
{
	fprintf(stderr, "fuzz: %s: %lld\n", what, value);
	abort();
}

static void *map_at(void *address, __u64 size, int prot)
{
	void *mem = mmap(address, size, prot, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (mem == MAP_FAILED)
		fail("mmap", errno);
	return mem;
}

static int open_device(void *arg)
{
	struct fuzz *f = arg;

	return mdma_open(&f->rig.dev);
}

int fuzz_open_device(struct fuzz *f)
{
	return cover_call(open_device, f);
}

int fuzz_raw(struct fuzz *f, int fd, unsigned long call)
{
	__u32 arg[64] = { 0 };
	unsigned int i;

	arg[0] = input_one_in(&f->in, 4) ? input_number(&f->in) :
					   input_below(&f->in, sizeof(arg));
	for (i = 1; i < 12; i++)
		arg[i] = input_number(&f->in);
	return ioctl(fd, call, arg) < 0 ? -errno : 0;
}

static int create_device(struct mdma *dev)
{
	int ret;

	if (dev->uuid[0])
		return 0;
	ret = mdma_create(dev, "mdma-4");
	if (!ret)
		ret = mdma_set(dev, "dirty_log/enabled", "1");
	/* The kernel does not support it; the other operations work. */
	return ret == -EOPNOTSUPP ? 0 : ret;
}

static int open_rig(struct fuzz *f)
{
	struct rig *r = &f->rig;
	int ret;

	ret = create_device(&r->dev);
	if (ret)
		return ret;
	r->container = container_open();
	ret = r->container < 0 ? r->container : 0;
	if (!ret)
		ret = mdma_attach(&r->dev, r->container);
	if (!ret)
		ret = container_set_type(r->container, VFIO_TYPE1v2_IOMMU);
	if (!ret)
		ret = fuzz_open_device(f);
	if (!ret)
		ret = fuzz_map_in_parts(f);
	if (!ret)
		ret = dma_map(r->container, f->read_only, at(READ_ONLY),
			      READ_ONLY_SIZE, VFIO_DMA_MAP_FLAG_READ);
	return ret;
}

static void begin(struct fuzz *f, const unsigned char *data, size_t size)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	unsigned char *stream = f->stream;
	struct mdma dev = f->rig.dev;
	int ret;

	*f = (struct fuzz) {
		.in = { data, data + size },
		.rig.dev = dev,
		.rig.mem = map_at(MEMORY, PAGES << PAGE_SHIFT,
				  PROT_READ | PROT_WRITE),
		.rig.pages = PAGES,
		.read_only = NOT_WRITTEN,
		.bitmaps = BITMAPS,
		.stream = stream ? stream : malloc(STREAM_MAX),
		.data_fd = -1,
	};
	map_at(f->read_only, READ_ONLY_SIZE, PROT_READ | PROT_WRITE);
	memset(f->read_only, FILLER, READ_ONLY_SIZE);
	ret = open_rig(f);
	if (ret)
		fail("the rig can't be opened", ret);
	if (ioctl(f->rig.dev.device, VFIO_DEVICE_GET_REGION_INFO, &info))
		fail("VFIO_DEVICE_GET_REGION_INFO", errno);
	f->config = info.offset;
}

/*
 * Whatever the input did, all memory is free again, nobody wrote where none may, and the
 * kernel has reported nothing.
 */
static void end(struct fuzz *f)
{
	const char *defect;
	int i;

	if (f->data_fd >= 0)
		close(f->data_fd);
	mdma_close(&f->rig.dev);
	close(f->rig.container);
	if (locked_pages_soon(0))
		fail("pages are locked when all is closed", locked_pages());
	for (i = 0; i < (int)READ_ONLY_SIZE; i++)
		if (f->read_only[i] != FILLER)
			fail("the device wrote to read-only memory, byte", i);
	/* A new device takes long, so it is made only if its settings changed. */
	if (f->set)
		mdma_destroy(&f->rig.dev);
	else
		mdma_clear_ledger(&f->rig.dev);
	defect = log_defect();
	if (defect) {
		fprintf(stderr, "fuzz: the kernel: %s\n", defect);
		abort();
	}
}

static unsigned int length(const struct op *table)
{
	unsigned int n;

	for (n = 0; table[n].name; n++)
		;
	return n;
}

static void run_op(struct fuzz *f)
{
	unsigned int kind = input_below(&f->in, ARRAY_SIZE(ops));
	unsigned int nr = input_below(&f->in, length(ops[kind]));
	int ret = ops[kind][nr].run(f);

	calls[kind][nr]++;
	good[kind][nr] += ret >= 0;
	cover_answer(kind * OPS_MAX + nr, ret);
}

static void remember(const unsigned char *data, size_t size)
{
	if (current < 0)
		return;
	if (pwrite(current, data, size, 0) != (ssize_t)size ||
	    ftruncate(current, size))
		fail("$CURRENT can't be written", errno);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	remember(data, size);
	cover_begin();
	begin(&fuzz, data, size);
	while (!input_empty(&fuzz.in))
		run_op(&fuzz);
	end(&fuzz);
	cover_end();
	inputs++;
	return 0;
}

size_t LLVMFuzzerMutate(unsigned char *data, size_t size, size_t max);

/*
 * To open and to close the device takes longer than most operations. So most inputs get
 * a tail of random operations, up to the greatest length.
 */
size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max,
			       unsigned int seed)
{
	size_t end;

	size = LLVMFuzzerMutate(data, size, max);
	if (size >= max || rand_r(&seed) % 4 == 0)
		return size;
	for (end = size + rand_r(&seed) % (max - size); size < end; size++)
		data[size] = rand_r(&seed) >> 8;
	return size;
}

static void tell(void)
{
	const char *path = getenv("BLOCKS");
	unsigned long long sum = 0;
	unsigned int kind, n;

	for (kind = 0; kind < ARRAY_SIZE(ops); kind++)
		for (n = 0; ops[kind][n].name; n++) {
			sum += calls[kind][n];
			printf("# %-18s %9llu, %9llu without an error\n",
			       ops[kind][n].name, calls[kind][n],
			       good[kind][n]);
		}
	printf("# %llu inputs, %llu operations, %u blocks\n", inputs, sum,
	       cover_blocks());
	if (path && cover_save(path))
		printf("# %s can't be written\n", path);
	fflush(stdout);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path = getenv("CURRENT"), *patterns = getenv("PATTERNS");
	int ret;

	(void)argc;
	(void)argv;
	map_at(ARENA, ARENA_SIZE, PROT_NONE);
	map_at(BITMAPS, BITMAPS_SIZE, PROT_READ | PROT_WRITE);
	if (path)
		current = open(path, O_RDWR | O_CREAT, 0644);
	if (path && current < 0)
		fail("$CURRENT can't be opened", errno);
	ret = patterns ? log_open(patterns) : 0;
	if (ret)
		fail("$PATTERNS can't be used", ret);
	mdev_remove_leftovers();
	printf("# KCOV: %s\n", cover_open() ? "yes" : "no");
	atexit(tell);
	return 0;
}
