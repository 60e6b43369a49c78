/* What the files of frontend/smtp share: one session, its transaction, its commands. */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "core/front_delivery.h"
#include "core/front_pump.h"
#include "smtp/smtp_command.h"
#include "smtp/smtp_service.h"

/* clang-format off */
#define SMTP_SESSION_LIMITS(X)                                                                                         \
    X(SMTP_JUNK_BEFORE_LOGIN, 3, "commands", "Unknown commands before a log-in (submission, LMTP)",                    \
      "421 4.7.0 to the last of them, closed")                                                                         \
    X(SMTP_JUNK_MAX, 20, "commands", "Unknown commands otherwise", "421 4.7.0 to the last of them, closed")            \
    X(SMTP_ERRORS_MAX, 100, "commands", "Refused commands of one session", "421 4.7.0, closed")                        \
    X(SMTP_TARGETS_MAX, 1000, "accounts", "Accounts behind the recipients of a transaction", "452 4.5.3")              \
    X(SMTP_INPUT_IDLE, 16 << 10, "bytes", "Unread input between messages", "reading stops")                            \
    X(SMTP_INPUT_MAX, 64 << 10, "bytes", "Unread input while a message arrives", "reading stops")                      \
    X(SMTP_DATA_IDLE_MS, 180000, "ms", "Between two blocks of data (RFC 5321 4.5.3.2.5)", "421 4.4.2, closed")
/* clang-format on */
CQ_LIMITS_ENUM(SMTP_SESSION_LIMITS);

/* Code, enhanced code (RFC 3463; NULL: none) and text of one reply line. */
struct smtp_reply {
    unsigned code;
    const char *enhanced;
    const char *text;
};

struct smtp_recipient {
    struct cq_slice text; /* as the client wrote it, without brackets */
    struct cq_slice canonical;
    size_t first, count; /* its targets in the transaction's list (LMTP answers per recipient) */
};

/* One mail transaction (RFC 5321 3.3): from MAIL to the end of DATA. All memory is its pool's. */
struct smtp_transaction {
    struct cq_pool *pool; /* NULL: none is open */
    struct smtp_mail mail;
    struct cq_slice from; /* text of the path */
    struct smtp_recipient *recipients;
    size_t recipient_count, recipient_cap;
    struct front_target *targets;
    size_t target_count, target_cap;
    bool open;     /* MAIL was accepted */
    unsigned code; /* of the best answer to DATA; 0: none yet */
    char message_id[FRONT_SESSION_ID_SIZE];
};

struct smtp_session {
    struct front_pump pump;
    const struct smtp_service *service;
    struct smtp_transaction transaction;
    const struct smtp_verb *verb;   /* of the command that runs; NULL: none */
    struct cq_slice concerning;     /* the recipient that the next answer is about; in the transaction's pool */
    unsigned code;                  /* of the last answer to it; 0: none, or a positive one */
    uint64_t message_size;          /* octets of the message that DATA brought */
    char helo[SMTP_DOMAIN_MAX + 1]; /* "" before EHLO, HELO or LHLO */
    bool esmtp;
    unsigned junk, errors;
};

/* A command: `check` answers without changing anything (NULL: nothing to check; a reply with code 0: go on), `proceed`
 * acts and answers. Both on a fiber. */
enum smtp_command_flag {
    SMTP_NEEDS_HELO = 1,
    SMTP_NEEDS_MAIL = 2,
    SMTP_NEEDS_RCPT = 4,
    SMTP_NEEDS_AUTH = 8, /* at submission */
    SMTP_NO_ARGUMENT = 16,
    SMTP_NO_TRANSACTION = 32, /* not while one is open */
};
struct smtp_verb {
    const char *name;
    const char *stage; /* for whom a refusal of it refuses mail: its name in message.rejected; NULL: nobody */
    unsigned kinds;    /* bits 1 << enum smtp_kind */
    unsigned flags;
    struct smtp_reply (*check)(struct smtp_session *session, struct cq_slice rest);
    void (*proceed)(struct smtp_session *session, struct cq_slice rest);
};
extern const struct smtp_verb smtp_verbs[];
extern const size_t smtp_verb_count;

#define SMTP_GO_ON ((struct smtp_reply){0, NULL, NULL})

void smtp_say(struct smtp_session *session, unsigned code, const char *enhanced, const char *text);
void smtp_answer(struct smtp_session *session, struct smtp_reply reply);

bool smtp_is_tls(const struct smtp_session *session);
bool smtp_may_auth(const struct smtp_session *session); /* AUTH is offered here and now */

void smtp_transaction_begin(struct smtp_session *session);
void smtp_transaction_end(struct smtp_session *session); /* RSET, and after every transaction */

/* The commands, one a file. */
struct smtp_reply smtp_cmd_hello_check(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_ehlo(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_helo(struct smtp_session *session, struct cq_slice rest);
struct smtp_reply smtp_cmd_starttls_check(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_starttls(struct smtp_session *session, struct cq_slice rest);
struct smtp_reply smtp_cmd_auth_check(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_auth(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_mail(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_rcpt(struct smtp_session *session, struct cq_slice rest);
void smtp_cmd_data(struct smtp_session *session, struct cq_slice rest);

/* Tells the outside of a negative answer to the command that runs (message.rejected), when its row has a stage. */
void smtp_tell_refusal(struct smtp_session *session, const struct smtp_reply *reply);

/* Why, in one word; the map from enhanced status codes is smtp_refusal.c's alone. */
const char *smtp_refusal_reason(const struct smtp_verb *verb, const struct smtp_reply *reply);

/* What a result code of the shard means to an SMTP client. */
struct smtp_reply smtp_reply_for(enum cq_rc rc);

#endif
