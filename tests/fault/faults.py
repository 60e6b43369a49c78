"""The faults. A fault is a function that does it, yields how many seconds it lasts, and heals it behind the yield; its
first line of documentation is what the table says. Whatever it leaves dead is started again by the run.

Its table row says what a run may expect: `falls`: storage nodes may end by themselves; `ends`: a node may not come back
(the cluster is not used for another run then); `profile`: wants a cluster of that profile; `default`: part of the default set;
`within`: every shard that was struck takes a write within so many seconds, while the fault lasts on: more is a finding; `guest`: a fourth node may come and go."""

import os
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import damage
import hooks
import unavailable
from fault_cluster import GUEST, NODES
from lab import Cage

KINDS = {}


class Kind:
    def __init__(self, name, body, falls=False, ends=False, profile="lan", default=True, alone=False,
                 within=None, guest=False):
        self.name, self.body, self.falls, self.ends, self.profile, self.default = name, body, falls, ends, profile, default
        self.within = within
        self.guest = guest
        self.alone = alone  # is not made one of two faults
        self.about = body.__doc__.strip().split("\n")[0]


def kind(name, **row):
    def add(body):
        KINDS[name] = Kind(name, body, **row)
        return body
    return add


class Run:
    """What a fault may use."""

    def __init__(self, cluster, history, kind_row, number, seed, login):
        self.login = login  # an account and its password
        self.wrong = []  # what was not as it must be meanwhile
        self.cluster, self.history, self.kind, self.number = cluster, history, kind_row, number
        self.random = random.Random(f"{seed}/{kind_row.name}")
        self.look()
        self.struck = {}  # shard -> time of the fault that struck its leader
        self.told = []  # what was done, for the report
        self.taken = set()  # nodes that a fault of this run has to do with

    def look(self):
        self.nodes = self.cluster.present()
        self.leaders = {s: n for s, n in self.cluster.leaders().items() if s}  # shard -> node, when it began

    def between(self, least, most):
        return self.random.uniform(least, most)

    def say(self, text):
        self.told.append(text)

    def node(self, leading=False):
        """A node that no other fault of this run has; with `leading`, the one that leads most shards."""
        free = [n for n in self.nodes if n not in self.taken] or list(self.nodes)
        name = self.random.choice(free)
        if leading:
            name = max(free, key=lambda n: (sum(1 for l in self.leaders.values() if l == n), n))
        self.taken.add(name)
        return name

    def strike(self, *names):
        """Now: the shards that these nodes lead are struck."""
        now = time.monotonic()
        self.say("+".join(names) if names else "all")
        for shard, leader in self.leaders.items():
            if not names or leader in names or leader is None:
                self.struck.setdefault(shard, now)
        self.history.add({"op": "fault", "at": now, "kind": self.kind.name, "what": "strike", "run": self.number,
                          "nodes": list(names)})

    def strike_anew(self):
        """The time to recover counts from now on: before, there was no majority."""
        self.struck.clear()
        self.strike()

    def must_be_unavailable(self, front_end):
        """A front-end whose shards have no majority says so: never an empty mailbox, never "no such user"."""
        with ThreadPoolExecutor() as both:
            said = [both.submit(unavailable.over_imap, self.cluster, front_end, *self.login),
                    both.submit(unavailable.over_smtp, self.cluster, front_end, self.login[0])]
        self.wrong += [s.result() for s in said if s.result()]

    def process(self, name):
        return self.cluster.nodes[name]

    def place(self, name):
        return self.cluster.lab.place(name)

    def disk(self, name):
        return self.cluster.disks[name]

    def address(self, name):
        return self.place(name).address

    def start(self, name, **how):
        if not self.process(name).running():
            self.cluster.start_node(name, **how)


@kind("calm", alone=True)
def calm(run):
    """nothing at all, for comparison; and idle clients have less time to be told"""
    run.strike()
    yield 15.0


# ---- Processes ----

@kind("kill-node")
def kill_node(run):
    """kill -9 of a storage node"""
    name = run.node()
    run.strike(name)
    run.process(name).kill()
    yield run.between(0, 4)
    run.start(name)


@kind("kill-leader")
def kill_leader(run):
    """kill -9 of the node that leads most shards, twice"""
    for _ in range(2):
        name = run.node(leading=True)
        run.strike(name)
        run.process(name).kill()
        yield run.between(2, 3)
        run.start(name)
        yield run.between(1, 3)


@kind("kill-all", alone=True)
def kill_all(run):
    """kill -9 of all storage nodes at once"""
    run.strike()
    for name in NODES:
        run.process(name).signal(signal.SIGKILL)
    for name in NODES:
        run.process(name).kill()
    yield run.between(0, 1)
    for name in NODES:
        run.start(name)


@kind("kill-others")
def kill_others(run):
    """kill -9 of routers and front-ends"""
    run.strike("nobody")
    names = run.random.sample([n for n in run.cluster.others if n != "quota"], 2)
    run.say("+".join(names))
    for name in names:
        run.cluster.others[name].kill()
    yield run.between(0, 1)
    for name in names:
        run.cluster.others[name].start()


@kind("pause-node")
def pause_node(run):
    """SIGSTOP of a storage node, 1 to 10 s"""
    yield from pause(run, run.node(), run.between(1, 10))


@kind("pause-leader")
def pause_leader(run):
    """SIGSTOP of the node that leads most shards, 2 to 8 s: the deposed leader comes back with its old view"""
    yield from pause(run, run.node(leading=True), run.between(2, 8))


@kind("pause-long", default=False)
def pause_long(run):
    """SIGSTOP of a storage node, 10 to 30 s"""
    yield from pause(run, run.node(), run.between(10, 30))


def pause(run, name, seconds):
    run.strike(name)
    run.process(name).signal(signal.SIGSTOP)
    try:
        yield seconds
    finally:
        run.process(name).signal(signal.SIGCONT)


@kind("failpoint")
def failpoint(run):
    """kill -9 at named places before and after a step that makes something durable, three of them"""
    name = run.node(leading=True)
    process = run.process(name)
    points = hooks.Hooks(run.cluster.path("failpoints-" + name))
    run.strike(name)
    process.kill()
    for _ in range(3):
        point = run.random.choice(hooks.FAILPOINTS)
        # Not every node leads, trims its log or writes effects without a log record in so short a time.
        rare = point in hooks.AT_START or point in ("answer", "trimmed", "write-before", "write-after")
        count = 1 if rare else run.random.randint(1, 60)
        if point in hooks.AT_START:
            points.arm(point, count)
        run.start(name, environment=points.environment(), program=hooks.PROGRAM)
        if point not in hooks.AT_START:
            yield run.between(1.0, 2.0)
            points.arm(point, count)
        for _ in range(160):
            if not process.running():
                break
            yield 0.05
        run.say(f"{point} {count}{' was not reached' if process.running() else ''}")
        points.arm(point, 0)
        process.kill()
    run.start(name)


# ---- Links ----

def rules(run, name, incoming=(), outgoing=(), seconds=None):
    run.strike(name)
    run.place(name).rules(incoming, outgoing)
    try:
        yield seconds or run.between(3.5, 6)
    finally:
        run.place(name).rules()


def peers(run, name, way):
    """Packets of the other storage nodes only: routers still reach this one."""
    return [f"ip {way} {run.address(n)} drop" for n in run.nodes if n != name]


@kind("cut-host")
def cut_host(run):
    """a node's host is silently gone from the network: every packet is dropped"""
    yield from rules(run, run.node(leading=True), ["drop"], ["drop"])


@kind("cut-peers")
def cut_peers(run):
    """the leader is alone among storage nodes, routers still reach it"""
    name = run.node(leading=True)
    yield from rules(run, name, peers(run, name, "saddr"), peers(run, name, "daddr"))


@kind("cut-reset")
def cut_reset(run):
    """the leader's connections to other storage nodes are reset, and so is each new one: another stands at once"""
    name = run.node(leading=True)
    reset = [f"ip {way} {run.address(n)} meta l4proto tcp reject with tcp reset"
             for n in run.nodes if n != name for way in ("saddr", "daddr")]
    yield from rules(run, name, reset, reset)


@kind("cut-in")
def cut_in(run):
    """a node hears no other, the others hear it"""
    name = run.node(leading=True)
    yield from rules(run, name, incoming=peers(run, name, "saddr"))


@kind("cut-out")
def cut_out(run):
    """a node hears the others, they do not hear it"""
    name = run.node(leading=True)
    yield from rules(run, name, outgoing=peers(run, name, "daddr"))


@kind("cut-pair")
def cut_pair(run):
    """two nodes do not hear each other, the third hears both"""
    name = run.node(leading=True)
    other = run.random.choice([n for n in run.nodes if n != name])
    run.say("from " + other)
    yield from rules(run, name, [f"ip saddr {run.address(other)} drop"], [f"ip daddr {run.address(other)} drop"])


@kind("cut-clients", within=10)
def cut_clients(run):
    """routers and front-ends do not reach a node for 13 s, the other nodes do: leaderships go where routers get"""
    name = run.node(leading=True)
    yield from rules(run, name, ["ip saddr 10.9.0.1 drop"], ["ip daddr 10.9.0.1 drop"], 13.0)


@kind("cut-all", alone=True)
def cut_all(run):
    """no storage node hears another: every shard is without a majority"""
    run.strike()
    for name in NODES:
        run.place(name).rules(peers(run, name, "saddr"), peers(run, name, "daddr"))
    try:
        yield run.between(4, 8)
    finally:
        for name in NODES:
            run.place(name).rules()
        run.strike_anew()


@kind("cut-flaky")
def cut_flaky(run):
    """5 to 30 % of a node's packets are lost, both ways"""
    percent = run.random.randint(5, 30)
    run.say(f"{percent} %")
    drop = [f"numgen random mod 100 < {percent} drop"]
    yield from rules(run, run.node(leading=True), drop, drop)


def slow_link(run, **how):
    name = run.node(leading=True)
    run.say(", ".join(f"{k} {v}" for k, v in how.items()))
    run.strike(name)
    run.place(name).trouble(run.cluster.link_trouble(), seed=run.random.randrange(1 << 30), **how)
    try:
        yield run.between(5, 8)
    finally:
        run.place(name).calm()


@kind("link-loss")
def link_loss(run):
    """5 to 30 % of what a node sends is lost"""
    yield from slow_link(run, loss=run.random.randint(5, 30))


@kind("link-delay")
def link_delay(run):
    """what a node sends takes 50 to 300 ms, plus or minus the half of it"""
    delay = run.random.randint(50, 300)
    yield from slow_link(run, delay=delay, jitter=delay // 2)


@kind("link-reorder")
def link_reorder(run):
    """a third of what a node sends overtakes the rest, and a little is lost"""
    yield from slow_link(run, delay=run.random.randint(20, 80), jitter=20, reorder=33, loss=2)


@kind("late-news")
def late_news(run):
    """a leader hears the others 1.5 s late, then they do not hear it any more: it still believes that it leads"""
    name = run.node(leading=True)
    others = [n for n in run.nodes if n != name]
    for n in others:
        run.place(n).trouble(run.cluster.link_trouble(), delay=1500, ramp=5000, to=run.address(name))
    try:
        yield run.between(6, 7)
        yield from rules(run, name, outgoing=peers(run, name, "daddr"), seconds=6)
    finally:
        for n in others:
            run.place(n).calm()


# ---- Data centres ----

def lose_place(run, name):
    """All its processes and links."""
    run.place(name).rules(["drop"], ["drop"])
    for process in run.cluster.at(name):
        process.kill()


def bring_back(run, name):
    run.place(name).rules()
    for process in run.cluster.at(name):
        if process is run.process(name):
            run.start(name)
        else:
            process.start()


@kind("dc-lost", profile="wan", alone=True)
def dc_lost(run):
    """one of three data centres, with all its processes and links; it comes back with its old state"""
    name = run.node(leading=True)
    run.strike(name)
    lose_place(run, name)
    yield run.between(8, 14)
    bring_back(run, name)


@kind("dc-cut", profile="wan", alone=True)
def dc_cut(run):
    """the links of one of three data centres; its processes go on"""
    yield from rules(run, run.node(leading=True), ["drop"], ["drop"], run.between(8, 14))


@kind("dc-two-lost", profile="wan", alone=True)
def dc_two_lost(run):
    """two of three data centres: the third says "unavailable", and goes on by itself when they are back"""
    run.strike()
    left, *names = run.random.sample(NODES, 3)
    run.say("left: " + left)
    for name in names:
        run.place(name).rules(["drop"], ["drop"])
    yield 8.0
    run.must_be_unavailable(NODES.index(left))
    yield 1.0
    for name in names:
        run.place(name).rules()
    run.strike_anew()


# ---- Power and disks ----

def cut_power(run, names):
    """Processors stop with their disk. They must: an fsync that is under way while an ext4 is shut down may return 0
    without having written anything, which no power cut does (seen with a plain program in 8 of 60 tries)."""
    run.strike(*names)
    for name in names:
        run.process(name).freeze()
    for name in names:
        run.disk(name).lose_power()
    for name in names:
        run.process(name).kill()
    for name in names:
        run.disk(name).remount()


@kind("power-one", falls=True)
def power_one(run):
    """power cut of one node: what was not synced is lost"""
    name = run.node()
    cut_power(run, [name])
    yield run.between(0, 3)
    run.start(name)


@kind("power-majority", falls=True, alone=True)
def power_majority(run):
    """power cut of two nodes at once"""
    names = run.random.sample(NODES, 2)
    cut_power(run, names)
    yield run.between(0, 2)
    for name in names:
        run.start(name)


@kind("power-all", falls=True, alone=True)
def power_all(run):
    """power cut of all nodes at once"""
    cut_power(run, list(NODES))
    yield run.between(0, 1)
    for name in NODES:
        run.start(name)


def trouble(run, name, rules, seconds):
    """Rules of support/disk_fault.c for one node's disk, for a while."""
    shim = run.cluster.trouble[name]
    before = len(shim.hits())
    run.say(rules)
    run.strike(name)
    shim.set(rules)
    try:
        yield seconds
    finally:
        shim.clear()
    run.say(f"{len(shim.hits()) - before} calls")
    run.start(name)


@kind("disk-slow")
def disk_slow(run):
    """each fsync of a node takes 100 ms to 2 s longer"""
    yield from trouble(run, run.node(leading=True), f"delay sync * ms={run.random.choice((100, 300, 1000, 2000))}", 6)


@kind("disk-stall")
def disk_stall(run):
    """a node's disk answers neither write nor fsync for 6 to 15 s"""
    yield from trouble(run, run.node(leading=True), "stall write,sync store/", run.between(5, 12))


@kind("disk-fence", falls=True, default=False)
def disk_fence(run):
    """a node's disk answers nothing for 25 s: it ends itself"""
    yield from trouble(run, run.node(leading=True), "stall write,sync store/", 25)


@kind("disk-eio-sync", falls=True)
def disk_eio_sync(run):
    """one fsync of the write-ahead log fails, later ones would work"""
    yield from trouble(run, run.node(leading=True), f"eio sync .log after={run.random.randint(0, 50)} times=1", 4)


@kind("disk-eio-write", falls=True)
def disk_eio_write(run):
    """one write to the store fails, or writes half; later ones would work"""
    what = run.random.choice(("eio", "enospc", "short"))
    yield from trouble(run, run.node(leading=True), f"{what} write store/ after={run.random.randint(0, 200)} times=1", 4)


@kind("disk-eio-read", falls=True, ends=True)
def disk_eio_read(run):
    """reads of tables and blobs fail for a while"""
    name = run.node(leading=True)
    yield from trouble(run, name, f"eio read {run.random.choice(('.sst', '.blob'))} times={run.random.randint(1, 20)}", 4)


@kind("disk-full", falls=True, within=10)
def disk_full(run):
    """a node's disk is full (64 KiB to 8 MiB are left) for 13 s, then has room again: the others go on meanwhile"""
    name = run.node(leading=True)
    leave = run.random.choice((64 << 10, 1 << 20, 8 << 20))
    run.say(f"{leave >> 10} KiB left")
    run.strike(name)
    run.disk(name).fill(leave)
    try:
        yield 13.0
    finally:
        run.disk(name).empty()
    run.start(name)


def rot(run, file_kind):
    """Damages a file of a node, under the running process or between its end and its start."""
    name = run.node()
    running = run.random.random() < 0.3
    run.strike(name)
    if not running:
        run.process(name).kill()
    folder = os.path.join(run.disk(name).mount_point, "node")
    done = damage.damage(run.random, folder, file_kind)
    run.say(done.what if done else "no such file")
    yield run.between(1, 2)
    run.process(name).kill()
    run.start(name)
    yield 4.0
    if run.process(name).running():
        run.say("it runs")
        return
    # Nobody may have made it worse meanwhile: with the right octets it is whole again.
    run.say("it refuses to start")
    done.undo()
    run.start(name)


def rot_kind(file_kind, **row):
    def body(run):
        yield from rot(run, file_kind)
    body.__doc__ = f"a flipped bit or a zeroed block in {damage.ABOUT[file_kind]} of one node"
    kind("rot-" + file_kind, falls=True, ends=True, alone=True, **row)(body)


for _name in damage.ABOUT:
    rot_kind(_name)


# ---- Resources and clocks ----

@kind("clock-jump")
def clock_jump(run):
    """a node's wall clock is an hour or a day off, or at the end of 2037; the monotonic clock goes on"""
    name = run.node(leading=True)
    shift = run.random.choice((3600, -3600, 86400, -86400, 2145916800 - int(time.time())))
    run.say(f"{shift} s")
    library = os.path.join(run.cluster.tests, "wall_shift.so")
    run.strike(name)
    run.process(name).kill()
    run.start(name, environment={"LD_PRELOAD": library, "CHASQUI_TEST_WALL_SHIFT_S": str(shift)})
    yield run.between(4, 6)
    run.process(name).kill()
    run.start(name)


@kind("descriptors", falls=True)
def descriptors(run):
    """a node gets no descriptor more than it has"""
    name = run.node(leading=True)
    process = run.process(name)
    have = len(os.listdir(f"/proc/{process.child.pid}/fd"))
    run.strike(name)
    run.cluster.limit(name, f"--nofile={have}:")
    try:
        yield run.between(4, 8)
    finally:
        if process.running():
            run.cluster.limit(name, "--nofile=16384:")
    run.start(name)


@kind("memory", falls=True)
def memory(run):
    """a node gets no memory more than it has, and 400 connections want some: allocations fail, it ends, and is started again"""
    name = run.node(leading=True)
    process = run.process(name)
    connections = []
    began = time.monotonic()
    run.strike(name)
    run.cluster.limit(name, f"--data={process.data_bytes()}:")
    try:
        for _ in range(60):
            yield 0.1
            if not process.running():
                break
            connections += [knock(run, name) for _ in range(max(0, min(20, 400 - len(connections))))]
        run.say(f"it ended after {time.monotonic() - began:.1f} s" if not process.running() else "it did not end")
    finally:
        for connection in connections:
            connection.close()
        if process.running():
            run.cluster.limit(name, "--data=unlimited:")
    run.start(name)
    yield run.between(1, 3)


def knock(run, name):
    """A connection that says nothing."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex((run.address(name), 7100))
    return connection


@kind("oom", falls=True)
def oom(run):
    """a node has too little memory, in a cgroup: the kernel kills it, again and again, for 8 s"""
    name = run.node(leading=True)
    process = run.process(name)
    limit = int(process.anonymous_bytes() * run.between(0.4, 1))
    run.strike(name)
    process.kill()
    killed, began = 0, time.monotonic()
    while time.monotonic() < began + (8 if killed else 24):
        cage = Cage(name, limit)
        run.start(name, cage=cage)
        tighter = time.monotonic() + 4
        while process.running() and time.monotonic() < tighter:
            yield 0.1
        killed += not process.running()
        limit = int(limit * 0.6) if process.running() else limit  # it was enough
        process.kill()
        cage.remove()
        yield 0.2
    run.say(f"{limit >> 20} MiB, killed {killed} times")
    run.start(name)


# ---- Membership ----

MOVES_MAX = 300.0  # seconds in which all moves end, once nothing fails any more
AT_THE_SAME_TIME = (None, "kill-node", "kill-leader", "pause-leader", "cut-host", "cut-peers", "cut-reset", "cut-flaky",
                    "power-one", "power-majority", "kill-all", "disk-stall")


def until(what, true, seconds):
    """Waits. The cluster may be without a leader for a moment: then nobody answers."""
    end, error = time.monotonic() + seconds, None
    while True:
        try:
            if true():
                return
        except RuntimeError as e:
            error = e
        if time.monotonic() > end:
            raise RuntimeError(f"not in {seconds:.0f} s: {what} ({error})")
        yield 0.3


def meanwhile(run):
    """Something else fails, of any node, also of the one that comes or goes."""
    name = run.random.choice(AT_THE_SAME_TIME)
    run.say(name or "nothing else")
    if name:
        run.taken.clear()
        yield from until("leaders are shown", lambda: run.look() or True, 30)
        yield from KINDS[name].body(run)
    for node in run.cluster.present():
        run.start(node)
    yield from until("all moves end", lambda: not run.cluster.rows("shard", "moves"), MOVES_MAX)


def drained(run):
    """One of the three leads nothing for a while."""
    cluster, name = run.cluster, run.random.choice(NODES)
    run.say(f"drain of {name}")
    cluster.retry(lambda: cluster.ctl("node", "drain", cluster.address(name)), 30)
    yield from until(f"{name} leads nothing", lambda: name not in cluster.leaders().values(), 60)
    cluster.retry(lambda: cluster.ctl("node", "drain", cluster.address(name), "--undo"), 30)


def held_in_the_end(run, when, right):
    """Who holds which shard, when that is right for each, or 30 s have passed: a move does not wait for an old node that is
    away, which destroys its replica by itself when it is back."""
    held, since = {}, time.monotonic()
    while not held or (not all(right(names) for names in held.values()) and time.monotonic() - since < 30):
        yield from until("replicas are shown", lambda: held.update(run.cluster.holders()) or True, 30)
        yield 0.5
    if not all(right(names) for names in held.values()):
        run.wrong.append(f"{when}, shards are held by {held}")
    return held


@kind("move", falls=True, alone=True, guest=True)
def move(run):
    """a fourth node joins, leads, another one is drained, and it leaves again; and something else fails both times"""
    cluster, address = run.cluster, run.cluster.address(GUEST)
    run.strike("nobody")
    cluster.add_node(GUEST)
    cluster.start_node(GUEST)
    yield from until("the fourth node is known", lambda: cluster.node(GUEST), 30)
    cluster.retry(lambda: cluster.ctl("node", "join", address), 30)
    yield run.between(0, 2)
    yield from meanwhile(run)
    held = yield from held_in_the_end(run, "after a node has joined",
                                      lambda names: len(names) == 3 and None not in names)
    here = [shard for shard, names in held.items() if shard and GUEST in names]
    run.say(f"it holds {len(here)} of {len(held) - 1} shards")
    if here:
        shard = str(run.random.choice(here))
        yield from until("it leads a shard", lambda: cluster.ctl("shard", "leader", shard, "--to", address) or True, 30)
    yield from drained(run)
    cluster.retry(lambda: cluster.ctl("node", "decommission", address), 30)
    yield run.between(0, 2)
    yield from meanwhile(run)
    yield from until("it has left", lambda: cluster.node(GUEST)["state"] == "gone", 60)
    yield from held_in_the_end(run, "after a node has left", lambda names: names == set(NODES))
    run.wrong += cluster.words("node-" + GUEST)[:3]
    cluster.remove_guest()


# ---- Two at once ----

@kind("two", falls=True, alone=True)
def two(run):
    """two faults at once, of two nodes where they can be"""
    names = run.random.sample([k.name for k in KINDS.values() if not k.alone and k.default and k.profile == "lan"], 2)
    run.say("+".join(names))
    yield from together(run.random, [KINDS[n].body(run) for n in names])


def together(rng, bodies):
    """Several faults, each on its own time. Healing what the others leave is each one's own."""
    due = [(time.monotonic() + i * rng.uniform(0, 1.5), body) for i, body in enumerate(bodies)]
    try:
        while due:
            due.sort(key=lambda d: d[0])
            at, body = due.pop(0)
            if at > time.monotonic():
                yield at - time.monotonic()
            try:
                due.append((time.monotonic() + next(body), body))
            except StopIteration:
                pass
    finally:
        for _, body in due:
            body.close()
