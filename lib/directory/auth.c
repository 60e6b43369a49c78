#include "directory/auth_private.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_time.h"

#include <stdatomic.h>
#include <stdlib.h>

#define APP_TRIES 8
#define CANDIDATES_MAX 2
#define AFTER_MAX 256 /* jobs that wait; one more is left out */
#define USED_SIZE 4096

struct auth {
    struct directory *directory;
    struct auth_hasher hasher;
    struct auth_cache cache;
    struct io_pool *after; /* NULL: in the caller's thread */
    /* Uses that were noted lately: id and second, 32 bits of each. A row may come from a cache, with the time before;
     * and while the database is away every log-in would try again. */
    _Atomic uint64_t used[USED_SIZE];
};

/* ---- Settings and metrics ---- */

static const struct cq_setting setting_rows[] = {
    CQ_SET_SIZE(struct auth_config, argon2_memory, "auth.argon2.memory", "19MiB", "8KiB", "4GiB",
                "Memory of one argon2id hash; each thread needs it while it works."),
    CQ_SET_INT(struct auth_config, argon2_passes, "auth.argon2.passes", "2", 1, 100, "passes",
               "Passes over that memory."),
    CQ_SET_INT(struct auth_config, threads, "auth.threads", "2", 0, 256, "threads", "Threads that hash passwords."),
    CQ_SET_INT(struct auth_config, queue_max, "auth.queue_max", "200", 1, 100000, "hashes",
               "Log-ins that may wait for a thread; one more is answered \"try later\"."),
    CQ_SET_DURATION(
        struct auth_config, cache_ttl_us, "auth.cache.ttl", "5m", "0", "1h",
        "How long a verified password is remembered (as a keyed digest, in memory); changes to the account and "
        "its credentials count at once."),
    CQ_SET_INT(struct auth_config, cache_max, "auth.cache.max", "50000", 0, 10000000, "passwords",
               "Passwords that are remembered."),
};

struct cq_config_part auth_config_part(struct auth_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Authentication", setting_rows, values);
}

static const char *const reason_names[AUTH_REASON_COUNT] = {
#define REASON_NAME(name, text) [name] = text,
    AUTH_REASONS(REASON_NAME)
#undef REASON_NAME
};
enum { SERVICE_IMAP, SERVICE_POP, SERVICE_SMTP };
static const char *const service_names[] = {"imap", "pop", "smtp"};
static const char *const cache_results[] = {"hit", "miss"};

static const struct cq_metric metric_rows[] = {
    [AUTH_M_RESULTS] = CQ_COUNTER("chasqui_auth_results_total", "Passwords checked, by why they were refused",
                                  CQ_LABEL("service", service_names), CQ_LABEL("reason", reason_names)),
    [AUTH_M_CACHE] = CQ_COUNTER("chasqui_auth_cache_total", "Looks into the memory of verified passwords",
                                CQ_LABEL("result", cache_results)),
    [AUTH_M_HASH] = CQ_HISTOGRAM("chasqui_auth_hash_duration_seconds",
                                 "Time of one argon2id hash, without the wait for a thread", CQ_BUCKETS_LATENCY),
};

struct cq_metrics auth_metrics = CQ_METRICS_OF(metric_rows);

const char *auth_reason_name(enum auth_reason reason)
{
    return reason < AUTH_REASON_COUNT ? reason_names[reason] : "?";
}

static unsigned service_label(enum dir_service service)
{
    return service == DIR_IMAP ? SERVICE_IMAP : service == DIR_POP ? SERVICE_POP : SERVICE_SMTP;
}

/* ---- Life ---- */

enum cq_rc auth_new(const struct auth_config *config, struct directory *directory, struct auth **auth_r,
                    struct cq_err *err)
{
    struct auth *auth = cq_new(struct auth);
    auth->directory = directory;
    enum cq_rc rc = auth_hasher_init(&auth->hasher, config, err);
    auth_cache_init(&auth->cache, (size_t)config->cache_max, config->cache_ttl_us);
    if (config->threads > 0)
        auth->after = io_pool_new("auth-after", 1, AFTER_MAX);
    if (rc != CQ_OK)
        auth_free(&auth);
    *auth_r = auth;
    return rc;
}

void auth_free(struct auth **auth)
{
    if (!*auth)
        return;
    io_pool_free(&(*auth)->after);
    auth_hasher_fini(&(*auth)->hasher);
    auth_cache_fini(&(*auth)->cache);
    free(*auth);
    *auth = NULL;
}

/* ---- What follows a success, later and on a thread of its own: neither the client nor anybody's hash waits for a
 * database that is slow ---- */

struct after {
    struct auth *auth;
    struct auth_secret secret; /* only with `rehash` */
    bool rehash;
    uint64_t credential_id;
    uint64_t version;
    uint64_t now_us;
};

static void run_after(void *arg)
{
    struct after *after = arg;
    char hash[AUTH_HASH_SIZE];
    struct cq_slice secret = cq_slice_of(after->secret.data, after->secret.len);
    if (!after->rehash)
        directory_credential_used(after->auth->directory, after->credential_id, after->now_us, NULL);
    else if (auth_hash_compute(&after->auth->hasher, secret, hash))
        directory_credential_rehash(after->auth->directory, after->credential_id, after->version, cq_slice_cstr(hash),
                                    NULL);
    auth_secret_fini(&after->secret);
    free(after);
}

static void start_after(struct auth *auth, struct after *after)
{
    after->auth = auth;
    if (!auth->after) {
        run_after(after);
    } else if (io_pool_submit(auth->after, run_after, after) != CQ_OK) { /* busy: at the next log-in */
        auth_secret_fini(&after->secret);
        free(after);
    }
}

/* Was this use, or one shortly before it, noted already? If not, it is from now on. */
static bool is_noted(struct auth *auth, uint64_t credential_id, uint64_t now_us)
{
    _Atomic uint64_t *slot = &auth->used[credential_id % USED_SIZE];
    uint64_t now_s = now_us / CQ_US_PER_S;
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    if (old && (uint32_t)(old >> 32) == (uint32_t)credential_id &&
        (uint32_t)now_s - (uint32_t)old < DIR_LAST_USED_STEP_US / CQ_US_PER_S)
        return true;
    atomic_store_explicit(slot, credential_id << 32 | (uint32_t)now_s, memory_order_relaxed);
    return false;
}

static void note_use(struct auth *auth, const struct dir_credential *credential)
{
    uint64_t now_us = cq_time_wall_us();
    if (now_us < credential->last_used_us + DIR_LAST_USED_STEP_US || !directory_healthy(auth->directory) ||
        is_noted(auth, credential->id, now_us))
        return;
    struct after *after = cq_new(struct after);
    *after = (struct after){.credential_id = credential->id, .now_us = now_us};
    start_after(auth, after);
}

static void renew_hash(struct auth *auth, const struct dir_credential *credential, struct cq_slice secret)
{
    struct after *after = cq_new(struct after);
    *after = (struct after){.rehash = true, .credential_id = credential->id, .version = credential->version};
    after->secret.data = cq_memdup(secret.len ? (const void *)secret.data : "", secret.len);
    after->secret.len = secret.len;
    start_after(auth, after);
}

/* ---- Verifying ---- */

struct attempt {
    struct auth *auth;
    const struct auth_login *login;
    struct cq_pool *pool; /* the caller's */
    struct cq_pool *tmp;
    struct auth_identity *identity;
    struct cq_err *err;
    struct auth_secret secret;
    bool known;  /* the account exists */
    bool hashed; /* a hash was paid for */
    const struct dir_credential *candidates[CANDIDATES_MAX];
    size_t candidate_count;
};

/* The text that this credential's hash was made of. */
static struct cq_slice secret_for(const struct attempt *a, const struct dir_credential *credential)
{
    if (credential->kind == DIR_APP_PASSWORD)
        return cq_slice_cstr(a->secret.app);
    return cq_slice_of(a->secret.data, a->secret.len);
}

static bool may_be(const struct attempt *a, const struct dir_credential *credential)
{
    if (credential->kind == DIR_PASSWORD)
        return true;
    return a->secret.app[0] && cq_slice_eq(credential->prefix, cq_slice_of(a->secret.app, AUTH_APP_PREFIX));
}

/* At most one app password has the prefix and at most one password is there: one hash as a rule, two when a password
 * happens to look like an app password whose prefix exists. The app password is tried first. */
static void choose_candidates(struct attempt *a, const struct dir_credential *rows, size_t count)
{
    static const enum dir_credential_kind order[] = {DIR_APP_PASSWORD, DIR_PASSWORD};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < count && a->candidate_count < CANDIDATES_MAX; i++)
            if (rows[i].kind == order[k] && may_be(a, &rows[i]))
                a->candidates[a->candidate_count++] = &rows[i];
}

/* Both questions are asked for unknown users too, so that they take the same time. */
static enum cq_rc read_rows(struct attempt *a)
{
    struct dir_credential *rows = NULL;
    size_t count = 0;
    struct dir_account *account = &a->identity->account;
    enum cq_rc rc = directory_account_by_login(a->auth->directory, a->login->login, a->pool, account, a->err);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    a->known = rc == CQ_OK;
    rc = directory_credential_list(a->auth->directory, a->known ? account->id : 0, a->tmp, &rows, &count, a->err);
    if (rc == CQ_OK && a->known)
        choose_candidates(a, rows, count);
    return rc;
}

static bool is_remembered(struct attempt *a, const struct dir_credential *credential)
{
    struct auth_cache_tag tag =
        auth_cache_tag(&a->auth->cache, credential, a->login->service, secret_for(a, credential));
    return auth_cache_has(&a->auth->cache, &tag, cq_time_mono_us());
}

static void remember(struct attempt *a, const struct dir_credential *credential)
{
    struct auth_cache_tag tag =
        auth_cache_tag(&a->auth->cache, credential, a->login->service, secret_for(a, credential));
    auth_cache_add(&a->auth->cache, &tag, cq_time_mono_us());
}

static enum cq_rc try_hash(struct attempt *a, const struct dir_credential *credential)
{
    bool stale;
    struct cq_slice secret = secret_for(a, credential);
    a->hashed = true;
    enum cq_rc rc = auth_hash_verify(&a->auth->hasher, credential->hash, secret, &stale, a->err);
    if (rc != CQ_OK)
        return rc;
    remember(a, credential);
    if (stale)
        renew_hash(a->auth, credential, secret);
    return CQ_OK;
}

/* The credential whose secret this is. CQ_E_AUTH: none; a hash has been paid for in any case. */
static enum cq_rc find_match(struct attempt *a, const struct dir_credential **match_r)
{
    for (size_t i = 0; i < a->candidate_count; i++)
        if (is_remembered(a, a->candidates[i])) {
            cq_metric_add(&auth_metrics, AUTH_M_CACHE, 1, 0);
            a->identity->cached = true;
            *match_r = a->candidates[i];
            return CQ_OK;
        }
    cq_metric_add(&auth_metrics, AUTH_M_CACHE, 1, 1);
    for (size_t i = 0; i < a->candidate_count; i++) {
        *match_r = a->candidates[i];
        enum cq_rc rc = try_hash(a, a->candidates[i]);
        if (rc != CQ_E_AUTH)
            return rc;
    }
    if (a->hashed)
        return CQ_E_AUTH;
    bool stale;
    enum cq_rc rc = auth_hash_verify(&a->auth->hasher, cq_slice_cstr(a->auth->hasher.dummy),
                                     cq_slice_of(a->secret.data, a->secret.len), &stale, a->err);
    return rc == CQ_OK ? CQ_E_AUTH : rc;
}

/* The password was right: may this account, service and credential log in? */
static enum auth_reason judge(const struct dir_account *account, const struct dir_credential *credential,
                              enum dir_service service)
{
    if (credential->expires_us && credential->expires_us <= cq_time_wall_us())
        return AUTH_EXPIRED;
    if (account->state != DIR_ACTIVE)
        return account->state == DIR_CREATING ? AUTH_NOT_READY : AUTH_ACCOUNT_STATE;
    if (!(account->services & (unsigned)service))
        return AUTH_SERVICE_OFF;
    return credential->scopes & (unsigned)service ? AUTH_OK : AUTH_SCOPE;
}

static enum cq_rc rc_of_reason(enum auth_reason reason)
{
    static const enum cq_rc codes[AUTH_REASON_COUNT] = {
        [AUTH_OK] = CQ_OK,
        [AUTH_UNKNOWN_USER] = CQ_E_AUTH,
        [AUTH_WRONG_PASSWORD] = CQ_E_AUTH,
        [AUTH_EXPIRED] = CQ_E_AUTH,
        [AUTH_SCOPE] = CQ_E_DENIED,
        [AUTH_SERVICE_OFF] = CQ_E_DENIED,
        [AUTH_ACCOUNT_STATE] = CQ_E_DENIED,
        [AUTH_NOT_READY] = CQ_E_UNAVAILABLE,
        [AUTH_BACKEND] = CQ_E_UNAVAILABLE,
    };
    return codes[reason];
}

/* Sets identity->reason; the result is its code, or what went wrong in the backend. */
static enum cq_rc attempt_run(struct attempt *a)
{
    const struct dir_credential *match = NULL;
    struct auth_identity *identity = a->identity;
    identity->reason = AUTH_BACKEND;
    enum cq_rc rc = read_rows(a);
    if (rc == CQ_OK)
        rc = find_match(a, &match);
    if (rc == CQ_E_AUTH)
        identity->reason = a->known ? AUTH_WRONG_PASSWORD : AUTH_UNKNOWN_USER;
    if (rc != CQ_OK)
        return rc;
    identity->reason = judge(&identity->account, match, a->login->service);
    identity->credential_id = match->id;
    identity->kind = match->kind;
    identity->expires_us = match->expires_us;
    if (identity->reason == AUTH_OK)
        note_use(a->auth, match);
    return rc_of_reason(identity->reason);
}

enum cq_rc auth_verify(struct auth *auth, const struct auth_login *login, struct cq_pool *pool,
                       struct auth_identity *identity_r, struct cq_err *err)
{
    *identity_r = (struct auth_identity){.reason = AUTH_BACKEND};
    struct attempt attempt = {
        .auth = auth, .login = login, .pool = pool, .tmp = cq_pool_new(2048), .identity = identity_r, .err = err};
    bool too_long = login->password.len > AUTH_PASSWORD_MAX;
    auth_secret_init(&attempt.secret, cq_slice_sub(login->password, 0, AUTH_PASSWORD_MAX));
    enum cq_rc rc = attempt_run(&attempt);
    if (too_long && (rc == CQ_OK || rc == CQ_E_DENIED)) { /* a longer text that begins with the password is not it */
        identity_r->reason = AUTH_WRONG_PASSWORD;
        rc = CQ_E_AUTH;
    }
    if (rc == CQ_E_AUTH || rc == CQ_E_DENIED || (rc != CQ_OK && identity_r->reason == AUTH_NOT_READY))
        cq_err_set(err, rc, "log-in refused: %s", auth_reason_name(identity_r->reason));
    cq_metric_add(&auth_metrics, AUTH_M_RESULTS, 1, service_label(login->service), identity_r->reason);
    auth_secret_fini(&attempt.secret);
    cq_pool_free(&attempt.tmp);
    return rc;
}

/* ---- Live sessions ---- */

static enum cq_rc session_reason(struct auth *auth, uint64_t account_id, uint64_t credential_id,
                                 enum dir_service service, struct cq_pool *tmp, enum auth_reason *reason_r,
                                 struct cq_err *err)
{
    struct dir_account account;
    struct dir_credential *rows;
    size_t count;
    *reason_r = AUTH_ACCOUNT_STATE;
    enum cq_rc rc = directory_account(auth->directory, account_id, tmp, &account, err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    if (rc == CQ_OK)
        rc = directory_credential_list(auth->directory, account_id, tmp, &rows, &count, err);
    if (rc != CQ_OK)
        return rc;
    *reason_r = AUTH_WRONG_PASSWORD; /* replaced or revoked */
    for (size_t i = 0; i < count; i++)
        if (rows[i].id == credential_id)
            *reason_r = judge(&account, &rows[i], service);
    return CQ_OK;
}

enum cq_rc auth_session_check(struct auth *auth, uint64_t account_id, uint64_t credential_id, enum dir_service service,
                              struct cq_err *err)
{
    struct cq_pool *tmp = cq_pool_new(2048);
    enum auth_reason reason;
    enum cq_rc rc = session_reason(auth, account_id, credential_id, service, tmp, &reason, err);
    cq_pool_free(&tmp);
    if (rc != CQ_OK || reason == AUTH_OK)
        return rc;
    return CQ_FAIL(err, CQ_E_DENIED, "session may not go on: %s", auth_reason_name(reason));
}

/* ---- Making credentials ---- */

static enum cq_rc hash_password(struct auth *auth, struct cq_slice password, char hash_r[static AUTH_HASH_SIZE],
                                struct cq_err *err)
{
    struct auth_secret secret;
    if (password.len < AUTH_PASSWORD_MIN || password.len > AUTH_PASSWORD_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "a password has %d to %d bytes", AUTH_PASSWORD_MIN, AUTH_PASSWORD_MAX);
    auth_secret_init(&secret, password);
    enum cq_rc rc = auth_hash_make(&auth->hasher, cq_slice_of(secret.data, secret.len), hash_r, err);
    auth_secret_fini(&secret);
    return rc;
}

enum cq_rc auth_hash_password(struct auth *auth, struct cq_slice password, struct cq_pool *pool,
                              struct cq_slice *hash_r, struct cq_err *err)
{
    char hash[AUTH_HASH_SIZE];
    enum cq_rc rc = hash_password(auth, password, hash, err);
    *hash_r = rc == CQ_OK ? cq_slice_cstr(cq_pool_cstr(pool, cq_slice_cstr(hash))) : CQ_SLICE_NONE;
    return rc;
}

enum cq_rc auth_set_password(struct auth *auth, uint64_t account_id, struct cq_slice password, struct cq_err *err)
{
    char hash[AUTH_HASH_SIZE];
    uint64_t id;
    enum cq_rc rc = hash_password(auth, password, hash, err);
    if (rc != CQ_OK)
        return rc;
    const struct dir_credential row = {
        .account_id = account_id, .kind = DIR_PASSWORD, .scopes = DIR_ALL_SERVICES, .hash = cq_slice_cstr(hash)};
    return directory_credential_put(auth->directory, &row, &id, err);
}

static enum cq_rc put_app_password(struct auth *auth, uint64_t account_id, const struct auth_app_password *what,
                                   const char *letters, uint64_t *credential_id_r, struct cq_err *err)
{
    char hash[AUTH_HASH_SIZE];
    enum cq_rc rc = auth_hash_make(&auth->hasher, cq_slice_cstr(letters), hash, err);
    if (rc != CQ_OK)
        return rc;
    const struct dir_credential row = {
        .account_id = account_id,
        .kind = DIR_APP_PASSWORD,
        .scopes = what->scopes,
        .prefix = cq_slice_of(letters, AUTH_APP_PREFIX),
        .hash = cq_slice_cstr(hash),
        .label = what->label,
        .expires_us = what->expires_us,
    };
    return directory_credential_put(auth->directory, &row, credential_id_r, err);
}

enum cq_rc auth_app_password_add(struct auth *auth, uint64_t account_id, const struct auth_app_password *what,
                                 char password_r[static AUTH_APP_PASSWORD_SIZE], uint64_t *credential_id_r,
                                 struct cq_err *err)
{
    char letters[AUTH_APP_LETTERS + 1];
    enum cq_rc rc = CQ_E_EXISTS;
    for (int i = 0; i < APP_TRIES && rc == CQ_E_EXISTS; i++) { /* the prefix is unique in the account */
        auth_app_make(letters);
        rc = put_app_password(auth, account_id, what, letters, credential_id_r, err);
    }
    memset(password_r, 0, AUTH_APP_PASSWORD_SIZE);
    if (rc == CQ_OK)
        auth_app_show(letters, password_r);
    cq_wipe(letters, sizeof letters);
    return rc;
}
