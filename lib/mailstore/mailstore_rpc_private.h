/* What calls and watches of the transport share. */
#ifndef MAILSTORE_RPC_PRIVATE_H
#define MAILSTORE_RPC_PRIVATE_H

#include "base/cq_list.h"
#include "base/cq_rand.h"
#include "mailstore/mailstore_rpc.h"

struct mailstore_rpc {
    struct mailstore_transport transport; /* first */
    struct io_loop *loop;
    unsigned refs; /* the owner, calls that run */
    bool closed;
    size_t turn; /* which router got the last call */
    struct cq_list watches;
    struct cq_prng jitter;
    size_t router_count;
    struct rpc_client *routers[];
};

static inline struct mailstore_rpc *mailstore_rpc_of(struct mailstore_transport *transport)
{
    return (struct mailstore_rpc *)transport;
}

/* The next router in turn that is connected and not in *tried (bits); else the next that is not; it joins *tried. NULL:
 * all have been tried. */
struct rpc_client *mailstore_rpc_pick(struct mailstore_rpc *rpc, uint64_t *tried);

/* ---- mailstore_rpc_watch.c ---- */
struct mailstore_watch *mailstore_rpc_watch(struct mailstore_transport *transport, uint64_t account,
                                            void (*changed)(void *arg, struct cq_slice notice), void *arg);
void mailstore_rpc_unwatch(struct mailstore_transport *transport, struct mailstore_watch *watch);

#endif
