/* One committed entry: judged, run, answered. Everything that can be wrong with an entry is an error outcome that every
 * replica computes alike.
 *
 * A command that fails leaves nothing but its entry time, the marks of the chunks that it brought, its remembered
 * result and, the first time, the event that says that a quota refused it. */
#include "base/cq_assert.h"
#include "base/cq_planted.h"
#include "state/command_version.h"
#include "state/mail_private.h"

/* ---- judging ---- */

static enum cq_rc check_entry(struct apply *a)
{
    const struct entry *e = &a->entry;
    if (e->time >= ENTRY_TIME_END)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "entry time %llu", (unsigned long long)e->time);
    if (!command_version_allowed(e->version, a->v.m->group.active_version))
        return CQ_FAIL(a->v.err, CQ_E_VERSION, "command version %u, active is %u", e->version,
                       a->v.m->group.active_version);
    return CQ_OK;
}

static enum cq_rc check_token(struct apply *a)
{
    const struct entry *e = &a->entry;
    if (e->incarnation == 0)
        return CQ_OK;
    if (e->incarnation != a->v.account.incarnation || e->min_modseq > a->v.account.modseq)
        return CQ_FAIL(a->v.err, CQ_E_BEHIND, "session has seen modseq %llu of incarnation %016llx",
                       (unsigned long long)e->min_modseq, (unsigned long long)e->incarnation);
    return CQ_OK;
}

/* ---- running ---- */

static enum cq_rc run_command(struct apply *a, const struct apply_command *command, struct cq_slice *reply_r)
{
    ProtobufCAllocator allocator = mail_allocator(a->v.pool);
    const ProtobufCMessage *message =
        protobuf_c_message_unpack(command->message, &allocator, a->entry.body.len, a->entry.body.data);
    if (!message)
        return CQ_FAIL(a->v.err, CQ_E_PROTO, "%s does not decode", command->message->short_name);
    return command->run(a, message, reply_r);
}

/* CREATE_ACCOUNT needs no account, DELETE_ACCOUNT may come again. */
static enum cq_rc judge_missing(struct apply *a, enum cq_rc rc)
{
    bool tombstone = a->v.account.state == ACCOUNT_DELETED;
    if (a->entry.method == CHASQUI__MAIL__METHOD__CREATE_ACCOUNT)
        return tombstone ? CQ_FAIL(a->v.err, CQ_E_CONFLICT, "the account was deleted") : CQ_OK;
    if (a->entry.method == CHASQUI__MAIL__METHOD__DELETE_ACCOUNT && tombstone)
        return CQ_E_EXISTS;
    return rc;
}

/* Every command of an account helps its large COPY to its end before it acts; it is sent again until then. */
static enum cq_rc continue_copy(struct apply *a, struct cq_slice *reply_r)
{
    bool done;
    enum cq_rc rc = copy_job_step(a, &done);
    if (rc != CQ_OK)
        return rc;
    a->keep = true;
    *reply_r = CQ_SLICE_NONE;
    return CQ_FAIL(a->v.err, CQ_E_AGAIN, "a large COPY is going on");
}

static enum cq_rc run_for_account(struct apply *a, const struct apply_command *command, struct cq_slice *reply_r)
{
    if (a->v.id == 0)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "command without an account");
    if (!slot_owned(a->v.m, a->v.id))
        return CQ_FAIL(a->v.err, CQ_E_WRONG_OWNER, "slot of account %016llx at map epoch %llu",
                       (unsigned long long)a->v.id, (unsigned long long)a->v.m->slots_epoch);
    enum cq_rc remembered = CQ_OK, rc = mail_load_account(&a->v);
    if (rc == CQ_E_NO_ACCOUNT)
        rc = judge_missing(a, rc);
    if (rc == CQ_OK)
        rc = request_judge(a, &remembered, reply_r);
    if (rc == CQ_E_EXISTS) /* done before */
        return remembered;
    if (rc == CQ_OK)
        rc = check_token(a);
    if (rc != CQ_OK)
        return rc;
    if (a->v.account.copying && a->entry.method != CHASQUI__MAIL__METHOD__DELETE_ACCOUNT)
        return continue_copy(a, reply_r);
    a->acted = true;
    a->before = a->v.account;
    rc = run_command(a, command, reply_r);
    if (rc == CQ_OK)
        command_version_account(a->entry.version, &a->v.account);
    /* A copy that goes on has no result yet; what was too much now may be sent again under the same request id. */
    a->remember = rc != CQ_E_AGAIN && rc != CQ_E_OVERLOADED;
    return rc;
}

static enum cq_rc run_entry(struct apply *a, struct cq_slice *reply_r)
{
    enum cq_rc rc = check_entry(a);
    if (rc != CQ_OK)
        return rc;
    struct mail_machine *m = a->v.m;
    if (a->entry.time > m->group.time)
        m->group.time = a->entry.time;
    a->now = m->group.time;
    const struct apply_command *command = apply_command_find(a->entry.method);
    if (!command)
        return CQ_FAIL(a->v.err, CQ_E_UNSUPPORTED, "method %u", a->entry.method);
    if (!mail_method_find(a->entry.method)->internal)
        return run_for_account(a, command, reply_r);
    if (a->v.id != 0)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "%s is the group's own", command->message->short_name);
    return run_command(a, command, reply_r);
}

/* ---- after running ---- */

void mail_save_group(struct mail_machine *m)
{
    struct state_key key;
    key_begin(&key, db_space(m->db), 0, KEY_GROUP);
    struct cq_buf *out = mail_scratch(m);
    group_record_put(&m->group, out);
    db_put(m->db, &key, cq_buf_slice(out));
}

/* Chunks that came with the entry and that nothing names. */
static void bury_chunks(struct apply *a)
{
    for (size_t i = a->chunks_taken; i < a->entry.chunk_count; i++)
        apply_chunk_died(a, &(struct chunk_ref){
                                .id = {a->v.m->config.incarnation, a->position.term, a->position.index, (uint32_t)i}});
}

static void save_all(struct apply *a, enum cq_rc rc, struct cq_slice reply)
{
    bool alive = a->v.account.state == ACCOUNT_ACTIVE;
    if (a->remember && alive)
        request_remember(a, rc, reply);
    bury_chunks(a);
    if (a->modseq || a->account_dirty)
        mail_save_account(&a->v);
    mail_save_group(a->v.m);
}

/* Takes back what the command did; the db undoes its own part. The entry's time stays. */
static void undo(struct apply *a, const struct group_record *group)
{
    struct mail_machine *m = a->v.m;
    uint64_t now = m->group.time;
    db_end(m->db, false);
    m->group = *group;
    m->group.time = now;
    if (a->touched_uids)
        uid_cache_clear(m->uids);
    if (a->acted)
        a->v.account = a->before;
    a->modseq = a->told = a->told_modseq = 0;
    a->account_dirty = a->list_changed = a->touched_uids = false;
    a->changed_count = a->chunks_taken = 0;
    a->events = 0;
    db_begin(m->db);
}

static struct cq_slice pack_answer(struct apply *a, enum cq_rc rc, struct cq_slice reply)
{
    Chasqui__Mail__Answer answer = CHASQUI__MAIL__ANSWER__INIT;
    answer.entry_time = a->v.m->group.time;
    answer.modseq = a->v.account.modseq;
    answer.incarnation = a->v.account.incarnation;
    if (rc != CQ_OK)
        answer.text = a->v.err->text;
    answer.body = (ProtobufCBinaryData){reply.len, (uint8_t *)reply.data};
    return mail_pack(a->v.pool, &answer.base);
}

static struct cq_slice pack_notice(struct apply *a)
{
    if (!a->told || (planted(PLANT_DROP_NOTICE) && a->position.index % 8 == 0))
        return CQ_SLICE_NONE;
    Chasqui__Mail__Notice notice = CHASQUI__MAIL__NOTICE__INIT;
    notice.modseq = a->told_modseq;
    notice.n_mailboxes = a->changed_count;
    notice.mailboxes = a->changed;
    notice.mailbox_list = a->list_changed;
    return mail_pack(a->v.pool, &notice.base);
}

/* The store failed in the middle: nothing of this entry happened here, and nothing ever will again. */
static void stop_here(struct apply *a, const struct group_record *group, struct machine_outcome *outcome_r)
{
    a->v.m->group = *group;
    uid_cache_clear(a->v.m->uids);
    db_end(a->v.m->db, false);
    *outcome_r = (struct machine_outcome){.rc = db_broken(a->v.m->db), .entry_time = group->time};
}

static enum cq_rc run(struct apply *a, struct cq_slice entry, struct cq_slice *reply_r)
{
    struct group_record group = a->v.m->group;
    enum cq_rc rc = entry_decode(entry, a->v.pool, &a->entry, a->v.err);
    if (rc == CQ_OK) {
        a->v.id = a->entry.account;
        rc = run_entry(a, reply_r);
    }
    if (rc == CQ_OK || a->keep || db_broken(a->v.m->db) != CQ_OK)
        return rc;
    undo(a, &group);
    if (rc == CQ_E_OVER_QUOTA && a->acted)
        apply_quota_refused(a);
    return rc;
}

static void run_and_answer(struct apply *a, struct cq_slice entry, struct machine_outcome *outcome_r)
{
    struct mail_machine *m = a->v.m;
    struct group_record group = m->group;
    struct cq_slice reply = CQ_SLICE_NONE;
    db_begin(m->db);
    enum cq_rc rc = run(a, entry, &reply);
    save_all(a, rc, reply);
    if (db_broken(m->db) != CQ_OK) {
        stop_here(a, &group, outcome_r);
        return;
    }
    db_end(m->db, true);
    db_advance(m->db, a->position);
    *outcome_r = (struct machine_outcome){
        .rc = rc,
        .answer = pack_answer(a, rc, reply),
        .entry_time = m->group.time,
        .account = a->told,
        .notice = pack_notice(a),
    };
}

void mail_apply(struct machine *machine, struct machine_position position, struct cq_slice entry, struct cq_pool *pool,
                struct machine_outcome *outcome_r)
{
    struct mail_machine *m = mail_machine_of(machine);
    struct cq_err err = {.rc = CQ_OK};
    *outcome_r = (struct machine_outcome){.rc = db_broken(m->db), .entry_time = m->group.time};
    if (outcome_r->rc != CQ_OK || position.index <= db_mark(m->db)->index)
        return;
    struct apply a = {.v = {.m = m, .pool = pool, .err = &err}, .position = position};
    run_and_answer(&a, entry, outcome_r);
}
