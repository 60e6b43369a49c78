/* One worker: a thread with its loop, its way to the shards, its listeners and their services. */
#ifndef FRONTEND_WORKER_H
#define FRONTEND_WORKER_H

#include <pthread.h>

#include "core/front_session.h"
#include "frontend_config.h"
#include "io/io_listener.h"
#include "mailstore/mailstore_rpc.h"
#include "pop3/pop3_service.h"
#include "rpc/rpc_client.h"
#include "smtp/smtp_service.h"

#define FRONTEND_LISTENERS_MAX 64

struct frontend;
struct frontend_worker;

/* A listener of one worker, with what its protocol needs. */
struct frontend_port {
    struct frontend_worker *worker;
    const struct frontend_listener *config;
    struct io_listener *listener;
    struct imap_service *imap;
    struct pop3_service pop3;
    struct smtp_service smtp;
    struct io_cidr *proxy_from;
};

struct frontend_worker {
    struct front_worker front; /* what sessions see */
    struct mailstore_transport *transport;
    struct rpc_client *quota_rpc; /* to the quota-service; NULL: there is none */
    struct frontend_port ports[FRONTEND_LISTENERS_MAX];
    size_t port_count;
    pthread_t thread;
    bool running; /* has a thread */
};

/* Without listeners and thread: the control loop's. */
enum cq_rc frontend_worker_new(struct frontend *frontend, const char *name, struct frontend_worker **worker_r,
                               struct cq_err *err);
enum cq_rc frontend_worker_listen(struct frontend_worker *worker, struct frontend *frontend, struct cq_err *err);
void frontend_worker_run(struct frontend_worker *worker); /* starts its thread */

/* On a fiber of the control loop: no new connections any more; then all sessions are asked to end. */
void frontend_worker_stop_listening(struct frontend_worker *worker);
void frontend_worker_free(struct frontend_worker **worker); /* stops its thread; sessions that are left are cut off */

#endif
