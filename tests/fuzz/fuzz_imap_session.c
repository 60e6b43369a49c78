/* A whole session over a shard in memory: whatever a client sends, nothing breaks and the session can be ended. The
 * first byte says how far the session is before the input comes: 0 connected, 1 logged in, 2 a mailbox of two messages
 * is selected; its upper bits say how many bytes are sent at a time. */
#include "support/imap_fixture.h"

#include "base/cq_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say(struct imap_peer *peer, struct cq_slice text)
{
    imap_peer_send(peer, text, SIZE_MAX);
}

static void prepare(struct imap_peer *peer, unsigned how_far)
{
    if (how_far > 0)
        say(peer, CQ_SLICE("l LOGIN ana secret\r\n"));
    if (how_far < 2)
        return;
    say(peer, CQ_SLICE("a APPEND INBOX (\\Seen k) {19+}\r\nSubject: a\r\n\r\nbody\r\n\r\n"));
    say(peer, CQ_SLICE("b APPEND INBOX {45+}\r\nFrom: x@y\r\nContent-Type: text/html\r\n\r\n<b>c</b>\r\n"));
    say(peer, CQ_SLICE("s SELECT INBOX\r\n"));
    for (int i = 0; i < 20; i++)
        io_loop_turn(peer->fixture->loop, false);
}

/* Each input has an account of its own; the shard under it lasts for a while. */
static struct imap_fixture *fresh_fixture(void)
{
    static struct imap_fixture *fixture;
    static uint64_t runs;
    if (runs % 500 == 0) {
        imap_fixture_free(&fixture);
        fixture = imap_fixture_new();
    }
    imap_fixture_new_account(fixture, IMAP_FIXTURE_ACCOUNT + ++runs);
    return fixture;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    cq_log_set_level(CQ_ERROR);
    struct imap_fixture *fixture = fresh_fixture();
    struct imap_peer peer;
    imap_peer_connect(fixture, &peer);
    prepare(&peer, data[0] % 4);
    imap_peer_send(&peer, cq_slice_of(data + 1, size - 1), 16 + (size_t)(data[0] >> 2) * 64);
    for (int i = 0; i < 20; i++)
        io_loop_turn(fixture->loop, false);
    imap_peer_close(&peer);
    return 0;
}
