#include "directory/dir_pg_private.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_secret.h"
#include "io/io_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pg_one_line(const char *message, char *out, size_t size)
{
    size_t n = 0;
    for (const char *p = message; *p && n + 1 < size; p++) {
        bool space = *p == '\n' || *p == '\t' || *p == '\r' || *p == ' ';
        if (!space)
            out[n++] = *p;
        else if (n && out[n - 1] != ' ')
            out[n++] = ' ';
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* A file that is being replaced: later. */
static enum cq_rc read_password(const char *path, char out[static CQ_SECRET_SIZE], struct cq_err *err)
{
    struct cq_err why = {0};
    if (cq_secret_read(path, out, &why) == CQ_OK)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "directory.postgresql.password_file: %s", why.text);
}

/* A table instead of PQerrorMessage alone: what the operator can do about it. Before log-in libpq gives no SQLSTATE. */
static const char *advice(const char *text)
{
    static const struct {
        const char *part, *todo;
    } rows[] = {
        {"password authentication failed", "directory.postgresql.password_file must hold this user's password"},
        {"no password supplied", "set directory.postgresql.password_file"},
        {"certificate verify failed", "the server's certificate has expired, or is not of the CA that sslrootcert in "
                                      "directory.postgresql.dsn names: renew it, or correct sslrootcert"},
        {"does not match host name", "the server's certificate is for another name: use the name that it is for in "
                                     "directory.postgresql.dsn, or make a new one"},
        {"requires a valid client certificate",
         "the server wants a certificate of ours: name it and its key by sslcert and "
         "sslkey in directory.postgresql.dsn, in files that are there"},
        {"alert certificate expired", "our certificate has expired: renew the one that sslcert in "
                                      "directory.postgresql.dsn names"},
        {"alert unknown ca", "the server does not know the CA of our certificate: correct sslcert in "
                             "directory.postgresql.dsn, or the server's ssl_ca_file"},
        {"certificate authentication failed", "our certificate is for another user: correct user or sslcert in "
                                              "directory.postgresql.dsn"},
        {"private key", "sslkey in directory.postgresql.dsn must be the key of sslcert, readable by us alone"},
        {"does not support SSL", "switch on ssl at the server, or correct sslmode in directory.postgresql.dsn"},
        {"certificate", "look at sslrootcert, sslcert and sslmode in directory.postgresql.dsn"},
        {"pg_hba.conf", "let this host in by the server's pg_hba.conf"},
        {"does not exist", "create it, or correct directory.postgresql.dsn"},
        {"session is not read-write", "no host of directory.postgresql.dsn is a primary: promote one"},
        {"session is read-only", "no host of directory.postgresql.dsn is a primary: promote one"},
        {"too many", "raise max_connections, or lower directory.postgresql.connections"},
        {"could not translate host name", "correct the host in directory.postgresql.dsn"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strstr(text, rows[i].part))
            return rows[i].todo;
    return "start PostgreSQL, or correct directory.postgresql.dsn";
}

static enum cq_rc refused(PGconn *pg, struct cq_err *err)
{
    char text[300];
    pg_one_line(pg ? PQerrorMessage(pg) : "out of memory", text, sizeof text);
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "PostgreSQL: %s (%s)", advice(text),
                   text); /* the text is long, and may be cut */
}

static enum cq_rc finish_connecting(PGconn *pg, uint64_t deadline_us, struct cq_err *err)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        unsigned events;
        if (state == PGRES_POLLING_FAILED)
            return refused(pg, err);
        unsigned want = state == PGRES_POLLING_READING ? IO_READABLE : IO_WRITABLE;
        enum cq_rc rc = pg_wait(PQsocket(pg), want, deadline_us, &events);
        if (rc == CQ_E_TIMEOUT)
            return CQ_FAIL(err, CQ_E_UNAVAILABLE,
                           "PostgreSQL: no answer from %s in time; look at directory.postgresql.dsn and the network",
                           PQhost(pg) ? PQhost(pg) : "the server");
        if (rc != CQ_OK)
            return CQ_FAIL(err, rc, "PostgreSQL: waiting for the connection: %s", cq_rc_text(rc));
        state = PQconnectPoll(pg);
    }
    return CQ_OK;
}

/* Warnings of the server, or of a site's functions: libpq would write them to standard error as they are. */
static void on_notice(void *arg, const char *message)
{
    char text[300];
    (void)arg;
    pg_one_line(message, text, sizeof text);
    cq_log_limited(1, CQ_WARN, "directory.postgresql.notice", CQ_F_STR("text", text));
}

enum cq_rc pg_connect(const struct dir_pg_config *config, const char *dsn, uint64_t deadline_us, PGconn **pg_r,
                      struct cq_err *err)
{
    char password[CQ_SECRET_SIZE] = "";
    bool with_password = config->password_file[0] != '\0';
    /* What comes after the DSN wins over it; what is before it is a default. */
    const char *const names[] = {"keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "fallback_application_name",
                                 "dbname",
                                 "client_encoding",
                                 with_password ? "password" : NULL,
                                 NULL};
    const char *const values[] = {"30", "10", "3", "chasqui", dsn, "UTF8", password, NULL};
    if (with_password && read_password(config->password_file, password, err) != CQ_OK)
        return CQ_E_UNAVAILABLE;
    PGconn *pg = PQconnectStartParams(names, values, 1);
    cq_wipe(password, sizeof password);
    if (pg)
        PQsetNoticeProcessor(pg, on_notice, NULL);
    enum cq_rc rc = pg && PQstatus(pg) != CONNECTION_BAD ? finish_connecting(pg, deadline_us, err) : refused(pg, err);
    if (rc != CQ_OK) {
        PQfinish(pg);
        return rc;
    }
    *pg_r = pg;
    return CQ_OK;
}
