"""What clients must be told while a shard has no majority. Each check says what was wrong, or None."""

import smtplib

from imap import Lost, Refused

ANSWER_MAX = 30  # seconds


def over_imap(cluster, front_end, account, password):
    """NO [UNAVAILABLE] (RFC 5530) from LOGIN or SELECT; never an empty mailbox."""
    try:
        imap = cluster.imap(front_end, timeout=ANSWER_MAX)
        try:
            imap.login(account, password)
            imap.command("SELECT INBOX")
        finally:
            imap.close()
    except Refused as e:
        return None if e.unavailable else f"IMAP without a majority: {e}"
    except Lost as e:
        return f"IMAP without a majority: the connection broke: {e}"
    return "IMAP without a majority: SELECT was answered OK"


def over_smtp(cluster, front_end, account):
    """4xx (RFC 3463 4.3.2) to RCPT or DATA; never 250, never 5xx."""
    host, _, port = cluster.front_ends[front_end]
    try:
        with smtplib.SMTP(host, port, timeout=ANSWER_MAX, local_hostname="client.test") as smtp:
            smtp.ehlo_or_helo_if_needed()
            smtp.mail("out@else.test")
            code, text = smtp.rcpt(account)
            if code == 250:
                code, text = smtp.data(b"From: a@else.test\r\n\r\nx\r\n")
    except smtplib.SMTPException as e:
        return f"SMTP without a majority: {e!r}"
    except OSError as e:
        return f"SMTP without a majority: {e!r}"
    return None if 400 <= code < 500 else f"SMTP without a majority: {code} {text!r}"
