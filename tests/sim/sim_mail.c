#include "sim_mail.h"

#include "base/cq_assert.h"
#include "state/command_version.h"
#include "state/mail_machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BACKGROUND_US (150 * SIM_MS)

/* ---- The application ---- */

static void nothing_committed(struct sim *sim, uint32_t group, uint64_t index, uint64_t term, struct cq_slice entry)
{
    (void)sim, (void)group, (void)index, (void)term, (void)entry;
}

static void applied(struct sim *sim, struct sim_node *node, const struct raft_commit *commit,
                    const struct machine_outcome *outcome)
{
    struct mail *mail = sim->app_ctx;
    model_step(&mail->model, node, commit, outcome);
    mail_watch_applied(mail, node, commit, outcome);
}

const struct sim_app mail_app = {mail_machine_open, nothing_committed, applied};

/* ---- What leaders propose by themselves ---- */

static void nobody_waits(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                         const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)arg, (void)rc, (void)index, (void)outcome;
}

enum cq_rc mail_propose(struct sim_node *node, unsigned group, uint32_t method, uint64_t account,
                        const ProtobufCMessage *message, uint64_t sequence, uint64_t stamp)
{
    struct cq_pool *pool = cq_pool_new(1024);
    uint64_t last = mail_machine_time(node->groups[group].machine), wall = sim_node_wall(node);
    const struct entry entry = {.version = COMMAND_VERSION_FIRST,
                                .method = (uint16_t)method,
                                .account = account,
                                .time = wall > last ? wall : last,
                                .sequence = sequence,
                                .stamp = stamp,
                                .body = mail_pack_to(pool, message)};
    struct cq_buf bytes;
    cq_buf_init(&bytes, ENTRY_MAX);
    CQ_ASSERT(entry_encode(&entry, &bytes, NULL) == CQ_OK);
    struct raft_bytes *owner = raft_bytes_copy(cq_buf_slice(&bytes));
    struct raft_proposal proposal = {.group = group + 1, .owner = owner, .entry = raft_bytes_slice(owner)};
    enum cq_rc rc = sim_node_propose(node, &proposal, nobody_waits, NULL, NULL);
    raft_bytes_unref(&owner);
    cq_buf_fini(&bytes);
    cq_pool_free(&pool);
    return rc;
}

static void lead_background(struct sim_node *node, unsigned group)
{
    struct machine *machine = node->groups[group].machine;
    Chasqui__Mail__Reclaim reclaim = CHASQUI__MAIL__RECLAIM__INIT;
    Chasqui__Mail__Empty empty = CHASQUI__MAIL__EMPTY__INIT;
    reclaim.max_effects = 20;
    if (mail_machine_reclaim_due(machine, mail_machine_time(machine)))
        mail_propose(node, group, CHASQUI__MAIL__METHOD__RECLAIM, 0, &reclaim.base, 0, 0);
    if (sim_chance(node->sim, 8))
        mail_propose(node, group, CHASQUI__MAIL__METHOD__DIGEST_MARK, 0, &empty.base, 0, 0);
}

static void background(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail *mail = arg;
    (void)a, (void)b;
    for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
        struct sim_node *leader = sim_leader(sim, g);
        if (!leader || leader->paused_until > sim->now)
            continue;
        if (!mail->settled)
            mail_relay_run(mail, leader, g);
        if (!mail->quiet)
            lead_background(leader, g);
        sim_node_turn(leader);
    }
    sim_at(sim, BACKGROUND_US, background, mail, 0, 0);
}

/* ---- Setting up: slots, then accounts ---- */

static void own_all_slots(struct sim_node *leader, unsigned group)
{
    Chasqui__Mail__OwnSlots own = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range range = CHASQUI__MAIL__OWN_SLOTS__RANGE__INIT, *ranges[] = {&range};
    range.last = 65535;
    own.n_ranges = 1;
    own.ranges = ranges;
    own.map_epoch = 1;
    mail_propose(leader, group, CHASQUI__MAIL__METHOD__OWN_SLOTS, 0, &own.base, 0, 0);
}

static void create_account(struct sim_node *leader, struct model_account *account)
{
    Chasqui__Mail__CreateAccount create = CHASQUI__MAIL__CREATE_ACCOUNT__INIT;
    Chasqui__Mail__Limits limits = CHASQUI__MAIL__LIMITS__INIT;
    uint64_t stamp = mail_machine_time(leader->groups[account->group].machine);
    create.address = (char *)(uintptr_t) "someone@example.test";
    limits.directory_version = 1;
    limits.quota_messages = 60;
    if (account->id % 3 == 2)
        create.limits = &limits;
    if (stamp) /* the client with id 0: it is nobody's */
        mail_propose(leader, account->group, CHASQUI__MAIL__METHOD__CREATE_ACCOUNT, account->id, &create.base, 1,
                     stamp);
}

static bool all_exist(const struct mail *mail)
{
    for (size_t i = 0; i < mail->model.account_count; i++) {
        if (!mail->model.accounts[i].exists)
            return false;
    }
    return true;
}

static void set_up(struct mail *mail)
{
    struct sim *sim = mail->sim;
    for (int tries = 0; tries < 200 && !all_exist(mail) && !sim->failures; tries++) {
        sim_run(sim, sim->now + 100 * SIM_MS);
        for (unsigned g = 0; g < sim->options.groups && !sim->failures; g++) {
            struct sim_node *leader = sim_leader(sim, g);
            if (!leader)
                continue;
            if (mail->model.time[g] == 0)
                own_all_slots(leader, g);
            for (size_t i = 0; i < mail->model.account_count; i++) {
                struct model_account *account = &mail->model.accounts[i];
                if (account->group == g && !account->exists)
                    create_account(leader, account);
            }
            sim_node_turn(leader);
        }
    }
    if (!all_exist(mail))
        sim_fail(sim, "the accounts could not be created in 20 seconds");
}

/* ---- A run ---- */

static bool enough(const struct mail *mail, const struct mail_options *options)
{
    return mail->operations >= options->operations && mail->faults >= options->faults;
}

/* Moves end, and whoever has to be copied is. */
static void settle_replicas(struct sim *sim)
{
    for (int i = 0; i < 60 && !sim_cluster_idle(sim) && !sim->failures; i++)
        sim_run(sim, sim->now + SIM_S);
    if (!sim->failures && !sim_cluster_idle(sim))
        sim_fail(sim, "moves and copies do not end in a healed cluster");
}

/* Everything works again: what is under way must end, replicas must become equal. */
static void wind_down(struct mail *mail)
{
    struct sim *sim = mail->sim;
    mail->quiet = true;
    if (sim->cluster)
        sim_cluster_stop(sim);
    sim_faults_stop(mail);
    sim_run(sim, sim->now + 4 * SIM_S); /* as long as a pause can last */
    for (int i = 0; i < 60 && !mail_clients_idle(mail) && !sim->failures; i++)
        sim_run(sim, sim->now + SIM_S);
    if (!mail_clients_idle(mail))
        sim_fail(sim, "operations do not end in a healed cluster");
    sim_run(sim, sim->now + 3 * SIM_S);
    if (sim->cluster)
        settle_replicas(sim);
    mail->settled = true;
    sim_run(sim, sim->now + 4 * SIM_S);
}

static void run(struct mail *mail, const struct mail_options *options)
{
    struct sim *sim = mail->sim;
    set_up(mail);
    if (sim->failures)
        return;
    mail_clients_start(mail);
    mail_watchers_start(mail);
    sim_faults_start(mail);
    if (sim->cluster)
        sim_cluster_start(sim);
    sim_at(sim, BACKGROUND_US, background, mail, 0, 0);
    while (!enough(mail, options) && !sim->failures)
        sim_run(sim, sim->now + 500 * SIM_MS);
    if (!sim->failures)
        wind_down(mail);
    if (!sim->failures)
        mail_check_end(mail);
    if (!sim->failures)
        mail_relay_check_end(mail);
    if (!sim->failures && sim->cluster)
        sim_cluster_check_end(sim);
}

static void populate(struct mail *mail)
{
    mail->client_count = 8;
    mail->watcher_count = 4;
    for (size_t i = 0; i < mail->model.account_count; i++) {
        mail->model.accounts[i].id = UINT64_C(0x1000000000000001) * (i + 1);
        mail->model.accounts[i].group = (uint32_t)(i % mail->sim->options.groups);
    }
}

static void fill_result(const struct mail *mail, struct mail_result *result)
{
    const struct sim *sim = mail->sim;
    *result = (struct mail_result){.passed = sim->failures == 0,
                                   .operations = mail->operations,
                                   .acknowledged = mail->acknowledged,
                                   .reads = mail->reads,
                                   .unknown = mail->unknown,
                                   .virtual_us = sim->now - 10 * SIM_S,
                                   .fingerprint = sim->fingerprint,
                                   .faults = mail->faults};
    snprintf(result->failure, sizeof result->failure, "%s", sim->failure);
    for (unsigned g = 0; g < sim->options.groups; g++)
        result->committed += sim_check_last_committed(sim, g);
    if (sim->cluster)
        result->changes = sim->cluster->counts;
}

void mail_run(const struct mail_options *options, struct mail_result *result_r)
{
    struct mail mail = {0};
    const bool changing = options->seed % 8 == MAIL_CHANGING_SEEDS;
    const struct sim_options sim_options = {
        .seed = options->seed,
        .nodes = options->nodes           ? options->nodes
                 : options->seed % 8 == 7 ? 5
                 : changing               ? 4 + options->seed / 8 % 2
                                          : 3,
        .groups = 3,
        .trace = options->trace,
        .changing = changing,
        .replicas = changing ? 3 : 0,
        .keep_entries = changing ? 40 + options->seed % 100 : 0,
    };
    mail.sim = sim_new(&sim_options, &mail_app, &mail);
    model_init(&mail.model, mail.sim, 6);
    populate(&mail);
    if (!mail.sim->failures)
        run(&mail, options);
    fill_result(&mail, result_r);
    for (unsigned i = 0; i < mail.client_count; i++) {
        if (mail.clients[i].op) {
            cq_pool_free(&mail.clients[i].op->pool);
            free(mail.clients[i].op);
        }
    }
    for (unsigned i = 0; i < mail.watcher_count; i++)
        free(mail.watchers[i].view);
    sim_free(&mail.sim);
    model_fini(&mail.model);
}
