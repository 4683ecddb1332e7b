/* SPDX-License-Identifier: GPL-2.0-only */
/* The PCI function. */
#ifndef MDMA_PCI_H
#define MDMA_PCI_H

#include <linux/types.h>

struct mdma_engine;
struct mdma_intx;
struct mdma_irqs;
struct mdma_ledger_view;
struct mdma_migration;
struct mdma_regs;
struct vfio_info_cap;
struct vfio_region_info;

/* Bytes of config space, a conventional function's. */
#define MDMA_CONFIG_SIZE	256

/**
 * struct mdma_pci - the function as the user sees it
 * @engine: that it controls
 * @migration: of the device
 * @regs: of BAR0; their lock guards @config and @memory
 * @irqs: of the device
 * @intx: the line
 * @ledger_view: what is read from the ledger's region
 * @config: config space
 * @memory: PCI_COMMAND_MEMORY: BAR0 can be accessed
 */
struct mdma_pci {
	struct mdma_engine *engine;
	struct mdma_migration *migration;
	struct mdma_regs *regs;
	struct mdma_irqs *irqs;
	struct mdma_intx *intx;
	struct mdma_ledger_view *ledger_view;
	u8 config[MDMA_CONFIG_SIZE];
	bool memory;
};

void mdma_pci_reset(struct mdma_pci *pci);
void mdma_pci_reset_function(struct mdma_pci *pci);
ssize_t mdma_pci_read(struct mdma_pci *pci, char __user *buf, size_t count,
		      loff_t *ppos);
ssize_t mdma_pci_write(struct mdma_pci *pci, const char __user *buf,
		       size_t count, loff_t *ppos);
int mdma_pci_region_info(struct mdma_pci *pci, struct vfio_region_info *info,
			 struct vfio_info_cap *caps);
long mdma_pci_ioctl(struct mdma_pci *pci, unsigned int cmd, unsigned long arg);

#endif /* MDMA_PCI_H */
