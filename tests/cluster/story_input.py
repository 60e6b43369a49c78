"""What no client sends: junk, HTTP, commands smuggled behind STARTTLS, lines, literals, messages and headers over their
limits, line ends that are none. Each case is a conversation on a port; see Wire.talk. The server must be there after."""

import os

from wire import Wire, plain

ADDRESS, PASSWORD = "input@example.test", "input-secret"
LIMIT = 50 * 1024 * 1024  # of a message

LOGIN = (f"a LOGIN {ADDRESS} {PASSWORD}", "<a OK")
ALIVE = ("z NOOP", "<z OK")
EHLO = ("<220", "EHLO test", "<250 ")
ENVELOPE = ("MAIL FROM:<x@elsewhere.test>", "<250", f"RCPT TO:<{ADDRESS}>", "<250")
DATA = (*EHLO, *ENVELOPE, "DATA", "<354")
AUTH = (f"AUTH PLAIN {plain(ADDRESS, PASSWORD)}", "<235")
POP_LOGIN = (r"<\+OK", f"AUTH PLAIN {plain(ADDRESS, PASSWORD)}", r"<\+OK")

# port: what it is: the conversation
CASES = {
    "imaps": {
        "the third junk command before login closes":
            (r"<\* OK", "junk", "<(junk|\\*) BAD", "a JUNK", "<a BAD", "b MORE", "<b BAD", r"<\* BYE", None),
        "the twentieth after login closes":
            (r"<\* OK", *LOGIN, *("b JUNK", "<b BAD") * 20, r"<\* BYE", None),
        "HTTP is closed": (r"<\* OK", "GET / HTTP/1.1", r"<\* BYE", None),
        "an oversize command before login is BAD, and kept":
            (r"<\* OK", b"a LOGIN " + b"x" * 9000 + b" y\r\n", "<(a|\\*) BAD", *ALIVE),
        "an oversize literal before login is BAD, and kept":
            (r"<\* OK", "a LOGIN {5000}", "<a BAD", *ALIVE),
        "an oversize non-synchronising literal before login is closed":
            (r"<\* OK", "a LOGIN {5000+}", r"<\* BYE", None),
        "an endless line before login is closed":
            (r"<\* OK", b"a " + b"x" * 200000, r"<\* BYE", None),
        "an oversize command after login is BAD, and kept":
            (r"<\* OK", *LOGIN, b"b SEARCH SUBJECT " + b"x" * 300000 + b"\r\n", "<b BAD", *ALIVE),
        "an APPEND over the limit is refused before it is sent":
            (r"<\* OK", *LOGIN, f"b APPEND INBOX {{{LIMIT + 1}}}", r"<b NO \[TOOBIG\]", *ALIVE),
        "so is one whose octets come at once, and is kept":
            (r"<\* OK", *LOGIN, f"b APPEND INBOX {{{LIMIT + 1}+}}", b"x" * (LIMIT + 1) + b"\r\n", r"<b NO \[TOOBIG\]", *ALIVE),
        "NUL in an APPEND is refused, and kept":
            (r"<\* OK", *LOGIN, b"b APPEND INBOX {3+}\r\na\0b\r\n", "<b BAD", *ALIVE),
        "too deep a SEARCH is BAD, and kept":
            (r"<\* OK", *LOGIN, "s SELECT INBOX", "<s OK", "b SEARCH " + "(" * 2000 + "ALL" + ")" * 2000, "<b BAD", *ALIVE),
    },
    "imap": {
        "no login in clear": (r"<\* OK", f"a LOGIN {ADDRESS} {PASSWORD}", r"<a NO \[PRIVACYREQUIRED\]", *ALIVE),
        "a command behind STARTTLS in the same packet is closed":
            (r"<\* OK", b"a STARTTLS\r\nb NOOP\r\n", ...),
    },
    "pop3s": {
        "the third junk command before login closes":
            (r"<\+OK", "JUNK", "<-ERR", "JUNK", "<-ERR", "JUNK", "<-ERR", None),
        "the twentieth after login closes": (*POP_LOGIN, *("JUNK", "<-ERR") * 20, None),
        "HTTP is closed": (r"<\+OK", "GET / HTTP/1.1", None),
        "an oversize line is closed": (r"<\+OK", b"USER " + b"x" * 2000 + b"\r\n", "<-ERR", None),
    },
    "pop3": {
        "no login in clear": (r"<\+OK", f"USER {ADDRESS}", r"<-ERR"),
        "a command behind STLS in the same packet is closed":
            (r"<\+OK", b"STLS\r\nCAPA\r\n", ...),
    },
    "smtp": {
        "HTTP is closed": ("<220", "POST / HTTP/1.1", "<421", None),
        "the twentieth junk command closes": ("<220", *("JUNK", "<500 5.5.2") * 19, "JUNK", "<421", None),
        "an oversize line is closed": ("<220", b"EHLO " + b"x" * 3000 + b"\r\n", "<500 5.5.2", None),
        "a command behind STARTTLS in the same packet is closed":
            (*EHLO, b"STARTTLS\r\nNOOP\r\n", ...),
        "an announced message over the limit is refused":
            (*EHLO, f"MAIL FROM:<x@elsewhere.test> SIZE={LIMIT + 1}", "<552 5.3.4", "NOOP", "<250"),
        "so is one that turns out to be": (*DATA, b"x: y\r\n\r\n" + (b"y" * 78 + b"\r\n") * (LIMIT // 80 + 1), b".\r\n",
                                           "<552 5.3.4", "NOOP", "<250"),
        "a bare LF is no line end, and never a message's end":
            (*DATA, b"x: y\r\n\r\nz\n.\nRSET\r\n.\r\n", "<550 5.5.2", None),
        "nor is a bare CR": (*DATA, b"x: y\r\n\r\nz\r.\rRSET\r\n.\r\n", "<550 5.5.2", None),
        "nor LF, dot, CRLF": (*DATA, b"x: y\r\n\r\nz\n.\r\nRSET\r\n.\r\n", "<550 5.5.2", None),
        "nobody relays": (*EHLO, "MAIL FROM:<x@elsewhere.test>", "<250", "RCPT TO:<y@elsewhere.test>", "<550 5.7.1"),
    },
    "submission": {
        "the third junk command before login closes":
            ("<220", "JUNK", "<500", "JUNK", "<500", "JUNK", "<421", None),
        "no login in clear": (*EHLO, f"AUTH PLAIN {plain(ADDRESS, PASSWORD)}", "<5[03][0-9]"),
        "a command behind STARTTLS in the same packet is closed":
            (*EHLO, b"STARTTLS\r\nEHLO evil\r\n", ...),
    },
    "submissions": {
        "the twentieth junk command after login closes":
            (*EHLO, *AUTH, *("JUNK", "<500 5.5.2") * 19, "JUNK", "<421", None),
        "nobody sends as somebody else": (*EHLO, *AUTH, "MAIL FROM:<other@example.test>", "<553 5.7.1"),
    },
    "lmtp": {
        "NUL is refused":
            ("<220", "LHLO test", "<250 ", *ENVELOPE, "DATA", "<354", b"x: a\0b\r\n.\r\n", "<550 5.6.0", "NOOP", "<250"),
    },
}


def bad_input(cluster, tally, options):
    """input: what no client sends gets the protocol's own error, and harms nobody"""
    cluster.add_account(ADDRESS, PASSWORD)
    with Wire(cluster.port("imaps", 0), cluster.tls()) as bystander:
        bystander.talk(r"<\* OK", *LOGIN)
        for protocol, cases in CASES.items():
            for name, steps in cases.items():
                try:
                    with Wire(cluster.port(protocol, 0), cluster.tls() if protocol.endswith("s") else None) as wire:
                        wire.talk(*steps)
                    trouble = ""
                except (AssertionError, OSError) as e:
                    trouble = repr(e)
                tally.check(f"{protocol}: {name}", not trouble, trouble)
        bystander.talk(*ALIVE, "s STATUS INBOX (MESSAGES)", r"<\* STATUS INBOX \(MESSAGES 0\)")
    memory = peak_kib(cluster, "frontend-1")
    tally.check("in bounded memory", memory < 512 * 1024, f"{memory} KiB")


def peak_kib(cluster, name):
    pid = int(open(os.path.join(cluster.dir, "run", name + ".pid")).read())
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmHWM:")).split()[1])


STORIES = {"input": bad_input}
