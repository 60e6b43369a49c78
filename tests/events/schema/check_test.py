#!/usr/bin/env python3
"""The check of the events' schema: the tree's own schema passes, and each way to break consumers is told."""
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
loader = importlib.machinery.SourceFileLoader("check", os.path.join(HERE, "check"))
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
loader.exec_module(check)

OLD = """syntax = "proto3";
package t.v1;
enum Kind { KIND_UNSPECIFIED = 0; GOOD = 1; BAD = 2; }
message Event {
  reserved 5, 10 to 12;
  reserved "old";
  string id = 1;
  uint32 count = 2;
  Kind kind = 3;
  message Inner { uint64 size = 1; }
  Inner inner = 4;
}
"""

# What is replaced by what, and what is said of it; None: nothing.
CASES = [
    ("", "", None),
    ("uint32 count = 2;", "uint32 count = 2; string more = 6;", None),
    ("uint32 count = 2;", 'reserved 2; reserved "count";', None),
    ("reserved 5, 10 to 12;", "reserved 5 to 20;", None),
    ("BAD = 2;", 'reserved 2; reserved "BAD";', None),
    ("BAD = 2;", "BAD = 2; UGLY = 3;", None),
    ("uint32 count = 2;", "", "t.v1.Event.count: gone, and its number 2 is not reserved"),
    ("uint32 count = 2;", "reserved 2;", "t.v1.Event.count: gone, and its name is not reserved"),
    ("uint32 count = 2;", "uint32 count = 7;", "t.v1.Event.count: gone, and its number 2 is not reserved"),
    ("uint32 count = 2;", "uint32 number = 2;", "t.v1.Event.count: its number 2 is number's now"),
    ("uint32 count = 2;", "uint64 count = 2;", "t.v1.Event.count: another type or label"),
    ("uint32 count = 2;", "repeated uint32 count = 2;", "t.v1.Event.count: another type or label"),
    ("uint32 count = 2;", "oneof x { uint32 count = 2; }", "t.v1.Event.count: another type or label"),
    ("Inner inner = 4;", "Event inner = 4;", "t.v1.Event.inner: another type or label"),
    ("uint64 size = 1;", "", "t.v1.Event.Inner.size: gone, and its number 1 is not reserved"),
    ("reserved 5, 10 to 12;", "reserved 5, 10 to 11;", "t.v1.Event: 10 to 12 was reserved and is not any more"),
    ('reserved "old";', "", "t.v1.Event: the name old was reserved and is not any more"),
    ("BAD = 2;", "", "t.v1.Kind.BAD: gone, and its number 2 is not reserved"),
    ("BAD = 2;", "WORSE = 2;", "t.v1.Kind.BAD: its number 2 is WORSE's now"),
    ("KIND_UNSPECIFIED = 0;", "NONE = 0;", "t.v1.Kind: 0 is not _UNSPECIFIED"),
    ("package t.v1;", "package t.v2;", "t.v1.Event: the message is gone"),
]


def read(text):
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "t.proto")
        with open(path, "w") as file:
            file.write(text)
        return check.compile_proto(path)


class Check(unittest.TestCase):
    def test_the_schema_of_the_tree_is_compatible_with_the_released_one(self):
        self.assertEqual(check.main([]), 0)

    def test_what_breaks_consumers_is_told_and_what_does_not_passes(self):
        old = read(OLD)
        for was, now, fault in CASES:
            with self.subTest(was=was, now=now):
                self.assertIn(was, OLD)
                faults = list(check.compare(old, read(OLD.replace(was, now, 1) if was else OLD)))
                self.assertTrue(fault in faults if fault else not faults, faults)

    def test_an_empty_set_is_not_a_release(self):
        with tempfile.NamedTemporaryFile() as file:
            self.assertRaises(ValueError, check.read_set, file.name)


if __name__ == "__main__":
    unittest.main()
