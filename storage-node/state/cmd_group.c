/* The group's own commands, proposed by its leader: OWN_SLOTS, DIGEST_MARK, RAISE_VERSION. The outbox's: cmd_outbox.c.
 */
#include "state/command_version.h"
#include "state/mail_private.h"

static void mark_owned(uint8_t *owned, uint32_t first, uint32_t last)
{
    for (uint32_t slot = first; slot <= last; slot++)
        owned[slot / 8] |= (uint8_t)(1u << slot % 8);
}

/* The bitmap as ranges. Returns how many. */
static size_t owned_ranges(const uint8_t *owned, struct slot_range *ranges)
{
    size_t count = 0;
    bool inside = false;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        bool is_owned = owned[slot / 8] >> slot % 8 & 1;
        if (is_owned && !inside)
            ranges[count++].first = (uint16_t)slot;
        if (is_owned)
            ranges[count - 1].last = (uint16_t)slot;
        inside = is_owned;
    }
    return count;
}

COMMAND(cmd_own_slots)
{
    (void)reply_r;
    const Chasqui__Mail__OwnSlots *own = message;
    struct mail_machine *m = a->v.m;
    if (own->map_epoch < m->slots_epoch)
        return CQ_FAIL(a->v.err, CQ_E_CONFLICT, "map epoch %llu after %llu", (unsigned long long)own->map_epoch,
                       (unsigned long long)m->slots_epoch);
    if (own->n_ranges > SLOT_COUNT)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "%zu slot ranges", own->n_ranges);
    uint8_t *owned = cq_pool_calloc(a->v.pool, 1, SLOT_COUNT / 8);
    for (size_t i = 0; i < own->n_ranges; i++) {
        const Chasqui__Mail__OwnSlots__Range *range = own->ranges[i];
        if (range->first > range->last || range->last >= SLOT_COUNT)
            return CQ_FAIL(a->v.err, CQ_E_INVALID, "slots %u to %u", range->first, range->last);
        mark_owned(owned, range->first, range->last);
    }
    struct slot_range *ranges = cq_pool_alloc(a->v.pool, SLOT_COUNT / 2 * sizeof *ranges);
    struct state_key key;
    key_begin(&key, db_space(m->db), 0, KEY_SLOTS);
    struct cq_buf *out = mail_scratch(m);
    slots_record_put(own->map_epoch, ranges, owned_ranges(owned, ranges), out);
    db_put(m->db, &key, cq_buf_slice(out));
    memcpy(m->owned, owned, sizeof m->owned);
    m->slots_epoch = own->map_epoch;
    return CQ_OK;
}

/* The digest with this entry's own time in it: what every replica has when it has applied this index. */
COMMAND(cmd_digest_mark)
{
    (void)message;
    struct mail_machine *m = a->v.m;
    mail_save_group(m);
    const struct db_mark *mark = db_mark(m->db);
    Chasqui__Mail__DigestReply reply = CHASQUI__MAIL__DIGEST_REPLY__INIT;
    reply.index = a->position.index;
    reply.digest_low = mark->digest.low;
    reply.digest_high = mark->digest.high;
    reply.records = mark->records;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}

/* What comes behind it in the log may be of the new version, so a build that does not know that one stops here. */
COMMAND(cmd_raise_version)
{
    (void)reply_r;
    const Chasqui__Mail__RaiseVersion *raise = message;
    struct mail_machine *m = a->v.m;
    if (raise->version <= m->group.active_version)
        return CQ_OK;
    if (raise->version > UINT16_MAX)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "command version %u", raise->version);
    if (raise->version > m->config.known)
        return db_break(m->db, command_version_too_new(raise->version, m->config.known, a->v.err));
    m->group.active_version = (uint16_t)raise->version;
    return CQ_OK;
}
