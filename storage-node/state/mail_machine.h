/* The mailbox state machine: all of proto/mail.proto's commands and reads over the abstract store. Pure and
 * deterministic; formats in docs/formats/state.md. Start reading at mail_apply.c.
 *
 * All functions that take the machine are called on the thread that owns it, unless they say otherwise. */
#ifndef MAIL_MACHINE_H
#define MAIL_MACHINE_H

#include "state/entry.h"
#include "state/machine.h"

/* Reads where the last written effects left off. CQ_E_CORRUPT, CQ_E_VERSION (written by a newer build, or its active
 * version is above what this one can apply), CQ_E_IO. */
enum cq_rc mail_machine_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err);

/* ---- before proposing (pure; any thread) ---- */

/* Cuts what follows a command in its frame into the chunks that its entry will carry, in order, and checks the hashes
 * that the command names. `body` is the Call's body. The chunks' octets are raw's, one after the other; nothing is
 * copied. CQ_E_PROTO (does not decode, raw is too long or too short), CQ_E_CORRUPT (a hash is wrong), CQ_E_TOO_BIG,
 * CQ_E_LIMIT, CQ_E_UNSUPPORTED (not a command of this machine). */
enum cq_rc mail_command_chunks(uint32_t method, struct cq_slice body, struct cq_slice raw, struct cq_pool *pool,
                               struct entry_chunk **chunks_r, size_t *count_r, struct cq_err *err);

/* Commands (1 to 99) and reads (100 to 149) that this machine knows. internal: proposed by a leader for its own group,
 * never taken from the network. */
struct mail_method {
    uint32_t method;
    const char *name;
    bool command, internal;
    bool grows; /* adds data: refused first when space runs out */
};
/* NULL when unknown. */
const struct mail_method *mail_method_find(uint32_t method);

/* ---- bodies ---- */

/* Octets [from, from + take) of one chunk. */
struct body_piece {
    struct chunk_id id;
    uint32_t length; /* of the whole chunk */
    struct cq_hash128 hash;
    uint32_t from, take;
};
/* For READ_BODY: judges the Call like every read and turns (email, offset, length) into pieces, in order, together at
 * most 1 MiB. The encoded Answer (ReadBodyReply) goes to *answer. Errors as machine_ops.read, CQ_E_NOT_FOUND when there
 * is no such email. */
enum cq_rc mail_machine_body(struct machine *machine, const struct machine_read *read, struct cq_pool *pool,
                             struct cq_buf *answer, struct body_piece **pieces_r, size_t *count_r, struct cq_err *err);

/* Appends the pieces' octets to out; each chunk's length and hash are verified. Touches only the store: any thread.
 * CQ_E_CORRUPT, CQ_E_IO, CQ_E_LIMIT, CQ_E_NOT_FOUND: a chunk is not there; mail_machine_body_missing() tells why. */
enum cq_rc body_pieces_read(struct store *store, const struct body_piece *pieces, size_t count, struct cq_buf *out,
                            struct cq_err *err);

/* Why body_pieces_read() did not find a chunk that mail_machine_body() had named for the same read: CQ_E_NOT_FOUND
 * (expunged and swept since then; or what mail_machine_body says now), CQ_E_CORRUPT (a live message still names it: the
 * store has lost it). Never CQ_OK. */
enum cq_rc mail_machine_body_missing(struct machine *machine, const struct machine_read *read, struct cq_err *err);

/* Dead bodies: marks in STORE_LOCAL, one per chunk that no manifest names any more, ordered by the index of the entry
 * that carried the chunk. Whoever trims the log removes chunk and mark once its own log begins after that index. */
#define DEAD_CHUNK_KEY_SIZE 33
void dead_chunk_key(uint32_t group, const struct chunk_id *id, uint8_t key_r[static DEAD_CHUNK_KEY_SIZE]);
/* The keys of the group's marks with an index below first_index are [from, to). */
void dead_chunk_range(uint32_t group, uint64_t first_index, uint8_t from_r[static DEAD_CHUNK_KEY_SIZE],
                      uint8_t to_r[static DEAD_CHUNK_KEY_SIZE]);
bool dead_chunk_parse(struct cq_slice key, uint32_t *group_r, struct chunk_id *id_r);

/* ---- background work of a leader ---- */

/* Is there anything for RECLAIM at this time (us): tombstones, or expired stages, keys, results? */
bool mail_machine_reclaim_due(struct machine *machine, uint64_t now);

/* The group's entry time (us): the stamp of answers, and the floor of the next entry's time. */
uint64_t mail_machine_time(const struct machine *machine);

/* The group's active command version (command_version.h). */
uint16_t mail_machine_active_version(const struct machine *machine);

/* Place of an event in the outbox; part of its id. */
struct outbox_position {
    uint64_t index;
    uint32_t sub_index;
};
/* Gives the events after `after` one by one, in their order, until take() says false (CQ_OK) or there are no more
 * (CQ_E_EOF). The event, an encoded OutboxEvent (proto/outbox.proto), is valid during the call. */
typedef bool outbox_take_fn(void *ctx, struct outbox_position position, struct cq_slice event);
enum cq_rc mail_machine_outbox_walk(struct machine *machine, struct outbox_position after, outbox_take_fn *take,
                                    void *ctx, struct cq_err *err);
/* The first event after `after`: CQ_OK, CQ_E_EOF when there is none. *event_r is in the pool. */
enum cq_rc mail_machine_outbox_next(struct machine *machine, struct outbox_position after, struct cq_pool *pool,
                                    struct outbox_position *position_r, struct cq_slice *event_r, struct cq_err *err);
/* Events up to here have been published and removed. */
struct outbox_position mail_machine_outbox_cursor(const struct machine *machine);
/* Events that wait, and their bytes. */
void mail_machine_outbox_backlog(const struct machine *machine, uint64_t *events_r, uint64_t *bytes_r);
/* When the oldest of them happened (us since 1970); 0: none waits. */
uint64_t mail_machine_outbox_oldest(struct machine *machine);

/* ---- checking ---- */

/* Walks every replicated record, verifies each one's checksum and computes the digest again: CQ_OK when it is what
 * apply kept, CQ_E_CORRUPT when not. Reads everything: not for the serving path. */
enum cq_rc mail_machine_verify(struct machine *machine, uint64_t *records_r, struct cq_err *err);

#endif
