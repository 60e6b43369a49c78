"""Clients append, store, expunge, copy and move through both front-ends while processes are killed
with -9 and started again. Each client owns its mailboxes, so its own sequence of operations is the
model; everything it was told must be true at the end, and at every reading in between."""

import random
import re
import threading
import time

from imap import Imap, Lost, Refused, uid_ranges
from model import GONE, MAYBE, Model
from waiting import LONG

FLAGS = ["\\Seen", "\\Flagged", "$Alpha", "$Beta"]
PLANS = ("append",) * 5 + ("store",) * 6 + ("copy",) * 2 + ("move",) * 2 + ("expunge",) * 3 + ("read",) * 2


class Client(threading.Thread):
    def __init__(self, cluster, number, address, password, seed, stop):
        super().__init__(name=f"client-{number}", daemon=True)
        self.cluster, self.number, self.address, self.password = cluster, number, address, password
        self.random = random.Random(f"{seed}/{number}")
        self.mailboxes = [f"C{number}-{letter}" for letter in "AB"]
        self.model = Model(self.mailboxes)
        self.stop_event = stop
        self.imap = None
        self.selected = None
        self.tokens = 0
        self.lost_connections = self.refused = 0
        self.error = None

    # -- connection

    def connect(self):
        while self.imap is None:
            try:
                self.imap = Imap(self.cluster.port("imaps", self.random.randrange(2)), self.cluster.tls())
                self.imap.login(self.address, self.password)
                self.selected = None
            except (Lost, Refused):
                self.drop()
                if self.give_up():
                    raise
                time.sleep(0.05)

    def give_up(self):
        return self.stop_event.is_set() and time.monotonic() > self.deadline

    def drop(self):
        if self.imap:
            self.imap.close()
        self.imap = None

    def select(self, mailbox):
        if self.selected != mailbox:
            untagged, _ = self.imap.command(f'SELECT "{mailbox}"')
            for parts in untagged:
                found = re.search(rb"\[UIDVALIDITY (\d+)\]", parts[0])
                if found:
                    self.model.validity(mailbox, int(found.group(1)))
            self.selected = mailbox

    def ensure_mailboxes(self):
        for mailbox in self.mailboxes:
            while True:
                self.connect()
                try:
                    self.imap.command(f'CREATE "{mailbox}"')
                    break
                except Refused as e:
                    if "ALREADYEXISTS" in str(e):
                        break
                    time.sleep(0.1)
                except Lost:
                    self.drop()

    # -- one operation: its effect on the model when acknowledged, refused, unknown

    def run(self):
        self.deadline = float("inf")
        try:
            self.ensure_mailboxes()
            while not self.stop_event.is_set():
                self.operation(self.random.choice(PLANS))
            self.deadline = time.monotonic() + 60
        except Exception as e:  # the story reports it: a checker must never end in silence
            self.error = repr(e)
        finally:
            self.drop()

    def operation(self, plan):
        self.connect()
        try:
            done = getattr(self, plan)()
            self.model.acknowledged += 1 if done else 0
        except Lost:
            self.lost_connections += 1
            self.drop()
        except Refused:
            self.refused += 1
            time.sleep(0.02)

    def attempt(self, command, unknown, literal=None):
        """Runs a command; `unknown` records in the model that it may have happened."""
        try:
            return self.imap.command(command, literal)
        except Lost:
            unknown()
            raise
        except Refused as e:
            # UNAVAILABLE in answer to a change may hide an outcome that the server could not learn.
            if e.unavailable or e.unknown:
                unknown()
            raise

    def body(self, token):
        filler = "x" * 70 + "\r\n"
        return (f"From: a@example.test\r\nSubject: {token}\r\nX-Token: {token}\r\n\r\n"
                + filler * self.random.choice((1, 5, 50, 300))).encode()

    def append(self):
        mailbox = self.random.choice(self.mailboxes)
        self.tokens += 1
        token = f"{self.number}.{self.tokens}"
        _, status = self.attempt(f'APPEND "{mailbox}"', lambda: self.model.may_have_added(mailbox, token),
                                 literal=self.body(token))
        found = re.search(r"\[APPENDUID (\d+) (\d+)\]", status)
        self.model.validity(mailbox, int(found.group(1)))
        self.model.added(mailbox, int(found.group(2)), token)
        return True

    def pick(self, mailbox, newest=False):
        uids = self.model.present(mailbox)
        if not uids:
            return None
        return max(uids) if newest else self.random.choice(uids)

    def store(self):
        mailbox = self.random.choice(self.mailboxes)
        uid = self.pick(mailbox)
        if uid is None:
            return False
        self.select(mailbox)
        flag, on = self.random.choice(FLAGS), self.random.random() < 0.6
        flags = self.model.instances[mailbox][uid].flags

        def unknown():
            flags[flag] = None

        self.attempt(f"UID STORE {uid} {'+' if on else '-'}FLAGS.SILENT ({flag})", unknown)
        flags[flag] = on
        return True

    def copy(self):
        return self.transfer("COPY")

    def move(self):
        return self.transfer("MOVE")

    def transfer(self, verb):
        source, target = self.random.sample(self.mailboxes, 2)
        uid = self.pick(source)
        if uid is None:
            return False
        self.select(source)
        instance = self.model.instances[source][uid]

        def unknown():
            self.model.may_have_added(target, instance.token)
            if verb == "MOVE":
                instance.state = MAYBE

        untagged, status = self.attempt(f'UID {verb} {uid} "{target}"', unknown)
        text = status + " ".join(p[0].decode("utf-8", "replace") for p in untagged)
        found = re.search(r"\[COPYUID (\d+) (\S+) (\S+)\]", text)
        if not found:
            self.model.blame("no COPYUID", f"{verb} {source} {uid}: {text}")
            return False
        self.model.validity(target, int(found.group(1)))
        self.model.added(target, uid_ranges(found.group(3))[0], instance.token)
        self.model.instances[target][uid_ranges(found.group(3))[0]].flags = dict(instance.flags)
        if verb == "MOVE":
            instance.state = GONE
        return True

    def expunge(self):
        mailbox = self.random.choice(self.mailboxes)
        # The newest message, often: a UID that is used again shows best just above it.
        uid = self.pick(mailbox, newest=self.random.random() < 0.5)
        if uid is None or len(self.model.present(mailbox)) < 5:
            return False
        self.select(mailbox)
        instance = self.model.instances[mailbox][uid]
        self.imap.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")

        def unknown():
            instance.state = MAYBE

        self.attempt(f"UID EXPUNGE {uid}", unknown)
        instance.state = GONE
        return True

    def read(self):
        self.read_mailbox(self.random.choice(self.mailboxes))
        return True

    def read_mailbox(self, mailbox):
        self.select(mailbox)
        untagged, _ = self.imap.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Token)])")
        seen = {}
        for parts in untagged:
            if len(parts) < 2 or b" FETCH (" not in parts[0]:
                continue
            text = parts[0] + b" " + parts[-1]
            uid = int(re.search(rb"UID (\d+)", text).group(1))
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", text).group(1).decode().split())
            flags.discard("\\Recent")  # the session's, not the message's
            token = re.search(rb"X-Token: (\S+)", parts[1])
            if uid in seen:
                self.model.blame("uid twice", f"{mailbox} {uid}")
            seen[uid] = (token.group(1).decode() if token else "?", flags)
        self.model.read(mailbox, seen)
        return seen

    def final_reading(self):
        """Every mailbox by each front-end; what was pending has settled by now."""
        first, second = (self.read_all(front_end) for front_end in range(2))
        if first != second:
            self.model.blame("front-ends differ", str(self.mailboxes))

    def read_all(self, front_end, seconds=LONG):
        """By one front-end, which may say once more that it cannot now."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.imap = Imap(self.cluster.port("imaps", front_end), self.cluster.tls(), timeout=60)
                self.imap.login(self.address, self.password)
                self.selected = None
                return [self.read_mailbox(m) for m in self.mailboxes]
            except (Lost, Refused) as e:
                if time.monotonic() > end or not isinstance(e, Lost) and not e.unavailable:
                    raise
            finally:
                self.drop()
            time.sleep(0.5)


class Killer(threading.Thread):
    """One process at a time: kill -9, a pause, start again."""

    def __init__(self, cluster, seed, kills):
        super().__init__(name="killer", daemon=True)
        self.cluster, self.kills, self.random = cluster, kills, random.Random(f"{seed}/killer")
        self.done = 0
        self.error = None

    def run(self):
        names = self.cluster.names("storage-node") * 3 + self.cluster.names("router") + self.cluster.names("frontend")
        try:
            while self.done < self.kills:
                name = self.random.choice(names)
                self.cluster.kill(name)
                time.sleep(self.random.choice((0, 0.1, 0.5, 1.5)))
                self.cluster.start(name)
                self.done += 1
                if self.done % 10 == 0:
                    print(f"  {self.done} kills", flush=True)
                time.sleep(self.random.choice((0.2, 0.6, 1.2, 2)))
        except Exception as e:
            self.error = repr(e)


def story(cluster, tally, options):
    """kills: acknowledged work survives kill -9 of anything"""
    stop = threading.Event()
    clients = []
    for number in range(8):
        address, password = f"kill{number // 2}@example.test", f"secret-{options.seed}-{number // 2}"
        if number % 2 == 0:
            cluster.add_account(address, password)
        clients.append(Client(cluster, number, address, password, options.seed, stop))
    killer = Killer(cluster, options.seed, options.kills)
    began = time.monotonic()
    for thread in [*clients, killer]:
        thread.start()
    while time.monotonic() - began < options.seconds:
        acknowledged = sum(c.model.acknowledged for c in clients)
        if killer.done >= options.kills and acknowledged >= options.operations or killer.error:
            break
        if all(c.error for c in clients):
            break
        time.sleep(0.5)
    killer.kills = 0
    killer.join(LONG)
    stop.set()
    for client in clients:
        client.join(LONG)
    seconds = time.monotonic() - began
    acknowledged = sum(c.model.acknowledged for c in clients)
    print(f"  seed {options.seed}: {killer.done} kills, {acknowledged} acknowledged operations in {seconds:.0f} s, "
          f"{sum(c.lost_connections for c in clients)} lost connections, {sum(c.refused for c in clients)} refusals")
    tally.check("the killer went through", killer.error is None and killer.done >= options.kills,
                f"{killer.done} kills, {killer.error}")
    tally.check("enough operations were acknowledged", acknowledged >= options.operations, str(acknowledged))
    tally.check("no client gave up", not any(c.error for c in clients), str([c.error for c in clients if c.error]))
    cluster.wait_ready()
    # A request whose outcome was unknown may take effect until its deadline has passed.
    time.sleep(options.settle)
    for client in clients:
        client.final_reading()
    violations = [v for c in clients for v in c.model.violations]
    for kind in ("lost", "resurrected", "uid reused", "uid names another message", "uid twice", "uid not rising",
                 "uidvalidity", "flag", "never added", "front-ends differ", "no COPYUID"):
        of_kind = [text for k, text in violations if k == kind]
        tally.check(f"nothing {kind}" if kind in ("lost", "resurrected", "never added") else f"no violation: {kind}",
                    not of_kind, f"{len(of_kind)}: {of_kind[:5]}")
    digests = cluster.digests()
    unequal = {g: d for g, d in digests.items() if len(set(d.values())) != 1}
    tally.check("all replicas' digests are equal", digests and not unequal, str(dict(list(unequal.items())[:3])))
