#include "raft_conf.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"

#define CONF_FORMAT 1 /* libraft's */
#define CONF_HEAD 9   /* format u8, members u64 */
#define CONF_MEMBER (8 + RAFT_NODE_TEXT_SIZE + 1)

static const uint8_t role_bytes[] = {
    [RAFT_MEMBER_VOTER] = RAFT_VOTER, [RAFT_MEMBER_STANDBY] = RAFT_STANDBY, [RAFT_MEMBER_SPARE] = RAFT_SPARE};
#define ROLES (sizeof role_bytes / sizeof *role_bytes)

static bool role_parse(uint8_t byte, enum raft_member_role *role_r)
{
    for (size_t i = 0; i < ROLES; i++) {
        if (role_bytes[i] != byte)
            continue;
        *role_r = (enum raft_member_role)i;
        return true;
    }
    return false;
}

static bool member_repeats(const struct raft_member *members, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (members[j].replica == members[i].replica || raft_node_eq(&members[j].node, &members[i].node))
            return true;
    }
    return false;
}

enum cq_rc raft_conf_check(const struct raft_member *members, size_t count, struct cq_err *err)
{
    size_t voters = 0;
    if (count == 0 || count > RAFT_MEMBERS_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "configuration of %zu members", count);
    for (size_t i = 0; i < count; i++) {
        if (members[i].replica == 0 || (size_t)members[i].role >= ROLES || member_repeats(members, i))
            return CQ_FAIL(err, CQ_E_INVALID, "member %zu of the configuration is not valid", i);
        voters += members[i].role == RAFT_MEMBER_VOTER;
    }
    return voters ? CQ_OK : CQ_FAIL(err, CQ_E_INVALID, "configuration without a voter");
}

static size_t conf_size(size_t count)
{
    return (CONF_HEAD + count * CONF_MEMBER + 7) & ~(size_t)7;
}

void raft_conf_encode(const struct raft_member *members, size_t count, struct cq_buf *out)
{
    CQ_ASSERT(count <= RAFT_MEMBERS_MAX);
    uint8_t bytes[CONF_HEAD + RAFT_MEMBERS_MAX * CONF_MEMBER + 8] = {CONF_FORMAT};
    cq_put_le64(bytes + 1, count);
    uint8_t *at = bytes + CONF_HEAD;
    for (size_t i = 0; i < count; i++, at += CONF_MEMBER) {
        char text[RAFT_NODE_TEXT_SIZE];
        raft_node_text(&members[i].node, text);
        cq_put_le64(at, members[i].replica);
        memcpy(at + 8, text, sizeof text);
        at[8 + sizeof text] = role_bytes[members[i].role];
    }
    cq_buf_add(out, bytes, conf_size(count));
}

static bool member_parse(const uint8_t *at, struct raft_member *member_r)
{
    member_r->replica = cq_get_le64(at);
    return raft_node_parse(cq_slice_of(at + 8, RAFT_NODE_TEXT_SIZE - 1), &member_r->node) &&
           role_parse(at[8 + RAFT_NODE_TEXT_SIZE], &member_r->role);
}

/* One configuration has one encoding: padding, upper case, anything else is not ours. */
static bool is_canonical(const struct raft_conf *conf, struct cq_slice bytes)
{
    struct cq_buf again;
    cq_buf_init(&again, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(conf->members, conf->count, &again);
    bool same = cq_slice_eq(cq_buf_slice(&again), bytes);
    cq_buf_fini(&again);
    return same;
}

enum cq_rc raft_conf_parse(struct cq_slice bytes, struct raft_conf *conf_r, struct cq_err *err)
{
    if (bytes.len < CONF_HEAD || bytes.data[0] != CONF_FORMAT)
        return CQ_FAIL(err, CQ_E_CORRUPT, "configuration of %zu bytes", bytes.len);
    uint64_t count = cq_get_le64(bytes.data + 1);
    if (count > RAFT_MEMBERS_MAX || bytes.len != conf_size(count))
        return CQ_FAIL(err, CQ_E_CORRUPT, "configuration's length is wrong");
    conf_r->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!member_parse(bytes.data + CONF_HEAD + i * CONF_MEMBER, &conf_r->members[i]))
            return CQ_FAIL(err, CQ_E_CORRUPT, "member %zu of the configuration does not parse", i);
    }
    if (raft_conf_check(conf_r->members, conf_r->count, err) != CQ_OK)
        return CQ_E_CORRUPT;
    return is_canonical(conf_r, bytes) ? CQ_OK : CQ_FAIL(err, CQ_E_CORRUPT, "configuration is not canonical");
}

void raft_conf_to_raft(const struct raft_conf *conf, struct raft_configuration *out)
{
    raft_configuration_init(out);
    for (size_t i = 0; i < conf->count; i++) {
        char text[RAFT_NODE_TEXT_SIZE];
        raft_node_text(&conf->members[i].node, text);
        CQ_ASSERT(raft_configuration_add(out, conf->members[i].replica, text, role_bytes[conf->members[i].role]) == 0);
    }
}

const struct raft_member *raft_conf_find(const struct raft_conf *conf, uint64_t replica)
{
    for (size_t i = 0; i < conf->count; i++) {
        if (conf->members[i].replica == replica)
            return &conf->members[i];
    }
    return NULL;
}

size_t raft_conf_voters(const struct raft_conf *conf)
{
    size_t voters = 0;
    for (size_t i = 0; i < conf->count; i++)
        voters += conf->members[i].role == RAFT_MEMBER_VOTER;
    return voters;
}
