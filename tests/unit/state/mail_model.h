/* What an account is, written down a second time and as simply as possible: arrays, linear searches, no indexes. The
 * model test drives it and the state machine with the same commands and compares. Each function returns the result code
 * that the shard must give and changes the model only on CQ_OK. */
#ifndef MAIL_MODEL_H
#define MAIL_MODEL_H

#include "base/cq_rc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_KEYWORDS 6

struct model_message {
    uint32_t uid, size, keywords; /* keywords: bit i is "$Model<i>" */
    uint8_t flags;
    uint64_t modseq, email;
    int64_t internal_date;
};
struct model_mailbox {
    uint64_t id;
    char name[256];
    int use;
    uint32_t uidvalidity, uidnext, recent_from;
    uint64_t highest;
    struct model_message *messages; /* ascending by uid */
    size_t count, cap;
};
struct model_body {
    uint64_t email;
    uint32_t size, references;
    uint64_t token; /* what the octets are made of */
};
struct model {
    uint64_t modseq, next_mailbox, next_email;
    uint32_t next_uidvalidity;
    uint64_t quota_bytes, used_bytes, used_messages;
    struct model_mailbox *mailboxes;
    size_t mailbox_count;
    char (*subscriptions)[256];
    size_t subscription_count;
    struct model_body *bodies;
    size_t body_count;
};

struct model *model_new(void); /* an account as CREATE_ACCOUNT leaves it */
void model_free(struct model **model);

struct model_mailbox *model_find(struct model *m, uint64_t id);
struct model_mailbox *model_named(struct model *m, const char *name);
struct model_message *model_message(struct model_mailbox *mailbox, uint32_t uid);
struct model_body *model_body(struct model *m, uint64_t email);
bool model_subscribed(struct model *m, const char *name);

enum cq_rc model_create(struct model *m, const char *name, int use);
enum cq_rc model_delete(struct model *m, uint64_t id);
enum cq_rc model_rename(struct model *m, const char *from, const char *to);
void model_subscribe(struct model *m, const char *name, bool subscribed);
struct model_append {
    uint8_t flags;
    uint32_t keywords, size;
    int64_t internal_date;
    uint64_t token;
};
enum cq_rc model_append(struct model *m, uint64_t mailbox, const struct model_append *messages, size_t count);
/* uids: those that are there are changed; *changed_r how many, modified gets those that UNCHANGEDSINCE kept. */
enum cq_rc model_store(struct model *m, uint64_t mailbox, const uint32_t *uids, size_t count, int mode, uint8_t flags,
                       uint32_t keywords, bool conditional, uint64_t unchanged_since, uint32_t *modified,
                       size_t *modified_count);
enum cq_rc model_copy(struct model *m, uint64_t from, uint64_t to, const uint32_t *uids, size_t count, bool move,
                      uint32_t *copied, size_t *copied_count);
/* uids NULL: all. */
enum cq_rc model_expunge(struct model *m, uint64_t mailbox, const uint32_t *uids, size_t count, uint32_t *expunged,
                         size_t *expunged_count);
enum cq_rc model_claim_recent(struct model *m, uint64_t mailbox, uint32_t *from_r, uint32_t *to_r);
enum cq_rc model_quota(struct model *m, uint64_t bytes);

#endif
