#!/usr/bin/env python3
"""The checker of the event stream finds what is planted, and nothing in a stream that is right."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from invariant import ACCEPTED, REFUSED, UNKNOWN, Event, violations  # noqa: E402

ANA, BEN = "ana@a.test", "ben@a.test"


def event(stream, name, message, recipient, sequence, offset, ident=None, partition=0, **more):
    attributes = {"id": ident or f"{stream}-{message}-{recipient}", "type": f"x.mail.{stream}.{name}.v1",
                  "partitionkey": f"key-{message}", "source": f"shard-of-{recipient}", "sequence": f"{sequence:020}"}
    data = {"rfc5322_message_id": f"<{message}>", "recipient": recipient, "address": recipient, "node_id": "n1", **more}
    return Event(f"mail.{stream}.v1", partition, offset, attributes, data)


def good():
    """Two messages, the second one for two; a repetition by another node; one that nobody knows about and was stored."""
    events, offset = [], 0
    for sequence, (message, recipient) in enumerate([("m1", ANA), ("m2", ANA), ("m2", BEN), ("m3", BEN)], 1):
        events.append(event("inbound", "message.accepted", message, recipient, 2 * sequence, offset))
        events.append(event("delivery", "delivery.local", message, recipient, 2 * sequence + 1, offset))
        offset += 1
    events.append(event("delivery", "delivery.local", "m1", ANA, 3, offset, node_id="n2"))
    attempts = {("<m1>", ANA): ACCEPTED, ("<m2>", ANA): ACCEPTED, ("<m2>", BEN): ACCEPTED, ("<m3>", BEN): UNKNOWN,
                ("<m4>", BEN): REFUSED, ("<m5>", BEN): UNKNOWN}
    return attempts, events, {ANA: 2, BEN: 2}


class Planted(unittest.TestCase):
    def setUp(self):
        self.attempts, self.events, self.stored = good()

    def found(self, **more):
        return violations(self.attempts, self.events, self.stored, **more)

    def pick(self, ident):
        return next(i for i, e in enumerate(self.events) if e.id == ident)

    def test_a_right_stream_has_no_violation(self):
        self.assertEqual(self.found(), [])

    def test_a_final_event_that_is_missing_is_found(self):
        del self.events[self.pick(f"delivery-m2-{BEN}")]
        self.assertTrue(any("has 0 final events" in text for text in self.found()), self.found())

    def test_an_accepted_event_that_is_missing_is_found(self):
        del self.events[self.pick(f"inbound-m2-{BEN}")]
        self.assertTrue(any("has 0 accepted events" in text for text in self.found()), self.found())

    def test_a_repetition_under_a_new_id_is_found(self):
        self.events.append(event("delivery", "delivery.local", "m1", ANA, 3, 90, ident="new"))
        self.assertTrue(any("has 2 final events" in text for text in self.found()), self.found())

    def test_a_stored_message_without_an_event_is_found(self):
        self.stored[BEN] += 1
        self.assertTrue(any("has 3 messages and 2 final events" in text for text in self.found()), self.found())

    def test_an_event_of_a_message_that_was_never_sent_is_found(self):
        self.events.append(event("delivery", "delivery.local", "m9", "cyd@a.test", 40, 90))
        self.assertTrue(any("never sent" in text for text in self.found()), self.found())

    def test_one_id_with_two_contents_is_found(self):
        self.events[-1].data["uid"] = 77
        self.assertTrue(any("two contents" in text for text in self.found()), self.found())

    def test_disorder_is_found_unless_it_came_by_a_replay(self):
        early = event("delivery", "delivery.local", "m1", ANA, 1, 91, ident="late")
        early.data["rfc5322_message_id"], early.data["address"] = "<m4>", "other@a.test"
        early.data["recipient"] = BEN
        self.events.append(early)
        self.assertTrue(any("after" in text for text in self.found()), self.found())
        self.assertEqual(self.found(sent_again=["late"]), [])

    def test_a_key_in_two_partitions_is_found(self):
        self.events[-1].partition = 1
        self.assertTrue(any("two partitions" in text for text in self.found()), self.found())


if __name__ == "__main__":
    unittest.main()
