/* The commands about nodes that come and go, and about replicas that move (proto/system.proto, Move). What is planned
 * is worked out here, in apply, from the state alone (cluster/rebalance.h); what has happened is told by STEP_MOVE. */
#include "base/cq_assert.h"
#include "cluster/rebalance.h"
#include "cluster/topology_message.h"
#include "system/system_private.h"

#include <stdlib.h>

/* ---- Parts ---- */

static enum cq_rc find_node(struct system_apply *a, ProtobufCBinaryData uuid, uint32_t *node_r)
{
    enum cq_rc rc = system_need_cluster(a);
    if (rc != CQ_OK)
        return rc;
    *node_r = uuid.len == TOPOLOGY_UUID_SIZE ? topology_node_index(a->before, uuid.data) : TOPOLOGY_NONE;
    return *node_r == TOPOLOGY_NONE ? CQ_FAIL(a->err, CQ_E_NOT_FOUND, "no such node") : CQ_OK;
}

/* A copy of the shard, with room for one replica more, that may be changed; a->plain has it. */
static struct topology_shard *own_shard(struct system_apply *a, uint32_t group, struct topology_replica **replicas_r)
{
    struct topology_shard *shards = cq_pool_calloc(a->pool, a->plain.shard_count + 1, sizeof *shards);
    memcpy(shards, a->plain.shards, a->plain.shard_count * sizeof *shards);
    a->plain.shards = shards;
    for (size_t i = 0; i < a->plain.shard_count; i++) {
        if (shards[i].group != group)
            continue;
        struct topology_replica *replicas = cq_pool_calloc(a->pool, shards[i].replica_count + 1, sizeof *replicas);
        memcpy(replicas, shards[i].replicas, shards[i].replica_count * sizeof *replicas);
        shards[i].replicas = *replicas_r = replicas;
        return &shards[i];
    }
    CQ_ASSERT(false && "a move has a shard");
    return NULL;
}

static int move_cmp(const void *a_p, const void *b_p)
{
    const struct topology_move *a = a_p, *b = b_p;
    return a->replica < b->replica ? -1 : a->replica > b->replica;
}

/* A copy of the moves that may be changed, with room for so many more. */
static struct topology_move *own_moves(struct system_apply *a, size_t more)
{
    struct topology_move *moves = cq_pool_calloc(a->pool, a->plain.move_count + more + 1, sizeof *moves);
    if (a->plain.move_count)
        memcpy(moves, a->plain.moves, a->plain.move_count * sizeof *moves);
    a->plain.moves = moves;
    return moves;
}

static enum cq_rc add_moves(struct system_apply *a, const struct planned_move *planned, size_t count)
{
    if (a->plain.move_count + count > TOPOLOGY_MOVES_MAX)
        return CQ_FAIL(a->err, CQ_E_LIMIT, "%zu moves, allowed are %u at a time", a->plain.move_count + count,
                       TOPOLOGY_MOVES_MAX);
    struct topology_move *moves = own_moves(a, count);
    for (size_t i = 0; i < count; i++)
        moves[a->plain.move_count++] = (struct topology_move){.replica = a->header.next_replica++,
                                                              .old = planned[i].old,
                                                              .group = planned[i].group,
                                                              .from = planned[i].from,
                                                              .to = planned[i].to,
                                                              .step = TOPOLOGY_MOVE_QUEUED};
    return CQ_OK;
}

/* The last `count` moves, or those that `marked` has. */
static void reply_planned(struct system_apply *a, const struct topology_move *moves, size_t count,
                          struct cq_slice *reply_r)
{
    Chasqui__System__Planned reply = CHASQUI__SYSTEM__PLANNED__INIT;
    Chasqui__System__Move *rows = cq_pool_calloc(a->pool, count + 1, sizeof *rows);
    reply.moves = cq_pool_calloc(a->pool, count + 1, sizeof *reply.moves);
    reply.n_moves = count;
    reply.epoch = a->before->epoch + 1;
    for (size_t i = 0; i < count; i++) {
        topology_move_to_proto(&a->plain, &moves[i], &rows[i]);
        reply.moves[i] = &rows[i];
    }
    *reply_r = system_pack(a->pool, &reply.base);
}

static void reply_new(struct system_apply *a, size_t count, struct cq_slice *reply_r)
{
    reply_planned(a, count ? a->plain.moves + a->plain.move_count - count : NULL, count, reply_r);
}

/* A queued one goes at once, one under way is taken back by the planner; one that votes already stays. */
static size_t cancel_moves(struct system_apply *a, uint32_t group, uint32_t from, uint32_t to,
                           struct topology_move *cancelled_r)
{
    struct topology_move *moves = own_moves(a, 0);
    size_t kept = 0, cancelled = 0;
    for (size_t i = 0; i < a->plain.move_count; i++) {
        struct topology_move move = moves[i];
        bool meant = (group == UINT32_MAX || move.group == group) && (from == TOPOLOGY_NONE || move.from == from) &&
                     (to == TOPOLOGY_NONE || move.to == to) && move.step <= TOPOLOGY_MOVE_COPYING;
        move.cancelled |= meant;
        if (meant)
            cancelled_r[cancelled++] = move;
        if (!meant || move.step != TOPOLOGY_MOVE_QUEUED)
            moves[kept++] = move;
    }
    a->plain.move_count = kept;
    return cancelled;
}

/* ---- Nodes ---- */

enum cq_rc system_join_node(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__JoinNode *msg = (const Chasqui__System__JoinNode *)message;
    uint32_t node = 0;
    enum cq_rc rc = find_node(a, msg->node, &node);
    if (rc != CQ_OK)
        return rc;
    enum topology_node_state state = a->before->nodes[node].state;
    if (state == TOPOLOGY_NODE_GONE)
        return CQ_FAIL(a->err, CQ_E_DENIED,
                       "the node has been removed from the cluster; it comes back as a new node, "
                       "with an empty data directory");
    if (state == TOPOLOGY_NODE_DRAINING)
        return CQ_FAIL(a->err, CQ_E_CONFLICT, "the node is drained; chasquictl node drain --undo ends that");
    struct planned_move *planned = cq_pool_calloc(a->pool, a->before->shard_count + 1, sizeof *planned);
    system_own_nodes(a)[node].state = TOPOLOGY_NODE_UP;
    size_t count = rebalance_join(&a->plain, node, planned);
    rc = add_moves(a, planned, count);
    if (rc == CQ_OK)
        reply_new(a, count, reply_r);
    return rc;
}

/* Its moves are taken back as far as they can be, and what has left already is planned to come back: of all that is
 * its share only what still goes then is missing, and JOIN_NODE gives it that. What has no room in the list of moves
 * may wait for that, too: taking it back never fails. */
static enum cq_rc stay_after_all(struct system_apply *a, uint32_t node, struct cq_slice *reply_r)
{
    struct planned_move *planned = cq_pool_calloc(a->pool, a->before->shard_count + 1, sizeof *planned);
    struct topology_move *told =
        cq_pool_calloc(a->pool, a->before->move_count + a->before->shard_count + 1, sizeof *told);
    size_t cancelled = cancel_moves(a, UINT32_MAX, node, TOPOLOGY_NONE, told);
    size_t count = rebalance_join(&a->plain, node, planned), room = TOPOLOGY_MOVES_MAX - a->plain.move_count;
    if (count > room)
        count = room;
    enum cq_rc rc = add_moves(a, planned, count);
    memcpy(told + cancelled, a->plain.moves + a->plain.move_count - count, count * sizeof *told);
    reply_planned(a, told, cancelled + count, reply_r);
    return rc;
}

static enum cq_rc undo_drain(struct system_apply *a, uint32_t node, struct cq_slice *reply_r)
{
    if (a->before->nodes[node].state != TOPOLOGY_NODE_DRAINING)
        return CQ_OK;
    struct topology_node *own = &system_own_nodes(a)[node];
    bool was_leaving = own->leaving;
    own->state = TOPOLOGY_NODE_UP;
    own->leaving = false;
    return was_leaving ? stay_after_all(a, node, reply_r) : CQ_OK;
}

enum cq_rc system_drain_node(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__DrainNode *msg = (const Chasqui__System__DrainNode *)message;
    uint32_t node = 0;
    enum cq_rc rc = find_node(a, msg->node, &node);
    if (rc != CQ_OK)
        return rc;
    enum topology_node_state state = a->before->nodes[node].state;
    if (state == TOPOLOGY_NODE_GONE || (state == TOPOLOGY_NODE_JOINING && !msg->undo))
        return CQ_FAIL(a->err, CQ_E_CONFLICT,
                       state == TOPOLOGY_NODE_GONE ? "the node has been removed from the cluster"
                                                   : "the node has not joined yet");
    if (msg->undo)
        return undo_drain(a, node, reply_r);
    system_own_nodes(a)[node].state = TOPOLOGY_NODE_DRAINING;
    return CQ_OK;
}

enum cq_rc system_decommission_node(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__DecommissionNode *msg = (const Chasqui__System__DecommissionNode *)message;
    uint32_t node = 0;
    size_t count = 0;
    enum cq_rc rc = find_node(a, msg->node, &node);
    if (rc != CQ_OK)
        return rc;
    if (a->before->nodes[node].state == TOPOLOGY_NODE_GONE) { /* asked again */
        reply_new(a, 0, reply_r);
        return CQ_OK;
    }
    struct topology_node *own = &system_own_nodes(a)[node];
    own->state = TOPOLOGY_NODE_DRAINING;
    own->leaving = true;
    /* What is on its way to it, and has no vote there, need not come. */
    struct topology_move *cancelled = cq_pool_calloc(a->pool, a->before->move_count + 1, sizeof *cancelled);
    cancel_moves(a, UINT32_MAX, TOPOLOGY_NONE, node, cancelled);
    for (size_t i = 0; i < a->plain.move_count; i++)
        if (a->plain.moves[i].to == node && !a->plain.moves[i].cancelled)
            return CQ_FAIL(a->err, CQ_E_CONFLICT,
                           "a replica of shard %u has just moved to the node; decommission it when that move has ended "
                           "(chasquictl shard moves)",
                           a->plain.moves[i].group);
    struct planned_move *planned = cq_pool_calloc(a->pool, a->before->shard_count + 1, sizeof *planned);
    rc = rebalance_leave(&a->plain, node, msg->force, planned, &count, a->err);
    if (rc == CQ_OK)
        rc = add_moves(a, planned, count);
    if (rc == CQ_OK)
        reply_new(a, count, reply_r);
    return rc;
}

/* ---- Shards ---- */

enum cq_rc system_prefer_leader(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__PreferLeader *msg = (const Chasqui__System__PreferLeader *)message;
    struct topology_replica *replicas;
    uint32_t node = 0;
    enum cq_rc rc = find_node(a, msg->node, &node);
    (void)reply_r;
    if (rc != CQ_OK)
        return rc;
    const struct topology_shard *shard = topology_shard(a->before, msg->group);
    const struct topology_replica *replica = shard ? topology_replica_on(shard, node) : NULL;
    if (!shard)
        return CQ_FAIL(a->err, CQ_E_NOT_FOUND, "there is no shard %u", msg->group);
    if (!replica || !replica->voter)
        return CQ_FAIL(a->err, CQ_E_NOT_FOUND, "shard %u: that node has no replica with a vote", msg->group);
    if (a->before->nodes[node].state != TOPOLOGY_NODE_UP)
        return CQ_FAIL(a->err, CQ_E_CONFLICT, "the node is drained, so it leads nothing");
    own_shard(a, msg->group, &replicas)->preferred = replica->id;
    return CQ_OK;
}

enum cq_rc system_move_shard(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__MoveShard *msg = (const Chasqui__System__MoveShard *)message;
    struct planned_move planned;
    uint32_t from = 0, to = 0;
    enum cq_rc rc = find_node(a, msg->from, &from);
    if (rc == CQ_OK)
        rc = find_node(a, msg->to, &to);
    for (size_t i = 0; i < a->before->move_count && rc == CQ_OK; i++) {
        const struct topology_move *move = &a->before->moves[i];
        if (move->group != msg->group || move->from != from || move->to != to || move->cancelled)
            continue;
        reply_planned(a, move, 1, reply_r); /* asked again */
        return CQ_OK;
    }
    if (rc == CQ_OK)
        rc = rebalance_one(a->before, msg->group, from, to, msg->force, &planned, a->err);
    if (rc == CQ_OK)
        rc = add_moves(a, &planned, 1);
    if (rc == CQ_OK)
        reply_new(a, 1, reply_r);
    return rc;
}

enum cq_rc system_cancel_moves(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__CancelMoves *msg = (const Chasqui__System__CancelMoves *)message;
    struct topology_move *cancelled = cq_pool_calloc(a->pool, a->before->move_count + 1, sizeof *cancelled);
    size_t moves = 0;
    enum cq_rc rc = system_need_cluster(a);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < a->before->move_count; i++)
        moves += a->before->moves[i].group == msg->group;
    size_t count = cancel_moves(a, msg->group, TOPOLOGY_NONE, TOPOLOGY_NONE, cancelled);
    if (!moves)
        return CQ_FAIL(a->err, CQ_E_NOT_FOUND, "no replica of shard %u moves", msg->group);
    if (!count)
        return CQ_FAIL(a->err, CQ_E_CONFLICT,
                       "shard %u: the new replica votes already, so the move goes on to its end; then it can be moved "
                       "back",
                       msg->group);
    reply_planned(a, cancelled, count, reply_r);
    return CQ_OK;
}

/* ---- Steps ---- */

static void drop_replica(struct topology_shard *shard, struct topology_replica *replicas, uint64_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < shard->replica_count; i++)
        if (replicas[i].id != id)
            replicas[kept++] = replicas[i];
    shard->replica_count = kept;
    if (shard->preferred == id)
        shard->preferred = 0;
}

static void enter_map(struct system_apply *a, const struct topology_move *move)
{
    struct topology_replica *replicas;
    struct topology_shard *shard = own_shard(a, move->group, &replicas);
    replicas[shard->replica_count++] = (struct topology_replica){.id = move->replica, .node = move->to};
    shard->moved = true;
}

static void give_vote(struct system_apply *a, const struct topology_move *move)
{
    struct topology_replica *replicas;
    struct topology_shard *shard = own_shard(a, move->group, &replicas);
    for (size_t i = 0; i < shard->replica_count; i++)
        replicas[i].voter |= replicas[i].id == move->replica;
}

/* Who leads by preference hands that over with its place. */
static void leave_map(struct system_apply *a, const struct topology_move *move)
{
    struct topology_replica *replicas;
    struct topology_shard *shard = own_shard(a, move->group, &replicas);
    bool preferred = shard->preferred == move->old;
    drop_replica(shard, replicas, move->old);
    if (preferred && topology_replica(shard, move->replica))
        shard->preferred = move->replica;
}

static void leave_again(struct system_apply *a, const struct topology_move *move)
{
    struct topology_replica *replicas;
    struct topology_shard *shard = own_shard(a, move->group, &replicas);
    drop_replica(shard, replicas, move->replica);
}

static void end_move(struct system_apply *a, uint64_t replica)
{
    struct topology_move *moves = own_moves(a, 0);
    size_t kept = 0;
    for (size_t i = 0; i < a->plain.move_count; i++)
        if (moves[i].replica != replica)
            moves[kept++] = moves[i];
    a->plain.move_count = kept;
}

/* One step on, or over: from CLEANING, or taken back. */
static bool is_allowed(const struct topology_move *move, enum topology_move_step to)
{
    if (to == TOPOLOGY_MOVE_NONE)
        return move->step == TOPOLOGY_MOVE_CLEANING || (move->cancelled && move->step <= TOPOLOGY_MOVE_COPYING);
    return to == move->step + 1;
}

static enum cq_rc take_step(struct system_apply *a, const struct topology_move *move, enum topology_move_step to)
{
    const struct topology_shard *shard = topology_shard(a->before, move->group);
    struct topology_move *moves = own_moves(a, 0);
    moves[move - a->before->moves].step = to;
    switch (to) {
    case TOPOLOGY_MOVE_ADDING:
        if (shard->replica_count >= TOPOLOGY_REPLICAS_MAX || topology_replica_on(shard, move->to))
            return CQ_FAIL(a->err, CQ_E_CONFLICT, "shard %u has no room for the replica", move->group);
        enter_map(a, move);
        break;
    case TOPOLOGY_MOVE_REMOVING:
        give_vote(a, move);
        break;
    case TOPOLOGY_MOVE_CLEANING:
        leave_map(a, move);
        break;
    case TOPOLOGY_MOVE_NONE:
        if (move->step != TOPOLOGY_MOVE_CLEANING && move->step > TOPOLOGY_MOVE_QUEUED)
            leave_again(a, move);
        end_move(a, move->replica);
        break;
    default:
        break;
    }
    return CQ_OK;
}

enum cq_rc system_step_move(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r)
{
    const Chasqui__System__StepMove *msg = (const Chasqui__System__StepMove *)message;
    enum cq_rc rc = system_need_cluster(a);
    (void)reply_r;
    if (rc != CQ_OK)
        return rc;
    const struct topology_move *move = topology_move(a->before, msg->replica);
    enum topology_move_step to = (enum topology_move_step)msg->to;
    if (!move)
        return to == TOPOLOGY_MOVE_NONE ? CQ_OK : CQ_FAIL(a->err, CQ_E_NOT_FOUND, "no such move");
    if (move->step == to)
        return CQ_OK;
    if ((int)move->step != (int)msg->before || !is_allowed(move, to))
        return CQ_FAIL(a->err, CQ_E_CONFLICT, "the move is at step %d", (int)move->step);
    return take_step(a, move, to);
}

/* ---- Replicas that come back under another id, in the middle of a move ---- */

void system_moves_follow(struct system_apply *a, const struct topology_shard *was, const struct topology_shard *is)
{
    if (!a->plain.move_count)
        return;
    struct topology_move *moves = own_moves(a, 0);
    for (size_t i = 0; i < a->plain.move_count; i++) {
        if (moves[i].group != is->group)
            continue;
        const struct topology_replica *from = topology_replica_on(is, moves[i].from);
        const struct topology_replica *to = topology_replica_on(is, moves[i].to);
        if (from && topology_replica(was, moves[i].old))
            moves[i].old = from->id;
        if (to && topology_replica(was, moves[i].replica))
            moves[i].replica = to->id;
    }
    qsort(moves, a->plain.move_count, sizeof *moves, move_cmp);
}
