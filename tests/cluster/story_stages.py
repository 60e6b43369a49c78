"""What a client that broke off in the middle of a large message has left in the shard goes away by itself."""

import os
import time

from story_others import LARGE, retry, session
from waiting import wait_for
from wire import Wire

SENT = 24 * 1024 * 1024
PIECE = 512 * 1024
AGE_SECONDS = 3600  # STATE_STAGE_AGE_US
WAIT_SECONDS = 300
CALM_SECONDS = 3


def removed(cluster):
    """Chunks that each node has removed from its store since it started."""
    return [int(cluster.metric(name, "chasqui_storage_chunks_removed_total")) for name in cluster.names("storage-node")]


def wait_until_taken(cluster, address):
    """The front-end reads on only when the shard has what it read: all of it is there when nothing is added any more."""
    shard = cluster.ctl_json("account", "show", address)["shard"]
    last, since = None, time.monotonic()

    def calm():
        nonlocal last, since
        now = [(row["node"], row["applied"]) for row in cluster.ctl_json("shard", "replicas") if row["shard"] == shard]
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > CALM_SECONDS and len({applied for _, applied in now}) == 1
    wait_for("the shard has all that was sent", calm)


def later(cluster):
    """All storage nodes start again, an hour later, and trim their logs early: bodies stay as long as the log has them."""
    def change(name, text):
        return text + "raft: {trim_entries: 16}\n" if name.startswith("storage") else text
    shift = {"LD_PRELOAD": os.path.join(cluster.build_dir, "tests/wall_shift.so"),
             "CHASQUI_TEST_WALL_SHIFT_S": str(AGE_SECONDS + 60)}
    cluster.change_settings(change, lambda name: shift if name.startswith("storage") else {})
    cluster.wait_ready()


def abandoned_stages(shared, tally, options):
    """stages: 24 of 50 MiB were sent when the client went; an hour later their bytes have gone from every replica"""
    cluster = type(shared)(options.build_dir)  # its own: from the other one more bodies are removed, of other stories
    try:
        abandon(cluster, tally)
    finally:
        cluster.stop()


def abandon(cluster, tally):
    address, password = "stages@example.test", "stages-secret"
    cluster.add_account(address, password)
    with Wire(cluster.port("imaps", 0), cluster.tls(), timeout=60) as wire:
        wire.talk(r"<\* OK", f"a LOGIN {address} {password}", "<a OK", f"b APPEND INBOX {{{LARGE}}}", r"<\+")
        wire.send((b"x" * 78 + b"\r\n") * (SENT // 80))
        wait_until_taken(cluster, address)
    later(cluster)
    began = time.monotonic()

    def other_entries():
        imap = session(cluster, address, password)
        if b"MESSAGES 0" in imap.command('STATUS "INBOX" (MESSAGES)')[0][0][0]:
            imap.command('APPEND "INBOX"', literal=b"Subject: other\r\n\r\nbody\r\n")
        imap.command('SELECT "INBOX"')
        for number in range(100):
            imap.command(f"STORE 1 {'+-'[number % 2]}FLAGS.SILENT (\\Flagged)")
        imap.close()
    retry(other_entries)
    want = SENT // PIECE - 4  # what was on the way may not have arrived
    while min(removed(cluster)) < want and time.monotonic() < began + WAIT_SECONDS:
        time.sleep(0.5)
        if time.monotonic() > began + 5:
            retry(other_entries)
    got = removed(cluster)
    tally.check("the bytes of an abandoned APPEND have gone from every replica", min(got) >= want and max(got) <= SENT // PIECE,
                f"{got} chunks, {want} to {SENT // PIECE} were staged")
    print(f"  {got} chunks in {time.monotonic() - began:.0f} s")
    imap = session(cluster, address, password)
    untagged, _ = imap.command('STATUS "INBOX" (MESSAGES)')
    imap.close()
    tally.check("and nothing else has", b"MESSAGES 1" in untagged[0][0], str(untagged))


STORIES = {"stages": abandoned_stages}
