/* Requests that change who holds what: leaders, moves, nodes that come and go. The system shard records them and the
 * cluster carries them out; --watch only looks on, so ending it ends nothing. */
#include "ctl_storage.h"

#include "base/cq_time.h"
#include "base/cq_mem.h"
#include "cluster/move_plan.h"
#include "cluster/rebalance.h"
#include "io/io_fiber.h"

#include <stdio.h>
#include <string.h>

#define WATCH_MS 500
#define WATCH_SAY_EVERY 10 /* looks between two words of the same step */
#define NODE_PREFIX_MIN 4  /* digits of a node's id that may stand for it */

/* ---- Asking ---- */

static enum ctl_exit refuse(const char *text)
{
    fprintf(stderr, "chasquictl: %s\n", text);
    return CTL_REFUSED;
}

/* CTL_UNREACHABLE: none of them leads, and nothing has happened. */
static enum ctl_exit tell_leader(struct ctl *ctl, const struct topology *t, uint16_t method,
                                 const ProtobufCMessage *message, Chasqui__Mail__Answer **answer_r)
{
    for (size_t i = 0; i < t->node_count; i++) {
        const struct ctl_call call = {.address = t->nodes[i].address,
                                      .peer_roles = RPC_ROLE_STORAGE,
                                      .method = method,
                                      .command = true,
                                      .message = ctl_wrap(ctl, message)};
        struct rpc_reply_in reply = {0};
        struct cq_err err = {0};
        if (t->nodes[i].state == TOPOLOGY_NODE_GONE)
            continue;
        enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
        if (fate == RPC_NOT_SENT || (fate == RPC_ANSWERED && reply.rc == CQ_E_NOT_LEADER))
            continue;
        if (fate != RPC_ANSWERED || reply.rc != CQ_OK)
            return ctl_complain(call.address, fate, &reply, &err);
        *answer_r = ctl_answer(&reply);
        return *answer_r ? CTL_DONE : refuse("the answer does not decode");
    }
    return CTL_UNREACHABLE;
}

enum ctl_exit ctl_tell_system(struct ctl *ctl, const struct topology *t, uint16_t method,
                              const ProtobufCMessage *message, Chasqui__Mail__Answer **answer_r)
{
    uint64_t began = cq_time_mono_us();
    enum ctl_exit status;
    do {
        status = tell_leader(ctl, t, method, message, answer_r);
    } while (status == CTL_UNREACHABLE && ctl_wait_for_leader(ctl, began));
    if (status == CTL_UNREACHABLE)
        fprintf(stderr, "chasquictl: no storage node leads the system shard; are a majority of its nodes up?\n");
    return status;
}

void ctl_free_answer(Chasqui__Mail__Answer *answer)
{
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
}

Chasqui__Mail__Answer *ctl_ask_node(struct ctl *ctl, const char *address, uint16_t method,
                                    const ProtobufCMessage *message)
{
    const struct ctl_call call = {
        .address = address, .peer_roles = RPC_ROLE_STORAGE, .method = method, .message = ctl_wrap(ctl, message)};
    struct rpc_reply_in reply = {0};
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    return fate == RPC_ANSWERED && reply.rc == CQ_OK ? ctl_answer(&reply) : NULL;
}

/* ---- Which node is meant ---- */

static bool is_meant(struct ctl *ctl, const struct topology_node *node, struct cq_slice text)
{
    struct cq_slice id = cq_slice_cstr(ctl_uuid_text(ctl, node->uuid));
    return cq_slice_eq(text, cq_slice_cstr(node->address)) ||
           (text.len >= NODE_PREFIX_MIN && cq_slice_starts(id, text));
}

/* By address, id, or the beginning of the id. Nodes that have gone only by the whole id. */
static enum ctl_exit find_node(struct ctl *ctl, const struct topology *t, struct cq_slice text, uint32_t *node_r)
{
    size_t found = 0;
    for (uint32_t i = 0; i < t->node_count; i++) {
        bool whole = cq_slice_eq(text, cq_slice_cstr(ctl_uuid_text(ctl, t->nodes[i].uuid)));
        if (!whole && (t->nodes[i].state == TOPOLOGY_NODE_GONE || !is_meant(ctl, &t->nodes[i], text)))
            continue;
        *node_r = i;
        found++;
    }
    if (found == 1)
        return CTL_DONE;
    fprintf(stderr, "chasquictl: %s node %.*s%s; see chasquictl node list\n", found ? "more than one" : "there is no",
            CQ_SLICE_ARG(text), found ? ", so its id is needed" : "");
    return CTL_REFUSED;
}

static enum ctl_exit named_node(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                const char *name, uint32_t *node_r)
{
    struct cq_slice text;
    if (!ctl_field(request, name, &text)) {
        fprintf(stderr, "chasquictl: %s needs --%s: a node's address or id\n", request->command->name, name);
        return CTL_USAGE;
    }
    return find_node(ctl, t, text, node_r);
}

static ProtobufCBinaryData uuid_of(const struct topology *t, uint32_t node)
{
    return (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)t->nodes[node].uuid};
}

static bool has(const struct ctl_request *request, const char *name)
{
    struct cq_slice value;
    return ctl_field(request, name, &value);
}

/* ---- Moves as rows ---- */

static const char *address_of(const struct topology *t, ProtobufCBinaryData uuid)
{
    uint32_t node = uuid.len == 16 ? topology_node_index(t, uuid.data) : TOPOLOGY_NONE;
    return node == TOPOLOGY_NONE ? "" : t->nodes[node].address;
}

static Chasqui__System__ReplicaState *ask_replica(struct ctl *ctl, const char *address, uint32_t group)
{
    Chasqui__System__GroupMembers message = CHASQUI__SYSTEM__GROUP_MEMBERS__INIT;
    message.group = group;
    Chasqui__Mail__Answer *answer = ctl_ask_node(ctl, address, CHASQUI__SYSTEM__METHOD__REPLICA_HERE, &message.base);
    Chasqui__System__ReplicaState *state =
        answer ? chasqui__system__replica_state__unpack(NULL, answer->body.len, answer->body.data) : NULL;
    ctl_free_answer(answer);
    return state;
}

struct progress {
    const char *copying; /* what of; "" */
    uint64_t copied, total;
};

static struct progress progress_of(struct ctl *ctl, const struct topology *t, const struct topology_move *move)
{
    struct progress p = {.copying = ""};
    if (move->step != TOPOLOGY_MOVE_ADDING && move->step != TOPOLOGY_MOVE_COPYING)
        return p;
    Chasqui__System__ReplicaState *to = ask_replica(ctl, t->nodes[move->to].address, move->group);
    Chasqui__System__ReplicaState *from = ask_replica(ctl, t->nodes[move->from].address, move->group);
    if (to) {
        p.copying = cq_pool_cstr(ctl->pool, cq_slice_cstr(to->reseed));
        p.copied = to->reseed_bytes;
        chasqui__system__replica_state__free_unpacked(to, NULL);
    }
    if (from) {
        p.total = from->bytes > p.copied ? from->bytes : p.copied;
        chasqui__system__replica_state__free_unpacked(from, NULL);
    }
    return p;
}

static void move_row(struct ctl *ctl, const struct topology *t, const struct topology_move *move, struct ctl_rows *rows)
{
    const struct progress p = progress_of(ctl, t, move);
    CTL_ADD_ROW(ctl, rows, ctl_number(ctl, move->group), t->nodes[move->from].address, t->nodes[move->to].address,
                ctl_number(ctl, move->replica),
                move->cancelled && move->step <= TOPOLOGY_MOVE_COPYING ? "cancelling" : move_step_name(move->step),
                p.copying, ctl_number(ctl, p.copied), ctl_number(ctl, p.total));
}

static void planned_row(struct ctl *ctl, const struct topology *t, uint32_t group, const char *from, const char *to,
                        uint64_t replica, const char *step, struct ctl_rows *rows)
{
    (void)t;
    CTL_ADD_ROW(ctl, rows, ctl_number(ctl, group), from, to, ctl_number(ctl, replica), step, "", "0", "0");
}

static void planned_rows(struct ctl *ctl, const struct topology *t, const Chasqui__Mail__Answer *answer,
                         struct ctl_rows *rows)
{
    Chasqui__System__Planned *planned = chasqui__system__planned__unpack(NULL, answer->body.len, answer->body.data);
    for (size_t i = 0; planned && i < planned->n_moves; i++) {
        const Chasqui__System__Move *m = planned->moves[i];
        planned_row(ctl, t, m->group, cq_pool_cstr(ctl->pool, cq_slice_cstr(address_of(t, m->from))),
                    cq_pool_cstr(ctl->pool, cq_slice_cstr(address_of(t, m->to))), m->replica,
                    m->cancelled ? "cancelling" : move_step_name((enum topology_move_step)m->step), rows);
    }
    if (planned)
        chasqui__system__planned__free_unpacked(planned, NULL);
}

/* ---- Looking on ---- */

struct watch {
    uint32_t group;   /* only moves of this shard; UINT32_MAX: of any */
    uint8_t node[16]; /* only moves from or to this node */
    bool of_node, until_gone;
    size_t most; /* moves that were seen at once */
    unsigned looks;
    char said[160];
};

static bool is_watched(const struct watch *w, const struct topology *t, const struct topology_move *move)
{
    bool node = !w->of_node || memcmp(t->nodes[move->from].uuid, w->node, 16) == 0 ||
                memcmp(t->nodes[move->to].uuid, w->node, 16) == 0;
    return node && (w->group == UINT32_MAX || move->group == w->group);
}

static void say(struct watch *w, const char *line)
{
    bool same = strcmp(w->said, line) == 0;
    if (!same || w->looks % WATCH_SAY_EVERY == 0)
        fprintf(stderr, "chasquictl: %s\n", line);
    snprintf(w->said, sizeof w->said, "%s", line);
}

static void say_move(struct ctl *ctl, struct watch *w, const struct topology *t, const struct topology_move *move,
                     size_t left)
{
    const struct progress p = progress_of(ctl, t, move);
    char line[160], copied[64] = "";
    if (p.total && p.copying[0])
        snprintf(copied, sizeof copied, ", %s: %.1f of about %.1f MiB", p.copying, (double)p.copied / 1048576.0,
                 (double)p.total / 1048576.0);
    snprintf(line, sizeof line, "%zu of %zu moves left; shard %u to %s: %s%s", left, w->most, move->group,
             t->nodes[move->to].address, move->cancelled ? "cancelling" : move_step_name(move->step), copied);
    say(w, line);
}

/* The node was to go, and somebody has said meanwhile that it stays. */
static bool stays(const struct watch *w, const struct topology *t)
{
    uint32_t node = w->until_gone ? topology_node_index(t, w->node) : TOPOLOGY_NONE;
    return node != TOPOLOGY_NONE && !t->nodes[node].leaving && t->nodes[node].state != TOPOLOGY_NODE_GONE;
}

/* Is there nothing left to see? */
static bool look_on(struct ctl *ctl, struct watch *w, const struct topology *t)
{
    const struct topology_move *first = NULL;
    size_t left = 0;
    for (size_t i = 0; i < t->move_count; i++) {
        if (!is_watched(w, t, &t->moves[i]))
            continue;
        left++;
        if (!first || (first->step == TOPOLOGY_MOVE_QUEUED && t->moves[i].step != TOPOLOGY_MOVE_QUEUED))
            first = &t->moves[i];
    }
    w->most = left > w->most ? left : w->most;
    if (first)
        say_move(ctl, w, t, first, left);
    w->looks++;
    uint32_t node = w->of_node ? topology_node_index(t, w->node) : TOPOLOGY_NONE;
    bool gone = node != TOPOLOGY_NONE && t->nodes[node].state == TOPOLOGY_NODE_GONE;
    return !first && (!w->until_gone || gone);
}

static enum ctl_exit watch(struct ctl *ctl, struct watch *w)
{
    for (;;) {
        const struct topology *t = NULL;
        if (ctl_topology_quietly(ctl, &t) == CTL_DONE) {
            bool taken_back = stays(w, t), done = look_on(ctl, w, t);
            topology_unref(&t);
            if (taken_back)
                return refuse("the node stays: node drain --undo has taken its leaving back");
            if (done)
                break;
        }
        if (io_fiber_sleep(WATCH_MS) != CQ_OK)
            return CTL_LATER;
    }
    fprintf(stderr, "chasquictl: done\n");
    return CTL_DONE;
}

/* ---- The commands ---- */

static enum ctl_exit prefer(struct ctl *ctl, const struct topology *t, uint32_t group, uint32_t node)
{
    Chasqui__System__PreferLeader message = CHASQUI__SYSTEM__PREFER_LEADER__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    message.group = group;
    message.node = uuid_of(t, node);
    enum ctl_exit status = ctl_tell_system(ctl, t, CHASQUI__SYSTEM__METHOD__PREFER_LEADER, &message.base, &answer);
    ctl_free_answer(answer);
    return status;
}

/* Whoever leads says what is in the way; those who do not are passed over. */
static enum ctl_exit transfer(struct ctl *ctl, const struct topology *t, uint32_t group, uint32_t node)
{
    Chasqui__System__TransferLeader message = CHASQUI__SYSTEM__TRANSFER_LEADER__INIT;
    const struct topology_shard *shard = topology_shard(t, group);
    message.group = group;
    message.node = uuid_of(t, node);
    for (size_t i = 0; i < shard->replica_count; i++) {
        const struct ctl_call call = {.address = t->nodes[shard->replicas[i].node].address,
                                      .peer_roles = RPC_ROLE_STORAGE,
                                      .method = CHASQUI__SYSTEM__METHOD__TRANSFER_LEADER,
                                      .command = true,
                                      .message = ctl_wrap(ctl, &message.base)};
        struct rpc_reply_in reply = {0};
        struct cq_err err = {0};
        enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
        if (fate == RPC_NOT_SENT || (fate == RPC_ANSWERED && reply.rc == CQ_E_NOT_LEADER))
            continue;
        return fate == RPC_ANSWERED && reply.rc == CQ_OK ? CTL_DONE : ctl_complain(call.address, fate, &reply, &err);
    }
    fprintf(stderr, "chasquictl: shard %u has no leader now\n", group);
    return CTL_LATER;
}

static enum ctl_exit shard_leader(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                  struct ctl_rows *rows)
{
    uint32_t group = ctl_number_field(request, "shard"), node = 0;
    enum ctl_exit status = named_node(ctl, request, t, "to", &node);
    if (status == CTL_DONE)
        status = prefer(ctl, t, group, node);
    if (status == CTL_DONE)
        status = transfer(ctl, t, group, node);
    if (status == CTL_DONE)
        CTL_ADD_ROW(ctl, rows, ctl_number(ctl, group), ctl_uuid_text(ctl, t->nodes[node].uuid), t->nodes[node].address);
    return status;
}

static enum ctl_exit cancel(struct ctl *ctl, const struct topology *t, uint32_t group, struct ctl_rows *rows)
{
    Chasqui__System__CancelMoves message = CHASQUI__SYSTEM__CANCEL_MOVES__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    message.group = group;
    enum ctl_exit status = ctl_tell_system(ctl, t, CHASQUI__SYSTEM__METHOD__CANCEL_MOVES, &message.base, &answer);
    if (status == CTL_DONE)
        planned_rows(ctl, t, answer, rows);
    ctl_free_answer(answer);
    return status;
}

static enum ctl_exit move_shard(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                uint32_t group, struct ctl_rows *rows)
{
    Chasqui__System__MoveShard message = CHASQUI__SYSTEM__MOVE_SHARD__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    uint32_t from = 0, to = 0;
    enum ctl_exit status = named_node(ctl, request, t, "from", &from);
    if (status == CTL_DONE)
        status = named_node(ctl, request, t, "to", &to);
    if (status != CTL_DONE)
        return status;
    message.group = group;
    message.from = uuid_of(t, from);
    message.to = uuid_of(t, to);
    message.force = has(request, "force");
    status = ctl_tell_system(ctl, t, CHASQUI__SYSTEM__METHOD__MOVE_SHARD, &message.base, &answer);
    if (status == CTL_DONE)
        planned_rows(ctl, t, answer, rows);
    ctl_free_answer(answer);
    return status;
}

static enum ctl_exit shard_move(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                struct ctl_rows *rows)
{
    struct watch w = {.group = ctl_number_field(request, "shard")};
    enum ctl_exit status =
        has(request, "cancel") ? cancel(ctl, t, w.group, rows) : move_shard(ctl, request, t, w.group, rows);
    return status == CTL_DONE && has(request, "watch") ? watch(ctl, &w) : status;
}

static enum ctl_exit shard_moves(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                 struct ctl_rows *rows)
{
    (void)request;
    for (size_t i = 0; i < t->move_count; i++)
        move_row(ctl, t, &t->moves[i], rows);
    return CTL_DONE;
}

/* What would move, and nothing is done. */
static enum ctl_exit show_plan(struct ctl *ctl, const struct topology *t, const struct planned_move *moves,
                               size_t count, struct ctl_rows *rows)
{
    for (size_t i = 0; i < count; i++)
        planned_row(ctl, t, moves[i].group, t->nodes[moves[i].from].address, t->nodes[moves[i].to].address, 0,
                    "planned", rows);
    return CTL_DONE;
}

/* The topology as if the node's state were another one; nodes in the pool. */
static struct topology as_if(struct ctl *ctl, const struct topology *t, uint32_t node, enum topology_node_state state)
{
    struct topology other = *t;
    struct topology_node *nodes = cq_pool_dup(ctl->pool, t->nodes, t->node_count * sizeof *nodes);
    nodes[node].state = state;
    other.nodes = nodes;
    return other;
}

static enum ctl_exit plan_join(struct ctl *ctl, const struct topology *t, uint32_t node, struct ctl_rows *rows)
{
    const struct topology after = as_if(ctl, t, node, TOPOLOGY_NODE_UP);
    struct planned_move *moves = cq_pool_calloc(ctl->pool, t->shard_count + 1, sizeof *moves);
    return show_plan(ctl, t, moves, rebalance_join(&after, node, moves), rows);
}

static enum ctl_exit plan_leave(struct ctl *ctl, const struct topology *t, uint32_t node, bool force,
                                struct ctl_rows *rows)
{
    const struct topology after = as_if(ctl, t, node, TOPOLOGY_NODE_DRAINING);
    struct planned_move *moves = cq_pool_calloc(ctl->pool, t->shard_count + 1, sizeof *moves);
    struct cq_err err = {0};
    size_t count = 0;
    if (rebalance_leave(&after, node, force, moves, &count, &err) != CQ_OK)
        return refuse(err.text);
    return show_plan(ctl, t, moves, count, rows);
}

/* A command about one node, answered with what was planned. */
static enum ctl_exit tell_about(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                uint32_t node, uint16_t method, const ProtobufCMessage *message, bool until_gone,
                                struct ctl_rows *rows)
{
    struct watch w = {.group = UINT32_MAX, .of_node = true, .until_gone = until_gone};
    Chasqui__Mail__Answer *answer = NULL;
    memcpy(w.node, t->nodes[node].uuid, sizeof w.node);
    enum ctl_exit status = ctl_tell_system(ctl, t, method, message, &answer);
    if (status == CTL_DONE)
        planned_rows(ctl, t, answer, rows);
    ctl_free_answer(answer);
    return status == CTL_DONE && has(request, "watch") ? watch(ctl, &w) : status;
}

static enum ctl_exit node_join(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                               struct ctl_rows *rows)
{
    Chasqui__System__JoinNode message = CHASQUI__SYSTEM__JOIN_NODE__INIT;
    uint32_t node = 0;
    enum ctl_exit status = named_node(ctl, request, t, "node", &node);
    if (status != CTL_DONE)
        return status;
    message.node = uuid_of(t, node);
    return has(request, "dry-run")
               ? plan_join(ctl, t, node, rows)
               : tell_about(ctl, request, t, node, CHASQUI__SYSTEM__METHOD__JOIN_NODE, &message.base, false, rows);
}

static enum ctl_exit node_drain(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                struct ctl_rows *rows)
{
    Chasqui__System__DrainNode message = CHASQUI__SYSTEM__DRAIN_NODE__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    uint32_t node = 0;
    enum ctl_exit status = named_node(ctl, request, t, "node", &node);
    if (status != CTL_DONE)
        return status;
    message.node = uuid_of(t, node);
    message.undo = has(request, "undo");
    status = ctl_tell_system(ctl, t, CHASQUI__SYSTEM__METHOD__DRAIN_NODE, &message.base, &answer);
    ctl_free_answer(answer);
    if (status == CTL_DONE)
        CTL_ADD_ROW(ctl, rows, ctl_uuid_text(ctl, t->nodes[node].uuid), t->nodes[node].address,
                    message.undo ? "up" : "draining");
    return status;
}

static enum ctl_exit node_decommission(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                                       struct ctl_rows *rows)
{
    Chasqui__System__DecommissionNode message = CHASQUI__SYSTEM__DECOMMISSION_NODE__INIT;
    uint32_t node = 0;
    enum ctl_exit status = named_node(ctl, request, t, "node", &node);
    if (status != CTL_DONE)
        return status;
    message.node = uuid_of(t, node);
    message.force = has(request, "force");
    return has(request, "dry-run") ? plan_leave(ctl, t, node, message.force, rows)
                                   : tell_about(ctl, request, t, node, CHASQUI__SYSTEM__METHOD__DECOMMISSION_NODE,
                                                &message.base, true, rows);
}

static const struct {
    const char *command;
    enum ctl_exit (*run)(struct ctl *ctl, const struct ctl_request *request, const struct topology *t,
                         struct ctl_rows *rows);
} commands[] = {
    {"shard leader", shard_leader}, {"shard move", shard_move}, {"shard moves", shard_moves},
    {"node join", node_join},       {"node drain", node_drain}, {"node decommission", node_decommission},
};

bool ctl_is_member_command(const struct ctl_request *request)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(request->command->name, commands[i].command) == 0)
            return true;
    return false;
}

enum ctl_exit ctl_member(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows,
                         const struct topology **topology_r)
{
    enum ctl_exit status = ctl_topology(ctl, topology_r);
    for (size_t i = 0; status == CTL_DONE && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(request->command->name, commands[i].command) == 0) {
            status = commands[i].run(ctl, request, *topology_r, rows);
            break;
        }
    return status;
}
