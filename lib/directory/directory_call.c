/* One call: on a pool thread while the fiber sleeps, or here; and what became of the last ones. */
#include "directory/directory_private.h"

#include "base/cq_metrics.h"
#include "base/cq_time.h"

#include <stdio.h>

#define QUEUE_WAIT_MS 10000 /* a call that waited so long for a thread is answered CQ_E_TIMEOUT */

enum { M_CALLS, M_DURATION };
enum { RESULT_OK, RESULT_REFUSED, RESULT_FAILED };
static const char *const result_names[] = {"ok", "refused", "failed"};

static const struct cq_metric metric_rows[] = {
    [M_CALLS] = CQ_COUNTER("chasqui_directory_calls_total",
                           "Calls to the directory; refused is a definite answer like \"no such account\"",
                           CQ_LABEL("result", result_names)),
    [M_DURATION] = CQ_HISTOGRAM("chasqui_directory_call_duration_seconds",
                                "Time of a call to the directory, waiting for a thread included", CQ_BUCKETS_IO),
};

struct cq_metrics directory_metrics = CQ_METRICS_OF(metric_rows);

static void run_call(void *arg)
{
    struct call *call = arg;
    call->tmp = cq_pool_new(1024);
    call->rc = call->fn(call);
    cq_pool_free(&call->tmp);
}

static bool is_definite(enum cq_rc rc)
{
    return rc == CQ_E_INVALID || rc == CQ_E_NOT_FOUND || rc == CQ_E_EXISTS || rc == CQ_E_CONFLICT ||
           rc == CQ_E_DENIED || rc == CQ_E_LIMIT || rc == CQ_E_STALE || rc == CQ_E_BEHIND || rc == CQ_E_UNSUPPORTED;
}

static void note_trouble(struct directory *directory, const char *text)
{
    pthread_mutex_lock(&directory->lock);
    snprintf(directory->trouble, sizeof directory->trouble, "%s", text);
    pthread_mutex_unlock(&directory->lock);
}

void directory_trouble(struct directory *directory, char text_r[static DIRECTORY_TROUBLE_SIZE])
{
    struct dir_backend *backend = directory->backend;
    text_r[0] = '\0';
    if (backend->ops->trouble) {
        backend->ops->trouble(backend, text_r);
        return;
    }
    pthread_mutex_lock(&directory->lock);
    if (!atomic_load_explicit(&directory->healthy, memory_order_relaxed))
        snprintf(text_r, DIRECTORY_TROUBLE_SIZE, "%s", directory->trouble);
    pthread_mutex_unlock(&directory->lock);
}

static void note_result(struct directory *directory, enum cq_rc rc, uint64_t start_us, const struct cq_err *err)
{
    unsigned result = rc == CQ_OK ? RESULT_OK : is_definite(rc) ? RESULT_REFUSED : RESULT_FAILED;
    cq_metric_add(&directory_metrics, M_CALLS, 1, result);
    cq_metric_observe(&directory_metrics, M_DURATION, cq_time_mono_us() - start_us);
    if (result == RESULT_FAILED)
        note_trouble(directory, err ? err->text : cq_rc_text(rc));
    if (rc != CQ_E_CANCELLED && rc != CQ_E_OVERLOADED)
        atomic_store_explicit(&directory->healthy, result != RESULT_FAILED, memory_order_relaxed);
}

enum cq_rc directory_run(struct directory *directory, call_fn *fn, struct call *call, struct cq_err *err)
{
    uint64_t start_us = cq_time_mono_us();
    enum cq_rc rc = CQ_OK;
    struct cq_err own = {0}; /* for callers that want no text: /readyz?verbose does */
    err = err ? err : &own;
    call->backend = directory->backend;
    call->err = err;
    call->fn = fn;
    if (directory->threads && io_fiber_running()) {
        rc = io_pool_run(directory->threads, run_call, call, io_loop_deadline(io_loop_self(), QUEUE_WAIT_MS));
    } else {
        run_call(call);
    }
    rc = rc == CQ_OK ? call->rc : rc;
    if (rc != CQ_OK && err->rc != rc) /* nobody said it in words */
        cq_err_set(err, rc, "directory: %s", cq_rc_text(rc));
    note_result(directory, rc, start_us, err);
    return rc == CQ_E_BEHIND ? cq_err_set(err, CQ_E_UNAVAILABLE, "the account is not ready yet") : rc;
}
