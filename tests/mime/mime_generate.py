"""Writes COUNT messages from SEED into FOLDER, varied and hostile: mime_generate.py FOLDER COUNT SEED."""
import base64
import os
import quopri
import random
import sys

WORDS = ("lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore "
         "magna aliqua -- From the -b -- --x = == . .. .dot").split()
INTERNATIONAL = ["Grüße aus Köln", "日本語のテキスト", "Привет мир", "Ελληνικά κείμενα", "naïve café", "emoji 😀 text", "ß"]
CHARSETS = {"Grüße aus Köln": "iso-8859-1", "日本語のテキスト": "shift_jis", "Привет мир": "koi8-r",
            "Ελληνικά κείμενα": "iso-8859-7", "naïve café": "windows-1252", "emoji 😀 text": "utf-8", "ß": "iso-8859-15"}
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.nl = b"\n" if self.r.random() < 0.4 else b"\r\n"
        self.hostile = self.r.random() < 0.5
        self.parts = 0

    def chance(self, p):
        return self.r.random() < p

    def words(self, low, high):
        return " ".join(self.r.choice(WORDS) for _ in range(self.r.randint(low, high)))

    def lines(self):
        return [self.words(0, 12).encode() for _ in range(self.r.randint(0, 12))]

    # ---- headers ----

    def encoded_word(self, text):
        charset = CHARSETS.get(text, "utf-8")
        raw = text.encode(charset)
        if self.chance(0.5):
            return "=?%s?B?%s?=" % (charset, base64.b64encode(raw).decode())
        body = "".join(chr(c) if chr(c).isalnum() and c < 128 else "_" if c == 32 else "=%02X" % c for c in raw)
        return "=?%s?Q?%s?=" % (charset, body)

    def subject(self):
        kind = self.r.randint(0, 7)
        if kind == 0:
            return ""
        if kind <= 2:
            return self.words(1, 8)
        if kind == 3:
            return "Re: " + self.encoded_word(self.r.choice(INTERNATIONAL))
        if kind == 4:
            return " ".join(self.encoded_word(self.r.choice(INTERNATIONAL)) for _ in range(self.r.randint(2, 4)))
        if kind == 5:
            return self.words(1, 3) + " " + self.encoded_word(self.r.choice(INTERNATIONAL)) + " " + self.words(1, 3)
        if kind == 6:
            return self.r.choice(INTERNATIONAL)  # raw UTF-8
        return "[list] " + self.words(3, 30)

    def local(self):
        return self.r.choice(["joe", "a.b", "x-y_z", "info", "j+tag", "no.reply"])

    def domain(self):
        return self.r.choice(["example.test", "sub.example.test", "x.test", "[192.0.2.1]"])

    def address(self):
        a = "%s@%s" % (self.local(), self.domain())
        kind = self.r.randint(0, 9)
        if kind <= 1:
            return a
        if kind <= 3:
            return "Joe Doe <%s>" % a
        if kind == 4:
            return '"Doe, \\"J\\"" <%s>' % a
        if kind == 5:
            return "%s <%s>" % (self.encoded_word(self.r.choice(INTERNATIONAL)), a)
        if kind == 6:
            return "%s (Joe Doe)" % a
        if kind == 7:
            return '"Joe Q. Doe" <%s>' % a
        if kind == 8:
            return "<%s>" % a
        return "%s <%s>" % (self.r.choice(INTERNATIONAL), a)

    def addresses(self):
        kind = self.r.randint(0, 11)
        if kind == 0:
            return "undisclosed-recipients:;"
        if kind == 1:
            return "Group: " + ", ".join(self.address() for _ in range(self.r.randint(1, 3))) + ";"
        return ", ".join(self.address() for _ in range(self.r.randint(1, 4)))

    def date(self):
        r = self.r
        zone = r.choice(["+0000", "-0800", "+0530", "GMT", "EST", "-0000", "+0100 (CET)"])
        text = "%d %s %d %02d:%02d:%02d %s" % (r.randint(1, 28), r.choice(MONTHS), r.randint(1975, 2035), r.randint(0, 23),
                                              r.randint(0, 59), r.randint(0, 59), zone)
        return "%s, %s" % (r.choice(DAYS), text) if self.chance(0.8) else text

    def message_header(self):
        fields = [("From", self.address()), ("To", self.addresses()), ("Subject", self.subject()), ("Date", self.date()),
                  ("Message-ID", "<%d.%s@example.test>" % (self.r.randint(1, 10**9), self.local())), ("MIME-Version", "1.0")]
        self.r.shuffle(fields)
        if self.chance(0.1):
            fields.pop()
        return fields

    def fold(self, name, value):
        line = ("%s: %s" % (name, value)).encode()
        if len(line) > 70 or self.chance(0.1):
            at = line.find(b" ", len(name) + 20)
            if at > 0 and line[at:].strip():
                line = line[:at] + self.nl + line[at:]
        return line + self.nl

    def header(self, fields):
        out = b"".join(self.fold(n, v) for n, v in fields)
        if self.hostile:
            if self.chance(0.05):
                out += b"this is no header field" + self.nl
            if self.chance(0.05):
                out += b"X-Long: " + b"x" * self.r.randint(900, 5000) + self.nl
            if self.chance(0.03):
                out += b"X-Space : before colon" + self.nl
            if self.chance(0.03):
                out += b"Content-Type: text/x-second" + self.nl
        return out + (b"" if self.hostile and self.chance(0.02) else self.nl)

    # ---- bodies ----

    def param(self, name, value):
        if all(c.isalnum() or c in "-_." for c in value) and self.chance(0.5):
            return "%s=%s" % (name, value)
        return '%s="%s"' % (name, value)

    def file_name(self):
        kind = self.r.randint(0, 4)
        if kind == 0:
            return 'filename="file.bin"'
        if kind == 1:
            return "filename*=utf-8''%E6%97%A5%E6%9C%AC.txt"
        if kind == 2:
            return "filename*0=\"part one \"; filename*1=\"and two.txt\""
        if kind == 3:
            return "filename*0*=iso-8859-1''%E4; filename*1*=%F6; filename*2=.txt"
        return "; ".join("x%d*%d=y" % (self.r.randint(0, 5), i) for i in range(self.r.choice([3, 150])))

    def text_part(self, fields):
        text = b"\n".join(self.lines())
        charset = "us-ascii"
        if self.chance(0.5):
            sample = self.r.choice(INTERNATIONAL)
            charset = CHARSETS[sample]
            text += b"\n" + (sample + "\n" + sample).encode(charset)
        encoding = self.r.choice(["7bit", "8bit", "quoted-printable", "base64", None])
        subtype = self.r.choice(["plain", "html", "plain", "Plain", "x-other"])
        fields.append(("Content-Type", "text/%s; %s" % (subtype, self.param("charset", charset))))
        if encoding:
            fields.append(("Content-Transfer-Encoding", encoding))
        if encoding == "quoted-printable":
            text = quopri.encodestring(text)
        elif encoding == "base64":
            text = base64.encodebytes(text)
            if self.hostile and self.chance(0.1):
                text = text[:-self.r.randint(1, 4)]
        text = text.replace(b"\n", self.nl)
        if self.chance(0.5):
            text += self.nl
        return self.header(fields) + text

    def binary_part(self, fields):
        data = bytes(self.r.getrandbits(8) for _ in range(self.r.randint(0, 300)))
        fields.append(("Content-Type", self.r.choice(["application/octet-stream", "image/png; name=x.png", "audio/x-y"])))
        fields.append(("Content-Transfer-Encoding", self.r.choice(["base64", "BASE64", "Base64"])))
        fields.append(("Content-Disposition", "attachment; " + self.file_name()))
        return self.header(fields) + base64.encodebytes(data).replace(b"\n", self.nl)

    def odd_part(self, fields):
        kind = self.r.randint(0, 7)
        if kind == 0:
            return self.nl  # no header at all
        if kind == 1:
            fields.append(("Content-Type", self.r.choice(["text", "garbage", "/", "text/", "a/b/c", ""])))
        elif kind == 2:
            fields.append(("Content-Transfer-Encoding", self.r.choice(["x-unknown", "quoted-printable;", "(c) 7bit", "8 bit"])))
        elif kind == 3:
            fields.append(("Content-Type", "message/delivery-status"))
            return self.header(fields) + b"Reporting-MTA: dns; x" + self.nl + self.nl + b"Action: failed" + self.nl
        elif kind == 4:
            fields.append(("Content-Type", "multipart/mixed"))  # no boundary
        elif kind == 5:
            fields.append(("Content-Type", 'multipart/mixed; boundary="never-seen"'))
        elif kind == 6:
            return self.header(fields)  # empty body
        else:
            fields.append(("Content-Type", "text/plain; charset=us-ascii (comment); x=y"))
        return self.header(fields) + self.nl.join(self.lines()) + self.nl

    def boundary(self):
        return self.r.choice(["b%d", "----=_Part_%d", "=_%d", "a b%d", "b%d--", "simple%d", "x'()+_,-./:=?%d"]) % self.r.randint(0, 99)

    def multipart(self, fields, depth):
        boundary = self.boundary() if not (self.hostile and self.chance(0.05)) else "same"
        subtype = self.r.choice(["mixed", "alternative", "related", "digest", "report", "x-unknown", "Mixed"])
        fields.append(("Content-Type", "multipart/%s; boundary=\"%s\"" % (subtype, boundary)))
        b = boundary.encode()
        out = self.header(fields)
        if self.chance(0.4):
            out += self.nl.join(self.lines()) + self.nl
        for _ in range(self.r.choice([0, 1, 1, 2, 2, 3, 5])):
            pad = self.r.choice([b"", b"", b"", b" ", b"\t "]) if self.hostile else b""
            out += self.nl + b"--" + b + pad + self.nl + self.part(depth + 1)
            if self.hostile and self.chance(0.05):
                out += self.nl + b"--" + b + b"x" + self.nl
        if not (self.hostile and self.chance(0.1)):
            out += self.nl + b"--" + b + b"--"
            if not (self.hostile and self.chance(0.1)):
                out += self.nl
            if self.chance(0.3):
                out += self.nl.join(self.lines()) + self.nl
        return out

    def part(self, depth, fields=None):
        self.parts += 1
        fields = fields if fields is not None else []
        choice = self.r.random()
        if self.parts < 40 and depth < 8 and choice < 0.4:
            return self.multipart(fields, depth)
        if self.parts < 40 and depth < 8 and choice < 0.5:
            fields.append(("Content-Type", "message/rfc822"))
            return self.header(fields) + self.part(depth + 1, self.message_header())
        if choice < 0.75:
            return self.text_part(fields)
        if choice < 0.9:
            return self.binary_part(fields)
        return self.odd_part(fields)

    def deep(self):
        depth = self.r.choice([50, 99, 100, 101, 120])
        out = self.header(self.message_header() + [("Content-Type", "multipart/mixed; boundary=d0")])
        for i in range(1, depth):
            out += b"--d%d" % (i - 1) + self.nl + b"Content-Type: multipart/mixed; boundary=d%d" % i + self.nl + self.nl
        return out + b"--d%d" % (depth - 1) + self.nl + self.nl + b"bottom" + self.nl

    def damage(self, message):
        kind = self.r.randint(0, 7)
        at = self.r.randint(0, max(len(message) - 1, 0))
        if kind == 0:
            return message[:at]
        if kind == 1:
            return message[:at] + bytes([self.r.getrandbits(8) or 1]) + message[at + 1:]
        if kind == 2:
            return message[:at] + b"\r" + message[at:]
        if kind == 3:
            return message[:at] + b"\n" + message[at:]
        if kind == 4:
            return message.replace(b"\r\n", b"\n", self.r.randint(1, 5))
        if kind == 5:
            return message + bytes(self.r.getrandbits(8) or 1 for _ in range(50))
        if kind == 6:
            return message[:at] + self.nl + b"--" + self.boundary().encode() + self.nl + message[at:]
        return message[:at] + message[at + self.r.randint(1, 20):]

    def message(self):
        if self.chance(0.02):
            return self.deep()
        out = self.part(0, self.message_header())
        if self.hostile and self.chance(0.3):
            out = self.damage(out)
        return out


def main():
    folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.makedirs(folder, exist_ok=True)
    for i in range(count):
        with open(os.path.join(folder, "%06d.eml" % i), "wb") as f:
            f.write(Generator(seed * 1000003 + i).message())


main()
