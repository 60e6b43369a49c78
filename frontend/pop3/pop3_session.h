/* What the files of frontend/pop3 share. The maildrop is a list made at log-in: what arrives later is for the next
 * session, what others expunge meanwhile is missed by RETR alone. There is no lock; DELE takes effect at QUIT. */
#ifndef POP3_SESSION_H
#define POP3_SESSION_H

#include "core/front_pump.h"
#include "pop3/pop3_command.h"
#include "pop3/pop3_service.h"

/* clang-format off */
#define POP3_SESSION_LIMITS(X)                                                                                         \
    X(POP3_JUNK_BEFORE_LOGIN, 3, "commands", "Unknown commands before log-in", "-ERR to the last of them, closed")     \
    X(POP3_JUNK_MAX, 20, "commands", "Unknown commands after it", "-ERR to the last of them, closed")                  \
    X(POP3_INPUT_MAX, 16 << 10, "bytes", "Unread input", "reading stops")                                              \
    X(POP3_MAILDROP_MAX, 1000000, "messages", "Messages of a maildrop",                                                \
      "those with higher UIDs are left for later sessions")
/* clang-format on */
CQ_LIMITS_ENUM(POP3_SESSION_LIMITS);

struct pop3_message {
    uint32_t uid;
    uint32_t size;
    uint64_t email;
    bool deleted; /* by DELE in this session */
};

struct pop3_session {
    struct front_pump pump;
    const struct pop3_service *service;
    struct mailstore_account account;
    uint64_t mailbox; /* of INBOX */
    uint32_t uidvalidity;
    struct pop3_message *messages; /* heap; NULL before log-in */
    size_t count;
    char user[DIR_INPUT_MAX + 1]; /* of USER; "" before */
    unsigned junk;
    bool refused; /* the command that runs was answered with -ERR */
};

enum pop3_state { POP3_AUTHORIZATION = 1, POP3_TRANSACTION = 2 };
enum pop3_flag { POP3_NO_ARGUMENT = 1 };
struct pop3_verb {
    const char *name;
    unsigned states; /* sum of enum pop3_state */
    unsigned flags;
    void (*run)(struct pop3_session *session, struct cq_slice rest);
};
extern const struct pop3_verb pop3_verbs[];
extern const size_t pop3_verb_count;

/* One line. "-ERR" is counted against the command that runs. */
void pop3_say(struct pop3_session *session, const char *line);
/* "-ERR [code] text"; the map from result codes is here alone. */
void pop3_say_error(struct pop3_session *session, enum cq_rc rc);
/* The message of "n" that is there and not deleted, or NULL after an error answer. */
struct pop3_message *pop3_find(struct pop3_session *session, struct cq_slice number);
bool pop3_may_auth(const struct pop3_session *session);

void pop3_cmd_capa(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_user(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_pass(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_auth(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_stls(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_stat(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_list(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_uidl(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_retr(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_top(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_dele(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_rset(struct pop3_session *session, struct cq_slice rest);
void pop3_cmd_quit(struct pop3_session *session, struct cq_slice rest);

#endif
