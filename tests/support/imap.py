"""A small IMAP client for the checkers: says exactly what it saw, and never hides a lost connection."""

import re
import socket


class Lost(Exception):
    """The connection broke or timed out: the outcome of the command is unknown."""


class Refused(Exception):
    """NO or BAD: nothing was done."""

    def __init__(self, text):
        super().__init__(text)
        self.unavailable = "[UNAVAILABLE]" in text
        # The server itself could not tell.
        self.unknown = "outcome" in text.lower()


class Imap:
    def __init__(self, port, tls, timeout=20, host="127.0.0.1"):
        try:
            raw = socket.create_connection((host, port), timeout=timeout)
            self.socket = tls.wrap_socket(raw, server_hostname="localhost")
            self.file = self.socket.makefile("rb")
            self.counter = 0
            line = self.line()
            if not line.startswith(b"* OK"):
                raise Lost(line)
        except OSError as e:
            raise Lost(str(e)) from e

    def line(self):
        try:
            line = self.file.readline()
        except OSError as e:
            raise Lost(str(e)) from e
        if not line.endswith(b"\r\n"):
            raise Lost("end of file")
        return line[:-2]

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            raise Lost(str(e)) from e

    def response(self):
        """One response with its literals put in: a list of byte strings, text and literals in turn."""
        parts = []
        while True:
            line = self.line()
            parts.append(line)
            literal = re.search(rb"\{(\d+)\}$", line)
            if not literal:
                return parts
            try:
                parts.append(self.file.read(int(literal.group(1))))
            except OSError as e:
                raise Lost(str(e)) from e

    def command(self, text, literal=None):
        """Returns (untagged responses, text of the tagged OK). Raises Refused or Lost."""
        self.counter += 1
        tag = b"t%d" % self.counter
        untagged = []
        self.send(tag + b" " + text.encode() + (b" {%d}\r\n" % len(literal) if literal is not None else b"\r\n"))
        while True:
            parts = self.response()
            first = parts[0]
            if first.startswith(b"+") and literal is not None:
                self.send(literal + b"\r\n")
                literal = None
            elif first.startswith(tag + b" "):
                status = first[len(tag) + 1:].decode("utf-8", "replace")
                if status.startswith("OK"):
                    return untagged, status
                raise Refused(status)
            elif first.startswith(b"* BYE"):
                raise Lost(first)
            else:
                untagged.append(parts)

    def login(self, user, password):
        return self.command(f'LOGIN "{user}" "{password}"')

    def close(self):
        try:
            self.socket.close()
        except OSError:
            pass


def uid_ranges(text):
    """"1:3,7" as [1, 2, 3, 7]."""
    uids = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        uids.extend(range(int(low), int(high or low) + 1))
    return uids
