/* What clients do: each maker fills an operation. */
#include "sim_mail.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"

#include <string.h>

/* ---- Choosing what to do ---- */

static struct model_mailbox *any_mailbox(struct mail *mail, struct model_account *account)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        struct model_mailbox *mailbox = &account->mailboxes[sim_below(mail->sim, (uint32_t)account->mailbox_count)];
        if (mailbox->live || sim_chance(mail->sim, 30)) /* now and then one that has gone */
            return mailbox;
    }
    return &account->mailboxes[0];
}

/* Most of the life is in INBOX, which the watchers watch. */
static struct model_mailbox *busy_mailbox(struct mail *mail, struct model_account *account)
{
    return sim_below(mail->sim, 3) ? &account->mailboxes[0] : any_mailbox(mail, account);
}

/* A few UIDs, ascending, that exist or nearly. */
static Chasqui__Mail__UidSet *some_uids(struct mail_op *op, const struct model_mailbox *mailbox)
{
    struct sim *sim = op->client->mail->sim;
    Chasqui__Mail__UidSet *set = cq_pool_alloc(op->pool, sizeof *set);
    chasqui__mail__uid_set__init(set);
    set->ranges = cq_pool_calloc(op->pool, 8, sizeof *set->ranges);
    uint32_t at = 1, top = mailbox->uidnext + 1;
    uint32_t span = 1 + sim_below(sim, 6);
    if (mailbox->count && sim_chance(sim, 2)) /* mostly the new ones */
        at = mailbox->messages[sim_below(sim, (uint32_t)mailbox->count)].uid;
    for (unsigned i = 0; i < 4 && at < top; i++) {
        uint32_t first = at + (i ? 2 + sim_below(sim, 3) : 0), last = first + sim_below(sim, span);
        set->ranges[set->n_ranges++] = first;
        set->ranges[set->n_ranges++] = last;
        at = last;
        if (sim_chance(sim, 2))
            break;
    }
    if (!set->n_ranges) {
        set->ranges[set->n_ranges++] = 1;
        set->ranges[set->n_ranges++] = 1;
    }
    return set;
}

static Chasqui__Mail__UidSet *one_uid(struct mail_op *op, uint32_t uid)
{
    Chasqui__Mail__UidSet *set = cq_pool_alloc(op->pool, sizeof *set);
    chasqui__mail__uid_set__init(set);
    set->ranges = cq_pool_calloc(op->pool, 2, sizeof *set->ranges);
    set->ranges[0] = set->ranges[1] = uid;
    set->n_ranges = 2;
    return set;
}

static void some_keywords(struct mail_op *op, char ***names_r, size_t *count_r)
{
    struct sim *sim = op->client->mail->sim;
    char **names = cq_pool_calloc(op->pool, MODEL_KEYWORDS, sizeof *names);
    for (unsigned k = 0; k < MODEL_KEYWORDS; k++) {
        if (sim_chance(sim, 4))
            names[(*count_r)++] = (char *)(uintptr_t)model_keywords[k];
    }
    *names_r = names;
}

static Chasqui__Mail__NewMessage *new_message(struct mail_op *op, struct cq_buf *raw)
{
    struct mail *mail = op->client->mail;
    struct sim *sim = mail->sim;
    Chasqui__Mail__NewMessage *message = cq_pool_alloc(op->pool, sizeof *message);
    chasqui__mail__new_message__init(message);
    uint64_t token = ++mail->next_token * UINT64_C(0x100000001b3) ^ sim->options.seed;
    uint8_t *summary = cq_pool_alloc(op->pool, 8);
    message->size = sim_chance(sim, 12) ? 20000 + sim_below(sim, 40000) : 100 + sim_below(sim, 1500);
    message->flags = sim_below(sim, 2) * sim_below(sim, 32);
    some_keywords(op, &message->keywords, &message->n_keywords);
    message->internal_date = (int64_t)(sim_between(sim, 0, 1u << 30));
    for (unsigned i = 0; i < 8; i++)
        summary[i] = (uint8_t)(token >> (56 - 8 * i));
    message->summary = (ProtobufCBinaryData){8, summary};
    uint8_t *octets = cq_buf_reserve(raw, message->size);
    CQ_ASSERT(octets);
    model_body(token, message->size, octets);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(octets, message->size));
    cq_buf_commit(raw, message->size);
    message->body_hash_low = hash.low;
    message->body_hash_high = hash.high;
    return message;
}

static void make_append(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    Chasqui__Mail__NewMessage *messages[3];
    struct cq_buf raw;
    cq_buf_init(&raw, 1u << 20);
    append.mailbox = busy_mailbox(op->client->mail, op->account)->id;
    append.messages = messages;
    append.n_messages = 1 + (sim_chance(sim, 5) ? sim_below(sim, 3) : 0);
    for (size_t i = 0; i < append.n_messages; i++)
        messages[i] = new_message(op, &raw);
    op->method = CHASQUI__MAIL__METHOD__APPEND;
    op->body = mail_pack_to(op->pool, &append.base);
    op->raw = cq_pool_slice(op->pool, cq_buf_slice(&raw));
    cq_buf_fini(&raw);
}

static void make_store(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    struct model_mailbox *mailbox = busy_mailbox(op->client->mail, op->account);
    Chasqui__Mail__Store store = CHASQUI__MAIL__STORE__INIT;
    store.mailbox = mailbox->id;
    store.uids = some_uids(op, mailbox);
    store.mode = (Chasqui__Mail__Store__Mode)sim_below(sim, 3);
    store.flags = 1u << sim_below(sim, 5);
    some_keywords(op, &store.keywords, &store.n_keywords);
    store.has_unchanged_since = sim_chance(sim, 4);
    store.unchanged_since = mailbox->highest_modseq > 2 ? mailbox->highest_modseq - sim_below(sim, 3) : 1;
    op->method = CHASQUI__MAIL__METHOD__STORE;
    op->body = mail_pack_to(op->pool, &store.base);
}

static void make_copy(struct mail_op *op)
{
    struct mail *mail = op->client->mail;
    struct model_mailbox *from = busy_mailbox(mail, op->account);
    Chasqui__Mail__Copy copy = CHASQUI__MAIL__COPY__INIT;
    copy.from = from->id;
    copy.to = any_mailbox(mail, op->account)->id;
    copy.uids = some_uids(op, from);
    op->method = sim_chance(mail->sim, 2) ? CHASQUI__MAIL__METHOD__COPY : CHASQUI__MAIL__METHOD__MOVE;
    op->body = mail_pack_to(op->pool, &copy.base);
}

static void make_expunge(struct mail_op *op)
{
    struct mail *mail = op->client->mail;
    struct model_mailbox *mailbox = busy_mailbox(mail, op->account);
    Chasqui__Mail__Expunge expunge = CHASQUI__MAIL__EXPUNGE__INIT;
    expunge.mailbox = mailbox->id;
    expunge.has_uids = sim_chance(mail->sim, 2);
    if (expunge.has_uids)
        expunge.uids = some_uids(op, mailbox);
    op->method = CHASQUI__MAIL__METHOD__EXPUNGE;
    op->body = mail_pack_to(op->pool, &expunge.base);
}

/* Marks the newest message of INBOX; the next EXPUNGE of this client takes it. What is newest is what a wrong UIDNEXT
 * or a lost deletion would bring back. */
static void make_doom_newest(struct mail_op *op)
{
    struct model_mailbox *mailbox = &op->account->mailboxes[0];
    Chasqui__Mail__Store store = CHASQUI__MAIL__STORE__INIT;
    store.mailbox = mailbox->id;
    store.uids = one_uid(op, mailbox->uidnext > 1 ? mailbox->uidnext - 1 : 1);
    store.mode = CHASQUI__MAIL__STORE__MODE__ADD;
    store.flags = CHASQUI__MAIL__SYSTEM_FLAG__DELETED;
    op->method = CHASQUI__MAIL__METHOD__STORE;
    op->body = mail_pack_to(op->pool, &store.base);
}

static void make_expunge_inbox(struct mail_op *op)
{
    op->expunges_newest = true;
    Chasqui__Mail__Expunge expunge = CHASQUI__MAIL__EXPUNGE__INIT;
    expunge.mailbox = op->account->mailboxes[0].id;
    op->method = CHASQUI__MAIL__METHOD__EXPUNGE;
    op->body = mail_pack_to(op->pool, &expunge.base);
}

static void some_name(struct sim *sim, char name[static 16])
{
    snprintf(name, 16, "box %u", sim_below(sim, 8));
}

static void make_create(struct mail_op *op)
{
    char name[16];
    Chasqui__Mail__CreateMailbox create = CHASQUI__MAIL__CREATE_MAILBOX__INIT;
    some_name(op->client->mail->sim, name);
    create.name = name;
    op->method = CHASQUI__MAIL__METHOD__CREATE_MAILBOX;
    op->body = mail_pack_to(op->pool, &create.base);
}

static void make_delete(struct mail_op *op)
{
    struct mail *mail = op->client->mail;
    Chasqui__Mail__DeleteMailbox deletion = CHASQUI__MAIL__DELETE_MAILBOX__INIT;
    if (op->account->mailbox_count <= 6) {
        make_create(op);
        return;
    }
    deletion.mailbox = op->account->mailboxes[6 + sim_below(mail->sim, (uint32_t)op->account->mailbox_count - 6)].id;
    op->method = CHASQUI__MAIL__METHOD__DELETE_MAILBOX;
    op->body = mail_pack_to(op->pool, &deletion.base);
}

static void make_rename(struct mail_op *op)
{
    char from[16], to[16];
    Chasqui__Mail__RenameMailbox rename = CHASQUI__MAIL__RENAME_MAILBOX__INIT;
    some_name(op->client->mail->sim, from);
    some_name(op->client->mail->sim, to);
    rename.from = from;
    rename.to = to;
    op->method = CHASQUI__MAIL__METHOD__RENAME_MAILBOX;
    op->body = mail_pack_to(op->pool, &rename.base);
}

static void make_open(struct mail_op *op)
{
    Chasqui__Mail__OpenMailbox open = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    open.mailbox = op->mailbox = busy_mailbox(op->client->mail, op->account)->id;
    op->method = CHASQUI__MAIL__METHOD__OPEN_MAILBOX;
    op->body = mail_pack_to(op->pool, &open.base);
}

static void make_fetch(struct mail_op *op)
{
    uint32_t all[] = {1, UINT32_MAX};
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    Chasqui__Mail__Fetch fetch = CHASQUI__MAIL__FETCH__INIT;
    set.ranges = all;
    set.n_ranges = 2;
    fetch.mailbox = op->mailbox = busy_mailbox(op->client->mail, op->account)->id;
    fetch.uids = &set;
    fetch.summaries = true;
    op->method = CHASQUI__MAIL__METHOD__FETCH;
    op->body = mail_pack_to(op->pool, &fetch.base);
}

static void make_list(struct mail_op *op)
{
    op->method = CHASQUI__MAIL__METHOD__LIST_MAILBOXES;
}

static void make_account(struct mail_op *op)
{
    op->method = CHASQUI__MAIL__METHOD__GET_ACCOUNT;
}

static void make_body(struct mail_op *op)
{
    struct model_mailbox *mailbox = busy_mailbox(op->client->mail, op->account);
    Chasqui__Mail__ReadBody read = CHASQUI__MAIL__READ_BODY__INIT;
    if (!mailbox->count) {
        make_open(op);
        return;
    }
    const struct model_message *message =
        &mailbox->messages[sim_below(op->client->mail->sim, (uint32_t)mailbox->count)];
    read.email = op->email = message->email;
    read.length = message->size;
    op->token = message->token;
    op->size = message->size;
    op->method = CHASQUI__MAIL__METHOD__READ_BODY;
    op->body = mail_pack_to(op->pool, &read.base);
}

/* ---- Bodies in stages ---- */

static Chasqui__Mail__NewMessage *staged_message(struct mail_op *op, const uint8_t id[16], uint64_t token,
                                                 uint32_t size)
{
    Chasqui__Mail__NewMessage *message = cq_pool_alloc(op->pool, sizeof *message);
    uint8_t *summary = cq_pool_alloc(op->pool, 8), *stage = cq_pool_alloc(op->pool, 16);
    chasqui__mail__new_message__init(message);
    cq_put_be64(summary, token);
    memcpy(stage, id, 16);
    message->size = size;
    message->flags = sim_below(op->client->mail->sim, 32);
    message->summary = (ProtobufCBinaryData){8, summary};
    message->stage = (ProtobufCBinaryData){16, stage};
    return message;
}

static void put_append(struct mail_op *op, Chasqui__Mail__NewMessage *message)
{
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    append.mailbox = busy_mailbox(op->client->mail, op->account)->id;
    append.messages = &message;
    append.n_messages = 1;
    op->method = CHASQUI__MAIL__METHOD__APPEND;
    op->body = mail_pack_to(op->pool, &append.base);
}

static void put_delivery(struct mail_op *op, Chasqui__Mail__NewMessage *message)
{
    struct mail *mail = op->client->mail;
    struct sim *sim = mail->sim;
    const struct model_account *account = op->account;
    Chasqui__Mail__Deliver deliver = CHASQUI__MAIL__DELIVER__INIT;
    Chasqui__Mail__DeliveryEvent event = CHASQUI__MAIL__DELIVERY_EVENT__INIT;
    char id[40];
    snprintf(id, sizeof id, "<%llu@example.test>", (unsigned long long)op->id);
    event.message_id = event.rfc5322_message_id = id;
    event.recipients = 1;
    deliver.message = message;
    deliver.use = sim_chance(sim, 6) ? CHASQUI__MAIL__SPECIAL_USE__USE_JUNK : CHASQUI__MAIL__SPECIAL_USE__USE_INBOX;
    deliver.event = &event;
    if (account->key_count && sim_chance(sim, 2))
        deliver.delivery_key =
            (ProtobufCBinaryData){16, account->keys[sim_below(sim, (uint32_t)account->key_count)].id};
    op->method = CHASQUI__MAIL__METHOD__DELIVER;
    op->body = mail_pack_to(op->pool, &deliver.base);
}

static void begin_stage(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    struct mail_staging *staging = &op->client->staging;
    *staging = (struct mail_staging){.account = op->account,
                                     .active = true,
                                     .token = ++op->client->mail->next_token * UINT64_C(0x9e3779b97f4a7c15),
                                     .size = 2000 + sim_below(sim, 60000),
                                     .piece = 4000 + sim_below(sim, 20000)};
    for (unsigned i = 0; i < 16; i++)
        staging->id[i] = (uint8_t)sim_below(sim, 256);
}

/* One piece; now and then one that is there already, or one that is too far. */
static void put_piece(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    struct mail_staging *staging = &op->client->staging;
    Chasqui__Mail__Stage stage = CHASQUI__MAIL__STAGE__INIT;
    uint32_t offset = sim_chance(sim, 10) ? 0 : sim_chance(sim, 40) ? staging->sent + 1 : staging->sent;
    uint32_t length = staging->size - offset < staging->piece ? staging->size - offset : staging->piece;
    uint8_t *all = cq_pool_alloc(op->pool, staging->size);
    model_body(staging->token, staging->size, all);
    op->raw = cq_slice_of(all + offset, length);
    struct cq_hash128 hash = cq_xxh3_128(op->raw);
    stage.stage = (ProtobufCBinaryData){16, staging->id};
    stage.offset = offset;
    stage.hash_low = hash.low;
    stage.hash_high = hash.high;
    op->method = CHASQUI__MAIL__METHOD__STAGE;
    op->body = mail_pack_to(op->pool, &stage.base);
    if (offset == staging->sent)
        op->stages = length;
}

/* The next step of the client's body, or a new one while the account has few of them. */
static void make_stage(struct mail_op *op)
{
    struct mail_staging *staging = &op->client->staging;
    if (staging->active && staging->account != op->account) {
        make_append(op);
        return;
    }
    if (!staging->active && model_stages(op->account) >= MAIL_STAGES_MAX) {
        make_append(op);
        return;
    }
    if (!staging->active)
        begin_stage(op);
    if (staging->sent < staging->size) {
        put_piece(op);
        return;
    }
    op->takes_stage = true;
    Chasqui__Mail__NewMessage *message = staged_message(op, staging->id, staging->token, staging->size);
    (sim_chance(op->client->mail->sim, 2) ? put_append : put_delivery)(op, message);
}

/* A body that has been stored is asked for once more. */
static void make_stage_again(struct mail_op *op)
{
    const struct mail_staging *last = &op->client->stored;
    if (last->account == op->account)
        put_append(op, staged_message(op, last->id, last->token, last->size));
    else
        make_append(op);
}

void mail_staging_reply(struct mail_op *op, enum cq_rc rc)
{
    struct mail_staging *staging = &op->client->staging;
    bool full = rc == CQ_E_OVER_QUOTA || rc == CQ_E_NO_MAILBOX;
    if (op->stages && rc == CQ_OK)
        staging->sent += op->stages;
    if (op->takes_stage && rc == CQ_OK)
        op->client->stored = *staging;
    if ((op->takes_stage && !full) || (op->stages && rc != CQ_OK && !full))
        staging->active = false;
    /* Bodies that nobody goes on with: a few, there is a limit to them. */
    if (full && (op->stages || op->takes_stage) && model_stages(op->account) < MAIL_STAGES_MAX)
        staging->active = sim_chance(op->client->mail->sim, 4);
}

/* ---- Deliveries, limits, the account ---- */

static void make_deliver(struct mail_op *op)
{
    struct cq_buf raw;
    cq_buf_init(&raw, 1u << 20);
    put_delivery(op, new_message(op, &raw));
    op->raw = cq_pool_slice(op->pool, cq_buf_slice(&raw));
    cq_buf_fini(&raw);
}

static void make_keep_key(struct mail_op *op)
{
    Chasqui__Mail__KeepDeliveryKey keep = CHASQUI__MAIL__KEEP_DELIVERY_KEY__INIT;
    uint8_t id[16];
    for (unsigned i = 0; i < 16; i++)
        id[i] = (uint8_t)sim_below(op->client->mail->sim, 256);
    keep.delivery_key = (ProtobufCBinaryData){sizeof id, id};
    op->method = CHASQUI__MAIL__METHOD__KEEP_DELIVERY_KEY;
    op->body = mail_pack_to(op->pool, &keep.base);
}

static size_t account_index(const struct mail_op *op)
{
    return (size_t)(op->account - op->client->mail->model.accounts);
}

/* Some accounts have a quota, a little above or below what they use; at times an older version of it comes late. */
static void make_limits(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    struct model_usage used = model_used(op->account);
    Chasqui__Mail__SetLimits set = CHASQUI__MAIL__SET_LIMITS__INIT;
    Chasqui__Mail__Limits limits = CHASQUI__MAIL__LIMITS__INIT;
    if (account_index(op) % 3 != 1) {
        make_append(op);
        return;
    }
    set.limits = &limits;
    limits.directory_version = op->account->limits.version + sim_below(sim, 3);
    if (sim_below(sim, 3))
        limits.quota_messages = used.messages * 9 / 10 + 1 + sim_below(sim, 20);
    if (sim_below(sim, 3))
        limits.quota_bytes = used.bytes * 9 / 10 + 1 + sim_below(sim, 100000);
    op->method = CHASQUI__MAIL__METHOD__SET_LIMITS;
    op->body = mail_pack_to(op->pool, &set.base);
}

/* One account goes in the second half of a run; it is deleted again now and then. */
static void make_delete_account(struct mail_op *op)
{
    struct mail *mail = op->client->mail;
    if (account_index(op) + 1 != mail->model.account_count || mail->operations < 1000) {
        make_append(op);
        return;
    }
    op->method = CHASQUI__MAIL__METHOD__DELETE_ACCOUNT;
}

static void make_rename_inbox(struct mail_op *op)
{
    char from[] = "INBOX", to[16];
    Chasqui__Mail__RenameMailbox rename = CHASQUI__MAIL__RENAME_MAILBOX__INIT;
    some_name(op->client->mail->sim, to);
    rename.from = from;
    rename.to = to;
    op->method = CHASQUI__MAIL__METHOD__RENAME_MAILBOX;
    op->body = mail_pack_to(op->pool, &rename.base);
}

static const struct {
    void (*make)(struct mail_op *op);
    unsigned weight;
    bool command;
} kinds[] = {
    {make_append, 20, true},      {make_store, 18, true},      {make_copy, 10, true},
    {make_expunge, 6, true},      {make_doom_newest, 6, true}, {make_expunge_inbox, 5, true},
    {make_create, 3, true},       {make_delete, 2, true},      {make_rename, 1, true},
    {make_stage, 6, true},        {make_stage_again, 1, true}, {make_deliver, 9, true},
    {make_keep_key, 2, true},     {make_limits, 2, true},      {make_delete_account, 1, true},
    {make_rename_inbox, 1, true}, {make_account, 2, false},    {make_fetch, 8, false},
    {make_open, 8, false},        {make_body, 5, false},       {make_list, 3, false},
};

static size_t choose_kind(struct sim *sim)
{
    unsigned total = 0, at;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        total += kinds[i].weight;
    at = sim_below(sim, total);
    for (size_t i = 0;; i++) {
        if (at < kinds[i].weight)
            return i;
        at -= kinds[i].weight;
    }
}

/* ---- Mailboxes of more messages than one entry may touch ---- */

#define BULK_FIRST 100
#define BULK_ENOUGH 5200

static void bulk_append(struct mail_op *op, const struct model_mailbox *mailbox)
{
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    Chasqui__Mail__NewMessage *messages[BULK_FIRST];
    struct cq_buf raw;
    cq_buf_init(&raw, 16u << 20);
    append.mailbox = mailbox->id;
    append.messages = messages;
    append.n_messages = BULK_FIRST;
    for (size_t i = 0; i < BULK_FIRST; i++)
        messages[i] = new_message(op, &raw);
    op->method = CHASQUI__MAIL__METHOD__APPEND;
    op->body = mail_pack_to(op->pool, &append.base);
    op->raw = cq_pool_slice(op->pool, cq_buf_slice(&raw));
    cq_buf_fini(&raw);
}

static void bulk_copy(struct mail_op *op, const struct model_mailbox *from, const struct model_mailbox *to, bool move)
{
    Chasqui__Mail__Copy copy = CHASQUI__MAIL__COPY__INIT;
    uint32_t all[] = {1, UINT32_MAX};
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    set.ranges = all;
    set.n_ranges = 2;
    copy.from = from->id;
    copy.to = to->id;
    copy.uids = &set;
    op->method = move ? CHASQUI__MAIL__METHOD__MOVE : CHASQUI__MAIL__METHOD__COPY;
    op->body = mail_pack_to(op->pool, &copy.base);
}

/* Fills one mailbox by copying it into itself, then moves it to the other and back, and copies it once or twice. */
static void make_bulk(struct mail_op *op)
{
    struct sim *sim = op->client->mail->sim;
    const struct model_mailbox *big = &op->account->mailboxes[4], *other = &op->account->mailboxes[5];
    op->client->bulk--;
    if (big->count < other->count) {
        const struct model_mailbox *swap = big;
        big = other;
        other = swap;
    }
    if (big->count < BULK_FIRST)
        bulk_append(op, big);
    else if (big->count < BULK_ENOUGH)
        bulk_copy(op, big, big, false);
    else
        bulk_copy(op, big, other, other->count > BULK_FIRST || big->count > 2 * BULK_ENOUGH || sim_below(sim, 4));
}

void mail_op_make(struct mail_op *op, bool staging)
{
    if (!op->measuring && op->client->bulk && op->account == mail_bulk_account(op->client->mail)) {
        op->command = true;
        make_bulk(op);
        return;
    }
    size_t kind = choose_kind(op->client->mail->sim);
    op->command = !op->measuring && (staging || kinds[kind].command);
    (op->measuring ? make_account : staging ? make_stage : kinds[kind].make)(op);
}
