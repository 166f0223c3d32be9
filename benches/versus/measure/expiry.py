"""What keys that expire leave behind: memory and disk before any keys, with all of them, and one and two sweeps after the last has expired.

Each key gets a time to live at random, up to --ttl seconds. Nobody asks for them: the sweep has to find them, and cleaning to give their
space back. Only Esker: others have no such sweep to set.
"""

import random
import time

from resp import Connection
from server import Server

HEAD = ["when", "seconds", "keys", "anonymous MB", "index in use MB", "log MB", "directory MB"]
BATCH = Connection.PIPELINE


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--ttl", type=int, default=90, help="longest time to live, in seconds")
    parser.add_argument("--sweep", type=int, default=20, help="expiry-sweep-time, in seconds")


def run(options, kinds, root, report):
    kind = next(kind for kind in kinds if kind.is_esker)
    report.line("%d keys of 16 bytes, values of 100, each with a time to live at random up to %d s; a sweep takes at most %d s." % (
        options.keys, options.ttl, options.sweep))
    with Server(kind.with_options("--expiry-sweep-time", str(options.sweep)), root) as server:
        report.table(HEAD, measure(server, options))


def measure(server, options):
    began = time.monotonic()
    rows = [row("no keys yet", server, began)]
    fill(server, options)
    filled = time.monotonic()
    rows.append(row("all written", server, began))
    time.sleep(max(0.0, filled + options.ttl - time.monotonic()))
    rows.append(row("all expired", server, began))
    for number in ("one sweep later", "two sweeps later"):
        time.sleep(options.sweep)
        rows.append(row(number, server, began))
    return rows


def fill(server, options):
    draw = random.Random(7).randint
    value = b"x" * 100
    form = b"*5\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$100\r\n" + value + b"\r\n$2\r\nPX\r\n$%d\r\n%s\r\n"
    with Connection(server.port) as connection:
        for first in range(0, options.keys, BATCH):
            numbers = range(first, min(first + BATCH, options.keys))
            ttls = (b"%d" % draw(1, 1000 * options.ttl) for _ in numbers)
            connection.send_sets([form % (number, len(ttl), ttl) for number, ttl in zip(numbers, ttls)])


def row(when, server, began):
    memory, persistence = server.info("memory"), server.info("persistence")
    megabytes = lambda count: "%.0f" % (int(count) / 1e6)
    figures = [server.anonymous_bytes(), memory.get("mem_index_bytes", 0), persistence.get("log_bytes", 0), server.disk_bytes()]
    return [when, "%.0f" % (time.monotonic() - began), server.keys()] + [megabytes(figure) for figure in figures]
