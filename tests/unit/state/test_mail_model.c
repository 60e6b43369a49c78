/* Random commands on the state machine and on a simple model of an account; everything readable must agree, on every
 * replica, through crashes. CQ_MODEL_SEED and CQ_MODEL_STEPS choose another run than the default ones. */
#include "unit/cq_cmocka.h"
#include "unit/state/mail_model.h"

#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "mailstore/fetch_record.h"
#include "mailstore/uidset.h"
#include "support/shard.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCOUNT UINT64_C(0xbeef000000000042)
#define M(name) CHASQUI__MAIL__METHOD__##name
#define D(name) &chasqui__mail__##name##__descriptor
#define UIDS_MAX 4096
#define REPLICAS 3

struct snapshot {
    uint64_t mailbox, modseq;
    struct model_message *messages;
    size_t count;
};
#define SNAPSHOTS 24

struct world {
    struct shard *shard;
    struct model *model;
    struct cq_prng dice;
    uint64_t seed, step;
    struct snapshot snapshots[SNAPSHOTS];
    uint64_t next_token;
    uint8_t stage_serial;
    /* the last command, to be sent again */
    uint64_t last_sequence;
    enum cq_rc last_rc;
    uint32_t last_method;
};

static uint32_t roll(struct world *w, uint32_t bound)
{
    return cq_prng_below(&w->dice, bound);
}

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            fail_msg("seed %llu step %llu: %s", (unsigned long long)w->seed, (unsigned long long)w->step, #cond);      \
    } while (0)

static void check_rc(struct world *w, const struct machine_outcome *got, enum cq_rc want, const char *what)
{
    if (got->rc == want)
        return;
    const Chasqui__Mail__Answer *answer = shard_answer(w->shard, got);
    fail_msg("seed %llu step %llu: %s gives %s (%s), the model %s", (unsigned long long)w->seed,
             (unsigned long long)w->step, what, cq_rc_name(got->rc), answer ? answer->text : "", cq_rc_name(want));
}

/* ---- commands ---- */

static struct machine_outcome run(struct world *w, uint32_t method, const ProtobufCMessage *message,
                                  struct cq_slice raw)
{
    struct shard_call call = {.method = method, .account = ACCOUNT, .message = message, .raw = raw};
    struct machine_outcome outcome = shard_run(w->shard, &call);
    /* Now and then the same request comes a second time: the same answer, and nothing happens. */
    if (roll(w, 8) == 0) {
        struct entry entry;
        CHECK(entry_decode(shard_entry(w->shard, shard_last_index(w->shard)), shard_pool(w->shard), &entry, NULL) ==
              CQ_OK);
        const Chasqui__Mail__Answer *answer = shard_answer(w->shard, &outcome);
        struct cq_slice body = cq_slice_of(answer->body.data, answer->body.len);
        struct cq_slice kept =
            cq_slice_of(cq_memdup(body.len ? body.data : (const uint8_t *)"", body.len + 1), body.len);
        call.sequence = entry.sequence;
        call.done = entry.done;
        call.no_done = true;
        uint64_t modseq = answer->modseq;
        struct machine_outcome again = shard_run(w->shard, &call);
        const Chasqui__Mail__Answer *second = shard_answer(w->shard, &again);
        CHECK(again.rc == outcome.rc && second->modseq == modseq && again.notice.len == 0);
        CHECK(cq_slice_eq(kept, cq_slice_of(second->body.data, second->body.len)));
        free((void *)(uintptr_t)kept.data);
        outcome = again;
    }
    return outcome;
}

static void check_modseq(struct world *w, const struct machine_outcome *outcome)
{
    const Chasqui__Mail__Answer *answer = shard_answer(w->shard, outcome);
    CHECK(answer && answer->modseq == w->model->modseq);
}

static const char *const names[] = {"a",         "a/b",   "a/b/c", "b",     "b/a", "c c",     "d&e",
                                    "INBOX/sub", "Trash", "Sent",  "INBOX", "x/y", "ümläut/%"};

static const char *random_name(struct world *w)
{
    return names[roll(w, sizeof names / sizeof names[0])];
}

/* Mostly one that is there. */
static uint64_t random_mailbox(struct world *w)
{
    if (roll(w, 50) == 0)
        return 999999;
    return w->model->mailboxes[roll(w, (uint32_t)w->model->mailbox_count)].id;
}

static void do_create(struct world *w)
{
    Chasqui__Mail__CreateMailbox message = CHASQUI__MAIL__CREATE_MAILBOX__INIT;
    message.name = (char *)random_name(w);
    message.use = roll(w, 4) ? 0 : (Chasqui__Mail__SpecialUse)roll(w, 6);
    enum cq_rc want = model_create(w->model, message.name, (int)message.use);
    struct machine_outcome got = run(w, M(CREATE_MAILBOX), &message.base, CQ_SLICE_NONE);
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__MailboxReply *reply = shard_reply(w->shard, &got, D(mailbox_reply));
    const struct model_mailbox *mailbox = model_named(w->model, message.name);
    CHECK(reply->mailbox == mailbox->id && reply->uidvalidity == mailbox->uidvalidity);
}

static void do_delete(struct world *w)
{
    Chasqui__Mail__DeleteMailbox message = CHASQUI__MAIL__DELETE_MAILBOX__INIT;
    message.mailbox = random_mailbox(w);
    enum cq_rc want = model_delete(w->model, message.mailbox);
    CHECK(run(w, M(DELETE_MAILBOX), &message.base, CQ_SLICE_NONE).rc == want);
}

static void do_rename(struct world *w)
{
    Chasqui__Mail__RenameMailbox message = CHASQUI__MAIL__RENAME_MAILBOX__INIT;
    message.from = (char *)random_name(w);
    message.to = (char *)random_name(w);
    enum cq_rc want = model_rename(w->model, message.from, message.to);
    CHECK(run(w, M(RENAME_MAILBOX), &message.base, CQ_SLICE_NONE).rc == want);
}

static void do_subscribe(struct world *w)
{
    Chasqui__Mail__SetSubscribed message = CHASQUI__MAIL__SET_SUBSCRIBED__INIT;
    message.name = (char *)random_name(w);
    message.subscribed = roll(w, 2) == 0;
    model_subscribe(w->model, message.name, message.subscribed);
    CHECK(run(w, M(SET_SUBSCRIBED), &message.base, CQ_SLICE_NONE).rc == CQ_OK);
}

static void fill_octets(uint64_t token, uint8_t *octets, uint32_t size)
{
    struct cq_prng prng = {token};
    for (uint32_t i = 0; i < size; i++)
        octets[i] = (uint8_t)cq_prng_next(&prng);
}

static char *keyword_names[MODEL_KEYWORDS] = {"$Model0", "$Model1", "$Model2", "$Model3", "$Model4", "$Model5"};

static size_t keyword_list(uint32_t bits, char **list)
{
    size_t n = 0;
    for (size_t i = 0; i < MODEL_KEYWORDS; i++)
        if (bits >> i & 1)
            list[n++] = keyword_names[i];
    return n;
}

struct new_messages {
    Chasqui__Mail__NewMessage wire[3], *list[3];
    struct model_append model[3];
    char *keywords[3][MODEL_KEYWORDS];
    uint8_t stage[3][16];
    uint8_t raw[3 * 400];
    size_t raw_len;
};

/* False when the account has too many stages already (those of refused commands, until they expire). */
static bool stage_body(struct world *w, struct new_messages *n, size_t i, const uint8_t *octets, uint32_t size)
{
    memset(n->stage[i], ++w->stage_serial, 16);
    for (uint32_t at = 0; at < size;) {
        uint32_t piece = 1 + roll(w, size - at);
        Chasqui__Mail__Stage message = CHASQUI__MAIL__STAGE__INIT;
        struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(octets + at, piece));
        message.stage = (ProtobufCBinaryData){16, n->stage[i]};
        message.offset = at;
        message.hash_low = hash.low;
        message.hash_high = hash.high;
        struct machine_outcome got = run(w, M(STAGE), &message.base, cq_slice_of(octets + at, piece));
        if (got.rc == CQ_E_OVERLOADED)
            return false;
        if (got.rc != CQ_OK)
            return true; /* over quota: the APPEND that follows is refused as well */
        at += piece;
        const Chasqui__Mail__StageReply *reply = shard_reply(w->shard, &got, D(stage_reply));
        CHECK(reply->size == at);
    }
    return true;
}

static void make_messages(struct world *w, struct new_messages *n, size_t count)
{
    n->raw_len = 0;
    for (size_t i = 0; i < count; i++) {
        Chasqui__Mail__NewMessage *wire = n->list[i] = &n->wire[i];
        struct model_append *m = &n->model[i];
        *m = (struct model_append){.flags = (uint8_t)roll(w, 32),
                                   .keywords = roll(w, 3) ? 0 : roll(w, 1u << MODEL_KEYWORDS),
                                   .size = roll(w, 10) ? 1 + roll(w, 300) : 0,
                                   .internal_date = (int64_t)roll(w, 1000000) - 500000,
                                   .token = ++w->next_token};
        chasqui__mail__new_message__init(wire);
        wire->flags = m->flags;
        wire->keywords = n->keywords[i];
        wire->n_keywords = keyword_list(m->keywords, n->keywords[i]);
        wire->internal_date = m->internal_date;
        wire->size = m->size;
        wire->summary = (ProtobufCBinaryData){sizeof m->token, (uint8_t *)&m->token};
        uint8_t *octets = n->raw + n->raw_len;
        fill_octets(m->token, octets, m->size);
        struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(octets, m->size));
        wire->body_hash_low = hash.low;
        wire->body_hash_high = hash.high;
        if (m->size && roll(w, 5) == 0 && stage_body(w, n, i, octets, m->size)) {
            wire->stage = (ProtobufCBinaryData){16, n->stage[i]};
        } else {
            n->raw_len += m->size;
        }
    }
}

static void do_append(struct world *w)
{
    static struct new_messages n;
    size_t count = 1 + roll(w, 3);
    make_messages(w, &n, count);
    Chasqui__Mail__Append message = CHASQUI__MAIL__APPEND__INIT;
    message.mailbox = random_mailbox(w);
    message.n_messages = count;
    message.messages = n.list;
    uint64_t first_email = w->model->next_email;
    enum cq_rc want = model_append(w->model, message.mailbox, n.model, count);
    struct machine_outcome got = run(w, M(APPEND), &message.base, cq_slice_of(n.raw, n.raw_len));
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__AppendReply *reply = shard_reply(w->shard, &got, D(append_reply));
    const struct model_mailbox *mailbox = model_find(w->model, message.mailbox);
    CHECK(reply->uidvalidity == mailbox->uidvalidity && reply->count == count);
    CHECK(reply->first_uid == mailbox->uidnext - count && reply->first_email == first_email);
}

static void do_deliver(struct world *w)
{
    static struct new_messages n;
    Chasqui__Mail__Deliver message = CHASQUI__MAIL__DELIVER__INIT;
    Chasqui__Mail__DeliveryEvent event = CHASQUI__MAIL__DELIVERY_EVENT__INIT;
    uint8_t key[16];
    bool absorbed = roll(w, 4) == 0;
    if (absorbed) {
        Chasqui__Mail__KeepDeliveryKey keep = CHASQUI__MAIL__KEEP_DELIVERY_KEY__INIT;
        memset(key, (int)++w->next_token, sizeof key);
        keep.delivery_key = (ProtobufCBinaryData){sizeof key, key};
        CHECK(run(w, M(KEEP_DELIVERY_KEY), &keep.base, CQ_SLICE_NONE).rc == CQ_OK);
        message.delivery_key = keep.delivery_key;
    }
    make_messages(w, &n, 1);
    message.message = n.list[0];
    message.event = &event;
    message.use = roll(w, 2) ? CHASQUI__MAIL__SPECIAL_USE__USE_JUNK : CHASQUI__MAIL__SPECIAL_USE__USE_INBOX;
    struct model_mailbox *to = NULL;
    for (size_t i = 0; i < w->model->mailbox_count; i++)
        if (w->model->mailboxes[i].use == (int)message.use)
            to = &w->model->mailboxes[i];
    to = to ? to : model_named(w->model, "INBOX");
    uint64_t id = to->id;
    enum cq_rc want = absorbed ? CQ_OK : model_append(w->model, id, n.model, 1);
    struct machine_outcome got = run(w, M(DELIVER), &message.base, cq_slice_of(n.raw, n.raw_len));
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__DeliverReply *reply = shard_reply(w->shard, &got, D(deliver_reply));
    CHECK(reply->absorbed == absorbed);
    CHECK(absorbed || (reply->mailbox == id && reply->uid == model_find(w->model, id)->uidnext - 1));
}

/* A random set, and its members below uidnext. */
static Chasqui__Mail__UidSet *random_set(struct world *w, uint64_t mailbox, uint32_t *uids, size_t *count)
{
    static Chasqui__Mail__UidSet set;
    static uint32_t ranges[64];
    const struct model_mailbox *box = model_find(w->model, mailbox);
    uint32_t next = box ? box->uidnext : 10, at = 1;
    chasqui__mail__uid_set__init(&set);
    set.ranges = ranges;
    *count = 0;
    if (roll(w, 4) == 0) {
        ranges[0] = 1;
        ranges[1] = UINT32_MAX;
        set.n_ranges = 2;
        at = 0;
    }
    while (at && set.n_ranges < 12) {
        uint32_t first = at + roll(w, next / 3 + 3), last = first + roll(w, roll(w, 3) ? 2 : 12);
        ranges[set.n_ranges++] = first;
        ranges[set.n_ranges++] = last;
        at = last + 2;
    }
    for (size_t i = 0; i < set.n_ranges; i += 2)
        for (uint32_t uid = ranges[i]; uid <= ranges[i + 1] && uid < next; uid++)
            uids[(*count)++] = uid;
    return &set;
}

static void check_set(struct world *w, const Chasqui__Mail__UidSet *set, const uint32_t *uids, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < set->n_ranges; i += 2)
        for (uint64_t uid = set->ranges[i]; uid <= set->ranges[i + 1]; uid++)
            CHECK(n < count && uids[n++] == uid);
    CHECK(n == count);
}

static uint32_t uids[UIDS_MAX], got_uids[UIDS_MAX];

static void do_store(struct world *w)
{
    Chasqui__Mail__Store message = CHASQUI__MAIL__STORE__INIT;
    char *keywords[MODEL_KEYWORDS];
    size_t count, modified;
    message.mailbox = random_mailbox(w);
    message.uids = random_set(w, message.mailbox, uids, &count);
    message.mode = (Chasqui__Mail__Store__Mode)roll(w, 3);
    message.flags = roll(w, 32);
    uint32_t bits = roll(w, 3) ? 0 : roll(w, 1u << MODEL_KEYWORDS);
    message.keywords = keywords;
    message.n_keywords = keyword_list(bits, keywords);
    message.has_unchanged_since = roll(w, 4) == 0;
    message.unchanged_since = w->model->modseq - roll(w, 10) % w->model->modseq;
    uint64_t before = w->model->modseq;
    enum cq_rc want = model_store(w->model, message.mailbox, uids, count, (int)message.mode, (uint8_t)message.flags,
                                  bits, message.has_unchanged_since, message.unchanged_since, got_uids, &modified);
    struct machine_outcome got = run(w, M(STORE), &message.base, CQ_SLICE_NONE);
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__StoreReply *reply = shard_reply(w->shard, &got, D(store_reply));
    CHECK(reply->modseq == (w->model->modseq > before ? w->model->modseq : 0));
    check_set(w, reply->modified, got_uids, modified);
}

static void do_copy(struct world *w)
{
    Chasqui__Mail__Copy message = CHASQUI__MAIL__COPY__INIT;
    size_t count, copied;
    bool move = roll(w, 2);
    message.from = random_mailbox(w);
    message.to = random_mailbox(w);
    message.uids = random_set(w, message.from, uids, &count);
    const struct model_mailbox *to = model_find(w->model, message.to);
    uint32_t first = to ? to->uidnext : 0;
    enum cq_rc want = model_copy(w->model, message.from, message.to, uids, count, move, got_uids, &copied);
    struct machine_outcome got = run(w, move ? M(MOVE) : M(COPY), &message.base, CQ_SLICE_NONE);
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__CopyReply *reply = shard_reply(w->shard, &got, D(copy_reply));
    CHECK(reply->first_uid == (copied ? first : 0));
    check_set(w, reply->copied, got_uids, copied);
}

static void do_expunge(struct world *w)
{
    Chasqui__Mail__Expunge message = CHASQUI__MAIL__EXPUNGE__INIT;
    size_t count = 0, expunged;
    message.mailbox = random_mailbox(w);
    message.has_uids = roll(w, 2) == 0;
    if (message.has_uids)
        message.uids = random_set(w, message.mailbox, uids, &count);
    enum cq_rc want =
        model_expunge(w->model, message.mailbox, message.has_uids ? uids : NULL, count, got_uids, &expunged);
    struct machine_outcome got = run(w, M(EXPUNGE), &message.base, CQ_SLICE_NONE);
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__ExpungeReply *reply = shard_reply(w->shard, &got, D(expunge_reply));
    CHECK(reply->modseq == (expunged ? w->model->modseq : 0));
    check_set(w, reply->expunged, got_uids, expunged);
}

static void do_claim(struct world *w)
{
    Chasqui__Mail__ClaimRecent message = CHASQUI__MAIL__CLAIM_RECENT__INIT;
    uint32_t from = 0, to = 0;
    message.mailbox = random_mailbox(w);
    enum cq_rc want = model_claim_recent(w->model, message.mailbox, &from, &to);
    struct machine_outcome got = run(w, M(CLAIM_RECENT), &message.base, CQ_SLICE_NONE);
    check_rc(w, &got, want, __func__);
    if (want != CQ_OK)
        return;
    const Chasqui__Mail__ClaimRecentReply *reply = shard_reply(w->shard, &got, D(claim_recent_reply));
    CHECK(reply->recent_from == from && reply->recent_to == to);
}

static void do_limits(struct world *w)
{
    Chasqui__Mail__SetLimits message = CHASQUI__MAIL__SET_LIMITS__INIT;
    Chasqui__Mail__Limits limits = CHASQUI__MAIL__LIMITS__INIT;
    message.limits = &limits;
    limits.directory_version = w->step;
    limits.quota_bytes = roll(w, 2) ? 0 : w->model->used_bytes + roll(w, 3000);
    w->model->quota_bytes = limits.quota_bytes;
    w->model->modseq++;
    CHECK(run(w, M(SET_LIMITS), &message.base, CQ_SLICE_NONE).rc == CQ_OK);
}

static void do_reclaim(struct world *w)
{
    Chasqui__Mail__Reclaim message = CHASQUI__MAIL__RECLAIM__INIT;
    message.max_effects = 1 + roll(w, 40);
    struct shard_call call = {.method = M(RECLAIM), .message = &message.base};
    CHECK(shard_run(w->shard, &call).rc == CQ_OK);
}

static void do_outbox(struct world *w)
{
    struct outbox_position after = mail_machine_outbox_cursor(shard_machine(w->shard, 0)), at = after;
    struct cq_slice event;
    for (uint32_t n = roll(w, 20); n > 0; n--)
        if (mail_machine_outbox_next(shard_machine(w->shard, 0), at, shard_pool(w->shard), &at, &event, NULL) != CQ_OK)
            break;
    Chasqui__Mail__OutboxAdvance message = CHASQUI__MAIL__OUTBOX_ADVANCE__INIT;
    message.to_index = at.index;
    message.to_sub_index = at.sub_index;
    struct shard_call call = {.method = M(OUTBOX_ADVANCE), .message = &message.base};
    CHECK(shard_run(w->shard, &call).rc == CQ_OK);
    struct outbox_position cursor = mail_machine_outbox_cursor(shard_machine(w->shard, 0));
    CHECK(cursor.index == at.index && cursor.sub_index == at.sub_index);
}

/* Keeps a part of what waits; what goes is counted. */
static void do_trim(struct world *w)
{
    uint64_t events, bytes, events_left, bytes_left;
    struct machine *machine = shard_machine(w->shard, 0);
    Chasqui__Mail__OutboxTrim message = CHASQUI__MAIL__OUTBOX_TRIM__INIT;
    mail_machine_outbox_backlog(machine, &events, &bytes);
    message.keep_bytes = bytes * roll(w, 11) / 10;
    struct shard_call call = {.method = M(OUTBOX_TRIM), .message = &message.base};
    struct machine_outcome got = shard_run(w->shard, &call);
    CHECK(got.rc == CQ_OK);
    const Chasqui__Mail__OutboxTrimReply *reply =
        shard_reply(w->shard, &got, &chasqui__mail__outbox_trim_reply__descriptor);
    mail_machine_outbox_backlog(machine, &events_left, &bytes_left);
    uint64_t dropped = 0;
    for (size_t i = 0; i < reply->n_dropped; i++)
        dropped += reply->dropped[i];
    CHECK(events_left <= events - dropped + 4); /* a gap for each stream at most */
    CHECK(bytes_left <= message.keep_bytes + 4 * 64);
    CHECK(!reply->more);
    CHECK(dropped || message.keep_bytes >= bytes || events_left <= 4);
}

static void do_time(struct world *w)
{
    static const uint64_t jumps[] = {1, 60, 1800, 86400, 6 * 86400};
    shard_advance(w->shard, jumps[roll(w, 5)] * 1000000);
    /* Any entry brings the new time, and the next stamps with it. */
    Chasqui__Mail__Empty empty = CHASQUI__MAIL__EMPTY__INIT;
    struct shard_call call = {.method = M(DIGEST_MARK), .message = &empty.base};
    CHECK(shard_run(w->shard, &call).rc == CQ_OK);
}

/* ---- reads ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct model_mailbox *const *)a)->name, (*(const struct model_mailbox *const *)b)->name);
}

static void check_list(struct world *w, unsigned replica)
{
    Chasqui__Mail__Empty empty = CHASQUI__MAIL__EMPTY__INIT;
    const void *reply;
    const struct model_mailbox *sorted[128];
    CHECK(shard_read(w->shard, replica, M(LIST_MAILBOXES), ACCOUNT, &empty.base, D(mailbox_list), &reply, NULL) ==
          CQ_OK);
    const Chasqui__Mail__MailboxList *list = reply;
    size_t count = w->model->mailbox_count;
    CHECK(list->n_mailboxes == count && list->n_subscriptions == w->model->subscription_count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &w->model->mailboxes[i];
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 0; i < count; i++) {
        const Chasqui__Mail__Mailbox *got = list->mailboxes[i];
        uint32_t unseen = 0, deleted = 0;
        uint64_t size = 0;
        for (size_t k = 0; k < sorted[i]->count; k++) {
            unseen += !(sorted[i]->messages[k].flags & 1);
            deleted += !!(sorted[i]->messages[k].flags & 8);
            size += sorted[i]->messages[k].size;
        }
        CHECK(!strcmp(got->name, sorted[i]->name) && got->id == sorted[i]->id && (int)got->use == sorted[i]->use);
        CHECK(got->uidvalidity == sorted[i]->uidvalidity && got->uidnext == sorted[i]->uidnext);
        CHECK(got->highest_modseq == sorted[i]->highest && got->recent_from == sorted[i]->recent_from);
        CHECK(got->messages == sorted[i]->count && got->unseen == unseen && got->deleted == deleted);
        CHECK(got->size == size);
    }
    for (size_t i = 0; i < list->n_subscriptions; i++)
        CHECK(model_subscribed(w->model, list->subscriptions[i]));
    CHECK(shard_read(w->shard, replica, M(GET_ACCOUNT), ACCOUNT, &empty.base, D(account_reply), &reply, NULL) == CQ_OK);
    const Chasqui__Mail__AccountReply *account = reply;
    CHECK(account->modseq == w->model->modseq && account->used_bytes == w->model->used_bytes);
    CHECK(account->used_messages == w->model->used_messages && account->mailboxes == count);
}

static uint32_t keyword_bits(const struct fetch_record *record, char **table, size_t count)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < count; i++)
        if (fetch_record_has_keyword(record, i))
            bits |= 1u << (table[i][6] - '0');
    return bits;
}

static void check_record(struct world *w, const struct fetch_record *record, const struct model_message *want,
                         char **table, size_t table_count)
{
    CHECK(want && record->uid == want->uid && record->size == want->size && record->modseq == want->modseq);
    CHECK(record->flags == want->flags && record->email == want->email && record->thread);
    CHECK(record->internal_date == want->internal_date);
    CHECK(keyword_bits(record, table, table_count) == want->keywords);
}

static void check_fetch(struct world *w, unsigned replica, const struct model_mailbox *mailbox)
{
    Chasqui__Mail__Fetch fetch = CHASQUI__MAIL__FETCH__INIT;
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[2] = {1, UINT32_MAX};
    size_t n = 0;
    fetch.mailbox = mailbox->id;
    fetch.uids = &set;
    fetch.summaries = true;
    fetch.max_records = roll(w, 30);
    set.ranges = range;
    set.n_ranges = 2;
    do {
        const void *reply;
        struct cq_slice raw;
        struct fetch_record record;
        uint32_t records = 0;
        CHECK(shard_read(w->shard, replica, M(FETCH), ACCOUNT, &fetch.base, D(fetch_reply), &reply, &raw) == CQ_OK);
        const Chasqui__Mail__FetchReply *got = reply;
        while (fetch_record_next(&raw, &record) == CQ_OK) {
            CHECK(n < mailbox->count);
            check_record(w, &record, &mailbox->messages[n], got->keywords, got->n_keywords);
            struct model_body *body = model_body(w->model, record.email);
            CHECK(body && record.summary.len == 8 && !memcmp(record.summary.data, &body->token, 8));
            n++;
            records++;
        }
        CHECK(records == got->records && raw.len == 0);
        range[0] = got->next_uid;
    } while (range[0]);
    CHECK(n == mailbox->count);
}

static void check_open(struct world *w, unsigned replica, const struct model_mailbox *mailbox)
{
    Chasqui__Mail__OpenMailbox open = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    const void *reply;
    uint32_t first_unseen = 0;
    open.mailbox = mailbox->id;
    CHECK(shard_read(w->shard, replica, M(OPEN_MAILBOX), ACCOUNT, &open.base, D(open_mailbox_reply), &reply, NULL) ==
          CQ_OK);
    const Chasqui__Mail__OpenMailboxReply *got = reply;
    for (size_t i = 0; i < mailbox->count; i++) {
        uids[i] = mailbox->messages[i].uid;
        if (!first_unseen && !(mailbox->messages[i].flags & 1))
            first_unseen = uids[i];
    }
    check_set(w, got->uids, uids, mailbox->count);
    CHECK(got->first_unseen_uid == first_unseen);
}

static void check_body(struct world *w, unsigned replica)
{
    uint64_t email = 1 + roll(w, (uint32_t)w->model->next_email);
    struct model_body *body = model_body(w->model, email);
    struct cq_slice octets;
    uint8_t want[400];
    uint32_t offset = roll(w, 300), length = roll(w, 300);
    enum cq_rc rc = shard_read_body(w->shard, replica, ACCOUNT, email, offset, length, &octets);
    if (!body) {
        /* It may wait for RECLAIM; then its octets are still whole. */
        CHECK(rc == CQ_E_NOT_FOUND || rc == CQ_OK);
        return;
    }
    CHECK(rc == CQ_OK);
    fill_octets(body->token, want, body->size);
    uint32_t have = offset < body->size ? body->size - offset : 0;
    CHECK(octets.len == (length < have ? length : have));
    CHECK(octets.len == 0 || !memcmp(octets.data, want + offset, octets.len));
}

/* ---- the change feed ---- */

static void take_snapshot(struct world *w)
{
    struct snapshot *s = &w->snapshots[roll(w, SNAPSHOTS)];
    const struct model_mailbox *mailbox = &w->model->mailboxes[roll(w, (uint32_t)w->model->mailbox_count)];
    free(s->messages);
    s->mailbox = mailbox->id;
    s->modseq = roll(w, 2) ? w->model->modseq : mailbox->highest;
    s->count = mailbox->count;
    s->messages = cq_malloc((s->count + 1) * sizeof *s->messages);
    if (s->count)
        memcpy(s->messages, mailbox->messages, s->count * sizeof *s->messages);
}

/* What a client has: put or replace. */
static size_t put_record(struct model_message *have, size_t count, const struct fetch_record *record, uint32_t keywords)
{
    size_t i = 0;
    while (i < count && have[i].uid < record->uid)
        i++;
    if (i == count || have[i].uid != record->uid) {
        memmove(&have[i + 1], &have[i], (count - i) * sizeof *have);
        count++;
    }
    have[i] = (struct model_message){.uid = record->uid,
                                     .flags = record->flags,
                                     .modseq = record->modseq,
                                     .keywords = keywords,
                                     .size = record->size,
                                     .email = record->email,
                                     .internal_date = record->internal_date};
    return count;
}

static size_t drop_uids(struct model_message *have, size_t count, const Chasqui__Mail__UidSet *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool gone = false;
        for (size_t r = 0; r < set->n_ranges; r += 2)
            gone = gone || (have[i].uid >= set->ranges[r] && have[i].uid <= set->ranges[r + 1]);
        if (!gone)
            have[kept++] = have[i];
    }
    return kept;
}

static void check_feed(struct world *w, unsigned replica, const struct snapshot *s)
{
    static struct model_message have[UIDS_MAX];
    const struct model_mailbox *mailbox = model_find(w->model, s->mailbox);
    size_t count = s->count;
    memcpy(have, s->messages, count * sizeof *have);
    Chasqui__Mail__Changes changes = CHASQUI__MAIL__CHANGES__INIT;
    changes.mailbox = s->mailbox;
    changes.since_modseq = s->modseq;
    changes.max_records = roll(w, 2) ? 0 : 1 + roll(w, 5);
    for (bool more = true; more;) {
        const void *reply;
        struct cq_slice raw;
        struct fetch_record record;
        CHECK(shard_read(w->shard, replica, M(CHANGES), ACCOUNT, &changes.base, D(changes_reply), &reply, &raw) ==
              CQ_OK);
        const Chasqui__Mail__ChangesReply *got = reply;
        CHECK(got->mailbox_gone == !mailbox);
        if (!mailbox)
            return;
        CHECK(got->highest_modseq == mailbox->highest && got->messages == mailbox->count);
        CHECK(got->until_modseq > changes.since_modseq || !got->more);
        count = drop_uids(have, count, got->vanished);
        uint64_t last = changes.since_modseq;
        while (fetch_record_next(&raw, &record) == CQ_OK) {
            CHECK(record.modseq >= last && record.modseq <= got->until_modseq);
            last = record.modseq;
            count = put_record(have, count, &record, keyword_bits(&record, got->keywords, got->n_keywords));
        }
        changes.since_modseq = got->until_modseq;
        more = got->more;
    }
    CHECK(count == mailbox->count);
    for (size_t i = 0; i < count; i++) {
        const struct model_message *want = &mailbox->messages[i];
        CHECK(have[i].uid == want->uid && have[i].flags == want->flags && have[i].modseq == want->modseq);
        CHECK(have[i].keywords == want->keywords);
    }
}

/* ---- replicas ---- */

static void check_replica(struct world *w, unsigned replica)
{
    CHECK(shard_catch_up(w->shard, replica, shard_last_index(w->shard)));
    check_list(w, replica);
    const struct model_mailbox *mailbox = &w->model->mailboxes[roll(w, (uint32_t)w->model->mailbox_count)];
    check_fetch(w, replica, mailbox);
    check_open(w, replica, mailbox);
    for (int i = 0; i < 5; i++)
        check_body(w, replica);
    for (size_t i = 0; i < SNAPSHOTS; i++)
        if (w->snapshots[i].messages && roll(w, 4) == 0)
            check_feed(w, replica, &w->snapshots[i]);
}

static void check_digests(struct world *w)
{
    uint8_t first[16], other[16];
    for (unsigned r = 0; r < REPLICAS; r++) {
        uint64_t records;
        struct cq_err err = {.rc = CQ_OK};
        CHECK(shard_catch_up(w->shard, r, shard_last_index(w->shard)));
        if (mail_machine_verify(shard_machine(w->shard, r), &records, &err) != CQ_OK)
            fail_msg("seed %llu step %llu: %s", (unsigned long long)w->seed, (unsigned long long)w->step, err.text);
        shard_machine(w->shard, r)->ops->digest(shard_machine(w->shard, r), r ? other : first);
        CHECK(r == 0 || !memcmp(first, other, sizeof first));
    }
}

static void shake_replica(struct world *w)
{
    unsigned r = roll(w, REPLICAS);
    switch (roll(w, 5)) {
    case 0:
        shard_catch_up(w->shard, r, shard_last_index(w->shard));
        shard_take(w->shard, r);
        return;
    case 1:
    case 2:
        shard_write(w->shard, r, roll(w, 3) == 0);
        return;
    case 3:
        shard_crash(w->shard, r, roll(w, 1001));
        CHECK(shard_catch_up(w->shard, r,
                             r ? roll(w, (uint32_t)shard_last_index(w->shard) + 1) : shard_last_index(w->shard)));
        return;
    default:
        check_replica(w, r);
    }
}

/* ---- runs ---- */

static const struct {
    unsigned weight;
    void (*run)(struct world *w);
} actions[] = {
    {6, do_create}, {3, do_delete}, {3, do_rename},   {2, do_subscribe},  {30, do_append},     {10, do_deliver},
    {30, do_store}, {12, do_copy},  {14, do_expunge}, {3, do_claim},      {2, do_limits},      {3, do_reclaim},
    {2, do_outbox}, {1, do_trim},   {2, do_time},     {6, take_snapshot}, {12, shake_replica},
};

static void step(struct world *w)
{
    unsigned total = 0, at = 0;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        total += actions[i].weight;
    unsigned dice = roll(w, total);
    while (dice >= actions[at].weight)
        dice -= actions[at++].weight;
    actions[at].run(w);
}

static void run_world(uint64_t seed, uint64_t steps)
{
    struct world world = {.seed = seed, .dice = {seed}}, *w = &world;
    w->shard = shard_new(REPLICAS);
    w->model = model_new();
    shard_own_all(w->shard);
    Chasqui__Mail__CreateAccount create = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    struct machine_outcome got = run(w, M(CREATE_ACCOUNT), &create.base, CQ_SLICE_NONE);
    CHECK(got.rc == CQ_OK);
    check_modseq(w, &got);
    for (w->step = 1; w->step <= steps; w->step++)
        step(w);
    check_digests(w);
    if (getenv("CQ_GOLDEN_WRITE"))
        CHECK(shard_save_log(w->shard, getenv("CQ_GOLDEN_WRITE")));
    for (unsigned r = 0; r < REPLICAS; r++)
        check_replica(w, r);
    for (size_t i = 0; i < SNAPSHOTS; i++)
        free(w->snapshots[i].messages);
    shard_free(&w->shard);
    model_free(&w->model);
}

/* CQ_GOLDEN_WRITE=FILE with a seed writes the run's log as a golden log. */
static void the_machine_does_what_the_model_does(void **state)
{
    (void)state;
    const char *seed = getenv("CQ_MODEL_SEED"), *steps = getenv("CQ_MODEL_STEPS");
    uint64_t count = steps ? strtoull(steps, NULL, 10) : 1200;
    if (seed) {
        run_world(strtoull(seed, NULL, 10), count);
        return;
    }
    for (uint64_t s = 1; s <= 12; s++)
        run_world(s, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_machine_does_what_the_model_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
