"""Tickets, certificates and PROXY headers at two front-ends: what is shared, and what happens when the files change."""

import collections
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess

from cluster import TOP
from waiting import wait_for
from wire import Wire

SERVICES = ("imap", "pop3", "submission")


# -- tickets

class Resumer:
    """Keeps one TLS session and offers it: the client's half of a ticket."""

    def __init__(self, cluster, version):
        self.cluster = cluster
        self.context = cluster.tls()
        self.context.minimum_version = self.context.maximum_version = version

    def connect(self, front_end, session=None):
        """Is the session taken? And the one to offer next."""
        with Wire(self.cluster.port("imaps", front_end), self.context, session=session) as wire:
            wire.talk(r"<\* OK", "a NOOP", "<a OK")  # a ticket of TLS 1.3 comes behind the handshake
            return wire.socket.session_reused, wire.socket.session


def write_tickets(path, keys):
    with open(path + ".new", "wb") as f:
        f.write(b"".join(keys))
    os.replace(path + ".new", path)


def reloads(cluster, name):
    """service -> how often it has read its files again."""
    with open(os.path.join(cluster.dir, "logs", name + ".log")) as log:
        events = [json.loads(line) for line in log if '"tls.reloaded"' in line]
    return collections.Counter(event["service"] for event in events)


def after_reload(cluster, action):
    """Does it, and waits until both front-ends have read their files again."""
    before = {name: reloads(cluster, name) for name in cluster.names("frontend")}
    action()
    wait_for("both have read them again", lambda: all(reloads(cluster, name)[service] > count[service]
                                                      for name, count in before.items() for service in SERVICES))


def tickets(cluster, tally, options):
    """tickets: a TLS session is resumed at the other front-end, and until its key has been rotated out"""
    path = os.path.join(cluster.dir, "certs/tickets.key")
    keys = [os.urandom(80) for _ in range(6)]

    def rotate(oldest):
        """Three keys from this one on, the newest first."""
        after_reload(cluster, lambda: write_tickets(path, keys[oldest:oldest + 3][::-1]))

    rotate(0)
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        resumer = Resumer(cluster, version)
        fresh, session = resumer.connect(0)
        there, _ = resumer.connect(1, session)
        back, _ = resumer.connect(0, resumer.connect(1)[1])
        tally.check(f"{version.name}: a session is resumed at the other front-end",
                    (fresh, there, back) == (False, True, True), str((fresh, there, back)))
    resumer = Resumer(cluster, ssl.TLSVersion.TLSv1_2)  # where one session is good for many connections
    session = resumer.connect(0)[1]  # under keys[2]
    resumed = []
    for oldest in (1, 2, 3):
        rotate(oldest)
        resumed.append(tuple(resumer.connect(front_end, session)[0] for front_end in range(2)))
    tally.check("it lives until its key is none of the three any more",
                resumed == [(True, True), (True, True), (False, False)], str(resumed))


# -- certificates

def new_certificate(cluster, name):
    """A folder with public.pem and public.key, new ones by the same CA."""
    folder = os.path.join(cluster.dir, name)
    os.makedirs(folder)
    for file in ("public-ca.pem", "public-ca.key"):
        shutil.copy(os.path.join(cluster.dir, "certs", file), folder)
    subprocess.run([os.path.join(TOP, "deploy/make-certs"), "--host", "localhost", folder], check=True,
                   stdout=subprocess.DEVNULL, timeout=60)
    return folder


def serial_of(cluster, front_end, protocol="imaps"):
    with Wire(cluster.port(protocol, front_end), cluster.tls()) as wire:
        return wire.socket.getpeercert()["serialNumber"]


def swap_link(folder, target):
    """As kubelet does it: ..data is replaced by a rename."""
    os.symlink(target, os.path.join(folder, "..new"))
    os.rename(os.path.join(folder, "..new"), os.path.join(folder, "..data"))


def mount_secret(cluster):
    """certs-mounted/public.pem -> ..data/public.pem, ..data -> a folder: a mounted Kubernetes secret."""
    folder = os.path.join(cluster.dir, "certs-mounted")
    os.makedirs(folder)
    swap_link(folder, new_certificate(cluster, "secret-1"))
    for file in ("public.pem", "public.key"):
        os.symlink(f"..data/{file}", os.path.join(folder, file))
    return folder


def certificates(cluster, tally, options):
    """certificates: a replaced file and a moved ..data link count for the next connection, and disturb no other"""
    live = [Wire(cluster.port("imaps", front_end), cluster.tls()) for front_end in range(2)]
    for wire in live:
        wire.talk(r"<\* OK")
    old = [serial_of(cluster, front_end) for front_end in range(2)]
    made = new_certificate(cluster, "replaced")

    def replace():  # front-end 1 has the files themselves, front-end 2 the mounted secret
        for file in ("public.key", "public.pem"):
            os.replace(os.path.join(made, file), os.path.join(cluster.dir, "certs", file))
        swap_link(os.path.join(cluster.dir, "certs-mounted"), new_certificate(cluster, "secret-2"))
    after_reload(cluster, replace)
    new = [{serial_of(cluster, front_end, protocol) for protocol in ("imaps", "pop3s", "submissions")}
           for front_end in range(2)]
    tally.check("a replaced certificate file is used", len(new[0]) == 1 and old[0] not in new[0], f"{old[0]}, {new[0]}")
    tally.check("so is one behind a ..data link that moved", len(new[1]) == 1 and old[1] not in new[1], f"{old[1]}, {new[1]}")
    troubles = []
    for wire in live:
        try:
            wire.talk("b NOOP", "<b OK").close()
        except (AssertionError, OSError) as e:
            troubles.append(str(e))
    tally.check("connections from before go on", not troubles, str(troubles))


# -- PROXY

def proxy_v1(source):
    return f"PROXY TCP4 {source} 127.0.0.1 4711 993\r\n".encode()


def proxy_v2(source):
    addresses = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4711, 993)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(addresses)) + addresses


def seen_address(cluster, port, header):
    """As whom the front-end sees a client that logs in behind this header."""
    with Wire(port, cluster.tls(), first=header) as wire:
        wire.talk(r"<\* OK", "a LOGIN proxied@example.test proxied-secret", "<a OK")
        rows = cluster.ctl_json("session", "list", "proxied@example.test")
        return [row["remote_ip"] for row in rows]


def proxy(cluster, tally, options):
    """proxy: a PROXY header counts from a listed network only"""
    cluster.add_account("proxied@example.test", "proxied-secret")
    for name, header in (("v1", proxy_v1("203.0.113.7")), ("v2", proxy_v2("203.0.113.8"))):
        want = ["203.0.113.7" if name == "v1" else "203.0.113.8"]
        seen = seen_address(cluster, cluster.listed_port, header)
        tally.check(f"PROXY {name} of a listed balancer tells the client's address", seen == want, str(seen))
        for where, port in (("a stranger", cluster.unlisted_port), ("nobody's listener", cluster.port("imaps", 0))):
            try:
                seen = seen_address(cluster, port, header)
            except (ssl.SSLError, OSError, AssertionError) as e:
                seen = type(e).__name__
            tally.check(f"PROXY {name} of {where} is not honoured, and no TLS", isinstance(seen, str), str(seen))
    try:
        seen = seen_address(cluster, cluster.listed_port, b"")
    except (ssl.SSLError, OSError, AssertionError) as e:
        seen = type(e).__name__
    tally.check("a listed balancer must send one", isinstance(seen, str), str(seen))
    seen = seen_address(cluster, cluster.unlisted_port, b"")
    tally.check("a stranger need not", seen == ["127.0.0.1"], str(seen))


STORIES = {"tickets": tickets, "certificates": certificates, "proxy": proxy}
