#include "imap/imap_command.h"

#include "imap/imap_date.h"
#include "imap/imap_limits.h"

static const char *const verb_names[] = {
#define IMAP_VERB_NAME(symbol, name) [symbol] = name,
    IMAP_VERBS(IMAP_VERB_NAME)
#undef IMAP_VERB_NAME
        [IMAP_UNKNOWN] = "?",
};

const char *imap_verb_name(enum imap_verb verb)
{
    return verb_names[verb];
}

/* ---- The head ---- */

static enum imap_verb parse_verb(struct imap_parser *p)
{
    for (unsigned v = 0; v < IMAP_VERB_COUNT; v++) {
        const uint8_t *from = p->at;
        if (imap_try_word(p, verb_names[v]) && (imap_at_end(p) || *p->at == ' '))
            return (enum imap_verb)v;
        p->at = from;
    }
    return IMAP_UNKNOWN;
}

void imap_command_head(struct cq_slice text, struct imap_head *head_r)
{
    struct imap_parser p;
    imap_parser_init(&p, text, NULL);
    *head_r = (struct imap_head){.verb = IMAP_UNKNOWN};
    if (!imap_parse_tag(&p, &head_r->tag))
        return;
    if (!imap_at_end(&p) && *p.at != ' ') {
        head_r->tag = CQ_SLICE_NONE;
        return;
    }
    if (imap_parse_sp(&p))
        head_r->verb = parse_verb(&p);
    head_r->arguments = imap_rest(&p);
}

/* ---- Arguments: the cursor is behind the verb ---- */

typedef bool parse_fn(struct imap_parser *p, struct imap_command *c);

static bool parse_nothing(struct imap_parser *p, struct imap_command *c)
{
    (void)p;
    (void)c;
    return true;
}

static bool parse_id_field(struct imap_parser *p, struct imap_id_field *field)
{
    if (!imap_parse_string(p, &field->name) || !imap_parse_sp(p) || !imap_parse_nstring(p, &field->value, &field->nil))
        return false;
    return field->value.len <= IMAP_ID_VALUE_MAX || imap_expected(p, "ID value too long");
}

static bool parse_id(struct imap_parser *p, struct imap_command *c)
{
    if (!imap_parse_sp(p))
        return false;
    if (imap_try_word(p, "NIL"))
        return true;
    if (!imap_parse_byte(p, '(', "Expected a list of ID fields"))
        return false;
    if (imap_try_byte(p, ')'))
        return true;
    c->u.id.fields = cq_pool_calloc(p->pool, IMAP_ID_FIELDS_MAX, sizeof *c->u.id.fields);
    do {
        if (c->u.id.count == IMAP_ID_FIELDS_MAX)
            return imap_expected(p, "Too many ID fields");
        if (!parse_id_field(p, &c->u.id.fields[c->u.id.count++]))
            return false;
    } while (imap_try_byte(p, ' '));
    return imap_parse_byte(p, ')', "Expected the end of the ID fields");
}

static bool parse_authenticate(struct imap_parser *p, struct imap_command *c)
{
    if (!imap_parse_sp(p) || !imap_parse_atom(p, &c->u.authenticate.mechanism))
        return false;
    c->u.authenticate.has_initial = imap_try_byte(p, ' ');
    if (!c->u.authenticate.has_initial)
        return true;
    c->u.authenticate.initial = imap_rest(p);
    p->at = p->end;
    return c->u.authenticate.initial.len > 0 || imap_expected(p, "Expected an initial response");
}

static bool parse_login(struct imap_parser *p, struct imap_command *c)
{
    return imap_parse_sp(p) && imap_parse_astring(p, &c->u.login.user) && imap_parse_sp(p) &&
           imap_parse_astring(p, &c->u.login.password);
}

static bool parse_enable(struct imap_parser *p, struct imap_command *c)
{
    size_t max = 1;
    for (const uint8_t *at = p->at; at < p->end; at++)
        max += *at == ' ';
    c->u.enable.names = cq_pool_calloc(p->pool, max, sizeof *c->u.enable.names);
    do {
        if (!imap_parse_sp(p) || !imap_parse_atom(p, &c->u.enable.names[c->u.enable.count++]))
            return false;
    } while (imap_peek(p, ' '));
    return true;
}

static bool parse_mailbox(struct imap_parser *p, struct cq_slice *mailbox_r)
{
    return imap_parse_sp(p) && imap_parse_astring(p, mailbox_r);
}

static bool parse_select(struct imap_parser *p, struct imap_command *c)
{
    if (!parse_mailbox(p, &c->u.select.mailbox))
        return false;
    if (!imap_try_byte(p, ' '))
        return true;
    if (!imap_parse_byte(p, '(', "Expected parameters") || !imap_try_word(p, "CONDSTORE"))
        return imap_expected(p, "Unknown SELECT parameter");
    c->u.select.condstore = true;
    return imap_parse_byte(p, ')', "Expected the end of the parameters");
}

static bool parse_one_mailbox(struct imap_parser *p, struct imap_command *c)
{
    return parse_mailbox(p, &c->u.mailbox.mailbox);
}

static bool parse_rename(struct imap_parser *p, struct imap_command *c)
{
    return parse_mailbox(p, &c->u.rename.from) && parse_mailbox(p, &c->u.rename.to);
}

static bool parse_lsub(struct imap_parser *p, struct imap_command *c)
{
    return parse_mailbox(p, &c->u.list.reference) && imap_parse_sp(p) && imap_parse_pattern(p, &c->u.list.pattern);
}

/* "(SPECIAL-USE) " in front, or "()" . */
static bool parse_list_selection(struct imap_parser *p, struct imap_command *c)
{
    const uint8_t *from = p->at;
    if (!imap_try_byte(p, ' ') || !imap_try_byte(p, '(')) {
        p->at = from;
        return true;
    }
    c->u.list.special_use = imap_try_word(p, "SPECIAL-USE");
    return imap_parse_byte(p, ')', "Unknown LIST selection option");
}

/* " RETURN (SPECIAL-USE CHILDREN)" behind: what LIST returns here anyway. */
static bool parse_list_return(struct imap_parser *p)
{
    if (!imap_try_text(p, " RETURN ("))
        return true;
    while (imap_try_word(p, "SPECIAL-USE") || imap_try_word(p, "CHILDREN"))
        imap_try_byte(p, ' ');
    return imap_parse_byte(p, ')', "Unknown LIST return option");
}

/* RFC 3501 with the two options of RFC 6154 that some clients send without asking for LIST-EXTENDED. */
static bool parse_list(struct imap_parser *p, struct imap_command *c)
{
    return parse_list_selection(p, c) && parse_lsub(p, c) && parse_list_return(p);
}

static bool parse_status_item(struct imap_parser *p, uint32_t *items)
{
    static const struct {
        const char *name;
        enum imap_status_item item;
    } rows[] = {
        {"MESSAGES", IMAP_STATUS_MESSAGES}, {"RECENT", IMAP_STATUS_RECENT},
        {"UIDNEXT", IMAP_STATUS_UIDNEXT},   {"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY},
        {"UNSEEN", IMAP_STATUS_UNSEEN},     {"HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (imap_try_word(p, rows[i].name)) {
            *items |= rows[i].item;
            return true;
        }
    }
    return imap_expected(p, "Unknown STATUS item");
}

static bool parse_status(struct imap_parser *p, struct imap_command *c)
{
    if (!parse_mailbox(p, &c->u.status.mailbox) || !imap_parse_sp(p) ||
        !imap_parse_byte(p, '(', "Expected a list of STATUS items"))
        return false;
    do {
        if (!parse_status_item(p, &c->u.status.items))
            return false;
    } while (imap_try_byte(p, ' '));
    return imap_parse_byte(p, ')', "Expected the end of the STATUS items");
}

static bool parse_append(struct imap_parser *p, struct imap_command *c)
{
    if (!parse_mailbox(p, &c->u.append.mailbox) || !imap_parse_sp(p))
        return false;
    if (imap_peek(p, '(') && !(imap_parse_flag_list(p, &c->u.append.flags) && imap_parse_sp(p)))
        return false;
    c->u.append.has_date = imap_peek(p, '"');
    if (c->u.append.has_date && !(imap_parse_date_time(p, &c->u.append.date) && imap_parse_sp(p)))
        return false;
    return imap_parse_literal_header(p, &c->u.append.size, &c->u.append.plus);
}

static bool parse_search(struct imap_parser *p, struct imap_command *c)
{
    return imap_parse_sp(p) && imap_parse_search(p, &c->u.search);
}

static bool parse_set(struct imap_parser *p, struct imap_command *c)
{
    return imap_parse_sp(p) && imap_parse_seqset(p, &c->set);
}

static bool parse_fetch(struct imap_parser *p, struct imap_command *c)
{
    return parse_set(p, c) && imap_parse_sp(p) && imap_parse_fetch(p, &c->u.fetch);
}

static bool parse_store_modifiers(struct imap_parser *p, struct imap_command *c)
{
    if (!imap_try_byte(p, '('))
        return true;
    if (!imap_try_word(p, "UNCHANGEDSINCE"))
        return imap_expected(p, "Unknown STORE modifier");
    if (!imap_parse_sp(p) || !imap_parse_number(p, INT64_MAX, &c->u.store.unchanged_since))
        return imap_expected(p, "Expected a mod-sequence");
    c->u.store.has_unchanged_since = true;
    return imap_parse_byte(p, ')', "Expected the end of the STORE modifiers") && imap_parse_sp(p);
}

static bool parse_store(struct imap_parser *p, struct imap_command *c)
{
    if (!parse_set(p, c) || !imap_parse_sp(p) || !parse_store_modifiers(p, c))
        return false;
    c->u.store.mode = imap_try_byte(p, '+')   ? IMAP_STORE_ADD
                      : imap_try_byte(p, '-') ? IMAP_STORE_REMOVE
                                              : IMAP_STORE_REPLACE;
    c->u.store.silent = imap_try_word(p, "FLAGS.SILENT");
    if (!c->u.store.silent && !imap_try_word(p, "FLAGS"))
        return imap_expected(p, "Unknown STORE item");
    return imap_parse_sp(p) && imap_parse_store_flags(p, &c->u.store.flags);
}

static bool parse_copy(struct imap_parser *p, struct imap_command *c)
{
    return parse_set(p, c) && parse_mailbox(p, &c->u.mailbox.mailbox);
}

static parse_fn *const parsers[IMAP_VERB_COUNT] = {
    [IMAP_CAPABILITY] = parse_nothing,
    [IMAP_NOOP] = parse_nothing,
    [IMAP_LOGOUT] = parse_nothing,
    [IMAP_ID] = parse_id,
    [IMAP_STARTTLS] = parse_nothing,
    [IMAP_AUTHENTICATE] = parse_authenticate,
    [IMAP_LOGIN] = parse_login,
    [IMAP_ENABLE] = parse_enable,
    [IMAP_SELECT] = parse_select,
    [IMAP_EXAMINE] = parse_select,
    [IMAP_CREATE] = parse_one_mailbox,
    [IMAP_DELETE] = parse_one_mailbox,
    [IMAP_RENAME] = parse_rename,
    [IMAP_SUBSCRIBE] = parse_one_mailbox,
    [IMAP_UNSUBSCRIBE] = parse_one_mailbox,
    [IMAP_LIST] = parse_list,
    [IMAP_LSUB] = parse_lsub,
    [IMAP_NAMESPACE] = parse_nothing,
    [IMAP_STATUS] = parse_status,
    [IMAP_APPEND] = parse_append,
    [IMAP_IDLE] = parse_nothing,
    [IMAP_CHECK] = parse_nothing,
    [IMAP_CLOSE] = parse_nothing,
    [IMAP_UNSELECT] = parse_nothing,
    [IMAP_EXPUNGE] = parse_nothing,
    [IMAP_SEARCH] = parse_search,
    [IMAP_FETCH] = parse_fetch,
    [IMAP_STORE] = parse_store,
    [IMAP_COPY] = parse_copy,
    [IMAP_MOVE] = parse_copy,
    [IMAP_UID_EXPUNGE] = parse_set,
    [IMAP_UID_SEARCH] = parse_search,
    [IMAP_UID_FETCH] = parse_fetch,
    [IMAP_UID_STORE] = parse_store,
    [IMAP_UID_COPY] = parse_copy,
    [IMAP_UID_MOVE] = parse_copy,
};

bool imap_command_parse(const struct imap_head *head, struct cq_pool *pool, struct imap_command *command_r,
                        const char **problem_r)
{
    struct imap_parser p;
    *command_r = (struct imap_command){.tag = head->tag, .verb = head->verb};
    *problem_r = "Unknown command";
    if (head->verb == IMAP_UNKNOWN)
        return false;
    imap_parser_init(&p, head->arguments, pool);
    bool ok = parsers[head->verb](&p, command_r) && imap_parse_end(&p);
    *problem_r = ok ? NULL : p.problem;
    return ok;
}

bool imap_command_awaits_message(struct cq_slice text)
{
    struct imap_head head;
    imap_command_head(text, &head);
    if (head.verb != IMAP_APPEND)
        return false;
    struct cq_pool *pool = cq_pool_new(1024);
    struct imap_command command;
    const char *problem;
    bool awaits = imap_command_parse(&head, pool, &command, &problem);
    cq_pool_free(&pool);
    return awaits;
}
