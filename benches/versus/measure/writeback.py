"""Bytes that the kernel has to write for the index, a SET, and p99.9 of SET; with the index on disk, and with it on tmpfs.

`write_bytes` of /proc/PID/io counts each page of the page cache that the process makes dirty, once until it is written, through mappings too;
pages of tmpfs are never written and do not count. Less what the log and the checkpoints grew by, it is what the index costs (and some pages of
the log that were synced before they were full). How often a page of the index is made dirty again depends on how often the kernel writes: by
default every 5 s what is 30 s old; so each work takes longer than that. Open loop, as `growth`.

The index is put on tmpfs by a symbolic link in its place.
"""

import glob
import os
import random
import tempfile
import time

import load
from openloop import Load
from server import Server

HEAD = ["work", "index on", "SETs", "p50 ms", "p99.9 ms", "client late, p99.9", "MB: all", "log", "checkpoints", "index and rest", "bytes a SET", "÷ log"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=3_000_000)
    parser.add_argument("--rate", type=int, default=100_000, help="SETs a second")
    parser.add_argument("--seconds", type=int, default=36, help="of each work")
    parser.add_argument("--index-dir", default="/dev/shm", metavar="DIR", help="a directory on tmpfs; default: /dev/shm")


def run(options, kinds, root, report):
    rows = []
    for place in ("disk", "tmpfs"):
        with tempfile.TemporaryDirectory(prefix="versus-index-", dir=options.index_dir) as index_dir:
            server = Server(kinds[0], root)
            if place == "tmpfs":
                link_index(server, index_dir)
            with server:
                rows += measure(server, place, options)
    report.line("%d keys at first, 100-byte values, %d SETs/s, fsync everysec. Dirty pages are written %s." % (
        options.keys, options.rate, kernel_habits()))
    report.table(HEAD, sorted(rows, key=lambda row: row[0], reverse=True))


def link_index(server, index_dir):
    """Has the server make its index in `index_dir`."""
    shard = os.path.join(server.dir, "shard-0")
    os.makedirs(shard)
    os.symlink(os.path.join(index_dir, "index"), os.path.join(shard, "index"))


def measure(server, place, options):
    load.fill(server, options.keys)
    # What the fill made dirty is written first.
    os.sync()
    count = options.rate * options.seconds
    draw = random.Random(7).random
    works = [
        ("overwrites", (int(draw() * options.keys) for _ in range(count))),
        ("new keys", iter(range(options.keys, options.keys + count))),
    ]
    return [measure_work(server, place, work, numbers, options) for work, numbers in works]


def measure_work(server, place, work, numbers, options):
    settle(server)
    before = written(server)
    sets = Load(server, options.rate)
    sets.run(numbers)
    settle(server)
    found = sets.take_figures()
    sets.close()
    after = written(server)
    everything, log = after["all"] - before["all"], after["log"] - before["log"]
    # One replaces the other while they grow.
    checkpoints = (after["checkpoints"] - before["checkpoints"]) * (before["size"] + after["size"]) // 2
    rest = everything - log - checkpoints
    times = ["%.2f" % found[name] for name in ("p50", "p99.9", "late")]
    megabytes = ["%.0f" % (figure / 1e6) for figure in (everything, log, checkpoints, rest)]
    return [work, place, found["sets"]] + times + megabytes + ["%.1f" % (rest / found["sets"]), "%.2f" % (rest / log)]


def settle(server):
    """Waits for a checkpoint that is being taken."""
    time.sleep(0.2)
    while server.info("persistence")["checkpoint_in_progress"] != "0":
        time.sleep(0.1)


def written(server):
    """Bytes made dirty in all, bytes of the log, the number of checkpoints and the size of the last."""
    found = server.info("persistence")
    sizes = [os.path.getsize(path) for path in glob.glob(os.path.join(server.dir, "shard-*", "checkpoint-*"))]
    return {"all": server.dirtied_bytes(), "log": int(found["log_bytes"]), "checkpoints": int(found["rdb_saves"]), "size": max(sizes, default=0)}


def kernel_habits():
    def setting(name):
        with open("/proc/sys/vm/" + name) as file:
            return int(file.read()) / 100

    return "every %g s when they are %g s old" % (setting("dirty_writeback_centisecs"), setting("dirty_expire_centisecs"))
