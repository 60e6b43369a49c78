/* One run of a scenario: what the command line asked for, the sessions, the measured time, and what came of it.
 *
 * A scenario is a function that runs once per session, on a fiber of its own: it prepares (connects, logs in), calls
 * load_ready(), and then works while load_going(). The measured time begins when all sessions are ready and the warm-up
 * has passed, and ends after `seconds` or when the scenario's operations are done. Only what begins and ends inside it
 * counts. One thread, one loop. */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "io/io_sync.h"
#include "load_client.h"
#include "load_histogram.h"

#define LOAD_KINDS_MAX 24
#define LOAD_ACCOUNTS_MAX 100000
#define LOAD_BUSY_SHARE 0.9 /* above this share of the time on its core the generator was the bottleneck */

struct load_account {
    char *address, *password;
};

/* The command line; the table in main.c explains each. */
struct load_options {
    const char *scenario;
    struct load_endpoint smtp, lmtp, imap, pop3;
    const char *ca, *server_name;
    struct load_account *accounts;
    size_t account_count;
    size_t sessions;
    double seconds, warmup;
    uint64_t operations; /* 0: until the time is over */
    size_t size;         /* of messages; 0: the distribution */
    size_t distinct;     /* different messages that are made */
    uint64_t seed;
    const char *mailbox;
    const char *const *commands;
    size_t command_count;
    bool lmtp_delivery, resume, multiappend;
    size_t opening; /* idle: connections that are being opened at a time */
};

/* One name whose operations are counted together ("FETCH", "NOOP"). */
struct load_kind {
    const char *name;
    struct load_histogram took_us;
};

struct load_run {
    const struct load_options *options;
    struct io_loop *loop;
    struct io_tls *tls;
    struct load_messages messages;
    size_t sessions, ready, ended; /* of options->sessions; those that failed to begin are both ready and ended */
    struct io_event all_ready;
    bool measuring, over;
    uint64_t until_us;         /* end of the measured time */
    uint64_t begin_us, end_us; /* what was measured in the end */
    uint64_t begun;            /* operations handed out */
    uint64_t octets, errors;
    char first_error[CQ_ERR_TEXT_SIZE];
    struct load_histogram took_us; /* of all kinds */
    struct load_kind kinds[LOAD_KINDS_MAX];
    size_t kind_count;
    uint64_t cpu_begin_us, wait_begin_us; /* of this thread */
    uint64_t cpu_us, wait_us;             /* on its core, and waiting for one, in the measured time */
    struct io_timer timer;
    uint64_t tokens; /* messages that got a token */
};

/* One session of a scenario. */
struct load_session {
    struct load_run *run;
    size_t number; /* from 0 */
    bool ready;
    struct load_client client;
    struct cq_prng prng;
};

typedef void load_session_fn(struct load_session *session);

struct load_scenario {
    const char *name, *help;
    load_session_fn *session;
    bool needs_accounts, needs_messages;
    bool own_end; /* it says itself when the measured time begins and ends; at most `opening` fibers run at once */
};

extern const struct load_scenario load_scenarios[];
extern const size_t load_scenario_count;

/* Runs it; CQ_OK when it measured, even with errors of single operations. CQ_E_INVALID: the options do not fit. */
enum cq_rc load_run(const struct load_scenario *scenario, const struct load_options *options, struct cq_err *err);

/* ---- For scenarios, on their fibers ---- */

/* This session has prepared; waits until all have. False: the run is over already. */
bool load_ready(struct load_session *session);

/* Is there more to do? Counts one operation as begun when there is. */
bool load_going(struct load_session *session);

uint64_t load_now_us(void);

/* An operation that began at start_us has ended. kind may be NULL; else a literal. */
void load_done(struct load_run *run, const char *kind, uint64_t start_us, uint64_t octets);

/* A duration that is shown under its kind but is no operation of its own. */
void load_note(struct load_run *run, const char *kind, uint64_t start_us);

/* An operation failed: it counts as an error, not as an operation. */
void load_failed(struct load_run *run, const char *what, const struct cq_err *err);

const struct load_account *load_account(const struct load_session *session, size_t number);

/* A message under a token of its own. */
struct load_letter load_next_letter(struct load_session *session);

/* Prints {"event": NAME, "mono_us": ...} so that whoever started us looks at the servers now. */
void load_say(const char *event);

/* Measured time begins or ends now (own_end). */
void load_measure_begin(struct load_run *run);
void load_measure_end(struct load_run *run);

#endif
