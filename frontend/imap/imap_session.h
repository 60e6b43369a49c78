/* What the files of frontend/imap share: the session, a running command, and the table of commands.
 *
 * A session that waits holds no fiber, no pool and no output buffer. While a command runs (struct imap_run) input is
 * paused, so commands run one after the other in the client's order: RFC 3501 5.5 leaves nothing ambiguous then. */
#ifndef IMAP_SESSION_H
#define IMAP_SESSION_H

#include "base/cq_list.h"
#include "imap/imap_command.h"
#include "imap/imap_reader.h"
#include "imap/imap_service.h"
#include "imap/imap_view.h"
#include "io/io_fiber.h"

enum imap_state { IMAP_NOT_AUTHENTICATED = 1, IMAP_AUTHENTICATED = 2, IMAP_SELECTED = 4 };
#define IMAP_LOGGED_IN (IMAP_AUTHENTICATED | IMAP_SELECTED)
#define IMAP_ANY (IMAP_NOT_AUTHENTICATED | IMAP_LOGGED_IN)

#define IMAP_CLIENT_NAME_MAX 64

struct imap_idle {
    bool on;
    bool failed; /* the store did not answer: the timer tries again */
    struct cq_buf tag;
    struct mailstore_watcher *watcher;
};

struct front_ahead;

struct imap_session {
    struct imap_service *service;
    struct cq_list link;
    struct io_conn *conn;
    const char *id;
    void *host;
    struct imap_reader reader;
    enum imap_read event; /* what the fiber is to handle */
    struct io_timer timer;
    struct io_fiber_ref fiber;
    enum imap_state state;
    struct mailstore_account account;
    struct imap_view *view;   /* the selected mailbox, NULL when there is none */
    struct cq_list unclaimed; /* in the service's list while messages of the view are yet to be claimed as \Recent */
    struct imap_idle idle;
    uint64_t started_us; /* loop's clock */
    unsigned junk, login_failures;
    uint32_t commands;               /* that have ended */
    bool condstore;                  /* enabled (RFC 7162 3.1) */
    bool running;                    /* a fiber works for this session */
    bool news;                       /* ... or is to tell an idling client what has changed */
    bool handshake;                  /* input belongs to TLS */
    bool closing;                    /* what is written goes out, then the end */
    bool closed;                     /* the connection has gone */
    bool ending;                     /* the host wants it to end */
    enum imap_end end;               /* ... why */
    const char *bye_code, *bye_text; /* constants: the last words, after the present command's answer; NULL: none */
    char client[IMAP_CLIENT_NAME_MAX + 1];
};

struct imap_service {
    struct io_loop *loop;
    struct mailstore *store;
    const struct imap_config *config;
    struct io_tls *starttls;
    const struct imap_host_ops *ops;
    struct cq_list sessions;
    struct cq_list unclaimed; /* of sessions (imap_recent.c) */
    size_t session_count;
    size_t *ahead_octets; /* of the worker: asked for ahead by all sessions */
};

/* ---- A running command ---- */

enum imap_result { IMAP_RESULT_OK, IMAP_RESULT_NO, IMAP_RESULT_BAD };

/* Flags of some messages that the client has been told in this command: the change feed need not repeat them. */
struct imap_told {
    struct uidset uids;
    uint64_t upto; /* modseq */
};

struct imap_run {
    struct imap_session *session;
    struct cq_pool *pool; /* of this command */
    struct imap_command command;
    const struct imap_verb_row *row;
    struct cq_buf out;
    struct imap_told told;
    bool start_tls;
    struct front_ahead *ahead; /* in FETCH of octets, else NULL */
    uint32_t ahead_uid;        /* all pieces of this message and those before it were asked for ahead */
    struct cq_slice following; /* records behind the present one (imap_each_record) */
    uint64_t turn_us;          /* when the fiber last let others run (see imap_breathe) */
    /* The tagged answer; text NULL: "<verb> completed". */
    enum imap_result result;
    const char *code; /* without brackets; NULL: none */
    const char *text;
    bool silent; /* there is no tagged answer now (IDLE) */
};

enum imap_verb_flag {
    IMAP_V_TLS = 1,     /* carries a password: only under TLS (LOGINDISABLED) */
    IMAP_V_WRITE = 2,   /* changes the selected mailbox: not in EXAMINE */
    IMAP_V_SYNC = 4,    /* always asks for changes at its end */
    IMAP_V_NUMBERS = 8, /* answers by sequence number: no EXPUNGE until it has ended (RFC 3501 7.4.1) */
    IMAP_V_LEAVES = 16  /* ends or changes the selection: no changes are told at its end */
};

typedef void imap_handler_fn(struct imap_run *run);

struct imap_verb_row {
    unsigned states; /* sum of enum imap_state */
    unsigned flags;  /* sum of enum imap_verb_flag */
    imap_handler_fn *handle;
};
extern const struct imap_verb_row imap_verb_rows[IMAP_VERB_COUNT];

/* On the session's fiber: handles session->event. */
void imap_dispatch(struct imap_session *session);
/* On the session's fiber: tells an idling client what has changed. */
void imap_idle_update(struct imap_session *session);

void imap_run_init(struct imap_run *run, struct imap_session *session);
void imap_run_fini(struct imap_run *run);

/* ---- Session ---- */

/* Says "* BYE ..." (after the present command's answer) and closes. Constants; `code` may be NULL. */
void imap_session_bye(struct imap_session *session, const char *code, const char *text);
bool imap_session_is_private(const struct imap_session *session); /* TLS, or it is not demanded */
/* On the fiber, in a command: one more line (of AUTHENTICATE's dialogue), valid until the next one. */
enum cq_rc imap_session_read_line(struct imap_session *session, struct cq_slice *line_r);
uint64_t imap_session_deadline(const struct imap_session *session, uint64_t seconds);
void imap_session_leave_mailbox(struct imap_session *session);
void imap_session_end_idle(struct imap_session *session);
/* Not running: starts a fiber that tells an idling client what has changed. */
void imap_session_news(struct imap_session *session);
/* Starts or moves the session's timer for what it waits for now. */
void imap_session_arm(struct imap_session *session);
/* Feeds the reader what has arrived, sends "+" where a literal waits for it. True: session->event is to be handled on
 * the fiber. */
bool imap_session_feed(struct imap_session *session);

/* ---- Handlers ---- */

imap_handler_fn imap_cmd_capability, imap_cmd_noop, imap_cmd_logout, imap_cmd_id, imap_cmd_starttls,
    imap_cmd_authenticate, imap_cmd_login, imap_cmd_enable, imap_cmd_select, imap_cmd_create, imap_cmd_delete,
    imap_cmd_rename, imap_cmd_subscribe, imap_cmd_list, imap_cmd_lsub, imap_cmd_namespace, imap_cmd_status,
    imap_cmd_append, imap_cmd_idle, imap_cmd_close, imap_cmd_unselect, imap_cmd_expunge, imap_cmd_search,
    imap_cmd_fetch, imap_cmd_store, imap_cmd_copy;

#endif
