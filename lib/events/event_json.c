#include "events/event_json.h"

#include "base/cq_text.h"
#include "base/cq_time.h"

void event_json_name(struct cq_buf *out, const char *name)
{
    if (out->data[out->len - 1] != '{')
        cq_buf_byte(out, ',');
    cq_json_string(out, cq_slice_cstr(name));
    cq_buf_byte(out, ':');
}

void event_json_text(struct cq_buf *out, const char *name, const char *text)
{
    event_json_name(out, name);
    cq_json_string(out, cq_slice_cstr(text));
}

void event_json_time(struct cq_buf *out, const char *name, uint64_t us)
{
    char text[CQ_RFC3339_SIZE];
    cq_time_rfc3339(us, text);
    event_json_text(out, name, text);
}
