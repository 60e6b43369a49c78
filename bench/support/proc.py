"""What processes use, from /proc: processor time, memory, and the kernel's memory for sockets."""

import os

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid):
    with open(f"/proc/{pid}/stat") as f:
        head, rest = f.read().rsplit(")", 1)
    fields = rest.split()
    return head.split("(", 1)[1], int(fields[1]), [int(v) / TICK for v in fields[11:15]]


def _all():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = _stat(name)
            except OSError:
                pass
    return found


def tree(roots):
    """pid -> (command, times) of the roots and all below them."""
    every, members = _all(), {p for p in roots}
    grew = True
    while grew:
        more = {p for p, (_, parent, _) in every.items() if parent in members and p not in members}
        members |= more
        grew = bool(more)
    return {p: every[p] for p in members if p in every}


def cpu(roots, names=None):
    """Seconds of processor time by name: a process's own, and under its command those of its children that ended.
    names: pid -> a better name than the command."""
    seconds = {}
    for pid, (command, _, (user, system, child_user, child_system)) in tree(roots).items():
        name = (names or {}).get(pid, command)
        seconds[name] = seconds.get(name, 0) + user + system
        if child_user + child_system:
            seconds[name + " (ended)"] = seconds.get(name + " (ended)", 0) + child_user + child_system
    return seconds


def pss(roots, names=None):
    """Octets by name: proportional set size, so that what processes share is counted once."""
    octets = {}
    for pid, (command, _, _) in tree(roots).items():
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                kib = next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
        name = (names or {}).get(pid, command)
        octets[name] = octets.get(name, 0) + kib * 1024
    return octets


def socket_memory():
    """Octets that the kernel holds in TCP buffers, on the whole machine."""
    with open("/proc/net/sockstat") as f:
        for line in f:
            if line.startswith("TCP:"):
                return int(line.split()[-1]) * PAGE
    return 0


def kernel_slab():
    """Octets of the kernel's own objects (sockets, files, epoll entries), on the whole machine."""
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Slab:"))


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) // 1048576
    return f"{os.cpu_count()} cores of {model}, {memory} GiB, Linux {os.uname().release}"


def load():
    return os.getloadavg()[0]
