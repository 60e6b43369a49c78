/* The outbox: the leader publishes its group's events in order and tells the group how far it has come; a new leader
 * goes on from there. Consumers must see each event at least once, the first time in order, with no event left out;
 * what comes again is the same. */
#include "sim_mail.h"

#include "base/cq_hash.h"

#include <inttypes.h>

#define EVENTS_AT_ONCE 100

static int compare(struct outbox_position a, const struct model_event *b)
{
    if (a.index != b->index)
        return a.index < b->index ? -1 : 1;
    return a.sub_index < b->sub_index ? -1 : a.sub_index > b->sub_index;
}

/* The place of the first event that is not before `at`. */
static size_t place_of(const struct model_outbox *outbox, struct outbox_position at)
{
    size_t low = 0, high = outbox->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(at, &outbox->rows[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_event(const struct model_outbox *outbox, size_t place, struct outbox_position at, struct cq_slice bytes)
{
    return place < outbox->count && compare(at, &outbox->rows[place]) == 0 &&
           outbox->rows[place].hash == cq_xxh3_64(bytes);
}

static void publish(struct mail *mail, const struct sim_node *node, unsigned group, struct outbox_position at,
                    struct cq_slice bytes)
{
    struct model_outbox *outbox = &mail->model.outbox[group];
    size_t place = place_of(outbox, at);
    if (!is_event(outbox, place, at, bytes) || place > outbox->published)
        sim_fail(mail->sim,
                 "n%u publishes event %" PRIu64 ".%u of group %u, which is number %zu, after %zu were published",
                 node->index, at.index, at.sub_index, group + 1, place, outbox->published);
    if (place == outbox->published)
        outbox->published++;
}

static void advance(struct sim_node *node, unsigned group, struct outbox_position to)
{
    Chasqui__Mail__OutboxAdvance message = CHASQUI__MAIL__OUTBOX_ADVANCE__INIT;
    message.to_index = to.index;
    message.to_sub_index = to.sub_index;
    mail_propose(node, group, CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE, 0, &message.base, 0, 0);
}

void mail_relay_run(struct mail *mail, struct sim_node *leader, unsigned group)
{
    struct sim_group *g = &leader->groups[group];
    struct mail_relay *relay = &mail->relays[group];
    struct outbox_position next, cursor = mail_machine_outbox_cursor(g->machine);
    if (relay->node != leader->index || relay->life != leader->life || relay->term != g->term)
        *relay = (struct mail_relay){leader->index, leader->life, g->term, cursor};
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_slice event;
    unsigned most = sim_chance(mail->sim, 4) ? sim_below(mail->sim, 5) : EVENTS_AT_ONCE; /* the sink takes no more */
    for (unsigned i = 0; i < most && !mail->sim->failures &&
                         mail_machine_outbox_next(g->machine, relay->published, pool, &next, &event, NULL) == CQ_OK;
         i++) {
        publish(mail, leader, group, next, event);
        relay->published = next;
    }
    cq_pool_free(&pool);
    bool moved = relay->published.index != cursor.index || relay->published.sub_index != cursor.sub_index;
    if (moved && sim_chance(mail->sim, 3))
        advance(leader, group, relay->published);
}

/* What waits on a replica is what its cursor has not passed, to the last event. */
static void check_waiting(struct mail *mail, struct sim_node *node, unsigned group)
{
    const struct model_outbox *outbox = &mail->model.outbox[group];
    struct machine *machine = node->groups[group].machine;
    struct outbox_position at = mail_machine_outbox_cursor(machine), next;
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_slice event;
    size_t place = place_of(outbox, at);
    if (place < outbox->count && compare(at, &outbox->rows[place]) == 0)
        place++;
    if (place > outbox->published)
        sim_fail(mail->sim, "n%u: the outbox cursor of group %u has passed events that nobody saw", node->index,
                 group + 1);
    while (mail_machine_outbox_next(machine, at, pool, &next, &event, NULL) == CQ_OK) {
        if (!is_event(outbox, place++, next, event))
            sim_fail(mail->sim, "n%u: another event waits at %" PRIu64 ".%u of group %u", node->index, next.index,
                     next.sub_index, group + 1);
        at = next;
    }
    if (place != outbox->count)
        sim_fail(mail->sim, "n%u: %zu events of group %u are missing", node->index, outbox->count - place, group + 1);
    cq_pool_free(&pool);
}

void mail_relay_check_end(struct mail *mail)
{
    struct sim *sim = mail->sim;
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
        const struct model_outbox *outbox = &mail->model.outbox[g];
        if (outbox->published != outbox->count)
            sim_fail(sim, "%zu of %zu events of group %u were published in a healed cluster", outbox->published,
                     outbox->count, g + 1);
        for (unsigned i = 0; i < sim->options.nodes && !sim->failures; i++)
            if (sim->nodes[i]->groups[g].machine)
                check_waiting(mail, sim->nodes[i], g);
    }
}
