#include "system/system_machine.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "state/command_version.h"
#include "system/system_private.h"

#include <stdlib.h>

static struct system_machine *machine_of(struct machine *machine)
{
    return cq_containerof(machine, struct system_machine, base);
}

static const struct system_machine *machine_of_const(const struct machine *machine)
{
    return (const struct system_machine *)machine; /* base is the first member */
}

/* ---- protobuf ---- */

static void *pool_alloc(void *pool, size_t size)
{
    return cq_pool_alloc(pool, size);
}

static void pool_free(void *pool, void *memory)
{
    (void)pool;
    (void)memory;
}

ProtobufCAllocator system_allocator(struct cq_pool *pool)
{
    return (ProtobufCAllocator){.alloc = pool_alloc, .free = pool_free, .allocator_data = pool};
}

struct cq_slice system_pack(struct cq_pool *pool, const ProtobufCMessage *message)
{
    uint8_t *bytes = cq_pool_alloc(pool, protobuf_c_message_get_packed_size(message) + 1);
    return cq_slice_of(bytes, protobuf_c_message_pack(message, bytes));
}

/* ---- apply ---- */

static enum cq_rc run_entry(struct system_apply *a, struct cq_slice bytes, struct cq_slice *reply_r)
{
    struct entry entry;
    enum cq_rc rc = entry_decode(bytes, a->pool, &entry, a->err);
    if (rc != CQ_OK)
        return rc;
    if (entry.time >= ENTRY_TIME_END)
        return CQ_FAIL(a->err, CQ_E_INVALID, "entry time %llu", (unsigned long long)entry.time);
    if (!command_version_allowed(entry.version, (uint16_t)a->before->finalized_version))
        return CQ_FAIL(a->err, CQ_E_VERSION, "command version %u, active is %u", entry.version,
                       a->before->finalized_version);
    if (entry.time > a->m->header.time)
        a->m->header.time = entry.time;
    a->header.time = a->m->header.time;
    if (entry.account || entry.chunk_count)
        return CQ_FAIL(a->err, CQ_E_INVALID, "a command of the system shard has no account and no chunks");
    rc = system_command_run(a, entry.method, entry.body, reply_r);
    if (rc == CQ_OK)
        command_version_system(entry.version, &a->header.next_replica);
    return rc;
}

/* Makes what the command wants the present state, when it is a valid one. */
static enum cq_rc take_over(struct system_apply *a)
{
    struct system_machine *m = a->m;
    const struct topology *after = NULL;
    if (!topology_same(&a->plain, a->before)) {
        a->plain.epoch = a->before->epoch + 1;
        enum cq_rc rc = topology_new(&a->plain, &after, a->err);
        if (rc != CQ_OK)
            return rc;
        system_save(m, a->before, after);
        m->topology = after;
        topology_unref(&a->before);
    }
    m->header = a->header;
    return CQ_OK;
}

static struct cq_slice pack_answer(struct system_apply *a, enum cq_rc rc, struct cq_slice reply)
{
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    answer.entry_time = a->m->header.time;
    if (rc != CQ_OK)
        answer.text = a->err->text;
    answer.body = (ProtobufCBinaryData){reply.len, (uint8_t *)reply.data};
    return system_pack(a->pool, &answer.base);
}

/* An answer that says which epoch the change made. */
static struct cq_slice pack_changed(struct system_apply *a)
{
    Chasqui__System__Changed changed = CHASQUI__SYSTEM__CHANGED__INIT;
    changed.epoch = a->m->topology->epoch;
    return system_pack(a->pool, &changed.base);
}

static void machine_apply(struct machine *machine, struct machine_position position, struct cq_slice entry,
                          struct cq_pool *pool, struct machine_outcome *outcome_r)
{
    struct system_machine *m = machine_of(machine);
    struct cq_err err = {.rc = CQ_OK};
    struct cq_slice reply = CQ_SLICE_NONE;
    *outcome_r = (struct machine_outcome){.rc = db_broken(m->db), .entry_time = m->header.time};
    if (outcome_r->rc != CQ_OK || position.index <= db_mark(m->db)->index)
        return;
    struct system_apply a = {
        .m = m, .pool = pool, .err = &err, .header = m->header, .before = m->topology, .plain = *m->topology};
    db_begin(m->db);
    enum cq_rc rc = run_entry(&a, entry, &reply);
    if (rc == CQ_OK)
        rc = take_over(&a);
    bool stopped = db_broken(m->db) != CQ_OK; /* by the entry itself: nothing of it happened here */
    if (!stopped)
        system_save_header(m);
    db_end(m->db, !stopped);
    if (!stopped)
        db_advance(m->db, position);
    if (db_broken(m->db) != CQ_OK) {
        *outcome_r = (struct machine_outcome){.rc = db_broken(m->db), .entry_time = m->header.time};
        return;
    }
    if (rc == CQ_OK && !reply.len)
        reply = pack_changed(&a);
    outcome_r->rc = rc;
    outcome_r->answer = pack_answer(&a, rc, rc == CQ_OK ? reply : CQ_SLICE_NONE);
    outcome_r->entry_time = m->header.time;
}

/* ---- read ---- */

static enum cq_rc read_topology(const struct system_machine *m, struct cq_slice body, struct cq_pool *pool,
                                struct cq_slice *reply_r, struct cq_err *err)
{
    ProtobufCAllocator allocator = system_allocator(pool);
    const Chasqui__System__GetTopology *ask = chasqui__system__get_topology__unpack(&allocator, body.len, body.data);
    struct topology plain = *m->topology;
    struct cq_buf buf;
    if (!ask)
        return CQ_FAIL(err, CQ_E_PROTO, "GetTopology does not decode");
    if (plain.epoch && ask->known_epoch == plain.epoch)
        plain.node_count = plain.shard_count = plain.range_count = plain.override_count = plain.move_count = 0;
    cq_buf_init(&buf, TOPOLOGY_ENCODED_MAX);
    bool fits = topology_encode(&plain, &buf);
    *reply_r = cq_pool_slice(pool, cq_buf_slice(&buf));
    cq_buf_fini(&buf);
    return fits ? CQ_OK : CQ_FAIL(err, CQ_E_TOO_BIG, "topology over %u bytes", TOPOLOGY_ENCODED_MAX);
}

static enum cq_rc machine_read(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                               struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err)
{
    const struct system_machine *m = machine_of_const(machine);
    ProtobufCAllocator allocator = system_allocator(pool);
    struct cq_slice reply = CQ_SLICE_NONE;
    (void)raw;
    const Chasqui__Mail__Call *call = chasqui__mail__call__unpack(&allocator, read->message.len, read->message.data);
    if (!call)
        return CQ_FAIL(err, CQ_E_PROTO, "Call does not decode");
    if (read->method != CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY)
        return CQ_FAIL(err, CQ_E_UNSUPPORTED, "method %u", read->method);
    enum cq_rc rc = read_topology(m, cq_slice_of(call->body.data, call->body.len), pool, &reply, err);
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__Answer msg = CHASQUI__MAIL__ANSWER__INIT;
    msg.entry_time = m->header.time;
    msg.body = (ProtobufCBinaryData){reply.len, (uint8_t *)reply.data};
    return cq_buf_slice_add(answer, system_pack(pool, &msg.base))
               ? CQ_OK
               : CQ_FAIL(err, CQ_E_TOO_BIG, "answer over its buffer");
}

/* ---- the rest ---- */

static uint64_t machine_applied(const struct machine *machine)
{
    return db_mark(machine_of_const(machine)->db)->index;
}

static struct machine_effects *machine_effects_take(struct machine *machine)
{
    return db_effects_take(machine_of(machine)->db);
}

static void machine_effects_written(struct machine *machine, struct machine_effects *effects)
{
    db_effects_written(machine_of(machine)->db, effects);
}

static void machine_digest(const struct machine *machine, uint8_t digest_r[static 16])
{
    const struct db_mark *mark = db_mark(machine_of_const(machine)->db);
    cq_put_be64(digest_r, mark->digest.high);
    cq_put_be64(digest_r + 8, mark->digest.low);
}

static enum cq_rc machine_health(const struct machine *machine)
{
    return db_broken(machine_of_const(machine)->db);
}

static void machine_close(struct machine *machine)
{
    struct system_machine *m = machine_of(machine);
    topology_unref(&m->topology);
    db_close(&m->db);
    free(m);
}

static const struct machine_ops system_machine_ops = {
    .apply = machine_apply,
    .read = machine_read,
    .applied = machine_applied,
    .effects_take = machine_effects_take,
    .effects_encode = db_effects_encode,
    .effects_written = machine_effects_written,
    .digest = machine_digest,
    .health = machine_health,
    .close = machine_close,
};

enum cq_rc system_machine_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err)
{
    struct system_machine *m = cq_new(struct system_machine);
    m->base.ops = &system_machine_ops;
    m->config = *config;
    if (!m->config.known)
        m->config.known = command_version_known;
    *machine_r = NULL;
    enum cq_rc rc = db_open(config, &m->db, err);
    if (rc == CQ_OK)
        rc = system_load(m, err);
    if (rc == CQ_OK) {
        *machine_r = &m->base;
        return CQ_OK;
    }
    machine_close(&m->base);
    return rc;
}

const struct topology *system_machine_topology(const struct machine *machine)
{
    return topology_ref(machine_of_const(machine)->topology);
}

uint16_t system_machine_active_version(const struct machine *machine)
{
    return (uint16_t)machine_of_const(machine)->topology->finalized_version;
}

uint64_t system_machine_time(const struct machine *machine)
{
    return machine_of_const(machine)->header.time;
}
