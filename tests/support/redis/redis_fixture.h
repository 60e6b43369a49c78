/* Real redis-server processes on loopback for tests: private ports, a temporary folder, ended with the test. */
#ifndef REDIS_FIXTURE_H
#define REDIS_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

#define REDIS_FIXTURE_ARGS_MAX 24

struct redis_fixture {
    pid_t pid;
    int port;
    char dir[64];
    char address[32];
    const char *args[REDIS_FIXTURE_ARGS_MAX + 1]; /* more options; kept for a restart */
    bool tls;      /* the port speaks TLS alone, by files in dir: ca.pem cert.pem key.pem */
    bool sentinel; /* args[0] is its file */
};

int redis_fixture_free_port(void);

/* port 0 and an empty dir are filled in. Waits until it listens; asserts. */
void redis_fixture_start(struct redis_fixture *redis);
void redis_fixture_signal(struct redis_fixture *redis, int signum);
void redis_fixture_kill(struct redis_fixture *redis); /* -9; start may follow */
void redis_fixture_end(struct redis_fixture *redis);  /* and removes the folder */

/* One command by redis-cli; its first line of output, cut. */
void redis_fixture_cli(const struct redis_fixture *redis, const char *command, char *out, int size);

/* CA, key and certificate for 127.0.0.1 in its folder. */
void redis_fixture_make_tls(struct redis_fixture *redis);

#endif
