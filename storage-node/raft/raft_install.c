/* The log of a replica whose state was copied from another one. */
#include "raft/raft_host.h"

#include "base/cq_planted.h"
#include "raft_boot.h"
#include "raft_job.h"

static enum cq_rc check(const struct raft_install *install, struct cq_err *err)
{
    if (!install->index || !install->term || install->conf_index > install->index)
        return CQ_FAIL(err, CQ_E_INVALID, "a state at index %llu of term %llu", (unsigned long long)install->index,
                       (unsigned long long)install->term);
    return raft_conf_check(install->members, install->member_count, err);
}

static void erase_log(struct store_batch *batch, const struct raft_log_owner *owner)
{
    uint8_t from[RAFT_ENTRY_KEY_SIZE], to[RAFT_ENTRY_KEY_SIZE];
    raft_entry_key(owner->group, owner->replica, 0, from);
    raft_entry_key(owner->group, owner->replica, UINT64_MAX, to);
    store_batch_delete_range(batch, STORE_LOG, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
}

void raft_boot_erase(struct store_batch *batch, uint32_t group, uint64_t replica)
{
    static const enum raft_record_kind singles[] = {RAFT_RECORD_VOTE, RAFT_RECORD_MARKER};
    const struct raft_log_owner owner = {.group = group, .replica = replica};
    erase_log(batch, &owner);
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        uint8_t key[RAFT_KEY_SIZE];
        raft_key(group, replica, singles[i], key);
        store_batch_delete(batch, STORE_LOG, cq_slice_of(key, sizeof key));
    }
}

#define RECOVERED_TERMS (UINT64_C(1) << 20) /* elections that may have been forgotten */

enum cq_rc raft_boot_recover(struct store *store, struct store_batch *batch, uint32_t group, uint64_t replica,
                             struct cq_err *err)
{
    const struct raft_log_owner owner = {.group = group, .replica = replica};
    struct raft_boot *boot = NULL;
    enum cq_rc rc = raft_boot_read(store, group, replica, &boot, err);
    if (rc == CQ_OK)
        raft_vote_put(batch, &owner, boot->term + RECOVERED_TERMS, 0);
    raft_boot_free(&boot);
    return rc;
}

/* The whole log goes, and a marker says where the next entry belongs. The chunks of the entries stay: what nothing
 * refers to is swept later. */
static void replace_log(struct store_batch *batch, const struct raft_log_owner *owner,
                        const struct raft_install *install)
{
    struct cq_buf conf;
    erase_log(batch, owner);
    cq_buf_init(&conf, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(install->members, install->member_count, &conf);
    const struct raft_marker marker = {install->index, install->term, install->conf_index, cq_buf_slice(&conf)};
    raft_marker_put(batch, owner, &marker);
    cq_buf_fini(&conf);
}

/* A term below the state's would be a replica that knows less than it has: it cannot have voted in a later one. */
static void raise_term(struct store_batch *batch, const struct raft_log_owner *owner, const struct raft_boot *boot,
                       const struct raft_install *install)
{
    if (!boot || boot->term < install->term)
        raft_vote_put(batch, owner, install->term, 0);
}

enum cq_rc raft_boot_install(struct store *store, struct store_batch *batch, const struct raft_install *install,
                             enum raft_install_log *log_r, struct cq_err *err)
{
    const struct raft_log_owner owner = {.group = install->group, .replica = install->replica};
    struct raft_boot *boot = NULL;
    enum cq_rc rc = check(install, err);
    if (rc == CQ_OK)
        rc = raft_boot_read(store, install->group, install->replica, &boot, err);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    rc = CQ_OK;
    *log_r = RAFT_INSTALL_REPLACED;
    if (boot && boot->log.marker_index > install->index)
        rc = CQ_FAIL(err, CQ_E_BEHIND, "group %u: the log begins after %llu, the copied state is at %llu",
                     install->group, (unsigned long long)boot->log.marker_index, (unsigned long long)install->index);
    else if (boot && raft_log_term(&boot->log, install->index) == install->term && !planted(PLANT_FLIP_DROPS_TAIL))
        *log_r = RAFT_INSTALL_KEPT;
    else
        replace_log(batch, &owner, install);
    if (rc == CQ_OK)
        raise_term(batch, &owner, boot, install);
    raft_boot_free(&boot);
    return rc;
}
