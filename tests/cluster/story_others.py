"""Paused and deposed leaders, large messages, large mailboxes, stages that nobody takes."""

import hashlib
import re
import signal
import socket
import threading
import time

from imap import Imap, Lost, Refused
from waiting import LONG

LARGE = 50 * 1024 * 1024


def session(cluster, address, password, front_end=0, timeout=120):
    imap = Imap(cluster.port("imaps", front_end), cluster.tls(), timeout=timeout)
    imap.login(address, password)
    return imap


def retry(action, seconds=LONG):
    end = time.monotonic() + seconds
    while True:
        try:
            return action()
        except (Lost, Refused):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def paused_leader(cluster, tally, options):
    """paused-leader: a deposed leader that wakes up answers no old read"""
    cluster.add_account("pause@example.test", "pause-secret")
    names = cluster.names("storage-node")
    stale = []
    for number, name in enumerate(names * 2):
        token = f"pause-{number}"
        cluster.signal(name, signal.SIGSTOP)
        try:
            def append():
                imap = session(cluster, "pause@example.test", "pause-secret", number % 2, timeout=15)
                imap.command('APPEND "INBOX"', literal=f"Subject: {token}\r\n\r\nbody\r\n".encode())
                imap.close()
            retry(append)
        finally:
            cluster.signal(name, signal.SIGCONT)
        # At once, by both front-ends: the process that was paused still believes what it believed.
        for front_end in range(2):
            def read():
                imap = session(cluster, "pause@example.test", "pause-secret", front_end, timeout=15)
                untagged, _ = imap.command('STATUS "INBOX" (MESSAGES)')
                imap.close()
                return int(re.search(rb"MESSAGES (\d+)", untagged[0][0]).group(1))
            count = retry(read)
            if count < number + 1:
                stale.append((name, front_end, count, number + 1))
    tally.check("a paused and deposed leader answers no stale read", not stale, str(stale))


def large_body(token):
    head = f"From: big@example.test\r\nTo: big@example.test\r\nSubject: {token}\r\n\r\n".encode()
    line = b"0123456789" * 7 + b"\r\n"
    body = head + line * ((LARGE - len(head)) // len(line))
    return body + b"z" * (LARGE - len(body) - 2) + b"\r\n"


def find_copies(cluster, address, password, token):
    """UIDs and SHA-256 of the messages with this subject."""
    def read():
        imap = session(cluster, address, password, 1)
        imap.command('SELECT "INBOX"')
        untagged, _ = imap.command(f'UID SEARCH SUBJECT "{token}"')
        uids = [u.decode() for parts in untagged if parts[0].startswith(b"* SEARCH") for u in parts[0].split()[2:]]
        bodies = {}
        for uid in uids:
            got, _ = imap.command(f"UID FETCH {uid} (BODY.PEEK[])")
            bodies[uid] = next(parts[1] for parts in got if len(parts) > 1)
        imap.close()
        return bodies
    return retry(read)


def kill_leader_of(cluster, address):
    """Kills the node that leads the account's shard, and starts it again."""
    leader = cluster.leader_of(address)
    cluster.kill(leader)
    time.sleep(1)
    cluster.start(leader)


def large_message(cluster, tally, options):
    """large-message: 50 MiB by APPEND and SMTP, the leader killed in mid-upload"""
    address, password = "big@example.test", "big-secret"
    cluster.add_account(address, password)
    for how in ("append", "smtp"):
        for kill in (False, True):
            token = f"large-{how}-{'kill' if kill else 'calm'}"
            body = large_body(token)
            saboteur = threading.Thread(target=lambda: (time.sleep(0.3), kill_leader_of(cluster, address)))
            if kill:
                saboteur.start()
            outcome = upload_append(cluster, address, password, body) if how == "append" else upload_smtp(cluster, address, body)
            if kill:
                saboteur.join(LONG)
                cluster.wait_ready()
                time.sleep(options.settle)
            copies = find_copies(cluster, address, password, token)
            whole = all(hashlib.sha256(b).digest() == hashlib.sha256(body).digest() if how == "append" else b.endswith(body)
                        for b in copies.values())
            expected = {"ok": (1,), "refused": (0,), "unknown": (0, 1)}[outcome]
            tally.check(f"50 MiB by {how}{', leader killed in mid-upload' if kill else ''}: stored once and whole, or refused",
                        whole and len(copies) in expected and (kill or outcome == "ok"),
                        f"{outcome}, {len(copies)} copies, whole: {whole}")


def upload_append(cluster, address, password, body):
    try:
        imap = session(cluster, address, password)
        imap.command('APPEND "INBOX"', literal=body)
        imap.close()
        return "ok"
    except Refused as e:
        return "unknown" if e.unavailable or e.unknown else "refused"
    except Lost:
        return "unknown"


def upload_smtp(cluster, address, body):
    try:
        with socket.create_connection(("127.0.0.1", cluster.port("smtp", 0)), timeout=120) as s:
            f = s.makefile("rb")

            def expect(code):
                line = f.readline()
                while line[3:4] == b"-":
                    line = f.readline()
                if not line:
                    raise Lost("end of file")
                if not line.startswith(code):
                    raise Refused(line.decode("utf-8", "replace"))

            expect(b"220")
            for command, code in ((b"EHLO test.example.test", b"250"), (b"MAIL FROM:<x@elsewhere.test>", b"250"),
                                  (f"RCPT TO:<{address}>".encode(), b"250"), (b"DATA", b"354")):
                s.sendall(command + b"\r\n")
                expect(code)
            s.sendall(body + b".\r\n")
            expect(b"250")
            s.sendall(b"QUIT\r\n")
        return "ok"
    except Refused as e:
        # 451 may hide an outcome that the server could not learn.
        return "unknown" if str(e).startswith("4") else "refused"
    except (OSError, Lost):
        return "unknown"


def large_mailbox(cluster, tally, options):
    """large-mailbox: 100,000 messages are selected, searched and expunged"""
    address, password = "many@example.test", "many-secret"
    cluster.add_account(address, password)
    imap = session(cluster, address, password, 0, timeout=300)
    imap.command('CREATE "many"')
    count = options.messages
    # Many small messages fast: pipelined non-synchronising literals, then one COPY doubles them.
    first = min(count, 12500)
    fill(imap, first)
    imap.command('SELECT "many"')
    have = first
    while have < count:
        piece = min(5000, count - have, have)
        imap.command(f'COPY 1:{piece} "many"')
        have += piece
    untagged, _ = imap.command('SELECT "many"')
    exists = next(int(p[0].split()[1]) for p in untagged if p[0].endswith(b"EXISTS"))
    tally.check(f"a mailbox of {count} messages is selected", exists == count, str(exists))
    began = time.monotonic()
    untagged, _ = imap.command("UID SEARCH SUBJECT \"number 77.\"")
    hits = sum(len(p[0].split()) - 2 for p in untagged if p[0].startswith(b"* SEARCH"))
    untagged, _ = imap.command("SEARCH UNDELETED SMALLER 100000")
    all_hits = sum(len(p[0].split()) - 2 for p in untagged if p[0].startswith(b"* SEARCH"))
    print(f"  two searches: {time.monotonic() - began:.1f} s")
    tally.check("it is searched", hits >= 1 and all_hits == count, f"{hits}, {all_hits}")
    began = time.monotonic()
    imap.command("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    untagged, _ = imap.command("EXPUNGE")
    gone = sum(1 for p in untagged if p[0].endswith(b"EXPUNGE"))
    untagged, _ = imap.command('STATUS "many" (MESSAGES)')
    print(f"  store and expunge of all: {time.monotonic() - began:.1f} s")
    tally.check("it is expunged", gone == count and b"MESSAGES 0" in untagged[0][0], f"{gone}, {untagged[0][0]}")
    imap.close()


def fill(imap, count):
    window = 64
    sent = answered = 0
    while answered < count:
        while sent < count and sent - answered < window:
            body = f"From: a@example.test\r\nSubject: number {sent}.\r\n\r\nhello\r\n".encode()
            imap.send(b'f%d APPEND "many" {%d+}\r\n' % (sent, len(body)) + body + b"\r\n")
            sent += 1
        parts = imap.response()
        if parts[0].startswith(b"f"):
            if b" OK" not in parts[0]:
                raise Refused(parts[0].decode())
            answered += 1


STORIES = {"paused-leader": paused_leader, "large-message": large_message, "large-mailbox": large_mailbox}
