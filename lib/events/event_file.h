/* The file sink: one JSON object a line (NDJSON), appended; rotated by size (events.ndjson, .1, .2, ...), or from
 * outside with a reopen (SIGHUP). */
#ifndef EVENT_FILE_H
#define EVENT_FILE_H

#include "base/cq_config.h"
#include "events/event_sink.h"

#define EVENT_FILE_BUFFER (1u << 20) /* bytes that wait for a poll; then CQ_E_OVERLOADED */

enum event_file_sync { EVENT_FILE_SYNC_BATCH, EVENT_FILE_SYNC_NEVER };

struct event_file_config {
    const char *path; /* "": there is no file */
    uint64_t max_size;
    int64_t keep;
    int sync; /* enum event_file_sync */
};

/* Settings "events.file.*". */
struct cq_config_part event_file_config_part(struct event_file_config *values);

/* Opens for appending; a last line that a crash cut short is ended, so that it cannot swallow the next event.
 * CQ_E_IO names the file. */
enum cq_rc event_file_open(const struct event_file_config *config, struct event_sink **sink_r, struct cq_err *err);

#endif
