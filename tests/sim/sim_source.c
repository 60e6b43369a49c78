/* Who is asked: pages out of the leader's store, with a session for what must be of one moment; members. */
#include "sim_cluster.h"

#include "base/cq_mem.h"
#include "reseed/reseed_source.h"

#include <stdlib.h>

#define SESSION_IDLE_US (5 * SIM_S)
#define SESSION_LIFE_US (20 * SIM_S)
#define LOST_ROW 60 /* one page of the state in so many comes without its last row */

struct sim_session {
    struct sim_session *next;
    uint64_t id, replica;
    unsigned group, from;
    uint32_t generation;
    struct store_snapshot *snapshot; /* NULL: read no more, it only holds the log */
    struct reseed_offer offer;
    uint64_t opened_at, used_at;
};

/* ---- Calls ---- */

struct sim_call *sim_call_new(struct sim_node *from, unsigned to, unsigned group, enum sim_call_kind kind)
{
    struct sim_call *call = cq_new(struct sim_call);
    *call = (struct sim_call){.kind = kind, .from = from->index, .to = to, .group = group, .life = from->life};
    cq_buf_init(&call->names, RESEED_PAGE_MAX);
    cq_buf_init(&call->page, RESEED_PAGE_MAX);
    return call;
}

void sim_call_free(void *arg)
{
    struct sim_call *call = arg;
    cq_buf_fini(&call->names);
    cq_buf_fini(&call->page);
    free(call);
}

static void answer(struct sim *sim, struct sim_call *call, enum cq_rc rc)
{
    struct sim_node *from = sim->nodes[call->from];
    call->rc = rc;
    if (!sim_node_up(from) || from->life != call->life || sim_net_blocked(sim, call->to, call->from))
        sim_call_free(call);
    else
        sim_at_node(sim, from, sim_net_delay(sim), sim_call_answered, call, sim_call_free, 0, 0);
}

/* ---- Sessions ---- */

static void session_free(struct sim_node *node, struct sim_session *session)
{
    if (session->snapshot)
        store_snapshot_free(node->store, &session->snapshot);
    free(session);
}

void sim_sessions_end(struct sim_node *node)
{
    for (struct sim_session *s = node->places->sessions, *next; s; s = next) {
        next = s->next;
        session_free(node, s);
    }
    node->places->sessions = NULL;
}

static bool leads(const struct sim_node *node, unsigned g)
{
    return sim_group_works(node, g) && node->groups[g].role == RAFT_GROUP_LEADER;
}

static bool is_over(const struct sim_node *node, const struct sim_session *s)
{
    uint64_t now = node->sim->now;
    return !leads(node, s->group) || node->groups[s->group].generation != s->generation ||
           (s->snapshot && now - s->used_at > SESSION_IDLE_US) || now - s->opened_at > SESSION_LIFE_US;
}

static void take_out(struct sim_node *node, struct sim_session **at, bool release)
{
    struct sim_session *s = *at;
    *at = s->next;
    if (release)
        raft_host_release(node->host, s->group + 1, s->replica);
    session_free(node, s);
}

void sim_sessions_look(struct sim_node *node)
{
    for (struct sim_session **at = &node->places->sessions; *at;) {
        if (is_over(node, *at))
            take_out(node, at, true);
        else
            at = &(*at)->next;
    }
}

static struct sim_session **find(struct sim_node *node, const struct sim_call *call)
{
    struct sim_session **at = &node->places->sessions;
    while (*at &&
           ((*at)->id != call->session || (*at)->group != call->group || (*at)->from != call->from || !(*at)->snapshot))
        at = &(*at)->next;
    return at;
}

static struct reseed_source source_of(const struct sim_node *node, unsigned g)
{
    const struct sim_group *group = &node->groups[g];
    return (struct reseed_source){.store = node->store,
                                  .group = group->group,
                                  .generation = group->generation,
                                  .incarnation = group->incarnation};
}

static enum cq_rc fill(struct sim_node *node, struct sim_session *s, struct cq_err *err)
{
    struct reseed_source source = source_of(node, s->group);
    source.snapshot = s->snapshot;
    enum cq_rc rc = reseed_source_mark(&source, &s->offer.mark, err);
    if (rc == CQ_OK)
        rc = raft_host_hold(node->host, source.group, s->replica, s->offer.mark.index);
    if (rc != CQ_OK)
        return rc;
    s->offer.member_count = raft_host_conf_at(node->host, source.group, s->offer.mark.index, &s->offer.conf_index,
                                              s->offer.members, RAFT_MEMBERS_MAX);
    if (s->offer.member_count)
        return CQ_OK;
    raft_host_release(node->host, source.group, s->replica);
    return CQ_E_BEHIND;
}

static enum cq_rc open_session(struct sim_node *node, struct sim_call *call)
{
    for (struct sim_session **at = &node->places->sessions; *at;) {
        if ((*at)->group == call->group && (*at)->replica == call->replica)
            take_out(node, at, false); /* the hold is the replica's: the new session takes it over */
        else
            at = &(*at)->next;
    }
    struct sim_session *s = cq_new(struct sim_session);
    *s = (struct sim_session){.id = ++node->sim->cluster->next_number,
                              .replica = call->replica,
                              .group = call->group,
                              .from = call->from,
                              .generation = node->groups[call->group].generation,
                              .snapshot = store_snapshot_new(node->store),
                              .opened_at = node->sim->now,
                              .used_at = node->sim->now};
    s->offer.session = s->id;
    enum cq_rc rc = fill(node, s, &call->err);
    call->offer = s->offer;
    if (rc == CQ_OK) {
        s->next = node->places->sessions;
        node->places->sessions = s;
    } else {
        session_free(node, s);
    }
    return rc;
}

static void close_session(struct sim_node *node, const struct sim_call *call)
{
    struct sim_session **at = find(node, call);
    if (!*at)
        return;
    if (call->flipped)
        store_snapshot_free(node->store, &(*at)->snapshot);
    else
        take_out(node, at, true);
}

/* ---- Pages ---- */

/* What a digest is for. */
static void lose_row(struct sim_call *call)
{
    struct cq_slice left = cq_buf_slice(&call->page);
    struct reseed_row row;
    size_t last = 0;
    while (left.len) {
        last = call->page.len - left.len;
        if (reseed_row_next(&left, &row, NULL) != CQ_OK)
            return;
    }
    call->page.len = last;
}

static enum cq_rc read_page(struct sim_node *node, struct sim_call *call)
{
    struct reseed_source source = source_of(node, call->group);
    struct reseed_read read = {.cursor = call->cursor, .bytes_max = call->bytes_max};
    enum cq_rc rc;
    if (call->session || call->ask == RESEED_ASK_STATE) {
        struct sim_session *s = *find(node, call);
        if (!s)
            return CQ_FAIL(&call->err, CQ_E_BEHIND, "the copy's time is over");
        s->used_at = node->sim->now;
        source.snapshot = s->snapshot;
        source.generation = s->generation;
    }
    if (call->ask == RESEED_ASK_CHUNKS || call->ask == RESEED_ASK_HASHES)
        rc = reseed_read_chunks(&source, call->ask == RESEED_ASK_HASHES, &read, &call->page, &call->err);
    else if (call->ask == RESEED_ASK_SUMMARIES)
        rc = reseed_read_summaries(&source, &read, &call->page, &call->err);
    else if (call->ask == RESEED_ASK_STATE)
        rc = reseed_read_state(&source, &read, &call->page, &call->err);
    else
        rc = reseed_read_named(&source, cq_buf_slice(&call->names), &read, &call->page, &call->taken, &call->err);
    if (rc == CQ_OK && call->ask == RESEED_ASK_STATE && !node->sim->cluster->quiet && sim_chance(node->sim, LOST_ROW))
        lose_row(call);
    call->cursor = read.cursor;
    call->done = read.done;
    if (rc == CQ_E_CORRUPT || read.damaged)
        sim_fail(node->sim, "n%u: group %u: a source that nothing is wrong with does not read: %s", node->index,
                 call->group + 1, call->err.text);
    return rc;
}

/* ---- Members ---- */

/* The map's intent is that the asker has a replica, and none of a later id. */
static bool is_wanted(const struct sim_cluster *cluster, const struct sim_call *call)
{
    const struct sim_named *named = &cluster->map[call->group][call->from];
    const struct topology_move *move = &cluster->moves[call->group];
    return named->replica && named->replica <= call->replica &&
           (move->step < TOPOLOGY_MOVE_REMOVING || move->from != call->from);
}

static enum cq_rc join(struct sim_node *node, const struct sim_call *call)
{
    const struct member_join wish = {call->group + 1, call->replica, call->vote, node->sim->nodes[call->from]->id};
    return is_wanted(node->sim->cluster, call) ? member_step_join(node->host, &wish) : CQ_E_DENIED;
}

/* What the leader shows after a majority has confirmed it. Who is not wanted and still a member is removed. */
static void confirmed(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                      const struct machine_outcome *outcome)
{
    struct sim_call *call = arg;
    struct member_look look;
    (void)index, (void)outcome;
    if (rc == CQ_OK)
        rc = member_step_look(node->host, call->group + 1, &look);
    if (rc == CQ_OK && !look.committed)
        rc = CQ_E_AGAIN;
    for (size_t i = 0; rc == CQ_OK && i < look.count; i++)
        call->is_member |= look.members[i].member.replica == call->replica;
    if (rc == CQ_OK && call->is_member) {
        const struct member_wish wish = {call->group + 1, CHASQUI__SYSTEM__MEMBER_CHANGE__MEMBER_REMOVE, call->replica,
                                         sim->nodes[call->from]->id};
        member_step(node->host, &wish, NULL);
    }
    answer(sim, call, rc);
}

static void serve(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct sim_call *call = arg;
    struct sim_node *node = sim->nodes[call->to];
    enum cq_rc rc = leads(node, call->group) ? CQ_OK : CQ_E_NOT_LEADER;
    (void)a, (void)b;
    if (rc == CQ_OK && call->kind == CALL_MEMBERS) {
        rc = sim_node_read(node, call->group, confirmed, call, sim_call_free);
        sim_node_turn(node);
        if (rc == CQ_OK)
            return;
    } else if (rc == CQ_OK && call->kind == CALL_JOIN) {
        rc = join(node, call);
    } else if (rc == CQ_OK && call->kind == CALL_PAGE) {
        rc = call->ask == RESEED_ASK_OPEN ? open_session(node, call) : read_page(node, call);
    } else if (call->kind == CALL_CLOSE) {
        close_session(node, call);
    }
    sim_node_turn(node);
    answer(sim, call, rc);
}

void sim_call_send(struct sim *sim, struct sim_call *call)
{
    struct sim_node *to = sim->nodes[call->to];
    if (!sim_node_up(to) || sim_net_blocked(sim, call->from, call->to))
        sim_call_free(call);
    else
        sim_at_node(sim, to, sim_net_delay(sim), serve, call, sim_call_free, 0, 0);
}
