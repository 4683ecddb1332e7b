/* SPDX-License-Identifier: GPL-2.0-only */
/* The ledger and the test hooks in debugfs. */
#ifndef MDMA_DEBUGFS_H
#define MDMA_DEBUGFS_H

struct mdma_device;

void mdma_debugfs_module_init(void);
void mdma_debugfs_module_exit(void);
void mdma_debugfs_init(struct mdma_device *dev);
void mdma_debugfs_exit(struct mdma_device *dev);

#endif /* MDMA_DEBUGFS_H */
