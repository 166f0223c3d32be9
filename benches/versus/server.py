"""Servers as processes: started, watched, killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

import resp

CORES = os.cpu_count() or 1
TICKS = os.sysconf("SC_CLK_TCK")
PROBE = "versus:probe"
# How often a starting server is asked whether it serves.
POLL = 0.002


def pin(cores):
    """What a command line begins with to run on these cores; nothing on a machine with one."""
    return ["taskset", "-c", cores] if CORES > 1 and shutil.which("taskset") else []


SERVER_CORE, CLIENT_CORE, BOTH = "0", "1", "0,1"


@dataclass(frozen=True)
class Kind:
    """A program to measure, and what it is started with beyond the options that all have in common."""

    name: str
    path: str
    options: tuple = ()
    cores: str = SERVER_CORE

    @property
    def is_esker(self):
        return self.name.startswith("esker")

    def with_options(self, *options, name=None, cores=None):
        return Kind(name or self.name, self.path, self.options + options, cores or self.cores)

    def version(self):
        output = subprocess.run([self.path, "--version"], capture_output=True, text=True).stdout
        return output.strip().splitlines()[0] if output.strip() else "unknown"


@dataclass
class Server:
    """One server with a data directory of its own under `root`."""

    kind: Kind
    root: str
    fsync: str = "everysec"
    process: subprocess.Popen = None
    # A Group of cgroup.py that the server runs in.
    group: object = None
    port: int = field(default_factory=lambda: free_port())

    def __post_init__(self):
        self.dir = os.path.join(self.root, "%s-%d" % (self.kind.name.replace(" ", "-"), self.port))
        os.makedirs(self.dir)
        self.log_path = self.dir + ".log"

    @property
    def name(self):
        return self.kind.name

    def arguments(self):
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--appendonly", "yes", "--appendfsync", self.fsync]
        if not self.kind.is_esker:
            common += ["--save", "", "--loglevel", "warning"]
        return pin(self.kind.cores) + [self.kind.path] + common + list(self.kind.options)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            enter = self.group.enter if self.group else None
            self.process = subprocess.Popen(self.arguments(), stdout=log, stderr=log, preexec_fn=enter)
        if wait:
            self.wait_until_serving()
        return self

    def wait_until_serving(self, key=None, limit=600.0):
        """Returns when PING, or GET of a key that exists, is answered."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                sys.exit("versus: %s ended with status %d:\n%s" % (self.name, self.process.returncode, self.last_words()))
            try:
                if resp.command(self.port, *(("GET", key) if key else ("PING",))) is not None:
                    return
            except (OSError, ConnectionError, resp.ReplyError):
                pass
            time.sleep(POLL)
        sys.exit("versus: %s did not answer in %d s" % (self.name, limit))

    def last_words(self):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-5:])

    def command(self, *arguments):
        return resp.command(self.port, *arguments)

    def info(self, section):
        return resp.info(self.port, section)

    def keys(self):
        return self.command("DBSIZE")

    def cpu_seconds(self):
        """User and system time so far, of all threads."""
        with open("/proc/%d/stat" % self.process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def anonymous_bytes(self):
        """Memory that no file stands behind."""
        with open("/proc/%d/status" % self.process.pid) as status:
            fields = dict(line.split(":", 1) for line in status)
        return 1024 * sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))

    def dirtied_bytes(self):
        """Bytes of page cache that the process made dirty, by writing or through mappings: what the kernel has to write to disk."""
        with open("/proc/%d/io" % self.process.pid) as counts:
            return int(dict(line.split(":", 1) for line in counts)["write_bytes"])

    def disk_bytes(self):
        output = subprocess.run(["du", "-sk", self.dir], capture_output=True, text=True, check=True).stdout
        return int(output.split()[0]) * 1024

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self):
        self.stop(signal.SIGKILL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def free_port():
    # Below 50,000, which leaves room for a bus port 10,000 above.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 50000:
            return port


def may_drop_page_cache():
    return os.access("/proc/sys/vm/drop_caches", os.W_OK)


def drop_page_cache():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as control:
        control.write("3")
