"""A control group with a memory limit: a child of the group that this process is in."""

import os
import sys
import time

ROOT = "/sys/fs/cgroup"


class Group:
    """Holds processes that call `enter`; removed at the end of the `with`, when they have ended."""

    def __init__(self, limit):
        self.limit = limit
        self.path, self.version = create("versus-%d-%d" % (os.getpid(), time.monotonic_ns()))
        self.write("memory.limit_in_bytes" if self.version == 1 else "memory.max", limit)
        try:
            # Without swap, or else what does not fit would be slow instead of too much.
            self.write("memory.memsw.limit_in_bytes" if self.version == 1 else "memory.swap.max", limit if self.version == 1 else 0)
        except OSError:
            pass

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as control:
            control.write(str(value))

    def read(self, name):
        with open(os.path.join(self.path, name)) as control:
            return control.read()

    def enter(self):
        """Moves the calling process into the group."""
        self.write("cgroup.procs", os.getpid())

    def used(self):
        """Bytes now: anonymous memory, page cache, and what the kernel keeps for the processes."""
        return int(self.read("memory.usage_in_bytes" if self.version == 1 else "memory.current"))

    def peak(self):
        return int(self.read("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"))

    def forget_peak(self):
        """From here on `peak` is of what comes."""
        try:
            self.write("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak", 0)
        except OSError:
            # Kernels before 6.12 count it since the start.
            pass

    def reclaims(self):
        """How often the limit was run into, so that the kernel had to take pages back by force."""
        if self.version == 1:
            return int(self.read("memory.failcnt"))
        return int(dict(line.split() for line in self.read("memory.events").splitlines())["max"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(100):
            try:
                return os.rmdir(self.path)
            except OSError:
                time.sleep(0.05)
        print("versus: %s stays behind" % self.path, file=sys.stderr)


def create(name):
    """The path of a new group and the version of its hierarchy."""
    with open("/proc/self/cgroup") as own:
        groups = [line.strip().split(":", 2) for line in own]
    of_memory = [group for _, controllers, group in groups if "memory" in controllers.split(",")]
    for group in of_memory + [os.path.dirname(group) for group in of_memory]:
        path = os.path.join(ROOT, "memory", group.lstrip("/"), name)
        if make(path) and os.path.exists(os.path.join(path, "memory.limit_in_bytes")):
            return path, 1
    for group in [group for _, controllers, group in groups if not controllers]:
        # A group with processes can have no children with limits: a sibling has to do.
        for parent in (group, os.path.dirname(group)):
            parent = os.path.join(ROOT, parent.lstrip("/"))
            allow_memory(parent)
            path = os.path.join(parent, name)
            if make(path):
                if os.path.exists(os.path.join(path, "memory.max")):
                    return path, 2
                os.rmdir(path)
    sys.exit("versus: cannot make a control group with a memory limit here: run as root, or in a group that was handed over")


def make(path):
    try:
        os.mkdir(path)
    except OSError:
        return False
    return True


def allow_memory(parent):
    try:
        with open(os.path.join(parent, "cgroup.subtree_control"), "w") as control:
            control.write("+memory")
    except OSError:
        pass


def bytes_of(text):
    """A number of bytes with an optional unit kb, mb or gb."""
    units = {"kb": 10, "mb": 20, "gb": 30}
    unit = units.get(text[-2:].lower())
    return int(text[:-2]) << unit if unit else int(text)
