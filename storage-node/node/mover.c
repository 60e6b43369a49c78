#include "node/mover.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "cluster/move_plan.h"
#include "io/io_fiber.h"
#include "node/call_codec.h"
#include "node/node.h"
#include "node/system_client.h"
#include "node/topology_keeper.h"
#include "proto/system.pb-c.h"

#define MOVES_AT_ONCE 16 /* that one planner works on; more wait */
#define LOOK_MS 250      /* between two looks */
#define SOON_MS 20       /* after something was done */
#define LOOK_CALL_MS 3000
#define ACT_CALL_MS 10000
#define POOL_SIZE 4096

enum { M_MOVES, M_STEPS, M_REFUSED, M_ROWS };
static const char *const states[] = {"queued", "running"};
static const struct cq_metric rows[M_ROWS] = {
    [M_MOVES] = CQ_GAUGE("chasqui_moves", "Moves of replicas, at the node that leads the system shard; 0 elsewhere",
                         CQ_LABEL("state", states)),
    [M_STEPS] = CQ_COUNTER("chasqui_move_steps_total", "Steps of moves that this node has recorded"),
    [M_REFUSED] = CQ_COUNTER("chasqui_move_refusals_total",
                             "Times that a step of a move was not possible yet; it is tried again"),
};
struct cq_metrics mover_metrics = CQ_METRICS_OF(rows);

struct slot {
    struct mover *mover;
    uint64_t replica; /* 0: free */
    struct io_fiber_ref fiber;
    char leader[TOPOLOGY_ADDRESS_MAX + 1]; /* where the group was led last; "": not known */
};

struct mover {
    struct node *node;
    unsigned per_node;
    bool stopped;
    struct io_fiber_ref fiber;
    struct slot slots[MOVES_AT_ONCE];
};

/* The system shard is led from here. */
static bool plans(const struct mover *m)
{
    const struct group *system = groups_find(&m->node->groups, GROUP_SYSTEM);
    return !m->stopped && system && !atomic_load(&system->failed) && group_leads(system);
}

static uint64_t deadline(uint64_t ms)
{
    return io_loop_deadline(io_loop_self(), ms);
}

/* ---- Telling the system shard ---- */

static enum cq_rc tell(struct mover *m, uint16_t method, const ProtobufCMessage *message, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct cq_slice body;
    enum cq_rc rc =
        system_call(m->node, NULL, 0, method, message_pack(message, pool), deadline(ACT_CALL_MS), pool, &body, err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc record(struct mover *m, const struct topology_move *move, enum topology_move_step to,
                         struct cq_err *err)
{
    Chasqui__System__StepMove message = CHASQUI__SYSTEM__STEP_MOVE__INIT;
    message.replica = move->replica;
    message.before = (Chasqui__System__MoveStep)move->step;
    message.to = (Chasqui__System__MoveStep)to;
    enum cq_rc rc = tell(m, CHASQUI__SYSTEM__METHOD__STEP_MOVE, &message.base, err);
    if (rc == CQ_OK) {
        cq_metric_add(&mover_metrics, M_STEPS, 1);
        cq_log(CQ_INFO, "move.step", CQ_F_U64("group", move->group), CQ_F_U64("replica", move->replica),
               CQ_F_STR("step", move_step_name(to)), CQ_F_BOOL("cancelled", move->cancelled));
    }
    return rc;
}

/* ---- Looking ---- */

static void view_members(const struct topology *t, const struct topology_move *move,
                         const Chasqui__System__GroupMembersReply *reply, struct move_view *view)
{
    view->led = true;
    view->settled = reply->committed;
    for (size_t i = 0; i < reply->n_members; i++) {
        const Chasqui__System__Member *m = reply->members[i];
        enum move_member role = m->role == RAFT_MEMBER_VOTER ? MOVE_VOTER : MOVE_WITHOUT_VOTE;
        bool from = m->node.len == 16 && memcmp(m->node.data, t->nodes[move->from].uuid, 16) == 0;
        if (from) {
            view->old_member = role;
            view->old_leads = m->replica == reply->leader;
        }
        if (m->replica != move->replica)
            continue;
        view->new_member = role;
        view->lag = m->match == 0 ? UINT64_MAX : m->match < reply->last_index ? reply->last_index - m->match : 0;
    }
}

/* Does the node at this address lead the group? Then the view is its. */
static bool ask_leader(struct slot *s, const struct topology *t, const struct topology_move *move, const char *address,
                       struct move_view *view, struct cq_err *err)
{
    Chasqui__System__GroupMembers message = CHASQUI__SYSTEM__GROUP_MEMBERS__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct cq_slice body;
    message.group = move->group;
    enum cq_rc rc = node_call(s->mover->node, address, CHASQUI__SYSTEM__METHOD__GROUP_MEMBERS,
                              message_pack(&message.base, pool), deadline(LOOK_CALL_MS), pool, &body, err);
    Chasqui__System__GroupMembersReply *reply =
        rc == CQ_OK ? chasqui__system__group_members_reply__unpack(NULL, body.len, body.data) : NULL;
    if (reply) {
        view_members(t, move, reply, view);
        chasqui__system__group_members_reply__free_unpacked(reply, NULL);
    }
    cq_pool_free(&pool);
    return view->led;
}

static void look_at_group(struct slot *s, const struct topology *t, const struct topology_move *move,
                          struct move_view *view, struct cq_err *err)
{
    const struct topology_shard *shard = topology_shard(t, move->group);
    if (s->leader[0] && ask_leader(s, t, move, s->leader, view, err))
        return;
    s->leader[0] = '\0';
    for (size_t i = 0; shard && i < shard->replica_count && !io_fiber_cancelled(); i++) {
        const char *address = t->nodes[shard->replicas[i].node].address;
        if (!shard->replicas[i].voter && shard->replicas[i].id != move->replica)
            continue;
        if (!ask_leader(s, t, move, address, view, err))
            continue;
        snprintf(s->leader, sizeof s->leader, "%s", address);
        return;
    }
}

/* Another node may have come to the address of one that is dead, and may even hold a replica of the group: by its id,
 * which is never used again, it is not the old one. */
static void look_at_old(struct slot *s, const struct topology *t, const struct topology_move *move,
                        struct move_view *view, struct cq_err *err)
{
    Chasqui__System__GroupMembers message = CHASQUI__SYSTEM__GROUP_MEMBERS__INIT;
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct cq_slice body;
    message.group = move->group;
    enum cq_rc rc = node_call(s->mover->node, t->nodes[move->from].address, CHASQUI__SYSTEM__METHOD__REPLICA_HERE,
                              message_pack(&message.base, pool), deadline(LOOK_CALL_MS), pool, &body, err);
    Chasqui__System__ReplicaState *reply =
        rc == CQ_OK ? chasqui__system__replica_state__unpack(NULL, body.len, body.data) : NULL;
    view->old_answers = reply != NULL;
    view->old_is_there = reply && reply->replica == move->old;
    if (reply)
        chasqui__system__replica_state__free_unpacked(reply, NULL);
    cq_pool_free(&pool);
}

static struct move_view look(struct slot *s, const struct topology *t, const struct topology_move *move,
                             struct cq_err *err)
{
    struct move_view view = {0};
    if (move->step == TOPOLOGY_MOVE_CLEANING)
        look_at_old(s, t, move, &view, err);
    else if (move->step != TOPOLOGY_MOVE_QUEUED)
        look_at_group(s, t, move, &view, err);
    return view;
}

/* ---- Acting ---- */

static enum cq_rc call_leader(struct slot *s, uint16_t method, const ProtobufCMessage *message, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct cq_slice body;
    enum cq_rc rc = node_call(s->mover->node, s->leader, method, message_pack(message, pool), deadline(ACT_CALL_MS),
                              pool, &body, err);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc change(struct slot *s, const struct topology *t, const struct topology_move *move,
                         Chasqui__System__MemberChange what, uint32_t node, struct cq_err *err)
{
    Chasqui__System__ChangeMembers message = CHASQUI__SYSTEM__CHANGE_MEMBERS__INIT;
    message.group = move->group;
    message.change = what;
    message.replica = move->replica;
    message.node = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)t->nodes[node].uuid};
    message.epoch = t->epoch;
    return call_leader(s, CHASQUI__SYSTEM__METHOD__CHANGE_MEMBERS, &message.base, err);
}

/* To the preferred leader, unless that is the one that goes: then to the one that takes its place. */
static enum cq_rc hand_over(struct slot *s, const struct topology *t, const struct topology_move *move,
                            struct cq_err *err)
{
    Chasqui__System__TransferLeader message = CHASQUI__SYSTEM__TRANSFER_LEADER__INIT;
    const struct topology_shard *shard = topology_shard(t, move->group);
    const struct topology_replica *wanted = shard ? topology_replica(shard, shard->preferred) : NULL;
    bool fits =
        wanted && wanted->voter && wanted->node != move->from && t->nodes[wanted->node].state == TOPOLOGY_NODE_UP;
    uint32_t to = fits ? wanted->node : move->to;
    message.group = move->group;
    message.node = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)t->nodes[to].uuid};
    enum cq_rc rc = call_leader(s, CHASQUI__SYSTEM__METHOD__TRANSFER_LEADER, &message.base, err);
    s->leader[0] = '\0';
    return rc;
}

static enum cq_rc act(struct slot *s, const struct topology *t, const struct topology_move *move,
                      const struct move_next *next, struct cq_err *err)
{
    switch (next->act) {
    case MOVE_ACT_ADD:
        return change(s, t, move, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_ADD, move->to, err);
    case MOVE_ACT_PROMOTE:
        return change(s, t, move, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE, move->to, err);
    case MOVE_ACT_REMOVE_OLD:
        return change(s, t, move, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE, move->from, err);
    case MOVE_ACT_REMOVE_NEW:
        return change(s, t, move, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE, move->to, err);
    case MOVE_ACT_HAND_OVER:
        return hand_over(s, t, move, err);
    case MOVE_ACT_STEP:
        return record(s->mover, move, next->to, err);
    default:
        return CQ_E_AGAIN;
    }
}

/* One look and what follows from it; false: there is no such move any more. */
static bool turn(struct slot *s, enum cq_rc *rc_r)
{
    const struct topology *t = topology_keeper_get(s->mover->node->keeper);
    const struct topology_move *move = t ? topology_move(t, s->replica) : NULL;
    struct cq_err err = {0};
    if (move) {
        const struct move_view view = look(s, t, move, &err);
        const struct move_next next = move_plan_next(move, &view);
        *rc_r = io_fiber_cancelled() ? CQ_E_CANCELLED : act(s, t, move, &next, &err);
        if (*rc_r != CQ_OK && next.act != MOVE_ACT_WAIT && *rc_r != CQ_E_CANCELLED) {
            cq_metric_add(&mover_metrics, M_REFUSED, 1);
            cq_log_limited(1, CQ_INFO, "move.waits", CQ_F_U64("group", move->group), CQ_F_U64("replica", move->replica),
                           CQ_F_STR("step", move_step_name(move->step)), CQ_F_ERR(&err));
        }
    }
    bool found = move != NULL;
    topology_unref(&t);
    return found;
}

static void run_move(void *arg)
{
    struct slot *s = arg;
    enum cq_rc rc = CQ_OK;
    while (plans(s->mover) && !io_fiber_cancelled() && turn(s, &rc))
        if (io_fiber_sleep(rc == CQ_OK ? SOON_MS : LOOK_MS) != CQ_OK)
            break;
    s->replica = 0;
}

/* ---- All moves ---- */

static struct slot *slot_of(struct mover *m, uint64_t replica)
{
    for (size_t i = 0; i < MOVES_AT_ONCE; i++)
        if (m->slots[i].replica == replica)
            return &m->slots[i];
    return NULL;
}

static void work_on(struct mover *m, uint64_t replica)
{
    struct slot *s = slot_of(m, 0);
    if (!s || slot_of(m, replica))
        return;
    *s = (struct slot){.mover = m, .replica = replica};
    if (io_fiber_spawn(m->node->control, run_move, s, &s->fiber) != CQ_OK)
        s->replica = 0;
}

static void begin_moves(struct mover *m, const struct topology *t)
{
    uint64_t begun[MOVES_AT_ONCE];
    size_t count = move_plan_begin(t, m->per_node, MOVES_AT_ONCE, begun, MOVES_AT_ONCE);
    struct cq_err err = {0};
    for (size_t i = 0; i < count && !io_fiber_cancelled(); i++)
        if (record(m, topology_move(t, begun[i]), TOPOLOGY_MOVE_ADDING, &err) != CQ_OK)
            cq_log_limited(1, CQ_WARN, "move.not_begun", CQ_F_U64("replica", begun[i]), CQ_F_ERR(&err));
}

static void let_go(struct mover *m, const struct topology *t)
{
    for (uint32_t n = 0; n < t->node_count && !io_fiber_cancelled(); n++) {
        Chasqui__System__SetNodeState message = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
        struct cq_err err = {0};
        if (!move_plan_has_left(t, n))
            continue;
        message.uuid = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)t->nodes[n].uuid};
        message.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
        enum cq_rc rc = tell(m, CHASQUI__SYSTEM__METHOD__SET_NODE_STATE, &message.base, &err);
        if (rc == CQ_OK)
            cq_log(CQ_INFO, "node.gone", CQ_F_STR("address", t->nodes[n].address));
        else /* CQ_E_CONFLICT: it stays after all; otherwise it is tried again */
            cq_log_limited(1, CQ_INFO, "node.not_gone", CQ_F_STR("address", t->nodes[n].address), CQ_F_ERR(&err));
    }
}

static void count_moves(const struct topology *t)
{
    int64_t queued = 0, running = 0;
    for (size_t i = 0; t && i < t->move_count; i++) {
        bool active = move_is_active(&t->moves[i]);
        queued += !active;
        running += active;
    }
    cq_gauge_set(&mover_metrics, M_MOVES, queued, 0);
    cq_gauge_set(&mover_metrics, M_MOVES, running, 1);
}

static void plan(struct mover *m, const struct topology *t)
{
    begin_moves(m, t);
    for (size_t i = 0; i < t->move_count; i++)
        if (move_is_active(&t->moves[i]))
            work_on(m, t->moves[i].replica);
    let_go(m, t);
}

static void run(void *arg)
{
    struct mover *m = arg;
    while (!io_fiber_cancelled()) {
        const struct topology *t = plans(m) ? topology_keeper_get(m->node->keeper) : NULL;
        count_moves(t);
        if (t)
            plan(m, t);
        topology_unref(&t);
        if (io_fiber_sleep(LOOK_MS) != CQ_OK)
            return;
    }
}

/* ---- Life ---- */

struct mover *mover_new(struct node *node, unsigned per_node)
{
    struct mover *m = cq_new(struct mover);
    m->node = node;
    m->per_node = per_node;
    return m;
}

void mover_start(struct mover *m)
{
    io_fiber_spawn(m->node->control, run, m, &m->fiber);
}

void mover_stop(struct mover *m)
{
    m->stopped = true;
    io_fiber_cancel(m->fiber);
    for (size_t i = 0; i < MOVES_AT_ONCE; i++)
        if (m->slots[i].replica)
            io_fiber_cancel(m->slots[i].fiber);
}

void mover_free(struct mover **mover)
{
    free(*mover);
    *mover = NULL;
}
