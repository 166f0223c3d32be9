"""Load: exact sets of keys, and redis-benchmark."""

import csv
import random
import re
import subprocess

import resp
from server import CLIENT_CORE, PROBE, pin

VALUE = b"v" * 100


def key(number, tag=None):
    """Named as redis-benchmark does it: 16 bytes, or more under a hash tag."""
    return b"%s:%012d" % (b"{%s}" % tag if tag else b"key", number)


def fill(server, keys, start=0, tag=None):
    """Sets the keys `start..keys`, each once, and the one that tells whether a server serves."""
    with resp.Connection(server.port) as connection:
        connection.set_many((key(number, tag) for number in range(start, keys)), VALUE)
        connection.command("SET", PROBE, "here")


def sample(server, keys, count=1000):
    """`count` of the keys, with their values."""
    numbers = random.Random(11).sample(range(keys), min(count, keys))
    with resp.Connection(server.port) as connection:
        return {name: connection.get(name) for name in map(key, numbers)}


def wrong(server, known):
    """How many of these keys have another value, or none."""
    with resp.Connection(server.port) as connection:
        return sum(connection.get(name) != value for name, value in known.items())


def arguments(server, requests, pipeline, clients, keys):
    return pin(CLIENT_CORE) + ["redis-benchmark", "-p", str(server.port), "-n", str(requests), "-r", str(keys), "-P", str(pipeline),
                               "-c", str(clients), "-d", str(len(VALUE))]


def benchmark(server, test, requests, pipeline, clients, keys):
    """One run of redis-benchmark: requests a second, p50 and p99 in ms, CPU of the server in µs a request."""
    before = server.cpu_seconds()
    command = arguments(server, requests, pipeline, clients, keys) + ["--csv", "-t", test]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    head, figures = list(csv.reader(output.strip().splitlines()))[-2:]
    row = dict(zip(head, figures))
    return {"rps": float(row["rps"]), "p50": float(row["p50_latency_ms"]), "p99": float(row["p99_latency_ms"]),
            "cpu": (server.cpu_seconds() - before) / requests * 1e6}


def percentiles(server, requests, pipeline, clients, keys, tag=None):
    """SETs of random keys below `keys`: requests a second, and p50, p99, p99.9 and the longest in ms."""
    name = ("{%s}" % tag.decode() if tag else "key") + ":__rand_int__"
    command = arguments(server, requests, pipeline, clients, keys) + ["SET", name, VALUE.decode()]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.replace("\r", "\n")
    steps = [(float(share), float(ms)) for share, ms in re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds \(cumulative", output, re.M)]
    at = {name: next(ms for share, ms in steps if share >= wanted) for name, wanted in (("p50", 50), ("p99", 99), ("p99.9", 99.9), ("max", 100))}
    return {"rps": float(re.search(r"([\d.]+) requests per second", output).group(1)), **at}
