"""Measures Esker side by side with other servers of the Redis protocol, in one run on one machine.

    python3 benches/versus throughput     SET and GET, pipelined or not, fsync every second and always
    python3 benches/versus restart        kill -9, then the time to 1,000 right GETs, also with an empty page cache
    python3 benches/versus memory         bytes a key: anonymous, mapped index, data directory
    python3 benches/versus growth         p99.9 of SET while the keys grow from 1 to 10 million
    python3 benches/versus powerloss      start with an index that is not to be trusted: keys a second
    python3 benches/versus density        bytes a key of index and anonymous memory at 40 counts of keys
    python3 benches/versus expiry         memory and disk before, with and after keys that expire
    python3 benches/versus writeback      bytes that the kernel writes for the index, a SET
    python3 benches/versus overwrite      overwriting within maxdisk: throughput and latency beside cleaning, write amplification
    python3 benches/versus misses         miss ratios of caches of 1 % and 10 % of a trace's keys, under each eviction policy
    python3 benches/versus cold           hot keys, with and without cold reads beside them, of 4 times the data that memory holds
    python3 benches/versus items          keys served in the same memory, from memory and with cold data on disk
    python3 benches/versus fullsync       an empty replica attached to a primary; ten at once; what a replica costs a request
    python3 benches/versus micro          the criterion benches and the latency of appends

Servers: esker (--esker PATH), redis-server from PATH, and every --peer NAME=PATH. Needs redis-benchmark. The server runs on core 0, the
client on core 1, where there are two. Virtual machines are noisy: read the ratios, not the figures. With --into FILE the result replaces
what stands between the markers of the measurement in that file.
"""

import argparse
import shutil
import sys
import tempfile

from measure import modules
from report import Report
from server import Kind

MEASUREMENTS = {module.__name__.rpartition(".")[2]: module for module in modules}


def main():
    options = arguments()
    root = tempfile.mkdtemp(prefix="versus-", dir=options.dir)
    report = Report(options, root)
    try:
        MEASUREMENTS[options.measurement].run(options, kinds(options), root, report)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    report.finish()


def arguments():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--esker", default="target/release/esker", metavar="PATH")
    common.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", help="another server")
    common.add_argument("--without-redis", action="store_true")
    common.add_argument("--dir", metavar="DIR", help="where the data directories are made; default: TMPDIR")
    common.add_argument("--into", metavar="FILE", help="replace the measurement's section of this file")
    parser = argparse.ArgumentParser(prog="versus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="measurement", required=True, metavar="MEASUREMENT")
    for name, measurement in MEASUREMENTS.items():
        measurement.add_arguments(chosen.add_parser(name, parents=[common], description=measurement.__doc__))
    return parser.parse_args()


def kinds(options):
    """The servers to measure, Esker first."""
    found = [Kind("esker", options.esker)]
    redis = shutil.which("redis-server")
    if redis and not options.without_redis:
        found.append(Kind("redis", redis))
    for peer in options.peer:
        name, _, path = peer.partition("=")
        found.append(Kind(name, path))
    missing = [kind.path for kind in found if not shutil.which(kind.path)]
    if missing:
        sys.exit("versus: no such program: " + ", ".join(missing))
    return found


if __name__ == "__main__":
    main()
