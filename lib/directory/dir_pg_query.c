#include "directory/dir_pg_private.h"

#include <string.h>

#define TRIES_MAX 3

/* What an SQLSTATE (or the class that it begins with) means here. CQ... are refusals of our own functions. */
static const struct {
    const char *state;
    enum cq_rc rc;
    bool again;       /* the transaction did nothing; another attempt may succeed */
    bool drop;        /* another connection may do better */
    const char *todo; /* NULL: the server's text is for the caller as it is */
} states[] = {
    {"CQEXI", CQ_E_EXISTS, false, false, NULL},
    {"CQNOT", CQ_E_NOT_FOUND, false, false, NULL},
    {"CQCON", CQ_E_CONFLICT, false, false, NULL},
    {"CQLIM", CQ_E_LIMIT, false, false, NULL},
    {"CQINV", CQ_E_INVALID, false, false, NULL},
    {"CQUNS", CQ_E_UNSUPPORTED, false, false, NULL},
    {"23505", CQ_E_EXISTS, false, false, NULL},
    {"23", CQ_E_CONFLICT, false, false, NULL},
    {"25006", CQ_E_UNAVAILABLE, false, true, "it is read-only: name the primary in directory.postgresql.dsn"},
    {"40", CQ_E_UNAVAILABLE, true, false, ""},
    {"53100", CQ_E_NO_SPACE, false, false, "its disk is full"},
    {"53", CQ_E_UNAVAILABLE, true, false, ""},
    {"55P03", CQ_E_UNAVAILABLE, true, false, ""},
    {"57P", CQ_E_UNAVAILABLE, true, true, ""},
    {"57014", CQ_E_UNAVAILABLE, false, false, "statement_timeout is too short, or somebody cancelled it"},
    {"08", CQ_E_UNAVAILABLE, true, true, ""},
    {"3F000", CQ_E_UNAVAILABLE, false, true, "run: chasquictl db migrate"},
    {"42P01", CQ_E_UNAVAILABLE, false, true, "run: chasquictl db migrate"},
    {"42883", CQ_E_UNAVAILABLE, false, true, "run: chasquictl db migrate"},
    {"42703", CQ_E_UNAVAILABLE, false, true, "a view lacks a column; run: chasquictl db check"},
    {"42501", CQ_E_UNAVAILABLE, false, false, "grant our user its rights on schema mail (docs/postgresql.md)"},
    {"22021", CQ_E_INVALID, false, false, NULL},
};

static size_t find_state(const char *state)
{
    size_t i = 0;
    while (i < sizeof states / sizeof *states && strncmp(state, states[i].state, strlen(states[i].state)) != 0)
        i++;
    return i;
}

struct verdict {
    enum cq_rc rc;
    bool again, drop;
};

static struct verdict judge(const PGresult *result, struct cq_err *err)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t i = find_state(state ? state : "");
    if (i == sizeof states / sizeof *states) {
        CQ_FAIL(err, CQ_E_UNAVAILABLE, "PostgreSQL: %s (%s)", text ? text : "error", state ? state : "?");
        return (struct verdict){CQ_E_UNAVAILABLE, false, false};
    }
    if (!states[i].todo)
        CQ_FAIL(err, states[i].rc, "%s", text ? text : "refused");
    else
        CQ_FAIL(err, states[i].rc, "PostgreSQL: %s (%s)%s%s", text ? text : "error", state,
                states[i].todo[0] ? "; " : "", states[i].todo);
    return (struct verdict){states[i].rc, states[i].again, states[i].drop};
}

enum cq_rc pg_result_error(const PGresult *result, bool *again_r, struct cq_err *err)
{
    struct verdict verdict = judge(result, err);
    *again_r = verdict.again;
    return verdict.rc;
}

static bool is_result(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK;
}

/* One attempt. */
static struct verdict attempt(struct pg_backend *backend, const struct pg_statement *statement,
                              const struct pg_params *params, uint64_t deadline_us, PGresult **result_r,
                              struct cq_err *err)
{
    struct pg_conn *conn;
    enum cq_rc rc = pg_pools_take(backend->pools, deadline_us, &conn, err);
    if (rc != CQ_OK)
        return (struct verdict){rc, false, false};
    struct verdict verdict = {CQ_OK, false, false};
    rc = pg_conn_exchange(conn, statement->sql, params, deadline_us, result_r, err);
    if (rc != CQ_OK) {
        bool unknown = statement->repeat == PG_ONCE && (rc == CQ_E_IO || rc == CQ_E_TIMEOUT);
        verdict = (struct verdict){unknown         ? CQ_E_UNKNOWN_OUTCOME
                                   : rc == CQ_E_IO ? CQ_E_UNAVAILABLE
                                                   : rc,
                                   rc == CQ_E_IO && !unknown, false};
    } else if (!is_result(*result_r)) {
        verdict = judge(*result_r, err);
        conn->broken = conn->broken || verdict.drop;
        PQclear(*result_r);
        *result_r = NULL;
    }
    pg_pools_give(backend->pools, conn);
    return verdict;
}

enum cq_rc pg_query(struct pg_backend *backend, const struct pg_statement *statement, const struct pg_params *params,
                    PGresult **result_r, struct cq_err *err)
{
    uint64_t deadline_us = pg_deadline(backend->config.timeout_us);
    struct verdict verdict = {CQ_E_UNAVAILABLE, true, false};
    *result_r = NULL;
    if (params->no_text)
        return CQ_FAIL(err, CQ_E_INVALID, "a text has a NUL or is no UTF-8");
    for (int i = 0; i < TRIES_MAX && verdict.again; i++)
        verdict = attempt(backend, statement, params, deadline_us, result_r, err);
    if (verdict.rc != CQ_OK && err && err->rc != verdict.rc)
        err->rc = verdict.rc;
    return verdict.rc;
}
