"""The client side of RESP2, as far as the measurements need it."""

import socket


class ReplyError(Exception):
    """The server answered with an error."""


def encode(*arguments):
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


class Connection:
    """One connection; requests one after the other, or writes in bulk."""

    # Requests under way at most, so that neither side's socket buffer fills up while the other is not read.
    PIPELINE = 500

    def __init__(self, port, timeout=300.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def command(self, *arguments):
        """The reply as str, bytes, int, list or None."""
        self.socket.sendall(encode(*arguments))
        return self.reply()

    def get(self, key):
        return self.command("GET", key)

    def reply(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.input.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise ConnectionError("not RESP2: %r" % line)

    def set_many(self, names, value):
        """Sets each of the keys to the value, pipelined."""
        tail = b"\r\n$%d\r\n%s\r\n" % (len(value), value)
        batch = []
        for name in names:
            batch.append(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s%s" % (len(name), name, tail))
            if len(batch) == self.PIPELINE:
                self.send_sets(batch)
                batch = []
        self.send_sets(batch)

    def send_sets(self, batch):
        if not batch:
            return
        self.socket.sendall(b"".join(batch))
        expected = b"+OK\r\n" * len(batch)
        replies = self.input.read(len(expected))
        if replies != expected:
            raise ReplyError("a SET failed: %r" % replies[:200])


def command(port, *arguments):
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.command(*arguments)


def info(port, section):
    """A section of INFO as a dict of strings."""
    lines = command(port, "INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
