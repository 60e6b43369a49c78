/* Internet addresses as plain values: parse, format, networks. Pure, except the socket conversions. */
#ifndef IO_NET_H
#define IO_NET_H

#include <sys/socket.h>

#include "base/cq_err.h"
#include "base/cq_slice.h"

enum io_family { IO_UNSPEC = 0, IO_IPV4 = 4, IO_IPV6 = 6 }; /* unspec: a socketpair, an unknown peer */

/* An IPv4-mapped IPv6 address is always kept as IPv4, so equal peers are equal bytes. */
struct io_addr {
    uint8_t family; /* enum io_family */
    uint16_t port;  /* host order */
    uint8_t ip[16]; /* network order; IPv4 in the first four, the rest zero */
};

#define IO_ADDR_TEXT_SIZE 56 /* "[ipv6]:port" and a NUL */

/* "192.0.2.1", "192.0.2.1:25", "2001:db8::1", "[2001:db8::1]:25". Without a port default_port is taken. */
enum cq_rc io_addr_parse(struct cq_slice text, uint16_t default_port, struct io_addr *addr_r, struct cq_err *err);

/* With port; RFC 5952 form. "unknown" for IO_UNSPEC. Returns out. */
const char *io_addr_format(const struct io_addr *addr, char out[static IO_ADDR_TEXT_SIZE]);
/* Without port and brackets. */
const char *io_addr_format_ip(const struct io_addr *addr, char out[static IO_ADDR_TEXT_SIZE]);

bool io_addr_eq(const struct io_addr *a, const struct io_addr *b);    /* with port */
bool io_addr_ip_eq(const struct io_addr *a, const struct io_addr *b); /* without */
bool io_addr_is_loopback(const struct io_addr *addr);

/* The network part, the rest zero and the port 0: a key for limits by address (IPv6: prefix_v6 is 64 as a rule). */
struct io_addr io_addr_masked(const struct io_addr *addr, unsigned prefix_v4, unsigned prefix_v6);

bool io_addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct io_addr *addr_r); /* false: not IP */
socklen_t io_addr_to_sockaddr(const struct io_addr *addr, struct sockaddr_storage *ss_r);     /* 0: IO_UNSPEC */

struct io_cidr {
    struct io_addr net; /* masked */
    uint8_t prefix;
};

/* "10.0.0.0/8", "2001:db8::/32", or one address. Bits set past the prefix are refused. */
enum cq_rc io_cidr_parse(struct cq_slice text, struct io_cidr *cidr_r, struct cq_err *err);
bool io_cidr_match(const struct io_cidr *cidr, const struct io_addr *addr);
bool io_cidr_match_any(const struct io_cidr *cidrs, size_t count, const struct io_addr *addr);

#endif
