/* The rows of the directory as plain values. Slices point into the pool that the reading call was given. */
#ifndef CHASQUI_DIR_TYPES_H
#define CHASQUI_DIR_TYPES_H

#include "base/cq_err.h"
#include "base/cq_slice.h"

/* Switches of an account and scopes of an app password. DIR_SMTP is submission. */
enum dir_service { DIR_IMAP = 1, DIR_POP = 2, DIR_SMTP = 4, DIR_ALL_SERVICES = 7 };

/* X(name, text in the database and for people) */
#define DIR_STATES(X)                                                                                                  \
    X(DIR_CREATING, "creating") /* row exists, shard may not know it: log-in refused, RCPT 451 */                      \
    X(DIR_ACTIVE, "active")                                                                                            \
    X(DIR_DISABLED, "disabled") /* log-in refused, RCPT 550 5.2.1, mail is kept */                                     \
    X(DIR_DELETING, "deleting") /* log-in refused, RCPT 451, until the shard has its tombstone and the row goes */     \
    X(DIR_VANISHED, "vanished") /* as disabled: its row in a site's own tables is gone; deleted after a time */

enum dir_state {
#define DIR_STATE_ENUM(name, text) name,
    DIR_STATES(DIR_STATE_ENUM)
#undef DIR_STATE_ENUM
        DIR_STATE_COUNT
};

/* Bits of those whose account must be in its shard. */
#define DIR_STATES_KEPT (1u << DIR_ACTIVE | 1u << DIR_DISABLED | 1u << DIR_VANISHED)

const char *dir_state_name(enum dir_state state);
bool dir_state_parse(struct cq_slice text, enum dir_state *state_r);

/* Plans: what an account may send. X(name, messages a day, recipients a message, recipients a day) */
#define DIR_PLANS(X)                                                                                                   \
    X("personal", 500, 100, 10000)                                                                                     \
    X("business", 2000, 100, 10000)

struct dir_plan {
    const char *name;
    uint32_t messages_per_day;
    uint32_t recipients_per_message;
    uint32_t recipients_per_day;
};

#define DIR_PLAN_DEFAULT "personal"
const struct dir_plan *dir_plan_find(struct cq_slice name); /* NULL: no such plan */
const struct dir_plan *dir_plan_at(size_t i);               /* NULL past the last */

struct dir_domain {
    uint64_t id;
    struct cq_slice name;
    uint64_t alias_of; /* the domain whose mailboxes answer for this one; 0: none */
    struct cq_slice alias_of_name;
    uint64_t postmaster; /* account id that the operator chose; 0: none */
    uint64_t version;
};

/* An account id: top 16 bits slot, never reused; cq_hex_u64 is its text. 0 is no account. */
#define DIR_SLOT_SHIFT 48
static inline uint16_t dir_slot_of(uint64_t account_id)
{
    return (uint16_t)(account_id >> DIR_SLOT_SHIFT);
}

struct dir_account {
    uint64_t id;
    uint64_t version; /* rises with every change of this row or of its credentials and addresses */
    uint64_t domain_id;
    struct cq_slice address; /* canonical primary address */
    enum dir_state state;
    unsigned services; /* sum of enum dir_service */
    bool admin;        /* of its domain: gets postmaster@ when nobody else is chosen */
    const struct dir_plan *plan;
    struct cq_slice home_dc;
    uint64_t quota_bytes;    /* 0: no limit */
    uint64_t quota_messages; /* 0: no limit */
    uint64_t created_us;
    uint64_t state_us; /* since when it is in this state, by the database's clock */
};

enum dir_address_kind { DIR_PRIMARY, DIR_ALIAS, DIR_CATCH_ALL };

#define DIR_TARGETS_MAX 100 /* accounts behind one alias */

struct dir_address_row {
    struct cq_slice address; /* canonical; "@domain" for a catch-all */
    enum dir_address_kind kind;
    const uint64_t *targets; /* account ids */
    size_t target_count;
};

enum dir_credential_kind { DIR_PASSWORD, DIR_APP_PASSWORD };

#define DIR_CREDENTIALS_MAX 64 /* app passwords of one account */
#define DIR_LABEL_MAX 100      /* bytes of a label, UTF-8 */

struct dir_credential {
    uint64_t id; /* never reused */
    uint64_t account_id;
    enum dir_credential_kind kind;
    unsigned scopes;        /* sum of enum dir_service */
    struct cq_slice prefix; /* app password: its first 4 letters, unique in the account */
    struct cq_slice hash;   /* crypt-like string "$argon2id$..."; never shown, never logged */
    struct cq_slice label;
    uint64_t created_us;
    uint64_t expires_us;   /* 0: never */
    uint64_t last_used_us; /* 0: never; exact to DIR_LAST_USED_STEP_US */
    uint64_t version;      /* rises when the secret, scopes or expiry change */
};

#define DIR_LAST_USED_STEP_US (UINT64_C(300) * 1000000)

#endif
