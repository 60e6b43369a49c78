"""The checker is checked: histories whose verdict is known, good and bad. A rule that finds nothing here finds nothing."""

import os
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")]

from checker import NOTICE_CALM, NOTICE_FAULT, check
from cluster import Tally

X = "x@t/INBOX"
Y = "x@t/Other"


def op(name, at, end, result="ok", **what):
    return {"op": name, "at": at, "end": end, "result": result, "box": X, **what}


def append(at, end, token, uid, result="ok", **what):
    return op("append", at, end, result, token=token, uid=uid, validity=1, **what)


def deliver(at, end, token, result="ok"):
    return op("deliver", at, end, result, token=token)


def expunge(at, end, uid, result="ok"):
    return op("expunge", at, end, result, uid=uid)


def store(at, end, uid, flag, value, result="ok"):
    return op("store", at, end, result, uid=uid, flag=flag, value=value)


def move(at, end, uid, token, new, result="ok", verb="move"):
    return op(verb, at, end, result, uid=uid, token=token, to=Y, new=new, validity=1)


def read(at, end, seen, final=False, box=X, **what):
    """seen: {uid: token} or {uid: (token, flags, modseq)}"""
    full = {u: (v, [], 0) if isinstance(v, str) else v for u, v in seen.items()}
    return {"op": "read", "at": at, "end": end, "result": "ok", "box": box, "validity": what.pop("validity", 1),
            "seen": full, "final": final, **what}


def event(name, at, **what):
    return {"op": name, "at": at, **what}


WATCH = event("watch", 0, box=X, watch="w")
LATE = read(100, 101, {1: "a"}, final=True)

# (what it shows, classes that must be found, history)
HISTORIES = [
    # lost, stale
    ("what was acknowledged is there", [], [append(0, 1, "a", 1), read(2, 3, {1: "a"}, final=True)]),
    ("an acknowledged message that no reading has is lost", ["lost"], [append(0, 1, "a", 1), read(2, 3, {}, final=True)]),
    ("a reading that overlaps the append may miss it", [], [append(0, 2, "a", 1), read(1, 3, {}), LATE]),
    ("a reading that began after the acknowledgement may not", ["stale"], [append(0, 1, "a", 1), read(2, 3, {}), LATE]),
    ("a message that was read once is certain, acknowledged or not", ["stale"],
     [append(0, 1, "a", 1, "unknown"), read(2, 3, {1: "a"}), read(4, 5, {}), LATE]),
    ("what may have failed may be missing", [], [append(0, 1, "a", None, "unknown"), read(2, 3, {}, final=True)]),
    ("what was refused is never there", ["duplicated"], [append(0, 1, "a", None, "no"), read(2, 3, {1: "a"}, final=True)]),
    ("a delivery that was accepted is somewhere", [], [deliver(0, 1, "a"), read(2, 3, {7: "a"}, final=True)]),
    ("a delivery that was accepted and is nowhere is lost", ["lost"], [deliver(0, 1, "a"), read(2, 3, {}, final=True)]),
    ("a delivery may be expunged by who has seen it", [],
     [deliver(0, 1, "a"), read(2, 3, {7: "a"}), expunge(4, 5, 7), read(6, 7, {}, final=True)]),
    # resurrected
    ("an expunged message is gone", [], [append(0, 1, "a", 1), expunge(2, 3, 1), read(4, 5, {}, final=True)]),
    ("an expunge that overlaps the reading may not be seen", [],
     [append(0, 1, "a", 1), expunge(2, 4, 1), read(3, 5, {1: "a"}), read(6, 7, {}, final=True)]),
    ("an expunged message that is back is resurrected", ["resurrected"],
     [append(0, 1, "a", 1), expunge(2, 3, 1), read(4, 5, {1: "a"}, final=True)]),
    ("an expunged message that one reading still had is a stale reading", ["stale"],
     [append(0, 1, "a", 1), expunge(2, 3, 1), read(4, 5, {1: "a"}), read(6, 7, {}, final=True)]),
    ("an expunge without an outcome may leave the message", [],
     [append(0, 1, "a", 1), expunge(2, 3, 1, "unknown"), read(4, 5, {1: "a"}, final=True)]),
    ("an expunge without an outcome may come late", [],
     [append(0, 1, "a", 1), expunge(2, 3, 1, "unknown"), read(4, 5, {1: "a"}), read(6, 7, {}, final=True)]),
    ("what has vanished does not appear again, without an outcome either", ["resurrected"],
     [append(0, 1, "a", 1), expunge(2, 3, 1, "unknown"), read(4, 5, {}), read(6, 7, {1: "a"}, final=True)]),
    # duplicated
    ("one append is one message", ["duplicated"], [append(0, 1, "a", 1), read(2, 3, {1: "a", 2: "a"}, final=True)]),
    ("two appends of one token are two", [],
     [append(0, 1, "a", 1), append(2, 3, "a", 2), read(4, 5, {1: "a", 2: "a"}, final=True)]),
    ("an append without an outcome is one message at most", ["duplicated"],
     [append(0, 1, "a", None, "unknown"), read(2, 3, {1: "a", 2: "a"}, final=True)]),
    ("an append without an outcome may be there", [],
     [append(0, 1, "a", None, "unknown"), read(2, 3, {1: "a"}, final=True)]),
    ("a message that nobody wrote", ["duplicated"], [read(2, 3, {1: "a"}, final=True)]),
    # uid
    ("UIDs rise", [], [append(0, 1, "a", 1), append(2, 3, "b", 2), read(4, 5, {1: "a", 2: "b"}, final=True)]),
    ("appends that overlap may get their UIDs in any order", [],
     [append(0, 3, "a", 2), append(1, 2, "b", 1), read(4, 5, {1: "b", 2: "a"}, final=True)]),
    ("a UID below one that was told", ["uid"],
     [append(0, 1, "a", 5), append(2, 3, "b", 4), read(4, 5, {5: "a", 4: "b"}, final=True)]),
    ("the UID of an expunged message is never used again", ["uid", "uid"],
     [append(0, 1, "a", 1), expunge(2, 3, 1), append(4, 5, "b", 1)]),
    ("a UID names another message", ["duplicated", "uid"], [append(0, 1, "a", 1), read(2, 3, {1: "b"}, final=True)]),
    ("UIDNEXT was told, and a UID below it was given", ["uid"],
     [read(0, 1, {}, uidnext=10), append(2, 3, "a", 9), read(4, 5, {9: "a"}, uidnext=10, final=True)]),
    ("UIDNEXT falls", ["uid"], [read(0, 1, {}, uidnext=10), read(2, 3, {}, uidnext=9, final=True)]),
    ("UIDNEXT fell in one reading only", ["stale"],
     [read(0, 1, {}, uidnext=10), read(2, 3, {}, uidnext=9), read(4, 5, {}, uidnext=10, final=True)]),
    ("UIDVALIDITY stays", ["uid"], [read(0, 1, {}), read(2, 3, {}, validity=2, final=True)]),
    # modseq
    ("MODSEQ rises", [], [append(0, 1, "a", 1), read(2, 3, {1: ("a", [], 5)}, modseq=5),
                          read(4, 5, {1: ("a", [], 7)}, modseq=9, final=True)]),
    ("a message's MODSEQ falls", ["modseq"],
     [append(0, 1, "a", 1), read(2, 3, {1: ("a", [], 5)}), read(4, 5, {1: ("a", [], 4)}, final=True)]),
    ("HIGHESTMODSEQ falls", ["modseq"], [read(2, 3, {}, modseq=5), read(4, 5, {}, modseq=4, final=True)]),
    ("MODSEQ fell in one reading only", ["stale"],
     [read(2, 3, {}, modseq=5), read(4, 5, {}, modseq=4), read(6, 7, {}, modseq=5, final=True)]),
    # flags
    ("a flag that was set is there", [],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", True), read(4, 5, {1: ("a", ["f"], 0)}, final=True)]),
    ("a flag that was set and is lost", ["flag"],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", True), read(4, 5, {1: ("a", [], 0)}, final=True)]),
    ("a flag that one reading missed", ["stale"],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", True), read(4, 5, {1: ("a", [], 0)}),
      read(6, 7, {1: ("a", ["f"], 0)}, final=True)]),
    ("a flag whose change overlaps the reading is either", [],
     [append(0, 1, "a", 1), store(2, 5, 1, "f", True), read(3, 4, {1: ("a", [], 0)}),
      read(6, 7, {1: ("a", ["f"], 0)}, final=True)]),
    ("two changes that overlap end either way", [],
     [append(0, 1, "a", 1), store(2, 5, 1, "f", True), store(3, 4, 1, "f", False),
      read(6, 7, {1: ("a", ["f"], 0)}, final=True)]),
    ("a later change wins", ["flag"],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", True), store(4, 5, 1, "f", False),
      read(6, 7, {1: ("a", ["f"], 0)}, final=True)]),
    ("a change without an outcome may come late", [],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", True, "unknown"), store(4, 5, 1, "f", False),
      read(6, 7, {1: ("a", ["f"], 0)}, final=True)]),
    ("a flag that nobody set", ["flag"],
     [append(0, 1, "a", 1), store(2, 3, 1, "f", False), read(4, 5, {1: ("a", ["f"], 0)}, final=True)]),
    # moves
    ("a move takes from here and adds there", [],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", 1), read(4, 5, {}, final=True), read(4, 5, {1: "a"}, final=True, box=Y)]),
    ("a moved message that stays too is resurrected", ["resurrected"],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", 1), read(4, 5, {1: "a"}, final=True),
      read(4, 5, {1: "a"}, final=True, box=Y)]),
    ("a moved message that is nowhere is lost", ["lost"],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", 1), read(4, 5, {}, final=True), read(4, 5, {}, final=True, box=Y)]),
    ("a move without an outcome leaves it here or there", [],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", None, "unknown"), read(4, 5, {}, final=True),
      read(4, 5, {3: "a"}, final=True, box=Y)]),
    ("a move without an outcome never loses it", ["lost"],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", None, "unknown"), read(4, 5, {}, final=True),
      read(4, 5, {}, final=True, box=Y)]),
    ("a copy stays here, too", ["lost"],
     [append(0, 1, "a", 1), move(2, 3, 1, "a", 1, verb="copy"), read(4, 5, {}, final=True),
      read(4, 5, {1: "a"}, final=True, box=Y)]),
    # notices
    ("a change is told", [], [WATCH, append(1, 2, "a", 1), event("notice", 3, watch="w"), LATE]),
    ("a notice may come before the acknowledgement", [],
     [WATCH, append(1, 2, "a", 1), event("notice", 1.5, watch="w"), LATE]),
    ("a change that nobody is told of", ["notice"], [WATCH, append(1, 2, "a", 1), LATE]),
    ("a notice of something earlier is none", ["notice"],
     [WATCH, event("notice", 0.5, watch="w"), append(1, 2, "a", 1), LATE]),
    ("a change that is told too late", ["notice"],
     [WATCH, append(1, 2, "a", 1), event("notice", 3 + NOTICE_CALM, watch="w"), LATE]),
    ("in a fault there is more time", [],
     [event("fault", 0, what="inject"), WATCH, append(1, 2, "a", 1), event("notice", 3 + NOTICE_CALM, watch="w"), LATE]),
    ("but not for ever", ["notice"],
     [event("fault", 0, what="inject"), WATCH, append(1, 2, "a", 1), event("notice", 3 + NOTICE_FAULT, watch="w"), LATE]),
    ("a watch that ends in time has missed nothing", [],
     [WATCH, append(1, 2, "a", 1), event("unwatch", 4, watch="w"), LATE]),
    ("a change that failed is not told", [], [WATCH, append(1, 2, "a", None, "no"), read(100, 101, {}, final=True)]),
]


def main():
    tally = Tally()
    for name, expected, records in HISTORIES:
        found = sorted(v.kind for v in check(records))
        tally.check(name, found == sorted(expected), f"{found}, not {expected}: {check(records)}")
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
