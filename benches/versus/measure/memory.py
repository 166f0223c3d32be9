"""Bytes a key after a load: anonymous memory, mapped index, data directory."""

import load
from server import Server

USER_BYTES = 116
HEAD = ["server", "keys", "anonymous", "mapped index", "data directory", "memory beyond key and value"]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=1_000_000)


def run(options, kinds, root, report):
    report.line("Bytes a key; 16-byte keys and 100-byte values, so %d of them are the user's. A log-structured server has the values in its log, "
                "in the page cache." % USER_BYTES)
    report.table(HEAD, [measure(kind, options.keys, root) for kind in kinds])


def measure(kind, keys, root):
    with Server(kind, root) as server:
        empty = server.anonymous_bytes()
        load.fill(server, keys)
        keys = server.keys()
        anonymous = (server.anonymous_bytes() - empty) / keys
        index = int(server.info("memory").get("mem_index_bytes", 0)) / keys
        beyond = index + anonymous if index else anonymous - USER_BYTES
        shown = "%.1f" % index if index else ""
        return [kind.name, keys, "%.2f" % anonymous, shown, "%.1f" % (server.disk_bytes() / keys), "%.1f" % beyond]
