/* Reads: judged, run, answered. */
#include "state/mail_private.h"

/* mail_body.c */
enum cq_rc mail_body_pieces(struct mail_view *v, const Chasqui__Mail__ReadBody *read, struct cq_slice *reply_r,
                            struct body_piece **pieces_r, size_t *count_r);

static enum cq_rc judge(struct mail_view *v, const Chasqui__Mail__Call *call)
{
    if (db_broken(v->m->db) != CQ_OK)
        return CQ_FAIL(v->err, db_broken(v->m->db), "this replica's state is broken");
    if (v->id == 0)
        return CQ_FAIL(v->err, CQ_E_INVALID, "read without an account");
    if (!slot_owned(v->m, v->id))
        return CQ_FAIL(v->err, CQ_E_WRONG_OWNER, "slot of account %016llx at map epoch %llu", (unsigned long long)v->id,
                       (unsigned long long)v->m->slots_epoch);
    enum cq_rc rc = mail_load_account(v);
    if (rc != CQ_OK)
        return rc;
    if (call->incarnation && (call->incarnation != v->account.incarnation || call->min_modseq > v->account.modseq))
        return CQ_FAIL(v->err, CQ_E_BEHIND, "session has seen modseq %llu of incarnation %016llx",
                       (unsigned long long)call->min_modseq, (unsigned long long)call->incarnation);
    return CQ_OK;
}

static void put_answer(struct mail_view *v, struct cq_slice reply, struct cq_buf *answer)
{
    Chasqui__Mail__Answer wire = CHASQUI__MAIL__ANSWER__INIT;
    wire.entry_time = v->m->group.time;
    wire.modseq = v->account.modseq;
    wire.incarnation = v->account.incarnation;
    wire.body = (ProtobufCBinaryData){reply.len, (uint8_t *)reply.data};
    cq_buf_slice_add(answer, mail_pack(v->pool, &wire.base));
}

/* The Call and what is in it, judged. */
static enum cq_rc open_call(struct mail_view *v, const struct machine_read *read,
                            const ProtobufCMessageDescriptor *type, const ProtobufCMessage **message_r)
{
    ProtobufCAllocator allocator = mail_allocator(v->pool);
    const Chasqui__Mail__Call *call = chasqui__mail__call__unpack(&allocator, read->message.len, read->message.data);
    if (!call)
        return CQ_FAIL(v->err, CQ_E_PROTO, "Call does not decode");
    *message_r = protobuf_c_message_unpack(type, &allocator, call->body.len, call->body.data);
    if (!*message_r)
        return CQ_FAIL(v->err, CQ_E_PROTO, "%s does not decode", type->short_name);
    return judge(v, call);
}

enum cq_rc mail_read(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                     struct cq_buf *answer, struct cq_buf *raw, struct cq_err *err)
{
    struct mail_view v = {.m = mail_machine_of(machine), .pool = pool, .err = err, .id = read->account};
    struct cq_slice reply = CQ_SLICE_NONE;
    const ProtobufCMessage *message;
    const struct read_method *method = read_method_find(read->method);
    enum cq_rc rc = method ? open_call(&v, read, method->message, &message)
                           : CQ_FAIL(err, CQ_E_UNSUPPORTED, "read method %u", read->method);
    if (rc == CQ_OK)
        rc = method->run(&v, message, &reply, raw);
    put_answer(&v, rc == CQ_OK ? reply : CQ_SLICE_NONE, answer);
    return rc;
}

enum cq_rc mail_machine_body(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                             struct cq_buf *answer, struct body_piece **pieces_r, size_t *count_r, struct cq_err *err)
{
    struct mail_view v = {.m = mail_machine_of(machine), .pool = pool, .err = err, .id = read->account};
    struct cq_slice reply = CQ_SLICE_NONE;
    const ProtobufCMessage *message;
    *pieces_r = NULL;
    *count_r = 0;
    enum cq_rc rc = open_call(&v, read, &chasqui__mail__read_body__descriptor, &message);
    if (rc == CQ_OK)
        rc = mail_body_pieces(&v, (const Chasqui__Mail__ReadBody *)message, &reply, pieces_r, count_r);
    put_answer(&v, reply, answer);
    return rc;
}

enum cq_rc mail_machine_body_missing(struct machine *machine, const struct machine_read *read, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(16u << 10);
    struct cq_buf answer;
    struct body_piece *pieces;
    size_t count;
    cq_buf_init(&answer, 4u << 20);
    enum cq_rc rc = mail_machine_body(machine, read, pool, &answer, &pieces, &count, err);
    cq_buf_fini(&answer);
    cq_pool_free(&pool);
    return rc == CQ_OK ? CQ_FAIL(err, CQ_E_CORRUPT, "a chunk of a live message is not there") : rc;
}
