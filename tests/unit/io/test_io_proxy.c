#include "io/io_proxy.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#include "base/cq_mem.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4                                                                                                             \
    SIG "\x21\x11\x00\x0c"                                                                                             \
        "\xc0\x00\x02\x01"                                                                                             \
        "\xc6\x33\x64\x02"                                                                                             \
        "\x30\x39"                                                                                                     \
        "\x00\x19"
#define V6_ADDR(last) "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" last
#define BYTES(text)                                                                                                    \
    {                                                                                                                  \
        (const uint8_t *)(text), sizeof(text) - 1                                                                      \
    }

static const struct {
    struct cq_slice data;
    enum cq_rc rc;
    const char *source, *dest; /* NULL: local */
    size_t header_len;
} cases[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\nEHLO x"), CQ_OK, "192.0.2.1:12345", "198.51.100.2:25", 44},
    {BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), CQ_OK, "[2001:db8::1]:1", "[2001:db8::2]:65535", 44},
    {BYTES("PROXY UNKNOWN\r\n"), CQ_OK, NULL, NULL, 15},
    {BYTES("PROXY UNKNOWN ffff::1 whatever it is\r\n"), CQ_OK, NULL, NULL, 38},
    {BYTES(V4 "EHLO"), CQ_OK, "192.0.2.1:12345", "198.51.100.2:25", 28},
    {BYTES(SIG "\x21\x21\x00\x24" V6_ADDR("\x01") V6_ADDR("\x02") "\x00\x01\xff\xff"), CQ_OK, "[2001:db8::1]:1",
     "[2001:db8::2]:65535", 52},
    {BYTES(SIG "\x21\x11\x00\x0f"
               "\xc0\x00\x02\x01"
               "\xc6\x33\x64\x02"
               "\x30\x39"
               "\x00\x19"
               "\x04\x00\x00"),
     CQ_OK, "192.0.2.1:12345", "198.51.100.2:25", 31},      /* a TLV is skipped */
    {BYTES(SIG "\x20\x00\x00\x00"), CQ_OK, NULL, NULL, 16}, /* LOCAL */
    {BYTES(SIG "\x20\x11\x00\x02"
               "ab"),
     CQ_OK, NULL, NULL, 18},                                /* LOCAL ignores addresses */
    {BYTES(SIG "\x21\x00\x00\x00"), CQ_OK, NULL, NULL, 16}, /* AF_UNSPEC */
    {BYTES(SIG "\x21\x31\x00\x01"
               "x"),
     CQ_OK, NULL, NULL, 17}, /* AF_UNIX */
    {BYTES(""), CQ_E_AGAIN, NULL, NULL, 0},
    {BYTES("P"), CQ_E_AGAIN, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r"), CQ_E_AGAIN, NULL, NULL, 0},
    {BYTES(SIG), CQ_E_AGAIN, NULL, NULL, 0},
    {BYTES("EHLO x\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("\x16\x03\x01"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("proxy TCP4"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXYTCP4 "), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY \r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25 \r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4  192.0.2.1 198.51.100.2 12345 25\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 025 25\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP4 192.0.2.1:1 198.51.100.2 1 2\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY TCP6 [::1] ::1 1 2\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"), CQ_E_PROTO, NULL, NULL, 0},
    {BYTES(SIG "\x11\x11\x00\x0c"
               "abcdefghijkl"),
     CQ_E_PROTO, NULL, NULL, 0}, /* version 1 in a v2 header */
    {BYTES(SIG "\x22\x11\x00\x0c"
               "abcdefghijkl"),
     CQ_E_PROTO, NULL, NULL, 0}, /* command 2 */
    {BYTES(SIG "\x21\x12\x00\x0c"
               "abcdefghijkl"),
     CQ_E_PROTO, NULL, NULL, 0}, /* UDP */
    {BYTES(SIG "\x21\x11\x00\x0b"
               "abcdefghijk"),
     CQ_E_PROTO, NULL, NULL, 0}, /* one byte short */
    {BYTES(SIG "\x21\x11\xff\xff"), CQ_E_TOO_BIG, NULL, NULL, 0},
    {BYTES(SIG "\x21\x11\x07\xf1"), CQ_E_TOO_BIG, NULL, NULL, 0}, /* 2049 */
    {BYTES(SIG "\x21\x11\x07\xf0"), CQ_E_AGAIN, NULL, NULL, 0},   /* 2048 */
};

static void check(size_t i, enum cq_rc rc, const struct io_proxy *proxy)
{
    char text[IO_ADDR_TEXT_SIZE];
    if (rc != cases[i].rc)
        print_error("case %zu: %s\n", i, cq_rc_name(rc));
    assert_int_equal(rc, cases[i].rc);
    if (rc != CQ_OK)
        return;
    assert_int_equal(proxy->header_len, cases[i].header_len);
    assert_int_equal(proxy->local, cases[i].source == NULL);
    if (proxy->local)
        return;
    assert_string_equal(io_addr_format(&proxy->source, text), cases[i].source);
    assert_string_equal(io_addr_format(&proxy->dest, text), cases[i].dest);
}

static void headers_are_read_when_they_come_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_proxy proxy;
        check(i, io_proxy_parse(cases[i].data, &proxy, NULL), &proxy);
    }
}

static void headers_are_read_when_they_come_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_proxy proxy;
        enum cq_rc rc = CQ_E_AGAIN;
        for (size_t n = 0; n <= cases[i].data.len && rc == CQ_E_AGAIN; n++) {
            uint8_t *exact = cq_memdup(cases[i].data.data, n); /* a sanitizer sees a read past the end */
            rc = io_proxy_parse(cq_slice_of(exact, n), &proxy, NULL);
            if (rc == CQ_OK)
                assert_int_equal(n, cases[i].header_len); /* not one byte before, none after */
            free(exact);
        }
        check(i, rc, &proxy);
    }
}

static void a_line_that_does_not_end_is_refused(void **state)
{
    (void)state;
    uint8_t line[IO_PROXY_V1_MAX + 1];
    struct io_proxy proxy;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(io_proxy_parse(cq_slice_of(line, IO_PROXY_V1_MAX - 1), &proxy, NULL), CQ_E_AGAIN);
    assert_int_equal(io_proxy_parse(cq_slice_of(line, IO_PROXY_V1_MAX), &proxy, NULL), CQ_E_PROTO);
    memcpy(line + IO_PROXY_V1_MAX - 1, "\r\n", 2); /* one byte too long */
    assert_int_equal(io_proxy_parse(cq_slice_of(line, sizeof line), &proxy, NULL), CQ_E_PROTO);
    memcpy(line + IO_PROXY_V1_MAX - 2, "\r\n", 2);
    assert_int_equal(io_proxy_parse(cq_slice_of(line, sizeof line), &proxy, NULL), CQ_OK);
    assert_int_equal(proxy.header_len, IO_PROXY_V1_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_when_they_come_whole),
        cmocka_unit_test(headers_are_read_when_they_come_byte_by_byte),
        cmocka_unit_test(a_line_that_does_not_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
