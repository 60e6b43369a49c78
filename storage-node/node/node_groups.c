/* Making and opening the replicas of groups. */
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "node/fiber_wait.h"
#include "node/node_private.h"
#include "node/reseeder.h"
#include "node/topology_keeper.h"
#include "node/watch.h"
#include "reseed/reseed_record.h"
#include "state/mail_machine.h"
#include "system/system_machine.h"

static enum cq_rc open_machine(struct node *node, const struct replica_record *record, struct machine **machine_r,
                               struct cq_err *err)
{
    const struct machine_config config = {.store = node->dir.store,
                                          .group = record->group,
                                          .generation = record->generation,
                                          .incarnation = record->incarnation};
    return record->group == GROUP_SYSTEM ? system_machine_open(&config, machine_r, err)
                                         : mail_machine_open(&config, machine_r, err);
}

static uint64_t machine_time(const struct replica_record *record, const struct machine *machine)
{
    return record->group == GROUP_SYSTEM ? system_machine_time(machine) : mail_machine_time(machine);
}

void node_group_note_version(struct group *group, const struct machine *machine)
{
    atomic_store_explicit(&group->active_version,
                          group->record.group == GROUP_SYSTEM ? system_machine_active_version(machine)
                                                              : mail_machine_active_version(machine),
                          memory_order_relaxed);
}

/* The hints are those of a replica that has just been opened. */
static void set_hints(struct group *group, const struct machine *machine)
{
    uint64_t applied = machine->ops->applied(machine);
    atomic_store(&group->applied, applied);
    atomic_store(&group->durable, applied);
    const struct replica_record record = group_replica_record(group);
    group_saw_time(group, machine_time(&record, machine));
    node_group_note_version(group, machine);
    atomic_store(&group->caught_up, false);
    atomic_store(&group->failed, false);
}

/* *machine_r is NULL for a state that does not read, or that was found wrong before the restart: that replica votes and
 * acknowledges, and serves nothing until it has been copied again. */
static enum cq_rc open_trusted(struct node *node, const struct replica_record *record, struct machine **machine_r,
                               enum reseed_suspect *suspect_r, struct cq_err *err)
{
    struct reseed_record reseed;
    *suspect_r = SUSPECT_NONE;
    enum cq_rc rc = reseed_record_read(node->dir.store, record->group, &reseed, err);
    if (rc == CQ_OK && reseed.phase != RESEED_CLEANUP)
        *suspect_r = reseed.suspect;
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    if (*suspect_r == SUSPECT_STATE)
        return CQ_OK;
    rc = open_machine(node, record, machine_r, err);
    if (rc != CQ_E_CORRUPT)
        return rc;
    cq_log(CQ_ERROR, "group.state_damaged", CQ_F_U64("group", record->group), CQ_F_ERR(err));
    *suspect_r = SUSPECT_STATE;
    return CQ_OK;
}

static void take_suspicion(struct group *group, enum reseed_suspect suspect)
{
    atomic_store(&group->distrust, (int)suspect);
    if (suspect == SUSPECT_NONE)
        return;
    atomic_store(&group->failed, suspect == SUSPECT_STATE);
    atomic_store(&group->reseed_wish, RESEED_SUSPECT + 1);
}

/* ---- Replicas that take part in nothing ---- */

/* A place for a replica that a new one is to replace: no machine, and under no host. */
static struct group *set_aside(struct node *node, const struct replica_record *record)
{
    struct group *group = cq_new(struct group);
    group_set_record(group, record);
    group->former = record->replica;
    group->watches = watch_table_new();
    group->apply = apply_group_open(node->apply, record->group, NULL);
    apply_group_set_ctx(group->apply, group);
    group->raft = node->raft;
    atomic_store(&group->failed, true);
    atomic_store(&group->reseed_wish, RESEED_LOST + 1);
    atomic_store_explicit(&node->groups.by_id[record->group], group, memory_order_release);
    return group;
}

/* Does the replica know what it has promised? *boot_r is NULL when it does not. */
static enum cq_rc read_boot(struct node *node, const struct replica_record *record, struct raft_boot **boot_r,
                            struct cq_err *err)
{
    enum replica_withheld why;
    *boot_r = NULL;
    enum cq_rc rc = replica_withheld_read(node->dir.store, record->group, &why, err);
    if (rc != CQ_OK || why != REPLICA_KEPT)
        return rc;
    rc = raft_boot_read(node->dir.store, record->group, record->replica, boot_r, err);
    if (rc != CQ_E_CORRUPT && rc != CQ_E_NOT_FOUND)
        return rc;
    cq_log(CQ_ERROR, "group.log_damaged", CQ_F_U64("group", record->group), CQ_F_U64("replica", record->replica),
           CQ_F_ERR(err));
    return CQ_OK;
}

/* From the store into the table: the machine under its apply thread, then under Raft. The keeper learns what the system
 * shard knew before anything new is applied. */
enum cq_rc node_group_load(struct node *node, const struct replica_record *record,
                           void (*added)(void *arg, enum cq_rc rc, const struct cq_err *err), void *arg,
                           struct cq_err *err)
{
    struct machine *machine = NULL;
    struct raft_boot *boot = NULL;
    enum reseed_suspect suspect;
    enum cq_rc rc = read_boot(node, record, &boot, err);
    if (rc == CQ_OK && !boot) {
        set_aside(node, record);
        return CQ_OK;
    }
    if (rc == CQ_OK)
        rc = open_trusted(node, record, &machine, &suspect, err);
    if (rc != CQ_OK) {
        raft_boot_free(&boot);
        return cq_err_context(err, "group %u", record->group);
    }
    struct group *group = cq_new(struct group);
    group_set_record(group, record);
    group->watches = watch_table_new();
    if (machine)
        set_hints(group, machine);
    if (machine && record->group == GROUP_SYSTEM)
        topology_keeper_look(node->keeper, machine);
    group->apply = apply_group_open(node->apply, record->group, machine);
    apply_group_set_ctx(group->apply, group);
    group->raft = node->raft;
    take_suspicion(group, suspect);
    atomic_store_explicit(&node->groups.by_id[record->group], group, memory_order_release);
    raft_thread_add(node->raft, group, boot, added, arg);
    return CQ_OK;
}

/* ---- Again, after a flip ---- */

struct loaded {
    struct fiber_wait wait;
    enum cq_rc rc;
    struct cq_err *err;
};

static void on_attached(void *arg)
{
    fiber_wait_signal(&((struct loaded *)arg)->wait);
}

static void on_reloaded(void *arg, enum cq_rc rc, const struct cq_err *err)
{
    struct loaded *loaded = arg;
    loaded->rc = rc;
    if (rc != CQ_OK && loaded->err)
        *loaded->err = *err;
    fiber_wait_signal(&loaded->wait);
}

/* The machine under its apply thread; the hints and the keeper first. */
static void attach(struct node *node, struct group *group, struct machine *machine)
{
    struct loaded loaded = {.rc = CQ_OK};
    set_hints(group, machine);
    if (group->record.group == GROUP_SYSTEM)
        topology_keeper_look(node->keeper, machine);
    fiber_wait_begin(&loaded.wait);
    apply_group_attach(group->apply, machine, on_attached, &loaded);
    fiber_wait(&loaded.wait);
}

enum cq_rc node_group_reload(struct node *node, struct group *group, const struct replica_record *record,
                             struct cq_err *err)
{
    struct machine *machine = NULL;
    struct raft_boot *boot = NULL;
    struct loaded loaded = {.rc = CQ_OK, .err = err};
    enum reseed_suspect suspect = SUSPECT_NONE;
    enum cq_rc rc = raft_boot_read(node->dir.store, record->group, record->replica, &boot, err);
    if (rc == CQ_OK)
        rc = open_trusted(node, record, &machine, &suspect, err);
    if (rc != CQ_OK) {
        raft_boot_free(&boot);
        return cq_err_context(err, "group %u", record->group);
    }
    group_set_record(group, record);
    if (machine)
        attach(node, group, machine);
    if (suspect != SUSPECT_NONE)
        take_suspicion(group, suspect);
    fiber_wait_begin(&loaded.wait);
    raft_thread_add(node->raft, group, boot, on_reloaded, &loaded);
    fiber_wait(&loaded.wait);
    return loaded.rc;
}

/* ---- A new replica ---- */

struct bootstrap {
    struct writer_item base;
    struct node *node;
    const struct node_group_spec *spec;
    struct fiber_wait wait;
};

static enum cq_rc put_first_records(const struct node_group_spec *spec, struct store_batch *batch, struct cq_err *err)
{
    replica_record_put(batch, &spec->record);
    return raft_boot_write(batch, spec->record.group, spec->record.replica, spec->members, spec->member_count, err);
}

/* On the writer's thread, so one after the other. */
static void bootstrap_encode(struct writer_item *item, struct store_batch *batch)
{
    struct bootstrap *b = cq_containerof(item, struct bootstrap, base);
    if (b->spec->record.replica > atomic_load(&b->node->made))
        atomic_store(&b->node->made, b->spec->record.replica);
    replica_floor_put(batch, atomic_load(&b->node->made));
    put_first_records(b->spec, batch, NULL); /* tried on a batch of its own: it cannot fail */
}

static void bootstrap_durable(struct writer_item *item)
{
    fiber_wait_signal(&cq_containerof(item, struct bootstrap, base)->wait);
}

static const struct writer_item_ops bootstrap_ops = {.encode = bootstrap_encode, .durable = bootstrap_durable};

static enum cq_rc write_first_records(struct node *node, const struct node_group_spec *spec, struct cq_err *err)
{
    struct store_batch *trial = store_batch_new(node->dir.store);
    enum cq_rc rc = put_first_records(spec, trial, err);
    store_batch_free(&trial);
    if (rc != CQ_OK)
        return rc;
    struct bootstrap b = {.base = {.ops = &bootstrap_ops, .sync = true}, .node = node, .spec = spec};
    fiber_wait_begin(&b.wait);
    writer_add(node->writer, &b.base);
    fiber_wait(&b.wait);
    return CQ_OK;
}

struct added {
    struct fiber_wait wait;
    enum cq_rc rc;
    struct cq_err err;
};

static void on_added(void *arg, enum cq_rc rc, const struct cq_err *err)
{
    struct added *a = arg;
    a->rc = rc;
    if (rc != CQ_OK)
        a->err = *err;
    fiber_wait_signal(&a->wait);
}

static bool claim(struct node *node, uint32_t group)
{
    return !atomic_exchange(&node->opening[group], true);
}

enum cq_rc node_group_open(struct node *node, const struct node_group_spec *spec, struct cq_err *err)
{
    uint32_t id = spec->record.group;
    if (id >= GROUPS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "group %u; the largest number is %u", id, GROUPS_MAX - 1);
    if (!groups_find(&node->groups, id) && spec->record.replica <= atomic_load(&node->made))
        return CQ_FAIL(
            err, CQ_E_CONFLICT,
            "group %u: replica %llu was made here before and is gone, with what it voted and acknowledged; it "
            "is not made again",
            id, (unsigned long long)spec->record.replica);
    if (groups_find(&node->groups, id) || !claim(node, id))
        return CQ_FAIL(err, CQ_E_EXISTS, "group %u is open already", id);
    struct added added = {.rc = CQ_OK};
    enum cq_rc rc = write_first_records(node, spec, err);
    if (rc == CQ_OK) {
        fiber_wait_begin(&added.wait);
        rc = node_group_load(node, &spec->record, on_added, &added, err);
    }
    if (rc == CQ_OK) {
        fiber_wait(&added.wait);
        rc = added.rc;
        if (rc != CQ_OK && err)
            *err = added.err;
    }
    if (rc != CQ_OK) {
        atomic_store(&node->opening[id], false);
        return rc;
    }
    cq_log(CQ_INFO, "group.created", CQ_F_U64("group", id), CQ_F_U64("replica", spec->record.replica),
           CQ_F_U64("members", spec->member_count));
    return CQ_OK;
}

/* An entry has crashed the process twice while it was applied. All replicas apply the same entry: this one waits, out
 * of Raft, for a build that can, and the node's other groups live. */
static bool put_aside(struct node *node, const struct replica_record *record)
{
    struct apply_blame blame;
    if (!apply_marks_quarantined(node->marks, record->group, &blame))
        return false;
    cq_log(CQ_ERROR, "group.quarantined", CQ_F_U64("group", record->group), CQ_F_U64("index", blame.index),
           CQ_F_U64("crashes", blame.crashes), CQ_F_U64("ends", blame.ends),
           CQ_F_STR("action", "with a build that is right, chasquictl shard release"));
    struct group *group = cq_new(struct group);
    group_set_record(group, record);
    group->watches = watch_table_new();
    group->apply = apply_group_open(node->apply, record->group, NULL);
    apply_group_set_ctx(group->apply, group);
    group->raft = node->raft;
    atomic_store(&group->failed, true);
    atomic_store(&group->quarantined, blame.index);
    atomic_store_explicit(&node->groups.by_id[record->group], group, memory_order_release);
    return true;
}

enum cq_rc node_group_release(struct node *node, struct group *group, struct cq_err *err)
{
    uint64_t index = atomic_load(&group->quarantined);
    if (index == 0)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "shard %u is not put aside on this node", group->record.group);
    enum cq_rc rc = apply_marks_release(node->marks, group->record.group, err);
    if (rc != CQ_OK || !atomic_compare_exchange_strong(&group->quarantined, &index, 0))
        return rc;
    cq_log(CQ_WARN, "group.released", CQ_F_U64("group", group->record.group), CQ_F_U64("index", index));
    const struct replica_record record = group_replica_record(group);
    return node_group_reload(node, group, &record, err);
}

enum cq_rc node_groups_load(struct node *node, struct cq_err *err)
{
    struct replica_record *records = cq_calloc(GROUPS_MAX, sizeof *records);
    size_t count = 0;
    uint64_t made = 0, lost = 0;
    enum cq_rc rc = replica_records_read(node->dir.store, records, GROUPS_MAX, &count, err);
    if (rc == CQ_OK)
        rc = replica_floor_read(node->dir.store, &made, err);
    atomic_store(&node->made, made);
    if (rc == CQ_OK)
        rc = replica_lost_read(node->dir.store, &lost, err);
    atomic_store(&node->lost, lost);
    for (size_t i = 0; i < count && rc == CQ_OK; i++) {
        atomic_store(&node->opening[records[i].group], true);
        if (!put_aside(node, &records[i]))
            rc = node_group_load(node, &records[i], NULL, NULL, err);
    }
    free(records);
    if (rc == CQ_OK)
        cq_log(CQ_INFO, "groups.opened", CQ_F_U64("groups", count));
    return rc;
}

/* ---- A node that has lost its store ---- */

struct floor_write {
    struct writer_item base;
    uint64_t id;
    struct fiber_wait wait;
};

static void floor_encode(struct writer_item *item, struct store_batch *batch)
{
    replica_floor_put(batch, cq_containerof(item, struct floor_write, base)->id);
    replica_lost_put(batch, cq_containerof(item, struct floor_write, base)->id);
}

static void floor_durable(struct writer_item *item)
{
    fiber_wait_signal(&cq_containerof(item, struct floor_write, base)->wait);
}

void node_lost_replicas(struct node *node, const struct topology *t)
{
    static const struct writer_item_ops ops = {.encode = floor_encode, .durable = floor_durable};
    struct floor_write w = {.base = {.ops = &ops, .sync = true}};
    if (atomic_load(&node->made) != REPLICA_FLOOR_UNKNOWN)
        return;
    for (size_t i = 0; i < t->shard_count; i++)
        for (size_t j = 0; j < t->shards[i].replica_count; j++)
            if (t->shards[i].replicas[j].id > w.id)
                w.id = t->shards[i].replicas[j].id;
    fiber_wait_begin(&w.wait);
    writer_add(node->writer, &w.base);
    fiber_wait(&w.wait);
    atomic_store(&node->made, w.id);
    atomic_store(&node->lost, w.id);
    cq_log(
        CQ_ERROR, "node.replicas_lost", CQ_F_U64("up_to", w.id),
        CQ_F_STR("action",
                 "this node's store was made anew, or is an older one; what it held stays away until it is replaced"));
}

/* A place without a machine and outside Raft. One whose replica was destroyed is used again: it has no machine, no log
 * and no records. */
static struct group *make_place(struct node *node, uint32_t id, uint64_t replica)
{
    const struct replica_record record = {.group = id, .replica = replica, .incarnation = group_first_incarnation(id)};
    struct group *group = groups_at(&node->groups, id);
    if (group) {
        group_set_record(group, &record);
        group->former = 0;
        atomic_store(&group->distrust, 0);
        atomic_store(&group->recovered, false);
        atomic_store(&group->quarantined, 0);
        atomic_store(&group->caught_up, false);
        atomic_store(&group->failed, true);
        group_set_absent(group, false);
        return group;
    }
    if (!claim(node, id))
        return NULL;
    group = cq_new(struct group);
    group_set_record(group, &record);
    group->watches = watch_table_new();
    group->apply = apply_group_open(node->apply, id, NULL);
    apply_group_set_ctx(group->apply, group);
    group->raft = node->raft;
    atomic_store(&group->failed, true);
    atomic_store_explicit(&node->groups.by_id[id], group, memory_order_release);
    return group;
}

void node_group_lost(struct node *node, uint32_t id)
{
    struct group *group = groups_find(&node->groups, id);
    if (!group)
        group = make_place(node, id, 0);
    if (group)
        reseeder_want(node->reseeder, group, RESEED_LOST);
}

void node_group_new(struct node *node, uint32_t id, uint64_t replica)
{
    struct group *group = groups_find(&node->groups, id);
    if (!group)
        group = make_place(node, id, replica);
    if (group && !group->record.generation && group->record.replica == replica)
        reseeder_want(node->reseeder, group, RESEED_NEW);
}

void node_group_unwanted(struct node *node, uint32_t id, uint64_t replica)
{
    if (!groups_find(&node->groups, id))
        make_place(node, id, replica);
}

/* ---- A replica that contradicts its group ---- */

struct withhold {
    struct writer_item base;
    struct node *node;
    struct group *group;
};

static void withhold_encode(struct writer_item *item, struct store_batch *batch)
{
    struct withhold *w = cq_containerof(item, struct withhold, base);
    replica_withhold_put(batch, w->group->record.group, REPLICA_REFUTED);
}

static void withhold_durable(struct writer_item *item)
{
    struct withhold *w = cq_containerof(item, struct withhold, base);
    w->group->former = w->group->record.replica;
    reseeder_want(w->node->reseeder, w->group, RESEED_LOST);
    free(w);
}

void node_group_withhold(struct node *node, struct group *group)
{
    static const struct writer_item_ops ops = {.encode = withhold_encode, .durable = withhold_durable};
    struct withhold *w = cq_new(struct withhold);
    *w = (struct withhold){.base = {.ops = &ops, .sync = true}, .node = node, .group = group};
    writer_add(node->writer, &w->base);
}

/* ---- An older copy of the directory ---- */

#define EXIT_STALE 75 /* EX_TEMPFAIL: started again it is another matter */

struct withhold_all {
    struct writer_item base;
    struct node *node;
    struct fiber_wait wait;
    size_t count;
    enum cq_rc rc;
    struct cq_err err;
};

static void withhold_all_encode(struct writer_item *item, struct store_batch *batch)
{
    struct withhold_all *w = cq_containerof(item, struct withhold_all, base);
    w->rc = replica_withhold_all(w->node->dir.store, batch, &w->count, &w->err);
}

static void withhold_all_durable(struct writer_item *item)
{
    fiber_wait_signal(&cq_containerof(item, struct withhold_all, base)->wait);
}

/* Without replicas it is a node that has lost its store, and the count of its starts with it. */
static void tell_stale(const struct node *node, uint64_t boot, size_t replicas)
{
    cq_log(replicas ? CQ_ERROR : CQ_WARN, replicas ? "node.stale_disk" : "node.starts_lost",
           CQ_F_U64("boot", node->dir.boot), CQ_F_U64("seen", boot), CQ_F_U64("replicas", replicas),
           CQ_F_STR("action", replicas
                                  ? "this is an older copy of the node's data directory; the process ends, and its "
                                    "replicas are replaced by new ones after the next start"
                                  : "the process ends, and goes on after the next start: others take nothing from "
                                    "a start that they hold for an earlier one"));
}

void node_is_stale(struct node *node, uint64_t boot)
{
    static const struct writer_item_ops ops = {.encode = withhold_all_encode, .durable = withhold_all_durable};
    struct withhold_all w = {.base = {.ops = &ops, .sync = true}, .node = node};
    fiber_wait_begin(&w.wait);
    writer_add(node->writer, &w.base);
    fiber_wait(&w.wait);
    tell_stale(node, boot, w.count);
    enum cq_rc rc = w.rc;
    if (rc == CQ_OK)
        rc = data_dir_raise_boot(&node->dir, boot, &w.err); /* last: a start before it comes here again */
    if (rc != CQ_OK)
        cq_log(CQ_ERROR, "node.stale_not_noted", CQ_F_STR("action", "the next start comes here again"),
               CQ_F_ERR(&w.err));
    _exit(EXIT_STALE);
}

/* ---- A build that is too old ---- */

#define EXIT_VERSION 78 /* EX_CONFIG: started again it is the same */

_Noreturn void node_is_too_old(struct node *node, const struct cq_err *err)
{
    apply_marks_forgive(node->marks);
    cq_log(CQ_ERROR, "node.too_old", CQ_F_STR("version", CHASQUI_VERSION), CQ_F_ERR(err),
           CQ_F_STR("action", "the process ends; start a later version on this data directory"));
    _exit(EXIT_VERSION);
}
