/* One client connection of a fiber: connect, write, and wait for whole answers of IMAP, SMTP, LMTP or POP3. All of it
 * suspends the fiber; every wait ends after LOAD_WAIT_MS. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include "io/io_conn.h"
#include "load_message.h"
#include "load_scan.h"

#define LOAD_WAIT_MS 120000
#define LOAD_INPUT_MAX (256u << 10)
#define LOAD_ADDRESSES_MAX 16
#define LOAD_TAG_SIZE 16

enum load_tls { LOAD_TLS_NONE, LOAD_TLS_IMPLICIT, LOAD_TLS_START };

/* Where a protocol is spoken: sessions are spread over the addresses in turn. */
struct load_endpoint {
    struct io_addr addresses[LOAD_ADDRESSES_MAX];
    size_t count;
    enum load_tls tls;
};

struct load_client {
    struct io_loop *loop;
    struct io_tls *tls; /* borrowed */
    const char *server_name;
    struct io_conn *conn;
    struct load_imap imap;
    struct load_reply reply;
    struct load_pop pop;
    unsigned tag_number;
    char tag[LOAD_TAG_SIZE];
};

/* `number` chooses the endpoint's address, `from` is our own (IO_UNSPEC: any). With TLS_START the caller speaks its
 * protocol's STARTTLS and then calls load_client_secure. */
enum cq_rc load_client_open(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                            const struct io_addr *from, const struct io_tls_session *resume, struct cq_err *err);
enum cq_rc load_client_secure(struct load_client *c, struct cq_err *err);
void load_client_close(struct load_client *c); /* says goodbye to the socket only; may be closed already */

/* ---- IMAP ---- */

/* Connects, STARTTLS if the endpoint wants it, greeting, LOGIN. */
enum cq_rc load_imap_login(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                           const struct io_addr *from, const struct io_tls_session *resume, const char *address,
                           const char *password, struct cq_err *err);

/* Writes "TAG command CRLF" and waits for its end; CQ_E_DENIED with the server's line when that is not OK. What was
 * seen is in c->imap. */
enum cq_rc load_imap_command(struct load_client *c, struct cq_err *err, const char *fmt, ...) CQ_PRINTF(3, 4);

/* In pieces: a new tag with its space; then the caller writes the rest of the command; then the wait. */
void load_imap_tag(struct load_client *c);
enum cq_rc load_imap_wait(struct load_client *c, enum load_status wanted, struct cq_err *err);

/* ---- SMTP, LMTP ---- */

/* Connects, greeting, hello, STARTTLS if the endpoint wants it. */
enum cq_rc load_smtp_open(struct load_client *c, const struct load_endpoint *endpoint, size_t number, bool lmtp,
                          struct cq_err *err);

/* Waits for one reply: CQ_OK when its first digit is `digit`; CQ_E_DENIED with the line otherwise. */
enum cq_rc load_smtp_wait(struct load_client *c, int digit, struct cq_err *err);

/* A message to one recipient, its commands pipelined as far as RFC 2920 allows. *refused_r (may be NULL): the server
 * answered, and the session may go on. */
enum cq_rc load_smtp_send(struct load_client *c, const char *from, const char *to, const struct load_letter *letter,
                          bool *refused_r, struct cq_err *err);

/* ---- POP3 ---- */

enum cq_rc load_pop_login(struct load_client *c, const struct load_endpoint *endpoint, size_t number,
                          const char *address, const char *password, struct cq_err *err);
enum cq_rc load_pop_command(struct load_client *c, bool multi, struct cq_err *err, const char *fmt, ...)
    CQ_PRINTF(4, 5);

#endif
