#include "support/mailstore_local.h"

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "proto/mail.pb-c.h"
#include "state/command_version.h"
#include "state/mail_machine.h"
#include "store/store_mem.h"

#include <stdlib.h>

struct group {
    uint32_t number;
    uint64_t index;
    struct store *store;
    struct machine *machine;
};

struct mailstore_watch {
    struct cq_list link;
    uint64_t account;
    void (*changed)(void *arg, struct cq_slice notice);
    void *arg;
};

struct mailstore_local {
    struct mailstore_transport transport;
    unsigned group_count;
    struct group *groups;
    uint64_t time, commands;
    struct cq_list watches;
    enum cq_rc (*fault)(void *arg, const struct mailstore_call *call, bool applied);
    void *fault_arg;
};

#define START_TIME UINT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define STEP_US 1000
#define TERM 1

static struct machine_config config_of(const struct group *group)
{
    return (struct machine_config){
        .store = group->store, .group = group->number, .generation = 1, .incarnation = 7000 + group->number};
}

static void write_batch(struct group *group, struct store_batch *batch)
{
    CQ_ASSERT(store_write(group->store, batch, false, NULL) == CQ_OK);
    store_batch_free(&batch);
}

static void write_effects(struct group *group)
{
    const struct machine_ops *ops = group->machine->ops;
    struct machine_effects *effects = ops->effects_take(group->machine);
    if (!effects)
        return;
    struct store_batch *batch = store_batch_new(group->store);
    ops->effects_encode(effects, batch);
    write_batch(group, batch);
    ops->effects_written(group->machine, effects);
}

static void write_chunks(struct group *group, const struct entry *entry, struct cq_slice raw)
{
    if (!entry->chunk_count)
        return;
    struct store_batch *batch = store_batch_new(group->store);
    for (size_t i = 0; i < entry->chunk_count; i++) {
        struct chunk_id id = {config_of(group).incarnation, TERM, group->index, (uint32_t)i};
        uint8_t key[CHUNK_KEY_SIZE];
        chunk_key(&id, key);
        store_batch_put(batch, STORE_CHUNK, cq_slice_of(key, sizeof key),
                        cq_slice_sub(raw, 0, entry->chunks[i].length));
        raw = cq_slice_skip(raw, entry->chunks[i].length);
    }
    write_batch(group, batch);
}

/* What the log would do: index, chunks, apply, effects. */
static enum cq_rc commit(struct mailstore_local *local, struct group *group, struct entry *entry, struct cq_slice raw,
                         struct cq_pool *pool, struct machine_outcome *outcome_r, struct cq_err *err)
{
    struct cq_buf bytes;
    cq_buf_init(&bytes, ENTRY_MAX);
    entry->version = COMMAND_VERSION_FIRST;
    local->time += STEP_US;
    uint64_t floor = mail_machine_time(group->machine);
    entry->time = local->time > floor ? local->time : floor;
    enum cq_rc rc = entry_encode(entry, &bytes, err);
    if (rc == CQ_OK) {
        group->index++;
        write_chunks(group, entry, raw);
        group->machine->ops->apply(group->machine, (struct machine_position){group->index, TERM}, cq_buf_slice(&bytes),
                                   pool, outcome_r);
        CQ_ASSERT(group->machine->ops->health(group->machine) == CQ_OK);
        write_effects(group);
        local->commands++;
    }
    cq_buf_fini(&bytes);
    return rc;
}

static struct cq_slice join_raw(const struct mailstore_call *call, struct cq_pool *pool)
{
    size_t len = 0;
    for (size_t i = 0; i < call->raw_count; i++)
        len += call->raw[i].len;
    uint8_t *joined = cq_pool_alloc(pool, len), *to = joined;
    for (size_t i = 0; i < call->raw_count; i++) {
        if (call->raw[i].len)
            memcpy(to, call->raw[i].data, call->raw[i].len);
        to += call->raw[i].len;
    }
    return cq_slice_of(joined, len);
}

static enum cq_rc entry_of_call(const struct mailstore_call *call, struct cq_pool *pool, struct cq_slice raw,
                                struct entry *entry, struct cq_err *err)
{
    Chasqui__Mail__Call *wire = chasqui__mail__call__unpack(NULL, call->message.len, call->message.data);
    if (!wire)
        return CQ_FAIL(err, CQ_E_PROTO, "Call does not decode");
    *entry = (struct entry){
        .method = (uint16_t)call->method,
        .account = call->account,
        .sequence = wire->sequence,
        .done = wire->done,
        .stamp = wire->stamp,
        .min_modseq = wire->min_modseq,
        .incarnation = wire->incarnation,
        .body = cq_pool_slice(pool, cq_slice_of(wire->body.data, wire->body.len)),
    };
    if (wire->client.len == sizeof entry->client)
        memcpy(entry->client, wire->client.data, sizeof entry->client);
    chasqui__mail__call__free_unpacked(wire, NULL);
    struct entry_chunk *chunks;
    enum cq_rc rc = mail_command_chunks(call->method, entry->body, raw, pool, &chunks, &entry->chunk_count, err);
    entry->chunks = chunks;
    return rc;
}

static void notify(struct mailstore_local *local, const struct machine_outcome *outcome)
{
    if (!outcome->notice.len)
        return;
    cq_list_each_safe (&local->watches, node) {
        struct mailstore_watch *watch = cq_list_entry(node, struct mailstore_watch, link);
        if (watch->account == outcome->account)
            watch->changed(watch->arg, outcome->notice);
    }
}

static enum cq_rc run_command(struct mailstore_local *local, struct group *group, const struct mailstore_call *call,
                              struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct cq_slice raw = join_raw(call, pool);
    struct entry entry;
    struct machine_outcome outcome;
    enum cq_rc rc = entry_of_call(call, pool, raw, &entry, err);
    if (rc == CQ_OK)
        rc = commit(local, group, &entry, raw, pool, &outcome, err);
    if (rc != CQ_OK)
        return rc;
    answer_r->message = outcome.answer;
    notify(local, &outcome);
    return outcome.rc;
}

static enum cq_rc run_read(struct group *group, const struct mailstore_call *call, struct cq_pool *pool,
                           struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct machine_read read = {call->method, call->account, call->message};
    struct cq_buf answer, raw;
    cq_buf_init(&answer, 32u << 20);
    cq_buf_init(&raw, 4u << 20);
    enum cq_rc rc;
    if (call->method == CHASQUI__MAIL__METHOD__READ_BODY) {
        struct body_piece *pieces;
        size_t count;
        rc = mail_machine_body(group->machine, &read, pool, &answer, &pieces, &count, err);
        if (rc == CQ_OK)
            rc = body_pieces_read(group->store, pieces, count, &raw, err);
        if (rc == CQ_E_NOT_FOUND)
            rc = mail_machine_body_missing(group->machine, &read, err);
    } else {
        rc = group->machine->ops->read(group->machine, &read, pool, &answer, &raw, err);
    }
    answer_r->message = cq_pool_slice(pool, cq_buf_slice(&answer));
    answer_r->raw = cq_pool_slice(pool, cq_buf_slice(&raw));
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
    return rc;
}

static struct group *group_of(struct mailstore_local *local, uint64_t account)
{
    return &local->groups[(account >> 48) % local->group_count];
}

static enum cq_rc local_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                             struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct mailstore_local *local = (struct mailstore_local *)transport;
    struct group *group = group_of(local, call->account);
    const struct mail_method *method = mail_method_find(call->method);
    *answer_r = (struct mailstore_answer){0};
    if (!method || method->internal || method->command != call->command)
        return CQ_FAIL(err, CQ_E_UNSUPPORTED, "method %u", call->method);
    enum cq_rc fault = local->fault ? local->fault(local->fault_arg, call, false) : CQ_OK;
    if (fault != CQ_OK)
        return CQ_FAIL(err, fault, "fault before the call");
    enum cq_rc rc = method->command ? run_command(local, group, call, pool, answer_r, err)
                                    : run_read(group, call, pool, answer_r, err);
    fault = local->fault ? local->fault(local->fault_arg, call, true) : CQ_OK;
    if (fault != CQ_OK) {
        *answer_r = (struct mailstore_answer){0};
        return CQ_FAIL(err, fault, "fault after the call");
    }
    return rc;
}

static struct mailstore_watch *local_watch(struct mailstore_transport *transport, uint64_t account,
                                           void (*changed)(void *arg, struct cq_slice notice), void *arg)
{
    struct mailstore_local *local = (struct mailstore_local *)transport;
    struct mailstore_watch *watch = cq_new(struct mailstore_watch);
    watch->account = account;
    watch->changed = changed;
    watch->arg = arg;
    cq_list_push_back(&local->watches, &watch->link);
    return watch;
}

static void local_unwatch(struct mailstore_transport *transport, struct mailstore_watch *watch)
{
    (void)transport;
    cq_list_remove(&watch->link);
    free(watch);
}

/* ---- the group's own commands ---- */

static struct machine_outcome propose(struct mailstore_local *local, struct group *group, uint32_t method,
                                      const ProtobufCMessage *message, struct cq_pool *pool)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *body = cq_pool_alloc(pool, size);
    protobuf_c_message_pack(message, body);
    struct entry entry = {.method = (uint16_t)method, .body = cq_slice_of(body, size)};
    struct machine_outcome outcome;
    CQ_ASSERT(commit(local, group, &entry, CQ_SLICE_NONE, pool, &outcome, NULL) == CQ_OK);
    return outcome;
}

static void own_slots(struct mailstore_local *local, struct group *group)
{
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__Mail__OwnSlots own = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range *ranges = cq_pool_calloc(pool, 65536, sizeof *ranges);
    own.ranges = cq_pool_calloc(pool, 65536, sizeof *own.ranges);
    own.map_epoch = 1;
    for (uint32_t slot = group->number - 1; slot < 65536; slot += local->group_count) {
        Chasqui__Mail__OwnSlots__Range *range = &ranges[own.n_ranges];
        chasqui__mail__own_slots__range__init(range);
        range->first = range->last = slot;
        own.ranges[own.n_ranges++] = range;
    }
    if (local->group_count == 1) {
        own.n_ranges = 1;
        ranges[0].last = 65535;
    }
    CQ_ASSERT(propose(local, group, CHASQUI__MAIL__METHOD__OWN_SLOTS, &own.base, pool).rc == CQ_OK);
    cq_pool_free(&pool);
}

void mailstore_local_reclaim(struct mailstore_local *local)
{
    Chasqui__Mail__Reclaim reclaim = CHASQUI__MAIL__RECLAIM__INIT;
    for (unsigned i = 0; i < local->group_count; i++) {
        while (mail_machine_reclaim_due(local->groups[i].machine, local->time)) {
            struct cq_pool *pool = cq_pool_new(4096);
            propose(local, &local->groups[i], CHASQUI__MAIL__METHOD__RECLAIM, &reclaim.base, pool);
            cq_pool_free(&pool);
        }
    }
}

/* ---- life ---- */

struct mailstore_local *mailstore_local_new_groups(unsigned groups)
{
    struct mailstore_local *local = cq_new(struct mailstore_local);
    local->transport = (struct mailstore_transport){local_call, local_watch, local_unwatch};
    local->group_count = groups;
    local->groups = cq_calloc(groups, sizeof *local->groups);
    local->time = START_TIME;
    cq_list_init(&local->watches);
    for (unsigned i = 0; i < groups; i++) {
        struct group *group = &local->groups[i];
        group->number = i + 1;
        group->store = store_mem_new();
        struct machine_config config = config_of(group);
        CQ_ASSERT(mail_machine_open(&config, &group->machine, NULL) == CQ_OK);
        own_slots(local, group);
    }
    return local;
}

struct mailstore_local *mailstore_local_new(void)
{
    return mailstore_local_new_groups(1);
}

void mailstore_local_restart(struct mailstore_local *local)
{
    for (unsigned i = 0; i < local->group_count; i++) {
        struct group *group = &local->groups[i];
        struct machine_config config = config_of(group);
        group->machine->ops->close(group->machine);
        CQ_ASSERT(mail_machine_open(&config, &group->machine, NULL) == CQ_OK);
    }
}

void mailstore_local_free(struct mailstore_local **local_p)
{
    struct mailstore_local *local = *local_p;
    *local_p = NULL;
    if (!local)
        return;
    for (unsigned i = 0; i < local->group_count; i++) {
        local->groups[i].machine->ops->close(local->groups[i].machine);
        store_close(&local->groups[i].store);
    }
    cq_list_each_safe (&local->watches, node) {
        free(cq_list_entry(node, struct mailstore_watch, link));
    }
    free(local->groups);
    free(local);
}

struct mailstore_transport *mailstore_local_transport(struct mailstore_local *local)
{
    return &local->transport;
}

void mailstore_local_set_time(struct mailstore_local *local, uint64_t time_us)
{
    if (time_us > local->time)
        local->time = time_us;
}

uint64_t mailstore_local_time(const struct mailstore_local *local)
{
    return local->time;
}

void mailstore_local_set_fault(struct mailstore_local *local,
                               enum cq_rc (*fault)(void *arg, const struct mailstore_call *call, bool applied),
                               void *arg)
{
    local->fault = fault;
    local->fault_arg = arg;
}

uint64_t mailstore_local_commands(const struct mailstore_local *local)
{
    return local->commands;
}

struct machine *mailstore_local_machine(struct mailstore_local *local, uint64_t account)
{
    return group_of(local, account)->machine;
}
