#include "directory/dir_pg_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_text.h"

/* Of pg_type, fixed for ever (catalog/pg_type.dat). */
enum { OID_BOOL = 16, OID_INT8 = 20, OID_TEXT = 25 };

static int next_param(struct pg_params *params, Oid type)
{
    CQ_ASSERT(params->count < PG_PARAMS_MAX);
    int i = params->count++;
    params->types[i] = type;
    params->formats[i] = 1;
    return i;
}

void pg_param_text(struct pg_params *params, struct cq_slice text)
{
    int i = next_param(params, OID_TEXT);
    params->values[i] = text.len ? (const char *)text.data : "";
    params->lengths[i] = (int)text.len;
    if (text.len > INT32_MAX || !cq_utf8_valid(text) || cq_slice_find(text, '\0') < text.len)
        params->no_text = true;
}

void pg_param_int(struct pg_params *params, uint64_t value)
{
    int i = next_param(params, OID_INT8);
    cq_put_be64(params->numbers[i], value);
    params->values[i] = (const char *)params->numbers[i];
    params->lengths[i] = 8;
}

void pg_param_bool(struct pg_params *params, bool value)
{
    int i = next_param(params, OID_BOOL);
    params->numbers[i][0] = value;
    params->values[i] = (const char *)params->numbers[i];
    params->lengths[i] = 1;
}

struct cq_slice pg_peek(const PGresult *result, int row, int column)
{
    return cq_slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

bool pg_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) != 0;
}

/* Statements cast to bigint; anything else would be a mistake of ours. */
uint64_t pg_int(const PGresult *result, int row, int column)
{
    struct cq_slice value = pg_peek(result, row, column);
    if (pg_null(result, row, column))
        return 0;
    CQ_ASSERT(value.len == 8);
    return cq_get_be64(value.data);
}

bool pg_bool(const PGresult *result, int row, int column)
{
    struct cq_slice value = pg_peek(result, row, column);
    return value.len == 1 && value.data[0];
}

struct cq_slice pg_text(const PGresult *result, int row, int column, struct cq_pool *pool)
{
    return cq_pool_slice(pool, pg_peek(result, row, column));
}
