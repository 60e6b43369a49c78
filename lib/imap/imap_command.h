/* One whole command (from imap_reader) as data. The head is parsed first, so that who dispatches can judge state and
 * limits before the arguments are looked at.
 *
 *     imap_command_head(text, &head);                       // tag and verb, whatever follows
 *     ok = imap_command_parse(&head, pool, &command, &problem);
 *
 * Slices point into the text or the pool. Mailbox names are as on the wire (imap_mailbox.h makes names of them). */
#ifndef IMAP_COMMAND_H
#define IMAP_COMMAND_H

#include "imap/imap_fetch.h"
#include "imap/imap_flags.h"
#include "imap/imap_search.h"

/* X(symbol, name). "UID FETCH" is a verb of its own: its set means UIDs. */
#define IMAP_VERBS(X)                                                                                                  \
    X(IMAP_CAPABILITY, "CAPABILITY")                                                                                   \
    X(IMAP_NOOP, "NOOP")                                                                                               \
    X(IMAP_LOGOUT, "LOGOUT")                                                                                           \
    X(IMAP_ID, "ID")                                                                                                   \
    X(IMAP_STARTTLS, "STARTTLS")                                                                                       \
    X(IMAP_AUTHENTICATE, "AUTHENTICATE")                                                                               \
    X(IMAP_LOGIN, "LOGIN")                                                                                             \
    X(IMAP_ENABLE, "ENABLE")                                                                                           \
    X(IMAP_SELECT, "SELECT")                                                                                           \
    X(IMAP_EXAMINE, "EXAMINE")                                                                                         \
    X(IMAP_CREATE, "CREATE")                                                                                           \
    X(IMAP_DELETE, "DELETE")                                                                                           \
    X(IMAP_RENAME, "RENAME")                                                                                           \
    X(IMAP_SUBSCRIBE, "SUBSCRIBE")                                                                                     \
    X(IMAP_UNSUBSCRIBE, "UNSUBSCRIBE")                                                                                 \
    X(IMAP_LIST, "LIST")                                                                                               \
    X(IMAP_LSUB, "LSUB")                                                                                               \
    X(IMAP_NAMESPACE, "NAMESPACE")                                                                                     \
    X(IMAP_STATUS, "STATUS")                                                                                           \
    X(IMAP_APPEND, "APPEND")                                                                                           \
    X(IMAP_IDLE, "IDLE")                                                                                               \
    X(IMAP_CHECK, "CHECK")                                                                                             \
    X(IMAP_CLOSE, "CLOSE")                                                                                             \
    X(IMAP_UNSELECT, "UNSELECT")                                                                                       \
    X(IMAP_EXPUNGE, "EXPUNGE")                                                                                         \
    X(IMAP_SEARCH, "SEARCH")                                                                                           \
    X(IMAP_FETCH, "FETCH")                                                                                             \
    X(IMAP_STORE, "STORE")                                                                                             \
    X(IMAP_COPY, "COPY")                                                                                               \
    X(IMAP_MOVE, "MOVE")                                                                                               \
    X(IMAP_UID_EXPUNGE, "UID EXPUNGE")                                                                                 \
    X(IMAP_UID_SEARCH, "UID SEARCH")                                                                                   \
    X(IMAP_UID_FETCH, "UID FETCH")                                                                                     \
    X(IMAP_UID_STORE, "UID STORE")                                                                                     \
    X(IMAP_UID_COPY, "UID COPY")                                                                                       \
    X(IMAP_UID_MOVE, "UID MOVE")

enum imap_verb {
#define IMAP_VERB_ENUM(symbol, name) symbol,
    IMAP_VERBS(IMAP_VERB_ENUM)
#undef IMAP_VERB_ENUM
        IMAP_VERB_COUNT,
    IMAP_UNKNOWN = IMAP_VERB_COUNT
};

/* "UID FETCH"; "?" for IMAP_UNKNOWN. */
const char *imap_verb_name(enum imap_verb verb);

struct imap_head {
    struct cq_slice tag; /* empty: the line has none */
    enum imap_verb verb;
    struct cq_slice arguments; /* what follows the verb, with its space */
};

/* Never fails: a line without a tag has an empty tag, a word that is no command is IMAP_UNKNOWN. */
void imap_command_head(struct cq_slice text, struct imap_head *head_r);

enum imap_status_item {
    IMAP_STATUS_MESSAGES = 1,
    IMAP_STATUS_RECENT = 2,
    IMAP_STATUS_UIDNEXT = 4,
    IMAP_STATUS_UIDVALIDITY = 8,
    IMAP_STATUS_UNSEEN = 16,
    IMAP_STATUS_HIGHESTMODSEQ = 32
};

enum imap_store_mode { IMAP_STORE_REPLACE, IMAP_STORE_ADD, IMAP_STORE_REMOVE };

struct imap_id_field {
    struct cq_slice name, value;
    bool nil;
};

struct imap_command {
    struct cq_slice tag;
    enum imap_verb verb;
    struct imap_seqset set; /* FETCH, STORE, COPY, MOVE and their UID forms, UID EXPUNGE */
    union {
        struct {
            struct imap_id_field *fields;
            size_t count;
        } id;
        struct {
            struct cq_slice mechanism; /* as given */
            struct cq_slice initial;   /* base64, "=" for empty */
            bool has_initial;
        } authenticate;
        struct {
            struct cq_slice user, password;
        } login;
        struct {
            struct cq_slice *names;
            size_t count;
        } enable;
        struct {
            struct cq_slice mailbox;
            bool condstore;
        } select; /* and EXAMINE */
        struct {
            struct cq_slice mailbox;
        } mailbox; /* CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE, COPY, MOVE */
        struct {
            struct cq_slice from, to;
        } rename;
        struct {
            struct cq_slice reference, pattern;
            bool special_use; /* LIST (SPECIAL-USE): only those that have one (RFC 6154 2) */
        } list;               /* and LSUB */
        struct {
            struct cq_slice mailbox;
            uint32_t items;
        } status;
        struct {
            struct cq_slice mailbox;
            struct imap_flags flags;
            bool has_date;
            int64_t date;
            uint32_t size; /* of the message literal, which is not part of the text */
            bool plus;
        } append;
        struct imap_search search;
        struct imap_fetch fetch;
        struct {
            enum imap_store_mode mode;
            bool silent;
            struct imap_flags flags;
            bool has_unchanged_since;
            uint64_t unchanged_since;
        } store;
    } u;
};

/* Parses the arguments of a known verb. False: *problem_r is a sentence for BAD. */
bool imap_command_parse(const struct imap_head *head, struct cq_pool *pool, struct imap_command *command_r,
                        const char **problem_r);

/* Is this the beginning of an APPEND that ends with the header of its message literal? Such a text parses as a whole
 * command. */
bool imap_command_awaits_message(struct cq_slice text);

#endif
