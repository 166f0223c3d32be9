"""Overwriting a live set within maxdisk: throughput and latency beside cleaning, bytes on the disk, write amplification.

One set of keys of 1 kB is filled until its records take --share of --maxdisk and then overwritten, uniformly, --times its size. Both the
server and the client (esker-bench) may use all cores. Idle is the same load on the same keys without a limit and with too little dead
space for cleaning to begin. Latency is that of an open loop at --rate, which is to be about half of what the closed loop reaches.
"""

import json
import os
import subprocess
import threading
import time

from server import BOTH, Server

VALUE = 1000
# Key, value and framing in the log.
RECORD = VALUE + 14 + 48
HEAD = ["cleaning", "requests/s", "÷ idle", "p50 ms", "p99 ms", "p99.9 ms", "errors", "disk / limit", "write amplification", "live / log"]


def add_arguments(parser):
    parser.add_argument("--maxdisk", type=int, default=2 << 30, help="bytes")
    parser.add_argument("--share", type=float, default=0.7, help="live part of maxdisk")
    parser.add_argument("--times", type=float, default=4, help="how often the live set is overwritten in a closed loop")
    parser.add_argument("--rate", type=int, default=20_000, help="requests a second of the open loop")
    parser.add_argument("--seconds", type=int, default=20, help="of the open loop, and of the closed loop without cleaning")
    parser.add_argument("--bench", default=None, metavar="PATH", help="esker-bench; default: beside esker")


def run(options, kinds, root, report):
    kind = kinds[0].with_options("--io-threads", "1", cores=BOTH)
    keys = int(options.maxdisk * options.share / RECORD)
    report.line("%d keys, values of %d bytes, whose records are %.0f %% of %d MiB; 50 clients, 16 requests at once each; overwritten %g times."
                % (keys, VALUE, 100 * options.share, options.maxdisk >> 20, options.times))
    idle = measure(kind, options, root, min(keys, 100_000), seconds=options.seconds)
    limited = kind.with_options("--maxdisk", str(options.maxdisk))
    busy = measure(limited, options, root, keys, requests=int(keys * options.times))
    rows = [row(name, found, idle) for name, found in [("idle, closed loop", idle["closed"]), ("idle, open loop", idle["open"]),
                                                       ("busy, closed loop", busy["closed"]), ("busy, open loop", busy["open"])]]
    report.table(HEAD, rows)


def row(name, found, idle):
    base = idle["closed"]["rate"] if "closed" in name else idle["open"]["rate"]
    busy = name.startswith("busy")
    last = ["%.3f" % found["disk"], "%.2f" % found["amplification"], "%.2f" % found["live"]] if busy else ["", "", ""]
    return [name, "%.0f" % found["rate"], "%.2f" % (found["rate"] / base)] + ["%.2f" % found[p] for p in ("p50", "p99", "p999")] + [
        found["errors"]] + last


def measure(kind, options, root, keys, **amount):
    with Server(kind, root) as server:
        bench(server, options, keys, ["--fill", "--requests", "0"])
        watch = DiskWatch(server)
        found = {}
        for name, arguments in [("closed", ["--%s" % k + "=%d" % v for k, v in amount.items()]),
                                ("open", ["--rate", str(options.rate), "--seconds", str(options.seconds)])]:
            before, appended = cleaned(server), server.info("persistence")
            result = bench(server, options, keys, arguments + ["--pipeline", "16" if name == "closed" else "1"])
            after, now = cleaned(server), server.info("persistence")
            user = (int(now["log_written_lsn"]) - int(appended["log_written_lsn"])) * RECORD
            found[name] = dict(result, disk=watch.most / options.maxdisk, amplification=1 + (after - before) / max(user, 1),
                               live=int(now["clean_live_bytes"]) / max(int(now["clean_log_bytes"]), 1))
        watch.stop()
        return found


def cleaned(server):
    return int(server.info("persistence")["clean_written_bytes"])


def bench(server, options, keys, arguments):
    program = options.bench or os.path.join(os.path.dirname(options.esker), "esker-bench")
    path = os.path.join(server.root, "bench-%d.json" % time.monotonic_ns())
    command = [program, "load", "--port", str(server.port), "--keys", str(keys), "--value-bytes", str(VALUE), "--mix", "set=100", "--clients", "50",
               "--tolerate-errors", "--json", path]
    subprocess.run(command + arguments, check=True, stdout=subprocess.DEVNULL)
    with open(path, encoding="utf-8") as file:
        found = json.load(file)["run"]
    if not found:
        return {}
    latency = found["latency"]
    return {"rate": found["requests_per_second"], "errors": found["error_replies"], "p50": latency["p50_ms"], "p99": latency["p99_ms"],
            "p999": latency["p99.9_ms"]}


def allocated(directory):
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                # Cleaning has removed it.
                pass
    return total


class DiskWatch:
    """Notes the most that a server's directory took."""

    def __init__(self, server):
        self.server, self.most, self.stopped = server, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            self.most = max(self.most, allocated(self.server.dir))
            time.sleep(0.2)

    def stop(self):
        self.stopped = True
        self.thread.join()
