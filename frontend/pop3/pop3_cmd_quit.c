/* QUIT: in the transaction state it enters UPDATE (RFC 1939 6): now, and only now, what was marked goes. */
#include "pop3/pop3_session.h"

static struct uidset marked(const struct pop3_session *session, struct cq_pool *pool)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    for (size_t i = 0; i < session->count; i++)
        if (session->messages[i].deleted)
            uidset_builder_add(&builder, session->messages[i].uid, session->messages[i].uid);
    return uidset_builder_finish(&builder);
}

static enum cq_rc remove_marked(struct pop3_session *session, struct cq_pool *pool, struct cq_err *err)
{
    struct mailstore *store = session->pump.front.worker->mailstore;
    struct uidset uids = marked(session, pool), unused;
    uint64_t modseq;
    if (!uids.count)
        return CQ_OK;
    const struct mail_store change = {
        .mailbox = session->mailbox,
        .uids = &uids,
        .mode = MAIL_STORE_ADD,
        .flags = MAIL_DELETED,
    };
    enum cq_rc rc = mailstore_store(store, &session->account, &change, pool, &unused, &modseq, err);
    if (rc == CQ_OK)
        rc = mailstore_expunge(store, &session->account, session->mailbox, &uids, pool, &unused, err);
    return rc;
}

void pop3_cmd_quit(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_err err = {0};
    enum cq_rc rc = remove_marked(session, pool, &err);
    cq_pool_free(&pool);
    if (rc == CQ_OK)
        pop3_say(session, "+OK Bye");
    else
        pop3_say(session, "-ERR [SYS/TEMP] Some deleted messages were not removed");
    session->pump.closing = true;
}
