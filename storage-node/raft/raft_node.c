#include "raft/raft_host.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

/* A hyphen stands before these bytes (RFC 9562 section 4: 8-4-4-4-12 digits). */
static bool hyphen_before(unsigned i)
{
    return i == 4 || i == 6 || i == 8 || i == 10;
}

void raft_node_text(const struct raft_node *node, char text_r[static RAFT_NODE_TEXT_SIZE])
{
    char *at = text_r;
    for (unsigned i = 0; i < 16; i++) {
        if (hyphen_before(i))
            *at++ = '-';
        *at++ = hex_digits[node->uuid[i] >> 4];
        *at++ = hex_digits[node->uuid[i] & 15];
    }
    *at = 0;
}

static int hex_value(uint8_t c)
{
    c = cq_ascii_lower(c);
    if (cq_ascii_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool raft_node_parse(struct cq_slice text, struct raft_node *node_r)
{
    if (text.len != RAFT_NODE_TEXT_SIZE - 1)
        return false;
    const uint8_t *at = text.data;
    for (unsigned i = 0; i < 16; i++) {
        if (hyphen_before(i) && *at++ != '-')
            return false;
        int high = hex_value(at[0]), low = hex_value(at[1]);
        if (high < 0 || low < 0)
            return false;
        node_r->uuid[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

bool raft_node_eq(const struct raft_node *a, const struct raft_node *b)
{
    return memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0;
}
