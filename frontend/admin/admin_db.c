/* db status, migrate, check. */
#include "admin/admin_request.h"

static enum cq_rc act(struct admin_request *r, enum directory_schema_action action)
{
    struct directory_schema schema;
    enum cq_rc rc = directory_schema(r->service->worker->directory, action, &schema, &r->err);
    if (rc != CQ_OK)
        return rc;
    return ADMIN_ROW(r, schema.backend, admin_text(r, cq_slice_cstr(schema.server)), schema.state,
                     admin_number(r, schema.version), admin_number(r, schema.newest));
}

enum cq_rc admin_db_status(struct admin_request *r)
{
    return act(r, DIRECTORY_SCHEMA_LOOK);
}

enum cq_rc admin_db_migrate(struct admin_request *r)
{
    return act(r, DIRECTORY_SCHEMA_MIGRATE);
}

enum cq_rc admin_db_check(struct admin_request *r)
{
    return act(r, DIRECTORY_SCHEMA_CHECK);
}
