/* IMAP commands from the command line, in turn: FETCH of a large mailbox, BODY[] streaming, SELECT, SEARCH. Each
 * session logs in, selects the mailbox (unless it is empty), and says each command until the run is over. One
 * operation: a command until its OK; its first KIND_MAX octets are its kind. */
#include "scenarios.h"

#include <stdlib.h>

#include "base/cq_mem.h"

#define KIND_MAX 40

static char *kind_of(const char *command)
{
    return cq_strndup(command, strnlen(command, KIND_MAX));
}

static enum cq_rc prepare(struct load_session *session, struct cq_err *err)
{
    const struct load_options *options = session->run->options;
    const struct load_account *account = load_account(session, session->number);
    enum cq_rc rc = load_imap_login(&session->client, &options->imap, session->number, NULL, NULL, account->address,
                                    account->password, err);
    if (rc == CQ_OK && *options->mailbox)
        rc = load_imap_command(&session->client, err, "SELECT \"%s\"", options->mailbox);
    return rc;
}

void scenario_commands(struct load_session *session)
{
    static char *kinds[LOAD_KINDS_MAX]; /* of all sessions */
    struct load_run *run = session->run;
    const struct load_options *options = run->options;
    struct cq_err err = {0};
    if (prepare(session, &err) != CQ_OK) {
        load_failed(run, "preparing", &err);
        return;
    }
    size_t next = 0;
    for (bool go = load_ready(session); go && load_going(session); next = (next + 1) % options->command_count) {
        uint64_t start = load_now_us();
        enum cq_rc rc = load_imap_command(&session->client, &err, "%s", options->commands[next]);
        if (!kinds[next])
            kinds[next] = kind_of(options->commands[next]);
        if (rc == CQ_OK)
            load_done(run, kinds[next], start, session->client.imap.octets);
        else
            load_failed(run, kinds[next], &err);
        go = rc == CQ_OK || rc == CQ_E_DENIED;
    }
}
