/* The schema of the embedded directory as numbered migrations. A migration that was released is never changed: its
 * checksum is kept in the database and compared. */
#ifndef CHASQUI_DIR_SQLITE_SCHEMA_H
#define CHASQUI_DIR_SQLITE_SCHEMA_H

#include "base/cq_err.h"

#include <sqlite3.h>

/* Brings the database to the newest version, in one transaction that excludes other processes.
 * CQ_E_VERSION: it is newer than this build. CQ_E_CORRUPT: an applied migration is another than ours. */
enum cq_rc dir_sqlite_migrate(sqlite3 *db, struct cq_err *err);

#endif
