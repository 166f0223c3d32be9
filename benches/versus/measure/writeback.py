"""Bytes that the kernel has to write for the index, a SET.

`write_bytes` of /proc/PID/io counts each page of the page cache that the process makes dirty, once until it is written, through mappings too.
Less what the log and the checkpoints grew by, it is what the index costs. How often a page of it is made dirty again depends on how often the
kernel writes: every 5 s what is 30 s old, by default; so each run is longer than that.
"""

import glob
import os
import time

import load
from server import Server

CLIENTS = 50
PIPELINE = 32
HEAD = ["work", "SETs", "seconds", "all", "log", "checkpoints", "index", "index bytes a SET", "index ÷ log"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=3_000_000)
    parser.add_argument("--seconds", type=int, default=60, help="of each run, at least")


def run(options, kinds, root, report):
    kind = kinds[0]
    with Server(kind, root) as server:
        load.fill(server, options.keys)
        rows = [measure(server, "overwrites", options.keys, options.seconds), measure(server, "new keys", (1 << 31) - 1, options.seconds)]
    report.line("MB; %d keys at first, 100-byte values, %d clients, pipeline %d, fsync everysec. Dirty pages are written %s." % (
        options.keys, CLIENTS, PIPELINE, kernel_habits()))
    report.table(HEAD, rows)


def measure(server, work, keys, seconds):
    before, sets, start = written(server), 0, time.monotonic()
    while time.monotonic() - start < seconds:
        requests = 2_000_000
        load.benchmark(server, "set", requests, PIPELINE, CLIENTS, keys)
        sets += requests
    took = time.monotonic() - start
    everything, log, checkpoints = (after - first for after, first in zip(written(server), before))
    index = everything - log - checkpoints
    megabytes = ["%.0f" % (figure / 1e6) for figure in (everything, log, checkpoints, index)]
    return [work, sets, "%.0f" % took] + megabytes + ["%.1f" % (index / sets), "%.2f" % (index / log)]


def written(server):
    """Bytes made dirty in all, of the log, and of checkpoints."""
    found = server.info("persistence")
    sizes = [os.path.getsize(path) for path in glob.glob(os.path.join(server.dir, "shard-*", "checkpoint-*"))]
    # A new checkpoint replaces the one before; they grow slowly, so the size of the last stands for all.
    return server.dirtied_bytes(), int(found["log_bytes"]), int(found["rdb_saves"]) * max(sizes, default=0)


def kernel_habits():
    def setting(name):
        with open("/proc/sys/vm/" + name) as file:
            return int(file.read()) / 100

    return "every %g s when they are %g s old" % (setting("dirty_writeback_centisecs"), setting("dirty_expire_centisecs"))
