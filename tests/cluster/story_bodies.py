"""Bodies that a front-end keeps in memory: the octets of the shard, and only for whom the shard would give them to. The
other front-end keeps none (StoryCluster)."""

import poplib
import random
import re

from imap import Imap, Lost, Refused
from waiting import LONG, eventually, until

HIT = 'result="hit"'
PARTS = ["[]", "[]<0.1>", "[]<0.65536>", "[]<65536.65536>", "[]<524287.2>", "[]<1000000.300000>", "[]<99999999.5>", "[HEADER]",
         "[HEADER.FIELDS (SUBJECT TO)]", "[TEXT]", "[TEXT]<100.70000>", "[1]", "[2]", "[2.MIME]"]


def session(cluster, address, password, front_end):
    imap = Imap(cluster.port("imaps", front_end), cluster.tls(), timeout=60)
    imap.login(address, password)
    imap.command('SELECT "INBOX"')
    return imap


def read(imap, what):
    untagged, _ = imap.command(f"UID FETCH {what}")
    return untagged


def message(size, seed):
    draw = random.Random(seed)
    head = (f"From: a@example.test\r\nTo: b@example.test\r\nSubject: body {seed}\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst part\r\n--b\r\n"
            "Content-Type: application/octet-stream\r\n\r\n").encode()
    lines = b"".join(draw.randbytes(35).hex().encode() + b"\r\n" for _ in range(size // 72))
    return head + lines + b"--b--\r\n"


def hits(cluster, front_end):
    return cluster.metric(cluster.names("frontend")[front_end], "chasqui_body_cache_requests_total", HIT)


def the_same_octets(cluster, tally, warm, sent):
    cold = session(cluster, "memory@example.test", "memory-secret", 1)
    wrong = []
    before = hits(cluster, 0)
    for round_ in range(3):
        for uid, octets in enumerate(sent, 1):
            for part in PARTS:
                got = read(warm, f"{uid} (BODY.PEEK{part})")
                if got != read(cold, f"{uid} (BODY.PEEK{part})") or (part == "[]" and got[0][1] != octets):
                    wrong.append((round_, uid, part))
    tally.check("a front-end that keeps bodies answers as one that keeps none", not wrong, str(wrong[:5]))
    tally.check("and it did so from memory", hits(cluster, 0) > before + 3 * len(sent), f"{before}, {hits(cluster, 0)}")
    cold.close()


def by_pop3(cluster, tally, sent):
    pop3 = poplib.POP3_SSL("localhost", cluster.port("pop3s", 0), timeout=60, context=cluster.tls())
    pop3.user("memory@example.test")
    pop3.pass_("memory-secret")
    got = [b"".join(line + b"\r\n" for line in pop3.retr(n)[1]) for n in range(1, len(sent) + 1)]
    tally.check("RETR of several pieces gives the octets", got == sent, str([len(octets) for octets in got]))
    pop3.quit()


def after_expunge(cluster, tally, warm):
    other = session(cluster, "memory@example.test", "memory-secret", 1)
    read(warm, "1:3 (BODY.PEEK[])")
    other.command("UID STORE 2 +FLAGS (\\Deleted)")
    other.command("EXPUNGE")

    def given():
        return [re.search(rb"UID (\d+)", p[0]).group(1) for p in read(warm, "1:3 (BODY.PEEK[])") if len(p) > 1]
    # A session that has not been told may have it as long as the shard has its octets; memory would have it for ever.
    got = eventually(given, lambda got: got == [b"1", b"3"])
    tally.check("a message that was expunged at another front-end is not given from memory", got == [b"1", b"3"], str(got))
    other.close()


def after_removal(cluster, tally, warm, sent):
    """The same address is another account then."""
    cluster.ctl("account", "remove", "memory@example.test")

    def reads_nothing():
        try:
            return not any(len(p) > 1 for p in read(warm, "1 (BODY.PEEK[])"))
        except (Lost, Refused):  # the session was ended, which is as good
            return True
    tally.check("a session of an account that was removed reads nothing soon", until(LONG, reads_nothing) is not None)
    cluster.add_account("memory@example.test", "memory-secret-2")
    imap = session(cluster, "memory@example.test", "memory-secret-2", 0)
    tally.check("who gets the address next finds no message", not read(imap, "1:* (BODY.PEEK[])"))
    imap.command('APPEND "INBOX"', literal=message(50000, 99))
    imap.command("NOOP")
    got = read(imap, "1 (BODY.PEEK[])")
    tally.check("and reads his own under the number of one of before", got[0][1] == message(50000, 99) != sent[0])
    imap.close()


def bodies_in_memory(cluster, tally, options):
    """bodies: what a front-end has in memory is what the shard has, and for nobody else"""
    cluster.add_account("memory@example.test", "memory-secret")
    sent = [message(size, seed) for seed, size in enumerate((2000, 100000, 1400000))]
    warm = session(cluster, "memory@example.test", "memory-secret", 0)
    for octets in sent:
        warm.command('APPEND "INBOX"', literal=octets)
    warm.command("NOOP")
    the_same_octets(cluster, tally, warm, sent)
    by_pop3(cluster, tally, sent)
    after_expunge(cluster, tally, warm)
    after_removal(cluster, tally, warm, sent)
    warm.close()


STORIES = {"bodies": bodies_in_memory}
