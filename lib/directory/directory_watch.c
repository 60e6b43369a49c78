/* The feed of changes, and who follows it. */
#include "directory/directory_private.h"

static enum cq_rc do_changes(struct call *c)
{
    return c->backend->ops->changes(c->backend, c->number, c->max, c->pool, c->out, c->count_r, c->number_r, c->err);
}

enum cq_rc directory_changes(struct directory *directory, uint64_t since, size_t max, struct cq_pool *pool,
                             struct dir_change **changes_r, size_t *count_r, uint64_t *head_r, struct cq_err *err)
{
    struct call call = {.number = since,
                        .max = directory_page(max),
                        .pool = pool,
                        .out = changes_r,
                        .count_r = count_r,
                        .number_r = head_r};
    return directory_run(directory, do_changes, &call, err);
}

/* One page. *more_r: there may be another. */
static enum cq_rc poll_page(struct directory_watch *watch, struct cq_pool *pool, bool *more_r, struct cq_err *err)
{
    struct dir_change *changes;
    size_t count = 0;
    uint64_t head = 0;
    enum cq_rc rc =
        directory_changes(watch->directory, watch->seen, DIRECTORY_LIST_MAX, pool, &changes, &count, &head, err);
    *more_r = rc == CQ_OK && count == DIRECTORY_LIST_MAX;
    if (rc == CQ_E_STALE) {
        watch->seen = head;
        if (watch->started || watch->late)
            watch->changed(NULL, true, watch->ctx);
        watch->started = true;
        return CQ_OK;
    }
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < count && watch->started; i++)
        watch->changed(&changes[i], false, watch->ctx);
    watch->seen = *more_r && watch->started ? changes[count - 1].version : head;
    *more_r = *more_r && watch->started;
    if (!watch->started && watch->late)
        watch->changed(NULL, true, watch->ctx);
    watch->started = true;
    return CQ_OK;
}

enum cq_rc directory_watch_wait(struct directory_watch *watch, uint64_t most_ms)
{
    struct dir_backend *backend = watch->directory->backend;
    return backend->ops->wait_for_change ? backend->ops->wait_for_change(backend, most_ms) : io_fiber_sleep(most_ms);
}

enum cq_rc directory_watch_poll(struct directory_watch *watch, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (bool more = true; more && rc == CQ_OK;) {
        struct cq_pool *pool = cq_pool_new(4096);
        rc = poll_page(watch, pool, &more, err);
        cq_pool_free(&pool);
    }
    watch->late = watch->late || (rc != CQ_OK && !watch->started);
    return rc;
}
