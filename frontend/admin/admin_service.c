#include "admin/admin_service.h"

#include "admin/admin_replay.h"
#include "admin/admin_request.h"
#include "base/cq_hex.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"

#include <proto/admin.pb-c.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX (64u << 10)
#define POOL_SIZE (16u << 10)
#define FIELDS_MAX 64

static const struct {
    const char *command;
    admin_handler *run;
} handlers[] = {
    {"db status", admin_db_status},
    {"db migrate", admin_db_migrate},
    {"db check", admin_db_check},
    {"events topics", admin_events_topics},
    {"domain add", admin_domain_add},
    {"domain list", admin_domain_list},
    {"domain set", admin_domain_set},
    {"domain remove", admin_domain_remove},
    {"account add", admin_account_add},
    {"account list", admin_account_list},
    {"account show", admin_account_show},
    {"account set", admin_account_set},
    {"account password", admin_account_password},
    {"account remove", admin_account_remove},
    {"alias add", admin_alias_add},
    {"alias list", admin_alias_list},
    {"alias remove", admin_alias_remove},
    {"app-password add", admin_app_password_add},
    {"app-password list", admin_app_password_list},
    {"app-password remove", admin_app_password_remove},
    {"mailbox list", admin_mailbox_list},
    {"message fetch", admin_message_fetch},
    {"session list", admin_session_list},
    {"session kick", admin_session_kick},
};

/* ---- What the command files use ---- */

bool admin_has(const struct admin_request *request, const char *name)
{
    for (size_t i = 0; i < request->count; i++)
        if (strcmp(request->names[i], name) == 0)
            return true;
    return false;
}

struct cq_slice admin_field(const struct admin_request *request, const char *name)
{
    for (size_t i = 0; i < request->count; i++)
        if (strcmp(request->names[i], name) == 0)
            return request->values[i];
    return CQ_SLICE_NONE;
}

enum cq_rc admin_row(struct admin_request *request, const char *const *cells)
{
    size_t columns = admin_column_count(request->command);
    if (request->row_count == ADMIN_ROWS_MAX)
        return CQ_FAIL(&request->err, CQ_E_LIMIT, "more than %d rows; narrow the question", ADMIN_ROWS_MAX);
    if (request->row_count == request->row_cap) {
        request->row_cap = request->row_cap ? request->row_cap * 2 : 16;
        request->rows = cq_realloc(request->rows, request->row_cap * sizeof *request->rows);
    }
    char **row = cq_pool_calloc(request->pool, columns, sizeof *row);
    for (size_t c = 0; c < columns; c++)
        row[c] = (char *)(uintptr_t)(cells[c] ? cells[c] : "");
    request->rows[request->row_count++] = row;
    return CQ_OK;
}

const char *admin_text(struct admin_request *request, struct cq_slice text)
{
    return cq_pool_cstr(request->pool, text);
}

const char *admin_number(struct admin_request *request, uint64_t value)
{
    return cq_pool_printf(request->pool, "%llu", (unsigned long long)value);
}

const char *admin_time(struct admin_request *request, uint64_t wall_us)
{
    char text[CQ_RFC3339_SIZE];
    if (!wall_us)
        return "";
    cq_time_rfc3339(wall_us, text);
    return cq_pool_printf(request->pool, "%.19sZ", text);
}

static const struct {
    const char *name;
    enum dir_service service;
} services[] = {{"imap", DIR_IMAP}, {"pop", DIR_POP}, {"smtp", DIR_SMTP}};

const char *admin_services(struct admin_request *request, unsigned set)
{
    struct cq_buf out;
    cq_buf_init(&out, 64);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (set & services[i].service)
            cq_buf_printf(&out, "%s%s", out.len ? "," : "", services[i].name);
    const char *text = cq_pool_cstr(request->pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return text;
}

enum cq_rc admin_parse_services(struct admin_request *request, struct cq_slice text, unsigned *services_r)
{
    *services_r = 0;
    while (text.len) {
        struct cq_slice word = cq_slice_trim(cq_slice_cut(&text, ','));
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof services / sizeof *services; i++)
            if (cq_slice_eq(word, cq_slice_cstr(services[i].name)))
                bit = services[i].service;
        if (!bit)
            return CQ_FAIL(&request->err, CQ_E_INVALID, "services are some of imap,pop,smtp");
        *services_r |= bit;
    }
    return CQ_OK;
}

enum cq_rc admin_parse_size(struct admin_request *request, const char *field, uint64_t *bytes_r)
{
    if (!cq_config_size(admin_field(request, field), bytes_r))
        return CQ_FAIL(&request->err, CQ_E_INVALID, "%s is a size such as 500MiB or 10GiB", field);
    return CQ_OK;
}

enum cq_rc admin_parse_number(struct admin_request *request, const char *field, uint64_t *value_r)
{
    if (!cq_slice_u64(admin_field(request, field), UINT64_MAX, value_r))
        return CQ_FAIL(&request->err, CQ_E_INVALID, "%s is a number", field);
    return CQ_OK;
}

enum cq_rc admin_topology(struct admin_request *request, const struct topology **topology_r)
{
    const struct admin_service *service = request->service;
    enum cq_rc rc = CQ_OK;
    if (!request->topology)
        rc = service->topology(service->topology_ctx, &request->topology, &request->err);
    *topology_r = request->topology;
    return rc;
}

/* ---- One request ---- */

static void reply(struct rpc_request *rpc, struct admin_request *request, enum cq_rc rc)
{
    Chasqui__Admin__Reply message = CHASQUI__ADMIN__REPLY__INIT;
    size_t columns = request->command ? admin_column_count(request->command) : 0;
    if (rc == CQ_OK) {
        message.n_rows = request->row_count;
        message.rows = cq_pool_alloc(request->pool, request->row_count * sizeof *message.rows);
        for (size_t i = 0; i < request->row_count; i++) {
            Chasqui__Admin__Row *row = cq_pool_alloc(request->pool, sizeof *row);
            chasqui__admin__row__init(row);
            row->n_cells = columns;
            row->cells = request->rows[i];
            message.rows[i] = row;
        }
    } else {
        message.text = request->err.text[0] ? request->err.text : (char *)(uintptr_t)cq_rc_text(rc);
    }
    size_t len = chasqui__admin__reply__get_packed_size(&message);
    uint8_t *data = cq_pool_alloc(request->pool, len);
    chasqui__admin__reply__pack(&message, data);
    struct cq_slice octets = cq_buf_slice(&request->octets);
    const struct rpc_answer answer = {
        .rc = rc,
        .message = cq_slice_of(data, len),
        .raw = &octets,
        .raw_count = octets.len ? 1 : 0,
    };
    rpc_reply(rpc, &answer);
}

static enum cq_rc take_fields(struct admin_request *request, const Chasqui__Admin__Request *message)
{
    if (message->n_fields > FIELDS_MAX)
        return CQ_FAIL(&request->err, CQ_E_LIMIT, "more than %d fields", FIELDS_MAX);
    request->names = cq_pool_alloc(request->pool, message->n_fields * sizeof *request->names);
    request->values = cq_pool_alloc(request->pool, message->n_fields * sizeof *request->values);
    for (size_t i = 0; i < message->n_fields; i++) {
        request->names[i] = message->fields[i]->name;
        request->values[i] = cq_slice_cstr(message->fields[i]->value);
    }
    request->count = message->n_fields;
    return CQ_OK;
}

static enum cq_rc carry_out(struct admin_request *request, const Chasqui__Admin__Request *message)
{
    request->command = admin_command_find(cq_slice_cstr(message->command));
    enum cq_rc rc = take_fields(request, message);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; request->command && i < sizeof handlers / sizeof *handlers; i++)
        if (strcmp(handlers[i].command, request->command->name) == 0)
            return handlers[i].run(request);
    return CQ_FAIL(&request->err, CQ_E_UNSUPPORTED, "this front-end does not know the command; is it older?");
}

static void on_run(struct rpc_request *rpc, void *ctx)
{
    struct cq_slice bytes = rpc_request_message(rpc);
    struct admin_request request = {.service = ctx, .pool = cq_pool_new(POOL_SIZE)};
    cq_buf_init(&request.octets, ADMIN_OCTETS_MAX);
    Chasqui__Admin__Request *message = chasqui__admin__request__unpack(NULL, bytes.len, bytes.data);
    enum cq_rc rc =
        message ? carry_out(&request, message) : CQ_FAIL(&request.err, CQ_E_PROTO, "the request does not decode");
    cq_log(CQ_INFO, "admin.command", CQ_F_STR("command", request.command ? request.command->name : "?"),
           CQ_F_STR("remote", rpc_peer_address(rpc_request_peer(rpc))), CQ_F_RC(rc), CQ_F_ERR(&request.err));
    reply(rpc, &request, rc);
    if (message)
        chasqui__admin__request__free_unpacked(message, NULL);
    cq_buf_fini(&request.octets);
    topology_unref(&request.topology);
    free(request.rows);
    cq_pool_free(&request.pool);
}

static const struct rpc_method methods[] = {
    {CHASQUI__ADMIN__METHOD__RUN, "ADMIN_RUN", RPC_ROLE_OPERATOR, RPC_METHOD_COMMAND, MESSAGE_MAX, 0, on_run},
    {CHASQUI__ADMIN__METHOD__REPLAY, "ADMIN_REPLAY", RPC_ROLE_OPERATOR, RPC_METHOD_COMMAND, ADMIN_REPLAY_MESSAGE_MAX,
     ADMIN_REPLAY_LINES_MAX, admin_on_replay},
};

struct rpc_service admin_rpc_service(struct admin_service *service)
{
    return (struct rpc_service){.methods = methods, .count = sizeof methods / sizeof *methods, .ctx = service};
}
