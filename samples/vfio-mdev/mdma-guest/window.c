// SPDX-License-Identifier: GPL-2.0-only
/*
 * mdma_guest: the window, memory that is given to the device.
 *
 * The device may write the window at any time, on behalf of the workload in the
 * host, so nothing else may use this memory. The window is allocated in blocks of
 * the largest order; adjacent blocks become one range.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/sort.h>

#include "mdma_guest.h"

#define MDMA_BLOCK_SIZE		SZ_4M
#define MDMA_BLOCK_ORDER	get_order(MDMA_BLOCK_SIZE)
#define MDMA_BLOCK_PAGES	(MDMA_BLOCK_SIZE / MDMA_PAGE_SIZE)
#define MDMA_TABLE_SIZE		(MDMA_MAX_RANGES * sizeof(struct mdma_range))
#define MDMA_SECOND_LOOKS	16

static struct mdma_stamp *mdma_block_stamp(const struct mdma_block *block,
					   unsigned int page)
{
	return page_address(block->page) + page * MDMA_PAGE_SIZE;
}

/* An unwritten page starts with zeroes, so that it differs from a stamped one. */
static int mdma_block_alloc(struct device *dev, struct mdma_block *block)
{
	unsigned int i;

	block->page = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL,
				  MDMA_BLOCK_ORDER);
	if (!block->page)
		return -ENOMEM;

	for (i = 0; i < MDMA_BLOCK_PAGES; i++)
		memset(mdma_block_stamp(block, i), 0,
		       sizeof(struct mdma_stamp));

	block->iova = dma_map_page(dev, block->page, 0, MDMA_BLOCK_SIZE,
				   DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, block->iova)) {
		__free_pages(block->page, MDMA_BLOCK_ORDER);
		return -ENOMEM;
	}
	return 0;
}

static void mdma_block_free(struct device *dev, struct mdma_block *block)
{
	dma_unmap_page(dev, block->iova, MDMA_BLOCK_SIZE, DMA_BIDIRECTIONAL);
	__free_pages(block->page, MDMA_BLOCK_ORDER);
}

static int mdma_block_compare(const void *a, const void *b)
{
	const struct mdma_block *x = a, *y = b;

	return x->iova < y->iova ? -1 : x->iova > y->iova;
}

/* Writes the table, and returns the number of its ranges. */
static unsigned int mdma_window_write_table(struct mdma_window *window)
{
	struct mdma_range *range = NULL;
	unsigned int i, ranges = 0;
	u64 end = 0;

	sort(window->blocks, window->nr_blocks, sizeof(*window->blocks),
	     mdma_block_compare, NULL);

	for (i = 0; i < window->nr_blocks; i++) {
		u64 iova = window->blocks[i].iova;

		if (range && iova == end) {
			le64_add_cpu(&range->size, MDMA_BLOCK_SIZE);
		} else {
			range = &window->table[ranges++];
			range->iova = cpu_to_le64(iova);
			range->size = cpu_to_le64(MDMA_BLOCK_SIZE);
		}
		end = iova + MDMA_BLOCK_SIZE;
	}
	return ranges;
}

/* Gives the table to the device; with 0 ranges, takes the window back. */
static int mdma_window_set(struct mdma_guest *guest, unsigned int ranges)
{
	u32 status;

	writeq(guest->window.table_iova, guest->regs + MDMA_REG_WINDOW_TABLE);
	writel(ranges, guest->regs + MDMA_REG_WINDOW_RANGES);
	status = readl(guest->regs + MDMA_REG_WINDOW_STATUS);
	if (status == MDMA_STATUS_NONE || status == MDMA_STATUS_DONE)
		return 0;
	/* A device that is gone has no window either. */
	if (PCI_POSSIBLE_ERROR(status) && !ranges)
		return 0;

	dev_err(&guest->pdev->dev, "window of %u ranges refused, status %u\n",
		ranges, status);
	return -EIO;
}

static bool mdma_stamp_empty(const struct mdma_stamp *stamp)
{
	return !memchr_inv(stamp, 0, sizeof(*stamp));
}

static bool mdma_stamp_good(const struct mdma_stamp *stamp, u64 iova)
{
	return stamp->magic == cpu_to_le64(MDMA_STAMP_MAGIC) &&
	       stamp->iova == cpu_to_le64(iova) && stamp->seq;
}

/*
 * All stamps of a page have the same magic and IOVA, so only the first one can be
 * seen half written, while the workload runs. A second look tells a stamp that was
 * half written from a bad one. If many stamps are bad, there is another reason, and
 * no second look.
 */
static void mdma_block_check(const struct mdma_block *block,
			     unsigned long *stamped, unsigned long *bad)
{
	unsigned int i;

	for (i = 0; i < MDMA_BLOCK_PAGES; i++) {
		u64 iova = block->iova + i * MDMA_PAGE_SIZE;
		struct mdma_stamp *stamp = mdma_block_stamp(block, i);

		if (mdma_stamp_empty(stamp))
			continue;
		if (!mdma_stamp_good(stamp, iova) && *bad < MDMA_SECOND_LOOKS)
			usleep_range(1000, 2000);
		if (mdma_stamp_good(stamp, iova))
			++*stamped;
		else
			++*bad;
	}
}

static int window_check_show(struct seq_file *s, void *unused)
{
	struct mdma_guest *guest = s->private;
	struct mdma_window *window = &guest->window;
	unsigned long stamped = 0, bad = 0;
	unsigned int i;

	for (i = 0; i < window->nr_blocks; i++) {
		dma_sync_single_for_cpu(&guest->pdev->dev,
					window->blocks[i].iova,
					MDMA_BLOCK_SIZE, DMA_BIDIRECTIONAL);
		mdma_block_check(&window->blocks[i], &stamped, &bad);
	}

	seq_printf(s, "pages %lu stamped %lu bad %lu\n",
		   window->nr_blocks * MDMA_BLOCK_PAGES, stamped, bad);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(window_check);

/**
 * mdma_window_create - allocate a window and give it to the device
 * @guest: device that was reset; its debugfs directory exists
 * @mib: size, rounded up to blocks; 0 for none
 *
 * If memory is short, the window is smaller, and a message says so. After an error,
 * mdma_window_destroy() frees what there is.
 *
 * Return: 0, -EINVAL if @mib is too large, -ENOMEM if there was not even one
 * block, or -EIO if the device refused the window.
 */
int mdma_window_create(struct mdma_guest *guest, unsigned int mib)
{
	unsigned int wanted = DIV_ROUND_UP(mib, MDMA_BLOCK_SIZE / SZ_1M);
	struct mdma_window *window = &guest->window;
	struct device *dev = &guest->pdev->dev;
	int ret;

	if (!wanted)
		return 0;
	if (wanted > MDMA_MAX_RANGES)
		return -EINVAL;

	window->table = dma_alloc_coherent(dev, MDMA_TABLE_SIZE,
					   &window->table_iova, GFP_KERNEL);
	if (!window->table)
		return -ENOMEM;

	while (window->nr_blocks < wanted &&
	       !mdma_block_alloc(dev, &window->blocks[window->nr_blocks]))
		window->nr_blocks++;

	if (!window->nr_blocks)
		return -ENOMEM;

	window->nr_ranges = mdma_window_write_table(window);
	ret = mdma_window_set(guest, window->nr_ranges);
	if (ret)
		return ret;

	dev_info(dev, "window of %lu pages in %u ranges%s\n",
		 window->nr_blocks * MDMA_BLOCK_PAGES, window->nr_ranges,
		 window->nr_blocks < wanted ? ", less than asked for" : "");
	debugfs_create_file("window_check", 0400, guest->debugfs, guest,
			    &window_check_fops);
	return 0;
}

/**
 * mdma_window_suspend - take the window back for a while
 * @guest: device, with or without a window
 */
void mdma_window_suspend(struct mdma_guest *guest)
{
	if (guest->window.table)
		mdma_window_set(guest, 0);
}

/**
 * mdma_window_resume - give the window to the device again
 * @guest: device, after mdma_window_suspend(); may have been reset
 *
 * Return: 0, or -EIO if the device refused the window.
 */
int mdma_window_resume(struct mdma_guest *guest)
{
	struct mdma_window *window = &guest->window;

	return window->table ? mdma_window_set(guest, window->nr_ranges) : 0;
}

/**
 * mdma_window_destroy - take the window back and free it
 * @guest: device, no bus master any more; its debugfs directory is removed
 */
void mdma_window_destroy(struct mdma_guest *guest)
{
	struct mdma_window *window = &guest->window;
	struct device *dev = &guest->pdev->dev;

	if (!window->table)
		return;

	mdma_window_set(guest, 0);
	while (window->nr_blocks)
		mdma_block_free(dev, &window->blocks[--window->nr_blocks]);
	dma_free_coherent(dev, MDMA_TABLE_SIZE, window->table,
			  window->table_iova);
	window->table = NULL;
}
