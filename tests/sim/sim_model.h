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
    uint64_t sum, uid_sum;
    struct model_history history;
};

struct model_result {
    uint8_t client[16];
    uint64_t sequence;
    enum cq_rc rc;
    uint64_t reply; /* hash */
    bool forgotten;
};
struct model_client {
    uint8_t id[16];
    uint64_t done;
};

struct model_account {
    uint64_t id;
    uint32_t group;
    bool exists;
    uint64_t modseq, incarnation;
    uint32_t last_uidvalidity;
    uint64_t last_mailbox, last_email;
    struct model_mailbox *mailboxes; /* dead ones too */
    size_t mailbox_count, mailbox_cap;
    uint64_t list_sum;
    struct model_history list;
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
};

void model_init(struct model *model, struct sim *sim, size_t accounts);
void model_fini(struct model *model);
struct model_account *model_account(struct model *model, uint64_t id);
struct model_mailbox *model_mailbox(struct model_account *account, uint64_t id);
struct model_message *model_message(struct model_mailbox *mailbox, uint32_t uid);

/* The entry at index of the group, applied first by this node just now. */
void model_step(struct model *model, struct sim_node *node, const struct raft_commit *commit,
                const struct machine_outcome *outcome);

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
