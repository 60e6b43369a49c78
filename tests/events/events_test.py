"""Clients of a real cluster do something; then the front-end's file of events says so."""

import imaplib
import json
import os
import poplib
import signal
import smtplib
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from cluster import Cluster, Tally, has_gone  # noqa: E402
from waiting import LONG, eventually, until, wait_for  # noqa: E402

PASSWORD = "correct-horse-7781"
WRONG = "staple-battery-9932"


class Events:
    """The events of front-end 1, read again and again until what is waited for is there."""

    def __init__(self, cluster):
        self.paths = [os.path.join(cluster.dir, "data", "frontend-1-events.ndjson")]

    def all(self):
        out = []
        for path in self.paths:
            if os.path.exists(path):
                with open(path) as f:
                    out += [json.loads(line) for line in f if line.endswith("\n")]
        return out

    def wait(self, name, timeout=LONG, **fields):
        """The data of the first event with this name and these fields; None when it does not come."""
        def find():
            return next((event for event in self.all()
                         if event["type"].endswith(f".{name}.v1") and fields.items() <= event["data"].items()), None)
        return eventually(find, bool, timeout)


def data(event):
    return event["data"] if event else {}


def wrong_password(cluster, events, tally):
    client = poplib.POP3_SSL("localhost", cluster.port("pop3s", 0), context=cluster.tls())
    client.user("ana@example.test")
    try:
        client.pass_(WRONG)
        tally.check("a wrong password is refused", False)
    except poplib.error_proto:
        pass
    client.close()
    event = events.wait("auth.failed", protocol="pop3")
    got = data(event)
    tally.check("a wrong password is told: auth.failed", got.get("reason") == "bad_credentials"
                and got.get("login") == "ana@example.test" and got.get("client_ip") in ("127.0.0.1", "::1")
                and got.get("tls_version", "").startswith("TLS") and "account_id" not in got, str(event))


def refused_recipient(cluster, events, tally):
    with smtplib.SMTP("localhost", cluster.port("smtp", 0), local_hostname="sender.example") as client:
        client.ehlo()
        client.mail("bob@elsewhere.test")
        code, _ = client.rcpt("nobody@example.test")
        tally.check("an unknown recipient is refused", code == 550, str(code))
        client.rset()
    event = events.wait("message.rejected", stage="rcpt")
    got = data(event)
    want = {"reason": "unknown_user", "code": 550, "enhanced": "5.1.1", "recipient": "nobody@example.test",
            "envelope_from": "bob@elsewhere.test", "ehlo": "sender.example", "protocol": "smtp", "role": "frontend"}
    tally.check("and told: message.rejected", want.items() <= got.items(), str(event))


def whole_session(cluster, events, tally):
    client = imaplib.IMAP4_SSL("localhost", cluster.port("imaps", 0), ssl_context=cluster.tls())
    client.login("ana@example.test", PASSWORD)
    client.select("INBOX")
    client.logout()
    closed = events.wait("session.closed", protocol="imap")
    got = data(closed)
    session = got.get("session_id")
    opened = events.wait("session.opened", session_id=session)
    login = events.wait("auth.succeeded", session_id=session)
    tally.check("a session that ended is told: session.closed", got.get("address") == "ana@example.test"
                and got.get("reason") == "client" and got.get("commands", 0) >= 3 and int(got.get("bytes_in", 0)) > 20
                and int(got.get("bytes_out", 0)) > 100, str(closed))
    tally.check("and that it had begun, and by which log-in", data(login).get("mechanism") == "LOGIN"
                and data(opened).get("account_id") == got.get("account_id"), f"{opened} {login}")
    tally.check("all three under the account's key, in order", closed and opened and login
                and len({e["partitionkey"] for e in (login, opened, closed)}) == 1
                and login["sequence"] < opened["sequence"] < closed["sequence"])


def metrics(cluster, tally):
    """The same things, counted."""
    url = f"http://{cluster.processes['frontend-1']['admin']}/metrics"
    wanted = ['chasqui_auth_attempts_total{protocol="pop3",mechanism="PASS",result="failed",reason="bad_credentials"} 1',
              'chasqui_commands_total{protocol="imap",command="SELECT",result="ok"} 1',
              'chasqui_commands_total{protocol="smtp",command="RCPT",result="no"} 1',
              'chasqui_smtp_recipients_total{result="rejected",reason="unknown_user"} 1',
              'chasqui_connections{protocol="imap",state="auth"} 0',
              'chasqui_events_dropped_total{stream="mail.auth",reason="overflow"} 0',
              'chasqui_tls_handshakes_total{protocol="imap",result="full"}']

    def look():
        with urllib.request.urlopen(url, timeout=20) as response:
            text = response.read().decode()
        return [line for line in wanted if line not in text]
    missing = eventually(look, lambda missing: not missing)
    tally.check("metrics count what events tell", not missing, str(missing))


def reopened(cluster, events, tally):
    """As logrotate does it: renamed, then SIGHUP."""
    path = events.paths[0]
    os.rename(path, path + ".rotated")
    events.paths = [path + ".rotated", path]
    cluster.signal("frontend-1", signal.SIGHUP)

    def came():
        with smtplib.SMTP("localhost", cluster.port("smtp", 0)) as client:
            client.ehlo()
            client.mail("not@@an-address")
        return os.path.exists(path) and os.path.getsize(path) > 0
    tally.check("after SIGHUP events go to a new file", until(LONG, came) is not None)


def drained(cluster, events, tally):
    client = imaplib.IMAP4_SSL("localhost", cluster.port("imaps", 0), ssl_context=cluster.tls())
    client.login("ana@example.test", PASSWORD)
    pid = cluster.signal("frontend-1", signal.SIGTERM)
    wait_for("it has ended", lambda: has_gone(pid), pause=0.05)
    tally.check("what a stopping front-end does is written before it ends",
                events.wait("session.closed", timeout=0, reason="drain") is not None)
    cluster.start("frontend-1")


def well_formed(events, tally):
    all_events = events.all()
    ids = [e["id"] for e in all_events]
    tally.check("ids are unique and of version 7", len(set(ids)) == len(ids) and all(i[14] == "7" for i in ids))
    text = json.dumps(all_events)
    tally.check("no password is in any event", PASSWORD not in text and WRONG not in text)
    by_source = {}
    for event in all_events:
        by_source.setdefault(event["source"], []).append(int(event["sequence"]))
    tally.check("a source's sequence has no gap: nothing was dropped",
                all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_source.values()), str(by_source))


def main():
    tally = Tally()
    cluster = Cluster(sys.argv[1])
    try:
        # In place of the one that quickstart made up.
        cluster.ctl("account", "password", "ana@example.test", "--password-stdin", stdin=PASSWORD + "\n")
        events = Events(cluster)
        wrong_password(cluster, events, tally)
        refused_recipient(cluster, events, tally)
        whole_session(cluster, events, tally)
        metrics(cluster, tally)
        reopened(cluster, events, tally)
        drained(cluster, events, tally)
        well_formed(events, tally)
    except Exception as e:  # whatever it was: show what the processes say
        cluster.show_logs()
        tally.check("the test runs to its end", False, repr(e))
    finally:
        cluster.stop()
    return tally.close()


sys.exit(main())
