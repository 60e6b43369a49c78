"""Accounts whose creation or deletion a kill -9 cut short, and an account that its shard does not know."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request

from imap import Imap, Lost, Refused

PROMISED = 10  # seconds until the reconciler has finished an account whose shard answers


def logs_in(cluster, front_end, address, password):
    try:
        imap = Imap(cluster.port("imaps", front_end), cluster.tls(), timeout=15)
        imap.login(address, password)
        untagged, _ = imap.command('LIST "" "*"')
        imap.close()
        return any(b"INBOX" in parts[0] for parts in untagged)
    except (Lost, Refused):
        return False


def until(condition, seconds):
    """How long it took, or None."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.2)
    return None


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
        seen = until(reached, 8)
        cluster.kill(first)
        process.wait(60)
        process.stdout.close()
        process.stderr.close()
    finally:
        for router in routers:
            cluster.signal(router, signal.SIGCONT)
    return seen is not None, process.returncode


def half_done(cluster, tally, options):
    """half-done: an account whose creation or deletion was cut short by kill -9 is finished within 10 s"""
    address, password = "half@example.test", "half-a-secret"
    first = cluster.names("frontend")[0]

    def state():
        account = row(cluster, address)
        return account["state"] if account else None

    cut, status = cut_short(cluster, ["account", "add", address, "--password-stdin"], password + "\n",
                            lambda: state() == "creating")
    tally.check("the front-end dies between the row and the shard; the operator is told that nobody knows",
                cut and status == 4, f"creating seen: {cut}, exit status {status}")
    took = until(lambda: logs_in(cluster, 1, address, password), PROMISED)
    tally.check(f"another front-end opens the account within {PROMISED} s", took is not None, str(state()))
    cluster.start(first)
    cluster.wait_ready()
    tally.check("with its password, at every front-end", logs_in(cluster, 0, address, password))

    cut, status = cut_short(cluster, ["account", "remove", address], "", lambda: state() == "deleting")
    tally.check("the same in the middle of a deletion", cut and status == 4, f"deleting seen: {cut}, exit status {status}")
    tally.check("nobody logs in meanwhile", not logs_in(cluster, 1, address, password))
    took = until(lambda: state() is None, PROMISED)
    tally.check(f"the account is gone within {PROMISED} s", took is not None, str(state()))
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
    began = time.monotonic()
    took = until(lambda: logs_in(cluster, 1, address, password), PROMISED + 10)
    tally.check("the first front-end that comes back opens it", cut and took is not None, f"{cut}, {took}")
    print(f"  {time.monotonic() - began:.1f} s from its start")
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
    alarm = until(lambda: all(metric(cluster, f, "chasqui_accounts_missing_total") > 0
                              for f in cluster.names("frontend")), 10)
    tally.check("and each front-end that met it raises the alarm", alarm is not None)
    cluster.ctl("account", "remove", address)


STORIES = {"half-done": half_done, "all-front-ends": all_die, "missing": unknown_to_its_shard}
