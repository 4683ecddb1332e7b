/* SPDX-License-Identifier: GPL-2.0-only */
/* A file that carries a migration stream from the device or to it. */
#ifndef MDMA_FILE_H
#define MDMA_FILE_H

#include <linux/types.h>

struct file;
struct mdma_file;
struct mdma_snapshot;

struct mdma_file *mdma_file_create(u32 id, u32 channels, bool saves);
struct file *mdma_file_get(struct mdma_file *file);
void mdma_file_end(struct mdma_file *file);
void mdma_file_put(struct mdma_file **file);
struct mdma_snapshot *mdma_file_snapshot(struct mdma_file *file);
int mdma_file_finish(struct mdma_file *file);
int mdma_file_result(const struct mdma_file *file);

#endif /* MDMA_FILE_H */
