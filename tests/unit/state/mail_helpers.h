/* One shard with one account, and the commands of proto/mail.proto as short calls. */
#ifndef MAIL_HELPERS_H
#define MAIL_HELPERS_H

#include "unit/cq_cmocka.h"

#include "base/cq_mem.h"
#include "mailstore/fetch_record.h"
#include "support/shard.h"

#include <stdio.h>
#include <stdlib.h>

#define ANA UINT64_C(0x1234000000000001)
#define M(name) CHASQUI__MAIL__METHOD__##name
#define D(name) &chasqui__mail__##name##__descriptor
#define W(name) CHASQUI__MAIL__##name##__INIT
#define INBOX 1
#define SECOND UINT64_C(1000000) /* us */

static inline struct machine_outcome h_run(struct shard *s, uint32_t method, const void *message)
{
    return shard_run(s, &(struct shard_call){.method = method, .account = ANA, .message = message});
}

static inline struct machine_outcome h_group(struct shard *s, uint32_t method, const void *message)
{
    return shard_run(s, &(struct shard_call){.method = method, .message = message});
}

static inline struct machine_outcome h_create_account(struct shard *s, Chasqui__Mail__Limits *limits)
{
    Chasqui__Mail__CreateAccount create = W(CREATE_ACCOUNT);
    create.address = (char *)"ana@example.test";
    create.limits = limits;
    struct machine_outcome got = h_run(s, M(CREATE_ACCOUNT), &create);
    if (got.rc == CQ_E_STALE) /* the group's first entries: the answer brings the time */
        got = h_run(s, M(CREATE_ACCOUNT), &create);
    return got;
}

static inline struct shard *h_shard_with(Chasqui__Mail__Limits *limits)
{
    struct shard *s = shard_new(1);
    shard_own_all(s);
    assert_int_equal(h_create_account(s, limits).rc, CQ_OK);
    return s;
}

static inline int h_setup(void **state)
{
    *state = h_shard_with(NULL);
    return 0;
}

/* Every test ends with the digest computed again from all records. */
static inline void h_finish(struct shard *s)
{
    uint64_t records;
    struct cq_err err = {.rc = CQ_OK};
    if (mail_machine_verify(shard_machine(s, 0), &records, &err) != CQ_OK)
        fail_msg("%s", err.text);
    shard_free(&s);
}

static inline int h_teardown(void **state)
{
    h_finish(*state);
    return 0;
}

struct h_message {
    const char *text;
    uint32_t flags;
    char *keyword;
};

static inline struct shard_call h_append_call(struct shard *s, uint64_t mailbox, const struct h_message *m)
{
    (void)s;
    static Chasqui__Mail__Append append;
    static Chasqui__Mail__NewMessage wire, *list;
    static char *keywords[1];
    struct cq_slice octets = cq_slice_cstr(m->text);
    struct cq_hash128 hash = cq_xxh3_128(octets);
    chasqui__mail__append__init(&append);
    chasqui__mail__new_message__init(&wire);
    wire.size = (uint32_t)octets.len;
    wire.body_hash_low = hash.low;
    wire.body_hash_high = hash.high;
    wire.flags = m->flags;
    wire.internal_date = 86400;
    keywords[0] = m->keyword;
    wire.keywords = keywords;
    wire.n_keywords = m->keyword ? 1 : 0;
    wire.summary = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "summary"};
    list = &wire;
    append.mailbox = mailbox;
    append.n_messages = 1;
    append.messages = &list;
    return (struct shard_call){.method = M(APPEND), .account = ANA, .message = &append.base, .raw = octets};
}

static inline enum cq_rc h_append(struct shard *s, uint64_t mailbox, struct h_message m)
{
    struct shard_call call = h_append_call(s, mailbox, &m);
    return shard_run(s, &call).rc;
}

static inline Chasqui__Mail__UidSet *h_set(uint32_t first, uint32_t last)
{
    static Chasqui__Mail__UidSet sets[4];
    static uint32_t ranges[4][2];
    static unsigned at;
    unsigned i = at++ % 4;
    chasqui__mail__uid_set__init(&sets[i]);
    ranges[i][0] = first;
    ranges[i][1] = last;
    sets[i].ranges = ranges[i];
    sets[i].n_ranges = 2;
    return &sets[i];
}

static inline enum cq_rc h_create(struct shard *s, const char *name, int use, uint64_t *id_r)
{
    Chasqui__Mail__CreateMailbox create = W(CREATE_MAILBOX);
    create.name = (char *)(uintptr_t)name;
    create.use = (Chasqui__Mail__SpecialUse)use;
    struct machine_outcome got = h_run(s, M(CREATE_MAILBOX), &create);
    if (id_r)
        *id_r = 0;
    if (got.rc == CQ_OK && id_r)
        *id_r = ((const Chasqui__Mail__MailboxReply *)shard_reply(s, &got, D(mailbox_reply)))->mailbox;
    return got.rc;
}

static inline enum cq_rc h_delete(struct shard *s, uint64_t id)
{
    Chasqui__Mail__DeleteMailbox deletion = W(DELETE_MAILBOX);
    deletion.mailbox = id;
    return h_run(s, M(DELETE_MAILBOX), &deletion).rc;
}

static inline enum cq_rc h_rename(struct shard *s, const char *from, const char *to)
{
    Chasqui__Mail__RenameMailbox rename = W(RENAME_MAILBOX);
    rename.from = (char *)(uintptr_t)from;
    rename.to = (char *)(uintptr_t)to;
    return h_run(s, M(RENAME_MAILBOX), &rename).rc;
}

static inline enum cq_rc h_flag(struct shard *s, uint64_t mailbox, uint32_t first, uint32_t last, int mode,
                                uint32_t flags)
{
    Chasqui__Mail__Store store = W(STORE);
    store.mailbox = mailbox;
    store.uids = h_set(first, last);
    store.mode = (Chasqui__Mail__Store__Mode)mode;
    store.flags = flags;
    return h_run(s, M(STORE), &store).rc;
}

static inline enum cq_rc h_expunge(struct shard *s, uint64_t mailbox)
{
    Chasqui__Mail__Expunge expunge = W(EXPUNGE);
    expunge.mailbox = mailbox;
    return h_run(s, M(EXPUNGE), &expunge).rc;
}

static inline enum cq_rc h_copy(struct shard *s, bool move, uint64_t from, uint64_t to, uint32_t first, uint32_t last)
{
    Chasqui__Mail__Copy copy = W(COPY);
    copy.from = from;
    copy.to = to;
    copy.uids = h_set(first, last);
    return h_run(s, move ? M(MOVE) : M(COPY), &copy).rc;
}

/* Valid until the next call. */
static inline const Chasqui__Mail__MailboxList *h_list(struct shard *s)
{
    Chasqui__Mail__Empty empty = W(EMPTY);
    const void *reply;
    assert_int_equal(shard_read(s, 0, M(LIST_MAILBOXES), ANA, &empty.base, D(mailbox_list), &reply, NULL), CQ_OK);
    return reply;
}

/* NULL when there is none of that name. */
static inline const Chasqui__Mail__Mailbox *h_mailbox(struct shard *s, const char *name)
{
    const Chasqui__Mail__MailboxList *list = h_list(s);
    for (size_t i = 0; i < list->n_mailboxes; i++)
        if (!strcmp(list->mailboxes[i]->name, name))
            return list->mailboxes[i];
    return NULL;
}

static inline bool h_subscribed(struct shard *s, const char *name)
{
    const Chasqui__Mail__MailboxList *list = h_list(s);
    for (size_t i = 0; i < list->n_subscriptions; i++)
        if (!strcmp(list->subscriptions[i], name))
            return true;
    return false;
}

static inline const Chasqui__Mail__AccountReply *h_account(struct shard *s)
{
    Chasqui__Mail__Empty empty = W(EMPTY);
    const void *reply;
    assert_int_equal(shard_read(s, 0, M(GET_ACCOUNT), ANA, &empty.base, D(account_reply), &reply, NULL), CQ_OK);
    return reply;
}

static inline const Chasqui__Mail__OpenMailboxReply *h_open(struct shard *s, uint64_t mailbox)
{
    Chasqui__Mail__OpenMailbox open = W(OPEN_MAILBOX);
    const void *reply;
    open.mailbox = mailbox;
    assert_int_equal(shard_read(s, 0, M(OPEN_MAILBOX), ANA, &open.base, D(open_mailbox_reply), &reply, NULL), CQ_OK);
    return reply;
}

/* The record of one message; false when it is not there. Valid until the next call. */
static inline bool h_fetch(struct shard *s, uint64_t mailbox, uint32_t uid, struct fetch_record *record_r)
{
    Chasqui__Mail__Fetch fetch = W(FETCH);
    const void *reply;
    struct cq_slice raw;
    fetch.mailbox = mailbox;
    fetch.uids = h_set(uid, uid);
    assert_int_equal(shard_read(s, 0, M(FETCH), ANA, &fetch.base, D(fetch_reply), &reply, &raw), CQ_OK);
    return fetch_record_next(&raw, record_r) == CQ_OK;
}

static inline const Chasqui__Mail__ChangesReply *h_changes(struct shard *s, uint64_t mailbox, uint64_t since,
                                                           uint32_t max, struct cq_slice *raw_r)
{
    Chasqui__Mail__Changes changes = W(CHANGES);
    const void *reply;
    changes.mailbox = mailbox;
    changes.since_modseq = since;
    changes.max_records = max;
    assert_int_equal(shard_read(s, 0, M(CHANGES), ANA, &changes.base, D(changes_reply), &reply, raw_r), CQ_OK);
    return reply;
}

static inline enum cq_rc h_reclaim(struct shard *s)
{
    Chasqui__Mail__Reclaim reclaim = W(RECLAIM);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && mail_machine_reclaim_due(shard_machine(s, 0), shard_time(s)))
        rc = h_group(s, M(RECLAIM), &reclaim).rc;
    return rc;
}

/* Brings the shard's clock into its state. */
static inline void h_later(struct shard *s, uint64_t us)
{
    Chasqui__Mail__Empty empty = W(EMPTY);
    shard_advance(s, us);
    assert_int_equal(h_group(s, M(DIGEST_MARK), &empty).rc, CQ_OK);
}

/* Dead chunks that are marked in the store. */
static inline size_t h_dead_chunks(struct shard *s)
{
    uint8_t from[DEAD_CHUNK_KEY_SIZE], to[DEAD_CHUNK_KEY_SIZE];
    shard_write(s, 0, true);
    dead_chunk_range(5, UINT64_MAX, from, to);
    struct store_iter *iter = store_iter_new(shard_store(s, 0), NULL, STORE_LOCAL, cq_slice_of(from, sizeof from),
                                             cq_slice_of(to, sizeof to));
    size_t n = 0;
    while (store_iter_next(iter) == CQ_OK)
        n++;
    store_iter_free(&iter);
    return n;
}

/* Live records of a family. */
static inline uint64_t h_keys(struct shard *s, enum store_family family)
{
    struct store_mem_counts counts;
    shard_write(s, 0, true);
    store_mem_counts(shard_store(s, 0), &counts);
    return counts.keys[family];
}

#define H_TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

#endif
