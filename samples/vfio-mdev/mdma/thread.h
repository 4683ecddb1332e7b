/* SPDX-License-Identifier: GPL-2.0-only */
/* The threads of the channels. */
#ifndef MDMA_THREAD_H
#define MDMA_THREAD_H

struct mdma_engine;

int mdma_thread_start(struct mdma_engine *engine);
int mdma_thread_adopt(struct mdma_engine *engine);
void mdma_thread_stop(struct mdma_engine *engine);

#endif /* MDMA_THREAD_H */
