#include "cluster/move_plan.h"

#include "base/cq_mem.h"

#include <stdlib.h>

/* ---- Beginning ---- */

static bool may_begin(const struct topology *t, const struct topology_move *move, const unsigned *busy,
                      unsigned per_node, const bool *moving)
{
    return move->step == TOPOLOGY_MOVE_QUEUED && !move->cancelled && busy[move->from] < per_node &&
           busy[move->to] < per_node && !moving[topology_shard(t, move->group) - t->shards];
}

size_t move_plan_begin(const struct topology *t, unsigned per_node, unsigned total, uint64_t *replicas_r, size_t max)
{
    unsigned *busy = cq_calloc(t->node_count + 1, sizeof *busy), active = 0;
    bool *moving = cq_calloc(t->shard_count + 1, sizeof *moving);
    size_t count = 0;
    for (size_t pass = 0; pass < 2; pass++) /* first what is under way, then what may join it */
        for (size_t i = 0; i < t->move_count && (pass == 0 || (count < max && active < total)); i++) {
            const struct topology_move *move = &t->moves[i];
            if (pass == 0 ? !move_is_active(move) : !may_begin(t, move, busy, per_node, moving))
                continue;
            busy[move->from]++;
            busy[move->to]++;
            moving[topology_shard(t, move->group) - t->shards] = true;
            active++;
            if (pass)
                replicas_r[count++] = move->replica;
        }
    free(moving);
    free(busy);
    return count;
}

/* ---- One move ---- */

static struct move_next act(enum move_act what)
{
    return (struct move_next){.act = what};
}

static struct move_next record(enum topology_move_step step)
{
    return (struct move_next){.act = MOVE_ACT_STEP, .to = step};
}

/* Taken back: the new replica has no vote, so nobody misses it. */
static struct move_next take_back(const struct move_view *view)
{
    return act(view->new_member == MOVE_NO_MEMBER ? MOVE_ACT_STEP : MOVE_ACT_REMOVE_NEW);
}

static struct move_next next_adding(const struct topology_move *move, const struct move_view *view)
{
    if (view->new_member != MOVE_NO_MEMBER)
        return record(TOPOLOGY_MOVE_COPYING);
    return move->cancelled ? take_back(view) : act(MOVE_ACT_ADD);
}

static struct move_next next_copying(const struct topology_move *move, const struct move_view *view)
{
    if (view->new_member == MOVE_VOTER)
        return record(TOPOLOGY_MOVE_REMOVING);
    if (move->cancelled)
        return take_back(view);
    if (view->new_member == MOVE_NO_MEMBER) /* its node lost it, or an election undid what was not committed */
        return act(MOVE_ACT_ADD);
    return act(view->lag <= MOVE_NEAR ? MOVE_ACT_PROMOTE : MOVE_ACT_WAIT);
}

static struct move_next next_removing(const struct topology_move *move, const struct move_view *view)
{
    (void)move;
    if (view->old_member == MOVE_NO_MEMBER)
        return record(TOPOLOGY_MOVE_CLEANING);
    if (view->new_member != MOVE_VOTER) /* it was replaced meanwhile, and its node sees to the new one */
        return act(MOVE_ACT_WAIT);
    return act(view->old_leads ? MOVE_ACT_HAND_OVER : MOVE_ACT_REMOVE_OLD);
}

/* A node that does not answer may never come again; if it does, it destroys what it has by itself. */
static struct move_next next_cleaning(const struct move_view *view)
{
    return view->old_answers && view->old_is_there ? act(MOVE_ACT_WAIT) : record(TOPOLOGY_MOVE_NONE);
}

struct move_next move_plan_next(const struct topology_move *move, const struct move_view *view)
{
    if (move->step == TOPOLOGY_MOVE_CLEANING)
        return next_cleaning(view);
    if (move->step == TOPOLOGY_MOVE_QUEUED)
        return move->cancelled ? record(TOPOLOGY_MOVE_NONE) : act(MOVE_ACT_WAIT);
    if (!view->led || !view->settled)
        return act(MOVE_ACT_WAIT);
    switch (move->step) {
    case TOPOLOGY_MOVE_ADDING:
        return next_adding(move, view);
    case TOPOLOGY_MOVE_COPYING:
        return next_copying(move, view);
    default:
        return next_removing(move, view);
    }
}

const char *move_step_name(enum topology_move_step step)
{
    static const char *const names[] = {
        [TOPOLOGY_MOVE_NONE] = "done",         [TOPOLOGY_MOVE_QUEUED] = "queued",
        [TOPOLOGY_MOVE_ADDING] = "adding",     [TOPOLOGY_MOVE_COPYING] = "copying",
        [TOPOLOGY_MOVE_REMOVING] = "removing", [TOPOLOGY_MOVE_CLEANING] = "cleaning",
    };
    return (size_t)step < sizeof names / sizeof *names ? names[step] : "unknown";
}

bool move_plan_has_left(const struct topology *t, uint32_t node)
{
    if (!t->nodes[node].leaving || t->nodes[node].state == TOPOLOGY_NODE_GONE)
        return false;
    for (size_t i = 0; i < t->shard_count; i++)
        if (topology_replica_on(&t->shards[i], node))
            return false;
    for (size_t i = 0; i < t->move_count; i++)
        if (t->moves[i].from == node || t->moves[i].to == node)
            return false;
    return true;
}
