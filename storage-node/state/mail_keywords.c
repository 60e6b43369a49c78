/* Keywords: a mailbox's table of names; a message has a bitmap over it. Names are compared without case (RFC 3501
 * flag-keyword is an atom), the first spelling stays. */
#include "state/mail_private.h"

/* atom characters (RFC 3501 section 9): any CHAR but specials, CTL and space. */
static bool keyword_valid(struct cq_slice name)
{
    if (name.len == 0 || name.len > KEYWORD_LENGTH_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("(){%*\"\\]", c))
            return false;
    }
    return true;
}

static size_t find_keyword(const struct keyword_table *table, struct cq_slice name)
{
    size_t i = 0;
    while (i < table->count && !cq_slice_caseeq(table->names[i], name))
        i++;
    return i;
}

enum cq_rc keyword_add(struct mail_view *v, struct keyword_table *table, struct cq_slice name, bool add,
                       size_t *index_r, bool *grown_r)
{
    size_t i = *index_r = find_keyword(table, name);
    if (i < table->count)
        return CQ_OK;
    if (!add)
        return CQ_E_NOT_FOUND;
    if (table->count == KEYWORDS_MAX)
        return CQ_FAIL(v->err, CQ_E_LIMIT, "mailbox has %d keywords", KEYWORDS_MAX);
    table->names[table->count++] = cq_pool_slice(v->pool, name);
    *grown_r = true;
    return CQ_OK;
}

enum cq_rc keywords_resolve(struct mail_view *v, struct keyword_table *table, char **names, size_t count, bool add,
                            uint8_t bits_r[static KEYWORD_BITMAP_MAX], bool *grown_r)
{
    memset(bits_r, 0, KEYWORD_BITMAP_MAX);
    if (count > KEYWORDS_MAX)
        return CQ_FAIL(v->err, CQ_E_LIMIT, "%zu keywords for one message", count);
    for (size_t n = 0; n < count; n++) {
        struct cq_slice name = cq_slice_cstr(names[n]);
        size_t index;
        if (!keyword_valid(name))
            return CQ_FAIL(v->err, CQ_E_INVALID, "keyword %zu is not an atom of at most %d bytes", n,
                           KEYWORD_LENGTH_MAX);
        enum cq_rc rc = keyword_add(v, table, name, add, &index, grown_r);
        if (rc == CQ_E_NOT_FOUND) /* nobody has it */
            continue;
        if (rc != CQ_OK)
            return rc;
        bits_r[index / 8] |= (uint8_t)(1u << index % 8);
    }
    return CQ_OK;
}

struct cq_slice keywords_trim(struct cq_pool *pool, const uint8_t bits[static KEYWORD_BITMAP_MAX])
{
    size_t len = KEYWORD_BITMAP_MAX;
    while (len && !bits[len - 1])
        len--;
    return cq_pool_slice(pool, cq_slice_of(bits, len));
}

void keywords_widen(struct cq_slice bitmap, uint8_t bits_r[static KEYWORD_BITMAP_MAX])
{
    memset(bits_r, 0, KEYWORD_BITMAP_MAX);
    if (bitmap.len)
        memcpy(bits_r, bitmap.data, bitmap.len);
}
