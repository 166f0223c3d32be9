"""Hot keys beside cold ones: more data than the control group's memory holds, and GETs of a small hot set that lies strewn over all of it,
alone and with GETs of cold keys at a fixed rate beside them; the same on a server that has memory for everything.

The server runs in a control group of --memory, with its default memory-limit (80 % of that). Cold GETs are sent one by one in an open loop
over 16 connections, from the core of redis-benchmark: what they take of its time counts against the hot ones.
"""

import math
import random
import select
import threading
import time
from collections import Counter

import load
import resp
from cgroup import Group, bytes_of
from openloop import connect, percentiles
from server import Server

CONNECTIONS = 16
HEAD = ["memory", "work", "GETs/s", "p50 ms", "p99 ms", "CPU µs a GET", "cold GETs/s", "their p50 ms", "p99 ms"]


def add_arguments(parser):
    parser.add_argument("--memory", default="256mb", help="of the control group")
    parser.add_argument("--multiple", type=float, default=4.0, help="bytes of data by bytes of memory")
    parser.add_argument("--value", type=int, default=250, help="bytes of a value")
    parser.add_argument("--hot", type=float, default=0.05, help="share of the keys")
    parser.add_argument("--rate", type=int, default=2000, help="cold GETs a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="of cold GETs")
    parser.add_argument("--clients", type=int, default=50)


def run(options, kinds, root, report):
    memory = bytes_of(options.memory)
    keys = int(memory * options.multiple / (options.value + 16))
    rows = measure(kinds[0], root, options, keys, None, report)
    with Group(memory) as group:
        rows += measure(kinds[0], root, options, keys, group, report)
    report.line("%d keys of 16 bytes with values of %d: %.1f times the memory; hot: %.0f %% of them, strewn over all segments; %d clients "
                "without pipelining." % (keys, options.value, options.multiple, 100 * options.hot, options.clients))
    report.table(HEAD, rows)


def measure(kind, root, options, keys, group, report):
    with Server(kind, root, group=group) as server:
        fill(server, keys, options.value)
        hot = int(keys * options.hot)
        filled = (group.peak(), group.reclaims()) if group else None
        if group:
            group.forget_peak()
        # The server finds out what is hot.
        gets(server, 6 * hot, hot, options)
        rows = [row(group, "hot GETs", gets(server, requests(server, hot, options), hot, options), None)]
        if group:
            cold = Cold(server.port, hot, keys, options)
            alone = cold.alone(server)
            rows.append(row(group, "cold GETs", None, alone))
            count = requests(server, hot, options)
            cold.start()
            found = gets(server, count, hot, options)
            beside = cold.end()
            # What cold GETs cost is not the hot ones'.
            found["cpu"] -= alone["cpu"] * beside["count"] / count
            rows.append(row(group, "both", found, beside))
            rows.append(row(group, "hot GETs again", gets(server, count, hot, options), None))
            report.line("Control group of %d MB: peak %d MB while it was filled, %d MB from then on, %d MB at the end; the kernel had to take pages "
                        "back %d and %d times." % (group.limit >> 20, filled[0] >> 20, group.peak() >> 20, group.used() >> 20, filled[1],
                                                   group.reclaims() - filled[1]))
            figures(server, group, report)
        return rows


def figures(server, group, report):
    memory, stats = server.info("memory"), server.info("stats")
    report.line("INFO: memory-limit %d MB, counted %d MB, of it index %d MB, %s hot segments of %d MB, %s copies of %d MB; %s cold segments." % (
        int(memory["mem_limit_bytes"]) >> 20, int(memory["mem_counted_bytes"]) >> 20, int(memory["mem_index_bytes"]) >> 20,
        memory["mem_hot_segments"], int(memory["mem_hot_bytes"]) >> 20, memory["mem_copies"], int(memory["mem_copies_bytes"]) >> 20,
        memory["mem_cold_segments"]))
    report.line("A cold read, from the request to the record: %s µs on the average, p50 %s, p99 %s; %s of them, %s answered by copies." % (
        stats["cold_read_usec"], stats["cold_read_usec_p50"], stats["cold_read_usec_p99"], stats["cold_reads"], stats["cold_hits_in_memory"]))


def row(group, work, hot, cold):
    shown = ["%.0f" % hot["rps"], "%.3f" % hot["p50"], "%.3f" % hot["p99"], "%.2f" % hot["cpu"]] if hot else ["", "", "", ""]
    if hot is None:
        shown[3] = "%.2f" % cold["cpu"]
    shown += ["%.0f" % cold["rate"], "%.2f" % cold["p50"], "%.2f" % cold["p99"]] if cold else ["", "", ""]
    return ["%d MB" % (group.limit >> 20) if group else "enough", work] + shown


def fill(server, keys, value):
    """Each key once, so that neighbours by number lie far apart in the log."""
    step = next(step for step in range(int(keys * 0.618), keys) if math.gcd(step, keys) == 1)
    with resp.Connection(server.port) as connection:
        connection.set_many((load.key(number * step % keys) for number in range(keys)), b"v" * value)


def gets(server, count, hot, options):
    return load.benchmark(server, "get", count, 1, options.clients, hot)


def requests(server, hot, options):
    """So many that they take about as long as the cold ones."""
    return int(gets(server, 20_000, hot, options)["rps"] * options.seconds)


class Cold:
    """GETs of keys that are not hot, each of which has the right value."""

    def __init__(self, port, hot, keys, options):
        self.sockets = [connect(port) for _ in range(CONNECTIONS)]
        self.hot, self.keys, self.options = hot, keys, options
        self.random = random.Random(5)
        self.reply = b"$%d\r\n%s\r\n" % (options.value, b"v" * options.value)

    def alone(self, server):
        before = server.cpu_seconds()
        self.run(lambda: False)
        return {**self.figures, "cpu": (server.cpu_seconds() - before) / self.figures["count"] * 1e6}

    def start(self):
        self.stop = False
        self.thread = threading.Thread(target=self.run, args=(lambda: self.stop, 60.0))
        self.thread.start()

    def end(self):
        self.stop = True
        self.thread.join()
        return self.figures

    def run(self, stop, seconds=None):
        waiting = {opened: [] for opened in self.sockets}
        parts = {opened: b"" for opened in self.sockets}
        counts, done = Counter(), 0
        start = due = time.perf_counter()
        end = start + (seconds or self.options.seconds)
        number = 0
        while True:
            now = time.perf_counter()
            sending = now < end and not stop()
            if not sending and not any(waiting.values()):
                break
            if sending and now >= due:
                opened = self.sockets[number % CONNECTIONS]
                number += 1
                opened.send(resp.encode("GET", load.key(self.random.randrange(self.hot, self.keys))))
                waiting[opened].append(due)
                due += 1.0 / self.options.rate
                continue
            for readable in select.select(self.sockets, [], [], max(0.0, due - now) if sending else 1.0)[0]:
                parts[readable] += readable.recv(1 << 16)
                now = time.perf_counter()
                while len(parts[readable]) >= len(self.reply):
                    if not parts[readable].startswith(self.reply):
                        raise SystemExit("versus: a wrong reply: %r" % parts[readable][:100])
                    parts[readable] = parts[readable][len(self.reply):]
                    counts[int((now - waiting[readable].pop(0)) * 1e5)] += 1
                    done += 1
        self.figures = {"count": done, "rate": done / (time.perf_counter() - start), **percentiles(counts)}
