"""Runs deploy/compose.yaml without a container runtime: every service in a mount and a network namespace of its own, with
its volumes, user, rights, read-only root and name. Needs root.

What stands in for the images: an overlay over this machine's own files (Debian 12, as in deploy/Dockerfile) into which
the Dockerfile's second part is copied; and for PostgreSQL, Redis and Kafka the programs of this machine, called the way
their images call them. What that does not show: the images' own scripts, and docker build.

As a program it is the inside of one container: containers.py FILE, with what to do as JSON."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETWORK = "10.89.7."
# Official images: whom they run as, and what of their own starting a command of theirs relies on.
PEOPLE = {"postgres": "postgres", "redis": "redis", "apache/kafka": "nobody"}
POSTGRES_ENTRYPOINT = """#!/bin/bash
set -e
bin=/usr/lib/postgresql/15/bin
data=/var/lib/postgresql/data
chown postgres $data && chmod 700 $data && mkdir -p /var/run/postgresql && chown postgres /var/run/postgresql
as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
if [ ! -s $data/PG_VERSION ]; then
    # shellcheck disable=SC2086
    as $bin/initdb -D $data -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS >/dev/null
    echo "host all all all scram-sha-256" >>$data/pg_hba.conf
    as $bin/pg_ctl -D $data -w -o "-c listen_addresses= -c unix_socket_directories=/tmp" start >/dev/null
    as $bin/createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
    as $bin/pg_ctl -D $data -w stop >/dev/null
fi
shift
exec setpriv --reuid postgres --regid postgres --init-groups $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
"""


def sh(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-1500:]}")
    return done.stdout


def expand(text):
    """${NAME:-default}: the defaults."""
    if isinstance(text, dict):
        return {k: expand(v) for k, v in text.items()}
    if isinstance(text, list):
        return [expand(v) for v in text]
    while isinstance(text, str) and "${" in text:
        before, rest = text.split("${", 1)
        name, after = rest.split("}", 1)
        text = before + name.partition(":-")[2] + after
    return text


def load():
    with open(f"{TOP}/deploy/compose.yaml") as f:
        return expand(yaml.safe_load(f))


class Containers:
    """Whoever uses it is in a mount, network and process namespace of its own (tests/compose/run)."""

    def __init__(self, folder, programs, kafka_jars):
        self.folder, self.compose, self.running = folder, load(), {}
        self.services = self.compose["services"]
        self.kafka_jars = kafka_jars
        self.address = {name: NETWORK + str(10 + i) for i, name in enumerate(self.services)}
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "name", "br0", "type", "bridge")
        sh("ip", "addr", "add", NETWORK + "1/24", "dev", "br0")
        sh("ip", "link", "set", "br0", "up")
        self.make_image(programs)

    def path(self, *parts):
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def make_image(self, programs):
        """The second part of deploy/Dockerfile, as files over this machine's."""
        image = self.path("image")
        sh("mkdir", "-p", f"{image}/usr/bin", f"{image}/usr/share/chasqui", f"{image}/usr/local/bin")
        for name in os.listdir(programs):
            if name.startswith("chasqui") and not name.startswith("chasqui-load"):
                shutil.copy(f"{programs}/{name}", f"{image}/usr/bin/{name}")
        with open(f"{TOP}/deploy/Dockerfile") as f:
            for line in f.read().split("FROM")[-1].splitlines():
                words = line.split()
                if words[:1] == ["COPY"] and not words[1].startswith("--from"):
                    os.makedirs(os.path.dirname(image + words[2]), exist_ok=True)
                    sh("cp", "-r", f"{TOP}/{words[1]}", image + words[2])
        for folder, mode in (("/etc/chasqui", 0o700), ("/var/lib/chasqui", 0o700), ("/var/spool/chasqui", 0o700), ("/etc/chasqui-services", 0o755)):
            os.makedirs(image + folder)
            os.chmod(image + folder, mode)
            os.chown(image + folder, 10001, 10001)
        with open(f"{image}/usr/local/bin/docker-entrypoint.sh", "w") as f:
            f.write(POSTGRES_ENTRYPOINT)
        os.chmod(f"{image}/usr/local/bin/docker-entrypoint.sh", 0o755)
        for folder in ("/data", "/var/lib/kafka/data", "/mnt/shared/config", "/kafka-jars"):
            os.makedirs(image + folder)

    def volume(self, name, target, owner):
        """A named volume: at first as the image has that folder."""
        path = self.path("volumes", name)
        if not os.path.isdir(path):
            os.mkdir(path)
            inside = self.path("image") + target
            if os.path.isdir(inside):
                found = os.stat(inside)
                os.chmod(path, found.st_mode & 0o7777)
                os.chown(path, found.st_uid, found.st_gid)
            if owner:
                shutil.chown(path, owner)
        return path

    def start(self, name, arguments=None, stdin=""):
        service = self.services[name]
        image, _, _ = service["image"].rpartition(":")
        command = (service.get("entrypoint") or []) + (arguments if arguments is not None else service.get("command") or [])
        environment = {k: str(v) for k, v in (service.get("environment") or {}).items()}
        if image == "apache/kafka":
            command = ["bash", "-c", "set -e; cp -R /mnt/shared/config/. /tmp/; java=\"java -Xmx256m -cp /kafka-jars/*\"; set -f; "
                       "$java kafka.tools.StorageTool format --ignore-formatted -t AAAAAAAAAAAAAAAAAAAAAQ -c /tmp/server.properties; "
                       "exec $java kafka.Kafka /tmp/server.properties"]
        binds = []
        for volume in service.get("volumes", []):
            source, target, *flags = volume.split(":")
            binds.append((self.volume(source, target, PEOPLE.get(image)), target, "ro" in flags))
        if image == "apache/kafka":
            binds.append((self.kafka_jars, "/kafka-jars", True))
        what = {
            "name": name, "root": self.path("roots", name, "root"), "image": self.path("image"), "command": command,
            "binds": binds, "tmpfs": service.get("tmpfs", []) + (["/tmp"] if image == "apache/kafka" else []),
            "read_only": service.get("read_only", False), "user": service.get("user") or PEOPLE.get(image, "root"),
            "drop": service.get("cap_drop") == ["ALL"], "locked": "no-new-privileges:true" in service.get("security_opt", []),
            "as_root": image == "postgres", "environment": environment,
            "hosts": "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in self.address.items()),
        }
        path = self.path("what", name + ".json")
        with open(path, "w") as f:
            json.dump(what, f)
        log = open(self.path("logs", name + ".log"), "a")
        process = subprocess.Popen(["unshare", "--mount", "--net", "--uts", "--ipc", sys.executable, "-B", os.path.abspath(__file__), path],
                                   stdin=subprocess.PIPE, stdout=log, stderr=log)
        log.close()
        if service.get("network_mode") != "none":
            self.join_network(name, process.pid)
        process.stdin.write(("\n" + stdin).encode())
        process.stdin.close()
        self.running[name] = process
        return process

    def publish(self):
        """Published ports, at 127.0.0.1 of our own network."""
        for name, service in self.services.items():
            for port in service.get("ports", []):
                host, ours, theirs = port.split(":")
                listener = socket.create_server((host, int(ours)))
                threading.Thread(target=self.forward, args=(listener, (self.address[name], int(theirs))), daemon=True).start()

    @staticmethod
    def forward(listener, where):
        def copy(source, target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                target.close()
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(where, 60)
            except OSError:
                client.close()
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    def join_network(self, name, pid):
        number = self.address[name].rsplit(".", 1)[1]
        own = os.readlink("/proc/self/ns/net")
        end = time.monotonic() + 20
        while os.readlink(f"/proc/{pid}/ns/net") == own:
            if time.monotonic() > end:
                raise RuntimeError(f"{name} got no network namespace")
            time.sleep(0.01)
        for old in (f"v{number}", f"w{number}"):
            subprocess.run(["ip", "link", "del", old], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        sh("ip", "link", "add", "name", f"v{number}", "type", "veth", "peer", "name", f"w{number}")
        sh("ip", "link", "set", f"v{number}", "master", "br0", "up")
        sh("ip", "link", "set", f"w{number}", "netns", str(pid))
        inside = ["nsenter", "--net", "-t", str(pid)]
        sh(*inside, "ip", "link", "set", "lo", "up")
        sh(*inside, "ip", "addr", "add", self.address[name] + "/24", "dev", f"w{number}")
        sh(*inside, "ip", "link", "set", f"w{number}", "up")

    def run(self, name, arguments=None, stdin="", timeout=300):
        """A container that ends; its output. Raises unless it ended well."""
        process = self.start(name, arguments, stdin)
        code = process.wait(timeout)
        del self.running[name]
        if code != 0:
            raise RuntimeError(f"{name} ended with {code}: {self.log(name)[-2000:]}")
        return self.log(name)

    def log(self, name):
        with open(self.path("logs", name + ".log"), errors="replace") as f:
            return f.read()

    def up(self):
        """In the order of depends_on, as `up` does. The tools' profile is left out."""
        waiting = [n for n, s in self.services.items() if not s.get("profiles")]
        while waiting:
            for name in list(waiting):
                needs = self.services[name].get("depends_on", {})
                if all(n not in waiting for n in needs):
                    self.start(name)
                    waiting.remove(name)
                    if any(s.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully" for s in self.services.values()):
                        if self.running[name].wait(300) != 0:
                            raise RuntimeError(f"{name}: {self.log(name)[-2000:]}")

    def healthy(self, name):
        test = self.services[name]["healthcheck"]["test"]
        assert test[0] == "CMD"
        done = subprocess.run(["nsenter", "--net", "-t", str(self.running[name].pid), *test[1:]], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def stop(self):
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 30
        for process in self.running.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# ---- Inside ----

def enter(what):
    root = what["root"]
    for folder in (root, root + "-up", root + "-work"):
        os.makedirs(folder, exist_ok=True)
    sh("mount", "--make-rprivate", "/")
    sh("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={what['image']}:/,upperdir={root}-up,workdir={root}-work", root)
    with open(root + "/etc/hosts", "w") as f:
        f.write(what["hosts"])
    for source, target, read_only in what["binds"]:
        os.makedirs(root + target, exist_ok=True)
        sh("mount", "--bind", source, root + target)
        if read_only:
            sh("mount", "-o", "remount,bind,ro", root + target)
    for target in what["tmpfs"]:
        os.makedirs(root + target, exist_ok=True)
        sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root + target)
    sh("mount", "--rbind", "/dev", root + "/dev")
    sh("mount", "--rbind", "/proc", root + "/proc")
    if what["read_only"]:
        sh("mount", "-o", "remount,ro", root)
    sh("hostname", what["name"])


def inside(path):
    os.read(0, 1)  # the network is there
    with open(path) as f:
        what = json.load(f)
    enter(what)
    os.chroot(what["root"])
    os.chdir("/")
    command = what["command"]
    if not what["as_root"]:
        user, _, group = what["user"].partition(":")
        rights = ["--reuid", user, "--regid", group, "--clear-groups"] if group else ["--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--clear-groups"]
        rights += ["--no-new-privs"] if what["locked"] else []
        rights += ["--bounding-set=-all", "--inh-caps=-all"] if what["drop"] else []
        command = ["setpriv", *rights, *command]
    os.execvpe(command[0], command, {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin", **what["environment"]})


if __name__ == "__main__":
    inside(sys.argv[1])
