/* Messages into mailboxes over SMTP or LMTP. One operation: MAIL, RCPT and DATA pipelined, the message, its 250. Each
 * session is one connection; recipients are drawn from all accounts. */
#include "scenarios.h"

void scenario_delivery(struct load_session *session)
{
    struct load_run *run = session->run;
    const struct load_options *options = run->options;
    const struct load_endpoint *endpoint = options->lmtp_delivery ? &options->lmtp : &options->smtp;
    struct cq_err err = {0};
    if (load_smtp_open(&session->client, endpoint, session->number, options->lmtp_delivery, &err) != CQ_OK) {
        load_failed(run, "connecting", &err);
        return;
    }
    for (bool go = load_ready(session); go && load_going(session);) {
        const struct load_account *to =
            load_account(session, cq_prng_below(&session->prng, (uint32_t)options->account_count));
        uint64_t start = load_now_us();
        const struct load_letter letter = load_next_letter(session);
        bool refused = false;
        if (load_smtp_send(&session->client, "sender@load.test", to->address, &letter, &refused, &err) == CQ_OK) {
            load_done(run, NULL, start, letter.message->len);
            continue;
        }
        load_failed(run, "delivery", &err);
        go = refused;
    }
}
