"""SETs at a fixed rate, whatever the server does: a request counts from the moment at which it was meant to be sent."""

import gc
import itertools
import os
import select
import socket
import time
from collections import Counter

import load
from resp import ReplyError
from server import CLIENT_CORE, CORES

CONNECTIONS = 16
# SETs that go to one connection together, every so often; the next connection's turn is next.
BATCH = 25
OK = len(b"+OK\r\n")


class Load:
    """Sends batches to the connections in turn, one every BATCH / rate seconds, and notes when their replies came."""

    def __init__(self, server, rate):
        self.interval = BATCH / rate
        self.sockets = [connect(server.port) for _ in range(CONNECTIONS)]
        self.numbers = {opened: number for number, opened in enumerate(self.sockets)}
        # Of each connection: bytes of a reply that is not whole, and what is under way, as (meant for, SETs that wait).
        self.parts = [0] * CONNECTIONS
        self.waiting = [[] for _ in range(CONNECTIONS)]
        self.unsent = [b""] * CONNECTIONS
        self.latencies = Counter()
        # How late the client itself was: part of the latencies, and none of the server's.
        self.lateness = Counter()
        self.sent, self.seconds = 0, 0.0
        self.under_way = 0

    def run(self, numbers, tag=None):
        """Sends a SET of the key of each number, and waits for all replies."""
        one = set_of(tag)
        stay_on_own_core()
        gc.disable()
        start = due = time.perf_counter()
        sent = 0
        batch = take(numbers, one)
        while batch or self.under_way:
            now = time.perf_counter()
            if batch and now >= due:
                count, requests = batch
                self.send(sent // BATCH % CONNECTIONS, due, count, requests)
                sent += count
                due += self.interval
                batch = take(numbers, one)
                continue
            self.collect(due - now if batch else 1.0)
        gc.enable()
        self.seconds += time.perf_counter() - start
        self.sent += sent

    def take_figures(self):
        """What was measured since the last time: SETs, the rate that was reached, and latencies in ms."""
        figures = {"sets": self.sent, "rate": self.sent / self.seconds, **percentiles(self.latencies), "late": percentiles(self.lateness)["p99.9"]}
        self.sent, self.seconds, self.latencies, self.lateness = 0, 0.0, Counter(), Counter()
        return figures

    def close(self):
        for opened in self.sockets:
            opened.close()

    def send(self, number, due, count, requests):
        self.lateness[int((time.perf_counter() - due) * 1e5)] += count
        self.waiting[number].append((due, count))
        self.under_way += count
        self.unsent[number] += requests
        self.push(number)

    def push(self, number):
        """Sends what the socket takes; a server that does not read must not hold back the clock."""
        try:
            done = self.sockets[number].send(self.unsent[number])
            self.unsent[number] = self.unsent[number][done:]
        except BlockingIOError:
            pass

    def collect(self, patience):
        # select and not epoll, whose timeouts are whole milliseconds.
        for readable in select.select(self.sockets, [], [], patience)[0]:
            number = self.numbers[readable]
            bytes_read = readable.recv(1 << 16)
            if not bytes_read or b"-" in bytes_read:
                raise ReplyError("a SET failed: %r" % bytes_read[:200])
            self.note(number, len(bytes_read), time.perf_counter())
        for number, unsent in enumerate(self.unsent):
            if unsent:
                self.push(number)

    def note(self, number, size, now):
        replies, self.parts[number] = divmod(self.parts[number] + size, OK)
        self.under_way -= replies
        waiting = self.waiting[number]
        while replies > 0:
            due, count = waiting[0]
            done = min(count, replies)
            # To 10 µs, which keeps the table of counts small.
            self.latencies[int((now - due) * 1e5)] += done
            replies -= done
            if done == count:
                waiting.pop(0)
            else:
                waiting[0] = (due, count - done)


def stay_on_own_core():
    if CORES > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(CLIENT_CORE)})


def connect(port):
    opened = socket.create_connection(("127.0.0.1", port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setblocking(False)
    return opened


def set_of(tag):
    """A SET of a key whose number is still to be filled in."""
    name = load.key(0, tag)
    pattern = name[:-12].replace(b"%", b"%%") + b"%012d"
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), pattern, len(load.VALUE), load.VALUE)


def take(numbers, one):
    """The next batch of requests, as (how many, bytes); none at the end."""
    batch = tuple(itertools.islice(numbers, BATCH))
    return batch and (len(batch), one * len(batch) % batch)


def percentiles(counts):
    """p50, p99, p99.9 and the longest of latencies in 10 µs."""
    total, seen, found = sum(counts.values()), 0, {}
    wanted = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]
    for latency in sorted(counts):
        seen += counts[latency]
        while wanted and seen >= wanted[0][1] * total:
            found[wanted.pop(0)[0]] = latency / 100
    return {**found, "max": max(counts) / 100}
