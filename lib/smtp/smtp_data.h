/* The octets after DATA (RFC 5321 4.5.2): finds the end, takes dot-stuffing off, and judges line ends here and nowhere
 * else. Only CR LF . CR LF ends the data. A bare CR or a bare LF anywhere marks the message as broken: it is read to
 * its real end and then refused (550 5.5.2), so that nothing can be smuggled in behind a false end. */
#ifndef SMTP_DATA_H
#define SMTP_DATA_H

#include "base/cq_err.h"
#include "base/cq_slice.h"

struct smtp_data {
    bool inside_line; /* the octet before what comes next was not CR LF (at the start: it was) */
    bool bare;        /* a bare CR or LF has been seen */
    bool nul;         /* a NUL has been seen */
    bool done;
    uint64_t size; /* octets given out so far */
};

void smtp_data_init(struct smtp_data *data);

/* Takes what can be taken off the front of `in`: *used_r octets of it, of which *out_r (a part of `in`, may be empty)
 * is the message's. CQ_OK: call again with the rest and what comes; CQ_E_AGAIN: the rest (at most 3 octets) means
 * nothing without what follows; CQ_E_EOF: the end was found and is among the used octets. */
enum cq_rc smtp_data_next(struct smtp_data *data, struct cq_slice in, size_t *used_r, struct cq_slice *out_r);

#endif
