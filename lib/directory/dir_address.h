/* Addresses as the directory stores and looks them up: pure functions, one canonical form for each mailbox name.
 *
 * The rules, decided here and nowhere else (docs/decisions/0010-addresses.md):
 *   - the domain is its IDNA A-label, lower case (RFC 5890; "BÜCHER.example" is "xn--bcher-kva.example");
 *   - the local part is Unicode NFC and lower case (SMTPUTF8, RFC 6531); dots count; a leading "+tag" of nothing is no
 * tag;
 *   - "user+tag" is first looked up as it is, then as "user" with the tag "tag" (the first '+' separates);
 *   - quotes, wildcards, spaces, '@' in a local part are ordinary characters: found or not found, never interpreted;
 *   - control characters, NUL and bytes that are not UTF-8 are refused. */
#ifndef CHASQUI_DIR_ADDRESS_H
#define CHASQUI_DIR_ADDRESS_H

#include "base/cq_err.h"
#include "base/cq_pool.h"

#define DIR_LOCAL_MAX 64   /* octets; RFC 5321 section 4.5.3.1.1 */
#define DIR_DOMAIN_MAX 253 /* octets of the A-label form; RFC 1035, without the root */
#define DIR_ADDRESS_MAX (DIR_LOCAL_MAX + 1 + DIR_DOMAIN_MAX)
#define DIR_INPUT_MAX 1024 /* octets of an address as somebody typed it; longer is refused unread */

struct dir_address {
    struct cq_slice local;  /* canonical; "" for the catch-all "@domain" */
    struct cq_slice domain; /* canonical */
    struct cq_slice base;   /* local without "+tag"; equal to local when there is none */
    struct cq_slice tag;    /* what follows the first '+', canonical like the rest; "" when there is none */
    struct cq_slice text;   /* local@domain */
};

/* "Local@Domain", split at the last '@'; memory of the result is the pool's.
 * CQ_E_INVALID: too long, empty, malformed domain, controls, not UTF-8: there can be no such mailbox. */
enum cq_rc dir_address_parse(struct cq_slice text, struct cq_pool *pool, struct dir_address *address_r,
                             struct cq_err *err);

/* The same from parts that an SMTP parser has split already (local part without quotes and backslashes). */
enum cq_rc dir_address_parts(struct cq_slice local, struct cq_slice domain, struct cq_pool *pool,
                             struct dir_address *address_r, struct cq_err *err);

/* A domain alone. CQ_E_INVALID for address literals ("[192.0.2.1]") and anything that is no host name. */
enum cq_rc dir_domain_parse(struct cq_slice text, struct cq_pool *pool, struct cq_slice *domain_r, struct cq_err *err);

/* May an account or alias be created under this local part? Stricter than looking up: an RFC 5322 dot-atom (with the
 * UTF-8 of RFC 6532), so that no client needs quotes; no '+', which separates tags. */
bool dir_local_creatable(struct cq_slice local);

#endif
