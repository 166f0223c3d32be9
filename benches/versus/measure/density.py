"""Bytes a key of the index and of anonymous memory at many counts of keys, through the server; spread, and all under one hash tag."""

import load
from server import Server

HEAD = ["keys", "index, spread", "anonymous, spread", "index, one tag", "anonymous, one tag"]


def add_arguments(parser):
    parser.add_argument("--from", type=int, default=1_000_000, dest="first")
    parser.add_argument("--to", type=int, default=10_000_000, dest="last")
    parser.add_argument("--counts", type=int, default=40)


def run(options, kinds, root, report):
    counts = [options.first + (options.last - options.first) * step // (options.counts - 1) for step in range(options.counts)]
    shapes = [measure(kinds[0], root, counts, tag) for tag in (None, b"tag")]
    rows = []
    for number, keys in enumerate(counts):
        rows.append([keys] + ["%.2f" % figure for shape in shapes for figure in shape[number]])
    report.line("Bytes a key: `mem_index_bytes` of INFO, and what anonymous memory grew by since the start.")
    most = [max(figures) for shape in shapes for figures in zip(*shape)]
    report.table(HEAD, rows + [["most"] + ["%.2f" % figure for figure in most]])


def measure(kind, root, counts, tag):
    """(index, anonymous) bytes a key at each count."""
    figures, filled = [], 0
    with Server(kind, root) as server:
        empty = server.anonymous_bytes()
        for keys in counts:
            load.fill(server, keys, filled, tag)
            filled = keys
            index = int(server.info("memory")["mem_index_bytes"])
            figures.append((index / keys, (server.anonymous_bytes() - empty) / keys))
    return figures
