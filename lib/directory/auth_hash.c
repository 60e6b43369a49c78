#include "directory/auth_private.h"

#include "base/cq_assert.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"

#include <errno.h>
#include <sodium.h>

#define QUEUE_WAIT_MS 10000 /* a hash that waited so long for a thread is answered CQ_E_TIMEOUT */

_Static_assert(AUTH_HASH_SIZE == crypto_pwhash_STRBYTES, "libsodium's hash text");

struct job {
    const struct auth_hasher *hasher;
    struct cq_slice password;
    char hash[AUTH_FOREIGN_SIZE];
    enum cq_rc rc;
};

bool auth_hash_compute(const struct auth_hasher *hasher, struct cq_slice password, char hash_r[static AUTH_HASH_SIZE])
{
    uint64_t start_us = cq_time_mono_us();
    int rc = crypto_pwhash_str_alg(hash_r, (const char *)password.data, password.len, hasher->passes, hasher->memory,
                                   crypto_pwhash_ALG_ARGON2ID13);
    cq_metric_observe(&auth_metrics, AUTH_M_HASH, cq_time_mono_us() - start_us);
    return rc == 0;
}

static void run_make(void *arg)
{
    struct job *job = arg;
    job->rc = auth_hash_compute(job->hasher, job->password, job->hash) ? CQ_OK : CQ_E_UNAVAILABLE;
}

/* libsodium tells a mismatch by EINVAL, memory that it did not get by ENOMEM, and a text that is no hash by neither. */
static enum cq_rc verdict(int rc, int error)
{
    if (rc == 0)
        return CQ_OK;
    if (error == EINVAL)
        return CQ_E_AUTH;
    return error == ENOMEM ? CQ_E_UNAVAILABLE : CQ_E_CORRUPT;
}

static void run_verify(void *arg)
{
    struct job *job = arg;
    uint64_t start_us = cq_time_mono_us();
    errno = 0;
    int rc = crypto_pwhash_str_verify(job->hash, (const char *)job->password.data, job->password.len);
    job->rc = verdict(rc, errno);
    cq_metric_observe(&auth_metrics, AUTH_M_HASH, cq_time_mono_us() - start_us);
}

static void run_crypt(void *arg)
{
    struct job *job = arg;
    uint64_t start_us = cq_time_mono_us();
    job->rc = auth_foreign_crypt(job->hash, job->password);
    cq_metric_observe(&auth_metrics, AUTH_M_HASH, cq_time_mono_us() - start_us);
}

static enum cq_rc run(struct auth_hasher *hasher, io_pool_fn *fn, struct job *job, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    job->hasher = hasher;
    if (hasher->threads && io_fiber_running())
        rc = io_pool_run(hasher->threads, fn, job, io_loop_deadline(io_loop_self(), QUEUE_WAIT_MS));
    else
        fn(job);
    if (rc == CQ_OK)
        rc = job->rc;
    return rc == CQ_OK ? CQ_OK : CQ_FAIL(err, rc, "password hash: %s", cq_rc_text(rc));
}

enum cq_rc auth_hash_make(struct auth_hasher *hasher, struct cq_slice password, char hash_r[static AUTH_HASH_SIZE],
                          struct cq_err *err)
{
    struct job job = {.password = password};
    enum cq_rc rc = run(hasher, run_make, &job, err);
    memcpy(hash_r, job.hash, AUTH_HASH_SIZE);
    return rc;
}

enum cq_rc auth_hash_verify(struct auth_hasher *hasher, struct cq_slice hash, struct cq_slice password, bool *stale_r,
                            struct cq_err *err)
{
    struct job job = {.password = password};
    bool ours = hash.len < AUTH_HASH_SIZE && cq_slice_starts(hash, CQ_SLICE(crypto_pwhash_argon2id_STRPREFIX));
    struct cq_slice text = hash;
    enum auth_scheme scheme = ours ? AUTH_SCHEME_ARGON2 : auth_foreign_scheme(hash, &text);
    *stale_r = false;
    if (scheme == AUTH_SCHEME_NONE)
        return CQ_FAIL(err, CQ_E_CORRUPT, "password hash: the stored text is none that is known");
    memcpy(job.hash, text.data, text.len);
    enum cq_rc rc = run(hasher, scheme == AUTH_SCHEME_CRYPT ? run_crypt : run_verify, &job, err);
    if (rc == CQ_OK && !ours) {
        *stale_r = true;
        return CQ_OK;
    }
    *stale_r = rc == CQ_OK && crypto_pwhash_str_needs_rehash(job.hash, hasher->passes, hasher->memory) != 0;
    return rc;
}

enum cq_rc auth_hasher_init(struct auth_hasher *hasher, const struct auth_config *config, struct cq_err *err)
{
    uint8_t nobody[32];
    CQ_ASSERT(sodium_init() >= 0);
    *hasher = (struct auth_hasher){.passes = (unsigned long long)config->argon2_passes,
                                   .memory = (size_t)config->argon2_memory};
    cq_rand_bytes(nobody, sizeof nobody);
    if (!auth_hash_compute(hasher, cq_slice_of(nobody, sizeof nobody), hasher->dummy))
        return CQ_FAIL(err, CQ_E_CONFIG, "auth.argon2: %zu bytes and %llu passes do not work here", hasher->memory,
                       hasher->passes);
    if (config->threads > 0)
        hasher->threads = io_pool_new("argon2", (size_t)config->threads, (size_t)config->queue_max);
    return CQ_OK;
}

void auth_hasher_fini(struct auth_hasher *hasher)
{
    io_pool_free(&hasher->threads);
}
