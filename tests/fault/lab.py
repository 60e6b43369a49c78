"""The laboratory: places, each with a network namespace of its own on a bridge, disks (ext4 on an image that can lose
its power), and processes. The runner is the first process of its own network, mount and pid namespaces (see run): when
it ends, the kernel ends and removes all of this."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time

NETWORK = "10.9.0."
HOST = NETWORK + "1"
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
NO_LOG_FLUSH = 2
DISK_BYTES = 768 << 20


def tool(*command, check=True, feed=None):
    done = subprocess.run(command, input=feed, stdin=None if feed is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


class Place:
    """A network namespace with one link. Its rules are lost packets: none of a process's sockets is told."""

    def __init__(self, name, number):
        self.name, self.address = name, NETWORK + str(number + 2)
        self.link = f"to-{name}"
        self.helper = None
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        own = os.readlink("/proc/self/ns/net")
        for _ in range(1000):
            if os.readlink(f"/proc/{self.holder.pid}/ns/net") != own:
                break
            time.sleep(0.005)
        tool("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        tool("ip", "link", "set", self.link, "master", "lab", "up")
        self.run("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "link", "set", "lo", "up")

    def enter(self):
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--"]

    def run(self, *command, **how):
        return tool(*self.enter(), *command, **how)

    def trouble(self, program, loss=0, delay=0, jitter=0, reorder=0, seed=1, ramp=0, to=None):
        """Packets to other places (or to one address) are lost (percent), delayed (ms; growing to that in `ramp` ms),
        reordered (percent): link_trouble.c."""
        self.calm()
        self.queued = ("-d", to) if to else ("!", "-d", HOST)
        self.helper = subprocess.Popen([*self.enter(), program, "1", *map(str, (loss, delay, jitter, reorder, seed, ramp))],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.helper.stdout.readline() != "ready\n":
            raise RuntimeError("link_trouble does not start")
        self.run("iptables", "-w", *self.queue_rule("-A"))

    def queue_rule(self, verb):
        return [verb, "OUTPUT", "-o", "eth0", "-p", "tcp", *self.queued, "-j", "NFQUEUE", "--queue-num", "1",
                "--queue-bypass"]

    def calm(self):
        if self.helper:
            self.run("iptables", "-w", *self.queue_rule("-D"))
            time.sleep(0.05)  # what it holds may still go
            self.helper.terminate()
            self.helper.wait()
            self.helper = None

    def rules(self, incoming=(), outgoing=()):
        """Replaces all rules. The admin port stays open: the runner looks through it, no part of the cluster does."""
        chains = [f"chain {hook} {{ type filter hook {hook} priority 0; {loop} lo accept; tcp {port} 9100 accept;\n"
                  + "".join(line + ";\n" for line in lines) + "}\n"
                  for hook, loop, port, lines in (("input", "iif", "dport", incoming), ("output", "oif", "sport", outgoing))]
        self.run("nft", "-f", "-", feed="add table inet fault\ndelete table inet fault\n" +
                 ("table inet fault {\n" + "".join(chains) + "}\n" if incoming or outgoing else ""))


class Disk:
    """An ext4 file system on an image."""

    def __init__(self, folder, name):
        self.image = os.path.join(folder, name + ".img")
        self.mount_point = os.path.join(folder, name)
        os.makedirs(self.mount_point)
        with open(self.image, "wb") as f:
            f.truncate(DISK_BYTES)
        tool("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", self.image)
        self.mount()

    def mount(self):
        tool("mount", "-o", "loop", self.image, self.mount_point)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        tool("umount", self.mount_point)

    def lose_power(self):
        """From now on nothing is written any more; what was not synced will be gone. Then remount()."""
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def remount(self):
        self.unmount()
        self.mount()

    def fill(self, leave):
        """Takes all room but `leave` bytes."""
        room = os.statvfs(self.mount_point)
        size = room.f_bavail * room.f_frsize - leave
        if size > 0:
            tool("fallocate", "-l", str(size), self.filler())

    def filler(self):
        return os.path.join(self.mount_point, "filler")

    def empty(self):
        if os.path.exists(self.filler()):
            os.unlink(self.filler())

    def remove(self):
        self.unmount()
        os.unlink(self.image)
        shutil.rmtree(self.mount_point, ignore_errors=True)


class Cage:
    """A memory cgroup (version 1 or 2): when what runs in it needs more than its limit, the kernel's OOM killer ends it."""

    PREFIX = "chasqui-fault-"

    def __init__(self, name, limit):
        old = "/sys/fs/cgroup/memory"
        root, setting = (old, "memory.limit_in_bytes") if os.path.isdir(old) else ("/sys/fs/cgroup", "memory.max")
        for left in os.listdir(root):  # of runs that were killed themselves; one that is in use cannot be removed
            if left.startswith(self.PREFIX):
                self.try_rmdir(os.path.join(root, left))
        self.path = os.path.join(root, f"{self.PREFIX}{os.urandom(4).hex()}-{name}")
        os.mkdir(self.path)
        with open(os.path.join(self.path, setting), "w") as f:
            f.write(str(limit))

    def enter(self):
        """In a new process, before it becomes the program."""
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write("0")

    @staticmethod
    def try_rmdir(path):
        try:
            os.rmdir(path)
            return True
        except OSError:
            return False

    def remove(self):
        """When nothing runs in it any more."""
        for _ in range(100):
            if self.try_rmdir(self.path):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.path} cannot be removed")


class Process:
    """A program in a place. Started again with other words or another environment when a fault wants it."""

    def __init__(self, name, place, command, log):
        self.name, self.place, self.command, self.log = name, place, command, log
        self.child = None
        self.starts = 0

    def start(self, environment=None, command=None, cage=None):
        self.starts += 1
        with open(self.log, "a") as log:
            inside = self.place.enter() if self.place else []
            self.child = subprocess.Popen([*inside, *(command or self.command)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, env={**os.environ, **(environment or {})},
                                          preexec_fn=cage.enter if cage else None)

    def signal(self, number):
        self.child.send_signal(number)

    def anonymous_bytes(self):
        """Its memory that is no file's: what an OOM killer goes by, more or less."""
        with open(f"/proc/{self.child.pid}/status") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:"))

    def data_bytes(self):
        """What RLIMIT_DATA counts."""
        with open(f"/proc/{self.child.pid}/status") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmData:"))

    def running(self):
        return self.child is not None and self.child.poll() is None

    @staticmethod
    def state(path):
        with open(path) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    def freeze(self):
        """SIGSTOP; returns when no thread of it can run any code of its own."""
        self.signal(signal.SIGSTOP)
        folder = f"/proc/{self.child.pid}/task"
        for _ in range(2000):
            try:
                states = {self.state(f"{folder}/{thread}/stat") for thread in os.listdir(folder)}
            except (FileNotFoundError, ProcessLookupError):  # a thread has ended
                continue
            if not states & {"R", "S"}:
                return
            time.sleep(0.001)

    def kill(self):
        """kill -9; returns when all its threads have gone."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def stop(self, seconds=20):
        """SIGTERM; the exit status."""
        if self.running():
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode if self.child else None


class Lab:
    def __init__(self, folder):
        self.folder = folder
        self.places = {}
        tool("mount", "--make-rprivate", "/")
        tool("ip", "link", "set", "lo", "up")
        tool("ip", "link", "add", "lab", "type", "bridge")
        tool("ip", "addr", "add", HOST + "/24", "dev", "lab")
        tool("ip", "link", "set", "lab", "up")

    def place(self, name):
        if name not in self.places:
            self.places[name] = Place(name, len(self.places))
        return self.places[name]

