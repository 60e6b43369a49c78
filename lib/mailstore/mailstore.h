/* What a front-end asks of an account's shard: plain C around the messages of proto/mail.proto.
 *
 * Every call suspends the calling fiber and returns CQ_OK or an error: CQ_E_UNAVAILABLE (no quorum, no
 * route, deadline), CQ_E_UNKNOWN_OUTCOME (a change may or may not have happened), CQ_E_CANCELLED (the
 * client has gone), CQ_E_NO_ACCOUNT, CQ_E_NO_MAILBOX, and what each call names. Answers live in the
 * pool that the caller gave. Calls of one mailstore may overlap on different fibers of one thread.
 *
 * A struct mailstore_account carries what one account's session must remember between calls (token,
 * last stamp): keep one per session, so that the session reads its own writes. */
#ifndef MAILSTORE_H
#define MAILSTORE_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"
#include "mailstore/body_cache.h"
#include "mailstore/fetch_record.h"
#include "mailstore/uidset.h"

struct mailstore;

/* How calls reach a shard. The real one goes through the router (mailstore_rpc.h); tests link one
 * that holds a state machine in memory, and one that fails on purpose. */
struct mailstore_call {
    uint64_t account;
    uint32_t method;            /* enum Method of proto/mail.proto */
    bool command;               /* changes state: may be sent again only under the same request id */
    struct cq_slice message;    /* an encoded Call */
    const struct cq_slice *raw; /* what follows the message, in raw_count slices */
    size_t raw_count;
    uint64_t deadline_us; /* monotonic */
};
struct mailstore_answer {
    struct cq_slice message; /* an encoded Answer, or empty */
    struct cq_slice raw;
};
struct mailstore_watch;
struct mailstore_transport {
    /* Suspends the fiber. The answer's bytes live in the pool. The return value is the method's result code or the
     * transport's own failure. */
    enum cq_rc (*call)(struct mailstore_transport *transport, const struct mailstore_call *call, struct cq_pool *pool,
                       struct mailstore_answer *answer_r, struct cq_err *err);
    /* Opens the WATCH stream; `changed` is called on the loop's stack with each encoded Notice, and with an empty
     * slice after a gap (reconnect, leader change): then anything may have changed. */
    struct mailstore_watch *(*watch)(struct mailstore_transport *transport, uint64_t account,
                                     void (*changed)(void *arg, struct cq_slice notice), void *arg);
    void (*unwatch)(struct mailstore_transport *transport, struct mailstore_watch *watch);
};

/* One per worker thread. client_id: 16 random bytes of this worker start. timeout_ms: of a call, in all. */
struct mailstore *mailstore_new(struct mailstore_transport *transport, const uint8_t client_id[static 16],
                                uint32_t timeout_ms);
void mailstore_free(struct mailstore **store);

/* Called whenever a shard answers CQ_E_NO_ACCOUNT, before the caller has the answer; must not suspend. For the alarm.
 */
void mailstore_on_no_account(struct mailstore *store, void (*fn)(void *ctx, uint64_t account), void *ctx);

struct mailstore_account {
    uint64_t id;
    uint64_t modseq;      /* session token: the last one seen, 0 at first */
    uint64_t incarnation; /* of the account, 0 at first */
};

enum mail_flag { MAIL_SEEN = 1, MAIL_ANSWERED = 2, MAIL_FLAGGED = 4, MAIL_DELETED = 8, MAIL_DRAFT = 16 };
#define MAIL_FLAGS_ALL 31u
enum mail_use {
    MAIL_USE_NONE,
    MAIL_USE_ARCHIVE,
    MAIL_USE_DRAFTS,
    MAIL_USE_JUNK,
    MAIL_USE_SENT,
    MAIL_USE_TRASH,
    MAIL_USE_INBOX
};

struct mail_limits {
    uint64_t directory_version;
    uint64_t quota_bytes, quota_messages; /* 0: none */
    uint32_t sending_messages_day, sending_recipients_day, recipients_message;
};

struct mail_mailbox {
    uint64_t id;
    struct cq_slice name; /* UTF-8 */
    enum mail_use use;
    uint32_t uidvalidity, uidnext;
    uint64_t highest_modseq;
    uint32_t messages, unseen, deleted;
    uint64_t size;
    uint32_t recent_from;
    struct cq_slice *keywords; /* table: bit i of a record's bitmap */
    size_t keyword_count;
};
struct mail_mailbox_list {
    struct mail_mailbox *mailboxes; /* in order of name bytes */
    size_t count;
    struct cq_slice *subscriptions;
    size_t subscription_count;
};

struct mail_account_state {
    uint64_t incarnation, modseq;
    struct mail_limits limits;
    uint64_t used_bytes, used_messages;
    uint32_t mailboxes;
};

/* Life of an account in its shard. Creating is idempotent by id; CQ_E_WRONG_OWNER when the slot is not this shard's. */
enum cq_rc mailstore_create_account(struct mailstore *, struct mailstore_account *, const struct mail_limits *limits,
                                    struct cq_slice address, struct cq_err *err);
enum cq_rc mailstore_delete_account(struct mailstore *, struct mailstore_account *, struct cq_err *err);
enum cq_rc mailstore_set_limits(struct mailstore *, struct mailstore_account *, const struct mail_limits *limits,
                                struct cq_err *err);
enum cq_rc mailstore_get_account(struct mailstore *, struct mailstore_account *, struct cq_pool *,
                                 struct mail_account_state *state_r, struct cq_err *err);

/* Mailboxes. Names: UTF-8 NFC, '/' between levels, at most 1,000 bytes. CQ_E_EXISTS, CQ_E_INVALID (a name that cannot
 * be), CQ_E_LIMIT (too many), CQ_E_CONFLICT (another mailbox has that use). "INBOX" in any case is INBOX. */
enum cq_rc mailstore_list(struct mailstore *, struct mailstore_account *, struct cq_pool *,
                          struct mail_mailbox_list *list_r, struct cq_err *err);
/* The one of that name; CQ_E_NO_MAILBOX. Costs the same however many there are. */
enum cq_rc mailstore_find(struct mailstore *, struct mailstore_account *, struct cq_slice name, struct cq_pool *,
                          struct mail_mailbox *mailbox_r, struct cq_err *err);
enum cq_rc mailstore_create(struct mailstore *, struct mailstore_account *, struct cq_slice name, enum mail_use use,
                            uint64_t *mailbox_r, struct cq_err *err);
enum cq_rc mailstore_delete(struct mailstore *, struct mailstore_account *, uint64_t mailbox, struct cq_err *err);
enum cq_rc mailstore_rename(struct mailstore *, struct mailstore_account *, struct cq_slice from, struct cq_slice to,
                            struct cq_err *err);
enum cq_rc mailstore_subscribe(struct mailstore *, struct mailstore_account *, struct cq_slice name, bool subscribed,
                               struct cq_err *err);

struct mail_open {
    struct mail_mailbox mailbox;
    struct uidset uids;
    uint32_t first_unseen_uid; /* 0: none */
};
enum cq_rc mailstore_open(struct mailstore *, struct mailstore_account *, uint64_t mailbox, struct cq_pool *,
                          struct mail_open *open_r, struct cq_err *err);
/* The one of that name, in one call. CQ_E_NO_MAILBOX is no last word: a node of an older build says it of every name.
 */
enum cq_rc mailstore_open_name(struct mailstore *, struct mailstore_account *, struct cq_slice name, struct cq_pool *,
                               struct mail_open *open_r, struct cq_err *err);
/* UIDs [*from_r, *to_r) become this session's \Recent. */
enum cq_rc mailstore_claim_recent(struct mailstore *, struct mailstore_account *, uint64_t mailbox, uint32_t *from_r,
                                  uint32_t *to_r, struct cq_err *err);

/* A message to store. The octets are `octets` (octet_count slices; mailstore_deliver takes at most MAIL_INLINE_MAX), or
 * were staged. */
#define MAIL_INLINE_MAX (512u << 10)
#define MAIL_STAGE_PIECE_MAX (512u << 10)
#define MAIL_APPEND_BYTES_MAX (256u << 20) /* of all messages of one mailstore_append that are not staged before */
#define MAIL_APPEND_STAGES_MAX 512         /* of them: that do not fit the entry */
struct mail_stage {
    uint8_t id[16];
    uint64_t size; /* octets staged so far */
};
struct mail_new_message {
    uint8_t flags;
    const struct cq_slice *keywords;
    size_t keyword_count;
    int64_t internal_date; /* seconds since 1970 UTC */
    struct cq_slice summary;
    const struct cq_slice *octets;
    size_t octet_count;
    const struct mail_stage *stage; /* not NULL: the body was staged */
};

/* A body of any size, piece by piece; each piece is on a majority's disks when the call returns. `raw` slices of
 * together at most MAIL_STAGE_PIECE_MAX. CQ_E_OVER_QUOTA early when the account cannot take it. */
void mailstore_stage_init(struct mail_stage *stage, const uint8_t random[static 16]);
enum cq_rc mailstore_stage(struct mailstore *, struct mailstore_account *, struct mail_stage *stage,
                           const struct cq_slice *raw, size_t raw_count, struct cq_err *err);

struct mail_appended {
    uint32_t uidvalidity, first_uid, count;
};
/* All messages or none, however many and large: what does not fit one log entry is staged before it. Of messages whose
 * summaries together do not fit, the longest ones are stored without: readers make them again. CQ_E_OVER_QUOTA,
 * CQ_E_TOO_BIG (a message, or all of them: see the limits above), CQ_E_LIMIT (keywords, over 5,000 messages). */
enum cq_rc mailstore_append(struct mailstore *, struct mailstore_account *, uint64_t mailbox,
                            const struct mail_new_message *messages, size_t count, struct mail_appended *appended_r,
                            struct cq_err *err);

/* What the delivery events say; slices may be empty. */
struct mail_delivery {
    enum mail_use use;            /* MAIL_USE_INBOX or MAIL_USE_JUNK */
    struct cq_slice delivery_key; /* 16 bytes or none */
    uint64_t from_account;
    struct cq_slice message_id, rfc5322_message_id, session_id, direction;
    struct cq_slice envelope_from, recipient, original_recipient;
    struct cq_slice client_ip, ehlo, tls;
    uint32_t recipients;
    int64_t received_time_us;
};
enum cq_rc mailstore_deliver(struct mailstore *, struct mailstore_account *, const struct mail_new_message *message,
                             const struct mail_delivery *delivery, bool *absorbed_r, struct cq_err *err);
enum cq_rc mailstore_keep_delivery_key(struct mailstore *, struct mailstore_account *, const uint8_t key[static 16],
                                       struct cq_err *err);
/* Daily sending counts, exact. CQ_E_RATE: *clears_at_r says when (seconds since 1970). charge_id: 16 bytes. */
enum cq_rc mailstore_charge_sending(struct mailstore *, struct mailstore_account *, uint32_t recipients,
                                    const uint8_t charge_id[static 16], int64_t *clears_at_r, struct cq_err *err);

enum mail_store_mode { MAIL_STORE_REPLACE, MAIL_STORE_ADD, MAIL_STORE_REMOVE };
struct mail_store {
    uint64_t mailbox;
    const struct uidset *uids;
    enum mail_store_mode mode;
    uint8_t flags;
    const struct cq_slice *keywords;
    size_t keyword_count;
    bool has_unchanged_since;
    uint64_t unchanged_since;
};
/* *modified_r: UIDs that failed UNCHANGEDSINCE. Large sets are split by UID range here. */
enum cq_rc mailstore_store(struct mailstore *, struct mailstore_account *, const struct mail_store *store,
                           struct cq_pool *, struct uidset *modified_r, uint64_t *modseq_r, struct cq_err *err);

struct mail_copied {
    uint32_t uidvalidity, first_uid;
    struct uidset copied; /* source UIDs; the i-th of them became first_uid + i */
};
enum cq_rc mailstore_copy(struct mailstore *, struct mailstore_account *, uint64_t from, uint64_t to,
                          const struct uidset *uids, bool move, struct cq_pool *, struct mail_copied *copied_r,
                          struct cq_err *err);
/* Removes messages with \Deleted, of `uids` only unless it is NULL. */
enum cq_rc mailstore_expunge(struct mailstore *, struct mailstore_account *, uint64_t mailbox,
                             const struct uidset *uids, struct cq_pool *, struct uidset *expunged_r,
                             struct cq_err *err);

/* Records of a set, in batches: call again from *next_uid_r on until it is 0. `records`: walk with fetch_record_next().
 */
struct mail_records {
    struct cq_slice records;
    struct cq_slice *keywords; /* the mailbox's keyword table */
    size_t keyword_count;
    uint32_t next_uid;
    uint64_t highest_modseq;
};
/* How much of each message's summary FETCH brings: nothing, all of it, or some of its data
 * (mail_fetch_summary_of). */
enum mail_fetch_summary { MAIL_FETCH_NO_SUMMARY = 0, MAIL_FETCH_SUMMARY = 1 };
/* `data`: bits of enum mail_summary_data; from a node that knows nothing of that come all. */
static inline uint32_t mail_fetch_summary_of(uint32_t data)
{
    return data << 1;
}
enum cq_rc mailstore_fetch(struct mailstore *, struct mailstore_account *, uint64_t mailbox, const struct uidset *uids,
                           uint32_t summary, struct cq_pool *, struct mail_records *records_r, struct cq_err *err);

struct mail_changes {
    struct mail_records records; /* new and changed, by modseq */
    struct uidset vanished;      /* may be a superset */
    uint64_t until_modseq;       /* ask from here next time */
    uint64_t highest_modseq;
    uint32_t uidnext, messages, recent_from;
    bool more, mailbox_gone;
};
enum cq_rc mailstore_changes(struct mailstore *, struct mailstore_account *, uint64_t mailbox, uint64_t since_modseq,
                             struct cq_pool *, struct mail_changes *changes_r, struct cq_err *err);

/* Octets [offset, offset + length) of a message, cut to what there is; at most 1 MiB a call. Checksums were verified.
 */
enum cq_rc mailstore_read_body(struct mailstore *, struct mailstore_account *, uint64_t email, uint64_t offset,
                               uint32_t length, struct cq_pool *, struct cq_slice *octets_r, struct cq_err *err);

/* ---- Bodies that go to clients ---- */

#define MAIL_BODY_PIECE (512u << 10) /* a chunk: read and verified whole, whatever is asked of it */

/* Which message, as its record says. */
struct mail_body {
    uint64_t email;
    int64_t saved; /* 0: not known, the cache is left alone */
    uint32_t size;
};
static inline struct mail_body mail_body_of(const struct fetch_record *record)
{
    return (struct mail_body){record->email, record->save_date, record->size};
}

/* One for all mailstores of a process, which it outlives; NULL: none. */
void mailstore_use_body_cache(struct mailstore *store, struct body_cache *cache);

/* Octets [off, off + len) of the body, len > 0, within one piece (one ends at multiples of MAIL_BODY_PIECE): a slice of
 * *piece_r, which the caller lets go by body_piece_unref(). Those in memory, without suspending; false: they are not.
 * The shard is not asked: only for who has read the message's record, of this account, in the command that asks. */
bool mailstore_body_cached(struct mailstore *, const struct mailstore_account *, const struct mail_body *body,
                           uint64_t off, uint32_t len, struct body_piece **piece_r, struct cq_slice *octets_r);
/* The shard's; look above first. They may be kept. CQ_E_NOT_FOUND, CQ_E_CORRUPT (nothing is at off, too). */
enum cq_rc mailstore_body(struct mailstore *, struct mailstore_account *, const struct mail_body *body, uint64_t off,
                          uint32_t len, struct body_piece **piece_r, struct cq_slice *octets_r, struct cq_err *err);

/* "Something changed" for one account; `changed` runs on the loop's stack and must not suspend. */
struct mail_notice {
    uint64_t modseq;
    const uint64_t *mailboxes;
    size_t mailbox_count;
    bool mailbox_list;
    bool gap; /* anything may have changed */
};
struct mailstore_watcher;
struct mailstore_watcher *mailstore_watch(struct mailstore *, uint64_t account,
                                          void (*changed)(void *arg, const struct mail_notice *notice), void *arg);
void mailstore_unwatch(struct mailstore_watcher **watcher);

#endif
