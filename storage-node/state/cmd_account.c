/* CREATE_ACCOUNT, DELETE_ACCOUNT, SET_LIMITS. */
#include "base/cq_endian.h"
#include "base/cq_text.h"
#include "state/mail_private.h"

static void set_limits(struct account_record *account, const Chasqui__Mail__Limits *limits)
{
    account->directory_version = limits->directory_version;
    account->quota_bytes = limits->quota_bytes;
    account->quota_messages = limits->quota_messages;
    account->sending_messages_day = limits->sending_messages_day;
    account->sending_recipients_day = limits->sending_recipients_day;
    account->recipients_message = limits->recipients_message;
}

/* An older version changes nothing, the same one neither. */
static void update_limits(struct apply *a, const Chasqui__Mail__Limits *limits)
{
    if (!limits || limits->directory_version <= a->v.account.directory_version)
        return;
    set_limits(&a->v.account, limits);
    apply_list_changed(a); /* quota is visible */
    apply_quota_events(a);
}

struct cq_slice mail_account_reply(struct mail_view *v)
{
    const struct account_record *account = &v->account;
    Chasqui__Mail__AccountReply reply = CHASQUI__MAIL__ACCOUNT_REPLY__INIT;
    Chasqui__Mail__Limits limits = CHASQUI__MAIL__LIMITS__INIT;
    limits.directory_version = account->directory_version;
    limits.quota_bytes = account->quota_bytes;
    limits.quota_messages = account->quota_messages;
    limits.sending_messages_day = account->sending_messages_day;
    limits.sending_recipients_day = account->sending_recipients_day;
    limits.recipients_message = account->recipients_message;
    reply.limits = &limits;
    reply.incarnation = account->incarnation;
    reply.modseq = account->modseq;
    reply.used_bytes = account->used_bytes;
    reply.used_messages = account->used_messages;
    reply.mailboxes = account->mailboxes;
    return mail_pack(v->pool, &reply.base);
}

/* Never random, never twice the same: from the group's incarnation and the entry's index. */
static uint64_t derive_incarnation(const struct apply *a)
{
    uint8_t bytes[16];
    cq_put_le64(bytes, a->v.m->config.incarnation);
    cq_put_le64(bytes + 8, a->position.index);
    uint64_t hash = cq_xxh3_64(cq_slice_of(bytes, sizeof bytes));
    return hash ? hash : 1;
}

static const struct {
    const char *name;
    Chasqui__Mail__SpecialUse use;
} first_mailboxes[] = {
    {"INBOX", CHASQUI__MAIL__SPECIAL_USE__USE_INBOX}, {"Drafts", CHASQUI__MAIL__SPECIAL_USE__USE_DRAFTS},
    {"Sent", CHASQUI__MAIL__SPECIAL_USE__USE_SENT},   {"Junk", CHASQUI__MAIL__SPECIAL_USE__USE_JUNK},
    {"Trash", CHASQUI__MAIL__SPECIAL_USE__USE_TRASH}, {"Archive", CHASQUI__MAIL__SPECIAL_USE__USE_ARCHIVE},
};

static enum cq_rc create_first_mailboxes(struct apply *a)
{
    for (size_t i = 0; i < sizeof first_mailboxes / sizeof first_mailboxes[0]; i++) {
        struct cq_slice name = cq_slice_cstr(first_mailboxes[i].name);
        uint64_t id;
        struct mailbox_record mailbox;
        enum cq_rc rc = apply_create_mailbox(a, name, first_mailboxes[i].use, &id, &mailbox);
        if (rc == CQ_OK)
            rc = apply_subscribe(a, name, true);
        if (rc != CQ_OK)
            return rc;
    }
    return CQ_OK;
}

static bool address_valid(struct cq_slice address)
{
    for (size_t i = 0; i < address.len; i++) {
        if (address.data[i] < 0x20 || address.data[i] == 0x7f)
            return false;
    }
    return address.len <= STATE_ADDRESS_MAX && cq_utf8_valid(address);
}

COMMAND(cmd_create_account)
{
    const Chasqui__Mail__CreateAccount *create = message;
    if (a->v.account.state == ACCOUNT_ACTIVE) { /* idempotent by id */
        update_limits(a, create->limits);
        *reply_r = mail_account_reply(&a->v);
        return CQ_OK;
    }
    struct cq_slice address = cq_slice_cstr(create->address);
    if (!address_valid(address))
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "address of %zu bytes", address.len);
    a->v.account = (struct account_record){
        .state = ACCOUNT_ACTIVE,
        .incarnation = derive_incarnation(a),
        .created = a->now,
        .next_mailbox = 1,
        .next_email = 1,
        .next_uidvalidity = 1,
        .address = address,
    };
    if (create->limits)
        set_limits(&a->v.account, create->limits);
    apply_modseq(a);
    apply_account_event(a, CHASQUI__OUTBOX__TYPE__ACCOUNT_CREATED);
    enum cq_rc rc = create_first_mailboxes(a);
    *reply_r = mail_account_reply(&a->v);
    return rc;
}

void apply_tombstone(struct apply *a, uint64_t mailbox)
{
    struct state_key key;
    key_begin(&key, db_space(a->v.m->db), 0, KEY_TOMBSTONE);
    key_u64(&key, a->v.id);
    key_u64(&key, mailbox);
    struct cq_buf *out = mail_scratch(a->v.m);
    empty_record_put(out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
}

/* The record stays for ever: an id that was deleted is never an account again. RECLAIM removes the rest. */
COMMAND(cmd_delete_account)
{
    (void)message, (void)reply_r;
    apply_list_changed(a);
    apply_account_event(a, CHASQUI__OUTBOX__TYPE__ACCOUNT_DELETED);
    a->v.account.state = ACCOUNT_DELETED;
    apply_tombstone(a, 0);
    return CQ_OK;
}

COMMAND(cmd_set_limits)
{
    (void)reply_r;
    const Chasqui__Mail__SetLimits *set = message;
    if (!set->limits)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "SET_LIMITS without limits");
    update_limits(a, set->limits);
    return CQ_OK;
}
