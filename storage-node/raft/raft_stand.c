/* Replicas whose log and votes are right while something of their state is damaged. They stay members in every other
 * way: their acknowledgements and votes count, so that a damaged octet never takes a majority away (docs/raft.md,
 * Damage). What they do less is stand for election, and serve. */
#include "raft_private.h"

/* A replica that stands last waits for so many election time-outs without a leader: the others have had several
 * elections. */
#define LAST_TIMEOUTS 8

/* A follower that holds its leader for alive refuses votes; one whose time is up, and that does not stand, must not. */
static void forget_leader(struct raft_group *group)
{
    struct raft *raft = &group->raft;
    if (raft_state(raft) != RAFT_FOLLOWER || !raft->follower_state.current_leader.id)
        return;
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
    raft->follower_state.current_leader.id = 0;
    raft_host_dirty(group);
}

bool raft_stand_waits(struct raft_group *group)
{
    const struct raft_host *host = group->host;
    if (group->stand == RAFT_STANDS || raft_state(&group->raft) == RAFT_LEADER)
        return false;
    if (group->stand == RAFT_STANDS_LAST &&
        host->now_ms - group->heard_ms >= (uint64_t)LAST_TIMEOUTS * host->settings.election_ms)
        return false;
    forget_leader(group);
    group->raft.election_timer_start = host->now_ms;
    group->timeout_ms = raft_timeout(&group->raft);
    return true;
}

void raft_host_stand(struct raft_host *host, uint32_t number, enum raft_stand stand)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group || group->failed || group->stand >= stand)
        return;
    group->stand = stand;
    group->heard_ms = host->now_ms;
    if (stand == RAFT_SILENT)
        raft_reads_fail(group, CQ_E_NOT_LEADER);
    raft_host_dirty(group);
}

void raft_host_keep_log(struct raft_host *host, uint32_t number, bool keep)
{
    struct raft_group *group = raft_host_find(host, number);
    if (group)
        group->keep_log = keep;
}

/* ---- Who may lead instead ---- */

/* One that is no better than this replica would only hand it back. */
static bool may_take_over(const struct raft_group *group, const struct raft_stream *stream)
{
    const struct raft_member *member = raft_conf_find(raft_group_conf(group), stream->replica);
    return member && member->role == RAFT_MEMBER_VOTER && stream->peer->connected && stream->stand < RAFT_SILENT &&
           (stream->stand < group->stand || stream->stand == RAFT_STANDS);
}

static bool is_better(const struct raft_stream *a, uint64_t match_a, const struct raft_stream *b, uint64_t match_b)
{
    return !b || a->stand < b->stand || (a->stand == b->stand && match_a > match_b);
}

uint64_t raft_stand_successor(struct raft_group *group, const struct raft_node *only)
{
    const struct raft_stream *best = NULL;
    uint64_t best_match = 0;
    for (size_t i = 0; i < group->stream_count; i++) {
        const struct raft_stream *stream = &group->streams[i];
        raft_index match = 0;
        if (!may_take_over(group, stream) || (only && !raft_node_eq(&stream->peer->node, only)) ||
            raft_match_index(&group->raft, stream->replica, &match) != 0)
            continue;
        if (is_better(stream, match, best, best_match)) {
            best = stream;
            best_match = match;
        }
    }
    return best ? best->replica : 0;
}

/* ---- On the wire ---- */

uint8_t raft_stand_flags(enum raft_stand stand)
{
    static const uint8_t flags[] = {
        [RAFT_STANDS] = 0, [RAFT_STANDS_LAST] = RAFT_WIRE_LAST, [RAFT_SILENT] = RAFT_WIRE_SILENT};
    return flags[stand];
}

enum raft_stand raft_stand_of_flags(uint8_t flags)
{
    return flags & RAFT_WIRE_SILENT ? RAFT_SILENT : flags & RAFT_WIRE_LAST ? RAFT_STANDS_LAST : RAFT_STANDS;
}
