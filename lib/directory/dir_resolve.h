/* Who is behind an address: the rules, over a backend's rows. No suspension of its own. */
#ifndef CHASQUI_DIR_RESOLVE_H
#define CHASQUI_DIR_RESOLVE_H

#include "directory/directory_backend.h"

/* A domain by name, alias domains replaced by their target. */
enum cq_rc dir_resolve_domain(struct dir_backend *backend, struct cq_slice name, struct cq_pool *pool,
                              struct dir_domain *domain_r, struct cq_err *err);

struct dir_targets {
    enum dir_answer answer;
    enum dir_via via;
    struct dir_address address;
    const uint64_t *ids;
    size_t count;
};

/* The account ids behind an address, whatever their state. */
enum cq_rc dir_resolve_targets(struct dir_backend *backend, struct cq_slice address, struct cq_pool *pool,
                               struct dir_targets *targets_r, struct cq_err *err);

/* The same with the accounts: what directory_resolve answers. */
enum cq_rc dir_resolve_accounts(struct dir_backend *backend, struct cq_slice address, struct cq_pool *pool,
                                struct dir_resolution *resolution_r, struct cq_err *err);

#endif
