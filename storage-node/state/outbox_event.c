/* Events: written by the entry that makes the change, under (index, sub-index). */
#include "state/mail_private.h"

void apply_event(struct apply *a, Chasqui__Outbox__Event *event)
{
    struct mail_machine *m = a->v.m;
    event->time = a->now;
    event->account = a->v.id;
    event->address = cq_pool_cstr(a->v.pool, a->v.account.address);
    struct cq_slice packed = mail_pack(a->v.pool, &event->base);
    struct state_key key;
    key_begin(&key, db_space(m->db), 0, KEY_OUTBOX);
    key_u64(&key, a->position.index);
    key_u32(&key, a->events++);
    struct cq_buf *out = mail_scratch(m);
    bytes_record_put(packed, out);
    db_insert(m->db, &key, cq_buf_slice(out));
    m->group.outbox_events++;
    m->group.outbox_bytes += packed.len;
}

void apply_mailbox_event(struct apply *a, Chasqui__Outbox__Type type, uint64_t id, struct cq_slice name,
                         struct cq_slice old_name, uint32_t messages, uint64_t bytes)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Mailbox mailbox = CHASQUI__OUTBOX__MAILBOX__INIT;
    event.type = type;
    event.mailbox = &mailbox;
    mailbox.id = id;
    mailbox.name = cq_pool_cstr(a->v.pool, name);
    mailbox.old_name = cq_pool_cstr(a->v.pool, old_name);
    mailbox.messages = messages;
    mailbox.bytes = bytes;
    mailbox.modseq = a->modseq;
    apply_event(a, &event);
}

void apply_account_event(struct apply *a, Chasqui__Outbox__Type type)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    event.type = type;
    apply_event(a, &event);
}

/* A text of an event: cut between characters. */
static void cut_text(char *text)
{
    size_t len = strnlen(text, STATE_EVENT_TEXT_MAX + 1);
    if (len <= STATE_EVENT_TEXT_MAX)
        return;
    len = STATE_EVENT_TEXT_MAX;
    while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
        len--;
    text[len] = '\0';
}

/* An unset text is protobuf-c's shared empty string, which is never written to. */
static void cut_texts(Chasqui__Mail__DeliveryEvent *e)
{
    char *texts[] = {e->message_id, e->rfc5322_message_id, e->session_id, e->direction, e->envelope_from,
                     e->recipient,  e->original_recipient, e->client_ip,  e->ehlo,      e->tls};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cut_text(texts[i]);
}

void apply_delivery_event(struct apply *a, Chasqui__Outbox__Type type, const Chasqui__Mail__Deliver *deliver,
                          const struct delivered *where)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Delivery delivery = CHASQUI__OUTBOX__DELIVERY__INIT;
    event.type = type;
    event.delivery = &delivery;
    delivery.envelope = deliver->event;
    if (deliver->event)
        cut_texts(deliver->event);
    delivery.size = deliver->message->size;
    delivery.from_account = deliver->from_account;
    if (where) {
        delivery.mailbox = where->mailbox_id;
        delivery.mailbox_name = cq_pool_cstr(a->v.pool, where->mailbox->name);
        delivery.uidvalidity = where->mailbox->uidvalidity;
        delivery.uid = where->uid;
        delivery.email = where->email;
    }
    apply_event(a, &event);
}

#define E(name) CHASQUI__OUTBOX__TYPE__##name
static const struct outbox_class classes[] = {
    /* type, stream, final, gap; the first one stands for what is not known */
    {E(TYPE_UNSPECIFIED), 2, false, false},
    {E(MESSAGE_ACCEPTED), 0, false, false},
    {E(MESSAGE_DUPLICATE_SUPPRESSED), 0, false, false},
    {E(DELIVERY_LOCAL), 1, true, false},
    {E(MAILBOX_CREATED), 2, false, false},
    {E(MAILBOX_RENAMED), 2, false, false},
    {E(MAILBOX_DELETED), 2, false, false},
    {E(MESSAGES_EXPUNGED), 2, false, false},
    {E(ACCOUNT_CREATED), 2, false, false},
    {E(ACCOUNT_DELETED), 2, false, false},
    {E(QUOTA_WARNING), 3, false, false},
    {E(QUOTA_EXCEEDED), 3, false, false},
    {E(QUOTA_RECOVERED), 3, false, false},
    {E(INBOUND_EVENTS_DROPPED), 0, false, true},
    {E(DELIVERY_EVENTS_DROPPED), 1, false, true},
    {E(MAILBOX_EVENTS_DROPPED), 2, false, true},
    {E(LIMITS_EVENTS_DROPPED), 3, false, true},
};

const struct outbox_class *outbox_class_of(Chasqui__Outbox__Type type)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (classes[i].type == type)
            return &classes[i];
    }
    return &classes[0];
}
