/* What the mailboxes must be: a model that knows nothing of the real machine's code. It is stepped with the committed
 * entries, in order, together with the outcome that the real machine gave, and predicts that outcome. Because the
 * committed order is a linearization, a read that ran when the machine stood at index k must show what the model was at
 * k; so the model remembers what each mailbox was after each index. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "proto/mail.pb-c.h"
#include "sim.h"
#include "state/entry.h"

struct model_message {
    uint32_t uid;
    uint8_t flags;
    uint8_t keywords; /* bit i: the keyword "ki" */
    uint32_t size;
    uint64_t email;
    uint64_t modseq;
    uint64_t token; /* which body: model_body() */
};

/* A mailbox (or a list of mailboxes) after an index. The sum is over the hashes of what is in it. */
struct model_was {
    uint64_t index;
    uint64_t sum;
    uint64_t uid_sum;
    uint32_t count, uidnext;
    bool live;
};
struct model_history {
    struct model_was *rows;
    size_t count, cap;
};

struct model_mailbox {
    uint64_t id;
    char name[48];
    bool live;
    uint32_t uidvalidity, uidnext;
    uint64_t highest_modseq;
    struct model_message *messages; /* by UID */
    size_t count, cap;
    uint64_t sum, uid_sum, size;
    struct model_history history;
};

struct model_result {
    uint8_t client[16];
    uint64_t sequence;
    enum cq_rc rc;
    uint64_t reply; /* hash; 0: nobody has seen it yet */
    bool forgotten;
};
struct model_client {
    uint8_t id[16];
    uint64_t done;
};

#define MODEL_PIECES 16
struct model_piece {
    uint64_t offset, length, hash;
};
struct model_stage {
    uint8_t id[16];
    bool live;
    uint64_t size, time;
    struct model_piece pieces[MODEL_PIECES];
    unsigned piece_count;
};

struct model_key { /* a delivery key */
    uint8_t id[16];
};

struct model_limits {
    uint64_t version, bytes, messages; /* 0: none */
};

/* A COPY or MOVE of more messages than one entry may touch: other entries go on with it, and nothing else acts. */
struct model_job {
    bool active, removing, move;
    uint64_t from, to;
    uint32_t *uids;
    size_t count, done;
    uint8_t client[16];
    uint64_t sequence;
};

/* An event of the outbox, as the entry at its index made it. */
struct model_event {
    uint64_t index;
    uint32_t sub_index;
    uint64_t hash;
};
struct model_outbox {
    struct model_event *rows;
    size_t count, cap;
    size_t published; /* from the front; what the consumers have seen */
};

struct model_account {
    uint64_t id;
    uint32_t group;
    bool exists;
    uint64_t deleted_at; /* index; 0: it was not deleted */
    uint64_t modseq, incarnation;
    uint32_t last_uidvalidity;
    uint64_t last_mailbox, last_email;
    struct model_mailbox *mailboxes; /* dead ones too */
    size_t mailbox_count, mailbox_cap;
    uint64_t list_sum;
    struct model_history list;
    struct model_limits limits;
    bool quota_warned, quota_exceeded;
    struct model_history usage; /* sum: bytes, count: messages */
    struct model_stage *stages;
    size_t stage_count, stage_cap;
    struct model_job job;
    struct model_key *keys;
    size_t key_count, key_cap;
    struct model_result *results;
    size_t result_count, result_cap;
    struct model_client clients[32];
    size_t client_count;
};

struct model {
    struct sim *sim;
    struct model_account *accounts;
    size_t account_count;
    uint64_t time[SIM_GROUPS_MAX];  /* entry time */
    uint64_t index[SIM_GROUPS_MAX]; /* stepped up to here */
    uint64_t acted;                 /* commands that changed something */
    struct model_outbox outbox[SIM_GROUPS_MAX];
};

void model_init(struct model *model, struct sim *sim, size_t accounts);
void model_fini(struct model *model);
struct model_account *model_account(struct model *model, uint64_t id);
struct model_mailbox *model_mailbox(struct model_account *account, uint64_t id);
struct model_message *model_message(struct model_mailbox *mailbox, uint32_t uid);

/* The entry at index of the group, applied first by this node just now. */
void model_step(struct model *model, struct sim_node *node, const struct raft_commit *commit,
                const struct machine_outcome *outcome);

/* What is in the account's mailboxes. */
struct model_usage {
    uint64_t bytes, messages;
};
struct model_usage model_used(const struct model_account *account);
struct model_stage *model_stage(struct model_account *account, const uint8_t id[16]);
unsigned model_stages(const struct model_account *account);

/* What it was after the index; live is false before it was made. */
struct model_was model_at(const struct model_history *history, uint64_t index);

/* Parts of the sums. */
uint64_t model_message_hash(uint32_t uid, uint8_t flags, uint8_t keywords, uint64_t email);
uint64_t model_name_hash(const char *name, uint64_t id, uint32_t uidvalidity);
uint64_t model_uid_hash(uint32_t uid);

/* Octets of the body with this token: any part can be made again to compare. */
void model_body(uint64_t token, uint32_t size, uint8_t *out);
/* The token of a new message is in its summary. */
uint64_t model_token(struct cq_slice summary);

#define MODEL_KEYWORDS 4
extern const char *const model_keywords[MODEL_KEYWORDS];
/* A record's bitmap by the mailbox's table -> the model's bits; -1: a keyword that nobody gave. */
int model_keyword_bits(struct cq_slice bitmap, char *const *table, size_t count);

#endif
