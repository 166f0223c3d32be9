"""kill -9, then the time until a first GET and until 1,000 random GETs were answered right; with the page cache as it is, and emptied."""

import time
from statistics import median

import load
from server import PROBE, Server, drop_page_cache, may_drop_page_cache

HEAD = ["keys", "page cache", "server", "to the first GET, s", "to 1,000 right GETs, s", "times esker's", "wrong"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, nargs="+", default=[300_000, 3_000_000])
    parser.add_argument("--rounds", type=int, default=5)


def run(options, kinds, root, report):
    states = ["warm"] + (["dropped"] if may_drop_page_cache() else [])
    rows = []
    for keys in options.keys:
        results = {}
        for kind in kinds:
            with Server(kind, root) as server:
                load.fill(server, keys)
                known = load.sample(server, keys)
                time.sleep(2.5)  # past a flush of everysec
                for state in states:
                    results[state, kind.name] = measure(server, known, keys + 1, state, options.rounds)
        rows += [row(keys, state, kind.name, results) for state in states for kind in kinds]
    report.line("16-byte keys, 100-byte values; medians of %d rounds, from the start of the process on." % options.rounds)
    if len(states) == 1:
        report.line("Not root: the page cache could not be emptied.")
    report.table(HEAD, rows)


def measure(server, known, keys, state, rounds):
    first, thousand, wrong = [], [], 0
    for _ in range(rounds):
        server.kill()
        if state == "dropped":
            drop_page_cache()
        start = time.monotonic()
        server.start(wait=False)
        server.wait_until_serving(PROBE)
        first.append(time.monotonic() - start)
        wrong += load.wrong(server, known)
        thousand.append(time.monotonic() - start)
        if server.keys() != keys:
            wrong += abs(server.keys() - keys)
    return median(first), median(thousand), wrong


def row(keys, state, name, results):
    first, thousand, wrong = results[state, name]
    times = "" if name == "esker" else "%.0f" % (thousand / results[state, "esker"][1])
    return [keys, state, name, "%.3f" % first, "%.3f" % thousand, times, wrong]
