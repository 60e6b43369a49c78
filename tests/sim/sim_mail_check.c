#include "sim_mail.h"

#include "base/cq_assert.h"
#include "base/cq_hash.h"
#include "mailstore/fetch_record.h"
#include "state/mail_machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct look {
    struct mail *mail;
    struct sim_node *node;
    const struct mail_op *op;
    const struct mail_read_result *result;
    struct cq_pool *pool;
    struct model_was was; /* what it must show */
};

#define differs(look, ...)                                                                                             \
    do {                                                                                                               \
        char what_[240];                                                                                               \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                                    \
        sim_fail((look)->mail->sim,                                                                                    \
                 "n%u at index %" PRIu64 " of group %u, account %016" PRIx64 " mailbox %" PRIu64 ": %s",               \
                 (look)->node->index, (look)->result->index, (look)->op->account->group + 1, (look)->op->account->id,  \
                 (look)->op->mailbox, what_);                                                                          \
    } while (0)

static const void *unpack(struct look *look, const ProtobufCMessageDescriptor *type)
{
    ProtobufCAllocator allocator = mail_pool_allocator(look->pool);
    struct cq_slice bytes = cq_buf_slice(&look->result->answer);
    const Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(&allocator, bytes.len, bytes.data);
    CQ_ASSERT(answer);
    const void *reply = protobuf_c_message_unpack(type, &allocator, answer->body.len, answer->body.data);
    CQ_ASSERT(reply);
    return reply;
}

static void check_open(struct look *look)
{
    const Chasqui__Mail__OpenMailboxReply *reply = unpack(look, &chasqui__mail__open_mailbox_reply__descriptor);
    uint64_t sum = 0;
    uint32_t count = 0;
    for (size_t r = 0; reply->uids && r + 1 < reply->uids->n_ranges; r += 2) {
        for (uint64_t uid = reply->uids->ranges[r]; uid <= reply->uids->ranges[r + 1]; uid++, count++)
            sum += model_uid_hash((uint32_t)uid);
    }
    if (count != look->was.count || sum != look->was.uid_sum || reply->mailbox->messages != count)
        differs(look, "OPEN shows %u messages, there were %u", count, look->was.count);
    if (reply->mailbox->uidnext != look->was.uidnext)
        differs(look, "UIDNEXT is %u, it was %u", reply->mailbox->uidnext, look->was.uidnext);
}

static void check_fetch(struct look *look)
{
    const Chasqui__Mail__FetchReply *reply = unpack(look, &chasqui__mail__fetch_reply__descriptor);
    struct cq_slice bytes = cq_buf_slice(&look->result->raw);
    struct fetch_record record;
    uint64_t sum = 0;
    uint32_t count = 0, last = 0;
    while (fetch_record_next(&bytes, &record) == CQ_OK) {
        int keywords = model_keyword_bits(record.keywords, reply->keywords, reply->n_keywords);
        if (keywords < 0)
            differs(look, "UID %u has a keyword that nobody gave", record.uid);
        if (record.uid <= last)
            differs(look, "UID %u comes after %u", record.uid, last);
        sum += model_message_hash(record.uid, record.flags, (uint8_t)keywords, record.email);
        last = record.uid;
        count++;
    }
    if (reply->next_uid) /* a batch of a large mailbox: OPEN compares all of it */
        return;
    if (count != look->was.count || sum != look->was.sum || bytes.len)
        differs(look, "FETCH shows %u messages, there were %u, or others, or with other flags", count, look->was.count);
}

static void check_list(struct look *look)
{
    const Chasqui__Mail__MailboxList *list = unpack(look, &chasqui__mail__mailbox_list__descriptor);
    uint64_t sum = 0;
    for (size_t i = 0; i < list->n_mailboxes; i++)
        sum += model_name_hash(list->mailboxes[i]->name, list->mailboxes[i]->id, list->mailboxes[i]->uidvalidity);
    if (sum != look->was.sum)
        differs(look, "LIST shows %zu mailboxes, but not those that there were", list->n_mailboxes);
}

static void check_octets(struct look *look)
{
    uint8_t *want = cq_pool_alloc(look->pool, look->op->size);
    model_body(look->op->token, look->op->size, want);
    if (!cq_slice_eq(cq_buf_slice(&look->result->raw), cq_slice_of(want, look->op->size)))
        differs(look, "the body of email %" PRIu64 " is not what was stored", look->op->email);
}

/* Was a message with this email there at the index? The history has only sums; what is certain: it is there now. */
static bool email_lives(const struct look *look)
{
    const struct model_account *account = look->op->account;
    for (size_t i = 0; i < account->mailbox_count; i++) {
        const struct model_mailbox *mailbox = &account->mailboxes[i];
        for (size_t j = 0; mailbox->live && j < mailbox->count; j++) {
            if (mailbox->messages[j].email == look->op->email)
                return true;
        }
    }
    return false;
}

static void check_body(struct look *look)
{
    if (look->result->rc == CQ_OK)
        check_octets(look);
    else if (look->result->rc != CQ_E_NOT_FOUND)
        differs(look, "READ_BODY fails: %s", cq_rc_name(look->result->rc));
    else if (email_lives(look))
        differs(look, "email %" PRIu64 " is not found", look->op->email);
}

static void check_account(struct look *look)
{
    const Chasqui__Mail__AccountReply *reply = unpack(look, &chasqui__mail__account_reply__descriptor);
    struct model_was was = model_at(&look->op->account->usage, look->result->index);
    if (look->result->rc != CQ_OK || reply->used_bytes != was.sum || reply->used_messages != was.count)
        differs(look, "%s: %" PRIu64 " bytes and %" PRIu64 " messages are in use, not %" PRIu64 " and %u",
                cq_rc_name(look->result->rc), reply->used_bytes, reply->used_messages, was.sum, was.count);
}

static void check_mailbox_read(struct look *look, void (*check)(struct look *look))
{
    const struct model_mailbox *mailbox = model_mailbox(look->op->account, look->op->mailbox);
    look->was = mailbox ? model_at(&mailbox->history, look->result->index) : (struct model_was){0};
    enum cq_rc want = look->was.live ? CQ_OK : CQ_E_NO_MAILBOX;
    if (look->result->rc != want)
        differs(look, "%s, but %s was due", cq_rc_name(look->result->rc), cq_rc_name(want));
    else if (want == CQ_OK)
        check(look);
}

void mail_check_read(struct mail *mail, struct sim_node *node, const struct mail_op *op,
                     const struct mail_read_result *result)
{
    struct look look = {.mail = mail, .node = node, .op = op, .result = result, .pool = cq_pool_new(4096)};
    if (op->account->deleted_at && result->index >= op->account->deleted_at) {
        if (result->rc != CQ_E_NO_ACCOUNT)
            differs(&look, "read %u of a deleted account: %s", op->method, cq_rc_name(result->rc));
        cq_pool_free(&look.pool);
        return;
    }
    switch (op->method) {
    case CHASQUI__MAIL__METHOD__GET_ACCOUNT:
        check_account(&look);
        break;
    case CHASQUI__MAIL__METHOD__OPEN_MAILBOX:
        check_mailbox_read(&look, check_open);
        break;
    case CHASQUI__MAIL__METHOD__FETCH:
        check_mailbox_read(&look, check_fetch);
        break;
    case CHASQUI__MAIL__METHOD__LIST_MAILBOXES:
        look.was = model_at(&op->account->list, result->index);
        check_list(&look);
        break;
    case CHASQUI__MAIL__METHOD__READ_BODY:
        check_body(&look);
        break;
    default:
        if (result->rc != CQ_OK)
            differs(&look, "read %u fails: %s", op->method, cq_rc_name(result->rc));
    }
    cq_pool_free(&look.pool);
}

/* ---- At the end ---- */

static void look_at(struct mail *mail, struct sim_node *node, struct mail_op *op, const ProtobufCMessage *body)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    struct mail_read_result result;
    if (body) {
        op->body = mail_pack_to(op->pool, body);
        call.body = (ProtobufCBinaryData){op->body.len, (uint8_t *)(uintptr_t)op->body.data};
    }
    mail_read_run(mail, node, op, mail_pack_to(op->pool, &call.base), &result);
    mail_check_read(mail, node, op, &result);
    cq_buf_fini(&result.answer);
    cq_buf_fini(&result.raw);
}

static void look_at_bodies(struct mail *mail, struct sim_node *node, struct mail_op *op,
                           const struct model_mailbox *mailbox)
{
    op->method = CHASQUI__MAIL__METHOD__READ_BODY;
    size_t step = 1 + mailbox->count / 500;
    for (size_t i = 0; i < mailbox->count && !mail->sim->failures; i += step) {
        Chasqui__Mail__ReadBody read = CHASQUI__MAIL__READ_BODY__INIT;
        read.email = op->email = mailbox->messages[i].email;
        read.length = op->size = mailbox->messages[i].size;
        op->token = mailbox->messages[i].token;
        look_at(mail, node, op, &read.base);
        cq_pool_clear(op->pool);
    }
}

static void look_at_mailbox(struct mail *mail, struct sim_node *node, struct mail_op *op,
                            const struct model_mailbox *mailbox)
{
    uint32_t all[] = {1, UINT32_MAX};
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    Chasqui__Mail__Fetch fetch = CHASQUI__MAIL__FETCH__INIT;
    Chasqui__Mail__OpenMailbox open = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    set.ranges = all;
    set.n_ranges = 2;
    fetch.mailbox = open.mailbox = op->mailbox = mailbox->id;
    fetch.uids = &set;
    op->method = CHASQUI__MAIL__METHOD__FETCH;
    look_at(mail, node, op, &fetch.base);
    op->method = CHASQUI__MAIL__METHOD__OPEN_MAILBOX;
    look_at(mail, node, op, &open.base);
    if (mailbox->live)
        look_at_bodies(mail, node, op, mailbox);
}

static void look_at_account(struct mail *mail, struct sim_node *node, struct model_account *account)
{
    struct mail_op op = {.account = account, .pool = cq_pool_new(4096)};
    op.method = CHASQUI__MAIL__METHOD__GET_ACCOUNT;
    look_at(mail, node, &op, NULL);
    op.method = CHASQUI__MAIL__METHOD__LIST_MAILBOXES;
    look_at(mail, node, &op, NULL);
    for (size_t i = 0; i < account->mailbox_count && !mail->sim->failures; i++)
        look_at_mailbox(mail, node, &op, &account->mailboxes[i]);
    cq_pool_free(&op.pool);
}

/* The digest that apply keeps is the digest of what is there. */
static void verify_digest(struct mail *mail, struct sim_node *node, unsigned g)
{
    uint64_t records;
    struct cq_err err = {0};
    if (mail_machine_verify(node->groups[g].machine, &records, &err) != CQ_OK)
        sim_fail(mail->sim, "n%u: group %u: %s", node->index, g + 1, err.text);
}

void mail_check_end(struct mail *mail)
{
    struct sim *sim = mail->sim;
    sim_check_end(sim);
    for (unsigned i = 0; i < sim->options.nodes && !sim->failures; i++) {
        for (unsigned g = 0; g < sim->options.groups; g++)
            if (sim->nodes[i]->groups[g].machine)
                verify_digest(mail, sim->nodes[i], g);
        for (size_t a = 0; a < mail->model.account_count && !sim->failures; a++)
            if (sim->nodes[i]->groups[mail->model.accounts[a].group].machine)
                look_at_account(mail, sim->nodes[i], &mail->model.accounts[a]);
    }
    mail_watchers_end(mail);
}
