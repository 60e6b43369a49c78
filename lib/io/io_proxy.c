#include "io/io_proxy.h"

#include <string.h>

#include "base/cq_endian.h"

/* Section 2.2: the signature of version 2; no protocol of ours begins like it. */
static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
#define V2_FIXED 16 /* signature, version and command, family, length */

static bool begins(struct cq_slice data, struct cq_slice with)
{
    size_t n = data.len < with.len ? data.len : with.len;
    return memcmp(data.data, with.data, n) == 0;
}

/* One of a v1 line's two addresses: exactly in the family that the line names. */
static bool v1_addr(struct cq_slice ip, struct cq_slice port, enum io_family family, struct io_addr *addr_r)
{
    uint64_t number;
    if (io_addr_parse(ip, 0, addr_r, NULL) != CQ_OK || (ip.data[0] == '[') || !cq_slice_u64(port, UINT16_MAX, &number))
        return false;
    bool has_colon = cq_slice_find(ip, ':') < ip.len;
    if (has_colon != (family == IO_IPV6) || (port.len > 1 && port.data[0] == '0'))
        return false;
    addr_r->port = (uint16_t)number;
    return true;
}

/* Section 2.1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" */
static enum cq_rc v1_fields(struct cq_slice line, struct io_proxy *proxy, struct cq_err *err)
{
    cq_slice_cut(&line, ' '); /* PROXY */
    struct cq_slice kind = cq_slice_cut(&line, ' ');
    if (cq_slice_eq(kind, CQ_SLICE("UNKNOWN"))) { /* the rest of the line must be ignored */
        proxy->local = true;
        return CQ_OK;
    }
    enum io_family family = IO_UNSPEC;
    if (cq_slice_eq(kind, CQ_SLICE("TCP4")))
        family = IO_IPV4;
    if (cq_slice_eq(kind, CQ_SLICE("TCP6")))
        family = IO_IPV6;
    struct cq_slice source = cq_slice_cut(&line, ' '), dest = cq_slice_cut(&line, ' ');
    struct cq_slice source_port = cq_slice_cut(&line, ' '), dest_port = line;
    if (family == IO_UNSPEC || !v1_addr(source, source_port, family, &proxy->source) ||
        !v1_addr(dest, dest_port, family, &proxy->dest))
        return CQ_FAIL(err, CQ_E_PROTO, "malformed PROXY v1 line");
    return CQ_OK;
}

static enum cq_rc v1_parse(struct cq_slice data, struct io_proxy *proxy, struct cq_err *err)
{
    struct cq_slice head = cq_slice_sub(data, 0, IO_PROXY_V1_MAX);
    size_t lf = cq_slice_find(head, '\n');
    if (lf == head.len && head.len < IO_PROXY_V1_MAX)
        return CQ_E_AGAIN;
    if (lf == head.len || head.data[lf - 1] != '\r')
        return CQ_FAIL(err, CQ_E_PROTO, "PROXY v1 line without CR LF in %d bytes", IO_PROXY_V1_MAX);
    proxy->header_len = lf + 1;
    return v1_fields(cq_slice_sub(head, 0, lf - 1), proxy, err);
}

static struct io_addr v2_addr(const uint8_t *ip, size_t size, const uint8_t *port)
{
    struct io_addr addr = {.family = size == 4 ? IO_IPV4 : IO_IPV6};
    memcpy(addr.ip, ip, size);
    struct sockaddr_storage ss; /* IPv4-mapped ones become IPv4, as everywhere */
    socklen_t len = io_addr_to_sockaddr(&addr, &ss);
    io_addr_from_sockaddr((struct sockaddr *)&ss, len, &addr);
    addr.port = cq_get_be16(port);
    return addr;
}

/* Section 2.2: family and transport in one byte; only TCP over IPv4 and IPv6 carries addresses that we use. */
static enum cq_rc v2_addresses(const uint8_t *fixed, size_t len, struct io_proxy *proxy, struct cq_err *err)
{
    static const struct {
        uint8_t family;
        uint8_t ip_size; /* 0: no address to use */
    } families[] = {{0x00, 0}, {0x11, 4}, {0x21, 16}, {0x31, 0}};
    const uint8_t *body = fixed + V2_FIXED;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        size_t size = families[i].ip_size;
        if (families[i].family != fixed[13])
            continue;
        if (size == 0) {
            proxy->local = true;
            return CQ_OK;
        }
        if (len < 2 * size + 4)
            return CQ_FAIL(err, CQ_E_PROTO, "PROXY v2 header of %zu bytes has no room for its addresses", len);
        proxy->source = v2_addr(body, size, body + 2 * size);
        proxy->dest = v2_addr(body + size, size, body + 2 * size + 2);
        return CQ_OK;
    }
    return CQ_FAIL(err, CQ_E_PROTO, "PROXY v2 family 0x%02x", fixed[13]);
}

static enum cq_rc v2_parse(struct cq_slice data, struct io_proxy *proxy, struct cq_err *err)
{
    if (data.len < V2_FIXED)
        return CQ_E_AGAIN;
    uint8_t version = data.data[12] >> 4, command = data.data[12] & 0x0f;
    size_t len = cq_get_be16(data.data + 14);
    if (version != 2 || command > 1)
        return CQ_FAIL(err, CQ_E_PROTO, "PROXY version and command 0x%02x", data.data[12]);
    if (V2_FIXED + len > IO_PROXY_HEADER_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "PROXY v2 header of %zu bytes", V2_FIXED + len);
    if (data.len < V2_FIXED + len)
        return CQ_E_AGAIN;
    proxy->header_len = V2_FIXED + len;
    proxy->local = command == 0; /* LOCAL: a health check of the proxy's own; addresses are to be ignored */
    return proxy->local ? CQ_OK : v2_addresses(data.data, len, proxy, err);
}

enum cq_rc io_proxy_parse(struct cq_slice data, struct io_proxy *proxy_r, struct cq_err *err)
{
    struct cq_slice v1 = CQ_SLICE("PROXY "), v2 = cq_slice_of(v2_signature, sizeof v2_signature);
    *proxy_r = (struct io_proxy){0};
    if (data.len == 0)
        return CQ_E_AGAIN;
    if (begins(data, v1))
        return v1_parse(data, proxy_r, err);
    if (begins(data, v2))
        return v2_parse(data, proxy_r, err);
    return CQ_FAIL(err, CQ_E_PROTO, "no PROXY header");
}
