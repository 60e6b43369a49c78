/* Linearizable reads without touching the disk. A leader notes its commit index and asks every voter, in one frame for
 * all groups, whether it is still at the leader's term; when a majority says so, no newer leader had been elected when
 * the read arrived (docs/raft.md). Rounds are numbered per host; an answer counts for all reads that were noted before
 * its question was sent. */
#include "raft_private.h"

#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <stdlib.h>

enum cq_rc raft_read_add(struct raft_group *group, uint64_t cookie)
{
    if (!raft_group_is_leader(group) || group->stand == RAFT_SILENT)
        return group->failed ? CQ_E_UNAVAILABLE : CQ_E_NOT_LEADER;
    if (group->read_count >= RAFT_READS_MAX)
        return CQ_E_OVERLOADED;
    if (group->read_count == group->read_cap) {
        group->read_cap = group->read_cap ? group->read_cap * 2 : 16;
        group->reads = cq_realloc(group->reads, group->read_cap * sizeof *group->reads);
    }
    group->reads[group->read_count++] = (struct raft_read){.cookie = cookie, .since_ms = group->host->now_ms};
    group->reads_unsent = true;
    raft_host_dirty(group);
    return CQ_OK;
}

static void tell(struct raft_group *group, const struct raft_read *read, enum cq_rc rc)
{
    const struct raft_told told = {
        .what = TOLD_READ, .group = group->owner.group, .cookie = read->cookie, .rc = rc, .index = read->index};
    raft_host_tell(group->host, &told);
}

static void drop_front(struct raft_group *group, size_t count)
{
    group->read_count -= count;
    if (group->read_count)
        memmove(group->reads, group->reads + count, group->read_count * sizeof *group->reads);
}

static void end_front(struct raft_group *group, size_t count, enum cq_rc rc)
{
    for (size_t i = 0; i < count; i++)
        tell(group, &group->reads[i], rc);
    drop_front(group, count);
}

void raft_reads_fail(struct raft_group *group, enum cq_rc rc)
{
    end_front(group, group->read_count, rc);
    group->reads_unsent = false;
}

void raft_reads_tick(struct raft_group *group)
{
    const struct raft_host *host = group->host;
    size_t late = 0;
    while (late < group->read_count && group->reads[late].since_ms + host->settings.read_timeout_ms < host->now_ms)
        late++;
    if (late) {
        end_front(group, late, CQ_E_UNAVAILABLE);
        raft_host_dirty(group);
    }
    if (group->read_count && host->now_ms - group->asked_ms >= host->settings.heartbeat_ms) {
        group->reads_unsent = true; /* frames may have been lost: ask again */
        raft_host_dirty(group);
    }
}

/* ---- Asking ---- */

static void row_add(struct raft_peer *peer, const struct raft_wire_row *row)
{
    if (peer->row_count == peer->row_cap) {
        peer->row_cap = peer->row_cap ? peer->row_cap * 2 : 16;
        peer->rows = cq_realloc(peer->rows, peer->row_cap * sizeof *peer->rows);
    }
    peer->rows[peer->row_count++] = *row;
}

static void ask_members(struct raft_group *group, uint64_t round)
{
    const struct raft_conf *conf = raft_group_conf(group);
    for (size_t i = group->read_count; i-- > 0 && group->reads[i].round == 0;) {
        group->reads[i].round = round;
        group->reads[i].index = group->commit;
    }
    for (size_t i = 0; i < group->stream_count; i++) {
        struct raft_stream *stream = &group->streams[i];
        if (!stream->peer->connected || raft_conf_find(conf, stream->replica)->role != RAFT_MEMBER_VOTER)
            continue;
        row_add(stream->peer, &(struct raft_wire_row){group->owner.group, stream->replica, group->lead_term});
    }
    group->reads_unsent = false;
    group->asked_ms = group->host->now_ms;
}

static bool may_ask(const struct raft_group *group)
{
    return group->reads_unsent && group->read_count && raft_group_is_leader(group) && group->commit_known &&
           group->fence <= group->host->durable_job;
}

void raft_reads_ask(struct raft_host *host)
{
    bool asked = false;
    cq_list_each (&host->dirty, link) {
        struct raft_group *group = cq_list_entry(link, struct raft_group, dirty);
        if (!may_ask(group))
            continue;
        ask_members(group, host->round + 1);
        asked = true;
    }
    if (!asked)
        return;
    host->round++;
    for (size_t i = 0; i < host->peer_count; i++) {
        struct raft_peer *peer = host->peers[i];
        const struct raft_wire question = {
            .type = RAFT_WIRE_CONFIRM, .round = host->round, .count = (uint32_t)peer->row_count, .rows = peer->rows};
        if (peer->row_count && peer->connected)
            raft_wire_add(&peer->control, &question);
        peer->row_count = 0;
    }
}

/* ---- Answering ---- */

static bool still_at(const struct raft_host *host, const struct raft_wire_row *row)
{
    const struct raft_group *group = raft_host_find(host, row->group);
    return group && !group->failed && group->owner.replica == row->replica &&
           raft_current_term(&group->raft) == row->term;
}

/* In place: the rows that hold are the answer. */
void raft_read_question(struct raft_host *host, struct raft_peer *from, const struct raft_wire *message)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < message->count; i++) {
        if (still_at(host, &message->rows[i]))
            message->rows[count++] = message->rows[i];
    }
    const struct raft_wire answer = {
        .type = RAFT_WIRE_CONFIRM_RESULT, .round = message->round, .count = count, .rows = message->rows};
    if (count && from->connected)
        raft_wire_add(&from->control, &answer);
}

void raft_read_answer(struct raft_host *host, struct raft_peer *from, const struct raft_wire *message)
{
    if (message->round > host->round)
        return; /* nobody asked that */
    for (uint32_t i = 0; i < message->count; i++) {
        struct raft_group *group = raft_host_find(host, message->rows[i].group);
        struct raft_stream *stream = group ? raft_stream_of(group, message->rows[i].replica) : NULL;
        if (!stream || stream->peer != from || stream->confirmed_round >= message->round)
            continue;
        stream->confirmed_round = message->round;
        raft_host_dirty(group);
    }
}

/* How many voters have confirmed the round. */
static size_t confirmations(struct raft_group *group, const struct raft_conf *conf, uint64_t round)
{
    size_t count = 0;
    for (size_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->role != RAFT_MEMBER_VOTER)
            continue;
        const struct raft_stream *stream = raft_stream_of(group, member->replica);
        count += member->replica == group->owner.replica || (stream && stream->confirmed_round >= round);
    }
    return count;
}

void raft_reads_check(struct raft_group *group)
{
    size_t ready = 0;
    if (!group->read_count || !raft_group_is_leader(group))
        return;
    const struct raft_conf *conf = raft_group_conf(group);
    size_t majority = raft_conf_voters(conf) / 2 + 1;
    while (ready < group->read_count && group->reads[ready].round &&
           (confirmations(group, conf, group->reads[ready].round) >= majority || planted(PLANT_DEPOSED_READ)))
        ready++;
    end_front(group, ready, CQ_OK);
}
