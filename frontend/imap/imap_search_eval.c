#include "imap/imap_search_eval.h"

#include "imap/imap_date.h"
#include "imap/imap_limits.h"
#include "imap/imap_reply.h"
#include "mail/mail_charset.h"
#include "mail/mail_envelope.h"
#include "mail/mail_match.h"

#include "base/cq_mem.h"

#include <stdlib.h>

/* What is prepared once for a key. */
struct prepared {
    enum imap_search_level level;
    struct mail_needle *needle; /* HEADER, BODY, TEXT */
    struct uidset uids;         /* SEQ, UID */
    int envelope;               /* HEADER: the ENVELOPE's member, or -1 */
    int keyword;                /* KEYWORD: its place in the present table, or -1 */
};

struct imap_eval {
    struct imap_run *run;
    const struct imap_search *search;
    struct prepared *keys;
    uint8_t *answers; /* of the present message, by key */
    uint8_t *stack;
    enum imap_search_level needs;
    const struct mail_records *table; /* the one that `keyword` belongs to */
    const uint8_t *table_start;
    struct cq_pool *pool; /* of one message */
    struct mail_summary summary;
    bool has_summary, has_header;
    struct cq_slice header;
};

/* ---- Preparing ---- */

static const struct {
    const char *field;
    enum mail_envelope_field member;
} envelope_fields[] = {
    {"From", MAIL_ENVELOPE_FROM},
    {"To", MAIL_ENVELOPE_TO},
    {"Cc", MAIL_ENVELOPE_CC},
    {"Bcc", MAIL_ENVELOPE_BCC},
    {"Subject", MAIL_ENVELOPE_SUBJECT},
    {"Message-ID", MAIL_ENVELOPE_MESSAGE_ID},
    {"In-Reply-To", MAIL_ENVELOPE_IN_REPLY_TO},
};

static int envelope_member(struct cq_slice field)
{
    for (size_t i = 0; i < sizeof envelope_fields / sizeof *envelope_fields; i++)
        if (cq_slice_caseeq(field, cq_slice_cstr(envelope_fields[i].field)))
            return (int)envelope_fields[i].member;
    return -1;
}

static enum imap_search_level level_of(const struct imap_search_key *key)
{
    switch (key->op) {
    case IMAP_SEARCH_AND:
    case IMAP_SEARCH_OR:
    case IMAP_SEARCH_NOT:
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_SEQ:
    case IMAP_SEARCH_UID:
        return IMAP_LEVEL_UID;
    case IMAP_SEARCH_SENTBEFORE:
    case IMAP_SEARCH_SENTON:
    case IMAP_SEARCH_SENTSINCE:
        return IMAP_LEVEL_SUMMARY;
    case IMAP_SEARCH_HEADER: /* that a field is there at all, the ENVELOPE does not tell */
        return key->u.header.text.len && envelope_member(key->u.header.field) >= 0 ? IMAP_LEVEL_SUMMARY
                                                                                   : IMAP_LEVEL_HEADER;
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT:
        return IMAP_LEVEL_BODY;
    default:
        return IMAP_LEVEL_RECORD;
    }
}

/* The searched string in UTF-8, from the program's charset. */
static struct mail_needle *needle_of(const struct imap_search *search, struct cq_slice text)
{
    struct cq_buf utf8;
    struct mail_charset *charset = mail_charset_new(search->charset);
    cq_buf_init(&utf8, (text.len + 16) * MAIL_CHARSET_GROWTH);
    mail_charset_decode(charset, text, &utf8);
    mail_charset_finish(charset, &utf8);
    struct mail_needle *needle = mail_needle_new(cq_buf_slice(&utf8));
    cq_buf_fini(&utf8);
    mail_charset_free(&charset);
    return needle;
}

static bool prepare_key(struct imap_eval *eval, size_t i)
{
    const struct imap_search_key *key = &eval->search->keys[i];
    struct prepared *p = &eval->keys[i];
    const struct imap_view *view = eval->run->session->view;
    *p = (struct prepared){.level = level_of(key), .envelope = -1, .keyword = -1};
    if (p->level > eval->needs)
        eval->needs = p->level;
    switch (key->op) {
    case IMAP_SEARCH_SEQ:
    case IMAP_SEARCH_UID:
        if (imap_view_resolve(view, &key->u.set, key->op == IMAP_SEARCH_UID, eval->run->pool, &p->uids))
            return true;
        imap_bad(eval->run, "There is no message of that number");
        return false;
    case IMAP_SEARCH_HEADER:
        p->envelope = envelope_member(key->u.header.field);
        p->needle = needle_of(eval->search, key->u.header.text);
        break;
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT:
        p->needle = needle_of(eval->search, key->u.text);
        break;
    default:
        return true;
    }
    if (!p->needle)
        imap_no(eval->run, "LIMIT", "The searched text is too long");
    return p->needle != NULL;
}

struct imap_eval *imap_eval_new(struct imap_run *run, const struct imap_search *search)
{
    if (search->charset.len && !mail_charset_known(search->charset)) {
        imap_no(run, "BADCHARSET (US-ASCII UTF-8)", "That charset is not known");
        return NULL;
    }
    struct imap_eval *eval = cq_new(struct imap_eval);
    eval->run = run;
    eval->search = search;
    eval->keys = cq_calloc(search->count, sizeof *eval->keys);
    eval->answers = cq_calloc(search->count, 1);
    eval->stack = cq_calloc(search->stack_max, 1);
    eval->pool = cq_pool_new(4096);
    for (size_t i = 0; i < search->count; i++) {
        if (!prepare_key(eval, i)) {
            imap_eval_free(&eval);
            return NULL;
        }
    }
    return eval;
}

void imap_eval_free(struct imap_eval **eval)
{
    if (!*eval)
        return;
    for (size_t i = 0; i < (*eval)->search->count; i++)
        mail_needle_free(&(*eval)->keys[i].needle);
    free((*eval)->keys);
    free((*eval)->answers);
    free((*eval)->stack);
    cq_pool_free(&(*eval)->pool);
    free(*eval);
    *eval = NULL;
}

bool imap_eval_needs_over(const struct imap_eval *eval, enum imap_search_level level)
{
    return eval->needs > level;
}

/* ---- The whole from the keys (Kleene's logic: undecided only when it matters) ---- */

static uint8_t negate(uint8_t a)
{
    return a == IMAP_UNDECIDED ? IMAP_UNDECIDED : a == IMAP_HIT ? IMAP_MISS : IMAP_HIT;
}

/* Of several operands: `decisive` settles it, without one an undecided leaves it open. */
static uint8_t combine(const uint8_t *operands, size_t count, uint8_t decisive)
{
    uint8_t result = negate(decisive);
    for (size_t i = 0; i < count; i++) {
        if (operands[i] == decisive)
            return decisive;
        if (operands[i] == IMAP_UNDECIDED)
            result = IMAP_UNDECIDED;
    }
    return result;
}

static enum imap_answer whole(const struct imap_eval *eval)
{
    size_t top = 0;
    uint8_t *stack = eval->stack;
    for (size_t i = 0; i < eval->search->count; i++) {
        const struct imap_search_key *key = &eval->search->keys[i];
        switch (key->op) {
        case IMAP_SEARCH_AND:
            top -= key->u.count;
            stack[top] = combine(stack + top, key->u.count, IMAP_MISS);
            break;
        case IMAP_SEARCH_OR:
            top -= 2;
            stack[top] = combine(stack + top, 2, IMAP_HIT);
            break;
        case IMAP_SEARCH_NOT:
            top--;
            stack[top] = negate(stack[top]);
            break;
        default:
            stack[top] = eval->answers[i];
        }
        top++;
    }
    return (enum imap_answer)stack[0];
}

static uint8_t as_answer(bool hit)
{
    return hit ? IMAP_HIT : IMAP_MISS;
}

/* ---- Keys that need no reading ---- */

static bool record_key(const struct imap_eval *eval, size_t i, const struct fetch_record *record)
{
    const struct imap_search_key *key = &eval->search->keys[i];
    const struct prepared *p = &eval->keys[i];
    switch (key->op) {
    case IMAP_SEARCH_FLAG:
        if (key->u.flag == IMAP_RECENT)
            return imap_view_is_recent(eval->run->session->view, record->uid);
        return record->flags & key->u.flag;
    case IMAP_SEARCH_KEYWORD:
        return p->keyword >= 0 && fetch_record_has_keyword(record, (unsigned)p->keyword);
    case IMAP_SEARCH_BEFORE:
        return imap_day_of(record->internal_date) < key->u.day;
    case IMAP_SEARCH_ON:
        return imap_day_of(record->internal_date) == key->u.day;
    case IMAP_SEARCH_SINCE:
        return imap_day_of(record->internal_date) >= key->u.day;
    case IMAP_SEARCH_LARGER:
        return record->size > key->u.size;
    case IMAP_SEARCH_SMALLER:
        return record->size < key->u.size;
    default: /* IMAP_SEARCH_MODSEQ */
        return record->modseq >= key->u.modseq;
    }
}

static void answer_uid_keys(struct imap_eval *eval, uint32_t uid)
{
    for (size_t i = 0; i < eval->search->count; i++) {
        enum imap_search_op op = eval->search->keys[i].op;
        eval->answers[i] = IMAP_UNDECIDED;
        if (op == IMAP_SEARCH_ALL)
            eval->answers[i] = IMAP_HIT;
        else if (op == IMAP_SEARCH_SEQ || op == IMAP_SEARCH_UID)
            eval->answers[i] = as_answer(uidset_contains(&eval->keys[i].uids, uid));
    }
}

static void find_keywords(struct imap_eval *eval, const struct mail_records *table)
{
    if (eval->table == table && eval->table_start == table->records.data)
        return;
    eval->table = table;
    eval->table_start = table->records.data;
    for (size_t i = 0; i < eval->search->count; i++) {
        if (eval->search->keys[i].op != IMAP_SEARCH_KEYWORD)
            continue;
        eval->keys[i].keyword = -1;
        for (size_t k = 0; k < table->keyword_count; k++)
            if (cq_slice_caseeq(table->keywords[k], eval->search->keys[i].u.text))
                eval->keys[i].keyword = (int)k;
    }
}

enum imap_answer imap_eval_uid(struct imap_eval *eval, uint32_t uid)
{
    answer_uid_keys(eval, uid);
    return whole(eval);
}

enum imap_answer imap_eval_record(struct imap_eval *eval, const struct fetch_record *record,
                                  const struct mail_records *table)
{
    find_keywords(eval, table);
    answer_uid_keys(eval, record->uid);
    for (size_t i = 0; i < eval->search->count; i++)
        if (eval->keys[i].level == IMAP_LEVEL_RECORD)
            eval->answers[i] = as_answer(record_key(eval, i, record));
    return whole(eval);
}

/* ---- Keys that need the message ---- */

static enum cq_rc open_summary(struct imap_eval *eval, const struct fetch_record *record, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    if (!eval->has_summary)
        rc = imap_message_summary(eval->run, record, eval->pool, &eval->summary, err);
    eval->has_summary = rc == CQ_OK;
    return rc;
}

static enum cq_rc read_header(struct imap_eval *eval, const struct fetch_record *record, struct cq_err *err)
{
    struct cq_buf octets;
    if (eval->has_header)
        return CQ_OK;
    uint64_t len =
        eval->summary.header_octets < IMAP_HEADER_READ_MAX ? eval->summary.header_octets : IMAP_HEADER_READ_MAX;
    cq_buf_init(&octets, IMAP_HEADER_READ_MAX);
    const struct mail_body body = mail_body_of(record);
    enum cq_rc rc = imap_message_read(eval->run, &body, 0, len, &octets, err);
    if (rc == CQ_OK)
        eval->header = cq_pool_slice(eval->pool, cq_buf_slice(&octets));
    eval->has_header = rc == CQ_OK;
    cq_buf_fini(&octets);
    return rc;
}

static int32_t sent_day(const struct imap_eval *eval, const struct fetch_record *record)
{
    if (eval->summary.flags & MAIL_SUMMARY_HAS_DATE)
        return mail_time_day(eval->summary.sent);
    return imap_day_of(record->internal_date);
}

static enum cq_rc header_key(struct imap_eval *eval, size_t i, const struct fetch_record *record, bool *hit,
                             struct cq_err *err)
{
    const struct imap_search_key *key = &eval->search->keys[i];
    enum cq_rc rc = read_header(eval, record, err);
    if (rc == CQ_OK)
        *hit = mail_match_header(eval->header, key->u.header.field, eval->keys[i].needle);
    return rc;
}

static enum cq_rc summary_key(struct imap_eval *eval, size_t i, const struct fetch_record *record, bool *hit,
                              struct cq_err *err)
{
    const struct imap_search_key *key = &eval->search->keys[i];
    switch (key->op) {
    case IMAP_SEARCH_SENTBEFORE:
        *hit = sent_day(eval, record) < key->u.day;
        return CQ_OK;
    case IMAP_SEARCH_SENTON:
        *hit = sent_day(eval, record) == key->u.day;
        return CQ_OK;
    case IMAP_SEARCH_SENTSINCE:
        *hit = sent_day(eval, record) >= key->u.day;
        return CQ_OK;
    default: /* HEADER of a field that ENVELOPE has, unless some of it was left out there */
        if (eval->summary.flags & MAIL_SUMMARY_CUT)
            return header_key(eval, i, record, hit, err);
        *hit = mail_envelope_contains(mail_summary_envelope(&eval->summary, true),
                                      (enum mail_envelope_field)eval->keys[i].envelope, eval->keys[i].needle);
        return CQ_OK;
    }
}

/* Piece after piece: neither the message nor a part is ever held. */
static enum cq_rc body_key(struct imap_eval *eval, size_t i, const struct fetch_record *record, bool *hit,
                           struct cq_err *err)
{
    enum mail_match_scope scope = eval->search->keys[i].op == IMAP_SEARCH_BODY ? MAIL_MATCH_BODY : MAIL_MATCH_TEXT;
    struct mail_matcher *matcher = mail_matcher_new(&eval->summary, eval->keys[i].needle, scope);
    const struct mail_body body = mail_body_of(record);
    uint64_t off, len;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && mail_matcher_want(matcher, &off, &len)) {
        struct body_piece *held;
        struct cq_slice octets;
        rc = imap_message_piece(eval->run, &body, off, len, &held, &octets, err);
        if (rc == CQ_OK)
            mail_matcher_feed(matcher, octets);
        body_piece_unref(&held);
    }
    if (rc == CQ_OK)
        rc = mail_matcher_result(matcher, hit);
    mail_matcher_free(&matcher);
    return rc;
}

typedef enum cq_rc key_fn(struct imap_eval *eval, size_t i, const struct fetch_record *record, bool *hit,
                          struct cq_err *err);

/* The keys of one level, one by one, until the whole is decided. */
static enum cq_rc decide_level(struct imap_eval *eval, enum imap_search_level level, key_fn *fn,
                               const struct fetch_record *record, enum imap_answer *answer, struct cq_err *err)
{
    for (size_t i = 0; i < eval->search->count && *answer == IMAP_UNDECIDED; i++) {
        bool hit = false;
        if (eval->keys[i].level != level)
            continue;
        enum cq_rc rc = open_summary(eval, record, err);
        if (rc == CQ_OK)
            rc = fn(eval, i, record, &hit, err);
        if (rc != CQ_OK)
            return rc;
        eval->answers[i] = as_answer(hit);
        *answer = whole(eval);
    }
    return CQ_OK;
}

enum cq_rc imap_eval_message(struct imap_eval *eval, const struct fetch_record *record,
                             const struct mail_records *table, bool *hit_r, struct cq_err *err)
{
    static const struct {
        enum imap_search_level level;
        key_fn *fn;
    } steps[] = {{IMAP_LEVEL_SUMMARY, summary_key}, {IMAP_LEVEL_HEADER, header_key}, {IMAP_LEVEL_BODY, body_key}};
    enum imap_answer answer = imap_eval_record(eval, record, table);
    enum cq_rc rc = CQ_OK;
    cq_pool_clear(eval->pool);
    eval->has_summary = eval->has_header = false;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && rc == CQ_OK && answer == IMAP_UNDECIDED; i++)
        rc = decide_level(eval, steps[i].level, steps[i].fn, record, &answer, err);
    *hit_r = answer == IMAP_HIT;
    return rc;
}
