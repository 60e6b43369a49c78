/* Addresses: the parser ends, its output is no longer than its input allows, and what it writes parses to itself. */
#include "mail/mail_address.h"

#include "base/cq_assert.h"

static bool is_plain(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 32 || s.data[i] > 126)
            return false;
    return true;
}

static void check_round_trip(const struct mail_address *a)
{
    struct mail_address_parser p;
    struct mail_address again;
    struct cq_buf text;
    if (a->kind != MAIL_ADDRESS_MAILBOX || !a->domain.len || !is_plain(a->local) || !is_plain(a->domain))
        return;
    for (size_t i = 0; i < a->domain.len; i++)
        if (strchr("[]\\=? ", a->domain.data[i]))
            return;
    cq_buf_init(&text, 2 * a->local.len + a->domain.len + 8);
    mail_address_write(a, &text);
    CQ_ASSERT(cq_buf_ok(&text));
    mail_address_parser_init(&p, cq_buf_slice(&text));
    CQ_ASSERT(mail_address_next(&p, &again));
    CQ_ASSERT(cq_slice_eq(again.local, a->local) && cq_slice_eq(again.domain, a->domain));
    mail_address_parser_fini(&p);
    cq_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mail_address_parser p;
    struct mail_address a;
    size_t count = 0, open = 0;
    mail_address_parser_init(&p, cq_slice_of(data, size));
    while (mail_address_next(&p, &a)) {
        CQ_ASSERT(++count <= 2 * size + 1);
        open += a.kind == MAIL_ADDRESS_GROUP_START;
        CQ_ASSERT(a.kind != MAIL_ADDRESS_GROUP_END || open > 0);
        open -= a.kind == MAIL_ADDRESS_GROUP_END;
        CQ_ASSERT(open <= 1); /* groups do not nest */
        check_round_trip(&a);
    }
    CQ_ASSERT(open == 0);
    mail_address_parser_fini(&p);
    return 0;
}
