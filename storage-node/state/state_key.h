/* Keys of STORE_STATE: group u32, generation u32, account u64 (0: the group's own records), kind, and what the kind
 * needs; numbers big-endian (docs/formats/state.md). */
#ifndef STATE_KEY_H
#define STATE_KEY_H

#include "base/cq_slice.h"

enum key_kind {
    /* the group's own, under account 0 */
    KEY_GROUP = 'G',     /* -                          entry time, cursor, active version */
    KEY_SLOTS = 'O',     /* -                          owned slots */
    KEY_TOMBSTONE = 'T', /* account, mailbox (0: all)  what RECLAIM removes */
    KEY_EXPIRY = 'X',    /* time, account, kind, id    when RECLAIM looks at a record */
    KEY_OUTBOX = 'o',    /* index, sub-index           an event */
    KEY_TRIMMED = 't',   /* -                          how far OUTBOX_TRIM has looked for events that are not final */
    /* an account's */
    KEY_ACCOUNT = 'A',      /* -                      */
    KEY_MAILBOX = 'B',      /* mailbox                */
    KEY_NAME = 'N',         /* name                   mailbox id */
    KEY_SUBSCRIPTION = 'U', /* name                   */
    KEY_COPY_UIDS = 'J',    /* -                      UIDs of a large COPY on its way */
    KEY_PIECE = 'P',        /* stage id, offset       a chunk */
    KEY_BODY = 'b',         /* email                  manifest, references */
    KEY_CHANGE = 'c',       /* mailbox, modseq, uid   index of messages by modseq */
    KEY_DELETED = 'd',      /* mailbox, uid           index of messages with \Deleted */
    KEY_CHARGE = 'g',       /* charge id              */
    KEY_CHARGE_TIME = 'h',  /* time, charge id        recipients */
    KEY_COPY = 'j',         /* -                      a large COPY on its way */
    KEY_DELIVERY = 'k',     /* delivery key           */
    KEY_MESSAGE = 'm',      /* mailbox, uid           */
    KEY_STAGE = 'p',        /* stage id               */
    KEY_CLIENT = 'q',       /* client id              requests of one client */
    KEY_RESULT = 'r',       /* client id, sequence    a remembered result */
    KEY_SUMMARY = 's',      /* email                  */
    KEY_VANISHED = 'v',     /* mailbox, modseq        UIDs */
    KEY_KEYWORDS = 'w',     /* mailbox                table */
};

#define STATE_NAME_MAX 1000 /* bytes of a mailbox name: the longest part of a key */
#define STATE_KEY_PREFIX 8  /* group and generation: not part of the digest */
#define STATE_KEY_HEAD 17   /* bytes up to and with the kind */
#define STATE_KEY_MAX (STATE_KEY_HEAD + STATE_NAME_MAX + 8)

struct state_key {
    size_t len;
    uint8_t at[STATE_KEY_MAX];
};

/* The prefix of all keys of one machine. */
struct state_keyspace {
    uint8_t prefix[STATE_KEY_PREFIX];
};
void state_keyspace_init(struct state_keyspace *space, uint32_t group, uint32_t generation);

/* Begin a key; the rest is appended. */
void key_begin(struct state_key *key, const struct state_keyspace *space, uint64_t account, enum key_kind kind);
void key_u8(struct state_key *key, uint8_t value);
void key_u32(struct state_key *key, uint32_t value);
void key_u64(struct state_key *key, uint64_t value);
void key_bytes(struct state_key *key, const void *bytes, size_t len);

static inline struct cq_slice key_slice(const struct state_key *key)
{
    return cq_slice_of(key->at, key->len);
}

/* What follows the kind. */
static inline struct cq_slice key_rest(struct cq_slice key)
{
    return cq_slice_skip(key, STATE_KEY_HEAD);
}

/* The smallest key after all that begin with this one; an empty key (the end of everything) when there is none. */
void key_after_prefix(const struct state_key *prefix, struct state_key *after_r);

#endif
