/* mailbox list, message fetch. */
#include "admin/admin_request.h"

#include "base/cq_hex.h"

enum cq_rc admin_mailbox_list(struct admin_request *r)
{
    struct dir_account account;
    struct mail_mailbox_list list;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc != CQ_OK)
        return rc;
    struct mailstore_account shard = {.id = account.id};
    rc = mailstore_list(r->service->worker->mailstore, &shard, r->pool, &list, &r->err);
    for (size_t i = 0; rc == CQ_OK && i < list.count; i++) {
        const struct mail_mailbox *m = &list.mailboxes[i];
        char id[CQ_HEX64_SIZE];
        cq_hex_u64(m->id, id);
        rc = ADMIN_ROW(r, admin_text(r, m->name), admin_text(r, cq_slice_cstr(id)), admin_number(r, m->messages),
                       admin_number(r, m->unseen), admin_number(r, m->size), admin_number(r, m->uidvalidity),
                       admin_number(r, m->uidnext), admin_number(r, m->highest_modseq));
    }
    return rc;
}

static enum cq_rc find_mailbox(struct admin_request *r, struct mailstore_account *shard, uint64_t *mailbox_r)
{
    struct mail_mailbox_list list;
    struct cq_slice name = admin_field(r, "mailbox");
    enum cq_rc rc = mailstore_list(r->service->worker->mailstore, shard, r->pool, &list, &r->err);
    for (size_t i = 0; rc == CQ_OK && i < list.count; i++)
        if (cq_slice_eq(list.mailboxes[i].name, name) ||
            (list.mailboxes[i].use == MAIL_USE_INBOX && cq_slice_caseeq(name, CQ_SLICE("INBOX")))) {
            *mailbox_r = list.mailboxes[i].id;
            return CQ_OK;
        }
    return rc != CQ_OK ? rc : CQ_FAIL(&r->err, CQ_E_NO_MAILBOX, "there is no mailbox %.*s", CQ_SLICE_ARG(name));
}

static enum cq_rc read_octets(struct admin_request *r, struct mailstore_account *shard,
                              const struct fetch_record *record)
{
    enum cq_rc rc = CQ_OK;
    if (record->size > ADMIN_OCTETS_MAX)
        return CQ_FAIL(&r->err, CQ_E_TOO_BIG, "the message has %u octets, this command answers %u at most; use IMAP",
                       record->size, ADMIN_OCTETS_MAX);
    for (uint64_t at = 0; rc == CQ_OK && at < record->size;) {
        struct cq_slice piece = CQ_SLICE_NONE;
        rc = mailstore_read_body(r->service->worker->mailstore, shard, record->email, at, 1u << 20, r->pool, &piece,
                                 &r->err);
        if (rc == CQ_OK && piece.len == 0)
            rc = CQ_FAIL(&r->err, CQ_E_CORRUPT, "the body is shorter than its record says");
        cq_buf_slice_add(&r->octets, piece);
        at += piece.len;
    }
    return rc;
}

enum cq_rc admin_message_fetch(struct admin_request *r)
{
    struct dir_account account;
    struct mail_records records;
    struct fetch_record record;
    uint64_t uid = 0, mailbox = 0;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = admin_parse_number(r, "uid", &uid);
    if (rc == CQ_OK && (uid == 0 || uid > UINT32_MAX))
        rc = CQ_FAIL(&r->err, CQ_E_INVALID, "a UID is 1 to 4294967295");
    if (rc != CQ_OK)
        return rc;
    struct mailstore_account shard = {.id = account.id};
    struct uid_range range = {(uint32_t)uid, (uint32_t)uid};
    const struct uidset uids = {&range, 1};
    rc = find_mailbox(r, &shard, &mailbox);
    if (rc == CQ_OK)
        rc = mailstore_fetch(r->service->worker->mailstore, &shard, mailbox, &uids, false, r->pool, &records, &r->err);
    if (rc != CQ_OK)
        return rc;
    if (fetch_record_next(&records.records, &record) != CQ_OK)
        return CQ_FAIL(&r->err, CQ_E_NOT_FOUND, "there is no message with that UID");
    return read_octets(r, &shard, &record);
}
