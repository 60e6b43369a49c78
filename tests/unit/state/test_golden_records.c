/* Golden records (tests/golden/README.md): the stores in which the golden logs ended, as the build of their time wrote
 * them. Each later build opens them, finds every record sound and the digest the same, and reads the same from them.
 * CQ_GOLDEN_WRITE=yes replays the logs and writes them anew. */
#include "unit/cq_cmocka.h"

#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "proto/system.pb-c.h"
#include "state/mail_machine.h"
#include "state/state_key.h"
#include "store/store_mem.h"
#include "system/system_machine.h"

#include "proto/mail.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define LOG_END UINT32_MAX
#define RECORDS_END 0xff
#define TERM 3
#define ANSWER_MAX (64u << 20)

struct kind {
    const char *log, *records;
    uint32_t group;
    uint64_t incarnation;
    enum cq_rc (*open)(const struct machine_config *config, struct machine **machine_r, struct cq_err *err);
};
static const struct kind kinds[] = {
    {GOLDEN_FOLDER "/mail-1.log", GOLDEN_FOLDER "/mail-1.records", 5, 77, mail_machine_open},
    {GOLDEN_FOLDER "/mail-2.log", GOLDEN_FOLDER "/mail-2.records", 5, 77, mail_machine_open},
    {GOLDEN_FOLDER "/system-1.log", GOLDEN_FOLDER "/system-1.records", SYSTEM_GROUP, 1, system_machine_open},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static struct machine *open_machine(const struct kind *kind, struct store *store)
{
    const struct machine_config config = {
        .store = store, .group = kind->group, .generation = 1, .incarnation = kind->incarnation};
    struct machine *machine = NULL;
    struct cq_err err = {0};
    if (kind->open(&config, &machine, &err) != CQ_OK)
        fail_msg("%s: %s", kind->records, err.text);
    return machine;
}

/* ---- What can be read ---- */

struct reader {
    struct machine *machine;
    struct cq_buf answer, raw;
    uint64_t hash;
};

/* One read, into the hash; the reply's octets live until the next one. */
static struct cq_slice ask(struct reader *r, uint32_t method, uint64_t account, const ProtobufCMessage *message,
                           struct cq_pool *pool)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t *body = cq_pool_alloc(pool, protobuf_c_message_get_packed_size(message) + 1);
    call.body = (ProtobufCBinaryData){protobuf_c_message_pack(message, body), body};
    uint8_t *bytes = cq_pool_alloc(pool, protobuf_c_message_get_packed_size(&call.base) + 1);
    const struct machine_read read = {method, account, cq_slice_of(bytes, protobuf_c_message_pack(&call.base, bytes))};
    cq_buf_reset(&r->answer, SIZE_MAX);
    cq_buf_reset(&r->raw, SIZE_MAX);
    enum cq_rc rc = r->machine->ops->read(r->machine, &read, pool, &r->answer, &r->raw, NULL);
    r->hash = cq_xxh3_64_seed(cq_buf_slice(&r->answer), r->hash ^ (uint64_t)rc);
    r->hash = cq_xxh3_64_seed(cq_buf_slice(&r->raw), r->hash);
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, r->answer.len, r->answer.data);
    struct cq_slice reply =
        answer ? cq_pool_slice(pool, cq_slice_of(answer->body.data, answer->body.len)) : CQ_SLICE_NONE;
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    return reply;
}

static void ask_mailbox(struct reader *r, uint64_t account, uint64_t mailbox, struct cq_pool *pool)
{
    Chasqui__Mail__OpenMailbox open = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    Chasqui__Mail__Changes changes = CHASQUI__MAIL__CHANGES__INIT;
    Chasqui__Mail__Fetch fetch = CHASQUI__MAIL__FETCH__INIT;
    Chasqui__Mail__UidSet all = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[] = {1, UINT32_MAX};
    open.mailbox = changes.mailbox = fetch.mailbox = mailbox;
    all.ranges = range;
    all.n_ranges = 2;
    fetch.uids = &all;
    fetch.summaries = true;
    ask(r, CHASQUI__MAIL__METHOD__OPEN_MAILBOX, account, &open.base, pool);
    ask(r, CHASQUI__MAIL__METHOD__CHANGES, account, &changes.base, pool);
    ask(r, CHASQUI__MAIL__METHOD__FETCH, account, &fetch.base, pool);
}

static void ask_account(struct reader *r, uint64_t account)
{
    Chasqui__Mail__Empty empty = CHASQUI__MAIL__EMPTY__INIT;
    Chasqui__Mail__ListMailboxes list = CHASQUI__MAIL__LIST_MAILBOXES__INIT;
    struct cq_pool *pool = cq_pool_new(4096);
    ask(r, CHASQUI__MAIL__METHOD__GET_ACCOUNT, account, &empty.base, pool);
    struct cq_slice reply = ask(r, CHASQUI__MAIL__METHOD__LIST_MAILBOXES, account, &list.base, pool);
    Chasqui__Mail__MailboxList *found = chasqui__mail__mailbox_list__unpack(NULL, reply.len, reply.data);
    assert_non_null(found);
    for (size_t i = 0; i < found->n_mailboxes; i++)
        ask_mailbox(r, account, found->mailboxes[i]->id, pool);
    chasqui__mail__mailbox_list__free_unpacked(found, NULL);
    cq_pool_free(&pool);
}

static bool hash_event(void *ctx, struct outbox_position position, struct cq_slice event)
{
    struct reader *r = ctx;
    r->hash = cq_xxh3_64_seed(event, r->hash ^ position.index ^ position.sub_index);
    return true;
}

/* Every account, mailbox, message and event; nothing that is damaged. */
static void read_mail(struct reader *r, struct store *store)
{
    struct store_iter *iter = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    uint64_t records;
    size_t accounts = 0;
    assert_int_equal(mail_machine_verify(r->machine, &records, NULL), CQ_OK);
    while (store_iter_next(iter) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter);
        if (key.len != STATE_KEY_HEAD || key.data[STATE_KEY_HEAD - 1] != KEY_ACCOUNT)
            continue;
        ask_account(r, cq_get_be64(key.data + 8));
        accounts++;
    }
    store_iter_free(&iter);
    assert_true(accounts > 0);
    assert_int_equal(mail_machine_outbox_walk(r->machine, (struct outbox_position){0, 0}, hash_event, r, NULL),
                     CQ_E_EOF);
}

static void read_system(struct reader *r)
{
    Chasqui__System__GetTopology get = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    struct cq_pool *pool = cq_pool_new(4096);
    assert_true(ask(r, CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, 0, &get.base, pool).len > 1000);
    cq_pool_free(&pool);
}

/* hash u64 and digest: what a build must get out of the records. */
static void judge(const struct kind *kind, struct store *store, uint8_t verdict_r[static 24])
{
    struct reader r = {.machine = open_machine(kind, store), .hash = kind->group};
    cq_buf_init(&r.answer, ANSWER_MAX);
    cq_buf_init(&r.raw, ANSWER_MAX);
    if (kind->group == SYSTEM_GROUP)
        read_system(&r);
    else
        read_mail(&r, store);
    cq_put_le64(verdict_r, r.hash);
    r.machine->ops->digest(r.machine, verdict_r + 8);
    assert_int_equal(r.machine->ops->health(r.machine), CQ_OK);
    r.machine->ops->close(r.machine);
    cq_buf_fini(&r.answer);
    cq_buf_fini(&r.raw);
}

/* ---- Writing ---- */

static void put(FILE *f, const void *bytes, size_t len)
{
    assert_int_equal(fwrite(bytes, 1, len, f), len);
}

static void get(FILE *f, void *bytes, size_t len)
{
    assert_int_equal(fread(bytes, 1, len, f), len);
}

static void replay(const struct kind *kind, struct machine *machine)
{
    FILE *f = fopen(kind->log, "rb");
    assert_non_null(f);
    for (uint64_t index = 1;; index++) {
        uint8_t head[12];
        struct machine_outcome outcome;
        get(f, head, 4);
        if (cq_get_le32(head) == LOG_END)
            break;
        get(f, head + 4, 8);
        uint8_t *entry = cq_malloc(cq_get_le32(head));
        get(f, entry, cq_get_le32(head));
        struct cq_pool *pool = cq_pool_new(4096);
        machine->ops->apply(machine, (struct machine_position){index, TERM}, cq_slice_of(entry, cq_get_le32(head)),
                            pool, &outcome);
        cq_pool_free(&pool);
        free(entry);
    }
    fclose(f);
}

static void write_effects(struct machine *machine, struct store *store)
{
    struct machine_effects *effects = machine->ops->effects_take(machine);
    struct store_batch *batch = store_batch_new(store);
    machine->ops->effects_encode(effects, batch);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    machine->ops->effects_written(machine, effects);
    store_batch_free(&batch);
}

static void dump(struct store *store, enum store_family family, FILE *f)
{
    struct store_iter *iter = store_iter_new(store, NULL, family, CQ_SLICE_NONE, CQ_SLICE_NONE);
    while (store_iter_next(iter) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter), value = store_iter_value(iter);
        uint8_t head[9] = {(uint8_t)family};
        cq_put_le32(head + 1, (uint32_t)key.len);
        cq_put_le32(head + 5, (uint32_t)value.len);
        put(f, head, sizeof head);
        put(f, key.data, key.len);
        put(f, value.data, value.len);
    }
    store_iter_free(&iter);
}

static void write_records(const struct kind *kind)
{
    struct store *store = store_mem_new();
    struct machine *machine = open_machine(kind, store);
    uint8_t end[25] = {RECORDS_END};
    replay(kind, machine);
    write_effects(machine, store);
    machine->ops->close(machine);
    FILE *f = fopen(kind->records, "wb");
    assert_non_null(f);
    dump(store, STORE_STATE, f);
    dump(store, STORE_LOCAL, f);
    judge(kind, store, end + 1);
    put(f, end, sizeof end);
    assert_int_equal(fclose(f), 0);
    store_close(&store);
}

/* ---- Reading ---- */

/* False at the end. */
static bool load_one(FILE *f, struct store_batch *batch)
{
    uint8_t head[9];
    get(f, head, 1);
    if (head[0] == RECORDS_END)
        return false;
    get(f, head + 1, 8);
    assert_true(head[0] == STORE_STATE || head[0] == STORE_LOCAL);
    uint32_t key = cq_get_le32(head + 1), value = cq_get_le32(head + 5);
    uint8_t *bytes = cq_malloc((size_t)key + value + 1);
    get(f, bytes, (size_t)key + value);
    store_batch_put(batch, (enum store_family)head[0], cq_slice_of(bytes, key), cq_slice_of(bytes + key, value));
    free(bytes);
    return true;
}

static void records_of_earlier_builds_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        uint8_t want[24], got[24];
        FILE *f = fopen(kinds[i].records, "rb");
        assert_non_null(f);
        struct store *store = store_mem_new();
        struct store_batch *batch = store_batch_new(store);
        while (load_one(f, batch))
            ;
        get(f, want, sizeof want);
        fclose(f);
        assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
        judge(&kinds[i], store, got);
        if (memcmp(want + 8, got + 8, 16) != 0)
            fail_msg("%s: another digest", kinds[i].records);
        if (memcmp(want, got, 8) != 0)
            fail_msg("%s: something else is read from it", kinds[i].records);
        store_close(&store);
    }
}

int main(void)
{
    if (getenv("CQ_GOLDEN_WRITE")) {
        for (size_t i = 0; i < KINDS; i++)
            write_records(&kinds[i]);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_earlier_builds_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
