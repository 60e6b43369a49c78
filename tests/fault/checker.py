"""The verdict: what a history shows that must never be. Pure: a list of records (history.py) in, violations out.

Every rule is about real time: A is before B when A's completion is before B's invocation. What overlaps may have
happened in either order, and an operation without a known outcome may happen at any time after its invocation, once."""

import bisect
from collections import defaultdict

CLASSES = {
    "lost": "acknowledged, and not there at the end",
    "resurrected": "there again after it had gone",
    "duplicated": "there more often than it was added, or never added",
    "uid": "a UID or UIDVALIDITY used again or changed, or UIDs that do not rise",
    "modseq": "a MODSEQ that fell",
    "flag": "a flag that is not what was acknowledged",
    "stale": "a read that did not see what was certain before it began",
    "notice": "a change that an idle client was not told of in time",
    "digest": "replicas that differ",
    "late": "a shard that took no write for longer than is promised",
    "broken": "a process that stopped by itself or does not come back, or a cluster that does not recover",
}

NOTICE_CALM = 5.0   # seconds from a change's acknowledgement to the notice, nothing being wrong
NOTICE_FAULT = 15.0  # the same while a fault lasts, and a little after it
FOREVER = float("inf")


class Violation:
    def __init__(self, kind, text, at):
        self.kind, self.text, self.at = kind, text, at

    def __repr__(self):
        return f"{self.kind}: {self.text} (at {self.at:.3f})"


class Instance:
    """One message under one UID of one mailbox."""

    def __init__(self, uid, token):
        self.uid, self.token = uid, token
        self.certain = FOREVER  # it was there at this time, and is until somebody removes it
        self.initial_flags = None  # None: not known
        self.removals = []  # (invoked, completed or FOREVER)
        self.writes = defaultdict(list)  # flag -> (invoked, completed or FOREVER, value)
        self.vanished = FOREVER  # a reading that ended at this time did not have it, rightly
        self.modseqs = []  # (end of the reading, highest until then)


class Box:
    def __init__(self, name):
        self.name = name
        self.instances = {}  # uid -> Instance
        self.adds = []  # (record, token, uid or None)
        self.reads = []
        self.validity = None


def outcome_end(record):
    return record["end"] if record["result"] == "ok" else FOREVER


class Checker:
    def __init__(self, records):
        self.records = sorted((r for r in records if "result" not in r or r["result"] != "no"), key=lambda r: r["at"])
        self.boxes = {}
        self.violations = []

    def blame(self, kind, text, at):
        self.violations.append(Violation(kind, text, at))

    def box(self, name):
        if name not in self.boxes:
            self.boxes[name] = Box(name)
        return self.boxes[name]

    def check(self):
        self.note_additions()
        self.note_reads()
        self.note_changes()
        for box in self.boxes.values():
            self.check_uids(box)
            self.check_presence(box)
            self.check_copies(box)
            self.check_modseqs(box)
            self.check_flags(box)
        self.check_moves()
        self.check_notices()
        return sorted(self.violations, key=lambda v: v.at)

    # -- what is known

    def named(self, box, uid, token, at):
        known = box.instances.get(uid)
        if known is None:
            known = box.instances[uid] = Instance(uid, token)
        elif known.token != token:
            self.blame("uid", f"{box.name} {uid} is {known.token} and {token}", at)
        return known

    def valid(self, box, validity, at):
        if validity is None:
            return
        if box.validity is None:
            box.validity = validity
        elif box.validity != validity:
            self.blame("uid", f"{box.name}: UIDVALIDITY {box.validity} became {validity}", at)

    def note_additions(self):
        for r in self.records:
            if r["op"] in ("append", "deliver", "copy", "move"):
                box = self.box(r["to"] if "to" in r else r["box"])
                uid = r.get("new") if "to" in r else r.get("uid")
                if r["result"] != "ok":
                    uid = None
                box.adds.append((r, r["token"], uid))
                self.valid(box, r.get("validity"), r["at"])
                if uid is not None:
                    instance = self.named(box, uid, r["token"], r["at"])
                    instance.certain = min(instance.certain, r["end"])
                    if r["op"] == "append":
                        instance.initial_flags = set()

    def note_reads(self):
        for r in self.records:
            if r["op"] == "read" and r["result"] == "ok":
                box = self.box(r["box"])
                box.reads.append(r)
                self.valid(box, r.get("validity"), r["at"])
                for uid, (token, _, _) in r["seen"].items():
                    instance = self.named(box, uid, token, r["at"])
                    instance.certain = min(instance.certain, r["end"])

    def note_changes(self):
        for r in self.records:
            if r["op"] in ("expunge", "move"):
                instance = self.box(r["box"]).instances.get(r["uid"])
                if instance:
                    instance.removals.append((r["at"], outcome_end(r)))
            elif r["op"] == "store":
                instance = self.box(r["box"]).instances.get(r["uid"])
                if instance:
                    instance.writes[r["flag"]].append((r["at"], outcome_end(r), r["value"]))

    @staticmethod
    def final(box):
        """The last readings, when everything was at rest."""
        return [r for r in box.reads if r.get("final")]

    # -- UIDs

    def check_uids(self, box):
        """Each new UID is above all that were certain before, and above each UIDNEXT that was told."""
        known = sorted((i.certain, i.uid) for i in box.instances.values() if i.certain < FOREVER)
        known += [(r["end"], r["uidnext"] - 1) for r in box.reads if r.get("uidnext")]
        known.sort()
        times, highest, top = [], [], 0
        for at, uid in known:
            top = max(top, uid)
            times.append(at)
            highest.append(top)

        def floor(at):
            n = bisect.bisect_left(times, at)
            return highest[n - 1] if n else 0

        for r, token, uid in box.adds:
            if uid is not None and uid <= floor(r["at"]):
                self.blame("uid", f"{box.name}: {token} got {uid}, {floor(r['at'])} was known before", r["at"])
        finals = self.final(box)
        for r in box.reads:
            if r.get("uidnext") and r["uidnext"] - 1 < floor(r["at"]):
                settled = finals and all(f["uidnext"] - 1 >= floor(f["at"]) for f in finals)
                self.blame("stale" if settled else "uid",
                           f"{box.name}: UIDNEXT {r['uidnext']}, {floor(r['at'])} was known before", r["at"])

    # -- there, and not there

    def check_presence(self, box):
        finals = self.final(box)
        reads = sorted(box.reads, key=lambda r: r["at"])
        for instance in box.instances.values():
            at_the_end = bool(finals) and any(instance.uid in f["seen"] for f in finals)
            lost = resurrected = None
            instance.vanished = FOREVER
            gone = min((end for _, end in instance.removals), default=FOREVER)
            first_removal = min((begin for begin, _ in instance.removals), default=FOREVER)
            for r in reads:
                if instance.uid in r["seen"]:
                    if r["at"] > min(gone, instance.vanished):
                        resurrected = resurrected or r
                elif instance.certain < r["at"]:
                    if first_removal >= r["end"]:
                        lost = lost or r
                    else:
                        instance.vanished = min(instance.vanished, r["end"])
            what = f"{box.name} {instance.uid} {instance.token}"
            if lost:
                self.blame("stale" if at_the_end else "lost", f"{what} is not in a reading", lost["at"])
            if resurrected:
                self.blame("resurrected" if at_the_end or not finals else "stale", f"{what} is back", resurrected["at"])

    def check_copies(self, box):
        """A token is there as often as it was added; each addition makes one at most."""
        added, named = defaultdict(int), defaultdict(set)
        for r, token, uid in box.adds:
            added[token] += 1
        seen = defaultdict(list)
        for r in box.reads:
            for uid, (token, _, _) in r["seen"].items():
                named[token].add(uid)
                seen[token].append(r["at"])
        for r, token, uid in box.adds:
            if uid is not None:
                named[token].add(uid)
        for token, uids in named.items():
            if len(uids) > added[token]:
                self.blame("duplicated", f"{box.name}: {token} is {sorted(uids)}, and was added {added[token]} times",
                           min(seen[token], default=0))
        finals = self.final(box)
        for r, token, uid in box.adds:
            # A delivery has no UID: it has to be somewhere.
            if r["op"] == "deliver" and r["result"] == "ok" and finals and not named[token]:
                self.blame("lost", f"{box.name}: {token} was accepted and is nowhere", r["at"])

    def check_moves(self):
        """A move that nobody knows the outcome of leaves the message in one of the two."""
        for r in self.records:
            if r["op"] != "move" or r["result"] != "unknown":
                continue
            source, target = self.box(r["box"]), self.box(r["to"])
            finals = self.final(source)
            others = [i for i in [source.instances.get(r["uid"])] if i and len(i.removals) > 1]
            arrived = any(r["token"] == token for f in target.reads for token, _, _ in f["seen"].values())
            if finals and self.final(target) and not others and not arrived and \
                    not any(r["uid"] in f["seen"] for f in finals) and r["uid"] in source.instances:
                self.blame("lost", f"{r['token']} is neither in {source.name} nor in {target.name}", r["at"])

    # -- MODSEQ

    def rising(self, box, values, what):
        """values: (begin, end, value, final?): a later one is not below an earlier one."""
        values = sorted(values, key=lambda v: v[1])
        times, highest, top = [], [], 0
        for begin, end, value, final in values:
            top = max(top, value)
            times.append(end)
            highest.append(top)
        worst = None
        settled = True
        for begin, end, value, final in values:
            n = bisect.bisect_left(times, begin)
            if n and value < highest[n - 1]:
                worst = worst or (begin, value, highest[n - 1])
                settled = settled and not final
        if worst:
            has_final = any(v[3] for v in values)
            self.blame("stale" if settled and has_final else "modseq",
                       f"{box.name}: {what} is {worst[1]}, it was {worst[2]} before", worst[0])

    def check_modseqs(self, box):
        self.rising(box, [(r["at"], r["end"], r["modseq"], r.get("final", False)) for r in box.reads if r.get("modseq")],
                    "HIGHESTMODSEQ")
        by_uid = defaultdict(list)
        for r in box.reads:
            for uid, (_, _, modseq) in r["seen"].items():
                by_uid[uid].append((r["at"], r["end"], modseq, r.get("final", False)))
        for uid, values in by_uid.items():
            self.rising(box, values, f"MODSEQ of {uid}")

    # -- flags

    @staticmethod
    def may_be(instance, flag, value, begin, end):
        """May a reading in [begin, end] show this value? Some write of it, or the state at the beginning, is not
        certainly overwritten before."""
        writes = instance.writes.get(flag, ())
        against = [(a, e) for a, e, v in writes if v != value and e < begin]
        latest = max((a for a, _ in against), default=-FOREVER)  # one of the others that began last, and is over
        if not against and (instance.initial_flags is None or (flag in instance.initial_flags) == value):
            return True
        return any(v == value and a < end and e >= latest for a, e, v in writes)

    def check_flags(self, box):
        finals = self.final(box)
        for instance in box.instances.values():
            for flag in instance.writes:
                wrong = None
                for r in box.reads:
                    if instance.uid not in r["seen"]:
                        continue
                    value = flag in r["seen"][instance.uid][1]
                    if not self.may_be(instance, flag, value, r["at"], r["end"]):
                        wrong = (r, value)
                        if r.get("final"):
                            break
                if wrong:
                    r, value = wrong
                    stale = finals and not r.get("final")
                    self.blame("stale" if stale else "flag",
                               f"{box.name} {instance.uid} {flag} is {value}", r["at"])

    # -- notices

    def check_notices(self):
        """Each change of a watched mailbox is told in time, or the watching ends."""
        notices, watches = defaultdict(list), {}
        calm = self.calm_times()
        for r in self.records:
            if r["op"] == "notice":
                notices[r["watch"]].append(r["at"])
            elif r["op"] == "watch":
                watches[r["watch"]] = [r["box"], r["at"], FOREVER]
            elif r["op"] == "unwatch" and r["watch"] in watches:
                watches[r["watch"]][2] = r["at"]
        last = max((r.get("end") or r["at"] for r in self.records), default=0)
        for watch, (name, begin, end) in watches.items():
            end = min(end, last)
            for r, token, uid in self.box(name).adds:
                if r["result"] != "ok" or r["at"] < begin:
                    continue
                limit = r["end"] + (NOTICE_CALM if calm(r["at"], r["end"] + NOTICE_CALM) else NOTICE_FAULT)
                n = bisect.bisect_left(notices[watch], r["at"])
                told = notices[watch][n] if n < len(notices[watch]) else FOREVER
                if told > limit and end > limit:
                    self.blame("notice", f"{name}: {token} was not told within {limit - r['end']:.0f} s", r["at"])

    def calm_times(self):
        """calm(from, to): did no fault last in that time, nor end shortly before it?"""
        spans, begin = [], None
        for r in self.records:
            if r["op"] == "fault" and r["what"] == "inject" and begin is None:
                begin = r["at"]
            elif r["op"] == "fault" and r["what"] == "calm" and begin is not None:
                spans.append((begin, r["at"] + NOTICE_CALM))
                begin = None
        if begin is not None:
            spans.append((begin, FOREVER))
        return lambda a, b: not any(start < b and end > a for start, end in spans)


def check(records):
    return Checker(records).check()
