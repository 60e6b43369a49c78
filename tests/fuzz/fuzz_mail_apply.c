/* Hostile commands and reads on the mailbox machine. The input is a run of records:
 *
 *     u8 method  (0: the payload is a whole entry as it is; 100 and above: a read)
 *     u8 flags   (1: the group's own, no account; 2: an account that does not exist; 4: no stamp; 8: the last sequence
 *                 again; 16: a chunk of 3 bytes comes along, 32: its hash is the one of "abc"; 64: an hour later)
 *     u16 length of the payload, little-endian; then the payload: the method's message
 *
 * Nothing may stop the process, and afterwards the digest is the one of the records. */
#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"
#include "store/store_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACCOUNT UINT64_C(0x1234000000000001)
#define START UINT64_C(1767225600000000)

struct world {
    struct machine *machine;
    struct cq_pool *pool;
    uint64_t index, sequence, time;
    struct cq_buf entry;
};

static struct store *base_store;

static struct machine *open_machine(void)
{
    struct machine_config config = {.store = base_store, .group = 1, .generation = 1, .incarnation = 1};
    struct machine *machine;
    CQ_ASSERT(mail_machine_open(&config, &machine, NULL) == CQ_OK);
    return machine;
}

static void apply(struct world *w, struct cq_slice entry)
{
    struct machine_outcome outcome;
    cq_pool_clear(w->pool);
    w->machine->ops->apply(w->machine, (struct machine_position){++w->index, 1}, entry, w->pool, &outcome);
    CQ_ASSERT(w->machine->ops->health(w->machine) == CQ_OK);
    CQ_ASSERT(w->machine->ops->applied(w->machine) == w->index);
}

static void command(struct world *w, uint8_t method, uint8_t flags, struct cq_slice body)
{
    struct entry_chunk chunk = {3, {flags, flags}};
    if (flags & 32)
        chunk.hash = cq_xxh3_128(CQ_SLICE("abc"));
    if (flags & 64)
        w->time += UINT64_C(3600000000);
    struct entry entry = {
        .version = 1,
        .method = method,
        .account = flags & 1   ? 0
                   : flags & 2 ? ACCOUNT + 1
                               : ACCOUNT,
        .time = ++w->time,
        .stamp = flags & 4 ? 0 : mail_machine_time(w->machine),
        .sequence = flags & 8 ? w->sequence : ++w->sequence,
        .done = w->sequence > 3 && flags & 128 ? w->sequence - 2 : 0,
        .chunks = &chunk,
        .chunk_count = flags & 16 ? 1 : 0,
        .body = body,
    };
    cq_buf_reset(&w->entry, SIZE_MAX);
    if (entry_encode(&entry, &w->entry, NULL) == CQ_OK)
        apply(w, cq_buf_slice(&w->entry));
}

static void read_once(struct world *w, uint8_t method, uint8_t flags, struct cq_slice payload)
{
    struct machine_read read = {method, flags & 1 ? 0 : ACCOUNT, payload};
    struct cq_buf answer, raw;
    cq_buf_init(&answer, 16u << 20);
    cq_buf_init(&raw, 4u << 20);
    cq_pool_clear(w->pool);
    if (method == CHASQUI__MAIL__METHOD__READ_BODY) {
        struct body_piece *pieces;
        size_t count;
        mail_machine_body(w->machine, &read, w->pool, &answer, &pieces, &count, NULL);
    } else {
        w->machine->ops->read(w->machine, &read, w->pool, &answer, &raw, NULL);
    }
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
}

/* A Call around the payload, so that reads get past it. */
static void read_wrapped(struct world *w, uint8_t method, uint8_t flags, struct cq_slice payload)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    struct cq_pool *pool = cq_pool_new(4096);
    call.body = (ProtobufCBinaryData){payload.len, (uint8_t *)(uintptr_t)payload.data};
    uint8_t *bytes = cq_pool_alloc(pool, chasqui__mail__call__get_packed_size(&call));
    read_once(w, method, flags, cq_slice_of(bytes, chasqui__mail__call__pack(&call, bytes)));
    cq_pool_free(&pool);
}

static void step(struct world *w, uint8_t method, uint8_t flags, struct cq_slice payload)
{
    if (method == 0) {
        apply(w, payload);
    } else if (method >= 100) {
        read_once(w, method, flags, payload);
        read_wrapped(w, method, flags, payload);
    } else {
        command(w, method, flags, payload);
    }
}

/* An account with a few messages, written: what every input begins with. */
static void make_base(struct world *w)
{
    Chasqui__Mail__OwnSlots own = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range range = CHASQUI__MAIL__OWN_SLOTS__RANGE__INIT, *ranges = &range;
    uint8_t bytes[256];
    range.last = 65535;
    own.n_ranges = own.map_epoch = 1;
    own.ranges = &ranges;
    command(w, CHASQUI__MAIL__METHOD__OWN_SLOTS, 1, cq_slice_of(bytes, chasqui__mail__own_slots__pack(&own, bytes)));
    command(w, CHASQUI__MAIL__METHOD__CREATE_ACCOUNT, 0, CQ_SLICE_NONE);
    Chasqui__Mail__Append append = CHASQUI__MAIL__APPEND__INIT;
    Chasqui__Mail__NewMessage message = CHASQUI__MAIL__NEW_MESSAGE__INIT, *list = &message;
    struct cq_hash128 hash = cq_xxh3_128(CQ_SLICE("abc"));
    char *keywords[] = {(char *)(uintptr_t) "$Forwarded"};
    message.size = 3;
    message.body_hash_low = hash.low;
    message.body_hash_high = hash.high;
    message.keywords = keywords;
    message.n_keywords = 1;
    append.mailbox = 1;
    append.n_messages = 1;
    append.messages = &list;
    for (int i = 0; i < 5; i++) {
        message.flags = i % 2 ? 8 : 0;
        command(w, CHASQUI__MAIL__METHOD__APPEND, 16 | 32,
                cq_slice_of(bytes, chasqui__mail__append__pack(&append, bytes)));
    }
}

static uint64_t base_index, base_sequence, base_time;

static void init(void)
{
    base_store = store_mem_new();
    struct world w = {.machine = open_machine(), .pool = cq_pool_new(64 << 10), .time = START};
    cq_buf_init(&w.entry, ENTRY_MAX);
    make_base(&w);
    struct machine_effects *effects = w.machine->ops->effects_take(w.machine);
    struct store_batch *batch = store_batch_new(base_store);
    w.machine->ops->effects_encode(effects, batch);
    CQ_ASSERT(store_write(base_store, batch, true, NULL) == CQ_OK);
    store_batch_free(&batch);
    w.machine->ops->effects_written(w.machine, effects);
    w.machine->ops->close(w.machine);
    base_index = w.index;
    base_sequence = w.sequence;
    base_time = w.time;
    cq_pool_free(&w.pool);
    cq_buf_fini(&w.entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!base_store)
        init();
    struct world w = {.machine = open_machine(),
                      .pool = cq_pool_new(64 << 10),
                      .index = base_index,
                      .sequence = base_sequence,
                      .time = base_time};
    cq_buf_init(&w.entry, ENTRY_MAX);
    struct cq_slice in = cq_slice_of(data, size);
    for (unsigned steps = 0; in.len >= 4 && steps < 64; steps++) {
        struct cq_slice payload = cq_slice_sub(cq_slice_skip(in, 4), 0, cq_get_le16(in.data + 2));
        step(&w, in.data[0], in.data[1], payload);
        in = cq_slice_skip(in, 4 + payload.len);
    }
    uint64_t records;
    CQ_ASSERT(mail_machine_verify(w.machine, &records, NULL) == CQ_OK);
    w.machine->ops->close(w.machine);
    cq_pool_free(&w.pool);
    cq_buf_fini(&w.entry);
    return 0;
}
