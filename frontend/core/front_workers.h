/* All workers of the process, and how to do something on each one's own thread. */
#ifndef FRONT_WORKERS_H
#define FRONT_WORKERS_H

#include "core/front_worker.h"

struct front_workers {
    struct front_worker **items;
    size_t count;
};

/* On a fiber: runs fn(worker, arg) on the thread of each worker, one after the other, and returns when all have. So
 * `arg` needs no lock and may live on the fiber's stack. fn must not suspend. */
void front_workers_each(const struct front_workers *workers, void (*fn)(struct front_worker *worker, void *arg),
                        void *arg);

#endif
