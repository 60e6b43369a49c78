"""The probe: storage_client's verb "probe" writes to every shard all the time. It says when each shard took the next
write after a fault, and whether a node answered a read without knowing what was acknowledged before."""

import os
import signal
import subprocess
import time
from collections import defaultdict

from fault_cluster import CLUSTER, GUEST, NODES, SHARDS

WINDOW = 3.0  # seconds after a fault in which the time without a write that it makes begins


class Probe:
    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.acked = cluster.path("probe.acked")
        self.times = self.acked + ".times"
        self.output = open(cluster.path("logs", "probe.out"), "a")
        self.child = subprocess.Popen(self.command("probe", str(seed), "100000"), stdin=subprocess.DEVNULL,
                                      stdout=self.output, stderr=self.output)
        self.offset = 0
        self.ok = defaultdict(list)  # shard -> [(invoked, completed)]
        self.stale = []  # (invoked, text)

    def command(self, verb, *args):
        tls = self.cluster.link_tls("router")
        return [os.path.join(self.cluster.tests, "storage_client"), verb, tls["ca"], tls["cert"], tls["key"], CLUSTER,
                self.acked, *args, *self.cluster.probed()]

    def update(self):
        """Reads what is new in its file."""
        if not os.path.exists(self.times):
            return
        with open(self.times) as f:
            f.seek(self.offset)
            text = f.read()
        text = text[:text.rfind("\n") + 1]
        self.offset += len(text)
        for line in text.splitlines():
            what, shard, begin, end, *more = line.split()
            begin, end = int(begin) / 1e6, int(end) / 1e6
            if what == "ok":
                self.ok[int(shard)].append((begin, end))
            elif what == "stale":
                node, account, uid = more
                self.stale.append((begin, f"node {(*NODES, GUEST)[int(node)]} did not know {account}/{uid} of shard {shard}"))

    def acknowledged(self):
        self.update()
        return sum(len(rows) for rows in self.ok.values())

    def wait_all(self, since, seconds):
        """Shards that acknowledged nothing that was asked after `since`."""
        until = time.monotonic() + seconds
        while True:
            self.update()
            silent = [s for s in range(1, SHARDS + 1) if not any(b > since for b, _ in self.ok[s][-50:])]
            if not silent or time.monotonic() > until or self.child.poll() is not None:
                return silent
            time.sleep(0.1)

    def gap(self, shard, fault):
        """Seconds from a fault to the next acknowledged write: the longest time without one that began with the fault
        or shortly after it."""
        self.update()
        ends = sorted(e for _, e in self.ok[shard])
        last, longest = fault, 0.0
        for end in ends:
            if end <= fault:
                continue
            longest = max(longest, end - last)
            last = end
            if last > fault + WINDOW:
                break
        return longest

    def pause(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def stop(self):
        """It ends when its calls have ended."""
        if self.output.closed:
            return
        self.go_on()
        self.child.terminate()
        self.child.wait()
        self.output.close()
        self.update()

    def words(self):
        with open(self.output.name, errors="replace") as f:
            return f.read()[-1000:]

    def verify(self, damage_done):
        """What is wrong with what it was told; empty: nothing. Where a disk was damaged, the first reader of a body may
        be refused: then the replica is copied from the others, and must be well soon."""
        for _ in range(6):
            wrong = self.verify_once()
            if not damage_done or not any("CQ_E_CORRUPT" in line for line in wrong):
                break
            time.sleep(5)
        return wrong

    def verify_once(self):
        done = subprocess.run(self.command("verify"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300)
        return [] if done.returncode == 0 else [l for l in done.stdout.splitlines() if "lines checked" not in l]
