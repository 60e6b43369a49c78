/* RENAME_MAILBOX (RFC 3501 6.3.5). Mailboxes below move along and all keep id, UIDVALIDITY and messages. INBOX cannot
 * go: its messages move into a new mailbox and what is below INBOX stays.
 *
 * Subscriptions are names: none is taken away (6.3.9 forbids it), and a renamed mailbox whose old name was subscribed
 * has its new name subscribed too, so that it stays in the client's list. */
#include "state/mail_private.h"
#include "state/mailbox_name.h"

struct renamed {
    uint64_t id;
    struct cq_slice old_name, new_name;
};
struct tree {
    struct renamed *rows;
    size_t count;
};

static enum cq_rc add_row(struct apply *a, struct tree *tree, uint64_t id, struct cq_slice old_name, size_t from_len,
                          struct cq_slice to)
{
    struct cq_slice tail = cq_slice_skip(old_name, from_len);
    if (tree->count == STATE_EFFECTS_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "more than %d mailboxes below the renamed one", STATE_EFFECTS_MAX);
    if (to.len + tail.len > STATE_NAME_MAX)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "a name below would have %zu bytes", to.len + tail.len);
    uint8_t *name = cq_pool_alloc(a->v.pool, to.len + tail.len);
    memcpy(name, to.data, to.len);
    if (tail.len)
        memcpy(name + to.len, tail.data, tail.len);
    struct renamed row = {id, cq_pool_slice(a->v.pool, old_name), cq_slice_of(name, to.len + tail.len)};
    tree->rows[tree->count++] = row;
    return mailbox_name_check(row.new_name, a->v.err);
}

static enum cq_rc collect_children(struct apply *a, struct cq_slice from, struct cq_slice to, struct tree *tree)
{
    struct state_key prefix = mail_key_bytes(&a->v, KEY_NAME, from);
    key_u8(&prefix, '/');
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &prefix);
    enum cq_rc rc;
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        uint64_t id;
        rc = mail_decoded(&a->v, number_record_get(db_iter_value(iter), &id), "name");
        if (rc == CQ_OK)
            rc = add_row(a, tree, id, key_rest(db_iter_key(iter)), from.len, to);
        if (rc != CQ_OK)
            break;
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* Is the old name subscribed? Then the new one becomes so. */
static enum cq_rc follow_subscription(struct apply *a, const struct renamed *row)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_SUBSCRIPTION, row->old_name);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    return apply_subscribe(a, row->new_name, true);
}

static enum cq_rc rename_one(struct apply *a, const struct renamed *row)
{
    struct mailbox_record mailbox;
    enum cq_rc rc = mail_load_mailbox(&a->v, row->id, &mailbox);
    if (rc != CQ_OK)
        return rc;
    apply_put_name(a, row->new_name, row->id);
    mailbox.name = row->new_name;
    mail_save_mailbox(&a->v, row->id, &mailbox);
    apply_mailbox_event(a, CHASQUI__OUTBOX__TYPE__MAILBOX_RENAMED, row->id, row->new_name, row->old_name, 0, 0);
    return follow_subscription(a, row);
}

static enum cq_rc rename_tree(struct apply *a, struct cq_slice from, struct cq_slice to, uint64_t id)
{
    struct tree tree = {.rows = cq_pool_alloc(a->v.pool, STATE_EFFECTS_MAX * sizeof *tree.rows)};
    enum cq_rc rc = add_row(a, &tree, id, from, from.len, to);
    if (rc == CQ_OK)
        rc = collect_children(a, from, to, &tree);
    if (rc == CQ_OK)
        rc = apply_create_parents(a, to);
    if (rc != CQ_OK)
        return rc;
    apply_list_changed(a);
    for (size_t i = 0; i < tree.count; i++)
        apply_remove_name(a, tree.rows[i].old_name);
    for (size_t i = 0; i < tree.count && rc == CQ_OK; i++)
        rc = rename_one(a, &tree.rows[i]);
    if (rc == CQ_OK && a->v.account.name_bytes > STATE_NAMES_BYTES_MAX)
        rc = CQ_FAIL(a->v.err, CQ_E_LIMIT, "names of the account have %u bytes", a->v.account.name_bytes);
    return rc;
}

static enum cq_rc rename_inbox(struct apply *a, struct cq_slice to, uint64_t inbox)
{
    uint64_t id;
    struct mailbox_record mailbox;
    struct uid_range all = {1, UINT32_MAX};
    struct uidset set = {&all, 1};
    struct moved moved;
    enum cq_rc rc = apply_create_parents(a, to);
    if (rc == CQ_OK)
        rc = apply_create_mailbox(a, to, CHASQUI__MAIL__SPECIAL_USE__USE_NONE, &id, &mailbox);
    return rc == CQ_OK ? apply_move(a, inbox, id, &set, &moved) : rc;
}

COMMAND(cmd_rename_mailbox)
{
    (void)reply_r;
    const Chasqui__Mail__RenameMailbox *rename = message;
    struct cq_slice from, to;
    uint64_t id, other;
    enum cq_rc rc = mailbox_name_take(rename->from, a->v.pool, &from, a->v.err);
    if (rc == CQ_OK)
        rc = mailbox_name_take(rename->to, a->v.pool, &to, a->v.err);
    if (rc != CQ_OK)
        return rc;
    rc = mail_find_name(&a->v, from, &id);
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_FAIL(a->v.err, CQ_E_NO_MAILBOX, "no mailbox of the old name") : rc;
    rc = mail_find_name(&a->v, to, &other);
    if (rc != CQ_E_NOT_FOUND)
        return rc == CQ_OK ? CQ_FAIL(a->v.err, CQ_E_EXISTS, "mailbox of the new name") : rc;
    if (mailbox_name_is_inbox(from))
        return rename_inbox(a, to, id);
    if (mailbox_name_below(to, from))
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "a mailbox cannot go below itself");
    return rename_tree(a, from, to, id);
}
