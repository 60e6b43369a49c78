"""Accounts whose creation or deletion a kill -9 cut short, an account that its shard does not know, and kicking."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import urllib.request

from imap import Imap, Lost, Refused
from story_sessions import open_imap, open_pop3, open_submission
from waiting import LONG, eventually, until

PROMISED = 10  # seconds until the reconciler has finished an account whose shard answers
ALLOWED = 3 * PROMISED  # on a machine that is busy with other tests; without a reconciler it never is


def logs_in(cluster, front_end, address, password):
    try:
        imap = Imap(cluster.port("imaps", front_end), cluster.tls(), timeout=15)
        imap.login(address, password)
        untagged, _ = imap.command('LIST "" "*"')
        imap.close()
        return any(b"INBOX" in parts[0] for parts in untagged)
    except (Lost, Refused):
        return False


def row(cluster, address):
    return next((a for a in cluster.ctl_json("account", "list") if a["address"] == address), None)


def cut_short(cluster, command, stdin, reached):
    """Runs a command at the first front-end while no router answers, and kills that front-end in the middle."""
    routers = cluster.names("router")
    first = cluster.names("frontend")[0]
    ctl = [os.path.join(cluster.status["bin"], "chasquictl"), "--config", cluster.status["ctl_config"], *command]
    for router in routers:
        cluster.signal(router, signal.SIGSTOP)
    try:
        process = subprocess.Popen(ctl, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdin.write(stdin)
        process.stdin.close()
        seen = until(8, reached)  # before the front-end gives the request up
        cluster.kill(first)
        process.wait(LONG)
        process.stdout.close()
        process.stderr.close()
    finally:
        for router in routers:
            cluster.signal(router, signal.SIGCONT)
    return seen is not None, process.returncode


def say_promise(took):
    if took is not None:
        print(f"  after {took:.1f} s; {PROMISED} s are promised")


def half_done(cluster, tally, options):
    """half-done: an account whose creation or deletion was cut short by kill -9 is finished soon"""
    address, password = "half@example.test", "half-a-secret"
    first = cluster.names("frontend")[0]

    def state():
        account = row(cluster, address)
        return account["state"] if account else None

    cut, status = cut_short(cluster, ["account", "add", address, "--password-stdin"], password + "\n",
                            lambda: state() == "creating")
    tally.check("the front-end dies between the row and the shard; the operator is told that nobody knows",
                cut and status == 4, f"creating seen: {cut}, exit status {status}")
    took = until(ALLOWED, lambda: logs_in(cluster, 1, address, password))
    tally.check("another front-end opens the account soon", took is not None, str(state()))
    say_promise(took)
    cluster.start(first)
    cluster.wait_ready()
    tally.check("with its password, at every front-end", logs_in(cluster, 0, address, password))

    cut, status = cut_short(cluster, ["account", "remove", address], "", lambda: state() == "deleting")
    tally.check("the same in the middle of a deletion", cut and status == 4, f"deleting seen: {cut}, exit status {status}")
    tally.check("nobody logs in meanwhile", not logs_in(cluster, 1, address, password))
    took = until(ALLOWED, lambda: state() is None)
    tally.check("the account is gone soon", took is not None, str(state()))
    say_promise(took)
    cluster.start(first)
    cluster.wait_ready()
    cluster.add_account(address, password + "-again")
    tally.check("the address is free for a new account", logs_in(cluster, 0, address, password + "-again"))


def all_die(cluster, tally, options):
    """all-front-ends: every front-end is killed with an account half created; the first that comes back finishes it"""
    address, password = "orphan@example.test", "orphan-secret"
    front_ends = cluster.names("frontend")
    cut, _ = cut_short(cluster, ["account", "add", address, "--password-stdin"], password + "\n",
                       lambda: (row(cluster, address) or {}).get("state") == "creating")
    for name in front_ends[1:]:
        cluster.kill(name)
    cluster.start(front_ends[1])
    took = until(ALLOWED + 10, lambda: logs_in(cluster, 1, address, password))
    tally.check("the first front-end that comes back opens it", cut and took is not None, f"{cut}, {took}")
    print(f"  {took or 0:.1f} s from its start")
    cluster.start(front_ends[0])
    cluster.wait_ready()


def metric(cluster, front_end, name):
    with urllib.request.urlopen(f"http://{cluster.processes[front_end]['admin']}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
    return 0.0


def unknown_to_its_shard(cluster, tally, options):
    """missing: an active account that its shard does not know is unavailable and an alarm, never an empty INBOX"""
    address, password = "missing@example.test", "missing-secret"
    cluster.add_account(address, password)
    # Another id in the directory: what a restore of the wrong copy looks like.
    database = sqlite3.connect(os.path.join(cluster.dir, "data", "directory.sqlite"), timeout=10)
    with database:
        database.execute("PRAGMA defer_foreign_keys = ON")
        local = address.split("@")[0]
        (old,) = database.execute("SELECT id FROM account WHERE local = ?", (local,)).fetchone()
        new = old + 1
        for table, column in (("account", "id"), ("address_target", "account_id"), ("credential", "account_id")):
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))
    database.close()
    answers = []
    for front_end in (0, 1):
        imap = Imap(cluster.port("imaps", front_end), cluster.tls(), timeout=15)
        try:
            imap.login(address, password)
            for command in ('SELECT "INBOX"', 'LIST "" "*"'):
                try:
                    untagged, _ = imap.command(command)
                    answers.append(("OK", command, untagged))
                except Refused as refused:
                    answers.append((str(refused), command, []))
        except (Lost, Refused) as refused:
            answers.append((str(refused), "LOGIN", []))
        imap.close()
    wrong = [a for a in answers if a[0] == "OK" or "NO" not in a[0]]
    tally.check("every command is refused, nothing looks empty", not wrong, str(answers))
    alarm = until(LONG, lambda: all(metric(cluster, f, "chasqui_accounts_missing_total") > 0
                                    for f in cluster.names("frontend")))
    tally.check("and each front-end that met it raises the alarm", alarm is not None)
    cluster.ctl("account", "remove", address)


# -- session list and kick

PROTOCOLS = {"imap": (open_imap, r"\* BYE"), "pop3": (open_pop3, r"-ERR"), "submission": (open_submission, "421 4.7.0")}


def sessions_of(cluster, address):
    return cluster.ctl_json("session", "list", address)


def has_ended(wire, farewell):
    try:
        lines = wire.rest()
    except OSError as e:
        return repr(e)
    return None if lines and re.match(farewell, lines[-1]) else str(lines)


def kicked(cluster, tally, options):
    """kick: session list shows who is where; session kick ends one session, or an account's everywhere, and no other"""
    password = "kick-secret"
    wires = {}
    for who in ("kick", "stay"):
        cluster.add_account(f"{who}@example.test", password)
        for front_end in range(2):
            for protocol, (opener, _) in PROTOCOLS.items():
                wire, ok = opener(cluster, front_end, f"{who}@example.test", password)
                assert ok, f"{who} cannot log in by {protocol} at {front_end}"
                wires[who, cluster.names("frontend")[front_end], protocol] = wire
    shown = eventually(lambda: {(r["account"].split("@")[0], r["frontend"], r["protocol"])
                                for who in ("kick", "STAY") for r in sessions_of(cluster, f"{who}@Example.test")},
                       lambda shown: shown == set(wires))
    tally.check("each session is listed with its account, front-end and protocol", shown == set(wires), str(shown))

    one = sessions_of(cluster, "kick@example.test")[0]
    answer = cluster.ctl_json("session", "kick", one["session"].lower())
    key = ("kick", one["frontend"], one["protocol"])
    trouble = has_ended(wires[key], PROTOCOLS[one["protocol"]][1])
    left = eventually(lambda: sessions_of(cluster, "kick@example.test"), lambda left: len(left) == 5)
    tally.check("one session is kicked by its id, with its protocol's farewell",
                trouble is None and sum(row["ended"] for row in answer) == 1 and len(left) == 5
                and one["session"] not in [row["session"] for row in left], f"{trouble}, {answer}, {len(left)} left")

    answer = cluster.ctl_json("session", "kick", "Kick@EXAMPLE.test")
    troubles = [t for (who, _, protocol), wire in wires.items() if who == "kick" and (who, _, protocol) != key
                for t in [has_ended(wire, PROTOCOLS[protocol][1])] if t]
    tally.check("the others by their account, in any spelling, at all front-ends",
                not troubles and sum(row["ended"] for row in answer) == 5
                and until(LONG, lambda: not sessions_of(cluster, "kick@example.test")) is not None,
                f"{troubles}, {answer}")
    tally.check("nobody else is", len(sessions_of(cluster, "stay@example.test")) == 6, "")
    again = logs_in(cluster, 0, "kick@example.test", password)
    tally.check("who was kicked may come back", again)
    for (who, _, _), wire in wires.items():
        if who == "stay":
            wire.close()

    front_ends = cluster.names("frontend")
    cluster.kill(front_ends[1])
    command = [os.path.join(cluster.status["bin"], "chasquictl"), "--config", cluster.status["ctl_config"]]
    done = subprocess.run(command + ["session", "list", "-o", "json"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LONG)
    tally.check("a front-end that does not answer is named, the others are shown, the exit status tells",
                done.returncode == 3 and isinstance(json.loads(done.stdout), list) and "127.0.0.1" in done.stderr,
                f"{done.returncode}: {done.stdout}{done.stderr}")
    cluster.start(front_ends[1])
    cluster.wait_ready()


STORIES = {"half-done": half_done, "all-front-ends": all_die, "missing": unknown_to_its_shard, "kick": kicked}
