#include "frontend_imap.h"

#include "base/cq_mem.h"
#include "core/front_login.h"

#include <stdlib.h>

struct imap_client {
    struct front_session front;
    struct imap_session *session;
};

static enum cq_rc login(void *host, struct imap_session *session, const struct imap_login *login,
                        struct imap_identity *identity_r, struct cq_err *err)
{
    struct imap_client *client = host;
    (void)session;
    enum cq_rc rc = front_login(&client->front, DIR_IMAP, login->mechanism, login->user, login->password, err);
    identity_r->account = client->front.account;
    return rc;
}

static void closed(void *host)
{
    struct imap_client *client = host;
    struct imap_session_info info;
    imap_session_info(client->session, &info);
    client->front.commands = info.commands;
    if (info.bye && !client->front.ended_by)
        client->front.ended_by = "server";
    front_session_fini(&client->front);
    free(client);
}

const struct imap_host_ops frontend_imap_ops = {.login = login, .closed = closed};

static void end(struct front_session *front, enum front_end why)
{
    static const enum imap_end ends[] = {
        [FRONT_END_DRAIN] = IMAP_END_DRAIN,
        [FRONT_END_KICKED] = IMAP_END_KICKED,
        [FRONT_END_ACCOUNT] = IMAP_END_ACCOUNT,
    };
    imap_session_end(cq_containerof(front, struct imap_client, front)->session, ends[why]);
}

void frontend_imap_start(struct front_worker *worker, struct imap_service *service, struct io_conn *conn)
{
    struct imap_client *client = cq_new(struct imap_client);
    front_session_init(&client->front, worker, FRONT_IMAP, conn, end);
    client->session = imap_session_start(service, conn, client->front.id, client);
}
