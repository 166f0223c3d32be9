"""The criterion benches, and the latency of appends with the syncer beside them. What is not compiled yet is compiled first."""

import glob
import json
import os
import shutil
import subprocess

PACKAGES = ["-p", "esker", "-p", "esker-storage"]
LATENCY = ["-p", "esker-storage", "--example", "append_latency"]
HEAD = ["bench", "time", "±", "elements/s"]


def add_arguments(parser):
    parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"), metavar="DIR", help="cargo's target directory")
    parser.add_argument("--seconds", default="1", help="of each bench; criterion then says whether it took longer")
    parser.add_argument("--latency-seconds", default="5", help="of each row of append latencies")
    parser.add_argument("--collect", action="store_true", help="only collect what an earlier run left")


def run(options, _kinds, _root, report):
    if not options.collect:
        # Results of benches that are no more would be collected, too.
        shutil.rmtree(os.path.join(options.target, "criterion"), ignore_errors=True)
        subprocess.run(["cargo", "bench", "-q", *PACKAGES, "--no-run"], check=True)
        subprocess.run(["cargo", "bench", "-q", *PACKAGES, "--", "--noplot", "--measurement-time", options.seconds],
                       check=True, stdout=subprocess.DEVNULL)
    report.line("`cargo bench`:")
    report.table(HEAD, [row for path in results(options.target) for row in rows(path)])
    output = subprocess.run(["cargo", "run", "--release", "-q", *LATENCY, options.latency_seconds], check=True, capture_output=True, text=True)
    report.line("`cargo run --release %s %s`:" % (" ".join(LATENCY), options.latency_seconds))
    report.line(output.stdout.strip())


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
    spread = (interval["upper_bound"] - interval["lower_bound"]) / 2 / nanoseconds * 100
    yield [bench["full_id"], duration(nanoseconds), "%.0f %%" % spread, rate]


def duration(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return "%.3g %s" % (nanoseconds / size, unit)
    return "%.3g ns" % nanoseconds
