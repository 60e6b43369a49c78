#include "sim_model.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STAMP_AGE_US (UINT64_C(15) * 60 * 1000000)

const char *const model_keywords[MODEL_KEYWORDS] = {"$Forwarded", "k1", "k2", "k3"};

/* ---- Hashes and bodies ---- */

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) ^ (b + UINT64_C(0x632be59bd9b4e019)) * UINT64_C(0xff51afd7ed558ccd);
    z ^= c * UINT64_C(0xc4ceb9fe1a85ec53);
    z = (z ^ (z >> 31)) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ (z >> 29);
}

uint64_t model_message_hash(uint32_t uid, uint8_t flags, uint8_t keywords, uint64_t email)
{
    return mix(uid, (uint64_t)flags << 8 | keywords, email);
}

uint64_t model_uid_hash(uint32_t uid)
{
    return mix(uid, 1, 2);
}

uint64_t model_name_hash(const char *name, uint64_t id, uint32_t uidvalidity)
{
    return mix(cq_xxh3_64(cq_slice_cstr(name)), id, uidvalidity);
}

void model_body(uint64_t token, uint32_t size, uint8_t *out)
{
    struct cq_prng prng = {.state = token};
    for (uint32_t i = 0; i < size; i += 8) {
        uint64_t word = cq_prng_next(&prng);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

uint64_t model_token(struct cq_slice summary)
{
    return summary.len == 8 ? cq_get_be64(summary.data) : 0;
}

int model_keyword_bits(struct cq_slice bitmap, char *const *table, size_t count)
{
    int bits = 0;
    for (size_t i = 0; i < bitmap.len * 8; i++) {
        if (!(bitmap.data[i / 8] >> (i % 8) & 1))
            continue;
        int known = -1;
        for (int k = 0; i < count && k < MODEL_KEYWORDS; k++) {
            if (strcmp(table[i], model_keywords[k]) == 0)
                known = k;
        }
        if (known < 0)
            return -1;
        bits |= 1 << known;
    }
    return bits;
}

static uint8_t keyword_set(char *const *names, size_t count)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < MODEL_KEYWORDS; k++) {
            if (strcmp(names[i], model_keywords[k]) == 0)
                bits |= (uint8_t)(1u << k);
        }
    }
    return bits;
}

/* ---- Finding ---- */

void model_init(struct model *model, struct sim *sim, size_t accounts)
{
    *model = (struct model){.sim = sim, .account_count = accounts};
    model->accounts = cq_calloc(accounts, sizeof *model->accounts);
}

void model_fini(struct model *model)
{
    for (size_t i = 0; i < model->account_count; i++) {
        struct model_account *account = &model->accounts[i];
        for (size_t j = 0; j < account->mailbox_count; j++) {
            free(account->mailboxes[j].messages);
            free(account->mailboxes[j].history.rows);
        }
        free(account->mailboxes);
        free(account->list.rows);
        free(account->results);
    }
    free(model->accounts);
}

struct model_account *model_account(struct model *model, uint64_t id)
{
    for (size_t i = 0; i < model->account_count; i++) {
        if (model->accounts[i].id == id)
            return &model->accounts[i];
    }
    return NULL;
}

struct model_mailbox *model_mailbox(struct model_account *account, uint64_t id)
{
    for (size_t i = 0; i < account->mailbox_count; i++) {
        if (account->mailboxes[i].id == id)
            return &account->mailboxes[i];
    }
    return NULL;
}

static struct model_mailbox *live_mailbox(struct model_account *account, uint64_t id)
{
    struct model_mailbox *mailbox = model_mailbox(account, id);
    return mailbox && mailbox->live ? mailbox : NULL;
}

static struct model_mailbox *find_name(struct model_account *account, const char *name)
{
    for (size_t i = 0; i < account->mailbox_count; i++) {
        if (account->mailboxes[i].live && strcmp(account->mailboxes[i].name, name) == 0)
            return &account->mailboxes[i];
    }
    return NULL;
}

static size_t place_of(const struct model_mailbox *mailbox, uint32_t uid)
{
    size_t low = 0, high = mailbox->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mailbox->messages[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct model_message *model_message(struct model_mailbox *mailbox, uint32_t uid)
{
    size_t at = place_of(mailbox, uid);
    return at < mailbox->count && mailbox->messages[at].uid == uid ? &mailbox->messages[at] : NULL;
}

/* ---- History ---- */

static void note(struct model_history *history, struct model_was was)
{
    if (history->count && history->rows[history->count - 1].index == was.index)
        history->count--;
    if (history->count == history->cap) {
        history->cap = history->cap ? history->cap * 2 : 16;
        history->rows = cq_realloc(history->rows, history->cap * sizeof *history->rows);
    }
    history->rows[history->count++] = was;
}

struct model_was model_at(const struct model_history *history, uint64_t index)
{
    size_t low = 0, high = history->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (history->rows[middle].index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? history->rows[low - 1] : (struct model_was){0};
}

/* ---- One entry ---- */

struct step {
    struct model *model;
    struct sim_node *node;
    struct model_account *account;
    const struct raft_commit *commit;
    const struct machine_outcome *outcome;
    struct cq_pool *pool;
    struct entry entry;
    const Chasqui__Mail__Answer *answer;
    bool changed; /* the account takes a new modseq */
    uint64_t modseq;
};

#define wrong(s, ...)                                                                                                  \
    do {                                                                                                               \
        char what_[200];                                                                                               \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                                    \
        sim_fail((s)->model->sim, "group %u index %" PRIu64 " (n%u, method %u, account %016" PRIx64 "): %s",           \
                 (s)->commit->group, (s)->commit->index, (s)->node->index, (s)->entry.method, (s)->entry.account,      \
                 what_);                                                                                               \
    } while (0)

static void *pool_alloc(void *arg, size_t size)
{
    return cq_pool_alloc(arg, size);
}

static void pool_free(void *arg, void *pointer)
{
    (void)arg, (void)pointer;
}

static ProtobufCAllocator allocator(struct cq_pool *pool)
{
    return (ProtobufCAllocator){pool_alloc, pool_free, pool};
}

static const void *unpack(struct step *s, const ProtobufCMessageDescriptor *type, struct cq_slice bytes)
{
    ProtobufCAllocator from_pool = allocator(s->pool);
    const void *message = protobuf_c_message_unpack(type, &from_pool, bytes.len, bytes.data);
    CQ_ASSERT(message);
    return message;
}

static const void *reply_of(struct step *s, const ProtobufCMessageDescriptor *type)
{
    return unpack(s, type, cq_slice_of(s->answer->body.data, s->answer->body.len));
}

static const void *request_of(struct step *s, const ProtobufCMessageDescriptor *type)
{
    return unpack(s, type, s->entry.body);
}

static void note_mailbox(struct step *s, struct model_mailbox *mailbox)
{
    note(&mailbox->history, (struct model_was){.index = s->commit->index,
                                               .sum = mailbox->sum,
                                               .uid_sum = mailbox->uid_sum,
                                               .count = (uint32_t)mailbox->count,
                                               .uidnext = mailbox->uidnext,
                                               .live = mailbox->live});
}

static void note_list(struct step *s)
{
    note(&s->account->list, (struct model_was){.index = s->commit->index, .sum = s->account->list_sum, .live = true});
}

/* The account's new modseq, which the answer must name; every changed message gets it. */
static uint64_t take_modseq(struct step *s)
{
    if (s->changed)
        return s->modseq;
    s->changed = true;
    s->modseq = s->answer->modseq;
    if (s->modseq <= s->account->modseq)
        wrong(s, "modseq %" PRIu64 " after %" PRIu64, s->modseq, s->account->modseq);
    s->account->modseq = s->modseq;
    return s->modseq;
}

static void touch(struct step *s, struct model_mailbox *mailbox)
{
    mailbox->highest_modseq = take_modseq(s);
    note_mailbox(s, mailbox);
}

static uint64_t hash_of(const struct model_message *m)
{
    return model_message_hash(m->uid, m->flags, m->keywords, m->email);
}

static void add_message(struct model_mailbox *mailbox, struct model_message message)
{
    if (mailbox->count == mailbox->cap) {
        mailbox->cap = mailbox->cap ? mailbox->cap * 2 : 16;
        mailbox->messages = cq_realloc(mailbox->messages, mailbox->cap * sizeof *mailbox->messages);
    }
    mailbox->messages[mailbox->count++] = message;
    mailbox->sum += hash_of(&message);
    mailbox->uid_sum += model_uid_hash(message.uid);
}

static void remove_message(struct model_mailbox *mailbox, uint32_t uid)
{
    size_t at = place_of(mailbox, uid);
    CQ_ASSERT(at < mailbox->count && mailbox->messages[at].uid == uid);
    mailbox->sum -= hash_of(&mailbox->messages[at]);
    mailbox->uid_sum -= model_uid_hash(uid);
    mailbox->count--;
    memmove(mailbox->messages + at, mailbox->messages + at + 1, (mailbox->count - at) * sizeof *mailbox->messages);
}

static struct model_mailbox *add_mailbox(struct step *s, const char *name, uint64_t id, uint32_t uidvalidity)
{
    struct model_account *account = s->account;
    if (id <= account->last_mailbox)
        wrong(s, "mailbox id %" PRIu64 " after %" PRIu64, id, account->last_mailbox);
    if (uidvalidity <= account->last_uidvalidity)
        wrong(s, "UIDVALIDITY %u after %u", uidvalidity, account->last_uidvalidity);
    account->last_mailbox = id;
    account->last_uidvalidity = uidvalidity;
    if (account->mailbox_count == account->mailbox_cap) {
        account->mailbox_cap = account->mailbox_cap ? account->mailbox_cap * 2 : 16;
        account->mailboxes = cq_realloc(account->mailboxes, account->mailbox_cap * sizeof *account->mailboxes);
    }
    struct model_mailbox *mailbox = &account->mailboxes[account->mailbox_count++];
    *mailbox = (struct model_mailbox){.id = id, .live = true, .uidvalidity = uidvalidity, .uidnext = 1};
    snprintf(mailbox->name, sizeof mailbox->name, "%s", name);
    account->list_sum += model_name_hash(name, id, uidvalidity);
    mailbox->highest_modseq = take_modseq(s);
    note_mailbox(s, mailbox);
    note_list(s);
    return mailbox;
}

/* ---- Commands: each says what rc it expects and does to the model what it must have done ---- */

/* The ids of the first mailboxes are learnt from the machine, once. */
static enum cq_rc step_create_account(struct step *s)
{
    struct model_account *account = s->account;
    if (account->exists)
        return CQ_OK;
    account->exists = true;
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
    const Chasqui__Mail__Answer *a = unpack(s, &chasqui__mail__answer__descriptor, cq_buf_slice(&answer));
    const Chasqui__Mail__MailboxList *list =
        unpack(s, &chasqui__mail__mailbox_list__descriptor, cq_slice_of(a->body.data, a->body.len));
    for (uint64_t id = 1; id <= list->n_mailboxes; id++) {
        for (size_t i = 0; i < list->n_mailboxes; i++) {
            if (list->mailboxes[i]->id == id)
                add_mailbox(s, list->mailboxes[i]->name, id, list->mailboxes[i]->uidvalidity);
        }
    }
    if (account->mailbox_count != 6)
        wrong(s, "a new account has %zu mailboxes", account->mailbox_count);
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
    return CQ_OK;
}

static enum cq_rc step_append(struct step *s)
{
    const Chasqui__Mail__Append *append = request_of(s, &chasqui__mail__append__descriptor);
    struct model_mailbox *mailbox = live_mailbox(s->account, append->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__AppendReply *reply = reply_of(s, &chasqui__mail__append_reply__descriptor);
    if (reply->first_uid != mailbox->uidnext || reply->uidvalidity != mailbox->uidvalidity ||
        reply->count != append->n_messages)
        wrong(s, "appended %u at UID %u of %u, but %zu at UID %u of %u were due", reply->count, reply->first_uid,
              reply->uidvalidity, append->n_messages, mailbox->uidnext, mailbox->uidvalidity);
    if (reply->first_email <= s->account->last_email)
        wrong(s, "email id %" PRIu64 " after %" PRIu64, reply->first_email, s->account->last_email);
    s->account->last_email = reply->first_email + append->n_messages - 1;
    for (size_t i = 0; i < append->n_messages; i++) {
        const Chasqui__Mail__NewMessage *message = append->messages[i];
        add_message(mailbox, (struct model_message){
                                 .uid = mailbox->uidnext++,
                                 .flags = (uint8_t)message->flags,
                                 .keywords = keyword_set(message->keywords, message->n_keywords),
                                 .size = message->size,
                                 .email = reply->first_email + i,
                                 .modseq = take_modseq(s),
                                 .token = model_token(cq_slice_of(message->summary.data, message->summary.len)),
                             });
    }
    touch(s, mailbox);
    return CQ_OK;
}

/* Walks the messages of the set, from a copy of the UIDs: the body may change the mailbox. */
static size_t picked(struct step *s, const struct model_mailbox *mailbox, const Chasqui__Mail__UidSet *set,
                     uint32_t **uids_r)
{
    size_t count = 0;
    *uids_r = cq_pool_calloc(s->pool, mailbox->count + 1, sizeof **uids_r);
    for (size_t r = 0; set && r + 1 < set->n_ranges; r += 2) {
        for (size_t i = place_of(mailbox, set->ranges[r]);
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
    uint8_t keywords = combine(store->mode, m->keywords, keyword_set(store->keywords, store->n_keywords));
    if (flags == m->flags && keywords == m->keywords)
        return false;
    mailbox->sum -= hash_of(m);
    m->flags = flags;
    m->keywords = keywords;
    mailbox->sum += hash_of(m);
    m->modseq = take_modseq(s);
    return true;
}

static enum cq_rc step_store(struct step *s)
{
    const Chasqui__Mail__Store *store = request_of(s, &chasqui__mail__store__descriptor);
    struct model_mailbox *mailbox = live_mailbox(s->account, store->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__StoreReply *reply = reply_of(s, &chasqui__mail__store_reply__descriptor);
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
        touch(s, mailbox);
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
        copy.modseq = take_modseq(s);
        add_message(to, copy);
    }
}

static enum cq_rc step_copy(struct step *s)
{
    const Chasqui__Mail__Copy *copy = request_of(s, &chasqui__mail__copy__descriptor);
    struct model_mailbox *from = live_mailbox(s->account, copy->from), *to = live_mailbox(s->account, copy->to);
    if (!from || !to)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__CopyReply *reply = reply_of(s, &chasqui__mail__copy_reply__descriptor);
    uint32_t *uids, first = to->uidnext;
    size_t count = picked(s, from, copy->uids, &uids);
    if (reply->uidvalidity != to->uidvalidity || reply->first_uid != (count ? first : 0) ||
        !same_set(reply->copied, uids, count))
        wrong(s, "COPY or MOVE answers UID %u of %u, but UID %u of %u and %zu messages were due", reply->first_uid,
              reply->uidvalidity, first, to->uidvalidity, count);
    copy_messages(s, from, to, uids, count);
    if (s->entry.method == CHASQUI__MAIL__METHOD__MOVE) {
        for (size_t i = 0; i < count; i++)
            remove_message(from, uids[i]);
    }
    if (count) {
        touch(s, to);
        if (s->entry.method == CHASQUI__MAIL__METHOD__MOVE)
            touch(s, from);
    }
    return CQ_OK;
}

static enum cq_rc step_expunge(struct step *s)
{
    const Chasqui__Mail__Expunge *expunge = request_of(s, &chasqui__mail__expunge__descriptor);
    struct model_mailbox *mailbox = live_mailbox(s->account, expunge->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    const Chasqui__Mail__ExpungeReply *reply = reply_of(s, &chasqui__mail__expunge_reply__descriptor);
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
        remove_message(mailbox, uids[i]);
    if (gone)
        touch(s, mailbox);
    return CQ_OK;
}

static enum cq_rc step_create_mailbox(struct step *s)
{
    const Chasqui__Mail__CreateMailbox *create = request_of(s, &chasqui__mail__create_mailbox__descriptor);
    if (find_name(s->account, create->name))
        return CQ_E_EXISTS;
    const Chasqui__Mail__MailboxReply *reply = reply_of(s, &chasqui__mail__mailbox_reply__descriptor);
    add_mailbox(s, create->name, reply->mailbox, reply->uidvalidity);
    return CQ_OK;
}

static enum cq_rc step_delete_mailbox(struct step *s)
{
    const Chasqui__Mail__DeleteMailbox *deletion = request_of(s, &chasqui__mail__delete_mailbox__descriptor);
    struct model_mailbox *mailbox = live_mailbox(s->account, deletion->mailbox);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    mailbox->live = false;
    s->account->list_sum -= model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    take_modseq(s);
    note_mailbox(s, mailbox);
    note_list(s);
    return CQ_OK;
}

static enum cq_rc step_rename_mailbox(struct step *s)
{
    const Chasqui__Mail__RenameMailbox *rename = request_of(s, &chasqui__mail__rename_mailbox__descriptor);
    struct model_mailbox *mailbox = find_name(s->account, rename->from);
    if (!mailbox)
        return CQ_E_NO_MAILBOX;
    if (find_name(s->account, rename->to))
        return CQ_E_EXISTS;
    s->account->list_sum -= model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    snprintf(mailbox->name, sizeof mailbox->name, "%s", rename->to);
    s->account->list_sum += model_name_hash(mailbox->name, mailbox->id, mailbox->uidvalidity);
    take_modseq(s);
    note_list(s);
    return CQ_OK;
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
    {CHASQUI__MAIL__METHOD__STORE, step_store, false},
    {CHASQUI__MAIL__METHOD__COPY, step_copy, false},
    {CHASQUI__MAIL__METHOD__MOVE, step_copy, false},
    {CHASQUI__MAIL__METHOD__EXPUNGE, step_expunge, false},
    {CHASQUI__MAIL__METHOD__CREATE_MAILBOX, step_create_mailbox, false},
    {CHASQUI__MAIL__METHOD__DELETE_MAILBOX, step_delete_mailbox, false},
    {CHASQUI__MAIL__METHOD__RENAME_MAILBOX, step_rename_mailbox, false},
    {CHASQUI__MAIL__METHOD__OWN_SLOTS, step_internal, true},
    {CHASQUI__MAIL__METHOD__RECLAIM, step_internal, true},
    {CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE, step_internal, true},
    {CHASQUI__MAIL__METHOD__DIGEST_MARK, step_internal, true},
};

/* ---- Requests: at most one effect each ---- */

static struct model_client *client_of(struct step *s)
{
    struct model_account *account = s->account;
    for (size_t i = 0; i < account->client_count; i++) {
        if (memcmp(account->clients[i].id, s->entry.client, 16) == 0)
            return &account->clients[i];
    }
    CQ_ASSERT(account->client_count < sizeof account->clients / sizeof *account->clients);
    struct model_client *client = &account->clients[account->client_count++];
    *client = (struct model_client){0};
    memcpy(client->id, s->entry.client, 16);
    return client;
}

static struct model_result *result_of(struct step *s)
{
    for (size_t i = s->account->result_count; i-- > 0;) {
        struct model_result *result = &s->account->results[i];
        if (result->sequence == s->entry.sequence && memcmp(result->client, s->entry.client, 16) == 0)
            return result;
    }
    return NULL;
}

static uint64_t reply_hash(const struct step *s)
{
    return cq_xxh3_64(cq_slice_of(s->answer->body.data, s->answer->body.len));
}

static void remember(struct step *s, struct model_client *client)
{
    struct model_account *account = s->account;
    if (account->result_count == account->result_cap) {
        account->result_cap = account->result_cap ? account->result_cap * 2 : 64;
        account->results = cq_realloc(account->results, account->result_cap * sizeof *account->results);
    }
    struct model_result *result = &account->results[account->result_count++];
    *result = (struct model_result){.sequence = s->entry.sequence, .rc = s->outcome->rc, .reply = reply_hash(s)};
    memcpy(result->client, s->entry.client, 16);
    if (s->entry.done > client->done)
        client->done = s->entry.done;
}

static bool stamp_valid(const struct step *s)
{
    uint64_t now = s->model->time[s->commit->group - 1], stamp = s->entry.stamp;
    return stamp && stamp <= now && now - stamp <= STAMP_AGE_US;
}

/* True: it is to act now. Otherwise *rc_r is the result, without an effect. */
static bool judge(struct step *s, struct model_client *client, enum cq_rc *rc_r)
{
    const struct model_result *result = result_of(s);
    if (result && s->entry.sequence > client->done) {
        if (s->outcome->rc == CQ_E_STALE && !stamp_valid(s)) { /* a result that is older than a stamp may be may go */
            *rc_r = CQ_E_STALE;
            return false;
        }
        if (reply_hash(s) != result->reply)
            wrong(s, "a repeated request has another answer (%s, it was %s)", cq_rc_name(s->outcome->rc),
                  cq_rc_name(result->rc));
        *rc_r = result->rc;
        return false;
    }
    *rc_r = CQ_E_STALE;
    return s->entry.sequence > client->done && stamp_valid(s);
}

static enum cq_rc act(struct step *s)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i].method == s->entry.method)
            return steps[i].step(s);
    }
    wrong(s, "a method that the clients do not use");
    return CQ_E_UNSUPPORTED;
}

static enum cq_rc expected(struct step *s)
{
    if (s->entry.account == 0)
        return act(s);
    s->account = model_account(s->model, s->entry.account);
    CQ_ASSERT(s->account);
    if (!s->account->exists && s->entry.method != CHASQUI__MAIL__METHOD__CREATE_ACCOUNT)
        return CQ_E_NO_ACCOUNT;
    struct model_client *client = client_of(s);
    enum cq_rc rc;
    if (!judge(s, client, &rc))
        return rc;
    if (s->entry.incarnation &&
        (s->entry.incarnation != s->account->incarnation || s->entry.min_modseq > s->account->modseq)) {
        wrong(s, "a session has seen modseq %" PRIu64 ", the account is at %" PRIu64, s->entry.min_modseq,
              s->account->modseq);
        return CQ_E_BEHIND;
    }
    rc = act(s);
    remember(s, client);
    s->model->acted += s->changed;
    return rc;
}

static void check_answer(struct step *s, enum cq_rc rc)
{
    if (rc != s->outcome->rc)
        wrong(s, "outcome %s (%s), but %s was due", cq_rc_name(s->outcome->rc), s->answer->text ? s->answer->text : "",
              cq_rc_name(rc));
    if (s->account && s->account->exists && s->answer->modseq != s->account->modseq)
        wrong(s, "the account is at modseq %" PRIu64 ", %" PRIu64 " was due", s->answer->modseq, s->account->modseq);
    if (s->changed && s->outcome->notice.len == 0)
        wrong(s, "a change without a notice");
    if (s->answer->entry_time < s->model->time[s->commit->group - 1])
        wrong(s, "the entry time falls");
}

void model_step(struct model *model, struct sim_node *node, const struct raft_commit *commit,
                const struct machine_outcome *outcome)
{
    uint64_t *index = &model->index[commit->group - 1];
    if (commit->index <= *index)
        return; /* another node was first */
    CQ_ASSERT(commit->index == *index + 1);
    *index = commit->index;
    if (commit->entry.len == 0)
        return;
    struct cq_pool *pool = cq_pool_new(4096);
    struct step s = {.model = model, .node = node, .commit = commit, .outcome = outcome, .pool = pool};
    CQ_ASSERT(entry_decode(commit->entry, pool, &s.entry, NULL) == CQ_OK);
    s.answer = unpack(&s, &chasqui__mail__answer__descriptor, outcome->answer);
    uint64_t *time = &model->time[commit->group - 1];
    if (s.entry.time > *time)
        *time = s.entry.time;
    check_answer(&s, expected(&s));
    cq_pool_free(&pool);
}
