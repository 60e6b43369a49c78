/* For whom the log is kept: the floor that a leader tells, members that are too far behind, and holds for replicas that
 * are being re-seeded.
 *
 * A leader keeps its log for its slowest member, but not for ever: one that lacks more than the settings allow, or has
 * taken nothing for longer, is left to re-seeding, so that one dead node does not fill the disks of the others. */
#include "raft_private.h"

static bool is_over(uint64_t value, uint64_t max)
{
    return max && value > max;
}

/* Notes when the member last took something. */
static void look_at(struct raft_stream *stream, uint64_t match)
{
    const struct raft_group *group = stream->group;
    if (match > stream->match || match >= raft_log_last(&group->log))
        stream->taken_ms = group->host->now_ms;
    if (match > stream->match)
        stream->match = match;
}

static bool is_left_behind(const struct raft_stream *stream, uint64_t match)
{
    const struct raft_group *group = stream->group;
    const struct raft_settings *settings = &group->host->settings;
    uint64_t last = raft_log_last(&group->log);
    return stream->behind || (match < last && is_over(last - match, settings->keep_entries)) ||
           is_over(raft_log_bytes_after(&group->log, match), settings->keep_bytes) ||
           (match < last && is_over(group->host->now_ms - stream->taken_ms, settings->keep_ms));
}

void raft_floor_update(struct raft_group *group)
{
    if (!raft_group_is_leader(group))
        return;
    uint64_t floor = group->stored < group->commit ? group->stored : group->commit;
    for (size_t i = 0; i < group->stream_count; i++) {
        struct raft_stream *stream = &group->streams[i];
        raft_index match = 0;
        raft_match_index(&group->raft, stream->replica, &match);
        look_at(stream, match);
        if (match < floor && !is_left_behind(stream, match))
            floor = match;
    }
    floor = raft_keep_limit(group, floor);
    if (floor > group->floor)
        group->floor = floor;
}

/* ---- Holds ---- */

/* A member that has the entry is served from the log again: the floor sees to it. */
static bool has_joined(const struct raft_group *group, const struct raft_hold *hold)
{
    raft_index match = 0;
    return raft_conf_find(raft_group_conf(group), hold->replica) && raft_group_is_leader(group) &&
           raft_match_index(&group->raft, hold->replica, &match) == 0 && match >= hold->index;
}

uint64_t raft_keep_limit(struct raft_group *group, uint64_t index)
{
    for (size_t i = 0; i < group->hold_count;) {
        const struct raft_hold *hold = &group->holds[i];
        if (has_joined(group, hold)) {
            group->holds[i] = group->holds[--group->hold_count];
            continue;
        }
        if (hold->index < index)
            index = hold->index;
        i++;
    }
    return index;
}

static struct raft_hold *find_hold(struct raft_group *group, uint64_t replica)
{
    for (size_t i = 0; i < group->hold_count; i++)
        if (group->holds[i].replica == replica)
            return &group->holds[i];
    return NULL;
}

enum cq_rc raft_host_hold(struct raft_host *host, uint32_t number, uint64_t replica, uint64_t index)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group || group->failed)
        return CQ_E_UNAVAILABLE;
    if (!raft_group_is_leader(group))
        return CQ_E_NOT_LEADER;
    uint64_t first = group->trim_job ? group->trim_first : group->log.first;
    if (index + 1 < first || index > group->commit)
        return CQ_E_BEHIND;
    struct raft_hold *hold = find_hold(group, replica);
    if (!hold && group->hold_count == RAFT_MEMBERS_MAX)
        return CQ_E_LIMIT;
    if (!hold)
        hold = &group->holds[group->hold_count++];
    *hold = (struct raft_hold){replica, index};
    return CQ_OK;
}

void raft_host_release(struct raft_host *host, uint32_t number, uint64_t replica)
{
    struct raft_group *group = raft_host_find(host, number);
    struct raft_hold *hold = group ? find_hold(group, replica) : NULL;
    if (!hold)
        return;
    *hold = group->holds[--group->hold_count];
    raft_host_dirty(group);
}

size_t raft_host_conf_at(const struct raft_host *host, uint32_t number, uint64_t index, uint64_t *conf_index_r,
                         struct raft_member *members_r, size_t max)
{
    const struct raft_group *group = raft_host_find(host, number);
    const struct raft_conf_at *at = group ? raft_conf_at(group, index) : NULL;
    if (!at || index < group->log.marker_index || index > group->commit)
        return 0;
    for (size_t i = 0; i < at->conf.count && i < max; i++)
        members_r[i] = at->conf.members[i];
    *conf_index_r = at->index;
    return at->conf.count;
}
