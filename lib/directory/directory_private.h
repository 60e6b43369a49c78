/* What the files directory*.c share: the directory, and one call to its backend. */
#ifndef DIRECTORY_PRIVATE_H
#define DIRECTORY_PRIVATE_H

#include "directory/dir_keeper.h"
#include "directory/directory.h"
#include "directory/directory_backend.h"
#include "io/io_pool.h"

#include <pthread.h>
#include <stdatomic.h>

#define DIRECTORY_LIST_MAX 1000 /* rows of one page */

struct directory {
    struct dir_backend *backend;
    struct io_pool *threads;   /* NULL: calls run where they are made */
    struct dir_keeper *keeper; /* NULL: what is known is not kept */
    atomic_bool healthy;
    pthread_mutex_t lock; /* guards trouble */
    char trouble[DIRECTORY_TROUBLE_SIZE];
};

/* ---- directory_call.c: one call, on a pool thread while the fiber sleeps, or here ---- */

struct call;
typedef enum cq_rc call_fn(struct call *call);

/* What the calls take and give; each uses its part. `tmp` is the call's own memory, `pool` the caller's. */
struct call {
    struct dir_backend *backend;
    struct cq_err *err;
    struct cq_pool *tmp;
    struct cq_pool *pool;
    struct cq_slice text, other;
    uint64_t id, id2, number;
    size_t max;
    const void *in;
    void *out;
    size_t *count_r;
    uint64_t *number_r;
    enum dir_state to;
    unsigned from;
    call_fn *fn;
    enum cq_rc rc;
};

/* Runs fn and counts what came of it. */
enum cq_rc directory_run(struct directory *directory, call_fn *fn, struct call *call, struct cq_err *err);

static inline size_t directory_page(size_t max)
{
    return max < DIRECTORY_LIST_MAX ? max : DIRECTORY_LIST_MAX;
}

/* ---- directory.c: domains, for the calls of the others ---- */

/* The canonical name, in the call's own memory. */
enum cq_rc directory_parse_domain(struct call *c, struct cq_slice text, struct cq_slice *name_r);
/* By its canonical name, in `pool`. */
enum cq_rc directory_find_domain(struct call *c, struct cq_slice name, struct cq_pool *pool,
                                 struct dir_domain *domain_r);
/* By any name, in the call's own memory. */
enum cq_rc directory_get_domain(struct call *c, struct cq_slice text, struct dir_domain *domain_r);

#endif
