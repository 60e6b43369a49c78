/* Requests to the admin role of the front-ends. */
#include "ctl.h"

#include <proto/admin.pb-c.h>
#include <stdio.h>
#include <string.h>

static struct cq_slice pack_request(struct ctl *ctl, const struct ctl_request *request)
{
    Chasqui__Admin__Request message = CHASQUI__ADMIN__REQUEST__INIT;
    message.command = (char *)(uintptr_t)request->command->name;
    message.n_fields = request->field_count;
    message.fields = cq_pool_alloc(ctl->pool, request->field_count * sizeof *message.fields);
    for (size_t i = 0; i < request->field_count; i++) {
        Chasqui__Admin__Field *field = cq_pool_alloc(ctl->pool, sizeof *field);
        chasqui__admin__field__init(field);
        field->name = (char *)(uintptr_t)request->fields[i].name;
        field->value = cq_pool_cstr(ctl->pool, request->fields[i].value);
        message.fields[i] = field;
    }
    size_t len = chasqui__admin__request__get_packed_size(&message);
    uint8_t *data = cq_pool_alloc(ctl->pool, len);
    chasqui__admin__request__pack(&message, data);
    return cq_slice_of(data, len);
}

static void take_rows(struct ctl *ctl, const struct admin_command *command, const Chasqui__Admin__Reply *reply,
                      struct ctl_rows *rows)
{
    size_t columns = admin_column_count(command);
    for (size_t r = 0; r < reply->n_rows; r++) {
        char **cells = cq_pool_calloc(ctl->pool, columns + 1, sizeof *cells);
        for (size_t c = 0; c < columns; c++) {
            const char *text = c < reply->rows[r]->n_cells ? reply->rows[r]->cells[c] : "";
            cells[c] = cq_pool_cstr(ctl->pool, cq_slice_cstr(text));
        }
        ctl_rows_add(ctl, rows, cells);
    }
}

/* One front-end; its rows are added. Tells standard error what went wrong. */
static enum ctl_exit ask(struct ctl *ctl, const struct ctl_request *request, const char *address,
                         struct cq_slice message, struct ctl_rows *rows)
{
    const struct ctl_call call = {
        .address = address,
        .peer_roles = RPC_ROLE_ADMIN,
        .method = CHASQUI__ADMIN__METHOD__RUN,
        .command = true,
        .message = message,
    };
    struct rpc_reply_in answer;
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &answer, &err);
    enum ctl_exit status = ctl_exit_of(fate, answer.rc);
    Chasqui__Admin__Reply *reply =
        fate == RPC_ANSWERED ? chasqui__admin__reply__unpack(NULL, answer.message.len, answer.message.data) : NULL;
    if (status == CTL_DONE && reply) {
        take_rows(ctl, request->command, reply, rows);
        if (request->command->octets)
            fwrite(answer.raw.data, 1, answer.raw.len, stdout);
    } else {
        const char *text = reply && reply->text[0] ? reply->text : err.text[0] ? err.text : cq_rc_text(answer.rc);
        bool told = fate == RPC_ANSWERED && request->command->target != ADMIN_TARGET_ALL_ADMIN;
        fprintf(stderr, "chasquictl: %s%s%s\n", told ? "" : address, told ? "" : ": ", text);
        if (status == CTL_DONE)
            status = CTL_UNKNOWN;
    }
    if (reply)
        chasqui__admin__reply__free_unpacked(reply, NULL);
    return status;
}

static void print(const struct ctl *ctl, const struct ctl_request *request, const struct ctl_rows *rows)
{
    struct cq_buf out;
    if (request->command->octets)
        return;
    cq_buf_init(&out, CTL_OUTPUT_MAX);
    ctl_print(ctl, request->command, rows, &out);
    fwrite(out.data, 1, out.len, stdout);
    cq_buf_fini(&out);
}

/* Every front-end: each knows only its own. What is known is shown; the status says if somebody did not answer. */
static enum ctl_exit ask_all(struct ctl *ctl, const struct ctl_request *request, struct cq_slice message)
{
    struct ctl_rows rows = {0};
    enum ctl_exit worst = CTL_DONE;
    size_t answered = 0;
    for (size_t i = 0; i < ctl->settings.admin.count; i++) {
        enum ctl_exit one = ask(ctl, request, ctl->settings.admin.items[i], message, &rows);
        answered += one == CTL_DONE;
        worst = one > worst ? one : worst;
    }
    if (answered)
        print(ctl, request, &rows);
    return worst;
}

/* The first front-end that can be reached. */
static enum ctl_exit ask_one(struct ctl *ctl, const struct ctl_request *request, struct cq_slice message)
{
    struct ctl_rows rows = {0};
    enum ctl_exit status = CTL_UNREACHABLE;
    for (size_t i = 0; i < ctl->settings.admin.count && status == CTL_UNREACHABLE; i++)
        status = ask(ctl, request, ctl->settings.admin.items[i], message, &rows);
    if (status == CTL_DONE)
        print(ctl, request, &rows);
    return status;
}

enum ctl_exit ctl_run_admin(struct ctl *ctl, const struct ctl_request *request)
{
    struct cq_slice message = pack_request(ctl, request);
    if (!ctl->settings.admin.count) {
        fprintf(stderr, "chasquictl: the settings name no front-end with the role admin (admin: [host:port])\n");
        return CTL_USAGE;
    }
    if (strcmp(request->command->name, "events replay") == 0)
        return ctl_replay(ctl, request);
    return request->command->target == ADMIN_TARGET_ALL_ADMIN ? ask_all(ctl, request, message)
                                                              : ask_one(ctl, request, message);
}
