"""Miss ratios of caches that hold 1 % and 10 % of a trace's keys: Esker and Redis under each policy, beside models of LRU and S3-FIFO.

A trace is replayed by esker-bench trace: a GET a request, a SET after each miss. The cache is a number of objects of one size, chosen so that it
is --cache-bytes of values: at least 100 segments of 1 MiB. What is compared with the first column has as many objects, smaller ones where these
are large: the size changes little for it, and the run takes half as long. A server's maxmemory is what it says that so many objects take: Esker
64 bytes an object beside key and value; Redis its used_memory with all of them in it. How many it holds at the end is shown. Redis runs without
its append-only file.
"""

import json
import os
import subprocess
import sys

from server import BOTH, Server

SEGMENT = 1 << 20
# Trace, keys that it is drawn from, requests. A skewed trace has few different keys, so each is asked for often.
DRAWN = [("zipf:0.8", 500_000, 700_000), ("zipf:1.0", 2_000_000, 800_000), ("zipf:1.2", 4_000_000, 450_000), ("scan:0.2", 500_000, 700_000)]
ESKER, REDIS = ["allkeys-s3fifo", "allkeys-lru", "allkeys-lfu"], ["allkeys-lru", "allkeys-lfu"]
# Bytes of a key's name, and what a key counts for in Esker's maxmemory beside its name and its value.
KEY, KEY_COST = 16, 64
# Requests under way at once, whose replies Redis counts as memory.
WINDOW = 32


def add_arguments(parser):
    parser.add_argument("--trace", action="append", metavar="FILE", default=[], help="a trace in a file, beside those that are drawn")
    parser.add_argument("--only", action="append", metavar="TRACE", default=[], help="only these traces")
    parser.add_argument("--policy", action="append", metavar="SERVER:POLICY", default=[], help="only these, as esker:allkeys-s3fifo")
    parser.add_argument("--share", type=float, action="append", metavar="SHARE", help="sizes of the cache; default: 0.01 and 0.1 of a trace's keys")
    parser.add_argument("--cache-bytes", type=int, default=105 << 20, metavar="BYTES", help="values that fit into the cache")
    parser.add_argument("--peer-value-bytes", type=int, default=8192, metavar="BYTES", help="largest values of all columns but the first")
    parser.add_argument("--bench", default=None, metavar="PATH", help="esker-bench; default: beside esker")


def run(options, kinds, root, report):
    options.bench = options.bench or os.path.join(os.path.dirname(options.esker), "esker-bench")
    traces = [list(drawn) for drawn in DRAWN] + [[path, None, None] for path in options.trace]
    columns = [(kind.with_options(cores=BOTH), policy) for kind in kinds for policy in (ESKER if kind.is_esker else REDIS)
               if not options.policy or "%s:%s" % (kind.name, policy) in options.policy]
    report.line("Caches of %d MiB of values, %d segments of Esker's; in all columns but the first of a server values have at most %d bytes. The first "
                "quarter of the requests does not count. In brackets what the server held at the end, as a part of the models' objects."
                % (options.cache_bytes >> 20, options.cache_bytes // SEGMENT, options.peer_value_bytes))
    rows = [row(options, root, columns, trace, share) for share in options.share or [0.1, 0.01] for trace in traces
            if not options.only or trace[0] in options.only]
    names = ["%s %s" % (kind.name, policy.removeprefix("allkeys-")) for kind, policy in columns]
    report.table(["trace", "requests", "cache", "objects", "LRU", "S3-FIFO"] + names + ["to S3-FIFO", "to LRU"], rows)
    report.line("The last two columns: the %s, relative." % names[0])


def row(options, root, columns, trace, share):
    model = trace_of(options, root, trace, ["--share", str(share)])
    objects = model["cache_objects"]
    value = options.cache_bytes // objects
    ratios = model["miss_ratios"]
    cells = [os.path.basename(trace[0]), model["requests"], "%g %%" % (100 * share), objects, "%.4f" % ratios["LRU"], "%.4f" % ratios["S3-FIFO"]]
    values = [value] + [min(value, options.peer_value_bytes)] * (len(columns) - 1)
    found = [replay(options, root, *column, trace, objects, value) for column, value in zip(columns, values)]
    to = ["%+.1f %%" % (100 * (found[0][0] / ratios[base] - 1)) for base in ("S3-FIFO", "LRU")]
    cells += ["%.4f (%.3f)" % (ratio, held / objects) for ratio, held in found] + to
    print("versus:", *cells, file=sys.stderr, flush=True)
    return cells


def replay(options, root, kind, policy, trace, objects, value):
    """The miss ratio of a server, and how many objects it held at the end."""
    plain = kind.with_options("--segment-size", str(SEGMENT)) if kind.is_esker else kind.with_options("--appendonly", "no")
    limit = (KEY + value + KEY_COST) * objects if kind.is_esker else memory_of(options, plain, root, objects, value)
    with Server(plain.with_options("--maxmemory", str(limit), "--maxmemory-policy", policy), root, fsync="no") as server:
        arguments = ["--replay", "--port", str(server.port), "--objects", str(objects), "--value-bytes", str(value), "--window", str(WINDOW)]
        found = trace_of(options, root, trace, arguments)
        return found["miss_ratios"]["server"], server.keys()


def memory_of(options, kind, root, objects, value):
    """What Redis takes with all objects in it, and requests under way."""
    with Server(kind, root) as server:
        fill(options, server, objects, value)
        return int(server.info("memory")["used_memory"]) + WINDOW * value


def fill(options, server, keys, value):
    bench(options, ["load", "--port", str(server.port), "--fill", "--requests", "0", "--keys", str(keys), "--value-bytes", str(value), "--clients", "1"])


def trace_of(options, root, trace, arguments):
    path = os.path.join(root, "trace.json")
    name, keys, requests = trace
    drawn = ["--keys", str(keys), "--requests", str(requests)] if keys else []
    bench(options, ["trace", "--trace", name, "--json", path] + drawn + arguments)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def bench(options, arguments):
    done = subprocess.run([options.bench] + arguments, capture_output=True, text=True)
    if done.returncode:
        sys.exit("versus: esker-bench %s: status %d\n%s%s" % (" ".join(arguments), done.returncode, done.stdout, done.stderr))
