/* A context: options, the generation of files that is in use, reloading. How OpenSSL is set up from the files is
 * io_tls_setup.c. */
#include "io/io_tls.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_metrics.h"
#include "io/io_net.h"
#include "io/io_tls_files.h"
#include "io/io_tls_private.h"
#include "io/io_tls_setup.h"

#define FILES_MAX (2 * IO_TLS_CERTS_MAX + 2)

struct watched_file {
    const char *path; /* in the setup */
    struct io_tls_mark mark;
};

struct io_tls {
    struct io_tls_setup setup; /* constant after birth */
    struct watched_file files[FILES_MAX];
    size_t file_count;

    pthread_mutex_t reload_lock; /* one reload at a time; guards files[].mark */
    pthread_mutex_t lock;        /* guards what follows */
    SSL_CTX *ctx;
    struct io_tls_stats stats;

    struct cq_list alive;  /* all contexts */
    struct io_timer timer; /* of the loop that watches */
    uint64_t interval_ms;
};

/* ---- All of them, for the metrics ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cq_list all = {&all, &all};

static void all_add(struct io_tls *tls)
{
    pthread_mutex_lock(&all_lock);
    cq_list_push_back(&all, &tls->alive);
    pthread_mutex_unlock(&all_lock);
}

static void all_remove(struct io_tls *tls)
{
    pthread_mutex_lock(&all_lock);
    cq_list_remove(&tls->alive);
    pthread_mutex_unlock(&all_lock);
}

static bool is_first_of_its_name(const struct io_tls *tls)
{
    cq_list_each (&all, node) {
        const struct io_tls *other = cq_list_entry(node, struct io_tls, alive);
        if (strcmp(other->setup.service, tls->setup.service) == 0)
            return other == tls;
    }
    return false;
}

void io_tls_walk(io_tls_walk_fn *fn, void *arg)
{
    pthread_mutex_lock(&all_lock);
    cq_list_each (&all, node) {
        struct io_tls *tls = cq_list_entry(node, struct io_tls, alive);
        struct io_tls_stats stats;
        io_tls_stats(tls, &stats);
        if (is_first_of_its_name(tls))
            fn(tls->setup.service, &stats, arg);
    }
    pthread_mutex_unlock(&all_lock);
}

/* ---- Files ---- */

static void watch_file(struct io_tls *tls, const char *path)
{
    for (size_t i = 0; path && i < tls->file_count; i++)
        if (strcmp(tls->files[i].path, path) == 0)
            return;
    if (path)
        tls->files[tls->file_count++].path = path;
}

static void list_files(struct io_tls *tls)
{
    const struct io_tls_setup *setup = &tls->setup;
    for (size_t i = 0; i < setup->cert_count; i++) {
        watch_file(tls, setup->certs[i].cert_file);
        watch_file(tls, setup->certs[i].key_file);
    }
    watch_file(tls, setup->ca_file);
    watch_file(tls, setup->ticket_keys_file);
}

/* Takes the present marks and tells whether any is new: before reading, so that a change while we read is seen later.
 */
static bool look_at_files(struct io_tls *tls)
{
    bool changed = false;
    for (size_t i = 0; i < tls->file_count; i++) {
        struct io_tls_mark now;
        io_tls_mark_take(tls->files[i].path, &now);
        changed |= !io_tls_mark_eq(&now, &tls->files[i].mark);
        tls->files[i].mark = now;
    }
    return changed;
}

/* ---- Reloading ---- */

static void install(struct io_tls *tls, SSL_CTX *ctx)
{
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->ctx;
    tls->ctx = ctx;
    tls->stats.reloads += old != NULL;
    tls->stats.stale = false;
    tls->stats.not_after_s = io_tls_setup_not_after(ctx);
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
}

static void note_failure(struct io_tls *tls, const struct cq_err *err)
{
    pthread_mutex_lock(&tls->lock);
    tls->stats.reload_failures++;
    tls->stats.stale = true;
    pthread_mutex_unlock(&tls->lock);
    cq_metric_add(&io_metrics, IO_M_TLS_RELOADS, 1, IO_M_RELOAD_FAILED);
    cq_log(CQ_ERROR, "tls.reload_failed", CQ_F_STR("service", tls->setup.service), CQ_F_ERR(err));
}

static bool has_expired(SSL_CTX *ctx)
{
    int64_t not_after_s = io_tls_setup_not_after(ctx);
    return not_after_s && not_after_s < (int64_t)time(NULL);
}

static enum cq_rc reload_files(struct io_tls *tls, struct cq_err *err)
{
    SSL_CTX *ctx = NULL;
    enum cq_rc rc = io_tls_setup_ctx(&tls->setup, &ctx, err);
    if (rc == CQ_OK && has_expired(ctx)) {
        SSL_CTX_free(ctx);
        rc = CQ_FAIL(err, CQ_E_CONFIG, "a new certificate of %s has expired already", tls->setup.service);
    }
    if (rc != CQ_OK)
        return rc;
    install(tls, ctx);
    cq_metric_add(&io_metrics, IO_M_TLS_RELOADS, 1, IO_M_RELOAD_OK);
    cq_log(CQ_INFO, "tls.reloaded", CQ_F_STR("service", tls->setup.service));
    return CQ_OK;
}

enum cq_rc io_tls_reload(struct io_tls *tls, bool force, bool *reloaded_r, struct cq_err *err)
{
    struct cq_err local = {0};
    enum cq_rc rc = CQ_OK;
    pthread_mutex_lock(&tls->reload_lock);
    bool due = look_at_files(tls) || force;
    if (due)
        rc = reload_files(tls, &local);
    pthread_mutex_unlock(&tls->reload_lock);
    if (rc != CQ_OK) {
        note_failure(tls, &local);
        if (err)
            *err = local;
    }
    if (reloaded_r)
        *reloaded_r = due && rc == CQ_OK;
    return rc;
}

static void reload_due(struct io_timer *timer)
{
    struct io_tls *tls = cq_containerof(timer, struct io_tls, timer);
    io_tls_reload(tls, false, NULL, NULL);
    io_timer_start(timer, tls->interval_ms);
}

void io_tls_watch(struct io_tls *tls, struct io_loop *loop, uint64_t interval_ms)
{
    CQ_ASSERT(!tls->timer.loop);
    io_timer_init(&tls->timer, loop, reload_due);
    tls->interval_ms = interval_ms;
    io_timer_start(&tls->timer, interval_ms);
}

void io_tls_unwatch(struct io_tls *tls)
{
    if (tls->timer.loop)
        io_timer_stop(&tls->timer);
    tls->timer.loop = NULL;
}

/* ---- Birth and end ---- */

static struct io_tls *tls_alloc(void)
{
    struct io_tls *tls = cq_new(struct io_tls);
    pthread_mutex_init(&tls->reload_lock, NULL);
    pthread_mutex_init(&tls->lock, NULL);
    cq_list_init(&tls->alive);
    return tls;
}

static enum cq_rc start(struct io_tls *tls, struct io_tls **tls_r, struct cq_err *err)
{
    SSL_CTX *ctx = NULL;
    list_files(tls);
    look_at_files(tls);
    enum cq_rc rc = io_tls_setup_ctx(&tls->setup, &ctx, err);
    if (rc != CQ_OK) {
        io_tls_free(&tls);
        return rc;
    }
    if (has_expired(ctx))
        cq_log(CQ_ERROR, "tls.certificate_expired", CQ_F_STR("service", tls->setup.service),
               CQ_F_STR("file", tls->setup.certs[0].cert_file));
    install(tls, ctx);
    all_add(tls);
    *tls_r = tls;
    return CQ_OK;
}

enum cq_rc io_tls_server_new(const struct io_tls_server_options *options, struct io_tls **tls_r, struct cq_err *err)
{
    CQ_ASSERT(options->service && strlen(options->service) <= SSL_MAX_SID_CTX_LENGTH);
    struct io_tls *tls = tls_alloc();
    io_tls_setup_server(&tls->setup, options);
    if (!options->cert_count || options->cert_count > IO_TLS_CERTS_MAX) {
        size_t count = options->cert_count;
        io_tls_free(&tls);
        return CQ_FAIL(err, CQ_E_CONFIG, "%s has %zu certificates (1 to %d)", options->service, count,
                       IO_TLS_CERTS_MAX);
    }
    return start(tls, tls_r, err);
}

enum cq_rc io_tls_client_new(const struct io_tls_client_options *options, struct io_tls **tls_r, struct cq_err *err)
{
    struct io_tls *tls = tls_alloc();
    io_tls_setup_client(&tls->setup, options);
    return start(tls, tls_r, err);
}

void io_tls_free(struct io_tls **tls_p)
{
    struct io_tls *tls = *tls_p;
    if (!tls)
        return;
    io_tls_unwatch(tls);
    all_remove(tls);
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->lock);
    pthread_mutex_destroy(&tls->reload_lock);
    io_tls_setup_fini(&tls->setup);
    free(tls);
    *tls_p = NULL;
}

void io_tls_stats(struct io_tls *tls, struct io_tls_stats *stats_r)
{
    pthread_mutex_lock(&tls->lock);
    *stats_r = tls->stats;
    pthread_mutex_unlock(&tls->lock);
}

/* ---- Sessions ---- */

static bool expect_name(SSL *ssl, const char *name)
{
    struct io_addr addr;
    if (io_addr_parse(cq_slice_cstr(name), 0, &addr, NULL) == CQ_OK) /* RFC 6066 3: no SNI for an address */
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

SSL *io_tls_session(struct io_tls *tls, bool client, const char *server_name, struct cq_err *err)
{
    CQ_ASSERT(client != tls->setup.server);
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *ctx = tls->ctx;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&tls->lock);
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    CQ_ASSERT(ssl);
    if (server_name && !expect_name(ssl, server_name)) {
        SSL_free(ssl);
        CQ_FAIL(err, CQ_E_INVALID, "\"%s\" is not a host name (%s)", server_name, io_tls_error_text());
        return NULL;
    }
    return ssl;
}

bool io_tls_wants_alpn(const struct io_tls *tls)
{
    return tls->setup.alpn.len > 0;
}

unsigned io_tls_protocol(const struct io_tls *tls)
{
    return tls->setup.protocol;
}

const char *io_tls_error_text(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "unknown error";
}
