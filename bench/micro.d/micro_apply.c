#include "micro.h"
#include "support/shard.h"

#include "base/cq_assert.h"
#include "base/cq_hash.h"

#define ACCOUNT UINT64_C(0x1234000000000001)
#define SUMMARY_BYTES 900
#define WRITE_EVERY 64 /* commands whose effects are written together */
#define M(name) CHASQUI__MAIL__METHOD__##name

static void run(struct shard *shard, uint32_t method, uint64_t account, const ProtobufCMessage *message,
                struct cq_slice raw)
{
    const struct shard_call call = {.method = method, .account = account, .message = message, .raw = raw};
    CQ_ASSERT(shard_run(shard, &call).rc == CQ_OK);
}

static struct shard *prepared(void)
{
    struct shard *shard = shard_new(1);
    Chasqui__Mail__CreateAccount account = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    shard_own_all(shard);
    run(shard, M(CREATE_ACCOUNT), ACCOUNT, &account.base, CQ_SLICE_NONE);
    return shard;
}

static void append(struct shard *shard, uint64_t count)
{
    static uint8_t summary[SUMMARY_BYTES];
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    Chasqui__Mail__NewMessage message = CHASQUI__MAIL__NEW_MESSAGE__INIT, *messages = &message;
    const struct cq_slice octets = CQ_SLICE("Subject: micro\r\n\r\nx\r\n");
    const struct cq_hash128 hash = cq_xxh3_128(octets);
    message.size = (uint32_t)octets.len;
    message.body_hash_low = hash.low;
    message.body_hash_high = hash.high;
    message.summary = (ProtobufCBinaryData){sizeof summary, summary};
    append.mailbox = append.n_messages = 1;
    append.messages = &messages;
    for (uint64_t i = 1; i <= count; i++) {
        run(shard, M(APPEND), ACCOUNT, &append.base, octets);
        if (i % WRITE_EVERY == 0)
            shard_write(shard, 0, false);
    }
}

void micro_append(uint64_t count)
{
    struct shard *shard = prepared();
    append(shard, count);
    shard_free(&shard);
}

void micro_store(uint64_t count)
{
    struct shard *shard = prepared();
    Chasqui__Mail__Store store = CHASQUI__MAIL__STORE__INIT;
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[2];
    append(shard, 64); /* the same for both runs */
    store.mailbox = 1;
    store.uids = &set;
    set.ranges = range;
    set.n_ranges = 2;
    for (uint64_t i = 0; i < count; i++) {
        range[0] = range[1] = (uint32_t)(1 + i % 64);
        store.mode = i / 64 % 2 ? CHASQUI__MAIL__STORE__MODE__REMOVE : CHASQUI__MAIL__STORE__MODE__ADD;
        store.flags = 1;
        run(shard, M(STORE), ACCOUNT, &store.base, CQ_SLICE_NONE);
        if (i % WRITE_EVERY == 0)
            shard_write(shard, 0, false);
    }
    shard_free(&shard);
}
