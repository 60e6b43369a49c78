/* All that the program says to PostgreSQL at run time. Reads go through the views lookup_*, writes are one function
 * call each, so every statement is a transaction by itself. Columns and parameters are cast: a site's own views may
 * have varchar or citext. */
#ifndef CHASQUI_DIR_PG_STATEMENTS_H
#define CHASQUI_DIR_PG_STATEMENTS_H

#include "directory/dir_pg_private.h"

#define DOMAIN_COLUMNS                                                                                                 \
    "SELECT id::bigint, name::text, alias_of::bigint, alias_of_name::text, postmaster::bigint, version::bigint "       \
    "FROM mail.lookup_domain "
#define ACCOUNT_COLUMNS                                                                                                \
    "SELECT id::bigint, version::bigint, domain_id::bigint, address::text, state::text, services::bigint, "            \
    "admin::boolean, plan::text, home_dc::text, quota_bytes::bigint, quota_messages::bigint, created_us::bigint, "     \
    "state_us::bigint FROM mail.lookup_account "
#define ADDRESS_COLUMNS                                                                                                \
    "SELECT (local || '@' || domain)::text, kind::text, account_id::bigint FROM mail.lookup_address "
#define ADDRESSES_WHERE(condition)                                                                                     \
    "SELECT (l.local || '@' || l.domain)::text, l.kind::text, l.account_id::bigint FROM mail.lookup_address l JOIN "   \
    "(SELECT DISTINCT kind <> 'primary' AS other, domain::text COLLATE \"C\" AS domain, "                              \
    "local::text COLLATE \"C\" AS local, domain_id FROM mail.lookup_address WHERE " condition                          \
    " ORDER BY 1, 2, 3 LIMIT $2) one ON one.domain_id = l.domain_id AND one.local = l.local "                          \
    "ORDER BY one.other, one.domain, one.local, l.account_id"

/* X(name, repeat, SQL) */
#define PG_STATEMENTS(X)                                                                                               \
    X(PG_DOMAIN_GET, PG_READ, DOMAIN_COLUMNS "WHERE name = $1")                                                        \
    X(PG_DOMAIN_LIST, PG_READ, DOMAIN_COLUMNS "WHERE name COLLATE \"C\" > $1 ORDER BY name COLLATE \"C\" LIMIT $2")    \
    X(PG_DOMAIN_ADD, PG_ONCE, "SELECT mail.domain_add($1, $2, $3)::bigint")                                            \
    X(PG_DOMAIN_POSTMASTER, PG_IDEMPOTENT, "SELECT mail.domain_set_postmaster($1, $2)")                                \
    X(PG_DOMAIN_REMOVE, PG_ONCE, "SELECT mail.domain_remove($1)")                                                      \
    X(PG_FIRST_ACCOUNT, PG_READ,                                                                                       \
      "SELECT id::bigint FROM mail.lookup_account WHERE state = 'active' AND admin = $1 AND ($2 = 0 OR "               \
      "domain_id = $2) ORDER BY created_us, id LIMIT 1")                                                               \
    X(PG_ADDRESS_GET, PG_READ, ADDRESS_COLUMNS "WHERE domain_id = $1 AND local = $2 ORDER BY account_id")              \
    X(PG_ADDRESS_OF_ACCOUNT, PG_READ, ADDRESSES_WHERE("account_id = $1"))                                              \
    X(PG_ADDRESS_OF_DOMAIN, PG_READ,                                                                                   \
      "SELECT (l.local || '@' || l.domain)::text, l.kind::text, l.account_id::bigint FROM mail.lookup_address l "      \
      "WHERE l.domain_id = $1 AND l.local IN (SELECT local FROM mail.lookup_address WHERE domain_id = $1 "             \
      "GROUP BY local ORDER BY local COLLATE \"C\" LIMIT $2) ORDER BY l.local COLLATE \"C\", l.account_id")            \
    X(PG_TARGET_ADD, PG_ONCE, "SELECT mail.target_add($1, $2, $3, $4, $5)")                                            \
    X(PG_TARGET_REMOVE, PG_ONCE, "SELECT mail.target_remove($1, $2, $3)")                                              \
    X(PG_ACCOUNT_GET, PG_READ, ACCOUNT_COLUMNS "WHERE id = $1")                                                        \
    X(PG_ACCOUNT_LIST, PG_READ,                                                                                        \
      ACCOUNT_COLUMNS "WHERE ((id < 0), id) > (($1 < 0), $1) AND ($2 = 0 OR domain_id = $2) AND "                      \
                      "state = ANY (string_to_array($3, ',')) ORDER BY (id < 0), id LIMIT $4")                         \
    X(PG_PENDING_LIST, PG_READ,                                                                                        \
      ACCOUNT_COLUMNS "WHERE state IN ('creating', 'deleting') AND (state_us, id) > ($1, $2) AND "                     \
                      "state_us <= mail.now_us() - $3 ORDER BY state_us, id LIMIT $4")                                 \
    X(PG_PENDING_COUNT, PG_READ,                                                                                       \
      "SELECT state::text, count(*)::bigint, greatest(0, mail.now_us() - min(state_us))::bigint FROM "                 \
      "mail.lookup_account WHERE state IN ('creating', 'deleting') GROUP BY state")                                    \
    X(PG_ACCOUNT_ADD, PG_IDEMPOTENT, "SELECT mail.account_add($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")          \
    X(PG_ACCOUNT_UPDATE, PG_ONCE, "SELECT mail.account_update($1, $2, $3, $4, $5, $6, $7, $8, $9)")                    \
    X(PG_ACCOUNT_STATE, PG_IDEMPOTENT, "SELECT mail.account_set_state($1, $2, $3)")                                    \
    X(PG_ACCOUNT_REMOVE, PG_IDEMPOTENT, "SELECT mail.account_remove($1)")                                              \
    X(PG_BIND_NEW, PG_IDEMPOTENT, "SELECT mail.bind_new($1)::bigint")                                                  \
    X(PG_CREDENTIAL_LIST, PG_READ,                                                                                     \
      "SELECT id::bigint, account_id::bigint, kind::text, scopes::bigint, prefix::text, hash::text, label::text, "     \
      "created_us::bigint, expires_us::bigint, last_used_us::bigint, version::bigint FROM mail.lookup_credential "     \
      "WHERE account_id = $1 ORDER BY id")                                                                             \
    X(PG_CREDENTIAL_PUT, PG_ONCE, "SELECT mail.credential_put($1, $2, $3, $4, $5, $6, $7, $8, $9)::bigint")            \
    X(PG_CREDENTIAL_REHASH, PG_IDEMPOTENT, "SELECT mail.credential_rehash($1, $2, $3)")                                \
    X(PG_CREDENTIAL_USED, PG_IDEMPOTENT, "SELECT mail.credential_used($1, $2)")                                        \
    X(PG_CREDENTIAL_REMOVE, PG_ONCE, "SELECT mail.credential_remove($1, $2)")                                          \
    X(PG_CHANGES, PG_READ,                                                                                             \
      "SELECT f.head::bigint, f.trimmed::bigint, c.version::bigint, c.kind::bigint, c.account_id::bigint, "            \
      "c.credential_id::bigint FROM mail.feed f LEFT JOIN LATERAL (SELECT * FROM mail.lookup_change "                  \
      "WHERE version > $1 ORDER BY version LIMIT $2) c ON true ORDER BY c.version")

enum pg_statement_id {
#define PG_STATEMENT_ENUM(name, repeat, sql) name,
    PG_STATEMENTS(PG_STATEMENT_ENUM)
#undef PG_STATEMENT_ENUM
        PG_STATEMENT_COUNT
};

extern const struct pg_statement pg_statements[PG_STATEMENT_COUNT];

/* ---- The operations, by file ---- */

static inline struct pg_backend *pg_backend_of(struct dir_backend *base)
{
    return cq_containerof(base, struct pg_backend, base);
}

/* A call that gives rows: the caller clears *result_r. */
enum cq_rc pg_ask(struct dir_backend *base, enum pg_statement_id id, const struct pg_params *params,
                  PGresult **result_r, struct cq_err *err);
/* A call that gives at most one number. */
enum cq_rc pg_do(struct dir_backend *base, enum pg_statement_id id, const struct pg_params *params, uint64_t *number_r,
                 struct cq_err *err);

void dir_pg_add_domain_ops(struct dir_backend_ops *ops);
void dir_pg_add_address_ops(struct dir_backend_ops *ops);
void dir_pg_add_account_ops(struct dir_backend_ops *ops);
void dir_pg_add_credential_ops(struct dir_backend_ops *ops);

#endif
