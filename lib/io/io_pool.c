#include "io/io_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"

struct io_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct cq_list queue; /* pool_job.node */
    size_t depth, queue_max, threads;
    bool ending;
    char name[16]; /* of its threads, as ps shows them */
    pthread_t thread[];
};

/* On the waiting fiber's stack, or (submit) on the heap. */
struct pool_job {
    struct cq_list node;
    io_pool_fn *fn;
    void *arg;
    struct io_loop *loop; /* NULL: nobody waits */
    struct io_fiber_ref fiber;
    bool done; /* the loop's */
};

static void job_done(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct pool_job *job = arg;
    job->done = true;
    io_fiber_wake(job->fiber);
}

static void job_run(struct pool_job *job)
{
    struct io_loop *loop = job->loop;
    job->fn(job->arg);
    if (loop)
        io_loop_post(loop, job_done, job);
    else
        free(job);
}

static struct pool_job *next_job(struct io_pool *pool)
{
    struct cq_list *node;
    pthread_mutex_lock(&pool->lock);
    while (!(node = cq_list_first(&pool->queue)) && !pool->ending)
        pthread_cond_wait(&pool->work, &pool->lock);
    if (node) {
        cq_list_remove(node);
        pool->depth--;
    }
    pthread_mutex_unlock(&pool->lock);
    return node ? cq_list_entry(node, struct pool_job, node) : NULL;
}

static void *thread_main(void *arg)
{
    struct io_pool *pool = arg;
    pthread_setname_np(pthread_self(), pool->name);
    for (struct pool_job *job; (job = next_job(pool));)
        job_run(job);
    return NULL;
}

struct io_pool *io_pool_new(const char *name, size_t threads, size_t queue_max)
{
    struct io_pool *pool = cq_calloc(1, sizeof *pool + threads * sizeof pool->thread[0]);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    cq_list_init(&pool->queue);
    pool->queue_max = queue_max;
    pool->threads = threads;
    snprintf(pool->name, sizeof pool->name, "%s", name);
    for (size_t i = 0; i < threads; i++)
        CQ_ASSERT(pthread_create(&pool->thread[i], NULL, thread_main, pool) == 0);
    return pool;
}

void io_pool_free(struct io_pool **pool_p)
{
    struct io_pool *pool = *pool_p;
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    *pool_p = NULL;
}

static enum cq_rc enqueue(struct io_pool *pool, struct pool_job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool full = pool->depth >= pool->queue_max;
    if (!full) {
        cq_list_push_back(&pool->queue, &job->node);
        pool->depth++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return full ? CQ_E_OVERLOADED : CQ_OK;
}

/* True: it waited still, and will never run. */
static bool dequeue(struct io_pool *pool, struct pool_job *job)
{
    pthread_mutex_lock(&pool->lock);
    bool waiting = !cq_list_empty(&job->node);
    if (waiting) {
        cq_list_remove(&job->node);
        pool->depth--;
    }
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

enum cq_rc io_pool_run(struct io_pool *pool, io_pool_fn *fn, void *arg, uint64_t deadline_us)
{
    struct pool_job job = {.fn = fn, .arg = arg, .loop = io_loop_self(), .fiber = io_fiber_self()};
    CQ_ASSERT(io_fiber_running());
    enum cq_rc rc = enqueue(pool, &job);
    if (rc != CQ_OK)
        return rc;
    while (!job.done && rc == CQ_OK)
        rc = io_fiber_park(deadline_us);
    if (!job.done && dequeue(pool, &job))
        return rc;
    io_fiber_shield(true); /* it runs: its memory is on our stack */
    while (!job.done)
        io_fiber_park(IO_NO_DEADLINE);
    io_fiber_shield(false);
    return CQ_OK;
}

enum cq_rc io_pool_submit(struct io_pool *pool, io_pool_fn *fn, void *arg)
{
    struct pool_job *job = cq_new(struct pool_job);
    job->fn = fn;
    job->arg = arg;
    enum cq_rc rc = enqueue(pool, job);
    if (rc != CQ_OK)
        free(job);
    return rc;
}

size_t io_pool_depth(struct io_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t depth = pool->depth;
    pthread_mutex_unlock(&pool->lock);
    return depth;
}
