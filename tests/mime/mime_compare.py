"""Compares the dumps of lib/mail, GMime and Python's email, message by message.

mime_compare.py FOLDER OURS GMIME PYTHON DOCUMENT: the message files' folder, the three dumps (one JSON object a line), and
docs/mime-differences.md. Every difference must be explained by one of RULES, each of which the document names. The last
line is "N passed, N failed": a message passes when all its differences are explained.
"""
import base64
import collections
import json
import os
import quopri
import re
import sys

TYPE = re.compile(rb"^[\w!#$%&'*+.^`{|}~-]+[ \t]*/[ \t]*[\w!#$%&'*+.^`{|}~-]+\s*(;|\(|$)")
FIELD = re.compile(rb"^[\x21-\x39\x3b-\x7e]+[ \t]*:")


class Node:
    """Our node with the octets that it stands for."""

    def __init__(self, node, message, parent=None):
        self.node, self.message, self.parent = node, message, parent
        self.header = message[node["head"]:node["body"]]
        self.body = message[node["body"]:node["end"]]
        self.all = message[node["head"]:node["end"]]

    def lines(self):
        return [line for line in self.header.split(b"\n") if line.rstrip(b"\r")]

    def junk(self):
        """Header lines that are neither a field nor a continuation of one."""
        previous, junk = False, []
        for line in self.lines():
            if line[:1] in b" \t" and previous:
                continue
            previous = bool(FIELD.match(line))
            if not previous:
                junk.append(line)
        return junk

    def fields(self, name):
        out, now = [], None
        for line in self.lines():
            if line[:1] in b" \t":
                if now is not None:
                    now.append(line)
                continue
            now = None
            m = FIELD.match(line)
            if m and m.group()[:-1].strip().lower() == name:
                now = [line[m.end():]]
                out.append(now)
        return [b"".join(x).replace(b"\r", b"").strip() for x in out]


def squeeze(text):
    return None if text is None else " ".join(text.split())


# ---- the rules: name, whose dump, what differs, when it explains the difference ----

def childless(n, a, r):
    types = n.fields(b"content-type")
    return bool(types) and "c" not in a and "c" not in r and r["t"].startswith("multipart/") and a["t"] == "text/plain"


def depth(n, a, r):
    return a.get("opaque") == 1


def second_type(n, a, r):
    return len(n.fields(b"content-type")) > 1


def broken_type(n, a, r):
    types = n.fields(b"content-type")
    return bool(types) and (not TYPE.match(types[0]) or not types[0].split(b";")[0].isascii())


def junk_line(n, a, r):
    """Where the header ends: of this part, or of the message/rfc822 part that holds it."""
    outer = n.parent and n.parent.node["t"] in ("message/rfc822", "message/global") and n.parent.junk()
    return bool(n.junk() or outer)


def other_separator(n, a, r):
    nodes = [n] + ([n.parent] if n.parent else [])
    return any(re.search(rb"[\x0b\x0c\x1c-\x1e]", x.header) for x in nodes)


def spaced_colon(n, a, r):
    nodes = [n] + ([n.parent] if n.parent and n.parent.node["t"] == "message/rfc822" else [])
    return any(re.match(rb"^[\x21-\x39\x3b-\x7e]+[ \t]+:", line) for x in nodes for line in x.lines())


def bare_cr(n, a, r):
    outer = n.parent.header if n.parent else b""
    return re.search(rb"\r(?!\n)", n.all + n.message[n.node["end"]:n.node["end"] + 1] + b"|" + outer) is not None


def bare_cr_in_type(n, a, r):
    return any(b"\r" in line.rstrip(b"\r") for line in n.lines() if line.lower().startswith(b"content-t"))


def odd_encoding(n, a, r):
    folded = re.search(rb"(?i)(^|\n)content-transfer-encoding:[^\n]*\n[ \t]", n.header)
    return bool(folded) or any(not re.match(rb"^[A-Za-z0-9-]+$", v) for v in n.fields(b"content-transfer-encoding"))


def unfinished_boundary(n, a, r):
    """The last line is a boundary without a line end; GMime leaves the CR before it in the part, or loses a part."""
    rest = n.message[n.node["end"]:]
    ends_here = re.match(rb"^\r?\n--[^\n]*$", rest) is not None
    return ends_here and ("c" in a or (rest.startswith(b"\r") and r.get("len") == a.get("len", 0) + 1))


def qp_blanks(n, a, r):
    return a.get("enc") == 3 and re.search(rb"[ \t]+(\r?\n|\r|$)", n.body) is not None


def base64_garbage(n, a, r):
    return a.get("enc") == 4 and not re.match(rb"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
                                              re.sub(rb"[ \t\r\n]", b"", n.body))


def qp_broken(n, a, r):
    return a.get("enc") == 3 and re.search(rb"=(?![0-9A-Fa-f]{2}|[ \t]*(\r?\n|$))", n.body) is not None


def folded_boundary(n, a, r):
    return any(b"\n" in value for value in re.findall(rb'boundary="([^"]*)"', n.header))


def hyphen_boundary(n, a, r):
    values = set(re.findall(rb'boundary="?([^"\r\n;]*)', n.message))
    return any(v + b"--" in values for v in values)


def header_at_end(n, a, r):
    """The message, or the part around, ends in a part's header: GMime leaves that part out."""
    if r["t"] == "none/none":
        return a.get("len") == 0
    last = a.get("c", [{}])[-1]
    return last.get("body") == len(n.message) or (n.node["end"] == len(n.message) and last.get("len") == 0)


def other_message(n, a, r):
    return a["t"].startswith("message/") and a["t"] not in ("message/rfc822", "message/global")


def long_line(n, a, r):
    """A line about as long as GMime's buffer, here or below: it loses the boundary after it."""
    return re.search(rb"[^\n]{3000,}", n.all) is not None


def lone_boundary(n, a, r):
    """Two boundary lines in a row, without a part's header between them: Python sees one."""
    return any(re.search(rb"(^|\n)--" + re.escape(v) + rb"[ \t]*\r?\n--" + re.escape(v) + rb"[ \t]*\r?\n", n.all)
               for v in re.findall(rb'boundary="?([^"\r\n;]*)', n.header))


def mixed_line_ends(n, a, r):
    """GMime takes two octets for the line end before a boundary where only LF stands there, after CRLF elsewhere."""
    rest = n.message[n.node["end"]:]
    return rest.startswith(b"\n--") and b"\r\n" in n.message and a.get("len", 0) - r.get("len", 0) == 1


def last_line_end(n, a, r):
    return n.node["end"] == len(n.message) and n.body.endswith(b"\n") and "len" in a and a["len"] - r["len"] in (1, 2)


def same_boundary(n, a, r):
    """A multipart inside another one with the same boundary, here or around here."""
    values = re.findall(rb'boundary="?([^"\r\n;]*)', n.message)
    return len(values) != len(set(values))


RULES = [
    ("childless-multipart", "gmime python", "type", childless),
    ("depth-limit", "gmime python", "type", depth),
    ("second-content-type", "gmime", "type", second_type),
    ("broken-content-type", "gmime python", "type", broken_type),
    ("header-junk-line", "gmime python", "type children content", junk_line),
    ("blank-before-colon", "python", "type children content", spaced_colon),
    ("bare-cr", "python", "type children content", bare_cr),
    ("other-line-separators", "python", "type children content", other_separator),
    ("bare-cr", "gmime", "type content", bare_cr_in_type),
    ("odd-encoding-token", "gmime python", "content", odd_encoding),
    ("unfinished-boundary-line", "gmime", "children content", unfinished_boundary),
    ("qp-blanks-at-line-end", "gmime python", "content", qp_blanks),
    ("base64-not-clean", "gmime python", "content", base64_garbage),
    ("qp-not-clean", "gmime python", "content", qp_broken),
    ("folded-boundary", "python", "children", folded_boundary),
    ("hyphens-in-boundary", "gmime python", "type children content", hyphen_boundary),
    ("empty-part-without-header", "python", "children", lone_boundary),
    ("other-message-type", "python", "children content", other_message),
    ("long-header-line", "gmime", "type children content", long_line),
    ("mixed-line-ends", "gmime", "content", mixed_line_ends),
    ("header-at-end", "gmime", "type children", header_at_end),
    ("last-line-end", "python", "content", last_line_end),
    ("same-boundary-nested", "gmime python", "type children content", same_boundary),
]


def field_junk(n, key, a, r):
    return bool(n.junk())


NAMES = {"subject": b"subject", "from": b"from", "to": b"to", "date": b"date", "id": b"message-id"}


def field_cr(n, key, a, r):
    return re.search(rb"\r(?!\n)", n.header) is not None


def field_spaced(n, key, a, r):
    return spaced_colon(n, a, r)


ADDRESS = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-][A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*@(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9.]+\])"
MAILBOX = re.compile(rb"^(?:[^<>@,;:()\[\]\\\"\x00-\x1f\x7f]*<" + ADDRESS + rb">|" + ADDRESS + rb")$")


def is_address_list(value):
    """Strictly, as RFC 5322 without its obsolete forms has it."""
    value = re.sub(rb'"(?:[^"\\\x00-\x1f\x7f]|\\.)*"', b"Q", value.replace(b"\n", b""))
    value = re.sub(rb"\([^()\\]*\)", b" ", value).strip()
    group = re.match(rb"^[^:;<>,@()\"]+:(.*);$", value)
    if group and not group.group(1).strip():
        return True
    return all(MAILBOX.match(item.strip()) for item in (group.group(1) if group else value).split(b","))


DATE = re.compile(rb"^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),)?\s*[0-9]{1,2}\s+[A-Z][a-z]{2}\s+[0-9]{4}\s+[0-9]{2}:[0-9]{2}:[0-9]{2}"
                  rb"\s+(?:[+-][0-9]{4}|GMT|EST)(?:\s*\([A-Z]*\))?\s*$")


def broken_addresses(n, key, a, r):
    return any(not is_address_list(v) for name in ([NAMES[key]] if key in NAMES else [b"from", b"to"]) for v in n.fields(name))


def broken_date(n, key, a, r):
    return any(not DATE.match(v) for v in n.fields(b"date"))


def broken_id(n, key, a, r):
    return any(not re.match(rb"^<[^<>\s]+>$", v) for v in n.fields(b"message-id"))


def raw_octets(n, key, a, r):
    """Raw 8-bit text that is not UTF-8: everybody guesses."""
    for value in n.fields(NAMES[key]):
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            return True
    return False


def broken_word(n, key, a, r):
    """An encoded word that is cut, or whose charset or octets are not valid."""
    for value in n.fields(NAMES[key]):
        words = re.findall(rb"=\?([^?]*)\?([bBqQ])\?([^?]*)\?=", value)
        if len(words) != value.count(b"=?"):
            return True
        for charset, how, text in words:
            try:
                raw = base64.b64decode(text, validate=True) if how in b"bB" else quopri.decodestring(text, header=True)
                if how in b"qQ" and (re.search(rb"=(?![0-9A-F]{2})", text) or re.search(rb"[^\x21-\x7e]", text)):
                    return True
                raw.decode(charset.decode("ascii"))
            except (LookupError, UnicodeError, ValueError):
                return True
    return False


def control(n, key, a, r):
    return any(re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", v) for v in n.fields(NAMES[key]))


def empty(n, key, a, r):
    return not n.header.strip()


def repeated(n, key, a, r):
    return len(n.fields(NAMES[key])) > 1


def comment_name(n, key, a, r):
    return len(a) == len(r) and all(x == y or (x[1] == y[1] and y[0] == "") for x, y in zip(a, r)) and any(
        b"(" in value for value in n.fields(NAMES[key]))


def padded_words(n, key, a, r):
    return any(re.search(rb"=\?=\s*=\?[^?]*\?[bB]\?", value) for value in n.fields(NAMES[key]))


FIELD_RULES = [
    ("header-junk-line", "gmime python", "subject from to date id error", field_junk),
    ("bare-cr", "python", "subject from to date id error", field_cr),
    ("other-line-separators", "python", "subject from to date id error", lambda n, key, a, r: other_separator(n, a, r)),
    ("blank-before-colon", "python", "subject from to date id error", field_spaced),
    ("bare-cr", "gmime", "subject from to date id error", field_cr),
    ("empty-message", "gmime", "error", empty),
    ("repeated-field", "gmime", "subject from to date id", repeated),
    ("comment-as-name", "python", "from to", comment_name),
    ("padded-words-joined", "gmime", "subject from to", padded_words),
    ("raw-8-bit-not-utf-8", "gmime python", "subject from to id", raw_octets),
    ("broken-encoded-word", "gmime python", "subject from to", broken_word),
    ("control-octet", "gmime python", "subject from to id", control),
    ("broken-addresses", "gmime python", "from to error", broken_addresses),
    ("broken-date", "gmime python", "date", broken_date),
    ("broken-message-id", "gmime python", "id", broken_id),
]


def explain(who, kind, n, a, r):
    for name, whose, kinds, test in RULES:
        if who in whose.split() and kind in kinds.split() and test(n, a, r):
            return name
    return None


def explain_field(who, key, n, a, r):
    for name, whose, keys, test in FIELD_RULES:
        if who in whose.split() and key in keys.split() and test(n, key, a, r):
            return name
    return None


def compare_trees(who, message, ours, theirs, found):
    """Appends (rule or None, text) for the topmost differences; what lies below one is not looked at."""
    stack = [("", None, ours, theirs)]
    while stack:
        path, parent, a, r = stack.pop()
        n, kind = Node(a, message, parent), None
        ca, cr = a.get("c", []), r.get("c", [])
        if a["t"] != r["t"]:
            kind = "type"
        elif len(ca) != len(cr):
            kind = "children"
        elif not ca and "sha" in r and a["sha"] != r["sha"]:
            kind = "content"
        if kind is None:
            stack.extend(("%s.%d" % (path, i + 1), n, x, y) for i, (x, y) in enumerate(zip(ca, cr)))
            continue
        text = "%s part %s: %s: ours %s %d children %s octets, theirs %s %d children %s octets" % (
            who, path or "0", kind, a["t"], len(ca), a.get("len"), r["t"], len(cr), r.get("len"))
        found.append((explain(who, kind, n, a, r), text))


def normal(key, value):
    if key in ("from", "to"):
        return [[squeeze(name), address] for name, address in value]
    return squeeze(value) if key in ("subject", "id") else value


def compare(who, message, ours, theirs):
    found = []
    root = Node(ours["tree"], message)
    if "tree" not in theirs:
        found.append((explain_field(who, "error", root, None, theirs), "%s gives up: %s" % (who, theirs.get("error"))))
        return found
    compare_trees(who, message, ours["tree"], theirs["tree"], found)
    for key in ("subject", "from", "to", "date", "id"):
        a, r = normal(key, ours[key]), normal(key, theirs[key])
        if a != r:
            found.append((explain_field(who, key, root, a, r), "%s %s: ours %r, theirs %r" % (who, key, a, r)))
    return found


def load(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return {o["file"]: o for o in map(json.loads, f)}


def main():
    folder, document = sys.argv[1], open(sys.argv[5], encoding="utf-8").read()
    ours, gmime, python = (load(p) for p in sys.argv[2:5])
    rules = list(dict.fromkeys(r[0] for r in RULES + FIELD_RULES))
    failed, counts, by_rule = 0, collections.Counter(), collections.Counter()
    for name in rules:
        if "`%s`" % name not in document:
            print("rule %s is not explained in %s" % (name, sys.argv[5]))
            failed += 1
    for name in sorted(ours):
        with open(os.path.join(folder, name), "rb") as f:
            message = f.read()
        bad = []
        for who, theirs in (("gmime", gmime), ("python", python)):
            found = compare(who, message, ours[name], theirs[name]) if name in theirs else [(None, "%s: no dump" % who)]
            counts[who, "differs" if found else "equal"] += 1
            by_rule.update((rule, who) for rule, _ in found if rule)
            bad += [text for rule, text in found if not rule]
        if bad:
            failed += 1
            print("%s: not explained:\n  %s" % (name, "\n  ".join(t[:400] for t in bad)))
    for who in ("gmime", "python"):
        print("%s: %d messages equal, %d with explained or reported differences" % (who, counts[who, "equal"],
                                                                                    counts[who, "differs"]))
    for name in rules:
        print("  %-28s gmime %5d  python %5d" % (name, by_rule[name, "gmime"], by_rule[name, "python"]))
    print("%d passed, %d failed" % (len(ours) - min(failed, len(ours)), failed))
    return 1 if failed else 0


sys.exit(main())
