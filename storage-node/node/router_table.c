#include "node/router_table.h"

#include <string.h>

void router_table_init(struct router_table *table)
{
    memset(table, 0, sizeof *table);
    pthread_mutex_init(&table->lock, NULL);
}

void router_table_fini(struct router_table *table)
{
    pthread_mutex_destroy(&table->lock);
}

/* Its row, or one for it: when all are taken, that of the one that has been silent for longest. */
static struct router_row *place(struct router_table *table, const uint8_t *id)
{
    struct router_row *oldest = &table->rows[0];
    for (size_t i = 0; i < table->count; i++) {
        if (!memcmp(table->rows[i].id, id, ROUTER_ID_SIZE))
            return &table->rows[i];
        if (table->rows[i].at_us < oldest->at_us)
            oldest = &table->rows[i];
    }
    return table->count < ROUTERS_MAX ? &table->rows[table->count++] : oldest;
}

void router_table_heard(struct router_table *table, const uint8_t id[static ROUTER_ID_SIZE], uint64_t now_us)
{
    pthread_mutex_lock(&table->lock);
    struct router_row *row = place(table, id);
    memcpy(row->id, id, sizeof row->id);
    row->at_us = now_us;
    pthread_mutex_unlock(&table->lock);
}

size_t router_table_count(struct router_table *table, uint64_t now_us)
{
    size_t kept = 0;
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < table->count; i++)
        if (now_us < table->rows[i].at_us + ROUTER_FRESH_US)
            table->rows[kept++] = table->rows[i];
    table->count = kept;
    pthread_mutex_unlock(&table->lock);
    return kept;
}
