/* The client's side: a server's responses as data, for tests, the load generator and the fuzzer.
 *
 * Cut the stream with an imap_reader whose limits come from imap_response_limits(): IMAP_READ_CONTINUE only means that
 * a literal follows (go on feeding), IMAP_READ_COMMAND that one whole response is there. */
#ifndef IMAP_RESPONSE_H
#define IMAP_RESPONSE_H

#include "base/cq_pool.h"
#include "imap/imap_reader.h"

/* For responses of at most `max` bytes. */
struct imap_reader_limits imap_response_limits(size_t max);

enum imap_value_type { IMAP_ATOM, IMAP_STRING, IMAP_NIL, IMAP_LIST };

/* Values stand in one array in the order of the text; a list is followed by what it contains. */
struct imap_value {
    enum imap_value_type type;
    struct cq_slice text; /* of atoms and strings; "BODY[HEADER.FIELDS (A B)]<0>" is one atom */
    uint32_t count;       /* of a list: its direct members */
    uint32_t total;       /* this value and all inside it: value + value->total is the next one beside it */
};

enum imap_response_kind { IMAP_CONTINUATION, IMAP_TAGGED, IMAP_UNTAGGED };
enum imap_status { IMAP_NO_STATUS, IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_BYE, IMAP_PREAUTH };

struct imap_response {
    enum imap_response_kind kind;
    struct cq_slice tag;
    enum imap_status status;
    struct cq_slice code; /* inside [ ]: "UIDVALIDITY 3" */
    struct cq_slice text; /* human text of a status or continuation */
    bool has_number;      /* "* 12 FETCH ..." */
    uint32_t number;
    struct cq_slice name;      /* "FETCH", "LIST", "EXISTS"; empty with a status */
    struct imap_value *values; /* what follows the name */
    size_t value_count;        /* of the array */
};

/* Slices point into the text or the pool. CQ_E_PROTO, CQ_E_LIMIT. */
enum cq_rc imap_response_parse(struct cq_slice text, struct cq_pool *pool, struct imap_response *response_r,
                               struct cq_err *err);

/* The i-th member of a list, NULL when there is none or it is no list. */
const struct imap_value *imap_value_member(const struct imap_value *list, size_t i);
/* In a list of names and values ("FLAGS (...) UID 4"): the value after the name, NULL when it is not there. */
const struct imap_value *imap_value_lookup(const struct imap_value *list, const char *name);

#endif
