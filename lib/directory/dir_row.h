/* A row as it is remembered (dir_cache.h) and kept in the file of known rows (dir_known.h): which question it answers,
 * and the answer. Encoded as docs/formats/known-rows.md says. */
#ifndef CHASQUI_DIR_ROW_H
#define CHASQUI_DIR_ROW_H

#include "base/cq_buf.h"
#include "base/cq_pool.h"
#include "directory/dir_types.h"

/* The numbers are in files: they stay. */
enum dir_row_kind {
    DIR_ROW_DOMAIN,
    DIR_ROW_ADDRESS,
    DIR_ROW_FIRST,
    DIR_ROW_ACCOUNT,
    DIR_ROW_CREDENTIALS,
    DIR_ROW_KINDS
};

struct dir_row_credentials {
    struct dir_credential *rows;
    size_t count;
};

struct dir_row {
    enum dir_row_kind kind;
    uint64_t number;      /* ADDRESS, FIRST: id of the domain; ACCOUNT, CREDENTIALS: of the account */
    struct cq_slice text; /* DOMAIN: its name; ADDRESS: local part; FIRST: "admin" or "" */
    uint64_t read_us;     /* when the database said so, by the clock of whoever hands the row over */
    /* struct dir_domain, dir_address_row, uint64_t, dir_account, dir_row_credentials */
    const void *value;
};

typedef void dir_row_fn(const struct dir_row *row, void *ctx); /* the row is borrowed */

#define DIR_ROW_MAX (64u << 10) /* bytes of an encoded row; a longer one is not kept */

/* false: over DIR_ROW_MAX, or over the buffer's own maximum; nothing was added. */
bool dir_row_put(struct cq_buf *out, const struct dir_row *row);

/* The next row of `in`, which becomes what follows it. Texts point into `in`, the rest is in the pool. CQ_E_CORRUPT:
 * these bytes are no row. */
enum cq_rc dir_row_get(struct cq_slice *in, struct cq_pool *pool, struct dir_row *row_r, struct cq_err *err);

#endif
