/* The PROXY protocol header, versions 1 and 2 (haproxy.org proxy-protocol.txt): a pure parser. */
#ifndef IO_PROXY_H
#define IO_PROXY_H

#include "io/io_net.h"

#define IO_PROXY_V1_MAX 107      /* bytes of a v1 line with CR LF */
#define IO_PROXY_HEADER_MAX 2048 /* bytes of a v2 header with its TLVs; ours, the protocol allows 65,551 */

struct io_proxy {
    bool local; /* v2 LOCAL, v1 UNKNOWN, v2 AF_UNSPEC and AF_UNIX: the proxy speaks for itself; keep the socket's
                   addresses */
    struct io_addr source;
    struct io_addr dest;
    size_t header_len; /* bytes that the header takes; the protocol's own follow */
};

/* CQ_OK; CQ_E_AGAIN: the beginning of a header, more is needed; CQ_E_PROTO: this is not a header (any first byte that
 * cannot begin one says so at once) or a malformed one; CQ_E_TOO_BIG: over IO_PROXY_HEADER_MAX. */
enum cq_rc io_proxy_parse(struct cq_slice data, struct io_proxy *proxy_r, struct cq_err *err);

#endif
