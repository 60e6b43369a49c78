#include "io/io_tls_setup.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_tls_files.h"
#include "io/io_metrics.h"
#include "io/io_tls_private.h"

/* A certificate with its chain and key. */
struct pair {
    X509 *cert;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/* What belongs to one SSL_CTX and lives as long: sessions may hold it longer than the io_tls does. */
struct generation {
    struct pair pairs[IO_TLS_CERTS_MAX];
    size_t pair_count;
    struct io_tls_ticket_key tickets[IO_TLS_TICKET_KEYS];
    uint8_t alpn[IO_TLS_ALPN_BYTES_MAX];
    unsigned alpn_len;
    int64_t not_after_s;
};

/* ---- Options ---- */

static char *copy(const char *text)
{
    return text ? cq_strndup(text, strlen(text)) : NULL;
}

static void set_alpn(struct io_tls_setup *setup, const char *const *alpn, size_t count)
{
    CQ_ASSERT(count <= IO_TLS_ALPN_MAX);
    cq_buf_init(&setup->alpn, IO_TLS_ALPN_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(alpn[i]);
        CQ_ASSERT(len > 0 && len < 256);
        cq_buf_byte(&setup->alpn, (uint8_t)len);
        cq_buf_add(&setup->alpn, alpn[i], len);
    }
    CQ_ASSERT(cq_buf_ok(&setup->alpn));
}

static void add_cert(struct io_tls_setup *setup, const char *cert_file, const char *key_file)
{
    setup->certs[setup->cert_count++] = (struct io_tls_cert){copy(cert_file), copy(key_file)};
}

void io_tls_setup_server(struct io_tls_setup *setup, const struct io_tls_server_options *options)
{
    setup->server = true;
    setup->tls13_only = options->tls13_only;
    setup->service = copy(options->service);
    setup->protocol = io_metrics_protocol(setup->service);
    for (size_t i = 0; i < options->cert_count && i < IO_TLS_CERTS_MAX; i++)
        add_cert(setup, options->certs[i].cert_file, options->certs[i].key_file);
    setup->ca_file = copy(options->client_ca_file);
    setup->ticket_keys_file = copy(options->ticket_keys_file);
    set_alpn(setup, options->alpn, options->alpn_count);
    CQ_ASSERT(RAND_bytes((uint8_t *)setup->own_tickets, sizeof setup->own_tickets) == 1);
}

void io_tls_setup_client(struct io_tls_setup *setup, const struct io_tls_client_options *options)
{
    setup->tls13_only = options->tls13_only;
    setup->service = copy("client");
    setup->protocol = io_metrics_protocol(setup->service);
    if (options->cert_file)
        add_cert(setup, options->cert_file, options->key_file);
    setup->ca_file = copy(options->ca_file);
    set_alpn(setup, options->alpn, options->alpn_count);
}

void io_tls_setup_fini(struct io_tls_setup *setup)
{
    for (size_t i = 0; i < setup->cert_count; i++) {
        free((void *)(uintptr_t)setup->certs[i].cert_file);
        free((void *)(uintptr_t)setup->certs[i].key_file);
    }
    free(setup->service);
    free(setup->ca_file);
    free(setup->ticket_keys_file);
    cq_buf_fini(&setup->alpn);
    cq_wipe(setup->own_tickets, sizeof setup->own_tickets);
}

/* ---- PEM ---- */

/* Never asks a terminal for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

static enum cq_rc pem_open(const char *path, uint8_t **data_r, size_t *len_r, BIO **bio_r, struct cq_err *err)
{
    enum cq_rc rc = io_tls_file_read(path, IO_TLS_FILE_MAX, data_r, len_r, err);
    if (rc != CQ_OK)
        return rc;
    *bio_r = BIO_new_mem_buf(*data_r, (int)*len_r);
    CQ_ASSERT(*bio_r);
    ERR_clear_error();
    return CQ_OK;
}

/* The end of the file is an error to OpenSSL, and the one that we want. */
static bool only_the_end(void)
{
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (end)
        ERR_clear_error();
    return end;
}

/* All certificates of a file, at least one. */
static enum cq_rc read_certs(const char *path, STACK_OF(X509) * *certs_r, struct cq_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    BIO *bio = NULL;
    enum cq_rc rc = pem_open(path, &data, &len, &bio, err);
    if (rc != CQ_OK)
        return rc;
    STACK_OF(X509) *certs = sk_X509_new_null();
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL));)
        CQ_ASSERT(sk_X509_push(certs, cert) > 0);
    if (!only_the_end() || sk_X509_num(certs) == 0)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: no certificate, or a broken one (%s)", path, io_tls_error_text());
    BIO_free(bio);
    io_tls_file_free(data, len);
    if (rc == CQ_OK)
        *certs_r = certs;
    else
        sk_X509_pop_free(certs, X509_free);
    return rc;
}

static enum cq_rc read_key(const char *path, EVP_PKEY **key_r, struct cq_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    BIO *bio = NULL;
    enum cq_rc rc = pem_open(path, &data, &len, &bio, err);
    if (rc != CQ_OK)
        return rc;
    *key_r = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (!*key_r)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: no private key without a passphrase (%s)", path, io_tls_error_text());
    BIO_free(bio);
    io_tls_file_free(data, len);
    return rc;
}

/* ---- Pairs ---- */

static void pair_fini(struct pair *pair)
{
    X509_free(pair->cert);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
}

static enum cq_rc pair_read(const struct io_tls_cert *files, struct pair *pair, struct cq_err *err)
{
    enum cq_rc rc = read_certs(files->cert_file, &pair->chain, err);
    if (rc != CQ_OK)
        return rc;
    pair->cert = sk_X509_shift(pair->chain);
    rc = read_key(files->key_file, &pair->key, err);
    if (rc != CQ_OK)
        return rc;
    if (X509_check_private_key(pair->cert, pair->key) != 1)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s is not the key of %s (%s)", files->key_file, files->cert_file,
                       io_tls_error_text());
    return CQ_OK;
}

static int64_t not_after(const X509 *cert)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum cq_rc read_pairs(const struct io_tls_setup *setup, struct generation *gen, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < setup->cert_count && rc == CQ_OK; i++) {
        rc = pair_read(&setup->certs[i], &gen->pairs[gen->pair_count++], err);
        int64_t ends = rc == CQ_OK ? not_after(gen->pairs[i].cert) : 0;
        if (ends && (!gen->not_after_s || ends < gen->not_after_s))
            gen->not_after_s = ends;
    }
    return rc;
}

static bool pair_use(SSL *ssl, const struct pair *pair)
{
    return SSL_use_cert_and_key(ssl, pair->cert, pair->key, pair->chain, 1) == 1;
}

/* Does it certify this name? With NULL: any name that the default certificate has. */
static bool pair_matches(const struct generation *gen, const struct pair *pair, const char *name)
{
    if (name)
        return X509_check_host(pair->cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
    return pair == &gen->pairs[0];
}

/* Gives OpenSSL all pairs for the name that the client asks for; it takes the one whose algorithm the client knows. */
static int choose_pairs(SSL *ssl, void *arg)
{
    const struct generation *gen = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool any = false;
    SSL_certs_clear(ssl);
    for (size_t i = gen->pair_count; name && i-- > 0;) /* backwards: of two of one kind the first wins */
        if (pair_matches(gen, &gen->pairs[i], name))
            any |= pair_use(ssl, &gen->pairs[i]);
    return any || pair_use(ssl, &gen->pairs[0]);
}

static int accept_name(SSL *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- ALPN ---- */

/* RFC 7301 3.2: a client that offers only what we do not speak may be talking to the wrong server (ALPACA). */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offer,
                       unsigned offer_len, void *arg)
{
    (void)ssl;
    const struct generation *gen = arg;
    unsigned char *chosen = NULL;
    if (!gen->alpn_len || !offer_len ||
        SSL_select_next_proto(&chosen, out_len, gen->alpn, gen->alpn_len, offer, offer_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- Tickets ---- */

static int gen_index;

static const struct generation *gen_of(const SSL_CTX *ctx)
{
    return SSL_CTX_get_ex_data(ctx, gen_index);
}

static bool ticket_mac(EVP_MAC_CTX *mac, const struct io_tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->hmac, sizeof key->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int ticket_seal(const struct io_tls_ticket_key *key, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    memcpy(name, key->name, sizeof key->name);
    return RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
           EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) == 1 && ticket_mac(mac, key);
}

/* 0: not our ticket, a full handshake follows · 1: ours · 2: ours, and a new one is to be sent: it is of an older key,
 * or TLS 1.3, whose clients use a ticket once (RFC 8446 C.4). */
static int ticket_open(const struct generation *gen, bool use_once, const unsigned char *name, const unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    for (int i = 0; i < IO_TLS_TICKET_KEYS; i++) {
        const struct io_tls_ticket_key *key = &gen->tickets[i];
        if (memcmp(key->name, name, sizeof key->name) != 0)
            continue;
        if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv) != 1 || !ticket_mac(mac, key))
            return -1;
        return i == 0 && !use_once ? 1 : 2;
    }
    return 0;
}

static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                      int sealing)
{
    const struct generation *gen = gen_of(SSL_get_SSL_CTX(ssl));
    if (sealing)
        return ticket_seal(&gen->tickets[0], name, iv, cipher, mac) ? 1 : -1;
    return ticket_open(gen, SSL_version(ssl) >= TLS1_3_VERSION, name, iv, cipher, mac);
}

static enum cq_rc read_tickets(const struct io_tls_setup *setup, struct generation *gen, struct cq_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0, want = IO_TLS_TICKET_KEYS * IO_TLS_TICKET_KEY_SIZE;
    _Static_assert(sizeof gen->tickets == IO_TLS_TICKET_KEYS * IO_TLS_TICKET_KEY_SIZE, "the file is the array");
    if (!setup->ticket_keys_file) {
        memcpy(gen->tickets, setup->own_tickets, sizeof gen->tickets);
        return CQ_OK;
    }
    enum cq_rc rc = io_tls_file_read(setup->ticket_keys_file, IO_TLS_FILE_MAX, &data, &len, err);
    if (rc == CQ_OK && len != want)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: %zu bytes, %zu are needed (3 keys of 80)", setup->ticket_keys_file, len,
                     want);
    if (rc == CQ_OK)
        memcpy(gen->tickets, data, want);
    io_tls_file_free(data, len);
    return rc;
}

/* ---- The context ---- */

static void gen_free(void *parent, void *pointer, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    struct generation *gen = pointer;
    if (!gen)
        return;
    for (size_t i = 0; i < gen->pair_count; i++)
        pair_fini(&gen->pairs[i]);
    cq_wipe(gen->tickets, sizeof gen->tickets);
    free(gen);
}

static void make_gen_index(void)
{
    gen_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, gen_free);
    CQ_ASSERT(gen_index >= 0);
}

int64_t io_tls_setup_not_after(const SSL_CTX *ctx)
{
    return gen_of(ctx)->not_after_s;
}

static void common_rules(const struct io_tls_setup *setup, SSL_CTX *ctx)
{
    static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20"; /* TLS 1.2; those of 1.3 are all fine */
    CQ_ASSERT(SSL_CTX_set_min_proto_version(ctx, setup->tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION) == 1);
    CQ_ASSERT(SSL_CTX_set_cipher_list(ctx, ciphers) == 1);
    /* An end without close_notify is an end: every protocol of ours marks where its own things end. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record in one read; the buffer goes when it is empty */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify_depth(ctx, IO_TLS_CHAIN_DEPTH_MAX);
}

static void use_alpn(const struct io_tls_setup *setup, SSL_CTX *ctx, struct generation *gen)
{
    gen->alpn_len = (unsigned)setup->alpn.len;
    memcpy(gen->alpn, setup->alpn.data ? setup->alpn.data : (const uint8_t *)"", setup->alpn.len);
    if (setup->server)
        SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, gen);
    else if (gen->alpn_len)
        CQ_ASSERT(SSL_CTX_set_alpn_protos(ctx, gen->alpn, gen->alpn_len) == 0);
}

static enum cq_rc trust_file(const struct io_tls_setup *setup, SSL_CTX *ctx, struct cq_err *err)
{
    STACK_OF(X509) *certs = NULL;
    enum cq_rc rc = read_certs(setup->ca_file, &certs, err);
    for (int i = 0; rc == CQ_OK && i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);
        bool taken = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1 &&
                     (!setup->server || SSL_CTX_add_client_CA(ctx, cert) == 1);
        if (!taken)
            rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", setup->ca_file, io_tls_error_text());
    }
    sk_X509_pop_free(certs, X509_free);
    return rc;
}

static enum cq_rc server_rules(const struct io_tls_setup *setup, SSL_CTX *ctx, struct generation *gen,
                               struct cq_err *err)
{
    SSL_CTX_set_cert_cb(ctx, choose_pairs, gen);
    SSL_CTX_set_tlsext_servername_callback(ctx, accept_name);
    CQ_ASSERT(SSL_CTX_set_session_id_context(ctx, (const uint8_t *)setup->service, (unsigned)strlen(setup->service)) ==
              1);
    if (setup->ca_file) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        CQ_ASSERT(SSL_CTX_set_num_tickets(ctx, 0) == 1);
        return trust_file(setup, ctx, err);
    }
    CQ_ASSERT(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) == 1);
    SSL_CTX_set_timeout(ctx, IO_TLS_TICKET_LIFETIME_S);
    return read_tickets(setup, gen, err);
}

static enum cq_rc client_rules(const struct io_tls_setup *setup, SSL_CTX *ctx, struct generation *gen,
                               struct cq_err *err)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (gen->pair_count &&
        SSL_CTX_use_cert_and_key(ctx, gen->pairs[0].cert, gen->pairs[0].key, gen->pairs[0].chain, 1) != 1)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", setup->certs[0].cert_file, io_tls_error_text());
    if (setup->ca_file)
        return trust_file(setup, ctx, err);
    CQ_ASSERT(SSL_CTX_set_default_verify_paths(ctx) == 1);
    return CQ_OK;
}

/* OpenSSL judges key sizes and signatures; here rather than in the first handshake. */
static enum cq_rc try_pairs(const struct io_tls_setup *setup, SSL_CTX *ctx, const struct generation *gen,
                            struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    SSL *ssl = SSL_new(ctx);
    CQ_ASSERT(ssl);
    for (size_t i = 0; i < gen->pair_count && rc == CQ_OK; i++)
        if (!pair_use(ssl, &gen->pairs[i]))
            rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", setup->certs[i].cert_file, io_tls_error_text());
    SSL_free(ssl);
    return rc;
}

enum cq_rc io_tls_setup_ctx(const struct io_tls_setup *setup, SSL_CTX **ctx_r, struct cq_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_gen_index);
    SSL_CTX *ctx = SSL_CTX_new(setup->server ? TLS_server_method() : TLS_client_method());
    struct generation *gen = cq_new(struct generation);
    CQ_ASSERT(ctx && SSL_CTX_set_ex_data(ctx, gen_index, gen) == 1);
    common_rules(setup, ctx);
    use_alpn(setup, ctx, gen);
    enum cq_rc rc = read_pairs(setup, gen, err);
    if (rc == CQ_OK)
        rc = try_pairs(setup, ctx, gen, err);
    if (rc == CQ_OK)
        rc = setup->server ? server_rules(setup, ctx, gen, err) : client_rules(setup, ctx, gen, err);
    if (rc != CQ_OK) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *ctx_r = ctx;
    return CQ_OK;
}
