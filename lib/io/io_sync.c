#include "io/io_sync.h"

#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"

/* On the waiting fiber's stack. */
struct io_waiter {
    struct cq_list node;
    struct io_fiber_ref fiber;
    bool woken;
};

static struct cq_list *list_of(struct io_waiters *waiters)
{
    if (!waiters->list.next)
        cq_list_init(&waiters->list);
    return &waiters->list;
}

bool io_somebody_waits(const struct io_waiters *waiters)
{
    return waiters->list.next && !cq_list_empty(&waiters->list);
}

enum cq_rc io_wait(struct io_waiters *waiters, uint64_t deadline_us)
{
    struct io_waiter waiter = {.fiber = io_fiber_self()};
    enum cq_rc rc = CQ_OK;
    cq_list_push_back(list_of(waiters), &waiter.node);
    while (!waiter.woken && rc == CQ_OK)
        rc = io_fiber_park(deadline_us);
    cq_list_remove(&waiter.node);
    return waiter.woken ? CQ_OK : rc; /* what was handed over is never lost to a cancel */
}

bool io_wake_one(struct io_waiters *waiters)
{
    struct cq_list *node = cq_list_first(list_of(waiters));
    if (!node)
        return false;
    struct io_waiter *waiter = cq_list_entry(node, struct io_waiter, node);
    cq_list_remove(node);
    waiter->woken = true;
    io_fiber_wake(waiter->fiber);
    return true;
}

void io_wake_all(struct io_waiters *waiters)
{
    while (io_wake_one(waiters))
        ;
}

void io_event_set(struct io_event *event)
{
    event->set = true;
    io_wake_all(&event->waiters);
}

void io_event_reset(struct io_event *event)
{
    event->set = false;
}

enum cq_rc io_event_wait(struct io_event *event, uint64_t deadline_us)
{
    enum cq_rc rc = CQ_OK;
    while (!event->set && rc == CQ_OK)
        rc = io_wait(&event->waiters, deadline_us);
    return rc;
}

bool io_sem_try(struct io_sem *sem)
{
    if (sem->count == 0 || io_somebody_waits(&sem->waiters))
        return false;
    sem->count--;
    return true;
}

enum cq_rc io_sem_take(struct io_sem *sem, uint64_t deadline_us)
{
    return io_sem_try(sem) ? CQ_OK : io_wait(&sem->waiters, deadline_us);
}

void io_sem_give(struct io_sem *sem)
{
    if (!io_wake_one(&sem->waiters)) /* handed over to the first who waits, or kept */
        sem->count++;
}

void io_queue_init(struct io_queue *queue, size_t max)
{
    *queue = (struct io_queue){.max = max, .ring = cq_calloc(max, sizeof(void *))};
}

void io_queue_fini(struct io_queue *queue)
{
    CQ_ASSERT(!io_somebody_waits(&queue->readers) && !io_somebody_waits(&queue->writers));
    free(queue->ring);
    queue->ring = NULL;
}

enum cq_rc io_queue_try_put(struct io_queue *queue, void *item)
{
    if (queue->closed)
        return CQ_E_EOF;
    if (queue->count == queue->max)
        return CQ_E_OVERLOADED;
    queue->ring[(queue->head + queue->count++) % queue->max] = item;
    io_wake_one(&queue->readers);
    return CQ_OK;
}

enum cq_rc io_queue_put(struct io_queue *queue, void *item, uint64_t deadline_us)
{
    for (;;) {
        enum cq_rc rc = io_queue_try_put(queue, item);
        if (rc != CQ_E_OVERLOADED)
            return rc;
        rc = io_wait(&queue->writers, deadline_us);
        if (rc != CQ_OK)
            return rc;
    }
}

enum cq_rc io_queue_try_get(struct io_queue *queue, void **item_r)
{
    if (queue->count == 0)
        return queue->closed ? CQ_E_EOF : CQ_E_AGAIN;
    *item_r = queue->ring[queue->head];
    queue->head = (queue->head + 1) % queue->max;
    queue->count--;
    io_wake_one(&queue->writers);
    return CQ_OK;
}

enum cq_rc io_queue_get(struct io_queue *queue, void **item_r, uint64_t deadline_us)
{
    for (;;) {
        enum cq_rc rc = io_queue_try_get(queue, item_r);
        if (rc != CQ_E_AGAIN)
            return rc;
        rc = io_wait(&queue->readers, deadline_us);
        if (rc != CQ_OK)
            return rc;
    }
}

void io_queue_close(struct io_queue *queue)
{
    queue->closed = true;
    io_wake_all(&queue->readers);
    io_wake_all(&queue->writers);
}
