"""The fault runner: see tests/fault/run --help and README.md.

Clusters live for a few runs each. A run is one fault (or two), from a moment when all is well to the next one; clients
work all the time. At the end of a cluster everything is read once more, and the checker judges its whole history."""

import argparse
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]

import checker
import hooks
from checker import Violation
from clients import Crew
from fault_cluster import NODES, FaultCluster
from faults import KINDS, Run
from history import History
from lab import Lab
from probe import Probe
from report import Table

# Planted bugs (lib/base/cq_planted.h) that the runner must find: the faults in which they show, and what they are found
# by at least (any class counts as found).
PLANTED = {
    "ack-before-sync": "power-all,power-all,power-all",
    "deposed-read": "late-news,late-news,late-news",
    "resurrect": "kill-all,kill-leader,kill-all",
    "reuse-uid": "kill-all,kill-leader,kill-all",
    "lose-flag": "kill-node",
    "drop-notice": "calm,calm,calm,calm",
    "apply-twice": "kill-all,kill-leader",
    "forget-requests": "kill-node,kill-all,kill-leader",
}

RUNS_MAX = 14     # of one cluster
READY_MAX = 45.0  # seconds from the end of a fault until all nodes are ready ...
WRITE_MAX = 30.0  # ... and until every shard has taken a write
SETTLE = 11.0     # seconds until a request without an outcome has had its effect, or never will


class Session:
    """One cluster and its runs."""

    def __init__(self, lab, options, folder, seed, kinds, table, plant=None):
        self.plant = plant
        self.lab, self.options, self.folder, self.seed, self.table = lab, options, folder, seed, table
        self.kinds = kinds
        self.violations = []
        self.runs = []  # (kind name, begin)

    def blame(self, kind, text):
        self.violations.append(Violation(kind, text, time.monotonic()))

    def go(self):
        """True: nothing was found."""
        os.makedirs(self.folder)
        self.history = History(os.path.join(self.folder, "history.jsonl"))
        profile = KINDS[self.kinds[0]].profile
        self.cluster = FaultCluster(self.lab, self.options.build_dir, self.folder, profile,
                                    hooks.PROGRAM if self.plant else "chasqui-storage-node",
                                    guest=any(KINDS[name].guest for name in self.kinds))
        if self.plant:
            self.cluster.node_environment["CHASQUI_TEST_PLANT"] = self.plant
        probe = crew = None
        try:
            self.cluster.start()
            self.crew = crew = Crew(self.cluster, self.history, self.seed)
            crew.begin()
            self.probe = probe = Probe(self.cluster, self.seed)
            crew.go()
            if probe.wait_all(time.monotonic(), WRITE_MAX):
                raise RuntimeError(f"a new cluster does not take writes: {probe.words()}")
            for number, name in enumerate(self.kinds):
                if not self.one(number, KINDS[name]):
                    break
            self.finish()
        except Exception as e:
            self.blame("broken", f"the run itself: {e!r}")
            if self.options.debug:
                raise
        finally:
            if crew:
                crew.end()
            if probe:
                probe.stop()
            self.cluster.stop()
            self.history.close()
        self.judge()
        return not self.violations

    # -- one fault

    def one(self, number, row):
        began = time.monotonic()
        self.runs.append((row.name, began))
        acknowledged = self.acknowledged()
        login = self.crew.workers[0].account, self.crew.password
        run = Run(self.cluster, self.history, row, number, f"{self.seed}/{number}", login)
        time.sleep(run.between(0.3, 1))
        if row.name != "calm":
            self.history.now("fault", kind=row.name, what="inject", run=number)
        body = row.body(run)
        try:
            for seconds in body:
                time.sleep(seconds)
        finally:
            body.close()
        healed = time.monotonic()
        self.history.now("fault", kind=row.name, what="heal", run=number)
        for text in run.wrong:
            self.blame("broken", text)
        well = self.recover(row, healed)
        if well:
            self.history.now("fault", kind=row.name, what="calm", run=number)
            well = self.compare(row)
        stats = self.table.row(row.name)
        stats.runs += 1
        stats.acknowledged += self.acknowledged() - acknowledged
        gaps = [self.probe.gap(shard, at) for shard, at in run.struck.items()]
        stats.gaps += gaps
        if row.within and max(gaps, default=0) > row.within:
            self.blame("late", f"{max(gaps):.1f} s without a write during {row.name}; {row.within} are promised")
        print(f"  {row.name}: {', '.join(run.told)}: {time.monotonic() - began:.0f} s, "
              f"longest without a write {max(gaps, default=0):.2f} s{'' if well else '; not recovered'}", flush=True)
        return well and not self.violations

    def acknowledged(self):
        return self.probe.acknowledged() + self.history.count("append", "deliver", "store", "copy", "move", "expunge")

    def recover(self, row, healed):
        """The cluster is as before: processes run and are ready, every shard takes writes."""
        for name, process in {**self.cluster.nodes, **self.cluster.others}.items():
            if not process.running():
                if not row.falls:
                    self.blame("broken", f"{process.name} ended with {process.child.returncode} during {row.name}")
                if name in self.cluster.nodes:
                    self.cluster.start_node(name)
                else:
                    process.start()
        until = healed + READY_MAX
        silent = self.probe.wait_all(healed, WRITE_MAX)
        if silent:
            self.blame("broken", f"shards {silent} take no writes {WRITE_MAX:.0f} s after {row.name}: {self.probe.words()}")
            return False
        if not self.cluster.wait_ready(max(5, until - time.monotonic())):
            if row.ends:
                return False
            waiting = [n for n in [*self.cluster.nodes, *self.cluster.others] if not self.cluster.ready(n)]
            self.blame("broken", f"not ready {READY_MAX:.0f} s after {row.name}: {waiting}")
            return False
        return True

    def compare(self, row):
        """At rest, all replicas are equal."""
        if not self.crew.rest():
            self.blame("broken", f"clients do not come to rest: {[w.name for w in self.crew.workers if not w.at_rest.is_set()]}")
            return False
        self.probe.pause()
        try:
            different = self.cluster.unequal_digests()
        finally:
            self.probe.go_on()
        self.crew.go()
        if different and "did not come" in different and row.ends:  # still being copied
            return False
        if different:
            self.blame("digest", different)
        return not different

    # -- the end

    def finish(self):
        if not self.crew.rest():
            self.blame("broken", "clients do not come to rest")
        self.probe.stop()
        settled = time.monotonic() + SETTLE
        damage_done = any(KINDS[name].ends for name, _ in self.runs)
        for line in self.probe.verify(damage_done):
            kind = "lost" if "lost" in line else "duplicated" if "twice" in line or "nobody" in line else \
                "uid" if "UID" in line else "broken"
            self.blame(kind, f"probe: {line}")
        self.verify(damage_done)
        time.sleep(max(0, settled - time.monotonic()))
        self.crew.final_reading()
        for error in self.crew.errors():
            self.blame("broken", f"client {error}")
        for name in [*self.cluster.nodes, *self.cluster.others]:
            log = f"node-{name}" if name in self.cluster.nodes else name
            for words in self.cluster.words(log)[:3]:
                if not any(KINDS[n].falls for n, _ in self.runs):
                    self.blame("broken", words)

    def verify(self, damage_done):
        """chasquictl verify: every record and body of all replicas, and replicas against each other. What a fault has
        damaged it may find, and have copied again; replicas that are sound and differ never."""
        wrong = {"differs"} if damage_done else {"differs", "damaged"}
        rows = self.cluster.rows("verify", any_status=True)
        found = [row for row in rows if row["result"] in wrong]
        if found:
            self.blame("digest", f"verify: {len(found)} replicas: {found[:2]}")
        elif not rows:
            self.blame("broken", "verify says nothing")

    def judge(self):
        for v in checker.check(self.history.records):
            self.violations.append(v)
        for at, text in getattr(self, "probe", None).stale if hasattr(self, "probe") else []:
            self.violations.append(Violation("stale", "probe: " + text, at))
        for v in self.violations:
            owner = max((r for r in self.runs if r[1] <= v.at), key=lambda r: r[1], default=(self.kinds[0], 0))
            self.table.row(owner[0]).violations[v.kind] += 1
            v.owner = owner[0]

    def tell(self):
        for v in self.violations[:10]:
            print(f"FAILED  {v.owner}: {v}", flush=True)
        print(f"        again: {self.command()}\n        kept:  {self.folder}", flush=True)

    def command(self):
        planted = f" --planted {self.plant}" if self.plant else ""
        kinds = [name for name, _ in self.runs] or self.kinds
        return f"tests/fault/run --seed {self.seed}{planted} --kind {','.join(kinds)}"


def sessions_of(kinds):
    """Kinds in their order, cut into clusters: of one profile, at most RUNS_MAX."""
    sessions, current = [], []
    for name in kinds:
        if current and (len(current) == RUNS_MAX or KINDS[name].profile != KINDS[current[0]].profile):
            sessions.append(current)
            current = []
        current.append(name)
    return sessions + ([current] if current else [])


def plan(options):
    """Endless when there is time: (seed, kinds of one cluster)."""
    chosen = options.kind.split(",") if options.kind else [k.name for k in KINDS.values() if k.default]
    if options.minutes is None:
        ordered = chosen if options.kind else spread(chosen)
        for n, kinds in enumerate(sessions_of(ordered)):
            yield options.seed + n, kinds
        return
    seed = options.seed
    while True:
        kinds = chosen * 1
        random.Random(seed).shuffle(kinds)
        for session in sessions_of(spread(kinds)):
            yield seed, session
            seed += 1


def spread(kinds):
    """Those after which a cluster may not go on come last in theirs; other profiles have clusters of their own."""
    lasting = [k for k in kinds if not KINDS[k].ends and KINDS[k].profile == "lan"]
    ending = [k for k in kinds if KINDS[k].ends]
    ordered = []
    while lasting or ending:
        take = RUNS_MAX - 1 if ending else RUNS_MAX
        ordered += lasting[:take] + ending[:RUNS_MAX - len(lasting[:take])]
        ending = ending[RUNS_MAX - len(lasting[:take]):]
        lasting = lasting[take:]
    return ordered + [k for k in kinds if KINDS[k].profile != "lan"]


def find_planted(lab, options, work):
    """Each bug has to be found in some cluster; the list says in how many. The exit status."""
    names = list(PLANTED) if options.planted == "all" else options.planted.split(",")
    rows, missed = [], 0
    for name in names:
        found, classes, began = 0, {}, time.monotonic()
        for n in range(options.clusters):
            kinds = (options.kind or PLANTED.get(name, "kill-node,kill-all")).split(",")
            session = Session(lab, options, os.path.join(work, f"{name}-{n}"), options.seed + n, kinds, Table(), name)
            found += not session.go()
            for v in session.violations:
                classes[v.kind] = classes.get(v.kind, 0) + 1
            if not options.keep:
                shutil.rmtree(session.folder, ignore_errors=True)
        said = ", ".join(f"{n} {kind}" for kind, n in sorted(classes.items()))
        rows.append(f"| `{name}` | {found} of {options.clusters} | {said} | {time.monotonic() - began:.0f} |")
        print(f"{'found ' if found else 'MISSED'}  {name}: in {found} of {options.clusters} clusters: {said}", flush=True)
        missed += not found
    print("\n| planted bug | found in clusters | violations | seconds |\n| --- | --- | --- | --: |\n" + "\n".join(rows))
    print(f"{len(names) - missed} passed, {missed} failed", flush=True)
    return 1 if missed else 0


def sweep(folder):
    """Disks of runs that were killed themselves: nobody else could remove the images."""
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        try:
            with open(os.path.join(folder, name, "alive")) as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for session in os.listdir(os.path.join(folder, name)):
                    shutil.rmtree(os.path.join(folder, name, session, "data"), ignore_errors=True)
        except OSError:
            pass


def end_at_once(work):
    """An interrupt ends everything. This is the first process of its namespace: whom it kills is what it has started."""
    def interrupted(number, frame):
        os.kill(-1, signal.SIGKILL)
        with open("/proc/self/mounts") as mounts:
            mounted = [line.split()[1] for line in mounts if line.split()[1].startswith(work)]
        for place in mounted:
            subprocess.run(["umount", "-l", place])
        shutil.rmtree(work, ignore_errors=True)
        print("interrupted", flush=True)
        os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)


def main():
    parser = argparse.ArgumentParser(prog="tests/fault/run", description=__doc__.split("\n")[0])
    parser.add_argument("build_dir", nargs="?", default=os.path.join(TOP, "build/release"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", help="these kinds, in this order, separated by commas")
    parser.add_argument("--minutes", type=float, help="seeded combinations for that long, instead of each kind once")
    parser.add_argument("--keep", action="store_true", help="keep histories and logs also when nothing was found")
    parser.add_argument("--list", action="store_true", help="the kinds")
    parser.add_argument("--table", help="write the table to this file, too")
    parser.add_argument("--work", default=os.path.join(TOP, "build/tests/fault"), help="folder for histories and logs")
    parser.add_argument("--planted", help="bugs on purpose that must be found: names separated by commas, or \"all\"")
    parser.add_argument("--clusters", type=int, default=1, help="with --planted: clusters for each")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        for row in KINDS.values():
            print(f"{row.name:16} {'' if row.default else '(only when named) '}{row.about}")
        return 0
    unknown = set((options.kind or "").split(",")) - set(KINDS) - {""}
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; see --list")

    if os.getpid() != 1:  # an interrupt kills whatever it can see
        parser.error("start it by tests/fault/run: it needs namespaces of its own")
    sweep(options.work)
    work = tempfile.mkdtemp(prefix="run-", dir=options.work)
    alive = open(os.path.join(work, "alive"), "w")  # locked as long as this process lives
    fcntl.flock(alive, fcntl.LOCK_EX)
    end_at_once(work)
    lab = Lab(work)
    table = Table()
    if options.planted:
        status = find_planted(lab, options, work)
        if not options.keep:
            shutil.rmtree(work)
        return status
    passed = failed = 0
    began = time.monotonic()
    try:
        for seed, kinds in plan(options):
            if options.minutes is not None and time.monotonic() - began > options.minutes * 60:
                break
            while kinds:  # what a cluster that did not go on has left is done in the next one
                print(f"-- seed {seed}: {', '.join(kinds)}", flush=True)
                session = Session(lab, options, os.path.join(work, f"seed-{seed}-{kinds[0]}"), seed, kinds, table)
                if session.go():
                    passed += len(session.runs)
                    if not options.keep:
                        shutil.rmtree(session.folder, ignore_errors=True)
                else:
                    bad = len({v.owner for v in session.violations})
                    failed += bad
                    passed += max(0, len(session.runs) - bad)
                    session.tell()
                kinds = kinds[max(1, len(session.runs)):]
    finally:
        shutil.rmtree(os.path.join(work, "certs"), ignore_errors=True)
        if not [name for name in os.listdir(work) if name != "alive"]:
            shutil.rmtree(work)
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes\n\n{table.markdown()}")
    if options.table:
        with open(options.table, "w") as f:
            f.write(table.markdown())
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
