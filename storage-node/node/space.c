#include "node/space.h"

#include <stdlib.h>

#include "mailstore/mailstore.h"
#include "proto/mail.pb-c.h"

static const char *const names[SPACE_LEVELS] = {[SPACE_FREE] = "free",
                                                [SPACE_NO_GROWTH] = "no growth",
                                                [SPACE_DELETES] = "deletes only",
                                                [SPACE_LAST] = "last",
                                                [SPACE_FULL] = "full"};

const char *space_level_name(enum space_level level)
{
    return (unsigned)level < SPACE_LEVELS ? names[level] : "unknown";
}

uint32_t space_used_permille(uint64_t free_bytes, uint64_t total_bytes)
{
    if (total_bytes == 0 || free_bytes >= total_bytes)
        return 0;
    return (uint32_t)((double)(total_bytes - free_bytes) * 1000.0 / (double)total_bytes);
}

enum space_level space_judge(const struct space_limits *limits, const struct space_sample *sample,
                             enum space_level before)
{
    const int64_t begins[SPACE_LEVELS] = {0, limits->no_growth, limits->deletes, limits->last, SPACE_FULL_PERCENT};
    int64_t used = space_used_permille(sample->free_bytes, sample->total_bytes);
    int level = SPACE_FREE;
    for (int i = SPACE_NO_GROWTH; i < SPACE_LEVELS; i++) {
        int64_t from = begins[i] * 10 - (i <= (int)before ? SPACE_BACK_PERCENT * 10 : 0);
        if (used >= from)
            level = i;
    }
    return sample->free_bytes < sample->needed_bytes ? SPACE_FULL : (enum space_level)level;
}

static int by_level(const void *a, const void *b)
{
    return (int)*(const enum space_level *)a - (int)*(const enum space_level *)b;
}

enum space_level space_of_voters(enum space_level *levels, size_t count)
{
    if (count == 0)
        return SPACE_FREE;
    qsort(levels, count, sizeof *levels, by_level);
    return levels[count / 2];
}

/* ---- Commands ---- */

static bool marks_deleted(struct cq_slice message)
{
    Chasqui__Mail__Store *store = chasqui__mail__store__unpack(NULL, message.len, message.data);
    bool deletes = !store || ((store->flags & MAIL_DELETED) && store->mode != CHASQUI__MAIL__STORE__MODE__REMOVE);
    if (store)
        chasqui__mail__store__free_unpacked(store, NULL);
    return deletes;
}

/* The level at which a method is refused; SPACE_LEVELS: never. What is not named here is refused at SPACE_DELETES.
 * CLAIM_RECENT is part of opening a mailbox, and reading goes on. */
static const struct {
    uint32_t method;
    enum space_level from;
} rules[] = {
    {CHASQUI__MAIL__METHOD__CREATE_ACCOUNT, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__APPEND, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__DELIVER, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__STAGE, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__COPY, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__KEEP_DELIVERY_KEY, SPACE_NO_GROWTH},
    {CHASQUI__MAIL__METHOD__DELETE_ACCOUNT, SPACE_LEVELS},
    {CHASQUI__MAIL__METHOD__DELETE_MAILBOX, SPACE_LEVELS},
    {CHASQUI__MAIL__METHOD__EXPUNGE, SPACE_LEVELS},
    {CHASQUI__MAIL__METHOD__CLAIM_RECENT, SPACE_LEVELS},
};

bool space_allows(enum space_level level, uint32_t method, struct cq_slice message)
{
    if (level < SPACE_NO_GROWTH)
        return true;
    if (method == CHASQUI__MAIL__METHOD__STORE)
        return level < SPACE_DELETES || marks_deleted(message);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].method == method)
            return level < rules[i].from;
    return level < SPACE_DELETES;
}
