/* The host: its tables of groups and peers, the inputs, and the flush. */
#include "raft_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <stdlib.h>

void raft_settings_default(struct raft_settings *settings_r)
{
    *settings_r = (struct raft_settings){
        .election_ms = 1000,
        .heartbeat_ms = 100,
        .read_timeout_ms = 1000,
        .pending_bytes_max = 32u << 20,
        .window_bytes = 1u << 20,
        .window_bytes_max = 16u << 20,
        .cache_bytes_max = 64u << 20,
        .apply_bytes_max = 16u << 20,
        .apply_entries_max = 4096,
        .trim_entries = 4096,
        .trim_keep = 64,
    };
}

/* ---- Life ---- */

static void set_now(struct raft_host *host, uint64_t now_us)
{
    if (now_us <= host->now_us)
        return; /* libraft's arithmetic needs a clock that never falls */
    host->now_us = now_us;
    host->now_ms = now_us / 1000;
}

struct raft_host *raft_host_new(const struct raft_node *self, const struct raft_settings *settings,
                                const struct raft_output *output, uint64_t random, uint64_t now_us)
{
    struct raft_host *host = cq_new(struct raft_host);
    host->self = *self;
    raft_node_text(self, host->self_text);
    host->settings = *settings;
    host->output = *output;
    host->random = random;
    host->next_job = 1;
    host->pool = cq_pool_new(4096);
    cq_list_init(&host->dirty);
    raft_wire_out_init(&host->append);
    set_now(host, now_us);
    return host;
}

void raft_host_free(struct raft_host **host)
{
    struct raft_host *h = *host;
    *host = NULL;
    if (!h)
        return;
    for (size_t i = 0; i < h->group_count; i++)
        raft_group_free(&h->groups[i]);
    for (size_t i = 0; i < h->peer_count; i++)
        raft_peer_free(&h->peers[i]);
    for (size_t i = 0; i < h->load_count; i++)
        raft_load_free(&h->loads[i]);
    raft_job_free(&h->job);
    raft_wire_out_fini(&h->append);
    cq_pool_free(&h->pool);
    free(h->groups);
    free(h->peers);
    free(h->told);
    free(h->loads);
    free(h);
}

/* ---- Groups ---- */

/* Where the group is, or would stand. */
static size_t group_place(const struct raft_host *host, uint32_t group)
{
    size_t low = 0, high = host->group_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (host->groups[middle]->owner.group < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct raft_group *raft_host_find(const struct raft_host *host, uint32_t group)
{
    size_t at = group_place(host, group);
    return at < host->group_count && host->groups[at]->owner.group == group ? host->groups[at] : NULL;
}

static void group_insert(struct raft_host *host, struct raft_group *group)
{
    size_t at = group_place(host, group->owner.group);
    if (host->group_count == host->group_cap) {
        host->group_cap = host->group_cap ? host->group_cap * 2 : 16;
        host->groups = cq_realloc(host->groups, host->group_cap * sizeof(struct raft_group *));
    }
    memmove(host->groups + at + 1, host->groups + at, (host->group_count - at) * sizeof(struct raft_group *));
    host->groups[at] = group;
    host->group_count++;
}

enum cq_rc raft_host_add(struct raft_host *host, const struct raft_group_config *config, struct raft_boot **boot,
                         struct cq_err *err)
{
    if (raft_host_find(host, config->group))
        return CQ_FAIL(err, CQ_E_EXISTS, "group %u is here already", config->group);
    struct raft_boot *mine = boot ? *boot : NULL;
    if (boot)
        *boot = NULL;
    if (!mine) {
        mine = cq_new(struct raft_boot);
        raft_log_init(&mine->log, 1, 0, 0);
    }
    struct raft_group *group = raft_group_new(host, config);
    enum cq_rc rc = raft_group_start(group, config, mine, err);
    raft_boot_free(&mine);
    if (rc != CQ_OK) {
        raft_group_free(&group);
        return rc;
    }
    group_insert(host, group);
    raft_host_dirty(group);
    return CQ_OK;
}

void raft_host_remove(struct raft_host *host, uint32_t number)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group)
        return;
    raft_commit_fail_pending(group);
    raft_reads_fail(group, CQ_E_UNAVAILABLE);
    size_t at = group_place(host, number);
    host->group_count--;
    memmove(host->groups + at, host->groups + at + 1, (host->group_count - at) * sizeof(struct raft_group *));
    raft_group_free(&group);
}

void raft_host_dirty(struct raft_group *group)
{
    if (cq_list_empty(&group->dirty))
        cq_list_push_back(&group->host->dirty, &group->dirty);
}

/* ---- What outputs are made of ---- */

struct raft_job *raft_host_job(struct raft_host *host)
{
    if (!host->job)
        host->job = raft_job_new(host->next_job++);
    return host->job;
}

void raft_host_tell(struct raft_host *host, const struct raft_told *told)
{
    if (host->told_count == host->told_cap) {
        host->told_cap = host->told_cap ? host->told_cap * 2 : 32;
        host->told = cq_realloc(host->told, host->told_cap * sizeof *host->told);
    }
    host->told[host->told_count++] = *told;
}

void raft_host_ask_load(struct raft_host *host, struct raft_load *load)
{
    if (host->load_count == host->load_cap) {
        host->load_cap = host->load_cap ? host->load_cap * 2 : 8;
        host->loads = cq_realloc(host->loads, host->load_cap * sizeof(struct raft_load *));
    }
    host->loads[host->load_count++] = load;
}

/* ---- Inputs ---- */

/* Lets go of the oldest octets in memory that are durable and handed out, group by group, until they fit. */
static void evict(struct raft_host *host)
{
    uint64_t bytes = 0;
    size_t idle = 0;
    for (size_t i = 0; i < host->group_count; i++)
        bytes += host->groups[i]->log.cached_bytes;
    while (bytes > host->settings.cache_bytes_max && idle < host->group_count) {
        struct raft_group *group = host->groups[host->evict_at++ % host->group_count];
        uint64_t limit = (group->stored < group->delivered ? group->stored : group->delivered) + 1;
        uint64_t before = group->log.cached_bytes;
        idle = raft_log_evict(&group->log, limit) ? 0 : idle + 1;
        bytes -= before - group->log.cached_bytes;
    }
}

void raft_host_tick(struct raft_host *host, uint64_t now_us)
{
    set_now(host, now_us);
    for (size_t i = 0; i < host->group_count; i++)
        raft_group_tick(host->groups[i]);
    for (size_t i = 0; i < host->peer_count; i++)
        raft_peer_window_tick(host, host->peers[i]);
    evict(host);
}

static uint64_t group_next_ms(const struct raft_group *group)
{
    uint64_t next = group->failed ? UINT64_MAX : group->timeout_ms;
    uint64_t reads = group->host->now_ms + group->host->settings.heartbeat_ms; /* for its time-out */
    uint64_t again = raft_reads_ask_again_ms(group);
    next = group->read_count && reads < next ? reads : next;
    return again < next ? again : next;
}

uint64_t raft_host_next_us(const struct raft_host *host)
{
    uint64_t next = host->now_ms + 1000;
    for (size_t i = 0; i < host->group_count; i++) {
        uint64_t ms = group_next_ms(host->groups[i]);
        if (ms < next)
            next = ms;
    }
    if (next <= host->now_ms)
        next = host->now_ms + 1;
    return (next + RAFT_TICK_MS - 1) / RAFT_TICK_MS * RAFT_TICK_MS * 1000;
}

static void dispatch(struct raft_host *host, struct raft_peer *from, struct raft_wire *message)
{
    struct raft_group *group;
    switch (message->type) {
    case RAFT_WIRE_CONFIRM:
        raft_read_question(host, from, message);
        break;
    case RAFT_WIRE_CONFIRM_RESULT:
        raft_read_answer(host, from, message);
        break;
    default:
        group = raft_host_find(host, message->group);
        if (group)
            raft_group_receive(group, from, message);
    }
}

enum cq_rc raft_host_receive(struct raft_host *host, const struct raft_node *from, struct raft_bytes *frame,
                             struct cq_err *err)
{
    struct raft_wire_in in;
    enum cq_rc rc = raft_wire_decode(frame, host->pool, &in, err);
    if (rc == CQ_OK) {
        struct raft_peer *peer = raft_peer_get(host, from);
        for (size_t i = 0; i < in.count; i++)
            dispatch(host, peer, &in.messages[i]);
        raft_wire_release(&in);
    }
    cq_pool_clear(host->pool);
    return rc;
}

void raft_host_peer_connected(struct raft_host *host, const struct raft_node *node)
{
    raft_peer_get(host, node)->connected = true;
}

void raft_host_peer_gone(struct raft_host *host, const struct raft_node *node, bool planned)
{
    struct raft_peer *peer = raft_peer_get(host, node);
    peer->connected = false;
    raft_wire_out_reset(&peer->control);
    for (size_t i = 0; i < host->group_count; i++) {
        struct raft_group *group = host->groups[i];
        for (size_t j = 0; j < group->stream_count; j++) {
            if (group->streams[j].peer == peer)
                raft_stream_lost(&group->streams[j]);
        }
        if (!planned)
            raft_group_peer_gone(group, node);
    }
}

static void durable_until(struct raft_host *host, uint64_t job)
{
    host->durable_job = job;
    for (size_t i = 0; i < host->group_count; i++) {
        if (!host->groups[i]->failed)
            raft_group_persisted(host->groups[i]);
    }
}

void raft_host_persisted(struct raft_host *host, struct raft_job *job)
{
    uint64_t number = raft_job_number(job);
    raft_job_free(&job);
    if (planted(PLANT_ACK_BEFORE_SYNC))
        return;
    CQ_ASSERT(number == host->durable_job + 1);
    durable_until(host, number);
}

/* Nobody may wait for it any more: the group has gone, stepped down, or asked again. */
static bool loaded_taken(struct raft_group *group, struct raft_load *load)
{
    if (group->loading == load) {
        group->loading = NULL;
        raft_load_free(&group->loaded);
        group->loaded = load;
        raft_host_dirty(group);
        return true;
    }
    for (size_t i = 0; i < group->stream_count; i++) {
        if (group->streams[i].loading != load)
            continue;
        raft_stream_loaded(&group->streams[i], load);
        return true;
    }
    return false;
}

void raft_host_loaded(struct raft_host *host, struct raft_load *load)
{
    struct raft_group *group = raft_host_find(host, load->owner.group);
    if (group && !group->failed && load->rc != CQ_OK)
        raft_group_fail(group, load->rc, load->err.text);
    if (group && load->damaged) {
        group->damaged = true;
        raft_host_dirty(group);
    }
    if (!group || group->failed || !loaded_taken(group, load))
        raft_load_free(&load);
}

enum cq_rc raft_host_propose(struct raft_host *host, const struct raft_proposal *proposal)
{
    struct raft_group *group = raft_host_find(host, proposal->group);
    CQ_ASSERT(proposal->cookie != 0);
    if (!group || group->failed)
        return CQ_E_UNAVAILABLE;
    if (!raft_group_is_leader(group))
        return CQ_E_NOT_LEADER;
    struct raft_item *item =
        raft_item_new(RAFT_KIND_COMMAND, proposal->owner, proposal->entry, proposal->bodies, proposal->body_count);
    enum cq_rc rc =
        raft_item_check(item, false, NULL) == CQ_OK ? raft_group_propose(group, item, proposal->cookie) : CQ_E_INVALID;
    raft_item_unref(&item);
    return rc;
}

enum cq_rc raft_host_read(struct raft_host *host, uint32_t number, uint64_t cookie)
{
    struct raft_group *group = raft_host_find(host, number);
    return group ? raft_read_add(group, cookie) : CQ_E_UNAVAILABLE;
}

void raft_host_applied(struct raft_host *host, uint32_t number, uint64_t index)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group)
        return;
    CQ_ASSERT(index <= group->delivered);
    while (group->applied < index) {
        const struct raft_log_entry *entry = raft_log_at(&group->log, ++group->applied);
        group->apply_bytes -= entry->size;
    }
    raft_host_dirty(group);
}

void raft_host_durable_applied(struct raft_host *host, uint32_t number, uint64_t index)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group || index <= group->durable_applied)
        return;
    if (index > group->applied)
        raft_host_applied(host, number, index);
    group->durable_applied = index;
    raft_host_dirty(group);
}

enum cq_rc raft_host_transfer(struct raft_host *host, uint32_t number, const struct raft_node *to)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group || !raft_group_is_leader(group))
        return CQ_E_NOT_LEADER;
    uint64_t replica = raft_stand_successor(group, to);
    return replica ? raft_group_transfer(group, replica) : CQ_E_NOT_FOUND;
}

void raft_host_reluctant(struct raft_host *host, bool reluctant)
{
    host->reluctant = reluctant;
}

void raft_host_full(struct raft_host *host, bool full)
{
    host->full = full;
}

/* Groups that have enough for the new number need not wait for their next entry. */
void raft_host_trim_at(struct raft_host *host, uint32_t entries, uint32_t keep)
{
    if (host->settings.trim_entries == entries && host->settings.trim_keep == keep)
        return;
    host->settings.trim_entries = entries;
    host->settings.trim_keep = keep;
    for (size_t i = 0; i < host->group_count; i++)
        raft_host_dirty(host->groups[i]);
}

void raft_host_silence(struct raft_host *host, uint32_t number)
{
    struct raft_group *group = raft_host_find(host, number);
    if (group && raft_group_is_leader(group))
        group->silent_term = group->lead_term;
}

/* ---- The flush ---- */

static void tell_role(struct raft_host *host, struct raft_group *group)
{
    static const enum raft_group_role roles[] = {[RAFT_FOLLOWER] = RAFT_GROUP_FOLLOWER,
                                                 [RAFT_CANDIDATE] = RAFT_GROUP_CANDIDATE,
                                                 [RAFT_LEADER] = RAFT_GROUP_LEADER};
    raft_id leader = 0;
    const char *address;
    enum raft_group_role role = roles[raft_state(&group->raft)];
    raft_leader(&group->raft, &leader, &address);
    if (group->told_role == role && group->told_term == raft_current_term(&group->raft) && group->told_leader == leader)
        return;
    group->told_role = role;
    group->told_term = raft_current_term(&group->raft);
    group->told_leader = leader;
    const struct raft_role_change change = {group->owner.group, role, group->told_term, raft_group_leader(group)};
    host->output.role_changed(host->output.ctx, &change);
}

static void tell_group(struct raft_host *host, struct raft_group *group)
{
    if (group->failed) {
        if (!group->fail_told)
            host->output.group_failed(host->output.ctx, group->owner.group, &group->why);
        group->fail_told = true;
        return;
    }
    tell_role(host, group);
    if (!group->trimmed_told)
        host->output.trimmed(host->output.ctx, group->owner.group, group->log.first);
    group->trimmed_told = true;
    if (group->behind && host->output.behind)
        host->output.behind(host->output.ctx, group->owner.group);
    if (group->damaged && host->output.damaged)
        host->output.damaged(host->output.ctx, group->owner.group);
    group->behind = group->damaged = false;
}

static void tell_one(struct raft_host *host, const struct raft_told *told)
{
    const struct raft_output *out = &host->output;
    const struct raft_group *group = raft_host_find(host, told->group);
    const struct raft_node *leader = group ? raft_group_leader(group) : NULL;
    if (told->what == TOLD_PROPOSAL)
        out->proposal_failed(out->ctx, told->group, told->cookie, told->rc, leader);
    else if (told->rc == CQ_OK)
        out->read_ready(out->ctx, told->group, told->cookie, told->index);
    else
        out->read_failed(out->ctx, told->group, told->cookie, told->rc, leader);
}

static void flush_persist(struct raft_host *host)
{
    struct raft_job *job = host->job;
    host->job = NULL;
    if (!job)
        return;
    uint64_t number = raft_job_number(job);
    host->output.persist(host->output.ctx, job);
    if (planted(PLANT_ACK_BEFORE_SYNC))
        durable_until(host, number);
}

static void flush_frames(struct raft_host *host)
{
    for (size_t i = 0; i < host->peer_count; i++) {
        raft_peer_flush_control(host, host->peers[i]);
        raft_peer_flush_append(host, host->peers[i]);
    }
}

static void flush_groups(struct raft_host *host)
{
    struct cq_list *link;
    while ((link = cq_list_first(&host->dirty))) {
        struct raft_group *group = cq_list_entry(link, struct raft_group, dirty);
        cq_list_remove(link);
        raft_commit_deliver(group);
        tell_group(host, group);
    }
}

static void flush_told(struct raft_host *host)
{
    for (size_t i = 0; i < host->told_count; i++)
        tell_one(host, &host->told[i]);
    host->told_count = 0;
}

static void flush_loads(struct raft_host *host)
{
    for (size_t i = 0; i < host->load_count; i++)
        host->output.load(host->output.ctx, host->loads[i]);
    host->load_count = 0;
}

void raft_host_flush(struct raft_host *host)
{
    cq_list_each (&host->dirty, link) {
        struct raft_group *group = cq_list_entry(link, struct raft_group, dirty);
        raft_trim_consider(group);
        raft_reads_check(group);
    }
    raft_reads_ask(host);
    flush_persist(host);
    flush_frames(host);
    flush_groups(host);
    flush_told(host);
    flush_loads(host);
}

/* ---- Looking ---- */

static void leader_status(const struct raft_group *group, struct raft_group_status *status)
{
    for (size_t i = 0; i < group->stream_count; i++) {
        raft_index match = 0;
        raft_match_index(&group->raft, group->streams[i].replica, &match);
        uint64_t lag = raft_log_last(&group->log) - match;
        if (match <= raft_log_last(&group->log) && lag > status->slowest_lag) {
            status->slowest_lag = lag;
            status->slowest_lag_bytes = raft_log_bytes_after(&group->log, match);
        }
        status->behind += group->streams[i].behind;
    }
}

enum cq_rc raft_host_status(const struct raft_host *host, uint32_t number, struct raft_group_status *status_r)
{
    const struct raft_group *group = raft_host_find(host, number);
    if (!group)
        return CQ_E_NOT_FOUND;
    *status_r = (struct raft_group_status){
        .role = group->told_role,
        .failed = group->failed,
        .term = raft_current_term(&group->raft),
        .replica = group->owner.replica,
        .first_index = group->log.first,
        .last_index = raft_log_last(&group->log),
        .stored_index = group->stored,
        .commit_index = group->commit,
        .floor = group->floor,
        .pending_bytes = group->pending_bytes,
        .stand = group->stand,
        .conf_committed = group->conf_count && group->confs[group->conf_count - 1].index <= group->conf_fired,
        .log_bytes = raft_log_bytes_after(&group->log, 0),
        .holds = (uint32_t)group->hold_count,
    };
    status_r->has_leader = raft_host_leader(host, number, &status_r->leader);
    if (raft_group_is_leader(group))
        leader_status(group, status_r);
    return CQ_OK;
}

bool raft_host_leader(const struct raft_host *host, uint32_t number, struct raft_node *leader_r)
{
    const struct raft_group *group = raft_host_find(host, number);
    const struct raft_node *leader = group ? raft_group_leader(group) : NULL;
    if (leader)
        *leader_r = *leader;
    return leader != NULL;
}

size_t raft_host_members(const struct raft_host *host, uint32_t number, struct raft_member *members_r, size_t max)
{
    const struct raft_group *group = raft_host_find(host, number);
    const struct raft_conf *conf = group ? raft_group_conf(group) : NULL;
    for (size_t i = 0; conf && i < conf->count && i < max; i++)
        members_r[i] = conf->members[i];
    return conf ? conf->count : 0;
}
