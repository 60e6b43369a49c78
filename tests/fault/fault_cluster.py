"""The cluster of a fault run: three storage nodes, each in a place and on a disk of its own; routers, a quota-service
and front-ends. In the profile "lan" those are in the runner's own place, in "wan" each data centre has its own."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

from disk_fault import DiskFault
from imap import Imap
from lab import HOST, Disk, Process, tool

NODES = ("a", "b", "c")
GUEST = "d"  # a fourth node, of faults that make one join and leave again
SHARDS = 8
WAN_MS = 25  # one way
CLUSTER = "fault"


class FaultCluster:
    def __init__(self, lab, build_dir, folder, profile="lan", program="chasqui-storage-node",
                 guest=False):
        self.guest = guest  # whether there may be one
        self.lab, self.folder, self.profile = lab, folder, profile
        self.bin = os.path.join(os.path.abspath(build_dir), "bin")
        self.tests = os.path.join(os.path.abspath(build_dir), "tests")
        self.program = program
        self.node_environment = {}  # of every start of a storage node
        self.trouble = {n: DiskFault(build_dir, os.path.join(folder, f"trouble-{n}")) for n in (*NODES, GUEST)}
        for name in ("conf", "logs", "spool", "data"):
            os.makedirs(os.path.join(folder, name))
        self.certs = self.make_certs()
        self.nodes = {}
        self.others = {}
        self.front_ends = []  # (host, port of IMAPS, port of SMTP)
        self.disks = {}
        for name in NODES:
            self.add_node(name)
        self.add_others()

    # -- making

    def make_certs(self):
        folder = os.path.join(os.path.dirname(self.folder), "certs")  # shared by the clusters of a run
        if not os.path.exists(folder):
            tool(os.path.join(TOP, "deploy/make-certs"), "--cluster", CLUSTER, "--host", "localhost", "--host", HOST, folder)
        return folder

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def link_tls(self, role):
        return {"ca": f"{self.certs}/cluster-ca.pem", "cert": f"{self.certs}/{role}.pem",
                "key": f"{self.certs}/{role}.key"}

    def process(self, name, place, program, settings):
        path = self.path("conf", name + ".yaml")
        with open(path, "w") as f:
            json.dump({"cluster": CLUSTER, **settings}, f)
        return Process(name, place, [os.path.join(self.bin, program), "--config", path], self.path("logs", name + ".log"))

    def address(self, name):
        return f"{self.lab.place(name).address}:7100"

    def seeds(self):
        return [self.address(n) for n in NODES]

    def present(self):
        """The storage nodes that the cluster has now."""
        return tuple(self.nodes)

    def probed(self):
        """Where the probe looks for leaders: also where there may be one later."""
        return self.seeds() + ([self.address(GUEST)] if self.guest else [])

    def add_node(self, name):
        place = self.lab.place(name)
        self.disks[name] = Disk(os.path.join(self.folder, "data"), "disk-" + name)
        self.nodes[name] = self.process("node-" + name, place, self.program, {
            "data_dir": os.path.join(self.disks[name].mount_point, "node"), "rpc": {"listen": f"{place.address}:7100"},
            "seeds": self.seeds(), "labels": {"dc": name}, "tls": self.link_tls("storage"),
            "raft": {"trim_entries": 64, **self.raft_settings()}, "store": {"block_cache": "32MiB", "write_buffer": "1MiB"},
            "scrub": {"rate": "0"}, "reseed": {"retry": "500ms"}, "moves": {"per_node": 4}, "log": {"format": "json"},
            "events": {"file": {"path": self.path("logs", f"events-{name}.ndjson")}},
            "admin": {"listen": f"{place.address}:9100"}})

    def raft_settings(self):
        return {"profile": "wan"} if self.profile == "wan" else {}

    def add_others(self):
        """Two of each in the lan, each front-end with a router of its own; one of each in every data centre of the wan."""
        where = [(None, HOST, n) for n in range(2)]
        if self.profile == "wan":
            where = [(self.lab.place(n), self.lab.place(n).address, i) for i, n in enumerate(NODES)]
        self.others["quota"] = self.process("quota", None, "chasqui-quota-service", {
            "node": "quota", "rpc": {"listen": f"{HOST}:7300"}, "tls": self.link_tls("quota"),
            "admin": {"listen": f"{HOST}:9099"}})
        for place, host, n in where:
            router, front_end = f"{host}:{7200 + n}", f"frontend-{n}"
            self.others[f"router-{n}"] = self.process(f"router-{n}", place, "chasqui-router", {
                "node": f"router-{n}", "labels": {"dc": NODES[n]}, "rpc": {"listen": router}, "seeds": self.seeds(),
                "tls": self.link_tls("router"), "admin": {"listen": f"{host}:{9110 + n}"}})
            os.makedirs(self.path("spool", front_end))
            self.others[front_end] = self.process(front_end, place, "chasqui-frontend", {
                "node": front_end, "hostname": "localhost", "routers": [router], "quota": f"{HOST}:7300",
                "tls": self.link_tls("frontend-admin"), "ticket_keys": f"{self.certs}/tickets.key",
                "certificates": [{"cert": f"{self.certs}/public.pem", "key": f"{self.certs}/public.key"}],
                "spool": self.path("spool", front_end), "workers": 1,
                "auth": {"argon2": {"memory": "64KiB", "passes": 1}},
                "events": {"file": {"path": self.path("logs", front_end + ".ndjson")}},
                "limits": {"exempt": ["127.0.0.0/8", "10.9.0.0/24"], "sessions_account": 0},
                "directory": {"sqlite": {"path": self.path("data", "directory.sqlite")}},
                "admin_rpc": {"listen": f"{host}:{7400 + n}"}, "admin": {"listen": f"{host}:{9120 + n}"},
                "listeners": [{"protocol": "imap", "listen": f"{host}:{9930 + n}", "tls": True},
                              {"protocol": "smtp", "listen": f"{host}:{2500 + n}"}]})
            self.front_ends.append((host, 9930 + n, 2500 + n))
        self.admin_rpc = [f"{host}:{7400 + n}" for _, host, n in where]

    def start(self):
        with open(self.path("conf", "ctl.yaml"), "w") as f:
            json.dump({"cluster": CLUSTER, "tls": self.link_tls("operator"), "admin": self.admin_rpc,
                       "storage": self.seeds()}, f)
        for n, name in enumerate(self.nodes):
            if self.profile == "wan":
                self.lab.place(name).trouble(self.link_trouble(), delay=WAN_MS, jitter=2, seed=n)
            self.start_node(name)
        for process in self.others.values():
            process.start()
        self.retry(lambda: self.ctl("cluster", "init", "--shards", str(SHARDS), *self.seeds()), 30)
        self.wait_ready(60)
        self.retry(lambda: self.ctl("domain", "add", "example.test"), 30)

    def link_trouble(self):
        return os.path.join(self.tests, "link_trouble")

    @staticmethod
    def retry(what, seconds):
        until = time.monotonic() + seconds
        while True:
            try:
                return what()
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def start_node(self, name, environment=None, program=None, cage=None):
        """With another program than the cluster's, when a fault wants it."""
        node = self.nodes[name]
        command = [os.path.join(self.bin, program), *node.command[1:]] if program else None
        mine = {**self.node_environment, **self.trouble[name].environment()}
        for key, value in (environment or {}).items():
            mine[key] = f"{mine[key]} {value}" if key == "LD_PRELOAD" else value
        node.start(environment=mine, command=command, cage=cage)

    def limit(self, name, limit):
        """A running storage node's resource limit, as prlimit(1) writes it."""
        tool("prlimit", "--pid", str(self.nodes[name].child.pid), limit)

    def add_account(self, address, password):
        self.retry(lambda: self.ctl("account", "add", address, "--password-stdin", feed=password + "\n"), 30)

    def at(self, place):
        """The processes of a place."""
        return [p for p in [*self.nodes.values(), *self.others.values()] if p.place is self.lab.place(place)]

    # -- looking

    def admin_of(self, name):
        if name in self.nodes:
            return f"{self.lab.place(name).address}:9100"
        with open(self.path("conf", name + ".yaml")) as f:
            return json.load(f)["admin"]["listen"]

    def ready(self, name):
        try:
            with urllib.request.urlopen(f"http://{self.admin_of(name)}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait_ready(self, seconds, names=None):
        """False: not in time."""
        waiting = set(names or [*self.nodes, *self.others])
        until = time.monotonic() + seconds
        while waiting:
            waiting = {name for name in waiting if not self.ready(name)}
            if time.monotonic() > until:
                return False
            if waiting:
                time.sleep(0.1)
        return True

    def ctl(self, *args, feed=None, timeout=120, any_status=False):
        done = subprocess.run([os.path.join(self.bin, "chasquictl"), "--config", self.path("conf", "ctl.yaml"), *args],
                              input=feed, stdin=None if feed is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        if done.returncode != 0 and not any_status:
            raise RuntimeError(f"chasquictl {' '.join(args)}: {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done.stdout

    def rows(self, *args, **how):
        return json.loads(self.ctl("-o", "json", *args, **how) or "[]")

    def leaders(self):
        """shard -> name of the node that leads it, as far as anybody knows."""
        names = {self.address(n): n for n in self.present()}
        ids = {row["node"]: names.get(row["address"]) for row in self.rows("node", "list")}
        return {row["shard"]: ids.get(row["leader"]) for row in self.rows("shard", "list")}

    def node(self, name):
        """Its row of `node list`; None: not known (yet)."""
        return next((row for row in self.rows("node", "list") if row["address"] == self.address(name)), None)

    def holders(self):
        """shard -> names of the nodes that hold a replica."""
        names = {row["node"]: row["address"] for row in self.rows("node", "list")}
        places = {self.address(n): n for n in self.present()}
        held = {}
        for row in self.rows("shard", "replicas"):
            held.setdefault(row["shard"], set()).add(places.get(names.get(row["node"])))
        return held

    def remove_guest(self):
        """After it has left the cluster: its process, its disk."""
        self.nodes.pop(GUEST).kill()
        self.disks.pop(GUEST).remove()
        self.lab.place(GUEST).rules()
        self.lab.place(GUEST).calm()

    def unequal_digests(self, seconds=30):
        """Replicas at rest: shards whose replicas differ at one index, or did not come to the same one in time."""
        until = time.monotonic() + seconds
        while True:
            shards = {}
            for row in self.retry(lambda: self.rows("shard", "replicas"), seconds):
                shards.setdefault(row["shard"], []).append((row["applied"], row["digest"]))
            differ = [s for s, seen in shards.items()
                      if any(len({d for i, d in seen if i == index}) > 1 for index in {i for i, _ in seen})]
            apart = [s for s, seen in shards.items() if len(set(seen)) != 1]
            if differ:
                return f"shards {differ}: digests differ at the same index: {[shards[s] for s in differ][:3]}"
            if not apart and shards:
                return None
            if time.monotonic() > until:
                return f"shards {apart}: replicas did not come to the same index: {[shards[s] for s in apart][:3]}"
            time.sleep(0.3)

    def tls(self):
        return ssl.create_default_context(cafile=f"{self.certs}/public-ca.pem")

    def imap(self, front_end, timeout=20):
        host, port, _ = self.front_ends[front_end % len(self.front_ends)]
        return Imap(port, self.tls(), timeout=timeout, host=host)

    def words(self, name):
        """What a process wrote that is no line of its log, and errors that say that something is wrong inside."""
        bad = re.compile(r"assert|sanitizer|replica_failed|diverged", re.I)
        path = self.path("logs", name + ".log")
        if not os.path.exists(path):
            return []
        with open(path, errors="replace") as f:
            return [f"{name}: {line.strip()[:300]}" for line in f
                    if (not line.startswith("{") and "makecontext" not in line) or bad.search(line)]

    # -- ending

    def stop(self):
        for process in [*self.others.values(), *self.nodes.values()]:
            if process.running():
                process.signal(signal.SIGCONT)  # one that is paused would not end
                process.kill()
        for name in self.disks:
            self.lab.place(name).rules()
            self.lab.place(name).calm()
        for disk in self.disks.values():
            disk.remove()


