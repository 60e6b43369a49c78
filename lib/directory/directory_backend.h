/* What a database must be able to do to be a directory. All names are canonical already (dir_address.h); rules about
 * who gets what are in directory.c and dir_resolve.c, never here. A backend passes the suite of
 * tests/unit/directory/suite.h.
 *
 * Functions run on a pool thread or on a fiber, several at once; results live in `pool`. CQ_E_NOT_FOUND: no such row.
 * CQ_E_BEHIND: the row is known and not complete yet (callers of the directory get CQ_E_UNAVAILABLE).
 * Each function that writes is one transaction that is durable when it returns, and adds its line to the change feed.
 */
#ifndef CHASQUI_DIRECTORY_BACKEND_H
#define CHASQUI_DIRECTORY_BACKEND_H

#include "directory/directory.h"

struct dir_backend;

struct dir_account_row { /* what account_add writes */
    uint64_t id;
    uint64_t domain_id;
    struct cq_slice local;
    struct cq_slice home_dc;
    const struct dir_plan *plan;
    unsigned services;
    bool admin;
    uint64_t quota_bytes;
    uint64_t quota_messages;
    struct cq_slice password_hash; /* "": none */
    uint64_t now_us;
};

struct dir_account_query {
    uint64_t domain_id; /* 0: all */
    unsigned states;    /* bits; never 0 */
    uint64_t after_id;
    size_t max;
};

struct dir_backend_ops {
    const char *name;
    void (*close)(struct dir_backend *self);
    /* Did the last call that reached the database fail? Its text. NULL: every call reaches it. Any thread. */
    bool (*trouble)(struct dir_backend *self, char text_r[static DIRECTORY_TROUBLE_SIZE]);
    /* Suspends the fiber until something may have changed, at most so long: CQ_OK or CQ_E_CANCELLED. One fiber at a
     * time. NULL: nothing tells. */
    enum cq_rc (*wait_for_change)(struct dir_backend *self, uint64_t most_ms);
    /* NULL: opening brings the schema up to date. */
    enum cq_rc (*schema)(struct dir_backend *self, enum directory_schema_action action,
                         struct directory_schema *schema_r, struct cq_err *err);

    enum cq_rc (*domain_get)(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *domain_r, struct cq_err *err);
    enum cq_rc (*domain_list)(struct dir_backend *self, struct cq_slice after, size_t max, struct cq_pool *pool,
                              struct dir_domain **rows_r, size_t *count_r, struct cq_err *err);
    /* alias_of 0: a domain of its own. CQ_E_EXISTS */
    enum cq_rc (*domain_add)(struct dir_backend *self, struct cq_slice name, uint64_t alias_of, uint64_t now_us,
                             struct cq_err *err);
    enum cq_rc (*domain_set_postmaster)(struct dir_backend *self, uint64_t domain_id, uint64_t account_id,
                                        struct cq_err *err);
    enum cq_rc (*domain_remove)(struct dir_backend *self, uint64_t domain_id,
                                struct cq_err *err); /* CQ_E_CONFLICT: in use */

    /* The first active account by creation time: of the domain (0: of all), among its admins or among the others. */
    enum cq_rc (*first_account)(struct dir_backend *self, uint64_t domain_id, bool admin, uint64_t *account_id_r,
                                struct cq_err *err);

    enum cq_rc (*address_get)(struct dir_backend *self, uint64_t domain_id, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *row_r, struct cq_err *err);
    /* An alias or catch-all and one target. CQ_E_EXISTS: the target is there, or the address is a primary one. */
    enum cq_rc (*target_add)(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                             enum dir_address_kind kind, uint64_t account_id, struct cq_err *err);
    /* account_id 0: all. The row goes with its last target. Primary addresses: CQ_E_NOT_FOUND. */
    enum cq_rc (*target_remove)(struct dir_backend *self, uint64_t domain_id, struct cq_slice local,
                                uint64_t account_id, struct cq_err *err);
    /* Of the account, primary first; or (account_id 0) of the domain. */
    enum cq_rc (*address_list)(struct dir_backend *self, uint64_t account_id, uint64_t domain_id, size_t max,
                               struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                               struct cq_err *err);

    enum cq_rc (*account_get)(struct dir_backend *self, uint64_t id, struct cq_pool *pool,
                              struct dir_account *account_r, struct cq_err *err);
    /* With its primary address and, if there is a hash, its password (all services); state creating. One line in the
     * feed. CQ_E_EXISTS: the address is taken; CQ_E_CONFLICT: the id is. */
    enum cq_rc (*account_add)(struct dir_backend *self, const struct dir_account_row *row, struct cq_err *err);
    enum cq_rc (*account_update)(struct dir_backend *self, uint64_t id, const struct dir_account_update *update,
                                 const struct dir_plan *plan, struct cq_err *err);
    /* `from`: bits of states that may change to `to`; in `to` already: CQ_OK; in another: CQ_E_CONFLICT. */
    enum cq_rc (*account_set_state)(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                                    struct cq_err *err);
    /* In state deleting only (CQ_E_CONFLICT); with credentials, addresses and aliases that had no other target. */
    enum cq_rc (*account_remove)(struct dir_backend *self, uint64_t id, struct cq_err *err);
    enum cq_rc (*account_list)(struct dir_backend *self, const struct dir_account_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err);

    /* State creating or deleting: directory_pending_list. state_us is set by account_add and by each change of the
     * state, by the clock that ages are reckoned with here. */
    enum cq_rc (*pending_list)(struct dir_backend *self, const struct dir_pending_query *query, struct cq_pool *pool,
                               struct dir_account **rows_r, size_t *count_r, struct cq_err *err);
    enum cq_rc (*pending_count)(struct dir_backend *self, struct dir_pending *pending_r, struct cq_err *err);

    enum cq_rc (*credential_list)(struct dir_backend *self, uint64_t account_id, struct cq_pool *pool,
                                  struct dir_credential **rows_r, size_t *count_r, struct cq_err *err);
    enum cq_rc (*credential_put)(struct dir_backend *self, const struct dir_credential *row, uint64_t now_us,
                                 uint64_t *id_r, struct cq_err *err);
    enum cq_rc (*credential_rehash)(struct dir_backend *self, uint64_t id, uint64_t old_version, struct cq_slice hash,
                                    struct cq_err *err);
    enum cq_rc (*credential_used)(struct dir_backend *self, uint64_t id, uint64_t now_us, struct cq_err *err);
    enum cq_rc (*credential_remove)(struct dir_backend *self, uint64_t account_id, uint64_t id, struct cq_err *err);

    enum cq_rc (*changes)(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *pool,
                          struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *err);
};

struct dir_backend {
    const struct dir_backend_ops *ops;
};

/* A directory over an open backend, which it owns from now on. */
struct directory *directory_new(struct dir_backend *backend, const struct directory_config *config);

/* lib/directory/dir_sqlite.c */
enum cq_rc dir_sqlite_open(const char *path, uint64_t busy_timeout_us, struct dir_backend **backend_r,
                           struct cq_err *err);

#endif
