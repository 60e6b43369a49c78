/* The outbox's own commands, proposed by the group's leader: OUTBOX_ADVANCE removes what was published, OUTBOX_TRIM
 * what there is no room for.
 *
 * Trimming takes the oldest events that are not final, and final ones only when there are no others. What went is
 * counted in one event per stream at the outbox's end, so no consumer misses silently; trimming counts such events that
 * it meets into the new ones. How much may stay is in the entry: a setting of whoever leads, the same for every
 * replica.
 *
 * BUGS: what its leader was publishing at that moment is counted as dropped too. */
#include "base/cq_endian.h"
#include "base/cq_planted.h"
#include "state/mail_private.h"

static int position_cmp(struct outbox_position a, struct outbox_position b)
{
    if (a.index != b.index)
        return a.index < b.index ? -1 : 1;
    return a.sub_index < b.sub_index ? -1 : a.sub_index > b.sub_index;
}

/* A record that the iterator of this command has given. */
struct seen_event {
    struct outbox_position at;
    struct cq_hash128 hash;
};

static struct seen_event see(const struct db_iter *iter)
{
    const uint8_t *rest = key_rest(db_iter_key(iter)).data;
    return (struct seen_event){{cq_get_be64(rest), cq_get_be32(rest + 8)}, db_iter_hash(iter)};
}

static void remove_seen(struct mail_machine *m, const struct seen_event *gone, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct state_key key;
        key_begin(&key, db_space(m->db), 0, KEY_OUTBOX);
        key_u64(&key, gone[i].at.index);
        key_u32(&key, gone[i].at.sub_index);
        db_delete_seen(m->db, &key, gone[i].hash);
    }
    m->group.outbox_events -= count;
}

/* Removes published events, a bounded piece at a time: the cursor says how far it came. */
COMMAND(cmd_outbox_advance)
{
    (void)reply_r;
    const Chasqui__Mail__OutboxAdvance *advance = message;
    struct mail_machine *m = a->v.m;
    struct outbox_position to = {advance->to_index, advance->to_sub_index};
    struct outbox_position at = {m->group.outbox_index, m->group.outbox_sub_index};
    if (to.index >= a->position.index)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "outbox cursor to index %llu", (unsigned long long)to.index);
    struct state_key all, from, after;
    key_begin(&all, db_space(m->db), 0, KEY_OUTBOX);
    key_after_prefix(&all, &after);
    from = all; /* nothing is left before the cursor, but a store that has not forgotten it yet would be long to pass */
    key_u64(&from, at.index);
    struct seen_event *gone = cq_pool_calloc(a->v.pool, STATE_EFFECTS_MAX, sizeof *gone);
    size_t count = 0;
    enum cq_rc rc = CQ_OK;
    struct db_iter *iter = db_iter_new(m->db, key_slice(&from), key_slice(&after));
    while (count < STATE_EFFECTS_MAX && (rc = db_iter_next(iter)) == CQ_OK) {
        gone[count] = see(iter);
        if (position_cmp(gone[count].at, to) > 0) {
            rc = CQ_E_EOF;
            break;
        }
        count++;
        m->group.outbox_bytes -= db_iter_value(iter).len - 1;
    }
    db_iter_free(&iter);
    if (rc != CQ_OK && rc != CQ_E_EOF)
        return rc;
    remove_seen(m, gone, count);
    struct outbox_position reached = rc == CQ_E_EOF || count == 0 ? to : gone[count - 1].at;
    if (position_cmp(reached, at) > 0) {
        m->group.outbox_index = reached.index;
        m->group.outbox_sub_index = reached.sub_index + planted(PLANT_CURSOR_SKIPS);
    }
    return CQ_OK;
}

/* ---- trimming ---- */

struct gap {
    Chasqui__Outbox__Gap sum; /* with what older gap events said */
    uint64_t fresh;           /* events that this entry drops */
};

struct trim {
    struct apply *a;
    struct cq_pool *pool; /* of one event */
    uint64_t keep;
    uint64_t trimmed; /* log index below which only final events and gaps were left by earlier entries */
    size_t left;      /* rows that this entry may still look at */
    struct seen_event *gone;
    size_t count;
    uint64_t bytes; /* of what goes */
    uint64_t freed; /* of them: not of gaps, which are written anew */
    struct gap gaps[OUTBOX_STREAMS];
};

static bool over(const struct trim *t)
{
    return t->a->v.m->group.outbox_bytes - t->freed > t->keep;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a && a < b ? a : b;
}

static void count_gap(struct gap *gap, const Chasqui__Outbox__Gap *other)
{
    Chasqui__Outbox__Gap *sum = &gap->sum;
    sum->dropped_events += other->dropped_events;
    sum->dropped_final_events += other->dropped_final_events;
    sum->dropped_bytes += other->dropped_bytes;
    sum->first_time_us = earlier(sum->first_time_us, other->first_time_us);
    if (other->last_time_us > sum->last_time_us)
        sum->last_time_us = other->last_time_us;
}

static void count_event(struct gap *gap, const Chasqui__Outbox__Event *event, size_t bytes, bool final)
{
    Chasqui__Outbox__Gap one = CHASQUI__OUTBOX__GAP__INIT;
    one.dropped_events = 1;
    one.dropped_final_events = final;
    one.dropped_bytes = bytes;
    one.first_time_us = one.last_time_us = event->time;
    count_gap(gap, &one);
    gap->fresh++;
}

/* The first walk takes what is not final, from where earlier entries have come; the second one what the first left. */
static bool takes(const struct trim *t, const struct outbox_class *class, uint64_t index, bool finals)
{
    return finals ? class->final || index < t->trimmed : !class->final;
}

static enum cq_rc look(struct trim *t, const struct seen_event *seen, struct cq_slice record, bool finals)
{
    struct mail_view *v = &t->a->v;
    struct cq_slice bytes;
    enum cq_rc rc = mail_decoded(v, bytes_record_get(record, &bytes), "outbox");
    if (rc != CQ_OK)
        return rc;
    cq_pool_clear(t->pool);
    ProtobufCAllocator allocator = mail_allocator(t->pool);
    const Chasqui__Outbox__Event *event = chasqui__outbox__event__unpack(&allocator, bytes.len, bytes.data);
    if (!event)
        return mail_decoded(v, CQ_E_CORRUPT, "outbox");
    const struct outbox_class *class = outbox_class_of(event->type);
    if (!takes(t, class, seen->at.index, finals))
        return CQ_OK;
    t->gone[t->count++] = *seen;
    t->bytes += bytes.len;
    if (class->gap && event->gap) {
        count_gap(&t->gaps[class->stream], event->gap);
    } else {
        count_event(&t->gaps[class->stream], event, bytes.len, class->final);
        t->freed += bytes.len;
    }
    return CQ_OK;
}

/* From the log index *index on, which becomes the one that was not looked at to its end. CQ_E_EOF: nothing is left. */
static enum cq_rc walk(struct trim *t, uint64_t *index, bool finals)
{
    struct state_key from, all, after;
    key_begin(&from, db_space(t->a->v.m->db), 0, KEY_OUTBOX);
    all = from;
    key_u64(&from, *index);
    key_after_prefix(&all, &after);
    struct db_iter *iter = db_iter_new(t->a->v.m->db, key_slice(&from), key_slice(&after));
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && over(t) && t->left && (rc = db_iter_next(iter)) == CQ_OK) {
        const struct seen_event seen = see(iter);
        *index = seen.at.index;
        t->left--;
        rc = look(t, &seen, db_iter_value(iter), finals);
    }
    db_iter_free(&iter);
    return rc;
}

/* Everything below this log index was looked at: what is still there is final, or counts what went. */
static enum cq_rc load_trimmed(struct apply *a, struct state_key *key, uint64_t *index_r)
{
    struct cq_slice bytes;
    *index_r = 0;
    key_begin(key, db_space(a->v.m->db), 0, KEY_TRIMMED);
    enum cq_rc rc = db_get(a->v.m->db, key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, number_record_get(bytes, index_r), "trimmed");
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

static enum cq_rc choose(struct trim *t)
{
    struct apply *a = t->a;
    struct state_key key;
    uint64_t index, first = 0;
    enum cq_rc rc = load_trimmed(a, &key, &t->trimmed);
    index = t->trimmed;
    if (rc == CQ_OK)
        rc = walk(t, &index, false);
    if (rc == CQ_E_EOF)
        rc = walk(t, &first, true);
    if (rc != CQ_OK && rc != CQ_E_EOF)
        return rc;
    if (index != t->trimmed) {
        struct cq_buf *out = mail_scratch(a->v.m);
        number_record_put(index, out);
        db_put(a->v.m->db, &key, cq_buf_slice(out));
    }
    return CQ_OK;
}

static void remove_chosen(struct trim *t)
{
    struct mail_machine *m = t->a->v.m;
    remove_seen(m, t->gone, t->count);
    m->group.outbox_bytes -= t->bytes;
}

static void write_gaps(struct trim *t)
{
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++) {
        Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
        if (t->gaps[i].sum.dropped_events == 0)
            continue;
        event.type = (Chasqui__Outbox__Type)(CHASQUI__OUTBOX__TYPE__INBOUND_EVENTS_DROPPED + i);
        event.gap = &t->gaps[i].sum;
        apply_event(t->a, &event);
    }
}

static struct cq_slice trim_reply(struct trim *t, bool more)
{
    Chasqui__Mail__OutboxTrimReply reply = CHASQUI__MAIL__OUTBOX_TRIM_REPLY__INIT;
    uint64_t dropped[OUTBOX_STREAMS];
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++)
        dropped[i] = t->gaps[i].fresh;
    reply.dropped = dropped;
    reply.n_dropped = OUTBOX_STREAMS;
    reply.more = more;
    return mail_pack(t->a->v.pool, &reply.base);
}

COMMAND(cmd_outbox_trim)
{
    const Chasqui__Mail__OutboxTrim *trim = message;
    struct trim t = {.a = a, .keep = trim->keep_bytes, .left = STATE_EFFECTS_MAX};
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++)
        chasqui__outbox__gap__init(&t.gaps[i].sum);
    t.gone = cq_pool_calloc(a->v.pool, STATE_EFFECTS_MAX, sizeof *t.gone);
    t.pool = cq_pool_new(4096);
    enum cq_rc rc = choose(&t);
    cq_pool_free(&t.pool);
    if (rc != CQ_OK)
        return rc;
    bool worth = t.count > OUTBOX_STREAMS; /* not the gaps alone, for ever anew */
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++)
        worth = worth || t.gaps[i].fresh;
    if (worth) {
        remove_chosen(&t);
        write_gaps(&t);
    }
    *reply_r = trim_reply(&t, t.left == 0);
    return CQ_OK;
}
