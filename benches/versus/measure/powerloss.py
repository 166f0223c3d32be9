"""A start after a simulated power loss: kill -9, and the index is gone, as the kernel's part of it cannot be trusted. With a checkpoint
that is a tenth of the keys old, and without any. On one core; keys a second of the recovery's own clock, and of the CPU time used.
"""

import os
import time
from statistics import median

import load
from server import PROBE, Server, drop_page_cache, may_drop_page_cache

INDEX = os.path.join("shard-0", "index")
HEAD = ["checkpoint", "page cache", "keys", "of them from it", "entries replayed", "recovery s", "million keys/s", "million keys/s of CPU", "to the first GET, s"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)


def run(options, kinds, root, report):
    states = ["warm"] + (["dropped"] if may_drop_page_cache() else [])
    rows = []
    for checkpoint in (False, True):
        # One worker: what a second thread does must not count as a second core.
        kind = kinds[0].with_options("--io-threads", "1")
        with Server(kind, root) as server:
            load.fill(server, options.keys)
            if checkpoint:
                server.command("SAVE")
                load.fill(server, options.keys // 10)
            time.sleep(1.5)
            rows += [measure(server, checkpoint, state, options) for state in states]
    report.line("16-byte keys, 100-byte values; medians of %d rounds." % options.rounds)
    report.table(HEAD, rows)


def measure(server, checkpoint, state, options):
    runs = [lose_power(server, state) for _ in range(options.rounds)]
    if any(int(found["recovery_keys"]) != options.keys + 1 for found, _, _ in runs):
        raise SystemExit("versus: keys are missing after the power loss")
    seconds = median(int(found["recovery_ms"]) / 1000 for found, _, _ in runs)
    cpu = median(cpu for _, cpu, _ in runs)
    found = runs[-1][0]
    return ["yes" if checkpoint else "no", state, options.keys, found["recovery_keys_from_checkpoint"], found["recovery_entries_replayed"],
            "%.3f" % seconds, "%.1f" % (options.keys / seconds / 1e6), "%.1f" % (options.keys / cpu / 1e6),
            "%.3f" % median(first for _, _, first in runs)]


def lose_power(server, state):
    """Kills the server, takes its index away and starts it: what INFO says, CPU seconds, seconds to the first GET."""
    server.kill()
    os.remove(os.path.join(server.dir, INDEX))
    if state == "dropped":
        drop_page_cache()
    start = time.monotonic()
    server.start(wait=False)
    server.wait_until_serving(PROBE)
    first, cpu = time.monotonic() - start, server.cpu_seconds()
    found = server.info("persistence")
    if found["recovery_kind"] != "power-loss":
        raise SystemExit("versus: the start was taken for %s" % found["recovery_kind"])
    return found, cpu, first
