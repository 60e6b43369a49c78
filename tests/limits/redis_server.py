"""Real Redis servers and a Sentinel for stories: private ports, one folder, ended by pid."""

import os
import signal
import subprocess

from ports import free_port
from waiting import wait_for


class Redis:
    def __init__(self, folder, *options, sentinel_of=None):
        self.port, self.options, self.process = free_port(), list(options), None
        self.folder = os.path.join(folder, f"redis-{self.port}")
        os.mkdir(self.folder, 0o700)
        if sentinel_of:
            with open(f"{self.folder}/sentinel.conf", "w") as f:
                f.write(f"sentinel monitor m 127.0.0.1 {sentinel_of.port} 1\nsentinel down-after-milliseconds m 500\n"
                        "sentinel failover-timeout m 2000\n")
            self.options = [f"{self.folder}/sentinel.conf", "--sentinel"]
        else:
            self.options += ["--save", ""]
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        first = [o for o in self.options[:1] if o.endswith(".conf")]
        with open(f"{self.folder}/log", "a") as log:
            self.process = subprocess.Popen(["redis-server", *first, "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                                             self.folder, *self.options[len(first):]], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("redis-server answers", lambda: self.cli("PING") == "PONG", pause=0.05)

    def cli(self, *command):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, timeout=60)
        return done.stdout.strip()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
