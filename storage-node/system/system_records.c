/* Records of the system shard: a header, the topology without its overrides, one record for each override. */
#include "base/cq_endian.h"
#include "state/command_version.h"
#include "system/system_private.h"

#define HEADER_SIZE 17
#define OVERRIDE_SIZE 5

static struct state_key key_of(const struct system_machine *m, int kind)
{
    struct state_key key;
    key_begin(&key, db_space(m->db), 0, (enum key_kind)kind);
    return key;
}

static struct state_key override_key(const struct system_machine *m, uint64_t account)
{
    struct state_key key = key_of(m, SYSTEM_KEY_OVERRIDE);
    key_u64(&key, account);
    return key;
}

/* ---- Saving ---- */

void system_save_header(struct system_machine *m)
{
    uint8_t bytes[HEADER_SIZE] = {SYSTEM_FORMAT};
    struct state_key key = key_of(m, SYSTEM_KEY_HEADER);
    cq_put_le64(bytes + 1, m->header.time);
    cq_put_le64(bytes + 9, m->header.next_replica);
    db_put(m->db, &key, cq_slice_of(bytes, sizeof bytes));
}

static void save_topology(struct system_machine *m, const struct topology *after)
{
    struct topology plain = *after;
    struct state_key key = key_of(m, SYSTEM_KEY_TOPOLOGY);
    struct cq_buf buf;
    plain.override_count = 0;
    cq_buf_init(&buf, 2 * TOPOLOGY_ENCODED_MAX);
    cq_buf_byte(&buf, SYSTEM_FORMAT);
    topology_encode(&plain, &buf);
    db_put(m->db, &key, cq_buf_slice(&buf));
    cq_buf_fini(&buf);
}

static void put_override(struct system_machine *m, const struct topology_override *override)
{
    uint8_t bytes[OVERRIDE_SIZE] = {SYSTEM_FORMAT};
    struct state_key key = override_key(m, override->account);
    cq_put_le32(bytes + 1, override->group);
    db_put(m->db, &key, cq_slice_of(bytes, sizeof bytes));
}

static void delete_override(struct system_machine *m, uint64_t account)
{
    struct state_key key = override_key(m, account);
    db_delete(m->db, &key);
}

/* Both lists rise by account: walked like a merge. */
static void save_overrides(struct system_machine *m, const struct topology *before, const struct topology *after)
{
    size_t b = 0;
    for (size_t a = 0; a < after->override_count; a++) {
        const struct topology_override *now = &after->overrides[a];
        while (b < before->override_count && before->overrides[b].account < now->account)
            delete_override(m, before->overrides[b++].account);
        bool same = b < before->override_count && before->overrides[b].account == now->account;
        if (!same || before->overrides[b].group != now->group)
            put_override(m, now);
        b += same;
    }
    while (b < before->override_count)
        delete_override(m, before->overrides[b++].account);
}

void system_save(struct system_machine *m, const struct topology *before, const struct topology *after)
{
    save_topology(m, after);
    save_overrides(m, before, after);
}

/* ---- Loading ---- */

static enum cq_rc bad(struct system_machine *m, const char *what, struct cq_slice bytes, struct cq_err *err)
{
    bool newer = bytes.len && bytes.data[0] > SYSTEM_FORMAT;
    enum cq_rc rc = db_break(m->db, newer ? CQ_E_VERSION : CQ_E_CORRUPT);
    return CQ_FAIL(err, rc, "the system shard's %s record has format %u, this build knows %u", what,
                   bytes.len ? bytes.data[0] : 0, SYSTEM_FORMAT);
}

static enum cq_rc load_header(struct system_machine *m, struct cq_pool *pool, struct cq_err *err)
{
    struct state_key key = key_of(m, SYSTEM_KEY_HEADER);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(m->db, &key, pool, &bytes);
    m->header = (struct system_header){.next_replica = 1};
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    if (rc != CQ_OK)
        return CQ_FAIL(err, rc, "reading the system shard's header");
    if (bytes.len != HEADER_SIZE || bytes.data[0] != SYSTEM_FORMAT)
        return bad(m, "header", bytes, err);
    m->header.time = cq_get_le64(bytes.data + 1);
    m->header.next_replica = cq_get_le64(bytes.data + 9);
    return CQ_OK;
}

static enum cq_rc load_overrides(struct system_machine *m, struct cq_pool *pool, struct topology *plain,
                                 struct cq_err *err)
{
    struct topology_override *overrides = cq_pool_calloc(pool, TOPOLOGY_OVERRIDES_MAX, sizeof *overrides);
    struct state_key prefix = key_of(m, SYSTEM_KEY_OVERRIDE);
    struct db_iter *iter = db_iter_prefix(m->db, &prefix);
    size_t count = 0;
    enum cq_rc rc;
    while ((rc = db_iter_next(iter)) == CQ_OK && count < TOPOLOGY_OVERRIDES_MAX) {
        struct cq_slice key = key_rest(db_iter_key(iter)), value = db_iter_value(iter);
        if (key.len != 8 || value.len != OVERRIDE_SIZE || value.data[0] != SYSTEM_FORMAT) {
            rc = bad(m, "override", value, err);
            break;
        }
        overrides[count++] = (struct topology_override){cq_get_be64(key.data), cq_get_le32(value.data + 1)};
    }
    db_iter_free(&iter);
    plain->overrides = overrides;
    plain->override_count = count;
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc load_topology(struct system_machine *m, struct cq_pool *pool, struct cq_err *err)
{
    struct state_key key = key_of(m, SYSTEM_KEY_TOPOLOGY);
    const struct topology *stored = NULL;
    struct cq_slice bytes;
    enum cq_rc rc = db_get(m->db, &key, pool, &bytes);
    if (rc == CQ_E_NOT_FOUND)
        return topology_new(&(struct topology){.cluster = ""}, &m->topology, err);
    if (rc != CQ_OK)
        return CQ_FAIL(err, rc, "reading the topology");
    if (bytes.len < 1 || bytes.data[0] != SYSTEM_FORMAT)
        return bad(m, "topology", bytes, err);
    rc = topology_decode(cq_slice_skip(bytes, 1), &stored, err);
    if (rc != CQ_OK)
        return bad(m, "topology", bytes, err);
    struct topology plain = *stored;
    rc = load_overrides(m, pool, &plain, err);
    if (rc == CQ_OK)
        rc = topology_new(&plain, &m->topology, err);
    topology_unref(&stored);
    if (rc == CQ_OK && m->topology->finalized_version > m->config.known)
        rc = db_break(m->db, command_version_too_new(m->topology->finalized_version, m->config.known, err));
    return rc;
}

enum cq_rc system_load(struct system_machine *m, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(4096);
    enum cq_rc rc = load_header(m, pool, err);
    if (rc == CQ_OK)
        rc = load_topology(m, pool, err);
    cq_pool_free(&pool);
    return rc;
}
