/* The log: one event per line on stderr, JSON by default, key=value when stderr is a terminal.
 *
 *     cq_log(CQ_INFO, "smtp.accepted", CQ_F_STR("session", id), CQ_F_SLICE("helo", helo), CQ_F_U64("size_bytes", n));
 *
 * The event name is a stable dotted id, one per call site; keys are lower_case with the unit last. Text from
 * outside is escaped and cut here, so any bytes may be given. A secret (password, token, key, AUTH line) is never
 * given at all: no escaping makes it safe. Fields are evaluated only when the level is on.
 * error: a person must act. warn: someone should look this week. info: one per session, message or state change.
 * debug: off by default.
 * Thread-safe; a line is one write(2) of at most CQ_LOG_LINE_MAX bytes, so lines of processes that share a pipe never
 * mix. */
#ifndef CQ_LOG_H
#define CQ_LOG_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "base/cq_slice.h"

/* X(name, text) in rising order of weight */
#define CQ_LOG_LEVELS(X)                                                                                               \
    X(CQ_DEBUG, "debug")                                                                                               \
    X(CQ_INFO, "info")                                                                                                 \
    X(CQ_WARN, "warn")                                                                                                 \
    X(CQ_ERROR, "error")

enum cq_log_level {
#define CQ_LOG_LEVEL_ENUM(name, text) name,
    CQ_LOG_LEVELS(CQ_LOG_LEVEL_ENUM)
#undef CQ_LOG_LEVEL_ENUM
        CQ_LOG_LEVEL_COUNT
};

enum cq_log_format { CQ_LOG_AUTO, CQ_LOG_JSON, CQ_LOG_LOGFMT }; /* auto: logfmt on a terminal, JSON otherwise */

#define CQ_LOG_TEXT_MAX 512 /* bytes of one text value that are written; a cut value ends with "..." */
#define CQ_LOG_LINE_MAX                                                                                                \
    4096 /* bytes of a line (PIPE_BUF); fields that do not fit are left out and "cut":true says so */

struct cq_log_options {
    const char *role; /* constant fields of the process; copied; NULL: not written */
    const char *node;
    enum cq_log_format format;
    enum cq_log_level level;
    int fd; /* 0 means 2, stderr */
};

/* Once at start, again after a reload of the configuration. Before the first call: info, auto, stderr, no constants. */
void cq_log_init(const struct cq_log_options *options);
void cq_log_set_level(enum cq_log_level level);

const char *cq_log_level_name(enum cq_log_level level);
bool cq_log_level_parse(struct cq_slice text, enum cq_log_level *level_r);

/* Lines per level since the process started, whether or not the write worked. */
uint64_t cq_log_count(enum cq_log_level level);

/* ---- Fields ---- */

enum cq_log_type {
    CQ_LOG_END,
    CQ_LOG_CSTR,
    CQ_LOG_SLICE,
    CQ_LOG_U64,
    CQ_LOG_I64,
    CQ_LOG_DOUBLE,
    CQ_LOG_BOOL,
    CQ_LOG_HEX64,
    CQ_LOG_ERR
};

struct cq_log_field {
    const char *key;
    enum cq_log_type type;
    union {
        const char *cstr;
        struct cq_slice slice;
        uint64_t u64;
        int64_t i64;
        double number;
        bool flag;
        const struct cq_err *err;
    } v;
};

#define CQ_F_STR(k, text) ((struct cq_log_field){.key = (k), .type = CQ_LOG_CSTR, .v.cstr = (text)}) /* NULL: null */
#define CQ_F_SLICE(k, s) ((struct cq_log_field){.key = (k), .type = CQ_LOG_SLICE, .v.slice = (s)})
#define CQ_F_U64(k, n) ((struct cq_log_field){.key = (k), .type = CQ_LOG_U64, .v.u64 = (n)})
#define CQ_F_I64(k, n) ((struct cq_log_field){.key = (k), .type = CQ_LOG_I64, .v.i64 = (n)})
#define CQ_F_DOUBLE(k, n) ((struct cq_log_field){.key = (k), .type = CQ_LOG_DOUBLE, .v.number = (n)})
#define CQ_F_BOOL(k, b) ((struct cq_log_field){.key = (k), .type = CQ_LOG_BOOL, .v.flag = (b)})
#define CQ_F_HEX64(k, n) ((struct cq_log_field){.key = (k), .type = CQ_LOG_HEX64, .v.u64 = (n)}) /* 16 digits */
#define CQ_F_ACCOUNT(id) CQ_F_HEX64("account", (id))
#define CQ_F_RC(rc) CQ_F_STR("rc", cq_rc_name(rc))
#define CQ_F_ERR(e) ((struct cq_log_field){.type = CQ_LOG_ERR, .v.err = (e)}) /* rc and error; nothing when CQ_OK */
#define CQ_F_END ((struct cq_log_field){.type = CQ_LOG_END})

/* ---- Writing ---- */

/* cq_log(level, "event.id", fields...) */
#define cq_log(...) CQ_LOG_EXPAND_(__VA_ARGS__, CQ_F_END)
#define CQ_LOG_EXPAND_(level, event, ...)                                                                              \
    do {                                                                                                               \
        if (cq_log_enabled(level))                                                                                     \
            cq_log_write((level), (event), (const struct cq_log_field[]){__VA_ARGS__});                                \
    } while (0)

/* The same for lines that a peer can cause at will: at most `per_second` lines from this call site in one second; the
 * first line of a later second tells how many were left out ("suppressed"). */
#define cq_log_limited(per_second, ...) CQ_LOG_LIMIT_(per_second, __VA_ARGS__, CQ_F_END)
#define CQ_LOG_LIMIT_(per_second, level, event, ...)                                                                   \
    do {                                                                                                               \
        static struct cq_log_site cq_log_site_;                                                                        \
        uint64_t cq_suppressed_ = 0;                                                                                   \
        if (cq_log_enabled(level) && cq_log_site_pass(&cq_log_site_, (per_second), &cq_suppressed_))                   \
            cq_log_write((level), (event),                                                                             \
                         (const struct cq_log_field[]){CQ_F_U64(cq_suppressed_ ? "suppressed" : NULL, cq_suppressed_), \
                                                       __VA_ARGS__});                                                  \
    } while (0)

bool cq_log_enabled(enum cq_log_level level);

/* `fields` ends with CQ_F_END; a field with a NULL key is skipped (CQ_F_ERR brings its own keys). */
void cq_log_write(enum cq_log_level level, const char *event, const struct cq_log_field *fields);

struct cq_log_site {
    uint64_t second; /* both by atomic access */
    uint64_t count;
};

bool cq_log_site_pass(struct cq_log_site *site, uint64_t per_second, uint64_t *suppressed_r);

/* A tap sees every written line after its level check, before the write, under the log's lock (so: short, and no
 * logging inside). Returning false keeps the line off the file descriptor. One tap per process: tests and the
 * admin's live log use it. NULL removes it. */
typedef bool cq_log_tap_fn(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx);
void cq_log_set_tap(cq_log_tap_fn *tap, void *ctx);

/* Renders one line with its LF, as cq_log_write would at that time: pure, for tests. `format` is not CQ_LOG_AUTO. */
void cq_log_render(struct cq_buf *out, enum cq_log_format format, uint64_t wall_us,
                   const struct cq_log_options *constants, enum cq_log_level level, const char *event,
                   const struct cq_log_field *fields);

#endif
