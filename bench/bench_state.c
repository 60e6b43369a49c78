/* What the mailbox state machine costs: applying commands, and reading a mailbox of 100,000 messages.
 *
 *     bench_state FOLDER [MESSAGES]        over RocksDB in a new folder, which is left behind for a look
 *     bench_state :memory: [MESSAGES]      over the store in memory
 *
 * One account, one mailbox; bodies are not written (the log does that). Effects are written, without a sync, every 64
 * commands, as the writer does under load. */
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"
#include "store/store_mem.h"
#include "store/store_rocksdb.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cq_time.h"

#define ACCOUNT UINT64_C(0x1234000000000001)
#define WRITE_EVERY 64
#define SUMMARY_BYTES 900
#define M(name) CHASQUI__MAIL__METHOD__##name

struct bench {
    struct store *store;
    struct machine *machine;
    struct cq_pool *pool;
    struct cq_buf entry, answer, raw;
    uint64_t index, sequence, time;
    uint64_t apply_us, write_us, commands;
};

static void die(const char *what, const struct cq_err *err)
{
    fprintf(stderr, "%s: %s\n", what, err ? err->text : "");
    exit(1);
}

static void write_effects(struct bench *b)
{
    uint64_t start = cq_time_mono_us();
    struct machine_effects *effects = b->machine->ops->effects_take(b->machine);
    if (effects) {
        struct store_batch *batch = store_batch_new(b->store);
        struct cq_err err;
        b->machine->ops->effects_encode(effects, batch);
        if (store_write(b->store, batch, false, &err) != CQ_OK)
            die("write", &err);
        store_batch_free(&batch);
        b->machine->ops->effects_written(b->machine, effects);
    }
    b->write_us += cq_time_mono_us() - start;
}

static struct machine_outcome run(struct bench *b, uint32_t method, const ProtobufCMessage *message,
                                  const struct entry_chunk *chunk)
{
    uint8_t body[64 << 10];
    cq_pool_clear(b->pool);
    struct entry entry = {.version = 1,
                          .method = (uint16_t)method,
                          .account = method < M(OWN_SLOTS) ? ACCOUNT : 0,
                          .time = ++b->time,
                          .chunks = chunk,
                          .chunk_count = chunk ? 1 : 0};
    if (entry.account) {
        entry.sequence = ++b->sequence;
        entry.done = b->sequence - 1;
        entry.stamp = mail_machine_time(b->machine) ? mail_machine_time(b->machine) : 1;
    }
    entry.body = cq_slice_of(body, protobuf_c_message_pack(message, body));
    cq_buf_reset(&b->entry, SIZE_MAX);
    entry_encode(&entry, &b->entry, NULL);
    struct machine_outcome outcome;
    uint64_t start = cq_time_mono_us();
    b->machine->ops->apply(b->machine, (struct machine_position){++b->index, 1}, cq_buf_slice(&b->entry), b->pool,
                           &outcome);
    b->apply_us += cq_time_mono_us() - start;
    if (outcome.rc != CQ_OK)
        die("apply", NULL);
    if (++b->commands % WRITE_EVERY == 0)
        write_effects(b);
    return outcome;
}

static void report(struct bench *b, const char *what, uint64_t count)
{
    write_effects(b);
    printf("%-44s %8llu  apply %8.2f us each, write %8.2f us each\n", what, (unsigned long long)count,
           (double)b->apply_us / (double)count, (double)b->write_us / (double)count);
    b->apply_us = b->write_us = 0;
}

static void create(struct bench *b)
{
    Chasqui__Mail__OwnSlots own = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range range = CHASQUI__MAIL__OWN_SLOTS__RANGE__INIT, *ranges = &range;
    Chasqui__Mail__CreateAccount account = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    range.last = 65535;
    own.map_epoch = own.n_ranges = 1;
    own.ranges = &ranges;
    run(b, M(OWN_SLOTS), &own.base, NULL);
    run(b, M(CREATE_ACCOUNT), &account.base, NULL);
    b->apply_us = b->write_us = 0;
}

static void append(struct bench *b, uint64_t count)
{
    static uint8_t summary[SUMMARY_BYTES];
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    Chasqui__Mail__NewMessage message = CHASQUI__MAIL__NEW_MESSAGE__INIT, *messages = &message;
    struct entry_chunk chunk = {.length = 16384, .hash = {1, 2}};
    message.size = chunk.length;
    message.body_hash_low = 1;
    message.body_hash_high = 2;
    message.summary = (ProtobufCBinaryData){sizeof summary, summary};
    append.mailbox = append.n_messages = 1;
    append.messages = &messages;
    for (uint64_t i = 0; i < count; i++)
        run(b, M(APPEND), &append.base, &chunk);
    report(b, "APPEND, one message", count);
}

static void store_flags(struct bench *b, uint32_t first, uint32_t last, uint32_t step, uint32_t flags, const char *what)
{
    Chasqui__Mail__Store store = CHASQUI__MAIL__STORE__INIT;
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[2];
    store.mailbox = 1;
    store.uids = &set;
    store.mode = CHASQUI__MAIL__STORE__MODE__ADD;
    store.flags = flags;
    set.ranges = range;
    set.n_ranges = 2;
    for (range[0] = first; range[0] <= last; range[0] += step) {
        range[1] = range[0] + step - 1;
        run(b, M(STORE), &store.base, NULL);
    }
    report(b, what, last - first + 1);
}

static void expunge(struct bench *b, uint32_t count)
{
    Chasqui__Mail__Expunge message = CHASQUI__MAIL__EXPUNGE__INIT;
    message.mailbox = 1;
    run(b, M(EXPUNGE), &message.base, NULL);
    report(b, "EXPUNGE of 5,000 in one command, a message", count);
}

static void copy(struct bench *b, uint32_t count, uint32_t method, const char *what)
{
    Chasqui__Mail__Copy message = CHASQUI__MAIL__COPY__INIT;
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[2] = {1, count};
    message.from = 1;
    message.to = 2;
    message.uids = &set;
    set.ranges = range;
    set.n_ranges = 2;
    run(b, method, &message.base, NULL);
    report(b, what, count);
}

static double read_once(struct bench *b, uint32_t method, const ProtobufCMessage *message, struct cq_slice *body_r)
{
    uint8_t bytes[4096], call_bytes[8192];
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    struct cq_err err;
    call.body = (ProtobufCBinaryData){protobuf_c_message_pack(message, bytes), bytes};
    struct machine_read read = {method, ACCOUNT,
                                cq_slice_of(call_bytes, protobuf_c_message_pack(&call.base, call_bytes))};
    cq_pool_clear(b->pool);
    cq_buf_reset(&b->answer, SIZE_MAX);
    cq_buf_reset(&b->raw, SIZE_MAX);
    uint64_t start = cq_time_mono_us();
    if (b->machine->ops->read(b->machine, &read, b->pool, &b->answer, &b->raw, &err) != CQ_OK)
        die("read", &err);
    double took = (double)(cq_time_mono_us() - start);
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, b->answer.len, b->answer.data);
    *body_r = cq_pool_slice(b->pool, cq_slice_of(answer->body.data, answer->body.len));
    chasqui__mail__answer__free_unpacked(answer, NULL);
    return took;
}

static void open_mailbox(struct bench *b, const char *what)
{
    Chasqui__Mail__OpenMailbox open = CHASQUI__MAIL__OPEN_MAILBOX__INIT;
    struct cq_slice body;
    open.mailbox = 1;
    printf("%-44s %8.2f ms\n", what, read_once(b, M(OPEN_MAILBOX), &open.base, &body) / 1000);
}

static void fetch_all(struct bench *b, bool summaries, const char *what)
{
    Chasqui__Mail__Fetch fetch = CHASQUI__MAIL__FETCH__INIT;
    Chasqui__Mail__UidSet set = CHASQUI__MAIL__UID_SET__INIT;
    uint32_t range[2] = {1, UINT32_MAX}, batches = 0, records = 0;
    double took = 0;
    fetch.mailbox = 1;
    fetch.uids = &set;
    fetch.summaries = summaries;
    set.ranges = range;
    set.n_ranges = 2;
    do {
        struct cq_slice body;
        took += read_once(b, M(FETCH), &fetch.base, &body);
        Chasqui__Mail__FetchReply *reply = chasqui__mail__fetch_reply__unpack(NULL, body.len, body.data);
        range[0] = reply->next_uid;
        records += reply->records;
        batches++;
        chasqui__mail__fetch_reply__free_unpacked(reply, NULL);
    } while (range[0]);
    printf("%-44s %8.2f ms, %u records in %u batches, %.3f us each\n", what, took / 1000, records, batches,
           took / records);
}

static void changes(struct bench *b, uint64_t since, const char *what)
{
    Chasqui__Mail__Changes message = CHASQUI__MAIL__CHANGES__INIT;
    struct cq_slice body;
    message.mailbox = 1;
    message.since_modseq = since;
    printf("%-44s %8.2f us\n", what, read_once(b, M(CHANGES), &message.base, &body));
}

static struct store *open_store(const char *folder)
{
    const struct store_rocksdb_config config = {.block_cache = 256 << 20,
                                                .write_buffer = 64 << 20,
                                                .write_buffers = 4,
                                                .wal_max = 512 << 20,
                                                .bytes_per_sync = 1 << 20,
                                                .background_jobs = 2,
                                                .open_files = 1000};
    struct store *store;
    struct cq_err err;
    if (!strcmp(folder, ":memory:"))
        return store_mem_new();
    if (store_rocksdb_open(folder, true, &config, &store, &err) != CQ_OK)
        die(folder, &err);
    return store;
}

static void reopen(struct bench *b)
{
    struct machine_config config = {.store = b->store, .group = 1, .generation = 1, .incarnation = 1};
    struct cq_err err;
    if (b->machine)
        b->machine->ops->close(b->machine);
    if (mail_machine_open(&config, &b->machine, &err) != CQ_OK)
        die("open", &err);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_state FOLDER|:memory: [MESSAGES]\n");
        return 2;
    }
    uint32_t messages = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000;
    struct bench bench = {.time = 1000}, *b = &bench;
    b->store = open_store(argv[1]);
    b->pool = cq_pool_new(64 << 10);
    cq_buf_init(&b->entry, ENTRY_MAX);
    cq_buf_init(&b->answer, 64u << 20);
    cq_buf_init(&b->raw, 64u << 20);
    reopen(b);
    create(b);
    append(b, messages);
    reopen(b);
    open_mailbox(b, "OPEN_MAILBOX, first time");
    open_mailbox(b, "OPEN_MAILBOX, again");
    fetch_all(b, false, "FETCH of everything, no summaries");
    fetch_all(b, true, "FETCH of everything, with summaries");
    changes(b, messages - 1, "CHANGES, a few");
    changes(b, messages + 1000, "CHANGES, none");
    store_flags(b, 1, 10000, 1, 1, "STORE, one message a command");
    store_flags(b, 10001, 60000, 5000, 1, "STORE, 5,000 in one command, a message");
    copy(b, 5000, M(COPY), "COPY of 5,000 in one command, a message");
    copy(b, 5000, M(MOVE), "MOVE of 5,000 in one command, a message");
    store_flags(b, 5001, 10000, 5000, 8, "STORE \\Deleted, 5,000, a message");
    expunge(b, 5000);
    b->machine->ops->close(b->machine);
    store_close(&b->store);
    return 0;
}
