#include "smtp/smtp_command.h"

static struct cq_slice skip_blanks(struct cq_slice s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = cq_slice_skip(s, 1);
    return s;
}

void smtp_split(struct cq_slice line, struct cq_slice *verb_r, struct cq_slice *rest_r)
{
    line = cq_slice_trim(line);
    size_t end = 0;
    while (end < line.len && line.data[end] != ' ' && line.data[end] != '\t')
        end++;
    *verb_r = cq_slice_sub(line, 0, end);
    *rest_r = skip_blanks(cq_slice_skip(line, end));
}

/* keyword ["=" value] (RFC 5321 4.1.2), split at the first "=". */
static bool take_param(struct cq_slice *rest, struct cq_slice *key_r, struct cq_slice *value_r)
{
    *rest = skip_blanks(*rest);
    if (!rest->len)
        return false;
    size_t end = 0;
    while (end < rest->len && rest->data[end] != ' ' && rest->data[end] != '\t')
        end++;
    *value_r = cq_slice_sub(*rest, 0, end);
    *key_r = cq_slice_cut(value_r, '=');
    *rest = cq_slice_skip(*rest, end);
    return true;
}

static bool param_size(struct smtp_mail *mail, struct cq_slice value)
{
    if (mail->has_size || value.len == 0 || value.len > 20)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!cq_ascii_digit(value.data[i]))
            return false;
    mail->has_size = true;
    if (!cq_slice_u64(value, UINT64_MAX, &mail->size))
        mail->size = UINT64_MAX;
    return true;
}

static bool param_body(struct smtp_mail *mail, struct cq_slice value)
{
    if (cq_slice_caseeq(value, CQ_SLICE("8BITMIME")))
        mail->body = SMTP_BODY_8BITMIME;
    else if (!cq_slice_caseeq(value, CQ_SLICE("7BIT")))
        return false;
    return true;
}

static bool param_smtputf8(struct smtp_mail *mail, struct cq_slice value)
{
    mail->smtputf8 = true;
    return value.len == 0;
}

/* RFC 4954 5: who submitted it first. Nobody here trusts the sender's word, so it is read and dropped. */
static bool param_auth(struct smtp_mail *mail, struct cq_slice value)
{
    (void)mail;
    return value.len > 0;
}

static const struct {
    const char *key;
    bool (*set)(struct smtp_mail *mail, struct cq_slice value);
} mail_params[] = {
    {"SIZE", param_size},
    {"BODY", param_body},
    {"SMTPUTF8", param_smtputf8},
    {"AUTH", param_auth},
};

static bool set_mail_param(struct smtp_mail *mail, struct cq_slice key, struct cq_slice value)
{
    for (size_t i = 0; i < sizeof mail_params / sizeof *mail_params; i++)
        if (cq_slice_caseeq(key, cq_slice_cstr(mail_params[i].key)))
            return mail_params[i].set(mail, value);
    return false;
}

/* "FROM:" or "TO:", blanks (not allowed, but old clients send them), then the path. */
static enum smtp_parse take_path(struct cq_slice *rest, struct cq_slice word, bool allow_null, struct cq_pool *pool,
                                 struct smtp_path *path_r)
{
    if (!cq_slice_casestarts(*rest, word))
        return SMTP_PARSE_SYNTAX;
    *rest = skip_blanks(cq_slice_skip(*rest, word.len));
    if (!rest->len || rest->data[0] != '<')
        return SMTP_PARSE_SYNTAX;
    if (!smtp_path_take(rest, allow_null, pool, path_r))
        return SMTP_PARSE_ADDRESS;
    return rest->len && rest->data[0] != ' ' && rest->data[0] != '\t' ? SMTP_PARSE_SYNTAX : SMTP_PARSE_OK;
}

enum smtp_parse smtp_parse_mail(struct cq_slice rest, struct cq_pool *pool, struct smtp_mail *mail_r,
                                struct cq_slice *param_r)
{
    *mail_r = (struct smtp_mail){.body = SMTP_BODY_7BIT};
    *param_r = CQ_SLICE_NONE;
    enum smtp_parse result = take_path(&rest, CQ_SLICE("FROM:"), true, pool, &mail_r->from);
    struct cq_slice key, value;
    for (unsigned n = 0; result == SMTP_PARSE_OK && take_param(&rest, &key, &value); n++)
        if (n == SMTP_PARAMS_MAX || !set_mail_param(mail_r, key, value)) {
            *param_r = key;
            result = SMTP_PARSE_PARAM;
        }
    return result;
}

enum smtp_parse smtp_parse_rcpt(struct cq_slice rest, struct cq_pool *pool, struct smtp_rcpt *rcpt_r,
                                struct cq_slice *param_r)
{
    *rcpt_r = (struct smtp_rcpt){.to = {.null = false}};
    *param_r = CQ_SLICE_NONE;
    enum smtp_parse result = take_path(&rest, CQ_SLICE("TO:"), false, pool, &rcpt_r->to);
    struct cq_slice key, value;
    if (result == SMTP_PARSE_OK && take_param(&rest, &key, &value)) {
        *param_r = key; /* no extension that we offer has RCPT parameters */
        result = SMTP_PARSE_PARAM;
    }
    return result;
}
