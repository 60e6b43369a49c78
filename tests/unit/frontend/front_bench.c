#include "unit/frontend/front_bench.h"

#include "io/io_pair.h"
#include "unit/cq_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TURNS_MAX 200000
#define GOT_MAX (64u << 20)

static uint64_t add_account(struct front_bench *bench, const char *address, uint64_t quota)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_err err = {0};
    struct dir_account account;
    const struct dir_account_new wanted = {
        .address = cq_slice_cstr(address),
        .slot = (uint16_t)strlen(address),
        .home_dc = CQ_SLICE("a"),
        .services = DIR_ALL_SERVICES,
        .quota_bytes = quota,
    };
    assert_int_equal(directory_account_create(bench->worker.directory, &wanted, pool, &account, &err), CQ_OK);
    struct mailstore_account shard = {.id = account.id};
    const struct mail_limits limits = {.quota_bytes = quota, .sending_messages_day = 3, .sending_recipients_day = 10};
    assert_int_equal(mailstore_create_account(bench->worker.mailstore, &shard, &limits, wanted.address, &err), CQ_OK);
    assert_int_equal(auth_set_password(bench->worker.auth, account.id, CQ_SLICE(BENCH_PASSWORD), &err), CQ_OK);
    assert_int_equal(directory_account_activate(bench->worker.directory, account.id, &err), CQ_OK);
    uint64_t id = account.id;
    cq_pool_free(&pool);
    return id;
}

int bench_setup(void **state)
{
    struct front_bench *bench = calloc(1, sizeof *bench);
    struct cq_err err = {0};
    char path[64];
    assert_non_null(bench);
    snprintf(bench->folder, sizeof bench->folder, "%s", "/tmp/chasqui-front.XXXXXX");
    assert_non_null(mkdtemp(bench->folder));
    snprintf(path, sizeof path, "%s/directory", bench->folder);
    bench->local = mailstore_local_new_groups(4);
    bench->worker.loop = io_loop_new(NULL);
    bench->worker.mailstore =
        mailstore_new(mailstore_local_transport(bench->local), (const uint8_t *)"0123456789abcdef", 60000);
    bench->worker.hostname = "mx.example.test";
    bench->worker.spool_folder = bench->folder;
    cq_list_init(&bench->worker.sessions);
    const struct directory_config directory = {.sqlite_path = path, .busy_timeout_us = 1000000};
    assert_int_equal(directory_open(&directory, &bench->worker.directory, &err), CQ_OK);
    const struct auth_config auth = {
        .argon2_memory = 8u << 20, .argon2_passes = 1, .cache_max = 10, .cache_ttl_us = 60000000};
    assert_int_equal(auth_new(&auth, bench->worker.directory, &bench->worker.auth, &err), CQ_OK);
    assert_int_equal(directory_domain_add(bench->worker.directory, CQ_SLICE("example.test"), &err), CQ_OK);
    bench->ana = add_account(bench, "ana@example.test", 0);
    bench->ben = add_account(bench, "ben@example.test", 2000);
    *state = bench;
    return 0;
}

int bench_teardown(void **state)
{
    struct front_bench *bench = *state;
    char command[96];
    auth_free(&bench->worker.auth);
    directory_close(&bench->worker.directory);
    mailstore_free(&bench->worker.mailstore);
    io_loop_free(&bench->worker.loop);
    mailstore_local_free(&bench->local);
    snprintf(command, sizeof command, "rm -rf '%s'", bench->folder);
    int rc = system(command);
    free(bench);
    return rc;
}

struct io_conn *bench_connect(struct front_bench *bench, struct bench_client *client)
{
    *client = (struct bench_client){.bench = bench};
    cq_buf_init(&client->got, GOT_MAX);
    return io_pair_new_fd(bench->worker.loop, NULL, &client->fd);
}

static void turn(struct bench_client *client)
{
    uint8_t chunk[65536];
    io_loop_turn(client->bench->worker.loop, false);
    ssize_t n = read(client->fd, chunk, sizeof chunk);
    if (n > 0)
        cq_buf_add(&client->got, chunk, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        client->eof = true;
}

void bench_disconnect(struct bench_client *client)
{
    shutdown(client->fd, SHUT_WR);
    for (int i = 0; i < TURNS_MAX && !cq_list_empty(&client->bench->worker.sessions); i++)
        turn(client);
    assert_true(cq_list_empty(&client->bench->worker.sessions));
    close(client->fd);
    cq_buf_fini(&client->got);
}

void bench_send(struct bench_client *client, struct cq_slice octets)
{
    for (int i = 0; octets.len && i < TURNS_MAX; i++) {
        ssize_t n = write(client->fd, octets.data, octets.len);
        if (n > 0)
            octets = cq_slice_skip(octets, (size_t)n);
        turn(client);
    }
    assert_int_equal(octets.len, 0);
}

/* The next line without CRLF, in *line_r until the next call; false: the connection has ended. */
static bool next_line(struct bench_client *client, char *line, size_t size)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        size_t lf = cq_slice_find(cq_buf_slice(&client->got), '\n');
        if (lf < client->got.len) {
            int len = (int)(lf && client->got.data[lf - 1] == '\r' ? lf - 1 : lf);
            snprintf(line, size, "%.*s", len, (const char *)client->got.data);
            cq_buf_consume(&client->got, lf + 1);
            return true;
        }
        if (client->eof)
            return false;
        turn(client);
    }
    fail_msg("the server says nothing");
    return false;
}

static bool matches(const char *line, const char *pattern)
{
    size_t len = strlen(pattern);
    if (len && pattern[len - 1] == '*')
        return strncmp(line, pattern, len - 1) == 0;
    return strcmp(line, pattern) == 0;
}

static void expect(struct bench_client *client, const char *pattern, bool skip)
{
    char line[2048];
    do {
        if (!next_line(client, line, sizeof line))
            fail_msg("the connection ended; expected \"%s\"", pattern);
    } while (skip && !matches(line, pattern));
    if (!matches(line, pattern))
        fail_msg("got \"%s\", expected \"%s\"", line, pattern);
}

void bench_talk(struct bench_client *client, const char *const *lines, size_t count)
{
    char line[2048];
    for (size_t i = 0; i < count; i++) {
        const char *text = strlen(lines[i]) > 3 ? lines[i] + 3 : "";
        if (lines[i][0] == 'C') {
            bench_send(client, cq_slice_cstr(text));
            if (lines[i][1] == ':')
                bench_send(client, CQ_SLICE("\r\n"));
        } else if (lines[i][1] == '.') {
            if (next_line(client, line, sizeof line))
                fail_msg("got \"%s\", expected the end", line);
        } else {
            expect(client, text, lines[i][1] == '+');
        }
    }
}

static uint64_t inbox(struct front_bench *bench, struct mailstore_account *account, struct cq_pool *pool)
{
    struct mail_mailbox_list list;
    struct cq_err err = {0};
    assert_int_equal(mailstore_list(bench->worker.mailstore, account, pool, &list, &err), CQ_OK);
    for (size_t i = 0; i < list.count; i++)
        if (list.mailboxes[i].use == MAIL_USE_INBOX)
            return list.mailboxes[i].id;
    fail_msg("no INBOX");
    return 0;
}

static bool nth_record(struct front_bench *bench, struct mailstore_account *account, size_t n, struct cq_pool *pool,
                       struct fetch_record *record_r, size_t *count_r)
{
    struct uid_range all = {1, UINT32_MAX};
    const struct uidset uids = {&all, 1};
    struct mail_records records;
    struct cq_err err = {0};
    bool found = false;
    assert_int_equal(mailstore_fetch(bench->worker.mailstore, account, inbox(bench, account, pool), &uids, false, pool,
                                     &records, &err),
                     CQ_OK);
    struct fetch_record record;
    *count_r = 0;
    while (fetch_record_next(&records.records, &record) == CQ_OK)
        if (++*count_r == n) {
            *record_r = record;
            found = true;
        }
    return found;
}

struct cq_slice bench_message(struct front_bench *bench, uint64_t id, size_t n, struct cq_pool *pool)
{
    struct mailstore_account account = {.id = id};
    struct fetch_record record;
    struct cq_slice octets = CQ_SLICE_NONE;
    struct cq_err err = {0};
    size_t count;
    if (!nth_record(bench, &account, n, pool, &record, &count))
        return CQ_SLICE_NONE;
    assert_int_equal(
        mailstore_read_body(bench->worker.mailstore, &account, record.email, 0, record.size, pool, &octets, &err),
        CQ_OK);
    return octets;
}

size_t bench_count(struct front_bench *bench, uint64_t id)
{
    struct mailstore_account account = {.id = id};
    struct cq_pool *pool = cq_pool_new(4096);
    struct fetch_record record;
    size_t count;
    nth_record(bench, &account, 0, pool, &record, &count);
    cq_pool_free(&pool);
    return count;
}
