/* One step of libraft and everything that its update asks for, in the order that safety needs (docs/raft.md): term and
 * vote, entries, role, messages, commits. */
#include "raft_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <stdlib.h>

static bool must_stop(int rv)
{
    return rv != 0 && rv != RAFT_NOTLEADER && rv != RAFT_CANTCHANGE && rv != RAFT_NOSPACE && rv != RAFT_BADID &&
           rv != RAFT_NOTFOUND;
}

/* ---- Term and vote ---- */

static void take_term(struct raft_group *group)
{
    struct raft_job *job = raft_host_job(group->host);
    raft_job_vote(job, &group->owner, raft_current_term(&group->raft), raft_voted_for(&group->raft));
    if (!planted(PLANT_VOTE_BEFORE_DURABLE))
        group->fence = raft_job_number(job);
}

/* ---- Entries ---- */

void raft_group_add_conf(struct raft_group *group, uint64_t index, struct cq_slice bytes)
{
    if (group->conf_count == group->conf_cap) {
        group->conf_cap = group->conf_cap ? group->conf_cap * 2 : 2;
        group->confs = cq_realloc(group->confs, group->conf_cap * sizeof *group->confs);
    }
    struct raft_conf_at *at = &group->confs[group->conf_count++];
    at->index = index;
    CQ_ASSERT(raft_conf_parse(bytes, &at->conf, NULL) == CQ_OK); /* checked when it came in */
}

static void truncate_from(struct raft_group *group, uint64_t index)
{
    struct raft_job *job = raft_host_job(group->host);
    for (uint64_t i = index; i <= raft_log_last(&group->log); i++) {
        const struct raft_log_entry *entry = raft_log_at(&group->log, i);
        if (!planted(PLANT_SKIP_TRUNCATION))
            raft_job_remove(job, &group->owner, i, entry->term, entry->chunk_count);
    }
    raft_log_truncate(&group->log, index);
    if (group->stored >= index)
        group->stored = index - 1;
    while (group->conf_count && group->confs[group->conf_count - 1].index >= index)
        group->conf_count--;
}

/* libraft hands back pointers into the array of the event; its own no-op is the only other entry there is. */
static struct raft_item *item_of(const struct raft_step *step, const struct raft_entry *entry)
{
    if (step->entries && entry >= step->entries && entry < step->entries + step->count)
        return raft_item_ref(step->items[entry - step->entries]);
    CQ_ASSERT(entry->type == RAFT_BARRIER);
    return raft_item_new(RAFT_KIND_BARRIER, NULL, CQ_SLICE_NONE, NULL, 0);
}

static void append_one(struct raft_group *group, const struct raft_step *step, const struct raft_entry *entry,
                       uint64_t index)
{
    struct raft_job *job = raft_host_job(group->host);
    struct raft_item *item = item_of(step, entry);
    const struct raft_log_entry row = {
        .term = entry->term,
        .job = raft_job_number(job),
        .cookie = step->cookie,
        .body_bytes = item->body_bytes,
        .size = (uint32_t)item->entry.len,
        .chunk_count = item->body_count,
        .kind = item->kind,
        .item = item,
    };
    raft_job_append(job, &group->owner, index, entry->term, item);
    raft_log_append(&group->log, &row);
    if (step->cookie)
        group->pending_bytes += raft_item_size(item);
    if (item->kind == RAFT_KIND_CHANGE) {
        raft_group_add_conf(group, index, item->entry);
        if (group->lead_term)
            raft_streams_start(group);
    }
}

static void take_entries(struct raft_group *group, const struct raft_step *step, const struct raft_update *update)
{
    uint64_t index = update->entries.index;
    void *batch = update->entries.batch[0].batch; /* ours now */
    if (index <= group->commit) {
        raft_group_fail(group, CQ_E_CORRUPT, "a leader overwrites an entry that is committed");
    } else {
        if (index <= raft_log_last(&group->log))
            truncate_from(group, index);
        CQ_ASSERT(index == raft_log_last(&group->log) + 1);
        for (unsigned i = 0; i < update->entries.n; i++)
            append_one(group, step, &update->entries.batch[i], index + i);
    }
    raft_free(batch);
}

/* ---- Role ---- */

static void became_leader(struct raft_group *group)
{
    group->lead_term = raft_current_term(&group->raft);
    /* libraft appends a no-op unless everything in the log is known to be committed. */
    group->commit_known =
        raft_commit_index(&group->raft) == raft_last_index(&group->raft) || planted(PLANT_READ_TOO_EARLY);
    raft_streams_start(group);
}

static void lost_leadership(struct raft_group *group)
{
    group->lead_term = 0;
    group->commit_known = false;
    group->hold_count = 0; /* whoever copies from here begins again with the new leader */
    raft_streams_stop(group);
    raft_commit_fail_pending(group);
    raft_reads_fail(group, planted(PLANT_READ_AFTER_LOSS) ? CQ_OK : CQ_E_NOT_LEADER);
}

static void take_state(struct raft_group *group)
{
    bool leads = raft_state(&group->raft) == RAFT_LEADER;
    if (group->lead_term && (!leads || group->lead_term != raft_current_term(&group->raft)))
        lost_leadership(group);
    if (leads && !group->lead_term)
        became_leader(group);
}

/* ---- Messages ---- */

static void send_vote_request(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                              struct raft_wire *wire)
{
    const struct raft_request_vote *vote = &m->request_vote;
    wire->type = RAFT_WIRE_VOTE_REQUEST;
    wire->flags = (uint8_t)((vote->disrupt_leader ? RAFT_WIRE_DISRUPT : 0) | (vote->pre_vote ? RAFT_WIRE_PRE_VOTE : 0));
    wire->term = vote->term;
    wire->index = vote->last_log_index;
    wire->index_term = vote->last_log_term;
    raft_peer_say(group, peer, wire);
}

static void send_vote_result(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                             struct raft_wire *wire)
{
    const struct raft_request_vote_result *result = &m->request_vote_result;
    wire->type = RAFT_WIRE_VOTE_RESULT;
    wire->flags =
        (uint8_t)((result->vote_granted ? RAFT_WIRE_GRANTED : 0) | (result->pre_vote ? RAFT_WIRE_PRE_VOTE : 0));
    wire->term = result->term;
    raft_peer_say(group, peer, wire);
}

static void send_append(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                        struct raft_wire *wire)
{
    const struct raft_append_entries *append = &m->append_entries;
    struct raft_stream *stream = raft_stream_of(group, wire->to);
    if (stream && stream->peer == peer)
        raft_stream_append(stream, append->prev_log_index, append->prev_log_term, append->n_entries);
}

static void send_append_result(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                               struct raft_wire *wire)
{
    const struct raft_append_entries_result *result = &m->append_entries_result;
    wire->type = RAFT_WIRE_APPEND_RESULT;
    wire->flags = raft_stand_flags(group->stand);
    wire->term = result->term;
    wire->rejected = result->rejected;
    wire->index = result->last_log_index;
    raft_peer_say(group, peer, wire);
}

/* The state does not travel through here: heartbeats tell the follower that it is behind, and it fetches a copy
 * (docs/raft.md, Re-seeding). */
static void send_snapshot(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                          struct raft_wire *wire)
{
    (void)peer;
    (void)m;
    struct raft_stream *stream = raft_stream_of(group, wire->to);
    if (stream)
        stream->behind = true;
}

static void send_timeout_now(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                             struct raft_wire *wire)
{
    wire->type = RAFT_WIRE_TIMEOUT_NOW;
    wire->term = m->timeout_now.term;
    wire->index = m->timeout_now.last_log_index;
    wire->index_term = m->timeout_now.last_log_term;
    raft_peer_say(group, peer, wire);
}

typedef void send_fn(struct raft_group *group, struct raft_peer *peer, const struct raft_message *m,
                     struct raft_wire *wire);
static send_fn *const senders[] = {
    [RAFT_APPEND_ENTRIES] = send_append,     [RAFT_APPEND_ENTRIES_RESULT] = send_append_result,
    [RAFT_REQUEST_VOTE] = send_vote_request, [RAFT_REQUEST_VOTE_RESULT] = send_vote_result,
    [RAFT_INSTALL_SNAPSHOT] = send_snapshot, [RAFT_TIMEOUT_NOW] = send_timeout_now,
};

static void take_message(struct raft_group *group, const struct raft_message *m)
{
    struct raft_node node;
    CQ_ASSERT((size_t)m->type < sizeof senders / sizeof *senders && senders[m->type]);
    if (m->server_id == 0 || !raft_node_parse(cq_slice_cstr(m->server_address), &node))
        return;
    struct raft_wire wire = {.group = group->owner.group, .from = group->owner.replica, .to = m->server_id};
    senders[m->type](group, raft_peer_get(group->host, &node), m, &wire);
}

/* ---- Commits ---- */

/* Configurations that are now committed go back to libraft. */
static void fire_configurations(struct raft_group *group)
{
    for (size_t i = 0; i < group->conf_count && !group->failed; i++) {
        const struct raft_conf_at *at = &group->confs[i];
        if (at->index <= group->conf_fired || at->index > group->commit)
            continue;
        group->conf_fired = at->index;
        struct raft_step step = {.event = {.type = RAFT_CONFIGURATION}};
        step.event.configuration.index = at->index;
        raft_conf_to_raft(&at->conf, &step.event.configuration.conf); /* libraft takes it */
        raft_group_step(group, &step);
    }
}

/* ---- All of it ---- */

static void take_update(struct raft_group *group, const struct raft_step *step, const struct raft_update *update)
{
    if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR))
        take_term(group);
    if (update->flags & (RAFT_UPDATE_ENTRIES))
        take_entries(group, step, update);
    if (group->failed)
        return;
    if (update->flags & (RAFT_UPDATE_STATE | RAFT_UPDATE_CURRENT_TERM))
        take_state(group);
    if (update->flags & (RAFT_UPDATE_MESSAGES)) {
        for (unsigned i = 0; i < update->messages.n; i++)
            take_message(group, &update->messages.batch[i]);
    }
    if (update->flags & (RAFT_UPDATE_SNAPSHOT))
        raft_group_fail(group, CQ_E_UNSUPPORTED, "libraft asks for a snapshot to be installed");
    if (update->flags & (RAFT_UPDATE_COMMIT_INDEX | RAFT_UPDATE_STATE))
        raft_commit_advance(group, raft_commit_index(&group->raft));
}

/* libraft's trail and our log must tell the same story: everything rests on it. */
static void check_agreement(struct raft_group *group)
{
    if (raft_last_index(&group->raft) != raft_log_last(&group->log) || group->raft.last_stored != group->stored)
        raft_group_fail(group, CQ_E_INTERNAL, "libraft's log and the host's are not the same");
}

int raft_group_step(struct raft_group *group, struct raft_step *step)
{
    struct raft_update update;
    if (group->failed)
        return RAFT_SHUTDOWN;
    step->event.time = group->host->now_ms;
    int rv = raft_step(&group->raft, &step->event, &update);
    raft_host_dirty(group);
    if (must_stop(rv))
        raft_group_fail(group, CQ_E_CORRUPT, raft_strerror(rv));
    if (rv)
        return rv;
    if (step->event.type == RAFT_PERSISTED_ENTRIES)
        group->stored = step->event.persisted_entries.index;
    take_update(group, step, &update);
    if (!group->failed)
        fire_configurations(group);
    if (!group->failed)
        check_agreement(group);
    group->timeout_ms = raft_timeout(&group->raft);
    return 0;
}
