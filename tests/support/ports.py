"""Ports for servers of a test. Not those that the kernel gives to outgoing connections: of a server that is killed and
started again one could have been taken meanwhile, even by a client of its own that connects to it in vain."""

import random
import socket

LOW, HIGH = 3000, 9999  # where deploy/quickstart looks for its own only when it is told to


def taken_by_kernel():
    """The first and the last port of outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first, last = map(int, f.read().split())
    return first, last


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(count):
    """Different ones at 127.0.0.1."""
    first, last = taken_by_kernel()
    candidates = [p for p in (*range(LOW, HIGH + 1), *range(61000, 65536)) if not first <= p <= last]
    random.SystemRandom().shuffle(candidates)
    free = []
    for port in candidates:
        if is_free(port):
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError(f"there are no {count} free ports")


def free_port():
    return free_ports(1)[0]


if __name__ == "__main__":
    print(free_port())
