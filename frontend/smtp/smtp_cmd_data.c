/* DATA (RFC 5321 4.1.1.4): takes the message in, then gives each account its copy. The answer is the promise: 250 means
 * that a majority of the replicas of every shard has it. */
#include "smtp/smtp_session.h"

#include "base/cq_log.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "core/front_events.h"
#include "core/front_metrics.h"
#include "mail/mail_check.h"
#include "smtp/smtp_data.h"

#include <stdio.h>
#include <time.h>

#define HEADER_FROM_MAX 16

struct intake {
    struct front_spool spool;
    struct mail_builder *builder;
    struct smtp_data data;
    enum cq_rc refused; /* why the message is read to its end and not kept; CQ_OK: it is kept */
};

static void take(struct intake *in, struct cq_slice piece)
{
    struct cq_err err = {0};
    if (!piece.len || in->refused != CQ_OK)
        return;
    in->refused = front_spool_add(&in->spool, piece, &err);
    if (in->refused != CQ_OK) {
        if (in->refused != CQ_E_TOO_BIG)
            cq_log(CQ_ERROR, "smtp.spool_failed", CQ_F_ERR(&err));
        return;
    }
    mail_builder_feed(in->builder, piece);
}

/* Everything up to the end of the data. CQ_OK, or why the connection has to end. */
static enum cq_rc receive(struct smtp_session *session, struct intake *in)
{
    for (;;) {
        size_t used;
        struct cq_slice piece;
        enum cq_rc rc = smtp_data_next(&in->data, io_conn_input(session->pump.front.conn), &used, &piece);
        take(in, piece);
        io_conn_consume(session->pump.front.conn, used);
        if (rc == CQ_E_EOF)
            return CQ_OK;
        if (rc == CQ_E_AGAIN)
            rc = io_conn_read_more(session->pump.front.conn,
                                   io_loop_deadline(session->pump.front.worker->loop, SMTP_DATA_IDLE_MS));
        if (rc != CQ_OK)
            return rc;
        if (in->refused == CQ_E_TOO_BIG && in->data.size > 2 * session->service->size_max)
            return CQ_E_LIMIT; /* a client that goes on and on is not worth the bandwidth */
    }
}

static struct smtp_reply judge_from(struct smtp_session *session, const struct mail_index *index)
{
    struct cq_slice from[HEADER_FROM_MAX];
    struct cq_err err = {0};
    if (!mail_check_has_from(index))
        return (struct smtp_reply){550, "5.7.1", "The message needs one From field with an address"};
    size_t count = mail_check_addresses(index, MAIL_FIELD_FROM, session->transaction.pool, from, HEADER_FROM_MAX);
    if (count > HEADER_FROM_MAX)
        return (struct smtp_reply){550, "5.7.1", "Too many addresses in From"};
    for (size_t i = 0; i < count; i++) {
        enum cq_rc rc =
            directory_may_send_as(session->pump.front.worker->directory, session->pump.front.account, from[i], &err);
        if (rc == CQ_E_DENIED)
            return (struct smtp_reply){550, "5.7.1", "You may not send as the address in From"};
        if (rc != CQ_OK)
            return (struct smtp_reply){451, "4.3.0", "The directory is unavailable, please try again"};
    }
    return SMTP_GO_ON;
}

static struct smtp_reply judge(struct smtp_session *session, struct intake *in)
{
    if (in->data.bare)
        return (struct smtp_reply){550, "5.5.2", "Bare CR or LF in the message"};
    if (in->data.nul && session->service->kind == SMTP_LMTP)
        return (struct smtp_reply){550, "5.6.0", "NUL in the message"};
    if (in->refused != CQ_OK)
        return in->refused == CQ_E_TOO_BIG ? smtp_reply_for(CQ_E_TOO_BIG) : smtp_reply_for(CQ_E_NO_SPACE);
    const struct mail_index *index = mail_builder_index(in->builder);
    if (mail_index_received(index) > FRONT_RECEIVED_MAX)
        return (struct smtp_reply){554, "5.4.6", "Mail loop: too many Received fields"};
    if (session->service->kind == SMTP_SUBMISSION)
        return judge_from(session, index);
    return SMTP_GO_ON;
}

static void tell_limit(struct smtp_session *session, int64_t clears_at)
{
    int64_t now = (int64_t)(cq_time_wall_us() / CQ_US_PER_S);
    const struct front_limited limited = {
        .limit = FRONT_LIMIT_SENDING,
        .session = &session->pump.front,
        .account = session->pump.front.account,
        .retry_after_s = clears_at > now ? (uint64_t)(clears_at - now) : 0,
    };
    front_event_limited(session->pump.front.worker, &limited);
}

/* The daily counts are exact: raised in the account's own shard before anything is delivered. */
static struct smtp_reply charge(struct smtp_session *session, char *text, size_t size)
{
    struct mailstore_account account = {.id = session->pump.front.account};
    struct cq_err err = {0};
    uint8_t id[16];
    int64_t clears_at = 0;
    if (session->service->kind != SMTP_SUBMISSION)
        return SMTP_GO_ON;
    cq_rand_bytes(id, sizeof id);
    enum cq_rc rc = mailstore_charge_sending(session->pump.front.worker->mailstore, &account,
                                             (uint32_t)session->transaction.recipient_count, id, &clears_at, &err);
    if (rc == CQ_OK)
        return SMTP_GO_ON;
    if (rc != CQ_E_RATE)
        return smtp_reply_for(rc);
    tell_limit(session, clears_at);
    char when[32];
    struct tm tm;
    time_t seconds = (time_t)clears_at;
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(text, size, "Daily sending limit reached; it clears at %s", when);
    return (struct smtp_reply){550, "5.4.5", text};
}

static struct cq_slice with_of(const struct smtp_session *session)
{
    /* RFC 3848 and RFC 6531 4.3 name these. */
    static const char *const names[2][2][2] = {
        {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
        {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
    };
    bool tls = smtp_is_tls(session), auth = session->pump.front.account != 0;
    if (session->service->kind == SMTP_LMTP)
        return tls ? CQ_SLICE("LMTPS") : CQ_SLICE("LMTP");
    if (!session->esmtp)
        return CQ_SLICE("SMTP");
    return cq_slice_cstr(names[session->transaction.mail.smtputf8][tls][auth]);
}

static struct cq_slice tls_of(struct smtp_session *session)
{
    const struct io_tls_info *tls = io_conn_tls(session->pump.front.conn);
    if (!tls)
        return CQ_SLICE_NONE;
    return cq_slice_cstr(cq_pool_printf(session->transaction.pool, "%s cipher %s", tls->version, tls->cipher));
}

static const char *const directions[] = {[SMTP_MX] = "in", [SMTP_SUBMISSION] = "submission", [SMTP_LMTP] = "lmtp"};

static struct front_delivery describe(struct smtp_session *session, const struct intake *in)
{
    struct smtp_transaction *t = &session->transaction;
    bool submission = session->service->kind == SMTP_SUBMISSION;
    int64_t now_us = (int64_t)cq_time_wall_us();
    struct front_delivery d = {
        .session = &session->pump.front,
        .spool = &in->spool,
        .builder = in->builder,
        .envelope_from = t->from,
        .direction = cq_slice_cstr(directions[session->service->kind]),
        .message_id = cq_slice_cstr(t->message_id),
        .ehlo = cq_slice_cstr(session->helo),
        .tls = tls_of(session),
        .recipients = (uint32_t)t->recipient_count,
        .received_time_us = now_us,
        .from_account = session->pump.front.account,
        /* LMTP answers for each recipient, so nothing is sent twice there. */
        .use_keys = t->target_count > 1 && session->service->kind != SMTP_LMTP,
    };
    d.received = (struct mail_received){
        .by = cq_slice_cstr(session->pump.front.worker->hostname),
        .with = with_of(session),
        .tls = d.tls,
        .id = d.message_id,
        .date = {.utc_s = now_us / 1000000},
    };
    /* Where a user sits is nobody's business. */
    if (!submission) {
        d.received.helo = d.ehlo;
        d.received.client_ip = cq_slice_cstr(session->pump.front.peer);
    }
    return d;
}

static bool is_final(enum cq_rc rc)
{
    return smtp_reply_for(rc).code / 100 == 5;
}

/* One answer for all targets: any "later" makes it 451, so that nobody is forgotten; else any refusal is the answer;
 * else it is stored everywhere. */
static struct smtp_reply overall(const struct front_delivery *delivery, const struct smtp_transaction *t)
{
    enum cq_rc worst = CQ_OK;
    for (size_t i = 0; i < t->target_count; i++) {
        enum cq_rc rc = t->targets[i].rc;
        if (rc != CQ_OK && (worst == CQ_OK || is_final(worst)))
            worst = rc;
    }
    if (worst != CQ_OK && !is_final(worst))
        front_delivery_keep_keys(delivery, t->targets, t->target_count);
    return smtp_reply_for(worst);
}

/* An answer is about one recipient: to LMTP always, to SMTP when there is no other. */
static void concern(struct smtp_session *session, size_t recipient)
{
    const struct smtp_transaction *t = &session->transaction;
    bool one = session->service->kind == SMTP_LMTP || t->recipient_count == 1;
    session->concerning = one && recipient < t->recipient_count ? t->recipients[recipient].text : CQ_SLICE_NONE;
}

/* The best answer is the transaction's. */
static void answer(struct smtp_session *session, size_t recipient, struct smtp_reply reply)
{
    struct smtp_transaction *t = &session->transaction;
    if (!t->code || reply.code < t->code)
        t->code = reply.code;
    front_count_message(session->pump.front.protocol, reply.code);
    concern(session, recipient);
    smtp_answer(session, reply);
}

/* RFC 2033 4.2: one answer per recipient, in the order of RCPT. */
static void answer_each(struct smtp_session *session)
{
    const struct smtp_transaction *t = &session->transaction;
    for (size_t i = 0; i < t->recipient_count; i++) {
        enum cq_rc rc = CQ_OK;
        for (size_t k = 0; k < t->recipients[i].count; k++)
            if (t->targets[t->recipients[i].first + k].rc != CQ_OK)
                rc = t->targets[t->recipients[i].first + k].rc;
        answer(session, i, smtp_reply_for(rc));
    }
}

static void deliver_all(struct smtp_session *session, const struct intake *in)
{
    struct smtp_transaction *t = &session->transaction;
    struct front_delivery delivery = describe(session, in);
    size_t stored = 0;
    for (size_t i = 0; i < t->target_count; i++) {
        front_deliver(&delivery, &t->targets[i]);
        stored += t->targets[i].rc == CQ_OK;
    }
    cq_log(CQ_INFO, "smtp.message", CQ_F_STR("session", session->pump.front.id), CQ_F_STR("message_id", t->message_id),
           CQ_F_U64("size_bytes", in->spool.size), CQ_F_U64("recipients", t->recipient_count),
           CQ_F_U64("stored", stored), CQ_F_U64("targets", t->target_count));
    if (session->service->kind == SMTP_LMTP) {
        answer_each(session);
    } else {
        answer(session, 0, overall(&delivery, t));
    }
}

/* A refusal of the whole message: to SMTP once, to LMTP for each recipient. */
static void refuse(struct smtp_session *session, struct smtp_reply reply)
{
    size_t times = session->service->kind == SMTP_LMTP ? session->transaction.recipient_count : 1;
    for (size_t i = 0; i < times; i++) {
        answer(session, i, reply);
    }
}

static void conclude(struct smtp_session *session, struct intake *in)
{
    uint64_t arrived_us = cq_time_mono_us();
    char text[96];
    mail_builder_finish(in->builder);
    session->message_size = in->data.size;
    front_count_size(session->pump.front.protocol, in->data.size);
    struct smtp_reply reply = judge(session, in);
    if (!reply.code)
        reply = charge(session, text, sizeof text);
    if (reply.code)
        refuse(session, reply);
    else
        deliver_all(session, in);
    if (session->transaction.code == 250)
        cq_metric_observe(&front_metrics, FRONT_M_COMMIT, cq_time_mono_us() - arrived_us);
    if (in->data.bare)
        session->pump.closing = true; /* whoever sends that may try to smuggle */
}

void smtp_cmd_data(struct smtp_session *session, struct cq_slice rest)
{
    struct intake in = {.builder = mail_builder_new(NULL), .refused = CQ_OK};
    (void)rest;
    front_spool_init(&in.spool, session->pump.front.worker->spool_folder, session->service->size_max);
    smtp_data_init(&in.data);
    io_conn_set_input_max(session->pump.front.conn, SMTP_INPUT_MAX);
    smtp_say(session, 354, NULL, "End with CRLF.CRLF");
    enum cq_rc rc = receive(session, &in);
    if (rc == CQ_OK) {
        conclude(session, &in);
    } else {
        smtp_say(session, 421, "4.4.2", "The message did not arrive whole");
        session->pump.closing = true;
    }
    io_conn_set_input_max(session->pump.front.conn, SMTP_INPUT_IDLE);
    front_spool_fini(&in.spool);
    mail_builder_free(&in.builder);
    smtp_transaction_end(session);
}
