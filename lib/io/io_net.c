#include "io/io_net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cq_assert.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct io_addr addr_v4(const void *ip, uint16_t port)
{
    struct io_addr addr = {.family = IO_IPV4, .port = port};
    memcpy(addr.ip, ip, 4);
    return addr;
}

static struct io_addr addr_v6(const void *ip, uint16_t port)
{
    if (memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0)
        return addr_v4((const uint8_t *)ip + 12, port);
    struct io_addr addr = {.family = IO_IPV6, .port = port};
    memcpy(addr.ip, ip, 16);
    return addr;
}

/* inet_pton is strict: four decimal parts, no leading zeros, no octal, no zone. */
static bool parse_ip(struct cq_slice text, struct io_addr *addr_r)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, 0, text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, ip) == 1)
        *addr_r = addr_v4(ip, 0);
    else if (inet_pton(AF_INET6, copy, ip) == 1)
        *addr_r = addr_v6(ip, 0);
    else
        return false;
    return true;
}

/* Where a text is cut into address and port. False: the brackets are wrong. */
static bool split_port(struct cq_slice text, struct cq_slice *ip_r, struct cq_slice *port_r)
{
    *ip_r = text;
    *port_r = CQ_SLICE_NONE;
    if (text.len && text.data[0] == '[') {
        size_t close = cq_slice_find(text, ']');
        if (close == text.len || (close + 1 < text.len && text.data[close + 1] != ':'))
            return false;
        *ip_r = cq_slice_sub(text, 1, close - 1);
        if (close + 1 < text.len)
            *port_r = cq_slice_sub(text, close + 1, SIZE_MAX);
        return cq_slice_find(*ip_r, ':') < ip_r->len; /* brackets are for IPv6 */
    }
    size_t colon = cq_slice_find(text, ':');
    bool one_colon = colon < text.len && cq_slice_find(cq_slice_skip(text, colon + 1), ':') == text.len - colon - 1;
    if (one_colon) {
        *ip_r = cq_slice_sub(text, 0, colon);
        *port_r = cq_slice_sub(text, colon, SIZE_MAX);
    }
    return true;
}

enum cq_rc io_addr_parse(struct cq_slice text, uint16_t default_port, struct io_addr *addr_r, struct cq_err *err)
{
    struct cq_slice ip, port;
    uint64_t number = default_port;
    struct io_addr addr;
    if (!split_port(text, &ip, &port) || !parse_ip(ip, &addr))
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" is not an IP address", CQ_SLICE_ARG(cq_slice_sub(text, 0, 64)));
    if (port.data && !cq_slice_u64(cq_slice_skip(port, 1), UINT16_MAX, &number))
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" has no valid port", CQ_SLICE_ARG(cq_slice_sub(text, 0, 64)));
    addr.port = (uint16_t)number;
    *addr_r = addr;
    return CQ_OK;
}

const char *io_addr_format_ip(const struct io_addr *addr, char out[static IO_ADDR_TEXT_SIZE])
{
    int af = addr->family == IO_IPV4 ? AF_INET : AF_INET6;
    if (addr->family == IO_UNSPEC || !inet_ntop(af, addr->ip, out, IO_ADDR_TEXT_SIZE))
        snprintf(out, IO_ADDR_TEXT_SIZE, "unknown");
    return out;
}

const char *io_addr_format(const struct io_addr *addr, char out[static IO_ADDR_TEXT_SIZE])
{
    char ip[IO_ADDR_TEXT_SIZE];
    io_addr_format_ip(addr, ip);
    if (addr->family == IO_UNSPEC)
        snprintf(out, IO_ADDR_TEXT_SIZE, "%s", ip);
    else
        snprintf(out, IO_ADDR_TEXT_SIZE, addr->family == IO_IPV6 ? "[%s]:%u" : "%s:%u", ip, addr->port);
    return out;
}

bool io_addr_ip_eq(const struct io_addr *a, const struct io_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool io_addr_eq(const struct io_addr *a, const struct io_addr *b)
{
    return io_addr_ip_eq(a, b) && a->port == b->port;
}

bool io_addr_is_loopback(const struct io_addr *addr)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    if (addr->family == IO_IPV4)
        return addr->ip[0] == 127;
    return addr->family == IO_IPV6 && memcmp(addr->ip, v6_loopback, sizeof v6_loopback) == 0;
}

struct io_addr io_addr_masked(const struct io_addr *addr, unsigned prefix_v4, unsigned prefix_v6)
{
    struct io_addr out = *addr;
    unsigned bits = addr->family == IO_IPV4 ? prefix_v4 : prefix_v6;
    out.port = 0;
    for (unsigned i = 0; i < sizeof out.ip; i++) {
        unsigned keep = bits > i * 8 ? bits - i * 8 : 0;
        if (keep < 8)
            out.ip[i] = (uint8_t)(out.ip[i] & ~(0xffu >> keep));
    }
    return out;
}

bool io_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct io_addr *addr_r)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    *addr_r = (struct io_addr){0};
    if (sa->sa_family == AF_INET && len >= sizeof in) {
        memcpy(&in, sa, sizeof in);
        *addr_r = addr_v4(&in.sin_addr, ntohs(in.sin_port));
    } else if (sa->sa_family == AF_INET6 && len >= sizeof in6) {
        memcpy(&in6, sa, sizeof in6);
        *addr_r = addr_v6(&in6.sin6_addr, ntohs(in6.sin6_port));
    }
    return addr_r->family != IO_UNSPEC;
}

socklen_t io_addr_to_sockaddr(const struct io_addr *addr, struct sockaddr_storage *ss_r)
{
    memset(ss_r, 0, sizeof *ss_r);
    if (addr->family == IO_IPV4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(addr->port)};
        memcpy(&in.sin_addr, addr->ip, 4);
        memcpy(ss_r, &in, sizeof in);
        return sizeof in;
    }
    if (addr->family == IO_IPV6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(addr->port)};
        memcpy(&in6.sin6_addr, addr->ip, 16);
        memcpy(ss_r, &in6, sizeof in6);
        return sizeof in6;
    }
    return 0;
}

enum cq_rc io_cidr_parse(struct cq_slice text, struct io_cidr *cidr_r, struct cq_err *err)
{
    struct cq_slice rest = text;
    struct cq_slice ip = cq_slice_cut(&rest, '/');
    bool slash = ip.len < text.len;
    struct io_addr addr;
    if (!parse_ip(ip, &addr))
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" is not a network", CQ_SLICE_ARG(cq_slice_sub(text, 0, 64)));
    uint64_t bits = addr.family == IO_IPV4 ? 32 : 128;
    if (slash && !cq_slice_u64(rest, bits, &bits))
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" has no valid prefix", CQ_SLICE_ARG(cq_slice_sub(text, 0, 64)));
    struct io_addr net = io_addr_masked(&addr, (unsigned)bits, (unsigned)bits);
    if (!io_addr_ip_eq(&net, &addr))
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" has bits past its prefix", CQ_SLICE_ARG(cq_slice_sub(text, 0, 64)));
    *cidr_r = (struct io_cidr){.net = net, .prefix = (uint8_t)bits};
    return CQ_OK;
}

bool io_cidr_match(const struct io_cidr *cidr, const struct io_addr *addr)
{
    struct io_addr masked = io_addr_masked(addr, cidr->prefix, cidr->prefix);
    return io_addr_ip_eq(&cidr->net, &masked);
}

bool io_cidr_match_any(const struct io_cidr *cidrs, size_t count, const struct io_addr *addr)
{
    for (size_t i = 0; i < count; i++)
        if (io_cidr_match(&cidrs[i], addr))
            return true;
    return false;
}
