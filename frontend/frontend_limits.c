#include "frontend_limits.h"

#include "core/front_ahead.h"
#include "imap/imap_limits.h"
#include "imap/imap_service.h"
#include "mail/mail_parse_limits.h"
#include "pop3/pop3_command.h"
#include "pop3/pop3_service.h"
#include "rpc/rpc_limits.h"
#include "smtp/smtp_limits.h"
#include "smtp/smtp_service.h"

const struct cq_limit_table frontend_limit_tables[] = {
    {"IMAP: what a client may send", imap_limit_rows, &imap_limit_row_count},
    {"IMAP: sessions", imap_session_limit_rows, &imap_session_limit_row_count},
    {"SMTP and LMTP: what a client may send", smtp_limit_rows, &smtp_limit_row_count},
    {"SMTP and LMTP: sessions", smtp_session_limit_rows, &smtp_session_limit_row_count},
    {"POP3: what a client may send", pop3_limit_rows, &pop3_limit_row_count},
    {"POP3: sessions", pop3_session_limit_rows, &pop3_session_limit_row_count},
    {"Bodies: reading ahead", front_ahead_limit_rows, &front_ahead_limit_row_count},
    {"Messages (MIME): what is looked into", mail_limit_rows, &mail_limit_row_count},
    {"RPC", rpc_limit_rows, &rpc_limit_row_count},
};
const size_t frontend_limit_table_count = sizeof frontend_limit_tables / sizeof *frontend_limit_tables;
