/* Waiting for each other, for fibers (and callbacks) of one loop. Nothing here is for threads. All are embedded;
 * the memory must live until nobody waits on it. Waiters are served in their order. */
#ifndef IO_SYNC_H
#define IO_SYNC_H

#include "io/io_fiber.h"

/* The fibers that wait for something; zeroed is empty. */
struct io_waiters {
    struct cq_list list;
};

/* Suspends until a wake of this list: CQ_OK, CQ_E_TIMEOUT, CQ_E_CANCELLED. Whoever was woken gets CQ_OK even if it was
 * cancelled too: what was handed over is never lost. */
enum cq_rc io_wait(struct io_waiters *waiters, uint64_t deadline_us);
bool io_wake_one(struct io_waiters *waiters); /* the one who waits longest; false: nobody does */
void io_wake_all(struct io_waiters *waiters);
bool io_somebody_waits(const struct io_waiters *waiters);

/* An event: stays set until it is reset. Zeroed is not set. */
struct io_event {
    struct io_waiters waiters;
    bool set;
};

void io_event_set(struct io_event *event);
void io_event_reset(struct io_event *event);
enum cq_rc io_event_wait(struct io_event *event, uint64_t deadline_us); /* CQ_OK: it is set */

/* A counting semaphore; fair. A mutex is one with count 1. */
struct io_sem {
    struct io_waiters waiters;
    size_t count; /* set by the owner at birth */
};

enum cq_rc io_sem_take(struct io_sem *sem, uint64_t deadline_us); /* CQ_OK: the caller holds one */
bool io_sem_try(struct io_sem *sem);
void io_sem_give(struct io_sem *sem);

/* A bounded queue of pointers. */
struct io_queue {
    struct io_waiters readers, writers;
    void **ring;
    size_t max, head, count;
    bool closed;
};

void io_queue_init(struct io_queue *queue, size_t max);
void io_queue_fini(struct io_queue *queue); /* what is in it stays the caller's */

/* Put: CQ_OK, CQ_E_TIMEOUT, CQ_E_CANCELLED, or CQ_E_EOF when it is closed. try_put: CQ_E_OVERLOADED when it is full. */
enum cq_rc io_queue_put(struct io_queue *queue, void *item, uint64_t deadline_us);
enum cq_rc io_queue_try_put(struct io_queue *queue, void *item);

/* Get: the oldest. CQ_E_EOF: closed and empty. try_get: CQ_E_AGAIN when it is empty. */
enum cq_rc io_queue_get(struct io_queue *queue, void **item_r, uint64_t deadline_us);
enum cq_rc io_queue_try_get(struct io_queue *queue, void **item_r);

/* No more puts; waiting readers get what is left, then CQ_E_EOF. */
void io_queue_close(struct io_queue *queue);

#endif
