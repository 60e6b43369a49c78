#include "smtp/smtp_data.h"

#include "base/cq_buf.h"
#include "unit/cq_cmocka.h"

struct decoded {
    struct cq_buf out;
    struct cq_buf pending; /* what the decoder has not taken yet, as a connection's input buffer holds it */
    struct smtp_data data;
    size_t rest; /* octets after the end */
};

static void feed(struct decoded *d, const char *octets, size_t len)
{
    cq_buf_add(&d->pending, octets, len);
    for (;;) {
        size_t used;
        struct cq_slice piece;
        enum cq_rc rc = smtp_data_next(&d->data, cq_buf_slice(&d->pending), &used, &piece);
        cq_buf_slice_add(&d->out, piece);
        cq_buf_consume(&d->pending, used);
        if (rc == CQ_E_EOF)
            d->rest = d->pending.len;
        if (rc != CQ_OK)
            return;
    }
}

static void decode(struct decoded *d, const char *octets, size_t len, size_t step)
{
    cq_buf_init(&d->out, 65536);
    cq_buf_init(&d->pending, 65536);
    smtp_data_init(&d->data);
    d->rest = 0;
    for (size_t at = 0; at < len; at += step)
        feed(d, octets + at, len - at < step ? len - at : step);
}

static void release(struct decoded *d)
{
    cq_buf_fini(&d->out);
    cq_buf_fini(&d->pending);
}

#define CASE(in, out, done, bare, rest)                                                                                \
    {                                                                                                                  \
        in, sizeof(in) - 1, out, sizeof(out) - 1, done, bare, rest                                                     \
    }
static const struct {
    const char *in;
    size_t in_len;
    const char *out;
    size_t out_len;
    bool done, bare;
    size_t rest;
} cases[] = {
    CASE(".\r\n", "", true, false, 0),
    CASE("a\r\n.\r\n", "a\r\n", true, false, 0),
    CASE("a\r\n.\r\nQUIT\r\n", "a\r\n", true, false, 6),
    CASE("..\r\n.\r\n", ".\r\n", true, false, 0),
    CASE("a\r\n..b\r\n.c\r\n.\r\n", "a\r\n.b\r\nc\r\n", true, false, 0),
    CASE("\r\n\r\n.\r\n", "\r\n\r\n", true, false, 0),
    CASE("a.\r\n.\r\n", "a.\r\n", true, false, 0),
    CASE("no end", "no end", false, false, 0),
    CASE("a\r\n.", "a\r\n", false, false, 0),
    CASE("a\r\n.\r", "a\r\n", false, false, 0),
    CASE("a\r", "a", false, false, 0),
    /* What other servers have taken for the end (SMTP smuggling): none of it ends the data, all of it is refused. */
    CASE("a\n.\nMAIL\r\n.\r\n", "a\n.\nMAIL\r\n", true, true, 0),
    CASE("a\n.\r\nMAIL\r\n.\r\n", "a\n.\r\nMAIL\r\n", true, true, 0),
    CASE("a\r\n.\nMAIL\r\n.\r\n", "a\r\n\nMAIL\r\n", true, true, 0),
    CASE("a\r\n.\rMAIL\r\n.\r\n", "a\r\n\rMAIL\r\n", true, true, 0),
    CASE("a\r.\rMAIL\r\n.\r\n", "a\r.\rMAIL\r\n", true, true, 0),
    CASE("a\r.\r\nMAIL\r\n.\r\n", "a\r.\r\nMAIL\r\n", true, true, 0),
    CASE("a\n.\rMAIL\r\n.\r\n", "a\n.\rMAIL\r\n", true, true, 0),
    CASE("a\r\n\r.\r\nMAIL\r\n.\r\n", "a\r\n\r.\r\nMAIL\r\n", true, true, 0),
    CASE("a\r\r\n.\r\n", "a\r\r\n", true, true, 0),
    CASE("a\r\n.\r\r\nMAIL\r\n.\r\n", "a\r\n\r\r\nMAIL\r\n", true, true, 0),
    CASE("\n.\r\n.\r\n", "\n.\r\n", true, true, 0),
    CASE("a\r\n\0.\r\nMAIL\r\n.\r\n", "a\r\n\0.\r\nMAIL\r\n", true, false, 0),
};

static void only_crlf_dot_crlf_ends_the_data_however_it_arrives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= cases[i].in_len; step++) {
            struct decoded d;
            decode(&d, cases[i].in, cases[i].in_len, step);
            assert_int_equal(d.out.len, cases[i].out_len);
            if (d.out.len)
                assert_memory_equal(d.out.data, cases[i].out, d.out.len);
            assert_int_equal(d.data.done, cases[i].done);
            assert_int_equal(d.data.bare, cases[i].bare);
            assert_int_equal(d.data.size, cases[i].out_len);
            if (step == cases[i].in_len)
                assert_int_equal(d.rest, cases[i].rest);
            release(&d);
        }
}

static void a_nul_is_reported(void **state)
{
    (void)state;
    struct decoded d;
    decode(&d, "a\0b\r\n.\r\n", 8, 8);
    assert_true(d.data.nul);
    assert_true(d.data.done);
    release(&d);
    decode(&d, "ab\r\n.\r\n", 7, 7);
    assert_false(d.data.nul);
    release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_crlf_dot_crlf_ends_the_data_however_it_arrives),
        cmocka_unit_test(a_nul_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
