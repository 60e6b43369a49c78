/* What the files of auth share. */
#ifndef CHASQUI_AUTH_PRIVATE_H
#define CHASQUI_AUTH_PRIVATE_H

#include "base/cq_hash.h"
#include "directory/auth.h"
#include "io/io_pool.h"

#include <pthread.h>

/* ---- auth_password.c: texts ---- */

/* A password as it is hashed: UTF-8 is brought to NFC with plain spaces (RFC 8265 section 4.2, OpaqueString), other
 * bytes stay. Heap memory; free with auth_secret_free. */
struct auth_secret {
    uint8_t *data;
    size_t len;
    char app[17]; /* the same as an app password (16 letters and a NUL), or "" when it cannot be one */
};

void auth_secret_init(struct auth_secret *secret, struct cq_slice password);
void auth_secret_fini(struct auth_secret *secret); /* wipes */

#define AUTH_APP_LETTERS 16
#define AUTH_APP_PREFIX 4

/* 16 random letters and a NUL; and the form that is shown, "abcd efgh ijkl mnop". */
void auth_app_make(char letters[static AUTH_APP_LETTERS + 1]);
void auth_app_show(const char letters[static AUTH_APP_LETTERS + 1], char shown[static AUTH_APP_PASSWORD_SIZE]);

/* ---- auth_hash.c: argon2id ---- */

#define AUTH_HASH_SIZE 128 /* bytes of a hash text with its NUL */

struct auth_hasher {
    struct io_pool *threads; /* NULL: in the caller's thread */
    unsigned long long passes;
    size_t memory;
    char dummy[AUTH_HASH_SIZE]; /* of a password that nobody has; costs what a real one costs */
};

enum cq_rc auth_hasher_init(struct auth_hasher *hasher, const struct auth_config *config, struct cq_err *err);
void auth_hasher_fini(struct auth_hasher *hasher);

/* CQ_OK: it matches. CQ_E_AUTH: it does not. CQ_E_OVERLOADED, CQ_E_TIMEOUT, CQ_E_UNAVAILABLE: later. CQ_E_CORRUPT: the
 * stored text is no hash. *stale_r: made with other parameters than today's. Suspends the fiber. */
enum cq_rc auth_hash_verify(struct auth_hasher *hasher, struct cq_slice hash, struct cq_slice password, bool *stale_r,
                            struct cq_err *err);
enum cq_rc auth_hash_make(struct auth_hasher *hasher, struct cq_slice password, char hash_r[static AUTH_HASH_SIZE],
                          struct cq_err *err);

/* Without a pool and a fiber, for jobs that are on a pool thread already. */
bool auth_hash_compute(const struct auth_hasher *hasher, struct cq_slice password, char hash_r[static AUTH_HASH_SIZE]);

/* ---- auth_foreign.c: hashes that other mail servers wrote ---- */

#define AUTH_FOREIGN_SIZE 256 /* bytes of such a text with its NUL */

enum auth_scheme { AUTH_SCHEME_NONE, AUTH_SCHEME_CRYPT, AUTH_SCHEME_ARGON2 };

/* What a stored text is, and the part that is for the verifier. NONE: nothing that we verify, or too expensive. */
enum auth_scheme auth_foreign_scheme(struct cq_slice stored, struct cq_slice *text_r);
/* By libcrypt; blocks the thread. CQ_OK, CQ_E_AUTH, CQ_E_CORRUPT. */
enum cq_rc auth_foreign_crypt(const char *text, struct cq_slice password);

/* ---- auth_cache.c: verified credentials ---- */

struct auth_cache_entry;

struct auth_cache {
    pthread_mutex_t lock;
    uint8_t key[32]; /* random, of this process */
    struct auth_cache_entry *table;
    struct auth_cache_entry *oldest, *newest;
    size_t count;
    size_t max;
    uint64_t ttl_us;
};

struct auth_cache_tag {
    uint8_t bytes[CQ_HMAC_SIZE];
};

void auth_cache_init(struct auth_cache *cache, size_t max, uint64_t ttl_us);
void auth_cache_fini(struct auth_cache *cache);

/* Covers everything that a verdict rests on; lengths are part of it, so no two inputs meet. */
struct auth_cache_tag auth_cache_tag(const struct auth_cache *cache, const struct dir_credential *credential,
                                     enum dir_service service, struct cq_slice password);
bool auth_cache_has(struct auth_cache *cache, const struct auth_cache_tag *tag, uint64_t now_us);
void auth_cache_add(struct auth_cache *cache, const struct auth_cache_tag *tag, uint64_t now_us);

/* ---- auth_metrics ---- */
enum { AUTH_M_RESULTS, AUTH_M_CACHE, AUTH_M_HASH };

#endif
