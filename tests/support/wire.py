"""A raw client of a mail port: sends bytes, says which lines came and whether the server closed. For checks of what the
server answers to anything at all; a protocol's own clients are elsewhere."""

import base64
import re
import socket


class Wire:
    def __init__(self, port, tls=None, first=b"", session=None, timeout=60):
        """first: what goes before everything, TLS included (a PROXY header)."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")
        if first:
            self.send(first)
        if tls:
            self.start_tls(tls, session)

    def start_tls(self, tls, session=None):
        self.file.close()
        self.socket = tls.wrap_socket(self.socket, server_hostname="localhost", session=session)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the server said before it closed is still to be read

    def line(self):
        """Without its CRLF; None: the server has closed."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return line.rstrip(b"\r\n").decode("utf-8", "replace") if line else None

    def expect(self, pattern):
        """Skips lines until one matches (re.match), and returns it. Raises AssertionError with what came instead."""
        seen = []
        while True:
            line = self.line()
            if line is None:
                raise AssertionError(f"closed, {pattern!r} was expected; before: {seen[-5:]}")
            if re.match(pattern, line):
                return line
            seen.append(line)

    def rest(self):
        """All lines until the server closes. Raises TimeoutError when it does not."""
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def talk(self, *steps):
        """Bytes are sent as they are, text with CRLF; a text that begins with "<" is expected; None: the end; ...: the
        end, whatever may be said before."""
        for step in steps:
            if step is None:
                rest = self.rest()
                assert not rest, f"the end was expected, not {rest[:3]}"
            elif step is ...:
                self.rest()
            elif isinstance(step, bytes):
                self.send(step)
            elif step.startswith("<"):
                self.expect(step[1:])
            else:
                self.send(step.encode() + b"\r\n")
        return self

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def plain(user, password):
    """The initial response of SASL PLAIN."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()
