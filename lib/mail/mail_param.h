/* Content-Type and Content-Disposition values: type and parameters (RFC 2045 5.1, 2183), continuations and charsets of
 * RFC 2231. At most limits.params parameters; linear in the value, quadratic at most in that number. */
#ifndef MAIL_PARAM_H
#define MAIL_PARAM_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"

struct mail_param {
    struct cq_slice name;  /* as written, with its *0*; never empty */
    struct cq_slice value; /* without quotes and quoted pairs */
    /* What RFC 2231 makes of the name: */
    struct cq_slice base; /* "filename" of "filename*1*" */
    uint32_t section;     /* 1 of "filename*1*"; 0 when there is none */
    bool continued;       /* there is a section number */
    bool extended;        /* the name ends in "*": percent-encoded, the first section with charset'language' */
};

struct mail_params {
    struct cq_slice type;    /* "text", or "attachment"; empty: none was understood */
    struct cq_slice subtype; /* "plain"; empty for a disposition */
    struct mail_param *list;
    uint32_t count;
    bool cut; /* there were more than the limit */
};

/* value: the field's, folded or not. All slices live in the pool. has_subtype: parse "type/subtype" (Content-Type). */
void mail_params_parse(struct cq_slice value, bool has_subtype, uint32_t limit, struct cq_pool *pool,
                       struct mail_params *params_r);

/* One parameter put together from its sections, in order, up to the first that is missing, as a list of one:
 * name "filename" with the plain value, or name "filename*" with charset'language'percent-encoded (sections that were
 * not encoded are encoded now). This is what BODYSTRUCTURE shows. *count_r entries in the pool, in order of first
 * appearance. */
struct mail_joined_param {
    struct cq_slice name, value;
    bool extended;
};
struct mail_joined_param *mail_params_join(const struct mail_params *params, struct cq_pool *pool, uint32_t *count_r);

/* Appends the decoded value as UTF-8 (RFC 2231; else RFC 2047 words, which many programs write there). False, nothing
 * appended, when there is no such parameter. name: lower or upper case. */
bool mail_params_get(const struct mail_params *params, struct cq_slice name, struct cq_buf *out);

/* The plain value of a parameter that needs no decoding (charset, boundary): the joined raw value. */
bool mail_params_raw(const struct mail_params *params, struct cq_slice name, struct cq_pool *pool,
                     struct cq_slice *value_r);

/* Appends utf-8''percent-encoded (RFC 2231 ext-value). */
void mail_param_encode(struct cq_slice utf8, struct cq_buf *out);

#endif
