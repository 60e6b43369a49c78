#include "node/reseed_sessions.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "node/fiber_wait.h"
#include "node/node.h"
#include "reseed/reseed_source.h"

#define SESSIONS_MAX 1024 /* also those that are read no more and only hold the log for a while */

struct reseed_sessions {
    struct node *node;
    unsigned max;
    uint64_t life_us;
    pthread_mutex_t lock;
    struct reseed_session *all[SESSIONS_MAX]; /* under lock, like what is in them that changes */
    unsigned count;
};

struct reseed_sessions *reseed_sessions_new(struct node *node, unsigned max, uint64_t life_us)
{
    struct reseed_sessions *s = cq_new(struct reseed_sessions);
    s->node = node;
    s->max = max < SESSIONS_MAX ? max : SESSIONS_MAX;
    s->life_us = life_us;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void drop_snapshot(struct reseed_sessions *s, struct reseed_session *session)
{
    if (session->snapshot)
        store_snapshot_free(s->node->dir.store, &session->snapshot);
}

void reseed_sessions_free(struct reseed_sessions **sessions)
{
    struct reseed_sessions *s = *sessions;
    if (!s)
        return;
    for (unsigned i = 0; i < s->count; i++) {
        drop_snapshot(s, s->all[i]);
        free(s->all[i]);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
    *sessions = NULL;
}

/* ---- The hold: on the Raft thread ---- */

struct hold {
    struct reseed_session *session;
    struct fiber_wait wait;
    enum cq_rc rc;
};

static void take_hold(struct raft_host *host, void *arg)
{
    struct hold *hold = arg;
    struct reseed_session *session = hold->session;
    struct reseed_offer *offer = &session->offer;
    uint32_t group = session->group->record.group;
    hold->rc = host ? raft_host_hold(host, group, session->replica, offer->mark.index) : CQ_E_UNAVAILABLE;
    if (hold->rc == CQ_OK) {
        offer->member_count =
            raft_host_conf_at(host, group, offer->mark.index, &offer->conf_index, offer->members, RAFT_MEMBERS_MAX);
        if (offer->member_count == 0) {
            raft_host_release(host, group, session->replica);
            hold->rc = CQ_E_BEHIND;
        }
    }
    fiber_wait_signal(&hold->wait);
}

struct release {
    uint32_t group;
    uint64_t replica;
};

static void on_release(struct raft_host *host, void *arg)
{
    struct release *release = arg;
    if (host)
        raft_host_release(host, release->group, release->replica);
    free(release);
}

static void drop_hold(struct reseed_sessions *s, const struct reseed_session *session)
{
    struct release *release = cq_new(struct release);
    *release = (struct release){session->group->record.group, session->replica};
    raft_thread_run(s->node->raft, on_release, release);
}

/* ---- Opening ---- */

/* With the lock. A receiver that begins again takes the place of its old session. */
static void end_same(struct reseed_sessions *s, const struct reseed_session *session)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->all[i]->group == session->group && s->all[i]->replica == session->replica)
            s->all[i]->ended = true;
}

/* With the lock. The hold is the replica's: a later session has taken it over. */
static bool has_same(const struct reseed_sessions *s, const struct reseed_session *session)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->all[i] != session && s->all[i]->group == session->group && s->all[i]->replica == session->replica)
            return true;
    return false;
}

/* With the lock. A copy that was flipped in is read no more, and takes nobody's place. */
static unsigned count_read(const struct reseed_sessions *s)
{
    unsigned read = 0;
    for (unsigned i = 0; i < s->count; i++)
        read += !s->all[i]->closed && !s->all[i]->ended;
    return read;
}

static bool add(struct reseed_sessions *s, struct reseed_session *session)
{
    pthread_mutex_lock(&s->lock);
    end_same(s, session);
    bool room = count_read(s) < s->max && s->count < SESSIONS_MAX;
    if (room)
        s->all[s->count++] = session;
    pthread_mutex_unlock(&s->lock);
    return room;
}

static void take_out(struct reseed_sessions *s, const struct reseed_session *session)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->all[i] != session)
            continue;
        s->all[i] = s->all[--s->count];
        return;
    }
}

static enum cq_rc fill(struct reseed_sessions *s, struct reseed_session *session, struct cq_err *err)
{
    struct hold hold = {.session = session};
    session->snapshot = store_snapshot_new(s->node->dir.store);
    const struct reseed_source source = {.store = s->node->dir.store,
                                         .snapshot = session->snapshot,
                                         .group = session->group->record.group,
                                         .generation = session->generation,
                                         .incarnation = session->group->record.incarnation};
    enum cq_rc rc = reseed_source_mark(&source, &session->offer.mark, err);
    if (rc != CQ_OK)
        return rc;
    fiber_wait_begin(&hold.wait);
    raft_thread_run(s->node->raft, take_hold, &hold);
    fiber_wait(&hold.wait);
    return hold.rc == CQ_OK ? CQ_OK : CQ_FAIL(err, hold.rc, "the log of group %u cannot be held", source.group);
}

enum cq_rc reseed_sessions_open(struct reseed_sessions *s, struct group *group, const struct raft_node *asker,
                                uint64_t replica, struct reseed_offer *offer_r, struct cq_err *err)
{
    reseed_sessions_look(s);
    struct reseed_session *session = cq_new(struct reseed_session);
    session->id = session->offer.session = cq_rand_u64() | 1;
    session->group = group;
    session->node = *asker;
    session->replica = replica;
    session->generation = group->record.generation;
    session->opened_us = session->used_us = cq_time_mono_us();
    session->users = 1;
    if (!add(s, session)) {
        free(session);
        return CQ_FAIL(err, CQ_E_OVERLOADED, "%u copies are read from this node already", s->max);
    }
    enum cq_rc rc = fill(s, session, err);
    *offer_r = session->offer;
    pthread_mutex_lock(&s->lock);
    session->ended |= rc != CQ_OK;
    pthread_mutex_unlock(&s->lock);
    reseed_sessions_unuse(s, session);
    return rc;
}

/* ---- Using ---- */

struct reseed_session *reseed_sessions_use(struct reseed_sessions *s, uint64_t id, uint32_t group,
                                           const struct raft_node *asker)
{
    struct reseed_session *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->count && !found; i++) {
        struct reseed_session *session = s->all[i];
        if (session->id == id && session->group->record.group == group && raft_node_eq(&session->node, asker) &&
            !session->ended && !session->closed)
            found = session;
    }
    if (found) {
        found->users++;
        found->used_us = cq_time_mono_us();
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void reseed_sessions_unuse(struct reseed_sessions *s, struct reseed_session *session)
{
    pthread_mutex_lock(&s->lock);
    session->used_us = cq_time_mono_us();
    bool last = --session->users == 0, ends = last && session->ended;
    if (ends)
        take_out(s, session);
    bool holds = ends && !has_same(s, session);
    if (last && (ends || session->closed))
        drop_snapshot(s, session);
    pthread_mutex_unlock(&s->lock);
    if (holds)
        drop_hold(s, session);
    if (ends)
        free(session);
}

void reseed_sessions_close(struct reseed_sessions *s, struct reseed_session *session, bool keep_log)
{
    pthread_mutex_lock(&s->lock);
    session->closed = true;
    session->ended |= !keep_log;
    pthread_mutex_unlock(&s->lock);
}

/* ---- Ending ---- */

/* Raft ends a hold by itself when the replica has joined; the session is only its time limit then. */
static bool is_over(const struct reseed_sessions *s, const struct reseed_session *session, uint64_t now)
{
    bool idle = !session->closed && now - session->used_us > RESEED_SESSION_IDLE_S * CQ_US_PER_S;
    return session->ended || idle || now - session->opened_us > s->life_us || !group_leads(session->group);
}

static struct reseed_session *next_over(struct reseed_sessions *s)
{
    uint64_t now = cq_time_mono_us();
    struct reseed_session *over = NULL;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->count && !over; i++) {
        if (!is_over(s, s->all[i], now))
            continue;
        s->all[i]->ended = true;
        if (s->all[i]->users == 0)
            over = s->all[i];
    }
    if (over)
        over->users = 1;
    pthread_mutex_unlock(&s->lock);
    return over;
}

void reseed_sessions_look(struct reseed_sessions *s)
{
    struct reseed_session *session;
    while ((session = next_over(s)) != NULL)
        reseed_sessions_unuse(s, session);
}

unsigned reseed_sessions_count(struct reseed_sessions *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned count = count_read(s);
    pthread_mutex_unlock(&s->lock);
    return count;
}
