/* The calls against a transport that records what it was asked and answers what the test says. */
#include "mailstore/mailstore.h"

#include "unit/cq_cmocka.h"

#include <proto/mail.pb-c.h>
#include <stdlib.h>

#define ACCOUNT UINT64_C(0x1234000000000001)

struct fake {
    struct mailstore_transport transport;
    unsigned calls;
    uint64_t sequences[64], dones[64], stamps[64];
    uint64_t uids[64]; /* size of the UID set of a STORE */
    enum cq_rc rc[64];
    uint64_t entry_time;
    bool garbage;
};

static struct cq_slice packed(struct cq_pool *pool, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = cq_pool_alloc(pool, len);
    protobuf_c_message_pack(message, data);
    return cq_slice_of(data, len);
}

static enum cq_rc fake_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                            struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct fake *fake = (struct fake *)transport;
    unsigned n = fake->calls++;
    (void)err;
    Chasqui__Mail__Call *wire = chasqui__mail__call__unpack(NULL, call->message.len, call->message.data);
    fake->sequences[n] = wire->sequence;
    fake->dones[n] = wire->done;
    fake->stamps[n] = wire->stamp;
    if (call->method == CHASQUI__MAIL__METHOD__STORE) {
        Chasqui__Mail__Store *store = chasqui__mail__store__unpack(NULL, wire->body.len, wire->body.data);
        for (size_t i = 0; i + 1 < store->uids->n_ranges; i += 2)
            fake->uids[n] += store->uids->ranges[i + 1] - store->uids->ranges[i] + 1;
        chasqui__mail__store__free_unpacked(store, NULL);
    }
    chasqui__mail__call__free_unpacked(wire, NULL);
    if (fake->garbage) {
        answer_r->message = CQ_SLICE("\xff\xff\xff");
        return CQ_OK;
    }
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    Chasqui__Mail__StoreReply reply = CHASQUI__MAIL__STORE_REPLY__INIT;
    reply.modseq = n + 1;
    answer.entry_time = fake->entry_time;
    answer.modseq = 10;
    answer.incarnation = 5;
    struct cq_slice body = packed(pool, &reply.base);
    answer.body = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)body.data, .len = body.len};
    answer_r->message = packed(pool, &answer.base);
    return fake->rc[n];
}

static void store_flags(struct mailstore *store, struct mailstore_account *account, struct uid_range range,
                        enum cq_rc expected)
{
    struct cq_pool *pool = cq_pool_new(1024);
    const struct uidset uids = {&range, 1};
    const struct mail_store change = {.mailbox = 1, .uids = &uids, .flags = MAIL_SEEN};
    struct uidset modified;
    uint64_t modseq;
    struct cq_err err;
    assert_int_equal(mailstore_store(store, account, &change, pool, &modified, &modseq, &err), expected);
    cq_pool_free(&pool);
}

static void sets_are_split_at_the_entry_limit(void **state)
{
    (void)state;
    struct fake fake = {.transport.call = fake_call};
    struct mailstore *store = mailstore_new(&fake.transport, (const uint8_t *)"0123456789abcdef", 1000);
    struct mailstore_account account = {.id = ACCOUNT};
    store_flags(store, &account, (struct uid_range){1, 5000}, CQ_OK);
    assert_int_equal(fake.calls, 1);
    store_flags(store, &account, (struct uid_range){1, 10001}, CQ_OK);
    assert_int_equal(fake.calls, 4);
    assert_int_equal(fake.uids[1], 5000);
    assert_int_equal(fake.uids[2], 5000);
    assert_int_equal(fake.uids[3], 1);
    mailstore_free(&store);
}

static void each_request_has_its_own_sequence_and_reports_what_is_done(void **state)
{
    (void)state;
    struct fake fake = {.transport.call = fake_call};
    struct mailstore *store = mailstore_new(&fake.transport, (const uint8_t *)"0123456789abcdef", 1000);
    struct mailstore_account account = {.id = ACCOUNT};
    store_flags(store, &account, (struct uid_range){1, 10000}, CQ_OK);
    assert_int_equal(fake.sequences[0], 1);
    assert_int_equal(fake.dones[0], 0);
    assert_int_equal(fake.sequences[1], 2);
    assert_int_equal(fake.dones[1], 1);
    assert_int_equal(account.modseq, 10);
    assert_int_equal(account.incarnation, 5);
    mailstore_free(&store);
}

static void a_stale_request_is_sent_again_with_the_time_it_was_told(void **state)
{
    (void)state;
    struct fake fake = {.transport.call = fake_call, .entry_time = 777, .rc = {CQ_E_STALE, CQ_OK}};
    struct mailstore *store = mailstore_new(&fake.transport, (const uint8_t *)"0123456789abcdef", 1000);
    struct mailstore_account account = {.id = ACCOUNT}, neighbour = {.id = ACCOUNT + 1};
    store_flags(store, &account, (struct uid_range){1, 1}, CQ_OK);
    assert_int_equal(fake.calls, 2);
    assert_int_equal(fake.stamps[0], 0);
    assert_int_equal(fake.stamps[1], 777);
    assert_int_equal(fake.sequences[1], fake.sequences[0]);
    store_flags(store, &neighbour, (struct uid_range){1, 1}, CQ_OK);
    assert_int_equal(fake.stamps[2], 777);
    mailstore_free(&store);
}

static void a_change_whose_answer_is_garbage_has_an_unknown_outcome(void **state)
{
    (void)state;
    struct fake fake = {.transport.call = fake_call, .garbage = true};
    struct mailstore *store = mailstore_new(&fake.transport, (const uint8_t *)"0123456789abcdef", 1000);
    struct mailstore_account account = {.id = ACCOUNT};
    store_flags(store, &account, (struct uid_range){1, 1}, CQ_E_UNKNOWN_OUTCOME);
    mailstore_free(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_split_at_the_entry_limit),
        cmocka_unit_test(each_request_has_its_own_sequence_and_reports_what_is_done),
        cmocka_unit_test(a_stale_request_is_sent_again_with_the_time_it_was_told),
        cmocka_unit_test(a_change_whose_answer_is_garbage_has_an_unknown_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
