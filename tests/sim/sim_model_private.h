/* Between sim_model.c (entries, requests, answers) and sim_model_commands.c (what each command does). */
#ifndef SIM_MODEL_PRIVATE_H
#define SIM_MODEL_PRIVATE_H

#include "proto/outbox.pb-c.h"
#include "sim_model.h"

#include <inttypes.h>

/* One entry. */
struct step {
    struct model *model;
    struct sim_node *node;
    struct model_account *account;
    const struct raft_commit *commit;
    const struct machine_outcome *outcome;
    struct cq_pool *pool;
    struct entry entry;
    const Chasqui__Mail__Answer *answer;
    bool changed; /* the account takes a new modseq */
    uint64_t modseq;
    Chasqui__Outbox__Type events[16]; /* that the entry makes */
    unsigned event_count;
};

#define wrong(s, ...)                                                                                                  \
    do {                                                                                                               \
        char what_[200];                                                                                               \
        snprintf(what_, sizeof what_, __VA_ARGS__);                                                                    \
        sim_fail((s)->model->sim, "group %u index %" PRIu64 " (n%u, method %u, account %016" PRIx64 "): %s",           \
                 (s)->commit->group, (s)->commit->index, (s)->node->index, (s)->entry.method, (s)->entry.account,      \
                 what_);                                                                                               \
    } while (0)

uint8_t model_keyword_set(char *const *names, size_t count);
struct model_mailbox *model_live(struct model_account *account, uint64_t id);
struct model_mailbox *model_named(struct model_account *account, const char *name);
size_t model_place(const struct model_mailbox *mailbox, uint32_t uid);
const void *step_unpack(struct step *s, const ProtobufCMessageDescriptor *type, struct cq_slice bytes);
const void *step_reply(struct step *s, const ProtobufCMessageDescriptor *type);
const void *step_request(struct step *s, const ProtobufCMessageDescriptor *type);
void step_note_mailbox(struct step *s, struct model_mailbox *mailbox);
void step_note_list(struct step *s);
uint64_t step_modseq(struct step *s);
void step_touch(struct step *s, struct model_mailbox *mailbox);
uint64_t model_hash(const struct model_message *m);
void model_add(struct model_mailbox *mailbox, struct model_message message);
void model_remove(struct model_mailbox *mailbox, uint32_t uid);
struct model_mailbox *step_add_mailbox(struct step *s, const char *name, uint64_t id, uint32_t uidvalidity);

/* The next piece of the account's large COPY or MOVE. */
void step_job(struct step *s);
/* The request has the result from now on, whoever acted. */
void step_remember_for(struct step *s, const uint8_t client[16], uint64_t sequence);
void step_event(struct step *s, Chasqui__Outbox__Type type);
/* After a change of what is in use: the events that say so. */
void step_quota_events(struct step *s);
bool step_over_quota(const struct step *s, uint64_t bytes, uint64_t messages);

/* The command of the entry: what it must answer, done to the model. */
enum cq_rc step_act(struct step *s);

#endif
