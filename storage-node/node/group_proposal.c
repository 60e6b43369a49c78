#include "node/group_proposal.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/call_entry.h"
#include "node/node.h"

struct proposal {
    struct raft_request base;
    struct node *node;
    group_proposal_fn *after;
    void *arg;
    enum cq_rc rc;
    uint8_t *reply;
    size_t reply_len;
};

static void on_done(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct proposal *p = arg;
    p->after(p->arg, p->rc, cq_slice_of(p->reply, p->reply_len));
    raft_request_fini(&p->base);
    free(p->reply);
    free(p);
}

/* On the apply thread or the Raft thread. */
static void done(struct raft_request *base, enum cq_rc rc, bool not_run, const struct machine_outcome *outcome)
{
    (void)not_run;
    struct proposal *p = cq_containerof(base, struct proposal, base);
    p->rc = rc;
    if (outcome) {
        group_saw_time(base->group, outcome->entry_time);
        p->reply = cq_memdup(outcome->answer.data, outcome->answer.len);
        p->reply_len = outcome->answer.len;
    }
    io_loop_post(p->node->control, on_done, p);
}

void group_propose(struct node *node, struct group *group, uint32_t method, const ProtobufCMessage *message,
                   group_proposal_fn *after, void *arg)
{
    struct proposal *p = cq_new(struct proposal);
    struct cq_pool *pool = cq_pool_new(4096);
    p->node = node;
    p->after = after;
    p->arg = arg;
    p->base.group = group;
    p->base.done = done;
    call_entry_internal(method, group_command_version(group), group_entry_time(group, cq_time_wall_us()),
                        message_pack(message, pool), &p->base);
    cq_pool_free(&pool);
    raft_thread_propose(node->raft, &p->base);
}
