/* Records as bytes: a table of fixed little-endian fields, then what varies. A record is a version byte, the fields of
 * its table in order, and its tail (docs/formats/state.md). */
#ifndef WIRE_H
#define WIRE_H

#include "base/cq_buf.h"

struct wire_field {
    uint16_t offset; /* in the struct */
    uint8_t size;    /* 1, 2, 4 or 8 bytes, in the struct as in the record */
};
#define WIRE(type, member)                                                                                             \
    {                                                                                                                  \
        (uint16_t) offsetof(type, member), (uint8_t)sizeof(((type *)NULL)->member)                                     \
    }

struct wire_table {
    uint8_t version;
    const struct wire_field *fields;
    size_t count;
};
#define WIRE_TABLE(version, fields)                                                                                    \
    {                                                                                                                  \
        (version), (fields), sizeof(fields) / sizeof((fields)[0])                                                      \
    }

/* Appends the version and the fields. */
void wire_put(const struct wire_table *table, const void *record, struct cq_buf *out);

/* Takes version and fields off *in. CQ_E_CORRUPT when it is too short, CQ_E_VERSION for another version. Members that
 * the table does not name are left alone. */
enum cq_rc wire_get(const struct wire_table *table, struct cq_slice *in, void *record);

/* Bytes of the fixed part, with the version. */
size_t wire_size(const struct wire_table *table);

/* Takes a counted string off *in; false when it is cut short. */
bool wire_string8(struct cq_slice *in, struct cq_slice *value_r);
bool wire_string16(struct cq_slice *in, struct cq_slice *value_r);
void wire_put_string8(struct cq_buf *out, struct cq_slice value);
void wire_put_string16(struct cq_buf *out, struct cq_slice value);

#endif
