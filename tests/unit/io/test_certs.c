#include "unit/io/test_certs.h"

#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"

struct test_ca {
    X509 *cert;
    EVP_PKEY *key;
};

void test_dir_make(char path_r[static TEST_PATH_SIZE])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path_r, TEST_PATH_SIZE, "%s/chasqui-test-XXXXXX", tmp ? tmp : "/tmp");
    CQ_ASSERT(mkdtemp(path_r));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void test_dir_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_path(char path_r[static TEST_PATH_SIZE], const char *dir, const char *name)
{
    CQ_ASSERT(snprintf(path_r, TEST_PATH_SIZE, "%s/%s", dir, name) < TEST_PATH_SIZE);
    return path_r;
}

static EVP_PKEY *make_key(bool rsa)
{
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    CQ_ASSERT(key);
    return key;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CQ_ASSERT(ext && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static X509 *make_cert(const char *cn, EVP_PKEY *key, const X509 *issuer, int64_t ends_in_s)
{
    static long serial = 1;
    X509 *cert = X509_new();
    long begins_in_s = ends_in_s < 0 ? (long)ends_in_s - 3600 : -3600;
    CQ_ASSERT(cert && X509_set_version(cert, 2) == 1);
    CQ_ASSERT(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++) == 1);
    CQ_ASSERT(X509_time_adj_ex(X509_getm_notBefore(cert), 0, begins_in_s, NULL));
    CQ_ASSERT(X509_time_adj_ex(X509_getm_notAfter(cert), 0, (long)ends_in_s, NULL));
    CQ_ASSERT(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const uint8_t *)cn, -1, -1,
                                         0) == 1);
    CQ_ASSERT(X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) == 1);
    CQ_ASSERT(X509_set_pubkey(cert, key) == 1);
    return cert;
}

struct test_ca *test_ca_new(const char *cn)
{
    struct test_ca *ca = cq_new(struct test_ca);
    ca->key = make_key(false);
    ca->cert = make_cert(cn, ca->key, NULL, 86400);
    add_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(ca->cert, ca->cert, NID_subject_key_identifier, "hash");
    CQ_ASSERT(X509_sign(ca->cert, ca->key, EVP_sha256()));
    return ca;
}

void test_ca_free(struct test_ca **ca_p)
{
    struct test_ca *ca = *ca_p;
    if (!ca)
        return;
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    free(ca);
    *ca_p = NULL;
}

/* A file that appears whole, as a tool for certificates writes it. */
static void write_whole(const char *path, int (*write)(FILE *f, const void *what), const void *what)
{
    char next[TEST_PATH_SIZE + 8];
    snprintf(next, sizeof next, "%s.next", path);
    FILE *f = fopen(next, "w");
    CQ_ASSERT(f && write(f, what) == 1 && fclose(f) == 0 && rename(next, path) == 0);
}

static int write_cert(FILE *f, const void *cert)
{
    return PEM_write_X509(f, cert);
}

static int write_key(FILE *f, const void *key)
{
    return PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
}

void test_ca_write(const struct test_ca *ca, const char *path)
{
    write_whole(path, write_cert, ca->cert);
}

static void add_alt_names(X509 *cert, X509 *issuer, const struct test_cert *wanted)
{
    char text[4096] = "";
    size_t len = 0;
    for (const char *const *name = wanted->dns; name && *name; name++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%sDNS:%s", len ? "," : "", *name);
    for (const char *const *name = wanted->uri; name && *name; name++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%sURI:%s", len ? "," : "", *name);
    CQ_ASSERT(len < sizeof text);
    if (len)
        add_extension(cert, issuer, NID_subject_alt_name, text);
}

void test_cert_write(const struct test_ca *ca, const struct test_cert *wanted, const char *cert_path,
                     const char *key_path)
{
    EVP_PKEY *key = make_key(wanted->rsa);
    X509 *cert = make_cert(wanted->cn, key, ca->cert, wanted->ends_in_s ? wanted->ends_in_s : 86400);
    add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    add_alt_names(cert, ca->cert, wanted);
    CQ_ASSERT(X509_sign(cert, ca->key, EVP_sha256()));
    write_whole(key_path, write_key, key);
    write_whole(cert_path, write_cert, cert);
    X509_free(cert);
    EVP_PKEY_free(key);
}

void test_tickets_write(const char *path, const uint8_t seeds[], int n)
{
    char next[TEST_PATH_SIZE + 8];
    snprintf(next, sizeof next, "%s.next", path);
    FILE *f = fopen(next, "w");
    CQ_ASSERT(f);
    for (int i = 0; i < n * 80; i++)
        CQ_ASSERT(fputc((seeds[i / 80] * 37 + i % 80 * 11) & 0xff, f) != EOF);
    CQ_ASSERT(fclose(f) == 0 && rename(next, path) == 0);
}
