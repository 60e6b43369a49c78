/* Another configuration of a group. libraft keeps what it knows of each member by its place, and makes that anew only
 * when the number of members changes: a change therefore adds one, removes one or gives one another role, and never
 * exchanges two. */
#include "raft_private.h"

#include "base/cq_assert.h"

static bool same_member(const struct raft_member *a, const struct raft_member *b)
{
    return a->replica == b->replica && raft_node_eq(&a->node, &b->node);
}

/* `longer` is `shorter` with one member more at any place, the others as they are. */
static bool is_one_more(const struct raft_member *longer, const struct raft_member *shorter, size_t count)
{
    size_t skipped = 0;
    for (size_t i = 0; i < count; i++) {
        if (!same_member(&longer[i + skipped], &shorter[i]) && skipped == 0)
            skipped = 1;
        if (!same_member(&longer[i + skipped], &shorter[i]) || longer[i + skipped].role != shorter[i].role)
            return false;
    }
    return true;
}

static bool is_other_role(const struct raft_member *a, const struct raft_member *b, size_t count)
{
    size_t changed = 0;
    for (size_t i = 0; i < count; i++) {
        if (!same_member(&a[i], &b[i]))
            return false;
        changed += a[i].role != b[i].role;
    }
    return changed == 1;
}

static bool is_one_change(const struct raft_conf *now, const struct raft_member *members, size_t count)
{
    if (count == now->count + 1)
        return is_one_more(members, now->members, now->count);
    if (count + 1 == now->count)
        return is_one_more(now->members, members, count);
    return count == now->count && is_other_role(members, now->members, count);
}

static bool has_voter(const struct raft_member *members, size_t count, uint64_t replica)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].replica == replica)
            return members[i].role == RAFT_MEMBER_VOTER;
    return false;
}

static struct raft_item *make_item(const struct raft_member *members, size_t count)
{
    struct cq_buf bytes;
    cq_buf_init(&bytes, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(members, count, &bytes);
    struct raft_bytes *shared = raft_bytes_copy(cq_buf_slice(&bytes));
    struct raft_item *item = raft_item_new(RAFT_KIND_CHANGE, shared, raft_bytes_slice(shared), NULL, 0);
    raft_bytes_unref(&shared);
    cq_buf_fini(&bytes);
    return item;
}

static enum cq_rc submit(struct raft_group *group, struct raft_item *item)
{
    struct raft_entry entry = {.term = raft_current_term(&group->raft),
                               .type = RAFT_CHANGE,
                               .buf = {(void *)(uintptr_t)item->entry.data, item->entry.len},
                               .batch = raft_malloc(1)};
    struct raft_step step = {.event = {.type = RAFT_SUBMIT}, .entries = &entry, .items = &item, .count = 1};
    void *batch = entry.batch;
    step.event.submit.entries = &entry;
    step.event.submit.n = 1;
    int rv = raft_group_step(group, &step);
    if (rv == 0)
        return CQ_OK;
    raft_free(batch); /* libraft does not keep what it refused */
    return group->failed ? CQ_E_UNAVAILABLE : rv == RAFT_CANTCHANGE ? CQ_E_CONFLICT : CQ_E_NOT_LEADER;
}

enum cq_rc raft_host_reconfigure(struct raft_host *host, uint32_t number, const struct raft_member *members,
                                 size_t count)
{
    struct raft_group *group = raft_host_find(host, number);
    if (!group || group->failed)
        return CQ_E_UNAVAILABLE;
    if (!raft_group_is_leader(group) || raft_transferee(&group->raft))
        return CQ_E_NOT_LEADER;
    const struct raft_conf *now = raft_group_conf(group);
    if (raft_conf_check(members, count, NULL) != CQ_OK || !is_one_change(now, members, count) ||
        !has_voter(members, count, group->owner.replica))
        return CQ_E_INVALID;
    if (!group->commit_known || group->confs[group->conf_count - 1].index > group->conf_fired)
        return CQ_E_CONFLICT;
    struct raft_item *item = make_item(members, count);
    enum cq_rc rc = submit(group, item);
    raft_item_unref(&item);
    return rc;
}

uint64_t raft_host_match(const struct raft_host *host, uint32_t number, uint64_t replica)
{
    const struct raft_group *group = raft_host_find(host, number);
    raft_index match = 0;
    if (!group || !raft_group_is_leader(group) || !raft_conf_find(raft_group_conf(group), replica))
        return 0;
    return raft_match_index(&group->raft, replica, &match) == 0 ? match : 0;
}
