/* What the files of the mailbox machine share. Commands live in cmd_*.c, reads in read_*.c; mail_apply.c and
 * mail_read.c judge and dispatch. */
#ifndef MAIL_PRIVATE_H
#define MAIL_PRIVATE_H

#include "base/cq_err.h"
#include "mailstore/fetch_record.h"
#include "proto/mail.pb-c.h"
#include "proto/outbox.pb-c.h"
#include "state/mail_machine.h"
#include "state/records.h"
#include "state/state_db.h"
#include "state/state_limits.h"
#include "state/uid_cache.h"

struct mail_machine {
    struct machine base;
    struct machine_config config;
    struct state_db *db;
    struct group_record group;
    uint64_t slots_epoch;
    uint8_t owned[SLOT_COUNT / 8];
    struct uid_cache *uids;
    struct cq_buf scratch; /* a record being encoded */
};

static inline struct mail_machine *mail_machine_of(struct machine *machine)
{
    return (struct mail_machine *)machine;
}

static inline bool slot_owned(const struct mail_machine *m, uint64_t account)
{
    uint32_t slot = (uint32_t)(account >> 48);
    return m->owned[slot / 8] >> slot % 8 & 1;
}

/* One account as one call sees it: loaded first, stored last. */
struct mail_view {
    struct mail_machine *m;
    struct cq_pool *pool;
    struct cq_err *err;
    uint64_t id;
    struct account_record account;
};

/* The client of a request, as the account remembers it. */
struct request {
    struct client_record client;
    bool known; /* it has a record */
};

/* One entry being applied. */
struct apply {
    struct mail_view v;
    struct machine_position position;
    struct entry entry;
    uint64_t now;    /* the group's entry time with this entry, us */
    uint64_t modseq; /* of this command; 0 until something visible has changed */
    uint64_t told;   /* whose watchers hear of it, and which modseq */
    uint64_t told_modseq;
    bool account_dirty;  /* the account record must be written */
    size_t pieces_taken; /* of stages, by this command */
    size_t chunks_taken; /* chunks of the entry that are in a manifest or a stage now */
    uint32_t events;     /* written so far: the next one's sub-index */
    uint64_t *changed;   /* mailboxes for the notice */
    size_t changed_count, changed_cap;
    bool list_changed;
    bool touched_uids; /* the cache of UID sets was changed */
    struct request request;
    bool keep;                    /* what was done stays although the result is an error: a piece of a copy */
    bool acted;                   /* the command's own code ran */
    bool remember;                /* ... and its result is kept for duplicates */
    struct account_record before; /* the account as it found it */
};

/* ---- keys and records (mail_records.c) ---- */

struct state_key mail_key(const struct mail_view *v, enum key_kind kind);
struct state_key mail_key_u64(const struct mail_view *v, enum key_kind kind, uint64_t id);
struct state_key mail_key_uid(const struct mail_view *v, enum key_kind kind, uint64_t mailbox, uint32_t uid);
struct state_key mail_key_modseq(const struct mail_view *v, enum key_kind kind, uint64_t mailbox, uint64_t modseq);
struct state_key mail_key_change(const struct mail_view *v, uint64_t mailbox, uint64_t modseq, uint32_t uid);
struct state_key mail_key_bytes(const struct mail_view *v, enum key_kind kind, struct cq_slice id);

/* An empty buffer of the machine: valid until the next call. */
struct cq_buf *mail_scratch(struct mail_machine *m);

/* CQ_OK, CQ_E_NO_ACCOUNT when there is none or only its tombstone, or what broke the db. */
enum cq_rc mail_load_account(struct mail_view *v);
void mail_save_account(struct mail_view *v);
/* The name is borrowed from the pool or the overlay: see db_get. CQ_E_NO_MAILBOX. */
enum cq_rc mail_load_mailbox(struct mail_view *v, uint64_t id, struct mailbox_record *mailbox_r);
void mail_save_mailbox(struct mail_view *v, uint64_t id, const struct mailbox_record *mailbox);
/* An empty table when there is none. The table lives in the pool. */
enum cq_rc mail_load_keywords(struct mail_view *v, uint64_t mailbox, struct keyword_table **table_r);
void mail_save_keywords(struct mail_view *v, uint64_t mailbox, const struct keyword_table *table);
enum cq_rc mail_load_message(struct mail_view *v, uint64_t mailbox, uint32_t uid, struct message_record *message_r);
/* CQ_E_NOT_FOUND. */
enum cq_rc mail_find_name(struct mail_view *v, struct cq_slice name, uint64_t *mailbox_r);

/* Decodes what db_get or an iterator gave; a record that does not decode breaks the db. */
enum cq_rc mail_decoded(struct mail_view *v, enum cq_rc rc, const char *what);

/* Messages of a mailbox in a set, in order of UID. */
struct picked {
    uint32_t uid;
    struct message_record message;
};
struct pick {
    struct picked *rows;
    size_t count;
};
/* CQ_E_LIMIT when there are more than max. Everything lives in the pool. */
enum cq_rc mail_pick(struct mail_view *v, uint64_t mailbox, const struct uidset *set, size_t max, struct pick *pick_r);
/* A set from the wire; CQ_E_INVALID when it is not ascending. */
enum cq_rc mail_uidset(struct mail_view *v, const Chasqui__Mail__UidSet *wire, struct uidset *set_r);
void mail_uidset_put(struct cq_pool *pool, const struct uidset *set, Chasqui__Mail__UidSet *wire_r);

/* protobuf-c over a pool: nothing is freed alone. */
ProtobufCAllocator mail_allocator(struct cq_pool *pool);
struct cq_slice mail_pack(struct cq_pool *pool, const ProtobufCMessage *message);
static inline struct cq_slice mail_bytes(ProtobufCBinaryData data)
{
    return cq_slice_of(data.data, data.len);
}

/* ---- for reads ---- */

enum cq_rc mail_keyword_list(struct mail_view *v, uint64_t mailbox, char ***names_r, size_t *count_r);
/* The mailbox's UID set, from the cache or read into it. */
enum cq_rc mail_uids(struct mail_view *v, uint64_t mailbox, uint32_t uidnext, struct uid_entry **entry_r);
/* UIDs of the mailbox that a large MOVE has taken away already, although their rows still wait for removal. */
enum cq_rc mail_hidden(struct mail_view *v, uint64_t mailbox, struct uidset *hidden_r);
/* One fetch record; CQ_E_LIMIT when raw is full. */
enum cq_rc mail_put_record(struct mail_view *v, uint32_t uid, const struct message_record *message,
                           struct cq_slice summary, struct cq_buf *raw);

/* ---- for commands (mail_apply.c, mail_effects.c) ---- */

/* The command's MODSEQ: the account's counter rises at the first call. */
uint64_t apply_modseq(struct apply *a);
/* For the watchers: messages of the mailbox changed; the list of mailboxes changed. */
void apply_changed(struct apply *a, uint64_t mailbox);
void apply_list_changed(struct apply *a);

/* The next `size` octets of the entry's chunks, or what was staged, as a body's manifest: rows for body_record.
 * CQ_E_INVALID when sizes or hashes do not match, CQ_E_NOT_FOUND when there is no such stage. */
enum cq_rc apply_take_body(struct apply *a, const Chasqui__Mail__NewMessage *message, struct body_record *body_r);
void apply_chunk_died(struct apply *a, const struct chunk_ref *chunk);
/* A new body with one reference, and its summary. */
void apply_add_email(struct apply *a, uint64_t email, const struct body_record *body, struct cq_slice summary);
/* One reference more. CQ_E_LIMIT. */
enum cq_rc apply_share_email(struct apply *a, uint64_t email);
/* One reference less; without any the body, its summary and its chunks go. */
enum cq_rc apply_release_email(struct apply *a, uint64_t email);
enum cq_rc apply_drop_stage(struct apply *a, struct cq_slice id, const struct stage_record *stage);

/* The record and index rows of a message that is new in the mailbox. */
void apply_put_rows(struct apply *a, uint64_t mailbox_id, uint32_t uid, const struct message_record *message);
/* The same, and counters, quota use, UID cache. */
void apply_add_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                       const struct message_record *message);
/* Takes them out again: only the rows, or everything of apply_add_message. */
void apply_remove_rows(struct apply *a, uint64_t mailbox_id, uint32_t uid, const struct message_record *message);
void apply_remove_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                          const struct message_record *message);
/* Other flags or keywords: sets message->modseq. */
void apply_change_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                          const struct message_record *old, struct message_record *message);
/* Remembers that these UIDs went with this command. */
enum cq_rc apply_vanished(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox,
                          const struct uidset *uids);
/* CQ_E_OVER_QUOTA, CQ_E_LIMIT (counters). Warns by event when a threshold is passed. */
enum cq_rc apply_quota(struct apply *a, uint64_t bytes, uint64_t messages);
/* After the use changed: recovered and warning events. */
void apply_quota_events(struct apply *a);
/* A command was refused for quota: the first time an event says so. */
void apply_quota_refused(struct apply *a);

/* RECLAIM looks at this record at that time. */
void apply_expire(struct apply *a, uint64_t time, uint64_t account, enum key_kind kind, struct cq_slice id);

/* Bits of keywords in the table, which grows: CQ_E_INVALID, CQ_E_LIMIT. *grown_r: it must be saved. */
enum cq_rc keywords_resolve(struct mail_view *v, struct keyword_table *table, char **names, size_t count, bool add,
                            uint8_t bits_r[static KEYWORD_BITMAP_MAX], bool *grown_r);
/* One name's bit: CQ_E_NOT_FOUND when it is not there and not to be added. */
enum cq_rc keyword_add(struct mail_view *v, struct keyword_table *table, struct cq_slice name, bool add,
                       size_t *index_r, bool *grown_r);
void keywords_widen(struct cq_slice bitmap, uint8_t bits_r[static KEYWORD_BITMAP_MAX]);
/* The bitmap without trailing zeros, in the pool. */
struct cq_slice keywords_trim(struct cq_pool *pool, const uint8_t bits[static KEYWORD_BITMAP_MAX]);

/* Events (outbox_event.c). `event` needs only what is its own; time and account are filled in here. */
void apply_event(struct apply *a, Chasqui__Outbox__Event *event);
void apply_account_event(struct apply *a, Chasqui__Outbox__Type type);
/* messages, bytes: how many went. */
void apply_mailbox_event(struct apply *a, Chasqui__Outbox__Type type, uint64_t id, struct cq_slice name,
                         struct cq_slice old_name, uint32_t messages, uint64_t bytes);
struct delivered {
    uint64_t mailbox_id, email;
    const struct mailbox_record *mailbox;
    uint32_t uid;
};
/* where: NULL when it was not stored. */
void apply_delivery_event(struct apply *a, Chasqui__Outbox__Type type, const Chasqui__Mail__Deliver *deliver,
                          const struct delivered *where);

/* What OUTBOX_TRIM must know of a type. Streams as in lib/events, which apply does not depend on; part of what apply
 * does. */
#define OUTBOX_STREAMS 4
struct outbox_class {
    Chasqui__Outbox__Type type;
    unsigned stream;
    bool final; /* the one event that tells what became of a message for a recipient */
    bool gap;
};
/* Of a type that is not known: mail.mailbox, not final. */
const struct outbox_class *outbox_class_of(Chasqui__Outbox__Type type);

/* Mailboxes (mailbox_create.c). The name is valid and free. CQ_E_LIMIT, CQ_E_CONFLICT (the use is taken). */
enum cq_rc apply_create_mailbox(struct apply *a, struct cq_slice name, Chasqui__Mail__SpecialUse use, uint64_t *id_r,
                                struct mailbox_record *mailbox_r);
/* The parents that are missing. */
enum cq_rc apply_create_parents(struct apply *a, struct cq_slice name);
enum cq_rc apply_subscribe(struct apply *a, struct cq_slice name, bool subscribed);
void apply_put_name(struct apply *a, struct cq_slice name, uint64_t id);
void apply_remove_name(struct apply *a, struct cq_slice name);
/* RECLAIM removes what is left of the mailbox; 0: of the account. */
void apply_tombstone(struct apply *a, uint64_t mailbox);
struct cq_slice mail_account_reply(struct mail_view *v);
void mail_save_group(struct mail_machine *m);
/* Charges that have left the sending window go, at most max; *more_r: others may wait. */
enum cq_rc apply_sweep_charges(struct apply *a, size_t max, bool *more_r);

/* Both ends of a COPY or MOVE. When they are the same mailbox both pointers are equal, so that counters are kept once.
 */
struct ends {
    uint64_t from_id, to_id;
    struct mailbox_record from_record, to_record;
    struct mailbox_record *from, *to;
    struct keyword_table *from_table, *to_table; /* NULL until a message has keywords */
    bool table_grown;
};
enum cq_rc apply_load_ends(struct apply *a, uint64_t from, uint64_t to, struct ends *ends);
/* The bitmap in the destination's table, by name; the table grows. */
enum cq_rc apply_map_keywords(struct apply *a, struct ends *ends, struct cq_slice bitmap, struct cq_slice *bitmap_r);
struct uidset apply_picked_uids(struct apply *a, const struct pick *pick);
struct cq_slice apply_copy_reply(struct apply *a, uint32_t uidvalidity, uint32_t first_uid,
                                 const struct uidset *copied);

/* COPY or MOVE of more than one entry takes (copy_job.c). Start: CQ_E_AGAIN when it is on its way, else why it cannot
 * be. Step: the next piece of the account's copy; *done_r when that was the last one. */
enum cq_rc copy_job_start(struct apply *a, struct ends *ends, const struct uidset *set, bool move);
enum cq_rc copy_job_step(struct apply *a, bool *done_r);

/* Messages from one mailbox into another or the same one (cmd_copy.c). */
struct moved {
    uint32_t uidvalidity, first_uid;
    struct uidset sources;
};
/* CQ_E_AGAIN: there are so many that it goes in pieces. */
enum cq_rc apply_move(struct apply *a, uint64_t from, uint64_t to, const struct uidset *set, struct moved *moved_r);

/* ---- dispatch tables ---- */

struct apply_command {
    uint32_t method;
    const ProtobufCMessageDescriptor *message;
    enum cq_rc (*run)(struct apply *a, const void *message, struct cq_slice *reply_r);
};
const struct apply_command *apply_command_find(uint32_t method);

struct read_method {
    uint32_t method;
    const ProtobufCMessageDescriptor *message;
    enum cq_rc (*run)(struct mail_view *v, const void *message, struct cq_slice *reply_r, struct cq_buf *raw);
};
const struct read_method *read_method_find(uint32_t method);

#define COMMAND(name) enum cq_rc name(struct apply *a, const void *message, struct cq_slice *reply_r)
COMMAND(cmd_create_account);
COMMAND(cmd_delete_account);
COMMAND(cmd_set_limits);
COMMAND(cmd_create_mailbox);
COMMAND(cmd_delete_mailbox);
COMMAND(cmd_rename_mailbox);
COMMAND(cmd_set_subscribed);
COMMAND(cmd_append);
COMMAND(cmd_deliver);
COMMAND(cmd_stage);
COMMAND(cmd_store);
COMMAND(cmd_copy);
COMMAND(cmd_move);
COMMAND(cmd_expunge);
COMMAND(cmd_claim_recent);
COMMAND(cmd_charge_sending);
COMMAND(cmd_keep_delivery_key);
COMMAND(cmd_own_slots);
COMMAND(cmd_reclaim);
COMMAND(cmd_outbox_advance);
COMMAND(cmd_digest_mark);
COMMAND(cmd_outbox_trim);
COMMAND(cmd_raise_version);

#define READ(name)                                                                                                     \
    enum cq_rc name(struct mail_view *v, const void *message, struct cq_slice *reply_r, struct cq_buf *raw)
READ(read_account);
READ(read_mailboxes);
READ(read_open);
READ(read_fetch);
READ(read_changes);

/* Requests (mail_request.c). */
/* CQ_OK: act. CQ_E_EXISTS: *rc_r and *reply_r are the remembered result. CQ_E_STALE, CQ_E_OVERLOADED, CQ_E_INVALID. */
enum cq_rc request_judge(struct apply *a, enum cq_rc *rc_r, struct cq_slice *reply_r);
void request_remember(struct apply *a, enum cq_rc rc, struct cq_slice reply);
/* For the request of another client: a copy that ended in somebody else's entry. */
enum cq_rc request_remember_for(struct apply *a, struct cq_slice client, uint64_t sequence, struct cq_slice reply);

#endif
