#include "imap/imap_known.h"

#include "base/cq_mem.h"

#include <stdlib.h>

struct imap_known {
    unsigned next; /* the place of the next one */
    struct message {
        uint32_t uid, size; /* uid 0: nothing is here yet */
        int64_t internal_date;
        uint64_t email;
    } messages[IMAP_KNOWN_MAX];
};

void imap_known_free(struct imap_known **known)
{
    free(*known);
    *known = NULL;
}

void imap_known_add(struct imap_known **known, const struct fetch_record *record)
{
    if (!*known)
        *known = cq_new(struct imap_known);
    (*known)->messages[(*known)->next++ % IMAP_KNOWN_MAX] =
        (struct message){record->uid, record->size, record->internal_date, record->email};
}

bool imap_known_find(const struct imap_known *known, uint32_t uid, struct fetch_record *record_r)
{
    for (unsigned i = 0; known && uid && i < IMAP_KNOWN_MAX; i++) {
        const struct message *m = &known->messages[i];
        if (m->uid != uid)
            continue;
        /* No save date: its octets are not looked for in memory, for only the shard can say that it is still there. */
        *record_r =
            (struct fetch_record){.uid = uid, .size = m->size, .internal_date = m->internal_date, .email = m->email};
        return true;
    }
    return false;
}
