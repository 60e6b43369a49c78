#include "frontend.h"
#include "frontend_limits.h"

#include "base/cq_args.h"
#include "base/cq_log.h"

#include <signal.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
    struct frontend_config config = {0};
    struct cq_config_part parts[FRONTEND_CONFIG_PARTS];
    struct cq_pool *pool = cq_pool_new(64u << 10);
    struct frontend *frontend = NULL;
    struct cq_err err = {0};
    int status;
    frontend_config_parts(&config, parts);
    frontend_metrics_register();
    const struct cq_program program = {
        .name = "chasqui-frontend",
        .version = CHASQUI_VERSION,
        .about = "Speaks IMAP, POP3, SMTP and LMTP with clients.",
        .parts = parts,
        .part_count = FRONTEND_CONFIG_PARTS,
        .limits = frontend_limit_tables,
        .limit_count = frontend_limit_table_count,
    };
    if (cq_program_start(&program, argc, argv, pool, &status)) {
        const struct cq_log_options log = {
            .role = "frontend",
            .node = config.frontend.node,
            .format = (enum cq_log_format)config.log.format,
            .level = (enum cq_log_level)config.log.level,
        };
        cq_log_init(&log);
        signal(SIGPIPE, SIG_IGN);
        prctl(PR_SET_DUMPABLE, 0); /* passwords and mail pass through this memory */
        status = frontend_start(&config, &frontend, &err) == CQ_OK ? 0 : err.rc == CQ_E_CONFIG ? 2 : 1;
        if (status == 0)
            frontend_run(frontend);
        else
            cq_log(CQ_ERROR, "frontend.start_failed", CQ_F_ERR(&err));
        frontend_free(&frontend);
    }
    cq_pool_free(&pool);
    return status;
}
