/* A SEARCH program; what is taken can be evaluated: each operator finds its operands, one value is left. */
#include "base/cq_assert.h"
#include "imap/imap_limits.h"
#include "imap/imap_search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t operands(const struct imap_search_key *key)
{
    switch (key->op) {
    case IMAP_SEARCH_AND:
        return key->u.count;
    case IMAP_SEARCH_OR:
        return 2;
    case IMAP_SEARCH_NOT:
        return 1;
    default:
        return 0;
    }
}

static void check(const struct imap_search *s)
{
    size_t stack = 0, most = 0;
    CQ_ASSERT(s->count > 0 && s->count <= IMAP_SEARCH_KEYS_MAX);
    for (size_t i = 0; i < s->count; i++) {
        CQ_ASSERT(operands(&s->keys[i]) <= stack);
        CQ_ASSERT(imap_search_has(s, s->keys[i].op));
        stack = stack + 1 - operands(&s->keys[i]);
        most = stack > most ? stack : most;
    }
    CQ_ASSERT(stack == 1 && most == s->stack_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct imap_parser p;
    struct imap_search s;
    imap_parser_init(&p, cq_slice_of(data, size), pool);
    if (imap_parse_search(&p, &s) && imap_parse_end(&p))
        check(&s);
    else
        CQ_ASSERT(p.problem);
    cq_pool_free(&pool);
    return 0;
}
