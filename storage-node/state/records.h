/* The records of the mailbox state as structs, and their bytes (docs/formats/state.md). Slices of a decoded record
 * point into the bytes that it was decoded from. Each decode verifies that everything was consumed: CQ_E_CORRUPT,
 * CQ_E_VERSION. */
#ifndef RECORDS_H
#define RECORDS_H

#include "mailstore/uidset.h"
#include "state/entry.h"

#define USE_COUNT 7 /* enum SpecialUse of proto/mail.proto */

struct group_record {
    uint64_t time;          /* entry time, us */
    uint64_t outbox_index;  /* cursor: events up to here have been published */
    uint64_t outbox_events; /* that wait */
    uint64_t outbox_bytes;
    uint32_t outbox_sub_index;
    uint16_t active_version; /* of commands */
};

enum account_state { ACCOUNT_ACTIVE = 1, ACCOUNT_DELETED = 2 };
/* Bits of account_record.quota_state. */
enum { QUOTA_WARNED = 1, QUOTA_EXCEEDED = 2 };

struct account_record {
    uint8_t state, quota_state;
    uint8_t copying; /* enum copy_phase: a large COPY or MOVE is on its way, see KEY_COPY */
    uint64_t incarnation, modseq, created;
    uint64_t next_mailbox, next_email;
    uint32_t next_uidvalidity;
    /* limits */
    uint64_t directory_version, quota_bytes, quota_messages;
    uint32_t sending_messages_day, sending_recipients_day, recipients_message;
    /* in use */
    uint64_t used_bytes, used_messages;
    uint32_t mailboxes, subscriptions, name_bytes; /* name_bytes: of both lists */
    uint64_t uses[USE_COUNT];                      /* mailbox id by special use, 0: none */
    uint64_t stage_bytes;
    uint32_t stages, delivery_keys, clients;
    uint32_t charges; /* in the sending window */
    uint64_t window_recipients;
    struct cq_slice address; /* at most ADDRESS_MAX bytes */
};

struct mailbox_record {
    uint8_t use;
    uint32_t uidvalidity, uidnext, recent_from;
    uint32_t messages, unseen, deleted;
    uint64_t size, highest_modseq;
    uint32_t vanished;       /* records kept */
    uint64_t vanished_floor; /* expunges up to this modseq are not kept any more */
    struct cq_slice name;
};

struct message_record {
    uint8_t flags;
    uint32_t size;
    uint64_t modseq;
    int64_t internal_date, save_date;
    uint64_t email, thread;
    struct cq_slice keywords; /* bitmap without trailing zero bytes, at most 32 */
};

/* One chunk of a body. */
struct chunk_ref {
    struct chunk_id id;
    uint32_t length;
    struct cq_hash128 hash;
};
struct body_record {
    uint32_t references, size;
    uint64_t hash_low, hash_high; /* of all octets, as the front-end said */
    uint32_t chunk_count;
    struct cq_slice chunks; /* chunk_count encoded rows of BODY_CHUNK_SIZE */
};
#define BODY_CHUNK_SIZE 48

/* A COPY or MOVE of more than STATE_EFFECTS_MAX messages on its way (copy_job.c). */
enum copy_phase { COPY_NONE, COPY_ADDING, COPY_REMOVING };
struct copy_record {
    uint8_t move;
    uint64_t time; /* of the last piece, us */
    uint64_t sequence, from, to;
    uint64_t modseq;    /* that it has when it shows */
    uint64_t size;      /* of what is copied so far, like unseen and deleted */
    uint32_t first_uid; /* of the new messages: the destination's UIDNEXT until they show */
    uint32_t done;      /* messages of this phase so far */
    uint32_t unseen, deleted;
    struct cq_slice client; /* 16 bytes: whose request it is */
};
struct stage_record {
    uint64_t time; /* of the last piece, us */
    uint64_t size;
    uint32_t pieces;
};
struct client_record {
    uint64_t time; /* of its last command here, us */
    uint64_t done, highest;
    uint32_t results; /* remembered */
};
struct result_record {
    uint64_t time;
    uint16_t rc;
    struct cq_slice body;
};
struct charge_record {
    uint64_t time;
    uint32_t recipients;
};

/* A mailbox's keywords: borrowed names, in table order. */
#define KEYWORDS_MAX 256
#define KEYWORD_LENGTH_MAX 100
#define KEYWORD_BITMAP_MAX (KEYWORDS_MAX / 8)
struct keyword_table {
    size_t count;
    struct cq_slice names[KEYWORDS_MAX];
};

void group_record_put(const struct group_record *r, struct cq_buf *out);
enum cq_rc group_record_get(struct cq_slice in, struct group_record *r);
void account_record_put(const struct account_record *r, struct cq_buf *out);
enum cq_rc account_record_get(struct cq_slice in, struct account_record *r);
void mailbox_record_put(const struct mailbox_record *r, struct cq_buf *out);
enum cq_rc mailbox_record_get(struct cq_slice in, struct mailbox_record *r);
void message_record_put(const struct message_record *r, struct cq_buf *out);
enum cq_rc message_record_get(struct cq_slice in, struct message_record *r);
void body_record_put(const struct body_record *r, struct cq_buf *out);
enum cq_rc body_record_get(struct cq_slice in, struct body_record *r);
void copy_record_put(const struct copy_record *r, struct cq_buf *out);
enum cq_rc copy_record_get(struct cq_slice in, struct copy_record *r);
void stage_record_put(const struct stage_record *r, struct cq_buf *out);
enum cq_rc stage_record_get(struct cq_slice in, struct stage_record *r);
void client_record_put(const struct client_record *r, struct cq_buf *out);
enum cq_rc client_record_get(struct cq_slice in, struct client_record *r);
void result_record_put(const struct result_record *r, struct cq_buf *out);
enum cq_rc result_record_get(struct cq_slice in, struct result_record *r);
void charge_record_put(const struct charge_record *r, struct cq_buf *out);
enum cq_rc charge_record_get(struct cq_slice in, struct charge_record *r);
void keyword_table_put(const struct keyword_table *table, struct cq_buf *out);
enum cq_rc keyword_table_get(struct cq_slice in, struct keyword_table *table);

/* Row of a body's chunk list; also the value of a stage's piece (with a version before it). */
void chunk_ref_put(const struct chunk_ref *chunk, struct cq_buf *out);
void chunk_ref_get(const uint8_t row[static BODY_CHUNK_SIZE], struct chunk_ref *chunk);
void piece_record_put(const struct chunk_ref *chunk, struct cq_buf *out);
enum cq_rc piece_record_get(struct cq_slice in, struct chunk_ref *chunk);

/* Values that are one number (names, delivery keys, charges by time), one set, bare bytes, or nothing. */
void number_record_put(uint64_t value, struct cq_buf *out);
enum cq_rc number_record_get(struct cq_slice in, uint64_t *value_r);
void uids_record_put(const struct uidset *set, struct cq_buf *out);
enum cq_rc uids_record_get(struct cq_slice in, struct cq_pool *pool, struct uidset *set_r);
void bytes_record_put(struct cq_slice bytes, struct cq_buf *out);
enum cq_rc bytes_record_get(struct cq_slice in, struct cq_slice *bytes_r);
void empty_record_put(struct cq_buf *out);

/* Owned slots: ascending ranges, neither overlapping nor touching, and the map epoch. */
#define SLOT_COUNT 65536
struct slot_range {
    uint16_t first, last;
};
void slots_record_put(uint64_t epoch, const struct slot_range *ranges, size_t count, struct cq_buf *out);
/* Marks the owned slots in the bitmap (SLOT_COUNT bits, cleared first). */
enum cq_rc slots_record_get(struct cq_slice in, uint64_t *epoch_r, uint8_t owned_r[static SLOT_COUNT / 8]);

#endif
