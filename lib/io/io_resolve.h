/* Names to addresses, by the system's resolver (getaddrinfo) on a pool's thread. For peers in a configuration; mail
 * routing (MX, DNSSEC) needs a real resolver and is not this. */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

#include "io/io_net.h"
#include "io/io_pool.h"

#define IO_RESOLVE_NAME_MAX 253 /* bytes of a host name (RFC 1035 2.3.4) */

/* On a fiber. "host:port", "[ip]:port" or "ip:port"; literal addresses are not looked up. Fills at most max addresses
 * in the resolver's order, *count_r > 0 on CQ_OK. CQ_E_NOT_FOUND: no such name; CQ_E_UNAVAILABLE: try later. */
enum cq_rc io_resolve(struct io_pool *pool, struct cq_slice host_port, struct io_addr *addrs_r, size_t max,
                      size_t *count_r, uint64_t deadline_us, struct cq_err *err);

#endif
