"""Tables in Markdown, with the machine that they were measured on."""

import datetime
import os
import platform
import re
import shlex
import subprocess
import sys


class Report:
    """Collects the lines of one measurement, prints them as they come, and puts them into a document at the end."""

    def __init__(self, options, root):
        self.options = options
        self.lines = []
        self.line("`python3 benches/versus %s`, %s." % (shlex.join(sys.argv[1:]), datetime.date.today().isoformat()))
        self.line(machine(root))

    def line(self, text=""):
        self.lines.append(text)
        print(text, flush=True)
        if text:
            self.line()

    def programs(self, servers):
        """Names the programs and the options they were started with."""
        for server in servers:
            shown = [argument for argument in server.arguments() if argument != server.dir]
            self.line("- %s: %s; `%s`" % (server.name, server.kind.version(), shlex.join(shown).replace(" --dir ", " --dir DIR ")))

    def table(self, head, rows):
        rows = [[str(cell) for cell in row] for row in [head] + rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["| %s |" % " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
        lines.insert(1, "|%s|" % "|".join("-" * (width + 2) for width in widths))
        self.line("\n".join(lines))

    def finish(self):
        if self.options.into:
            replace_section(self.options.into, self.options.measurement, "\n".join(self.lines).strip())


def replace_section(path, name, text):
    """Puts `text` between the markers of a measurement."""
    with open(path) as document:
        old = document.read()
    begin, end = "<!-- versus %s -->" % name, "<!-- end of %s -->" % name
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(old):
        sys.exit("versus: %s has no section %s" % (path, begin))
    with open(path, "w") as document:
        document.write(pattern.sub(lambda _: "%s\n\n%s\n\n%s" % (begin, text, end), old))


def machine(root):
    """Processor, memory, kernel, file system: one sentence."""
    with open("/proc/cpuinfo") as cpus:
        model = next((line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as memory:
        total = int(memory.readline().split()[1]) / (1 << 20)
    return "%s, %d cores, %.0f GiB, Linux %s, data on %s; load before: %.1f." % (
        model, os.cpu_count(), total, platform.release(), filesystem(root), os.getloadavg()[0])


def filesystem(path):
    """The type of the file system that holds `path`: of the mounts above it, the deepest."""
    with open("/proc/mounts") as mounts:
        places = [line.split()[1:3] for line in mounts]
    path = os.path.realpath(path)
    above = [(len(place), kind) for place, kind in places if os.path.commonpath([place, path]) == place]
    return max(above)[1] if above else "an unknown file system"
