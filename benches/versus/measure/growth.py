"""How long SETs take while the index grows, against SETs at the same rate on keys that are there; spread over all slots, and all under
one hash tag.

Open loop: batches of SETs go out at fixed times over 16 connections, whatever the server does, and a SET's latency counts from the moment
at which it was meant to be sent. The keys grow in steps, and before each there are some seconds of overwrites of random keys, "idle", while
the server does all else that it does then, too: what disturbs the machine for a while disturbs both. Its default rate is well below what
the server takes, and 9 million keys take 75 s at it, twice. The client needs a core of its own: what it cannot send in time counts as the
server's.
"""

import random

import load
from openloop import Load
from server import Server

HEAD = ["keys", "server", "work", "SETs", "SETs/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "client late, p99.9", "p99.9 − idle"]


def add_arguments(parser):
    parser.add_argument("--from", type=int, default=1_000_000, dest="first")
    parser.add_argument("--to", type=int, default=10_000_000, dest="last")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--rate", type=int, default=120_000, help="SETs a second")
    parser.add_argument("--idle-seconds", type=float, default=2.0, help="of overwrites before each step")
    parser.add_argument("--all-servers", action="store_true", help="the others too, not Esker alone")


def run(options, kinds, root, report):
    rows = []
    for shape, tag in (("spread", None), ("one hash tag", b"tag")):
        for kind in kinds if options.all_servers else kinds[:1]:
            with Server(kind, root) as server:
                rows += measure(server, shape, tag, options)
    report.line("Keys of 16 bytes (under the tag: 18), values of 100, %d SETs/s, fsync everysec; from %d to %d keys in %d steps." % (
        options.rate, options.first, options.last, options.steps))
    report.table(HEAD, rows)


def measure(server, shape, tag, options):
    load.fill(server, options.first, tag=tag)
    idle, growth = (Load(server, options.rate) for _ in range(2))
    draw = random.Random(7).random
    counts = [options.first + (options.last - options.first) * step // options.steps for step in range(options.steps + 1)]
    for keys, next_keys in zip(counts, counts[1:]):
        idle.run((int(draw() * keys) for _ in range(int(options.rate * options.idle_seconds))), tag)
        growth.run(iter(range(keys, next_keys)), tag)
    figures = [("idle", idle.take_figures()), ("growth", growth.take_figures())]
    if server.keys() != options.last + 1:
        raise SystemExit("versus: %d keys, not %d" % (server.keys(), options.last + 1))
    return [row(shape, server, work, found, figures[0][1]) for work, found in figures]


def row(shape, server, work, found, idle):
    cells = ["%.2f" % found[name] for name in ("p50", "p99", "p99.9", "max", "late")]
    beyond = "%+.2f" % (found["p99.9"] - idle["p99.9"]) if work == "growth" else ""
    return [shape, server.name, work, found["sets"], "%.0f" % found["rate"]] + cells + [beyond]
