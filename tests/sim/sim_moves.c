/* The map and its moves, who carries them out, and what an operator and bad luck do to replicas. */
#include "sim_cluster.h"

#include "base/cq_mem.h"
#include "cluster/move_plan.h"
#include "node/replica_record.h"
#include "state/state_key.h"
#include "store/store_mem.h"

#include <stdlib.h>

#define MOVE_LOOK_US (100 * SIM_MS)
#define FIRST_NEW_REPLICA 5000

void sim_cluster_new(struct sim *sim)
{
    struct sim_cluster *cluster = sim->cluster = cq_new(struct sim_cluster);
    cluster->next_replica = FIRST_NEW_REPLICA;
    for (unsigned g = 0; g < sim->options.groups; g++)
        for (unsigned i = 0; i < sim->options.nodes; i++)
            if (sim_has_first_replica(sim, g, i))
                cluster->map[g][i] = (struct sim_named){sim_replica(g, i), true};
}

void sim_cluster_free(struct sim *sim)
{
    free(sim->cluster);
    sim->cluster = NULL;
}

/* ---- What the system shard keeps (storage-node/system/system_moves.c) ---- */

/* A node's replica came back under another id, with its vote; moves follow. */
void sim_map_set(struct sim *sim, unsigned g, unsigned node, uint64_t replica)
{
    struct sim_named *named = &sim->cluster->map[g][node];
    struct topology_move *move = &sim->cluster->moves[g];
    if (move->step != TOPOLOGY_MOVE_NONE && move->from == node && move->old == named->replica)
        move->old = replica;
    if (move->step != TOPOLOGY_MOVE_NONE && move->to == node && move->replica == named->replica)
        move->replica = replica;
    *named = (struct sim_named){replica, true};
}

static void record(struct sim *sim, struct topology_move *move, enum topology_move_step to)
{
    struct sim_named(*map)[SIM_NODES_MAX] = &sim->cluster->map[move->group - 1];
    sim_trace(sim, "group %u: move of replica %llu from n%u to n%u: %s", move->group, (unsigned long long)move->replica,
              move->from, move->to, move_step_name(to));
    if (to == TOPOLOGY_MOVE_ADDING)
        (*map)[move->to] = (struct sim_named){move->replica, false};
    if (to == TOPOLOGY_MOVE_REMOVING)
        (*map)[move->to].voter = true;
    if (to == TOPOLOGY_MOVE_CLEANING)
        (*map)[move->from] = (struct sim_named){0};
    if (to == TOPOLOGY_MOVE_NONE && move->step != TOPOLOGY_MOVE_CLEANING)
        (*map)[move->to] = (struct sim_named){0};
    move->step = to;
}

/* ---- Carrying a move out (storage-node/node/mover.c) ---- */

static struct move_view view_of(struct sim *sim, const struct topology_move *move, const struct member_look *look)
{
    struct move_view view = {.led = true, .settled = look->committed};
    for (size_t i = 0; i < look->count; i++) {
        const struct raft_progress *p = &look->members[i];
        enum move_member role = p->member.role == RAFT_MEMBER_VOTER ? MOVE_VOTER : MOVE_WITHOUT_VOTE;
        if (raft_node_eq(&p->member.node, &sim->nodes[move->from]->id)) {
            view.old_member = role;
            view.old_leads = p->self;
        }
        if (p->member.replica != move->replica)
            continue;
        view.new_member = role;
        view.lag = p->match == 0 ? UINT64_MAX : p->match < look->last_index ? look->last_index - p->match : 0;
    }
    return view;
}

static void act(struct sim *sim, struct sim_node *leader, struct topology_move *move, struct move_next next)
{
    static const Chasqui__System__MemberChange changes[] = {
        [MOVE_ACT_ADD] = CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_ADD,
        [MOVE_ACT_PROMOTE] = CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_PROMOTE,
        [MOVE_ACT_REMOVE_OLD] = CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE,
        [MOVE_ACT_REMOVE_NEW] = CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE,
    };
    const struct raft_node *from = &sim->nodes[move->from]->id, *to = &sim->nodes[move->to]->id;
    const struct member_wish wish = {move->group, changes[next.act < MOVE_ACT_STEP ? next.act : 0], move->replica,
                                     next.act == MOVE_ACT_REMOVE_OLD ? *from : *to};
    if (next.act == MOVE_ACT_STEP)
        record(sim, move, next.to);
    else if (next.act == MOVE_ACT_HAND_OVER)
        raft_host_transfer(leader->host, move->group, to);
    else if (next.act != MOVE_ACT_WAIT)
        member_step(leader->host, &wish, NULL);
}

static void confirmed(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                      const struct machine_outcome *outcome)
{
    struct topology_move *move = arg;
    struct member_look look;
    (void)index, (void)outcome;
    if (rc != CQ_OK || move->step == TOPOLOGY_MOVE_NONE || member_step_look(node->host, move->group, &look) != CQ_OK)
        return;
    const struct move_view view = view_of(sim, move, &look);
    act(sim, node, move, move_plan_next(move, &view));
}

static void look_at_old(struct sim *sim, struct topology_move *move)
{
    const struct sim_node *old = sim->nodes[move->from];
    const struct move_view view = {.old_answers = sim_node_up(old),
                                   .old_is_there = sim_node_up(old) && old->groups[move->group - 1].replica};
    act(sim, NULL, move, move_plan_next(move, &view));
}

static void look_at_moves(struct sim *sim, void *arg, uint64_t x, uint64_t y)
{
    (void)arg, (void)x, (void)y;
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
        struct topology_move *move = &sim->cluster->moves[g];
        struct sim_node *leader = sim_leader(sim, g);
        if (move->step == TOPOLOGY_MOVE_CLEANING) {
            look_at_old(sim, move);
        } else if (move->step != TOPOLOGY_MOVE_NONE && leader && leader->paused_until <= sim->now) {
            sim_node_read(leader, g, confirmed, move, NULL);
            sim_node_turn(leader);
        }
    }
    sim_at(sim, MOVE_LOOK_US, look_at_moves, NULL, 0, 0);
}

/* ---- The operator ---- */

static void begin_move(struct sim *sim, unsigned g)
{
    struct sim_cluster *cluster = sim->cluster;
    const struct sim_node *leader = sim_leader(sim, g);
    unsigned from = leader && sim_chance(sim, 2) ? leader->index : sim_below(sim, sim->options.nodes);
    unsigned to = sim_below(sim, sim->options.nodes);
    if (!sim_group_in_order(sim, g) || !cluster->map[g][from].replica || cluster->map[g][to].replica)
        return;
    cluster->moves[g] = (struct topology_move){.replica = cluster->next_replica++,
                                               .old = cluster->map[g][from].replica,
                                               .group = g + 1,
                                               .from = from,
                                               .to = to,
                                               .step = TOPOLOGY_MOVE_QUEUED};
    cluster->counts.moves++;
    record(sim, &cluster->moves[g], TOPOLOGY_MOVE_ADDING);
}

static void cancel_move(struct sim *sim, unsigned g)
{
    struct topology_move *move = &sim->cluster->moves[g];
    if (move->step == TOPOLOGY_MOVE_NONE || move->step > TOPOLOGY_MOVE_COPYING || move->cancelled)
        return;
    sim_trace(sim, "group %u: the move of replica %llu is taken back", move->group, (unsigned long long)move->replica);
    move->cancelled = true;
    sim->cluster->counts.cancelled++;
}

/* ---- Bad luck ---- */

/* All groups are in order, so a majority of each remembers everything without this node. */
static bool can_be_missed(struct sim *sim, const struct sim_node *node)
{
    bool ok = sim_node_up(node);
    for (unsigned g = 0; g < sim->options.groups && ok; g++)
        ok = sim_group_in_order(sim, g);
    return ok;
}

static void start_again(struct sim *sim, void *arg, uint64_t life, uint64_t b)
{
    struct sim_node *node = arg;
    (void)sim, (void)b;
    if (!sim_node_up(node) && node->life == life)
        sim_node_start(node);
}

static void wipe(struct sim *sim, struct sim_node *node)
{
    struct sim_cluster *cluster = sim->cluster;
    if (!can_be_missed(sim, node))
        return;
    sim_node_crash(node, true);
    sim_trace(sim, "n%u: its store is gone", node->index);
    sim_node_wipe(node);
    for (unsigned g = 0; g < sim->options.groups; g++) {
        if (cluster->map[g][node->index].replica)
            sim_check_forgotten(sim, g, cluster->map[g][node->index].replica);
        cluster->damaged[g][node->index] = 0;
    }
    cluster->lost[node->index] = cluster->next_replica - 1;
    cluster->counts.wiped++;
    sim_at(sim, sim_between(sim, 1 * SIM_MS, SIM_S), start_again, node, node->life, 0);
}

/* A bit of a record of the state; the scrub finds it at once, and again after each start. */
static bool flip_a_bit(struct sim *sim, struct sim_node *node, const struct sim_group *group)
{
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to;
    uint8_t key[STATE_KEY_MAX];
    size_t len = 0;
    unsigned left = sim_below(sim, 60);
    state_keyspace_init(&space, group->group, group->generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    key_after_prefix(&from, &to);
    struct store_iter *iter = store_iter_new(node->store, NULL, STORE_STATE, key_slice(&from), key_slice(&to));
    while (store_iter_next(iter) == CQ_OK) {
        struct cq_slice at = store_iter_key(iter);
        memcpy(key, at.data, len = at.len);
        if (left-- == 0)
            break;
    }
    store_iter_free(&iter);
    return len && store_mem_corrupt(node->store, STORE_STATE, cq_slice_of(key, len), sim_below(sim, 4096));
}

static void damage(struct sim *sim, struct sim_node *node, unsigned g)
{
    const struct sim_group *group = &node->groups[g];
    if (!sim_node_up(node) || !group->machine || !sim_group_in_order(sim, g) || !flip_a_bit(sim, node, group))
        return;
    sim_trace(sim, "n%u: group %u: a record is damaged", node->index, g + 1);
    sim->cluster->damaged[g][node->index] = group->generation;
    sim->cluster->counts.damaged++;
    sim_group_distrust(node, g);
}

static void next_deed(struct sim *sim, void *arg, uint64_t x, uint64_t y)
{
    unsigned g = sim_below(sim, sim->options.groups);
    struct sim_node *node = sim->nodes[sim_below(sim, sim->options.nodes)];
    (void)arg, (void)x, (void)y;
    if (sim->cluster->quiet)
        return;
    switch (sim_below(sim, 8)) {
    case 0:
        wipe(sim, node);
        break;
    case 1:
        cancel_move(sim, g);
        break;
    case 2:
        damage(sim, node, g);
        break;
    default:
        begin_move(sim, g);
    }
    sim_at(sim, sim_between(sim, 20 * SIM_MS, 500 * SIM_MS), next_deed, NULL, 0, 0);
}

void sim_cluster_start(struct sim *sim)
{
    sim_at(sim, MOVE_LOOK_US, look_at_moves, NULL, 0, 0);
    sim_at(sim, 350 * SIM_MS, next_deed, NULL, 0, 0);
}

void sim_cluster_stop(struct sim *sim)
{
    sim->cluster->quiet = true;
}

/* ---- At the end ---- */

bool sim_cluster_idle(struct sim *sim)
{
    bool idle = true;
    for (unsigned g = 0; g < sim->options.groups && idle; g++)
        idle = sim_group_in_order(sim, g);
    return idle;
}

/* The leader's committed members are those of the map, all with a vote. */
static void check_members(struct sim *sim, unsigned g)
{
    const struct sim_node *leader = sim_leader(sim, g);
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t count = leader ? raft_host_members(leader->host, g + 1, members, RAFT_MEMBERS_MAX) : 0, named = 0;
    for (unsigned i = 0; i < sim->options.nodes; i++)
        named += sim->cluster->map[g][i].replica != 0;
    for (size_t i = 0; i < count; i++) {
        const struct sim_node *node = sim_node_of(sim, &members[i].node);
        if (!sim->cluster->map[g][node->index].replica && members[i].role != RAFT_MEMBER_VOTER)
            named++; /* of a move that was taken back while it was added: the next move there removes it */
        else if (sim->cluster->map[g][node->index].replica != members[i].replica ||
                 members[i].role != RAFT_MEMBER_VOTER)
            sim_fail(sim, "group %u: replica %llu on n%u is a member and not what the map names", g + 1,
                     (unsigned long long)members[i].replica, node->index);
    }
    if (count != named)
        sim_fail(sim, "group %u has %zu members, the map names %zu", g + 1, count, named);
}

static size_t count_keys(struct store *store, enum store_family family, const struct state_key *prefix,
                         const struct state_key *but)
{
    struct state_key to;
    size_t count = 0;
    key_after_prefix(prefix, &to);
    struct store_iter *iter = store_iter_new(store, NULL, family, key_slice(prefix), key_slice(&to));
    while (store_iter_next(iter) == CQ_OK)
        count +=
            !but || store_iter_key(iter).len < but->len || memcmp(store_iter_key(iter).data, but->at, but->len) != 0;
    store_iter_free(&iter);
    return count;
}

/* Of a replica that is not here any more nothing is left, of one that is here nothing of another generation. */
static void check_store(struct sim_node *node, unsigned g)
{
    const struct sim_group *group = &node->groups[g];
    struct state_key prefix = {.len = 0}, chunks = {.len = 0}, mine = {.len = 0};
    struct state_keyspace space;
    key_u32(&prefix, g + 1);
    key_u64(&chunks, sim_incarnation(g));
    state_keyspace_init(&space, g + 1, group->generation);
    key_bytes(&mine, space.prefix, sizeof space.prefix);
    size_t left = count_keys(node->store, STORE_STATE, &prefix, group->generation ? &mine : NULL);
    if (!group->generation)
        left += count_keys(node->store, STORE_LOG, &prefix, NULL) + count_keys(node->store, STORE_CHUNK, &chunks, NULL);
    if (left)
        sim_fail(node->sim, "n%u: group %u: %zu keys are left of what has gone", node->index, g + 1, left);
}

void sim_cluster_check_end(struct sim *sim)
{
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
        check_members(sim, g);
        for (unsigned i = 0; i < sim->options.nodes && !sim->failures; i++)
            check_store(sim->nodes[i], g);
    }
}
