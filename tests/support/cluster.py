"""A cluster for tests: started by deploy/quickstart in a folder and a port block of its own, its
processes killed, paused and started again by name. Everything is ended by pid at the end."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import traceback
import urllib.request

from waiting import LONG, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def has_gone(pid):
    """Every thread of it: while one still ends, the process holds its locks, although its first thread is a zombie."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                    return False
        return True
    except (FileNotFoundError, ProcessLookupError):
        return not os.path.exists(f"/proc/{pid}")


class Cluster:
    def __init__(self, build_dir):
        self.build_dir = os.path.abspath(build_dir)
        self.dir = tempfile.mkdtemp(prefix="chasqui-test.")
        self.quickstart("--base-port", "auto", timeout=5 * LONG)
        self.refresh()
        self.secrets = [account["password"] for account in self.status["accounts"]]

    def quickstart(self, *args, timeout=2 * LONG, environment=None):
        command = [os.path.join(TOP, "deploy/quickstart"), "--dir", self.dir, "--build-dir", self.build_dir, *args]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=timeout, env={**os.environ, **(environment or {})})
        if done.returncode != 0:
            self.show_logs()
            raise RuntimeError(f"{' '.join(args)}: {done.stderr[-2000:]}")
        return done.stdout

    def refresh(self):
        self.status = json.loads(self.quickstart("--status", "--json"))
        self.processes = {p["name"]: p for p in self.status["processes"]}

    def names(self, role):
        return sorted(n for n, p in self.processes.items() if p["role"] == role)

    def signal(self, name, number):
        pid = int(open(os.path.join(self.dir, "run", name + ".pid")).read())
        os.kill(pid, number)
        return pid

    def kill(self, name):
        """kill -9, and wait until the process is gone."""
        pid = self.signal(name, signal.SIGKILL)
        wait_for(f"{name} has gone", lambda: has_gone(pid), pause=0.01)

    def start(self, name, environment=None):
        self.quickstart("--start", name, environment=environment)

    def settings_of(self, name):
        return os.path.join(self.dir, "conf", name + ".yaml")

    def change_settings(self, change, environment=lambda name: {}):
        """change(name, text of its settings) gives the new text. Restarts all processes, in environment(name)."""
        self.quickstart("--stop")
        for name in self.processes:
            with open(self.settings_of(name)) as f:
                text = change(name, f.read())
            with open(self.settings_of(name), "w") as f:
                f.write(text)
        for name in self.processes:
            self.start(name, environment(name))

    def restart(self, name, settings):
        """Ends a process as an operator does and starts it with this text of its settings; returns when it is ready."""
        pid = self.signal(name, signal.SIGTERM)
        wait_for(f"{name} has gone", lambda: has_gone(pid), pause=0.02)
        with open(self.settings_of(name), "w") as f:
            f.write(settings)
        self.start(name)
        self.wait_ready([name])

    def ready(self, name):
        try:
            with urllib.request.urlopen(f"http://{self.processes[name]['admin']}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait_ready(self, names=None):
        """Of these processes, or of all, /readyz says yes."""
        wait_for("ready", lambda: all(self.ready(n) for n in names or self.processes))

    def metric(self, name, metric, label=""):
        """The sum of a process's series of this metric whose labels contain `label`."""
        with urllib.request.urlopen(f"http://{self.processes[name]['admin']}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if re.match(re.escape(metric) + r"[ {]", line) and label in line)

    def port(self, protocol, front_end):
        """The port of `protocol` at front-end 0 or 1."""
        return self.status["endpoints"][protocol][front_end]["port"]

    def tls(self):
        return ssl.create_default_context(cafile=self.status["ca"])

    def ctl(self, *args, stdin=None, timeout=LONG):
        command = [os.path.join(self.status["bin"], "chasquictl"), "--config", self.status["ctl_config"], *args]
        done = subprocess.run(command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"chasquictl {' '.join(args)}: {done.stderr[-1000:]}")
        return done.stdout

    def ctl_json(self, *args, stdin=None):
        return json.loads(self.ctl("-o", "json", *args, stdin=stdin))

    def add_account(self, address, password):
        self.secrets.append(password)
        self.ctl("account", "add", address, "--password-stdin", stdin=password + "\n")

    def show_logs(self, lines=30):
        for path in sorted(os.listdir(os.path.join(self.dir, "logs"))) if os.path.isdir(self.dir + "/logs") else []:
            print(f"-- {path}")
            with open(os.path.join(self.dir, "logs", path), errors="replace") as f:
                print("".join(f.readlines()[-lines:]))

    def complaints(self):
        """What processes wrote that is no line of their log: assertions, sanitizers, the loader."""
        lines = []
        for name in self.processes:
            with open(os.path.join(self.dir, "logs", name + ".log"), errors="replace") as f:
                lines += [f"{name}: {line.rstrip()}" for line in f
                          if not line.startswith("{") and "makecontext/swapcontext" not in line]
        return lines

    def stop(self, keep=False):
        try:
            self.quickstart("--stop")
        finally:
            if keep:
                print(f"kept: {self.dir}")
            else:
                shutil.rmtree(self.dir, ignore_errors=True)


class Tally:
    """Counts checks and prints the closing line."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
            print(f"ok      {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {name}: {detail}", flush=True)
        return ok

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.failed == 0 else 1


def run_stories(cluster, stories, options):
    """Runs story(cluster, tally, options) of each name, or of options.only alone; then no process may have complained. Ends
    the cluster and gives the exit status. options has only and keep."""
    tally = Tally()
    try:
        for name, story in stories.items():
            if options.only and name not in options.only:
                continue
            print(f"-- {story.__doc__.strip().splitlines()[0]}", flush=True)
            began = time.monotonic()
            try:
                story(cluster, tally, options)
            except Exception as e:
                tally.check(name, False, repr(e))
                traceback.print_exc()
                cluster.show_logs()
            print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)
        cluster.quickstart("--stop")
        complaints = cluster.complaints()
        tally.check("no process complained: no failed assertion, no report of a sanitizer", not complaints,
                    "\n".join(complaints[:40]))
    finally:
        cluster.stop(keep=options.keep)
    return tally.close()
