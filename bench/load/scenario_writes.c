/* For measuring failover: each session delivers small messages over LMTP to one account of its own, one after the
 * other, and never gives up: after a refusal or a lost connection it tries again at once (a new connection after 5 ms).
 * Every acknowledged write is printed: {"event": "ack", "session": N, "mono_us": T}. */
#include "scenarios.h"

#include <stdio.h>

#define AGAIN_MS 5

static void say_ack(const struct load_session *session)
{
    printf("{\"event\": \"ack\", \"session\": %zu, \"mono_us\": %llu}\n", session->number,
           (unsigned long long)load_now_us());
    fflush(stdout);
}

static bool connected(struct load_session *session, size_t attempt, struct cq_err *err)
{
    const struct load_options *options = session->run->options;
    const struct load_endpoint *endpoint = options->lmtp_delivery ? &options->lmtp : &options->smtp;
    if (session->client.conn)
        return true;
    if (load_smtp_open(&session->client, endpoint, session->number + attempt, options->lmtp_delivery, err) == CQ_OK)
        return true;
    load_client_close(&session->client);
    io_fiber_sleep(AGAIN_MS);
    return false;
}

void scenario_writes(struct load_session *session)
{
    struct load_run *run = session->run;
    struct cq_err err = {0};
    size_t attempt = 0;
    const struct load_account *to = load_account(session, session->number);
    for (bool go = load_ready(session); go && load_going(session); attempt++) {
        if (!connected(session, attempt, &err)) {
            load_failed(run, "connecting", &err);
            continue;
        }
        uint64_t start = load_now_us();
        bool refused = false;
        const struct load_letter letter = load_next_letter(session);
        if (load_smtp_send(&session->client, "sender@load.test", to->address, &letter, &refused, &err) == CQ_OK) {
            load_done(run, NULL, start, letter.message->len);
            say_ack(session);
            io_fiber_sleep(1);
            continue;
        }
        load_failed(run, "write", &err);
        if (!refused)
            load_client_close(&session->client);
        io_fiber_sleep(AGAIN_MS);
    }
}
