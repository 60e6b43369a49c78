#include "directory/dir_row.h"

#include "base/cq_endian.h"

#define TEXT_MAX UINT16_MAX
#define CREDENTIAL_MIN (8 + 8 + 1 + 4 + 3 * 2 + 4 * 8) /* bytes of one with empty texts */

/* ---- Writing: every overflow is noted by the buffer ---- */

static void put_u8(struct cq_buf *out, unsigned value)
{
    cq_buf_byte(out, (uint8_t)value);
}

static void put_u32(struct cq_buf *out, uint32_t value)
{
    uint8_t bytes[4];
    cq_put_le32(bytes, value);
    cq_buf_add(out, bytes, sizeof bytes);
}

static void put_u64(struct cq_buf *out, uint64_t value)
{
    uint8_t bytes[8];
    cq_put_le64(bytes, value);
    cq_buf_add(out, bytes, sizeof bytes);
}

static void put_text(struct cq_buf *out, struct cq_slice text)
{
    uint8_t bytes[2];
    if (text.len > TEXT_MAX) {
        out->overflow = true;
        return;
    }
    cq_put_le16(bytes, (uint16_t)text.len);
    cq_buf_add(out, bytes, sizeof bytes);
    cq_buf_slice_add(out, text);
}

static void put_domain(struct cq_buf *out, const void *value)
{
    const struct dir_domain *d = value;
    put_u64(out, d->id);
    put_text(out, d->name);
    put_u64(out, d->alias_of);
    put_text(out, d->alias_of_name);
    put_u64(out, d->postmaster);
    put_u64(out, d->version);
}

static void put_address(struct cq_buf *out, const void *value)
{
    const struct dir_address_row *a = value;
    put_text(out, a->address);
    put_u8(out, a->kind);
    put_u32(out, (uint32_t)a->target_count);
    for (size_t i = 0; i < a->target_count; i++)
        put_u64(out, a->targets[i]);
}

static void put_first(struct cq_buf *out, const void *value)
{
    put_u64(out, *(const uint64_t *)value);
}

static void put_account(struct cq_buf *out, const void *value)
{
    const struct dir_account *a = value;
    put_u64(out, a->id);
    put_u64(out, a->version);
    put_u64(out, a->domain_id);
    put_text(out, a->address);
    put_u8(out, a->state);
    put_u32(out, a->services);
    put_u8(out, a->admin);
    put_text(out, cq_slice_cstr(a->plan ? a->plan->name : NULL));
    put_text(out, a->home_dc);
    put_u64(out, a->quota_bytes);
    put_u64(out, a->quota_messages);
    put_u64(out, a->created_us);
    put_u64(out, a->state_us);
}

static void put_credentials(struct cq_buf *out, const void *value)
{
    const struct dir_row_credentials *list = value;
    put_u32(out, (uint32_t)list->count);
    for (size_t i = 0; i < list->count; i++) {
        const struct dir_credential *c = &list->rows[i];
        put_u64(out, c->id);
        put_u64(out, c->account_id);
        put_u8(out, c->kind);
        put_u32(out, c->scopes);
        put_text(out, c->prefix);
        put_text(out, c->hash);
        put_text(out, c->label);
        put_u64(out, c->created_us);
        put_u64(out, c->expires_us);
        put_u64(out, c->last_used_us);
        put_u64(out, c->version);
    }
}

/* ---- Reading: after the first byte that is missing or wrong everything is 0 and `bad` stays ---- */

struct in {
    struct cq_slice left;
    struct cq_pool *pool;
    bool bad;
};

static struct cq_slice get_bytes(struct in *in, size_t len)
{
    struct cq_slice bytes = cq_slice_sub(in->left, 0, len);
    in->bad = in->bad || bytes.len < len;
    in->left = cq_slice_skip(in->left, len);
    return in->bad ? CQ_SLICE_NONE : bytes;
}

static unsigned get_u8(struct in *in)
{
    struct cq_slice bytes = get_bytes(in, 1);
    return in->bad ? 0 : bytes.data[0];
}

static uint32_t get_u32(struct in *in)
{
    struct cq_slice bytes = get_bytes(in, 4);
    return in->bad ? 0 : cq_get_le32(bytes.data);
}

static uint64_t get_u64(struct in *in)
{
    struct cq_slice bytes = get_bytes(in, 8);
    return in->bad ? 0 : cq_get_le64(bytes.data);
}

static struct cq_slice get_text(struct in *in)
{
    struct cq_slice bytes = get_bytes(in, 2);
    return in->bad ? CQ_SLICE_NONE : get_bytes(in, cq_get_le16(bytes.data));
}

/* A value that must be below `count`. */
static unsigned get_choice(struct in *in, unsigned count)
{
    unsigned value = get_u8(in);
    in->bad = in->bad || value >= count;
    return in->bad ? 0 : value;
}

/* How many things of at least `size` bytes follow: never more than there is room for. */
static size_t get_count(struct in *in, size_t size)
{
    size_t count = get_u32(in);
    in->bad = in->bad || count > in->left.len / size;
    return in->bad ? 0 : count;
}

static void *get_domain(struct in *in)
{
    struct dir_domain *d = cq_pool_new_of(in->pool, struct dir_domain);
    d->id = get_u64(in);
    d->name = get_text(in);
    d->alias_of = get_u64(in);
    d->alias_of_name = get_text(in);
    d->postmaster = get_u64(in);
    d->version = get_u64(in);
    return d;
}

static void *get_address(struct in *in)
{
    struct dir_address_row *a = cq_pool_new_of(in->pool, struct dir_address_row);
    a->address = get_text(in);
    a->kind = (enum dir_address_kind)get_choice(in, DIR_CATCH_ALL + 1);
    a->target_count = get_count(in, 8);
    uint64_t *targets = cq_pool_calloc(in->pool, a->target_count + 1, sizeof *targets);
    for (size_t i = 0; i < a->target_count; i++)
        targets[i] = get_u64(in);
    a->targets = targets;
    return a;
}

static void *get_first(struct in *in)
{
    uint64_t *id = cq_pool_new_of(in->pool, uint64_t);
    *id = get_u64(in);
    return id;
}

static void *get_account(struct in *in)
{
    struct dir_account *a = cq_pool_new_of(in->pool, struct dir_account);
    a->id = get_u64(in);
    a->version = get_u64(in);
    a->domain_id = get_u64(in);
    a->address = get_text(in);
    a->state = (enum dir_state)get_choice(in, DIR_STATE_COUNT);
    a->services = get_u32(in);
    a->admin = get_choice(in, 2);
    a->plan = dir_plan_find(get_text(in));
    a->home_dc = get_text(in);
    a->quota_bytes = get_u64(in);
    a->quota_messages = get_u64(in);
    a->created_us = get_u64(in);
    a->state_us = get_u64(in);
    in->bad = in->bad || !a->plan;
    return a;
}

static void *get_credentials(struct in *in)
{
    struct dir_row_credentials *list = cq_pool_new_of(in->pool, struct dir_row_credentials);
    list->count = get_count(in, CREDENTIAL_MIN);
    list->rows = cq_pool_calloc(in->pool, list->count + 1, sizeof *list->rows);
    for (size_t i = 0; i < list->count; i++) {
        struct dir_credential *c = &list->rows[i];
        c->id = get_u64(in);
        c->account_id = get_u64(in);
        c->kind = (enum dir_credential_kind)get_choice(in, DIR_APP_PASSWORD + 1);
        c->scopes = get_u32(in);
        c->prefix = get_text(in);
        c->hash = get_text(in);
        c->label = get_text(in);
        c->created_us = get_u64(in);
        c->expires_us = get_u64(in);
        c->last_used_us = get_u64(in);
        c->version = get_u64(in);
    }
    return list;
}

/* ---- Rows ---- */

static const struct {
    void (*put)(struct cq_buf *out, const void *value);
    void *(*get)(struct in *in);
} codecs[DIR_ROW_KINDS] = {
    [DIR_ROW_DOMAIN] = {put_domain, get_domain},
    [DIR_ROW_ADDRESS] = {put_address, get_address},
    [DIR_ROW_FIRST] = {put_first, get_first},
    [DIR_ROW_ACCOUNT] = {put_account, get_account},
    [DIR_ROW_CREDENTIALS] = {put_credentials, get_credentials},
};

bool dir_row_put(struct cq_buf *out, const struct dir_row *row)
{
    size_t before = out->len;
    bool overflow = out->overflow;
    out->overflow = false;
    put_u8(out, row->kind);
    put_u64(out, row->number);
    put_text(out, row->text);
    put_u64(out, row->read_us);
    codecs[row->kind].put(out, row->value);
    bool ok = !out->overflow && out->len - before <= DIR_ROW_MAX;
    if (!ok)
        out->len = before;
    out->overflow = overflow;
    return ok;
}

enum cq_rc dir_row_get(struct cq_slice *in, struct cq_pool *pool, struct dir_row *row_r, struct cq_err *err)
{
    struct in reader = {.left = *in, .pool = pool};
    *row_r = (struct dir_row){.kind = (enum dir_row_kind)get_choice(&reader, DIR_ROW_KINDS)};
    row_r->number = get_u64(&reader);
    row_r->text = get_text(&reader);
    row_r->read_us = get_u64(&reader);
    row_r->value = codecs[row_r->kind].get(&reader);
    if (reader.bad)
        return CQ_FAIL(err, CQ_E_CORRUPT, "it has a row that is none");
    *in = reader.left;
    return CQ_OK;
}
