"""How long SETs take while the index grows, against SETs on keys that are there; spread over all slots, and all under one hash tag.

Closed loop: 50 clients of redis-benchmark, one request each under way, so the figures include waiting for the other 49. "Before" and "after"
are overwrites at the first and at the last count of keys.
"""

import load
from server import Server

CLIENTS = 50
ANY = (1 << 31) - 1
HEAD = ["keys", "server", "work", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "p99.9 − before"]


def add_arguments(parser):
    parser.add_argument("--from", type=int, default=1_000_000, dest="first")
    parser.add_argument("--to", type=int, default=10_000_000, dest="last")
    parser.add_argument("--requests", type=int, default=1_000_000, help="overwrites before and after")
    parser.add_argument("--pipeline", type=int, default=1)


def run(options, kinds, root, report):
    rows = []
    for shape, tag in (("spread", None), ("one hash tag", b"tag")):
        for kind in kinds:
            with Server(kind, root) as server:
                rows += measure(server, shape, tag, options)
    report.line("%d clients, pipeline %d, fsync everysec, from %d to about %d keys." % (CLIENTS, options.pipeline, options.first, options.last))
    report.table(HEAD, rows)


def measure(server, shape, tag, options):
    load.fill(server, options.first, tag=tag)

    def sets(requests, keys):
        return load.percentiles(server, requests, options.pipeline, CLIENTS, keys, tag)

    before = sets(options.requests, options.first)
    # Names are drawn from 2^31: nearly every one is new.
    growing = sets(options.last - options.first, ANY)
    after = sets(options.requests, options.first)
    works = [("before", before), ("growing to %d" % server.keys(), growing), ("after", after)]
    return [row(shape, server.name, work, figures, before) for work, figures in works]


def row(shape, server, work, figures, before):
    cells = ["%.3f" % figures[name] for name in ("p50", "p99", "p99.9", "max")]
    return [shape, server, work, "%.0f" % figures["rps"]] + cells + ["%+.3f" % (figures["p99.9"] - before["p99.9"])]
