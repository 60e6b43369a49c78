/* Mailboxes and subscriptions come into being: for CREATE, RENAME and new accounts. */
#include "state/mail_private.h"
#include "state/mailbox_name.h"

static enum cq_rc check_name_bytes(struct apply *a, size_t more)
{
    if (a->v.account.name_bytes + more > STATE_NAMES_BYTES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "names of the account have %u bytes", a->v.account.name_bytes);
    return CQ_OK;
}

void apply_put_name(struct apply *a, struct cq_slice name, uint64_t id)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_NAME, name);
    struct cq_buf *out = mail_scratch(a->v.m);
    number_record_put(id, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    a->v.account.name_bytes += (uint32_t)name.len;
}

void apply_remove_name(struct apply *a, struct cq_slice name)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_NAME, name);
    db_delete(a->v.m->db, &key);
    a->v.account.name_bytes -= (uint32_t)name.len;
}

static enum cq_rc check_room(struct apply *a, struct cq_slice name, Chasqui__Mail__SpecialUse use)
{
    const struct account_record *account = &a->v.account;
    if (use && account->uses[use])
        return CQ_FAIL(a->v.err, CQ_E_CONFLICT, "mailbox %llu has special use %d",
                       (unsigned long long)account->uses[use], use);
    if (account->mailboxes >= STATE_MAILBOXES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "account has %u mailboxes", account->mailboxes);
    if (account->next_uidvalidity == UINT32_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "account is out of UIDVALIDITY values");
    return check_name_bytes(a, name.len);
}

enum cq_rc apply_create_mailbox(struct apply *a, struct cq_slice name, Chasqui__Mail__SpecialUse use, uint64_t *id_r,
                                struct mailbox_record *mailbox_r)
{
    enum cq_rc rc = check_room(a, name, use);
    if (rc != CQ_OK)
        return rc;
    struct account_record *account = &a->v.account;
    *id_r = account->next_mailbox++;
    *mailbox_r = (struct mailbox_record){
        .use = (uint8_t)use,
        .uidvalidity = account->next_uidvalidity++,
        .uidnext = 1,
        .recent_from = 1,
        .highest_modseq = apply_modseq(a),
        .name = name,
    };
    account->mailboxes++;
    if (use)
        account->uses[use] = *id_r;
    apply_put_name(a, name, *id_r);
    mail_save_mailbox(&a->v, *id_r, mailbox_r);
    apply_list_changed(a);
    apply_mailbox_event(a, CHASQUI__OUTBOX__TYPE__MAILBOX_CREATED, *id_r, name, CQ_SLICE_NONE, 0, 0);
    return CQ_OK;
}

enum cq_rc apply_create_parents(struct apply *a, struct cq_slice name)
{
    for (size_t end = 0; end < name.len; end++) {
        if (name.data[end] != '/')
            continue;
        struct cq_slice parent = cq_slice_sub(name, 0, end);
        uint64_t id;
        struct mailbox_record mailbox;
        enum cq_rc rc = mail_find_name(&a->v, parent, &id);
        if (rc == CQ_E_NOT_FOUND)
            rc = apply_create_mailbox(a, parent, CHASQUI__MAIL__SPECIAL_USE__USE_NONE, &id, &mailbox);
        if (rc != CQ_OK)
            return rc;
    }
    return CQ_OK;
}

static bool is_subscribed(struct apply *a, const struct state_key *key, enum cq_rc *rc_r)
{
    struct cq_slice bytes;
    enum cq_rc rc = db_get(a->v.m->db, key, a->v.pool, &bytes);
    *rc_r = rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    return rc == CQ_OK;
}

enum cq_rc apply_subscribe(struct apply *a, struct cq_slice name, bool subscribed)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_SUBSCRIPTION, name);
    struct account_record *account = &a->v.account;
    enum cq_rc rc;
    if (is_subscribed(a, &key, &rc) == subscribed || rc != CQ_OK)
        return rc;
    apply_list_changed(a);
    if (!subscribed) {
        db_delete(a->v.m->db, &key);
        account->subscriptions--;
        account->name_bytes -= (uint32_t)name.len;
        return CQ_OK;
    }
    if (account->subscriptions >= STATE_SUBSCRIPTIONS_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "account has %u subscriptions", account->subscriptions);
    rc = check_name_bytes(a, name.len);
    if (rc != CQ_OK)
        return rc;
    struct cq_buf *out = mail_scratch(a->v.m);
    empty_record_put(out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    account->subscriptions++;
    account->name_bytes += (uint32_t)name.len;
    return CQ_OK;
}
