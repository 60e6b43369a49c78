#include "load_client.h"

#include <stdarg.h>
#include <stdio.h>

#define LINE_SIZE 2048 /* octets of one formatted command */

static uint64_t deadline(const struct load_client *c)
{
    return io_loop_deadline(c->loop, LOAD_WAIT_MS);
}

enum cq_rc load_client_open(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                            const struct io_addr *from, const struct io_tls_session *resume, struct cq_err *err)
{
    struct io_conn_options options = IO_CONN_OPTIONS_DEFAULT;
    options.input_max = LOAD_INPUT_MAX;
    options.output_high = 4u << 20;
    struct io_connect what = {.addr = endpoint->addresses[number % endpoint->count],
                              .options = &options,
                              .tls = endpoint->tls == LOAD_TLS_IMPLICIT ? c->tls : NULL,
                              .server_name = c->server_name,
                              .resume = resume};
    if (from)
        what.bind = *from;
    return io_conn_connect(c->loop, &what, deadline(c), &c->conn, err);
}

enum cq_rc load_client_secure(struct load_client *c, struct cq_err *err)
{
    return io_conn_start_tls_client(c->conn, c->tls, c->server_name, NULL, deadline(c), err);
}

void load_client_close(struct load_client *c)
{
    if (c->conn)
        io_conn_close_free(&c->conn);
}

/* Feeds `feed` until `done` holds. */
#define WAIT_UNTIL(c, done, feed, err)                                                                                 \
    do {                                                                                                               \
        struct cq_slice in_ = io_conn_input((c)->conn);                                                                \
        if (in_.len) {                                                                                                 \
            io_conn_consume((c)->conn, (feed));                                                                        \
        } else {                                                                                                       \
            enum cq_rc rc_ = io_conn_read_more((c)->conn, deadline(c));                                                \
            if (rc_ != CQ_OK)                                                                                          \
                return CQ_FAIL(err, rc_, "waiting for an answer: %s", cq_rc_text(rc_));                                \
        }                                                                                                              \
    } while (!(done))

/* ---- IMAP ---- */

void load_imap_tag(struct load_client *c)
{
    snprintf(c->tag, sizeof c->tag, "a%u", ++c->tag_number);
    load_imap_begin(&c->imap, c->tag);
    io_conn_printf(c->conn, "%s ", c->tag);
}

enum cq_rc load_imap_wait(struct load_client *c, enum load_status wanted, struct cq_err *err)
{
    WAIT_UNTIL(c, c->imap.status != LOAD_PENDING, load_imap_feed(&c->imap, io_conn_input(c->conn)), err);
    if (c->imap.status == wanted)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_DENIED, "%s", (const char *)c->imap.line.head);
}

static void write_line(struct load_client *c, const char *fmt, va_list args)
{
    char line[LINE_SIZE];
    vsnprintf(line, sizeof line, fmt, args);
    io_conn_write_cstr(c->conn, line);
    io_conn_write(c->conn, CQ_SLICE("\r\n"));
}

enum cq_rc load_imap_command(struct load_client *c, struct cq_err *err, const char *fmt, ...)
{
    va_list args;
    load_imap_tag(c);
    va_start(args, fmt);
    write_line(c, fmt, args);
    va_end(args);
    return load_imap_wait(c, LOAD_OK, err);
}

enum cq_rc load_imap_login(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                           const struct io_addr *from, const struct io_tls_session *resume, const char *address,
                           const char *password, struct cq_err *err)
{
    enum cq_rc rc = load_client_open(c, endpoint, number, from, resume, err);
    if (rc != CQ_OK)
        return rc;
    load_imap_begin(&c->imap, "");
    rc = load_imap_wait(c, LOAD_GREETING, err);
    if (rc == CQ_OK && endpoint->tls == LOAD_TLS_START)
        rc = load_imap_command(c, err, "STARTTLS");
    if (rc == CQ_OK && endpoint->tls == LOAD_TLS_START)
        rc = load_client_secure(c, err);
    if (rc == CQ_OK)
        rc = load_imap_command(c, err, "LOGIN \"%s\" \"%s\"", address, password);
    return rc;
}

/* ---- SMTP ---- */

enum cq_rc load_smtp_wait(struct load_client *c, int digit, struct cq_err *err)
{
    c->reply.code = 0;
    load_line_clear(&c->reply.line);
    WAIT_UNTIL(c, c->reply.code, load_reply_feed(&c->reply, io_conn_input(c->conn)), err);
    if (c->reply.code / 100 == digit)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_DENIED, "%s", (const char *)c->reply.line.head);
}

static enum cq_rc hello(struct load_client *c, bool lmtp, struct cq_err *err)
{
    io_conn_write_cstr(c->conn, lmtp ? "LHLO load.test\r\n" : "EHLO load.test\r\n");
    return load_smtp_wait(c, 2, err);
}

enum cq_rc load_smtp_open(struct load_client *c, const struct load_endpoint *endpoint, size_t number, bool lmtp,
                          struct cq_err *err)
{
    enum cq_rc rc = load_client_open(c, endpoint, number, NULL, NULL, err);
    if (rc == CQ_OK)
        rc = load_smtp_wait(c, 2, err);
    if (rc == CQ_OK)
        rc = hello(c, lmtp, err);
    if (rc != CQ_OK || endpoint->tls != LOAD_TLS_START)
        return rc;
    io_conn_write_cstr(c->conn, "STARTTLS\r\n");
    rc = load_smtp_wait(c, 2, err);
    if (rc == CQ_OK)
        rc = load_client_secure(c, err);
    return rc == CQ_OK ? hello(c, lmtp, err) : rc;
}

/* After a refusal inside the transaction the session begins anew. */
static enum cq_rc reset(struct load_client *c, struct cq_err *why)
{
    struct cq_err err = {0};
    io_conn_write_cstr(c->conn, "RSET\r\n");
    enum cq_rc rc = load_smtp_wait(c, 2, &err);
    return rc == CQ_OK ? why->rc : rc;
}

enum cq_rc load_smtp_send(struct load_client *c, const char *from, const char *to, const struct load_letter *letter,
                          bool *refused_r, struct cq_err *err)
{
    static const int expected[] = {2, 2, 3};
    io_conn_printf(c->conn, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", from, to);
    enum cq_rc rc = CQ_OK, first = CQ_OK;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        rc = load_smtp_wait(c, expected[i], first == CQ_OK ? err : NULL);
        if (rc != CQ_OK && rc != CQ_E_DENIED)
            return rc;
        first = first == CQ_OK ? rc : first;
    }
    if (first == CQ_OK) {
        io_conn_write(c->conn, load_letter_stamp(letter));
        io_conn_write(c->conn, CQ_SLICE(".\r\n"));
        rc = load_smtp_wait(c, 2, err);
        if (refused_r)
            *refused_r = rc == CQ_E_DENIED;
        return rc;
    }
    if (refused_r)
        *refused_r = true;
    if (c->reply.code / 100 == 3) { /* DATA was taken though a recipient was not: an empty one (RFC 2920 3.1) */
        io_conn_write(c->conn, CQ_SLICE(".\r\n"));
        load_smtp_wait(c, 5, NULL);
    }
    return reset(c, err);
}

/* ---- POP3 ---- */

static enum cq_rc pop_wait(struct load_client *c, bool multi, struct cq_err *err)
{
    load_pop_begin(&c->pop, multi);
    WAIT_UNTIL(c, c->pop.status != LOAD_PENDING, load_pop_feed(&c->pop, io_conn_input(c->conn)), err);
    if (c->pop.status == LOAD_OK)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_DENIED, "%s", (const char *)c->pop.line.head);
}

enum cq_rc load_pop_command(struct load_client *c, bool multi, struct cq_err *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    write_line(c, fmt, args);
    va_end(args);
    return pop_wait(c, multi, err);
}

enum cq_rc load_pop_login(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                          const char *address, const char *password, struct cq_err *err)
{
    enum cq_rc rc = load_client_open(c, endpoint, number, NULL, NULL, err);
    if (rc == CQ_OK)
        rc = pop_wait(c, false, err);
    if (rc == CQ_OK && endpoint->tls == LOAD_TLS_START)
        rc = load_pop_command(c, false, err, "STLS");
    if (rc == CQ_OK && endpoint->tls == LOAD_TLS_START)
        rc = load_client_secure(c, err);
    if (rc == CQ_OK)
        rc = load_pop_command(c, false, err, "USER %s", address);
    return rc == CQ_OK ? load_pop_command(c, false, err, "PASS %s", password) : rc;
}
