#include "mail/mail_check.h"

#include "mail/mail_address.h"

static const struct mail_field *next_field(const struct mail_part *root, enum mail_field_id id,
                                           const struct mail_field *before)
{
    if (before && !before->next)
        return NULL;
    return mail_part_field(root, id, before ? before->next : NULL);
}

static struct cq_slice without_brackets(struct cq_slice s)
{
    s = cq_slice_trim(s);
    if (s.len >= 2 && s.data[0] == '<' && s.data[s.len - 1] == '>')
        s = cq_slice_trim(cq_slice_sub(s, 1, s.len - 2));
    return s;
}

bool mail_check_delivered_to(const struct mail_index *index, struct cq_slice address)
{
    const struct mail_part *root = mail_index_part(index, 0);
    for (const struct mail_field *f = NULL; (f = next_field(root, MAIL_FIELD_DELIVERED_TO, f)) != NULL;)
        if (cq_slice_caseeq(without_brackets(f->value), without_brackets(address)))
            return true;
    return false;
}

static void add_address(const struct mail_address *a, struct cq_pool *pool, struct cq_slice *address_r)
{
    struct cq_buf text;
    cq_buf_init(&text, 2 * a->local.len + a->domain.len + 8);
    mail_address_write(a, &text);
    *address_r = cq_pool_slice(pool, cq_buf_slice(&text));
    cq_buf_fini(&text);
}

size_t mail_check_addresses(const struct mail_index *index, enum mail_field_id id, struct cq_pool *pool,
                            struct cq_slice *addresses_r, size_t max)
{
    const struct mail_part *root = mail_index_part(index, 0);
    size_t count = 0;
    for (const struct mail_field *f = NULL; (f = next_field(root, id, f)) != NULL;) {
        struct mail_address_parser parser;
        struct mail_address a;
        mail_address_parser_init(&parser, f->value);
        while (mail_address_next(&parser, &a)) {
            if (a.kind != MAIL_ADDRESS_MAILBOX)
                continue;
            if (count < max)
                add_address(&a, pool, &addresses_r[count]);
            count++;
        }
        mail_address_parser_fini(&parser);
    }
    return count;
}

static bool has_domain(struct cq_slice value)
{
    struct mail_address_parser parser;
    struct mail_address a;
    bool has = false;
    mail_address_parser_init(&parser, value);
    while (!has && mail_address_next(&parser, &a))
        has = a.kind == MAIL_ADDRESS_MAILBOX && a.local.len && a.domain.len;
    mail_address_parser_fini(&parser);
    return has;
}

bool mail_check_has_from(const struct mail_index *index)
{
    const struct mail_part *root = mail_index_part(index, 0);
    const struct mail_field *from = next_field(root, MAIL_FIELD_FROM, NULL);
    return from && !next_field(root, MAIL_FIELD_FROM, from) && has_domain(from->value);
}
