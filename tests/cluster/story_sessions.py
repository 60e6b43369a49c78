"""What becomes of live sessions and of log-ins when an account is disabled, deleted, restricted, or gets a new password;
what a log-in gives away; what the logs give away."""

import base64
import os
import re
import statistics
import threading
import time

from wire import Wire, plain

OLD, NEW = "old-secret-4711", "new-secret-0815"
END_SECONDS = 30


# -- one kind of session each: how it logs in, how it waits, what it is told at its end

def open_imap(cluster, front_end, address, password):
    wire = Wire(cluster.port("imaps", front_end), cluster.tls(), timeout=END_SECONDS + 10)
    return wire, wire.talk(f'a LOGIN {address} {password}').expect("a (OK|NO)").startswith("a OK")


def open_pop3(cluster, front_end, address, password):
    wire = Wire(cluster.port("pop3s", front_end), cluster.tls(), timeout=END_SECONDS + 10)
    wire.expect(r"\+OK")
    return wire, wire.talk(f"AUTH PLAIN {plain(address, password)}").expect(r"\+OK|-ERR").startswith("+OK")


def open_submission(cluster, front_end, address, password):
    wire = Wire(cluster.port("submissions", front_end), cluster.tls(), timeout=END_SECONDS + 10)
    wire.talk("<220", "EHLO test", "<250 ")
    return wire, wire.talk(f"AUTH PLAIN {plain(address, password)}").expect("235|535").startswith("235")


KINDS = {
    # name: (open, what it waits in, farewell, is it alive?)
    "imap": (open_imap, ("b SELECT INBOX", "<b OK", "c IDLE", r"<\+"), r"\* BYE \[AUTHORIZATIONFAILED\]",
             ("DONE", "<c OK")),
    "pop": (open_pop3, ("STAT", r"<\+OK"), r"-ERR \[AUTH\]", ("NOOP", r"<\+OK")),
    "smtp": (open_submission, ("NOOP", "<250"), "421 4.7.0", ("NOOP", "<250")),
    "smtp in a transaction": (open_submission, ("MAIL FROM:<{address}>", "<250"), "421 4.7.0", ("RSET", "<250")),
}

# what is done: which kinds end by it, and may not log in any more?
DEEDS = {
    "disabled": (("account", "set", "{address}", "--enabled", "no"), set(KINDS)),
    "deleted": (("account", "remove", "{address}"), set(KINDS)),
    "no-imap": (("account", "set", "{address}", "--services", "pop,smtp"), {"imap"}),
    "password": (("account", "password", "{address}", "--password-stdin"), set(KINDS)),
    "untouched": (None, set()),
}


class Live:
    """A session that waits; a thread reads on until its end."""

    def __init__(self, cluster, deed, kind, front_end):
        self.deed, self.kind, self.front_end = deed, kind, front_end
        address = f"{deed}@example.test"
        opener, waits, self.farewell, self.alive = KINDS[kind]
        self.wire, ok = opener(cluster, front_end, address, OLD)
        assert ok, f"{self}: log-in failed"
        self.wire.talk(*(step.format(address=address) for step in waits))
        self.lines, self.ended_after = [], None

    def __str__(self):
        return f"{self.deed}: {self.kind} at front-end {self.front_end + 1}"

    def watch(self):
        def read():
            began = time.monotonic()
            try:
                self.lines = self.wire.rest()
                self.ended_after = time.monotonic() - began
            except OSError as e:
                self.lines = [repr(e)]
        self.thread = threading.Thread(target=read, daemon=True)
        self.thread.start()

    def trouble(self):
        self.thread.join(END_SECONDS + 15)
        said = bool(self.lines) and re.match(self.farewell, self.lines[-1])
        in_time = self.ended_after is not None and self.ended_after <= END_SECONDS
        self.wire.close()
        return None if said and in_time else f"{self}: {self.lines}, {self.ended_after}"


def do(cluster, deed):
    command, _ = DEEDS[deed]
    words = [word.format(address=f"{deed}@example.test") for word in command]
    cluster.ctl(*words, stdin=NEW + "\n" if deed == "password" else None)


def ended_accounts(cluster, tally, options):
    """sessions: who is disabled, deleted, restricted or has a new password is out within 30 s"""
    for deed in DEEDS:
        cluster.add_account(f"{deed}@example.test", OLD)
    cluster.secrets += [NEW]
    ending, staying = [], []
    for deed, (_, ends) in DEEDS.items():
        for kind in KINDS:
            for front_end in range(2):
                (ending if kind in ends else staying).append(Live(cluster, deed, kind, front_end))
    for live in ending:
        live.watch()
    for deed in DEEDS:
        if DEEDS[deed][0]:
            do(cluster, deed)
    troubles = [t for t in (live.trouble() for live in ending) if t]
    tally.check(f"{len(ending)} live sessions end with their protocol's farewell", not troubles, str(troubles[:4]))
    print(f"  the last after {max(live.ended_after or 0 for live in ending):.1f} s")
    troubles = []
    for live in staying:
        try:
            live.wire.talk(*live.alive)
        except (AssertionError, OSError) as e:
            troubles.append(f"{live}: {e}")
        live.wire.close()
    tally.check(f"{len(staying)} others go on", not troubles, str(troubles[:4]))
    wrong = [f"{deed}, {kind}, front-end {front_end + 1}" for deed, (_, ends) in DEEDS.items() for kind in KINDS
             for front_end in range(2) if logs_in(cluster, front_end, kind, deed, OLD) != (kind not in ends)]
    tally.check("the same decides on new log-ins", not wrong, str(wrong))
    wrong = [(kind, front_end) for kind in KINDS for front_end in range(2)
             if not logs_in(cluster, front_end, kind, "password", NEW)]
    tally.check("the new password logs in", not wrong, str(wrong))


def logs_in(cluster, front_end, kind, deed, password):
    wire, ok = KINDS[kind][0](cluster, front_end, f"{deed}@example.test", password)
    wire.close()
    return ok


# -- what a log-in gives away

TRIES = 12
ROUNDS = 5  # of so many tries, when others make the machine so busy that times say little


def refusal(cluster, kind, address):
    """The answer, and the time that it took."""
    if kind == "imap":
        wire, command, end = Wire(cluster.port("imaps", 0), cluster.tls()), f"a LOGIN {address} wrong-secret", "a "
        wire.expect(r"\* OK")
    elif kind == "pop":
        wire, end = Wire(cluster.port("pop3s", 0), cluster.tls()), "-"
        wire.talk(r"<\+OK", f"USER {address}", r"<\+OK")
        command = "PASS wrong-secret"
    else:
        wire, end = Wire(cluster.port("submissions", 0), cluster.tls()), "5"
        wire.talk("<220", "EHLO test", "<250 ")
        command = f"AUTH PLAIN {plain(address, 'wrong-secret')}"
    began = time.monotonic()
    answer = wire.talk(command).expect(end)
    seconds = time.monotonic() - began
    wire.close()
    return answer, seconds


def unknown_users(cluster, tally, options):
    """unknown-users: an unknown user is answered like a wrong password, in the same time"""
    cluster.add_account("known@example.test", OLD)
    for kind in ("imap", "pop", "smtp"):
        answers, times = set(), {"known": [], "nobody": [], "no-domain": []}
        alike = False
        for number in range(ROUNDS * TRIES):
            for who in times:
                # Others each time: nothing may come from a memory of the last one.
                address = {"known": "known@example.test", "nobody": f"nobody{number}@example.test",
                           "no-domain": f"nobody{number}@elsewhere.test"}[who]
                answer, seconds = refusal(cluster, kind, address)
                answers.add(answer)
                times[who].append(seconds)
            medians = {who: statistics.median(t) for who, t in times.items()}
            # A hash takes tens of milliseconds; without it an answer takes one or two.
            alike = max(medians.values()) < 2 * min(medians.values()) + 0.005
            if alike and (number + 1) % TRIES == 0:
                break
        tally.check(f"{kind}: one answer for all who are refused", len(answers) == 1, str(answers))
        tally.check(f"{kind}: in about the same time", alike, str({who: f"{m * 1000:.1f} ms" for who, m in medians.items()}))


def secrets(cluster, tally, options):
    """secrets: no log of any process has a password, at the level debug"""
    needles = set()
    for secret in {*cluster.secrets, "wrong-secret"}:
        raw = secret.encode()
        # As it is, and as base64 has it at each of the three places in its group.
        needles |= {raw} | {base64.b64encode(b"\0" * skip + raw)[skip + 1:-4] for skip in range(3)}
    found, logins = [], 0
    for name in sorted(os.listdir(os.path.join(cluster.dir, "logs"))):
        with open(os.path.join(cluster.dir, "logs", name), "rb") as f:
            text = f.read()
        found += [f"{name}: {n!r}" for n in needles if n in text]
        logins += text.count(b'"auth.')
    tally.check("no log of any process has a password", not found, str(found[:5]))
    tally.check("and they do tell of log-ins", logins > 0, "")


STORIES = {"sessions": ended_accounts, "unknown-users": unknown_users}
