/* Passwords: making, verifying, revoking. argon2id (libsodium) in a small pool of threads with a bounded queue; the
 * calling fiber sleeps meanwhile. An unknown user costs the same hash and gets the same code as a wrong password.
 *
 * A verified password is remembered for a short time under HMAC-SHA-256(process key; account, credential and its
 * version, service, password). The rows are read at every log-in, so a changed or removed credential and a disabled
 * account count at once for new log-ins; for live sessions the front-end follows the change feed and asks
 * auth_session_check. */
#ifndef CHASQUI_AUTH_H
#define CHASQUI_AUTH_H

#include "directory/directory.h"

struct auth;

#define AUTH_PASSWORD_MAX 1024 /* bytes; longer is a wrong password */
#define AUTH_PASSWORD_MIN 8    /* bytes of a password that is set */

struct auth_config {
    uint64_t argon2_memory; /* bytes per running hash */
    int64_t argon2_passes;
    int64_t threads;
    int64_t queue_max; /* hashes that wait; one more is CQ_E_OVERLOADED */
    uint64_t cache_ttl_us;
    int64_t cache_max; /* remembered passwords; 0: none */
};

struct cq_config_part auth_config_part(struct auth_config *values);
extern struct cq_metrics auth_metrics;

/* The directory outlives it. With threads = 0 hashes run in the caller's thread (tools, tests). */
enum cq_rc auth_new(const struct auth_config *config, struct directory *directory, struct auth **auth_r,
                    struct cq_err *err);
void auth_free(struct auth **auth);

/* Why a log-in failed: for the log and the metrics only, never for the client. */
#define AUTH_REASONS(X)                                                                                                \
    X(AUTH_OK, "ok")                                                                                                   \
    X(AUTH_UNKNOWN_USER, "unknown_user")                                                                               \
    X(AUTH_WRONG_PASSWORD, "wrong_password")                                                                           \
    X(AUTH_EXPIRED, "expired")                                                                                         \
    X(AUTH_SCOPE, "scope")                                                                                             \
    X(AUTH_SERVICE_OFF, "service_off")                                                                                 \
    X(AUTH_ACCOUNT_STATE, "account_state")                                                                             \
    X(AUTH_NOT_READY, "not_ready") /* the account is being created */                                                  \
    X(AUTH_BACKEND, "backend")

enum auth_reason {
#define AUTH_REASON_ENUM(name, text) name,
    AUTH_REASONS(AUTH_REASON_ENUM)
#undef AUTH_REASON_ENUM
        AUTH_REASON_COUNT
};

const char *auth_reason_name(enum auth_reason reason);

struct auth_login {
    enum dir_service service;
    struct cq_slice login; /* as the client sent it */
    struct cq_slice password;
};

struct auth_identity {
    struct dir_account account; /* in the caller's pool */
    uint64_t credential_id;
    enum dir_credential_kind kind;
    uint64_t expires_us; /* of the credential; 0: never */
    enum auth_reason reason;
    bool cached;
};

/* CQ_OK: log in. CQ_E_AUTH: unknown user, wrong or expired password; one answer for all. CQ_E_DENIED: the password was
 * right, but the account's state, its switch for the service or the credential's scope does not allow it.
 * CQ_E_OVERLOADED, CQ_E_UNAVAILABLE (the right password of an account that is being created, too) and the like: later.
 * `reason` is always set. Suspends the fiber. */
enum cq_rc auth_verify(struct auth *auth, const struct auth_login *login, struct cq_pool *pool,
                       struct auth_identity *identity_r, struct cq_err *err);

/* May a live session go on that logged in with this credential? CQ_OK, CQ_E_DENIED (end it), or "later" (keep it).
 * Does not look at the password again: a changed password ends sessions because its credential id is new. */
enum cq_rc auth_session_check(struct auth *auth, uint64_t account_id, uint64_t credential_id, enum dir_service service,
                              struct cq_err *err);

/* The text that is kept of a password (directory_account_create takes it); in the pool. CQ_E_INVALID: shorter than
 * AUTH_PASSWORD_MIN or longer than AUTH_PASSWORD_MAX bytes. Suspends the fiber. */
enum cq_rc auth_hash_password(struct auth *auth, struct cq_slice password, struct cq_pool *pool,
                              struct cq_slice *hash_r, struct cq_err *err);

/* Sets the account's password, which ends the sessions that logged in with the one before. CQ_E_INVALID: shorter than
 * AUTH_PASSWORD_MIN or longer than AUTH_PASSWORD_MAX bytes. */
enum cq_rc auth_set_password(struct auth *auth, uint64_t account_id, struct cq_slice password, struct cq_err *err);

#define AUTH_APP_PASSWORD_SIZE 20 /* "abcd efgh ijkl mnop" and a NUL */

struct auth_app_password {
    unsigned scopes; /* sum of enum dir_service, not 0 */
    struct cq_slice label;
    uint64_t expires_us; /* 0: never */
};

/* Makes one: 16 random letters (75 bits), shown this once. Spaces and case do not matter when it is used. */
enum cq_rc auth_app_password_add(struct auth *auth, uint64_t account_id, const struct auth_app_password *what,
                                 char password_r[static AUTH_APP_PASSWORD_SIZE], uint64_t *credential_id_r,
                                 struct cq_err *err);

/* Revokes: directory_credential_remove. */

#endif
