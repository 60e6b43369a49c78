#include "sim_toy.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "state/entry.h"

#include <stdlib.h>
#include <string.h>

struct toy {
    struct machine base;
    struct machine_config config;
    uint64_t applied;
    uint64_t *numbers;
    size_t count, cap;
    size_t taken; /* numbers up to here are in effects that were taken */
    uint64_t taken_applied;
    struct machine_effects *out; /* taken and not written, newest first */
};

struct machine_effects {
    struct machine_effects *next;
    uint32_t group;
    uint64_t applied;
    size_t first, count;
    uint64_t numbers[];
};

static struct toy *toy_of(struct machine *machine)
{
    return (struct toy *)machine;
}

static void push(struct toy *toy, uint64_t number)
{
    if (toy->count == toy->cap) {
        toy->cap = toy->cap ? toy->cap * 2 : 256;
        toy->numbers = cq_realloc(toy->numbers, toy->cap * sizeof *toy->numbers);
    }
    toy->numbers[toy->count++] = number;
}

static void toy_apply(struct machine *machine, struct machine_position position, struct cq_slice bytes,
                      struct cq_pool *pool, struct machine_outcome *outcome_r)
{
    struct toy *toy = toy_of(machine);
    struct entry entry;
    if (position.index <= toy->applied)
        return;
    CQ_ASSERT(position.index == toy->applied + 1);
    toy->applied = position.index;
    *outcome_r = (struct machine_outcome){.rc = CQ_E_INVALID};
    if (entry_decode(bytes, pool, &entry, NULL) != CQ_OK || entry.body.len != 8)
        return;
    push(toy, cq_get_be64(entry.body.data));
    outcome_r->rc = CQ_OK;
}

static enum cq_rc toy_read(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                           struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err)
{
    (void)machine, (void)read, (void)pool, (void)answer, (void)raw;
    return CQ_FAIL(err, CQ_E_UNSUPPORTED, "the toy is looked into directly");
}

static uint64_t toy_applied(const struct machine *machine)
{
    return ((const struct toy *)machine)->applied;
}

static struct machine_effects *toy_effects_take(struct machine *machine)
{
    struct toy *toy = toy_of(machine);
    size_t count = toy->count - toy->taken;
    if (toy->applied == toy->taken_applied)
        return NULL;
    struct machine_effects *effects = cq_malloc(sizeof *effects + count * sizeof *toy->numbers);
    *effects = (struct machine_effects){
        .next = toy->out, .group = toy->config.group, .applied = toy->applied, .first = toy->taken, .count = count};
    if (count)
        memcpy(effects->numbers, toy->numbers + toy->taken, count * sizeof *toy->numbers);
    toy->out = effects;
    toy->taken = toy->count;
    toy->taken_applied = toy->applied;
    return effects;
}

static void toy_key(uint32_t group, uint64_t i, uint8_t key_r[static 12])
{
    cq_put_be32(key_r, group);
    cq_put_be64(key_r + 4, i);
}

static void toy_effects_encode(const struct machine_effects *effects, struct store_batch *batch)
{
    uint8_t key[12], value[8];
    for (size_t i = 0; i < effects->count; i++) {
        toy_key(effects->group, effects->first + i, key);
        cq_put_be64(value, effects->numbers[i]);
        store_batch_put(batch, STORE_STATE, cq_slice_of(key, 12), cq_slice_of(value, 8));
    }
    cq_put_be64(value, effects->applied);
    cq_put_be32(key, effects->group);
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, 4), cq_slice_of(value, 8));
}

static void toy_effects_written(struct machine *machine, struct machine_effects *effects)
{
    struct machine_effects **at = &toy_of(machine)->out;
    while (*at != effects)
        at = &(*at)->next;
    *at = effects->next;
    free(effects);
}

static void toy_digest(const struct machine *machine, uint8_t digest_r[static 16])
{
    const struct toy *toy = (const struct toy *)machine;
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(toy->numbers, toy->count * sizeof *toy->numbers));
    cq_put_le64(digest_r, hash.low);
    cq_put_le64(digest_r + 8, hash.high);
}

static enum cq_rc toy_health(const struct machine *machine)
{
    (void)machine;
    return CQ_OK;
}

static void toy_close(struct machine *machine)
{
    struct toy *toy = toy_of(machine);
    while (toy->out)
        toy_effects_written(machine, toy->out);
    free(toy->numbers);
    free(toy);
}

static const struct machine_ops toy_ops = {
    .apply = toy_apply,
    .read = toy_read,
    .applied = toy_applied,
    .effects_take = toy_effects_take,
    .effects_encode = toy_effects_encode,
    .effects_written = toy_effects_written,
    .digest = toy_digest,
    .health = toy_health,
    .close = toy_close,
};

static void read_back(struct toy *toy)
{
    uint8_t from[12], to[12];
    toy_key(toy->config.group, 0, from);
    toy_key(toy->config.group + 1, 0, to);
    struct store_iter *iter =
        store_iter_new(toy->config.store, NULL, STORE_STATE, cq_slice_of(from, 12), cq_slice_of(to, 12));
    while (store_iter_next(iter) == CQ_OK)
        push(toy, cq_get_be64(store_iter_value(iter).data));
    store_iter_free(&iter);
    struct cq_buf value;
    cq_buf_init(&value, 8);
    if (store_get(toy->config.store, NULL, STORE_LOCAL, cq_slice_of(from, 4), &value, NULL) == CQ_OK)
        toy->applied = cq_get_be64(value.data);
    cq_buf_fini(&value);
    toy->taken = toy->count;
    toy->taken_applied = toy->applied;
}

enum cq_rc sim_toy_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err)
{
    struct toy *toy = cq_new(struct toy);
    (void)err;
    toy->base.ops = &toy_ops;
    toy->config = *config;
    read_back(toy);
    *machine_r = &toy->base;
    return CQ_OK;
}

size_t sim_toy_count(const struct machine *machine)
{
    return ((const struct toy *)machine)->count;
}

uint64_t sim_toy_at(const struct machine *machine, size_t i)
{
    return ((const struct toy *)machine)->numbers[i];
}

void sim_toy_entry(unsigned group, uint64_t number, uint32_t chunk_size, struct sim_toy_entry *entry_r)
{
    uint8_t body[8], *data;
    struct entry_chunk chunk;
    struct cq_buf out;
    *entry_r = (struct sim_toy_entry){0};
    if (chunk_size) {
        entry_r->body.owner = raft_bytes_new(chunk_size, &data);
        memset(data, (int)number, chunk_size);
        entry_r->body.octets = raft_bytes_slice(entry_r->body.owner);
        chunk = (struct entry_chunk){chunk_size, cq_xxh3_128(entry_r->body.octets)};
    }
    cq_put_be64(body, number);
    const struct entry entry = {
        .version = 1, .method = 1, .chunks = &chunk, .chunk_count = chunk_size > 0, .body = cq_slice_of(body, 8)};
    cq_buf_init(&out, ENTRY_MAX);
    CQ_ASSERT(entry_encode(&entry, &out, NULL) == CQ_OK);
    struct raft_bytes *owner = raft_bytes_copy(cq_buf_slice(&out));
    cq_buf_fini(&out);
    entry_r->proposal = (struct raft_proposal){.group = group + 1,
                                               .owner = owner,
                                               .entry = raft_bytes_slice(owner),
                                               .bodies = &entry_r->body,
                                               .body_count = chunk_size > 0};
}

void sim_toy_release(struct sim_toy_entry *entry)
{
    raft_bytes_unref(&entry->proposal.owner);
    raft_bytes_unref(&entry->body.owner);
}
