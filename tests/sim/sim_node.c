/* A node: the Raft host, and what the server's threads do around it (writer, apply, loads), as events. */
#include "sim_cluster.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "node/replica_record.h"
#include "reseed/reseed_record.h"
#include "state/mail_machine.h"
#include "store/store_mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- Names and clocks ---- */

uint64_t sim_replica(unsigned group, unsigned node)
{
    return 1000 + group * 10 + node;
}

/* With fewer replicas than nodes, each group is elsewhere. */
bool sim_has_first_replica(const struct sim *sim, unsigned group, unsigned node)
{
    unsigned nodes = sim->options.nodes, count = sim->options.replicas ? sim->options.replicas : nodes;
    return (node + nodes - group % nodes) % nodes < count;
}

uint64_t sim_incarnation(unsigned group)
{
    return 7000 + group;
}

struct sim_node *sim_node_of(struct sim *sim, const struct raft_node *id)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (raft_node_eq(&sim->nodes[i]->id, id))
            return sim->nodes[i];
    }
    return NULL;
}

uint64_t sim_node_clock(const struct sim_node *node)
{
    int64_t now = (int64_t)node->sim->now;
    return (uint64_t)(now + now / 1000000 * node->clock_ppm) + node->clock_offset;
}

uint64_t sim_node_wall(const struct sim_node *node)
{
    return UINT64_C(1800000000000000) + (uint64_t)((int64_t)node->sim->now + node->wall_offset);
}

/* ---- Ticks ---- */

static void tick(struct sim *sim, void *arg, uint64_t at, uint64_t b)
{
    struct sim_node *node = arg;
    (void)sim, (void)b;
    if (at != node->tick_at)
        return; /* an earlier one was planned meanwhile */
    node->tick_at = UINT64_MAX;
    sim_node_turn(node);
}

static void plan_tick(struct sim_node *node)
{
    uint64_t clock = sim_node_clock(node), next = raft_host_next_us(node->host);
    uint64_t at = node->sim->now + (next > clock ? next - clock : 1);
    if (at >= node->tick_at)
        return;
    node->tick_at = at;
    sim_at_node(node->sim, node, at - node->sim->now, tick, node, NULL, at, 0);
}

void sim_node_turn(struct sim_node *node)
{
    if (node->sim->failures)
        return;
    raft_host_tick(node->host, sim_node_clock(node));
    raft_host_flush(node->host);
    sim_check_turn(node);
    plan_tick(node);
}

/* ---- The writer: one batch of everything that waits, one sync ---- */

static void write_start(struct sim_node *node);

static void write_free(struct sim_write *write)
{
    raft_job_free(&write->job); /* effects of a dead process go with its machine */
    store_batch_free(&write->page);
}

static bool has_job(const struct sim_write *writes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (writes[i].job || writes[i].sync)
            return true;
    }
    return false;
}

static void effects_done(struct sim_node *node, struct sim_write *write)
{
    struct sim_group *group = &node->groups[write->group];
    group->machine->ops->effects_written(group->machine, write->effects);
    group->written_applied = write->applied;
}

static void page_done(struct sim_node *node, struct sim_write *write)
{
    store_batch_free(&write->page);
    sim_at_node(node->sim, node, 1, write->written, node, NULL, write->a, write->b);
}

static void writes_done(struct sim *sim, void *arg, uint64_t synced, uint64_t b)
{
    struct sim_node *node = arg;
    (void)b;
    if (synced)
        store_mem_sync(node->store);
    for (size_t i = 0; i < node->writing_count; i++) {
        if (node->writing[i].effects)
            effects_done(node, &node->writing[i]);
        if (node->writing[i].page)
            page_done(node, &node->writing[i]);
    }
    for (size_t i = 0; i < node->writing_count; i++) {
        if (node->writing[i].job)
            raft_host_persisted(node->host, node->writing[i].job);
    }
    for (unsigned g = 0; synced && g < sim->options.groups; g++)
        if (sim_group_works(node, g))
            raft_host_durable_applied(node->host, g + 1, node->groups[g].written_applied);
    free(node->writing);
    node->writing = NULL;
    node->writing_count = 0;
    write_start(node);
    sim_node_turn(node);
}

/* Chunks that nothing refers to and that no follower can need any more, and their marks. */
static void remove_bodies(struct sim_node *node, const struct sim_write *write, struct store_batch *batch)
{
    uint8_t from[DEAD_CHUNK_KEY_SIZE], to[DEAD_CHUNK_KEY_SIZE], key[CHUNK_KEY_SIZE];
    struct chunk_id id;
    uint32_t group;
    dead_chunk_range(write->group + 1, write->bodies_before, from, to);
    struct store_iter *iter =
        store_iter_new(node->store, NULL, STORE_LOCAL, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
    while (store_iter_next(iter) == CQ_OK) {
        CQ_ASSERT(dead_chunk_parse(store_iter_key(iter), &group, &id));
        chunk_key(&id, key);
        store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
        store_batch_delete(batch, STORE_LOCAL, store_iter_key(iter));
    }
    store_iter_free(&iter);
}

static void write_encode(struct sim_node *node, const struct sim_write *write, struct store_batch *batch)
{
    if (write->job)
        raft_job_encode(write->job, batch);
    if (write->effects)
        node->groups[write->group].machine->ops->effects_encode(write->effects, batch);
    if (write->bodies_before)
        remove_bodies(node, write, batch);
    if (write->page)
        store_batch_replay(write->page, batch);
}

static void write_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->writing || !node->write_count)
        return;
    struct store_batch *batch = store_batch_new(node->store);
    for (size_t i = 0; i < node->write_count; i++)
        write_encode(node, &node->writes[i], batch);
    CQ_ASSERT(store_write(node->store, batch, false, NULL) == CQ_OK);
    store_batch_free(&batch);
    node->writing = node->writes;
    node->writing_count = node->write_count;
    node->writes = NULL;
    node->write_count = node->write_cap = 0;
    bool sync = has_job(node->writing, node->writing_count);
    uint64_t takes = sync ? sim_between(sim, 100, 100 + node->sync_us) : 20;
    sim_at_node(sim, node, takes, writes_done, node, NULL, sync, 0);
}

static void write_add(struct sim_node *node, struct sim_write write)
{
    if (node->write_count == node->write_cap) {
        node->write_cap = node->write_cap ? node->write_cap * 2 : 8;
        node->writes = cq_realloc(node->writes, node->write_cap * sizeof *node->writes);
    }
    node->writes[node->write_count++] = write;
    write_start(node);
}

void sim_node_write(struct sim_node *node, struct store_batch *page, bool sync, sim_fire_fn *written, uint64_t a,
                    uint64_t b)
{
    write_add(node, (struct sim_write){.page = page, .sync = sync, .written = written, .a = a, .b = b});
}

/* ---- Who waits for what ---- */

static uint64_t waiting_add(struct sim_node *node, sim_done_fn *done, void *arg, void (*drop)(void *arg))
{
    if (node->waiting_count == node->waiting_cap) {
        node->waiting_cap = node->waiting_cap ? node->waiting_cap * 2 : 16;
        node->waiting = cq_realloc(node->waiting, node->waiting_cap * sizeof *node->waiting);
    }
    uint64_t cookie = node->sim->next_cookie++;
    node->waiting[node->waiting_count++] = (struct sim_waiting){cookie, done, arg, drop};
    return cookie;
}

static bool waiting_take(struct sim_node *node, uint64_t cookie, struct sim_waiting *waiting_r)
{
    for (size_t i = 0; i < node->waiting_count; i++) {
        if (node->waiting[i].cookie != cookie)
            continue;
        *waiting_r = node->waiting[i];
        node->waiting[i] = node->waiting[--node->waiting_count];
        return true;
    }
    return false;
}

static void answer(struct sim_node *node, uint64_t cookie, enum cq_rc rc, uint64_t index,
                   const struct machine_outcome *outcome)
{
    struct sim_waiting waiting;
    if (!waiting_take(node, cookie, &waiting))
        sim_fail(node->sim, "n%u: cookie %llu is answered, but nobody waits", node->index, (unsigned long long)cookie);
    else
        waiting.done(node->sim, node, waiting.arg, rc, index, outcome);
}

/* ---- Apply ---- */

static void apply_plan(struct sim_node *node, unsigned g);

bool sim_group_works(const struct sim_node *node, unsigned g)
{
    const struct sim_group *group = &node->groups[g];
    return group->machine && !group->detached && !group->suspect;
}

static void serve_reads(struct sim_node *node, struct sim_group *group)
{
    uint64_t applied = group->machine->ops->applied(group->machine);
    size_t kept = 0;
    for (size_t i = 0; i < group->read_count; i++) {
        struct sim_read_waiting read = group->reads[i];
        if (read.index > applied)
            group->reads[kept++] = read;
        else
            answer(node, read.cookie, CQ_OK, applied, NULL);
    }
    group->read_count = kept;
}

static void apply_one(struct sim_node *node, struct sim_group *group, const struct raft_commit *commit)
{
    struct machine *machine = group->machine;
    struct cq_pool *pool = cq_pool_new(4096);
    struct machine_outcome outcome = {0};
    if (commit->index > machine->ops->applied(machine)) {
        machine->ops->apply(machine, (struct machine_position){commit->index, commit->term}, commit->entry, pool,
                            &outcome);
        if (machine->ops->applied(machine) != commit->index)
            sim_fail(node->sim, "n%u: group %u stands at %llu after applying %llu (%s)", node->index, commit->group,
                     (unsigned long long)machine->ops->applied(machine), (unsigned long long)commit->index,
                     cq_rc_name(machine->ops->health(machine)));
        sim_check_outcome(node, commit, &outcome);
        node->sim->app->applied(node->sim, node, commit, &outcome);
    }
    if (commit->cookie)
        answer(node, commit->cookie, CQ_OK, commit->index, &outcome);
    cq_pool_free(&pool);
}

static void apply(struct sim *sim, void *arg, uint64_t g, uint64_t b)
{
    struct sim_node *node = arg;
    struct sim_group *group = &node->groups[g];
    size_t count = group->queue_count < 16 ? group->queue_count : 16;
    (void)sim, (void)b;
    group->applying = false;
    if (!sim_group_works(node, (unsigned)g))
        return;
    for (size_t i = 0; i < count; i++) {
        apply_one(node, group, &group->queue[i]);
        raft_bytes_unref(&group->queue[i].owner);
    }
    group->queue_count -= count;
    if (group->queue_count)
        memmove(group->queue, group->queue + count, group->queue_count * sizeof *group->queue);
    uint64_t applied = group->machine->ops->applied(group->machine);
    raft_host_applied(node->host, group->group, applied);
    struct machine_effects *effects = group->machine->ops->effects_take(group->machine);
    if (effects)
        write_add(node, (struct sim_write){.effects = effects, .group = (unsigned)g, .applied = applied});
    serve_reads(node, group);
    apply_plan(node, (unsigned)g);
    sim_node_turn(node);
}

static void apply_plan(struct sim_node *node, unsigned g)
{
    struct sim_group *group = &node->groups[g];
    if (group->applying || !sim_group_works(node, g) || (!group->queue_count && !group->read_count))
        return;
    group->applying = true;
    sim_at_node(node->sim, node, sim_between(node->sim, 10, 100), apply, node, NULL, g, 0);
}

/* ---- The host's outputs ---- */

static struct sim_group *group_of(struct sim_node *node, uint32_t group)
{
    return &node->groups[group - 1];
}

static void out_send(void *ctx, const struct raft_node *to, enum raft_channel channel, const struct raft_frame *frame)
{
    sim_net_send(ctx, to, channel, frame);
}

static void out_persist(void *ctx, struct raft_job *job)
{
    write_add(ctx, (struct sim_write){.job = job});
}

static void load_free(void *arg)
{
    struct raft_load *load = arg;
    raft_load_free(&load);
}

static void load_run(struct sim *sim, void *arg, uint64_t index, uint64_t b)
{
    struct sim_node *node = sim->nodes[index];
    (void)b;
    raft_load_run(arg, node->store);
    raft_host_loaded(node->host, arg);
    sim_node_turn(node);
}

static void out_load(void *ctx, struct raft_load *load)
{
    struct sim_node *node = ctx;
    sim_at_node(node->sim, node, sim_between(node->sim, 50, 2000), load_run, load, load_free, node->index, 0);
}

static void out_commit(void *ctx, const struct raft_commit *commit)
{
    struct sim_node *node = ctx;
    struct sim_group *group = group_of(node, commit->group);
    sim_check_commit(node, commit);
    if (group->queue_count == group->queue_cap) {
        group->queue_cap = group->queue_cap ? group->queue_cap * 2 : 16;
        group->queue = cq_realloc(group->queue, group->queue_cap * sizeof *group->queue);
    }
    group->queue[group->queue_count] = *commit;
    raft_bytes_ref(commit->owner);
    group->queue_count++;
    apply_plan(node, commit->group - 1);
}

static void failed_later(struct sim *sim, void *arg, uint64_t cookie, uint64_t rc)
{
    (void)sim;
    answer(arg, cookie, (enum cq_rc)rc, 0, NULL);
}

static void out_proposal_failed(void *ctx, uint32_t group, uint64_t cookie, enum cq_rc rc,
                                const struct raft_node *leader)
{
    struct sim_node *node = ctx;
    (void)group, (void)leader;
    sim_at_node(node->sim, node, 1, failed_later, node, NULL, cookie, rc);
}

static void out_read_ready(void *ctx, uint32_t number, uint64_t cookie, uint64_t index)
{
    struct sim_node *node = ctx;
    struct sim_group *group = group_of(node, number);
    if (group->read_count == group->read_cap) {
        group->read_cap = group->read_cap ? group->read_cap * 2 : 16;
        group->reads = cq_realloc(group->reads, group->read_cap * sizeof *group->reads);
    }
    group->reads[group->read_count++] = (struct sim_read_waiting){cookie, index};
    apply_plan(node, number - 1);
}

static void out_role_changed(void *ctx, const struct raft_role_change *change)
{
    struct sim_node *node = ctx;
    static const char *const names[] = {"follower", "candidate", "leader"};
    sim_trace(node->sim, "n%u: group %u: %s of term %llu", node->index, change->group, names[change->role],
              (unsigned long long)change->term);
    sim_check_role(node, change);
}

static void out_trimmed(void *ctx, uint32_t group, uint64_t first_index)
{
    struct sim_node *node = ctx;
    group_of(node, group)->first_index = first_index;
    write_add(node, (struct sim_write){.group = group - 1, .bodies_before = first_index});
}

static void out_damaged(void *ctx, uint32_t group)
{
    group_of(ctx, group)->damaged++;
}

static void out_behind(void *ctx, uint32_t group)
{
    group_of(ctx, group)->behind++;
}

static void out_group_failed(void *ctx, uint32_t group, const struct cq_err *why)
{
    struct sim_node *node = ctx;
    sim_fail(node->sim, "n%u: replica of group %u stopped: %s", node->index, group, why->text);
}

/* ---- Starting and ending ---- */

static void bootstrap_group(struct sim_node *node, unsigned g, struct store_batch *batch)
{
    struct sim *sim = node->sim;
    struct raft_member members[SIM_NODES_MAX];
    const struct replica_record record = {g + 1, 1, sim_replica(g, node->index), sim_incarnation(g)};
    unsigned count = 0;
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (!sim_has_first_replica(sim, g, i))
            continue;
        members[count] = (struct raft_member){.replica = sim_replica(g, i), .role = RAFT_MEMBER_VOTER};
        members[count++].node.uuid[15] = (uint8_t)(i + 1);
    }
    CQ_ASSERT(raft_boot_write(batch, g + 1, record.replica, members, count, NULL) == CQ_OK);
    replica_record_put(batch, &record);
}

static void bootstrap(struct sim_node *node)
{
    struct store_batch *batch = store_batch_new(node->store);
    for (unsigned g = 0; g < node->sim->options.groups; g++)
        if (sim_has_first_replica(node->sim, g, node->index))
            bootstrap_group(node, g, batch);
    CQ_ASSERT(store_write(node->store, batch, true, NULL) == CQ_OK);
    store_batch_free(&batch);
}

void sim_node_new(struct sim *sim, unsigned index)
{
    struct sim_node *node = cq_new(struct sim_node);
    node->sim = sim;
    node->index = index;
    node->id.uuid[15] = (uint8_t)(index + 1);
    node->store = store_mem_new();
    node->clock_offset = sim_between(sim, 0, 1000 * SIM_S);
    node->clock_ppm = (int32_t)sim_between(sim, 0, 400) - 200;
    node->wall_offset = (int64_t)sim_between(sim, 0, 2 * SIM_S);
    node->sync_us = 800;
    node->tick_at = UINT64_MAX;
    sim->nodes[index] = node;
    bootstrap(node);
}

/* The replica's record; *suspect_r: an unfinished re-seeding says that its state is not to be used. */
static bool find_record(const struct sim_node *node, unsigned g, struct replica_record *record_r, bool *suspect_r)
{
    struct replica_record records[SIM_GROUPS_MAX];
    struct reseed_record reseed;
    size_t count = 0;
    CQ_ASSERT(replica_records_read(node->store, records, SIM_GROUPS_MAX, &count, NULL) == CQ_OK);
    *suspect_r = reseed_record_read(node->store, g + 1, &reseed, NULL) == CQ_OK && reseed.phase != RESEED_CLEANUP &&
                 reseed.suspect == SUSPECT_STATE;
    for (size_t i = 0; i < count; i++) {
        if (records[i].group != g + 1)
            continue;
        *record_r = records[i];
        return true;
    }
    return false;
}

static bool open_machine(struct sim_node *node, struct sim_group *group)
{
    const struct machine_config config = {.store = node->store,
                                          .group = group->group,
                                          .generation = group->generation,
                                          .incarnation = group->incarnation};
    struct cq_err err = {0};
    if (group->suspect || node->sim->app->open(&config, &group->machine, &err) == CQ_OK)
        return true;
    sim_fail(node->sim, "n%u: group %u: the machine does not open: %s", node->index, group->group, err.text);
    return false;
}

static void join_host(struct sim_node *node, struct sim_group *group)
{
    struct raft_boot *boot = NULL;
    struct cq_err err = {0};
    const struct raft_group_config config = {.group = group->group,
                                             .replica = group->replica,
                                             .incarnation = group->incarnation,
                                             .applied =
                                                 group->machine ? group->machine->ops->applied(group->machine) : 0,
                                             .stand = group->suspect ? RAFT_SILENT : RAFT_STANDS};
    group->written_applied = config.applied;
    if (raft_boot_read(node->store, group->group, group->replica, &boot, &err) != CQ_OK)
        sim_fail(node->sim, "n%u: group %u: the log does not open: %s", node->index, group->group, err.text);
    else if (raft_host_add(node->host, &config, &boot, &err) != CQ_OK)
        sim_fail(node->sim, "n%u: group %u does not start: %s", node->index, group->group, err.text);
    else
        sim_check_joined(node, group->group - 1);
}

void sim_group_open(struct sim_node *node, unsigned g)
{
    struct sim_group *group = &node->groups[g];
    struct replica_record record;
    bool suspect;
    *group = (struct sim_group){.group = g + 1, .first_index = 1};
    if (!find_record(node, g, &record, &suspect))
        return;
    group->replica = record.replica;
    group->generation = record.generation;
    group->incarnation = record.incarnation;
    group->suspect =
        suspect || (node->sim->cluster && node->sim->cluster->damaged[g][node->index] == record.generation);
    sim_check_opened(node, g);
    if (open_machine(node, group))
        join_host(node, group);
}

void sim_node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct raft_settings settings;
    const struct raft_output output = {
        .ctx = node,
        .send = out_send,
        .persist = out_persist,
        .load = out_load,
        .commit = out_commit,
        .proposal_failed = out_proposal_failed,
        .read_ready = out_read_ready,
        .read_failed = out_proposal_failed,
        .role_changed = out_role_changed,
        .trimmed = out_trimmed,
        .behind = out_behind,
        .damaged = out_damaged,
        .group_failed = out_group_failed,
    };
    raft_settings_default(&settings);
    settings.trim_entries = 64; /* little, so that a run sees all of it */
    settings.trim_keep = 8;
    settings.cache_bytes_max = 64u << 10;
    settings.apply_entries_max = 64;
    settings.keep_entries = sim->options.keep_entries;
    node->life++;
    node->paused_until = 0;
    node->tick_at = UINT64_MAX;
    node->host = raft_host_new(&node->id, &settings, &output, cq_prng_next(&sim->prng), sim_node_clock(node));
    sim_trace(sim, "n%u: starts", node->index);
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++)
        sim_group_open(node, g);
    if (!sim->failures)
        sim_node_turn(node);
    sim_net_node_up(sim, node->index);
    if (sim->cluster)
        sim_places_start(node);
}

static void group_close(struct sim_group *group)
{
    for (size_t i = 0; i < group->queue_count; i++)
        raft_bytes_unref(&group->queue[i].owner);
    free(group->queue);
    free(group->reads);
    if (group->machine)
        group->machine->ops->close(group->machine);
    *group = (struct sim_group){0};
}

static void fail_later(struct sim_node *node, uint64_t cookie, enum cq_rc rc)
{
    if (cookie)
        sim_at_node(node->sim, node, 1, failed_later, node, NULL, cookie, rc);
}

/* Whoever waits for what is not applied here any more is told. */
static void drop_queue(struct sim_node *node, struct sim_group *group)
{
    for (size_t i = 0; i < group->queue_count; i++) {
        fail_later(node, group->queue[i].cookie, CQ_E_UNKNOWN_OUTCOME);
        raft_bytes_unref(&group->queue[i].owner);
    }
    for (size_t i = 0; i < group->read_count; i++)
        fail_later(node, group->reads[i].cookie, CQ_E_UNAVAILABLE);
    group->queue_count = group->read_count = 0;
}

void sim_group_take_out(struct sim_node *node, unsigned g)
{
    struct sim_group *group = &node->groups[g];
    sim_check_left(node, g);
    raft_host_remove(node->host, group->group);
    group->detached = true;
    group->role = RAFT_GROUP_FOLLOWER;
    drop_queue(node, group);
    sim_node_turn(node);
}

void sim_group_close(struct sim_node *node, unsigned g)
{
    group_close(&node->groups[g]);
    node->groups[g].group = g + 1;
}

/* The machine is closed when its effects have been written. */
static void machine_goes(struct sim *sim, void *arg, uint64_t g, uint64_t b)
{
    struct sim_node *node = arg;
    struct sim_group *group = &node->groups[g];
    (void)sim, (void)b;
    if (group->machine && group->suspect && !group->detached) {
        group->machine->ops->close(group->machine);
        group->machine = NULL;
        group->detached = false;
    }
}

void sim_group_distrust(struct sim_node *node, unsigned g)
{
    struct sim_group *group = &node->groups[g];
    group->suspect = true;
    raft_host_stand(node->host, group->group, RAFT_SILENT);
    drop_queue(node, group);
    sim_node_write(node, store_batch_recorder_new(), false, machine_goes, g, 0);
    sim_node_turn(node);
}

/* Everything that only the process knew. */
static void process_end(struct sim_node *node)
{
    if (node->places)
        sim_places_end(node);
    node->life++;
    raft_host_free(&node->host);
    for (size_t i = 0; i < node->writing_count; i++)
        write_free(&node->writing[i]);
    for (size_t i = 0; i < node->write_count; i++)
        write_free(&node->writes[i]);
    for (size_t i = 0; i < node->waiting_count; i++) {
        if (node->waiting[i].drop)
            node->waiting[i].drop(node->waiting[i].arg);
    }
    free(node->writing);
    free(node->writes);
    node->writing = node->writes = NULL;
    node->writing_count = node->write_count = node->write_cap = node->waiting_count = 0;
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        group_close(&node->groups[g]);
}

void sim_node_crash(struct sim_node *node, bool power)
{
    struct sim *sim = node->sim;
    if (!sim_node_up(node))
        return;
    process_end(node);
    size_t unsynced = store_mem_unsynced(node->store);
    size_t keep = power ? (size_t)sim_between(sim, 0, unsynced) : unsynced;
    if (power)
        store_mem_crash(node->store, keep);
    sim_trace(sim, "n%u: %s, %zu of %zu unsynced batches stay", node->index, power ? "loses power" : "is killed", keep,
              unsynced);
    sim_net_node_down(sim, node->index);
}

void sim_node_wipe(struct sim_node *node)
{
    CQ_ASSERT(!sim_node_up(node));
    store_close(&node->store);
    node->store = store_mem_new();
}

void sim_node_pause(struct sim_node *node, uint64_t us)
{
    sim_trace(node->sim, "n%u: is paused for %llu ms", node->index, (unsigned long long)(us / SIM_MS));
    if (node->paused_until < node->sim->now + us) /* never shorter: what has been put off must stay in order */
        node->paused_until = node->sim->now + us;
}

void sim_node_free(struct sim_node *node)
{
    if (!node)
        return;
    process_end(node);
    free(node->waiting);
    store_close(&node->store);
    free(node);
}

/* ---- Requests ---- */

enum cq_rc sim_node_propose(struct sim_node *node, struct raft_proposal *proposal, sim_done_fn *done, void *arg,
                            void (*drop)(void *arg))
{
    struct sim_waiting waiting;
    proposal->cookie = waiting_add(node, done, arg, drop);
    enum cq_rc rc = raft_host_propose(node->host, proposal);
    if (rc != CQ_OK)
        waiting_take(node, proposal->cookie, &waiting);
    return rc;
}

enum cq_rc sim_node_read(struct sim_node *node, unsigned group, sim_done_fn *done, void *arg, void (*drop)(void *arg))
{
    struct sim_waiting waiting;
    uint64_t cookie = waiting_add(node, done, arg, drop);
    enum cq_rc rc = raft_host_read(node->host, group + 1, cookie);
    if (rc != CQ_OK)
        waiting_take(node, cookie, &waiting);
    return rc;
}

struct sim_node *sim_leader(struct sim *sim, unsigned group)
{
    struct sim_node *leader = NULL;
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_node *node = sim->nodes[i];
        if (!sim_node_up(node) || node->groups[group].role != RAFT_GROUP_LEADER || node->groups[group].suspect)
            continue;
        if (!leader || node->groups[group].term > leader->groups[group].term)
            leader = node;
    }
    return leader;
}
