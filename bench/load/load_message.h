/* Messages from a seed: the same (seed, index, size) gives the same octets on every machine. Plain texts, alternatives,
 * attachments, forwarded messages; sizes with a median of 16 KiB and a tail to 1 MiB. Pure.
 *
 * Lines end with CRLF, have at most 78 octets and never begin with a dot: SMTP needs no stuffing. */
#ifndef LOAD_MESSAGE_H
#define LOAD_MESSAGE_H

#include "base/cq_buf.h"
#include "base/cq_rand.h"

#define LOAD_MESSAGE_MIN 2048       /* octets; smaller sizes give this one */
#define LOAD_MESSAGE_MAX (1u << 20) /* the largest of the distribution */
#define LOAD_TOKEN_SIZE 16          /* hex digits that tell a message from all others */
#define LOAD_MESSAGE_BUF (2u << 20) /* a maximum for the buffers that messages are made in */

/* A size of the distribution. */
size_t load_message_size(struct cq_prng *prng);

/* Appends one message of exactly `size` octets (0: a size of the distribution). Its Message-ID begins with a token of
 * zeros; *token_at_r is where, counted from the message's beginning. */
void load_message_make(uint64_t seed, uint64_t index, size_t size, struct cq_buf *out, size_t *token_at_r);

/* Writes `number` as LOAD_TOKEN_SIZE hex digits. */
void load_token_write(uint8_t *at, uint64_t number);

/* Messages made once and sent again and again under new tokens: making them costs the generator nothing then. */
struct load_message {
    uint8_t *octets;
    size_t len;
    size_t token_at;
};

struct load_messages {
    struct load_message *items;
    size_t count;
};

/* One that is about to be sent: the set's octets, and the token that it goes out with. Others may use the same octets,
 * so the stamp is written last of all, right before they are copied into a connection. */
struct load_letter {
    const struct load_message *message; /* borrowed */
    uint64_t token;
};

/* The octets with the token in them; valid until the calling fiber suspends. */
struct cq_slice load_letter_stamp(const struct load_letter *letter);

void load_messages_init(struct load_messages *messages, uint64_t seed, size_t count, size_t size);
void load_messages_fini(struct load_messages *messages);

#endif
