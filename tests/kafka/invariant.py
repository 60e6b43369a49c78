"""What must be true of the event stream, whatever failed: a pure check of what clients were told against what a consumer
read. tests/kafka/invariant_test.py plants what it must find."""

PUBLISHER = {"node_id", "dc", "software_version"}  # what may differ between repetitions

ACCEPTED, UNKNOWN, REFUSED = "accepted", "unknown", "refused"


class Event:
    """One record: where it stood, its attributes, its data."""

    def __init__(self, topic, partition, offset, attributes, data):
        self.topic, self.partition, self.offset = topic, partition, offset
        self.attributes, self.data = attributes, data
        self.id, self.key = attributes["id"], attributes["partitionkey"]
        self.name = attributes["type"].split(".mail.", 1)[1]

    def contents(self):
        told = {name: value for name, value in self.data.items() if name not in PUBLISHER}
        return (self.attributes["type"], self.key, self.attributes["source"], self.attributes["sequence"],
                tuple(sorted((name, str(value)) for name, value in told.items())))


def final(event):
    return event.name == "delivery.delivery.local.v1"


def repetitions_differ(events):
    """Equal ids have equal contents."""
    first, found = {}, []
    for event in events:
        if first.setdefault(event.id, event).contents() != event.contents():
            found.append(f"the id {event.id} has two contents")
    return found


def not_exactly_one(attempts, events, chosen, what):
    """attempts: (token, recipient) -> ACCEPTED, UNKNOWN or REFUSED (for now: it may have been stored all the same)."""
    ids, found = {}, []
    for event in filter(chosen, events):
        ids.setdefault((event.data.get("rfc5322_message_id"), event.data.get("recipient")), set()).add(event.id)
    for attempt, outcome in attempts.items():
        got = len(ids.get(attempt, ()))
        if got > 1 or (got == 0 and outcome == ACCEPTED):
            found.append(f"{attempt} was {outcome} and has {got} {what}")
    return found + [f"{attempt} was never sent and has {what}" for attempt in ids if attempt not in attempts]


def out_of_order(events, sent_again):
    """First occurrences with one key, from one source, rise in their topic. sent_again: ids that came by a replay."""
    last, seen, found = {}, set(), []
    for event in sorted(events, key=lambda e: (e.topic, e.partition, e.offset)):
        if event.id in seen or event.id in sent_again:
            continue
        seen.add(event.id)
        place = (event.topic, event.key, event.attributes["source"])
        if event.attributes["sequence"] <= last.get(place, ""):
            found.append(f"{event.topic} {event.key}: {event.attributes['sequence']} after {last[place]}")
        last[place] = event.attributes["sequence"]
    return found


def in_two_partitions(events):
    places, found = {}, []
    for event in events:
        if places.setdefault((event.topic, event.key), event.partition) != event.partition:
            found.append(f"{event.topic}: the key {event.key} is in two partitions")
    return found


def miscounted(events, stored):
    """stored: address -> messages that IMAP shows. Each has its final event, and nothing else has one."""
    ids = {}
    for event in filter(final, events):
        ids.setdefault(event.data.get("address"), set()).add(event.id)
    return [f"{address} has {count} messages and {len(ids.get(address, ()))} final events"
            for address, count in stored.items() if count != len(ids.get(address, ()))]


def violations(attempts, events, stored, sent_again=()):
    return (repetitions_differ(events) + not_exactly_one(attempts, events, final, "final events")
            + not_exactly_one(attempts, events, lambda e: e.name == "inbound.message.accepted.v1", "accepted events")
            + out_of_order(events, set(sent_again)) + in_two_partitions(events) + miscounted(events, stored))
