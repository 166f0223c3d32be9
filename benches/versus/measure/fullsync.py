"""An empty replica attached to a primary with data: the time until it has all, and what that costs the primary; also ten at once, under writes;
and what a replica that follows costs the primary a request."""

import subprocess
import sys
import threading
import time
from statistics import median

import load
from resp import Connection, ReplyError
from server import BOTH, Server

SYNC = ["server", "cores", "keys", "full sync, s", "user MB/s", "primary's anonymous growth, MiB", "times esker's"]
MANY = ["server", "replicas at once", "writes/s meanwhile", "all in sync after, s", "primary's anonymous growth, MiB"]
BEHIND = ["the replica has", "esker sends", "keys", "level after, s"]
COST = ["server", "work", "replicas", "requests/s", "CPU µs/request", "to that without"]
# Bytes of a key and its value.
USER = 116
WORKS = [("set", 1), ("set", 32)]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=10, help="how many attach at once")
    parser.add_argument("--many-keys", type=int, default=300_000, help="keys of the primary to which they do")
    parser.add_argument("--requests", type=int, default=300_000)


def run(options, kinds, root, report):
    report.line("16-byte keys, 100-byte values, each set once; medians of %d rounds. Redis: diskless, without delay." % options.rounds)
    kinds = [kind if kind.is_esker else kind.with_options("--repl-diskless-sync-delay", "0") for kind in kinds]
    report.table(SYNC, sync_rows(options, kinds, root))
    report.line("%d replicas at once on %d keys, while redis-benchmark writes as fast as it can; both cores." % (options.replicas, options.many_keys))
    report.table(MANY, [many(options, kind.with_options(cores=BOTH), root) for kind in kinds])
    for kind in (kind for kind in kinds if kind.is_esker):
        report.line("Of those keys a tenth is deleted and a tenth written again while a replica is away, and the log is cleaned; one core.")
        report.table(BEHIND, behind(options, kind, root))
    report.line("50 clients; the primary on one core, client and replica on the other.")
    report.table(COST, [row for kind in kinds for row in cost(options, kind, root)])


def sync_rows(options, kinds, root):
    found = {}
    for cores in ("0", BOTH):
        for kind in (kind.with_options(cores=cores) for kind in kinds):
            with Server(kind, root) as primary:
                load.fill(primary, options.keys)
                rounds = [one_sync(kind, root, primary) for _ in range(options.rounds)]
            found[kind.name, cores] = [median(values) for values in zip(*rounds)]
    rows = []
    for (name, cores), (took, grown) in found.items():
        times = took / found["esker", cores][0]
        megabytes = options.keys * USER / took / 1e6
        rows.append([name, len(cores.split(",")), options.keys, "%.2f" % took, "%.0f" % megabytes, "%.1f" % grown, "%.1f" % times])
    return rows


def one_sync(kind, root, primary):
    with Server(kind, root) as replica:
        watch = Watch([primary])
        start = time.monotonic()
        attach(replica, primary)
        wanted = primary.keys()
        while not in_sync(replica, wanted):
            time.sleep(0.005)
        took = time.monotonic() - start
        grown = watch.end()
        replica.command("REPLICAOF", "NO", "ONE")
    return took, grown


def attach(replica, primary):
    replica.command("REPLICAOF", "127.0.0.1", primary.port)


def in_sync(replica, keys=0):
    try:
        return replica.info("replication").get("master_link_status") == "up" and replica.keys() >= keys
    except (OSError, ConnectionError, ReplyError):
        return False


class Watch:
    """Looks how much anonymous memory a server takes, until told to end: MiB above that at first."""

    def __init__(self, servers):
        self.server, self.peak, self.running = servers[0], 0, True
        self.before = self.server.anonymous_bytes()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while self.running:
            self.peak = max(self.peak, self.server.anonymous_bytes())
            time.sleep(0.005)

    def end(self):
        self.running = False
        self.thread.join()
        return max(0, self.peak - self.before) / 2**20


def behind(options, kind, root):
    """A replica that comes back when cleaning has gone over what it lacks, and one that has nothing, in turn."""
    kind = kind.with_options("--repl-backlog-ttl", "1")
    had, nothing = [], []
    with Server(kind, root) as primary:
        load.fill(primary, options.keys)
        for number in range(options.rounds):
            with Server(kind.with_options("--replicaof", "127.0.0.1", str(primary.port)), root) as replica:
                nothing.append(level(replica, primary))
                replica.stop()
                change(primary, options.keys, number)
                replica.start(wait=False)
                took = level(replica, primary)
                # Cleaning may have left all that it lacks, which then is simply sent.
                sent = int(primary.info("stats")["sync_differences"])
                had += [took] * (sent - len(had))
    if not had:
        sys.exit("versus: no replica was sent what differs")
    keys = options.keys - options.keys // 10 * options.rounds
    return [["what was there before", "what differs", keys, "%.2f" % median(had)], ["nothing", "everything", keys, "%.2f" % median(nothing)]]


def level(replica, primary):
    start = time.monotonic()
    wanted = primary.info("replication")["master_repl_offset"]
    while True:
        try:
            found = replica.info("replication")
            if found.get("master_link_status") == "up" and found["master_repl_offset"] == wanted:
                return time.monotonic() - start
        except (OSError, ConnectionError, ReplyError):
            pass
        time.sleep(0.005)


def change(primary, keys, number):
    tenth = keys // 10
    with Connection(primary.port) as connection:
        for start in range(tenth * number, tenth * (number + 1), 1000):
            connection.command("DEL", *(load.key(one) for one in range(start, min(start + 1000, tenth * (number + 1)))))
    load.fill(primary, keys, keys - tenth)
    time.sleep(1.5)  # past repl-backlog-ttl
    for _ in range(2):
        primary.command("BGREWRITEAOF")
        while primary.info("persistence")["aof_rewrite_in_progress"] != "0":
            time.sleep(0.05)


def many(options, kind, root):
    with Server(kind, root) as primary:
        load.fill(primary, options.many_keys)
        replicas = [Server(kind, root).start() for _ in range(options.replicas)]
        writer = subprocess.Popen(load.arguments(primary, 1_000_000_000, 32, 50, options.many_keys) + ["-q", "-t", "set"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            commands = lambda: int(primary.info("stats")["total_commands_processed"])
            watch, start, before = Watch([primary]), time.monotonic(), commands()
            for replica in replicas:
                attach(replica, primary)
            while not all(in_sync(replica, options.many_keys * 0.9) for replica in replicas):
                time.sleep(0.02)
                if time.monotonic() - start > 300:
                    return [kind.name, options.replicas, "", "not in 300 s", "%.1f" % watch.end()]
            took = time.monotonic() - start
            rate = (commands() - before) / took
            return [kind.name, options.replicas, "%.0f" % rate, "%.1f" % took, "%.1f" % watch.end()]
        finally:
            writer.kill()
            writer.wait()
            for replica in replicas:
                replica.remove()


def cost(options, kind, root):
    alone = {}
    rows = []
    for replicas in (0, 1):
        with Server(kind, root) as primary:
            load.fill(primary, 100_000)
            others = [Server(kind.with_options(cores="1"), root).start() for _ in range(replicas)]
            for other in others:
                attach(other, primary)
                while not in_sync(other):
                    time.sleep(0.01)
            for test, pipeline in WORKS:
                runs = [load.benchmark(primary, test, options.requests, pipeline, 50, 100_000) for _ in range(options.rounds)]
                cpu, rps = median(one["cpu"] for one in runs), median(one["rps"] for one in runs)
                alone.setdefault((test, pipeline), cpu)
                work = test.upper() + (", pipelines of %d" % pipeline if pipeline > 1 else "")
                rows.append([kind.name, work, replicas, "%.0f" % rps, "%.2f" % cpu, "%.2f" % (cpu / alone[test, pipeline])])
            for other in others:
                other.remove()
    return rows
