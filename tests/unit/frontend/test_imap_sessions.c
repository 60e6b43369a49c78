/* Several sessions and a stranger work on one mailbox at random; each session's answers are read as a client reads
 * them, and what that client then believes is compared with the shard (RELIABILITY M5 to M10, M14): EXISTS never falls,
 * no EXPUNGE where sequence numbers are in use, a number always means the message that the client thinks, no change of
 * flags is missed, \Recent is one session's alone. A failure names its seed; run with it to see the conversation. */
#include "support/imap_fixture.h"

#include "unit/cq_cmocka.h"

#include "base/cq_log.h"
#include "base/cq_rand.h"
#include "imap/imap_flags.h"
#include "imap/imap_response.h"

#include <stdio.h>
#include <stdlib.h>

#define CLIENTS 3
#define MESSAGES_MAX 4000
#define UIDS_MAX 4000
#define OPS 150
#define UNKNOWN 0xffff

static bool verbose;

/* Bits of flags in the model: system flags, then keywords. */
#define KEYWORD_A 0x100
#define KEYWORD_B 0x200
static const struct {
    const char *name;
    unsigned bit;
} flag_names[] = {{"\\Seen", IMAP_SEEN},       {"\\Answered", IMAP_ANSWERED}, {"\\Flagged", IMAP_FLAGGED},
                  {"\\Deleted", IMAP_DELETED}, {"\\Draft", IMAP_DRAFT},       {"KeyA", KEYWORD_A},
                  {"keyB", KEYWORD_B}};
#define FLAG_NAMES (sizeof flag_names / sizeof *flag_names)

struct client {
    struct imap_peer peer;
    unsigned number;
    bool selected, read_only, condstore;
    uint32_t count;
    uint32_t uids[MESSAGES_MAX];  /* by sequence number - 1; 0: not told */
    uint32_t flags[MESSAGES_MAX]; /* UNKNOWN: not told */
    uint64_t modseqs[UIDS_MAX];   /* by UID: the last one told */
    bool numbers;                 /* a FETCH, STORE or SEARCH by number is running */
    bool recent[UIDS_MAX];
    unsigned tag;
};

struct world {
    struct imap_fixture *fixture;
    struct client clients[CLIENTS];
    struct cq_prng prng;
    struct cq_pool *pool;
    uint64_t inbox, other;
    uint64_t seed;
    bool interfering; /* the stranger also acts in the middle of commands */
};

static void wrong(struct world *w, const struct client *c, const char *what, struct cq_slice line)
{
    fail_msg("seed %llu, client %u: %s: %.*s", (unsigned long long)w->seed, c ? c->number : 99, what,
             CQ_SLICE_ARG(line));
}

static uint32_t pick(struct world *w, uint32_t bound)
{
    return cq_prng_below(&w->prng, bound);
}

/* ---- The client's mind ---- */

static void take_exists(struct world *w, struct client *c, uint32_t n, struct cq_slice line)
{
    if (n < c->count)
        wrong(w, c, "EXISTS fell", line);
    if (n > MESSAGES_MAX)
        wrong(w, c, "too many for this test", line);
    for (uint32_t i = c->count; i < n; i++) {
        c->uids[i] = 0;
        c->flags[i] = UNKNOWN;
    }
    c->count = n;
}

static void take_expunge(struct world *w, struct client *c, uint32_t n, struct cq_slice line)
{
    if (c->numbers)
        wrong(w, c, "EXPUNGE while numbers are in use", line);
    if (n == 0 || n > c->count)
        wrong(w, c, "EXPUNGE of a number that is not there", line);
    memmove(c->uids + n - 1, c->uids + n, (c->count - n) * sizeof *c->uids);
    memmove(c->flags + n - 1, c->flags + n, (c->count - n) * sizeof *c->flags);
    c->count--;
}

static uint32_t flags_of(struct world *w, struct client *c, const struct imap_value *list, bool *recent,
                         struct cq_slice line)
{
    uint32_t flags = 0;
    *recent = false;
    for (size_t i = 0; i < list->count; i++) {
        struct cq_slice name = imap_value_member(list, i)->text;
        bool found = cq_slice_caseeq(name, CQ_SLICE("\\Recent"));
        *recent |= found;
        for (size_t k = 0; k < FLAG_NAMES; k++) {
            if (cq_slice_caseeq(name, cq_slice_cstr(flag_names[k].name))) {
                flags |= flag_names[k].bit;
                found = true;
            }
        }
        if (!found)
            wrong(w, c, "a flag that nobody set", line);
    }
    return flags;
}

static void take_modseq(struct world *w, struct client *c, uint32_t uid, const struct imap_value *list,
                        struct cq_slice line)
{
    uint64_t modseq;
    if (!cq_slice_u64(imap_value_member(list, 0)->text, INT64_MAX, &modseq) || modseq < c->modseqs[uid])
        wrong(w, c, "MODSEQ fell", line);
    c->modseqs[uid] = modseq;
}

static void take_fetch(struct world *w, struct client *c, const struct imap_response *r, struct cq_slice line)
{
    const struct imap_value *list = r->values, *uid = imap_value_lookup(list, "UID"),
                            *flags = imap_value_lookup(list, "FLAGS"), *modseq = imap_value_lookup(list, "MODSEQ");
    uint64_t value;
    bool recent;
    if (r->number == 0 || r->number > c->count)
        wrong(w, c, "FETCH of a number that is not there", line);
    uint32_t i = r->number - 1;
    if (uid) {
        if (!cq_slice_u64(uid->text, UIDS_MAX - 1, &value) || (c->uids[i] && c->uids[i] != value))
            wrong(w, c, "a number means another message", line);
        c->uids[i] = (uint32_t)value;
        for (uint32_t k = 0; k < i; k++)
            if (c->uids[k] >= value)
                wrong(w, c, "UIDs do not rise", line);
    }
    if (flags) {
        c->flags[i] = flags_of(w, c, flags, &recent, line);
        if (recent && c->uids[i])
            c->recent[c->uids[i]] = true;
    }
    if (modseq && c->uids[i])
        take_modseq(w, c, c->uids[i], modseq, line);
    if (c->condstore && flags && !modseq)
        wrong(w, c, "FLAGS without MODSEQ", line);
}

static void take_response(struct world *w, struct client *c, struct cq_slice line)
{
    struct imap_response r;
    struct cq_err err = {0};
    if (verbose)
        fprintf(stderr, "%u S: %.*s\n", c->number, CQ_SLICE_ARG(line));
    if (imap_response_parse(line, w->pool, &r, &err) != CQ_OK)
        wrong(w, c, err.text, line);
    if (r.status == IMAP_BYE || r.status == IMAP_BAD)
        wrong(w, c, "refused", line);
    if (cq_slice_eq(r.name, CQ_SLICE("EXISTS")))
        take_exists(w, c, r.number, line);
    else if (cq_slice_eq(r.name, CQ_SLICE("EXPUNGE")))
        take_expunge(w, c, r.number, line);
    else if (cq_slice_eq(r.name, CQ_SLICE("FETCH")))
        take_fetch(w, c, &r, line);
}

/* Reads to the tagged answer and takes all of it in. True: OK. */
static bool read_answer(struct world *w, struct client *c, const char *tag)
{
    struct cq_buf text;
    struct imap_reader reader;
    struct imap_reader_limits limits = imap_response_limits(1 << 22);
    cq_buf_init(&text, 1 << 24);
    if (!imap_peer_until(&c->peer, tag, &text))
        wrong(w, c, "no answer to", cq_slice_cstr(tag));
    imap_reader_init(&reader, &limits);
    bool ok = false;
    for (struct cq_slice rest = cq_buf_slice(&text); rest.len;) {
        size_t used;
        enum imap_read event = imap_reader_feed(&reader, rest, &used);
        rest = cq_slice_skip(rest, used);
        if (event != IMAP_READ_COMMAND)
            continue;
        struct cq_slice line = imap_reader_text(&reader);
        take_response(w, c, line);
        ok = cq_slice_starts(line, cq_slice_cstr(tag)) &&
             cq_slice_starts(cq_slice_skip(line, strlen(tag)), CQ_SLICE(" OK"));
        imap_reader_next(&reader);
        cq_pool_clear(w->pool);
    }
    imap_reader_fini(&reader);
    cq_buf_fini(&text);
    return ok;
}

static void send_command(struct client *c, const char *text)
{
    if (verbose)
        fprintf(stderr, "%u C: %s\n", c->number, text);
    imap_peer_send(&c->peer, cq_slice_cstr(text), SIZE_MAX);
    imap_peer_send(&c->peer, CQ_SLICE("\r\n"), SIZE_MAX);
}

static bool command(struct world *w, struct client *c, bool numbers, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool command(struct world *w, struct client *c, bool numbers, const char *fmt, ...)
{
    char text[1000], tag[16];
    va_list args;
    int n = snprintf(tag, sizeof tag, "t%u", ++c->tag);
    memcpy(text, tag, (size_t)n);
    text[n] = ' ';
    va_start(args, fmt);
    vsnprintf(text + n + 1, sizeof text - (size_t)n - 1, fmt, args);
    va_end(args);
    c->numbers = numbers;
    send_command(c, text);
    bool ok = read_answer(w, c, tag);
    c->numbers = false;
    return ok;
}

/* ---- The truth ---- */

struct truth {
    uint32_t count;
    uint32_t uids[MESSAGES_MAX], flags[MESSAGES_MAX];
};

static void read_truth(struct world *w, struct truth *t)
{
    struct mail_records batch = {.next_uid = 1};
    struct cq_err err = {0};
    struct uid_range all = {1, UINT32_MAX};
    struct uidset uids = {&all, 1};
    t->count = 0;
    while (batch.next_uid) {
        struct fetch_record record;
        all.first = batch.next_uid;
        assert_int_equal(
            mailstore_fetch(w->fixture->store, &w->fixture->account, w->inbox, &uids, false, w->pool, &batch, &err),
            CQ_OK);
        while (fetch_record_next(&batch.records, &record) == CQ_OK) {
            t->uids[t->count] = record.uid;
            t->flags[t->count] = record.flags;
            for (unsigned k = 0; k < batch.keyword_count; k++)
                if (fetch_record_has_keyword(&record, k))
                    t->flags[t->count] |= cq_slice_caseeq(batch.keywords[k], CQ_SLICE("keya")) ? KEYWORD_A : KEYWORD_B;
            t->count++;
        }
    }
}

/* After NOOP the client's mind is the truth, as far as it has an opinion. */
static void compare(struct world *w, struct client *c)
{
    static struct truth t;
    read_truth(w, &t);
    if (t.count != c->count)
        wrong(w, c, "the number of messages is another", CQ_SLICE_NONE);
    for (uint32_t i = 0; i < t.count; i++) {
        if (c->uids[i] && c->uids[i] != t.uids[i])
            wrong(w, c, "another message has this number", cq_slice_cstr(cq_pool_printf(w->pool, "%u", i + 1)));
        if (c->flags[i] != UNKNOWN && c->flags[i] != t.flags[i])
            wrong(w, c, "a change of flags was missed",
                  cq_slice_cstr(cq_pool_printf(w->pool, "UID %u: %x, not %x", t.uids[i], c->flags[i], t.flags[i])));
    }
    cq_pool_clear(w->pool);
}

static void recent_is_one_sessions_alone(struct world *w)
{
    for (uint32_t uid = 0; uid < UIDS_MAX; uid++) {
        unsigned n = 0;
        for (unsigned i = 0; i < CLIENTS; i++)
            n += w->clients[i].recent[uid] && !w->clients[i].read_only;
        if (n > 1)
            wrong(w, NULL, "two sessions have it as \\Recent", cq_slice_cstr(cq_pool_printf(w->pool, "UID %u", uid)));
    }
}

/* ---- What clients do ---- */

static void select_inbox(struct world *w, struct client *c)
{
    c->count = 0;
    c->read_only = pick(w, 8) == 0;
    memset(c->recent, 0, sizeof c->recent);
    assert_true(
        command(w, c, false, "%s INBOX%s", c->read_only ? "EXAMINE" : "SELECT", pick(w, 4) == 0 ? " (CONDSTORE)" : ""));
    c->selected = true;
}

static void do_append(struct world *w, struct client *c)
{
    char tag[16];
    char text[200];
    snprintf(tag, sizeof tag, "t%u", ++c->tag);
    snprintf(text, sizeof text, "%s APPEND %s (%s KeyA) {7+}\r\na: b\r\n\r", tag, pick(w, 3) ? "INBOX" : "Archive",
             flag_names[pick(w, 5)].name);
    send_command(c, text);
    assert_true(read_answer(w, c, tag));
}

static void believe_store(struct client *c, uint32_t i, char mode, unsigned flags)
{
    if (c->flags[i] == UNKNOWN)
        return;
    c->flags[i] = mode == '+' ? c->flags[i] | flags : mode == '-' ? c->flags[i] & ~flags : flags;
}

static void do_store(struct world *w, struct client *c)
{
    uint32_t a = 1 + pick(w, c->count), b = 1 + pick(w, c->count), from = a < b ? a : b, to = a < b ? b : a;
    size_t flag = pick(w, FLAG_NAMES);
    bool silent = pick(w, 2);
    char mode = "+- "[pick(w, 3)];
    char mode_text[2] = {mode == ' ' ? 0 : mode, 0};
    unsigned bit = flag_names[flag].bit;
    if (c->read_only)
        return;
    /* The client's own change: what the server says of these messages while it answers is later. */
    for (uint32_t i = from; silent && i <= to; i++)
        believe_store(c, i - 1, mode, bit);
    assert_true(command(w, c, true, "STORE %u:%u %sFLAGS%s (%s)", a, b, mode_text, silent ? ".SILENT" : "",
                        flag_names[flag].name));
}

static void do_expunge(struct world *w, struct client *c)
{
    if (c->read_only)
        return;
    if (pick(w, 2))
        assert_true(command(w, c, false, "EXPUNGE"));
    else
        assert_true(command(w, c, false, "UID EXPUNGE %u:*", 1 + pick(w, 50)));
}

static void do_copy(struct world *w, struct client *c)
{
    bool move = pick(w, 2) && !c->read_only;
    uint32_t n = 1 + pick(w, c->count);
    const char *to = pick(w, 2) ? "INBOX" : "Archive";
    if (c->count > 200)
        return;
    assert_true(command(w, c, false, "%s %u:%u %s", move ? "MOVE" : "COPY", n, n + pick(w, c->count - n + 1), to));
}

static void do_fetch(struct world *w, struct client *c)
{
    uint32_t a = 1 + pick(w, c->count), b = 1 + pick(w, c->count);
    switch (pick(w, 5)) {
    case 0:
        assert_true(command(w, c, true, "FETCH %u:%u (UID FLAGS)", a, b));
        break;
    case 1:
        assert_true(command(w, c, false, "UID FETCH 1:* FLAGS"));
        break;
    case 2:
        assert_true(command(w, c, true, "FETCH %u (UID BODY[])", a));
        break;
    case 3:
        assert_true(command(w, c, true, "FETCH 1:* (UID FLAGS BODY[TEXT])"));
        break;
    default:
        assert_true(command(w, c, true, "FETCH %u:* (UID ENVELOPE)", a));
    }
}

/* Two commands in one packet. */
static void do_pipelined(struct world *w, struct client *c)
{
    char text[200];
    unsigned first = ++c->tag, second = ++c->tag;
    snprintf(text, sizeof text, "t%u UID FETCH 1:* (FLAGS)\r\nt%u NOOP", first, second);
    send_command(c, text);
    snprintf(text, sizeof text, "t%u", second);
    assert_true(read_answer(w, c, text));
}

/* The stranger: another front-end, or the MX. */
static void do_stranger(struct world *w)
{
    struct imap_fixture *f = w->fixture;
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_err err = {0};
    struct uid_range range = {1 + pick(w, 60), 0};
    range.last = range.first + pick(w, 5);
    struct uidset uids = {&range, 1}, out;
    struct mail_copied copied;
    uint64_t modseq;
    struct mail_store store = {.mailbox = w->inbox,
                               .uids = &uids,
                               .mode = (enum mail_store_mode)pick(w, 3),
                               .flags = (uint8_t)(1u << pick(w, 5))};
    switch (pick(w, 4)) {
    case 0:
        imap_fixture_deliver(f, CQ_SLICE("Subject: x\r\n\r\nbody\r\n"));
        break;
    case 1:
        assert_int_equal(mailstore_store(f->store, &f->account, &store, pool, &out, &modseq, &err), CQ_OK);
        break;
    case 2:
        store.mode = MAIL_STORE_ADD;
        store.flags = MAIL_DELETED;
        assert_int_equal(mailstore_store(f->store, &f->account, &store, pool, &out, &modseq, &err), CQ_OK);
        assert_int_equal(mailstore_expunge(f->store, &f->account, w->inbox, &uids, pool, &out, &err), CQ_OK);
        break;
    default:
        assert_int_equal(mailstore_copy(f->store, &f->account, w->other, w->inbox, &uids, true, pool, &copied, &err),
                         CQ_OK);
    }
    cq_pool_free(&pool);
}

/* Any call of a session may find that others were faster. */
static void interfere(void *arg)
{
    struct world *w = arg;
    if (pick(w, 6) == 0)
        do_stranger(w);
}

static void let_interfere(struct world *w, bool on)
{
    w->fixture->before_call = on && w->interfering ? interfere : NULL;
    w->fixture->before_arg = w;
}

static void noop_and_compare(struct world *w, struct client *c)
{
    let_interfere(w, false);
    assert_true(command(w, c, false, "NOOP"));
    compare(w, c);
    let_interfere(w, true);
}

/* What changes while a client idles reaches it without a question. */
static void do_idle(struct world *w, struct client *c)
{
    char tag[16];
    snprintf(tag, sizeof tag, "t%u", ++c->tag);
    char text[40];
    snprintf(text, sizeof text, "%s IDLE", tag);
    send_command(c, text);
    imap_fixture_settle(w->fixture);
    for (uint32_t n = pick(w, 4); n > 0; n--) {
        do_stranger(w);
        if (pick(w, 2))
            imap_fixture_settle(w->fixture);
    }
    let_interfere(w, false);
    imap_fixture_settle(w->fixture);
    send_command(c, "DONE");
    assert_true(read_answer(w, c, tag));
    compare(w, c);
    let_interfere(w, true);
}

static void act(struct world *w)
{
    struct client *c = &w->clients[pick(w, CLIENTS)];
    if (!c->selected || pick(w, 60) == 0) {
        select_inbox(w, c);
        return;
    }
    if (c->count == 0) {
        do_append(w, c);
        noop_and_compare(w, c);
        return;
    }
    switch (pick(w, 12)) {
    case 0:
        do_append(w, c);
        break;
    case 1:
    case 2:
        do_store(w, c);
        break;
    case 3:
        do_expunge(w, c);
        break;
    case 4:
        do_copy(w, c);
        break;
    case 5:
    case 6:
        do_fetch(w, c);
        break;
    case 7:
        do_pipelined(w, c);
        break;
    case 8:
        do_idle(w, c);
        break;
    case 9:
        assert_true(command(w, c, true, "SEARCH OR UNSEEN 1:*"));
        break;
    case 10:
        do_stranger(w);
        break;
    default:
        noop_and_compare(w, c);
    }
}

/* ---- A run ---- */

static void find_mailboxes(struct world *w)
{
    struct mail_mailbox_list list;
    struct cq_err err = {0};
    assert_int_equal(mailstore_list(w->fixture->store, &w->fixture->account, w->pool, &list, &err), CQ_OK);
    for (size_t i = 0; i < list.count; i++) {
        if (list.mailboxes[i].use == MAIL_USE_INBOX)
            w->inbox = list.mailboxes[i].id;
        if (list.mailboxes[i].use == MAIL_USE_ARCHIVE)
            w->other = list.mailboxes[i].id;
    }
}

static void run(uint64_t seed)
{
    static struct world world;
    struct world *w = &world;
    *w = (struct world){.seed = seed, .prng = {seed}, .fixture = imap_fixture_new(), .pool = cq_pool_new(65536)};
    find_mailboxes(w);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &w->clients[i];
        c->number = i;
        imap_peer_connect(w->fixture, &c->peer);
        assert_true(command(w, c, false, "LOGIN ana secret"));
        c->condstore = pick(w, 3) == 0 && command(w, c, false, "ENABLE CONDSTORE");
    }
    w->interfering = seed % 2;
    let_interfere(w, true);
    for (int i = 0; i < OPS; i++)
        act(w);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (w->clients[i].selected)
            noop_and_compare(w, &w->clients[i]);
    recent_is_one_sessions_alone(w);
    for (unsigned i = 0; i < CLIENTS; i++)
        imap_peer_close(&w->clients[i].peer);
    imap_fixture_free(&w->fixture);
    cq_pool_free(&w->pool);
}

static void every_client_knows_the_truth_after_noop_and_is_told_of_it_in_the_right_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run(seed);
}

int main(int argc, char **argv)
{
    cq_log_set_level(CQ_ERROR);
    if (argc == 2) { /* one seed, with its conversation */
        verbose = true;
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    if (argc == 3) { /* many seeds */
        for (uint64_t seed = strtoull(argv[1], NULL, 10); seed <= strtoull(argv[2], NULL, 10); seed++)
            run(seed);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_client_knows_the_truth_after_noop_and_is_told_of_it_in_the_right_order),
    };
    return cmocka_run_group_tests_name("imap_sessions", tests, NULL, NULL);
}
