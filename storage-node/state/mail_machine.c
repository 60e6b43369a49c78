#include "state/mail_machine.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_planted.h"
#include "state/command_version.h"
#include "state/mail_private.h"

#include <stdlib.h>

/* mail_apply.c, mail_read.c */
void mail_apply(struct machine *machine, struct machine_position position, struct cq_slice entry, struct cq_pool *pool,
                struct machine_outcome *outcome_r);
enum cq_rc mail_read(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                     struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err);

static uint64_t machine_applied(const struct machine *machine)
{
    return db_mark(((const struct mail_machine *)machine)->db)->index;
}

static struct machine_effects *machine_effects_take(struct machine *machine)
{
    return db_effects_take(mail_machine_of(machine)->db);
}

static void machine_effects_written(struct machine *machine, struct machine_effects *effects)
{
    db_effects_written(mail_machine_of(machine)->db, effects);
}

static void machine_digest(const struct machine *machine, uint8_t digest_r[static 16])
{
    const struct db_mark *mark = db_mark(((const struct mail_machine *)machine)->db);
    cq_put_be64(digest_r, mark->digest.high);
    cq_put_be64(digest_r + 8, mark->digest.low);
}

static enum cq_rc machine_health(const struct machine *machine)
{
    return db_broken(((const struct mail_machine *)machine)->db);
}

static void machine_close(struct machine *machine)
{
    struct mail_machine *m = mail_machine_of(machine);
    db_close(&m->db);
    uid_cache_free(&m->uids);
    cq_buf_fini(&m->scratch);
    free(m);
}

static const struct machine_ops ops = {
    .apply = mail_apply,
    .read = mail_read,
    .applied = machine_applied,
    .effects_take = machine_effects_take,
    .effects_encode = db_effects_encode,
    .effects_written = machine_effects_written,
    .digest = machine_digest,
    .health = machine_health,
    .close = machine_close,
};

/* Group-level records, read once. */
static enum cq_rc load_group(struct mail_machine *m, struct cq_pool *pool, struct cq_err *err)
{
    struct state_key key;
    struct cq_slice bytes;
    m->group = (struct group_record){.active_version = COMMAND_VERSION_FIRST};
    key_begin(&key, db_space(m->db), 0, KEY_GROUP);
    enum cq_rc rc = db_get(m->db, &key, pool, &bytes);
    if (rc == CQ_OK)
        rc = group_record_get(bytes, &m->group);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return CQ_FAIL(err, rc, "group record of group %u", m->config.group);
    if (m->group.active_version > m->config.known)
        return command_version_too_new(m->group.active_version, m->config.known, err);
    key_begin(&key, db_space(m->db), 0, KEY_SLOTS);
    rc = db_get(m->db, &key, pool, &bytes);
    if (rc == CQ_OK)
        rc = slots_record_get(bytes, &m->slots_epoch, m->owned);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return CQ_FAIL(err, rc, "slots record of group %u", m->config.group);
    return CQ_OK;
}

enum cq_rc mail_machine_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err)
{
    *machine_r = NULL;
    struct mail_machine *m = cq_new(struct mail_machine);
    m->base.ops = &ops;
    m->config = *config;
    if (!m->config.known)
        m->config.known = command_version_known;
    m->uids = uid_cache_new(UID_CACHE_BYTES);
    cq_buf_init(&m->scratch, 4u << 20);
    struct cq_pool *pool = cq_pool_new(4096);
    enum cq_rc rc = db_open(config, &m->db, err);
    if (rc == CQ_OK)
        rc = load_group(m, pool, err);
    cq_pool_free(&pool);
    if (rc != CQ_OK) {
        machine_close(&m->base);
        return rc;
    }
    *machine_r = &m->base;
    return CQ_OK;
}

uint16_t mail_machine_active_version(const struct machine *machine)
{
    return ((const struct mail_machine *)machine)->group.active_version;
}

uint64_t mail_machine_time(const struct machine *machine)
{
    return ((const struct mail_machine *)machine)->group.time;
}

struct outbox_position mail_machine_outbox_cursor(const struct machine *machine)
{
    const struct mail_machine *m = (const struct mail_machine *)machine;
    return (struct outbox_position){m->group.outbox_index, m->group.outbox_sub_index};
}

void mail_machine_outbox_backlog(const struct machine *machine, uint64_t *events_r, uint64_t *bytes_r)
{
    const struct mail_machine *m = (const struct mail_machine *)machine;
    *events_r = m->group.outbox_events;
    *bytes_r = m->group.outbox_bytes;
}

/* ---- what a leader asks in the background ---- */

/* The first record of a group-level kind, from the key on. CQ_E_EOF when there is none. */
static enum cq_rc first_of(struct mail_machine *m, const struct state_key *from, struct cq_pool *pool,
                           struct cq_slice *key_r, struct cq_slice *value_r)
{
    struct state_key prefix = *from, after;
    prefix.len = STATE_KEY_HEAD;
    key_after_prefix(&prefix, &after);
    struct db_iter *iter = db_iter_new(m->db, key_slice(from), key_slice(&after));
    enum cq_rc rc = db_iter_next(iter);
    if (rc == CQ_OK) {
        *key_r = cq_pool_slice(pool, db_iter_key(iter));
        *value_r = cq_pool_slice(pool, db_iter_value(iter));
    }
    db_iter_free(&iter);
    return rc;
}

bool mail_machine_reclaim_due(struct machine *machine, uint64_t now)
{
    struct mail_machine *m = mail_machine_of(machine);
    struct cq_pool *pool = cq_pool_new(1024);
    struct state_key key;
    struct cq_slice found, value;
    key_begin(&key, db_space(m->db), 0, KEY_TOMBSTONE);
    bool due = first_of(m, &key, pool, &found, &value) == CQ_OK;
    if (!due) {
        key_begin(&key, db_space(m->db), 0, KEY_EXPIRY);
        due = first_of(m, &key, pool, &found, &value) == CQ_OK && cq_get_be64(key_rest(found).data) <= now;
    }
    cq_pool_free(&pool);
    return due;
}

enum cq_rc mail_machine_outbox_walk(struct machine *machine, struct outbox_position after, outbox_take_fn *take,
                                    void *ctx, struct cq_err *err)
{
    struct mail_machine *m = mail_machine_of(machine);
    struct state_key from, prefix, end;
    key_begin(&prefix, db_space(m->db), 0, KEY_OUTBOX);
    key_after_prefix(&prefix, &end);
    from = prefix;
    key_u64(&from, after.index);
    key_u32(&from, after.sub_index + (planted(PLANT_SKIP_EVENT) && after.sub_index == 0));
    key_u8(&from, 0); /* the first key over `after` itself */
    struct db_iter *iter = db_iter_new(m->db, key_slice(&from), key_slice(&end));
    enum cq_rc rc;
    bool more = true;
    while (more && (rc = db_iter_next(iter)) == CQ_OK) {
        const uint8_t *rest = key_rest(db_iter_key(iter)).data;
        struct cq_slice event;
        if ((rc = bytes_record_get(db_iter_value(iter), &event)) != CQ_OK)
            break;
        more = take(ctx, (struct outbox_position){cq_get_be64(rest), cq_get_be32(rest + 8)}, event);
    }
    db_iter_free(&iter);
    return rc == CQ_OK || rc == CQ_E_EOF ? rc : CQ_FAIL(err, rc, "outbox of group %u", m->config.group);
}

struct one_event {
    struct cq_pool *pool;
    struct outbox_position *position;
    struct cq_slice *event;
};

static bool take_one(void *ctx, struct outbox_position position, struct cq_slice event)
{
    struct one_event *one = ctx;
    *one->position = position;
    *one->event = cq_pool_slice(one->pool, event);
    return false;
}

enum cq_rc mail_machine_outbox_next(struct machine *machine, struct outbox_position after, struct cq_pool *pool,
                                    struct outbox_position *position_r, struct cq_slice *event_r, struct cq_err *err)
{
    struct one_event one = {pool, position_r, event_r};
    return mail_machine_outbox_walk(machine, after, take_one, &one, err);
}

uint64_t mail_machine_outbox_oldest(struct machine *machine)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct outbox_position at;
    struct cq_slice bytes;
    uint64_t time = 0;
    if (mail_machine_outbox_next(machine, mail_machine_outbox_cursor(machine), pool, &at, &bytes, NULL) == CQ_OK) {
        ProtobufCAllocator allocator = mail_allocator(pool);
        const Chasqui__Outbox__Event *event = chasqui__outbox__event__unpack(&allocator, bytes.len, bytes.data);
        time = event ? event->time : 0;
    }
    cq_pool_free(&pool);
    return time;
}

/* ---- verifying ---- */

enum cq_rc mail_machine_verify(struct machine *machine, uint64_t *records_r, struct cq_err *err)
{
    struct mail_machine *m = mail_machine_of(machine);
    struct state_key all = {.len = 0}, after;
    key_bytes(&all, db_space(m->db)->prefix, STATE_KEY_PREFIX);
    key_after_prefix(&all, &after);
    struct db_iter *iter = db_iter_new(m->db, key_slice(&all), key_slice(&after));
    struct cq_hash128 sum = {0, 0};
    uint64_t records = 0;
    enum cq_rc rc;
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        sum = hash128_add(sum, db_record_hash(db_iter_key(iter), db_iter_value(iter)));
        records++;
    }
    db_iter_free(&iter);
    if (rc != CQ_E_EOF)
        return CQ_FAIL(err, rc, "group %u: record %llu does not read", m->config.group, (unsigned long long)records);
    *records_r = records;
    if (records != db_mark(m->db)->records || !cq_hash128_eq(sum, db_mark(m->db)->digest))
        return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: digest of %llu records is not the one that apply kept for %llu",
                       m->config.group, (unsigned long long)records, (unsigned long long)db_mark(m->db)->records);
    return CQ_OK;
}
