#include "support/redis/redis_fixture.h"

#include "unit/cq_cmocka.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TRIES 6000 /* of 10 ms */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int redis_fixture_free_port(void)
{
    int port = 0;
    FILE *ask = popen("python3 -B " CHASQUI_SOURCE_DIR "/tests/support/ports.py", "r");
    assert_non_null(ask);
    assert_int_equal(fscanf(ask, "%d", &port), 1);
    pclose(ask);
    return port;
}

static bool listens(int port)
{
    struct sockaddr_in addr = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return ok;
}

static void run(char *const argv[], const char *dir)
{
    char log[96];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(log, sizeof log, "%s/log", dir);
    if (!freopen(log, "a", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
        _exit(126);
    execvp(argv[0], argv);
    _exit(127);
}

static pid_t spawn(char *const argv[], const char *dir)
{
    pid_t pid = fork();
    if (pid == 0)
        run(argv, dir);
    assert_return_code(pid, 0);
    return pid;
}

void redis_fixture_start(struct redis_fixture *redis)
{
    char port[8], ca[96], cert[96], key[96];
    char *argv[40];
    int n = 0;
    if (!redis->dir[0]) {
        snprintf(redis->dir, sizeof redis->dir, "/tmp/chasqui-redis-XXXXXX");
        assert_non_null(mkdtemp(redis->dir));
    }
    if (!redis->port)
        redis->port = redis_fixture_free_port();
    snprintf(redis->address, sizeof redis->address, "127.0.0.1:%d", redis->port);
    snprintf(port, sizeof port, "%d", redis->port);
    snprintf(ca, sizeof ca, "%s/ca.pem", redis->dir);
    snprintf(cert, sizeof cert, "%s/cert.pem", redis->dir);
    snprintf(key, sizeof key, "%s/key.pem", redis->dir);
    argv[n++] = "redis-server";
    for (int i = 0; redis->args[i]; i++)
        argv[n++] = (char *)redis->args[i];
    const char *const common[] = {"--port", redis->tls ? "0" : port, "--bind", "127.0.0.1", "--dir", redis->dir};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        argv[n++] = (char *)common[i];
    const char *const tls[] = {"--tls-port",     port, "--tls-ca-cert-file", ca,  "--tls-cert-file", cert,
                               "--tls-key-file", key,  "--tls-auth-clients", "no"};
    for (size_t i = 0; redis->tls && i < sizeof tls / sizeof *tls; i++)
        argv[n++] = (char *)tls[i];
    if (redis->sentinel) {
        argv[n++] = "--sentinel";
    } else {
        argv[n++] = "--save";
        argv[n++] = "";
    }
    argv[n] = NULL;
    redis->pid = spawn(argv, redis->dir);
    for (int tries = 0; !listens(redis->port); tries++) {
        assert_true(tries < START_TRIES);
        usleep(10000);
    }
}

void redis_fixture_signal(struct redis_fixture *redis, int signum)
{
    assert_return_code(kill(redis->pid, signum), 0);
}

void redis_fixture_kill(struct redis_fixture *redis)
{
    if (redis->pid <= 0)
        return;
    kill(redis->pid, SIGKILL);
    waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
}

static void run_and_wait(char *const argv[], const char *dir)
{
    int status;
    pid_t pid = spawn(argv, dir);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void redis_fixture_end(struct redis_fixture *redis)
{
    redis_fixture_kill(redis);
    if (redis->dir[0])
        run_and_wait((char *[]){"rm", "-rf", redis->dir, NULL}, "/tmp");
    redis->dir[0] = 0;
}

void redis_fixture_cli(const struct redis_fixture *redis, const char *command, char *out, int size)
{
    char line[512];
    snprintf(line, sizeof line, "redis-cli -p %d %s", redis->port, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    if (!fgets(out, size, pipe))
        out[0] = 0;
    pclose(pipe);
    out[strcspn(out, "\n")] = 0;
}

void redis_fixture_make_tls(struct redis_fixture *redis)
{
    char key[96], cert[96], ca[96];
    snprintf(redis->dir, sizeof redis->dir, "/tmp/chasqui-redis-XXXXXX");
    assert_non_null(mkdtemp(redis->dir));
    snprintf(key, sizeof key, "%s/key.pem", redis->dir);
    snprintf(cert, sizeof cert, "%s/cert.pem", redis->dir);
    snprintf(ca, sizeof ca, "%s/ca.pem", redis->dir);
    run_and_wait((char *[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=redis", "-addext",
                            "subjectAltName=IP:127.0.0.1", NULL},
                 redis->dir);
    run_and_wait((char *[]){"cp", cert, ca, NULL}, redis->dir);
}
