/* What every session of a worker thread uses. A worker is one loop with its connections, fibers and clients; workers
 * share nothing that changes but the directory and the authentication pool, which are safe for all threads. */
#ifndef FRONT_WORKER_H
#define FRONT_WORKER_H

#include "base/cq_list.h"
#include "directory/auth.h"
#include "directory/directory.h"
#include "events/event_ring.h"
#include "io/io_loop.h"
#include "limits/quota_client.h"
#include "mailstore/mailstore.h"

struct front_worker {
    struct io_loop *loop;
    struct mailstore *mailstore;
    struct directory *directory;
    struct auth *auth;
    struct quota_client *quota;        /* rates and connection counts; NULL: none are kept */
    const struct quota_limits *limits; /* what is told of them in events; NULL: nothing */
    struct event_ring *events;         /* of the process; NULL: no events */
    struct cq_list sessions;           /* struct front_session */
    const char *hostname;              /* our name in greetings and trace fields */
    const char *spool_folder;          /* for messages over FRONT_SPOOL_MEMORY */
    size_t ahead_octets;               /* that all sessions have asked for ahead (front_ahead.h) */
};

#endif
