"""Publishing beside delivery, and while Kafka is away (the scenario "events")."""

import re
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from . import load, proc

BROKER = os.path.join(load.TOP, "tests/support/kafka/broker")
ACCOUNTS = 64


class Broker:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="bench-kafka.")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def start(self):
        subprocess.run([BROKER, "start", self.dir, str(self.port)], check=True, stdin=subprocess.DEVNULL, timeout=300)

    def kill(self):
        subprocess.run([BROKER, "stop", self.dir], check=True, stdin=subprocess.DEVNULL)
        time.sleep(1)

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def use(cluster, broker):
    def change(name, text):
        settings = f'events: {{kafka: {{servers: ["127.0.0.1:{broker.port}"], client_id: {name}}}}}'
        return re.sub(r"(?m)^events: .*$", settings, text)
    cluster.change_settings(change)
    cluster.refresh()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            cluster.ctl("events", "topics", "--create", "--partitions", "12")
            return
        except RuntimeError:
            time.sleep(0.5)
    raise load.LoadError("the topics could not be made")


# ---- What publishing costs and leaves

def publishing_cpu(pids):
    """Seconds of the threads that publish: the relay's, and librdkafka's."""
    seconds = 0.0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{thread}/stat") as f:
                    head, rest = f.read().rsplit(")", 1)
            except OSError:
                continue
            name = head.split("(", 1)[1]
            if name == "events" or name.startswith("rdk:"):
                seconds += sum(int(v) for v in rest.split()[11:13]) / proc.TICK
    return seconds


def storage(server):
    return {name: p["pid"] for name, p in server.cluster.processes.items() if name.startswith("storage-")}


def total(server, metric, label=""):
    return sum(server.cluster.metric(name, metric, label) for name in storage(server))


def waiting(server):
    return total(server, "chasqui_events_outbox_records")


def drain(server, seconds=1800):
    """How long until nothing waits any more (the metric is a second old)."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if waiting(server) == 0:
            return time.monotonic() - began
        time.sleep(0.2)
    raise load.LoadError("the outboxes do not become empty")


# ---- So many messages a second

class Paced(threading.Thread):
    """Every `period` seconds one message by LMTP; a late one is sent at once, none is left out."""

    def __init__(self, address, accounts, period, first, end):
        super().__init__(daemon=True)
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.file = self.socket.makefile("rb")
        self.accounts, self.period, self.first, self.end = accounts, period, first, end
        self.took, self.errors = [], 0  # (when, seconds)
        self.answer()
        self.say("LHLO bench.test")

    def answer(self):
        line = self.file.readline()
        while line[3:4] == b"-":
            line = self.file.readline()
        return int(line[:3] or 0)

    def say(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.answer()

    def run(self):
        n, due = 0, self.first
        body = b"Subject: paced\r\n\r\n" + b"x" * 70 * 14 + b"\r\n.\r\n"
        while due < self.end:
            time.sleep(max(0, due - time.monotonic()))
            began = time.monotonic()
            to = self.accounts[n % len(self.accounts)]
            ok = (self.say("MAIL FROM:<sender@load.test>") == 250 and self.say(f"RCPT TO:<{to}>") == 250
                  and self.say("DATA") == 354)
            if ok:
                self.socket.sendall(body)
                ok = self.answer() == 250
            if not ok:
                self.errors += 1
                self.say("RSET")
            self.took.append((began, time.monotonic() - began))
            n, due = n + 1, due + self.period
        self.socket.close()


def paced(server, rate, seconds, look=lambda: None, connections=4):
    """Latencies of `rate` messages a second; `look` is called every tenth of the time."""
    accounts = [line.split()[0] for line in open(server.accounts_file)][:ACCOUNTS]
    now = time.monotonic() + 0.5
    threads = [Paced(server.endpoints["lmtp"][i % 2], accounts[i::connections], connections / rate, now + i / rate,
                     now + seconds) for i in range(connections)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        time.sleep(seconds / 10)
        look()
    for thread in threads:
        thread.join(120)
    return sorted(t for thread in threads for t in thread.took), sum(thread.errors for thread in threads)


def at(values, part):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(part * len(values)))] * 1000, 2) if values else 0.0


def as_run(took, errors, seconds, memory):
    times = [t for _, t in took]
    us = lambda part: at(times, part) * 1000  # noqa: E731
    return {"per_second": len(times) / seconds, "count": len(times), "seconds": seconds, "octets": 1000 * len(times),
            "p50_us": us(0.5), "p99_us": us(0.99), "p999_us": us(0.999), "kinds": [], "errors": errors,
            "first_error": "a message was refused", "generator": {"bottleneck": False}, "memory": memory}
