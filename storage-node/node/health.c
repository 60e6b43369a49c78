#include "node/health.h"

#include "base/cq_endian.h"
#include "node/space.h"

void health_encode(const struct health_report *r, uint8_t out[static HEALTH_SIZE])
{
    memset(out, 0, HEALTH_SIZE);
    out[0] = HEALTH_VERSION;
    out[1] = (uint8_t)r->disk;
    out[2] = r->space;
    if (r->counts_routers)
        out[3] = (uint8_t)(1 + (r->routers < HEALTH_ROUTERS_MAX ? r->routers : HEALTH_ROUTERS_MAX));
    cq_put_be32(out + 4, r->sync_us);
    cq_put_be64(out + 8, r->free_bytes);
    cq_put_be64(out + 16, r->total_bytes);
}

enum cq_rc health_decode(struct cq_slice bytes, struct health_report *r)
{
    if (bytes.len < HEALTH_SIZE || bytes.data[0] < HEALTH_VERSION)
        return CQ_E_PROTO;
    *r = (struct health_report){.disk = bytes.data[1] < DISK_STATES ? (enum disk_state)bytes.data[1] : DISK_STALLED,
                                .space = bytes.data[2] < SPACE_LEVELS ? bytes.data[2] : SPACE_FULL,
                                .counts_routers = bytes.data[3] > 0,
                                .routers = bytes.data[3] > 0 ? (uint8_t)(bytes.data[3] - 1) : 0,
                                .sync_us = cq_get_be32(bytes.data + 4),
                                .free_bytes = cq_get_be64(bytes.data + 8),
                                .total_bytes = cq_get_be64(bytes.data + 16)};
    return CQ_OK;
}

void health_table_init(struct health_table *table)
{
    memset(table, 0, sizeof *table);
    pthread_mutex_init(&table->lock, NULL);
}

void health_table_fini(struct health_table *table)
{
    pthread_mutex_destroy(&table->lock);
}

static struct health_row *find(struct health_table *table, const struct raft_node *node)
{
    for (size_t i = 0; i < table->count; i++)
        if (raft_node_eq(&table->rows[i].node, node))
            return &table->rows[i];
    return NULL;
}

/* The one that has been silent for longest makes room. */
static struct health_row *place(struct health_table *table)
{
    if (table->count < HEALTH_NODES_MAX)
        return &table->rows[table->count++];
    struct health_row *oldest = &table->rows[0];
    for (size_t i = 1; i < table->count; i++)
        if (table->rows[i].at_us < oldest->at_us)
            oldest = &table->rows[i];
    return oldest;
}

void health_table_set(struct health_table *table, const struct raft_node *node, const struct health_report *report,
                      uint64_t now_us)
{
    pthread_mutex_lock(&table->lock);
    struct health_row *row = find(table, node);
    if (!row)
        row = place(table);
    *row = (struct health_row){*node, now_us, *report};
    pthread_mutex_unlock(&table->lock);
}

bool health_table_last(struct health_table *table, const struct raft_node *node, struct health_report *report_r,
                       uint64_t *at_us_r)
{
    pthread_mutex_lock(&table->lock);
    const struct health_row *row = find(table, node);
    if (row) {
        *report_r = row->report;
        *at_us_r = row->at_us;
    }
    pthread_mutex_unlock(&table->lock);
    return row != NULL;
}

bool health_table_get(struct health_table *table, const struct raft_node *node, uint64_t now_us,
                      struct health_report *report_r)
{
    pthread_mutex_lock(&table->lock);
    const struct health_row *row = find(table, node);
    bool fresh = row && now_us < row->at_us + HEALTH_FRESH_US;
    if (fresh)
        *report_r = row->report;
    pthread_mutex_unlock(&table->lock);
    return fresh;
}
