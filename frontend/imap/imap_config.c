#include "imap/imap_service.h"

static const struct cq_setting rows[] = {
    CQ_SET_SIZE(struct imap_config, message_max, "imap.message_max", "50MiB", "1KiB", "256MiB",
                "Largest message that APPEND takes."),
    CQ_SET_DURATION(struct imap_config, login_timeout_us, "imap.login_timeout", "30s", "5s", "10m",
                    "How long a client may take for each command before it has logged in."),
    CQ_SET_DURATION(struct imap_config, autologout_us, "imap.autologout", "30m", "30m", "24h",
                    "A session without a command for so long is ended (RFC 3501 5.4); IDLE does not count."),
    CQ_SET_DURATION(struct imap_config, still_here_us, "imap.still_here", "2m", "30s", "29m",
                    "How often an idling client is told that the connection lives."),
    CQ_SET_BOOL(struct imap_config, login_without_tls, "imap.login_without_tls", "false",
                "Let clients log in over connections that are not encrypted. For tests only."),
};

struct cq_config_part imap_config_part(struct imap_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("IMAP", rows, values);
}

const struct cq_limit imap_session_limit_rows[] = CQ_LIMITS_ROWS(IMAP_SESSION_LIMITS);
const size_t imap_session_limit_row_count = sizeof imap_session_limit_rows / sizeof *imap_session_limit_rows;
