#include "reseed_rig.h"

#include "base/cq_endian.h"

void rig_init(struct rig *rig, struct store *target)
{
    *rig = (struct rig){.shard = h_shard_with(NULL), .store = target, .page_bytes = 500, .log_first = UINT64_MAX};
}

static void drop_snapshot(struct rig *rig)
{
    if (rig->snapshot)
        store_snapshot_free(rig->snapshot_store, &rig->snapshot);
}

void rig_fini(struct rig *rig)
{
    drop_snapshot(rig);
    reseed_target_fini(&rig->target);
    h_finish(rig->shard);
}

void rig_mail(struct rig *rig, unsigned messages)
{
    static unsigned number;
    for (unsigned i = 0; i < messages; i++) {
        char text[200];
        number++;
        snprintf(text, sizeof text, "Subject: %u\r\n\r\n%0*u\r\n", number, 20 + (int)(number * 37 % 150), number);
        assert_int_equal(h_append(rig->shard, INBOX, (struct h_message){.text = text}), CQ_OK);
    }
    assert_int_equal(h_copy(rig->shard, false, INBOX, INBOX, 1, 2), CQ_OK);
    assert_int_equal(
        h_flag(rig->shard, INBOX, 3, 3, CHASQUI__MAIL__STORE__MODE__ADD, CHASQUI__MAIL__SYSTEM_FLAG__DELETED), CQ_OK);
    assert_int_equal(h_expunge(rig->shard, INBOX), CQ_OK);
    shard_write(rig->shard, 0, true);
}

void rig_sweep(struct shard *shard, unsigned replica)
{
    struct store *store = shard_store(shard, replica);
    struct store_batch *batch = store_batch_new(store);
    uint8_t from[DEAD_CHUNK_KEY_SIZE], to[DEAD_CHUNK_KEY_SIZE], key[CHUNK_KEY_SIZE];
    dead_chunk_range(RIG_GROUP, UINT64_MAX, from, to);
    struct store_iter *iter =
        store_iter_new(store, NULL, STORE_LOCAL, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
    while (store_iter_next(iter) == CQ_OK) {
        struct chunk_id id;
        uint32_t group;
        assert_true(dead_chunk_parse(store_iter_key(iter), &group, &id));
        chunk_key(&id, key);
        store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
        store_batch_delete(batch, STORE_LOCAL, store_iter_key(iter));
    }
    store_iter_free(&iter);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

/* ---- Asking and writing ---- */

static enum cq_rc offer(struct rig *rig, struct reseed_source *source, struct reseed_answer *answer, struct cq_err *err)
{
    drop_snapshot(rig);
    rig->snapshot_store = source->store;
    rig->snapshot = source->snapshot = store_snapshot_new(source->store);
    answer->offer = (struct reseed_offer){.session = 1, .conf_index = 1, .member_count = 2};
    answer->offer.members[0] = (struct raft_member){.replica = RIG_REPLICA, .node = {{1}}};
    answer->offer.members[1] = (struct raft_member){.replica = RIG_REPLICA + 1, .node = {{2}}};
    return reseed_source_mark(source, &answer->offer.mark, err);
}

static enum cq_rc answer_it(struct rig *rig, const struct reseed_question *q, struct reseed_answer *a,
                            struct cq_err *err)
{
    struct reseed_source source = {.store = shard_store(rig->shard, rig->source),
                                   .snapshot = q->session ? rig->snapshot : NULL,
                                   .group = RIG_GROUP,
                                   .generation = 1,
                                   .incarnation = SHARD_INCARNATION};
    struct reseed_read read = {.cursor = *q->from, .bytes_max = rig->page_bytes};
    enum cq_rc rc;
    switch (q->kind) {
    case RESEED_ASK_OPEN:
        return offer(rig, &source, a, err);
    case RESEED_ASK_NAMED:
        rc = reseed_read_named(&source, q->names, &read, &a->page, &a->taken, err);
        rig->named += (unsigned)a->taken;
        return rc;
    case RESEED_ASK_SUMMARIES:
        rc = reseed_read_summaries(&source, &read, &a->page, err);
        break;
    case RESEED_ASK_STATE:
        rc = reseed_read_state(&source, &read, &a->page, err);
        break;
    default:
        rc = reseed_read_chunks(&source, q->kind == RESEED_ASK_HASHES, &read, &a->page, err);
    }
    a->next = read.cursor;
    a->done = read.done;
    return rc;
}

static enum cq_rc ask(void *ctx, const struct reseed_question *question, struct reseed_answer *answer,
                      struct cq_err *err)
{
    struct rig *rig = ctx;
    if (++rig->asks == rig->stop_ask)
        return CQ_FAIL(err, CQ_E_CANCELLED, "stopped");
    if (rig->before_ask)
        rig->before_ask(rig, question);
    enum cq_rc rc = answer_it(rig, question, answer, err);
    if (rc == CQ_OK && rig->after_ask)
        rig->after_ask(rig, question, answer);
    return rc;
}

static enum cq_rc write(void *ctx, struct store_batch *batch, struct cq_err *err)
{
    struct rig *rig = ctx;
    if (++rig->writes == rig->stop_write)
        return CQ_FAIL(err, CQ_E_CANCELLED, "stopped");
    struct store_batch *real = store_batch_new(rig->store);
    store_batch_replay(batch, real);
    enum cq_rc rc = store_write(rig->store, real, false, err);
    store_batch_free(&real);
    return rc;
}

enum cq_rc rig_copy(struct rig *rig)
{
    const struct reseed_plan plan = {.group = RIG_GROUP,
                                     .incarnation = SHARD_INCARNATION,
                                     .generation = rig->generation,
                                     .replica = RIG_REPLICA,
                                     .suspect = rig->suspect};
    const struct reseed_io io = {rig, ask, write};
    struct store_batch *batch = store_batch_recorder_new();
    reseed_target_fini(&rig->target);
    enum cq_rc rc = reseed_begin(&rig->target, rig->store, &plan, batch, &rig->err);
    if (rc == CQ_OK)
        rc = write(rig, batch, &rig->err);
    store_batch_free(&batch);
    if (rc == CQ_OK)
        rc = reseed_copy(&rig->target, &io, &rig->offer, &rig->digest, &rig->err);
    return rc;
}

enum raft_install_log rig_flip(struct rig *rig, bool sync)
{
    enum raft_install_log log;
    struct store_batch *batch = store_batch_new(rig->store);
    assert_int_equal(reseed_flip(&rig->target, &rig->offer.mark, rig->offer.conf_index, rig->offer.members,
                                 rig->offer.member_count, batch, &log, &rig->err),
                     CQ_OK);
    assert_int_equal(store_write(rig->store, batch, sync, NULL), CQ_OK);
    store_batch_free(&batch);
    return log;
}

/* ---- Comparing ---- */

static void assert_bodies(struct rig *rig, struct machine *machine)
{
    for (uint64_t email = 1; email < 200; email++) {
        struct cq_slice octets;
        Chasqui__Mail__ReadBody message = W(READ_BODY);
        message.email = email;
        message.length = 1000;
        if (shard_read_body(rig->shard, 0, ANA, email, 0, 1000, &octets) != CQ_OK)
            continue;
        struct cq_pool *pool = cq_pool_new(4096);
        Chasqui__Mail__Call call = W(CALL);
        uint8_t body[64], wire[128];
        struct cq_buf answer, out;
        struct body_piece *pieces;
        size_t count;
        call.body = (ProtobufCBinaryData){chasqui__mail__read_body__pack(&message, body), body};
        const struct machine_read read = {M(READ_BODY), ANA, cq_slice_of(wire, chasqui__mail__call__pack(&call, wire))};
        cq_buf_init(&answer, 4096);
        cq_buf_init(&out, 4096);
        assert_int_equal(mail_machine_body(machine, &read, pool, &answer, &pieces, &count, NULL), CQ_OK);
        assert_int_equal(body_pieces_read(rig->store, pieces, count, &out, NULL), CQ_OK);
        assert_true(cq_slice_eq(cq_buf_slice(&out), octets));
        cq_buf_fini(&out);
        cq_buf_fini(&answer);
        cq_pool_free(&pool);
    }
}

/* The entries after the copy; their chunks come with the log. */
static void apply_rest(struct rig *rig, struct machine *machine)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct machine_outcome outcome;
    for (uint64_t i = machine->ops->applied(machine) + 1; i <= shard_last_index(rig->shard); i++)
        machine->ops->apply(machine, (struct machine_position){i, rig->offer.mark.term}, shard_entry(rig->shard, i),
                            pool, &outcome);
    cq_pool_free(&pool);
}

void rig_assert_equal(struct rig *rig, uint32_t generation)
{
    struct machine *machine = NULL;
    struct cq_err err = {0};
    const struct machine_config config = {
        .store = rig->store, .group = RIG_GROUP, .generation = generation, .incarnation = SHARD_INCARNATION};
    uint8_t mine[16], theirs[16];
    uint64_t records;
    if (mail_machine_open(&config, &machine, &err) != CQ_OK || mail_machine_verify(machine, &records, &err) != CQ_OK)
        fail_msg("%s", err.text);
    if (machine->ops->applied(machine) == shard_last_index(rig->shard))
        assert_bodies(rig, machine);
    apply_rest(rig, machine);
    machine->ops->digest(machine, mine);
    shard_machine(rig->shard, 0)->ops->digest(shard_machine(rig->shard, 0), theirs);
    assert_memory_equal(mine, theirs, 16);
    machine->ops->close(machine);
}

size_t rig_count(struct store *store, enum store_family family, const void *prefix, size_t len)
{
    struct store_iter *iter = store_iter_new(store, NULL, family, cq_slice_of(prefix, len), CQ_SLICE_NONE);
    size_t count = 0;
    while (store_iter_next(iter) == CQ_OK && store_iter_key(iter).len >= len &&
           memcmp(store_iter_key(iter).data, prefix, len) == 0)
        count++;
    store_iter_free(&iter);
    return count;
}

uint64_t rig_cleanup(struct rig *rig, size_t chunks_max)
{
    struct reseed_record record;
    uint64_t all = 0;
    bool done = false;
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &record, NULL), CQ_OK);
    assert_int_equal(record.phase, RESEED_CLEANUP);
    while (!done) {
        uint64_t removed;
        struct store_batch *batch = store_batch_new(rig->store);
        const struct reseed_cleanup how = {SHARD_INCARNATION, rig->log_first, chunks_max};
        assert_int_equal(reseed_cleanup_step(rig->store, &record, &how, batch, &removed, &done, &rig->err), CQ_OK);
        assert_int_equal(store_write(rig->store, batch, false, NULL), CQ_OK);
        store_batch_free(&batch);
        all += removed;
    }
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &record, NULL), CQ_E_NOT_FOUND);
    return all;
}
