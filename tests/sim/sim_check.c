/* The properties of Raft, and that replicas are replicas.
 *   election safety         at most one leader of a term
 *   leader append-only      a leader's log only grows
 *   log matching            same index and term: same entry, and everything before it the same
 *   leader completeness     a new leader has every committed entry
 *   configuration safety    one change at a time, a vote only for who has caught up, and never for who has forgotten
 *   state machine safety    no two nodes hand out different entries for one index, and all outcomes are the same */
#include "sim_cluster.h"

#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "raft_private.h"

#include <stdlib.h>

struct committed {
    uint64_t term, hash;
    uint64_t outcome; /* hash of it; 0: nobody has applied it yet */
    uint64_t known;   /* a term in which it was certainly committed: leaders of higher ones must have it */
    unsigned node;    /* that handed it out first */
};

struct leader_of {
    uint64_t term;
    unsigned node;
    uint32_t life;
};

#define FORGOTTEN_MAX 256

struct group_check {
    struct committed *committed; /* index i + 1 */
    size_t count, cap;
    struct leader_of *leaders;
    size_t leader_count, leader_cap;
    uint64_t handed_out[SIM_NODES_MAX]; /* last index, in the node's present life */
    uint32_t life[SIM_NODES_MAX];
    uint64_t conf_seen[SIM_NODES_MAX];
    /* The last committed entry that the replica had, durably, when it left Raft. */
    uint64_t had[SIM_NODES_MAX], had_replica[SIM_NODES_MAX];
    uint64_t forgotten[FORGOTTEN_MAX]; /* replica ids whose stores are gone */
    size_t forgotten_count;
};

struct sim_check {
    struct group_check groups[SIM_GROUPS_MAX];
};

void sim_check_new(struct sim *sim)
{
    sim->check = cq_new(struct sim_check);
}

void sim_check_free(struct sim *sim)
{
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++) {
        free(sim->check->groups[g].committed);
        free(sim->check->groups[g].leaders);
    }
    free(sim->check);
}

uint64_t sim_check_last_committed(const struct sim *sim, unsigned group)
{
    return sim->check->groups[group].count;
}

static const struct raft_group *host_group(const struct sim_node *node, unsigned group)
{
    return raft_host_find(node->host, group + 1);
}

/* ---- Elections ---- */

static void check_one_leader(struct sim_node *node, struct group_check *check, uint32_t group, uint64_t term)
{
    for (size_t i = check->leader_count; i-- > 0;) {
        const struct leader_of *leader = &check->leaders[i];
        if (leader->term != term)
            continue;
        if (leader->node != node->index || leader->life != node->life)
            sim_fail(node->sim, "election safety: n%u and n%u both lead group %u in term %llu", leader->node,
                     node->index, group, (unsigned long long)term);
        return;
    }
    if (check->leader_count == check->leader_cap) {
        check->leader_cap = check->leader_cap ? check->leader_cap * 2 : 64;
        check->leaders = cq_realloc(check->leaders, check->leader_cap * sizeof *check->leaders);
    }
    check->leaders[check->leader_count++] = (struct leader_of){term, node->index, node->life};
}

static void check_completeness(struct sim_node *node, struct group_check *check, unsigned group)
{
    const struct raft_log *log = &host_group(node, group)->log;
    for (uint64_t index = log->first; index <= check->count; index++) {
        if (raft_log_term(log, index) == check->committed[index - 1].term ||
            check->committed[index - 1].known >= node->groups[group].term)
            continue;
        sim_fail(node->sim, "leader completeness: n%u leads group %u in term %llu without committed entry %llu",
                 node->index, group + 1, (unsigned long long)node->groups[group].term, (unsigned long long)index);
        return;
    }
}

void sim_check_role(struct sim_node *node, const struct raft_role_change *change)
{
    struct sim_group *group = &node->groups[change->group - 1];
    struct group_check *check = &node->sim->check->groups[change->group - 1];
    bool became =
        change->role == RAFT_GROUP_LEADER && (group->role != RAFT_GROUP_LEADER || group->term != change->term);
    if (change->term < group->term)
        sim_fail(node->sim, "n%u: the term of group %u falls", node->index, change->group);
    group->role = change->role;
    group->term = change->term;
    sim_note(node->sim, change->term << 8 | (uint64_t)change->role << 4 | node->index);
    if (!became)
        return;
    group->led_last = 0;
    check_one_leader(node, check, change->group, change->term);
    check_completeness(node, check, change->group - 1);
}

/* ---- Members ---- */

void sim_check_opened(struct sim_node *node, unsigned g)
{
    struct group_check *check = &node->sim->check->groups[g];
    check->life[node->index] = 0;
    check->conf_seen[node->index] = 0;
    for (size_t i = 0; i < check->forgotten_count; i++)
        if (check->forgotten[i] == node->groups[g].replica)
            sim_fail(node->sim, "n%u: replica %llu of group %u takes part again, and does not know what it promised",
                     node->index, (unsigned long long)node->groups[g].replica, g + 1);
}

void sim_check_left(struct sim_node *node, unsigned g)
{
    struct group_check *check = &node->sim->check->groups[g];
    const struct raft_group *group = host_group(node, g);
    uint64_t index = !group ? 0 : group->stored < check->count ? group->stored : check->count;
    while (index && raft_log_term(&group->log, index) != check->committed[index - 1].term)
        index--;
    check->had[node->index] = index;
    check->had_replica[node->index] = group ? group->owner.replica : 0;
}

void sim_check_joined(struct sim_node *node, unsigned g)
{
    const struct group_check *check = &node->sim->check->groups[g];
    const struct raft_group *group = host_group(node, g);
    if (group->owner.replica == check->had_replica[node->index] && raft_log_last(&group->log) < check->had[node->index])
        sim_fail(node->sim, "n%u: replica %llu of group %u has acknowledged %llu, and its log ends at %llu now",
                 node->index, (unsigned long long)group->owner.replica, g + 1,
                 (unsigned long long)check->had[node->index], (unsigned long long)raft_log_last(&group->log));
}

void sim_check_forgotten(struct sim *sim, unsigned g, uint64_t replica)
{
    struct group_check *check = &sim->check->groups[g];
    if (check->forgotten_count < FORGOTTEN_MAX)
        check->forgotten[check->forgotten_count++] = replica;
}

static bool is_one_change(const struct raft_conf *a, const struct raft_conf *b)
{
    size_t kept = 0, same = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct raft_member *other = raft_conf_find(b, a->members[i].replica);
        kept += other != NULL;
        same += other && other->role == a->members[i].role;
    }
    size_t gone = a->count - kept, come = b->count - kept, other_role = kept - same;
    return gone + come + other_role <= 1;
}

static bool has_vote(const struct raft_conf *conf, uint64_t replica)
{
    const struct raft_member *member = raft_conf_find(conf, replica);
    return member && member->role == RAFT_MEMBER_VOTER;
}

/* At the leader that has just proposed it. */
static void check_promoted(struct sim_node *node, const struct raft_group *group, const struct raft_conf *before,
                           const struct raft_conf_at *now)
{
    for (size_t i = 0; i < now->conf.count; i++) {
        uint64_t replica = now->conf.members[i].replica;
        if (!has_vote(&now->conf, replica) || has_vote(before, replica))
            continue;
        uint64_t match = raft_host_match(node->host, group->owner.group, replica);
        if (match + MEMBER_NEAR + 1 < now->index)
            sim_fail(node->sim, "n%u: replica %llu of group %u gets its vote at %llu, and has only %llu", node->index,
                     (unsigned long long)replica, group->owner.group, (unsigned long long)now->index,
                     (unsigned long long)match);
    }
}

static void check_members(struct sim_node *node, unsigned g)
{
    const struct raft_group *group = host_group(node, g);
    struct group_check *check = &node->sim->check->groups[g];
    const struct raft_conf_at *last = &group->confs[group->conf_count - 1];
    if (check->conf_seen[node->index] == last->index || group->conf_count < 2)
        return;
    check->conf_seen[node->index] = last->index;
    const struct raft_conf_at *before = last - 1;
    bool mine = raft_log_term(&group->log, last->index) == node->groups[g].term; /* then it knew what was committed */
    if (!is_one_change(&before->conf, &last->conf) || (mine && before->index > group->commit))
        sim_fail(node->sim, "n%u: the members of group %u change at %llu in more than one way, or too early",
                 node->index, g + 1, (unsigned long long)last->index);
    if (node->sim->cluster && mine)
        check_promoted(node, group, &before->conf, last);
}

void sim_check_turn(struct sim_node *node)
{
    for (unsigned g = 0; g < node->sim->options.groups && !node->sim->failures; g++) {
        struct sim_group *group = &node->groups[g];
        if (host_group(node, g) && group->role == RAFT_GROUP_LEADER)
            check_members(node, g);
        if (!host_group(node, g) || group->role != RAFT_GROUP_LEADER)
            continue;
        const struct raft_log *log = &host_group(node, g)->log;
        uint64_t last = raft_log_last(log);
        if (group->led_last &&
            (last < group->led_last ||
             (group->led_last >= log->first && raft_log_term(log, group->led_last) != group->led_last_term)))
            sim_fail(node->sim, "leader append-only: n%u leads group %u and its log changed at %llu", node->index,
                     g + 1, (unsigned long long)group->led_last);
        group->led_last = last;
        group->led_last_term = raft_log_term(log, last);
    }
}

/* ---- Commits ---- */

static void check_order(struct sim_node *node, struct group_check *check, const struct raft_commit *commit)
{
    uint64_t *last = &check->handed_out[node->index];
    if (check->life[node->index] == node->life && commit->index != *last + 1)
        sim_fail(node->sim, "n%u: group %u hands out %llu after %llu", node->index, commit->group,
                 (unsigned long long)commit->index, (unsigned long long)*last);
    check->life[node->index] = node->life;
    *last = commit->index;
}

static void note_first(struct sim_node *node, struct group_check *check, const struct raft_commit *commit,
                       uint64_t hash)
{
    if (commit->index != check->count + 1) {
        sim_fail(node->sim, "n%u: group %u hands out %llu, but only %zu were committed before", node->index,
                 commit->group, (unsigned long long)commit->index, check->count);
        return;
    }
    if (check->count == check->cap) {
        check->cap = check->cap ? check->cap * 2 : 1024;
        check->committed = cq_realloc(check->committed, check->cap * sizeof *check->committed);
    }
    check->committed[check->count++] =
        (struct committed){.term = commit->term,
                           .hash = hash,
                           .known = raft_current_term(&host_group(node, commit->group - 1)->raft),
                           .node = node->index};
    sim_note(node->sim, hash);
    node->sim->app->committed(node->sim, commit->group, commit->index, commit->term, commit->entry);
}

void sim_check_commit(struct sim_node *node, const struct raft_commit *commit)
{
    struct group_check *check = &node->sim->check->groups[commit->group - 1];
    uint64_t hash = cq_xxh3_64(commit->entry);
    check_order(node, check, commit);
    if (commit->index > check->count) {
        note_first(node, check, commit, hash);
        return;
    }
    const struct committed *first = &check->committed[commit->index - 1];
    if (first->term != commit->term || first->hash != hash)
        sim_fail(node->sim, "state machine safety: n%u and n%u differ in entry %llu of group %u (terms %llu, %llu)",
                 first->node, node->index, (unsigned long long)commit->index, commit->group,
                 (unsigned long long)first->term, (unsigned long long)commit->term);
}

void sim_check_outcome(struct sim_node *node, const struct raft_commit *commit, const struct machine_outcome *outcome)
{
    struct committed *first = &node->sim->check->groups[commit->group - 1].committed[commit->index - 1];
    uint64_t hash = cq_xxh3_64_seed(outcome->answer, (uint64_t)outcome->rc + 1) | 1;
    sim_note(node->sim, hash);
    if (first->outcome && first->outcome != hash)
        sim_fail(node->sim, "n%u: entry %llu of group %u has another outcome here (%s)", node->index,
                 (unsigned long long)commit->index, commit->group, cq_rc_name(outcome->rc));
    first->outcome = hash;
}

void sim_check_acknowledged(struct sim_node *node, unsigned group, uint64_t index, uint64_t hash)
{
    const struct group_check *check = &node->sim->check->groups[group];
    if (index > check->count || check->committed[index - 1].hash != hash)
        sim_fail(node->sim, "n%u acknowledges a command at index %llu of group %u, but that is another entry",
                 node->index, (unsigned long long)index, group + 1);
}

/* ---- At the end ---- */

static void check_logs(struct sim_node *a, struct sim_node *b, unsigned group)
{
    const struct raft_log *x = &host_group(a, group)->log, *y = &host_group(b, group)->log;
    uint64_t low = x->first > y->first ? x->first : y->first;
    uint64_t high = raft_log_last(x) < raft_log_last(y) ? raft_log_last(x) : raft_log_last(y);
    bool same = false; /* from the end: once they agree, they agree all the way down */
    for (uint64_t index = high; index >= low && index > 0; index--) {
        bool equal = raft_log_term(x, index) == raft_log_term(y, index);
        if (same && !equal)
            sim_fail(a->sim, "log matching: n%u and n%u agree above %llu of group %u and not there", a->index, b->index,
                     (unsigned long long)index, group + 1);
        same = same || equal;
    }
}

/* The log's records in the store are the committed entries: read as a lagging follower's leader would. */
static void check_records(struct sim_node *node, unsigned g)
{
    const struct group_check *check = &node->sim->check->groups[g];
    const struct raft_group *group = host_group(node, g);
    struct raft_load *load = raft_load_new(&group->owner, 0, group->log.first, UINT64_MAX - 1, UINT64_MAX);
    raft_load_run(load, node->store);
    if (load->rc != CQ_OK || (load->count == 0 && group->log.count))
        sim_fail(node->sim, "n%u: the log of group %u does not read back: %s %s", node->index, g + 1,
                 cq_rc_name(load->rc), load->err.text);
    for (size_t i = 0; i < load->count; i++) {
        uint64_t index = load->from + i;
        const struct raft_item *item = load->entries[i].item;
        struct cq_slice entry = item->kind == RAFT_KIND_COMMAND ? item->entry : CQ_SLICE_NONE;
        if (index > check->count)
            break;
        if (load->entries[i].term != check->committed[index - 1].term ||
            cq_xxh3_64(entry) != check->committed[index - 1].hash)
            sim_fail(node->sim, "n%u: entry %llu of group %u in the store is not the committed one", node->index,
                     (unsigned long long)index, g + 1);
    }
    raft_load_free(&load);
}

static struct sim_node *first_with(struct sim *sim, unsigned g)
{
    unsigned i = 0;
    while (!sim->nodes[i]->groups[g].machine)
        i++;
    return sim->nodes[i];
}

static void check_applied(struct sim_node *node, unsigned g)
{
    const struct machine *machine = node->groups[g].machine;
    uint64_t applied = machine->ops->applied(machine), committed = sim_check_last_committed(node->sim, g);
    uint8_t digest[16], first[16];
    if (applied != committed) {
        sim_fail(node->sim, "n%u has applied %llu of group %u, but %llu are committed", node->index,
                 (unsigned long long)applied, g + 1, (unsigned long long)committed);
        return;
    }
    const struct sim_node *first_node = first_with(node->sim, g);
    const struct machine *other = first_node->groups[g].machine;
    machine->ops->digest(machine, digest);
    other->ops->digest(other, first);
    if (memcmp(digest, first, sizeof digest) != 0)
        sim_fail(node->sim, "n%u and n%u have different digests of group %u at index %llu", first_node->index,
                 node->index, g + 1, (unsigned long long)applied);
}

void sim_check_end(struct sim *sim)
{
    for (unsigned g = 0; g < sim->options.groups; g++) {
        for (unsigned i = 0; i < sim->options.nodes && !sim->failures; i++) {
            if (!sim->nodes[i]->groups[g].machine)
                continue;
            check_applied(sim->nodes[i], g);
            check_records(sim->nodes[i], g);
            for (unsigned j = 0; j < i; j++)
                if (sim->nodes[j]->groups[g].machine)
                    check_logs(sim->nodes[i], sim->nodes[j], g);
        }
    }
}
