#include "imap/imap_mailboxes.h"

#include "imap/imap_mailbox.h"
#include "imap/imap_reply.h"

bool imap_take_name(struct imap_run *run, struct cq_slice wire, struct cq_slice *name_r)
{
    const char *problem;
    if (imap_mailbox_parse(wire, run->pool, name_r, &problem))
        return true;
    imap_no(run, "CANNOT", problem);
    return false;
}

bool imap_load_list(struct imap_run *run, struct mail_mailbox_list *list_r)
{
    struct cq_err err = {0};
    struct imap_session *session = run->session;
    enum cq_rc rc = mailstore_list(session->service->store, &session->account, run->pool, list_r, &err);
    if (rc == CQ_OK && list_r->count == 0) /* INBOX is always there: this is no answer to show anybody */
        rc = CQ_FAIL(&err, CQ_E_UNAVAILABLE, "the shard has an empty list of mailboxes");
    return rc == CQ_OK || imap_fail(run, rc, &err) == CQ_OK;
}

/* Index of the first mailbox whose name is not before `name`. */
static size_t lower_bound(const struct mail_mailbox_list *list, struct cq_slice name)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cq_slice_cmp(list->mailboxes[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct mail_mailbox *imap_list_find(const struct mail_mailbox_list *list, struct cq_slice name)
{
    size_t i = lower_bound(list, name);
    return i < list->count && cq_slice_eq(list->mailboxes[i].name, name) ? &list->mailboxes[i] : NULL;
}

bool imap_list_has_children(const struct mail_mailbox_list *list, struct cq_slice name)
{
    uint8_t below[IMAP_MAILBOX_MAX + 1];
    if (name.len > IMAP_MAILBOX_MAX)
        return false;
    memcpy(below, name.data, name.len);
    below[name.len] = IMAP_SEPARATOR;
    size_t i = lower_bound(list, cq_slice_of(below, name.len + 1));
    return i < list->count && imap_mailbox_is_below(list->mailboxes[i].name, name);
}

/* A name that is not there is looked for in the whole list too, which is never empty: "there is none" is said only of
 * an account that has others. */
bool imap_find_mailbox(struct imap_run *run, struct cq_slice wire, const char *missing_code,
                       const struct mail_mailbox **mailbox_r)
{
    struct imap_session *session = run->session;
    struct mail_mailbox *mailbox = cq_pool_new_of(run->pool, struct mail_mailbox);
    struct mail_mailbox_list list;
    struct cq_slice name;
    struct cq_err err = {0};
    if (!imap_take_name(run, wire, &name))
        return false;
    *mailbox_r = mailbox;
    enum cq_rc rc = mailstore_find(session->service->store, &session->account, name, run->pool, mailbox, &err);
    if (rc == CQ_OK)
        return true;
    if (rc != CQ_E_NO_MAILBOX) {
        imap_fail(run, rc, &err);
        return false;
    }
    if (!imap_load_list(run, &list))
        return false;
    *mailbox_r = imap_list_find(&list, name);
    if (!*mailbox_r)
        imap_no(run, missing_code, "No such mailbox");
    return *mailbox_r != NULL;
}
