/* Keys and records of the family STORE_LOG, byte by byte in docs/formats/log.md. Pure. Private to raft/. */
#ifndef RAFT_LOG_FORMAT_H
#define RAFT_LOG_FORMAT_H

#include "base/cq_err.h"
#include "base/cq_slice.h"

#define RAFT_LOG_FORMAT 1

/* Group, replica, kind; entries have their index behind it. All big-endian. */
#define RAFT_KEY_SIZE 13
#define RAFT_ENTRY_KEY_SIZE 21
enum raft_record_kind {
    RAFT_RECORD_VOTE = 1,   /* term and vote */
    RAFT_RECORD_MARKER = 2, /* what the log begins after */
    RAFT_RECORD_ENTRY = 16
};

void raft_key(uint32_t group, uint64_t replica, enum raft_record_kind kind, uint8_t key_r[static RAFT_KEY_SIZE]);
void raft_entry_key(uint32_t group, uint64_t replica, uint64_t index, uint8_t key_r[static RAFT_ENTRY_KEY_SIZE]);
/* The index of an entry's key; 0: it is none. */
uint64_t raft_entry_key_index(struct cq_slice key);

enum raft_entry_kind { RAFT_KIND_COMMAND = 1, RAFT_KIND_BARRIER = 2, RAFT_KIND_CHANGE = 3 }; /* libraft's numbers */

/* Every record: a head with a checksum over key and record, then the payload. */
#define RAFT_RECORD_HEAD 32
struct raft_record {
    uint8_t kind;         /* enum raft_entry_kind; 0 in records that are no entries */
    uint32_t chunk_count; /* of an entry */
    uint64_t term;        /* of an entry, of the vote record, of the marker */
    uint64_t body_bytes;  /* of an entry: of its chunks together */
    struct cq_slice payload;
};
/* Writes the head; the value is head, then record->payload. */
void raft_record_head(struct cq_slice key, const struct raft_record *record, uint8_t head_r[static RAFT_RECORD_HEAD]);
/* CQ_E_CORRUPT, CQ_E_VERSION. The payload points into value. */
enum cq_rc raft_record_parse(struct cq_slice key, struct cq_slice value, struct raft_record *record_r,
                             struct cq_err *err);

/* Payload of the vote record: the replica voted for in the term, 0: none. */
#define RAFT_VOTE_PAYLOAD 8
/* Payload of the marker (its head has the term): index, configuration's index, configuration. */
#define RAFT_MARKER_FIXED 16

#endif
