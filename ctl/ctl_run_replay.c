/* "events replay": piece after piece, until nothing is left; what became of the events is added up. The lines of a file
 * come from here, dead letters are read by the front-end. */
#include "ctl.h"
#include "ctl_lines.h"

#include "base/cq_time.h"
#include "io/io_fiber.h"

#include <proto/admin.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLAY_LINE_MAX (512u << 10) /* bytes of a line; a longer one is counted as malformed by its pieces */
#define PIECE_MAX (512u << 10)       /* bytes of the lines of a piece, beside the last one */
#define PIECE_EVENTS 1000
#define RATE_DEFAULT 1000
#define RATE_MAX 1000000
#define PROGRESS_US (2 * CQ_US_PER_S)

struct sum {
    char *topic, *type, *result, *first_time, *last_time;
    uint64_t events;
};

struct replay {
    struct ctl *ctl;
    const struct ctl_request *request;
    Chasqui__Admin__Replay message;
    struct ctl_lines source;
    uint64_t rate;
    uint64_t began_us, told_us;
    uint64_t read, sent; /* read: lines, or dead letters that were chosen */
    struct sum *sums;
    size_t sum_count, sum_cap;
    bool done, refused;
};

static enum ctl_exit usage(const char *text)
{
    fprintf(stderr, "chasquictl: events replay: %s\n", text);
    return CTL_USAGE;
}

/* ---- Times ---- */

/* 2026-11-22, 2026-11-22T08:00:00Z, 2026-11-22T08:00:00.5Z */
static bool parse_time(const char *text, uint64_t *us_r)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    uint64_t fraction = 0;
    if (rest && *rest == 'T')
        rest = strptime(rest, "T%H:%M:%S", &tm);
    if (rest && *rest == '.') {
        uint64_t unit = CQ_US_PER_S / 10;
        for (rest++; cq_ascii_digit((uint8_t)*rest); rest++, unit /= 10)
            fraction += unit * (uint64_t)(*rest - '0');
    }
    if (rest && *rest == 'Z')
        rest++;
    if (!rest || *rest)
        return false;
    time_t seconds = timegm(&tm);
    *us_r = seconds < 0 ? 0 : (uint64_t)seconds * CQ_US_PER_S + fraction;
    return seconds >= 0;
}

/* A time, or a duration: so long ago. "": not given. */
static bool time_field(struct replay *r, const char *name, char **text_r)
{
    struct cq_slice value;
    char text[CQ_RFC3339_SIZE];
    uint64_t us, ago;
    if (!ctl_field(r->request, name, &value))
        return true;
    if (!parse_time(cq_pool_cstr(r->ctl->pool, value), &us)) {
        if (!cq_config_duration(value, &ago))
            return false;
        us = cq_time_wall_us() - (ago < cq_time_wall_us() ? ago : cq_time_wall_us());
    }
    cq_time_rfc3339(us, text);
    *text_r = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(text));
    return true;
}

static void text_field(struct replay *r, const char *name, char **text_r)
{
    struct cq_slice value;
    if (ctl_field(r->request, name, &value))
        *text_r = cq_pool_cstr(r->ctl->pool, value);
}

/* ---- Pieces of a file ---- */

static size_t piece_events(const struct replay *r)
{
    return r->rate < PIECE_EVENTS ? (size_t)r->rate : PIECE_EVENTS;
}

static struct cq_slice next_lines(struct replay *r, struct cq_buf *lines, enum ctl_exit *status_r)
{
    cq_buf_reset(lines, PIECE_MAX + REPLAY_LINE_MAX);
    for (size_t n = 0; n < piece_events(r) && lines->len < PIECE_MAX; n++) {
        ssize_t len = ctl_lines_next(&r->source, status_r);
        if (len == 0)
            break;
        if ((size_t)len > REPLAY_LINE_MAX)
            cq_buf_cstr(lines, "?\n"); /* told as malformed */
        else
            cq_buf_add(lines, r->source.line, (size_t)len);
        r->read++;
    }
    return cq_buf_slice(lines);
}

/* ---- Adding up ---- */

static struct sum *sum_of(struct replay *r, const Chasqui__Admin__ReplayRow *row)
{
    for (size_t i = 0; i < r->sum_count; i++)
        if (strcmp(r->sums[i].topic, row->topic) == 0 && strcmp(r->sums[i].type, row->type) == 0 &&
            strcmp(r->sums[i].result, row->result) == 0)
            return &r->sums[i];
    if (r->sum_count == r->sum_cap) {
        struct sum *old = r->sums;
        r->sum_cap = r->sum_cap ? 2 * r->sum_cap : 32;
        r->sums = cq_pool_calloc(r->ctl->pool, r->sum_cap, sizeof *r->sums);
        if (old)
            memcpy(r->sums, old, r->sum_count * sizeof *old);
    }
    struct sum *sum = &r->sums[r->sum_count++];
    *sum = (struct sum){.topic = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->topic)),
                        .type = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->type)),
                        .result = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->result)),
                        .first_time = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->first_time)),
                        .last_time = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->last_time))};
    return sum;
}

static void add_row(struct replay *r, const Chasqui__Admin__ReplayRow *row)
{
    struct sum *sum = sum_of(r, row);
    sum->events += row->events;
    if (strcmp(row->first_time, sum->first_time) < 0)
        sum->first_time = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->first_time));
    if (strcmp(row->last_time, sum->last_time) > 0)
        sum->last_time = cq_pool_cstr(r->ctl->pool, cq_slice_cstr(row->last_time));
    if (strcmp(row->result, "sent") == 0)
        r->sent += row->events;
    r->refused = r->refused || strcmp(row->result, "refused") == 0;
}

static void print(struct replay *r)
{
    struct ctl_rows rows = {0};
    struct cq_buf out;
    for (size_t i = 0; i < r->sum_count; i++) {
        const struct sum *sum = &r->sums[i];
        char **cells = cq_pool_calloc(r->ctl->pool, admin_column_count(r->request->command) + 1, sizeof *cells);
        cells[0] = sum->topic;
        cells[1] = sum->type;
        cells[2] = sum->result;
        cells[3] = cq_pool_printf(r->ctl->pool, "%llu", (unsigned long long)sum->events);
        cells[4] = sum->first_time;
        cells[5] = sum->last_time;
        ctl_rows_add(r->ctl, &rows, cells);
    }
    cq_buf_init(&out, CTL_OUTPUT_MAX);
    ctl_print(r->ctl, r->request->command, &rows, &out);
    fwrite(out.data, 1, out.len, stdout);
    cq_buf_fini(&out);
}

/* ---- A piece ---- */

static void take_positions(struct replay *r, const Chasqui__Admin__Replayed *reply)
{
    r->message.n_positions = reply->n_positions;
    r->message.positions = cq_pool_calloc(r->ctl->pool, reply->n_positions + 1, sizeof *r->message.positions);
    for (size_t i = 0; i < reply->n_positions; i++) {
        Chasqui__Admin__ReplayPosition *at = cq_pool_alloc(r->ctl->pool, sizeof *at);
        chasqui__admin__replay_position__init(at);
        at->partition = reply->positions[i]->partition;
        at->next = reply->positions[i]->next;
        at->end = reply->positions[i]->end;
        r->message.positions[i] = at;
    }
}

static enum ctl_exit take_answer(struct replay *r, enum rpc_fate fate, const struct rpc_reply_in *in,
                                 const struct cq_err *err)
{
    enum ctl_exit status = ctl_exit_of(fate, in->rc);
    Chasqui__Admin__Replayed *reply =
        fate == RPC_ANSWERED ? chasqui__admin__replayed__unpack(NULL, in->message.len, in->message.data) : NULL;
    for (size_t i = 0; reply && i < reply->n_rows; i++)
        add_row(r, reply->rows[i]);
    if (reply && reply->refused_why[0] && !r->message.dry_run)
        fprintf(stderr, "chasquictl: a broker refused some: %s\n", reply->refused_why);
    if (status != CTL_DONE || !reply) {
        const char *text = reply && reply->text[0] ? reply->text : err->text[0] ? err->text : cq_rc_text(in->rc);
        fprintf(stderr, "chasquictl: %s\n", text);
        if (r->sent)
            fprintf(stderr, "chasquictl: %llu events were sent before; repeating the command is harmless\n",
                    (unsigned long long)r->sent);
        status = status == CTL_DONE ? CTL_UNKNOWN : status;
    } else {
        take_positions(r, reply);
        r->done = r->message.dead_letters && reply->done;
    }
    if (reply)
        chasqui__admin__replayed__free_unpacked(reply, NULL);
    return status;
}

static enum ctl_exit ask(struct replay *r, struct cq_slice lines)
{
    enum ctl_exit status = CTL_UNREACHABLE;
    size_t len = chasqui__admin__replay__get_packed_size(&r->message);
    uint8_t *data = cq_pool_alloc(r->ctl->pool, len + 1);
    chasqui__admin__replay__pack(&r->message, data);
    for (size_t i = 0; i < r->ctl->settings.admin.count && status == CTL_UNREACHABLE; i++) {
        struct rpc_reply_in reply = {0};
        struct cq_err err = {0};
        const struct ctl_call call = {
            .address = r->ctl->settings.admin.items[i],
            .peer_roles = RPC_ROLE_ADMIN,
            .method = CHASQUI__ADMIN__METHOD__REPLAY,
            .command = true,
            .message = cq_slice_of(data, len),
            .raw = lines,
        };
        enum rpc_fate fate = ctl_rpc(r->ctl, &call, &reply, &err);
        status = take_answer(r, fate, &reply, &err);
    }
    return status;
}

static void tell_progress(struct replay *r)
{
    uint64_t now = cq_time_mono_us();
    if (now - r->told_us < PROGRESS_US)
        return;
    r->told_us = now;
    if (r->message.dead_letters)
        fprintf(stderr, "chasquictl: %llu events sent\n", (unsigned long long)r->sent);
    else
        fprintf(stderr, "chasquictl: %llu lines read, %llu events sent\n", (unsigned long long)r->read,
                (unsigned long long)r->sent);
}

static void keep_rate(const struct replay *r)
{
    uint64_t due_us = r->sent * CQ_US_PER_S / r->rate, passed_us = cq_time_mono_us() - r->began_us;
    if (due_us > passed_us)
        io_fiber_sleep((due_us - passed_us) / 1000);
}

static enum ctl_exit run_pieces(struct replay *r)
{
    struct cq_buf lines;
    enum ctl_exit status = CTL_DONE;
    cq_buf_init(&lines, PIECE_MAX + REPLAY_LINE_MAX);
    while (status == CTL_DONE && !r->done) {
        struct cq_slice piece = CQ_SLICE_NONE;
        if (!r->message.dead_letters) {
            piece = next_lines(r, &lines, &status);
            if (!piece.len)
                break;
        }
        if (status == CTL_DONE)
            status = ask(r, piece);
        tell_progress(r);
        keep_rate(r);
    }
    cq_buf_fini(&lines);
    return status;
}

static enum ctl_exit read_request(struct replay *r)
{
    struct cq_slice value;
    bool rotated = ctl_field(r->request, "rotated", &value);
    chasqui__admin__replay__init(&r->message);
    r->message.dry_run = ctl_field(r->request, "dry-run", &value);
    r->message.dead_letters = !ctl_field(r->request, "file", &value);
    if (!r->message.dead_letters)
        r->source.path = cq_pool_cstr(r->ctl->pool, value);
    if (rotated && (r->message.dead_letters || strcmp(r->source.path, "-") == 0))
        return usage("--rotated goes with a file");
    if (rotated)
        r->source.rotated = ctl_lines_rotated(&r->source);
    if (!time_field(r, "since", &r->message.since) || !time_field(r, "until", &r->message.until))
        return usage("a time is 2026-11-22T08:00:00Z, 2026-11-22, or 6h (ago)");
    text_field(r, "type", &r->message.type);
    text_field(r, "topic", &r->message.topic);
    text_field(r, "account", &r->message.account);
    r->rate = RATE_DEFAULT;
    if (ctl_field(r->request, "rate", &value) && (!cq_slice_u64(value, RATE_MAX, &r->rate) || !r->rate))
        return usage("--rate is a number of events a second, at least 1");
    r->message.events_max = (uint32_t)piece_events(r);
    return CTL_DONE;
}

enum ctl_exit ctl_replay(struct ctl *ctl, const struct ctl_request *request)
{
    struct replay r = {.ctl = ctl, .request = request};
    enum ctl_exit status = read_request(&r);
    if (status != CTL_DONE)
        return status;
    r.began_us = r.told_us = cq_time_mono_us();
    status = run_pieces(&r);
    if (status == CTL_DONE || r.sum_count)
        print(&r);
    ctl_lines_fini(&r.source);
    return status == CTL_DONE && r.refused ? CTL_REFUSED : status;
}
