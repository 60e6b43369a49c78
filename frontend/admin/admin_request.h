/* What the command files share: one request with its fields, its rows, its pool. */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include "admin/admin_commands.h"
#include "admin/admin_service.h"
#include "admin/admin_steps.h"

#define ADMIN_LIST_MAX 1000          /* rows of one page from the directory */
#define ADMIN_ROWS_MAX 100000        /* of an answer */
#define ADMIN_OCTETS_MAX (15u << 20) /* of "message fetch" in one answer */

struct admin_request {
    struct admin_service *service;
    const struct admin_command *command;
    const char **names;
    struct cq_slice *values;
    size_t count;
    struct cq_pool *pool;
    char ***rows;
    size_t row_count, row_cap;
    struct cq_buf octets;
    const struct topology *topology; /* of admin_topology(); NULL before it */
    struct cq_err err;
};

typedef enum cq_rc admin_handler(struct admin_request *request);

bool admin_has(const struct admin_request *request, const char *name);
/* "" when it was not given. */
struct cq_slice admin_field(const struct admin_request *request, const char *name);
/* Rows of texts in the order of the command's columns; the texts live in the pool. CQ_E_LIMIT. */
enum cq_rc admin_row(struct admin_request *request, const char *const *cells);
#define ADMIN_ROW(request, ...) admin_row((request), (const char *const[]){__VA_ARGS__, NULL})

const char *admin_text(struct admin_request *request, struct cq_slice text);
const char *admin_number(struct admin_request *request, uint64_t value);
const char *admin_time(struct admin_request *request, uint64_t wall_us); /* "" for 0 */
const char *admin_services(struct admin_request *request, unsigned services);

/* "imap,pop" to the sum of enum dir_service. CQ_E_INVALID. */
enum cq_rc admin_parse_services(struct admin_request *request, struct cq_slice text, unsigned *services_r);
/* "10GiB"; CQ_E_INVALID. */
enum cq_rc admin_parse_size(struct admin_request *request, const char *field, uint64_t *bytes_r);
enum cq_rc admin_parse_number(struct admin_request *request, const char *field, uint64_t *value_r);

/* Where the shards are, asked once in a request; lives as long as it. */
enum cq_rc admin_topology(struct admin_request *request, const struct topology **topology_r);

/* The account of the address in a field. CQ_E_NOT_FOUND with a text. */
enum cq_rc admin_account(struct admin_request *request, const char *field, struct dir_account *account_r);
/* The row of account commands. */
enum cq_rc admin_account_row(struct admin_request *request, const struct dir_account *account);
/* Its columns, as many as ACCOUNT_COLUMNS of lib/admin has; then a NULL. */
#define ADMIN_ACCOUNT_CELLS 10
enum cq_rc admin_account_cells(struct admin_request *request, const struct dir_account *account,
                               const char *cells_r[static ADMIN_ACCOUNT_CELLS]);

admin_handler admin_db_status, admin_db_migrate, admin_db_check;
admin_handler admin_events_topics;
admin_handler admin_domain_add, admin_domain_list, admin_domain_set, admin_domain_remove;
admin_handler admin_account_add, admin_account_list, admin_account_show, admin_account_set, admin_account_password,
    admin_account_remove;
admin_handler admin_alias_add, admin_alias_list, admin_alias_remove;
admin_handler admin_app_password_add, admin_app_password_list, admin_app_password_remove;
admin_handler admin_mailbox_list, admin_message_fetch;
admin_handler admin_session_list, admin_session_kick;

#endif
