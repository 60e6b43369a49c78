/* How far a group's members are, for who changes them or hands leadership over. */
#include "raft_private.h"

static void fill(const struct raft_group *group, const struct raft_member *member, struct raft_progress *out)
{
    const struct raft_peer *peer = raft_peer_find(group->host, &member->node);
    raft_index match = 0;
    *out = (struct raft_progress){.member = *member, .self = member->replica == group->owner.replica};
    out->connected = out->self || (peer && peer->connected);
    if (out->self)
        out->match = group->stored;
    else if (raft_match_index(&group->raft, member->replica, &match) == 0)
        out->match = match;
    for (size_t i = 0; i < group->stream_count; i++)
        out->behind |= group->streams[i].replica == member->replica && group->streams[i].behind;
}

size_t raft_host_progress(const struct raft_host *host, uint32_t number, struct raft_progress *progress_r, size_t max)
{
    const struct raft_group *group = raft_host_find(host, number);
    if (!group || !raft_group_is_leader(group))
        return 0;
    const struct raft_conf *conf = raft_group_conf(group);
    for (size_t i = 0; i < conf->count && i < max; i++)
        fill(group, &conf->members[i], &progress_r[i]);
    return conf->count;
}

bool raft_progress_has_majority(const struct raft_progress *progress, size_t count, uint64_t last, uint64_t near)
{
    size_t voters = 0, well = 0;
    for (size_t i = 0; i < count; i++) {
        const struct raft_progress *p = &progress[i];
        if (p->member.role != RAFT_MEMBER_VOTER)
            continue;
        voters++;
        well += p->connected && !p->behind && p->match > 0 && p->match + near >= last;
    }
    return well > voters / 2;
}
