/* Certificates, keys and ticket files for tests, made on the spot in a folder of the test's own. */
#ifndef TEST_CERTS_H
#define TEST_CERTS_H

#include <stdbool.h>
#include <stdint.h>

#define TEST_PATH_SIZE 256

/* A new folder; removed with all in it by test_dir_remove. */
void test_dir_make(char path_r[static TEST_PATH_SIZE]);
void test_dir_remove(const char *path);

/* dir/name into path_r; returns it. */
const char *test_path(char path_r[static TEST_PATH_SIZE], const char *dir, const char *name);

struct test_ca;

struct test_ca *test_ca_new(const char *cn);
void test_ca_free(struct test_ca **ca);
void test_ca_write(const struct test_ca *ca, const char *path); /* its certificate */

struct test_cert {
    const char *cn;
    const char *const *dns; /* NULL-terminated; NULL: none */
    const char *const *uri; /* likewise */
    bool rsa;               /* else ECDSA P-256 */
    int64_t ends_in_s;      /* 0: in a day; negative: it has expired */
};

/* A certificate for servers and clients, and its key, into two files (replaced as a whole, so the inode is new). */
void test_cert_write(const struct test_ca *ca, const struct test_cert *cert, const char *cert_path,
                     const char *key_path);

/* n random 80-byte keys; `seed` makes them reproducible. */
void test_tickets_write(const char *path, const uint8_t seeds[], int n);

#endif
