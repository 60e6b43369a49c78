#include "unit/node/fake_machine.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

struct fake {
    struct machine base;
    uint32_t group;
    uint64_t sum, applied;
    uint64_t written; /* applied index of the last effects that were written */
    bool dirty, failed;
};

struct machine_effects {
    uint32_t group;
    uint64_t sum, applied;
};

static atomic_int machines;

static struct fake *fake_of(const struct machine *machine)
{
    return cq_containerof(machine, struct fake, base);
}

static void fake_apply(struct machine *machine, struct machine_position position, struct cq_slice entry,
                       struct cq_pool *pool, struct machine_outcome *outcome_r)
{
    struct fake *f = fake_of(machine);
    if (f->failed || position.index <= f->applied)
        return;
    CQ_ASSERT(position.index == f->applied + 1);
    f->applied = position.index;
    f->dirty = true;
    outcome_r->rc = CQ_OK;
    if (entry.len == 0)
        return;
    if (entry.len != 8) {
        outcome_r->rc = CQ_E_PROTO;
        return;
    }
    uint64_t n = cq_get_be64(entry.data);
    if (n == FAKE_POISON) {
        f->failed = true;
        return;
    }
    f->sum += n;
    uint8_t answer[8];
    cq_put_be64(answer, f->sum);
    outcome_r->answer = cq_pool_slice(pool, cq_slice_of(answer, 8));
    outcome_r->entry_time = position.index;
    outcome_r->account = n;
    outcome_r->notice = outcome_r->answer;
}

static enum cq_rc fake_read(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                            struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err)
{
    (void)machine, (void)read, (void)pool, (void)answer, (void)raw;
    return CQ_FAIL(err, CQ_E_UNSUPPORTED, "a fake");
}

static uint64_t fake_applied(const struct machine *machine)
{
    return fake_of(machine)->applied;
}

static struct machine_effects *fake_effects_take(struct machine *machine)
{
    struct fake *f = fake_of(machine);
    if (!f->dirty || f->failed)
        return NULL;
    f->dirty = false;
    struct machine_effects *e = cq_new(struct machine_effects);
    *e = (struct machine_effects){f->group, f->sum, f->applied};
    return e;
}

static void fake_effects_encode(const struct machine_effects *e, struct store_batch *batch)
{
    uint8_t key[5], value[8];
    cq_put_be32(key, e->group);
    key[4] = 's';
    cq_put_be64(value, e->sum);
    store_batch_put(batch, STORE_STATE, cq_slice_of(key, 5), cq_slice_of(value, 8));
    key[4] = 'a';
    cq_put_be64(value, e->applied);
    store_batch_put(batch, STORE_STATE, cq_slice_of(key, 5), cq_slice_of(value, 8));
}

static void fake_effects_written(struct machine *machine, struct machine_effects *e)
{
    struct fake *f = fake_of(machine);
    CQ_ASSERT(e->applied > f->written); /* in the order of taking */
    f->written = e->applied;
    free(e);
}

static void fake_digest(const struct machine *machine, uint8_t digest_r[static 16])
{
    memset(digest_r, 0, 16);
    cq_put_be64(digest_r, fake_of(machine)->sum);
}

static enum cq_rc fake_health(const struct machine *machine)
{
    return fake_of(machine)->failed ? CQ_E_CORRUPT : CQ_OK;
}

static void fake_close(struct machine *machine)
{
    free(fake_of(machine));
    atomic_fetch_sub(&machines, 1);
}

static const struct machine_ops fake_ops = {.apply = fake_apply,
                                            .read = fake_read,
                                            .applied = fake_applied,
                                            .effects_take = fake_effects_take,
                                            .effects_encode = fake_effects_encode,
                                            .effects_written = fake_effects_written,
                                            .digest = fake_digest,
                                            .health = fake_health,
                                            .close = fake_close};

static uint64_t stored(struct store *store, uint32_t group, uint8_t what)
{
    uint8_t key[5];
    cq_put_be32(key, group);
    key[4] = what;
    struct cq_buf out;
    cq_buf_init(&out, 8);
    uint64_t value = 0;
    if (store_get(store, NULL, STORE_STATE, cq_slice_of(key, 5), &out, NULL) == CQ_OK)
        value = cq_get_be64(out.data);
    cq_buf_fini(&out);
    return value;
}

void fake_machine_stored(struct store *store, uint32_t group, uint64_t *sum_r, uint64_t *applied_r)
{
    *sum_r = stored(store, group, 's');
    *applied_r = stored(store, group, 'a');
}

struct machine *fake_machine_open(struct store *store, uint32_t group)
{
    struct fake *f = cq_new(struct fake);
    f->base.ops = &fake_ops;
    f->group = group;
    fake_machine_stored(store, group, &f->sum, &f->applied);
    f->written = f->applied;
    atomic_fetch_add(&machines, 1);
    return &f->base;
}

uint64_t fake_machine_sum(const struct machine *machine)
{
    return fake_of(machine)->sum;
}

int fake_machine_count(void)
{
    return atomic_load(&machines);
}
