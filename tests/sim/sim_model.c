#include "sim_model_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "state/mail_machine.h"

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

uint8_t model_keyword_set(char *const *names, size_t count)
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
        free(account->usage.rows);
        free(account->job.uids);
        free(account->stages);
        free(account->keys);
        free(account->results);
    }
    free(model->accounts);
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        free(model->outbox[g].rows);
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

struct model_mailbox *model_live(struct model_account *account, uint64_t id)
{
    struct model_mailbox *mailbox = model_mailbox(account, id);
    return mailbox && mailbox->live ? mailbox : NULL;
}

struct model_mailbox *model_named(struct model_account *account, const char *name)
{
    for (size_t i = 0; i < account->mailbox_count; i++) {
        if (account->mailboxes[i].live && strcmp(account->mailboxes[i].name, name) == 0)
            return &account->mailboxes[i];
    }
    return NULL;
}

size_t model_place(const struct model_mailbox *mailbox, uint32_t uid)
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
    size_t at = model_place(mailbox, uid);
    return at < mailbox->count && mailbox->messages[at].uid == uid ? &mailbox->messages[at] : NULL;
}

struct model_usage model_used(const struct model_account *account)
{
    struct model_usage used = {0};
    for (size_t i = 0; i < account->mailbox_count; i++) {
        const struct model_mailbox *mailbox = &account->mailboxes[i];
        if (!mailbox->live)
            continue;
        used.bytes += mailbox->size;
        used.messages += mailbox->count;
    }
    return used;
}

struct model_stage *model_stage(struct model_account *account, const uint8_t id[16])
{
    for (size_t i = account->stage_count; i-- > 0;) {
        if (account->stages[i].live && memcmp(account->stages[i].id, id, 16) == 0)
            return &account->stages[i];
    }
    return NULL;
}

unsigned model_stages(const struct model_account *account)
{
    unsigned count = 0;
    for (size_t i = 0; i < account->stage_count; i++)
        count += account->stages[i].live;
    return count;
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

const void *step_unpack(struct step *s, const ProtobufCMessageDescriptor *type, struct cq_slice bytes)
{
    ProtobufCAllocator from_pool = allocator(s->pool);
    const void *message = protobuf_c_message_unpack(type, &from_pool, bytes.len, bytes.data);
    CQ_ASSERT(message);
    return message;
}

const void *step_reply(struct step *s, const ProtobufCMessageDescriptor *type)
{
    return step_unpack(s, type, cq_slice_of(s->answer->body.data, s->answer->body.len));
}

const void *step_request(struct step *s, const ProtobufCMessageDescriptor *type)
{
    return step_unpack(s, type, s->entry.body);
}

void step_note_mailbox(struct step *s, struct model_mailbox *mailbox)
{
    note(&mailbox->history, (struct model_was){.index = s->commit->index,
                                               .sum = mailbox->sum,
                                               .uid_sum = mailbox->uid_sum,
                                               .count = (uint32_t)mailbox->count,
                                               .uidnext = mailbox->uidnext,
                                               .live = mailbox->live});
}

void step_note_list(struct step *s)
{
    note(&s->account->list, (struct model_was){.index = s->commit->index, .sum = s->account->list_sum, .live = true});
}

/* The account's new modseq, which the answer must name; every changed message gets it. */
uint64_t step_modseq(struct step *s)
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

void step_touch(struct step *s, struct model_mailbox *mailbox)
{
    mailbox->highest_modseq = step_modseq(s);
    step_note_mailbox(s, mailbox);
}

uint64_t model_hash(const struct model_message *m)
{
    return model_message_hash(m->uid, m->flags, m->keywords, m->email);
}

void model_add(struct model_mailbox *mailbox, struct model_message message)
{
    if (mailbox->count == mailbox->cap) {
        mailbox->cap = mailbox->cap ? mailbox->cap * 2 : 16;
        mailbox->messages = cq_realloc(mailbox->messages, mailbox->cap * sizeof *mailbox->messages);
    }
    mailbox->messages[mailbox->count++] = message;
    mailbox->size += message.size;
    mailbox->sum += model_hash(&message);
    mailbox->uid_sum += model_uid_hash(message.uid);
}

void model_remove(struct model_mailbox *mailbox, uint32_t uid)
{
    size_t at = model_place(mailbox, uid);
    CQ_ASSERT(at < mailbox->count && mailbox->messages[at].uid == uid);
    mailbox->size -= mailbox->messages[at].size;
    mailbox->sum -= model_hash(&mailbox->messages[at]);
    mailbox->uid_sum -= model_uid_hash(uid);
    mailbox->count--;
    memmove(mailbox->messages + at, mailbox->messages + at + 1, (mailbox->count - at) * sizeof *mailbox->messages);
}

struct model_mailbox *step_add_mailbox(struct step *s, const char *name, uint64_t id, uint32_t uidvalidity)
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
    mailbox->highest_modseq = step_modseq(s);
    step_note_mailbox(s, mailbox);
    step_note_list(s);
    return mailbox;
}

/* ---- Quota and events ---- */

void step_event(struct step *s, Chasqui__Outbox__Type type)
{
    CQ_ASSERT(s->event_count < sizeof s->events / sizeof *s->events);
    s->events[s->event_count++] = type;
}

static bool beyond(uint64_t used, uint64_t more, uint64_t limit)
{
    return limit && used + more > limit;
}

bool step_over_quota(const struct step *s, uint64_t bytes, uint64_t messages)
{
    const struct model_limits *limits = &s->account->limits;
    struct model_usage used = model_used(s->account);
    return beyond(used.bytes, bytes, limits->bytes) || beyond(used.messages, messages, limits->messages);
}

static bool nearly(uint64_t used, uint64_t limit)
{
    return limit && used >= limit - limit / 10;
}

void step_quota_events(struct step *s)
{
    struct model_account *account = s->account;
    struct model_usage used = model_used(account);
    bool high = nearly(used.bytes, account->limits.bytes) || nearly(used.messages, account->limits.messages);
    if (high && !account->quota_warned)
        step_event(s, CHASQUI__OUTBOX__TYPE__QUOTA_WARNING);
    if (!high && account->quota_exceeded)
        step_event(s, CHASQUI__OUTBOX__TYPE__QUOTA_RECOVERED);
    account->quota_warned = high;
    account->quota_exceeded = account->quota_exceeded && high;
}

/* The first refusal is told. */
static void quota_refused(struct step *s)
{
    s->event_count = 0;
    if (!s->account->quota_exceeded)
        step_event(s, CHASQUI__OUTBOX__TYPE__QUOTA_EXCEEDED);
    s->account->quota_exceeded = true;
}

static void note_event(struct model_outbox *outbox, struct outbox_position at, uint64_t hash)
{
    if (outbox->count == outbox->cap) {
        outbox->cap = outbox->cap ? outbox->cap * 2 : 256;
        outbox->rows = cq_realloc(outbox->rows, outbox->cap * sizeof *outbox->rows);
    }
    outbox->rows[outbox->count++] = (struct model_event){at.index, at.sub_index, hash};
}

/* The entry's events stand in the outbox, and no others. */
static void check_events(struct step *s)
{
    struct machine *machine = s->node->groups[s->commit->group - 1].machine;
    struct outbox_position at = {s->commit->index - 1, UINT32_MAX}, next;
    struct cq_slice bytes;
    unsigned count = 0;
    while (mail_machine_outbox_next(machine, at, s->pool, &next, &bytes, NULL) == CQ_OK &&
           next.index == s->commit->index) {
        const Chasqui__Outbox__Event *event = step_unpack(s, &chasqui__outbox__event__descriptor, bytes);
        if (count >= s->event_count || event->type != s->events[count] || event->account != s->entry.account ||
            next.sub_index != count)
            wrong(s, "event %u of the entry has the type %d", next.sub_index, event->type);
        note_event(&s->model->outbox[s->commit->group - 1], next, cq_xxh3_64(bytes));
        at = next;
        count++;
    }
    if (count != s->event_count)
        wrong(s, "the entry made %u events, %u were due", count, s->event_count);
}

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

static struct model_result *new_result(struct model_account *account)
{
    if (account->result_count == account->result_cap) {
        account->result_cap = account->result_cap ? account->result_cap * 2 : 64;
        account->results = cq_realloc(account->results, account->result_cap * sizeof *account->results);
    }
    return &account->results[account->result_count++];
}

void step_remember_for(struct step *s, const uint8_t client[16], uint64_t sequence)
{
    struct model_result *result = new_result(s->account);
    *result = (struct model_result){.sequence = sequence, .rc = CQ_OK};
    memcpy(result->client, client, 16);
}

static void remember(struct step *s, struct model_client *client)
{
    struct model_result *result = new_result(s->account);
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
    struct model_result *result = result_of(s);
    if (result && s->entry.sequence > client->done) {
        if (s->outcome->rc == CQ_E_STALE && !stamp_valid(s)) { /* a result that is older than a stamp may be may go */
            *rc_r = CQ_E_STALE;
            return false;
        }
        if (!result->reply)
            result->reply = reply_hash(s);
        if (reply_hash(s) != result->reply)
            wrong(s, "a repeated request has another answer (%s, it was %s)", cq_rc_name(s->outcome->rc),
                  cq_rc_name(result->rc));
        *rc_r = result->rc;
        return false;
    }
    *rc_r = CQ_E_STALE;
    return s->entry.sequence > client->done && stamp_valid(s);
}

static enum cq_rc expected(struct step *s)
{
    if (s->entry.account == 0)
        return step_act(s);
    s->account = model_account(s->model, s->entry.account);
    CQ_ASSERT(s->account);
    if (s->account->deleted_at) /* to delete it again is no error */
        return s->entry.method == CHASQUI__MAIL__METHOD__DELETE_ACCOUNT ? CQ_OK : CQ_E_NO_ACCOUNT;
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
    if (s->account->job.active && s->entry.method != CHASQUI__MAIL__METHOD__DELETE_ACCOUNT) {
        step_job(s);
        rc = CQ_E_AGAIN;
    } else {
        rc = step_act(s);
    }
    if (rc == CQ_E_OVER_QUOTA)
        quota_refused(s);
    if (rc != CQ_E_AGAIN)
        remember(s, client);
    struct model_usage used = model_used(s->account);
    note(&s->account->usage, (struct model_was){.index = s->commit->index,
                                                .sum = used.bytes,
                                                .count = (uint32_t)used.messages,
                                                .live = s->account->exists});
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
    s.answer = step_unpack(&s, &chasqui__mail__answer__descriptor, outcome->answer);
    uint64_t *time = &model->time[commit->group - 1];
    if (s.entry.time > *time)
        *time = s.entry.time;
    check_answer(&s, expected(&s));
    check_events(&s);
    cq_pool_free(&pool);
}
