"""Each client does what people do with it. See tests/clients/run --help."""

import argparse
import email
import hashlib
import imaplib
import os
import poplib
import random
import smtplib
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from cluster import Cluster, Tally

ADDRESS, PASSWORD, OTHER = "client@example.test", "client-Secret 1", "other@example.test"


class Bench:
    """The cluster, two accounts, and a home folder for the clients' settings."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.home = os.path.join(cluster.dir, "clients-home")
        os.makedirs(self.home)
        self.ca = cluster.status["ca"]
        cluster.add_account(ADDRESS, PASSWORD)
        cluster.add_account(OTHER, PASSWORD)

    def write(self, name, text):
        path = os.path.join(self.home, name)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as f:
            f.write(text)
        return path

    def run(self, *command, stdin=None, ok=(0,), timeout=120):
        env = {"HOME": self.home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "EMAIL": ADDRESS, "TERM": "xterm"}
        done = subprocess.run(command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home, env=env, timeout=timeout)
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode not in ok:
            raise AssertionError(f"{command[0]} exited {done.returncode}: {text[-1500:]}")
        return text

    def imap(self, user=ADDRESS, front_end=0):
        m = imaplib.IMAP4_SSL("localhost", self.cluster.port("imaps", front_end), ssl_context=self.cluster.tls())
        m.login(user, PASSWORD)
        return m

    def subjects(self, mailbox="INBOX", user=ADDRESS, front_end=1):
        m = self.imap(user, front_end)
        m.select(mailbox, readonly=True)
        found = []
        for part in m.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
            if isinstance(part, tuple):
                found.append(email.message_from_bytes(part[1])["Subject"])
        m.logout()
        return found


def message(subject, body="Hello.", sender=OTHER, to=ADDRESS):
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Sun, 22 Nov 2026 05:37:00 +0000\r\nMessage-ID: <{subject}@example.test>\r\n\r\n{body}\r\n"


def python_smtplib(b):
    """smtplib: submission with STARTTLS and with TLS, several recipients, a refusal"""
    with smtplib.SMTP("localhost", b.cluster.port("submission", 0), timeout=30) as s:
        s.starttls(context=b.cluster.tls())
        s.login(OTHER, PASSWORD)
        refused = s.sendmail(OTHER, [ADDRESS, OTHER], message("smtplib-starttls"))
        assert refused == {}, refused
    with smtplib.SMTP_SSL("localhost", b.cluster.port("submissions", 1), context=b.cluster.tls(), timeout=30) as s:
        s.login(OTHER, PASSWORD)
        s.sendmail(OTHER, [ADDRESS], message("smtplib-tls"))
        try:
            s.sendmail(OTHER, ["somebody@elsewhere.test"], message("no-relay"))
            raise AssertionError("a recipient elsewhere was accepted")
        except smtplib.SMTPRecipientsRefused as e:
            assert list(e.recipients.values())[0][0] == 550, e
        try:
            s.sendmail("forged@example.test", [ADDRESS], message("forged"))
            raise AssertionError("a sender that is not ours was accepted")
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused):
            pass
    with smtplib.SMTP("localhost", b.cluster.port("smtp", 0), timeout=30) as s:
        s.sendmail("outside@elsewhere.test", [ADDRESS], message("smtplib-mx", sender="outside@elsewhere.test"))
    subjects = b.subjects()
    for wanted in ("smtplib-starttls", "smtplib-tls", "smtplib-mx"):
        assert wanted in subjects, (wanted, subjects)
    assert "smtplib-starttls" in b.subjects(user=OTHER)
    assert "no-relay" not in subjects and "forged" not in subjects


def python_imaplib(b):
    """imaplib: folders, append, flags, search, copy, expunge, byte-exact bodies"""
    m = b.imap()
    assert m.create("lib")[0] == "OK" and m.create("lib/child")[0] == "OK"
    assert m.subscribe("lib")[0] == "OK"
    names = b" ".join(m.list()[1])
    for wanted in (b"lib/child", b"\\Sent", b"\\Drafts", b"\\Trash", b"\\Junk", b"\\Archive"):
        assert wanted in names, (wanted, names)
    rng = random.Random(5)
    bodies = {}
    for i in range(20):
        raw = (f"From: a@example.test\r\nSubject: lib-{i}\r\n\r\n".encode()
               + bytes(rng.choice(b"abc \xe4\xff=") for _ in range(rng.randrange(5000))) + b"\r\n")
        typ, data = m.append("lib", "\\Seen" if i % 2 else None, imaplib.Time2Internaldate(1700000000 + i), raw)
        assert typ == "OK" and b"APPENDUID" in data[0], data
        bodies[i] = hashlib.sha256(raw).hexdigest()
    typ, data = m.select("lib")
    assert data[0] == b"20", data
    for i in range(20):
        got = m.fetch(str(i + 1), "(BODY.PEEK[])")[1][0][1]
        assert hashlib.sha256(got).hexdigest() == bodies[i], i
    assert len(m.search(None, "UNSEEN")[1][0].split()) == 10
    assert m.search(None, "SUBJECT", '"lib-7"')[1][0] == b"8"
    assert m.search("UTF-8", "LARGER", "1", "SEEN")[1][0].split()[0] == b"2"
    assert m.copy("1:5", "lib/child")[0] == "OK"
    m.store("1:5", "+FLAGS", "(\\Deleted $Keep)")
    # From the lowest up (1 1 1 1 1) or from the highest down (5 4 3 2 1): both say the same.
    assert m.expunge()[1] in ([b"1"] * 5, [b"5", b"4", b"3", b"2", b"1"])
    assert m.select("lib/child")[1][0] == b"5"
    m.rename("lib", "lib2")
    assert m.select("lib2/child")[1][0] == b"5"
    m.close()
    assert m.delete("lib2/child")[0] == "OK" and m.delete("lib2")[0] == "OK"
    typ, data = m.enable("CONDSTORE") if "ENABLE" in m.capabilities else ("OK", None)
    assert typ == "OK", data
    m.logout()


def python_poplib(b):
    """poplib: list, UIDL, TOP, RETR, DELE at QUIT only"""
    def connect(front_end=0):
        p = poplib.POP3_SSL("localhost", b.cluster.port("pop3s", front_end), context=b.cluster.tls(), timeout=30)
        p.user(ADDRESS)
        p.pass_(PASSWORD)
        return p
    p = connect()
    count = p.stat()[0]
    assert count >= 3, count
    uidl = p.uidl()[1]
    assert len(uidl) == len(set(uidl)) == count
    assert any(b"Subject:" in line for line in p.top(1, 0)[1])
    text = b"\r\n".join(p.retr(1)[1])
    p.dele(1)
    p.close()  # no QUIT: nothing is deleted
    p = connect(1)
    assert p.stat()[0] == count and p.uidl()[1] == uidl
    assert b"\r\n".join(p.retr(1)[1]) == text
    p.dele(1)
    p.quit()
    p = connect()
    assert p.stat()[0] == count - 1
    assert [u.split()[1] for u in p.uidl()[1]] == [u.split()[1] for u in uidl[1:]]
    p.quit()


def curl(b):
    """curl: send by SMTPS, search and fetch by IMAPS, list and fetch by POP3S"""
    config = b.write("curlrc", f'user = "{ADDRESS}:{PASSWORD}"\ncacert = "{b.ca}"\nssl-reqd\nsilent\nshow-error\n')
    mail = b.write("curl.eml", message("from-curl", sender=ADDRESS))
    b.run("curl", "-K", config, "--url", f"smtps://localhost:{b.cluster.port('submissions', 0)}", "--mail-from", ADDRESS,
          "--mail-rcpt", ADDRESS, "-T", mail)
    found = b.run("curl", "-K", config, f"imaps://localhost:{b.cluster.port('imaps', 1)}/INBOX", "-X", "UID SEARCH SUBJECT from-curl")
    uid = found.split()[-1]
    assert uid.isdigit(), found
    assert "Subject: from-curl" in b.run("curl", "-K", config, f"imaps://localhost:{b.cluster.port('imaps', 0)}/INBOX;UID={uid}")
    assert "Hello." in b.run("curl", "-K", config, f"imap://localhost:{b.cluster.port('imap', 0)}/INBOX;UID={uid};SECTION=TEXT")
    last = b.run("curl", "-K", config, f"pop3s://localhost:{b.cluster.port('pop3s', 0)}/").split()[-2]
    assert "Subject:" in b.run("curl", "-K", config, f"pop3s://localhost:{b.cluster.port('pop3s', 0)}/{last}")
    b.run("curl", "-K", config, f"imaps://localhost:{b.cluster.port('imaps', 0)}/Sent", "-T", mail)
    assert "from-curl" in b.subjects("Sent")


def msmtp(b):
    """msmtp: submission with STARTTLS and with TLS"""
    config = b.write("msmtprc", f"""defaults
auth on
tls on
tls_trust_file {b.ca}
host localhost
from {ADDRESS}
user {ADDRESS}
password "{PASSWORD}"
account starttls
port {b.cluster.port('submission', 0)}
tls_starttls on
account tls
port {b.cluster.port('submissions', 1)}
tls_starttls off
""")
    for account in ("starttls", "tls"):
        b.run("msmtp", "-C", config, "-a", account, ADDRESS, stdin=message(f"msmtp-{account}", sender=ADDRESS).encode())
        assert f"msmtp-{account}" in b.subjects()


def fetchmail(b):
    """fetchmail: takes the mail of an account by POP3 and by IMAP"""
    for protocol, port in (("pop3", b.cluster.port("pop3s", 0)), ("imap", b.cluster.port("imaps", 0))):
        m = b.imap(OTHER)
        m.append("INBOX", None, None, message(f"fetchmail-{protocol}").encode())
        m.logout()
        box = os.path.join(b.home, f"fetched-{protocol}")
        config = b.write("fetchmailrc", f"""poll localhost protocol {protocol} port {port}
 user "{OTHER}" password "{PASSWORD}" ssl sslproto "TLS1.2+" sslcertck sslcertfile "{b.ca}"
 fetchall nokeep mda "/bin/sh -c 'cat >> {box}'"
""")
        b.run("fetchmail", "-f", config, "--nosyslog", "--pidfile", os.path.join(b.home, "fetchmail.pid"), "-v")
        assert f"fetchmail-{protocol}" in open(box, errors="replace").read()
        assert b.subjects(user=OTHER) == [], protocol


def mutt(b):
    """mutt: opens a folder in batch, tags and copies, writes to Sent"""
    config = b.write("muttrc", f"""set imap_user="{ADDRESS}"
set imap_pass="{PASSWORD}"
set folder="imaps://localhost:{b.cluster.port('imaps', 0)}"
set spoolfile="+INBOX"
set certificate_file="{b.ca}"
set ssl_ca_certificates_file="{b.ca}"
set ssl_force_tls=yes ssl_verify_host=yes
set smtp_url="smtps://{ADDRESS.replace('@', '%40')}@localhost:{b.cluster.port('submissions', 0)}"
set smtp_pass="{PASSWORD}"
set from="{ADDRESS}" use_from=yes
set record="+Sent"
set copy=yes quit=yes mbox_type=mbox confirmappend=no confirmcreate=no wait_key=no delete=yes
set sleep_time=0
""")
    b.run("mutt", "-F", config, "-s", "from-mutt", ADDRESS, stdin=b"written in mutt\n")
    assert "from-mutt" in b.subjects() and "from-mutt" in b.subjects("Sent")
    before = len(b.subjects())
    # The rest wants a terminal: script(1) lends one.
    keys = b.write("mutt-keys", 'push "<tag-pattern>~A<enter><tag-prefix><copy-message>=mutt-copy<enter><quit>"\n')
    b.run("script", "-qec", f"mutt -F {config} -f +INBOX -e 'source {keys}'", "/dev/null")
    assert len(b.subjects("mutt-copy")) == before


def mbsync(b):
    """mbsync: two-way, changes on both sides, killed in the middle, nothing doubled or lost"""
    maildir = os.path.join(b.home, "maildir")
    os.makedirs(maildir)
    config = b.write("mbsyncrc", f"""IMAPAccount cluster
Host localhost
Port {b.cluster.port('imaps', 0)}
User {OTHER}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {b.ca}
PipelineDepth 20

IMAPStore far
Account cluster

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    m = b.imap(OTHER)
    m.create("sync")
    for i in range(300):
        m.append("sync", "\\Seen" if i % 3 == 0 else None, None, message(f"far-{i}", "x" * (i * 10)).encode())
    # Killed in the middle, then let run: no message may be doubled.
    victim = subprocess.Popen(["mbsync", "-c", config, "-a"], env={"HOME": b.home, "PATH": os.environ["PATH"]},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    time.sleep(0.3)
    victim.kill()
    victim.wait()
    b.run("mbsync", "-c", config, "-a")
    near = os.path.join(maildir, "sync")
    files = lambda: [f for d in ("cur", "new") for f in os.listdir(os.path.join(near, d))]
    assert len(files()) == 300, len(files())
    for i in range(50):
        with open(os.path.join(near, "new", f"1700000000.{i}.near"), "wb") as f:
            f.write(message(f"near-{i}").replace("\r\n", "\n").encode())
    m.select("sync")
    m.store("1:10", "+FLAGS", "\\Deleted")
    m.expunge()
    m.store("11:20", "+FLAGS", "\\Flagged")
    b.run("mbsync", "-c", config, "-a")
    b.run("mbsync", "-c", config, "-a")
    subjects = b.subjects("sync", OTHER)
    assert len(subjects) == len(set(subjects)) == 340, (len(subjects), len(set(subjects)))
    assert len(files()) == 340, len(files())
    assert sum("F" in f.rsplit(",", 1)[-1] for f in files()) == 10
    # Deleting on the near side reaches the far one.
    doomed = [f for f in os.listdir(os.path.join(near, "cur"))][:5]
    for name in doomed:
        os.remove(os.path.join(near, "cur", name))
    b.run("mbsync", "-c", config, "-a")
    assert len(b.subjects("sync", OTHER)) == 335
    m.logout()


CLIENTS = [python_smtplib, python_imaplib, python_poplib, curl, msmtp, mbsync, fetchmail, mutt]


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/run", description=__doc__)
    parser.add_argument("build_dir")
    parser.add_argument("--only", action="append", choices=[c.__name__ for c in CLIENTS])
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    tally = Tally()
    cluster = Cluster(options.build_dir)
    try:
        bench = Bench(cluster)
        for client in CLIENTS:
            if options.only and client.__name__ not in options.only:
                continue
            try:
                client(bench)
                tally.check(client.__doc__, True)
            except Exception as e:
                where = traceback.extract_tb(e.__traceback__)[1 if len(traceback.extract_tb(e.__traceback__)) > 1 else 0]
                tally.check(client.__doc__, False, f"line {where.lineno}: {where.line}: {type(e).__name__}: {e}")
        if tally.failed:
            cluster.show_logs(10)
    finally:
        cluster.stop(keep=options.keep)
    return tally.close()


sys.exit(main())
