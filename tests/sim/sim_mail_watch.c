/* Watchers: each follows one INBOX as an IDLE session does. A notice only says that something changed; then CHANGES is
 * asked from the last modseq on. When the stream ends (its node died or no longer leads) a new one is opened at the
 * leader and CHANGES asked once. Nothing else ever makes a watcher ask: what no notice tells, it does not see. */
#include "sim_mail.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "mailstore/fetch_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_US (40 * SIM_MS)
#define NOTICE_WITHIN_US (2 * SIM_S)

static void fetch(struct mail_watcher *watcher);

/* ---- The stream ---- */

static bool stream_alive(const struct mail_watcher *watcher)
{
    const struct sim_node *node = watcher->mail->sim->nodes[watcher->node];
    const struct sim_group *group = &node->groups[watcher->account->group];
    return watcher->open && sim_node_up(node) && node->life == watcher->life && group->role == RAFT_GROUP_LEADER &&
           group->term == watcher->term;
}

static void open_stream(struct mail_watcher *watcher)
{
    struct sim_node *leader = sim_leader(watcher->mail->sim, watcher->account->group);
    watcher->open = false;
    if (!leader || leader->paused_until > watcher->mail->sim->now)
        return;
    watcher->open = true;
    watcher->node = leader->index;
    watcher->life = leader->life;
    watcher->term = leader->groups[watcher->account->group].term;
    watcher->generation++;
    watcher->noticed = 0;
    fetch(watcher);
}

static void poll(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail_watcher *watcher = arg;
    (void)a, (void)b;
    if (!stream_alive(watcher))
        open_stream(watcher);
    sim_at(sim, POLL_US, poll, watcher, 0, 0);
}

/* ---- Notices ---- */

static void take_notice(struct sim *sim, void *arg, uint64_t generation, uint64_t modseq)
{
    struct mail_watcher *watcher = arg;
    (void)sim;
    if (generation != watcher->generation)
        return;
    if (modseq > watcher->noticed)
        watcher->noticed = modseq;
    fetch(watcher);
}

/* A stream that was there when the change was applied, and still is, has told of it by now. */
static void check_noticed(struct sim *sim, void *arg, uint64_t generation, uint64_t modseq)
{
    struct mail_watcher *watcher = arg;
    const struct sim_node *node = sim->nodes[watcher->node];
    if (generation == watcher->generation && stream_alive(watcher) && node->paused_until < sim->now &&
        watcher->noticed < modseq)
        sim_fail(sim, "watcher %u of account %016" PRIx64 " has not been told of modseq %" PRIu64 " by n%u",
                 watcher->index, watcher->account->id, modseq, watcher->node);
}

static uint64_t notice_modseq(struct cq_slice notice)
{
    Chasqui__Mail__Notice *n = chasqui__mail__notice__unpack(NULL, notice.len, notice.data);
    uint64_t modseq = n ? n->modseq : 0;
    chasqui__mail__notice__free_unpacked(n, NULL);
    return modseq;
}

void mail_watch_applied(struct mail *mail, struct sim_node *node, const struct raft_commit *commit,
                        const struct machine_outcome *outcome)
{
    const struct model_account *account = outcome->account ? model_account(&mail->model, outcome->account) : NULL;
    (void)commit;
    for (unsigned i = 0; account && i < mail->watcher_count; i++) {
        struct mail_watcher *watcher = &mail->watchers[i];
        if (watcher->account != account || watcher->node != node->index || !stream_alive(watcher))
            continue;
        sim_at(mail->sim, NOTICE_WITHIN_US, check_noticed, watcher, watcher->generation, account->modseq);
        if (outcome->notice.len)
            sim_at(mail->sim, sim_between(mail->sim, 20, 300), take_notice, watcher, watcher->generation,
                   notice_modseq(outcome->notice));
    }
}

/* ---- CHANGES ---- */

struct ask {
    struct mail_watcher *watcher;
    uint64_t since;
};

static void fetch_again(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail_watcher *watcher = arg;
    (void)sim, (void)a, (void)b;
    watcher->fetching = false;
    fetch(watcher);
}

static void fetch_ended(struct mail_watcher *watcher, bool ask_again)
{
    if (ask_again || watcher->again) {
        watcher->again = false;
        sim_at(watcher->mail->sim, ask_again ? 5 * SIM_MS : 50, fetch_again, watcher, 0, 0);
    } else {
        watcher->fetching = false;
    }
}

static struct model_message *view_at(struct mail_watcher *watcher, uint32_t uid, size_t *place_r)
{
    size_t low = 0, high = watcher->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (watcher->view[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    *place_r = low;
    return low < watcher->count && watcher->view[low].uid == uid ? &watcher->view[low] : NULL;
}

static void view_put(struct mail_watcher *watcher, const struct fetch_record *record, uint8_t keywords)
{
    size_t at;
    struct model_message *message = view_at(watcher, record->uid, &at);
    if (!message) {
        if (watcher->count == watcher->cap) {
            watcher->cap = watcher->cap ? watcher->cap * 2 : 64;
            watcher->view = cq_realloc(watcher->view, watcher->cap * sizeof *watcher->view);
        }
        memmove(watcher->view + at + 1, watcher->view + at, (watcher->count - at) * sizeof *watcher->view);
        watcher->count++;
        message = &watcher->view[at];
    }
    *message = (struct model_message){
        .uid = record->uid, .flags = record->flags, .keywords = keywords, .email = record->email};
}

static void view_vanish(struct mail_watcher *watcher, const Chasqui__Mail__UidSet *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < watcher->count; i++) {
        bool gone = false;
        for (size_t r = 0; set && r + 1 < set->n_ranges; r += 2)
            gone |= watcher->view[i].uid >= set->ranges[r] && watcher->view[i].uid <= set->ranges[r + 1];
        if (!gone)
            watcher->view[kept++] = watcher->view[i];
    }
    watcher->count = kept;
}

static void compare(struct mail_watcher *watcher, const struct sim_node *node, uint64_t index)
{
    const struct model_mailbox *mailbox = model_mailbox(watcher->account, watcher->mailbox);
    struct model_was was = model_at(&mailbox->history, index);
    uint64_t sum = 0;
    for (size_t i = 0; i < watcher->count; i++)
        sum += model_message_hash(watcher->view[i].uid, watcher->view[i].flags, watcher->view[i].keywords,
                                  watcher->view[i].email);
    watcher->checked++;
    if (watcher->count != was.count || sum != was.sum)
        sim_fail(watcher->mail->sim,
                 "watcher %u of account %016" PRIx64 ": CHANGES of n%u until index %" PRIu64
                 " give %zu messages, there were %u, or others, or with other flags",
                 watcher->index, watcher->account->id, node->index, index, watcher->count, was.count);
}

static void take_changes(struct mail_watcher *watcher, const struct sim_node *node,
                         const Chasqui__Mail__ChangesReply *reply, const struct mail_read_result *result)
{
    struct cq_slice bytes = cq_buf_slice(&result->raw);
    struct fetch_record record;
    view_vanish(watcher, reply->vanished);
    while (fetch_record_next(&bytes, &record) == CQ_OK) {
        int keywords = model_keyword_bits(record.keywords, reply->keywords, reply->n_keywords);
        if (keywords < 0)
            sim_fail(watcher->mail->sim, "watcher %u: a keyword that nobody gave", watcher->index);
        view_put(watcher, &record, (uint8_t)keywords);
    }
    if (reply->until_modseq < watcher->since)
        sim_fail(watcher->mail->sim, "watcher %u: CHANGES go back", watcher->index);
    watcher->since = reply->until_modseq;
    if (!reply->more)
        compare(watcher, node, result->index);
    fetch_ended(watcher, reply->more);
}

static void changes_done(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                         const struct machine_outcome *outcome)
{
    struct mail_watcher *watcher = arg;
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__Mail__Changes changes = CHASQUI__MAIL__CHANGES__INIT;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    struct mail_op op = {
        .account = watcher->account, .method = CHASQUI__MAIL__METHOD__CHANGES, .mailbox = watcher->mailbox};
    struct mail_read_result result;
    (void)sim, (void)index, (void)outcome;
    if (rc != CQ_OK) {
        fetch_ended(watcher, true);
        cq_pool_free(&pool);
        return;
    }
    changes.mailbox = watcher->mailbox;
    changes.since_modseq = watcher->since;
    changes.max_records = 10;
    struct cq_slice body = mail_pack_to(pool, &changes.base);
    call.body = (ProtobufCBinaryData){body.len, (uint8_t *)(uintptr_t)body.data};
    mail_read_run(watcher->mail, node, &op, mail_pack_to(pool, &call.base), &result);
    ProtobufCAllocator allocator = mail_pool_allocator(pool);
    const Chasqui__Mail__Answer *answer =
        chasqui__mail__answer__unpack(&allocator, result.answer.len, result.answer.data);
    const Chasqui__Mail__ChangesReply *reply =
        chasqui__mail__changes_reply__unpack(&allocator, answer->body.len, answer->body.data);
    if (result.rc != CQ_OK || reply->mailbox_gone)
        sim_fail(sim, "watcher %u: CHANGES fail: %s", watcher->index, cq_rc_name(result.rc));
    else
        take_changes(watcher, node, reply, &result);
    cq_buf_fini(&result.answer);
    cq_buf_fini(&result.raw);
    cq_pool_free(&pool);
}

/* The node died with the question. */
static void changes_dropped(void *arg)
{
    struct mail_watcher *watcher = arg;
    watcher->fetching = false;
    watcher->open = false; /* the poll opens a new stream, which asks */
}

static void ask_node(struct sim *sim, void *arg, uint64_t index, uint64_t b)
{
    struct mail_watcher *watcher = arg;
    struct sim_node *node = sim->nodes[index];
    (void)b;
    if (sim_node_read(node, watcher->account->group, changes_done, watcher, changes_dropped) != CQ_OK)
        fetch_ended(watcher, true);
    sim_node_turn(node);
}

static void fetch(struct mail_watcher *watcher)
{
    if (watcher->fetching) {
        watcher->again = true;
        return;
    }
    if (!stream_alive(watcher)) {
        watcher->open = false;
        return;
    }
    watcher->fetching = true;
    struct sim_node *node = watcher->mail->sim->nodes[watcher->node];
    sim_at_node(watcher->mail->sim, node, sim_between(watcher->mail->sim, 20, 300), ask_node, watcher, changes_dropped,
                node->index, 0);
}

/* ---- All of them ---- */

void mail_watchers_start(struct mail *mail)
{
    for (unsigned i = 0; i < mail->watcher_count; i++) {
        struct mail_watcher *watcher = &mail->watchers[i];
        struct model_account *account = &mail->model.accounts[i % mail->model.account_count];
        *watcher = (struct mail_watcher){.mail = mail, .index = i, .account = account};
        watcher->mailbox = account->mailboxes[0].id;
        sim_at(mail->sim, i * SIM_MS, poll, watcher, 0, 0);
    }
}

void mail_watchers_end(struct mail *mail)
{
    for (unsigned i = 0; i < mail->watcher_count; i++) {
        struct mail_watcher *watcher = &mail->watchers[i];
        if (!mail->sim->failures) {
            if (!stream_alive(watcher) || !watcher->checked)
                sim_fail(mail->sim, "watcher %u has no stream in a healed cluster", i);
            else
                compare(watcher, mail->sim->nodes[watcher->node], UINT64_MAX);
        }
    }
}
