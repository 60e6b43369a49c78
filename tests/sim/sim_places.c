/* A node's replicas: which of them has to be copied, replaced or destroyed, and the steps of it, each on a fiber. */
#include "sim_cluster.h"

#include "base/cq_mem.h"
#include "base/cq_planted.h"
#include "node/replica_record.h"
#include "reseed/reseed_record.h"
#include "sim_fiber.h"

#include <stdlib.h>

#define LOOK_US (150 * SIM_MS)
#define RETRY_US (500 * SIM_MS)
#define QUESTION_US (2 * SIM_S)
#define HAND_OVER_US (5 * SIM_S)
#define JOIN_US (8 * SIM_S)
#define CLEANUP_CHUNKS 32

enum wish { WISH_NONE, WISH_CLEANUP, WISH_JOIN, WISH_DESTROY, WISH_NEW, WISH_BEHIND, WISH_SUSPECT, WISH_LOST };

struct sim_attempt {
    struct sim *sim;
    struct sim_node *node;
    struct sim_place *place;
    unsigned g;
    enum wish wish;
    uint64_t waiting;          /* number of what it waits for */
    struct sim_call *answered; /* the answer to its call */
    unsigned source;
    size_t page_bytes;
    uint64_t replica; /* under which the copy will be */
    struct reseed_target target;
    struct reseed_offer offer;
    bool digest;
};

/* ---- Waiting ---- */

static struct sim_attempt *waiting_for(struct sim_node *node, uint64_t g, uint64_t number)
{
    struct sim_attempt *a = node->places->at[g].attempt;
    return a && a->waiting == number ? a : NULL;
}

static void woken(struct sim *sim, void *arg, uint64_t g, uint64_t number)
{
    struct sim_attempt *a = waiting_for(arg, g, number);
    (void)sim;
    if (!a)
        return;
    a->waiting = 0;
    sim_fiber_resume(a->place->fiber);
}

void sim_call_answered(struct sim *sim, void *arg, uint64_t x, uint64_t y)
{
    struct sim_call *call = arg;
    struct sim_attempt *a = waiting_for(sim->nodes[call->from], call->group, call->number);
    (void)x, (void)y;
    if (!a) {
        sim_call_free(call);
        return;
    }
    a->answered = call;
    a->waiting = 0;
    sim_fiber_resume(a->place->fiber);
}

static uint64_t begin_wait(struct sim_attempt *a)
{
    return a->waiting = ++a->sim->cluster->next_number;
}

/* CQ_E_CANCELLED: the process ends. */
static enum cq_rc wait_here(struct sim_attempt *a)
{
    return sim_fiber_wait(a->place->fiber) ? CQ_OK : CQ_E_CANCELLED;
}

static enum cq_rc pause_for(struct sim_attempt *a, uint64_t us)
{
    sim_at_node(a->sim, a->node, us, woken, a->node, NULL, a->g, begin_wait(a));
    return wait_here(a);
}

static enum cq_rc write_batch(struct sim_attempt *a, const struct store_batch *batch, bool sync)
{
    struct store_batch *copy = store_batch_recorder_new();
    store_batch_replay(batch, copy);
    sim_node_write(a->node, copy, sync, woken, a->g, begin_wait(a));
    return wait_here(a);
}

/* Everything that was left with the writer before is written. */
static enum cq_rc wait_for_writer(struct sim_attempt *a)
{
    struct store_batch *empty = store_batch_recorder_new();
    enum cq_rc rc = write_batch(a, empty, true);
    store_batch_free(&empty);
    return rc;
}

/* Sends the call and waits. CQ_OK: it is answered, *call is the answer, or CQ_E_TIMEOUT and the like: it is gone. */
static enum cq_rc ask(struct sim_attempt *a, struct sim_call **call, struct cq_err *err)
{
    (*call)->number = begin_wait(a);
    sim_at_node(a->sim, a->node, QUESTION_US, woken, a->node, NULL, a->g, a->waiting);
    sim_call_send(a->sim, *call);
    a->answered = *call = NULL;
    enum cq_rc rc = wait_here(a);
    if (rc != CQ_OK)
        return rc;
    if (!a->answered)
        return CQ_FAIL(err, CQ_E_TIMEOUT, "no answer");
    rc = a->answered->rc;
    if (rc == CQ_OK) {
        *call = a->answered;
    } else {
        CQ_FAIL(err, rc, "n%u: %s %s", a->answered->to, cq_rc_name(rc), a->answered->err.text);
        sim_call_free(a->answered);
    }
    a->answered = NULL;
    return rc;
}

/* ---- What the copying asks and writes ---- */

static enum cq_rc ask_page(void *ctx, const struct reseed_question *q, struct reseed_answer *answer, struct cq_err *err)
{
    struct sim_attempt *a = ctx;
    struct sim_call *call = sim_call_new(a->node, a->source, a->g, CALL_PAGE);
    call->ask = q->kind;
    call->session = q->session;
    call->cursor = *q->from;
    call->replica = a->replica;
    call->bytes_max = a->page_bytes;
    cq_buf_slice_add(&call->names, q->names);
    if (q->kind == RESEED_ASK_OPEN && a->wish != WISH_LOST)
        raft_host_keep_log(a->node->host, a->g + 1, true);
    enum cq_rc rc = ask(a, &call, err);
    if (rc != CQ_OK)
        return rc;
    cq_buf_slice_add(&answer->page, cq_buf_slice(&call->page));
    answer->next = call->cursor;
    answer->done = call->done;
    answer->taken = call->taken;
    answer->offer = call->offer;
    if (q->kind == RESEED_ASK_OPEN)
        a->offer = call->offer;
    sim_call_free(call);
    return CQ_OK;
}

static enum cq_rc write_page(void *ctx, struct store_batch *batch, struct cq_err *err)
{
    (void)err;
    return store_batch_bytes(batch) ? write_batch(ctx, batch, false) : CQ_OK;
}

static enum cq_rc find_source(struct sim_attempt *a, struct cq_err *err)
{
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    const struct sim_node *leader = sim_leader(a->sim, a->g);
    for (int pass = 0; pass < 2 && rc != CQ_OK; pass++)
        for (unsigned i = 0; i < a->sim->options.nodes && rc != CQ_OK; i++) {
            if (i == a->node->index || !a->sim->cluster->map[a->g][i].replica ||
                (leader && leader->index == i) != (pass == 0))
                continue;
            struct sim_call *call = sim_call_new(a->node, i, a->g, CALL_PAGE);
            call->ask = RESEED_ASK_SUMMARIES;
            call->bytes_max = 1;
            rc = ask(a, &call, err);
            if (rc == CQ_E_CANCELLED)
                return rc;
            if (rc == CQ_OK)
                sim_call_free(call);
            a->source = i;
        }
    return rc;
}

static void close_session(struct sim_attempt *a, bool flipped, struct cq_err *err)
{
    if (!a->offer.session)
        return;
    struct sim_call *call = sim_call_new(a->node, a->source, a->g, CALL_CLOSE);
    call->session = a->offer.session;
    call->flipped = flipped;
    if (ask(a, &call, err) == CQ_OK)
        sim_call_free(call);
}

/* ---- Members ---- */

static enum cq_rc join(struct sim_attempt *a, bool vote, struct cq_err *err)
{
    uint64_t until = a->sim->now + JOIN_US;
    enum cq_rc rc;
    do {
        struct sim_call *call = sim_call_new(a->node, a->source, a->g, CALL_JOIN);
        call->replica = a->replica;
        call->vote = vote;
        rc = ask(a, &call, err);
        if (rc == CQ_OK)
            sim_call_free(call);
    } while (rc == CQ_E_AGAIN && a->sim->now < until && pause_for(a, 50 * SIM_MS) == CQ_OK);
    return rc;
}

/* The id that a replica which was lost comes back under: an unfinished copy's, or a new one. */
static void take_id(struct sim_attempt *a)
{
    struct reseed_record record;
    if (planted(PLANT_KEEP_LOST_ID))
        a->replica = a->sim->cluster->map[a->g][a->node->index].replica;
    else if (reseed_record_read(a->node->store, a->g + 1, &record, NULL) == CQ_OK)
        a->replica = record.replica;
    else
        a->replica = a->sim->cluster->next_replica++;
}

/* ---- The flip ---- */

static enum cq_rc write_flip(struct sim_attempt *a, const struct replica_record *record, struct cq_err *err)
{
    enum raft_install_log log;
    struct store_batch *batch = store_batch_recorder_new();
    replica_record_put(batch, record);
    enum cq_rc rc = reseed_flip(&a->target, &a->offer.mark, a->offer.conf_index, a->offer.members,
                                a->offer.member_count, batch, &log, err);
    if (rc == CQ_OK)
        rc = write_batch(a, batch, true);
    if (rc == CQ_OK) {
        sim_trace(a->sim, "n%u: group %u: replica %llu is generation %u, index %llu, log %s", a->node->index, a->g + 1,
                  (unsigned long long)record->replica, record->generation, (unsigned long long)a->offer.mark.index,
                  log == RAFT_INSTALL_KEPT ? "kept" : "replaced");
        a->sim->cluster->counts.kept += log == RAFT_INSTALL_KEPT;
    }
    store_batch_free(&batch);
    return rc;
}

static enum cq_rc flip(struct sim_attempt *a, struct cq_err *err)
{
    const struct replica_record record = {a->g + 1, a->target.record.generation, a->target.record.replica,
                                          sim_incarnation(a->g)};
    sim_group_take_out(a->node, a->g);
    enum cq_rc rc = wait_for_writer(a);
    if (rc != CQ_OK)
        return rc;
    sim_group_close(a->node, a->g);
    rc = write_flip(a, &record, err);
    if (rc == CQ_E_CANCELLED)
        return rc;
    sim_group_open(a->node, a->g);
    sim_node_turn(a->node);
    return rc;
}

/* ---- A copy ---- */

static enum cq_rc begin(struct sim_attempt *a, struct cq_err *err)
{
    const struct sim_group *group = &a->node->groups[a->g];
    const struct reseed_plan plan = {.group = a->g + 1,
                                     .incarnation = sim_incarnation(a->g),
                                     .generation = group->generation,
                                     .replica = a->replica,
                                     .suspect = a->wish >= WISH_SUSPECT ? SUSPECT_STATE : SUSPECT_NONE};
    struct store_batch *batch = store_batch_recorder_new();
    enum cq_rc rc = reseed_begin(&a->target, a->node->store, &plan, batch, err);
    if (rc == CQ_OK && store_batch_bytes(batch))
        rc = write_batch(a, batch, true);
    store_batch_free(&batch);
    return rc;
}

static enum cq_rc hand_over(struct sim_attempt *a, struct cq_err *err)
{
    uint64_t until = a->sim->now + HAND_OVER_US;
    while (a->node->groups[a->g].role == RAFT_GROUP_LEADER) {
        if (a->sim->now > until)
            return CQ_FAIL(err, CQ_E_UNAVAILABLE, "nobody takes the leadership");
        raft_host_transfer(a->node->host, a->g + 1, NULL);
        sim_node_turn(a->node);
        if (pause_for(a, 50 * SIM_MS) != CQ_OK)
            return CQ_E_CANCELLED;
    }
    return CQ_OK;
}

static enum cq_rc copy_steps(struct sim_attempt *a, struct cq_err *err)
{
    enum cq_rc rc = begin(a, err);
    if (rc == CQ_OK && a->node->groups[a->g].generation)
        rc = hand_over(a, err);
    if (rc == CQ_OK)
        rc = find_source(a, err);
    if (rc == CQ_OK && a->wish == WISH_LOST)
        rc = join(a, false, err);
    if (rc == CQ_OK)
        rc = reseed_copy(&a->target, &(struct reseed_io){a, ask_page, write_page}, &a->offer, &a->digest, err);
    return rc == CQ_OK ? flip(a, err) : rc;
}

static enum cq_rc copy(struct sim_attempt *a, struct cq_err *err)
{
    struct sim_cluster_counts *counts = &a->sim->cluster->counts;
    a->replica = a->node->groups[a->g].replica;
    if (a->wish == WISH_LOST)
        take_id(a);
    else if (a->wish == WISH_NEW)
        a->replica = a->sim->cluster->map[a->g][a->node->index].replica;
    enum cq_rc rc = copy_steps(a, err);
    counts->copies += rc == CQ_OK;
    counts->failed += rc != CQ_OK;
    counts->digests += a->digest;
    reseed_target_fini(&a->target);
    if (rc == CQ_E_CANCELLED)
        return rc;
    close_session(a, rc == CQ_OK, NULL);
    if (rc != CQ_OK && sim_node_up(a->node))
        raft_host_keep_log(a->node->host, a->g + 1, false);
    return rc;
}

/* ---- The rest ---- */

static enum cq_rc clean_up(struct sim_attempt *a, struct cq_err *err)
{
    struct reseed_record record;
    bool done = false;
    enum cq_rc rc = reseed_record_read(a->node->store, a->g + 1, &record, err);
    while (rc == CQ_OK && !done) {
        uint64_t removed;
        struct store_batch *batch = store_batch_recorder_new();
        const struct reseed_cleanup how = {.incarnation = sim_incarnation(a->g),
                                           .log_first = a->node->groups[a->g].first_index,
                                           .chunks_max = CLEANUP_CHUNKS};
        rc = reseed_cleanup_step(a->node->store, &record, &how, batch, &removed, &done, err);
        if (rc == CQ_OK)
            rc = write_batch(a, batch, false);
        store_batch_free(&batch);
    }
    return rc;
}

static enum cq_rc become_voter(struct sim_attempt *a, struct cq_err *err)
{
    a->replica = a->node->groups[a->g].replica;
    bool leads = a->node->groups[a->g].role == RAFT_GROUP_LEADER;
    enum cq_rc rc = leads ? CQ_OK : find_source(a, err);
    if (rc == CQ_OK && !leads)
        rc = join(a, true, err);
    if (rc == CQ_OK)
        sim_map_set(a->sim, a->g, a->node->index, a->replica);
    return rc;
}

/* Only when its group's leader says that it is no member. */
static enum cq_rc destroy(struct sim_attempt *a, struct cq_err *err)
{
    const struct sim_group *group = &a->node->groups[a->g];
    struct replica_record record = {a->g + 1, group->generation, group->replica, sim_incarnation(a->g)};
    struct reseed_record copy;
    if (!record.generation && reseed_record_read(a->node->store, a->g + 1, &copy, NULL) == CQ_OK)
        record.replica = copy.replica;
    enum cq_rc rc = find_source(a, err);
    if (rc != CQ_OK)
        return rc;
    struct sim_call *call = sim_call_new(a->node, a->source, a->g, CALL_MEMBERS);
    call->replica = record.replica;
    rc = ask(a, &call, err);
    if (rc != CQ_OK)
        return rc;
    bool is_member = call->is_member;
    sim_call_free(call);
    if (is_member)
        return CQ_E_AGAIN;
    sim_group_take_out(a->node, a->g);
    rc = wait_for_writer(a);
    if (rc != CQ_OK)
        return rc;
    sim_group_close(a->node, a->g);
    struct store_batch *batch = store_batch_recorder_new();
    replica_erase(batch, &record);
    rc = write_batch(a, batch, true);
    store_batch_free(&batch);
    sim_trace(a->sim, "n%u: group %u: replica %llu is destroyed", a->node->index, a->g + 1,
              (unsigned long long)record.replica);
    a->sim->cluster->counts.destroyed++;
    return rc;
}

/* ---- Who needs what ---- */

static enum wish wish_of(struct sim_node *node, unsigned g)
{
    const struct sim_cluster *cluster = node->sim->cluster;
    const struct sim_named *named = &cluster->map[g][node->index];
    const struct sim_group *group = &node->groups[g];
    struct reseed_record record;
    bool begun = reseed_record_read(node->store, g + 1, &record, NULL) == CQ_OK;
    if (begun && record.phase == RESEED_CLEANUP)
        return WISH_CLEANUP;
    if (!group->generation && !named->replica && begun) /* a copy that nobody wants any more */
        return WISH_DESTROY;
    if (!group->generation)
        return !named->replica                                                ? WISH_NONE
               : named->voter || named->replica <= cluster->lost[node->index] ? WISH_LOST
                                                                              : WISH_NEW;
    if (named->replica == 0 || named->replica > group->replica)
        return WISH_DESTROY;
    if (group->suspect)
        return WISH_SUSPECT;
    if (group->behind || (begun && record.replica == group->replica))
        return WISH_BEHIND;
    return group->replica > named->replica ? WISH_JOIN : WISH_NONE;
}

static enum cq_rc run_wish(struct sim_attempt *a, struct cq_err *err)
{
    if (a->wish == WISH_CLEANUP)
        return clean_up(a, err);
    if (a->wish == WISH_JOIN)
        return become_voter(a, err);
    return a->wish == WISH_DESTROY ? destroy(a, err) : copy(a, err);
}

static void run(void *arg)
{
    struct sim_attempt *a = arg;
    static const char *const names[] = {"", "clean-up", "vote", "destruction", "new", "behind", "suspect", "lost"};
    struct cq_err err = {0};
    sim_trace(a->sim, "n%u: group %u: %s", a->node->index, a->g + 1, names[a->wish]);
    enum cq_rc rc = run_wish(a, &err);
    sim_trace(a->sim, "n%u: group %u: %s ends: %s %s", a->node->index, a->g + 1, names[a->wish], cq_rc_name(rc),
              err.text);
    a->place->not_before = a->sim->now + (rc == CQ_OK ? 0 : RETRY_US);
    a->place->attempt = NULL;
    free(a);
}

static void start(struct sim_node *node, unsigned g, enum wish wish)
{
    struct sim_place *place = &node->places->at[g];
    struct sim_attempt *a = place->attempt = cq_new(struct sim_attempt);
    *a = (struct sim_attempt){.sim = node->sim,
                              .node = node,
                              .place = place,
                              .g = g,
                              .wish = wish,
                              .page_bytes = sim_between(node->sim, 200, 6000)};
    sim_fiber_start(&place->fiber, run, a);
}

static void look(struct sim *sim, void *arg, uint64_t x, uint64_t y)
{
    struct sim_node *node = arg;
    (void)x, (void)y;
    sim_sessions_look(node);
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
        struct sim_place *place = &node->places->at[g];
        enum wish wish = place->fiber || sim->now < place->not_before ? WISH_NONE : wish_of(node, g);
        if (wish)
            start(node, g, wish);
    }
    sim_node_turn(node);
    sim_at_node(sim, node, sim_between(sim, LOOK_US / 2, LOOK_US), look, node, NULL, 0, 0);
}

void sim_places_start(struct sim_node *node)
{
    node->places = cq_new(struct sim_places);
    *node->places = (struct sim_places){0};
    sim_at_node(node->sim, node, sim_between(node->sim, 1, LOOK_US), look, node, NULL, 0, 0);
}

void sim_places_end(struct sim_node *node)
{
    for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
        if (node->places->at[g].fiber)
            sim_fiber_cancel(node->places->at[g].fiber);
    sim_sessions_end(node);
    free(node->places);
    node->places = NULL;
}

/* ---- Is all well? ---- */

bool sim_place_in_order(struct sim *sim, unsigned g, unsigned i)
{
    struct sim_node *node = sim->nodes[i];
    const struct sim_group *group = &node->groups[g];
    return sim_node_up(node) && !node->places->at[g].fiber && wish_of(node, g) == WISH_NONE &&
           group->replica == sim->cluster->map[g][i].replica;
}

bool sim_group_in_order(struct sim *sim, unsigned g)
{
    bool ok = sim->cluster->moves[g].step == TOPOLOGY_MOVE_NONE;
    for (unsigned i = 0; i < sim->options.nodes && ok; i++)
        ok = sim_place_in_order(sim, g, i);
    return ok;
}
