/* The file of known rows: what a front-end remembers of its directory, so that one that starts while the database is
 * away still knows it. Pure: bytes in, rows out, and back; dir_keeper.h reads and writes the file.
 *
 * Encrypted and authenticated under a key from a file (libsodium's secretstream), in chunks, so that neither side holds
 * all of it. Layout: docs/formats/known-rows.md. */
#ifndef CHASQUI_DIR_KNOWN_H
#define CHASQUI_DIR_KNOWN_H

#include "directory/dir_row.h"

#define DIR_KNOWN_KEY_SIZE 32
#define DIR_KNOWN_SECRET_MIN 32 /* bytes of the secret that the key is made of */
#define DIR_KNOWN_ORIGIN_MAX 255

/* The key of the secret in that file's first line. CQ_E_CONFIG: no such file, or it is shorter than
 * DIR_KNOWN_SECRET_MIN. The caller wipes it. */
enum cq_rc dir_known_key(const char *key_file, uint8_t key_r[static DIR_KNOWN_KEY_SIZE], struct cq_err *err);

struct dir_known_head {
    uint64_t written_us;    /* wall clock */
    uint64_t seen;          /* the feed of changes was heard up to here before the first row was written */
    struct cq_slice origin; /* name of the database; at most DIR_KNOWN_ORIGIN_MAX bytes are kept */
};

/* ---- Writing ---- */

struct dir_known_writer;

/* What is ready goes to the end of `out`: the caller empties it between the calls. */
struct dir_known_writer *dir_known_writer_new(const uint8_t key[static DIR_KNOWN_KEY_SIZE],
                                              const struct dir_known_head *head, struct cq_buf *out);
/* false: the row is too long to be kept, and is left out. */
bool dir_known_writer_add(struct dir_known_writer *writer, const struct dir_row *row);
void dir_known_writer_end(struct dir_known_writer *writer); /* once; without it the file is cut short */
void dir_known_writer_free(struct dir_known_writer **writer);

/* ---- Reading ---- */

struct dir_known_reader;

struct dir_known_take {
    enum cq_rc (*head)(const struct dir_known_head *head, void *ctx, struct cq_err *err); /* not CQ_OK: ends it */
    dir_row_fn *row; /* rows come before the end is known to be whole: forget them when it is not */
    void *ctx;
};

struct dir_known_reader *dir_known_reader_new(const uint8_t key[static DIR_KNOWN_KEY_SIZE],
                                              const struct dir_known_take *take);
/* The next bytes of the file, as many as there are. CQ_E_CORRUPT: no such file, cut, changed, or another key;
 * CQ_E_VERSION: of a newer program; what `head` said. After an error no more bytes. */
enum cq_rc dir_known_reader_feed(struct dir_known_reader *reader, struct cq_slice bytes, struct cq_err *err);
/* There are no more. CQ_E_CORRUPT: there should be. */
enum cq_rc dir_known_reader_end(struct dir_known_reader *reader, struct cq_err *err);
void dir_known_reader_free(struct dir_known_reader **reader);

#endif
