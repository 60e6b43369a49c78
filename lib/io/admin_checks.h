/* The checks behind the admin port, without HTTP: states that owners push, functions that are asked, heartbeats. */
#ifndef CHASQUI_IO_ADMIN_CHECKS_H
#define CHASQUI_IO_ADMIN_CHECKS_H

#include "base/cq_buf.h"
#include "io/admin_http.h"

#include <pthread.h>
#include <stdatomic.h>

struct admin_check {
    const char *name; /* borrowed: a literal */
    unsigned kinds;
    pthread_mutex_t *lock; /* guards ok and text */
    bool ok;
    char text[ADMIN_TEXT_MAX];
    admin_check_fn *fn; /* computed checks */
    void *ctx;
};

struct admin_heartbeat {
    char name[64];
    _Atomic uint64_t beat_us; /* cq_time_mono_us */
};

struct admin_checks {
    pthread_mutex_t lock;
    struct admin_check checks[ADMIN_CHECKS_MAX];
    size_t check_count;
    struct admin_heartbeat heartbeats[ADMIN_CHECKS_MAX];
    size_t heartbeat_count;
    uint64_t heartbeat_max_us;
    atomic_bool draining;
};

void admin_checks_init(struct admin_checks *all, uint64_t heartbeat_max_us);
void admin_checks_fini(struct admin_checks *all);
struct admin_check *admin_checks_add(struct admin_checks *all, const char *name, unsigned kinds);

/* One answer about one check. */
struct admin_result {
    const char *name;
    bool ok;
    char text[ADMIN_TEXT_MAX];
};

#define ADMIN_RESULTS_MAX (2 * ADMIN_CHECKS_MAX + 1)

/* Asks all checks of this kind; heartbeats count for live and ready, draining for ready. Returns how many results. */
size_t admin_checks_ask(struct admin_checks *all, enum admin_kind kind, uint64_t now_us,
                        struct admin_result results_r[static ADMIN_RESULTS_MAX]);

/* Age of the oldest heartbeat; 0 without any. */
uint64_t admin_checks_heartbeat_age(const struct admin_checks *all, uint64_t now_us);

enum admin_form { ADMIN_BRIEF, ADMIN_VERBOSE, ADMIN_JSON };

/* Writes the answer and tells whether all is well. `page` is "readyz" and the like. */
bool admin_checks_render(struct cq_buf *out, const char *page, enum admin_form form, const struct admin_result *results,
                         size_t count);

#endif
