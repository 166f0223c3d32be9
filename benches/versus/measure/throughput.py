"""SET and GET of 100-byte values by redis-benchmark: requests a second, CPU of the server a request, p50 and p99."""

from statistics import median

import load
from server import BOTH, Server

CLIENTS = 50
HEAD = ["work", "server", "requests/s", "CPU µs/request", "p50 ms", "p99 ms", "esker's requests/s ÷ its", "esker's CPU ÷ its"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=200_000, help="of a cell without pipelining; others make more")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    parser.add_argument("--two-workers", action="store_true", help="also Esker with two workers, on both cores")
    parser.add_argument("--only", metavar="TEXT", help="only cells whose name contains this")


def run(options, kinds, root, report):
    cells = [cell for cell in all_cells(options.requests) if not options.only or options.only in name(cell)]
    kinds = variants(kinds, options.two_workers)
    rows = []
    for fsync in ("everysec", "always"):
        chosen = [cell for cell in cells if cell[0] == fsync]
        if not chosen:
            continue
        servers = [Server(kind, root, fsync).start() for kind in kinds]
        report.programs(servers)
        try:
            for server in servers:
                load.fill(server, options.keys)
            for cell in chosen:
                rows += measure(cell, servers, options)
        finally:
            for server in servers:
                server.remove()
    report.line("%d clients, %d keys of 16 bytes, values of 100; medians of %d rounds in turn." % (CLIENTS, options.keys, options.rounds))
    report.table(HEAD, rows)


def variants(kinds, two_workers):
    """One worker against one thread, and two workers beside it."""
    one = [kind.with_options("--io-threads", "1") if kind.is_esker else kind for kind in kinds]
    two = [kind.with_options("--io-threads", "2", name="esker, 2 workers", cores=BOTH) for kind in kinds if kind.is_esker]
    return one + (two if two_workers else [])


def all_cells(requests):
    """fsync mode, command, pipeline, requests."""
    return [
        ("everysec", "set", 1, requests),
        ("everysec", "get", 1, requests),
        ("everysec", "set", 32, requests * 8),
        ("everysec", "get", 32, requests * 8),
        ("always", "set", 1, requests // 4),
        ("always", "set", 32, requests * 2),
    ]


def name(cell):
    return "%s %s P%d" % (cell[0], cell[1].upper(), cell[2])


def measure(cell, servers, options):
    _, test, pipeline, requests = cell
    figures = {server.name: [] for server in servers}
    for _ in range(options.rounds):
        for server in servers:
            figures[server.name].append(load.benchmark(server, test, requests, pipeline, CLIENTS, options.keys))
    middle = {server: {key: median(run[key] for run in runs) for key in runs[0]} for server, runs in figures.items()}
    ours = middle["esker"]
    return [row(cell, server, its, None if server == "esker" else ours) for server, its in middle.items()]


def row(cell, server, its, ours):
    ratios = ["%.2f" % (ours["rps"] / its["rps"]), "%.2f" % (ours["cpu"] / its["cpu"])] if ours else ["", ""]
    return [name(cell), server, "%.0f" % its["rps"], "%.2f" % its["cpu"], "%.3f" % its["p50"], "%.3f" % its["p99"]] + ratios
