/* Runs the conversations in tests/imap (their README tells the format): each one whole and byte by byte. */
#include "support/imap_fixture.h"

#include "unit/cq_cmocka.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define PEERS 4
#define TALKS_MAX 200
#define FILE_MAX (1u << 20)

static unsigned secrets_logged, lines_logged;

struct talk {
    const char *path;
    struct imap_fixture *fixture;
    struct imap_peer peers[PEERS];
    bool connected[PEERS];
    size_t piece;
    unsigned line;
    struct cq_pool *pool;
};

static void stop(struct talk *t, const char *why, struct cq_slice detail)
{
    fail_msg("%s:%u (%zu bytes at a time): %s%.*s", t->path, t->line, t->piece, why, CQ_SLICE_ARG(detail));
}

/* ---- Patterns: "..." is any text, "<n>" any digits; the rest is itself ---- */

static bool matches(struct cq_slice pattern, struct cq_slice text)
{
    while (pattern.len) {
        if (cq_slice_starts(pattern, CQ_SLICE("..."))) {
            pattern = cq_slice_skip(pattern, 3);
            for (size_t i = 0; i <= text.len; i++)
                if (matches(pattern, cq_slice_skip(text, i)))
                    return true;
            return false;
        }
        if (cq_slice_starts(pattern, CQ_SLICE("<n>"))) {
            size_t digits = 0;
            while (digits < text.len && cq_ascii_digit(text.data[digits]))
                digits++;
            if (digits == 0)
                return false;
            pattern = cq_slice_skip(pattern, 3);
            text = cq_slice_skip(text, digits);
            continue;
        }
        if (text.len == 0 || text.data[0] != pattern.data[0])
            return false;
        pattern = cq_slice_skip(pattern, 1);
        text = cq_slice_skip(text, 1);
    }
    return text.len == 0;
}

/* ---- Lines of a talk ---- */

static struct imap_peer *peer_of(struct talk *t, size_t i)
{
    if (!t->connected[i]) {
        imap_peer_connect(t->fixture, &t->peers[i]);
        t->connected[i] = true;
    }
    return &t->peers[i];
}

/* \r \n \0 \\ \xNN */
static struct cq_slice unescape(struct talk *t, struct cq_slice text)
{
    uint8_t *out = cq_pool_alloc(t->pool, text.len + 2);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '\\' || i + 1 == text.len) {
            out[n++] = text.data[i];
            continue;
        }
        uint8_t c = text.data[++i];
        unsigned value;
        char hex[3] = {0};
        switch (c) {
        case 'r':
            out[n++] = '\r';
            break;
        case 'n':
            out[n++] = '\n';
            break;
        case '0':
            out[n++] = 0;
            break;
        case 'x':
            memcpy(hex, text.data + i + 1, 2);
            sscanf(hex, "%x", &value);
            out[n++] = (uint8_t)value;
            i += 2;
            break;
        default:
            out[n++] = '\\';
            if (c != '\\')
                out[n++] = c;
        }
    }
    return cq_slice_of(out, n);
}

static void client_line(struct talk *t, struct imap_peer *peer, struct cq_slice text, bool raw)
{
    struct cq_slice bytes = raw ? unescape(t, text) : cq_pool_slice(t->pool, text);
    imap_peer_send(peer, bytes, t->piece);
    if (!raw)
        imap_peer_send(peer, CQ_SLICE("\r\n"), t->piece);
}

static void server_line(struct talk *t, struct imap_peer *peer, struct cq_slice pattern)
{
    struct cq_slice line;
    if (!imap_peer_line(peer, t->pool, &line))
        stop(t, "nothing came for: ", pattern);
    if (!matches(pattern, line))
        stop(t, "came: ", line);
}

static void server_silent(struct talk *t, struct imap_peer *peer)
{
    struct cq_slice line;
    if (imap_peer_line(peer, t->pool, &line))
        stop(t, "came: ", line);
}

static void server_closed(struct talk *t, struct imap_peer *peer)
{
    server_silent(t, peer);
    if (!peer->eof)
        stop(t, "the connection is open", CQ_SLICE_NONE);
}

/* "ana": what every talk begins with. */
static void log_in(struct talk *t, struct imap_peer *peer)
{
    server_line(t, peer, CQ_SLICE("* OK [CAPABILITY ...] Chasqui ready"));
    client_line(t, peer, CQ_SLICE("login LOGIN ana secret"), false);
    server_line(t, peer, CQ_SLICE("login OK [CAPABILITY ...] Logged in"));
}

/* ---- Directives ---- */

/* The lines up to one that is "." as a message with CRLFs. */
static struct cq_slice take_text(struct talk *t, struct cq_slice *rest)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    for (;;) {
        struct cq_slice line = cq_slice_cut(rest, '\n');
        t->line++;
        if (cq_slice_eq(line, CQ_SLICE(".")) || (line.len == 0 && rest->len == 0))
            break;
        cq_buf_slice_add(&text, line);
        cq_buf_cstr(&text, "\r\n");
    }
    struct cq_slice result = cq_pool_slice(t->pool, cq_buf_slice(&text));
    cq_buf_fini(&text);
    return result;
}

static enum cq_rc rc_of(struct talk *t, struct cq_slice name)
{
    for (int i = 0; i < CQ_RC_COUNT; i++)
        if (cq_slice_eq(name, cq_slice_cstr(cq_rc_name((enum cq_rc)i))))
            return (enum cq_rc)i;
    stop(t, "no such code: ", name);
    return CQ_OK;
}

static uint64_t number_of(struct talk *t, struct cq_slice text)
{
    uint64_t n = 0;
    if (!cq_slice_u64(text, UINT32_MAX, &n))
        stop(t, "no number: ", text);
    return n;
}

static void directive(struct talk *t, struct cq_slice line, struct cq_slice *rest)
{
    struct cq_slice word = cq_slice_cut(&line, ' ');
    struct imap_fixture *f = t->fixture;
    if (cq_slice_eq(word, CQ_SLICE("@login"))) {
        log_in(t, peer_of(t, number_of(t, line)));
    } else if (cq_slice_eq(word, CQ_SLICE("@deliver"))) {
        imap_fixture_deliver(f, take_text(t, rest));
    } else if (cq_slice_eq(word, CQ_SLICE("@append"))) { /* @append PEER command-up-to-the-literal */
        struct imap_peer *peer = peer_of(t, number_of(t, cq_slice_cut(&line, ' ')));
        struct cq_slice text = take_text(t, rest);
        char *command = cq_pool_printf(t->pool, "%.*s {%zu+}", CQ_SLICE_ARG(line), text.len);
        client_line(t, peer, cq_slice_cstr(command), false);
        imap_peer_send(peer, text, t->piece);
        imap_peer_send(peer, CQ_SLICE("\r\n"), t->piece);
    } else if (cq_slice_eq(word, CQ_SLICE("@advance"))) { /* seconds */
        io_loop_clock_advance(f->loop, number_of(t, line) * 1000000);
        imap_fixture_settle(f);
    } else if (cq_slice_eq(word, CQ_SLICE("@fault"))) { /* code [method] */
        f->fault = rc_of(t, cq_slice_cut(&line, ' '));
        f->fault_method = line.len ? (uint32_t)number_of(t, line) : 0;
        f->fault_applied = false;
    } else if (cq_slice_eq(word, CQ_SLICE("@lost"))) { /* code method: it happens, its answer is lost */
        f->fault = rc_of(t, cq_slice_cut(&line, ' '));
        f->fault_method = (uint32_t)number_of(t, line);
        f->fault_applied = true;
    } else if (cq_slice_eq(word, CQ_SLICE("@end"))) { /* PEER drain|kicked|account */
        struct imap_peer *peer = peer_of(t, number_of(t, cq_slice_cut(&line, ' ')));
        imap_session_end(peer->session, cq_slice_eq(line, CQ_SLICE("drain"))    ? IMAP_END_DRAIN
                                        : cq_slice_eq(line, CQ_SLICE("kicked")) ? IMAP_END_KICKED
                                                                                : IMAP_END_ACCOUNT);
    } else if (cq_slice_eq(word, CQ_SLICE("@private"))) { /* only over TLS */
        f->config.login_without_tls = false;
    } else if (cq_slice_eq(word, CQ_SLICE("@message_max"))) {
        f->config.message_max = number_of(t, line);
    } else if (cq_slice_eq(word, CQ_SLICE("@repeat"))) { /* PEER count byte: that many of it */
        struct imap_peer *peer = peer_of(t, number_of(t, cq_slice_cut(&line, ' ')));
        size_t n = number_of(t, cq_slice_cut(&line, ' '));
        char *bytes = cq_pool_alloc(t->pool, n);
        memset(bytes, line.data[0], n);
        imap_peer_send(peer, cq_slice_of(bytes, n), t->piece == 1 ? 1000 : t->piece);
    } else if (cq_slice_eq(word, CQ_SLICE("@hangup"))) {
        size_t i = number_of(t, line);
        imap_peer_close(&t->peers[i]);
        t->connected[i] = false;
    } else {
        stop(t, "what is this? ", word);
    }
}

static void talk_line(struct talk *t, struct cq_slice line, struct cq_slice *rest)
{
    size_t i = 0;
    if (line.len == 0 || line.data[0] == '#')
        return;
    if (line.data[0] == '@') {
        directive(t, line, rest);
        return;
    }
    if (cq_ascii_digit(line.data[0])) {
        i = (size_t)(line.data[0] - '0');
        line = cq_slice_skip(line, 1);
    }
    if (i >= PEERS)
        stop(t, "no such peer", CQ_SLICE_NONE);
    struct imap_peer *peer = peer_of(t, i);
    struct cq_slice text = cq_slice_skip(line, 3);
    if (cq_slice_starts(line, CQ_SLICE("C:")))
        client_line(t, peer, text, false);
    else if (cq_slice_starts(line, CQ_SLICE("c:")))
        client_line(t, peer, text, true);
    else if (cq_slice_starts(line, CQ_SLICE("S:")))
        server_line(t, peer, text);
    else if (cq_slice_eq(line, CQ_SLICE("S-")))
        server_silent(t, peer);
    else if (cq_slice_eq(line, CQ_SLICE("S.")))
        server_closed(t, peer);
    else
        stop(t, "what is this? ", line);
}

static void run_talk(const char *path, struct cq_slice text, size_t piece)
{
    struct talk t = {.path = path, .fixture = imap_fixture_new(), .piece = piece, .pool = cq_pool_new(16384)};
    while (text.len) {
        t.line++;
        struct cq_slice line = cq_slice_cut(&text, '\n');
        talk_line(&t, line, &text);
    }
    t.fixture->fault = CQ_OK;
    for (size_t i = 0; i < PEERS; i++)
        if (t.connected[i]) {
            server_silent(&t, &t.peers[i]);
            imap_peer_close(&t.peers[i]);
        }
    imap_fixture_free(&t.fixture);
    cq_pool_free(&t.pool);
}

static void talk_is_held_whole_and_byte_by_byte(void **state)
{
    const char *path = *state;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = cq_malloc(FILE_MAX);
    size_t len = fread(data, 1, FILE_MAX, file);
    fclose(file);
    assert_true(len > 0 && len < FILE_MAX);
    run_talk(path, cq_slice_of(data, len), SIZE_MAX);
    run_talk(path, cq_slice_of(data, len), 1);
    run_talk(path, cq_slice_of(data, len), 5);
    free(data);
}

/* No password is in any line of the log, whatever its level and whatever happened to the command that had it. */
static bool look_for_passwords(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    static const char *const secrets[] = {"secret", "AGFuYQ", "YW5hAG"};
    (void)level;
    (void)event;
    (void)ctx;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (memmem(line.data, line.len, secrets[i], strlen(secrets[i])))
            secrets_logged++;
    lines_logged++;
    return false;
}

static void no_password_was_logged(void **state)
{
    (void)state;
    assert_true(lines_logged > 100);
    assert_int_equal(secrets_logged, 0);
}

/* ---- All files of the folder ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

static size_t find_talks(struct CMUnitTest *tests, const char *only)
{
    size_t n = 0;
    DIR *dir = opendir(TALK_FOLDER);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) && n < TALKS_MAX;) {
        const char *end = strrchr(e->d_name, '.');
        if (!end || strcmp(end, ".talk") != 0 || (only && !strstr(e->d_name, only)))
            continue;
        struct cq_buf path;
        cq_buf_init(&path, 4096);
        cq_buf_printf(&path, "%s/%s", TALK_FOLDER, e->d_name);
        cq_buf_byte(&path, 0);
        size_t len;
        char *copy = (char *)cq_buf_take(&path, &len);
        tests[n++] = (struct CMUnitTest){
            .name = strrchr(copy, '/') + 1, .test_func = talk_is_held_whole_and_byte_by_byte, .initial_state = copy};
    }
    closedir(dir);
    qsort(tests, n, sizeof *tests, by_name);
    return n;
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[TALKS_MAX + 1];
    const char *group = "imap_talk";
    size_t n = find_talks(tests, argc > 1 ? argv[1] : NULL);
    cq_log_set_level(CQ_DEBUG);
    cq_log_set_tap(look_for_passwords, NULL);
    assert_true(n > 0);
    if (argc == 1)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(no_password_was_logged);
    int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        free(tests[i].initial_state);
    return failed;
}
