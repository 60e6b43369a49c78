/* From a request to a log entry: what a leader proposes. Pure but for the clock that the caller reads. */
#ifndef CALL_ENTRY_H
#define CALL_ENTRY_H

#include "base/cq_pool.h"
#include "node/raft_thread.h"

struct call_entry {
    uint32_t method;
    uint64_t account;
    uint64_t time;           /* us: group_entry_time() */
    uint16_t version;        /* group_command_version() */
    struct cq_slice message; /* encoded Call */
    struct cq_slice raw;
};

/* Fills the request's entry and bodies (references and memory that raft_request_fini releases). The pool is scratch.
 * CQ_E_PROTO, CQ_E_CORRUPT (a hash is wrong), CQ_E_TOO_BIG, CQ_E_LIMIT, CQ_E_UNSUPPORTED: the command is refused. */
enum cq_rc call_entry_build(const struct call_entry *call, bool system, struct cq_pool *pool,
                            struct raft_request *request, struct cq_err *err);

/* A command of the node's own for its group: no request id, no Call. `body` is the method's message. */
void call_entry_internal(uint32_t method, uint16_t version, uint64_t time, struct cq_slice body,
                         struct raft_request *request);

#endif
