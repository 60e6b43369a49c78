#include "unit/state/mail_model.h"

#include "base/cq_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USE_ARCHIVE = 1, USE_DRAFTS, USE_JUNK, USE_SENT, USE_TRASH, USE_INBOX };
#define DELETED 8

struct model *model_new(void)
{
    struct model *m = cq_new(struct model);
    m->next_mailbox = m->next_email = 1;
    m->next_uidvalidity = 1;
    static const char *const names[] = {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"};
    static const int uses[] = {USE_INBOX, USE_DRAFTS, USE_SENT, USE_JUNK, USE_TRASH, USE_ARCHIVE};
    for (size_t i = 0; i < 6; i++) {
        model_create(m, names[i], uses[i]);
        model_subscribe(m, names[i], true);
    }
    m->modseq = 1;
    for (size_t i = 0; i < m->mailbox_count; i++)
        m->mailboxes[i].highest = 1;
    return m;
}

void model_free(struct model **m)
{
    for (size_t i = 0; i < (*m)->mailbox_count; i++)
        free((*m)->mailboxes[i].messages);
    free((*m)->mailboxes);
    free((*m)->subscriptions);
    free((*m)->bodies);
    free(*m);
    *m = NULL;
}

struct model_mailbox *model_find(struct model *m, uint64_t id)
{
    for (size_t i = 0; i < m->mailbox_count; i++)
        if (m->mailboxes[i].id == id)
            return &m->mailboxes[i];
    return NULL;
}

struct model_mailbox *model_named(struct model *m, const char *name)
{
    for (size_t i = 0; i < m->mailbox_count; i++)
        if (!strcmp(m->mailboxes[i].name, name))
            return &m->mailboxes[i];
    return NULL;
}

struct model_message *model_message(struct model_mailbox *mailbox, uint32_t uid)
{
    for (size_t i = 0; i < mailbox->count; i++)
        if (mailbox->messages[i].uid == uid)
            return &mailbox->messages[i];
    return NULL;
}

struct model_body *model_body(struct model *m, uint64_t email)
{
    for (size_t i = 0; i < m->body_count; i++)
        if (m->bodies[i].email == email)
            return &m->bodies[i];
    return NULL;
}

bool model_subscribed(struct model *m, const char *name)
{
    for (size_t i = 0; i < m->subscription_count; i++)
        if (!strcmp(m->subscriptions[i], name))
            return true;
    return false;
}

void model_subscribe(struct model *m, const char *name, bool subscribed)
{
    if (model_subscribed(m, name) == subscribed)
        return;
    m->modseq++;
    if (subscribed) {
        m->subscriptions = cq_realloc(m->subscriptions, (m->subscription_count + 1) * sizeof *m->subscriptions);
        snprintf(m->subscriptions[m->subscription_count++], 256, "%s", name);
        return;
    }
    for (size_t i = 0; i < m->subscription_count; i++)
        if (!strcmp(m->subscriptions[i], name)) {
            memcpy(m->subscriptions[i], m->subscriptions[--m->subscription_count], 256);
            return;
        }
}

static void add_mailbox(struct model *m, const char *name, int use)
{
    m->mailboxes = cq_realloc(m->mailboxes, (m->mailbox_count + 1) * sizeof *m->mailboxes);
    struct model_mailbox *mailbox = &m->mailboxes[m->mailbox_count++];
    *mailbox = (struct model_mailbox){.id = m->next_mailbox++,
                                      .use = use,
                                      .uidvalidity = m->next_uidvalidity++,
                                      .uidnext = 1,
                                      .recent_from = 1,
                                      .highest = m->modseq};
    snprintf(mailbox->name, sizeof mailbox->name, "%s", name);
}

static void add_parents(struct model *m, const char *name)
{
    char parent[256];
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - name), name);
        if (!model_named(m, parent))
            add_mailbox(m, parent, 0);
    }
}

enum cq_rc model_create(struct model *m, const char *name, int use)
{
    if (model_named(m, name))
        return CQ_E_EXISTS;
    for (size_t i = 0; use && i < m->mailbox_count; i++)
        if (m->mailboxes[i].use == use)
            return CQ_E_CONFLICT;
    m->modseq++;
    add_parents(m, name);
    add_mailbox(m, name, use);
    return CQ_OK;
}

static bool below(const char *name, const char *parent)
{
    size_t len = strlen(parent);
    return !strncmp(name, parent, len) && name[len] == '/';
}

static void release(struct model *m, uint64_t email)
{
    struct model_body *body = model_body(m, email);
    if (--body->references == 0)
        *body = m->bodies[--m->body_count];
}

static void remove_message(struct model *m, struct model_mailbox *mailbox, size_t at)
{
    m->used_bytes -= mailbox->messages[at].size;
    m->used_messages--;
    mailbox->count--;
    memmove(&mailbox->messages[at], &mailbox->messages[at + 1], (mailbox->count - at) * sizeof *mailbox->messages);
}

enum cq_rc model_delete(struct model *m, uint64_t id)
{
    struct model_mailbox *mailbox = model_find(m, id);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    if (!strcmp(mailbox->name, "INBOX"))
        return CQ_E_DENIED;
    for (size_t i = 0; i < m->mailbox_count; i++)
        if (below(m->mailboxes[i].name, mailbox->name))
            return CQ_E_CONFLICT;
    m->modseq++;
    while (mailbox->count) {
        release(m, mailbox->messages[mailbox->count - 1].email);
        remove_message(m, mailbox, mailbox->count - 1);
    }
    free(mailbox->messages);
    *mailbox = m->mailboxes[--m->mailbox_count];
    return CQ_OK;
}

static struct model_message *push(struct model_mailbox *mailbox, const struct model_message *message)
{
    if (mailbox->count == mailbox->cap) {
        mailbox->cap = mailbox->cap ? mailbox->cap * 2 : 8;
        mailbox->messages = cq_realloc(mailbox->messages, mailbox->cap * sizeof *mailbox->messages);
    }
    mailbox->messages[mailbox->count] = *message;
    return &mailbox->messages[mailbox->count++];
}

static void place(struct model *m, struct model_mailbox *mailbox, struct model_message message)
{
    message.uid = mailbox->uidnext++;
    message.modseq = mailbox->highest = m->modseq;
    push(mailbox, &message);
    m->used_bytes += message.size;
    m->used_messages++;
}

enum cq_rc model_rename(struct model *m, const char *from, const char *to)
{
    struct model_mailbox *mailbox = model_named(m, from);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    if (model_named(m, to))
        return CQ_E_EXISTS;
    bool inbox = !strcmp(from, "INBOX");
    if (!inbox && below(to, from))
        return CQ_E_INVALID;
    m->modseq++;
    add_parents(m, to);
    if (inbox) {
        add_mailbox(m, to, 0);
        struct model_mailbox *source = model_named(m, "INBOX"), *target = model_named(m, to);
        for (size_t i = 0; i < source->count; i++)
            place(m, target, source->messages[i]);
        if (source->count)
            source->highest = m->modseq;
        while (source->count)
            remove_message(m, source, source->count - 1);
        return CQ_OK;
    }
    uint64_t modseq = m->modseq;
    for (size_t i = 0; i < m->mailbox_count; i++) {
        char *name = m->mailboxes[i].name, new_name[512];
        if (strcmp(name, from) && !below(name, from))
            continue;
        snprintf(new_name, sizeof new_name, "%s%s", to, name + strlen(from));
        if (model_subscribed(m, name))
            model_subscribe(m, new_name, true);
        snprintf(name, 256, "%.255s", new_name);
    }
    m->modseq = modseq;
    return CQ_OK;
}

enum cq_rc model_quota(struct model *m, uint64_t bytes)
{
    return m->quota_bytes && m->used_bytes + bytes > m->quota_bytes ? CQ_E_OVER_QUOTA : CQ_OK;
}

enum cq_rc model_append(struct model *m, uint64_t id, const struct model_append *messages, size_t count)
{
    struct model_mailbox *mailbox = model_find(m, id);
    uint64_t bytes = 0;
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    for (size_t i = 0; i < count; i++)
        bytes += messages[i].size;
    if (model_quota(m, bytes) != CQ_OK)
        return CQ_E_OVER_QUOTA;
    m->modseq++;
    for (size_t i = 0; i < count; i++) {
        m->bodies = cq_realloc(m->bodies, (m->body_count + 1) * sizeof *m->bodies);
        m->bodies[m->body_count++] = (struct model_body){m->next_email, messages[i].size, 1, messages[i].token};
        place(m, mailbox,
              (struct model_message){.size = messages[i].size,
                                     .keywords = messages[i].keywords,
                                     .flags = messages[i].flags,
                                     .internal_date = messages[i].internal_date,
                                     .email = m->next_email++});
    }
    return CQ_OK;
}

static uint32_t combine(int mode, uint32_t have, uint32_t given)
{
    return mode == 0 ? given : mode == 1 ? have | given : have & ~given;
}

enum cq_rc model_store(struct model *m, uint64_t id, const uint32_t *uids, size_t count, int mode, uint8_t flags,
                       uint32_t keywords, bool conditional, uint64_t unchanged_since, uint32_t *modified,
                       size_t *modified_count)
{
    struct model_mailbox *mailbox = model_find(m, id);
    bool changed = false;
    *modified_count = 0;
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    for (size_t i = 0; i < count; i++) {
        struct model_message *message = model_message(mailbox, uids[i]);
        if (!message)
            continue;
        uint8_t new_flags = (uint8_t)combine(mode, message->flags, flags);
        uint32_t new_keywords = combine(mode, message->keywords, keywords);
        if (conditional && message->modseq > unchanged_since) {
            modified[(*modified_count)++] = uids[i];
        } else if (new_flags != message->flags || new_keywords != message->keywords) {
            message->flags = new_flags;
            message->keywords = new_keywords;
            message->modseq = mailbox->highest = m->modseq + 1;
            changed = true;
        }
    }
    m->modseq += changed;
    return CQ_OK;
}

enum cq_rc model_copy(struct model *m, uint64_t from, uint64_t to, const uint32_t *uids, size_t count, bool move,
                      uint32_t *copied, size_t *copied_count)
{
    *copied_count = 0;
    if (!model_find(m, from) || !model_find(m, to))
        return CQ_E_NO_MAILBOX;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct model_message *message = model_message(model_find(m, from), uids[i]);
        bytes += message ? message->size : 0;
        if (message)
            copied[(*copied_count)++] = uids[i];
    }
    if (*copied_count && !move && model_quota(m, bytes) != CQ_OK)
        return CQ_E_OVER_QUOTA;
    m->modseq += *copied_count > 0;
    for (size_t i = 0; i < *copied_count; i++) {
        struct model_message message = *model_message(model_find(m, from), copied[i]);
        place(m, model_find(m, to), message);
        model_body(m, message.email)->references++;
    }
    for (size_t i = 0; move && i < *copied_count; i++) {
        struct model_mailbox *source = model_find(m, from);
        struct model_message *message = model_message(source, copied[i]);
        release(m, message->email);
        remove_message(m, source, (size_t)(message - source->messages));
        source->highest = m->modseq;
    }
    return CQ_OK;
}

static bool among(const uint32_t *uids, size_t count, uint32_t uid)
{
    for (size_t i = 0; i < count; i++)
        if (uids[i] == uid)
            return true;
    return false;
}

enum cq_rc model_expunge(struct model *m, uint64_t id, const uint32_t *uids, size_t count, uint32_t *expunged,
                         size_t *expunged_count)
{
    struct model_mailbox *mailbox = model_find(m, id);
    *expunged_count = 0;
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    for (size_t i = 0; i < mailbox->count;) {
        struct model_message *message = &mailbox->messages[i];
        if (!(message->flags & DELETED) || (uids && !among(uids, count, message->uid))) {
            i++;
            continue;
        }
        expunged[(*expunged_count)++] = message->uid;
        release(m, message->email);
        remove_message(m, mailbox, i);
    }
    if (*expunged_count)
        mailbox->highest = ++m->modseq;
    return CQ_OK;
}

enum cq_rc model_claim_recent(struct model *m, uint64_t id, uint32_t *from_r, uint32_t *to_r)
{
    struct model_mailbox *mailbox = model_find(m, id);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    *from_r = mailbox->recent_from;
    *to_r = mailbox->uidnext;
    m->modseq += mailbox->recent_from != mailbox->uidnext;
    mailbox->recent_from = mailbox->uidnext;
    return CQ_OK;
}
