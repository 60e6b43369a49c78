#include "core/front_metrics.h"

#include "base/cq_assert.h"
#include "imap/imap_command.h"

#include <string.h>

static const char *const protocols[] = {
#define PROTOCOL_NAME(name, text) text,
    FRONT_PROTOCOLS(PROTOCOL_NAME)
#undef PROTOCOL_NAME
};

const char *front_protocol_name(enum front_protocol protocol)
{
    return protocols[protocol];
}

static const char *const limits[] = {
#define LIMIT_NAME(limit, name, key) name,
    FRONT_LIMITS(LIMIT_NAME)
#undef LIMIT_NAME
};

const char *front_limit_name(enum front_limit limit)
{
    return limits[limit];
}

const char *front_limit_key(enum front_limit limit)
{
    static const char *const keys[] = {
#define LIMIT_KEY(limit, name, key) key,
        FRONT_LIMITS(LIMIT_KEY)
#undef LIMIT_KEY
    };
    return keys[limit];
}

/* ---- Labels ---- */

#define IMAP_LABEL(symbol, name) "imap," name,
#define POP3_LABEL(name) "pop3," name,
#define SMTP_LABEL(name) "smtp," name,
#define SUBMISSION_LABEL(name) "submission," name,
#define LMTP_LABEL(name) "lmtp," name,
static const char *const commands[] = {
    IMAP_VERBS(IMAP_LABEL) "imap,unknown",          FRONT_POP3_COMMANDS(POP3_LABEL) "pop3,unknown",
    FRONT_SMTP_COMMANDS(SMTP_LABEL) "smtp,unknown", FRONT_SMTP_COMMANDS(SUBMISSION_LABEL) "submission,unknown",
    FRONT_SMTP_COMMANDS(LMTP_LABEL) "lmtp,unknown",
};

#define ONE(name) +1
enum { POP3_COUNT = 0 FRONT_POP3_COMMANDS(ONE), SMTP_COUNT = 0 FRONT_SMTP_COMMANDS(ONE) };

/* Where a protocol's commands begin in the list, and how many there are before its "unknown". */
static const struct {
    unsigned first, count;
} places[FRONT_PROTOCOL_COUNT] = {
    [FRONT_IMAP] = {0, IMAP_VERB_COUNT},
    [FRONT_POP3] = {IMAP_VERB_COUNT + 1, POP3_COUNT},
    [FRONT_SMTP] = {IMAP_VERB_COUNT + POP3_COUNT + 2, SMTP_COUNT},
    [FRONT_SUBMISSION] = {IMAP_VERB_COUNT + POP3_COUNT + SMTP_COUNT + 3, SMTP_COUNT},
    [FRONT_LMTP] = {IMAP_VERB_COUNT + POP3_COUNT + 2 * SMTP_COUNT + 4, SMTP_COUNT},
};

static const char *const tls[] = {"none", "implicit"};
static const char *const states[] = {"preauth", "auth"};
static const char *const refusals[] = {"limit", "ratelimit", "overload"};
static const char *const directions[] = {"in", "out"};
static const char *const results[] = {"ok", "no", "bad"};
static const char *const mechanisms[] = {"LOGIN", "PLAIN", "PASS", "other"};
#define REASON_LABEL(name, label) label,
static const char *const auth_reasons[] = {FRONT_AUTH_REASONS(REASON_LABEL)};
static const char *const actions[] = {"refused"};
static const char *const mail_protocols[] = {"smtp", "submission", "lmtp"};
static const char *const outcomes[] = {"accepted", "deferred", "rejected", "aborted"};
static const char *const recipients[] = {
    "accepted,ok",
    "rejected,unknown_user",
    "rejected,relay_denied",
    "rejected,mailbox_disabled",
    "rejected,malformed_address",
    "rejected,other",
    "deferred,too_many_recipients",
    "deferred,unavailable",
    "deferred,other",
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
_Static_assert(COUNT(commands) == IMAP_VERB_COUNT + POP3_COUNT + 3 * SMTP_COUNT + 5, "places[] fits commands[]");

static const struct cq_metric rows[] = {
    [FRONT_M_CONNECTIONS] = CQ_COUNTER("chasqui_connections_total", "Connections of clients that became sessions",
                                       CQ_LABEL("protocol", protocols), CQ_LABEL("tls", tls)),
    [FRONT_M_LIVE] = CQ_GAUGE("chasqui_connections", "Sessions, before and after their log-in",
                              CQ_LABEL("protocol", protocols), CQ_LABEL("state", states)),
    [FRONT_M_REJECTED] = CQ_COUNTER("chasqui_connections_rejected_total", "Connections that were turned away",
                                    CQ_LABEL("protocol", protocols), CQ_LABEL("reason", refusals)),
    [FRONT_M_DURATION] = CQ_HISTOGRAM("chasqui_connection_duration_seconds", "Length of sessions", CQ_BUCKETS_DURATION,
                                      CQ_LABEL("protocol", protocols)),
    [FRONT_M_BYTES] = CQ_COUNTER("chasqui_bytes_total", "Octets of sessions that have ended, without TLS",
                                 CQ_LABEL("protocol", protocols), CQ_LABEL("direction", directions)),
    [FRONT_M_COMMANDS] = CQ_COUNTER("chasqui_commands_total", "Commands that ended",
                                    CQ_LABEL("protocol,command", commands), CQ_LABEL("result", results)),
    [FRONT_M_COMMAND_DURATION] =
        CQ_HISTOGRAM("chasqui_command_duration_seconds",
                     "From a whole command to its answer; DATA and APPEND with the arrival of the message",
                     CQ_BUCKETS_LATENCY, CQ_LABEL("protocol,command", commands)),
    [FRONT_M_AUTH] = CQ_COUNTER("chasqui_auth_attempts_total", "Log-ins that ended", CQ_LABEL("protocol", protocols),
                                CQ_LABEL("mechanism", mechanisms), CQ_LABEL("result,reason", auth_reasons)),
    [FRONT_M_LIMITED] = CQ_COUNTER("chasqui_rate_limited_total", "What was refused: too often, or too many at once",
                                   CQ_LABEL("limit", limits), CQ_LABEL("action", actions)),
    [FRONT_M_REMAINING] =
        CQ_GAUGE("chasqui_drain_connections_remaining", "Sessions that are left while the front-end stops"),
    [FRONT_M_TRANSACTIONS] =
        CQ_COUNTER("chasqui_smtp_transactions_total", "Mail transactions that ended, from an accepted MAIL on",
                   CQ_LABEL("protocol", mail_protocols), CQ_LABEL("result", outcomes)),
    [FRONT_M_RECIPIENTS] =
        CQ_COUNTER("chasqui_smtp_recipients_total", "Answers to RCPT", CQ_LABEL("result,reason", recipients)),
    [FRONT_M_RECEIVED] =
        CQ_COUNTER("chasqui_messages_received_total", "Messages that arrived whole (LMTP: for each recipient)",
                   CQ_LABEL("protocol", mail_protocols), CQ_LABEL("result", outcomes)),
    [FRONT_M_SIZE] = CQ_HISTOGRAM("chasqui_message_size_bytes", "Size of messages that arrived whole", CQ_BUCKETS_SIZE,
                                  CQ_LABEL("direction", mail_protocols)),
    [FRONT_M_COMMIT] =
        CQ_HISTOGRAM("chasqui_accept_to_commit_duration_seconds",
                     "From the last octet of a message to the answer that all its copies are stored", CQ_BUCKETS_IO),
};
struct cq_metrics front_metrics = CQ_METRICS_OF(rows);

/* ---- Counting ---- */

const char *front_command_label(enum front_protocol protocol, unsigned place)
{
    return place <= places[protocol].count ? commands[places[protocol].first + place] : NULL;
}

void front_count_command(enum front_protocol protocol, unsigned place, enum front_m_result result, uint64_t duration_us)
{
    unsigned last = places[protocol].count;
    unsigned label = places[protocol].first + (place < last ? place : last);
    cq_metric_add(&front_metrics, FRONT_M_COMMANDS, 1, label, result);
    cq_metric_observe(&front_metrics, FRONT_M_COMMAND_DURATION, duration_us, label);
}

/* The index of the value whose last part is this word; `otherwise` when there is none. */
static unsigned find(const char *const *values, size_t count, const char *word, unsigned otherwise)
{
    for (size_t i = 0; word && i < count; i++) {
        const char *comma = strchr(values[i], ',');
        if (strcmp(comma ? comma + 1 : values[i], word) == 0)
            return (unsigned)i;
    }
    return otherwise;
}

void front_count_auth(enum front_protocol protocol, const char *mechanism, const char *reason)
{
    cq_metric_add(&front_metrics, FRONT_M_AUTH, 1, protocol,
                  find(mechanisms, COUNT(mechanisms), mechanism, FRONT_M_OTHER),
                  find(auth_reasons, COUNT(auth_reasons), reason, FRONT_AUTH_BACKEND));
}

enum front_m_outcome front_outcome(unsigned code)
{
    static const enum front_m_outcome by_class[] = {FRONT_M_ABORTED,  FRONT_M_ABORTED,  FRONT_M_ACCEPTED,
                                                    FRONT_M_ACCEPTED, FRONT_M_DEFERRED, FRONT_M_REJECTED_MAIL};
    return code < 600 ? by_class[code / 100] : FRONT_M_REJECTED_MAIL;
}

static unsigned mail_label(enum front_protocol protocol)
{
    CQ_ASSERT(protocol >= FRONT_SMTP);
    return protocol - FRONT_SMTP;
}

void front_count_transaction(enum front_protocol protocol, unsigned code)
{
    cq_metric_add(&front_metrics, FRONT_M_TRANSACTIONS, 1, mail_label(protocol), front_outcome(code));
}

void front_count_message(enum front_protocol protocol, unsigned code)
{
    cq_metric_add(&front_metrics, FRONT_M_RECEIVED, 1, mail_label(protocol), front_outcome(code));
}

void front_count_size(enum front_protocol protocol, uint64_t size)
{
    cq_metric_observe(&front_metrics, FRONT_M_SIZE, size, mail_label(protocol));
}

void front_count_recipient(unsigned code, const char *reason)
{
    const char *result = outcomes[front_outcome(code)];
    unsigned other = 0;
    for (unsigned i = 0; i < COUNT(recipients); i++) {
        size_t len = strlen(result);
        if (strncmp(recipients[i], result, len) != 0 || recipients[i][len] != ',')
            continue;
        other = i; /* the last of its class, unless a row has the reason */
        if (reason && strcmp(recipients[i] + len + 1, reason) == 0)
            break;
    }
    cq_metric_add(&front_metrics, FRONT_M_RECIPIENTS, 1, other);
}
