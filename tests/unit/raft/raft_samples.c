#include "unit/raft/raft_samples.h"

#include "base/cq_mem.h"
#include "raft_conf.h"
#include "state/entry.h"

#include <stdlib.h>
#include <string.h>

struct raft_node sample_node(unsigned i)
{
    struct raft_node node = {{0}};
    node.uuid[0] = 0xa0;
    node.uuid[15] = (uint8_t)i;
    return node;
}

struct raft_member sample_member(unsigned i)
{
    return (struct raft_member){.replica = 100 + i, .node = sample_node(i), .role = RAFT_MEMBER_VOTER};
}

static struct raft_bytes *sample_octets(uint32_t size, unsigned salt)
{
    uint8_t *data;
    struct raft_bytes *bytes = raft_bytes_new(size, &data);
    for (uint32_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 31 + salt);
    return bytes;
}

struct raft_item *sample_item(const char *text, const uint32_t *chunk_sizes, size_t count)
{
    struct entry_chunk chunks[8];
    struct raft_body bodies[8];
    for (size_t i = 0; i < count; i++) {
        bodies[i].owner = sample_octets(chunk_sizes[i], (unsigned)i);
        bodies[i].octets = raft_bytes_slice(bodies[i].owner);
        chunks[i] = (struct entry_chunk){chunk_sizes[i], cq_xxh3_128(bodies[i].octets)};
    }
    const struct entry entry = {.version = 1,
                                .method = 20,
                                .account = 7,
                                .time = 1000,
                                .chunks = chunks,
                                .chunk_count = count,
                                .body = cq_slice_cstr(text)};
    struct cq_buf out;
    cq_buf_init(&out, ENTRY_MAX);
    if (entry_encode(&entry, &out, NULL) != CQ_OK)
        abort();
    struct raft_bytes *owner = raft_bytes_copy(cq_buf_slice(&out));
    struct raft_item *item = raft_item_new(RAFT_KIND_COMMAND, owner, raft_bytes_slice(owner), bodies, count);
    raft_bytes_unref(&owner);
    for (size_t i = 0; i < count; i++)
        raft_bytes_unref(&bodies[i].owner);
    cq_buf_fini(&out);
    return item;
}

struct raft_item *sample_barrier(void)
{
    return raft_item_new(RAFT_KIND_BARRIER, NULL, CQ_SLICE_NONE, NULL, 0);
}

struct raft_item *sample_change(size_t members)
{
    struct raft_member list[RAFT_MEMBERS_MAX];
    struct cq_buf out;
    for (unsigned i = 0; i < members; i++)
        list[i] = sample_member(i);
    cq_buf_init(&out, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(list, members, &out);
    struct raft_bytes *owner = raft_bytes_copy(cq_buf_slice(&out));
    struct raft_item *item = raft_item_new(RAFT_KIND_CHANGE, owner, raft_bytes_slice(owner), NULL, 0);
    raft_bytes_unref(&owner);
    cq_buf_fini(&out);
    return item;
}
