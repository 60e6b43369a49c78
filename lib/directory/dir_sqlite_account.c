#include "directory/dir_sqlite_private.h"

#include "base/cq_time.h"

/* A plan or state that this build does not know was written by a newer one: refused, not guessed. */
static enum cq_rc read_account(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    struct dir_account *account = row_r;
    *account = (struct dir_account){
        .id = sq_int(stmt, 0),
        .version = sq_int(stmt, 1),
        .domain_id = sq_int(stmt, 2),
        .address = sq_text(stmt, 3, pool),
        .services = (unsigned)sq_int(stmt, 5),
        .admin = sq_int(stmt, 6) != 0,
        .plan = dir_plan_find(sq_peek(stmt, 7)),
        .home_dc = sq_text(stmt, 8, pool),
        .quota_bytes = sq_int(stmt, 9),
        .quota_messages = sq_int(stmt, 10),
        .created_us = sq_int(stmt, 11),
        .state_us = sq_int(stmt, 12),
    };
    if (!dir_state_parse(sq_peek(stmt, 4), &account->state) || !account->plan)
        return CQ_FAIL(c->err, CQ_E_VERSION,
                       "directory: an account has a state or plan that this version does not know");
    return CQ_OK;
}

enum cq_rc sq_account_get(struct sq *c, uint64_t id, struct cq_pool *pool, struct dir_account *account_r)
{
    return SQ_GET(c, read_account, pool, account_r, S_ACCOUNT_GET, SQ_N(id));
}

/* State and version as they are inside of the transaction. */
static enum cq_rc look_at(struct sq *c, uint64_t id, enum dir_state *state_r, uint64_t *version_r)
{
    struct cq_pool *tmp = cq_pool_new(1024);
    struct dir_account account = {.id = 0};
    enum cq_rc rc = sq_account_get(c, id, tmp, &account);
    *state_r = account.state;
    *version_r = account.version;
    cq_pool_free(&tmp);
    return rc;
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = sq_account_get(c, id, pool, account_r);
    return sq_end(c, rc);
}

/* ---- Creating ---- */

static enum cq_rc take_address(struct sq *c, const struct dir_account_row *row)
{
    enum cq_rc rc = sq_address_add(c, row->domain_id, row->local, DIR_PRIMARY);
    if (rc != CQ_OK && sq_violates(c, SQLITE_CONSTRAINT_PRIMARYKEY))
        return CQ_FAIL(c->err, CQ_E_EXISTS, "the address is taken");
    return rc;
}

static enum cq_rc insert_account(struct sq *c, const struct dir_account_row *row)
{
    enum cq_rc rc =
        SQ_RUN(c, S_ACCOUNT_ADD, SQ_N(row->id), SQ_N(row->domain_id), SQ_T(row->local), SQ_TEXT(row->plan->name),
               SQ_T(row->home_dc), SQ_N(row->services), SQ_N(row->admin), SQ_N(row->quota_bytes),
               SQ_N(row->quota_messages), SQ_N(row->now_us), SQ_N(cq_time_wall_us()));
    return rc == CQ_OK ? SQ_RUN(c, S_TARGET_ADD, SQ_N(row->domain_id), SQ_T(row->local), SQ_N(row->id)) : rc;
}

/* With the password, if there is one; its version is the account's first. */
static enum cq_rc begin_history(struct sq *c, const struct dir_account_row *row)
{
    const struct dir_credential password = {
        .account_id = row->id, .kind = DIR_PASSWORD, .scopes = DIR_ALL_SERVICES, .hash = row->password_hash};
    uint64_t credential = 0, version;
    enum cq_rc rc = row->password_hash.len ? sq_credential_add(c, &password, row->now_us, &credential) : CQ_OK;
    if (rc == CQ_OK)
        rc = sq_touch_account(c, DIR_CHANGED_ACCOUNT, row->id, 0, &version);
    return rc == CQ_OK && credential ? SQ_RUN(c, S_CREDENTIAL_VERSION, SQ_N(credential), SQ_N(version)) : rc;
}

static enum cq_rc account_add(struct dir_backend *self, const struct dir_account_row *row, struct cq_err *err)
{
    struct sq *c;
    uint64_t one;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK) {
        rc = SQ_GET(c, sq_read_int, NULL, &one, S_ACCOUNT_EXISTS, SQ_N(row->id));
        rc = rc == CQ_E_NOT_FOUND ? CQ_OK : rc == CQ_OK ? CQ_FAIL(err, CQ_E_CONFLICT, "the account id is in use") : rc;
    }
    if (rc == CQ_OK)
        rc = take_address(c, row);
    if (rc == CQ_OK)
        rc = insert_account(c, row);
    if (rc == CQ_OK)
        rc = begin_history(c, row);
    return sq_end(c, rc);
}

/* ---- Changing ---- */

static enum cq_rc account_update(struct dir_backend *self, uint64_t id, const struct dir_account_update *update,
                                 const struct dir_plan *plan, struct cq_err *err)
{
    struct sq *c;
    enum dir_state state;
    uint64_t version;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = look_at(c, id, &state, &version);
    if (rc == CQ_OK && update->expected_version && update->expected_version != version)
        rc = CQ_FAIL(err, CQ_E_CONFLICT, "the account has changed meanwhile");
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_ACCOUNT_UPDATE, SQ_N(id), SQ_N(update->what), SQ_TEXT(plan ? plan->name : ""),
                    SQ_N(update->services), SQ_N(update->quota_bytes), SQ_N(update->quota_messages),
                    SQ_N(update->admin), SQ_T(update->home_dc));
    if (rc == CQ_OK)
        rc = sq_touch_account(c, DIR_CHANGED_ACCOUNT, id, 0, NULL);
    return sq_end(c, rc);
}

static enum cq_rc change_state(struct sq *c, uint64_t id, unsigned from, enum dir_state to)
{
    enum dir_state state;
    uint64_t version;
    enum cq_rc rc = look_at(c, id, &state, &version);
    if (rc != CQ_OK || state == to)
        return rc;
    if (!(from & 1u << state))
        return CQ_FAIL(c->err, CQ_E_CONFLICT, "the account is %s", dir_state_name(state));
    rc = SQ_RUN(c, S_ACCOUNT_STATE, SQ_N(id), SQ_TEXT(dir_state_name(to)), SQ_N(cq_time_wall_us()));
    return rc == CQ_OK ? sq_touch_account(c, DIR_CHANGED_ACCOUNT, id, 0, NULL) : rc;
}

static enum cq_rc account_set_state(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                                    struct cq_err *err)
{
    struct sq *c;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = change_state(c, id, from, to);
    return sq_end(c, rc);
}

/* Its own address and the aliases that go to nobody else go first; targets and credentials follow by foreign key. */
static enum cq_rc account_remove(struct dir_backend *self, uint64_t id, struct cq_err *err)
{
    struct sq *c;
    enum dir_state state;
    uint64_t version;
    enum cq_rc rc = sq_begin(self, SQ_WRITE, &c, err);
    if (rc == CQ_OK)
        rc = look_at(c, id, &state, &version);
    if (rc == CQ_OK && state != DIR_DELETING)
        rc = CQ_FAIL(err, CQ_E_CONFLICT, "the account is %s", dir_state_name(state));
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_ADDRESSES_GONE_WITH, SQ_N(id));
    if (rc == CQ_OK)
        rc = SQ_RUN(c, S_ACCOUNT_REMOVE, SQ_N(id));
    if (rc == CQ_OK)
        rc = sq_note(c, DIR_CHANGED_ACCOUNT, id, 0, &version);
    return sq_end(c, rc);
}

/* ---- Lists ---- */

/* One run of ids that are neighbours as signed numbers too. */
static enum cq_rc list_range(struct sq *c, const struct dir_account_query *query, int64_t low, int64_t high,
                             struct sq_rows *rows)
{
    struct cq_slice states[DIR_STATE_COUNT];
    for (int state = 0; state < DIR_STATE_COUNT; state++) /* "" is no state; none vanishes here */
        states[state] = cq_slice_cstr(query->states & 1u << state ? dir_state_name((enum dir_state)state) : "");
    return SQ_LIST(c, read_account, rows, S_ACCOUNT_LIST, SQ_N(low), SQ_N(high), SQ_N(query->domain_id),
                   SQ_T(states[0]), SQ_T(states[1]), SQ_T(states[2]), SQ_T(states[3]), SQ_N(query->max - rows->count));
}

/* Ids are unsigned; SQLite's integers are not: first those below 2^63, then the others. */
static enum cq_rc list_all(struct sq *c, const struct dir_account_query *query, struct sq_rows *rows)
{
    uint64_t from = query->after_id + 1;
    enum cq_rc rc = CQ_OK;
    if (from == 0)
        return CQ_OK;
    if (from <= INT64_MAX)
        rc = list_range(c, query, (int64_t)from, INT64_MAX, rows);
    if (rc == CQ_OK && rows->count < query->max)
        rc = list_range(c, query, from <= INT64_MAX ? INT64_MIN : (int64_t)from, -1, rows);
    return rc;
}

static enum cq_rc account_list(struct dir_backend *self, const struct dir_account_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct sq *c;
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = list_all(c, query, &rows);
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

static enum cq_rc pending_list(struct dir_backend *self, const struct dir_pending_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err)
{
    struct sq *c;
    struct sq_rows rows = {.pool = pool, .size = sizeof **rows_r};
    uint64_t until_us = query->age_min_us ? cq_time_wall_us() - query->age_min_us : INT64_MAX;
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = SQ_LIST(c, read_account, &rows, S_PENDING_LIST, SQ_N(query->after_us), SQ_N(query->after_id),
                     SQ_N(until_us), SQ_N(query->max));
    *rows_r = rows.data;
    *count_r = rows.count;
    return sq_end(c, rc);
}

struct pending_row {
    bool creating;
    uint64_t count, since_us;
};

static enum cq_rc read_pending(struct sq *c, sqlite3_stmt *stmt, struct cq_pool *pool, void *row_r)
{
    (void)c, (void)pool;
    *(struct pending_row *)row_r = (struct pending_row){
        .creating = cq_slice_eq(sq_peek(stmt, 0), cq_slice_cstr(dir_state_name(DIR_CREATING))),
        .count = sq_int(stmt, 1),
        .since_us = sq_int(stmt, 2),
    };
    return CQ_OK;
}

static enum cq_rc pending_count(struct dir_backend *self, struct dir_pending *pending_r, struct cq_err *err)
{
    struct sq *c;
    struct cq_pool *tmp = cq_pool_new(256);
    struct sq_rows rows = {.pool = tmp, .size = sizeof(struct pending_row)};
    uint64_t now_us = cq_time_wall_us();
    enum cq_rc rc = sq_begin(self, SQ_READ, &c, err);
    if (rc == CQ_OK)
        rc = sq_list(c, read_pending, &rows, S_PENDING_COUNT, SQ_NO_VALUES);
    for (size_t i = 0; i < rows.count; i++) {
        const struct pending_row *row = (const struct pending_row *)rows.data + i;
        *(row->creating ? &pending_r->creating : &pending_r->deleting) = row->count;
        *(row->creating ? &pending_r->creating_age_max_us : &pending_r->deleting_age_max_us) =
            row->since_us < now_us ? now_us - row->since_us : 0;
    }
    cq_pool_free(&tmp);
    return sq_end(c, rc);
}

void dir_sqlite_add_account_ops(struct dir_backend_ops *ops)
{
    ops->account_get = account_get;
    ops->account_add = account_add;
    ops->account_update = account_update;
    ops->account_set_state = account_set_state;
    ops->account_remove = account_remove;
    ops->account_list = account_list;
    ops->pending_list = pending_list;
    ops->pending_count = pending_count;
}
