#include "io/io_resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

struct lookup {
    char host[IO_RESOLVE_NAME_MAX + 1];
    uint16_t port;
    struct io_addr *addrs;
    size_t max, count;
    int result; /* of getaddrinfo */
};

/* On a pool's thread. */
static void look_up(void *arg)
{
    struct lookup *lookup = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    lookup->result = getaddrinfo(lookup->host, NULL, &hints, &list);
    for (struct addrinfo *ai = lookup->result ? NULL : list; ai && lookup->count < lookup->max; ai = ai->ai_next) {
        struct io_addr *addr = &lookup->addrs[lookup->count];
        if (!io_addr_from_sockaddr(ai->ai_addr, ai->ai_addrlen, addr))
            continue;
        addr->port = lookup->port;
        lookup->count++;
    }
    if (list)
        freeaddrinfo(list);
}

static bool is_temporary(int result)
{
    return result == EAI_AGAIN || result == EAI_SYSTEM || result == EAI_MEMORY || result == EAI_FAIL;
}

enum cq_rc io_resolve(struct io_pool *pool, struct cq_slice host_port, struct io_addr *addrs_r, size_t max,
                      size_t *count_r, uint64_t deadline_us, struct cq_err *err)
{
    struct lookup lookup = {.addrs = addrs_r, .max = max};
    *count_r = 0;
    if (io_addr_parse(host_port, 0, &addrs_r[0], NULL) == CQ_OK && addrs_r[0].port) {
        *count_r = 1;
        return CQ_OK;
    }
    struct cq_slice rest = host_port, host = cq_slice_cut(&rest, ':');
    uint64_t port;
    if (host.len == 0 || host.len > IO_RESOLVE_NAME_MAX || memchr(host.data, 0, host.len) ||
        !cq_slice_u64(rest, UINT16_MAX, &port) || port == 0)
        return CQ_FAIL(err, CQ_E_INVALID, "\"%.*s\" is not host:port", CQ_SLICE_ARG(cq_slice_sub(host_port, 0, 300)));
    memcpy(lookup.host, host.data, host.len);
    lookup.port = (uint16_t)port;
    enum cq_rc rc = io_pool_run(pool, look_up, &lookup, deadline_us);
    if (rc != CQ_OK)
        return CQ_FAIL(err, rc, "looking up %s: %s", lookup.host, cq_rc_text(rc));
    if (lookup.result && is_temporary(lookup.result))
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "looking up %s: %s", lookup.host, gai_strerror(lookup.result));
    if (lookup.count == 0)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "%s has no address", lookup.host);
    *count_r = lookup.count;
    return CQ_OK;
}
