/* The directory: domains, accounts, addresses, credentials. One interface; a backend (SQLite, PostgreSQL) is a struct
 * of functions (directory_backend.h) that a common suite of tests must pass.
 *
 * Calls may suspend the calling fiber (a pool thread or a database works meanwhile), never the thread of a loop.
 * Results live in the pool that the caller gives. CQ_E_UNAVAILABLE, CQ_E_OVERLOADED, CQ_E_TIMEOUT and CQ_E_IO mean "ask
 * again later": they are never an answer about a user (SMTP 451, IMAP [UNAVAILABLE]; a 550 here would lose mail).
 * Addresses may be given as a person typed them: dir_address.h has the rules. */
#ifndef CHASQUI_DIRECTORY_H
#define CHASQUI_DIRECTORY_H

#include "base/cq_config.h"
#include "base/cq_pool.h"
#include "directory/dir_address.h"
#include "directory/dir_types.h"

struct directory;

enum directory_backend_kind { DIRECTORY_SQLITE, DIRECTORY_POSTGRESQL };

struct dir_pg_config {
    const char *dsn;           /* libpq: "host=a,b dbname=mail user=chasqui", or postgresql://... */
    const char *admin_dsn;     /* for migrations: straight to the server, as the owner of the schema; "": dsn */
    const char *listen_dsn;    /* straight to the server, to be told of changes at once; "" or NULL: not told */
    const char *password_file; /* its first line is the password; read at each connect; "": none */
    int64_t connections;       /* of one loop, and of all threads without one */
    uint64_t timeout_us;       /* of one call, connecting included */
    uint64_t vanished_keep_us; /* for rows of a site's own tables: how long the mail of one that vanished is kept */
};

struct directory_config {
    int backend; /* enum directory_backend_kind */
    struct dir_pg_config postgresql;
    uint64_t cache_fresh_us, cache_stale_us; /* dir_cache.h; with postgresql only */
    int64_t cache_max;
    const char *known_file, *known_key_file; /* dir_keeper.h; "": none. With postgresql and a cache only */
    uint64_t known_interval_us;
    const char *sqlite_path;
    int64_t threads;   /* that work for suspended fibers */
    int64_t queue_max; /* calls that wait for one of them; one more is CQ_E_OVERLOADED */
    uint64_t busy_timeout_us;
};

struct cq_config_part directory_config_part(struct directory_config *values);
extern struct cq_metrics directory_metrics, dir_cache_metrics, dir_keeper_metrics;

/* SQLite: opens the database and brings its schema up to date. CQ_E_IO; CQ_E_VERSION: written by a newer version;
 * CQ_E_CORRUPT: a migration that was applied is not the one that this build has. Refuses nothing else.
 * With threads = 0 all calls run in the caller's thread (tools, tests).
 * PostgreSQL: connects with the first call; CQ_E_CONFIG when the settings are malformed. */
enum cq_rc directory_open(const struct directory_config *config, struct directory **directory_r, struct cq_err *err);
void directory_close(struct directory **directory);

/* Quick and without suspension: the last call that reached the database worked. For /readyz?verbose, not for /readyz.
 */
bool directory_healthy(const struct directory *directory);

#define DIRECTORY_TROUBLE_SIZE 256
/* The same in words: what went wrong with the last call, one line, or "" when nothing did. Any thread. */
void directory_trouble(struct directory *directory, char text_r[static DIRECTORY_TROUBLE_SIZE]);

/* ---- The schema, for operators. Suspends the fiber. ---- */

enum directory_schema_action {
    DIRECTORY_SCHEMA_LOOK,
    DIRECTORY_SCHEMA_MIGRATE, /* applies what is missing; one process at a time */
    DIRECTORY_SCHEMA_CHECK    /* is everything there that the program reads and calls, and may it? */
};

struct directory_schema {
    const char *backend; /* "sqlite", "postgresql" */
    const char *state;   /* "current", "empty", "older", "newer" */
    uint64_t version;    /* of the database; 0: no schema, or (SQLite) always this program's */
    uint64_t newest;     /* that this program has */
    char server[64];     /* version of the server; "" */
};

/* CQ_E_UNAVAILABLE, CQ_E_CORRUPT, CQ_E_CONFIG: err is one line with what to do. */
enum cq_rc directory_schema(struct directory *directory, enum directory_schema_action action,
                            struct directory_schema *schema_r, struct cq_err *err);

/* ---- Looking up ---- */

enum dir_answer {
    DIR_FOUND,
    DIR_NO_USER,      /* SMTP 550 5.1.1 */
    DIR_NO_DOMAIN,    /* not ours: relaying or 550 5.7.1 */
    DIR_USER_DISABLED /* SMTP 550 5.2.1: all accounts behind the address are disabled */
};

enum dir_via { DIR_VIA_PRIMARY, DIR_VIA_ALIAS, DIR_VIA_PLUS, DIR_VIA_CATCH_ALL, DIR_VIA_POSTMASTER };

struct dir_resolution {
    enum dir_answer answer;
    enum dir_via via;
    struct dir_address address;         /* canonical, as asked for (before alias domains) */
    const struct dir_account *accounts; /* active ones, each once; empty unless DIR_FOUND */
    size_t account_count;
};

/* Who gets mail for this address? Order: exact address, address without its tag, postmaster, catch-all; an alias domain
 * is replaced by its target first. "postmaster" of a domain of ours (and without a domain) always finds somebody:
 * the chosen account, else the domain's first admin account, else its first account, else the first admin account of
 * all. CQ_OK: the answer is definite. An account behind the address that is being created or deleted: CQ_E_UNAVAILABLE.
 */
enum cq_rc directory_resolve(struct directory *directory, struct cq_slice address, struct cq_pool *pool,
                             struct dir_resolution *resolution_r, struct cq_err *err);

/* May this account send as `address` (MAIL FROM, header From)? Its primary address, its aliases, each with a tag or
 * under an alias domain, and postmaster@ when that is its mail; a catch-all gives no right to send.
 * CQ_OK, CQ_E_DENIED (also for addresses that are not ours), or "later". */
enum cq_rc directory_may_send_as(struct directory *directory, uint64_t account_id, struct cq_slice address,
                                 struct cq_err *err);

/* CQ_E_NOT_FOUND: no such account (also: removed). */
enum cq_rc directory_account(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                             struct dir_account *account_r, struct cq_err *err);
/* By primary address or (alias domain) the same under another domain: who may log in by this name. Not by alias or tag.
 */
enum cq_rc directory_account_by_login(struct directory *directory, struct cq_slice login, struct cq_pool *pool,
                                      struct dir_account *account_r, struct cq_err *err);

/* What log-ins with this name are counted by: canonical, under the domain that an alias domain stands for; as it was
 * written when it is no address. Whether there is such an account is not asked, so the answer and its time tell nobody.
 * Without an answer of the directory an alias domain is taken as a domain of its own. In `pool`, or the argument. */
struct cq_slice directory_login_name(struct directory *directory, struct cq_slice login, struct cq_pool *pool);

/* ---- Domains ---- */

enum cq_rc directory_domain_add(struct directory *directory, struct cq_slice name,
                                struct cq_err *err); /* CQ_E_EXISTS */
/* `alias` answers for the mailboxes of `target`, which is a domain of ours and no alias itself (CQ_E_INVALID). */
enum cq_rc directory_domain_alias_add(struct directory *directory, struct cq_slice alias, struct cq_slice target,
                                      struct cq_err *err);
/* Of a domain of ours: the account that gets its postmaster@; 0: back to the rule. */
enum cq_rc directory_domain_postmaster(struct directory *directory, struct cq_slice name, uint64_t account_id,
                                       struct cq_err *err);
/* CQ_E_CONFLICT while it has accounts, addresses or alias domains. */
enum cq_rc directory_domain_remove(struct directory *directory, struct cq_slice name, struct cq_err *err);
enum cq_rc directory_domain(struct directory *directory, struct cq_slice name, struct cq_pool *pool,
                            struct dir_domain *domain_r, struct cq_err *err);
/* In the order of names, from after `after` ("" from the start), at most `max` (<= 1,000). */
enum cq_rc directory_domain_list(struct directory *directory, struct cq_slice after, size_t max, struct cq_pool *pool,
                                 struct dir_domain **domains_r, size_t *count_r, struct cq_err *err);

/* ---- Accounts: creating -> active <-> disabled -> deleting -> gone ---- */

struct dir_account_new {
    struct cq_slice address;
    uint16_t slot;           /* from the placement function */
    struct cq_slice home_dc; /* the data centre of that slot */
    struct cq_slice plan;    /* "" for DIR_PLAN_DEFAULT */
    unsigned services;
    bool admin;
    uint64_t quota_bytes;
    uint64_t quota_messages;
    struct cq_slice password_hash; /* of auth_hash_password; "" for none. Written with the row: both or neither */
};

/* A row in state creating with a new id. CQ_E_EXISTS: the address is taken (account_r tells by whom, so that a create
 * that was cut short can go on: it is still `creating`). CQ_E_NOT_FOUND: not a domain of ours; CQ_E_INVALID: no address
 * that can be created, no such plan. Then: CREATE_ACCOUNT in its shard, then directory_account_activate. */
enum cq_rc directory_account_create(struct directory *directory, const struct dir_account_new *account,
                                    struct cq_pool *pool, struct dir_account *account_r, struct cq_err *err);

/* State changes. Repeating one that has happened is CQ_OK; one that the life cycle does not have is CQ_E_CONFLICT. */
enum cq_rc directory_account_activate(struct directory *directory, uint64_t account_id,
                                      struct cq_err *err); /* creating */
enum cq_rc directory_account_disable(struct directory *directory, uint64_t account_id, struct cq_err *err); /* active */
enum cq_rc directory_account_enable(struct directory *directory, uint64_t account_id,
                                    struct cq_err *err); /* disabled */
enum cq_rc directory_account_delete(struct directory *directory, uint64_t account_id, struct cq_err *err); /* any */
/* The shard has its tombstone: the row, its addresses and credentials go. deleting only; gone already: CQ_OK. */
enum cq_rc directory_account_remove(struct directory *directory, uint64_t account_id, struct cq_err *err);

enum dir_account_change {
    DIR_SET_PLAN = 1,
    DIR_SET_SERVICES = 2,
    DIR_SET_QUOTA = 4, /* both */
    DIR_SET_ADMIN = 8,
    DIR_SET_HOME_DC = 16
};

struct dir_account_update {
    unsigned what;             /* sum of enum dir_account_change */
    uint64_t expected_version; /* 0: any; otherwise CQ_E_CONFLICT when the row has another */
    struct cq_slice plan;
    struct cq_slice home_dc;
    unsigned services;
    bool admin;
    uint64_t quota_bytes;
    uint64_t quota_messages;
};

enum cq_rc directory_account_update(struct directory *directory, uint64_t account_id,
                                    const struct dir_account_update *update, struct cq_err *err);

struct dir_account_filter {
    struct cq_slice domain; /* "": all */
    unsigned states;        /* bits 1 << enum dir_state; 0: all */
    uint64_t after_id;      /* page: in the order of ids, from after this one */
    size_t max;             /* <= 1,000 */
};

enum cq_rc directory_account_list(struct directory *directory, const struct dir_account_filter *filter,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err);

/* ---- What is half done: accounts in the states creating and deleting, for the reconciler ---- */

struct dir_pending_query {
    uint64_t age_min_us;         /* that have been in their state for so long, by the database's clock; 0: all */
    uint64_t after_us, after_id; /* page: state_us and id of the last row before; 0, 0: from the oldest */
    size_t max;                  /* <= 1,000 */
};

/* The oldest first: in the order of state_us, then of ids as signed numbers. Always of the database itself, never of
 * what is remembered (dir_cache.h). */
enum cq_rc directory_pending_list(struct directory *directory, const struct dir_pending_query *query,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err);

struct dir_pending {
    uint64_t creating, deleting;                       /* accounts */
    uint64_t creating_age_max_us, deleting_age_max_us; /* of the oldest; 0: none */
};

enum cq_rc directory_pending_count(struct directory *directory, struct dir_pending *pending_r, struct cq_err *err);

/* ---- Aliases ---- */

/* `address` ("info@example.test", or "@example.test" for a catch-all) delivers to one more account. CQ_E_EXISTS: it
 * does already, or the address is an account's own. CQ_E_LIMIT: DIR_TARGETS_MAX. */
enum cq_rc directory_alias_add(struct directory *directory, struct cq_slice address, uint64_t account_id,
                               struct cq_err *err);
/* account_id 0: the whole alias. CQ_E_NOT_FOUND. */
enum cq_rc directory_alias_remove(struct directory *directory, struct cq_slice address, uint64_t account_id,
                                  struct cq_err *err);
/* All addresses of an account (primary first), or of a domain when account_id is 0. */
enum cq_rc directory_address_list(struct directory *directory, uint64_t account_id, struct cq_slice domain, size_t max,
                                  struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                                  struct cq_err *err);

/* ---- Credentials: rows only; auth.h makes and verifies secrets ---- */

/* In the order of their ids: the password (if any) and the app passwords. `hash` is filled: keep it out of answers. */
enum cq_rc directory_credential_list(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                                     struct dir_credential **rows_r, size_t *count_r, struct cq_err *err);
/* Replaces the password's row, or adds an app password (CQ_E_EXISTS: its prefix is in use; CQ_E_LIMIT).
 * id, version, created_us are set by the directory; *id_r. CQ_E_NOT_FOUND: no such account. */
enum cq_rc directory_credential_put(struct directory *directory, const struct dir_credential *credential,
                                    uint64_t *id_r, struct cq_err *err);
/* A better hash of the same secret (parameters changed): only if the row still has `old_version`; the version stays. */
enum cq_rc directory_credential_rehash(struct directory *directory, uint64_t credential_id, uint64_t old_version,
                                       struct cq_slice hash, struct cq_err *err);
enum cq_rc directory_credential_used(struct directory *directory, uint64_t credential_id, uint64_t now_us,
                                     struct cq_err *err);
enum cq_rc directory_credential_remove(struct directory *directory, uint64_t account_id, uint64_t credential_id,
                                       struct cq_err *err);

/* ---- Changes ---- */

enum dir_change_kind { DIR_CHANGED_DOMAIN, DIR_CHANGED_ACCOUNT, DIR_CHANGED_ADDRESS, DIR_CHANGED_CREDENTIAL };

struct dir_change {
    uint64_t version;
    enum dir_change_kind kind;
    uint64_t account_id;    /* 0 for domains and for aliases of many */
    uint64_t credential_id; /* 0 unless a credential changed */
};

/* What changed after `since`, oldest first, at most `max`; rows may be gone by now: read them again. *head_r: the last
 * version handed out, to go on from. CQ_E_STALE: `since` is older than what is kept: forget everything, go on from
 * *head_r. */
enum cq_rc directory_changes(struct directory *directory, uint64_t since, size_t max, struct cq_pool *pool,
                             struct dir_change **changes_r, size_t *count_r, uint64_t *head_r, struct cq_err *err);

/* A reader of the feed. `changed` is called in the caller's context for each change; kind and ids as above.
 * `lost` says that changes were missed: everything must be looked at again. */
typedef void directory_watch_fn(const struct dir_change *change, bool lost, void *ctx); /* change NULL: lost */

struct directory_watch {
    struct directory *directory;
    uint64_t seen;
    bool started;
    bool late; /* the feed could not be read at first: who was let in until then was let in by what was remembered */
    directory_watch_fn *changed;
    void *ctx;
};

/* Call about every 2 s from one fiber (or thread); the first call only notes where the feed ends (when calls before it
 * failed, it also tells `lost`). Reads all there is. */
enum cq_rc directory_watch_poll(struct directory_watch *watch, struct cq_err *err);

/* Until something may have changed (a hint, never a promise), at most so long: CQ_OK or CQ_E_CANCELLED. For one fiber
 * of the process. */
enum cq_rc directory_watch_wait(struct directory_watch *watch, uint64_t most_ms);

#endif
