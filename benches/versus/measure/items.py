"""Keys served within the same memory limit of a control group: by Redis with allkeys-lru and no persistence, by Esker from memory alone,
and by Esker with cold data on disk.

Redis gets the largest maxmemory at which it stays alive and the kernel never has to take pages back, and then more keys than fit: what is
left in it counts. Esker is filled until its first segment becomes cold; then on, until the index and the process take --fixed of what
memory-limit allows. Values of 100 bytes, keys of 16. Everything in the group counts: framing, dead space, page cache.
"""

import time

import load
import resp
from cgroup import Group, bytes_of
from server import Server

HEAD = ["server", "keys", "of Redis", "control group, MB", "forced reclaims", "GETs/s", "p50 ms", "p99 ms", "cold"]
# Of the keys that fit, Esker is given so many at a time: one in a hundred or so.
STEPS = 10_000


def add_arguments(parser):
    parser.add_argument("--memory", default="256mb", help="of the control group")
    parser.add_argument("--memory-limit", default="92%", help="Esker's option")
    parser.add_argument("--fixed", type=float, default=0.75, help="share of memory-limit that index and process may take")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=300_000)


def run(options, kinds, root, report):
    memory = bytes_of(options.memory)
    redis = [of_redis(kind, root, memory, options) for kind in kinds if not kind.is_esker]
    rows, base = [found for found, _ in redis], redis[0][1] if redis else 0
    with Group(memory) as group:
        esker = kinds[0].with_options("--memory-limit", options.memory_limit)
        with Server(esker, root, group=group) as server:
            rows += [from_memory(server, group, base, options), with_disk(server, group, base, options, report)]
    report.line("Random GETs over all keys, %d clients without pipelining; Esker's memory-limit %s." % (options.clients, options.memory_limit))
    report.table(HEAD, rows)


def of_redis(kind, root, memory, options):
    for share in range(96, 70, -2):
        limited = kind.with_options("--maxmemory", str(memory * share // 100), "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
        with Group(memory) as group:
            with Server(limited, root, group=group) as server:
                try:
                    load.fill(server, memory // 100)
                except (OSError, ConnectionError, resp.ReplyError):
                    continue
                keys = server.keys()
                if group.reclaims() == 0:
                    figures = load.benchmark(server, "get", options.requests, 1, options.clients, keys)
                    return row("%s, maxmemory %d %%" % (kind.name, share), keys, keys, group, figures, ""), keys
    raise SystemExit("versus: %s does not stay within its memory" % kind.name)


def row(name, keys, base, group, figures, cold):
    return [name, keys, "%.2f" % (keys / base) if base else "", group.peak() >> 20, group.reclaims(), "%.0f" % figures["rps"],
            "%.3f" % figures["p50"], "%.3f" % figures["p99"], cold]


def from_memory(server, group, base, options):
    keys, step = 0, max(5000, group.limit // STEPS)
    while True:
        load.fill(server, keys + step, keys)
        # It looks at its memory several times a second.
        time.sleep(0.5)
        if int(server.info("memory")["mem_cold_segments"]) > 0:
            break
        keys += step
    server.filled = keys + step
    figures = load.benchmark(server, "get", options.requests, 1, options.clients, keys)
    return row("esker, from memory", keys, base, group, figures, "")


def with_disk(server, group, base, options, report):
    keys, step = server.filled, max(20_000, 4 * group.limit // STEPS)
    while True:
        memory = server.info("memory")
        fixed = int(memory["mem_index_bytes"]) + int(memory["mem_anonymous_bytes"]) - int(memory["mem_copies_bytes"])
        if fixed > options.fixed * int(memory["mem_limit_bytes"]):
            break
        load.fill(server, keys + step, keys)
        keys += step
    wrong = sum(value != load.VALUE for value in load.sample(server, keys).values())
    if wrong or server.keys() != keys + 1:
        raise SystemExit("versus: %d of 1000 keys have another value; %d keys" % (wrong, server.keys()))
    before = server.info("stats")
    figures = load.benchmark(server, "get", options.requests, 1, options.clients, keys)
    stats = server.info("stats")
    cold = int(stats["cold_reads"]) - int(before["cold_reads"])
    report.line("A cold hit: %s µs on the average from the request to the record, p50 %s, p99 %s." % (
        stats["cold_read_usec"], stats["cold_read_usec_p50"], stats["cold_read_usec_p99"]))
    return row("esker, cold data on disk", keys, base, group, figures, "%.0f %%" % (100 * cold / options.requests))
