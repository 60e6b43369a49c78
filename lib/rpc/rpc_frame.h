/* One RPC frame: a fixed little-endian header of 64 bytes, an encoded message, raw bytes. Byte by byte in
 * docs/formats/rpc-frame.md. This file is pure: no socket, no clock.
 *
 * A frame in memory is a struct rpc_frame (the header's fields) and a struct rpc_payload (message and raw bytes, as
 * they came). A forwarder changes stream, deadline_ms and epoch in the struct and sends the same payload on: nothing is
 * decoded and nothing is copied. */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "base/cq_slice.h"
#include "rpc/rpc_limits.h"

#define RPC_FRAME_VERSION 1
#define RPC_FRAME_HEADER_SIZE 64
#define RPC_PAYLOAD_MAX (RPC_FRAME_MAX - RPC_FRAME_HEADER_SIZE)

/* X(name, value, has a stream id). Types from 128 on may be skipped by a receiver that does not know them; any other
 * unknown type closes the connection. */
#define RPC_FRAME_TYPES(X)                                                                                             \
    X(RPC_REQUEST, 1, true)  /* client: opens a stream */                                                              \
    X(RPC_RESPONSE, 2, true) /* server: the result; ends the stream */                                                 \
    X(RPC_DATA, 3, true)     /* server: one item of a streaming answer; uses up credit */                              \
    X(RPC_CREDIT, 4, true)   /* client: aux more bytes of DATA may come */                                             \
    X(RPC_CANCEL, 5, true)   /* client: nobody waits any more; ends the stream */                                      \
    X(RPC_HELLO, 6, false)   /* both, first: who I am (proto/rpc.proto) */                                             \
    X(RPC_GOODBYE, 7, false) /* both: planned close; requests above stream id aux have not been looked at */           \
    X(RPC_PING, 8, false)    /* both: answered by PONG with the same aux */                                            \
    X(RPC_PONG, 9, false)                                                                                              \
    X(RPC_ONEWAY, 10, false) /* client: a message without answer, in order with the connection's other ones */

enum rpc_frame_type {
#define RPC_FRAME_TYPE_ENUM(name, value, stream) name = (value),
    RPC_FRAME_TYPES(RPC_FRAME_TYPE_ENUM)
#undef RPC_FRAME_TYPE_ENUM
};
#define RPC_FRAME_TYPE_SKIPPABLE 128

/* Bits of flags. Unknown ones are kept and ignored. */
enum rpc_frame_flag {
    RPC_FLAG_COMMAND = 1, /* REQUEST: changes state; resending is safe only because the request carries its id */
    RPC_FLAG_STREAM = 2,  /* REQUEST: DATA frames may come before the RESPONSE; aux is the first credit */
    RPC_FLAG_RESENT = 4,  /* REQUEST: an earlier attempt may have reached a server */
    RPC_FLAG_NOT_RUN = 8  /* RESPONSE: the handler has not run: nothing happened here */
};

struct rpc_frame {
    uint8_t type; /* enum rpc_frame_type, or an unknown skippable one */
    uint16_t flags;
    uint16_t method;
    uint16_t result;      /* RESPONSE: enum cq_rc; may be a newer peer's */
    uint32_t stream;      /* chosen by the client, rising within a connection, from 1 */
    uint32_t group;       /* of the shard that is meant; 0: the system shard or none */
    uint64_t account;     /* 0: none */
    uint64_t epoch;       /* of the shard map: the sender's; with WRONG_OWNER the answerer's */
    uint32_t deadline_ms; /* what is left when the frame is sent; 0: no deadline */
    uint32_t message_len; /* the payload's beginning; raw bytes follow */
    uint32_t payload_len;
    uint64_t aux; /* RESPONSE NOT_LEADER: the leader's replica id, 0 unknown; STREAM, CREDIT: bytes; PING, PONG: echo */
};

/* Message and raw bytes, counted: may be shared by threads, is never changed after it was filled. */
struct rpc_payload {
    uint32_t refs; /* atomic */
    uint32_t len;
    uint8_t data[];
};

/* len bytes to be filled by the caller; len <= RPC_PAYLOAD_MAX. One reference, the caller's. */
struct rpc_payload *rpc_payload_new(size_t len);
struct rpc_payload *rpc_payload_ref(struct rpc_payload *payload); /* NULL gives NULL */
void rpc_payload_unref(struct rpc_payload **payload);             /* NULL and pointer to NULL are fine; becomes NULL */

/* A payload of a message and raw slices, copied; NULL when they are over RPC_PAYLOAD_MAX together. Sets the frame's
 * message_len and payload_len. */
struct rpc_payload *rpc_payload_join(struct rpc_frame *frame, struct cq_slice message, const struct cq_slice *raw,
                                     size_t raw_count);

/* The same without a copy: into an empty buffer (whose limit counts RPC_PAYLOAD_BUF_EXTRA too) after
 * rpc_payload_begin() the caller writes message and raw bytes; rpc_payload_end() takes its memory. NULL: more than
 * RPC_PAYLOAD_MAX, or more than the buffer takes. */
#define RPC_PAYLOAD_BUF_EXTRA sizeof(struct rpc_payload)
void rpc_payload_begin(struct cq_buf *buf);
struct rpc_payload *rpc_payload_end(struct cq_buf *buf);

/* The two parts; borrowed from the payload (which may be NULL when payload_len is 0). */
struct cq_slice rpc_frame_message(const struct rpc_frame *frame, const struct rpc_payload *payload);
struct cq_slice rpc_frame_raw(const struct rpc_frame *frame, const struct rpc_payload *payload);

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t out[static RPC_FRAME_HEADER_SIZE]);

/* Judges everything that can be judged from the header. CQ_E_VERSION: another version or an unknown type that must not
 * be skipped; CQ_E_TOO_BIG: payload over payload_max; CQ_E_PROTO: lengths that contradict each other, a stream id where
 * none belongs or none where one does. */
enum cq_rc rpc_frame_decode(const uint8_t in[static RPC_FRAME_HEADER_SIZE], size_t payload_max,
                            struct rpc_frame *frame_r, struct cq_err *err);

const char *rpc_frame_type_name(uint8_t type); /* "REQUEST"; "?" */

/* Collects frames from bytes in any portions. Zero-initialise with rpc_frame_reader_init; payload_max may be raised
 * between frames. */
struct rpc_frame_reader {
    uint8_t header[RPC_FRAME_HEADER_SIZE];
    size_t have; /* bytes of the header, then of header and payload */
    size_t payload_max;
    struct rpc_frame frame;
    struct rpc_payload *payload;
};

void rpc_frame_reader_init(struct rpc_frame_reader *reader, size_t payload_max);
void rpc_frame_reader_fini(struct rpc_frame_reader *reader);

/* Takes bytes from the front of *input. CQ_OK: one frame; the payload is the caller's (NULL when it has no bytes).
 * CQ_E_AGAIN: *input is used up and the frame is not complete. An error of rpc_frame_decode: the connection is lost;
 * the reader must not be used again except for fini. */
enum cq_rc rpc_frame_reader_next(struct rpc_frame_reader *reader, struct cq_slice *input, struct rpc_frame *frame_r,
                                 struct rpc_payload **payload_r, struct cq_err *err);

/* Is it between two frames? (EOF here is clean.) */
bool rpc_frame_reader_idle(const struct rpc_frame_reader *reader);

#endif
