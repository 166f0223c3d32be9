"""The criterion benches (`cargo bench --workspace`), and the latency of appends with the syncer beside them."""

import glob
import json
import os
import subprocess

HEAD = ["bench", "time", "95 % confidence", "elements/s"]


def add_arguments(parser):
    parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"), metavar="DIR", help="cargo's target directory")
    parser.add_argument("--collect", action="store_true", help="only collect what an earlier `cargo bench --workspace` left")


def run(options, _kinds, _root, report):
    if not options.collect:
        subprocess.run(["cargo", "bench", "--workspace"], check=True)
    report.table(HEAD, [row for path in results(options.target) for row in rows(path)])
    output = subprocess.run(["cargo", "run", "--release", "-q", "-p", "esker-storage", "--example", "append_latency"],
                            check=True, capture_output=True, text=True).stdout
    report.line("`cargo run --release -p esker-storage --example append_latency`:")
    report.line(output.strip())


def results(target):
    return sorted(glob.glob(os.path.join(target, "criterion", "**", "new", "benchmark.json"), recursive=True))


def rows(path):
    with open(path) as file:
        bench = json.load(file)
    with open(os.path.join(os.path.dirname(path), "estimates.json")) as file:
        mean = json.load(file)["mean"]
    interval = mean["confidence_interval"]
    nanoseconds = mean["point_estimate"]
    elements = (bench.get("throughput") or {}).get("Elements")
    rate = "%.3g million" % (elements / nanoseconds * 1e3) if elements else ""
    bounds = "%s to %s" % (duration(interval["lower_bound"]), duration(interval["upper_bound"]))
    yield [bench["full_id"], duration(nanoseconds), bounds, rate]


def duration(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return "%.3g %s" % (nanoseconds / size, unit)
    return "%.3g ns" % nanoseconds
