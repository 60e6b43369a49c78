#include "imap/imap_search.h"

#include "imap/imap_date.h"
#include "imap/imap_limits.h"

/* An operator that waits for operands. */
struct frame {
    enum imap_search_op op;
    size_t want;  /* operands still wanted; of AND: 0, it ends with ")" or the command */
    size_t count; /* operands so far */
};

struct build {
    struct imap_search *search;
    size_t key_cap;
    struct frame *frames;
    size_t depth, frame_cap;
    size_t stack;
};

/* ---- Growing ---- */

static void *grow(struct cq_pool *pool, const void *items, size_t count, size_t *cap, size_t size)
{
    *cap = *cap ? *cap * 2 : 8;
    uint8_t *more = cq_pool_alloc(pool, *cap * size);
    if (count)
        memcpy(more, items, count * size);
    return more;
}

static bool emit(struct imap_parser *p, struct build *b, const struct imap_search_key *key, size_t operands)
{
    struct imap_search *s = b->search;
    if (s->count == IMAP_SEARCH_KEYS_MAX)
        return imap_expected(p, "Too many search keys");
    if (s->count == b->key_cap)
        s->keys = grow(p->pool, s->keys, s->count, &b->key_cap, sizeof *s->keys);
    s->keys[s->count++] = *key;
    s->ops |= 1u << key->op;
    b->stack = b->stack + 1 - operands;
    if (b->stack > s->stack_max)
        s->stack_max = b->stack;
    return true;
}

static bool push(struct imap_parser *p, struct build *b, enum imap_search_op op, size_t want)
{
    if (b->depth == IMAP_SEARCH_DEPTH_MAX)
        return imap_expected(p, "Search too deep");
    if (b->depth == b->frame_cap)
        b->frames = grow(p->pool, b->frames, b->depth, &b->frame_cap, sizeof *b->frames);
    b->frames[b->depth++] = (struct frame){.op = op, .want = want};
    return true;
}

/* ---- Leaves ---- */

typedef bool leaf_fn(struct imap_parser *p, struct imap_search_key *key);

static bool leaf_text(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_astring(p, &key->u.text);
}

static bool leaf_header(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_astring(p, &key->u.header.field) && imap_parse_sp(p) &&
           imap_parse_astring(p, &key->u.header.text);
}

static bool leaf_day(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_date(p, &key->u.day);
}

static bool leaf_size(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_u32(p, &key->u.size);
}

static bool leaf_keyword(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_keyword(p, &key->u.text);
}

static bool leaf_uid(struct imap_parser *p, struct imap_search_key *key)
{
    return imap_parse_sp(p) && imap_parse_seqset(p, &key->u.set);
}

/* MODSEQ [entry-name SP entry-type-req SP] mod-sequence-valzer (RFC 7162 section 7) */
static bool leaf_modseq(struct imap_parser *p, struct imap_search_key *key)
{
    struct cq_slice name;
    if (!imap_parse_sp(p))
        return false;
    if (imap_peek(p, '"')) {
        if (!imap_parse_string(p, &name) || !imap_parse_sp(p))
            return false;
        if (!imap_try_word(p, "all") && !imap_try_word(p, "priv") && !imap_try_word(p, "shared"))
            return imap_expected(p, "Expected all, priv or shared");
        if (!imap_parse_sp(p))
            return false;
    }
    return imap_parse_number(p, INT64_MAX, &key->u.modseq);
}

static const struct {
    const char *name;
    enum imap_search_op op;
    leaf_fn *parse;     /* arguments */
    uint8_t flag;       /* of FLAG */
    bool negated;       /* UNSEEN is SEEN, NOT */
    const char *header; /* of HEADER */
} leaves[] = {
    {.name = "ALL", .op = IMAP_SEARCH_ALL},
    {.name = "ANSWERED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_ANSWERED},
    {.name = "BCC", .op = IMAP_SEARCH_HEADER, .header = "Bcc"},
    {.name = "BEFORE", .op = IMAP_SEARCH_BEFORE, .parse = leaf_day},
    {.name = "BODY", .op = IMAP_SEARCH_BODY, .parse = leaf_text},
    {.name = "CC", .op = IMAP_SEARCH_HEADER, .header = "Cc"},
    {.name = "DELETED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_DELETED},
    {.name = "DRAFT", .op = IMAP_SEARCH_FLAG, .flag = IMAP_DRAFT},
    {.name = "FLAGGED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_FLAGGED},
    {.name = "FROM", .op = IMAP_SEARCH_HEADER, .header = "From"},
    {.name = "HEADER", .op = IMAP_SEARCH_HEADER, .parse = leaf_header},
    {.name = "KEYWORD", .op = IMAP_SEARCH_KEYWORD, .parse = leaf_keyword},
    {.name = "LARGER", .op = IMAP_SEARCH_LARGER, .parse = leaf_size},
    {.name = "MODSEQ", .op = IMAP_SEARCH_MODSEQ, .parse = leaf_modseq},
    {.name = "OLD", .op = IMAP_SEARCH_FLAG, .flag = IMAP_RECENT, .negated = true},
    {.name = "ON", .op = IMAP_SEARCH_ON, .parse = leaf_day},
    {.name = "RECENT", .op = IMAP_SEARCH_FLAG, .flag = IMAP_RECENT},
    {.name = "SEEN", .op = IMAP_SEARCH_FLAG, .flag = IMAP_SEEN},
    {.name = "SENTBEFORE", .op = IMAP_SEARCH_SENTBEFORE, .parse = leaf_day},
    {.name = "SENTON", .op = IMAP_SEARCH_SENTON, .parse = leaf_day},
    {.name = "SENTSINCE", .op = IMAP_SEARCH_SENTSINCE, .parse = leaf_day},
    {.name = "SINCE", .op = IMAP_SEARCH_SINCE, .parse = leaf_day},
    {.name = "SMALLER", .op = IMAP_SEARCH_SMALLER, .parse = leaf_size},
    {.name = "SUBJECT", .op = IMAP_SEARCH_HEADER, .header = "Subject"},
    {.name = "TEXT", .op = IMAP_SEARCH_TEXT, .parse = leaf_text},
    {.name = "TO", .op = IMAP_SEARCH_HEADER, .header = "To"},
    {.name = "UID", .op = IMAP_SEARCH_UID, .parse = leaf_uid},
    {.name = "UNANSWERED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_ANSWERED, .negated = true},
    {.name = "UNDELETED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_DELETED, .negated = true},
    {.name = "UNDRAFT", .op = IMAP_SEARCH_FLAG, .flag = IMAP_DRAFT, .negated = true},
    {.name = "UNFLAGGED", .op = IMAP_SEARCH_FLAG, .flag = IMAP_FLAGGED, .negated = true},
    {.name = "UNKEYWORD", .op = IMAP_SEARCH_KEYWORD, .parse = leaf_keyword, .negated = true},
    {.name = "UNSEEN", .op = IMAP_SEARCH_FLAG, .flag = IMAP_SEEN, .negated = true},
};
#define LEAVES (sizeof leaves / sizeof *leaves)

static bool parse_leaf_arguments(struct imap_parser *p, size_t leaf, struct imap_search_key *key)
{
    if (leaves[leaf].parse)
        return leaves[leaf].parse(p, key);
    if (leaves[leaf].flag)
        key->u.flag = leaves[leaf].flag;
    if (!leaves[leaf].header)
        return true;
    key->u.header.field = cq_slice_cstr(leaves[leaf].header);
    return imap_parse_sp(p) && imap_parse_astring(p, &key->u.header.text);
}

static bool emit_not(struct imap_parser *p, struct build *b)
{
    return emit(p, b, &(struct imap_search_key){.op = IMAP_SEARCH_NOT}, 1);
}

/* NEW is RECENT UNSEEN (RFC 3501 6.4.4). */
static bool emit_new(struct imap_parser *p, struct build *b)
{
    const struct imap_search_key recent = {.op = IMAP_SEARCH_FLAG, .u.flag = IMAP_RECENT};
    const struct imap_search_key seen = {.op = IMAP_SEARCH_FLAG, .u.flag = IMAP_SEEN};
    const struct imap_search_key both = {.op = IMAP_SEARCH_AND, .u.count = 2};
    return emit(p, b, &recent, 0) && emit(p, b, &seen, 0) && emit_not(p, b) && emit(p, b, &both, 2);
}

static bool parse_named_leaf(struct imap_parser *p, struct build *b)
{
    if (imap_try_word(p, "NEW"))
        return emit_new(p, b);
    for (size_t i = 0; i < LEAVES; i++) {
        if (!imap_try_word(p, leaves[i].name))
            continue;
        struct imap_search_key key = {.op = leaves[i].op};
        return parse_leaf_arguments(p, i, &key) && emit(p, b, &key, 0) && (!leaves[i].negated || emit_not(p, b));
    }
    return imap_expected(p, "Unknown search key");
}

static bool parse_leaf(struct imap_parser *p, struct build *b)
{
    bool set = !imap_at_end(p) && (cq_ascii_digit(*p->at) || *p->at == '*');
    if (!set)
        return parse_named_leaf(p, b);
    struct imap_search_key key = {.op = IMAP_SEARCH_SEQ};
    return imap_parse_seqset(p, &key.u.set) && emit(p, b, &key, 0);
}

/* ---- Operators ---- */

/* An operand is complete: operators that have all of theirs are complete too, and are operands in turn. */
static bool operand_done(struct imap_parser *p, struct build *b)
{
    for (;;) {
        struct frame *top = &b->frames[b->depth - 1];
        top->count++;
        if (top->op == IMAP_SEARCH_AND || --top->want > 0)
            return true;
        if (!emit(p, b, &(struct imap_search_key){.op = top->op}, top->count))
            return false;
        b->depth--;
    }
}

/* The list on top ends here. One operand needs no AND. */
static bool end_list(struct imap_parser *p, struct build *b)
{
    struct frame top = b->frames[--b->depth];
    const struct imap_search_key key = {.op = IMAP_SEARCH_AND, .u.count = top.count};
    return top.count == 1 || emit(p, b, &key, top.count);
}

/* *found_r: an operator began, its operands come next. False: it cannot begin. */
static bool try_operator(struct imap_parser *p, struct build *b, bool *found_r)
{
    *found_r = true;
    if (imap_try_byte(p, '('))
        return push(p, b, IMAP_SEARCH_AND, 0);
    if (imap_try_word(p, "NOT"))
        return imap_parse_sp(p) && push(p, b, IMAP_SEARCH_NOT, 1);
    if (imap_try_word(p, "OR"))
        return imap_parse_sp(p) && push(p, b, IMAP_SEARCH_OR, 2);
    *found_r = false;
    return true;
}

/* After an operand: closing parentheses, then a space when more comes. */
static bool parse_list_ends(struct imap_parser *p, struct build *b, bool *more_r)
{
    while (imap_try_byte(p, ')')) {
        if (b->frames[b->depth - 1].op != IMAP_SEARCH_AND || b->depth == 1)
            return imap_expected(p, "Unexpected parenthesis");
        if (!end_list(p, b) || !operand_done(p, b))
            return false;
    }
    *more_r = !imap_at_end(p);
    return !*more_r || imap_parse_sp(p);
}

static bool parse_key(struct imap_parser *p, struct build *b, bool *more_r)
{
    if (!try_operator(p, b, more_r))
        return false;
    if (*more_r)
        return true;
    return parse_leaf(p, b) && operand_done(p, b) && parse_list_ends(p, b, more_r);
}

bool imap_parse_search(struct imap_parser *p, struct imap_search *search_r)
{
    struct build b = {.search = search_r};
    *search_r = (struct imap_search){0};
    if (imap_try_word(p, "CHARSET")) {
        if (!imap_parse_sp(p) || !imap_parse_astring(p, &search_r->charset) || !imap_parse_sp(p))
            return false;
        if (search_r->charset.len == 0)
            return imap_expected(p, "Empty charset");
    }
    if (!push(p, &b, IMAP_SEARCH_AND, 0))
        return false;
    bool more = true;
    while (more)
        if (!parse_key(p, &b, &more))
            return false;
    if (b.depth != 1 || b.frames[0].count == 0)
        return imap_expected(p, "Search program is not complete");
    return end_list(p, &b);
}
