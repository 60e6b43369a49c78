/* Linearizable reads without touching the disk. A leader notes its commit index and asks voters, in one frame for all
 * groups, whether they are still at the leader's term; when a majority says so, no newer leader had been elected when
 * the read arrived (docs/raft.md). Rounds are numbered per host; an answer counts for all reads that were noted before
 * its question was sent.
 *
 * Any majority will do, so only as many voters are asked as one needs, those first that answer quickly. Whoever has
 * not been confirmed RAFT_READ_HEDGE_MS later asks all of them. */
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
    else
        group->reads_unsent = group->reads_ask_all = false;
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
}

/* A node may be quick and this replica of it silent: stopped, or of an older term. */
static void note_silence(struct raft_group *group, uint64_t round)
{
    for (size_t i = 0; i < group->stream_count; i++) {
        struct raft_stream *stream = &group->streams[i];
        stream->owes |= stream->asked_round >= round && stream->confirmed_round < round;
    }
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
    if (raft_reads_ask_again_ms(group) <= host->now_ms) {
        note_silence(group, group->reads[0].round);
        group->reads_unsent = group->reads_ask_all = true;
        raft_host_dirty(group);
    }
}

/* All voters are asked when those that were asked do not answer, and again when frames may have been lost. */
uint64_t raft_reads_ask_again_ms(const struct raft_group *group)
{
    if (!group->read_count || !group->reads[0].round)
        return UINT64_MAX;
    return group->asked_all_ms <= group->reads[0].asked_ms ? group->reads[0].asked_ms + RAFT_READ_HEDGE_MS
                                                           : group->asked_all_ms + group->host->settings.heartbeat_ms;
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

/* Asks the voter unless it cannot be asked; true: done. */
static bool ask_member(struct raft_stream *stream, const struct raft_conf *conf, uint64_t round)
{
    const struct raft_group *group = stream->group;
    if (!stream->peer->connected || raft_conf_find(conf, stream->replica)->role != RAFT_MEMBER_VOTER)
        return false;
    row_add(stream->peer, &(struct raft_wire_row){group->owner.group, stream->replica, group->lead_term});
    stream->asked_round = round;
    return true;
}

/* 0: is asked first. The quickest node is the same one for all groups, so that their questions share a frame. */
static int rank(const struct raft_stream *stream)
{
    return stream->owes ? 2 : stream->peer != stream->group->host->quickest;
}

static void ask_enough(struct raft_group *group, const struct raft_conf *conf, uint64_t round, size_t wanted)
{
    for (int r = 0; r <= 2; r++)
        for (size_t i = 0; i < group->stream_count && wanted; i++)
            if (rank(&group->streams[i]) == r)
                wanted -= ask_member(&group->streams[i], conf, round);
}

static bool votes(const struct raft_group *group, const struct raft_conf *conf)
{
    const struct raft_member *self = raft_conf_find(conf, group->owner.replica);
    return self && self->role == RAFT_MEMBER_VOTER;
}

static void ask_members(struct raft_group *group, uint64_t round)
{
    struct raft_host *host = group->host;
    const struct raft_conf *conf = raft_group_conf(group);
    for (size_t i = group->read_count; i-- > 0 && group->reads[i].round == 0;) {
        group->reads[i].round = round;
        group->reads[i].asked_ms = host->now_ms;
        group->reads[i].index = group->commit;
    }
    if (group->reads_ask_all || round % RAFT_READ_ALL_EVERY == 1) {
        ask_enough(group, conf, round, SIZE_MAX);
        group->asked_all_ms = host->now_ms;
        host->all_round = round;
    } else {
        ask_enough(group, conf, round, raft_conf_voters(conf) / 2 + !votes(group, conf));
    }
    group->reads_unsent = group->reads_ask_all = false;
    if (group->stream_count == 0)
        raft_reads_check(group); /* there is nobody to wait for */
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
    if (message->round == host->all_round) {
        host->quickest = from;
        host->all_round = 0;
    }
    for (uint32_t i = 0; i < message->count; i++) {
        struct raft_group *group = raft_host_find(host, message->rows[i].group);
        struct raft_stream *stream = group ? raft_stream_of(group, message->rows[i].replica) : NULL;
        if (!stream || stream->peer != from || stream->confirmed_round >= message->round)
            continue;
        stream->confirmed_round = message->round;
        stream->owes = false;
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
