"""The same as mime_dump_ours, from Python's email package. Arguments: files; one JSON object a line on standard output."""
import email.feedparser
import email.header
import email.policy
import email.utils
import hashlib
import json
import sys


def clean(text):
    """Raw 8-bit octets (surrogates) as lib/mail shows them: UTF-8, else windows-1252."""
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def decoded(value):
    if value is None:
        return None
    raw = str(value) if not isinstance(value, str) else value
    try:
        pieces = email.header.decode_header(raw)
    except Exception:
        return clean(raw)
    out = []
    for text, charset in pieces:
        if isinstance(text, str):
            out.append(clean(text))
        elif charset is None or charset == "unknown-8bit":
            try:
                out.append(text.decode("utf-8"))
            except UnicodeDecodeError:
                out.append(text.decode("cp1252", "replace"))
        else:
            if charset.lower() in ("iso-8859-1", "latin1"):
                charset = "cp1252"
            try:
                out.append(text.decode(charset, "replace"))
            except (LookupError, UnicodeError):
                out.append(text.decode("latin-1"))
    return "".join(out)


def raw_header(message, name):
    for key, value in message.raw_items():
        if key.lower() == name:
            return value
    return None


def tree(part):
    node = {"t": part.get_content_type()}
    if node["t"] == "message/delivery-status":
        return node  # Python makes a message of each of its blocks; we and GMime keep its text
    if part.is_multipart() and part.get_payload():
        node["c"] = [tree(child) for child in part.get_payload()]
        return node
    payload = part.get_payload(decode=True)
    if payload is None:
        payload = b""
    node["len"] = len(payload)
    node["sha"] = hashlib.sha256(payload).hexdigest()[:16]
    return node


def addresses(message, name):
    value = raw_header(message, name)
    if value is None:
        return []
    value = clean(value.replace("\r", "").replace("\n", ""))
    parsed = email.policy.default.header_factory(name, value)
    return [[a.display_name, (a.username + "@" + a.domain) if a.domain else a.username] for a in parsed.addresses]


def date(message):
    value = raw_header(message, "date")
    parsed = email.utils.parsedate_tz(value.replace("\r", "").replace("\n", "")) if value else None
    try:
        return email.utils.mktime_tz(parsed) if parsed else None
    except (ValueError, OverflowError):
        return None


def dump(path):
    # All at once: message_from_bytes feeds 8,192 characters at a time and takes a CRLF between two pieces for two line ends.
    parser = email.feedparser.BytesFeedParser(policy=email.policy.compat32)
    with open(path, "rb") as f:
        parser.feed(f.read())
    message = parser.close()
    subject = raw_header(message, "subject")
    ident = raw_header(message, "message-id") or ""
    ident = ident[ident.find("<") + 1:ident.find(">")] if "<" in ident and ">" in ident else ""
    return {"file": path, "tree": tree(message),
            "subject": None if subject is None else decoded(subject.replace("\r", "").replace("\n", "")),
            "from": addresses(message, "from"), "to": addresses(message, "to"), "date": date(message),
            "id": clean("".join(ident.split()))}


sys.setrecursionlimit(20000)
for name in sys.argv[1:]:
    try:
        result = dump(name)
    except Exception as e:  # Python's parser gives up on some input
        result = {"file": name, "error": "%s: %s" % (type(e).__name__, e)}
    print(json.dumps(result))
