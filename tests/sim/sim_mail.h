/* Mail on the simulated cluster: clients with request ids and retries, watchers that follow the change feed, the
 * leaders' own background commands, and what must be true of all of it. */
#ifndef SIM_MAIL_H
#define SIM_MAIL_H

#include "sim_cluster.h"
#include "sim_model.h"
#include "state/mail_machine.h"

#define MAIL_CLIENTS_MAX 16
#define MAIL_WATCHERS_MAX 8
#define MAIL_ACCOUNTS_MAX 16

/* What a client remembers between requests to one account. */
struct mail_session {
    uint64_t sequence;
    uint64_t done;
    uint64_t stamp;
    uint64_t modseq, incarnation;
};

/* A body that a client sends in pieces. */
#define MAIL_STAGES_MAX 6 /* of an account, that somebody began and left */
struct mail_staging {
    struct model_account *account;
    bool active;
    uint8_t id[16];
    uint64_t token;
    uint32_t size, piece, sent;
};

/* One seed in so many has such mailboxes, and a client for them. */
#define MAIL_CHANGING_SEEDS 3 /* of eight seeds this one: replicas come, go, are lost and are copied */
#define MAIL_BULK_SEEDS 100
#define MAIL_BULK_OPERATIONS 20

struct mail_client {
    struct mail *mail;
    unsigned index;
    uint8_t id[16];
    struct mail_session sessions[MAIL_ACCOUNTS_MAX];
    int guess[SIM_GROUPS_MAX]; /* the node that led last; -1: no idea */
    struct mail_op *op;        /* under way; NULL: it thinks */
    struct mail_staging staging, stored;
    unsigned bulk;        /* operations left on mailboxes of more messages than one entry may touch */
    unsigned stopped_for; /* operations left of a burst without thinking */
};

struct mail_watcher {
    struct mail *mail;
    unsigned index;
    struct model_account *account;
    uint64_t mailbox;
    /* The stream: on this node, in this life and term of it. */
    bool open;
    unsigned node;
    uint32_t life;
    uint64_t term;
    uint64_t generation; /* of the stream: notices of an older one are nobody's */
    uint64_t noticed;    /* the highest modseq that a notice named */
    bool fetching, again;
    /* What it believes is in the mailbox, from CHANGES alone. */
    uint64_t since;
    struct model_message *view; /* by UID; token and modseq unused */
    size_t count, cap;
    uint64_t checked; /* times that the view was compared */
};

/* What a leader remembers of its outbox, in its term. */
struct mail_relay {
    unsigned node;
    uint32_t life;
    uint64_t term;
    struct outbox_position published;
};

struct mail {
    struct sim *sim;
    struct model model;
    struct mail_client clients[MAIL_CLIENTS_MAX];
    unsigned client_count;
    struct mail_watcher watchers[MAIL_WATCHERS_MAX];
    unsigned watcher_count;
    uint64_t seen_index[SIM_GROUPS_MAX]; /* some client knows that this much has happened */
    bool ready;                          /* slots owned, accounts created */
    bool quiet;                          /* no new operations */
    bool settled;                        /* nothing at all any more */
    bool lossy_clients;                  /* messages between clients and nodes get lost */
    uint64_t next_token, next_op;
    uint64_t operations, acknowledged, reads, unknown, retried; /* counts for people */
    unsigned faults;
    struct mail_relay relays[SIM_GROUPS_MAX];
};

/* ---- Operations (sim_mail_make.c, sim_mail_client.c) ---- */

struct mail_op {
    uint64_t id;
    struct mail_client *client;
    struct model_account *account;
    uint32_t method;
    bool command;
    uint64_t sequence;
    struct cq_slice body; /* the method's message */
    struct cq_slice raw;
    struct cq_pool *pool;
    uint64_t mailbox; /* reads */
    uint64_t email, token;
    uint32_t size;
    unsigned attempts;
    bool may_have_acted;
    bool measuring; /* a read that only fetches the stamp for a command */
    bool expunges_newest;
    uint32_t stages;  /* octets that this piece adds to the client's body */
    bool takes_stage; /* stores the client's body */
    uint64_t floor;   /* of the group, when the operation began */
};

/* Chooses what the operation does; staging: it goes on with the client's body. */
void mail_op_make(struct mail_op *op, bool staging);
/* The account whose mailboxes are large in some seeds; it has no quota. */
static inline struct model_account *mail_bulk_account(struct mail *mail)
{
    return &mail->model.accounts[2];
}
void mail_staging_reply(struct mail_op *op, enum cq_rc rc);

void mail_clients_start(struct mail *mail);
bool mail_clients_idle(const struct mail *mail);

/* Runs a read on the node where its group's machine stands, and checks what it shows. */
struct mail_read_result {
    enum cq_rc rc;
    uint64_t index; /* where the machine stood */
    struct cq_buf answer, raw;
};
void mail_read_run(struct mail *mail, struct sim_node *node, const struct mail_op *op, struct cq_slice call,
                   struct mail_read_result *result);

/* ---- What reads must show (sim_mail_check.c) ---- */

void mail_check_read(struct mail *mail, struct sim_node *node, const struct mail_op *op,
                     const struct mail_read_result *result);
/* Every replica against the model, record by record and body by body. */
void mail_check_end(struct mail *mail);

/* ---- Watchers (sim_mail_watch.c) ---- */

void mail_watchers_start(struct mail *mail);
/* A node has applied an entry: if it leads, its watchers hear of it. */
void mail_watch_applied(struct mail *mail, struct sim_node *node, const struct raft_commit *commit,
                        const struct machine_outcome *outcome);
void mail_watchers_end(struct mail *mail);

/* ---- The outbox (sim_mail_relay.c) ---- */

/* The leader publishes what waits, and moves the cursor now and then. */
void mail_relay_run(struct mail *mail, struct sim_node *leader, unsigned group);
void mail_relay_check_end(struct mail *mail);

/* ---- Faults (sim_faults.c) ---- */

void sim_faults_start(struct mail *mail);
void sim_faults_stop(struct mail *mail);
/* Right after a change of the group: what only its leader knows for certain would be lost now. */
void sim_fault_after(struct mail *mail, unsigned group);

/* ---- All of it (sim_mail.c) ---- */

extern const struct sim_app mail_app;

struct mail_options {
    uint64_t seed;
    unsigned nodes; /* 0: by the seed */
    uint64_t operations;
    unsigned faults;
    bool trace;
};
struct mail_result {
    bool passed;
    char failure[512];
    uint64_t operations, acknowledged, reads, unknown, committed, virtual_us, fingerprint;
    unsigned faults;
    struct sim_cluster_counts changes;
};
void mail_run(const struct mail_options *options, struct mail_result *result_r);

/* Proposes for the group itself or an account, as its leader. */
enum cq_rc mail_propose(struct sim_node *node, unsigned group, uint32_t method, uint64_t account,
                        const ProtobufCMessage *message, uint64_t sequence, uint64_t stamp);

/* Shared small things. */
ProtobufCAllocator mail_pool_allocator(struct cq_pool *pool);
struct cq_slice mail_pack_to(struct cq_pool *pool, const ProtobufCMessage *message);
/* The node to ask: the guess, or a random one that may well be down. */
struct sim_node *mail_pick_node(struct mail *mail, int guess);

#endif
