#include "micro.h"

#include "base/cq_assert.h"
#include "imap/imap_command.h"
#include "imap/imap_reader.h"
#include "load_message.h"
#include "mail/mail_build.h"

#define MESSAGES 32
#define MESSAGE_SIZE 16384

void micro_mime(uint64_t count)
{
    struct load_messages set;
    struct cq_buf summary;
    load_messages_init(&set, 1, MESSAGES, MESSAGE_SIZE);
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    struct mail_builder *builder = mail_builder_new(NULL);
    for (uint64_t i = 0; i < count; i++) {
        const struct load_message *m = &set.items[i % MESSAGES];
        mail_builder_clear(builder);
        cq_buf_reset(&summary, SIZE_MAX);
        mail_builder_feed(builder, cq_slice_of(m->octets, m->len));
        mail_builder_finish(builder);
        mail_builder_summary(builder, 0, &summary);
        CQ_ASSERT(cq_buf_ok(&summary) && summary.len);
    }
    mail_builder_free(&builder);
    cq_buf_fini(&summary);
    load_messages_fini(&set);
}

static const char *const commands[] = {
    "a001 NOOP\r\n",
    "a002 SELECT INBOX\r\n",
    "a003 FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)\r\n",
    "a004 UID FETCH 1234 (UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)]<0.4096>)\r\n",
    "a005 STORE 7,9,11:20 +FLAGS.SILENT (\\Seen $Forwarded)\r\n",
    "a006 UID SEARCH UNSEEN SINCE 1-Jan-2024 NOT (FROM \"ana\" OR SUBJECT {5+}\r\nhello BODY x)\r\n",
    "a007 STATUS \"Lists/Debian\" (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ)\r\n",
    "a008 UID COPY 100:200 \"Archive/2024\"\r\n",
    "a009 LIST \"\" \"*\"\r\n",
    "a010 UID STORE 4 -FLAGS (\\Flagged)\r\n",
};
#define COMMANDS (sizeof commands / sizeof *commands)

void micro_imap(uint64_t count)
{
    struct imap_reader reader;
    struct cq_pool *pool = cq_pool_new(4096);
    imap_reader_init(&reader, &imap_reader_auth);
    for (uint64_t i = 0; i < count; i++) {
        struct imap_head head;
        struct imap_command command;
        const char *problem;
        size_t used;
        cq_pool_clear(pool);
        CQ_ASSERT(imap_reader_feed(&reader, cq_slice_cstr(commands[i % COMMANDS]), &used) == IMAP_READ_COMMAND);
        imap_command_head(imap_reader_text(&reader), &head);
        CQ_ASSERT(imap_command_parse(&head, pool, &command, &problem));
        imap_reader_next(&reader);
    }
    imap_reader_fini(&reader);
    cq_pool_free(&pool);
}
