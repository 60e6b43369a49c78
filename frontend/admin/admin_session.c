/* session list and kick: what this front-end knows of itself; chasquictl asks every front-end. */
#include "admin/admin_request.h"

#include "core/front_session.h"

#include <ctype.h>
#include <string.h>

static bool is_of(const struct front_session *session, const char *who)
{
    return !who[0] || strcmp(session->address, who) == 0 || strcmp(session->id, who) == 0;
}

/* As sessions have it: the account's own address, or the id of a session in capitals. The account may be gone already,
 * its sessions not. */
static enum cq_rc whom(struct admin_request *r, const char *field, const char **who_r)
{
    struct cq_slice who = admin_field(r, field);
    struct dir_address address;
    struct dir_account account;
    struct cq_err ignored = {0};
    *who_r = admin_text(r, who);
    if (cq_slice_find(who, '@') == who.len) {
        char *id = cq_pool_cstr(r->pool, who);
        for (char *c = id; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        *who_r = id;
        return CQ_OK;
    }
    enum cq_rc rc = dir_address_parse(who, r->pool, &address, &r->err);
    if (rc != CQ_OK)
        return rc;
    bool known = directory_account_by_login(r->service->worker->directory, who, r->pool, &account, &ignored) == CQ_OK;
    *who_r = admin_text(r, known ? account.address : address.text);
    return CQ_OK;
}

struct listing {
    struct admin_request *request;
    const char *who;
    enum cq_rc rc;
};

/* On a worker's thread, while the request's fiber waits: its pool and rows are ours. */
static void list_worker(struct front_worker *worker, void *arg)
{
    struct listing *listing = arg;
    struct admin_request *r = listing->request;
    cq_list_each (&worker->sessions, node) {
        const struct front_session *session = cq_list_entry(node, struct front_session, link);
        if (listing->rc == CQ_OK && is_of(session, listing->who))
            listing->rc =
                ADMIN_ROW(r, admin_text(r, cq_slice_cstr(session->id)), r->service->node,
                          front_protocol_name(session->protocol), admin_text(r, cq_slice_cstr(session->address)),
                          admin_text(r, cq_slice_cstr(session->peer)), admin_time(r, session->started_us));
    }
}

enum cq_rc admin_session_list(struct admin_request *r)
{
    struct listing listing = {.request = r, .who = ""};
    enum cq_rc rc = admin_has(r, "address") ? whom(r, "address", &listing.who) : CQ_OK;
    if (rc != CQ_OK)
        return rc;
    front_workers_each(&r->service->workers, list_worker, &listing);
    return listing.rc;
}

struct kicking {
    const char *who;
    size_t ended;
};

static bool matches(const struct front_session *session, void *who)
{
    return is_of(session, who);
}

static void kick_worker(struct front_worker *worker, void *arg)
{
    struct kicking *kicking = arg;
    kicking->ended += front_sessions_end(worker, matches, (void *)(uintptr_t)kicking->who, FRONT_END_KICKED);
}

enum cq_rc admin_session_kick(struct admin_request *r)
{
    struct kicking kicking = {.who = ""};
    enum cq_rc rc = whom(r, "who", &kicking.who);
    if (rc != CQ_OK)
        return rc;
    if (!kicking.who[0])
        return CQ_FAIL(&r->err, CQ_E_INVALID, "whose sessions? An address, or a session's id");
    front_workers_each(&r->service->workers, kick_worker, &kicking);
    return ADMIN_ROW(r, r->service->node, admin_number(r, kicking.ended));
}
