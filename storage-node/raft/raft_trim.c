/* Forgetting the beginning of the log: a marker says what stood before it. Never past the floor, which the leader's
 * heartbeats carry (raft_keep.c says what it is), never past what this replica's state has durably applied. */
#include "raft_private.h"

#include "base/cq_planted.h"

/* The configuration that was in force at index. */
const struct raft_conf_at *raft_conf_at(const struct raft_group *group, uint64_t index)
{
    const struct raft_conf_at *found = NULL;
    for (size_t i = 0; i < group->conf_count && group->confs[i].index <= index; i++)
        found = &group->confs[i];
    return found;
}

void raft_trim_consider(struct raft_group *group)
{
    const struct raft_settings *settings = &group->host->settings;
    uint64_t index = group->durable_applied;
    if (group->failed || group->keep_log || group->stand == RAFT_SILENT || group->trim_job ||
        index < group->log.marker_index + settings->trim_entries)
        return;
    raft_floor_update(group);
    if (group->floor < index && !planted(PLANT_TRIM_IGNORES_FLOOR))
        index = group->floor;
    index = raft_keep_limit(group, index);
    const struct raft_conf_at *conf = raft_conf_at(group, index);
    if (!conf || index < group->log.marker_index + settings->trim_entries || index <= settings->trim_keep)
        return;
    struct cq_buf bytes;
    cq_buf_init(&bytes, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(conf->conf.members, conf->conf.count, &bytes);
    const struct raft_marker marker = {index, raft_log_term(&group->log, index), conf->index, cq_buf_slice(&bytes)};
    uint64_t first = index - settings->trim_keep + 1;
    if (first < group->log.first)
        first = group->log.first;
    struct raft_job *job = raft_host_job(group->host);
    raft_job_trim(job, &group->owner, &marker, group->log.first, first);
    group->trim_job = raft_job_number(job);
    group->trim_index = index;
    group->trim_first = first;
    cq_buf_fini(&bytes);
}

void raft_trim_durable(struct raft_group *group)
{
    struct raft_step step = {.event = {.type = RAFT_SNAPSHOT}};
    const struct raft_conf_at *conf = raft_conf_at(group, group->trim_index);
    uint64_t index = group->trim_index;
    step.event.snapshot.metadata.index = index;
    step.event.snapshot.metadata.term = raft_log_term(&group->log, index);
    step.event.snapshot.metadata.configuration_index = conf->index;
    raft_conf_to_raft(&conf->conf, &step.event.snapshot.metadata.configuration); /* libraft takes it */
    step.event.snapshot.trailing = (unsigned)(index - group->trim_first + 1);
    group->log.marker_index = index;
    group->log.marker_term = step.event.snapshot.metadata.term;
    group->trim_job = 0;
    raft_group_step(group, &step);
    raft_log_trim(&group->log, group->trim_first);
    group->trimmed_told = false;
    while (group->conf_count > 1 && group->confs[1].index <= index) {
        group->conf_count--;
        memmove(group->confs, group->confs + 1, group->conf_count * sizeof *group->confs);
    }
    raft_host_dirty(group);
}
