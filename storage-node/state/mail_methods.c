#include "state/mail_private.h"

#define M(name) CHASQUI__MAIL__METHOD__##name

static const struct mail_method methods[] = {
    /* method, name, command, internal, grows */
    {M(CREATE_ACCOUNT), "CREATE_ACCOUNT", true, false, true},
    {M(DELETE_ACCOUNT), "DELETE_ACCOUNT", true, false, false},
    {M(SET_LIMITS), "SET_LIMITS", true, false, false},
    {M(CREATE_MAILBOX), "CREATE_MAILBOX", true, false, true},
    {M(DELETE_MAILBOX), "DELETE_MAILBOX", true, false, false},
    {M(RENAME_MAILBOX), "RENAME_MAILBOX", true, false, false},
    {M(SET_SUBSCRIBED), "SET_SUBSCRIBED", true, false, false},
    {M(APPEND), "APPEND", true, false, true},
    {M(DELIVER), "DELIVER", true, false, true},
    {M(STAGE), "STAGE", true, false, true},
    {M(STORE), "STORE", true, false, false},
    {M(COPY), "COPY", true, false, true},
    {M(MOVE), "MOVE", true, false, false},
    {M(EXPUNGE), "EXPUNGE", true, false, false},
    {M(CLAIM_RECENT), "CLAIM_RECENT", true, false, false},
    {M(CHARGE_SENDING), "CHARGE_SENDING", true, false, false},
    {M(KEEP_DELIVERY_KEY), "KEEP_DELIVERY_KEY", true, false, false},
    {M(OWN_SLOTS), "OWN_SLOTS", true, true, false},
    {M(RECLAIM), "RECLAIM", true, true, false},
    {M(OUTBOX_ADVANCE), "OUTBOX_ADVANCE", true, true, false},
    {M(DIGEST_MARK), "DIGEST_MARK", true, true, false},
    {M(OUTBOX_TRIM), "OUTBOX_TRIM", true, true, false},
    {M(RAISE_VERSION), "RAISE_VERSION", true, true, false},
    {M(GET_ACCOUNT), "GET_ACCOUNT", false, false, false},
    {M(LIST_MAILBOXES), "LIST_MAILBOXES", false, false, false},
    {M(OPEN_MAILBOX), "OPEN_MAILBOX", false, false, false},
    {M(FETCH), "FETCH", false, false, false},
    {M(CHANGES), "CHANGES", false, false, false},
    {M(READ_BODY), "READ_BODY", false, false, false},
};

const struct mail_method *mail_method_find(uint32_t method)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (methods[i].method == method)
            return &methods[i];
    }
    return NULL;
}

#define D(name) &chasqui__mail__##name##__descriptor

static const struct apply_command commands[] = {
    {M(CREATE_ACCOUNT), D(create_account), cmd_create_account},
    {M(DELETE_ACCOUNT), D(delete_account), cmd_delete_account},
    {M(SET_LIMITS), D(set_limits), cmd_set_limits},
    {M(CREATE_MAILBOX), D(create_mailbox), cmd_create_mailbox},
    {M(DELETE_MAILBOX), D(delete_mailbox), cmd_delete_mailbox},
    {M(RENAME_MAILBOX), D(rename_mailbox), cmd_rename_mailbox},
    {M(SET_SUBSCRIBED), D(set_subscribed), cmd_set_subscribed},
    {M(APPEND), D(append), cmd_append},
    {M(DELIVER), D(deliver), cmd_deliver},
    {M(STAGE), D(stage), cmd_stage},
    {M(STORE), D(store), cmd_store},
    {M(COPY), D(copy), cmd_copy},
    {M(MOVE), D(copy), cmd_move},
    {M(EXPUNGE), D(expunge), cmd_expunge},
    {M(CLAIM_RECENT), D(claim_recent), cmd_claim_recent},
    {M(CHARGE_SENDING), D(charge_sending), cmd_charge_sending},
    {M(KEEP_DELIVERY_KEY), D(keep_delivery_key), cmd_keep_delivery_key},
    {M(OWN_SLOTS), D(own_slots), cmd_own_slots},
    {M(RECLAIM), D(reclaim), cmd_reclaim},
    {M(OUTBOX_ADVANCE), D(outbox_advance), cmd_outbox_advance},
    {M(DIGEST_MARK), D(empty), cmd_digest_mark},
    {M(OUTBOX_TRIM), D(outbox_trim), cmd_outbox_trim},
    {M(RAISE_VERSION), D(raise_version), cmd_raise_version},
};

const struct apply_command *apply_command_find(uint32_t method)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].method == method)
            return &commands[i];
    }
    return NULL;
}

static const struct read_method reads[] = {
    {M(GET_ACCOUNT), D(empty), read_account},      {M(LIST_MAILBOXES), D(list_mailboxes), read_mailboxes},
    {M(OPEN_MAILBOX), D(open_mailbox), read_open}, {M(FETCH), D(fetch), read_fetch},
    {M(CHANGES), D(changes), read_changes},
};

const struct read_method *read_method_find(uint32_t method)
{
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        if (reads[i].method == method)
            return &reads[i];
    }
    return NULL;
}
