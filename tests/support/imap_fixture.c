#include "support/imap_fixture.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "mail/mail_build.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_TURNS 400 /* turns without a byte after which the server has nothing to do */

/* ---- Host ---- */

static enum cq_rc login(void *host, struct imap_session *session, const struct imap_login *login,
                        struct imap_identity *identity_r, struct cq_err *err)
{
    struct imap_peer *peer = host;
    (void)session;
    peer->fixture->logins++;
    if (io_fiber_sleep(0) != CQ_OK) /* a real one suspends */
        return CQ_E_CANCELLED;
    if (cq_slice_eq(login->user, CQ_SLICE("broken")))
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "directory");
    if (cq_slice_eq(login->user, CQ_SLICE("denied")))
        return CQ_E_DENIED;
    if (cq_slice_eq(login->user, CQ_SLICE("busy")))
        return CQ_E_LIMIT;
    if (!cq_slice_eq(login->user, CQ_SLICE("ana")) || !cq_slice_eq(login->password, CQ_SLICE("secret")))
        return CQ_E_AUTH;
    identity_r->account = peer->fixture->account.id;
    return CQ_OK;
}

static void closed(void *host)
{
    struct imap_peer *peer = host;
    peer->session = NULL;
    peer->fixture->closed++;
}

static const struct imap_host_ops host_ops = {login, closed};

static enum cq_rc fault(void *arg, const struct mailstore_call *call, bool applied)
{
    struct imap_fixture *f = arg;
    CQ_ASSERT(call->method < IMAP_FIXTURE_METHODS);
    f->calls[call->method] += !applied;
    void (*before_call)(void *) = applied ? NULL : f->before_call;
    if (before_call) {
        f->before_call = NULL; /* its own calls are nobody's moment */
        before_call(f->before_arg);
        f->before_call = before_call;
    }
    if (f->fault == CQ_OK || applied != f->fault_applied || (f->fault_method && call->method != f->fault_method))
        return CQ_OK;
    if (f->fault_after > 0) {
        f->fault_after--;
        return CQ_OK;
    }
    return f->fault;
}

/* ---- Fixture ---- */

void imap_fixture_new_account(struct imap_fixture *f, uint64_t id)
{
    const struct mail_limits limits = {.directory_version = 1};
    struct cq_err err = {0};
    f->account = (struct mailstore_account){.id = id};
    CQ_ASSERT(mailstore_create_account(f->store, &f->account, &limits, CQ_SLICE("ana@example.test"), &err) == CQ_OK);
}

struct imap_fixture *imap_fixture_new(void)
{
    return imap_fixture_new_tls(NULL);
}

struct imap_fixture *imap_fixture_new_tls(struct io_tls *tls)
{
    struct imap_fixture *f = cq_new(struct imap_fixture);
    static const uint8_t client[16] = "client of a test";
    const struct io_loop_options loop_options = {.name = "test", .manual_clock = true};
    f->loop = io_loop_new(&loop_options);
    f->local = mailstore_local_new();
    mailstore_local_set_fault(f->local, fault, f);
    f->store = mailstore_new(mailstore_local_transport(f->local), client, 1000);
    imap_fixture_new_account(f, IMAP_FIXTURE_ACCOUNT);
    f->config = (struct imap_config){
        .message_max = 50u << 20,
        .login_timeout_us = 30000000,
        .autologout_us = UINT64_C(1800000000),
        .still_here_us = 120000000,
        .login_without_tls = tls == NULL,
    };
    const struct imap_service_options options = {.loop = f->loop,
                                                 .store = f->store,
                                                 .config = &f->config,
                                                 .starttls = tls,
                                                 .ops = &host_ops,
                                                 .ahead_octets = &f->ahead_octets};
    f->service = imap_service_new(&options);
    return f;
}

void imap_fixture_free(struct imap_fixture **fixture)
{
    struct imap_fixture *f = *fixture;
    if (!f)
        return;
    CQ_ASSERT(imap_service_sessions(f->service) == 0);
    imap_service_free(&f->service);
    mailstore_free(&f->store);
    mailstore_local_free(&f->local);
    io_loop_free(&f->loop);
    free(f);
    *fixture = NULL;
}

void imap_fixture_settle(struct imap_fixture *f)
{
    for (int i = 0; i < IDLE_TURNS; i++)
        io_loop_turn(f->loop, false);
}

void imap_fixture_deliver(struct imap_fixture *f, struct cq_slice message)
{
    struct cq_buf summary;
    struct cq_err err = {0};
    bool absorbed;
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    mail_summary_of(message, &summary);
    const struct mail_new_message new_message = {
        .internal_date = 1767225600, .summary = cq_buf_slice(&summary), .octets = &message, .octet_count = 1};
    const struct mail_delivery delivery = {.use = MAIL_USE_INBOX};
    CQ_ASSERT(mailstore_deliver(f->store, &f->account, &new_message, &delivery, &absorbed, &err) == CQ_OK);
    cq_buf_fini(&summary);
}

/* ---- Peer ---- */

void imap_peer_adopt(struct imap_fixture *f, struct imap_peer *peer, struct io_conn *conn)
{
    *peer = (struct imap_peer){.fixture = f, .fd = -1};
    cq_buf_init(&peer->in, 256u << 20);
    peer->session = imap_session_start(f->service, conn, "test", peer);
}

void imap_peer_connect(struct imap_fixture *f, struct imap_peer *peer)
{
    int fd;
    struct io_conn *conn = io_pair_new_fd(f->loop, NULL, &fd);
    imap_peer_adopt(f, peer, conn);
    peer->fd = fd;
}

void imap_peer_close(struct imap_peer *peer)
{
    close(peer->fd);
    for (int i = 0; i < 1000 && peer->session; i++)
        io_loop_turn(peer->fixture->loop, false);
    CQ_ASSERT(!peer->session);
    cq_buf_fini(&peer->in);
}

/* Takes what the server has sent; false: nothing. */
static bool receive(struct imap_peer *peer)
{
    bool any = false;
    for (;;) {
        uint8_t *room = cq_buf_reserve(&peer->in, 65536);
        ssize_t n = recv(peer->fd, room, 65536, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            peer->eof = true;
        if (n <= 0)
            return any;
        cq_buf_commit(&peer->in, (size_t)n);
        any = true;
    }
}

void imap_peer_send(struct imap_peer *peer, struct cq_slice bytes, size_t piece)
{
    while (bytes.len && !peer->eof) {
        struct cq_slice part = cq_slice_sub(bytes, 0, piece);
        ssize_t n = send(peer->fd, part.data, part.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            bytes = cq_slice_skip(bytes, (size_t)n);
        else if (errno != EAGAIN)
            return;
        io_loop_turn(peer->fixture->loop, false);
        receive(peer);
    }
}

static bool take_line(struct imap_peer *peer, struct cq_pool *pool, struct cq_slice *line_r)
{
    struct cq_slice all = cq_buf_slice(&peer->in);
    size_t n = cq_slice_find(all, '\n');
    if (n == all.len)
        return false;
    size_t len = n && all.data[n - 1] == '\r' ? n - 1 : n;
    *line_r = cq_pool_slice(pool, cq_slice_sub(all, 0, len));
    cq_buf_consume(&peer->in, n + 1);
    return true;
}

bool imap_peer_line(struct imap_peer *peer, struct cq_pool *pool, struct cq_slice *line_r)
{
    for (int idle = 0; idle < IDLE_TURNS; idle++) {
        if (take_line(peer, pool, line_r))
            return true;
        io_loop_turn(peer->fixture->loop, false);
        if (receive(peer))
            idle = 0;
    }
    return take_line(peer, pool, line_r);
}

bool imap_peer_until(struct imap_peer *peer, const char *tag, struct cq_buf *out)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_slice line, want = cq_slice_cstr(tag);
    bool found = false;
    while (!found && imap_peer_line(peer, pool, &line)) {
        cq_buf_slice_add(out, line);
        cq_buf_cstr(out, "\r\n");
        found = cq_slice_starts(line, want) && line.len > want.len && line.data[want.len] == ' ';
        cq_pool_clear(pool);
    }
    cq_pool_free(&pool);
    return found;
}
