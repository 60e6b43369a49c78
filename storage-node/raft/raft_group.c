/* A group's life and its inputs: each becomes one event for libraft. */
#include "raft_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <stdlib.h>

/* ---- Life ---- */

static void configure(struct raft_group *group)
{
    const struct raft_settings *settings = &group->host->settings;
    struct raft *raft = &group->raft;
    raft_seed(raft, (unsigned)(group->host->random ^ (group->owner.group * UINT64_C(0x9e3779b97f4a7c15) >> 32)));
    raft_set_election_timeout(raft, settings->election_ms);
    raft_set_heartbeat_timeout(raft, settings->heartbeat_ms);
    raft_set_pre_vote(raft, true);
    raft_set_max_inflight_entries(raft, RAFT_APPEND_ENTRIES_MAX);
    raft_set_install_snapshot_timeout(raft, 60 * 60 * 1000);
}

struct raft_group *raft_group_new(struct raft_host *host, const struct raft_group_config *config)
{
    struct raft_group *group = cq_new(struct raft_group);
    group->host = host;
    group->owner = (struct raft_log_owner){config->group, config->replica, config->incarnation};
    cq_list_init(&group->dirty);
    cq_list_init(&group->parked);
    CQ_ASSERT(raft_init(&group->raft, NULL, NULL, config->replica, host->self_text) == 0);
    configure(group);
    return group;
}

void raft_group_free(struct raft_group **group)
{
    struct raft_group *g = *group;
    *group = NULL;
    if (!g)
        return;
    raft_streams_stop(g);
    cq_list_each_safe (&g->parked, link) {
        cq_list_remove(link);
        free(cq_list_entry(link, struct raft_parked, link));
    }
    cq_list_remove(&g->dirty);
    raft_load_free(&g->loaded);
    raft_close(&g->raft, NULL);
    raft_log_fini(&g->log);
    free(g->confs);
    free(g->reads);
    free(g);
}

void raft_group_fail(struct raft_group *group, enum cq_rc rc, const char *why)
{
    if (group->failed)
        return;
    group->failed = true;
    CQ_FAIL(&group->why, rc, "group %u: %s", group->owner.group, why);
    raft_streams_stop(group);
    raft_commit_fail_pending(group);
    raft_reads_fail(group, CQ_E_UNAVAILABLE);
    group->lead_term = 0;
    raft_host_dirty(group);
}

/* libraft's START event wants the terms of all entries and the octets of the configurations. */
static void start_event(const struct raft_boot *boot, const struct raft_log *log, struct raft_event *event,
                        struct raft_snapshot_metadata *metadata)
{
    *event = (struct raft_event){.type = RAFT_START};
    event->start.term = boot->term;
    event->start.voted_for = boot->vote;
    event->start.start_index = log->first;
    event->start.n_entries = (unsigned)log->count;
    struct raft_entry *entries = cq_calloc(log->count + 1, sizeof *entries);
    for (size_t i = 0; i < log->count; i++) {
        const struct raft_log_entry *entry = raft_log_at(log, log->first + i);
        entries[i].term = entry->term;
        entries[i].type = (enum raft_entry_type)entry->kind;
        if (entry->kind == RAFT_KIND_CHANGE)
            entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)entry->item->entry.data, entry->item->entry.len};
    }
    event->start.entries = entries;
    if (!boot->marker_conf)
        return;
    struct raft_conf conf;
    CQ_ASSERT(raft_conf_parse(raft_bytes_slice(boot->marker_conf), &conf, NULL) == CQ_OK); /* the boot checked it */
    metadata->index = log->marker_index;
    metadata->term = log->marker_term;
    metadata->configuration_index = boot->marker_conf_index;
    raft_conf_to_raft(&conf, &metadata->configuration);
    event->start.metadata = metadata;
}

static void take_confs(struct raft_group *group, const struct raft_boot *boot)
{
    if (boot->marker_conf)
        raft_group_add_conf(group, boot->marker_conf_index, raft_bytes_slice(boot->marker_conf));
    group->conf_fired = boot->marker_conf_index;
    for (uint64_t i = group->log.first; i <= raft_log_last(&group->log); i++) {
        const struct raft_log_entry *entry = raft_log_at(&group->log, i);
        if (entry->kind == RAFT_KIND_CHANGE && i > boot->marker_conf_index)
            raft_group_add_conf(group, i, entry->item->entry);
    }
}

static void start_step(struct raft_group *group, const struct raft_boot *boot)
{
    struct raft_snapshot_metadata metadata;
    struct raft_step step = {0};
    start_event(boot, &group->log, &step.event, &metadata);
    struct raft_entry *entries = step.event.start.entries;
    group->stored = raft_log_last(&group->log);
    int rv = raft_group_step(group, &step);
    if (rv && !group->failed)
        raft_group_fail(group, CQ_E_CORRUPT, raft_strerror(rv));
    free(entries);
}

/* What the last process wrote may be in the page cache only: before anything that rests on it leaves, one sync goes
 * behind it. */
static void fence_start(struct raft_group *group, const struct raft_boot *boot)
{
    struct raft_job *job = raft_host_job(group->host);
    raft_job_vote(job, &group->owner, boot->term, boot->vote);
    if (!planted(PLANT_NO_START_FENCE))
        group->fence = raft_job_number(job);
}

enum cq_rc raft_group_start(struct raft_group *group, const struct raft_group_config *config, struct raft_boot *boot,
                            struct cq_err *err)
{
    group->log = boot->log;
    boot->log = (struct raft_log){0};
    uint64_t applied = config->stand == RAFT_SILENT ? group->log.marker_index : config->applied;
    group->stand = config->stand;
    group->heard_ms = group->host->now_ms;
    if (applied > raft_log_last(&group->log) || applied < group->log.marker_index)
        return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: applied index %llu, but the log has %llu to %llu", config->group,
                       (unsigned long long)applied, (unsigned long long)group->log.first,
                       (unsigned long long)raft_log_last(&group->log));
    take_confs(group, boot);
    group->commit = group->delivered = group->applied = group->durable_applied = applied;
    if (boot->term)
        fence_start(group, boot);
    start_step(group, boot);
    if (!group->failed)
        return CQ_OK;
    if (err)
        *err = group->why;
    return group->why.rc;
}

/* ---- Looking ---- */

const struct raft_conf *raft_group_conf(const struct raft_group *group)
{
    return group->conf_count ? &group->confs[group->conf_count - 1].conf : NULL;
}

bool raft_group_is_leader(const struct raft_group *group)
{
    return !group->failed && group->lead_term != 0;
}

const struct raft_node *raft_group_leader(const struct raft_group *group)
{
    raft_id id = 0;
    const char *address = NULL;
    const struct raft_conf *conf = raft_group_conf(group);
    if (group->failed || !conf)
        return NULL;
    raft_leader((struct raft *)(uintptr_t)&group->raft, &id, &address); /* reads only */
    const struct raft_member *member = id ? raft_conf_find(conf, id) : NULL;
    return member ? &member->node : NULL;
}

/* ---- Time ---- */

static void fire_timeout(struct raft_group *group)
{
    struct raft_step step = {.event = {.type = RAFT_TIMEOUT}};
    raft_group_step(group, &step);
}

/* After the leader's process died, candidates that were refused because others had not noticed yet try again soon. */
static void hurry(struct raft_group *group)
{
    struct raft *raft = &group->raft;
    if (group->hint_until_ms <= group->host->now_ms || raft_state(raft) != RAFT_CANDIDATE ||
        !raft->candidate_state.in_pre_vote)
        return;
    raft->candidate_state.randomized_election_timeout = RAFT_HINT_STEP_MS / 2 + group->hint_rank * RAFT_HINT_STEP_MS;
    group->timeout_ms = raft_timeout(raft);
}

/* Votes may be given to others from now on. */
static void forget_leader(struct raft_group *group)
{
    struct raft *raft = &group->raft;
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
    raft->follower_state.current_leader.id = 0;
    raft->election_timer_start = group->host->now_ms;
}

/* A follower whose time has come, on a node that is in trouble: others first. */
static bool held_back(struct raft_group *group)
{
    struct raft *raft = &group->raft;
    if (!group->host->reluctant || raft_state(raft) != RAFT_FOLLOWER || ++group->held_back > RAFT_RELUCTANT_TIMES)
        return false;
    forget_leader(group);
    raft_host_dirty(group);
    group->timeout_ms = raft_timeout(raft);
    return group->timeout_ms > group->host->now_ms;
}

void raft_group_tick(struct raft_group *group)
{
    if (group->failed)
        return;
    if (group->host->now_ms >= group->timeout_ms && !raft_stand_waits(group) && !held_back(group)) {
        fire_timeout(group);
        hurry(group);
    }
    for (size_t i = 0; i < group->stream_count; i++)
        raft_stream_tick(&group->streams[i]);
    if (group->read_count)
        raft_reads_tick(group);
}

/* The place of this node behind the leader's, among the voters in the configuration's order; SIZE_MAX: no voter. */
static size_t rank_behind(const struct raft_group *group, const struct raft_conf *conf, uint64_t leader)
{
    size_t at = 0, rank = 0;
    while (at < conf->count && conf->members[at].replica != leader)
        at++;
    for (size_t i = 1; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[(at + i) % conf->count];
        if (member->role != RAFT_MEMBER_VOTER)
            continue;
        if (member->replica == group->owner.replica)
            return rank;
        rank++;
    }
    return SIZE_MAX;
}

/* RAFT.md's hint: forget the leader and let the designated next one's timer run out now. Always safe: it is only a
 * time-out that comes early. */
void raft_group_peer_gone(struct raft_group *group, const struct raft_node *node)
{
    struct raft *raft = &group->raft;
    const struct raft_node *leader = raft_group_leader(group);
    if (group->failed || raft_state(raft) != RAFT_FOLLOWER || !leader || !raft_node_eq(leader, node))
        return;
    size_t rank = rank_behind(group, raft_group_conf(group), raft->follower_state.current_leader.id);
    forget_leader(group); /* who does not stand votes for who does */
    raft_host_dirty(group);
    group->timeout_ms = raft_timeout(raft);
    if (rank == SIZE_MAX || group->host->reluctant || group->stand != RAFT_STANDS)
        return;
    raft->follower_state.randomized_election_timeout = (unsigned)(RAFT_TICK_MS + rank * RAFT_HINT_STEP_MS);
    group->hint_until_ms = group->host->now_ms + group->host->settings.election_ms;
    group->hint_rank = (uint32_t)rank;
    group->timeout_ms = raft_timeout(raft);
}

/* ---- Messages ---- */

static void to_vote_request(const struct raft_wire *wire, struct raft_message *m)
{
    m->type = RAFT_REQUEST_VOTE;
    m->request_vote = (struct raft_request_vote){
        .version = 2,
        .term = wire->term,
        .candidate_id = wire->from,
        .last_log_index = wire->index,
        .last_log_term = wire->index_term,
        .disrupt_leader = wire->flags & RAFT_WIRE_DISRUPT,
        .pre_vote = wire->flags & RAFT_WIRE_PRE_VOTE,
    };
}

/* The version is what libraft goes by: with 1, stale pre-votes would count as votes. */
static void to_vote_result(const struct raft_wire *wire, struct raft_message *m)
{
    m->type = RAFT_REQUEST_VOTE_RESULT;
    m->request_vote_result = (struct raft_request_vote_result){
        .version = planted(PLANT_STALE_PRE_VOTE) ? 1 : 2,
        .term = wire->term,
        .vote_granted = wire->flags & RAFT_WIRE_GRANTED,
        .pre_vote = wire->flags & RAFT_WIRE_PRE_VOTE,
    };
}

static void to_append(const struct raft_wire *wire, struct raft_message *m)
{
    m->type = RAFT_APPEND_ENTRIES;
    m->append_entries = (struct raft_append_entries){
        .version = 0,
        .term = wire->term,
        .prev_log_index = wire->index,
        .prev_log_term = wire->index_term,
        .leader_commit = wire->commit,
    };
}

static void to_append_result(const struct raft_wire *wire, struct raft_message *m)
{
    m->type = RAFT_APPEND_ENTRIES_RESULT;
    m->append_entries_result = (struct raft_append_entries_result){
        .version = 2, .term = wire->term, .rejected = wire->rejected, .last_log_index = wire->index};
}

static void to_timeout_now(const struct raft_wire *wire, struct raft_message *m)
{
    m->type = RAFT_TIMEOUT_NOW;
    m->timeout_now = (struct raft_timeout_now){
        .version = 0, .term = wire->term, .last_log_index = wire->index, .last_log_term = wire->index_term};
}

static void (*const converters[RAFT_WIRE_TYPE_END])(const struct raft_wire *, struct raft_message *) = {
    [RAFT_WIRE_VOTE_REQUEST] = to_vote_request,
    [RAFT_WIRE_VOTE_RESULT] = to_vote_result,
    [RAFT_WIRE_APPEND] = to_append,
    [RAFT_WIRE_APPEND_RESULT] = to_append_result,
    [RAFT_WIRE_TIMEOUT_NOW] = to_timeout_now,
};

static void step_message(struct raft_group *group, struct raft_peer *from, struct raft_wire *wire,
                         struct raft_message *m)
{
    struct raft_step step = {.event = {.type = RAFT_RECEIVE}};
    m->server_id = wire->from;
    m->server_address = from->text;
    step.event.receive.message = m;
    raft_group_step(group, &step);
}

static struct raft_server *own_server(struct raft_group *group)
{
    struct raft_configuration *conf = &group->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++)
        if (conf->servers[i].id == group->owner.replica)
            return &conf->servers[i];
    return NULL;
}

/* libraft lets nobody vote whom his own latest configuration gives no vote. But the candidate's configuration says
 * whose votes count, and that one may be another: who has just been given a vote and has not heard of it must vote, or
 * nobody can win when the leader dies in that moment. Term, log and the vote that was given are judged as ever, and a
 * vote that does not count in the candidate's configuration is not counted. */
static void step_vote_request(struct raft_group *group, struct raft_peer *from, struct raft_wire *wire,
                              struct raft_message *m)
{
    struct raft_server *self = own_server(group);
    int role = self ? self->role : RAFT_VOTER;
    if (self)
        self->role = RAFT_VOTER;
    step_message(group, from, wire, m);
    self = own_server(group);
    if (self)
        self->role = role;
}

/* libraft frees the first entry's batch unless it hands it back; nothing is in it. */
static void step_append(struct raft_group *group, struct raft_peer *from, struct raft_wire *wire,
                        struct raft_message *m)
{
    struct raft_step step = {.event = {.type = RAFT_RECEIVE}, .count = wire->count};
    struct raft_entry *entries = cq_calloc(wire->count, sizeof *entries);
    struct raft_item **items = cq_calloc(wire->count, sizeof(struct raft_item *));
    void *batch = raft_malloc(1);
    for (uint32_t i = 0; i < wire->count; i++) {
        struct raft_item *item = wire->entries[i].item;
        items[i] = item;
        entries[i].term = wire->entries[i].term;
        entries[i].type = (enum raft_entry_type)item->kind;
        entries[i].batch = batch;
        if (item->kind == RAFT_KIND_CHANGE)
            entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)item->entry.data, item->entry.len};
    }
    step.entries = entries;
    step.items = items;
    m->append_entries.entries = entries;
    m->append_entries.n_entries = wire->count;
    m->server_id = wire->from;
    m->server_address = from->text;
    step.event.receive.message = m;
    raft_group_step(group, &step);
    free(items);
    free(entries);
}

/* Is it for this replica, and from the node where the sender lives? A sender that our configuration does not know may
 * be right: ours may be old. */
static bool is_addressed(const struct raft_group *group, const struct raft_peer *from, const struct raft_wire *wire)
{
    const struct raft_conf *conf = raft_group_conf(group);
    const struct raft_member *sender = conf ? raft_conf_find(conf, wire->from) : NULL;
    return wire->to == group->owner.replica && wire->from != wire->to &&
           (!sender || raft_node_eq(&sender->node, &from->node));
}

/* What a member that is behind refuses would make libraft send the log from its beginning again, with every heartbeat.
 * It learns that the member is there, and no more, except now and then: what the log has may have changed. */
static void mask_refusal(struct raft_stream *stream, struct raft_wire *wire)
{
    const struct raft_host *host = stream->group->host;
    if (!stream->behind || !wire->rejected)
        return;
    bool in_log = wire->index + 1 >= stream->group->log.first;
    if (in_log && host->now_ms - stream->unmasked_ms >= host->settings.election_ms)
        stream->unmasked_ms = host->now_ms;
    else
        wire->rejected = UINT64_MAX; /* stale, as libraft sees it */
}

static void note_result(struct raft_group *group, struct raft_wire *wire)
{
    struct raft_stream *stream = raft_stream_of(group, wire->from);
    if (!stream || !raft_group_is_leader(group) || wire->term != group->lead_term)
        return;
    stream->stand = raft_stand_of_flags(wire->flags);
    raft_stream_result(stream, wire);
    mask_refusal(stream, wire);
}

/* What stands before the marker is committed, so a leader that is not a deposed one has the same: the message is taken
 * from there on. A replica that was re-seeded has nothing before its marker, whatever the leader's begins with. */
static void skip_committed(const struct raft_group *group, struct raft_wire *wire)
{
    const struct raft_log *log = &group->log;
    if (wire->index >= log->marker_index || raft_log_term(log, wire->index))
        return;
    uint64_t known = log->marker_index - wire->index;
    uint32_t skip = known < wire->count ? (uint32_t)known : wire->count;
    wire->entries += skip;
    wire->count -= skip;
    wire->index = log->marker_index;
    wire->index_term = log->marker_term;
}

static void note_behind(struct raft_group *group, const struct raft_wire *wire)
{
    bool fits = wire->index == 0 || raft_log_term(&group->log, wire->index) == wire->index_term;
    if (!(wire->flags & RAFT_WIRE_BEHIND) || wire->term < raft_current_term(&group->raft) || fits)
        return; /* or the leader has not heard yet that it is here again */
    group->behind = true;
    raft_host_dirty(group);
}

static void note_append(struct raft_group *group, struct raft_wire *wire)
{
    group->held_back = 0;
    if (wire->floor > group->floor)
        group->floor = wire->floor;
    if (wire->term >= raft_current_term(&group->raft))
        group->heard_ms = group->host->now_ms;
    skip_committed(group, wire);
    note_behind(group, wire);
}

/* libraft's own refusal of an AppendEntries of an older term leaves last_log_index as it finds it on the stack, and
 * with a previous index of 0 it reads like a success. So it does not see them: this is the answer that it means. */
static bool refuse_old_append(struct raft_group *group, struct raft_peer *from, const struct raft_wire *wire)
{
    uint64_t term = raft_current_term(&group->raft), last = raft_log_last(&group->log);
    if (wire->type != RAFT_WIRE_APPEND || wire->term >= term)
        return false;
    struct raft_wire answer = {.type = RAFT_WIRE_APPEND_RESULT,
                               .group = group->owner.group,
                               .from = group->owner.replica,
                               .to = wire->from,
                               .term = term,
                               .rejected = wire->index ? wire->index : 1};
    answer.index = last < answer.rejected ? last : answer.rejected - 1;
    raft_peer_say(group, from, &answer);
    return true;
}

/* libraft asks whether it is in its pre-vote phase before it asks whether it is a candidate at all; a follower has an
 * octet of a pointer there, and for some pointers a late pre-vote would raise its term and depose the leader. */
static bool is_late_vote(struct raft_group *group, const struct raft_wire *wire)
{
    return wire->type == RAFT_WIRE_VOTE_RESULT && raft_state(&group->raft) != RAFT_CANDIDATE;
}

/* libraft denies a pre-vote of an older term with that term, so the candidate never learns of the newer one. */
static bool refuse_old_pre_vote(struct raft_group *group, struct raft_peer *from, const struct raft_wire *wire)
{
    uint64_t term = raft_current_term(&group->raft);
    if (wire->type != RAFT_WIRE_VOTE_REQUEST || !(wire->flags & RAFT_WIRE_PRE_VOTE) || wire->term >= term)
        return false;
    const struct raft_wire answer = {.type = RAFT_WIRE_VOTE_RESULT,
                                     .flags = RAFT_WIRE_PRE_VOTE,
                                     .group = group->owner.group,
                                     .from = group->owner.replica,
                                     .to = wire->from,
                                     .term = term};
    raft_peer_say(group, from, &answer);
    return true;
}

/* A denied pre-vote may tell that the others are far ahead in terms. A candidate with the longest log would ask in vain
 * until somebody else stands. Hearing of a term is enough to be in it: it is taken as a
 * request that this replica cannot grant. */
static void catch_up_term(struct raft_group *group, struct raft_wire *wire)
{
    bool denied =
        wire->type == RAFT_WIRE_VOTE_RESULT && (wire->flags & RAFT_WIRE_PRE_VOTE) && !(wire->flags & RAFT_WIRE_GRANTED);
    if (!denied || wire->term <= raft_current_term(&group->raft) + 1 || raft_state(&group->raft) != RAFT_CANDIDATE)
        return;
    wire->type = RAFT_WIRE_VOTE_REQUEST;
    wire->flags = RAFT_WIRE_DISRUPT;
    wire->index = wire->index_term = 0;
}

void raft_group_receive(struct raft_group *group, struct raft_peer *from, const struct raft_wire *received)
{
    struct raft_message m = {0};
    struct raft_wire copy = *received, *wire = &copy; /* the frame's own is released as it came */
    catch_up_term(group, wire);
    if (group->failed || !is_addressed(group, from, wire) || refuse_old_append(group, from, wire) ||
        refuse_old_pre_vote(group, from, wire) || is_late_vote(group, wire) ||
        (wire->type == RAFT_WIRE_TIMEOUT_NOW && group->stand == RAFT_SILENT))
        return;
    if (wire->type == RAFT_WIRE_APPEND && wire->count && group->host->full)
        return; /* dropped, as a network may */
    if (wire->type == RAFT_WIRE_TIMEOUT_NOW && group->host->reluctant)
        return; /* the leader gives up by itself, and leads on */
    if (wire->type == RAFT_WIRE_APPEND_RESULT)
        note_result(group, wire);
    if (wire->type == RAFT_WIRE_APPEND)
        note_append(group, wire);
    converters[wire->type](wire, &m);
    if (wire->type == RAFT_WIRE_APPEND && wire->count)
        step_append(group, from, wire, &m);
    else if (wire->type == RAFT_WIRE_VOTE_REQUEST)
        step_vote_request(group, from, wire, &m);
    else
        step_message(group, from, wire, &m);
}

/* ---- Proposals ---- */

enum cq_rc raft_group_propose(struct raft_group *group, struct raft_item *item, uint64_t cookie)
{
    if (!raft_group_is_leader(group) || group->stand == RAFT_SILENT || raft_transferee(&group->raft))
        return CQ_E_NOT_LEADER;
    if (group->pending_bytes + raft_item_size(item) > group->host->settings.pending_bytes_max)
        return CQ_E_OVERLOADED;
    struct raft_entry entry = {.term = raft_current_term(&group->raft), .type = RAFT_COMMAND, .batch = raft_malloc(1)};
    struct raft_step step = {
        .event = {.type = RAFT_SUBMIT}, .entries = &entry, .items = &item, .count = 1, .cookie = cookie};
    void *batch = entry.batch;
    step.event.submit.entries = &entry;
    step.event.submit.n = 1;
    int rv = raft_group_step(group, &step);
    if (rv == 0)
        return CQ_OK;
    raft_free(batch); /* libraft does not keep what it refused */
    return group->failed ? CQ_E_UNAVAILABLE : CQ_E_NOT_LEADER;
}

enum cq_rc raft_group_transfer(struct raft_group *group, uint64_t replica)
{
    struct raft_step step = {.event = {.type = RAFT_TRANSFER}};
    step.event.transfer.server_id = replica;
    if (!raft_group_is_leader(group))
        return CQ_E_NOT_LEADER;
    int rv = raft_group_step(group, &step);
    return rv == 0 ? CQ_OK : rv == RAFT_NOTLEADER ? CQ_E_NOT_LEADER : CQ_E_NOT_FOUND;
}

/* ---- What has become durable ---- */

/* Entries that were overwritten meanwhile carry a later job's number: only what still stands counts. */
void raft_group_persisted(struct raft_group *group)
{
    uint64_t last = raft_log_last(&group->log), stored = group->stored;
    while (stored < last && raft_log_at(&group->log, stored + 1)->job <= group->host->durable_job)
        stored++;
    if (stored > group->stored) {
        struct raft_step step = {.event = {.type = RAFT_PERSISTED_ENTRIES}};
        step.event.persisted_entries.index = stored;
        raft_group_step(group, &step);
    }
    if (!group->failed && group->fence <= group->host->durable_job)
        raft_peer_unpark(group);
    if (group->trim_job && group->trim_job <= group->host->durable_job)
        raft_trim_durable(group);
}
