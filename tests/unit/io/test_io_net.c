#include "io/io_net.h"

#include "unit/cq_cmocka.h"

static void addresses_are_parsed_and_formatted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *formatted; /* NULL: refused */
    } cases[] = {
        {"192.0.2.1:25", "192.0.2.1:25"},
        {"192.0.2.1", "192.0.2.1:7"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[2001:DB8:0::1]:143", "[2001:db8::1]:143"},
        {"[::]:143", "[::]:143"},
        {"[::1]", "[::1]:7"},
        {"2001:db8::1", "[2001:db8::1]:7"},
        {"::ffff:192.0.2.1", "192.0.2.1:7"},
        {"[::ffff:192.0.2.1]:25", "192.0.2.1:25"},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:+1", NULL},
        {"192.0.2.01", NULL},
        {"192.0.2", NULL},
        {"192.0.2.1.5", NULL},
        {"0x7f.0.0.1", NULL},
        {"[192.0.2.1]:25", NULL},
        {"[::1", NULL},
        {"[::1]25", NULL},
        {"[]:25", NULL},
        {"::1%lo", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"localhost:25", NULL},
        {"", NULL},
        {":25", NULL},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555555555]:1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_addr addr;
        struct cq_err err = {0};
        char text[IO_ADDR_TEXT_SIZE];
        enum cq_rc rc = io_addr_parse(cq_slice_cstr(cases[i].text), 7, &addr, &err);
        assert_int_equal(rc, cases[i].formatted ? CQ_OK : CQ_E_INVALID);
        if (cases[i].formatted)
            assert_string_equal(io_addr_format(&addr, text), cases[i].formatted);
        else
            assert_true(err.text[0]);
    }
    struct io_addr addr;
    assert_int_equal(io_addr_parse(cq_slice_of("1.2.3.4\0.5", 10), 0, &addr, NULL), CQ_E_INVALID);
}

static void socket_addresses_come_back_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.1:25", "[2001:db8::1]:65535"};
    for (size_t i = 0; i < 2; i++) {
        struct io_addr addr, again;
        struct sockaddr_storage ss;
        assert_int_equal(io_addr_parse(cq_slice_cstr(texts[i]), 0, &addr, NULL), CQ_OK);
        socklen_t len = io_addr_to_sockaddr(&addr, &ss);
        assert_true(io_addr_from_sockaddr((struct sockaddr *)&ss, len, &again));
        assert_true(io_addr_eq(&addr, &again));
        assert_false(io_addr_from_sockaddr((struct sockaddr *)&ss, len - 1, &again));
    }
    struct io_addr none = {0};
    struct sockaddr_storage ss;
    char text[IO_ADDR_TEXT_SIZE];
    assert_int_equal(io_addr_to_sockaddr(&none, &ss), 0);
    assert_string_equal(io_addr_format(&none, text), "unknown");
}

static void networks_match_what_is_in_them(void **state)
{
    (void)state;
    static const struct {
        const char *net, *addr;
        bool in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7/32", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "10.1.2.3", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"2001:db8::1/128", "2001:db8::1", true},
        {"2001:db8::1/128", "2001:db8::", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_cidr cidr;
        struct io_addr addr;
        assert_int_equal(io_cidr_parse(cq_slice_cstr(cases[i].net), &cidr, NULL), CQ_OK);
        assert_int_equal(io_addr_parse(cq_slice_cstr(cases[i].addr), 99, &addr, NULL), CQ_OK);
        assert_int_equal(io_cidr_match(&cidr, &addr), cases[i].in);
    }
    assert_false(io_cidr_match_any(NULL, 0, &(struct io_addr){.family = IO_IPV4}));
}

static void malformed_networks_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"10.0.0.0/33", "10.0.0.0/",   "10.0.0.1/8", "::/129",
                                        "10.0.0.0/-1", "10.0.0.0/8/", "/8",         "10.0.0.0:25/8"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct io_cidr cidr;
        assert_int_equal(io_cidr_parse(cq_slice_cstr(cases[i]), &cidr, NULL), CQ_E_INVALID);
    }
}

static void masking_gives_one_key_per_network(void **state)
{
    (void)state;
    struct io_addr addr, masked;
    char text[IO_ADDR_TEXT_SIZE];
    io_addr_parse(CQ_SLICE("2001:db8:1:2:3:4:5:6"), 9, &addr, NULL);
    masked = io_addr_masked(&addr, 32, 64);
    assert_string_equal(io_addr_format(&masked, text), "[2001:db8:1:2::]:0");
    io_addr_parse(CQ_SLICE("192.0.2.77"), 9, &addr, NULL);
    masked = io_addr_masked(&addr, 32, 64);
    assert_string_equal(io_addr_format_ip(&masked, text), "192.0.2.77");
    assert_false(io_addr_is_loopback(&addr));
    io_addr_parse(CQ_SLICE("127.9.9.9"), 9, &addr, NULL);
    assert_true(io_addr_is_loopback(&addr));
    io_addr_parse(CQ_SLICE("::1"), 9, &addr, NULL);
    assert_true(io_addr_is_loopback(&addr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed_and_formatted), cmocka_unit_test(socket_addresses_come_back_the_same),
        cmocka_unit_test(networks_match_what_is_in_them),     cmocka_unit_test(malformed_networks_are_refused),
        cmocka_unit_test(masking_gives_one_key_per_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
