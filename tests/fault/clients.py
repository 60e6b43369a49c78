"""Clients of several shapes, each a thread that asks one thing at a time and records it (history.py). They never judge."""

import random
import re
import smtplib
import socket
import threading
import time

from imap import Lost, Refused, uid_ranges

FLAGS = ["\\Seen", "\\Flagged", "$Alpha", "$Beta"]
BOX_MAX = 40  # messages; above it a client expunges
ANSWER_MAX = 15  # seconds


def keep_alive(wire):
    """A host that is silently gone ends the connection within seconds."""
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3)):
        wire.setsockopt(socket.IPPROTO_TCP, option, value)


class Worker(threading.Thread):
    """Waits at the gate before each operation; `at_rest` tells that it waits there."""

    def __init__(self, crew, name, account):
        super().__init__(name=name, daemon=True)
        self.crew, self.account = crew, account
        self.cluster, self.history = crew.cluster, crew.history
        self.random = random.Random(f"{crew.seed}/{name}")
        self.connections = {}  # front-end -> Imap
        self.selected = {}
        self.at_rest = threading.Event()
        self.tokens = 0
        self.error = None
        self.pace = (0.01, 0.05)

    def run(self):
        try:
            while True:
                if not self.crew.gate.is_set():
                    self.at_rest.set()
                    self.crew.gate.wait()
                    self.at_rest.clear()
                if self.crew.over:
                    break
                try:
                    self.operation()
                except (Lost, Refused):
                    self.pause(0.05, 0.15)
                self.pause(*self.pace)
        except Exception as e:  # told by the run: a client must never end in silence
            self.error = f"{self.name}: {e!r}"
        finally:
            self.at_rest.set()
            self.drop_all()

    def pause(self, least, most):
        """Not longer than the gate is open."""
        until = time.monotonic() + self.random.uniform(least, most)
        while (left := until - time.monotonic()) > 0 and self.crew.gate.is_set():
            time.sleep(min(left, 0.2))

    # -- connections

    def imap(self, front_end):
        if front_end not in self.connections:
            connection = self.cluster.imap(front_end, timeout=ANSWER_MAX)
            try:
                connection.login(self.account, self.crew.password)
            except (Lost, Refused):
                connection.close()
                raise
            self.connections[front_end] = connection
            self.selected[front_end] = None
        return self.connections[front_end]

    def drop(self, front_end):
        connection = self.connections.pop(front_end, None)
        if connection:
            connection.close()

    def drop_all(self):
        for front_end in list(self.connections):
            self.drop(front_end)

    def command(self, front_end, text, literal=None):
        try:
            return self.imap(front_end).command(text, literal)
        except Lost:
            self.drop(front_end)
            raise

    def select(self, front_end, box, again=False):
        """What SELECT says: validity, uidnext, modseq."""
        if self.connections.get(front_end) and self.selected.get(front_end) == box and not again:
            return {}
        self.imap(front_end)
        self.selected[front_end] = None
        untagged, status = self.command(front_end, f'SELECT "{box}"')
        self.selected[front_end] = box
        text = " ".join(parts[0].decode("utf-8", "replace") for parts in untagged) + status
        said = {}
        for name, key in (("UIDVALIDITY", "validity"), ("UIDNEXT", "uidnext"), ("HIGHESTMODSEQ", "modseq")):
            found = re.search(rf"\[{name} (\d+)\]", text)
            if found:
                said[key] = int(found.group(1))
        return said

    # -- recorded operations

    def named(self, box):
        return f"{self.account}/{box}"

    def change(self, front_end, op, text, literal=None, **what):
        """One change. Returns (untagged, status) of its OK; the record is in the history whatever happens."""
        self.imap(front_end)  # before the clock starts: a connection that fails has changed nothing
        record = {"op": op, "at": time.monotonic(), "end": None, "client": self.name, **what}
        try:
            answer = self.command(front_end, text, literal)
            record["result"] = "ok"
            return answer, record
        except Lost:
            record["result"] = "unknown"
            raise
        except Refused as e:
            # An answer to a change that says "unavailable" may hide an outcome that the server could not learn.
            record["result"] = "unknown" if e.unavailable or e.unknown else "no"
            record["said"] = str(e)[:200]
            raise
        finally:
            record["end"] = time.monotonic()
            if record.get("result") != "ok":
                self.history.add(record)

    def body(self, token):
        return (f"From: a@example.test\r\nSubject: {token}\r\nX-Token: {token}\r\n\r\n"
                + ("x" * 70 + "\r\n") * self.random.choice((1, 5, 50, 300))).encode()

    def new_token(self):
        self.tokens += 1
        return f"{self.name}.{self.tokens}"

    def append(self, front_end, box):
        token = self.new_token()
        (_, status), record = self.change(front_end, "append", f'APPEND "{box}"', self.body(token),
                                          box=self.named(box), token=token)
        found = re.search(r"\[APPENDUID (\d+) (\d+)\]", status)
        record["validity"], record["uid"] = int(found.group(1)), int(found.group(2))
        self.history.add(record)
        return record["uid"]

    @staticmethod
    def fetched(untagged, uid):
        return any(b" FETCH (" in p[0] and re.search(rb"UID %d\b" % uid, p[0]) for p in untagged)

    def meet(self, front_end, box):
        """The session hears of what others have added: a UID that it does not know, a command passes over."""
        if not self.select(front_end, box):
            self.command(front_end, "NOOP")

    def store(self, front_end, box, uid):
        self.meet(front_end, box)
        flag, value = self.random.choice(FLAGS), self.random.random() < 0.6
        (untagged, _), record = self.change(front_end, "store", f"UID STORE {uid} {'+' if value else '-'}FLAGS ({flag})",
                                            box=self.named(box), uid=uid, flag=flag, value=value)
        if not self.fetched(untagged, uid):
            record["result"] = "no"
        self.history.add(record)

    def transfer(self, front_end, verb, box, to, uid, token):
        self.meet(front_end, box)
        (untagged, status), record = self.change(front_end, verb.lower(), f'UID {verb} {uid} "{to}"', box=self.named(box),
                                                 uid=uid, to=self.named(to), token=token)
        text = status + " ".join(p[0].decode("utf-8", "replace") for p in untagged)
        found = re.search(r"\[COPYUID (\d+) (\S+) (\S+)\]", text)
        if found:
            record["validity"], record["new"] = int(found.group(1)), uid_ranges(found.group(3))[0]
        else:  # somebody else has removed the message before
            record["result"] = "no"
        self.history.add(record)
        return record.get("new")

    def expunge(self, front_end, box, uid):
        self.meet(front_end, box)
        untagged, _ = self.command(front_end, f"UID STORE {uid} +FLAGS (\\Deleted)")
        if not self.fetched(untagged, uid):  # it has gone already
            return
        _, record = self.change(front_end, "expunge", f"UID EXPUNGE {uid}", box=self.named(box), uid=uid)
        self.history.add(record)

    def read(self, front_end, box, **more):
        """SELECT and FETCH of everything: uid -> (token, flags, modseq)."""
        self.imap(front_end)
        begin = time.monotonic()
        said = self.select(front_end, box, again=True)
        untagged, _ = self.command(front_end, "UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (X-Token)])")
        seen = {}
        for parts in untagged:
            if len(parts) < 2 or b" FETCH (" not in parts[0]:
                continue
            text = parts[0] + b" " + parts[-1]
            uid = int(re.search(rb"UID (\d+)", text).group(1))
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", text).group(1).decode().split()) - {"\\Recent"}
            modseq = re.search(rb"MODSEQ \((\d+)\)", text)
            token = re.search(rb"X-Token: (\S+)", parts[1])
            seen[uid] = (token.group(1).decode() if token else "?", sorted(flags), int(modseq.group(1)) if modseq else 0)
        self.history.add({"op": "read", "at": begin, "end": time.monotonic(), "result": "ok", "client": self.name,
                          "box": self.named(box), "front_end": front_end, "seen": seen, **said, **more})
        return seen


class Mover(Worker):
    """Two mailboxes of its own: everything, COPY and MOVE between them, the newest message expunged often: a UID that is
    used again shows best just above it."""

    boxes = ("A", "B")

    def __init__(self, crew, number):
        super().__init__(crew, f"mover{number}", f"mover{number}@example.test")
        self.front_end = number % 2
        self.known = {box: {} for box in self.boxes}  # uid -> token: a guess, for choosing

    def operation(self):
        plan = self.random.choice(("append",) * 5 + ("store",) * 5 + ("copy",) * 2 + ("move",) * 2 + ("expunge",) * 3
                                  + ("read",) * 4)
        box, other = self.random.sample(self.boxes, 2)
        known = self.known[box]
        if len(known) > BOX_MAX:
            plan = "expunge"
        if plan == "append" or not known:
            token = f"{self.name}.{self.tokens + 1}"
            known[self.append(self.front_end, box)] = token
        elif plan == "read":
            self.known[box] = {uid: what[0] for uid, what in self.read(self.front_end, box).items()}
        else:
            newest = plan == "expunge" and self.random.random() < 0.5
            uid = max(known) if newest else self.random.choice(list(known))
            self.change_one(plan, box, other, uid)

    def change_one(self, plan, box, other, uid):
        token = self.known[box][uid]
        if plan == "store":
            self.store(self.front_end, box, uid)
            return
        if plan in ("move", "expunge"):
            del self.known[box][uid]
        if plan == "expunge":
            self.expunge(self.front_end, box, uid)
            return
        new = self.transfer(self.front_end, plan.upper(), box, other, uid, token)
        if new:
            self.known[other][new] = token


class Hot(Worker):
    """One of several in one mailbox. It writes through one front-end and may read through the other."""

    def __init__(self, crew, number, account, write, read):
        super().__init__(crew, f"{account}{number}", f"{account}@example.test")
        self.write_at, self.read_at = write, read
        self.known = []

    def operation(self):
        plan = self.random.choice(("append",) * 3 + ("store",) * 4 + ("expunge",) * 2 + ("read",) * 3)
        if len(self.known) > BOX_MAX:
            plan = "expunge"
        if plan == "append" or not self.known:
            self.known.append(self.append(self.write_at, "INBOX"))
            if self.write_at != self.read_at:
                self.known = list(self.read(self.read_at, "INBOX"))
        elif plan == "read":
            self.known = list(self.read(self.read_at, "INBOX"))
        elif plan == "store":
            self.store(self.write_at, "INBOX", self.random.choice(self.known))
        else:
            uid = max(self.known) if self.random.random() < 0.4 else self.random.choice(self.known)
            self.known.remove(uid)
            self.expunge(self.write_at, "INBOX", uid)


class Deliverer(Worker):
    """SMTP from outside into the shared mailbox."""

    def __init__(self, crew, account):
        super().__init__(crew, "smtp", f"{account}@example.test")
        self.pace = (0.2, 0.6)

    def operation(self):
        host, _, port = self.cluster.front_ends[self.random.randrange(2)]
        token = self.new_token()
        record = {"op": "deliver", "at": time.monotonic(), "box": self.named("INBOX"), "token": token, "client": self.name}
        result = "no"
        try:
            with smtplib.SMTP(host, port, timeout=ANSWER_MAX, local_hostname="client.test") as smtp:
                smtp.ehlo_or_helo_if_needed()
                smtp.mail("out@else.test")
                if smtp.rcpt(self.account)[0] == 250:
                    result = "unknown"
                    if smtp.data(self.body(token))[0] == 250:
                        result = "ok"
                        record["end"] = time.monotonic()
        except (OSError, smtplib.SMTPException):
            pass
        self.history.add({"end": time.monotonic(), **record, "result": result})


class Idler(Worker):
    """Idles in a mailbox and writes down what it is told."""

    def __init__(self, crew, number):
        super().__init__(crew, f"idler{number}", f"watched{number}@example.test")
        self.number = number
        self.watches = 0

    def operation(self):
        front_end = self.random.randrange(2)
        connection = self.imap(front_end)
        self.select(front_end, "INBOX", again=True)
        self.watches += 1
        watch = f"{self.name}.{self.watches}"
        began = False
        try:
            connection.send(b"i IDLE\r\n")
            if not connection.line().startswith(b"+"):
                return
            self.history.now("watch", box=self.named("INBOX"), watch=watch)
            began = True
            connection.socket.settimeout(1)
            keep_alive(connection.socket)
            self.listen(connection, watch)
        finally:
            if began:
                self.history.now("unwatch", watch=watch)
            self.drop(front_end)

    def listen(self, connection, watch):
        """Until the crew rests, or the connection ends."""
        pending = b""
        while self.crew.gate.is_set():
            try:
                data = connection.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            *lines, pending = (pending + data).split(b"\r\n")
            for line in lines:
                if line.endswith(b"EXISTS"):
                    self.history.now("notice", watch=watch, said=line.decode())
                elif line.startswith(b"* BYE"):
                    return


class Teller(Worker):
    """Appends now and then to a mailbox in which somebody idles."""

    def __init__(self, crew, number):
        super().__init__(crew, f"teller{number}", f"watched{number}@example.test")
        self.front_end = number % 2
        self.pace = (6.0, 9.0)  # rarer than a notice may take: the next one shall not stand for one that was lost

    def operation(self):
        self.append(self.front_end, "INBOX")


class Crew:
    """All clients of a cluster."""

    def __init__(self, cluster, history, seed):
        self.cluster, self.history, self.seed = cluster, history, seed
        self.password = f"secret-{seed}"
        self.gate = threading.Event()
        self.over = False
        self.workers = [Mover(self, n) for n in range(3)]
        self.workers += [Hot(self, n, "hot", n % 2, n % 2) for n in range(3)]
        self.workers += [Hot(self, 0, "twin", 0, 1), Hot(self, 1, "twin", 1, 0)]
        self.workers += [Deliverer(self, "hot")]
        for n in range(6):
            self.workers += [Idler(self, n), Teller(self, n)]

    def begin(self):
        for account in sorted({w.account for w in self.workers}):
            self.cluster.add_account(account, self.password)
        for worker in self.workers:
            if isinstance(worker, Mover):
                for box in worker.boxes:
                    self.until_it_works(lambda: worker.command(worker.front_end, f'CREATE "{box}"'))
        for worker in self.workers:
            worker.start()

    @staticmethod
    def until_it_works(what, seconds=30):
        until = time.monotonic() + seconds
        while True:
            try:
                return what()
            except (Lost, Refused) as e:
                if "ALREADYEXISTS" in str(e):
                    return None
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def go(self):
        self.gate.set()

    def rest(self, seconds=40):
        """All clients wait; False: one did not come to its end in time."""
        self.gate.clear()
        until = time.monotonic() + seconds
        return all(w.at_rest.wait(max(0, until - time.monotonic())) for w in self.workers)

    def final_reading(self):
        """Every mailbox through every front-end. The clients rest."""
        for worker in {w.account: w for w in self.workers if not isinstance(w, (Idler, Deliverer))}.values():
            boxes = worker.boxes if isinstance(worker, Mover) else ("INBOX",)
            for front_end in range(len(self.cluster.front_ends)):
                for box in boxes:
                    worker.drop_all()
                    self.until_it_works(lambda: worker.read(front_end, box, final=True))
            worker.drop_all()

    def end(self):
        self.over = True
        self.gate.set()
        for worker in self.workers:
            if worker.is_alive():
                worker.join(ANSWER_MAX + 5)

    def errors(self):
        return [w.error for w in self.workers if w.error]
