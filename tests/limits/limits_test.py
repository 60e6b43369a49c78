"""Stories of a cluster whose rates are in Redis. See tests/limits/run --help."""

import argparse
import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cluster import Cluster, run_stories  # noqa: E402
from imap import Imap, Lost, Refused  # noqa: E402
from ports import free_port  # noqa: E402
from redis_server import Redis  # noqa: E402
from waiting import LONG, eventually, until, wait_for  # noqa: E402

FRONT_ENDS = 10
DAILY = 500  # messages a day of the plan "personal" (lib/directory/dir_types.h)
SLOWEST = 30.0  # seconds; of a submission or log-in while Redis is in trouble: who waits for Redis waits for ever, and the machine is busy
LIMITS = "limits: {exempt: [], connect: {count: 1000000}, auth_address: {count: 1000000}, sessions_address: 10000, sessions_account: 1000}\n"


class LimitsCluster(Cluster):
    """The quick start's cluster, its quota-service with a Redis of its own, and loopback not exempt from limits."""

    def __init__(self, build_dir):
        super().__init__(build_dir)
        self.redis, self.more = Redis(self.dir), []
        self.plain = {}

        def change(name, text):
            self.plain[name] = text
            return text + (LIMITS if not name.startswith(("storage", "router")) else "") + (
                self.redis_settings(f'servers: ["{self.redis.address}"]') if name == "quota-1" else "")
        self.change_settings(change)
        for name in self.processes:
            self.wait_admin(self.processes[name]["admin"], name)

    @staticmethod
    def redis_settings(where):
        return f"redis: {{{where}, timeout: 100ms}}\n"

    def use_redis(self, where):
        """The quota-service starts again with these settings."""
        with open(self.settings_of("quota-1"), "w") as f:
            f.write(self.plain["quota-1"] + LIMITS + self.redis_settings(where))
        self.kill("quota-1")
        self.start("quota-1")
        self.wait_admin(self.processes["quota-1"]["admin"], "quota-1")

    @staticmethod
    def wait_admin(admin, name):
        def ready():
            with urllib.request.urlopen(f"http://{admin}/readyz", timeout=5) as answer:
                return answer.status == 200
        wait_for(f"{name} is ready", ready)

    def redis_check(self):
        with urllib.request.urlopen(f"http://{self.processes['quota-1']['admin']}/readyz?verbose", timeout=5) as answer:
            return next(line for line in answer.read().decode().splitlines() if "redis" in line)

    def wait_redis(self, pattern):
        line = eventually(self.redis_check, lambda line: re.search(pattern, line))
        return re.search(pattern, line) is not None, line

    def start_front_ends(self, count):
        """More of them, with a port for submission each; their ports."""
        with open(self.settings_of("frontend-1")) as f:
            like = f.read()
        before, listeners = like.split("listeners:\n", 1)
        more = "".join(line for line in listeners.splitlines(True) if not line.startswith(" "))
        for i in range(3, count + 1):
            name, port, admin = f"frontend-{i}", free_port(), free_port()
            text = before.replace("frontend-1", name)
            text = re.sub(r'admin: \{listen: "[^"]*"\}', f'admin: {{listen: "127.0.0.1:{admin}"}}', text)
            text = re.sub(r'admin_rpc: \{listen: "[^"]*"\}', f'admin_rpc: {{listen: "127.0.0.1:{free_port()}"}}', text)
            text += f'listeners:\n  - {{protocol: submission, listen: "127.0.0.1:{port}", tls: true}}\n' + more
            with open(self.settings_of(name), "w") as f:
                f.write(text)
            with open(f"{self.dir}/logs/{name}.log", "a") as log:
                process = subprocess.Popen([f"{self.status['bin']}/chasqui-frontend", "--config", self.settings_of(name)],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.more.append((name, process, port))
            self.wait_admin(f"127.0.0.1:{admin}", name)
        return [self.port("submissions", 0), self.port("submissions", 1)] + [port for _, _, port in self.more]

    def stop_front_ends(self):
        for _, process, _ in self.more:
            process.terminate()
        for _, process, _ in self.more:
            process.wait(LONG)
        self.more = []

    def stop(self, keep=False):
        self.stop_front_ends()
        super().stop(keep)
        self.redis.kill()


def submit(cluster, port, address, password, to, subject):
    """One connection, one log-in, one message: the code, or None when the connection broke."""
    try:
        with smtplib.SMTP_SSL("localhost", port, timeout=60, context=cluster.tls()) as smtp:
            smtp.login(address, password)
            smtp.sendmail(address, [to], f"From: <{address}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\nText.\r\n")
            return 250, ""
    except smtplib.SMTPRecipientsRefused as e:
        return next(iter(e.recipients.values()))
    except smtplib.SMTPResponseException as e:
        return e.smtp_code, e.smtp_error.decode(errors="replace")
    except (OSError, smtplib.SMTPException) as e:
        return None, repr(e)


def subjects(cluster, address, password):
    imap = Imap(cluster.port("imaps", 0), cluster.tls(), timeout=60)
    imap.login(address, password)
    imap.command('SELECT "INBOX"')
    untagged, _ = imap.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    imap.close()
    return [parts[1].decode().split(":", 1)[1].strip() for parts in untagged if len(parts) > 1]


# ---- Ten front-ends race ----

def race(cluster, tally, options):
    """race: ten front-ends and one account's daily limit, Redis flushed in mid-race"""
    cluster.add_account("racer@example.test", "racer-secret")
    cluster.add_account("goal@example.test", "goal-secret")
    ports = cluster.start_front_ends(FRONT_ENDS)
    codes, lock, over = {}, threading.Lock(), threading.Event()
    accepted = []

    def runner(number, port):
        for i in range(DAILY):
            if over.is_set():
                return
            subject = f"race-{number}-{i}"
            code, text = submit(cluster, port, "racer@example.test", "racer-secret", "goal@example.test", subject)
            with lock:
                codes[code] = codes.get(code, 0) + 1
                if code == 250:
                    accepted.append(subject)
                elif code != 550 or "Daily sending limit" not in text:
                    print(f"        {port}: {code} {text}", flush=True)
            if code == 550:
                return

    flushes, began = 0, time.monotonic()
    threads = [threading.Thread(target=runner, args=(number, ports[number % FRONT_ENDS])) for number in range(2 * FRONT_ENDS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.2)
        if time.monotonic() - began > options.seconds:
            over.set()
        with lock:
            done = len(accepted)
        if flushes == 0 and done >= DAILY // 4 or flushes == 1 and done >= DAILY // 2:
            cluster.redis.cli("FLUSHALL")
            flushes += 1
    for thread in threads:
        thread.join()
    delivered = [s for s in subjects(cluster, "goal@example.test", "goal-secret") if s.startswith("race-")]
    print(f"        {len(accepted)} accepted in {time.monotonic() - began:.1f} s, answers {codes}, {flushes} flushes", flush=True)
    tally.check("ten front-ends accept exactly the daily limit, with Redis flushed in mid-race",
                len(accepted) == DAILY and flushes == 2, f"{len(accepted)} of {DAILY}, {flushes} flushes")
    tally.check("each accepted message is there once", sorted(delivered) == sorted(accepted),
                f"{len(delivered)} delivered, {len(set(delivered))} different, {len(accepted)} accepted")
    tally.check("no other answer than 250 and the limit's 550", set(codes) <= {250, 550}, str(codes))
    cluster.stop_front_ends()


# ---- Faults in mid-traffic ----

class Traffic:
    """Submissions and log-ins at both front-ends without a pause; what each gave and how long it took."""

    def __init__(self, cluster):
        self.cluster, self.results, self.sent, self.lock = cluster, [], [], threading.Lock()
        self.ending, self.phase, self.number = threading.Event(), "", 0
        self.threads = [threading.Thread(target=work, args=(i,)) for i in range(2) for work in (self.submit, self.login)]
        for thread in self.threads:
            thread.start()

    def note(self, kind, began, code, text):
        with self.lock:
            self.results.append((self.phase, kind, time.monotonic() - began, code, text))

    def submit(self, front_end):
        while not self.ending.is_set():
            with self.lock:
                self.number += 1
                subject = f"fault-{self.number}"
            began = time.monotonic()
            sender = f"sender{self.number // 400}@example.test"
            code, text = submit(self.cluster, self.cluster.port("submissions", front_end), sender, "sender-secret", "box@example.test", subject)
            if code == 250:
                self.sent.append(subject)
            self.note("submission", began, code, text)

    def login(self, front_end):
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                imap = Imap(self.cluster.port("imaps", front_end), self.cluster.tls(), timeout=60)
                imap.login("box@example.test", "box-secret")
                imap.close()
                self.note("log-in", began, 250, "")
            except Lost as e:
                self.note("log-in", began, None, str(e))
            except Refused as e:
                self.note("log-in", began, 550, str(e))

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def go_on(self, seconds):
        """For so long, and until a submission and a log-in have ended in this phase."""
        time.sleep(seconds)

        def both():
            with self.lock:
                return len({r[1] for r in self.results if r[0] == self.phase}) == 2
        until(LONG, both)

    def report(self, tally, phase):
        with self.lock:
            rows = [r for r in self.results if r[0] == phase]
        for kind in ("submission", "log-in"):
            took = sorted(r[2] for r in rows if r[1] == kind)
            bad = [r[3:] for r in rows if r[1] == kind and r[3] != 250]
            name = f"Redis {phase}: {kind}s go on"
            if took:
                print(f"        {phase}: {len(took)} {kind}s, p50 {took[len(took) // 2] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms", flush=True)
            tally.check(name, took and not bad and took[-1] < SLOWEST, f"{len(took)}, slowest {took[-1] if took else 0:.1f} s, {bad[:5]}")


def faults(cluster, tally, options):
    """faults: Redis stopped, paused, read-only, flushed, promoted, in mid-traffic"""
    cluster.add_account("box@example.test", "box-secret")
    for i in range(10):
        cluster.add_account(f"sender{i}@example.test", "sender-secret")
    redis = cluster.redis
    nowhere = free_port()
    cases = [  # name, what is done, what /readyz?verbose says then, what ends it
        ("well", lambda: None, "connected", lambda: None),
        ("stopped", redis.kill, "without it", redis.start),
        ("paused", lambda: redis.signal(signal.SIGSTOP), "without it", lambda: redis.signal(signal.SIGCONT)),
        ("a replica of nothing", lambda: redis.cli("REPLICAOF", "127.0.0.1", str(nowhere)), "read-only replica|is a replica",
         lambda: redis.cli("REPLICAOF", "NO", "ONE")),
        ("without enough replicas", lambda: redis.cli("CONFIG", "SET", "min-replicas-to-write", "1"), "too few replicas",
         lambda: redis.cli("CONFIG", "SET", "min-replicas-to-write", "0")),
        ("out of memory", lambda: redis.cli("CONFIG", "SET", "maxmemory", "1"), "out of memory",
         lambda: redis.cli("CONFIG", "SET", "maxmemory", "0")),
        ("flushed", lambda: redis.cli("FLUSHALL"), "connected", lambda: redis.cli("SCRIPT", "FLUSH")),
    ]
    traffic = Traffic(cluster)
    try:
        for name, begin, says, end in cases:
            traffic.phase = name
            begin()
            ok, line = cluster.wait_redis(says)
            tally.check(f"Redis {name}: /readyz?verbose names it", ok, line)
            traffic.go_on(options.phase)
            traffic.phase = ""
            end()
            ok, line = cluster.wait_redis("connected")
            tally.check(f"Redis {name}: used again after it", ok, line)
            traffic.report(tally, name)
        sentinel(cluster, tally, options, traffic)
    finally:
        traffic.end()
    there = subjects(cluster, "box@example.test", "box-secret")
    tally.check("each message that was accepted is there, once", sorted(there) == sorted(traffic.sent),
                f"{len(traffic.sent)} accepted, {len(there)} there")


def sentinel(cluster, tally, options, traffic):
    replica = Redis(cluster.dir, "--replicaof", "127.0.0.1", str(cluster.redis.port))
    watcher = Redis(cluster.dir, sentinel_of=cluster.redis)
    try:
        until(LONG, lambda: watcher.cli("SENTINEL", "replicas", "m"))
        cluster.use_redis(f'sentinels: ["{watcher.address}"], sentinel_master: m')
        ok, line = cluster.wait_redis("connected")
        tally.check("Redis: found by its Sentinel", ok, line)
        traffic.phase = "promoted by Sentinel"
        cluster.redis.kill()
        until(LONG, lambda: replica.cli("ROLE").startswith("master"))
        ok, line = cluster.wait_redis("connected")
        tally.check("Redis: the promoted replica is used", ok and replica.cli("ROLE").startswith("master"), line)
        traffic.go_on(options.phase)
        phase, traffic.phase = traffic.phase, ""
        traffic.report(tally, phase)
    finally:
        cluster.redis.start()
        cluster.use_redis(f'servers: ["{cluster.redis.address}"]')
        watcher.kill()
        replica.kill()


# ---- Wrong settings ----

def settings(cluster, tally, options):
    """settings: what is wrong with Redis' settings is said in one line"""
    password = f"{cluster.dir}/conf/redis-password"
    with open(password, "w") as f:
        f.write("right-password-1\n")
    made = f"{cluster.dir}/redis-tls"
    os.mkdir(made, 0o700)
    with open(f"{made}/extensions", "w") as f:
        f.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:true\n")
    for name, days in (("expired", "-1"), ("good", "2")):
        for command in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                         f"{made}/{name}.key", "-out", f"{made}/{name}.csr", "-subj", "/CN=redis"],
                        ["x509", "-req", "-in", f"{made}/{name}.csr", "-signkey", f"{made}/{name}.key", "-days", days,
                         "-extfile", f"{made}/extensions", "-out", f"{made}/{name}.pem"]):
            subprocess.run(["openssl", *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tls = lambda name: ["--port", "0", "--tls-cert-file", f"{made}/{name}.pem", "--tls-key-file", f"{made}/{name}.key",  # noqa: E731
                        "--tls-ca-cert-file", f"{made}/{name}.pem", "--tls-auth-clients", "no"]
    cases = [  # name, the server's options, our settings, what is said
        ("a wrong password", ["--requirepass", "another"], f"password_file: {password}", "WRONGPASS.*redis.password_file"),
        ("no password", ["--requirepass", "another"], "", "NOAUTH.*redis.password_file"),
        ("a user with too few rights", ["--user", "quota", "on", ">right-password-1", "~chasqui:*", "+@all", "-evalsha"],
         f"user: quota, password_file: {password}", "NOPERM.*ACL of redis.user"),
        ("an expired certificate", tls("expired"), f"tls: {{enabled: true, ca: {made}/expired.pem}}", "certificate has expired"),
        ("a certificate of another CA", tls("good"), f"tls: {{enabled: true, ca: {made}/expired.pem}}", "certificate"),
        ("TLS on one side only", [], f"tls: {{enabled: true, ca: {made}/good.pem}}", "TLS"),
    ]
    cluster.add_account("calm@example.test", "calm-secret")
    for name, options_, ours, says in cases:
        tls_only = "--tls-cert-file" in options_
        server = Redis.__new__(Redis)
        server.port = free_port()
        server.folder = f"{cluster.dir}/redis-{server.port}"
        os.mkdir(server.folder, 0o700)
        port = ["--tls-port", str(server.port)] if tls_only else ["--port", str(server.port)]
        with open(f"{server.folder}/log", "a") as log:
            server.process = subprocess.Popen(["redis-server", *[o for o in options_], *port, "--bind", "127.0.0.1", "--dir", server.folder, "--save", ""],
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            cluster.use_redis(f'servers: ["{server.address}"]' + (", " + ours if ours else ""))
            ok, line = cluster.wait_redis(says)
            tally.check(f"{name}: /readyz?verbose says what to do", ok and "right-password-1" not in line, line)
            code, text = submit(cluster, cluster.port("submissions", 0), "calm@example.test", "calm-secret", "calm@example.test", name)
            tally.check(f"{name}: mail goes on", code == 250, f"{code} {text}")
        finally:
            server.kill()
    shutil.rmtree(made)


STORIES = {"race": race, "faults": faults, "settings": settings}


def main():
    parser = argparse.ArgumentParser(prog="tests/limits/run", description=__doc__)
    parser.add_argument("build_dir")
    parser.add_argument("--only", action="append", choices=sorted(STORIES), help="run this story (may be repeated)")
    parser.add_argument("--seconds", type=float, default=600, help="at most this long for the race")
    parser.add_argument("--phase", type=float, default=2, help="seconds of each fault, beside what it takes to be seen")
    parser.add_argument("--keep", action="store_true", help="keep the cluster's folder")
    options = parser.parse_args()
    return run_stories(LimitsCluster(options.build_dir), STORIES, options)


sys.exit(main())
