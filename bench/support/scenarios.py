"""What is measured, in the order in which a server meets it. Each scenario seeds what it needs once per server and then
measures as often as it is asked; a measurement gives runs (everything that was seen) and figures (one number each, the
ones that are compared). bench/README.md tells for people what each number means and what it does not."""

import signal
import statistics
import time

from . import events, load, pg_directory, proc

# Accounts by their number: no scenario disturbs another one's mailboxes.
DELIVERY = dict(first_account=0, account_count=64)
E2E = dict(first_account=64, account_count=32)
BIG, BODY = dict(first_account=96, account_count=1), dict(first_account=97, account_count=1)
MIX = dict(first_account=100, account_count=50)
LOGIN = dict(first_account=0, account_count=64)
FAILOVER = dict(first_account=150, account_count=100)


class Options:
    """The command line's; None: the scenario's own default."""

    def __init__(self, **given):
        self.seconds = given.get("seconds") or 5
        self.messages = given.get("messages") or 100000
        self.size = given.get("size") if given.get("size") is not None else 16384
        self.sessions = given.get("sessions")
        self.rounds = given.get("rounds")
        self.bodies = given.get("bodies") or 128
        self.outage = given.get("outage") or 60
        self.rate = given.get("rate") or 100
        self.control = given.get("control") or False


class Scenario:
    name = help = ""
    peers = ()
    needs = ()  # protocols
    once = False  # compared in one round: a measurement has rounds of its own

    def __init__(self, options):
        self.o = options

    def seed(self, server):
        pass

    def measure(self, server):
        """(runs, figures): runs are (title, result); figures are (name, value, unit)."""
        raise NotImplementedError


def ms(us):
    return round(us / 1000, 3)


class Delivery(Scenario):
    name, help, peers = "delivery", "messages into mailboxes, by LMTP and by SMTP", ("dovecot", "postfix")

    def measure(self, server):
        runs, figures = [], []
        for protocol, by_lmtp in (("LMTP", True), ("SMTP", False)):
            if not server.endpoints.get(protocol.lower()) or (server.name == "postfix" and by_lmtp):
                continue
            for sessions in [self.o.sessions] if self.o.sessions else (1, 16, 64):
                r = load.run(server, "delivery", sessions=sessions, seconds=self.o.seconds, size=self.o.size,
                             delivery_by_lmtp=by_lmtp, **DELIVERY)
                title = f"delivery {protocol}, {sessions} sessions"
                runs.append((title, r))
                figures.append((title, r["per_second"], "messages/s"))
                if sessions == 1:
                    figures.append((title + ", p50", ms(r["p50_us"]), "ms"))
                if server.name == "postfix":
                    server.wait_empty()
        return runs, figures


class EndToEnd(Scenario):
    name, help, peers, needs = "e2e", "SMTP in until readable in IMAP", ("postfix",), ("smtp", "imap")

    def measure(self, server):
        sessions = self.o.sessions or 16
        r = load.run(server, "e2e", sessions=sessions, seconds=self.o.seconds, size=self.o.size, **E2E)
        title = f"SMTP in to readable in IMAP, {sessions} sessions"
        return [(title, r)], [(title, r["per_second"], "messages/s"), (title + ", p50", ms(r["p50_us"]), "ms")]


class Login(Scenario):
    name, help, peers, needs = "login", "log-ins with full and with resumed TLS", ("dovecot",), ("imap",)

    def measure(self, server):
        runs, figures = [], []
        for kind, resume in (("full", False), ("resumed", True)):
            r = load.run(server, "login", sessions=self.o.sessions or 16, seconds=self.o.seconds, resume=resume, **LOGIN)
            title = f"TLS log-in, {kind}"
            got = {k["name"]: k["count"] for k in r["kinds"]}
            if r["count"] and got.get(kind, 0) < r["count"] * 0.95:
                title += f" (only {got.get(kind, 0)} of {r['count']} were)"
            runs.append((title, r))
            figures.append((f"TLS log-in, {kind}", r["per_second"], "log-ins/s"))
        return runs, figures


class Directory(Scenario):
    """What the directory adds to a log-in: front-end 1 has the embedded one, front-end 2 a PostgreSQL on this machine, measured
    in turn, one session each, so that a log-in waits for nothing but its own look-ups."""

    name, help, peers, needs, once = "directory", "log-ins with the embedded directory and with PostgreSQL", (), ("imap",), True

    def measure(self, server):
        if server.name != "chasqui":
            raise load.LoadError("directory changes settings: it needs a cluster that bench/run started")
        with open(server.accounts_file) as f:
            accounts = [line.split() for line in f][:LOGIN["account_count"]]
        postgres = pg_directory.PostgresFrontEnd(server.cluster)
        everywhere = server.endpoints["imap"]
        try:
            postgres.add_accounts([address for address, _ in accounts], accounts[0][1])
            return self._compare(server, postgres, everywhere)
        finally:
            server.endpoints["imap"] = everywhere
            postgres.remove()
            server._look()

    def _compare(self, server, postgres, endpoints):
        runs, figures = [], []
        for kind, more in (("cached", "cache: {fresh: 30s}"), ("uncached", "cache: {max: 0}")):
            postgres.use(more)
            server._look()
            p50 = {0: [], 1: []}
            for number in range(self.o.rounds or 5):
                for front_end, what in enumerate(("embedded", f"PostgreSQL, {kind}")):
                    r, call = self._round(server, front_end, endpoints[front_end])
                    p50[front_end].append(r["p50_us"])
                    runs.append((f"log-in, {what}, round {number + 1}", r))
                    figures.append((f"one of two calls, {what}, p50 below", call, "ms"))
                    figures.append((f"processor time of a log-in, {what}", r["cpu_us_per_operation"], "µs"))
            middle = [statistics.median(p50[i]) for i in (0, 1)]
            figures += [(f"log-in beside {kind}, embedded, p50", ms(middle[0]), "ms"),
                        (f"log-in, PostgreSQL, {kind}, p50", ms(middle[1]), "ms"),
                        (f"PostgreSQL, {kind}, adds", ms(middle[1] - middle[0]), "ms")]
        figures = self._medians(figures)
        runs[-1][1]["directory"] = figures
        return runs, figures

    def _round(self, server, front_end, endpoint):
        """The run, and the bound of the histogram's bucket that has the median of the calls to the directory."""
        name = f"frontend-{front_end + 1}"
        server.endpoints["imap"] = [endpoint]
        before = pg_directory.buckets(server.cluster, name)
        r = load.run(server, "login", sessions=self.o.sessions or 1, seconds=self.o.seconds, resume=True, **LOGIN)
        after = pg_directory.buckets(server.cluster, name)
        counts = {bound: after[bound] - before.get(bound, 0) for bound in after}
        return r, min(bound for bound, n in counts.items() if n * 2 >= max(counts.values())) * 1000

    @staticmethod
    def _medians(figures):
        """One figure of each name: of several, the median."""
        names = list(dict.fromkeys(name for name, _, _ in figures))
        units = {name: unit for name, _, unit in figures}
        return [(name, statistics.median([v for n, v, _ in figures if n == name]), units[name]) for name in names]


class Big(Scenario):
    """Scenarios on one mailbox of many messages."""

    peers, needs = ("dovecot", "cyrus"), ("imap",)
    distinct = 5  # the mailbox is so many times the messages that are stored by APPEND; the rest are their copies

    def seed(self, server):
        if getattr(server, "big", 0) == self.o.messages:
            return
        first = max(1, self.o.messages // self.distinct)
        r = load.run(server, "seed", sessions=1 if server.multiappend else 24, operations=first, mailbox="Big", size=1,
                     distinct=1000, warmup=0, multiappend=server.multiappend, **BIG)
        if r["errors"]:
            raise load.LoadError(f"seeding: {r['first_error']}")
        for _ in range(self.distinct - 1):
            command(server, "Big", f"COPY 1:{first} Big", 1, BIG)
        server.big = self.o.messages


def command(server, mailbox, text, operations, accounts, **more):
    r = load.run(server, "commands", mailbox=mailbox, command=text, operations=operations, warmup=0, **accounts, **more)
    if r["errors"]:
        raise load.LoadError(f"{text if isinstance(text, str) else text[0]}: {r['first_error']}")
    return r


class Fetch(Big):
    name, help = "fetch", "FETCH (FLAGS ENVELOPE BODYSTRUCTURE) of a large mailbox"

    def measure(self, server):
        title = f"FETCH (FLAGS ENVELOPE BODYSTRUCTURE) of {self.o.messages}"
        r = command(server, "Big", "FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)", 3, BIG)
        return [(title, r)], [(title, round(r["p50_us"] / 1e6, 3), "s")]


class Select(Big):
    name, help = "select", "SELECT of a large mailbox that was selected before"

    def measure(self, server):
        title = f"SELECT of {self.o.messages}, warm"
        r = command(server, "Big", "SELECT Big", 200, BIG)
        return [(title, r)], [(title, ms(r["p50_us"]), "ms")]


class Search(Big):
    name, help = "search", "SEARCH in a large mailbox, four kinds"
    kinds = ("SEARCH UNSEEN", "SEARCH FLAGGED SINCE 1-Jan-2020", "SEARCH SMALLER 2000", "SEARCH SUBJECT harvest")

    def measure(self, server):
        runs, figures = [], []
        for kind in self.kinds:
            r = command(server, "Big", kind, 3, BIG)
            runs.append((kind, r))
            figures.append((f"{kind} of {self.o.messages}", ms(r["p50_us"]), "ms"))
        return runs, figures


class Body(Scenario):
    name, help = "body", "BODY[] of messages of 1 MiB, one connection, first read and again"
    peers, needs = ("dovecot", "cyrus"), ("imap",)

    def seed(self, server):
        if getattr(server, "bodies", 0):
            return
        r = load.run(server, "seed", sessions=4, operations=self.o.bodies, mailbox="Body", size=1 << 20, distinct=32,
                     warmup=0, **BODY)
        if r["errors"]:
            raise load.LoadError(f"seeding: {r['first_error']}")
        server.bodies = self.o.bodies
        server.stop()  # the first read is of new processes; the kernel's page cache stays as it is
        server.start()

    def measure(self, server):
        runs, figures = [], []
        for kind in ("first read", "again"):
            r = command(server, "Body", "FETCH 1:* (BODY.PEEK[])", 1, BODY)
            title = f"BODY[] of {self.o.bodies} messages of 1 MiB, {kind}"
            runs.append((title, r))
            figures.append((title, round(r["octets"] / r["seconds"] / 1e6, 1), "MB/s"))
        return runs, figures


class Mix(Scenario):
    name, help, peers, needs = "mix", "IMAP commands of many clients", ("dovecot",), ("imap",)

    def seed(self, server):
        if getattr(server, "mixed", False):
            return
        r = load.run(server, "seed", sessions=50, operations=5000, mailbox="INBOX", size=0, distinct=500, warmup=0, **MIX)
        if r["errors"]:
            raise load.LoadError(f"seeding: {r['first_error']}")
        server.mixed = True

    def measure(self, server):
        sessions = self.o.sessions or 50
        r = load.run(server, "mix", sessions=sessions, seconds=self.o.seconds, size=0, distinct=200, **MIX)
        title = f"IMAP mix, {sessions} sessions"
        return [(title, r)], [(title, r["per_second"], "commands/s")]


class Pop3(Mix):
    name, help, peers, needs = "pop3", "whole POP3 sessions with RETR of 20 messages", ("dovecot",), ("pop3",)

    def measure(self, server):
        sessions = self.o.sessions or 16
        r = load.run(server, "pop3", sessions=sessions, seconds=self.o.seconds, **MIX)
        title = f"POP3 RETR, {sessions} sessions"
        return [(title, r)], [(title, r["per_second"], "messages/s")]


class Idle(Scenario):
    name, help, peers, needs = "idle", "memory of sessions that IDLE", ("dovecot",), ("imap",)

    def measure(self, server):
        sessions = self.o.sessions or 1000
        seen = {}

        def look(said):
            if said["event"] == "steady":
                time.sleep(1)
                seen.update(pss=server.pss(), sockets=proc.socket_memory(), slab=proc.kernel_slab())

        before = dict(pss=server.pss(), sockets=proc.socket_memory(), slab=proc.kernel_slab())
        r = load.run(server, "idle", sessions=sessions, seconds=3, on_event=look, opening=32,
                     first_account=0, account_count=400)
        there = r["count"]
        total, grown = sum(seen["pss"].values()), sum(seen["pss"].values()) - sum(before["pss"].values())
        kib = lambda octets: round(octets / there / 1024, 1)  # noqa: E731
        r["memory"] = {"pss_kib": {n: v // 1024 for n, v in sorted(seen["pss"].items())},
                       "kib_per_session": kib(grown), "kib_per_session_with_the_processes": kib(total),
                       "kernel_socket_kib_per_session": kib(seen["sockets"] - before["sockets"]),
                       "kernel_slab_kib_per_session_both_ends": kib(seen["slab"] - before["slab"])}
        title = f"idle TLS session, {sessions} sessions"
        return [(title, r)], [(title, r["memory"]["kib_per_session"], "KiB"),
                              (title + ", servers included", r["memory"]["kib_per_session_with_the_processes"], "KiB")]


class Failover(Scenario):
    """kill -9 of storage nodes in turn, while every account is written to."""

    name, help, peers, needs, once = "failover", "kill -9 of a leader until the next acknowledged write", (), ("lmtp",), True

    def _affected(self, server, victim):
        ctl = server.cluster.ctl_json
        node = server.cluster.processes[victim]["node"]
        led = {row["shard"] for row in ctl("shard", "list") if row["leader"] == node}
        shard_of = {row["address"]: row["shard"] for row in ctl("account", "list")}
        accounts = [line.split()[0] for line in open(server.accounts_file)]
        first, count = FAILOVER["first_account"], FAILOVER["account_count"]
        return {i: shard_of[accounts[first + i]] for i in range(count) if shard_of[accounts[first + i]] in led}

    def _round(self, server, victim):
        """Milliseconds from the kill to the next acknowledged write, of each shard that the victim led."""
        killed, first = {}, {}

        def look(said):
            now = said["mono_us"] if "mono_us" in said else 0
            if said["event"] == "ack" and killed:
                shard = affected.get(said["session"])
                if shard is not None and now > killed["at"]:
                    first[shard] = min(first.get(shard, now), now)
            elif said["event"] == "ack" and now - begun["at"] > 1_000_000:
                # The moment before the kill: an acknowledgement that was on its way is not counted as one after it.
                server.cluster.signal(victim, signal.SIGKILL)
                killed["at"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            elif said["event"] == "begin":
                begun["at"] = now

        affected, begun = self._affected(server, victim), {"at": 0}
        r = load.run(server, "writes", sessions=FAILOVER["account_count"], seconds=5, warmup=0, size=1, distinct=16,
                     delivery_by_lmtp=True, on_event=look, **FAILOVER)
        missing = set(affected.values()) - set(first)
        return [(at - killed["at"]) / 1000 for at in first.values()], len(missing), r

    def measure(self, server):
        if server.name != "chasqui":
            raise load.LoadError("failover kills storage nodes: it needs a cluster that bench/run started")
        rounds, waits, missing = self.o.rounds or 6, [], 0
        for i in range(rounds):
            victim = "storage-" + "abc"[i % 3]
            found, lost, r = self._round(server, victim)
            waits += found
            missing += lost
            server.cluster.start(victim)
            self._wait_whole(server)
        waits.sort()
        at = lambda part: round(waits[min(len(waits) - 1, int(part * len(waits)))], 1)  # noqa: E731
        r["failover"] = {"kills": rounds, "shards_that_lost_their_leader": len(waits) + missing,
                         "not_back_in_4_s": missing, "ms": [round(w, 1) for w in waits]}
        title = f"failover, {rounds} kills, {len(waits)} leaders lost"
        return [(title, r)], [(title + ", p50", at(0.5), "ms"), (title + ", p99", at(0.99), "ms"),
                              (title + ", longest", round(waits[-1], 1), "ms")]

    def _wait_whole(self, server, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                server.cluster.refresh()
                s = server.cluster.ctl_json("cluster", "status")
                s = s[0] if isinstance(s, list) else s
                leads = [n["leads"] for n in server.cluster.ctl_json("node", "list")]
                if s["nodes_up"] == s["nodes"] and s["shards_with_leader"] >= s["shards"] and min(leads) > 5:
                    break
            except (RuntimeError, KeyError):
                pass
            time.sleep(0.5)
        server._look()
        time.sleep(2)


class Events(Scenario):
    """Publishing to a real broker: beside delivery at full rate, and after the broker was away."""

    name, help, peers, needs, once = "events", "publishing to Kafka beside delivery, and Kafka away", (), ("lmtp",), True

    def seed(self, server):
        if server.name != "chasqui":
            raise load.LoadError("events needs a cluster that bench/run started")
        if not server.broker:
            server.broker = events.Broker()
            events.use(server.cluster, server.broker)
            server._look()
            load.run(server, "delivery", sessions=16, seconds=3, size=1000, delivery_by_lmtp=True, **DELIVERY)
            events.drain(server)

    def _full_rate(self, server):
        pids, seen = events.storage(server).values(), {}
        produced = lambda: events.total(server, "chasqui_events_produced_total", "acknowledged")  # noqa: E731

        def look(said):
            if said["event"] in ("begin", "end"):
                seen[said["event"]] = (events.publishing_cpu(pids), produced())

        r = load.run(server, "delivery", sessions=self.o.sessions or 16, seconds=self.o.seconds, size=self.o.size,
                     delivery_by_lmtp=True, on_event=look, **DELIVERY)
        left = events.waiting(server)
        seconds = events.drain(server)
        cpu, count = (b - a for a, b in zip(seen["begin"], seen["end"]))
        share = 100 * cpu / sum(r["cpu"].values())
        r["memory"] = {"events published in the measured time": f"{count:.0f} ({count / r['seconds']:.0f}/s)",
                       "processor time of the publishing threads": f"{cpu:.2f} s, {share:.1f} % of all processes'",
                       "events waiting at the end": f"{left:.0f}, gone after {seconds:.1f} s"}
        title = f"delivery LMTP with events to Kafka, {self.o.sessions or 16} sessions"
        return (title, r), [(title, r["per_second"], "messages/s"), ("publishing, events", round(count / r["seconds"], 1), "events/s"),
                            ("publishing, share of processor time", round(share, 2), "%"),
                            ("publishing, behind at the end", round(seconds, 1), "s")]

    def _away(self, server):
        """self.o.outage seconds at self.o.rate messages a second, before and while the broker is away (or, the control,
        is there)."""
        rate, outage, mib = self.o.rate, self.o.outage, []
        note = lambda: mib.append(round(sum(proc.pss(events.storage(server).values()).values()) / 1048576, 1))  # noqa: E731
        before, errors = events.paced(server, rate, min(outage, 60), note)
        there = mib[-1]
        mib.clear()
        if not self.o.control:
            server.broker.kill()
        took, more = events.paced(server, rate, outage, note)
        left, octets = events.waiting(server), events.total(server, "chasqui_events_outbox_bytes")
        if not self.o.control:
            server.broker.start()
        seconds = events.drain(server)
        quarter = len(took) // 4
        first, last = ([t for _, t in part] for part in (took[:quarter], took[-quarter:]))
        up = [t for _, t in before]
        r = events.as_run(took, errors + more, outage, {
            "p50 before, first and last quarter": f"{events.at(up, .5)}, {events.at(first, .5)}, {events.at(last, .5)} ms",
            "p99 before, first and last quarter": f"{events.at(up, .99)}, {events.at(first, .99)}, {events.at(last, .99)} ms",
            "PSS of the storage nodes, MiB": f"{there} before; then {mib}",
            "events that waited at the end": f"{left:.0f} ({octets / 1048576:.1f} MiB), published within {seconds:.1f} s"})
        title = f"delivery LMTP at {rate}/s, Kafka {'there' if self.o.control else 'away'} for {outage:.0f} s"
        return (title, r), [(title + ", p50 of the last quarter", events.at(last, .5), "ms"), (title + ", p50 before", events.at(up, .5), "ms"),
                            (title + ", growth of the storage nodes", round(mib[-1] - there, 1), "MiB"),
                            (title + ", publishing what waited", round(left / max(seconds, 0.1), 1), "events/s")]

    def measure(self, server):
        full, figures = self._full_rate(server)
        away, more = self._away(server)
        return [full, away], figures + more


ALL = {c.name: c for c in (Idle, Delivery, EndToEnd, Login, Directory, Fetch, Select, Search, Body, Mix, Pop3, Failover, Events)}
