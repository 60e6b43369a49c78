/* A client's stream through reader and command parser: fed whole and in odd pieces, the events are the same; every
 * slice of a parsed command lies in its text or its pool. The first byte chooses limits and what is done with APPEND.
 */
#include "base/cq_assert.h"
#include "base/cq_hash.h"
#include "imap/imap_command.h"
#include "imap/imap_limits.h"
#include "imap/imap_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feeder {
    struct imap_reader reader;
    struct cq_pool *pool;
    bool refuse;
    uint64_t stream_left;
    bool closed;
    uint64_t digest; /* of all events */
};

static void mix(struct feeder *f, uint64_t event, struct cq_slice text)
{
    f->digest = f->digest * UINT64_C(0x9e3779b97f4a7c15) + event + cq_xxh3_64_seed(text, event);
}

static void touch(struct cq_slice s)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s.len; i++)
        sum = (uint8_t)(sum + s.data[i]);
}

static void parse(struct feeder *f, struct cq_slice text)
{
    struct imap_head head;
    struct imap_command c;
    const char *problem;
    imap_command_head(text, &head);
    CQ_ASSERT(head.tag.len <= IMAP_TAG_MAX);
    if (imap_command_parse(&head, f->pool, &c, &problem)) {
        CQ_ASSERT(!problem);
        if (c.verb == IMAP_LOGIN) {
            touch(c.u.login.user);
            touch(c.u.login.password);
        }
        for (size_t i = 0; i < c.set.count; i++)
            imap_range_resolve(c.set.ranges[i], 5);
    } else {
        CQ_ASSERT(problem && *problem);
    }
    cq_pool_clear(f->pool);
}

static void on_event(struct feeder *f, enum imap_read event)
{
    struct imap_reader *r = &f->reader;
    CQ_ASSERT(r->text.len <= IMAP_COMMAND_MAX);
    if (event == IMAP_READ_MORE)
        return;
    mix(f, event, event == IMAP_READ_BAD || event == IMAP_READ_CLOSE ? imap_reader_tag(r) : imap_reader_text(r));
    if (event == IMAP_READ_BAD || event == IMAP_READ_CLOSE)
        mix(f, event, cq_slice_cstr(imap_reader_problem(r)));
    if (event == IMAP_READ_COMMAND || event == IMAP_READ_APPEND)
        parse(f, imap_reader_text(r));
    if (event == IMAP_READ_COMMAND || event == IMAP_READ_BAD)
        imap_reader_next(r);
    if (event == IMAP_READ_APPEND && !f->refuse) {
        f->stream_left = r->append_size;
        imap_reader_stream_append(r);
    } else if (event == IMAP_READ_APPEND) {
        imap_reader_refuse_append(r);
    }
    f->closed = event == IMAP_READ_CLOSE;
}

static void feed(struct feeder *f, struct cq_slice in)
{
    while (in.len && !f->closed) {
        size_t used = 0;
        if (f->stream_left) {
            used = in.len < f->stream_left ? in.len : (size_t)f->stream_left;
            f->stream_left -= used;
        } else {
            on_event(f, imap_reader_feed(&f->reader, in, &used));
        }
        in = cq_slice_skip(in, used);
    }
}

static uint64_t run(uint8_t mode, struct cq_slice in, size_t piece)
{
    struct feeder f = {.refuse = mode & 2, .pool = cq_pool_new(4096)};
    imap_reader_init(&f.reader, mode & 1 ? &imap_reader_auth : &imap_reader_preauth);
    for (; in.len; in = cq_slice_skip(in, piece))
        feed(&f, cq_slice_sub(in, 0, piece));
    imap_reader_fini(&f.reader);
    cq_pool_free(&f.pool);
    return f.digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct cq_slice in = cq_slice_of(data + 1, size - 1);
    uint64_t whole = run(data[0], in, SIZE_MAX);
    CQ_ASSERT(run(data[0], in, 1) == whole);
    CQ_ASSERT(run(data[0], in, 1 + (data[0] >> 2)) == whole);
    return 0;
}
