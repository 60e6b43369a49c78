"""Front-end 2 of a cluster with its accounts in a PostgreSQL server of its own; front-end 1 keeps the embedded directory.
So both are measured in turn, in the same minutes, on the same storage nodes."""

import os
import re
import subprocess
import tempfile
import urllib.request

from . import load

FRONT_END = "frontend-2"


def buckets(cluster, name):
    """Calls to the directory that a front-end made, by the upper bound of their time in seconds; each has those below in it."""
    with urllib.request.urlopen(f"http://{cluster.processes[name]['admin']}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(r'(?m)^chasqui_directory_call_duration_seconds_bucket\{le="([^"]+)"\} (\d+)', text)
    return {float(bound): int(count) for bound, count in found}


class PostgresFrontEnd:
    def __init__(self, cluster):
        self.cluster = cluster
        with open(cluster.settings_of(FRONT_END)) as f:
            self.before = f.read()
        self.dir = tempfile.mkdtemp(prefix="chasqui-pg-")
        self._postgres("new")
        self._write_ctl_config()
        self.use("")
        self.ctl("db", "migrate")

    def _postgres(self, verb):
        done = subprocess.run([os.path.join(load.TOP, "tests/support/postgres"), verb, self.dir], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise load.LoadError(f"postgres {verb}: {done.stderr}")

    def _write_ctl_config(self):
        """chasquictl that asks this front-end alone."""
        with open(self.cluster.status["ctl_config"]) as f:
            text = f.read()
        mine = re.search(r'(?m)^admin_rpc: \{listen: ("[^"]+")\}', self.before).group(1)
        self.ctl_config = os.path.join(self.cluster.dir, "conf/chasquictl-postgresql.yaml")
        with open(self.ctl_config, "w") as f:
            f.write(re.sub(r"(?m)^admin: .*$", f"admin: [{mine}]", text))

    def ctl(self, *args, stdin=None):
        command = [os.path.join(self.cluster.status["bin"], "chasquictl"), "--config", self.ctl_config, *args]
        done = subprocess.run(command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        if done.returncode != 0:
            raise load.LoadError(f"chasquictl {' '.join(args)}: {done.stderr[-500:]}")

    def add_accounts(self, addresses, password):
        self.ctl("domain", "add", addresses[0].split("@")[1])
        for address in addresses:
            self.ctl("account", "add", address, "--password-stdin", stdin=password + "\n")

    def use(self, more):
        """more: further settings of `directory`, like "cache: {max: 0}"."""
        dsn = f"host={self.dir}/run user=chasqui dbname=mail"
        settings = f'directory: {{backend: postgresql, postgresql: {{dsn: "{dsn}"}}, known: {{file: ""}}{", " if more else ""}{more}}}'
        self.cluster.restart(FRONT_END, re.sub(r"(?m)^directory: .*$", settings, self.before))

    def remove(self):
        self.cluster.restart(FRONT_END, self.before)
        self._postgres("remove")
