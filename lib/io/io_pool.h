/* A small named pool of threads for what would hold up a loop: argon2, SQLite, large searches, name resolution.
 * A fiber gives it a job and is suspended until the job is done. */
#ifndef IO_POOL_H
#define IO_POOL_H

#include "io/io_fiber.h"

struct io_pool;

typedef void io_pool_fn(void *arg);

/* queue_max: jobs that may wait for a thread. */
struct io_pool *io_pool_new(const char *name, size_t threads, size_t queue_max);

/* Runs what is queued, ends the threads, frees. No fiber may be waiting on it any more. */
void io_pool_free(struct io_pool **pool);

/* On a fiber: runs fn(arg) on a thread of the pool and returns CQ_OK when it has ended. While the job waits in the
 * queue, the deadline and a cancel take it out again (CQ_E_TIMEOUT, CQ_E_CANCELLED: fn never runs); once it runs, this
 * waits for its end whatever happens, so arg may live on the fiber's stack. CQ_E_OVERLOADED: the queue is full. */
enum cq_rc io_pool_run(struct io_pool *pool, io_pool_fn *fn, void *arg, uint64_t deadline_us);

/* Any thread, no fiber: fn(arg) runs, nobody is told. CQ_E_OVERLOADED: the queue is full, fn never runs. */
enum cq_rc io_pool_submit(struct io_pool *pool, io_pool_fn *fn, void *arg);

size_t io_pool_depth(struct io_pool *pool); /* jobs waiting; any thread */

#endif
