#include "base/cq_log.h"

#include "base/cq_hex.h"
#include "base/cq_mem.h"
#include "base/cq_text.h"
#include "base/cq_time.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const level_names[CQ_LOG_LEVEL_COUNT] = {
#define LEVEL_NAME(name, text) [name] = text,
    CQ_LOG_LEVELS(LEVEL_NAME)
#undef LEVEL_NAME
};

/* The tail of every line has room for the mark that fields were left out, the closing brace and the LF. */
#define CUT_MARK_JSON ",\"cut\":true}\n"
#define CUT_MARK_LOGFMT " cut=true\n"

static atomic_int threshold = CQ_INFO;
static _Atomic uint64_t counts[CQ_LOG_LEVEL_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct cq_log_options settings = {.format = CQ_LOG_AUTO, .level = CQ_INFO, .fd = 2};
static cq_log_tap_fn *tap_fn;
static void *tap_ctx;

const char *cq_log_level_name(enum cq_log_level level)
{
    return level < CQ_LOG_LEVEL_COUNT ? level_names[level] : "?";
}

bool cq_log_level_parse(struct cq_slice text, enum cq_log_level *level_r)
{
    for (int i = 0; i < CQ_LOG_LEVEL_COUNT; i++)
        if (cq_slice_eq(text, cq_slice_cstr(level_names[i]))) {
            *level_r = (enum cq_log_level)i;
            return true;
        }
    return false;
}

static void replace_text(const char **at, const char *text)
{
    free((char *)*at);
    *at = text ? cq_strndup(text, strlen(text)) : NULL;
}

static enum cq_log_format resolve_format(enum cq_log_format format, int fd)
{
    if (format != CQ_LOG_AUTO)
        return format;
    return isatty(fd) ? CQ_LOG_LOGFMT : CQ_LOG_JSON;
}

void cq_log_init(const struct cq_log_options *options)
{
    pthread_mutex_lock(&lock);
    replace_text(&settings.role, options->role);
    replace_text(&settings.node, options->node);
    settings.fd = options->fd ? options->fd : 2;
    settings.format = resolve_format(options->format, settings.fd);
    pthread_mutex_unlock(&lock);
    cq_log_set_level(options->level);
}

void cq_log_set_level(enum cq_log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

bool cq_log_enabled(enum cq_log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

uint64_t cq_log_count(enum cq_log_level level)
{
    return atomic_load_explicit(&counts[level], memory_order_relaxed);
}

void cq_log_set_tap(cq_log_tap_fn *tap, void *ctx)
{
    pthread_mutex_lock(&lock);
    tap_fn = tap;
    tap_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

bool cq_log_site_pass(struct cq_log_site *site, uint64_t per_second, uint64_t *suppressed_r)
{
    uint64_t now = cq_time_mono_us() / CQ_US_PER_S;
    uint64_t second = __atomic_load_n(&site->second, __ATOMIC_RELAXED);
    if (second != now &&
        __atomic_compare_exchange_n(&site->second, &second, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        uint64_t before = __atomic_exchange_n(&site->count, 1, __ATOMIC_RELAXED);
        *suppressed_r = before > per_second ? before - per_second : 0;
        return true;
    }
    return __atomic_add_fetch(&site->count, 1, __ATOMIC_RELAXED) <= per_second;
}

/* ---- Rendering ---- */

struct line {
    struct cq_buf *out;
    enum cq_log_format format;
};

static void put_key(struct line *line, const char *key)
{
    if (line->format == CQ_LOG_JSON)
        cq_buf_printf(line->out, "%s\"%s\":", line->out->len ? "," : "{", key);
    else
        cq_buf_printf(line->out, "%s%s=", line->out->len ? " " : "", key);
}

/* logfmt: bare when nothing in it could be misread. */
static bool is_bare(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f || s.data[i] == '"' || s.data[i] == '=' || s.data[i] == '\\')
            return false;
    return s.len > 0;
}

/* Cuts at CQ_LOG_TEXT_MAX, not inside a code point. */
static struct cq_slice cut_text(struct cq_slice s)
{
    if (s.len <= CQ_LOG_TEXT_MAX)
        return s;
    size_t n = CQ_LOG_TEXT_MAX;
    while (n > CQ_LOG_TEXT_MAX - 4 && (s.data[n] & 0xc0) == 0x80)
        n--;
    return cq_slice_sub(s, 0, n);
}

static void put_text(struct line *line, const char *key, struct cq_slice text)
{
    struct cq_slice cut = cut_text(text);
    put_key(line, key);
    if (line->format == CQ_LOG_LOGFMT && cut.len == text.len && is_bare(text)) {
        cq_buf_slice_add(line->out, text);
        return;
    }
    cq_buf_byte(line->out, '"');
    cq_json_escape(line->out, cut);
    cq_buf_cstr(line->out, cut.len < text.len ? "...\"" : "\"");
}

static void put_raw(struct line *line, const char *key, const char *text)
{
    put_key(line, key);
    cq_buf_cstr(line->out, text);
}

static void put_double(struct line *line, const char *key, double number)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", number);
    put_raw(line, key, isfinite(number) ? text : "null");
}

static void put_err(struct line *line, const struct cq_err *err)
{
    if (!err || err->rc == CQ_OK)
        return;
    put_raw(line, "rc", line->format == CQ_LOG_JSON ? "\"" : "");
    cq_buf_cstr(line->out, cq_rc_name(err->rc));
    cq_buf_cstr(line->out, line->format == CQ_LOG_JSON ? "\"" : "");
    put_text(line, "error", cq_slice_cstr(err->text));
}

static void put_field(struct line *line, const struct cq_log_field *f)
{
    char hex[CQ_HEX64_SIZE];
    switch (f->type) {
    case CQ_LOG_CSTR:
        if (f->v.cstr)
            put_text(line, f->key, cq_slice_cstr(f->v.cstr));
        else
            put_raw(line, f->key, "null");
        break;
    case CQ_LOG_SLICE:
        put_text(line, f->key, f->v.slice);
        break;
    case CQ_LOG_U64:
        put_key(line, f->key);
        cq_buf_u64(line->out, f->v.u64);
        break;
    case CQ_LOG_I64:
        put_key(line, f->key);
        cq_buf_printf(line->out, "%lld", (long long)f->v.i64);
        break;
    case CQ_LOG_DOUBLE:
        put_double(line, f->key, f->v.number);
        break;
    case CQ_LOG_BOOL:
        put_raw(line, f->key, f->v.flag ? "true" : "false");
        break;
    case CQ_LOG_HEX64:
        cq_hex_u64(f->v.u64, hex);
        put_text(line, f->key, cq_slice_cstr(hex));
        break;
    case CQ_LOG_ERR:
        put_err(line, f->v.err);
        break;
    case CQ_LOG_END:
        break;
    }
}

/* Adds one field whole or not at all. */
static bool try_field(struct line *line, const struct cq_log_field *field)
{
    size_t before = line->out->len;
    put_field(line, field);
    if (cq_buf_ok(line->out))
        return true;
    line->out->len = before;
    line->out->overflow = false;
    return false;
}

static void put_constants(struct line *line, uint64_t wall_us, const struct cq_log_options *constants,
                          enum cq_log_level level, const char *event)
{
    char ts[CQ_RFC3339_SIZE];
    cq_time_rfc3339(wall_us, ts);
    put_text(line, "ts", cq_slice_cstr(ts));
    put_text(line, "level", cq_slice_cstr(cq_log_level_name(level)));
    put_text(line, "event", cq_slice_cstr(event));
    if (constants->role)
        put_text(line, "role", cq_slice_cstr(constants->role));
    if (constants->node)
        put_text(line, "node", cq_slice_cstr(constants->node));
}

void cq_log_render(struct cq_buf *out, enum cq_log_format format, uint64_t wall_us,
                   const struct cq_log_options *constants, enum cq_log_level level, const char *event,
                   const struct cq_log_field *fields)
{
    struct cq_buf text;
    cq_buf_init(&text, CQ_LOG_LINE_MAX - sizeof CUT_MARK_JSON);
    struct line line = {&text, format};
    bool cut = false;
    put_constants(&line, wall_us, constants, level, event);
    for (const struct cq_log_field *f = fields; f->type != CQ_LOG_END; f++)
        if (f->key || f->type == CQ_LOG_ERR)
            cut = !try_field(&line, f) || cut;
    cq_buf_slice_add(out, cq_buf_slice(&text));
    if (format == CQ_LOG_JSON)
        cq_buf_cstr(out, cut ? CUT_MARK_JSON : "}\n");
    else
        cq_buf_cstr(out, cut ? CUT_MARK_LOGFMT : "\n");
    cq_buf_fini(&text);
}

/* A full or broken pipe must not stop mail: what cannot be written is lost, the counters still count. */
static void write_line(int fd, struct cq_slice line)
{
    ssize_t n;
    do
        n = write(fd, line.data, line.len);
    while (n < 0 && errno == EINTR);
}

void cq_log_write(enum cq_log_level level, const char *event, const struct cq_log_field *fields)
{
    int saved = errno;
    struct cq_buf line;
    cq_buf_init(&line, CQ_LOG_LINE_MAX);
    atomic_fetch_add_explicit(&counts[level], 1, memory_order_relaxed);
    pthread_mutex_lock(&lock);
    int fd = settings.fd;
    cq_log_render(&line, resolve_format(settings.format, fd), cq_time_wall_us(), &settings, level, event, fields);
    bool wanted = !tap_fn || tap_fn(level, event, cq_buf_slice(&line), tap_ctx);
    pthread_mutex_unlock(&lock);
    if (wanted)
        write_line(fd, cq_buf_slice(&line));
    cq_buf_fini(&line);
    errno = saved;
}
