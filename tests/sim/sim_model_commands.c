/* What each command must answer, and what it does to the model. */
#include "sim_model_private.h"

#include "base/cq_mem.h"
#include "state/state_limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Commands: each says what rc it expects and does to the model what it must have done ---- */

/* The ids of the first mailboxes are learnt from the machine, once. */
static enum cq_rc step_create_account(struct step *s)
{
    struct model_account *account = s->account;
    const Chasqui__Mail__CreateAccount *create = step_request(s, &chasqui__mail__create_account__descriptor);
    if (account->exists)
        return CQ_OK;
    account->exists = true;
    if (create->limits)
        account->limits = (struct model_limits){create->limits->directory_version, create->limits->quota_bytes,
                                                create->limits->quota_messages};
    step_event(s, CHASQUI__OUTBOX__TYPE__ACCOUNT_CREATED);
    for (unsigned i = 0; i < 6; i++)
        step_event(s, CHASQUI__OUTBOX__TYPE__MAILBOX_CREATED);
    account->incarnation = s->answer->incarnation;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t bytes[64];
    size_t len = chasqui__mail__call__pack(&call, bytes);
    struct machine *machine = s->node->groups[s->commit->group - 1].machine;
    const struct machine_read read = {CHASQUI__MAIL__METHOD__LIST_MAILBOXES, account->id, cq_slice_of(bytes, len)};
    struct cq_buf answer, raw;
    cq_buf_init(&answer, 1u << 20);
    cq_buf_init(&raw, 1u << 20);
    if (machine->ops->read(machine, &read, s->pool, &answer, &raw, NULL) != CQ_OK)
        wrong(s, "a new account's mailboxes cannot be listed");
    const Chasqui__Mail__Answer *a = step_unpack(s, &chasqui__mail__answer__descriptor, cq_buf_slice(&answer));
    const Chasqui__Mail__MailboxList *list =
        step_unpack(s, &chasqui__mail__mailbox_list__descriptor, cq_slice_of(a->body.data, a->body.len));
    for (uint64_t id = 1; id <= list->n_mailboxes; id++) {
        for (size_t i = 0; i < list->n_mailboxes; i++) {
            if (list->mailboxes[i]->id == id)
                step_add_mailbox(s, list->mailboxes[i]->name, id, list->mailboxes[i]->uidvalidity);
        }
    }
    if (account->mailbox_count != 6)
        wrong(s, "a new account has %zu mailboxes", account->mailbox_count);
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
    return CQ_OK;
}

/* ---- Bodies that come in stages ---- */

static bool expired(const struct step *s, const struct model_stage *stage)
{
    uint64_t now = s->model->time[s->commit->group - 1];
    return now > stage->time && now - stage->time > STATE_STAGE_AGE_US;
}

static const struct model_piece *piece_at(const struct model_stage *stage, uint64_t offset)
{
    for (unsigned i = 0; i < stage->piece_count; i++) {
        if (stage->pieces[i].offset == offset)
            return &stage->pieces[i];
    }
    return NULL;
}

static struct model_stage *new_stage(struct step *s, const uint8_t *id)
{
    struct model_account *account = s->account;
    if (account->stage_count == account->stage_cap) {
        account->stage_cap = account->stage_cap ? account->stage_cap * 2 : 16;
        account->stages = cq_realloc(account->stages, account->stage_cap * sizeof *account->stages);
    }
    struct model_stage *stage = &account->stages[account->stage_count++];
    *stage = (struct model_stage){.live = true};
    memcpy(stage->id, id, 16);
    return stage;
}

/* NULL: it is not there. What has expired may have been removed or not: then the outcome tells. */
static struct model_stage *find_stage(struct step *s, const uint8_t *id, bool outcome_of_none)
{
    struct model_stage *stage = model_stage(s->account, id);
    if (stage && expired(s, stage) && outcome_of_none) {
        stage->live = false;
        return NULL;
    }
    return stage;
}

static enum cq_rc step_stage(struct step *s)
{
    const Chasqui__Mail__Stage *request = step_request(s, &chasqui__mail__stage__descriptor);
    const Chasqui__Mail__StageReply *reply = step_reply(s, &chasqui__mail__stage_reply__descriptor);
    uint64_t length = s->entry.chunks[0].length, hash = s->entry.chunks[0].hash.low;
    bool of_none = request->offset ? s->outcome->rc == CQ_E_CONFLICT : reply->size == length;
    struct model_stage *stage = find_stage(s, request->stage.data, of_none);
    uint64_t size = stage ? stage->size : 0;
    if (request->offset > size)
        return CQ_E_CONFLICT;
    if (request->offset < size) {
        const struct model_piece *piece = piece_at(stage, request->offset);
        if (!piece || piece->length != length || piece->hash != hash)
            return CQ_E_CONFLICT;
    } else {
        if (step_over_quota(s, size + length, 1))
            return CQ_E_OVER_QUOTA;
        if (!stage)
            stage = new_stage(s, request->stage.data);
        stage->pieces[stage->piece_count++] = (struct model_piece){size, length, hash};
        stage->size += length;
        stage->time = s->model->time[s->commit->group - 1];
    }
    if (reply->size != stage->size)
        wrong(s, "%" PRIu64 " octets are staged, not %" PRIu64, stage->size, reply->size);
    return CQ_OK;
}

/* A staged body is one command's; then there is no such stage. */
static enum cq_rc take_stages(struct step *s, Chasqui__Mail__NewMessage **messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!messages[i]->stage.len)
            continue;
        struct model_stage *stage = find_stage(s, messages[i]->stage.data, s->outcome->rc == CQ_E_NOT_FOUND);
        if (!stage)
            return CQ_E_NOT_FOUND;
        if (stage->size != messages[i]->size)
            return CQ_E_INVALID;
        stage->live = false;
    }
    return CQ_OK;
}

/* ---- New messages ---- */

static enum cq_rc judge_messages(struct step *s, Chasqui__Mail__NewMessage **messages, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += messages[i]->size;
    return step_over_quota(s, bytes, count) ? CQ_E_OVER_QUOTA : take_stages(s, messages, count);
}

static void add_new(struct step *s, struct model_mailbox *mailbox, const Chasqui__Mail__NewMessage *message,
                    uint64_t email)
{
    model_add(mailbox, (struct model_message){
                           .uid = mailbox->uidnext++,
                           .flags = (uint8_t)message->flags,
                           .keywords = model_keyword_set(message->keywords, message->n_keywords),
                           .size = message->size,
                           .email = email,
                           .modseq = step_modseq(s),
                           .token = model_token(cq_slice_of(message->summary.data, message->summary.len)),
                       });
}

static void take_emails(struct step *s, uint64_t first, size_t count)
{
    if (first <= s->account->last_email)
        wrong(s, "email id %" PRIu64 " after %" PRIu64, first, s->account->last_email);
    s->account->last_email = first + count - 1;
}

static enum cq_rc step_append(struct step *s)
{
    const Chasqui__Mail__Append *append = step_request(s, &chasqui__mail__append__descriptor);
    struct model_mailbox *mailbox = model_live(s->account, append->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    enum cq_rc rc = judge_messages(s, append->messages, append->n_messages);
    if (rc != CQ_OK)
        return rc;
    const Chasqui__Mail__AppendReply *reply = step_reply(s, &chasqui__mail__append_reply__descriptor);
    if (reply->first_uid != mailbox->uidnext || reply->uidvalidity != mailbox->uidvalidity ||
        reply->count != append->n_messages)
        wrong(s, "appended %u at UID %u of %u, but %zu at UID %u of %u were due", reply->count, reply->first_uid,
              reply->uidvalidity, append->n_messages, mailbox->uidnext, mailbox->uidvalidity);
    take_emails(s, reply->first_email, append->n_messages);
    for (size_t i = 0; i < append->n_messages; i++)
        add_new(s, mailbox, append->messages[i], reply->first_email + i);
    step_touch(s, mailbox);
    step_quota_events(s);
    return CQ_OK;
}

/* ---- Deliveries ---- */

/* A kept key goes with the one delivery that it absorbs. */
static bool absorbs(struct model_account *account, const ProtobufCBinaryData *id)
{
    for (size_t i = 0; id->len && i < account->key_count; i++) {
        if (memcmp(account->keys[i].id, id->data, 16) != 0)
            continue;
        account->keys[i] = account->keys[--account->key_count];
        return true;
    }
    return false;
}

static enum cq_rc step_keep_key(struct step *s)
{
    const Chasqui__Mail__KeepDeliveryKey *keep = step_request(s, &chasqui__mail__keep_delivery_key__descriptor);
    struct model_account *account = s->account;
    absorbs(account, &keep->delivery_key); /* kept again is kept once */
    if (account->key_count == account->key_cap) {
        account->key_cap = account->key_cap ? account->key_cap * 2 : 16;
        account->keys = cq_realloc(account->keys, account->key_cap * sizeof *account->keys);
    }
    memcpy(account->keys[account->key_count++].id, keep->delivery_key.data, 16);
    return CQ_OK;
}

static struct model_mailbox *mailbox_for(struct step *s, Chasqui__Mail__SpecialUse use)
{
    struct model_mailbox *junk = model_named(s->account, "Junk");
    return use == CHASQUI__MAIL__SPECIAL_USE__USE_JUNK ? junk : &s->account->mailboxes[0];
}

static enum cq_rc step_deliver(struct step *s)
{
    const Chasqui__Mail__Deliver *deliver = step_request(s, &chasqui__mail__deliver__descriptor);
    const Chasqui__Mail__DeliverReply *reply = step_reply(s, &chasqui__mail__deliver_reply__descriptor);
    struct model_mailbox *mailbox = mailbox_for(s, deliver->use);
    Chasqui__Mail__NewMessage *message = deliver->message;
    bool absorbed = absorbs(s->account, &deliver->delivery_key);
    if (s->outcome->rc == CQ_OK && reply->absorbed != absorbed)
        wrong(s, "the delivery was %s by a key", absorbed ? "not absorbed" : "absorbed");
    if (absorbed) {
        step_event(s, CHASQUI__OUTBOX__TYPE__MESSAGE_DUPLICATE_SUPPRESSED);
        return CQ_OK;
    }
    enum cq_rc rc = judge_messages(s, &message, 1);
    if (rc != CQ_OK)
        return rc;
    if (reply->mailbox != mailbox->id || reply->uidvalidity != mailbox->uidvalidity || reply->uid != mailbox->uidnext)
        wrong(s, "delivered as UID %u of %u, but UID %u of %u was due", reply->uid, reply->uidvalidity,
              mailbox->uidnext, mailbox->uidvalidity);
    take_emails(s, reply->email, 1);
    add_new(s, mailbox, message, reply->email);
    step_touch(s, mailbox);
    step_event(s, CHASQUI__OUTBOX__TYPE__MESSAGE_ACCEPTED);
    step_event(s, CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL);
    step_quota_events(s);
    return CQ_OK;
}

/* ---- Messages that are there ---- */

/* Walks the messages of the set, from a copy of the UIDs: the body may change the mailbox. */
static size_t picked(struct step *s, const struct model_mailbox *mailbox, const Chasqui__Mail__UidSet *set,
                     uint32_t **uids_r)
{
    size_t count = 0;
    *uids_r = cq_pool_calloc(s->pool, mailbox->count + 1, sizeof **uids_r);
    for (size_t r = 0; set && r + 1 < set->n_ranges; r += 2) {
        for (size_t i = model_place(mailbox, set->ranges[r]);
             i < mailbox->count && mailbox->messages[i].uid <= set->ranges[r + 1]; i++)
            (*uids_r)[count++] = mailbox->messages[i].uid;
    }
    return count;
}

static bool same_set(const Chasqui__Mail__UidSet *set, const uint32_t *uids, size_t count)
{
    size_t at = 0;
    for (size_t r = 0; set && r + 1 < set->n_ranges; r += 2) {
        for (uint64_t uid = set->ranges[r]; uid <= set->ranges[r + 1]; uid++) {
            if (at >= count || uids[at++] != uid)
                return false;
        }
    }
    return at == count;
}

static uint8_t combine(Chasqui__Mail__Store__Mode mode, uint8_t have, uint8_t given)
{
    switch (mode) {
    case CHASQUI__MAIL__STORE__MODE__ADD:
        return have | given;
    case CHASQUI__MAIL__STORE__MODE__REMOVE:
        return have & (uint8_t)~given;
    default:
        return given;
    }
}

static bool change_flags(struct step *s, const Chasqui__Mail__Store *store, struct model_mailbox *mailbox,
                         struct model_message *m)
{
    uint8_t flags = combine(store->mode, m->flags, (uint8_t)store->flags);
    uint8_t keywords = combine(store->mode, m->keywords, model_keyword_set(store->keywords, store->n_keywords));
    if (flags == m->flags && keywords == m->keywords)
        return false;
    mailbox->sum -= model_hash(m);
    m->flags = flags;
    m->keywords = keywords;
    mailbox->sum += model_hash(m);
    m->modseq = step_modseq(s);
    return true;
}

static enum cq_rc step_store(struct step *s)
{
    const Chasqui__Mail__Store *store = step_request(s, &chasqui__mail__store__descriptor);
    struct model_mailbox *mailbox = model_live(s->account, store->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__StoreReply *reply = step_reply(s, &chasqui__mail__store_reply__descriptor);
    uint32_t *uids;
    size_t count = picked(s, mailbox, store->uids, &uids), modified = 0;
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        struct model_message *m = model_message(mailbox, uids[i]);
        if (store->has_unchanged_since && m->modseq > store->unchanged_since)
            uids[modified++] = m->uid;
        else
            changed |= change_flags(s, store, mailbox, m);
    }
    if (!same_set(reply->modified, uids, modified))
        wrong(s, "STORE refused other messages than those that had changed");
    if (changed)
        step_touch(s, mailbox);
    if (reply->modseq != (changed ? s->modseq : 0))
        wrong(s, "STORE says modseq %" PRIu64, reply->modseq);
    return CQ_OK;
}

static void copy_messages(struct step *s, struct model_mailbox *from, struct model_mailbox *to, const uint32_t *uids,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct model_message copy = *model_message(from, uids[i]);
        copy.uid = to->uidnext++;
        copy.modseq = step_modseq(s);
        model_add(to, copy);
    }
}

static uint64_t bytes_of(struct model_mailbox *mailbox, const uint32_t *uids, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += model_message(mailbox, uids[i])->size;
    return bytes;
}

/* All of them are there at once, and with MOVE gone at once where they were. */
static void show_job(struct step *s, struct model_job *job)
{
    struct model_mailbox *from = model_mailbox(s->account, job->from), *to = model_mailbox(s->account, job->to);
    s->changed = true; /* the answer may be that of a group's own entry, which names no modseq */
    s->modseq = ++s->account->modseq;
    copy_messages(s, from, to, job->uids, job->count);
    for (size_t i = 0; job->move && i < job->count; i++)
        model_remove(from, job->uids[i]);
    step_touch(s, to);
    if (job->move)
        step_touch(s, from);
    else
        step_quota_events(s);
    step_remember_for(s, job->client, job->sequence);
}

void step_job(struct step *s)
{
    struct model_job *job = &s->account->job;
    size_t left = job->count - job->done;
    job->done += left < STATE_EFFECTS_MAX ? left : STATE_EFFECTS_MAX;
    if (job->done < job->count)
        return;
    if (!job->removing)
        show_job(s, job);
    job->active = job->move && !job->removing;
    job->removing = true;
    job->done = 0;
}

static enum cq_rc begin_job(struct step *s, const Chasqui__Mail__Copy *copy, const uint32_t *uids, size_t count)
{
    struct model_job *job = &s->account->job;
    free(job->uids);
    *job = (struct model_job){.active = true,
                              .move = s->entry.method == CHASQUI__MAIL__METHOD__MOVE,
                              .from = copy->from,
                              .to = copy->to,
                              .uids = cq_memdup(uids, count * sizeof *uids),
                              .count = count,
                              .sequence = s->entry.sequence};
    memcpy(job->client, s->entry.client, 16);
    step_job(s);
    return CQ_E_AGAIN;
}

static enum cq_rc step_copy(struct step *s)
{
    const Chasqui__Mail__Copy *copy = step_request(s, &chasqui__mail__copy__descriptor);
    struct model_mailbox *from = model_live(s->account, copy->from), *to = model_live(s->account, copy->to);
    if (!from || !to)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__CopyReply *reply = step_reply(s, &chasqui__mail__copy_reply__descriptor);
    uint32_t *uids, first = to->uidnext;
    size_t count = picked(s, from, copy->uids, &uids);
    bool copies = s->entry.method == CHASQUI__MAIL__METHOD__COPY && count;
    if (copies && step_over_quota(s, bytes_of(from, uids, count), count))
        return CQ_E_OVER_QUOTA;
    if (count > STATE_EFFECTS_MAX)
        return begin_job(s, copy, uids, count);
    if (reply->uidvalidity != to->uidvalidity || reply->first_uid != (count ? first : 0) ||
        !same_set(reply->copied, uids, count))
        wrong(s, "COPY or MOVE answers UID %u of %u, but UID %u of %u and %zu messages were due", reply->first_uid,
              reply->uidvalidity, first, to->uidvalidity, count);
    copy_messages(s, from, to, uids, count);
    if (s->entry.method == CHASQUI__MAIL__METHOD__MOVE) {
        for (size_t i = 0; i < count; i++)
            model_remove(from, uids[i]);
    }
    if (count) {
        step_touch(s, to);
        if (s->entry.method == CHASQUI__MAIL__METHOD__MOVE)
            step_touch(s, from);
    }
    step_quota_events(s);
    return CQ_OK;
}

static enum cq_rc step_expunge(struct step *s)
{
    const Chasqui__Mail__Expunge *expunge = step_request(s, &chasqui__mail__expunge__descriptor);
    struct model_mailbox *mailbox = model_live(s->account, expunge->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__ExpungeReply *reply = step_reply(s, &chasqui__mail__expunge_reply__descriptor);
    uint32_t everything[] = {1, UINT32_MAX}, *uids;
    Chasqui__Mail__UidSet all = CHASQUI__MAIL__UID_SET__INIT;
    all.n_ranges = 2;
    all.ranges = everything;
    size_t count = picked(s, mailbox, expunge->has_uids ? expunge->uids : &all, &uids), gone = 0;
    for (size_t i = 0; i < count; i++) {
        if (model_message(mailbox, uids[i])->flags & CHASQUI__MAIL__SYSTEM_FLAG__DELETED)
            uids[gone++] = uids[i];
    }
    if (!same_set(reply->expunged, uids, gone))
        wrong(s, "EXPUNGE took other messages than the %zu that were due", gone);
    for (size_t i = 0; i < gone; i++)
        model_remove(mailbox, uids[i]);
    if (gone) {
        step_touch(s, mailbox);
        step_event(s, CHASQUI__OUTBOX__TYPE__MESSAGES_EXPUNGED);
        step_quota_events(s);
    }
    return CQ_OK;
}

static enum cq_rc step_create_mailbox(struct step *s)
{
    const Chasqui__Mail__CreateMailbox *create = step_request(s, &chasqui__mail__create_mailbox__descriptor);
    if (model_named(s->account, create->name))
        return CQ_E_EXISTS;
    const Chasqui__Mail__MailboxReply *reply = step_reply(s, &chasqui__mail__mailbox_reply__descriptor);
    step_add_mailbox(s, create->name, reply->mailbox, reply->uidvalidity);
    step_event(s, CHASQUI__OUTBOX__TYPE__MAILBOX_CREATED);
    return CQ_OK;
}

static enum cq_rc step_delete_mailbox(struct step *s)
{
    const Chasqui__Mail__DeleteMailbox *deletion = step_request(s, &chasqui__mail__delete_mailbox__descriptor);
    struct model_mailbox *mailbox = model_live(s->account, deletion->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    mailbox->live = false;
    s->account->list_sum -= model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    step_modseq(s);
    step_note_mailbox(s, mailbox);
    step_note_list(s);
    step_event(s, CHASQUI__OUTBOX__TYPE__MAILBOX_DELETED);
    step_quota_events(s);
    return CQ_OK;
}

/* Its messages move into a new mailbox, and it stays. */
static enum cq_rc rename_inbox(struct step *s, const char *to)
{
    struct model_account *account = s->account;
    uint32_t *uids, everything[] = {1, UINT32_MAX};
    Chasqui__Mail__UidSet all = CHASQUI__MAIL__UID_SET__INIT;
    all.n_ranges = 2;
    all.ranges = everything;
    struct model_mailbox *made = step_add_mailbox(s, to, account->last_mailbox + 1, account->last_uidvalidity + 1);
    struct model_mailbox *inbox = &account->mailboxes[0];
    step_event(s, CHASQUI__OUTBOX__TYPE__MAILBOX_CREATED);
    size_t count = picked(s, inbox, &all, &uids);
    copy_messages(s, inbox, made, uids, count);
    for (size_t i = 0; i < count; i++)
        model_remove(inbox, uids[i]);
    if (count) {
        step_touch(s, made);
        step_touch(s, inbox);
    }
    return CQ_OK;
}

static enum cq_rc step_rename_mailbox(struct step *s)
{
    const Chasqui__Mail__RenameMailbox *rename = step_request(s, &chasqui__mail__rename_mailbox__descriptor);
    struct model_mailbox *mailbox = model_named(s->account, rename->from);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    if (model_named(s->account, rename->to))
        return CQ_E_EXISTS;
    if (mailbox == &s->account->mailboxes[0])
        return rename_inbox(s, rename->to);
    s->account->list_sum -= model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    snprintf(mailbox->name, sizeof mailbox->name, "%s", rename->to);
    s->account->list_sum += model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    step_modseq(s);
    step_note_list(s);
    step_event(s, CHASQUI__OUTBOX__TYPE__MAILBOX_RENAMED);
    return CQ_OK;
}

/* ---- The account ---- */

static enum cq_rc step_set_limits(struct step *s)
{
    const Chasqui__Mail__SetLimits *set = step_request(s, &chasqui__mail__set_limits__descriptor);
    if (set->limits->directory_version <= s->account->limits.version)
        return CQ_OK;
    s->account->limits =
        (struct model_limits){set->limits->directory_version, set->limits->quota_bytes, set->limits->quota_messages};
    step_modseq(s);
    step_quota_events(s);
    return CQ_OK;
}

static enum cq_rc step_delete_account(struct step *s)
{
    s->account->exists = false;
    s->account->deleted_at = s->commit->index;
    step_modseq(s);
    step_event(s, CHASQUI__OUTBOX__TYPE__ACCOUNT_DELETED);
    return CQ_OK;
}

/* Nothing that anybody sees, but for a COPY that its own client left. */
static enum cq_rc step_reclaim(struct step *s)
{
    const Chasqui__Mail__ReclaimReply *reply = step_reply(s, &chasqui__mail__reclaim_reply__descriptor);
    struct model *model = s->model;
    for (size_t i = 0; i < model->account_count && reply->effects >= STATE_EFFECTS_MAX; i++) {
        struct model_account *account = &model->accounts[i];
        if (account->group != s->commit->group - 1 || !account->job.active || account->deleted_at)
            continue;
        s->account = account;
        step_job(s);
        s->account = NULL;
    }
    return s->outcome->rc;
}

/* Nothing that anybody sees. */
static enum cq_rc step_internal(struct step *s)
{
    return s->outcome->rc;
}

static const struct {
    uint32_t method;
    enum cq_rc (*step)(struct step *s);
    bool internal;
} steps[] = {
    {CHASQUI__MAIL__METHOD__CREATE_ACCOUNT, step_create_account, false},
    {CHASQUI__MAIL__METHOD__APPEND, step_append, false},
    {CHASQUI__MAIL__METHOD__DELETE_ACCOUNT, step_delete_account, false},
    {CHASQUI__MAIL__METHOD__SET_LIMITS, step_set_limits, false},
    {CHASQUI__MAIL__METHOD__STAGE, step_stage, false},
    {CHASQUI__MAIL__METHOD__DELIVER, step_deliver, false},
    {CHASQUI__MAIL__METHOD__KEEP_DELIVERY_KEY, step_keep_key, false},
    {CHASQUI__MAIL__METHOD__STORE, step_store, false},
    {CHASQUI__MAIL__METHOD__COPY, step_copy, false},
    {CHASQUI__MAIL__METHOD__MOVE, step_copy, false},
    {CHASQUI__MAIL__METHOD__EXPUNGE, step_expunge, false},
    {CHASQUI__MAIL__METHOD__CREATE_MAILBOX, step_create_mailbox, false},
    {CHASQUI__MAIL__METHOD__DELETE_MAILBOX, step_delete_mailbox, false},
    {CHASQUI__MAIL__METHOD__RENAME_MAILBOX, step_rename_mailbox, false},
    {CHASQUI__MAIL__METHOD__OWN_SLOTS, step_internal, true},
    {CHASQUI__MAIL__METHOD__RECLAIM, step_reclaim, true},
    {CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE, step_internal, true},
    {CHASQUI__MAIL__METHOD__DIGEST_MARK, step_internal, true},
};

enum cq_rc step_act(struct step *s)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i].method == s->entry.method)
            return steps[i].step(s);
    }
    wrong(s, "a method that the clients do not use");
    return CQ_E_UNSUPPORTED;
}
