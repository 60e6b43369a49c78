#include "support/shard.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "state/command_version.h"

#include <stdio.h>
#include <stdlib.h>

#define TERM 3
#define CLIENTS 256
#define TAKEN_MAX 8

struct logged {
    struct cq_slice entry;
    struct cq_slice raw; /* the chunks, one after the other */
    uint64_t outcome;    /* a hash of what replica 0 answered */
};
struct replica {
    struct store *store;
    struct machine *machine;
    struct machine_effects *taken[TAKEN_MAX];
    unsigned taken_count;
    uint16_t known; /* command version; 0: this build's */
};
struct shard {
    void (*before_chunks)(struct shard *shard);
    unsigned replica_count;
    struct replica *replicas;
    struct logged *log; /* log[i]: index i + 1 */
    size_t log_count, log_cap;
    uint64_t time;
    uint64_t sequences[CLIENTS];
    struct cq_pool *pool;
    struct cq_buf buf, answer, raw;
    struct cq_err err;
};

static enum cq_rc replica_try(struct replica *replica, uint16_t known, struct machine **machine_r, struct cq_err *err)
{
    struct machine_config config = {
        .store = replica->store, .group = 5, .generation = 1, .incarnation = SHARD_INCARNATION, .known = known};
    return mail_machine_open(&config, machine_r, err);
}

static void replica_open(struct replica *replica)
{
    struct cq_err err = {.rc = CQ_OK};
    CQ_ASSERT(replica_try(replica, replica->known, &replica->machine, &err) == CQ_OK);
}

struct shard *shard_new(unsigned replicas)
{
    struct shard *shard = cq_new(struct shard);
    shard->replica_count = replicas;
    shard->replicas = cq_calloc(replicas, sizeof *shard->replicas);
    for (unsigned i = 0; i < replicas; i++) {
        shard->replicas[i].store = store_mem_new();
        replica_open(&shard->replicas[i]);
    }
    shard->time = SHARD_START_US;
    shard->pool = cq_pool_new(64 << 10);
    cq_buf_init(&shard->buf, 4u << 20);
    cq_buf_init(&shard->answer, 64u << 20);
    cq_buf_init(&shard->raw, 64u << 20);
    return shard;
}

void shard_free(struct shard **shard_p)
{
    struct shard *shard = *shard_p;
    *shard_p = NULL;
    for (unsigned i = 0; i < shard->replica_count; i++) {
        shard->replicas[i].machine->ops->close(shard->replicas[i].machine);
        store_close(&shard->replicas[i].store);
    }
    for (size_t i = 0; i < shard->log_count; i++) {
        free((void *)(uintptr_t)shard->log[i].entry.data);
        free((void *)(uintptr_t)shard->log[i].raw.data);
    }
    free(shard->log);
    free(shard->replicas);
    cq_pool_free(&shard->pool);
    cq_buf_fini(&shard->buf);
    cq_buf_fini(&shard->answer);
    cq_buf_fini(&shard->raw);
    free(shard);
}

struct cq_pool *shard_pool(struct shard *shard)
{
    return shard->pool;
}

struct machine *shard_machine(struct shard *shard, unsigned replica)
{
    return shard->replicas[replica].machine;
}

struct store *shard_store(struct shard *shard, unsigned replica)
{
    return shard->replicas[replica].store;
}

struct cq_err *shard_err(struct shard *shard)
{
    return &shard->err;
}

uint64_t shard_time(const struct shard *shard)
{
    return shard->time;
}

void shard_advance(struct shard *shard, uint64_t us)
{
    shard->time += us;
}

uint64_t shard_last_index(const struct shard *shard)
{
    return shard->log_count;
}

struct cq_slice shard_entry(const struct shard *shard, uint64_t index)
{
    return shard->log[index - 1].entry;
}

/* ---- the log ---- */

static struct cq_slice keep(struct cq_slice s)
{
    return cq_slice_of(cq_memdup(s.data ? s.data : (const uint8_t *)"", s.len ? s.len : 1), s.len);
}

static void log_append(struct shard *shard, struct cq_slice entry, struct cq_slice raw)
{
    if (shard->log_count == shard->log_cap) {
        shard->log_cap = shard->log_cap ? shard->log_cap * 2 : 256;
        shard->log = cq_realloc(shard->log, shard->log_cap * sizeof *shard->log);
    }
    shard->log[shard->log_count++] = (struct logged){keep(entry), keep(raw), 0};
}

static void write_chunks(struct shard *shard, struct replica *replica, uint64_t index)
{
    const struct logged *logged = &shard->log[index - 1];
    struct entry entry;
    if (!logged->raw.len || entry_decode(logged->entry, shard->pool, &entry, NULL) != CQ_OK)
        return;
    struct store_batch *batch = store_batch_new(replica->store);
    struct cq_slice rest = logged->raw;
    for (uint32_t i = 0; i < entry.chunk_count; i++) {
        uint8_t key[CHUNK_KEY_SIZE];
        chunk_key(&(struct chunk_id){SHARD_INCARNATION, TERM, index, i}, key);
        store_batch_put(batch, STORE_CHUNK, cq_slice_of(key, sizeof key),
                        cq_slice_sub(rest, 0, entry.chunks[i].length));
        rest = cq_slice_skip(rest, entry.chunks[i].length);
    }
    CQ_ASSERT(store_write(replica->store, batch, true, NULL) == CQ_OK);
    store_batch_free(&batch);
}

static struct cq_slice pack(struct shard *shard, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = cq_pool_alloc(shard->pool, size);
    return cq_slice_of(bytes, protobuf_c_message_pack(message, bytes));
}

/* Everything that an outcome says but its text, which is for logs. */
static uint64_t hash_outcome(struct shard *shard, const struct machine_outcome *o)
{
    Chasqui__Mail__Answer *answer = (Chasqui__Mail__Answer *)(uintptr_t)shard_answer(shard, o);
    uint64_t h = (uint64_t)o->rc ^ o->account ^ o->entry_time;
    if (answer) {
        answer->text = (char *)(uintptr_t) "";
        h = cq_xxh3_64_seed(pack(shard, &answer->base), h);
    }
    return cq_xxh3_64_seed(o->notice, h);
}

static struct machine_outcome apply_at(struct shard *shard, unsigned number, uint64_t index)
{
    struct replica *replica = &shard->replicas[number];
    struct machine_outcome outcome;
    write_chunks(shard, replica, index);
    replica->machine->ops->apply(replica->machine, (struct machine_position){index, TERM}, shard->log[index - 1].entry,
                                 shard->pool, &outcome);
    return outcome;
}

static struct machine_outcome run(struct shard *shard, struct cq_slice entry, struct cq_slice raw)
{
    log_append(shard, entry, raw);
    struct machine_outcome outcome = apply_at(shard, 0, shard->log_count);
    shard->log[shard->log_count - 1].outcome = hash_outcome(shard, &outcome);
    return outcome;
}

struct machine_outcome shard_run_bytes(struct shard *shard, struct cq_slice entry)
{
    cq_pool_clear(shard->pool);
    return run(shard, entry, CQ_SLICE_NONE);
}

bool shard_catch_up(struct shard *shard, unsigned number, uint64_t index)
{
    struct machine *machine = shard->replicas[number].machine;
    bool equal = true;
    for (uint64_t i = machine->ops->applied(machine) + 1; i <= index; i++) {
        struct machine_outcome outcome = apply_at(shard, number, i);
        equal = equal && hash_outcome(shard, &outcome) == shard->log[i - 1].outcome;
        cq_pool_clear(shard->pool);
    }
    return equal;
}

/* ---- effects ---- */

void shard_take(struct shard *shard, unsigned number)
{
    struct replica *replica = &shard->replicas[number];
    struct machine_effects *effects =
        replica->taken_count < TAKEN_MAX ? replica->machine->ops->effects_take(replica->machine) : NULL;
    if (effects)
        replica->taken[replica->taken_count++] = effects;
}

void shard_write(struct shard *shard, unsigned number, bool sync)
{
    struct replica *replica = &shard->replicas[number];
    shard_take(shard, number);
    struct store_batch *batch = store_batch_new(replica->store);
    for (unsigned i = 0; i < replica->taken_count; i++)
        replica->machine->ops->effects_encode(replica->taken[i], batch);
    CQ_ASSERT(store_write(replica->store, batch, sync, NULL) == CQ_OK);
    store_batch_free(&batch);
    for (unsigned i = 0; i < replica->taken_count; i++)
        replica->machine->ops->effects_written(replica->machine, replica->taken[i]);
    replica->taken_count = 0;
}

enum cq_rc shard_build(struct shard *shard, unsigned number, uint16_t known)
{
    struct replica *replica = &shard->replicas[number];
    struct machine *machine;
    shard_write(shard, number, true);
    enum cq_rc rc = replica_try(replica, known, &machine, &shard->err);
    if (rc != CQ_OK)
        return rc;
    replica->machine->ops->close(replica->machine);
    replica->machine = machine;
    replica->known = known;
    return CQ_OK;
}

void shard_crash(struct shard *shard, unsigned number, unsigned keep_permille)
{
    struct replica *replica = &shard->replicas[number];
    replica->machine->ops->close(replica->machine);
    replica->taken_count = 0;
    store_mem_crash(replica->store, store_mem_unsynced(replica->store) * keep_permille / 1000);
    replica_open(replica);
}

/* ---- commands ---- */

static void fill_request(struct shard *shard, const struct shard_call *call, struct entry *entry)
{
    if (call->account == 0)
        return;
    uint8_t client = call->client ? call->client : 1;
    memset(entry->client, client, sizeof entry->client);
    entry->sequence = call->sequence ? call->sequence : ++shard->sequences[client];
    entry->done = call->done || call->no_done ? call->done : entry->sequence - 1;
    entry->stamp = call->stamp || call->no_stamp ? call->stamp : mail_machine_time(shard->replicas[0].machine);
    entry->min_modseq = call->min_modseq;
    entry->incarnation = call->incarnation;
}

struct machine_outcome shard_run(struct shard *shard, const struct shard_call *call)
{
    cq_pool_clear(shard->pool);
    uint64_t floor = mail_machine_time(shard->replicas[0].machine);
    if (shard->time < floor)
        shard->time = floor;
    struct entry entry = {
        .version = call->version ? call->version : COMMAND_VERSION_FIRST,
        .method = (uint16_t)call->method,
        .account = call->account,
        .time = shard->time,
        .body = pack(shard, call->message),
    };
    struct entry_chunk *chunks;
    enum cq_rc rc =
        mail_command_chunks(call->method, entry.body, call->raw, shard->pool, &chunks, &entry.chunk_count, &shard->err);
    if (rc != CQ_OK)
        return (struct machine_outcome){.rc = rc};
    entry.chunks = chunks;
    fill_request(shard, call, &entry);
    cq_buf_reset(&shard->buf, SIZE_MAX);
    rc = entry_encode(&entry, &shard->buf, &shard->err);
    if (rc != CQ_OK)
        return (struct machine_outcome){.rc = rc};
    return run(shard, cq_buf_slice(&shard->buf), call->raw);
}

void shard_own_all(struct shard *shard)
{
    Chasqui__Mail__OwnSlots own = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range range = CHASQUI__MAIL__OWN_SLOTS__RANGE__INIT, *ranges = &range;
    range.last = 65535;
    own.map_epoch = 1;
    own.n_ranges = 1;
    own.ranges = &ranges;
    CQ_ASSERT(
        shard_run(shard, &(struct shard_call){.method = CHASQUI__MAIL__METHOD__OWN_SLOTS, .message = &own.base}).rc ==
        CQ_OK);
}

/* ---- answers ---- */

static void *pool_alloc(void *pool, size_t size)
{
    return cq_pool_alloc(pool, size);
}

static void pool_free(void *pool, void *pointer)
{
    (void)pool, (void)pointer;
}

static const void *unpack(struct shard *shard, const ProtobufCMessageDescriptor *type, struct cq_slice bytes)
{
    ProtobufCAllocator allocator = {pool_alloc, pool_free, shard->pool};
    return protobuf_c_message_unpack(type, &allocator, bytes.len, bytes.data);
}

const Chasqui__Mail__Answer *shard_answer(struct shard *shard, const struct machine_outcome *outcome)
{
    return unpack(shard, &chasqui__mail__answer__descriptor, outcome->answer);
}

const void *shard_reply(struct shard *shard, const struct machine_outcome *outcome,
                        const ProtobufCMessageDescriptor *type)
{
    const Chasqui__Mail__Answer *answer = shard_answer(shard, outcome);
    return answer ? unpack(shard, type, cq_slice_of(answer->body.data, answer->body.len)) : NULL;
}

static struct machine_read make_read(struct shard *shard, uint32_t method, uint64_t account,
                                     const ProtobufCMessage *message)
{
    cq_pool_clear(shard->pool);
    cq_buf_reset(&shard->answer, SIZE_MAX);
    cq_buf_reset(&shard->raw, SIZE_MAX);
    cq_err_clear(&shard->err);
    struct cq_slice body = pack(shard, message);
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    call.body = (ProtobufCBinaryData){body.len, (uint8_t *)(uintptr_t)body.data};
    return (struct machine_read){method, account, pack(shard, &call.base)};
}

enum cq_rc shard_read(struct shard *shard, unsigned replica, uint32_t method, uint64_t account,
                      const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type, const void **reply_r,
                      struct cq_slice *raw_r)
{
    struct machine_read read = make_read(shard, method, account, message);
    struct machine *machine = shard->replicas[replica].machine;
    enum cq_rc rc = machine->ops->read(machine, &read, shard->pool, &shard->answer, &shard->raw, &shard->err);
    struct machine_outcome outcome = {.answer = cq_buf_slice(&shard->answer)};
    *reply_r = rc == CQ_OK ? shard_reply(shard, &outcome, type) : NULL;
    if (raw_r)
        *raw_r = cq_buf_slice(&shard->raw);
    return rc;
}

enum cq_rc shard_read_body(struct shard *shard, unsigned replica, uint64_t account, uint64_t email, uint64_t offset,
                           uint32_t length, struct cq_slice *octets_r)
{
    Chasqui__Mail__ReadBody wire = CHASQUI__MAIL__READ_BODY__INIT;
    wire.email = email;
    wire.offset = offset;
    wire.length = length;
    struct machine_read read = make_read(shard, CHASQUI__MAIL__METHOD__READ_BODY, account, &wire.base);
    struct machine *machine = shard->replicas[replica].machine;
    struct cq_pool *pool = cq_pool_new(1024); /* the shard's does not outlive what runs before the chunks */
    struct body_piece *pieces;
    size_t count;
    read.message = cq_pool_slice(pool, read.message);
    enum cq_rc rc = mail_machine_body(machine, &read, pool, &shard->answer, &pieces, &count, &shard->err);
    if (shard->before_chunks)
        shard->before_chunks(shard);
    shard->before_chunks = NULL;
    if (rc == CQ_OK)
        rc = body_pieces_read(shard->replicas[replica].store, pieces, count, &shard->raw, &shard->err);
    if (rc == CQ_E_NOT_FOUND)
        rc = mail_machine_body_missing(machine, &read, &shard->err);
    *octets_r = cq_buf_slice(&shard->raw);
    cq_pool_free(&pool);
    return rc;
}

void shard_before_chunks(struct shard *shard, void (*between)(struct shard *shard))
{
    shard->before_chunks = between;
}

/* ---- golden logs ---- */

#define GOLDEN_END UINT32_MAX

static bool write_all(FILE *f, const void *bytes, size_t len)
{
    return fwrite(bytes, 1, len, f) == len;
}

bool shard_save_log(struct shard *shard, const char *path)
{
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL;
    uint8_t head[12], digest[16];
    for (size_t i = 0; ok && i < shard->log_count; i++) {
        cq_put_le32(head, (uint32_t)shard->log[i].entry.len);
        cq_put_le64(head + 4, shard->log[i].outcome);
        ok = write_all(f, head, sizeof head) && write_all(f, shard->log[i].entry.data, shard->log[i].entry.len);
    }
    cq_put_le32(head, GOLDEN_END);
    shard->replicas[0].machine->ops->digest(shard->replicas[0].machine, digest);
    ok = ok && write_all(f, head, 4) && write_all(f, digest, sizeof digest);
    return f && fclose(f) == 0 && ok;
}

/* The next entry on the machine; CQ_E_EOF after the last. */
static enum cq_rc replay_next(struct shard *shard, FILE *f)
{
    uint8_t head[12], *entry, want[16], digest[16];
    struct machine *machine = shard->replicas[0].machine;
    if (fread(head, 1, 4, f) != 4)
        return CQ_E_CORRUPT;
    if (cq_get_le32(head) == GOLDEN_END) {
        machine->ops->digest(machine, digest);
        return fread(want, 1, 16, f) == 16 && !memcmp(want, digest, 16) ? CQ_E_EOF : CQ_E_CORRUPT;
    }
    uint32_t len = cq_get_le32(head);
    if (len > ENTRY_MAX || fread(head + 4, 1, 8, f) != 8)
        return CQ_E_CORRUPT;
    entry = cq_malloc(len);
    bool whole = fread(entry, 1, len, f) == len;
    struct machine_outcome outcome = shard_run_bytes(shard, cq_slice_of(entry, len));
    free(entry);
    return whole && hash_outcome(shard, &outcome) == cq_get_le64(head + 4) ? CQ_OK : CQ_E_CORRUPT;
}

bool shard_replay_log(const char *path, uint64_t *at_r)
{
    FILE *f = fopen(path, "rb");
    struct shard *shard = shard_new(1);
    enum cq_rc rc = f ? CQ_OK : CQ_E_NOT_FOUND;
    while (rc == CQ_OK)
        rc = replay_next(shard, f);
    *at_r = shard->log_count;
    shard_free(&shard);
    if (f)
        fclose(f);
    return rc == CQ_E_EOF;
}
