/* Handing committed entries out, in order, no faster than they are applied, and only those that are durable here too: a
 * majority may have an entry before this replica's own disk, but its bodies are read from here. */
#include "raft_private.h"

#include "base/cq_assert.h"
#include "base/cq_planted.h"

#define LOAD_BYTES (4u << 20)

struct raft_item *raft_item_at(const struct raft_group *group, uint64_t index, const struct raft_load *loaded)
{
    const struct raft_log_entry *entry = raft_log_at(&group->log, index);
    if (!entry)
        return NULL;
    if (entry->item)
        return raft_item_ref(entry->item);
    if (loaded && index >= loaded->from && index - loaded->from < loaded->count) {
        const struct raft_loaded *l = &loaded->entries[index - loaded->from];
        return l->term == entry->term ? raft_item_ref(l->item) : NULL;
    }
    return entry->kind == RAFT_KIND_BARRIER ? raft_item_new(RAFT_KIND_BARRIER, NULL, CQ_SLICE_NONE, NULL, 0) : NULL;
}

void raft_commit_advance(struct raft_group *group, uint64_t commit)
{
    if (planted(PLANT_COMMIT_FALLS) && commit < group->commit)
        group->commit = group->delivered = commit;
    while (group->commit < commit) {
        const struct raft_log_entry *entry = raft_log_at(&group->log, ++group->commit);
        CQ_ASSERT(entry);
        if (entry->cookie)
            group->pending_bytes -= entry->size + entry->body_bytes;
    }
    if (group->lead_term && raft_log_term(&group->log, group->commit) == group->lead_term)
        group->commit_known = true;
}

/* What is committed will still be handed out with its cookie; of the rest nobody can say. */
void raft_commit_fail_pending(struct raft_group *group)
{
    for (uint64_t i = group->commit + 1; i <= raft_log_last(&group->log); i++) {
        struct raft_log_entry *entry = raft_log_at(&group->log, i);
        if (!entry || !entry->cookie)
            continue;
        const struct raft_told told = {
            .what = TOLD_PROPOSAL, .group = group->owner.group, .cookie = entry->cookie, .rc = CQ_E_UNKNOWN_OUTCOME};
        raft_host_tell(group->host, &told);
        entry->cookie = 0;
    }
    group->pending_bytes = 0;
}

static bool has_room(const struct raft_group *group)
{
    const struct raft_settings *settings = &group->host->settings;
    return group->delivered - group->applied < settings->apply_entries_max &&
           group->apply_bytes < settings->apply_bytes_max;
}

static uint64_t deliverable(const struct raft_group *group)
{
    return group->commit < group->stored || planted(PLANT_EARLY_HAND_OUT) ? group->commit : group->stored;
}

static void ask_load(struct raft_group *group)
{
    if (group->loading)
        return;
    raft_load_free(&group->loaded);
    group->loading = raft_load_new(&group->owner, 0, group->delivered + 1, deliverable(group), LOAD_BYTES);
    raft_host_ask_load(group->host, group->loading);
}

static void hand_out(struct raft_group *group, struct raft_log_entry *entry, const struct raft_item *item)
{
    const struct raft_output *output = &group->host->output;
    struct raft_commit commit = {
        .group = group->owner.group, .index = ++group->delivered, .term = entry->term, .cookie = entry->cookie};
    if (item && item->kind == RAFT_KIND_COMMAND) {
        commit.entry = item->entry;
        commit.owner = item->owner;
    }
    group->apply_bytes += entry->size;
    entry->cookie = 0;
    output->commit(output->ctx, &commit);
}

/* A silent replica's machine is not to be used: nobody is told more than that the outcome is not known. */
static void pass_over(struct raft_group *group)
{
    while (group->delivered < group->commit) {
        struct raft_log_entry *entry = raft_log_at(&group->log, ++group->delivered);
        if (!entry || !entry->cookie)
            continue;
        const struct raft_told told = {
            .what = TOLD_PROPOSAL, .group = group->owner.group, .cookie = entry->cookie, .rc = CQ_E_UNKNOWN_OUTCOME};
        raft_host_tell(group->host, &told);
        entry->cookie = 0;
    }
}

void raft_commit_deliver(struct raft_group *group)
{
    if (group->stand == RAFT_SILENT && !group->failed)
        pass_over(group);
    while (!group->failed && group->delivered < deliverable(group) && has_room(group)) {
        struct raft_log_entry *entry = raft_log_at(&group->log, group->delivered + 1);
        CQ_ASSERT(entry);
        struct raft_item *item = NULL;
        if (entry->kind == RAFT_KIND_COMMAND) {
            item = raft_item_at(group, group->delivered + 1, group->loaded);
            if (!item) {
                ask_load(group);
                return;
            }
        }
        hand_out(group, entry, item);
        raft_item_unref(&item);
    }
    if (group->delivered == group->commit)
        raft_load_free(&group->loaded);
}
