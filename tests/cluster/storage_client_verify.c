/* verify: what is there is what was acknowledged. */
#include "storage_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/cq_endian.h"
#include "base/cq_mem.h"

struct line {
    bool acked, seen;
    uint64_t account, seed;
    uint32_t uid, size;
};
static struct line *lines;
static size_t line_count;

void verify_read_file(FILE *file)
{
    char kind[16];
    unsigned long long account, seed;
    unsigned uid, size;
    size_t cap = 0;
    while (fscanf(file, "%15s %llu %u %llu %u", kind, &account, &uid, &seed, &size) == 5) {
        if (line_count == cap)
            lines = cq_realloc(lines, (cap = cap ? cap * 2 : 1024) * sizeof *lines);
        lines[line_count++] =
            (struct line){.acked = kind[0] == 'o', .account = account, .uid = uid, .seed = seed, .size = size};
    }
}

size_t verify_line_count(void)
{
    return line_count;
}

static struct line *find_line(uint64_t account, uint64_t seed)
{
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].account == account && lines[i].seed == seed)
            return &lines[i];
    return NULL;
}

static bool read_whole(struct session *s, const struct fetch_record *record, struct cq_buf *out)
{
    struct cq_err err = {0};
    while (out->len < record->size) {
        struct cq_slice octets;
        enum cq_rc rc = mailstore_read_body(s->store, &s->account, record->email, out->len,
                                            (uint32_t)(record->size - out->len), s->pool, &octets, &err);
        if (rc != CQ_OK || octets.len == 0) {
            complain(s, "read body", rc, &err);
            return false;
        }
        cq_buf_slice_add(out, octets);
    }
    return true;
}

static void check_message(struct session *s, const struct fetch_record *record)
{
    struct cq_buf out;
    cq_buf_init(&out, 4u << 20);
    if (read_whole(s, record, &out)) {
        struct line *line = out.len >= 8 ? find_line(s->account.id, cq_get_be64(out.data)) : NULL;
        uint8_t *octets = line ? octets_of(line->seed, line->size) : NULL;
        if (!line)
            wrong(s, record->uid, "nobody has written this message");
        else if (line->seen)
            wrong(s, record->uid, "the message is there twice");
        else if (line->acked && line->uid != record->uid)
            wrong(s, record->uid, "the message was acknowledged under another UID");
        else if (out.len != line->size || memcmp(out.data, octets, out.len) != 0)
            wrong(s, record->uid, "the octets are not those that were written");
        if (line)
            line->seen = true;
        free(octets);
    }
    cq_buf_fini(&out);
}

void verify_fiber(void *arg)
{
    struct session *s = arg;
    struct cq_err err = {0};
    struct uid_range all = {1, UINT32_MAX};
    const struct uidset uids = {&all, 1};
    uint32_t last_uid = 0;
    if (find_inbox(s)) {
        struct mail_records records = {.next_uid = 1};
        while (records.next_uid) {
            all.first = records.next_uid;
            enum cq_rc rc = mailstore_fetch(s->store, &s->account, s->inbox, &uids, false, s->pool, &records, &err);
            if (rc != CQ_OK) {
                complain(s, "fetch", rc, &err);
                break;
            }
            struct fetch_record record;
            while (fetch_record_next(&records.records, &record) == CQ_OK) {
                if (record.uid <= last_uid)
                    wrong(s, record.uid, "UIDs do not rise");
                last_uid = record.uid;
                check_message(s, &record);
            }
        }
    }
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].account == s->account.id && lines[i].acked && !lines[i].seen)
            wrong(s, lines[i].uid, "acknowledged, and lost");
    s->client->running--;
}
