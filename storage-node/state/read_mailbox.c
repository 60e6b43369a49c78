/* GET_ACCOUNT, LIST_MAILBOXES, OPEN_MAILBOX. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

#include <stdlib.h>

READ(read_account)
{
    (void)message, (void)raw;
    *reply_r = mail_account_reply(v);
    return CQ_OK;
}

static void fill_mailbox(struct mail_view *v, uint64_t id, const struct mailbox_record *record,
                         Chasqui__Mail__Mailbox *mailbox)
{
    chasqui__mail__mailbox__init(mailbox);
    mailbox->id = id;
    mailbox->name = cq_pool_cstr(v->pool, record->name);
    mailbox->use = (Chasqui__Mail__SpecialUse)record->use;
    mailbox->uidvalidity = record->uidvalidity;
    mailbox->uidnext = record->uidnext;
    mailbox->highest_modseq = record->highest_modseq;
    mailbox->messages = record->messages;
    mailbox->unseen = record->unseen;
    mailbox->deleted = record->deleted;
    mailbox->size = record->size;
    mailbox->recent_from = record->recent_from;
}

enum cq_rc mail_keyword_list(struct mail_view *v, uint64_t mailbox, char ***names_r, size_t *count_r)
{
    struct keyword_table *table;
    enum cq_rc rc = mail_load_keywords(v, mailbox, &table);
    if (rc != CQ_OK)
        return rc;
    *names_r = cq_pool_calloc(v->pool, table->count, sizeof **names_r);
    for (size_t i = 0; i < table->count; i++)
        (*names_r)[i] = cq_pool_cstr(v->pool, table->names[i]);
    *count_r = table->count;
    return CQ_OK;
}

/* ---- LIST_MAILBOXES ---- */

static int by_name(const void *a, const void *b)
{
    const Chasqui__Mail__Mailbox *x = *(Chasqui__Mail__Mailbox *const *)a, *y = *(Chasqui__Mail__Mailbox *const *)b;
    return strcmp(x->name, y->name); /* bytes: no NUL can be in a name */
}

static enum cq_rc list_mailboxes(struct mail_view *v, Chasqui__Mail__MailboxList *list)
{
    struct state_key prefix = mail_key(v, KEY_MAILBOX);
    struct db_iter *iter = db_iter_prefix(v->m->db, &prefix);
    enum cq_rc rc;
    list->mailboxes = cq_pool_calloc(v->pool, v->account.mailboxes, sizeof *list->mailboxes);
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        struct mailbox_record record;
        rc = mail_decoded(v, mailbox_record_get(db_iter_value(iter), &record), "mailbox");
        if (rc == CQ_OK && list->n_mailboxes == v->account.mailboxes)
            rc = mail_decoded(v, CQ_E_CORRUPT, "mailbox");
        if (rc != CQ_OK)
            break;
        Chasqui__Mail__Mailbox *mailbox = cq_pool_alloc(v->pool, sizeof *mailbox);
        fill_mailbox(v, cq_get_be64(key_rest(db_iter_key(iter)).data), &record, mailbox);
        list->mailboxes[list->n_mailboxes++] = mailbox;
    }
    db_iter_free(&iter);
    if (rc != CQ_E_EOF)
        return rc;
    qsort(list->mailboxes, list->n_mailboxes, sizeof *list->mailboxes, by_name);
    return CQ_OK;
}

static enum cq_rc list_subscriptions(struct mail_view *v, Chasqui__Mail__MailboxList *list)
{
    struct state_key prefix = mail_key(v, KEY_SUBSCRIPTION);
    struct db_iter *iter = db_iter_prefix(v->m->db, &prefix);
    enum cq_rc rc;
    list->subscriptions = cq_pool_calloc(v->pool, v->account.subscriptions, sizeof *list->subscriptions);
    while ((rc = db_iter_next(iter)) == CQ_OK && list->n_subscriptions < v->account.subscriptions)
        list->subscriptions[list->n_subscriptions++] = cq_pool_cstr(v->pool, key_rest(db_iter_key(iter)));
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc == CQ_OK ? mail_decoded(v, CQ_E_CORRUPT, "subscription") : rc;
}

/* One by its name: two look-ups, however many there are. */
static enum cq_rc find_mailbox(struct mail_view *v, struct cq_slice name, Chasqui__Mail__MailboxList *list)
{
    struct mailbox_record record;
    uint64_t id;
    enum cq_rc rc = mail_find_name(v, name, &id);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    if (rc == CQ_OK)
        rc = mail_load_mailbox(v, id, &record);
    if (rc != CQ_OK)
        return rc;
    list->mailboxes = cq_pool_calloc(v->pool, 1, sizeof *list->mailboxes);
    list->mailboxes[0] = cq_pool_alloc(v->pool, sizeof *list->mailboxes[0]);
    list->n_mailboxes = 1;
    fill_mailbox(v, id, &record, list->mailboxes[0]);
    return CQ_OK;
}

READ(read_mailboxes)
{
    (void)raw;
    const Chasqui__Mail__ListMailboxes *wanted = (const Chasqui__Mail__ListMailboxes *)message;
    Chasqui__Mail__MailboxList list = CHASQUI__MAIL__MAILBOX_LIST__INIT;
    bool one = wanted->name[0] != '\0';
    enum cq_rc rc = one ? find_mailbox(v, cq_slice_cstr(wanted->name), &list) : list_mailboxes(v, &list);
    if (rc == CQ_OK && !one)
        rc = list_subscriptions(v, &list);
    if (rc == CQ_OK)
        *reply_r = mail_pack(v->pool, &list.base);
    return rc;
}

/* ---- OPEN_MAILBOX ---- */

static enum cq_rc read_uids(struct mail_view *v, uint64_t mailbox, uint32_t uidnext, struct uid_entry *entry)
{
    struct state_key from = mail_key_uid(v, KEY_MESSAGE, mailbox, 0);
    struct state_key to = mail_key_uid(v, KEY_MESSAGE, mailbox, uidnext);
    struct uidset hidden;
    enum cq_rc rc = mail_hidden(v, mailbox, &hidden);
    if (rc != CQ_OK)
        return rc;
    struct db_iter *iter = db_iter_new(v->m->db, key_slice(&from), key_slice(&to));
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        struct message_record message;
        struct cq_slice key = db_iter_key(iter);
        uint32_t uid = cq_get_be32(key.data + key.len - 4);
        rc = mail_decoded(v, message_record_get(db_iter_value(iter), &message), "message");
        if (rc != CQ_OK)
            break;
        if (!uidset_contains(&hidden, uid))
            uid_entry_add(entry, uid, !(message.flags & CHASQUI__MAIL__SYSTEM_FLAG__SEEN));
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

enum cq_rc mail_uids(struct mail_view *v, uint64_t mailbox, uint32_t uidnext, struct uid_entry **entry_r)
{
    struct uid_cache *cache = v->m->uids;
    *entry_r = uid_cache_find(cache, v->id, mailbox);
    if (*entry_r)
        return CQ_OK;
    *entry_r = uid_cache_make(cache, v->id, mailbox);
    enum cq_rc rc = read_uids(v, mailbox, uidnext, *entry_r);
    if (rc == CQ_OK)
        uid_cache_settle(cache, *entry_r);
    else
        uid_cache_drop(cache, v->id, mailbox);
    return rc;
}

static enum cq_rc which_mailbox(struct mail_view *v, const Chasqui__Mail__OpenMailbox *open, uint64_t *id_r)
{
    *id_r = open->mailbox;
    if (*id_r || !open->name[0])
        return CQ_OK;
    enum cq_rc rc = mail_find_name(v, cq_slice_cstr(open->name), id_r);
    return rc == CQ_E_NOT_FOUND ? CQ_FAIL(v->err, CQ_E_NO_MAILBOX, "no mailbox of that name") : rc;
}

READ(read_open)
{
    (void)raw;
    uint64_t id;
    struct mailbox_record record;
    struct uid_entry *uids;
    enum cq_rc rc = which_mailbox(v, (const void *)message, &id);
    if (rc == CQ_OK)
        rc = mail_load_mailbox(v, id, &record);
    if (rc == CQ_OK)
        rc = mail_uids(v, id, record.uidnext, &uids);
    if (rc != CQ_OK)
        return rc;
    if (uid_entry_count(uids) != record.messages) /* never shorter than it is: clients would delete mail */
        return mail_decoded(v, CQ_E_CORRUPT, "message count");
    Chasqui__Mail__OpenMailboxReply reply = CHASQUI__MAIL__OPEN_MAILBOX_REPLY__INIT;
    Chasqui__Mail__Mailbox mailbox;
    Chasqui__Mail__UidSet wire;
    struct uidset all = uid_entry_all(uids, v->pool);
    fill_mailbox(v, id, &record, &mailbox);
    rc = mail_keyword_list(v, id, &mailbox.keywords, &mailbox.n_keywords);
    if (rc != CQ_OK)
        return rc;
    mail_uidset_put(v->pool, &all, &wire);
    reply.mailbox = &mailbox;
    reply.uids = &wire;
    reply.first_unseen_uid = uid_entry_first_unseen(uids);
    *reply_r = mail_pack(v->pool, &reply.base);
    return CQ_OK;
}
